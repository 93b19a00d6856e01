//! Attention transfer: where a layer is active, whatever its channels mean.

use candle_core::Tensor;

use super::maps;
use crate::checks::check_range;
use crate::error::Result;
use crate::stable::{root, unit};

/// How far apart two attention maps of length 1 are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtGap {
    /// ‖aˢ − aᵀ‖₂, as in the paper; no derivative where the two agree.
    Norm,
    /// n⁻¹ ‖aˢ − aᵀ‖₂², the mean over n positions, as in the authors' code and most others.
    MeanSquare,
}

/// Distance of the student's attention map from the teacher's, averaged over the batch; shape ().
///
/// (1/m) Σᵢ gap(aˢᵢ, aᵀᵢ),  a = q / ‖q‖₂,  q = Σ_c |A_c|^p, one number a position
///
/// `student` and `teacher` are maps A, (m, c, h, w), of as many positions, channels at will; `power` p ≥ 1, 2 in most of
/// the paper. Maps of different sides have to be resized before. A map of zeros has a = 0. In units of the largest number of
/// an example, by which a does not change, no power overflows.
///
/// Source: Zagoruyko & Komodakis (2017), activation-based transfer; there times β/2 and summed over layers.
///
/// ```
/// use losses::candle_core::{Device, Tensor};
/// use losses::features::{AtGap, at};
///
/// // One example, one channel, four positions: the student looks at the first, the teacher at the second.
/// let student = Tensor::new(&[1.0, 0.0, 0.0, 0.0], &Device::Cpu)?.reshape((1, 1, 2, 2))?;
/// let teacher = Tensor::new(&[0.0, 3.0, 0.0, 0.0], &Device::Cpu)?.reshape((1, 1, 2, 2))?;
/// assert_eq!(at(&student, &teacher, 2.0, AtGap::MeanSquare)?.to_scalar::<f64>()?, 0.5);
/// # Ok::<(), losses::Error>(())
/// ```
pub fn at(student: &Tensor, teacher: &Tensor, power: f64, gap: AtGap) -> Result<Tensor> {
    check_range("power of an attention map", power, power >= 1.0 && power.is_finite(), "[1, ∞)")?;
    let (student, teacher) = maps(student, teacher)?;
    let difference = (of(&student, power)? - of(&teacher, power)?)?; // (m, n)
    let each = match gap {
        AtGap::Norm => root(&difference.sqr()?.sum(1)?)?,
        AtGap::MeanSquare => difference.sqr()?.mean(1)?,
    };
    Ok(each.mean_all()?)
}

/// a, (m, c, n) → (m, n).
fn of(map: &Tensor, power: f64) -> candle_core::Result<Tensor> {
    let (m, c, n) = map.dims3()?;
    let largest = map.detach().abs()?.reshape((m, c * n))?.max_keepdim(1)?; // (m, 1)
    let is_null = largest.eq(0.0)?.to_dtype(map.dtype())?;
    let scaled = map.broadcast_div(&(largest + is_null)?.unsqueeze(2)?)?;
    let powers = if power == 2.0 { scaled.sqr()? } else { scaled.abs()?.powf(power)? };
    unit(&powers.sum(1)?)
}
