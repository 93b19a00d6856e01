//! The objects a teacher has answered for: its scores and the student's, side by side.

use candle_core::{DType, Tensor};
use core_tensors::{Dataset, Error, Soft};

use crate::distillation::TemperatureScale;
use crate::error::Result;

/// Scores of both roles for the n objects of 𝓘, in the order of the batch.
pub(crate) struct Answers {
    /// z, (n, k).
    pub(crate) student: Tensor,
    /// v, (n, k) or (n, e·k), without a gradient, in the student's type.
    pub(crate) teacher: Tensor,
    /// Which objects of the batch they are, (n,), u32.
    pub(crate) objects: Tensor,
}

/// None where 𝓘 is empty. Refuses data without a teacher, an empty batch and scores of another shape.
pub(crate) fn answers(scores: &Tensor, data: &Dataset) -> Result<Option<Answers>> {
    if let Some(soft) = data.soft() {
        let wanted = [data.n_objects(), soft.scores().dims2()?.1];
        if scores.dims() != wanted {
            let found = format!("{:?}", scores.shape());
            return Err(Error::mismatch("scores", format!("{wanted:?}"), found).into());
        }
    }
    members(scores, data)
}

/// [`answers`] of e teachers side by side, (n, e·k) for the student's (n, k).
pub(crate) fn members(scores: &Tensor, data: &Dataset) -> Result<Option<Answers>> {
    let Some(soft) = data.soft() else {
        return Err(Error::mismatch("answers of a teacher", "some", "none").into());
    };
    check_objects(data.n_objects())?;
    let ((m, k), columns) = (scores.dims2()?, soft.scores().dims2()?.1);
    if m != data.n_objects() {
        return Err(Error::mismatch("objects of the scores", data.n_objects(), m).into());
    }
    if k == 0 || columns == 0 || columns % k != 0 {
        let what = "columns of the members' answers";
        return Err(Error::mismatch(what, format!("a multiple of {k}"), columns).into());
    }
    known(scores, soft)
}

/// The rows of 𝓘 of scores (m, k) and of the answers beside them; None where it is empty.
///
/// What stands outside 𝓘 may be no number at all: it is left out, not multiplied by 0.
pub(crate) fn known(scores: &Tensor, soft: &Soft) -> Result<Option<Answers>> {
    let m = scores.dim(0)?;
    let flags: Vec<f32> = soft.known().to_dtype(DType::F32)?.to_vec1()?;
    let objects: Vec<u32> =
        (0u32..).zip(&flags).filter(|(_, f)| **f != 0.0).map(|(i, _)| i).collect();
    let n = objects.len();
    if n == 0 {
        return Ok(None);
    }
    let objects = Tensor::from_vec(objects, n, scores.device())?;
    let pick = |x: &Tensor| {
        if n == m { Ok(x.clone()) } else { x.contiguous()?.index_select(&objects, 0) }
    };
    let student = pick(scores)?;
    let teacher = pick(&soft.scores().detach().to_dtype(scores.dtype())?)?;
    Ok(Some(Answers { student, teacher, objects }))
}

/// 0, connected to the scores, as a mean over no object.
pub(crate) fn nothing(scores: &Tensor) -> Result<Tensor> {
    Ok(scores.zeros_like()?.mul(scores)?.sum_all()?)
}

/// At least one object to take a mean over.
pub(crate) fn check_objects(m: usize) -> Result<()> {
    if m > 0 { Ok(()) } else { Err(Error::mismatch("objects of a batch", "at least 1", 0).into()) }
}

/// T > 0, finite.
pub(crate) fn check_temperature(value: f64) -> Result<()> {
    check_range("temperature", value, value > 0.0 && value.is_finite(), "(0, ∞)")
}

/// Refuses a number outside its range.
pub(crate) fn check_range(
    name: &'static str,
    value: f64,
    is_inside: bool,
    range: &'static str,
) -> Result<()> {
    if is_inside { Ok(()) } else { Err(Error::OutOfRange { name, value, range }.into()) }
}

impl TemperatureScale {
    /// 1 or T².
    pub(crate) fn factor(self, temperature: f64) -> f64 {
        match self {
            Self::None => 1.0,
            Self::Squared => temperature.powi(2),
        }
    }
}
