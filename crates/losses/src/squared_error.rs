//! Squared errors of a regression: the right one, and a mistake worth naming.

use candle_core::Tensor;

use crate::checks::{check_examples, check_shape};
use crate::error::Result;

/// m⁻¹ Σᵢ ‖fᵢ − yᵢ‖²; shape (). `predictions` f and `values` y are (m, k); no gradient reaches the values.
///
/// ```
/// use losses::candle_core::{Device, Tensor};
/// let predictions = Tensor::new(&[[1.0, 2.0], [3.0, 3.0]], &Device::Cpu)?;
/// let values = Tensor::new(&[[0.0, 4.0], [3.0, 2.0]], &Device::Cpu)?;
/// assert_eq!(losses::squared_error(&predictions, &values)?.to_scalar::<f64>()?, 3.0); // (5 + 1) / 2
/// # Ok::<(), losses::Error>(())
/// ```
pub fn squared_error(predictions: &Tensor, values: &Tensor) -> Result<Tensor> {
    let m = examples(predictions, values)?;
    let values = values.detach().to_dtype(predictions.dtype())?;
    Ok(((predictions - values)?.sqr()?.sum_all()? / m)?)
}

/// m⁻² Σᵢⱼ ‖fᵢ − yⱼ‖² over all pairs, right and wrong; shape (). `predictions` and `values` are (m, k).
///
/// What a loss becomes where predictions (m, 1) meet targets (m,) and are broadcast to (m, m). It is the variance of the
/// targets for the best prediction, which is their mean, whatever the features say: kept to reproduce paper 003, whose
/// code makes this mistake, and not for use.
pub fn squared_error_of_all_pairs(predictions: &Tensor, values: &Tensor) -> Result<Tensor> {
    let m = examples(predictions, values)?;
    let values = values.detach().to_dtype(predictions.dtype())?;
    // Σᵢⱼ ‖fᵢ − yⱼ‖² = m Σᵢ ‖fᵢ − ȳ‖² + m Σⱼ ‖yⱼ − ȳ‖²
    let mean = values.mean_keepdim(0)?; // (1, k)
    let around = |x: &Tensor| x.broadcast_sub(&mean)?.sqr()?.sum_all();
    Ok(((around(predictions)? + around(&values)?)? / m)?)
}

fn examples(predictions: &Tensor, values: &Tensor) -> Result<f64> {
    let (m, _) = predictions.dims2()?;
    check_shape("targets of a regression", predictions.dims(), values.dims())?;
    check_examples(m)?;
    Ok(m as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn both_errors_equal_their_sums() {
        let f = Var::new(&[[1.0, 2.0], [0.0, -1.0], [4.0, 0.5]], &Device::Cpu).unwrap();
        let y = Tensor::new(&[[0.0, 2.5], [1.0, 1.0], [3.0, 0.0]], &Device::Cpu).unwrap();
        let (fs, ys) = (f.to_vec2::<f64>().unwrap(), y.to_vec2::<f64>().unwrap());
        let square = |i: usize, j: usize| -> f64 {
            fs[i].iter().zip(&ys[j]).map(|(f, y)| (f - y) * (f - y)).sum()
        };
        let own: f64 = (0..3).map(|i| square(i, i)).sum::<f64>() / 3.0;
        let all: f64 = (0..9).map(|a| square(a / 3, a % 3)).sum::<f64>() / 9.0;
        let value = |loss: &Tensor| loss.to_scalar::<f64>().unwrap();
        assert!((value(&squared_error(&f, &y).unwrap()) - own).abs() < 1e-14);
        let pairs = squared_error_of_all_pairs(&f, &y).unwrap();
        assert!((value(&pairs) - all).abs() < 1e-14);
        // ∂/∂f₀₀ = 2 (f₀₀ − ȳ₀) / 3
        let gradient = pairs.backward().unwrap().get(&f).unwrap().to_vec2::<f64>().unwrap();
        assert!((gradient[0][0] - 2.0 * (1.0 - 4.0 / 3.0) / 3.0).abs() < 1e-14);
    }

    #[test]
    fn a_broadcast_is_refused() {
        let f = Tensor::zeros((3, 1), candle_core::DType::F64, &Device::Cpu).unwrap();
        let y = Tensor::zeros((1, 3), candle_core::DType::F64, &Device::Cpu).unwrap();
        let message = squared_error(&f, &y).unwrap_err().to_string();
        assert_eq!(message, "targets of a regression: expected shape [3, 1], found [1, 3]");
        let nobody = f.narrow(0, 0, 0).unwrap();
        for loss in [squared_error, squared_error_of_all_pairs] {
            let message = loss(&nobody, &nobody).unwrap_err().to_string();
            assert_eq!(message, "examples of a batch: expected at least 1, found 0");
        }
    }
}
