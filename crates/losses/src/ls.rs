//! LS: standardization of logits before they are compared, so that a student need not match the size of its teacher's.

use candle_core::Tensor;

use crate::distillation::TemperatureScale;
use crate::divergence::{Divergence, of_changed};
use crate::error::Result;
use crate::stable::unit_stds;
use crate::supervision::Supervision;

/// [`crate::divergence`] of standardized logits (LS, logit standardization); shape ().
///
/// (1/m) Σᵢ \[i ∈ 𝓘\] c D(softmax(Z(vᵢ) / T), softmax(Z(zᵢ) / T)),  Z(z)ₖ = (zₖ − z̄) / σ(z),  σ(z)² = k⁻¹ Σₖ (zₖ − z̄)²,
///
/// with c = 1 or T². Invariant to a shift and to a positive factor of each row of either role's logits. A row that is
/// constant up to rounding becomes zeros, without a gradient. `logits` are the student's z, (m, k), v the teacher's.
///
/// Source: Sun et al. (2024): the forward divergence with T². Their public code divides by the standard deviation with
/// k − 1 in the place of k, and adds 1e-7 to it.
///
/// ```
/// use losses::candle_core::{Device, Tensor};
/// use losses::{Divergence, Supervision, TemperatureScale, ls};
///
/// let logits = Tensor::new(&[[1.0, 2.0, 3.0]], &Device::Cpu)?;
/// let teacher = Tensor::new(&[[-10.0, 0.0, 10.0]], &Device::Cpu)?;
/// let loss = |teacher: &Tensor| -> losses::Result<f64> {
///     let (teacher, kind) = (Supervision::teacher(teacher, None), Divergence::ForwardKl);
///     Ok(ls(&logits, teacher, kind, 2.0, TemperatureScale::Squared)?.to_scalar()?)
/// };
/// assert!(loss(&teacher)? < 1e-12); // ten times as large: the same after standardization
/// assert!((loss(&teacher.neg()?)? - 1.884366).abs() < 1e-6);
/// # Ok::<(), losses::Error>(())
/// ```
pub fn ls<'a>(
    logits: &Tensor,
    data: impl Into<Supervision<'a>>,
    kind: Divergence,
    temperature: f64,
    scale: TemperatureScale,
) -> Result<Tensor> {
    of_changed(logits, data.into(), kind, temperature, scale, |logits| standardized(&logits))
}

/// Z, (m, k).
pub(crate) fn standardized(logits: &Tensor) -> candle_core::Result<Tensor> {
    let (_, k) = logits.dims2()?;
    unit_stds(logits)? * (k as f64).sqrt()
}
