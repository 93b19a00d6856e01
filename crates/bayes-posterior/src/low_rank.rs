//! A diagonal and a few directions: of the covariance, or of the precision.

mod inverse;

use std::sync::OnceLock;

use core_tensors::linalg::{TallQr, dot, gather, product, product_vector};
use core_tensors::{Layout, Rng, Slice};
use faer::{Mat, MatRef};

use self::inverse::{Inverse, capacitance};
use crate::checks;
use crate::error::Result;
use crate::gaussian::permuted_positions;
use crate::greedy;
use crate::structure::{Condition, Conditioned, Covariance, GaussianDensity, Outgoing, Structure};

/// Which matrix the diagonal and the directions make up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LowRankForm {
    /// Ψ = D + F Fᵀ
    Covariance,
    /// Ψ⁻¹ = D + F Fᵀ, what a low-rank Laplace approximation gives.
    Precision,
}

/// D + F Fᵀ with D = diag(d), d > 0, and F of shape (p, r); the matrix is Ψ or Ψ⁻¹.
///
/// The two forms mirror one another: fixing in one is what integrating out is in the other. Selecting rows of F
/// serves one of the two verbs, and the other is the remainder A = (I + F_gᵀ D_g⁻¹ F_g)⁻¹ of the parameters g that go:
/// F ← F_k L with A = L Lᵀ.
///
/// ```
/// use bayes_posterior::{Covariance, LowRank, LowRankForm, faer::Mat};
/// # fn main() -> bayes_posterior::Result<()> {
/// // Ψ⁻¹ = I + 1 1ᵀ, so Ψ = I − 1 1ᵀ / 3.
/// let factor = Mat::from_fn(2, 1, |_, _| 1.0);
/// let covariance = LowRank::new(LowRankForm::Precision, factor, vec![1.0, 1.0])?;
/// assert!((covariance.diagonal()?[0] - 2.0 / 3.0).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LowRank {
    form: LowRankForm,
    factor: Mat<f64>,
    diagonal: Vec<f64>,
    /// Of D + F Fᵀ, at the first call that needs it.
    inverse: OnceLock<Box<Inverse>>,
}

impl LowRank {
    /// From F, (p, r), and d, (p,), each in (0, ∞).
    pub fn new(form: LowRankForm, factor: Mat<f64>, diagonal: Vec<f64>) -> Result<Self> {
        checks::length("rows of a low-rank factor", diagonal.len(), factor.nrows())?;
        let low_rank = Self::trusted(form, factor, diagonal);
        low_rank.check_numbers()?;
        Ok(low_rank)
    }

    /// Which matrix this makes up.
    pub fn form(&self) -> LowRankForm {
        self.form
    }

