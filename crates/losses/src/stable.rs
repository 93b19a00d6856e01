//! Operations whose values and slopes are finite for finite numbers of any size.

use candle_core::{D, DType, Device, Result, Tensor};

/// Largest coordinate of a vector that counts as null, the floor of PyTorch's `normalize`.
const SMALLEST_LENGTH: f64 = 1e-12;

/// log softmax over classes, (m, k) → (m, k).
pub(crate) fn log_softmax(scores: &Tensor) -> Result<Tensor> {
    let shifted = scores.broadcast_sub(&scores.max_keepdim(1)?.detach())?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(1)?.log()?)
}

/// log Σₖ exp xₖ, (m, k) → (m, 1).
pub(crate) fn log_sum_exp(x: &Tensor) -> Result<Tensor> {
    let largest = x.max_keepdim(1)?.detach();
    x.broadcast_sub(&largest)?.exp()?.sum_keepdim(1)?.log()? + largest
}

/// One number for each row of scores, (m, k) → (m,), on any device; the arithmetic is f64 on the CPU.
///
/// `of_row` gets a row and fills in the slopes by its numbers. The gradient rides on a term that is zero:
/// v + Σₖ ∂v/∂zₖ (zₖ − zₖ) with all but the first zₖ constants.
pub(crate) fn by_rows(
    scores: &Tensor,
    mut of_row: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Result<Tensor> {
    let (m, k) = scores.dims2()?;
    let fixed = scores.detach();
    let rows = fixed.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec2()?;
    let mut slopes = vec![0.0; m * k];
    let pairs = rows.iter().zip(slopes.chunks_exact_mut(k));
    let values: Vec<f64> = pairs.map(|(row, slopes)| of_row(row, slopes)).collect();
    let back = |tensor: Tensor| tensor.to_dtype(scores.dtype())?.to_device(scores.device());
    let values = back(Tensor::from_vec(values, m, &Device::Cpu)?)?; // (m,)
    let slopes = back(Tensor::from_vec(slopes, (m, k), &Device::Cpu)?)?; // (m, k)
    values + (slopes * (scores - fixed)?)?.sum(1)? // (m,)
}

/// log(w p + (1 − w) q) from logarithms; w in (0, 1).
pub(crate) fn log_mixture(log_p: &Tensor, log_q: &Tensor, w: f64) -> Result<Tensor> {
    let (a, b) = ((log_p + w.ln())?, (log_q + (-w).ln_1p())?);
    let largest = a.detach().maximum(&b.detach())?;
    let sum = ((a - &largest)?.exp()? + (b - &largest)?.exp()?)?;
    sum.log()? + largest
}

/// √x for x ≥ 0, with the slope ½ at 0, where that of x itself is to vanish.
pub(crate) fn root(x: &Tensor) -> Result<Tensor> {
    let is_zero = x.detach().eq(0.0)?.to_dtype(x.dtype())?;
    (x + &is_zero)?.sqrt()? - is_zero
}

/// x / ‖x‖₂ along the last dimension; a null vector stays as it is.
///
/// The length is measured in units of the largest coordinate, so that no square overflows.
pub(crate) fn unit(x: &Tensor) -> Result<Tensor> {
    let largest = x.detach().abs()?.max_keepdim(D::Minus1)?;
    let is_null = largest.lt(SMALLEST_LENGTH)?.to_dtype(x.dtype())?;
    let scaled = x.broadcast_div(&(largest + &is_null)?)?;
    let squares = scaled.sqr()?.sum_keepdim(D::Minus1)?;
    scaled.broadcast_div(&(squares + is_null)?.sqrt()?)
}

/// (x − x̄) / ‖x − x̄‖₂ along the last dimension; zeros without a slope where x is constant up to rounding.
pub(crate) fn unit_deviations(x: &Tensor) -> Result<Tensor> {
    // 64 units of rounding of the largest number: what the mean of a long row can be wrong by.
    let rounding =
        if x.dtype() == DType::F64 { 64.0 * f64::EPSILON } else { 64.0 * f64::from(f32::EPSILON) };
    let largest = |x: &Tensor| x.detach().abs()?.max_keepdim(D::Minus1);
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let is_constant = largest(&centred)?.le(&(largest(x)? * rounding)?)?;
    let is_constant = is_constant.broadcast_as(x.shape())?;
    unit(&is_constant.where_cond(&centred.zeros_like()?, &centred)?)
}

/// Row i of (m, k) without its column `skipped`\[i\]; (m, k − 1).
pub(crate) fn without(x: &Tensor, skipped: &[u32]) -> Result<Tensor> {
    let (m, k) = x.dims2()?;
    let others = |&skipped: &u32| (0..k as u32).filter(move |&j| j != skipped);
    let columns: Vec<u32> = skipped.iter().flat_map(others).collect();
    x.contiguous()?.gather(&Tensor::from_vec(columns, (m, k.saturating_sub(1)), x.device())?, 1)
}
