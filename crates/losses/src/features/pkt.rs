//! Probabilistic knowledge transfer: which examples of the batch are neighbors, as a conditional distribution.

use candle_core::{DType, Tensor};

use super::several;
use crate::divergence::kl;
use crate::error::Result;
use crate::stable::{log_sum_exp, unit, without};

/// Smallest similarity: that of opposite features is 0, whose logarithm has no place in a loss. The authors' floor.
const SMALLEST_SIMILARITY: f64 = 1e-7;

/// Divergence of the student's neighborhoods from the teacher's, averaged over the batch; shape ().
///
/// (1/m) Σᵢ Σ_{j≠i} pᵢⱼ log(pᵢⱼ / qᵢⱼ),  pᵢⱼ = K(fᵢ, fⱼ) / Σ_{l≠i} K(fᵢ, f_l),  K(a, b) = ½ (1 + aᵀb / ‖a‖‖b‖)
///
/// with p of the `teacher` and q of the `student`, features (m, …) of any sizes, m ≥ 2; maps count as rows. K is at least
/// 1e-7, below which it has no derivative. A batch repeated twice has another loss: every example gains a twin as its nearest neighbor.
///
/// Source: Passalis & Tefas (2018), where the sum is not divided by m. Their code counts j = i too, with K = 1, and takes the
/// mean over all pairs, a further 1/m.
pub fn pkt(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let (student, teacher) = several(student, teacher)?;
    let each = kl(&log_neighbors(&teacher)?, &log_neighbors(&student)?)?; // (m,)
    Ok(each.mean_all()?.to_dtype(student.dtype())?)
}

/// log p, (m, m − 1), f64: the examples other than that of the row.
///
/// ½ (1 + cos) of features that are almost opposite is a difference of nearly equal numbers; f64 keeps its digits down to
/// the floor.
fn log_neighbors(features: &Tensor) -> candle_core::Result<Tensor> {
    let directions = unit(&features.to_dtype(DType::F64)?)?;
    let cosines = directions.matmul(&directions.t()?)?;
    let own: Vec<u32> = (0..cosines.dim(0)? as u32).collect();
    let similarities = without(&cosines, &own)?.affine(0.5, 0.5)?; // (m, m − 1)
    let log_k = similarities.maximum(SMALLEST_SIMILARITY)?.log()?;
    log_k.broadcast_sub(&log_sum_exp(&log_k)?)
}