    /// F, (p, r).
    pub fn factor(&self) -> MatRef<'_, f64> {
        self.factor.as_ref()
    }

    /// d, (p,).
    pub fn own_diagonal(&self) -> &[f64] {
        &self.diagonal
    }

    /// From parts whose sizes fit.
    fn trusted(form: LowRankForm, factor: Mat<f64>, diagonal: Vec<f64>) -> Self {
        let factor = narrowed(factor);
        Self { form, factor, diagonal, inverse: OnceLock::new() }
    }

    fn select(&self, kept: &[usize]) -> Self {
        let cols: Vec<usize> = (0..self.factor.ncols()).collect();
        let factor = gather(self.factor.as_ref(), kept, &cols);
        Self::trusted(self.form, factor, kept.iter().map(|&i| self.diagonal[i]).collect())
    }

    fn inverse(&self) -> Result<&Inverse> {
        if let Some(inverse) = self.inverse.get() {
            return Ok(inverse);
        }
        let inverse = Inverse::new(self.factor.as_ref(), &self.diagonal)?;
        Ok(self.inverse.get_or_init(|| Box::new(inverse)))
    }

    /// (D + F Fᵀ) x = D x + F Fᵀ x
    fn multiply(&self, x: &[f64]) -> Vec<f64> {
        let inner = product_vector(self.factor.transpose(), x); // (r,)
        let mut y = product_vector(self.factor.as_ref(), &inner); // (p,)
        y.iter_mut().zip(x).zip(&self.diagonal).for_each(|((y, x), d)| *y += d * x);
        y
    }

    /// (D + F Fᵀ)⁻¹ x
    fn divide(&self, x: &[f64]) -> Result<Vec<f64>> {
        Ok(self.inverse()?.apply(self.factor.as_ref(), &self.diagonal, x)?.0)
    }

    /// xᵀ (D + F Fᵀ) x = Σ dᵢ xᵢ² + ‖Fᵀ x‖²
    fn sum_quadratic(&self, x: &[f64]) -> f64 {
        let inner = product_vector(self.factor.transpose(), x); // (r,)
        let own: f64 = self.diagonal.iter().zip(x).map(|(d, x)| d * x * x).sum();
        own + dot(&inner, &inner)
    }

    /// xᵀ (D + F Fᵀ)⁻¹ x
    fn inverse_quadratic(&self, x: &[f64]) -> Result<f64> {
        self.inverse()?.quadratic(self.factor.as_ref(), &self.diagonal, x)
    }

    /// dᵢ + ‖Fᵢ‖²
    fn sum_diagonal(&self) -> Vec<f64> {
        let mut sum = self.diagonal.clone();
        for column in self.factor.col_iter() {
            sum.iter_mut().zip(column.iter()).for_each(|(s, f)| *s += f * f);
        }
        sum
    }

    /// Diagonal of (D + F Fᵀ)⁻¹, each number to its own last digits.
    fn inverse_diagonal(&self) -> Result<Vec<f64>> {
        Ok(self.inverse()?.diagonal(&self.diagonal))
    }

    /// log |D + F Fᵀ| = Σ log dᵢ + log |I + Fᵀ D⁻¹ F|
    fn sum_log_det(&self) -> Result<f64> {
        let own: f64 = self.diagonal.iter().map(|d| d.ln()).sum();
        Ok(own + capacitance(self.factor.as_ref(), &self.diagonal)?.log_det())
    }

    /// F_k L with L Lᵀ = (I + F_gᵀ D_g⁻¹ F_g)⁻¹: the directions once the parameters `gone` no longer take part.
    fn remainder(&self, kept: &[usize], gone: &Self) -> Result<Self> {
        let left = self.select(kept);
        let inner = capacitance(gone.factor.as_ref(), &gone.diagonal)?;
        let turned = inner.half_solve(left.factor.transpose())?; // (r, k)
        Ok(Self::trusted(self.form, turned.transpose().to_owned(), left.diagonal))
    }

    /// Σⱼ fⱼᵀ M fⱼ over the directions, for a quadratic form of some M.
    fn over_directions(&self, of: impl Fn(&[f64]) -> Result<f64>) -> Result<f64> {
        let column = |f: faer::ColRef<'_, f64>| of(&f.iter().copied().collect::<Vec<f64>>());
        self.factor.col_iter().map(column).sum()
    }
}

/// Directions that may be more than the parameters, as edits leave them.
const MOST_DIRECTIONS: usize = 1024;

/// As many directions as parameters with the same F Fᵀ where they are far more: what follows costs their square.
fn narrowed(factor: Mat<f64>) -> Mat<f64> {
    if factor.ncols() <= factor.nrows().max(MOST_DIRECTIONS) {
        return factor;
    }
    // Numbers that are not finite stay, for the check of them.
    TallQr::new(factor.transpose()).map_or(factor, |qr| qr.small().transpose().to_owned())
}

impl Covariance for LowRank {
    const NAME: &'static str = "low_rank";

    fn n_parameters(&self) -> usize {
        self.diagonal.len()
    }

    fn check(&self, layout: &Layout) -> Result<()> {
        checks::same_length(layout, self.diagonal.len())
    }

