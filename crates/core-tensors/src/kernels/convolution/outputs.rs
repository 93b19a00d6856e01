//! From a band of sums to the outputs of a convolution and back: with the bias, or with ReLU and pooling.

use candle_core::WithDType;

use super::geometry::Band;
use crate::kernels::pooling::{pool, unpool};

/// Sums (o, columns) and bias to the outputs of the part, (m, o, h, w), `image` numbers apart.
pub(super) fn store<T: WithDType>(band: &Band, sums: &[T], bias: &[T], y: &mut [T], image: usize) {
    let n = band.places();
    each_map(band, (bias.len(), image), 1, |a, from, to| {
        let sums = y[to..to + n].iter_mut().zip(&sums[from..from + n]);
        sums.for_each(|(y, &sum)| *y = sum + bias[a]);
    });
}

/// Outputs of the part, or their gradient, to a band (o, columns).
pub(super) fn load<T: WithDType>(band: &Band, o: usize, y: &[T], sums: &mut [T], image: usize) {
    let n = band.places();
    each_map(band, (o, image), 1, |_, to, from| {
        sums[to..to + n].copy_from_slice(&y[from..from + n]);
    });
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
    let image = bias.len() * (band.e.out_h / 2) * half;
    each_map(band, (bias.len(), image), 2, |a, from, to| {
        for line in 0..band.rows.len() / 2 {
            let (above, below) = sums[from + 2 * line * w..][..2 * w].split_at(w);
            let range = to + line * half..to + (line + 1) * half;
            pool::<T, true>(above, below, bias[a], &mut y[range.clone()], &mut codes[range]);
        }
    });
}

/// The gradient of pooled outputs to the gradient of a band of sums (o, columns).
pub(super) fn load_pooled<T: WithDType>(
    band: &Band,
    o: usize,
    dy: &[T],
    codes: &[u8],
    sums: &mut [T],
) {
    let (w, half) = (band.e.out_w, band.e.out_w / 2);
    let image = o * (band.e.out_h / 2) * half;
    each_map(band, (o, image), 2, |_, to, from| {
        for line in 0..band.rows.len() / 2 {
            let (above, below) = sums[to + 2 * line * w..][..2 * w].split_at_mut(w);
            let range = from + line * half..from + (line + 1) * half;
            unpool(&dy[range.clone()], &codes[range], above, below);
        }
    });
}

/// Calls `each` with a filter, the start of one image's places in (o, columns), and their start in the outputs, of which
/// an image has `image` numbers.
fn each_map(
    band: &Band,
    (o, image): (usize, usize),
    pooled: usize,
    mut each: impl FnMut(usize, usize, usize),
) {
    let (h, w) = (band.e.out_h / pooled, band.e.out_w / pooled);
    for (position, i) in band.images.clone().enumerate() {
        for a in 0..o {
            let start = i * image + (a * h + band.rows.start / pooled) * w;
            each(a, a * band.columns() + position * band.places(), start);
        }
    }
}
