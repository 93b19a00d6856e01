//! Divergences between the tempered softmaxes of a teacher and its student, and distances of their logits.

use candle_core::Tensor;

use crate::checks::{check_range, check_temperature};
use crate::distillation::TemperatureScale;
use crate::error::Result;
use crate::stable::{log_mixture, log_softmax, log_sum_exp};
use crate::supervision::{Supervision, known_logits, nothing};

/// What is measured between s = softmax(v / T), the teacher's probabilities, and g = softmax(z / T), the student's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Divergence {
    /// KL(s ‖ g) = Σₖ sₖ log(sₖ / gₖ): the student covers all that the teacher holds possible.
    ///
    /// Its gradient is that of the soft cross-entropy of [`crate::distillation`].
    ForwardKl,
    /// KL(g ‖ s) = Σₖ gₖ log(gₖ / sₖ): the student keeps to where the teacher is sure.
    ///
    /// Source: Gu et al. (2024), MiniLLM.
    ReverseKl,
    /// β KL(s ‖ r) + (1 − β) KL(g ‖ r), r = β s + (1 − β) g; at most log 2.
    ///
    /// Divided by β it tends to KL(s ‖ g) as β → 0, divided by 1 − β to KL(g ‖ s) as β → 1; β = ½ is the symmetric one.
    ///
    /// Source: Lin (1991), with weights; Agarwal et al. (2024), GKD.
    JensenShannon {
        /// β ∈ (0, 1): share of the teacher in the mixture, and weight of its term.
        teacher_weight: f64,
    },
    /// KL(s ‖ α s + (1 − α) g), at most −log α; KL(s ‖ g) at α = 0.
    ///
    /// Divided by (1 − α)² it tends to ½ Σₖ (sₖ − gₖ)² / sₖ as α → 1.
    ///
    /// Source: Lee (1999), skew divergence; Ko et al. (2024), DistiLLM.
    Skew {
        /// α ∈ \[0, 1): share of the teacher in the mixture.
        teacher_weight: f64,
    },
    /// KL(g ‖ α g + (1 − α) s), at most −log α; KL(g ‖ s) at α = 0.
    ///
    /// Source: Ko et al. (2024), DistiLLM, its skew reverse divergence.
    ReverseSkew {
        /// α ∈ \[0, 1): share of the student in the mixture.
        student_weight: f64,
    },
    /// (α − 1)⁻¹ log Σₖ sₖ^α gₖ^{1 − α}; KL(s ‖ g) at α = 1, its limit.
    ///
    /// Rounding grows as 1 / |α − 1| beside 1.
    ///
    /// Source: Rényi (1961); van Erven & Harremoës (2014).
    Renyi {
        /// α > 0.
        order: f64,
    },
    /// ½ Σₖ |sₖ − gₖ|, at most 1. Its derivative jumps where the two agree.
    ///
    /// Source: Wen et al. (2023), f-divergence minimization for sequence-level distillation.
    TotalVariation,
    /// ½ Σₖ (√sₖ − √gₖ)² = 1 − Σₖ √(sₖ gₖ), the square of Hellinger's distance; at most 1.
    ///
    /// Equals 1 − exp(−½ D), D Rényi's of order ½. The distance itself has no derivative where the two agree.
    ///
    /// Source: Hellinger (1909); in van Erven & Harremoës (2014) without the factor ½.
    SquaredHellinger,
    /// ½ k⁻¹ Σₖ ((zₖ − vₖ) / T)².
    ///
    /// Source: Ba & Caruana (2014), at T = 1, where the sum is not divided by k.
    Logits,
    /// ½ k⁻¹ Σₖ ((zₖ − z̄ − vₖ + v̄) / T)², means over classes.
    ///
    /// It is what [`Divergence::ForwardKl`] tends to as T → ∞, the ratio of both to 1.
    ///
    /// Source: Hinton, Vinyals & Dean (2015), section 2.1, for logits that are centered.
    CentredLogits,
}

/// Divergence of the student from the teacher, averaged over the batch; shape ().
///
/// (1/m) Σᵢ \[i ∈ 𝓘\] c D(sᵢ, gᵢ),  s = softmax(v / T), g = softmax(z / T),
///
/// with D the [`Divergence`] and c = 1 or T² by `scale`. `logits` are the student's z, (m, k); v stands in `data`, which
/// must have a teacher; what stands there outside 𝓘 is not looked at. Hard targets play no part. The gradient reaches
/// `logits` alone. Everything is computed from logarithms, so that values and derivatives are finite at logits of 1e6.
///
/// ```
/// use losses::candle_core::{Device, Tensor};
/// use losses::{Divergence, Supervision, TemperatureScale, divergence};
///
/// let logits = Tensor::new(&[[0.5, -1.0, 2.0], [0.0, 3.0, -0.5]], &Device::Cpu)?; // (m, k)
/// let teacher = Tensor::new(&[[1.0, 0.0, 1.5], [-1.0, 2.0, 0.5]], &Device::Cpu)?;
/// let of = |kind| -> losses::Result<f64> {
///     let teacher = Supervision::teacher(&teacher, None);
///     Ok(divergence(&logits, teacher, kind, 2.0, TemperatureScale::None)?.to_scalar()?)
/// };
/// assert!((of(Divergence::ForwardKl)? - 0.065881).abs() < 1e-6);
/// assert!((of(Divergence::ReverseKl)? - 0.057395).abs() < 1e-6);
/// # Ok::<(), losses::Error>(())
/// ```
pub fn divergence<'a>(
    logits: &Tensor,
    data: impl Into<Supervision<'a>>,
    kind: Divergence,
    temperature: f64,
    scale: TemperatureScale,
) -> Result<Tensor> {
    of_changed(logits, data.into(), kind, temperature, scale, Ok)
}

