//! DIST: correlations of class probabilities instead of the probabilities themselves, by example and by class.

use candle_core::{D, Tensor};

use crate::checks::{check_range, check_temperature};
use crate::distillation::TemperatureScale;
use crate::error::Result;
use crate::stable::{log_softmax, unit_stds};
use crate::supervision::{KnownLogits, Supervision, known_logits, nothing};

/// The options of [`dist`](fn@dist), distillation from a stronger teacher.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dist {
    /// β ≥ 0: weight of the correlations over classes, one an example.
    pub example_weight: f64,
    /// γ ≥ 0: weight of the correlations over examples, one a class.
    pub class_weight: f64,
    /// T > 0 of both softmaxes.
    pub temperature: f64,
    /// Whether both terms are multiplied by T²; they are in the authors' code, not in the paper.
    pub scale: TemperatureScale,
}

/// One minus Pearson's correlation of the student's probabilities with the teacher's; shape ().
///
/// c { (β/m) Σᵢ \[i ∈ 𝓘\] (1 − ρ(gᵢ., sᵢ.))  +  (γ/k) Σⱼ (1 − ρ(g.ⱼ, s.ⱼ)) },  s and g the softmaxes at T,
///
/// ρ the correlation over classes in the first term, over the examples of 𝓘 in the second, which thus compares examples of a
/// batch with one another: its value depends on who is in the batch, not on how often it is repeated. ρ with a constant is 0,
/// without a gradient. `logits` are the student's, (m, k); the gradient reaches them alone.
///
/// Source: Huang et al. (2022), DIST. Their public code adds 1e-8 to the product of the standard deviations.
///
/// ```
/// use losses::candle_core::{Device, Tensor};
/// use losses::{Dist, Supervision, TemperatureScale, dist};
///
/// let logits = Tensor::new(&[[0.5, -1.0, 2.0], [0.0, 3.0, -0.5]], &Device::Cpu)?; // (m, k)
/// let teacher = Tensor::new(&[[1.0, 0.0, 1.5], [-1.0, 2.0, 0.5]], &Device::Cpu)?;
/// let scale = TemperatureScale::None;
/// let options = Dist { example_weight: 2.0, class_weight: 2.0, temperature: 1.0, scale };
/// let loss = dist(&logits, Supervision::teacher(&teacher, None), &options)?.to_scalar::<f64>()?;
/// assert!((loss - 0.076541).abs() < 1e-6);
/// # Ok::<(), losses::Error>(())
/// ```
pub fn dist<'a>(
    logits: &Tensor,
    data: impl Into<Supervision<'a>>,
    options: &Dist,
) -> Result<Tensor> {
    options.check()?;
    let data = data.into();
    let Some(KnownLogits { student, teacher, .. }) = known_logits(logits, data)? else {
        return nothing(logits);
    };
    let tempered = |logits: &Tensor| log_softmax(&(logits / options.temperature)?);
    let (log_g, log_s) = (tempered(&student)?, tempered(&teacher)?); // (n, k)
    let (_, k) = log_g.dims2()?;
    let by_example = gaps(&log_g, &log_s)?.sum_all()?;
    let by_class = gaps(&log_g.t()?, &log_s.t()?)?.sum_all()?;
    let m = data.n_examples() as f64;
    let total = ((by_example * (options.example_weight / m))?
        + (by_class * (options.class_weight / k as f64))?)?;
    Ok((total * options.scale.factor(options.temperature))?)
}

/// 1 − ρ of each row of two matrices given by logarithms, (r, n) → (r,).
///
/// ½ ‖a − b‖² + 1 − ½ ‖a‖² − ½ ‖b‖² of vectors whose length is 1, or 0 where a row is constant: where the two almost agree,
/// 1 − aᵀb would be a difference of nearly equal numbers.
fn gaps(log_a: &Tensor, log_b: &Tensor) -> candle_core::Result<Tensor> {
    let (a, b) = (directions(log_a)?, directions(log_b)?);
    let half_constant = |x: &Tensor| {
        x.detach().abs()?.max(D::Minus1)?.eq(0.0)?.to_dtype(x.dtype())? * 0.5 // (r,)
    };
    let constants = (half_constant(&a)? + half_constant(&b)?)?;
    ((a - b)?.sqr()?.sum(D::Minus1)? * 0.5)? + constants
}

/// Correlations ignore the size of a row: in units of its largest probability none of it vanishes, however rare the class.
fn directions(log_rows: &Tensor) -> candle_core::Result<Tensor> {
    let largest = log_rows.max_keepdim(D::Minus1)?.detach();
    unit_stds(&log_rows.broadcast_sub(&largest)?.exp()?)
}

impl Dist {
    fn check(&self) -> Result<()> {
        let is_weight = |w: f64| w >= 0.0 && w.is_finite();
        let (examples, classes) = (self.example_weight, self.class_weight);
        check_range("weight of the examples", examples, is_weight(examples), "[0, ∞)")?;
        check_range("weight of the classes", classes, is_weight(classes), "[0, ∞)")?;
        check_temperature(self.temperature)
    }
}
