//! Hard and soft cross-entropy: Hinton's distillation, its probabilistic reading, and the papers' variants.

use candle_core::{DType, Tensor};
use core_tensors::{Dataset, SoftTargets, Targets};

use crate::answers::{self, Answers};
use crate::error::{Error, Result};
use crate::kernel;
use crate::normalizer::{self, Normalizer};
use crate::stable::log_softmax;

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

/// Every choice of a distillation loss; see [`distillation`] for the formula.
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
/// [`Normalizer`] of p(s | x, g). `logits` are the student's, (m, k). Without a teacher in `data` every example lies
/// outside 𝓘. The gradient reaches `logits` alone. The orthant's C wants two classes or more: one has g = 1, C = 0.
///
/// Source: Hinton, Vinyals & Dean (2015), section 2; Grabovoy & Strijov (2022), classification.
pub fn distillation(logits: &Tensor, data: &Dataset, config: &Distillation) -> Result<Tensor> {
    Ok(distillation_batched(logits, data, std::slice::from_ref(config))?.squeeze(0)?)
}

/// [`distillation`] of several students at once, each with its own choices; shape (a,).
///
/// `logits` holds the students' logits side by side, (m, a·k). The sum of the result trains them all, each as if it
/// were alone, since no weight of one enters the loss of another.
pub fn distillation_batched(
    logits: &Tensor,
    data: &Dataset,
    configs: &[Distillation],
) -> Result<Tensor> {
    configs.iter().try_for_each(Distillation::check)?;
    for (what, n) in [("students", configs.len()), ("objects of a batch", data.n_examples())] {
        if n == 0 {
            return Err(core_tensors::Error::mismatch(what, "at least 1", 0).into());
        }
    }
    let Targets::Classes { labels, n_classes } = data.y() else {
        return Err(Error::WantedClasses { what: "distillation" });
    };
    let check = |what, found: &Tensor, n_columns: usize| {
        if found.dims() == [data.n_examples(), n_columns] {
            return Ok(());
        }
        let wanted = format!("[{}, {n_columns}]", data.n_examples());
        Err(core_tensors::Error::mismatch(what, wanted, format!("{:?}", found.shape())))
    };
    check("scores", logits, configs.len() * n_classes)?;
    if let Some(soft) = data.soft() {
        check("answers of the teacher", soft.logits(), *n_classes)?;
    }
    if *n_classes < 2 && configs.iter().any(|config| config.normalizer == Normalizer::Orthant) {
        let what = "classes of a likelihood on the orthant";
        return Err(core_tensors::Error::mismatch(what, "at least 2", n_classes).into());
    }
    if logits.device().is_cpu() && matches!(logits.dtype(), DType::F32 | DType::F64) {
        return kernel::fused(logits, labels, data.soft(), configs);
    }
    let student = |(a, config): (usize, &Distillation)| {
        composed(&logits.narrow(1, a * n_classes, *n_classes)?, labels, data.soft(), config)
    };
    let losses = configs.iter().enumerate().map(student).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::stack(&losses, 0)?)
}

/// The formula in tensor operations: for other devices, and the oracle of the fused kernel.
pub(crate) fn composed(
    logits: &Tensor,
    labels: &Tensor,
    soft: Option<&SoftTargets>,
    config: &Distillation,
) -> Result<Tensor> {
    let (m, n_classes) = logits.dims2()?;
    let log_g = log_softmax(logits)?; // (m, k)
    let hard = log_g.gather(&labels.unsqueeze(1)?, 1)?.squeeze(1)?.neg()?; // (m,)
    let Some(soft) = soft else {
        return Ok(((hard.sum_all()? * config.unknown_label_weight)? / m as f64)?);
    };
    let mask = soft.mask().to_dtype(logits.dtype())?; // (m,)
    let extra = config.label_weight - config.unknown_label_weight;
    let label_weights = mask.affine(extra, config.unknown_label_weight)?; // (m,)
    let mut total = (hard * label_weights)?.sum_all()?;
    let factor = config.teacher_factor(n_classes);
    if factor > 0.0
        && let Some(Answers { student, teacher, .. }) = answers::mask(logits, soft)?
    {
        let s = log_softmax(&(teacher / config.teacher_temperature)?)?.exp()?; // (n, k)
        let scaled = (student / config.student_temperature)?; // (n, k)
        let log_g = log_softmax(&scaled)?; // (n, k)
        let mut terms = (s * &log_g)?.neg()?; // (n, k)
        if config.normalizer == Normalizer::Paper {
            let inner = log_g.neg()?.maximum(SMALLEST_NEGATIVE_LOG)?.log()?;
            terms = (terms - (log_g + inner)?)?;
        }
        let mut terms = terms.sum(1)?; // (n,)
        if let Some(penalty) = config.normalizer.penalty() {
            terms = (terms + normalizer::of_logits(penalty, &scaled)?)?;
        }
        total = (total + (terms.sum_all()? * factor)?)?;
    }
    Ok((total / m as f64)?)
}

#[cfg(test)]
mod tests;
