//! Relational distillation: distances and angles between the examples of a batch.

use candle_core::{D, Tensor};

use super::several;
use crate::error::Result;
use crate::stable::{root, unit};

/// Gap of the distances between examples, each role's in units of its own mean distance; shape ().
///
/// m⁻² Σᵢⱼ l(ψˢᵢⱼ − ψᵀᵢⱼ),  ψᵢⱼ = ‖fᵢ − fⱼ‖ / μ,  l(d) = ½ d² for |d| ≤ 1, else |d| − ½
///
/// with μ the mean of the distances that are not 0. `student` and `teacher` f are (m, …), m ≥ 2, of any sizes; maps count as
/// rows. Memory goes as m² d.
///
/// Source: Park et al. (2019), RKD-D, where the sum over i ≠ j is not divided; the mean and μ are those of the authors' code.
pub fn rkd_distance(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let (student, teacher) = several(student, teacher)?;
    Ok(mean_huber(&(distances(&student)? - distances(&teacher)?)?)?)
}

/// Gap of the cosines of the angles between examples; shape ().
///
/// m⁻³ Σᵢⱼₖ l(cosˢ∠ijk − cosᵀ∠ijk),  cos∠ijk = ⟨fᵢ − fⱼ, fₖ − fⱼ⟩ / (‖fᵢ − fⱼ‖ ‖fₖ − fⱼ‖), 0 where two examples coincide
///
/// with l as in [`rkd_distance`]. `student` and `teacher` f are (m, …), m ≥ 2, of any sizes; maps count as
/// rows. Memory goes as m² d + m³.
///
/// Source: Park et al. (2019), RKD-A, where the sum over different i, j, k is not divided; the mean over all of them is that of
/// the authors' code.
pub fn rkd_angle(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let (student, teacher) = several(student, teacher)?;
    let cosines = |x: &Tensor| {
        let directions = unit(&differences(x)?)?; // (m, m, d)
        directions.matmul(&directions.t()?) // (m, m, m)
    };
    Ok(mean_huber(&(cosines(&student)? - cosines(&teacher)?)?)?)
}

/// xⱼ − xᵢ, (m, m, d): exact zeros between equal examples, which a difference of products would not give.
///
/// Rows are picked, as the way back of a broadcast is ten times slower than that of picking.
fn differences(x: &Tensor) -> candle_core::Result<Tensor> {
    let (m, d) = x.dims2()?;
    let examples = Tensor::arange(0u32, m as u32, x.device())?;
    let each = |shape: (usize, usize)| -> candle_core::Result<Tensor> {
        x.contiguous()?
            .index_select(&examples.reshape(shape)?.broadcast_as((m, m))?.flatten_all()?, 0)
    };
    (each((1, m))? - each((m, 1))?)?.reshape((m, m, d))
}

/// ψ, (m, m); zeros where all examples coincide.
fn distances(x: &Tensor) -> candle_core::Result<Tensor> {
    let distances = root(&differences(x)?.sqr()?.sum(D::Minus1)?)?; // (m, m)
    let n_apart = distances.detach().gt(0.0)?.to_dtype(x.dtype())?.sum_all()?;
    let is_one_point = n_apart.eq(0.0)?.to_dtype(x.dtype())?;
    let mean = (distances.sum_all()? / (n_apart + &is_one_point)?)?;
    distances.broadcast_div(&(mean + is_one_point)?)
}

fn mean_huber(gap: &Tensor) -> candle_core::Result<Tensor> {
    let size = gap.abs()?;
    let is_small = size.detach().le(1.0)?;
    is_small.where_cond(&(gap.sqr()? * 0.5)?, &(size - 0.5)?)?.mean_all()
}
