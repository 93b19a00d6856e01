//! Convolutions and pools.

use candle_core::Tensor;
use core_tensors::kernels::grouped_convolution;

use super::pick::{pad, select};
use crate::graph::rules::output_extent;
use crate::graph::{PadMode, Problem, Window};

/// Cross-correlation of (m, c, h, w) or (m, c, l) with filters (o, c/groups, …), and a bias (o,).
pub(super) fn convolution(
    x: &Tensor,
    filters: &Tensor,
    bias: Option<&Tensor>,
    window: &Window,
    groups: usize,
) -> Result<Tensor, Problem> {
    let is_flat = x.rank() == 3;
    let (x, filters) = (as_images(x)?, as_images(filters)?);
    back(grouped_convolution(&x, &filters, bias, &window.sliding(), groups)?, is_flat)
}

/// Largest number of each window.
pub(super) fn max_pool(x: &Tensor, window: &Window) -> Result<Tensor, Problem> {
    let is_flat = x.rank() == 3;
    let windows = unfolded(&as_images(x)?, window, f64::NEG_INFINITY)?; // (m, c, kh·kw, h′, w′)
    let places = windows.detach().argmax_keepdim(2)?;
    back(windows.gather(&places, 2)?.squeeze(2)?, is_flat)
}

/// Mean of each window.
pub(super) fn average_pool(
    x: &Tensor,
    window: &Window,
    counts_padding: bool,
) -> Result<Tensor, Problem> {
    let is_flat = x.rank() == 3;
    let x = as_images(x)?;
    let sums = unfolded(&x, window, 0.0)?.sum(2)?; // (m, c, h′, w′)
    let counts = |axis: usize| -> Result<Vec<f64>, Problem> {
        let n = x.dim(axis + 2)?;
        let (before, behind) = (window.pads[axis], window.pads[axis + 2]);
        let (first, end) =
            if counts_padding { (0, before + n + behind) } else { (before, before + n) };
        let count = |i: usize| {
            let places = (0..window.kernel[axis])
                .map(|k| i * window.strides[axis] + k * window.dilations[axis]);
            places.filter(|place| (first..end).contains(place)).count() as f64
        };
        Ok((0..sums.dim(axis + 2)?).map(count).collect())
    };
    let (rows, columns) = (counts(0)?, counts(1)?);
    let areas: Vec<f64> = rows.iter().flat_map(|r| columns.iter().map(move |c| r * c)).collect();
    let areas = Tensor::from_vec(areas, (1, 1, rows.len(), columns.len()), x.device())?;
    back(sums.broadcast_div(&areas.to_dtype(x.dtype())?)?, is_flat)
}

/// (m, c, l) as (m, c, 1, l).
fn as_images(x: &Tensor) -> candle_core::Result<Tensor> {
    if x.rank() == 3 { x.unsqueeze(2) } else { Ok(x.clone()) }
}

fn back(y: Tensor, is_flat: bool) -> Result<Tensor, Problem> {
    Ok(if is_flat { y.squeeze(2)? } else { y })
}

/// Every window of images (m, c, h, w): (m, c, kh·kw, h′, w′).
fn unfolded(x: &Tensor, window: &Window, fill: f64) -> Result<Tensor, Problem> {
    let mut outputs = [0; 2];
    let mut pads = vec![(0, 0); 4];
    for axis in [0, 1] {
        let n = x.dim(axis + 2)?;
        outputs[axis] = output_extent(window, axis, n)?;
        let (before, behind) = (window.pads[axis], window.pads[axis + 2]);
        let reach = (window.kernel[axis] - 1) * window.dilations[axis] + 1;
        // A last window that is only partly inside needs more.
        let needed = (outputs[axis].max(1) - 1) * window.strides[axis] + reach;
        pads[axis + 2] = (before as i64, needed.saturating_sub(before + n).max(behind) as i64);
    }
    let padded = pad(x, PadMode::Constant(fill), &pads)?;
    let mut parts = Vec::with_capacity(window.kernel[0] * window.kernel[1]);
    let places = |axis: usize, k: usize| -> Vec<i64> {
        let place = |i| (i * window.strides[axis] + k * window.dilations[axis]) as i64;
        (0..outputs[axis]).map(place).collect()
    };
    for row in 0..window.kernel[0] {
        let rows = select(&padded, 2, &places(0, row))?;
        for column in 0..window.kernel[1] {
            parts.push(select(&rows, 3, &places(1, column))?);
        }
    }
    Ok(Tensor::stack(&parts, 2)?)
}
