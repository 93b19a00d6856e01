//! Two classes by a logistic regression on vectors, fitted by Newton's method.

use anyhow::{Result, bail};
use candle_core::{DType, Tensor};
use core_tensors::linalg::{Cholesky, product, product_vector};
use faer::Mat;

/// Steps at most; from zeros five to eight are usual.
const MOST_STEPS: usize = 50;
/// A step whose largest number is smaller ends the fit: f64 through sums over the examples.
const SMALLEST_STEP: f64 = 1e-9;

/// p(1 | x) = 1/(1 + exp(−w·\[x; 1\])).
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// w, (n + 1,), the bias last.
    weights: Vec<f64>,
}

impl Head {
    /// The minimum over w of −(1/m) Σᵢ log p(yᵢ | xᵢ) + `ridge` ‖w‖², the bias included; `x` (m, n), `y` 0 or 1.
    ///
    /// # Errors
    /// Where the steps do not become small, as with a ridge of 0 on classes that a plane separates.
    pub(super) fn fitted(x: &Tensor, y: &[u32], ridge: f64) -> Result<Self> {
        let x = with_ones(x)?; // (m, n + 1)
        let (m, n) = (x.nrows(), x.ncols());
        let share = 1.0 / m as f64;
        let mut w = vec![0.0; n];
        for _ in 0..MOST_STEPS {
            let p: Vec<f64> = product_vector(x.as_ref(), &w).into_iter().map(logistic).collect();
            let residual: Vec<f64> =
                p.iter().zip(y).map(|(p, &y)| share * (p - f64::from(y))).collect();
            let mut slope = product_vector(x.transpose(), &residual); // (n + 1,)
            slope.iter_mut().zip(&w).for_each(|(slope, w)| *slope += 2.0 * ridge * w);
            let weighted = |i: usize, j: usize| (share * p[i] * (1.0 - p[i])).sqrt() * x[(i, j)];
            let weighted = Mat::from_fn(m, n, weighted);
            let mut curvature = product(weighted.transpose(), weighted.as_ref()); // (n + 1, n + 1)
            (0..n).for_each(|j| curvature[(j, j)] += 2.0 * ridge);
            let step = Cholesky::in_place(curvature)?.solve_vector(&slope);
            w.iter_mut().zip(&step).for_each(|(w, step)| *w -= step);
            if step.iter().all(|step| step.abs() < SMALLEST_STEP) {
                return Ok(Self { weights: w });
            }
        }
        bail!("a logistic regression: expected small steps after {MOST_STEPS}, found none");
    }

    /// The share of vectors whose more probable class is theirs.
    pub(super) fn accuracy(&self, x: &Tensor, y: &[u32]) -> Result<f64> {
        let logits = product_vector(with_ones(x)?.as_ref(), &self.weights);
        let n_right = logits.iter().zip(y).filter(|(z, y)| (**z > 0.0) == (**y > 0)).count();
        Ok(n_right as f64 / y.len() as f64)
    }
}

/// \[x; 1\] of each row in f64.
fn with_ones(x: &Tensor) -> Result<Mat<f64>> {
    let (m, n) = x.dims2()?;
    let values = x.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Ok(Mat::from_fn(m, n + 1, |i, j| if j == n { 1.0 } else { values[i * n + j] }))
}

fn logistic(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use core_tensors::Rng;

    use super::*;

    fn data(m: usize, n: usize) -> (Tensor, Vec<u32>) {
        let mut rng = Rng::new(3);
        let x: Vec<f64> = (0..m * n).map(|_| rng.uniform() - 0.5).collect();
        let y = x.chunks(n).map(|row| u32::from(row[0] + rng.uniform() > 0.6)).collect();
        (Tensor::from_vec(x, (m, n), &Device::Cpu).unwrap(), y)
    }

    /// The objective as its formula.
    fn objective(x: &Tensor, y: &[u32], ridge: f64, w: &[f64]) -> f64 {
        let rows = x.to_vec2::<f64>().unwrap();
        let (bias, w_x) = w.split_last().unwrap();
        let loss = rows.iter().zip(y).map(|(row, &y)| {
            let z: f64 = row.iter().zip(w_x).map(|(x, w)| x * w).sum::<f64>() + bias;
            z.exp().ln_1p() - f64::from(y) * z
        });
        loss.sum::<f64>() / y.len() as f64 + ridge * w.iter().map(|w| w * w).sum::<f64>()
    }

    #[test]
    fn differences_of_the_objective_vanish_at_the_fit() {
        let (x, y) = data(60, 4);
        for ridge in [1e-4, 0.1] {
            let w = Head::fitted(&x, &y, ridge).unwrap().weights;
            let at = |j: usize, by: f64| {
                let mut moved = w.clone();
                moved[j] += by;
                objective(&x, &y, ridge, &moved)
            };
            for j in 0..w.len() {
                let slope = (at(j, 1e-5) - at(j, -1e-5)) / 2e-5;
                assert!(slope.abs() < 1e-9, "{ridge} {j}: {slope:e}");
                assert!(at(j, 0.01).min(at(j, -0.01)) > at(j, 0.0));
            }
        }
    }

    #[test]
    fn without_features_the_bias_is_the_log_odds() {
        let x = Tensor::zeros((4, 1), DType::F64, &Device::Cpu).unwrap();
        let head = Head::fitted(&x, &[1, 1, 1, 0], 1e-13).unwrap();
        assert!((head.weights[1] - 3f64.ln()).abs() < 1e-9, "{:?}", head.weights);
        assert_eq!(head.accuracy(&x, &[1, 1, 0, 0]).unwrap(), 0.5);
    }

    #[test]
    fn classes_that_a_plane_separates_are_refused_without_a_ridge() {
        let x = Tensor::new(&[[-1.0f64], [1.0]], &Device::Cpu).unwrap();
        assert!(Head::fitted(&x, &[0, 1], 0.0).is_err());
        assert_eq!(Head::fitted(&x, &[0, 1], 0.1).unwrap().accuracy(&x, &[0, 1]).unwrap(), 1.0);
    }
}
