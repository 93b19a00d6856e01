//! Decoupled distillation: how sure the teacher is of the label, and what it holds of the other classes, weighed apart.

use candle_core::Tensor;
use core_tensors::Expected;

use crate::checks::{check_count, check_range, check_temperature};
use crate::distillation::TemperatureScale;
use crate::divergence::kl;
use crate::error::Result;
use crate::stable::{log_softmax, log_sum_exp, without};
use crate::supervision::{KnownLogits, Supervision, known_logits, nothing};

/// The options of [`dkd`](fn@dkd), decoupled knowledge distillation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dkd {
    /// α ≥ 0: weight of the divergence between label and the rest (1 in the paper).
    pub label_weight: f64,
    /// β ≥ 0: weight of the divergence among the other classes.
    pub others_weight: f64,
    /// T > 0 of both softmaxes.
    pub temperature: f64,
    /// Whether both terms are multiplied by T²; they are in the authors' code.
    pub scale: TemperatureScale,
}

/// Divergence in the label and divergence among the other classes, averaged over the batch; shape ().
///
/// (1/m) Σᵢ \[i ∈ 𝓘\] c { α KL(b(sᵢ) ‖ b(gᵢ)) + β KL(ŝᵢ ‖ ĝᵢ) },  b(p) = (p_y, 1 − p_y),  p̂ₖ = pₖ / (1 − p_y), k ≠ y,
///
/// with s and g the softmaxes at T, y the label, c = 1 or T². KL(s ‖ g) is the case α = 1, β = 1 − s_y, which varies with
/// the example. `logits` are the student's, (m, k), k ≥ 2; at k = 2 the second term is 0. The gradient reaches `logits` alone.
///
/// Source: Zhao et al. (2022), DKD. Their code leaves y out of ŝ and ĝ by taking 1000 from its logit, and takes
/// the logarithm of sums of probabilities, which is −∞ for a student that is sure; here y is left out, in logarithms.
///
/// ```
/// use losses::candle_core::{Device, Tensor};
/// use losses::{Dkd, Supervision, TemperatureScale, dkd};
///
/// let logits = Tensor::new(&[[0.5, -1.0, 2.0], [0.0, 3.0, -0.5]], &Device::Cpu)?; // (m, k)
/// let teacher = Tensor::new(&[[1.0, 0.0, 1.5], [-1.0, 2.0, 0.5]], &Device::Cpu)?;
/// let labels = Tensor::new(&[2u32, 0], &Device::Cpu)?; // (m,)
/// let targets = Supervision::labels(&labels).with_teacher(&teacher, None);
/// let scale = TemperatureScale::Squared;
/// let options = Dkd { label_weight: 1.0, others_weight: 8.0, temperature: 4.0, scale };
/// let loss = dkd(&logits, targets, &options)?.to_scalar::<f64>()?;
/// assert!((loss - 2.087966).abs() < 1e-6);
/// # Ok::<(), losses::Error>(())
/// ```
pub fn dkd<'a>(logits: &Tensor, data: impl Into<Supervision<'a>>, options: &Dkd) -> Result<Tensor> {
    options.check()?;
    let (data, k) = (data.into(), logits.dims2()?.1);
    let (labels, _) = data.classes("DKD", k)?;
    let Some(KnownLogits { student, teacher, examples }) = known_logits(logits, data)? else {
        return nothing(logits);
    };
    let labels: Vec<u32> = labels.index_select(&examples, 0)?.to_vec1()?;
    check_count("classes of DKD", Expected::AtLeast(2), k >= 2, k)?;
    if let Some(&label) = labels.iter().find(|&&y| y as usize >= k) {
        let n_needed = label as usize + 1;
        check_count("columns of the logits", Expected::AtLeast(n_needed), false, k)?;
    }
    let parts = |logits: &Tensor| parts(&(logits / options.temperature)?, &labels);
    let ((log_bg, log_g), (log_bs, log_s)) = (parts(&student)?, parts(&teacher)?);
    let label = (kl(&log_bs, &log_bg)?.sum_all()? * options.label_weight)?;
    let others = (kl(&log_s, &log_g)?.sum_all()? * options.others_weight)?;
    let factor = options.scale.factor(options.temperature) / data.n_examples() as f64;
    Ok(((label + others)? * factor)?)
}

/// log b, (n, 2), and log p̂, (n, k − 1), of tempered logits (n, k).
fn parts(logits: &Tensor, labels: &[u32]) -> candle_core::Result<(Tensor, Tensor)> {
    let label = Tensor::from_slice(labels, (labels.len(), 1), logits.device())?;
    let own = logits.contiguous()?.gather(&label, 1)?; // (n, 1)
    let others = without(logits, labels)?; // (n, k − 1)
    let pair = Tensor::cat(&[own, log_sum_exp(&others)?], 1)?; // (n, 2)
    Ok((log_softmax(&pair)?, log_softmax(&others)?))
}

impl Dkd {
    fn check(&self) -> Result<()> {
        let is_weight = |w: f64| w >= 0.0 && w.is_finite();
        check_range("label weight", self.label_weight, is_weight(self.label_weight), "[0, ∞)")?;
        let others = self.others_weight;
        check_range("weight of the other classes", others, is_weight(others), "[0, ∞)")?;
        check_temperature(self.temperature)
    }
}
