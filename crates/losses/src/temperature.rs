//! Temperature scaling: the one number that makes a classifier's confidence fit examples it was not trained on.

use candle_core::{DType, Tensor};
use core_tensors::Expected;

use crate::checks::check_count;
use crate::error::Result;

/// Smallest and largest 1/T: where every example is classified rightly, the likelihood grows with 1/T for ever, and where
/// the logits say nothing of the labels, the best 1/T is 0.
const COLDNESS: (f64, f64) = (1e-3, 1e3);
/// Relative error of 1/T at which the search ends.
const PRECISION: f64 = 1e-10;
/// Halvings of the logarithm of 1/T that reach [`PRECISION`] from [`COLDNESS`].
const MOST_STEPS: usize = 100;

/// The temperature T in \[1e-3, 1e3\] at which the cross-entropy of softmax(logits / T) on these labels is least.
///
/// −Σᵢ log softmax(zᵢ / T)_{yᵢ} and that of one example more, whose label may be any class of any of these examples alike, is
/// convex in β = 1/T, with derivative Σᵢ (E_g zᵢ − z_{i,yᵢ}) + (1/m) Σᵢ (E_g zᵢ − mean zᵢ), whose root is found to a
/// relative 1e-10 by bisection. Without the one more, examples that are all classified rightly would give T = 0, and one
/// later mistake would cost thousands of nats. Logits (m, k), labels below k; a cross-entropy that falls or grows over the
/// whole range has its minimum at an end of it.
///
/// Fit it on examples other than those that it is judged on.
///
/// Source: Guo et al. (2017), section 4.2.
pub fn fitted_temperature(logits: &Tensor, labels: &[u32]) -> Result<f64> {
    let (m, k) = logits.dims2()?;
    check_count("labels", Expected::Exactly(m), labels.len() == m, labels.len())?;
    check_count("examples to fit a temperature on", Expected::AtLeast(1), m > 0, m)?;
    if let Some(&y) = labels.iter().find(|&&y| y as usize >= k) {
        let (value, range) = (f64::from(y), "0 .. the number of classes");
        return Err(core_tensors::Error::OutOfRange { name: "class", value, range }.into());
    }
    let mut z = logits.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    for row in z.chunks_exact_mut(k) {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        row.iter_mut().for_each(|z| *z -= largest);
    }
    let falls_at = |beta: f64| slope(&z, labels, k, beta) < 0.0;
    let (mut low, mut high) = (COLDNESS.0.ln(), COLDNESS.1.ln());
    if !falls_at(COLDNESS.0) {
        return Ok(1.0 / COLDNESS.0);
    }
    if falls_at(COLDNESS.1) {
        return Ok(1.0 / COLDNESS.1);
    }
    for _ in 0..MOST_STEPS {
        let middle = f64::midpoint(low, high);
        if falls_at(middle.exp()) {
            low = middle;
        } else {
            high = middle;
        }
        if high - low < PRECISION {
            break;
        }
    }
    Ok((-f64::midpoint(low, high)).exp())
}

