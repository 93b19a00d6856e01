//! What the outputs of a network say about the targets.

use candle_core::{DType, Tensor};
use core_tensors::{Error, Expected};

use crate::checks::{check_count, check_examples, check_shape};
use crate::distillation::{Distillation, distillation};
use crate::error::Result;
use crate::supervision::Supervision;

/// Distribution of a target given the logits of a network.
///
/// ```
/// use losses::candle_core::{Device, Tensor};
/// use losses::{Likelihood, Supervision};
///
/// let (f, y) = (Tensor::new(&[[1.0]], &Device::Cpu)?, Tensor::new(&[[2.0]], &Device::Cpu)?);
/// let normal = Likelihood::Normal { variance: 0.5 };
/// let loss = normal.negative_log(&f, Supervision::values(&y))?; // 1 + ½ log π
/// assert!((loss.to_scalar::<f64>()? - 1.572365).abs() < 1e-6);
/// # Ok::<(), losses::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Likelihood {
    /// Classes: p(y | x, w) = softmax(f(x, w))_y.
    Categorical,
    /// Two classes 0 and 1 by one logit f, (m, 1): p(y = 1 | x, w) = σ(f) = 1 / (1 + e⁻ᶠ).
    ///
    /// What PyTorch's `BCEWithLogitsLoss` trains and binary classifiers of scikit-learn have; the same as [`Self::Categorical`]
    /// of [`two_class_logits`].
    Bernoulli,
    /// Values: N(y; f(x, w), σ² I).
    Normal {
        /// σ² > 0, in squared units of the target.
        variance: f64,
    },
}

impl Likelihood {
    /// −m⁻¹ Σᵢ log p(yᵢ | fᵢ) in nats, constants included; shape ().
    ///
    /// Categorical: the cross-entropy. Bernoulli: m⁻¹ Σᵢ log(1 + exp(−(2yᵢ − 1) fᵢ)). Normal: m⁻¹ Σᵢ ‖yᵢ − fᵢ‖² / 2σ² +
    /// ½ k log 2πσ². `logits` are (m, k), of a Bernoulli (m, 1) or (m,).
    pub fn negative_log<'a>(
        &self,
        logits: &Tensor,
        data: impl Into<Supervision<'a>>,
    ) -> Result<Tensor> {
        let data = data.into();
        let variance = match *self {
            Self::Categorical => return distillation(logits, data, &Distillation::labels_only()),
            Self::Bernoulli => {
                let logits = two_class_logits(logits)?;
                return distillation(&logits, data, &Distillation::labels_only());
            }
            Self::Normal { variance } => variance,
        };
        if !(variance > 0.0 && variance.is_finite()) {
            let name = "noise variance";
            return Err(Error::OutOfRange { name, value: variance, range: "(0, ∞)" }.into());
        }
        let values = data.values_of("a normal likelihood")?;
        check_shape("targets of a regression", logits.dims(), values.dims())?;
        let (m, k) = logits.dims2()?;
        check_examples(m)?;
        let values = values.detach().to_dtype(logits.dtype())?;
        let squares = (logits - values)?.sqr()?.sum_all()?;
        let constant = 0.5 * k as f64 * (std::f64::consts::TAU * variance).ln();
        Ok(squares.affine(0.5 / (variance * m as f64), constant)?)
    }

    /// m⁻¹ Σᵢ log p(yᵢ | fᵢ) as a number.
    pub fn mean_log<'a>(&self, logits: &Tensor, data: impl Into<Supervision<'a>>) -> Result<f64> {
        let loss = self.negative_log(&logits.detach().to_dtype(DType::F64)?, data)?;
        Ok(-loss.to_scalar::<f64>()?)
    }
}

