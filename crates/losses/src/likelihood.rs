//! What the outputs of a network say about the targets.

use candle_core::{DType, Tensor};
use core_tensors::Error;

use crate::checks::{check_examples, check_shape};
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
    /// Values: N(y; f(x, w), σ² I).
    Normal {
        /// σ² > 0, in squared units of the target.
        variance: f64,
    },
}

impl Likelihood {
    /// −m⁻¹ Σᵢ log p(yᵢ | fᵢ) in nats, constants included; shape ().
    ///
    /// Categorical: the cross-entropy. Normal: m⁻¹ Σᵢ ‖yᵢ − fᵢ‖² / 2σ² + ½ k log 2πσ². `logits` are (m, k).
    pub fn negative_log<'a>(
        &self,
        logits: &Tensor,
        data: impl Into<Supervision<'a>>,
    ) -> Result<Tensor> {
        let data = data.into();
        let variance = match *self {
            Self::Categorical => return distillation(logits, data, &Distillation::labels_only()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use core_tensors::{Dataset, Targets};

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
