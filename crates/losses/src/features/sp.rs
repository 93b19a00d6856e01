//! Similarity preserving: examples alike for the teacher should be alike for the student.

use candle_core::Tensor;

use super::several;
use crate::error::Result;
use crate::stable::unit;

/// Squared distance of the two matrices of products between examples of a batch; shape ().
///
/// m⁻² ‖Ĝˢ − Ĝᵀ‖_F²,  G = F Fᵀ, (m, m), Ĝ its rows divided by their length
///
/// `student` and `teacher` F are (m, …), m ≥ 2, of any sizes; maps count as rows. A batch repeated twice has half the loss, since the
/// entries of a row of length 1 shrink as it grows.
///
/// Source: Tung & Mori (2019).
pub fn sp(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let (student, teacher) = several(student, teacher)?;
    let gap = (products(&student)? - products(&teacher)?)?; // (m, m)
    Ok(gap.sqr()?.mean_all()?)
}

/// Ĝ. In units of the largest number, by which it does not change, no product overflows.
fn products(features: &Tensor) -> candle_core::Result<Tensor> {
    let largest = features.detach().abs()?.flatten_all()?.max_keepdim(0)?.unsqueeze(1)?; // (1, 1)
    let is_null = largest.eq(0.0)?.to_dtype(features.dtype())?;
    let scaled = features.broadcast_div(&(largest + is_null)?)?;
    unit(&scaled.matmul(&scaled.t()?)?)
}
