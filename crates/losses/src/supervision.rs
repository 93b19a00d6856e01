//! What a student's outputs are compared with: hard targets, and the logits of a teacher for all examples or some.

use candle_core::{DType, Device, Tensor};
use core_tensors::{Dataset, Expected, Targets};

use crate::checks::{check_count, check_examples, check_shape};
use crate::error::{Error, Result};

/// What the outputs of a student are compared with: labels or values, a teacher's logits, or both.
///
/// Every loss with a teacher takes one. It borrows tensors, and costs nothing to make:
///
/// ```
/// use losses::candle_core::{Device, Tensor};
/// use losses::{Distillation, Supervision, distillation};
///
/// let logits = Tensor::new(&[[0.5, -1.0, 2.0], [0.0, 3.0, -0.5]], &Device::Cpu)?; // (m, k)
/// let teacher = Tensor::new(&[[1.0, 0.0, 1.5], [-1.0, 2.0, 0.5]], &Device::Cpu)?;
/// let labels = Tensor::new(&[2u32, 0], &Device::Cpu)?; // (m,)
/// let mask = Tensor::new(&[1u8, 0], &Device::Cpu)?; // (m,): the teacher's answer to the second is unknown
///
/// let alone = Supervision::labels(&labels);
/// let all = alone.with_teacher(&teacher, None);
/// let some = alone.with_teacher(&teacher, Some(&mask));
/// for (targets, wanted) in [(alone, 1.659129), (all, 15.847420), (some, 9.465615)] {
///     let loss = distillation(&logits, targets, &Distillation::hinton(0.9, 4.0))?;
///     assert!((loss.to_scalar::<f64>()? - wanted).abs() < 1e-6);
/// }
/// # Ok::<(), losses::Error>(())
/// ```
///
/// A [`Dataset`] of the training loop turns into one by itself: `distillation(&logits, &batch, &options)`.
#[derive(Clone, Copy, Debug)]
pub struct Supervision<'a> {
    hard: Hard<'a>,
    teacher: Option<Teacher<'a>>,
}

#[derive(Clone, Copy, Debug)]
enum Hard<'a> {
    None,
    /// `n_classes` where a [`Dataset`] has checked the labels already.
    Labels {
        labels: &'a Tensor,
        n_classes: Option<usize>,
    },
    Values(&'a Tensor),
}

#[derive(Clone, Copy, Debug)]
struct Teacher<'a> {
    logits: &'a Tensor,
    mask: Option<&'a Tensor>,
    /// A [`Dataset`] holds a mask of 0 and 1 in f32, of the right length.
    is_checked: bool,
}

/// A teacher's logits (m, k), or predictions, and \[i ∈ 𝓘\], (m,), f32.
#[derive(Clone, Debug)]
pub(crate) struct Soft {
    pub(crate) logits: Tensor,
    pub(crate) mask: Tensor,
}

impl<'a> Supervision<'a> {
    /// Labels alone: the class of each example, shape (m,), any integer type, each below the number of columns of the logits.
    pub fn labels(labels: &'a Tensor) -> Self {
        Self { hard: Hard::Labels { labels, n_classes: None }, teacher: None }
    }

    /// Values alone, of a regression: shape (m, k).
    pub fn values(values: &'a Tensor) -> Self {
        Self { hard: Hard::Values(values), teacher: None }
    }

    /// A teacher alone, for losses without hard targets; see [`Supervision::with_teacher`].
    pub fn teacher(logits: &'a Tensor, mask: Option<&'a Tensor>) -> Self {
        Self { hard: Hard::None, teacher: None }.with_teacher(logits, mask)
    }

    /// The same with a teacher's logits v (m, k), or its predictions of a regression.
    ///
    /// `mask` has shape (m,) and any numeric type: its numbers are not 0 where the teacher's answer is known, i ∈ 𝓘; without
    /// it all answers are known. What stands in the other rows of `logits` is not looked at. No gradient reaches the teacher.
    pub fn with_teacher(self, logits: &'a Tensor, mask: Option<&'a Tensor>) -> Self {
        Self { teacher: Some(Teacher { logits, mask, is_checked: false }), ..self }
    }

    /// m, 0 for what is no list of examples.
    pub(crate) fn n_examples(&self) -> usize {
        let first = match (self.hard, self.teacher) {
            (Hard::Labels { labels, .. }, _) => labels,
            (Hard::Values(values), _) => values,
            (Hard::None, Some(teacher)) => teacher.logits,
            (Hard::None, None) => return 0,
        };
        first.dims().first().copied().unwrap_or(0)
    }

