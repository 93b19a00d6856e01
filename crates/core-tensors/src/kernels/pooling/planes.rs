//! How a window slides over the planes of a batch of images.

use candle_core::{Result, Tensor, bail};

use crate::kernels::sliding_window::{SlidingWindow, n_numbers};

/// Numbers of a part of a batch that may be pooled beside the others.
const PART: usize = 1 << 18;

/// Extents of a plane and its outputs.
#[derive(Clone, Debug)]
pub(super) struct Planes {
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) out_h: usize,
    pub(super) out_w: usize,
    pub(super) window: SlidingWindow,
    /// For each column of the window the outputs that see the image through it.
    columns: Vec<Run>,
}

/// Outputs side by side, the step between whose numbers is the stride.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// First output.
    pub(super) output: usize,
    /// Outputs, maybe none.
    pub(super) n: usize,
    /// Column of the image that the first output sees.
    pub(super) column: usize,
}

/// Calls `each` with the count and the first number of each of n steps; short steps have loops of their own.
#[inline(always)]
pub(super) fn strided<T: Copy>(x: &[T], stride: usize, n: usize, mut each: impl FnMut(usize, T)) {
    match stride {
        1 => {
            for (s, &x) in x[..n].iter().enumerate() {
                each(s, x);
            }
        }
        2 => {
            // The last number may be the last of its row.
            let (pairs, last) = x[..2 * n - 1].as_chunks::<2>();
            for (s, pair) in pairs.iter().enumerate() {
                each(s, pair[0]);
            }
            last.iter().for_each(|&x| each(n - 1, x));
        }
        _ => {
            for (s, x) in x.chunks(stride).take(n).enumerate() {
                each(s, x[0]);
            }
        }
    }
}

impl Planes {
    pub(super) fn new(x: &Tensor, window: &SlidingWindow, ceil: bool) -> Result<Self> {
        let (m, c, h, w) = x.dims4()?;
        let [out_h, out_w] = window.output_rounded(h, w, ceil)?;
        if h == 0 || w == 0 {
            bail!("a pooling wanted images of at least one row and column, found {h} × {w}");
        }
        for (i, &pad) in window.pads.iter().enumerate() {
            let span = window.dilations[i % 2] * (window.kernel[i % 2] - 1) + 1;
            if pad >= span {
                bail!(
                    "a pooling wanted pads smaller than its window, which spans {span} {}, got {:?}",
                    ["rows", "columns"][i % 2],
                    window.pads
                );
            }
        }
        if h * w > u32::MAX as usize {
            bail!("a pooling wanted planes of at most {} numbers, found {h} × {w}", u32::MAX);
        }
        n_numbers(&[m, c, out_h, out_w])?;
        let (left, stride) = (window.pads[1], window.strides[1]);
        let run = |q: usize| {
            let across = q * window.dilations[1];
            let first = left.saturating_sub(across).div_ceil(stride).min(out_w);
            let end = (w + left).saturating_sub(across).div_ceil(stride).clamp(first, out_w);
            let column = (first * stride + across).saturating_sub(left);
            Run { output: first, n: end - first, column }
        };
        let columns = (0..window.kernel[1]).map(run).collect();
        Ok(Self { h, w, out_h, out_w, window: *window, columns })
    }

    /// Numbers of a plane.
    pub(super) fn input(&self) -> usize {
        self.h * self.w
    }

    /// Outputs of a plane.
    pub(super) fn output(&self) -> usize {
        self.out_h * self.out_w
    }

    /// Planes of a part.
    pub(super) fn part(&self) -> usize {
        (PART / self.input().max(self.output())).max(1)
    }

    /// Calls `each` with every run of a row of outputs that sees the image, in the order of the window's places: the run, and
    /// the place in the plane that its first output sees.
    #[inline(always)]
    pub(super) fn runs(&self, r: usize, mut each: impl FnMut(Run, usize)) {
        let SlidingWindow { kernel, strides, dilations, pads } = self.window;
        for p in 0..kernel[0] {
            let row = r * strides[0] + p * dilations[0];
            if row < pads[0] || row - pads[0] >= self.h {
                continue;
            }
            for run in self.columns.iter().filter(|run| run.n > 0) {
                each(*run, (row - pads[0]) * self.w + run.column);
            }
        }
    }

    /// The places of a window along an axis of `n`, for output `i`: those in the image, or in the padded image.
    pub(super) fn count(&self, axis: usize, i: usize, counts_padding: bool) -> usize {
        let SlidingWindow { kernel, strides, dilations, pads } = self.window;
        let (n, before) = ([self.h, self.w][axis], pads[axis]);
        let (from, to) =
            if counts_padding { (0, n + before + pads[axis + 2]) } else { (before, n + before) };
        let start = i * strides[axis];
        let below = |end: usize| end.saturating_sub(start).div_ceil(dilations[axis]);
        below(to).min(kernel[axis]).saturating_sub(below(from).min(kernel[axis]))
    }
}
