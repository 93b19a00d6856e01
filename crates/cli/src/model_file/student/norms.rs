//! Batch normalizations that were folded into linear maps, as tensors of a file whose class still has them.

use candle_core::{DType, Device, Tensor};

use crate::model_file::state_dict::SpelledNorm;

/// The tensors of a normalization of n channels that leaves its input as it is but for a shift.
///
/// γ (x − μ)/√(v + ε) + β with v = 1 − ε, γ = 1, and μ = 0 where there is a β: v + ε is 1 in f32 as well, so that nothing is rounded.
pub(super) fn identity(
    norm: &SpelledNorm,
    n: usize,
    shift: Option<&Tensor>,
) -> candle_core::Result<Vec<(String, Tensor)>> {
    let full = |value: f64| Tensor::full(value, n, &Device::Cpu)?.to_dtype(DType::F32);
    let variance = (1.0 - norm.epsilon).max(0.0);
    let shift = shift.map_or_else(|| full(0.0), Tensor::flatten_all)?;
    // Without β, the mean shifts.
    let mean = if norm.shift.is_some() { full(0.0)? } else { shift.neg()? };
    let mut tensors = vec![(norm.mean.clone(), mean), (norm.variance.clone(), full(variance)?)];
    if let Some(name) = &norm.scale {
        tensors.push((name.clone(), full((variance + norm.epsilon).sqrt())?));
    }
    if let Some(name) = &norm.shift {
        tensors.push((name.clone(), shift));
    }
    Ok(tensors)
}
