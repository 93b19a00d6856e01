//! Normalizations, softmax, and the scaling of features.

use candle_core::{Result, Tensor};

use super::reduce::reduce;
use crate::graph::{Norm, Problem, Reduction};

/// A vector of the channels against (m, c, …).
fn per_channel(v: &Tensor, rank: usize) -> Result<Tensor> {
    let mut shape = vec![1; rank];
    if let Some(channels) = shape.get_mut(1) {
        *channels = v.elem_count();
    }
    v.reshape(shape)
}

/// scale · (x − mean)/√(variance + ε) + shift for each channel, with the moments given.
pub(super) fn batch(
    x: &Tensor,
    [scale, shift, mean, variance]: [&Tensor; 4],
    epsilon: f32,
) -> std::result::Result<Tensor, Problem> {
    let factor = (scale / (variance + f64::from(epsilon))?.sqrt()?)?;
    let offset = (shift - (mean * &factor)?)?;
    let scaled = x.broadcast_mul(&per_channel(&factor, x.rank())?)?;
    Ok(scaled.broadcast_add(&per_channel(&offset, x.rank())?)?)
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
    let y = rows.broadcast_mul(&per_channel(scale, x.rank())?)?;
    Ok(y.broadcast_add(&per_channel(shift, x.rank())?)?)
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
    // The maximum is a constant as far as gradients are concerned: it cancels.
    let shifted = x.broadcast_sub(&x.detach().max_keepdim(axis)?)?;
    let exp = shifted.exp()?;
    let sum = exp.sum_keepdim(axis)?;
    if is_log {
        return Ok(shifted.broadcast_sub(&sum.log()?)?);
    }
    Ok(exp.broadcast_div(&sum)?)
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
