//! Rows of unfolded images: what a convolution reads at each of its outputs.

use candle_core::Tensor;
use core_tensors::kernels::SlidingWindow;

use super::moments::{Moments, numbers};
use crate::checks;
use crate::error::Result;

impl Moments {
    /// Adds a row for each output of a convolution over (m, c, h, w): its patch in the order channel, row, column, with zeros
    /// beyond the image. Images are unfolded one by one and never whole.
    pub fn add_patches(&mut self, x: &Tensor, window: &SlidingWindow) -> Result<()> {
        self.expect_targets(false)?;
        self.unfold(x, window, None)
    }

    /// [`Moments::add_patches`] with the targets of the outputs, (m, d, h′, w′).
    pub fn add_patches_with_target(
        &mut self,
        x: &Tensor,
        window: &SlidingWindow,
        targets: &Tensor,
    ) -> Result<()> {
        self.expect_targets(true)?;
        self.unfold(x, window, Some(targets))
    }

    fn unfold(&mut self, x: &Tensor, window: &SlidingWindow, t: Option<&Tensor>) -> Result<()> {
        let (m, c, h, w) = x.dims4()?;
        let [rows, columns] = window.output(h, w)?;
        let [k_rows, k_columns] = window.kernel;
        let n_patch = c.checked_mul(k_rows).and_then(|n| n.checked_mul(k_columns));
        checks::length("columns of patches", self.n_columns(), n_patch.unwrap_or(usize::MAX))?;
        let (n_outputs, d) = (rows * columns, self.d());
        if let Some(t) = t {
            let (m_targets, d_targets, t_rows, t_columns) = t.dims4()?;
            checks::length("images of targets", m, m_targets)?;
            checks::length("channels of targets", d, d_targets)?;
            checks::length("rows of images of targets", rows, t_rows)?;
            checks::length("columns of images of targets", columns, t_columns)?;
        }
        let mut patch = vec![0.0; self.n_columns()];
        let mut target = vec![0.0; d];
        for i in 0..m {
            let image = numbers(&x.narrow(0, i, 1)?)?;
            let wanted = t.map(|t| numbers(&t.narrow(0, i, 1)?)).transpose()?;
            for output in 0..n_outputs {
                let place = [output / columns, output % columns];
                read_patch(&mut patch, &image, (h, w), window, place);
                if let Some(wanted) = &wanted {
                    let of_channel =
                        |(a, t): (usize, &mut f64)| *t = wanted[a * n_outputs + output];
                    target.iter_mut().enumerate().for_each(of_channel);
                }
                self.push(&patch, &target)?;
            }
        }
        Ok(())
    }
}

/// What a convolution reads of one image, (1, c, h, w): a row (c·k²,) for each output, one behind the other.
pub(super) fn patches(image: &Tensor, window: &SlidingWindow) -> Result<Vec<f64>> {
    let (_, c, h, w) = image.dims4()?;
    let [rows, columns] = window.output(h, w)?;
    let n = c * window.kernel[0] * window.kernel[1];
    let (image, mut all) = (numbers(image)?, vec![0.0; rows * columns * n]);
    for (output, patch) in all.chunks_exact_mut(n.max(1)).enumerate() {
        read_patch(patch, &image, (h, w), window, [output / columns, output % columns]);
    }
    Ok(all)
}

/// The patch of one output of one image, (c, h, w).
fn read_patch(
    patch: &mut [f64],
    image: &[f64],
    (h, w): (usize, usize),
    window: &SlidingWindow,
    place: [usize; 2],
) {
    let [k_rows, k_columns] = window.kernel;
    // Places in front of the image come out as very large numbers.
    let seen = |axis: usize, step: usize| {
        let padded = place[axis] * window.strides[axis] + step * window.dilations[axis];
        padded.wrapping_sub(window.pads[axis])
    };
    let whole = window.dilations[1] == 1 && {
        let first = seen(1, 0);
        first < w && w - first >= k_columns
    };
    for (row, to) in patch.chunks_exact_mut(k_columns).enumerate() {
        let (channel, r) = (row / k_rows, seen(0, row % k_rows));
        if r >= h {
            to.fill(0.0);
            continue;
        }
        let from = &image[(channel * h + r) * w..][..w];
        if whole {
            to.copy_from_slice(&from[seen(1, 0)..][..k_columns]);
            continue;
        }
        for (q, to) in to.iter_mut().enumerate() {
            *to = from.get(seen(1, q)).copied().unwrap_or(0.0);
        }
    }
}
