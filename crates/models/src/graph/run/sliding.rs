//! Convolutions and pools.

use candle_core::Tensor;
use core_tensors::kernels;

use crate::graph::{Problem, Window};

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
    back(kernels::grouped_convolution(&x, &filters, bias, &window.sliding(), groups)?, is_flat)
}

/// Largest number of each window.
pub(super) fn max_pool(x: &Tensor, window: &Window) -> Result<Tensor, Problem> {
    let y = kernels::max_pool(&as_images(x)?, &window.sliding(), window.ceil)?;
    back(y, x.rank() == 3)
}

/// Mean of each window.
pub(super) fn average_pool(
    x: &Tensor,
    window: &Window,
    counts_padding: bool,
) -> Result<Tensor, Problem> {
    let images = as_images(x)?;
    let y = kernels::average_pool(&images, &window.sliding(), window.ceil, counts_padding)?;
    back(y, x.rank() == 3)
}

/// (m, c, l) as (m, c, 1, l).
fn as_images(x: &Tensor) -> candle_core::Result<Tensor> {
    if x.rank() == 3 { x.unsqueeze(2) } else { Ok(x.clone()) }
}

fn back(y: Tensor, is_flat: bool) -> Result<Tensor, Problem> {
    Ok(if is_flat { y.squeeze(2)? } else { y })
}
