//! The examples a teacher has answered for: its logits and the student's, side by side.

use candle_core::{DType, Tensor};
use core_tensors::{Dataset, Error, SoftTargets};

use crate::distillation::TemperatureScale;
use crate::error::Result;

/// Scores of both roles for the n examples of 𝓘, in the order of the batch.
pub(crate) struct Answers {
    /// z, (n, k).
    pub(crate) student: Tensor,
    /// v, (n, k) or (n, e·k), without a gradient, in the student's type.
    pub(crate) teacher: Tensor,
    /// Which examples of the batch they are, (n,), u32.
    pub(crate) examples: Tensor,
}

/// None where 𝓘 is empty. Refuses data without a teacher, an empty batch and logits of another shape.
pub(crate) fn answers(logits: &Tensor, data: &Dataset) -> Result<Option<Answers>> {
    if let Some(soft) = data.soft() {
        let wanted = [data.n_examples(), soft.logits().dims2()?.1];
        if logits.dims() != wanted {
            let found = format!("{:?}", logits.shape());
            return Err(Error::mismatch("scores", format!("{wanted:?}"), found).into());
        }
    }
    members(logits, data)
}

/// [`answers`] of e teachers side by side, (n, e·k) for the student's (n, k).
pub(crate) fn members(logits: &Tensor, data: &Dataset) -> Result<Option<Answers>> {
    let Some(soft) = data.soft() else {
        return Err(Error::mismatch("answers of a teacher", "some", "none").into());
    };
    check_examples(data.n_examples())?;
    let ((m, k), columns) = (logits.dims2()?, soft.logits().dims2()?.1);
    if m != data.n_examples() {
        return Err(Error::mismatch("objects of the scores", data.n_examples(), m).into());
    }
    if k == 0 || columns == 0 || columns % k != 0 {
        let what = "columns of the members' answers";
        return Err(Error::mismatch(what, format!("a multiple of {k}"), columns).into());
    }
    mask(logits, soft)
}

/// The rows of 𝓘 of logits (m, k) and of the answers beside them; None where it is empty.
///
/// What stands outside 𝓘 may be no number at all: it is left out, not multiplied by 0.
pub(crate) fn mask(logits: &Tensor, soft: &SoftTargets) -> Result<Option<Answers>> {
    let m = logits.dim(0)?;
    let flags: Vec<f32> = soft.mask().to_dtype(DType::F32)?.to_vec1()?;
    let examples: Vec<u32> =
        (0u32..).zip(&flags).filter(|(_, f)| **f != 0.0).map(|(i, _)| i).collect();
    let n = examples.len();
    if n == 0 {
        return Ok(None);
    }
    let examples = Tensor::from_vec(examples, n, logits.device())?;
    let pick = |x: &Tensor| {
        if n == m { Ok(x.clone()) } else { x.contiguous()?.index_select(&examples, 0) }
    };
    let student = pick(logits)?;
    let teacher = pick(&soft.logits().detach().to_dtype(logits.dtype())?)?;
    Ok(Some(Answers { student, teacher, examples }))
}

/// 0, connected to the logits, as a mean over no example.
pub(crate) fn nothing(logits: &Tensor) -> Result<Tensor> {
    Ok(logits.zeros_like()?.mul(logits)?.sum_all()?)
}

/// At least one example to take a mean over.
pub(crate) fn check_examples(m: usize) -> Result<()> {
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