/// Logits of two classes for those of a binary classifier that has one: f ↦ \[0, f\], (m, 1) or (m,) → (m, 2).
///
/// softmax(\[0, f\] / T) = (1 − σ(f / T), σ(f / T))
///
/// exactly, so that every loss and measure of classes serves for one logit as well. Of f itself, one column, the softmax is
/// always 1, and a loss of classes learns nothing.
///
/// ```
/// use losses::candle_core::{Device, Tensor};
/// use losses::{Distillation, Predictions, Supervision, distillation, two_class_logits};
///
/// let logits = two_class_logits(&Tensor::new(&[[0.5], [-2.0]], &Device::Cpu)?)?; // (m, 2)
/// let teacher = two_class_logits(&Tensor::new(&[[1.5], [-1.0]], &Device::Cpu)?)?;
/// let labels = Tensor::new(&[1u32, 0], &Device::Cpu)?;
/// let targets = Supervision::labels(&labels).with_teacher(&teacher, None);
/// let loss = distillation(&logits, targets, &Distillation::hinton(0.7, 3.0))?;
/// assert!((loss.to_scalar::<f64>()? - 4.402066).abs() < 1e-6);
/// assert_eq!(Predictions::new(&logits)?.accuracy(&[1, 0])?, 1.0);
/// # Ok::<(), losses::Error>(())
/// ```
///
/// # Errors
/// For more than one logit an example.
pub fn two_class_logits(logits: &Tensor) -> Result<Tensor> {
    let column = if logits.rank() == 1 { logits.unsqueeze(1)? } else { logits.clone() };
    let (_, found) = column.dims2()?;
    check_count("logits of a binary classifier", Expected::Exactly(1), found == 1, found)?;
    Ok(Tensor::cat(&[&column.zeros_like()?, &column], 1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use core_tensors::{Dataset, Targets};

    /// Log-densities are sums of a few logarithms.
    const ROUNDING: f64 = 1e-14;

    fn values(y: &[[f64; 2]]) -> Dataset {
        let y = Tensor::from_slice(&y.concat(), (y.len(), 2), &Device::Cpu).unwrap();
        Dataset::new(y.zeros_like().unwrap(), Targets::Values(y)).unwrap()
    }

    #[test]
    fn a_normal_log_density_by_hand() {
        // (1, 2) against (0, 4) and (3, 3) against (3, 2): squares 5 and 1.
        let data = values(&[[1.0, 2.0], [3.0, 3.0]]);
        let logits = Var::new(&[[0.0, 4.0], [3.0, 2.0]], &Device::Cpu).unwrap();
        let normal = Likelihood::Normal { variance: 0.5 };
        let loss = normal.negative_log(&logits, &data).unwrap();
        let wanted = 0.5 * 6.0 / (2.0 * 0.5) + (std::f64::consts::TAU * 0.5).ln();
        assert!((loss.to_scalar::<f64>().unwrap() - wanted).abs() < 1e-14);
        assert!((normal.mean_log(&logits, &data).unwrap() + wanted).abs() < 1e-14);
        let gradient = loss.backward().unwrap().get(&logits).unwrap().to_vec2::<f64>().unwrap();
        assert_eq!(gradient, [[-1.0, 2.0], [0.0, -1.0]]);
    }

    #[test]
    fn a_categorical_log_likelihood_is_the_cross_entropy() {
        let x = vec![0f32; 2];
        let data = Dataset::classification(x, vec![0, 2], 3, &Device::Cpu).unwrap();
        let logits = Tensor::new(&[[1f32, 1.0, 1.0], [0.0, 0.0, 1000.0]], &Device::Cpu).unwrap();
        let loss = Likelihood::Categorical.mean_log(&logits, &data).unwrap();
        assert!((loss + 0.5 * 3f64.ln()).abs() < 1e-12, "{loss}");
    }

    #[test]
    fn a_bernoulli_log_likelihood_by_hand() {
        let data =
            Dataset::classification(vec![0.0; 4], vec![1, 0, 1, 0], 2, &Device::Cpu).unwrap();
        let f = [3f64.ln(), 3f64.ln(), 0.0, -5.0];
        let logits = Var::from_slice(&f, (4, 1), &Device::Cpu).unwrap();
        let loss = Likelihood::Bernoulli.negative_log(&logits, &data).unwrap();
        // σ(log 3) = ¾, which is right once and wrong once.
        let wanted = -0.25 * (0.75f64.ln() + 0.25f64.ln() + 0.5f64.ln() - (-5f64).exp().ln_1p());
        assert!((loss.to_scalar::<f64>().unwrap() - wanted).abs() < ROUNDING, "{loss} {wanted}");
        let gradient = loss.backward().unwrap().get(&logits).unwrap().to_vec2::<f64>().unwrap();
        let sure = 1.0 / (1.0 + 5f64.exp());
        for (found, wanted) in gradient.concat().iter().zip([-0.25, 0.75, -0.5, sure]) {
            assert!((found - 0.25 * wanted).abs() < ROUNDING, "{gradient:?}");
        }
        let flat = logits.flatten_all().unwrap();
        let flat = Likelihood::Bernoulli.mean_log(&flat, &data).unwrap();
        assert!((flat + wanted).abs() < ROUNDING);
    }

    #[test]
    fn a_sure_bernoulli_keeps_the_digits_of_its_doubt() {
        let right = Dataset::classification(vec![0.0], vec![1], 2, &Device::Cpu).unwrap();
        for f in [20.0f64, 60.0] {
            let logits = Tensor::new(&[[f]], &Device::Cpu).unwrap();
            let found = -Likelihood::Bernoulli.mean_log(&logits, &right).unwrap();
            assert!((found / (-f).exp().ln_1p() - 1.0).abs() < 1e-12, "{found:e}");
        }
        let wrong = Tensor::new(&[[-1e6]], &Device::Cpu).unwrap();
        assert_eq!(Likelihood::Bernoulli.mean_log(&wrong, &right).unwrap(), -1e6);
    }

    #[test]
    fn two_class_logits_distill_as_sigmoids_do() {
        let (f, v, y, lambda, t) = ([0.7, -1.2, 4.0], [1.5, 0.3, -2.0], [1u32, 0, 0], 0.3, 2.5);
        let column = |f: &[f64]| {
            two_class_logits(&Tensor::from_slice(f, (3, 1), &Device::Cpu).unwrap()).unwrap()
        };
        let labels = Tensor::new(&y, &Device::Cpu).unwrap();
        let teacher = column(&v);
        let targets = Supervision::labels(&labels).with_teacher(&teacher, None);
        let found = distillation(&column(&f), targets, &Distillation::convex(lambda, t)).unwrap();
        let log_of = |f: f64, y: f64| -(-(2.0 * y - 1.0) * f).exp().ln_1p();
        let of_one = |i: usize| {
            let s = 1.0 / (1.0 + (-v[i] / t).exp());
            let soft = s * log_of(f[i] / t, 1.0) + (1.0 - s) * log_of(f[i] / t, 0.0);
            -(1.0 - lambda) * log_of(f[i], f64::from(y[i])) - lambda * soft
        };
        let wanted = (0..3).map(of_one).sum::<f64>() / 3.0;
        assert!((found.to_scalar::<f64>().unwrap() - wanted).abs() < ROUNDING, "{found} {wanted}");
    }

    #[test]
    fn a_bernoulli_has_one_logit_and_two_classes() {
        let three = Dataset::classification(vec![0.0], vec![2], 3, &Device::Cpu).unwrap();
        let one = Tensor::new(&[[0.5]], &Device::Cpu).unwrap();
        let message = |logits: &Tensor, data: &Dataset| {
            Likelihood::Bernoulli.negative_log(logits, data).unwrap_err().to_string()
        };
        let error = message(&Tensor::new(&[[0.5, 1.0]], &Device::Cpu).unwrap(), &three);
        assert_eq!(error, "logits of a binary classifier: expected 1, found 2");
        assert!(message(&one, &three).contains('3'), "{}", message(&one, &three));
        let error = message(&one, &values(&[[1.0, 2.0]]));
        assert!(error.contains("an integer, as hard targets"), "{error}");
        let label = Tensor::new(&[2u32], &Device::Cpu).unwrap();
        let error = Likelihood::Bernoulli.negative_log(&one, Supervision::labels(&label));
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "class must lie in 0 .. the number of classes, got 2");
    }

    #[test]
    fn foreign_targets_are_refused() {
        let normal = Likelihood::Normal { variance: 1.0 };
        let data = values(&[[1.0, 2.0]]);
        let logits = Tensor::zeros((1, 1), DType::F64, &Device::Cpu).unwrap();
        let error = normal.negative_log(&logits, &data).unwrap_err().to_string();
        assert_eq!(error, "targets of a regression: expected shape [1, 1], found [1, 2]");
        let flat = Likelihood::Normal { variance: 0.0 };
        let error = flat.negative_log(&logits, &data).unwrap_err().to_string();
        assert_eq!(error, "noise variance must lie in (0, ∞), got 0");
        let infinite = Likelihood::Normal { variance: f64::INFINITY };
        let error = infinite.negative_log(&logits, &data).unwrap_err().to_string();
        assert_eq!(error, "noise variance must lie in (0, ∞), got inf");
        let labels = Dataset::classification(vec![0.0], vec![0], 2, &Device::Cpu).unwrap();
        let error = normal.negative_log(&logits, &labels).unwrap_err().to_string();
        assert_eq!(error, "a normal likelihood wanted values as hard targets");
        let error = Likelihood::Categorical.negative_log(&logits, &data).unwrap_err().to_string();
        assert_eq!(
            error,
            "distillation wanted the class of each example, an integer, as hard targets"
        );
        let (nobody, none) =
            (Tensor::zeros((0, 2), DType::F64, &Device::Cpu).unwrap(), data.rows(&[]).unwrap());
        let error = normal.negative_log(&nobody, &none).unwrap_err().to_string();
        assert_eq!(error, "examples of a batch: expected at least 1, found 0");
    }
}
