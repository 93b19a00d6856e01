//! Any covariance: Ψ as a dense matrix.

use std::sync::OnceLock;

use core_tensors::linalg::{self, Cholesky, gather, product_vector};
use core_tensors::{Layout, Rng, Slice};
use faer::{Mat, MatMut, MatRef};

use crate::checks;
use crate::error::{Error, Result};
use crate::gaussian::permuted_positions;
use crate::greedy;
use crate::structure::{Condition, Conditioned, Covariance, GaussianDensity, Outgoing, Structure};

/// Ψ, symmetric and positive definite, (p, p).
///
/// The verbs of the inverse factor Ψ once, at the first call; edits factor the fixed part alone.
///
/// ```
/// use bayes_posterior::{Covariance, Full, faer::Mat};
/// # fn main() -> bayes_posterior::Result<()> {
/// let covariance = Full::new(Mat::from_fn(2, 2, |i, j| if i == j { 2.0 } else { 1.0 }))?;
/// assert!((covariance.log_det()? - 3f64.ln()).abs() < 1e-12);
/// // [[2, 1], [1, 2]] (1, 0) = (2, 1)
/// assert_eq!(covariance.apply(&[1.0, 0.0])?, [2.0, 1.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Full {
    covariance: Mat<f64>,
    factor: OnceLock<Cholesky>,
}

impl Full {
    /// From a symmetric matrix, (p, p), of finite numbers with a positive diagonal. Whether it is positive definite
    /// shows at the first use of its inverse: the test costs p³/3 operations and a second matrix.
    pub fn new(covariance: Mat<f64>) -> Result<Self> {
        Self::named("a covariance", covariance)
    }

    /// [`Full::new`] with a name for messages.
    pub(crate) fn named(name: &str, covariance: Mat<f64>) -> Result<Self> {
        let (p, n_cols) = (covariance.nrows(), covariance.ncols());
        checks::length("columns of a covariance", p, n_cols)?;
        let mut full = Self::trusted(covariance);
        full.check_numbers_of(name)?;
        let stds: Vec<f64> = (0..p).map(|i| full.covariance[(i, i)].sqrt()).collect();
        for j in 0..p {
            for i in 0..j {
                let (a, b) = (full.covariance[(i, j)], full.covariance[(j, i)]);
                let size = stds[i] * stds[j];
                let is_mirrored = (a - b).abs() <= ASYMMETRY * size.max(a.abs());
                if !is_mirrored {
                    let (part, row, column) = (name.into(), i, j);
                    return Err(Error::Asymmetric { part, row, column, upper: a, lower: b });
                }
                if a != b {
                    // Symmetric to the last bit, so that verbs of either triangle agree.
                    let mean = 0.5 * a + 0.5 * b;
                    full.covariance[(i, j)] = mean;
                    full.covariance[(j, i)] = mean;
                }
            }
        }
        Ok(full)
    }

    /// Ψ, (p, p).
    pub fn matrix(&self) -> MatRef<'_, f64> {
        self.covariance.as_ref()
    }

    /// From a matrix that is symmetric by construction.
    pub(crate) fn trusted(covariance: Mat<f64>) -> Self {
        Self { covariance, factor: OnceLock::new() }
    }

    /// Ψ = L Lᵀ.
    pub(crate) fn factor(&self) -> Result<&Cholesky> {
        if let Some(factor) = self.factor.get() {
            return Ok(factor);
        }
        let factor = Cholesky::new(self.covariance.as_ref())?;
        Ok(self.factor.get_or_init(|| factor))
    }

    pub(crate) fn check_numbers_of(&self, name: &str) -> Result<()> {
        checks::variances(name, self.covariance.as_ref())
    }

    /// Factors without keeping the factor, as large as Ψ.
    pub(crate) fn check_positive_definite_of(&self, part: &str) -> Result<()> {
        if self.factor.get().is_some() {
            return Ok(());
        }
        match Cholesky::new(self.covariance.as_ref()) {
            Ok(_) => Ok(()),
            Err(core_tensors::Error::NotPositiveDefinite { index, size, pivot, diagonal }) => {
                Err(Error::Indefinite { part: part.into(), index, size, pivot, diagonal })
            }
            Err(other) => Err(other.into()),
        }
    }

    /// Conditions on positions instead of a slice.
    pub(crate) fn condition_on(
        &self,
        kept: &[usize],
        fixed: &[usize],
        residual: &[f64],
    ) -> Result<Conditioned<Self>> {
        let schur = linalg::condition(self.covariance.as_ref(), kept, fixed, residual)?;
        let density =
            GaussianDensity { n: fixed.len(), quadratic: schur.quadratic, log_det: schur.log_det };
        Ok(Conditioned { covariance: Self::trusted(schur.covariance), shift: schur.shift, density })
    }

    /// The covariance of some positions, in their order.
    pub(crate) fn select(&self, kept: &[usize]) -> Self {
        Self::trusted(gather(self.covariance.as_ref(), kept, kept))
    }

    /// The density of some positions.
    pub(crate) fn density_on(&self, fixed: &[usize], residual: &[f64]) -> Result<GaussianDensity> {
        let factor = Cholesky::in_place(gather(self.covariance.as_ref(), fixed, fixed))?;
        let (quadratic, log_det) = (factor.quadratic(residual), factor.log_det());
        Ok(GaussianDensity { n: fixed.len(), quadratic, log_det })
    }
}

