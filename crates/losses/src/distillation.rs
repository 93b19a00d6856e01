//! Hard and soft cross-entropy: Hinton's distillation, its probabilistic reading, and the papers' variants.

use candle_core::{DType, Tensor};
use core_tensors::Expected;

use crate::checks::{check_count, check_examples, check_shape};
use crate::error::Result;
use crate::kernel;
use crate::normalizer::{self, Normalizer};
use crate::stable::log_softmax;
use crate::supervision::{self, KnownLogits, Soft, Supervision};

/// Smallest −log g whose logarithm is taken: keeps the fourth term finite where g is 1 even in f64, and in f32.
pub(crate) const SMALLEST_NEGATIVE_LOG: f64 = 1e-30;

/// How the teacher's term is reduced over classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassReduction {
    /// Σₖ, a cross-entropy.
    Sum,
    /// (1/k) Σₖ, as in the code behind paper 004's synthetic experiment.
    Mean,
}

/// Factor of the teacher's term that depends on the temperature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemperatureScale {
    /// 1: the term's gradient shrinks as 1/T², as in all the papers reproduced here.
    None,
    /// T², T the student's temperature: keeps the balance of both terms as T varies.
    ///
    /// Source: Hinton, Vinyals & Dean (2015), section 2.
    Squared,
}

/// The options of [`distillation`], whose documentation has the formula; constructors for the well-known settings.
///
/// ```
/// use losses::candle_core::{Device, Tensor};
/// use losses::{Distillation, Supervision, distillation};
///
/// let logits = Tensor::new(&[[0.5, -1.0, 2.0], [0.0, 3.0, -0.5]], &Device::Cpu)?; // (m, k)
/// let teacher = Tensor::new(&[[1.0, 0.0, 1.5], [-1.0, 2.0, 0.5]], &Device::Cpu)?;
/// let labels = Tensor::new(&[2u32, 0], &Device::Cpu)?; // (m,)
/// let targets = Supervision::labels(&labels).with_teacher(&teacher, None);
/// for (options, loss) in [
///     (Distillation::labels_only(), 1.659129),
///     (Distillation::sum_of_both(), 2.615237),
///     (Distillation::convex(0.5, 2.0), 1.359915),
///     (Distillation::hinton(0.5, 2.0), 2.950966),
///     (Distillation::generalized(0.5, 2.0), 1.538713),
///     (Distillation::four_term(0.5, 2.0), 1.633671),
///     // A setting of your own: Hinton's, with the labels at full weight.
///     (Distillation { label_weight: 1.0, ..Distillation::hinton(0.5, 2.0) }, 3.780530),
/// ] {
///     let found = distillation(&logits, targets, &options)?.to_scalar::<f64>()?;
///     assert!((found - loss).abs() < 1e-6, "{options:?}: {found}");
/// }
/// # Ok::<(), losses::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distillation {
    /// ≥ 0: weight of the hard cross-entropy where the teacher's answer is known (1 − λ).
    pub label_weight: f64,
    /// ≥ 0: weight of the hard cross-entropy where it is unknown, i ∉ 𝓘 (1 in the papers).
    pub unknown_label_weight: f64,
    /// ≥ 0: weight of the teacher's term (λ).
    pub teacher_weight: f64,
    /// T > 0 of the teacher's softmax.
    pub teacher_temperature: f64,
    /// T > 0 of the student's softmax in the teacher's term; labels always see T = 1.
    pub student_temperature: f64,
    /// How the teacher's term is reduced over classes.
    pub class_reduction: ClassReduction,
    /// Whether the teacher's term is multiplied by T².
    pub scale: TemperatureScale,
    /// The constant of the teacher's likelihood.
    pub normalizer: Normalizer,
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

impl Distillation {
    /// The hard cross-entropy alone, whatever the data hold.
    pub fn labels_only() -> Self {
        Self { teacher_weight: 0.0, ..Self::sum_of_both() }
    }

    /// (1 − λ) CE + λ soft CE at T on both sides, no T².
    ///
    /// Source: Grabovoy & Strijov (2022), three-term likelihood, λ ∈ \[0, 1\].
    pub fn convex(lambda: f64, temperature: f64) -> Self {
        Self {
            label_weight: 1.0 - lambda,
            teacher_weight: lambda,
            teacher_temperature: temperature,
            student_temperature: temperature,
            ..Self::sum_of_both()
        }
    }