    /// Labels (m,), u32, and k; `n_columns` is k where nothing else says it.
    pub(crate) fn classes(&self, what: &'static str, n_columns: usize) -> Result<(Tensor, usize)> {
        let Hard::Labels { labels, n_classes } = self.hard else {
            return Err(Error::WantedClasses { what });
        };
        if let Some(n_classes) = n_classes {
            return Ok((labels.clone(), n_classes));
        }
        check_shape("labels", &[self.n_examples()], labels.dims())?;
        if !labels.dtype().is_int() {
            return Err(Error::WantedClasses { what });
        }
        let numbers: Vec<i64> = labels.to_dtype(DType::I64)?.to_vec1()?;
        if let Some(&y) = numbers.iter().find(|&&y| y < 0 || y >= n_columns as i64) {
            let (name, range) = ("class", "0 .. the number of classes");
            return Err(core_tensors::Error::OutOfRange { name, value: y as f64, range }.into());
        }
        Ok((labels.to_dtype(DType::U32)?, n_columns))
    }

    /// y of a regression, (m, k).
    pub(crate) fn values_of(&self, what: &'static str) -> Result<&'a Tensor> {
        match self.hard {
            Hard::Values(values) => Ok(values),
            Hard::Labels { .. } | Hard::None => Err(Error::WantedValues { what }),
        }
    }

    /// The teacher, where there is one; refuses another number of rows, or a mask that does not fit.
    pub(crate) fn soft(&self) -> Result<Option<Soft>> {
        let Some(Teacher { logits, mask, is_checked }) = self.teacher else {
            return Ok(None);
        };
        let m = self.n_examples();
        if !is_checked {
            let (rows, _) = logits.dims2()?;
            check_count("rows of the teacher's logits", Expected::Exactly(m), rows == m, rows)?;
        }
        let mask = match mask {
            Some(mask) if is_checked => mask.clone(),
            Some(mask) => {
                check_shape("mask of the teacher", &[m], mask.dims())?;
                mask.detach().ne(0.0)?.to_dtype(DType::F32)?
            }
            None => Tensor::ones(m, DType::F32, &Device::Cpu)?.to_device(logits.device())?,
        };
        Ok(Some(Soft { logits: logits.clone(), mask }))
    }
}

/// Hard targets of the data, and the logits and mask of its teacher where it has one.
impl<'a> From<&'a Dataset> for Supervision<'a> {
    fn from(data: &'a Dataset) -> Self {
        let hard = match data.y() {
            Targets::Classes { labels, n_classes } => {
                Hard::Labels { labels, n_classes: Some(*n_classes) }
            }
            Targets::Values(values) => Hard::Values(values),
        };
        let teacher = data.soft().map(|soft| {
            let (logits, mask) = (soft.logits(), Some(soft.mask()));
            Teacher { logits, mask, is_checked: true }
        });
        Self { hard, teacher }
    }
}

/// Logits of both roles for the n examples of 𝓘, in the order of the batch.
pub(crate) struct KnownLogits {
    /// z, (n, k).
    pub(crate) student: Tensor,
    /// v, (n, k) or (n, e·k), without a gradient, in the student's type.
    pub(crate) teacher: Tensor,
    /// Which examples of the batch they are, (n,), u32.
    pub(crate) examples: Tensor,
}

/// None where 𝓘 is empty. Refuses data without a teacher, an empty batch and logits of another shape.
pub(crate) fn known_logits(logits: &Tensor, data: Supervision<'_>) -> Result<Option<KnownLogits>> {
    if let Some(soft) = data.soft()? {
        let expected = [data.n_examples(), soft.logits.dims2()?.1];
        check_shape("logits", &expected, logits.dims())?;
    }
    known_logits_of_members(logits, data)
}

/// [`known_logits`] of e teachers side by side, (n, e·k) for the student's (n, k).
pub(crate) fn known_logits_of_members(
    logits: &Tensor,
    data: Supervision<'_>,
) -> Result<Option<KnownLogits>> {
    let Some(soft) = data.soft()? else {
        return Err(Error::NoTeacher);
    };
    let n_examples = data.n_examples();
    check_examples(n_examples)?;
    let ((m, k), columns) = (logits.dims2()?, soft.logits.dims2()?.1);
    check_count("rows of the logits", Expected::Exactly(n_examples), m == n_examples, m)?;
    let is_right = k > 0 && columns > 0 && columns % k == 0;
    check_count("columns of the members' logits", Expected::MultipleOf(k), is_right, columns)?;
    within_mask(logits, &soft)
}

/// The rows of 𝓘 of logits (m, k) and of the teacher's beside them; None where it is empty.
///
/// What stands outside 𝓘 may be no number at all: it is left out, not multiplied by 0.
pub(crate) fn within_mask(logits: &Tensor, soft: &Soft) -> Result<Option<KnownLogits>> {
    let m = logits.dim(0)?;
    let flags: Vec<f32> = soft.mask.to_dtype(DType::F32)?.to_vec1()?;
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
    let teacher = pick(&soft.logits.detach().to_dtype(logits.dtype())?)?;
    Ok(Some(KnownLogits { student, teacher, examples }))
}

/// 0, connected to the logits, as a mean over no example.
pub(crate) fn nothing(logits: &Tensor) -> Result<Tensor> {
    Ok(logits.zeros_like()?.mul(logits)?.sum_all()?)
}

#[cfg(test)]
pub(crate) mod tests;