    fn check_positive_definite(&self) -> Result<()> {
        Ok(())
    }

    fn check_numbers(&self) -> Result<()> {
        checks::all_positive("diagonal of a low-rank structure", &self.diagonal)?;
        checks::entries("a low-rank factor", self.factor.as_ref())
    }

    fn column_covariance_unchecked(&self, layout: &Layout, block: usize) -> Result<Mat<f64>> {
        let (shape, start) = (layout.blocks[block], layout.ranges()[block].start);
        let mut mean = Mat::<f64>::zeros(shape.cols, shape.cols);
        let (outer, sign) = match self.form {
            LowRankForm::Covariance => (self.factor.clone(), 1.0),
            LowRankForm::Precision => {
                (self.inverse()?.outer(self.factor.as_ref(), &self.diagonal)?, -1.0)
            }
        };
        let diagonal = self.diagonal()?;
        for row in 0..shape.rows {
            let at = start + row * shape.cols;
            let f = outer.subrows(at, shape.cols);
            let mut own = product(f, f.transpose()) * faer::Scale(sign);
            if self.form == LowRankForm::Precision {
                for j in self.inverse()?.large_rows().filter(|j| (at..at + shape.cols).contains(j))
                {
                    let mut unit = vec![0.0; self.diagonal.len()];
                    unit[j] = 1.0;
                    let column = self.divide(&unit)?;
                    for i in 0..shape.cols {
                        own[(i, j - at)] = column[at + i];
                        own[(j - at, i)] = column[at + i];
                    }
                }
            }
            (0..shape.cols).for_each(|j| own[(j, j)] = diagonal[at + j]);
            mean += own;
        }
        Ok(mean * faer::Scale(1.0 / shape.rows as f64))
    }

    fn apply_unchecked(&self, x: &[f64]) -> Result<Vec<f64>> {
        match self.form {
            LowRankForm::Covariance => Ok(self.multiply(x)),
            LowRankForm::Precision => self.divide(x),
        }
    }

    fn solve_unchecked(&self, x: &[f64]) -> Result<Vec<f64>> {
        match self.form {
            LowRankForm::Covariance => self.divide(x),
            LowRankForm::Precision => Ok(self.multiply(x)),
        }
    }

    fn precision_diagonal(&self) -> Result<Vec<f64>> {
        match self.form {
            LowRankForm::Covariance => self.inverse_diagonal(),
            LowRankForm::Precision => Ok(self.sum_diagonal()),
        }
    }

    fn log_det(&self) -> Result<f64> {
        match self.form {
            LowRankForm::Covariance => self.sum_log_det(),
            LowRankForm::Precision => Ok(-self.sum_log_det()?),
        }
    }

    fn diagonal(&self) -> Result<Vec<f64>> {
        match self.form {
            LowRankForm::Covariance => Ok(self.sum_diagonal()),
            LowRankForm::Precision => self.inverse_diagonal(),
        }
    }

    fn precision_quadratic_unchecked(&self, x: &[f64]) -> Result<f64> {
        match self.form {
            LowRankForm::Covariance => self.inverse_quadratic(x),
            LowRankForm::Precision => Ok(self.sum_quadratic(x)),
        }
    }

    fn sample(&self, rng: &mut Rng) -> Result<Vec<f64>> {
        let inner: Vec<f64> = (0..self.factor.ncols()).map(|_| rng.normal()).collect();
        let mut x = product_vector(self.factor.as_ref(), &inner);
        x.iter_mut().zip(&self.diagonal).for_each(|(x, d)| *x += d.sqrt() * rng.normal());
        match self.form {
            LowRankForm::Covariance => Ok(x),
            // x ~ N(0, P), so P⁻¹ x ~ N(0, P⁻¹).
            LowRankForm::Precision => self.divide(&x),
        }
    }

    fn greedy_columns_unchecked(&self, outgoing: &Outgoing) -> Result<Vec<(usize, f64)>> {
        greedy::by_conditioning(self, outgoing)
    }
}