    /// (1 − λ) CE + λ T² soft CE at T on both sides.
    ///
    /// Source: Hinton, Vinyals & Dean (2015), section 2.
    pub fn hinton(lambda: f64, temperature: f64) -> Self {
        Self { scale: TemperatureScale::Squared, ..Self::convex(lambda, temperature) }
    }

    /// (1 − λ) CE + λ soft CE, the teacher at T and the student at 1.
    ///
    /// Source: Lopez-Paz et al. (2016), generalized distillation; also the code behind paper 004's synthetic experiment,
    /// but for its mean over classes.
    pub fn generalized(lambda: f64, temperature: f64) -> Self {
        Self { student_temperature: 1.0, ..Self::convex(lambda, temperature) }
    }

    /// CE + soft CE at T = 1.
    ///
    /// Source: code behind paper 003, all its tables.
    pub fn sum_of_both() -> Self {
        Self {
            label_weight: 1.0,
            unknown_label_weight: 1.0,
            teacher_weight: 1.0,
            teacher_temperature: 1.0,
            student_temperature: 1.0,
            class_reduction: ClassReduction::Sum,
            scale: TemperatureScale::None,
            normalizer: Normalizer::None,
        }
    }

    /// (1 − λ) CE + λ times the mean over classes of soft CE and of the fourth term, at T on both sides.
    ///
    /// Source: Grabovoy & Strijov (2022), theorem on classification; the loss committed with paper 004.
    pub fn four_term(lambda: f64, temperature: f64) -> Self {
        Self {
            class_reduction: ClassReduction::Mean,
            normalizer: Normalizer::Paper,
            ..Self::convex(lambda, temperature)
        }
    }

    /// Factor of the teacher's sum over classes.
    pub(crate) fn teacher_factor(&self, n_classes: usize) -> f64 {
        let scale = self.scale.factor(self.student_temperature);
        let reduction = match self.class_reduction {
            ClassReduction::Sum => 1.0,
            ClassReduction::Mean => 1.0 / n_classes as f64,
        };
        self.teacher_weight * scale * reduction
    }

    fn check(&self) -> Result<()> {
        let out =
            |name, value, range| Err(core_tensors::Error::OutOfRange { name, value, range }.into());
        let weights = [
            ("label weight", self.label_weight),
            ("label weight outside 𝓘", self.unknown_label_weight),
            ("teacher weight", self.teacher_weight),
        ];
        for (name, value) in weights {
            if !(value >= 0.0 && value.is_finite()) {
                return out(name, value, "[0, ∞)");
            }
        }
        let temperatures = [
            ("teacher temperature", self.teacher_temperature),
            ("student temperature", self.student_temperature),
        ];
        for (name, value) in temperatures {
            if !(value > 0.0 && value.is_finite()) {
                return out(name, value, "(0, ∞)");
            }
        }
        Ok(())
    }
}

/// Weighted hard and soft cross-entropy, averaged over the batch; shape ().
///
/// (1/m) Σᵢ { aᵢ (−log g_{yᵢ}(xᵢ))  +  \[i ∈ 𝓘\] λ c (−Σₖ sᵢₖ log gₖ(xᵢ)|_T − log C(g(xᵢ)|_T)) },
///
/// with aᵢ = `label_weight` for i ∈ 𝓘, else `unknown_label_weight`; λ = `teacher_weight`; c from the reduction over
/// classes (1/k divides log C too, as in the paper) and T²; s the teacher's softmax at its temperature; C the
/// [`Normalizer`] of p(s | x, g). `logits` are the student's, (m, k). `data` are labels and mostly a teacher: a [`Supervision`],
/// or a `&core_tensors::Dataset`. Without a teacher every example lies outside 𝓘. The gradient reaches `logits` alone. The orthant's C wants two classes or more: one has g = 1, C = 0.
///
/// Source: Hinton, Vinyals & Dean (2015), section 2; Grabovoy & Strijov (2022), classification.
///
/// ```
/// use losses::candle_core::{Device, Tensor};
/// use losses::{Distillation, Supervision, distillation};
///
/// let logits = Tensor::new(&[[0.5, -1.0, 2.0], [0.0, 3.0, -0.5]], &Device::Cpu)?; // (m, k)
/// let teacher = Tensor::new(&[[1.0, 0.0, 1.5], [-1.0, 2.0, 0.5]], &Device::Cpu)?;
/// let labels = Tensor::new(&[2u32, 0], &Device::Cpu)?; // (m,)
/// let targets = Supervision::labels(&labels).with_teacher(&teacher, None);
/// let loss = distillation(&logits, targets, &Distillation::hinton(0.9, 4.0))?;
/// assert!((loss.to_scalar::<f64>()? - 15.847420).abs() < 1e-6);
/// # Ok::<(), losses::Error>(())
/// ```
pub fn distillation<'a>(
    logits: &Tensor,
    data: impl Into<Supervision<'a>>,
    options: &Distillation,
) -> Result<Tensor> {
    Ok(distillation_batched(logits, data, std::slice::from_ref(options))?.squeeze(0)?)
}

