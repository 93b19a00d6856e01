//! From a band of sums to the answers of a convolution and back: with the bias, or with ReLU and pooling.

use candle_core::WithDType;

use super::geometry::Band;
use crate::kernels::vectorised;

/// The code of a window whose largest number is not positive; the others are its places 0 to 3, row by row.
const NONE: u8 = 4;

/// Sums (o, columns) and bias to the answers of the part, (m, o, h, w).
pub(super) fn store<T: WithDType>(band: &Band, sums: &[T], bias: &[T], y: &mut [T]) {
    let n = band.places();
    each_map(band, bias.len(), 1, |a, from, to| {
        let sums = y[to..to + n].iter_mut().zip(&sums[from..from + n]);
        sums.for_each(|(y, &sum)| *y = sum + bias[a]);
    });
}

/// Answers of the part, or their gradient, to a band (o, columns).
pub(super) fn load<T: WithDType>(band: &Band, o: usize, y: &[T], sums: &mut [T]) {
    let n = band.places();
    each_map(band, o, 1, |_, to, from| sums[to..to + n].copy_from_slice(&y[from..from + n]));
}

/// Sums (o, columns) and bias to ReLU and 2 × 2 maxima of the part, (m, o, h/2, w/2), and the codes of their places.
pub(super) fn store_pooled<T: WithDType>(
    band: &Band,
    sums: &[T],
    bias: &[T],
    y: &mut [T],
    codes: &mut [u8],
) {
    let (w, half) = (band.e.out_w, band.e.out_w / 2);
    each_map(band, bias.len(), 2, |a, from, to| {
        for line in 0..band.rows.len() / 2 {
            let (above, below) = sums[from + 2 * line * w..][..2 * w].split_at(w);
            let range = to + line * half..to + (line + 1) * half;
            pool(above, below, bias[a], &mut y[range.clone()], &mut codes[range]);
        }
    });
}

/// The gradient of pooled answers to the gradient of a band of sums (o, columns).
pub(super) fn load_pooled<T: WithDType>(
    band: &Band,
    o: usize,
    dy: &[T],
    codes: &[u8],
    sums: &mut [T],
) {
    let (w, half) = (band.e.out_w, band.e.out_w / 2);
    each_map(band, o, 2, |_, to, from| {
        for line in 0..band.rows.len() / 2 {
            let (above, below) = sums[to + 2 * line * w..][..2 * w].split_at_mut(w);
            let range = from + line * half..from + (line + 1) * half;
            unpool(&dy[range.clone()], &codes[range], above, below);
        }
    });
}

/// Calls `each` with a filter, the start of one picture's places in (o, columns), and their start in the answers.
fn each_map(band: &Band, o: usize, pooled: usize, mut each: impl FnMut(usize, usize, usize)) {
    let (h, w) = (band.e.out_h / pooled, band.e.out_w / pooled);
    for (position, i) in band.pictures.clone().enumerate() {
        for a in 0..o {
            let start = ((i * o + a) * h + band.rows.start / pooled) * w;
            each(a, a * band.columns() + position * band.places(), start);
        }
    }
}

/// Windows that are worked on together: the lanes of the widest registers.
const LANES: usize = 16;

/// Two rows to one; the first among equals wins, a NaN over everything.
fn pool<T: WithDType>(above: &[T], below: &[T], bias: T, y: &mut [T], codes: &mut [u8]) {
    vectorised(
        #[inline(always)]
        || {
            let answers = y.chunks_mut(LANES).zip(codes.chunks_mut(LANES));
            let rows = above.chunks(2 * LANES).zip(below.chunks(2 * LANES));
            for ((above, below), (y, codes)) in rows.zip(answers) {
                let n = y.len();
                let mut windows = [[T::zero(); 2 * LANES]; 2];
                windows[0][..2 * n].copy_from_slice(&above[..2 * n]);
                windows[1][..2 * n].copy_from_slice(&below[..2 * n]);
                let (best, code) = largest(&windows, bias);
                y.copy_from_slice(&best[..n]);
                codes.copy_from_slice(&code[..n]);
            }
        },
    );
}

#[inline(always)]
#[expect(clippy::eq_op, reason = "the generic number has no is_nan")]
fn largest<T: WithDType>(windows: &[[T; 2 * LANES]; 2], bias: T) -> ([T; LANES], [u8; LANES]) {
    let zero = T::zero();
    let (mut best, mut code) = ([zero; LANES], [0i32; LANES]);
    for i in 0..LANES {
        best[i] = windows[0][2 * i];
    }
    for place in 1..4 {
        for i in 0..LANES {
            let value = windows[place / 2][2 * i + place % 2];
            let is_better = (value > best[i]) | (value != value);
            best[i] = if is_better { value } else { best[i] };
            code[i] = if is_better { place as i32 } else { code[i] };
        }
    }
    for i in 0..LANES {
        let sum = best[i] + bias;
        best[i] = if sum < zero { zero } else { sum };
        code[i] = if sum <= zero { i32::from(NONE) } else { code[i] };
    }
    (best, code.map(|code| code as u8))
}

/// One row of gradients to two, each where its code says.
fn unpool<T: WithDType>(dy: &[T], codes: &[u8], above: &mut [T], below: &mut [T]) {
    let n = 2 * dy.len();
    above[n..].fill(T::zero());
    below[n..].fill(T::zero());
    vectorised(
        #[inline(always)]
        || {
            let rows = above[..n].chunks_mut(2 * LANES).zip(below[..n].chunks_mut(2 * LANES));
            let gradients = dy.chunks(LANES).zip(codes.chunks(LANES));
            for ((above, below), (dy, codes)) in rows.zip(gradients) {
                let n = dy.len();
                let (mut g, mut code) = ([T::zero(); LANES], [NONE; LANES]);
                g[..n].copy_from_slice(dy);
                code[..n].copy_from_slice(codes);
                let code = code.map(i32::from);
                let mut windows = [[T::zero(); 2 * LANES]; 2];
                for place in 0..4 {
                    for i in 0..LANES {
                        let is_here = code[i] == place as i32;
                        windows[place / 2][2 * i + place % 2] =
                            if is_here { g[i] } else { T::zero() };
                    }
                }
                above.copy_from_slice(&windows[0][..2 * n]);
                below.copy_from_slice(&windows[1][..2 * n]);
            }
        },
    );
}