/// [`divergence`] after the same change to the logits of both, (n, k) → (n, k).
pub(crate) fn of_changed(
    logits: &Tensor,
    data: Supervision<'_>,
    kind: Divergence,
    temperature: f64,
    scale: TemperatureScale,
    change: impl Fn(Tensor) -> candle_core::Result<Tensor>,
) -> Result<Tensor> {
    check_temperature(temperature)?;
    kind.check()?;
    let Some(known) = known_logits(logits, data)? else {
        return nothing(logits);
    };
    let (z, v) = (change(known.student)?, change(known.teacher)?);
    let each = kind.of(&(z / temperature)?, &(v / temperature)?)?; // (n,)
    Ok((each.sum_all()? * (scale.factor(temperature) / data.n_examples() as f64))?)
}

/// KL(a ‖ b) of each row from logarithms, (n, k) → (n,).
pub(crate) fn kl(log_a: &Tensor, log_b: &Tensor) -> candle_core::Result<Tensor> {
    (log_a.exp()? * (log_a - log_b)?)?.sum(1)
}

impl Divergence {
    /// D of each row of tempered logits z of the student and v of the teacher, (n, k) → (n,).
    fn of(self, z: &Tensor, v: &Tensor) -> candle_core::Result<Tensor> {
        let (log_g, log_s) = (log_softmax(z)?, log_softmax(v)?); // (n, k)
        match self {
            Self::ForwardKl => kl(&log_s, &log_g),
            Self::ReverseKl => kl(&log_g, &log_s),
            Self::JensenShannon { teacher_weight: beta } => {
                let log_r = log_mixture(&log_s, &log_g, beta)?;
                (kl(&log_s, &log_r)? * beta)? + (kl(&log_g, &log_r)? * (1.0 - beta))?
            }
            Self::Skew { teacher_weight: alpha } => skew(&log_s, &log_g, alpha),
            Self::ReverseSkew { student_weight: alpha } => skew(&log_g, &log_s, alpha),
            Self::Renyi { order: 1.0 } => kl(&log_s, &log_g),
            Self::Renyi { order: alpha } => {
                let powers = ((&log_s * alpha)? + (&log_g * (1.0 - alpha))?)?; // (n, k)
                log_sum_exp(&powers)?.squeeze(1)? / (alpha - 1.0)
            }
            Self::TotalVariation => (log_s.exp()? - log_g.exp()?)?.abs()?.sum(1)? * 0.5,
            Self::SquaredHellinger => {
                let gap = ((log_s * 0.5)?.exp()? - (log_g * 0.5)?.exp()?)?;
                gap.sqr()?.sum(1)? * 0.5
            }
            Self::Logits => (z - v)?.sqr()?.mean(1)? * 0.5,
            Self::CentredLogits => {
                let gap = (z - v)?;
                gap.broadcast_sub(&gap.mean_keepdim(1)?)?.sqr()?.mean(1)? * 0.5
            }
        }
    }

    fn check(self) -> Result<()> {
        match self {
            Self::JensenShannon { teacher_weight: w } => {
                check_range("weight of the teacher", w, w > 0.0 && w < 1.0, "(0, 1)")
            }
            Self::Skew { teacher_weight: w } => {
                check_range("weight of the teacher", w, (0.0..1.0).contains(&w), "[0, 1)")
            }
            Self::ReverseSkew { student_weight: w } => {
                check_range("weight of the student", w, (0.0..1.0).contains(&w), "[0, 1)")
            }
            Self::Renyi { order } => check_range(
                "order of a divergence",
                order,
                order > 0.0 && order.is_finite(),
                "(0, ∞)",
            ),
            Self::ForwardKl
            | Self::ReverseKl
            | Self::TotalVariation
            | Self::SquaredHellinger
            | Self::Logits
            | Self::CentredLogits => Ok(()),
        }
    }
}

/// KL(a ‖ α a + (1 − α) b).
fn skew(log_a: &Tensor, log_b: &Tensor, alpha: f64) -> candle_core::Result<Tensor> {
    if alpha == 0.0 {
        return kl(log_a, log_b);
    }
    kl(log_a, &log_mixture(log_a, log_b, alpha)?)
}

#[cfg(test)]
pub(crate) mod tests;
