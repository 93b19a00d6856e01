//! Standardization of logits before they are compared: a student need not match the size of its teacher's.

use candle_core::Tensor;
use core_tensors::Dataset;

use crate::distillation::TemperatureScale;
use crate::divergence::{Divergence, of_changed};
use crate::error::Result;
use crate::stable::unit_stds;

/// Scores less their mean over classes, divided by their standard deviation; shape (m, k).
///
/// (zₖ − z̄) / σ(z),  σ(z)² = k⁻¹ Σₖ (zₖ − z̄)²
///
/// A row that is constant up to rounding becomes zeros, without a gradient.
///
/// Source: Sun et al. (2024), logit standardization. Their public code divides by the standard deviation with
/// k − 1 in the place of k, and adds 1e-7 to it.
pub fn standardized(logits: &Tensor) -> Result<Tensor> {
    Ok(z_scores(logits)?)
}

/// [`crate::divergence`] of [`standardized`] logits; shape ().
///
/// (1/m) Σᵢ \[i ∈ 𝓘\] c D(softmax(Z(vᵢ) / T), softmax(Z(zᵢ) / T)),  Z the standardization, c = 1 or T².
///
/// Invariant to a shift and to a positive factor of each row of either role's logits.
///
/// Source: Sun et al. (2024): the forward divergence with T².
pub fn standardized_divergence(
    logits: &Tensor,
    data: &Dataset,
    kind: Divergence,
    temperature: f64,
    scale: TemperatureScale,
) -> Result<Tensor> {
    of_changed(logits, data, kind, temperature, scale, |logits| z_scores(&logits))
}

fn z_scores(logits: &Tensor) -> candle_core::Result<Tensor> {
    let (_, k) = logits.dims2()?;
    unit_stds(logits)? * (k as f64).sqrt()
}