/// Entries that mirror one another may differ by so much of the standard deviations' product: rounding of whoever wrote them.
const ASYMMETRY: f64 = 1e-9;

impl Covariance for Full {
    const NAME: &'static str = "full";

    fn n_parameters(&self) -> usize {
        self.covariance.nrows()
    }

    fn check(&self, layout: &Layout) -> Result<()> {
        checks::same_length(layout, self.n_parameters())
    }

    fn check_positive_definite(&self) -> Result<()> {
        self.check_positive_definite_of("the covariance")
    }

    fn check_numbers(&self) -> Result<()> {
        self.check_numbers_of("a covariance")
    }

    fn column_covariance_unchecked(&self, layout: &Layout, block: usize) -> Result<Mat<f64>> {
        let (shape, start) = (layout.blocks[block], layout.ranges()[block].start);
        let mut mean = Mat::zeros(shape.cols, shape.cols);
        for row in 0..shape.rows {
            let at = start + row * shape.cols;
            mean += self.covariance.submatrix(at, at, shape.cols, shape.cols);
        }
        Ok(mean * faer::Scale(1.0 / shape.rows as f64))
    }

    fn apply_unchecked(&self, x: &[f64]) -> Result<Vec<f64>> {
        Ok(product_vector(self.covariance.as_ref(), x))
    }

    fn solve_unchecked(&self, x: &[f64]) -> Result<Vec<f64>> {
        Ok(self.factor()?.solve_vector(x))
    }

    fn precision_diagonal(&self) -> Result<Vec<f64>> {
        Ok(self.factor()?.inverse_diagonal())
    }

    fn log_det(&self) -> Result<f64> {
        Ok(self.factor()?.log_det())
    }

    fn diagonal(&self) -> Result<Vec<f64>> {
        Ok((0..self.n_parameters()).map(|i| self.covariance[(i, i)]).collect())
    }

    fn precision_quadratic_unchecked(&self, x: &[f64]) -> Result<f64> {
        Ok(self.factor()?.quadratic(x))
    }

    fn sample(&self, rng: &mut Rng) -> Result<Vec<f64>> {
        let noise: Vec<f64> = (0..self.n_parameters()).map(|_| rng.normal()).collect();
        Ok(product_vector(self.factor()?.lower(), &noise))
    }

    fn greedy_columns_unchecked(&self, outgoing: &Outgoing) -> Result<Vec<(usize, f64)>> {
        greedy::by_conditioning(self, outgoing)
    }
}

impl Structure for Full {
    fn condition_unchecked(&self, on: &Condition) -> Result<Conditioned<Self>> {
        let Condition { layout, slice, residual } = *on;
        let (fixed, kept) = layout.split(slice)?;
        self.condition_on(&kept, &fixed, residual)
    }

    fn condition_and_drop_unchecked(
        &self,
        on: &Condition,
        dropped: &Slice,
    ) -> Result<Conditioned<Self>> {
        let Condition { layout, slice, residual } = *on;
        let ((fixed, rest), (dropped, _)) = (layout.split(slice)?, layout.split(dropped)?);
        let stays = |i: &usize| dropped.binary_search(i).is_err();
        let kept: Vec<usize> = rest.into_iter().filter(stays).collect();
        self.condition_on(&kept, &fixed, residual)
    }

    fn marginalize_unchecked(&self, layout: &Layout, slice: &Slice) -> Result<Self> {
        let (_, kept) = layout.split(slice)?;
        Ok(self.select(&kept))
    }

    fn density_unchecked(&self, on: &Condition) -> Result<GaussianDensity> {
        let Condition { layout, slice, residual } = *on;
        let fixed = layout.positions(slice)?;
        self.density_on(&fixed, residual)
    }

    fn permuted_unchecked(&self, layout: &Layout, block: usize, order: &[usize]) -> Result<Self> {
        Ok(self.select(&permuted_positions(layout, block, order)))
    }

    fn trace_ratio_unchecked(&self, other: &Self) -> Result<f64> {
        // tr(Ψ⁻¹ Φ) = ‖L⁻¹ K‖² with Ψ = L Lᵀ and Φ = K Kᵀ.
        let mut half = other.factor()?.lower().to_owned();
        self.factor()?.half_solve(MatMut::from(half.as_mut()));
        Ok(half.squared_norm_l2())
    }
}