/// [`distillation`] of several students at once, each with its own options; shape (a,).
///
/// `logits` holds the students' logits side by side, (m, a·k). The sum of the result trains them all, each as if it
/// were alone, since no weight of one enters the loss of another.
pub fn distillation_batched<'a>(
    logits: &Tensor,
    data: impl Into<Supervision<'a>>,
    options: &[Distillation],
) -> Result<Tensor> {
    options.iter().try_for_each(Distillation::check)?;
    let (data, n_students) = (data.into(), options.len());
    check_count("students", Expected::AtLeast(1), n_students > 0, n_students)?;
    let n_columns = logits.dims2()?.1;
    let (labels, n_classes) = data.classes("distillation", n_columns / n_students)?;
    let m = data.n_examples();
    check_examples(m)?;
    check_shape("logits", &[m, n_students * n_classes], logits.dims())?;
    let soft = data.soft()?;
    if let Some(soft) = &soft {
        check_shape("logits of the teacher", &[m, n_classes], soft.logits.dims())?;
    }
    let is_fit = n_classes >= 2 || options.iter().all(|o| o.normalizer != Normalizer::Orthant);
    check_count("classes of a likelihood on the orthant", Expected::AtLeast(2), is_fit, n_classes)?;
    if logits.device().is_cpu() && matches!(logits.dtype(), DType::F32 | DType::F64) {
        return kernel::fused(logits, &labels, soft.as_ref(), options);
    }
    let student = |(a, options): (usize, &Distillation)| {
        let logits = logits.narrow(1, a * n_classes, n_classes)?;
        composed(&logits, &labels, soft.as_ref(), options)
    };
    let losses = options.iter().enumerate().map(student).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::stack(&losses, 0)?)
}

/// The formula in tensor operations: for other devices, and the oracle of the fused kernel.
pub(crate) fn composed(
    logits: &Tensor,
    labels: &Tensor,
    soft: Option<&Soft>,
    options: &Distillation,
) -> Result<Tensor> {
    let (m, n_classes) = logits.dims2()?;
    let log_g = log_softmax(logits)?; // (m, k)
    let hard = log_g.gather(&labels.unsqueeze(1)?, 1)?.squeeze(1)?.neg()?; // (m,)
    let Some(soft) = soft else {
        return Ok(((hard.sum_all()? * options.unknown_label_weight)? / m as f64)?);
    };
    let mask = soft.mask.to_dtype(logits.dtype())?; // (m,)
    let extra = options.label_weight - options.unknown_label_weight;
    let label_weights = mask.affine(extra, options.unknown_label_weight)?; // (m,)
    let mut total = (hard * label_weights)?.sum_all()?;
    let factor = options.teacher_factor(n_classes);
    if factor > 0.0
        && let Some(KnownLogits { student, teacher, .. }) = supervision::within_mask(logits, soft)?
    {
        let s = log_softmax(&(teacher / options.teacher_temperature)?)?.exp()?; // (n, k)
        let scaled = (student / options.student_temperature)?; // (n, k)
        let log_g = log_softmax(&scaled)?; // (n, k)
        let mut terms = (s * &log_g)?.neg()?; // (n, k)
        if options.normalizer == Normalizer::Paper {
            let inner = log_g.neg()?.maximum(SMALLEST_NEGATIVE_LOG)?.log()?;
            terms = (terms - (log_g + inner)?)?;
        }
        let mut terms = terms.sum(1)?; // (n,)
        if let Some(penalty) = options.normalizer.penalty() {
            terms = (terms + normalizer::of_logits(penalty, &scaled)?)?;
        }
        total = (total + (terms.sum_all()? * factor)?)?;
    }
    Ok((total / m as f64)?)
}

#[cfg(test)]
mod tests;
