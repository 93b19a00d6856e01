//! Normalizations, softmax, and the scaling of features.

use candle_core::{Result, Tensor};
use core_tensors::kernels::{
    affine_channels, batch_norm, layer_norm, log_softmax_last, softmax_last,
};

use super::reduce::reduce;
use crate::graph::{Norm, Problem, Reduction};

/// scale · (x − mean)/√(variance + ε) + shift for each channel, with the moments given.
pub(super) fn batch(
    x: &Tensor,
    [scale, shift, mean, variance]: [&Tensor; 4],
    epsilon: f32,
) -> std::result::Result<Tensor, Problem> {
    Ok(batch_norm(x, scale, shift, mean, variance, f64::from(epsilon))?)
}

/// Batch normalization as a factor and an offset for each channel.
pub(super) fn channel_factors(
    [scale, shift, mean, variance]: [&Tensor; 4],
    epsilon: f32,
) -> Result<(Tensor, Tensor)> {
    let factor = (scale / (variance + f64::from(epsilon))?.sqrt()?)?;
    let offset = (shift - (mean * &factor)?)?;
    Ok((factor, offset))
}

/// scale · (x − mean)/√(variance + ε) + shift, moments over the axes from `axis` on.
pub(super) fn layer(
    x: &Tensor,
    scale: &Tensor,
    shift: Option<&Tensor>,
    axis: usize,
    epsilon: f32,
) -> std::result::Result<Tensor, Problem> {
    let n: usize = x.dims()[axis.min(x.rank())..].iter().product();
    let rows = x.reshape((x.elem_count().checked_div(n).unwrap_or(0), n))?;
    // The kernel takes one number a column, and no ε of 0.
    let is_plain = |v: &Tensor| v.dims() == &x.dims()[axis.min(x.rank())..];
    if is_plain(scale) && shift.is_none_or(is_plain) && epsilon > 0.0 && n > 0 {
        let shift = shift.map(|shift| shift.reshape(n)).transpose()?;
        let y = layer_norm(&rows, &scale.reshape(n)?, shift.as_ref(), f64::from(epsilon))?;
        return Ok(y.reshape(x.shape())?);
    }
    let y = standardized(&rows, epsilon)?.reshape(x.shape())?.broadcast_mul(scale)?;
    Ok(shift.map_or(Ok(y.clone()), |shift| y.broadcast_add(shift))?)
}

/// Moments over a group of channels and all places.
pub(super) fn group(
    x: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    groups: usize,
    epsilon: f32,
) -> std::result::Result<Tensor, Problem> {
    let m = x.dim(0)?;
    let n = x.elem_count().checked_div(m * groups).unwrap_or(0);
    let rows = standardized(&x.reshape((m * groups, n))?, epsilon)?.reshape(x.shape())?;
    Ok(affine_channels(&rows, scale, shift)?)
}

/// (x − mean)/√(variance + ε) of each row.
fn standardized(rows: &Tensor, epsilon: f32) -> Result<Tensor> {
    let centered = rows.broadcast_sub(&rows.mean_keepdim(1)?)?;
    let variance = centered.sqr()?.mean_keepdim(1)?;
    centered.broadcast_div(&(variance + f64::from(epsilon))?.sqrt()?)
}

/// exp(x)/Σ exp(x), or its logarithm, over one axis or all from it on.
pub(super) fn softmax(
    x: &Tensor,
    axis: usize,
    to_end: bool,
    is_log: bool,
) -> std::result::Result<Tensor, Problem> {
    if to_end {
        let (before, behind) = x.dims().split_at(axis.min(x.rank()));
        let shape = (before.iter().product::<usize>(), behind.iter().product::<usize>());
        let rows = softmax(&x.reshape(shape)?, 1, false, is_log)?;
        return Ok(rows.reshape(x.shape())?);
    }
    if x.elem_count() == 0 {
        return Ok(x.clone());
    }
    let kernel = if is_log { log_softmax_last } else { softmax_last };
    if axis + 1 == x.rank() {
        return Ok(kernel(x)?);
    }
    let last = x.rank() - 1;
    Ok(kernel(&x.transpose(axis, last)?)?.transpose(axis, last)?)
}

/// Rows divided by their norms; a row of norm 0 stays.
pub(super) fn rows(x: &Tensor, norm: Norm) -> std::result::Result<Tensor, Problem> {
    let of = |reduction| reduce(reduction, x, &[1], true);
    let size = match norm {
        Norm::Max => of(Reduction::Max)?,
        Norm::L1 => of(Reduction::L1)?,
        Norm::L2 => of(Reduction::SumSquare)?,
    };
    // Before the root, whose gradient at 0 is infinite.
    let is_zero = size.detach().eq(0.0)?;
    let size = is_zero.where_cond(&size.ones_like()?, &size)?;
    let size = if norm == Norm::L2 { size.sqrt()? } else { size };
    Ok(x.broadcast_div(&size)?)
}

/// (x − offset) · scale for each column.
pub(super) fn columns(
    x: &Tensor,
    offset: &[f32],
    scale: &[f32],
) -> std::result::Result<Tensor, Problem> {
    let of = |v: &[f32]| Tensor::new(v, x.device())?.to_dtype(x.dtype());
    Ok(x.broadcast_sub(&of(offset)?)?.broadcast_mul(&of(scale)?)?)
}
