//! How large the noise of each output of a regression is.

use anyhow::{Result, ensure};
use candle_core::{DType, Tensor};
use core_tensors::Targets;

/// A noise variance is at least this share of the targets' variance: an output that is exact on these examples would make
/// all others count for nothing.
const LEAST_NOISE: f64 = 1e-6;
/// Share of its mean below which the standard deviation of a target is rounding, as outputs are f32.
const ROUNDING: f64 = 1e-6;

/// σ² of each output of a regression, (k,): the mean squared error of `outputs` (m, k); without targets the variance of the
/// outputs themselves.
///
/// No less than 10⁻⁶ s², with s² the variance of the output's targets; where these never change, the square of their mean; 1
/// where that is 0, or where a number is not finite. An output in other units has its variance in the square of these units.
///
/// # Errors
/// For targets of another shape.
pub fn noise_variances(outputs: &Tensor, targets: Option<&Targets>) -> Result<Vec<f64>> {
    let columns = |values: &Tensor| -> Result<Vec<Vec<f64>>> {
        Ok(values.to_dtype(DType::F64)?.t()?.to_vec2()?)
    };
    let f = columns(outputs)?;
    let y = match targets {
        Some(Targets::Values(values)) => {
            let (wanted, found) = (outputs.dims(), values.dims());
            ensure!(wanted == found, "targets: wanted values of shape {wanted:?}, found {found:?}");
            columns(values)?
        }
        Some(Targets::Classes { .. }) | None => f.clone(),
    };
    let has_targets = matches!(targets, Some(Targets::Values(_)));
    let of = |(f, y): (&Vec<f64>, &Vec<f64>)| {
        let m = y.len() as f64;
        let center = y.iter().sum::<f64>() / m;
        let spread = y.iter().map(|y| (y - center).powi(2)).sum::<f64>() / m;
        let is_constant = spread <= (ROUNDING * center).powi(2);
        let size = if is_constant { center.powi(2) } else { spread };
        let error = f.iter().zip(y).map(|(f, y)| (f - y).powi(2)).sum::<f64>() / m;
        let (noise, least) = if has_targets { (error, LEAST_NOISE * size) } else { (size, size) };
        // What is no number is the smaller one to `max`.
        let variance = if noise.is_finite() { noise.max(least) } else { noise };
        if variance.is_normal() { variance } else { 1.0 }
    };
    Ok(f.iter().zip(&y).map(of).collect())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn tensor(rows: &[[f64; 4]]) -> Tensor {
        Tensor::from_vec(rows.concat(), (rows.len(), 4), &Device::Cpu).unwrap()
    }

    #[test]
    fn noise_by_hand_and_in_other_units() {
        // Errors of 1 and −1; none; a constant that is met; a constant 0 that is met.
        let y = tensor(&[[0.0, 1.0, 7.0, 0.0], [4.0, 3.0, 7.0, 0.0]]);
        let f = tensor(&[[1.0, 1.0, 7.0, 0.0], [3.0, 3.0, 7.0, 0.0]]);
        let targets = Targets::Values(y.clone());
        let found = noise_variances(&f, Some(&targets)).unwrap();
        assert_eq!(found, [1.0, 1e-6, 49e-6, 1.0]);
        // Without targets the outputs vary around their own means.
        assert_eq!(noise_variances(&f, None).unwrap(), [1.0, 1.0, 49.0, 1.0]);
        let c = Tensor::new(&[1e3, 1e-3, 1e5, 8.0], &Device::Cpu).unwrap();
        let other = Targets::Values(y.broadcast_mul(&c).unwrap());
        let scaled = noise_variances(&f.broadcast_mul(&c).unwrap(), Some(&other)).unwrap();
        for ((scaled, c), own) in scaled.iter().zip([1e3, 1e-3, 1e5, 1.0f64]).zip(found) {
            assert!((scaled / (c * c * own) - 1.0).abs() < 1e-12, "{scaled} {own}");
        }
    }

    #[test]
    fn what_is_no_number_has_a_variance_all_the_same() {
        let f = tensor(&[[f64::NAN, f64::INFINITY, 1e300, 1.0], [0.0, 0.0, 0.0, 1.0]]);
        let y = Targets::Values(tensor(&[[0.0; 4], [1.0; 4]]));
        assert_eq!(noise_variances(&f, Some(&y)).unwrap(), [1.0, 1.0, 1.0, 0.5]);
        let wrong = Targets::Values(tensor(&[[0.0; 4]]));
        let message = noise_variances(&f, Some(&wrong)).unwrap_err().to_string();
        assert_eq!(message, "targets: wanted values of shape [2, 4], found [1, 4]");
    }
}
