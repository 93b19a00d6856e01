//! Independent parameters: Ψ = diag(v).

use core_tensors::linalg::dot;
use core_tensors::{Layout, Rng, Slice};
use faer::Mat;

use crate::checks;
use crate::error::Result;
use crate::gaussian::permuted_positions;
use crate::greedy;
use crate::structure::{Condition, Conditioned, Covariance, GaussianDensity, Outgoing, Structure};

/// Ψ = diag(v), v > 0.
///
/// Conditioning is selection: an edit never moves a kept parameter.
///
/// ```
/// use bayes_posterior::{Covariance, Diagonal};
/// # fn main() -> bayes_posterior::Result<()> {
/// let covariance = Diagonal::new(vec![0.5, 4.0])?;
/// assert_eq!(covariance.precision_diagonal()?, [2.0, 0.25]);
/// assert!((covariance.log_det()? - 2f64.ln()).abs() < 1e-15);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Diagonal {
    variance: Vec<f64>,
}

impl Diagonal {
    /// From the variances, (p,), each in (0, ∞).
    pub fn new(variance: Vec<f64>) -> Result<Self> {
        let diagonal = Self { variance };
        diagonal.check_numbers()?;
        Ok(diagonal)
    }

    /// v, (p,).
    pub fn variance(&self) -> &[f64] {
        &self.variance
    }
}

impl Covariance for Diagonal {
    const NAME: &'static str = "diagonal";

    const IS_INDEPENDENT: bool = true;

    fn n_parameters(&self) -> usize {
        self.variance.len()
    }

    fn check(&self, layout: &Layout) -> Result<()> {
        checks::same_length(layout, self.variance.len())
    }

    fn check_positive_definite(&self) -> Result<()> {
        Ok(())
    }

    fn check_numbers(&self) -> Result<()> {
        checks::all_positive("variance", &self.variance)
    }

    fn column_covariance_unchecked(&self, layout: &Layout, block: usize) -> Result<Mat<f64>> {
        let (shape, range) = (layout.blocks[block], layout.ranges()[block].clone());
        let mut mean = Mat::zeros(shape.cols, shape.cols);
        for row in self.variance[range].chunks_exact(shape.cols) {
            row.iter().enumerate().for_each(|(j, v)| mean[(j, j)] += v / shape.rows as f64);
        }
        Ok(mean)
    }

    fn apply_unchecked(&self, x: &[f64]) -> Result<Vec<f64>> {
        Ok(x.iter().zip(&self.variance).map(|(x, v)| x * v).collect())
    }

    fn solve_unchecked(&self, x: &[f64]) -> Result<Vec<f64>> {
        Ok(x.iter().zip(&self.variance).map(|(x, v)| x / v).collect())
    }

    fn precision_diagonal(&self) -> Result<Vec<f64>> {
        Ok(self.variance.iter().map(|v| v.recip()).collect())
    }

    fn log_det(&self) -> Result<f64> {
        Ok(self.variance.iter().map(|v| v.ln()).sum())
    }

    fn diagonal(&self) -> Result<Vec<f64>> {
        Ok(self.variance.clone())
    }

    fn precision_quadratic_unchecked(&self, x: &[f64]) -> Result<f64> {
        Ok(dot(x, &self.solve_unchecked(x)?))
    }

    fn sample(&self, rng: &mut Rng) -> Result<Vec<f64>> {
        Ok(self.variance.iter().map(|v| v.sqrt() * rng.normal()).collect())
    }

    fn greedy_columns_unchecked(&self, outgoing: &Outgoing) -> Result<Vec<(usize, f64)>> {
        greedy::by_conditioning(self, outgoing)
    }
}

impl Structure for Diagonal {
    fn condition_unchecked(&self, on: &Condition) -> Result<Conditioned<Self>> {
        let Condition { layout, slice, .. } = *on;
        // Independent parameters learn nothing from one another: conditioning only drops.
        let covariance = self.marginalize_unchecked(layout, slice)?;
        let shift = vec![0.0; covariance.variance.len()];
        Ok(Conditioned { covariance, shift, density: self.density_unchecked(on)? })
    }

    fn marginalize_unchecked(&self, layout: &Layout, slice: &Slice) -> Result<Self> {
        let (_, kept) = layout.split(slice)?;
        Ok(Self { variance: kept.iter().map(|&i| self.variance[i]).collect() })
    }

    fn density_unchecked(&self, on: &Condition) -> Result<GaussianDensity> {
        let Condition { layout, slice, residual } = *on;
        let fixed = layout.positions(slice)?;
        let quadratic = fixed.iter().zip(residual).map(|(&i, r)| r * r / self.variance[i]).sum();
        let log_det = fixed.iter().map(|&i| self.variance[i].ln()).sum();
        Ok(GaussianDensity { n: fixed.len(), quadratic, log_det })
    }

    fn permuted_unchecked(&self, layout: &Layout, block: usize, order: &[usize]) -> Result<Self> {
        let from = permuted_positions(layout, block, order);
        Ok(Self { variance: from.iter().map(|&i| self.variance[i]).collect() })
    }

    fn trace_ratio_unchecked(&self, other: &Self) -> Result<f64> {
        Ok(other.variance.iter().zip(&self.variance).map(|(q, p)| q / p).sum())
    }
}