/// Σᵢ (E_g zᵢ − z_{i,yᵢ}) + (1/m) Σᵢ (E_g zᵢ − mean zᵢ) at g = softmax(β z), of logits less the largest of their row.
fn slope(z: &[f64], labels: &[u32], k: usize, beta: f64) -> f64 {
    let of = |(row, &y): (&[f64], &u32)| {
        let (mut sum, mut weighted) = (0.0, 0.0);
        for &z in row {
            let power = (beta * z).exp();
            // A class that is ruled out has no share.
            if power > 0.0 {
                sum += power;
                weighted += power * z;
            }
        }
        let (expected, mean) = (weighted / sum, row.iter().sum::<f64>() / k as f64);
        // A logit of −∞ has no mean; such an example says nothing of the one more.
        let more = if mean.is_finite() { (expected - mean) / labels.len() as f64 } else { 0.0 };
        expected - row[y as usize] + more
    };
    z.chunks_exact(k).zip(labels).map(of).sum()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use core_tensors::Rng;

    use super::*;
    use crate::metrics::Predictions;

    /// Logits of a classifier, and labels drawn from its softmax at a temperature.
    fn drawn(temperature: f64, m: usize, rng: &mut Rng) -> (Tensor, Vec<u32>) {
        let z: Vec<f64> = (0..3 * m).map(|_| 2.0 * rng.normal()).collect();
        let logits = Tensor::from_vec(z, (m, 3), &Device::Cpu).unwrap();
        let g = Predictions::tempered(&logits, temperature).unwrap().into_probabilities();
        let draw = |row: &[f64]| {
            let u = rng.uniform();
            if u < row[0] { 0 } else { 1 + u32::from(u >= row[0] + row[1]) }
        };
        let labels = g.chunks_exact(3).map(draw).collect();
        (logits, labels)
    }

    #[test]
    fn the_temperature_is_the_best_of_a_grid_and_has_no_slope() {
        for (seed, truth) in [(0, 0.5), (1, 1.0), (2, 3.0)] {
            let (logits, labels) = drawn(truth, 3000, &mut Rng::new(seed));
            let fitted = fitted_temperature(&logits, &labels).unwrap();
            // A standard deviation of about 3 %.
            assert!((fitted / truth - 1.0).abs() < 0.12, "{truth}: {fitted}");
            // The mean over the examples, and over one more that has each label of each example alike.
            let loss = |t: f64| {
                let p = Predictions::tempered(&logits, t).unwrap();
                let of = |labels: &[u32]| p.cross_entropy(labels).unwrap();
                let more: f64 = (0..3).map(|y| of(&vec![y; 3000])).sum::<f64>() / 3.0;
                of(&labels) + more / 3000.0
            };
            let least = loss(fitted);
            for i in -200..=200 {
                assert!(least <= loss(fitted * (f64::from(i) / 100.0).exp()) + 1e-13);
            }
            // The slope by β on either side of the minimum at a relative 1e-8.
            let z = logits.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let at = |beta: f64| slope(&z, &labels, 3, beta);
            assert!(at((1.0 - 1e-8) / fitted) < 0.0 && at((1.0 + 1e-8) / fitted) > 0.0);
        }
    }

    #[test]
    fn two_classes_by_hand() {
        // Logit 1 for the class that is right in three cases of four, and half a case more of either: σ(1/T) = 3.5 / 5.
        let logits = Tensor::new(&[[1.0, 0.0]; 4], &Device::Cpu).unwrap();
        let fitted = fitted_temperature(&logits, &[0, 0, 0, 1]).unwrap();
        assert!((fitted - 1.0 / (3.5f64 / 1.5).ln()).abs() < 1e-9, "{fitted}");
    }

    #[test]
    fn ends_of_the_range_where_there_is_no_minimum() {
        let logits = Tensor::new(&[[1.0, 0.0], [0.0, 2.0]], &Device::Cpu).unwrap();
        // All right: the one example more keeps the temperature from 0. Σ σ(−βz) z = (1/2) Σ z (1/2 − σ(−βz)), z = 1, 2.
        let fitted = fitted_temperature(&logits, &[0, 1]).unwrap();
        let slope = |beta: f64| -> f64 {
            let of = |z: f64| z * (1.5 / (1.0 + (beta * z).exp()) - 0.25);
            of(1.0) + of(2.0)
        };
        assert!(slope(1.0 / fitted).abs() < 1e-8, "{fitted}");
        assert_eq!(fitted_temperature(&logits, &[1, 0]).unwrap(), 1e3);
        let huge = Tensor::new(&[[1e6, -1e6], [f64::NEG_INFINITY, 0.0]], &Device::Cpu).unwrap();
        assert!(fitted_temperature(&huge, &[0, 1]).unwrap().is_finite());
        let message = fitted_temperature(&logits, &[0]).unwrap_err().to_string();
        assert_eq!(message, "labels: expected 2, found 1");
        let message = fitted_temperature(&logits, &[0, 2]).unwrap_err().to_string();
        assert_eq!(message, "class must lie in 0 .. the number of classes, got 2");
    }
}