impl Structure for LowRank {
    fn condition_unchecked(&self, on: &Condition) -> Result<Conditioned<Self>> {
        let Condition { layout, slice, residual } = *on;
        let (fixed, kept) = layout.split(slice)?;
        let gone = self.select(&fixed);
        let (covariance, shift) = match self.form {
            // Ψ_kd Ψ_dd⁻¹ r = F_k F_dᵀ (D_d + F_d F_dᵀ)⁻¹ r
            LowRankForm::Covariance => {
                let (_, inner) =
                    gone.inverse()?.apply(gone.factor.as_ref(), &gone.diagonal, residual)?;
                let rows = self.select(&kept);
                (self.remainder(&kept, &gone)?, product_vector(rows.factor.as_ref(), &inner))
            }
            // −P_kk⁻¹ P_kd r = −(D_k + F_k F_kᵀ)⁻¹ F_k F_dᵀ r
            LowRankForm::Precision => {
                let left = self.select(&kept);
                let inner = product_vector(gone.factor.transpose(), residual);
                let (factor, own) = (left.factor.as_ref(), &left.diagonal);
                let pulled = left.inverse()?.apply_to_factor(factor, own, &inner)?;
                (left, pulled.iter().map(|s| -s).collect())
            }
        };
        Ok(Conditioned { covariance, shift, density: self.density_unchecked(on)? })
    }

    fn marginalize_unchecked(&self, layout: &Layout, slice: &Slice) -> Result<Self> {
        let (gone, kept) = layout.split(slice)?;
        match self.form {
            LowRankForm::Covariance => Ok(self.select(&kept)),
            // P_kk − P_kd P_dd⁻¹ P_dk
            LowRankForm::Precision => self.remainder(&kept, &self.select(&gone)),
        }
    }

    fn density_unchecked(&self, on: &Condition) -> Result<GaussianDensity> {
        let Condition { layout, slice, residual } = *on;
        let (fixed, _) = layout.split(slice)?;
        let marginal = match self.form {
            LowRankForm::Covariance => self.select(&fixed),
            LowRankForm::Precision => {
                let (_, kept) = layout.split(slice)?;
                self.remainder(&fixed, &self.select(&kept))?
            }
        };
        let quadratic = marginal.precision_quadratic(residual)?;
        Ok(GaussianDensity { n: fixed.len(), quadratic, log_det: marginal.log_det()? })
    }

    fn permuted_unchecked(&self, layout: &Layout, block: usize, order: &[usize]) -> Result<Self> {
        Ok(self.select(&permuted_positions(layout, block, order)))
    }

    /// A sum of squares in each case. Between a covariance and a precision it takes p products.
    fn trace_ratio_unchecked(&self, other: &Self) -> Result<f64> {
        match (self.form, other.form) {
            // tr((D + F Fᵀ)⁻¹ (E + G Gᵀ)) = Σ (Ψ⁻¹)ᵢᵢ eᵢ + Σⱼ gⱼᵀ Ψ⁻¹ gⱼ
            (_, LowRankForm::Covariance) => Ok(dot(&self.precision_diagonal()?, &other.diagonal)
                + other.over_directions(|g| self.precision_quadratic_unchecked(g))?),
            // The same with the roles exchanged: the trace of (D + F Fᵀ) (E + G Gᵀ)⁻¹.
            (LowRankForm::Precision, LowRankForm::Precision) => {
                Ok(dot(&other.inverse_diagonal()?, &self.diagonal)
                    + self.over_directions(|f| other.inverse_quadratic(f))?)
            }
            (LowRankForm::Covariance, LowRankForm::Precision) => {
                let mut unit = vec![0.0; self.diagonal.len()];
                let mut sum = 0.0;
                for i in 0..unit.len() {
                    unit[i] = 1.0;
                    sum += dot(&self.divide(&unit)?, &other.divide(&unit)?);
                    unit[i] = 0.0;
                }
                Ok(sum)
            }
        }
    }
}
