//! A diagonal and a few directions: of the covariance, or of the precision.

use core_tensors::linalg::{Cholesky, dot, product, product_vector};
use core_tensors::{Layout, Rng, Slice};
use faer::{Mat, MatRef};

use crate::diagonal::{positive, same_length};
use crate::error::{Error, Result};
use crate::gaussian::permuted_positions;
use crate::structure::{Conditioned, Pin, Structure};

/// Which matrix the diagonal and the directions make up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Ψ = D + F Fᵀ
    Covariance,
    /// Ψ⁻¹ = D + F Fᵀ, what a low-rank Laplace approximation gives.
    Precision,
}

/// D + F Fᵀ with D = diag(d), d > 0, and F of shape (p, r); the matrix is Ψ or Ψ⁻¹.
///
/// The two forms mirror one another: pinning in one is what integrating out is in the other. Selecting rows of F
/// serves one of the two verbs, and the other is the remainder A = (I + F_gᵀ D_g⁻¹ F_g)⁻¹ of the parameters g that go:
/// F ← F_k L with A = L Lᵀ.
#[derive(Clone, Debug)]
pub struct LowRank {
    form: Form,
    factor: Mat<f64>,
    diagonal: Vec<f64>,
}

impl LowRank {
    /// From F, (p, r), and d, (p,), each in (0, ∞).
    pub fn new(form: Form, factor: Mat<f64>, diagonal: Vec<f64>) -> Result<Self> {
        if factor.nrows() != diagonal.len() {
            let (wanted, found) = (diagonal.len(), factor.nrows());
            return Err(Error::mismatch("rows of a low-rank factor", wanted, found));
        }
        positive("diagonal of a low-rank structure", &diagonal)?;
        for j in 0..factor.ncols() {
            if let Some(i) = (0..factor.nrows()).find(|&i| !factor[(i, j)].is_finite()) {
                let name = format!("entry ({i}, {j}) of a low-rank factor");
                let value = factor[(i, j)];
                return Err(Error::OutOfRange { name, value, range: "(−∞, ∞)" });
            }
        }
        Ok(Self { form, factor, diagonal })
    }

    /// Which matrix this makes up.
    pub fn form(&self) -> Form {
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

    fn select(&self, kept: &[usize]) -> Self {
        let cols: Vec<usize> = (0..self.factor.ncols()).collect();
        let factor = core_tensors::linalg::gather(self.factor.as_ref(), kept, &cols);
        let diagonal = kept.iter().map(|&i| self.diagonal[i]).collect();
        Self { form: self.form, factor, diagonal }
    }

    /// I + Fᵀ D⁻¹ F, (r, r), factored.
    fn capacitance(&self) -> Result<Cholesky> {
        let r = self.factor.ncols();
        let scaled = self.scaled_factor(|d| 1.0 / d.sqrt());
        let mut matrix = product(scaled.transpose(), scaled.as_ref());
        (0..r).for_each(|i| matrix[(i, i)] += 1.0);
        Ok(Cholesky::in_place(matrix)?)
    }

    /// F with row i multiplied by a function of dᵢ.
    fn scaled_factor(&self, by: impl Fn(f64) -> f64) -> Mat<f64> {
        let (p, r) = (self.factor.nrows(), self.factor.ncols());
        let scale: Vec<f64> = self.diagonal.iter().map(|&d| by(d)).collect();
        Mat::from_fn(p, r, |i, j| scale[i] * self.factor[(i, j)])
    }

    /// (D + F Fᵀ) x = D x + F Fᵀ x
    fn multiply(&self, x: &[f64]) -> Vec<f64> {
        let inner = product_vector(self.factor.transpose(), x); // (r,)
        let mut y = product_vector(self.factor.as_ref(), &inner); // (p,)
        y.iter_mut().zip(x).zip(&self.diagonal).for_each(|((y, x), d)| *y += d * x);
        y
    }

    /// (D + F Fᵀ)⁻¹ x = D⁻¹ x − D⁻¹ F (I + Fᵀ D⁻¹ F)⁻¹ Fᵀ D⁻¹ x
    fn divide(&self, x: &[f64]) -> Result<Vec<f64>> {
        let mut y: Vec<f64> = x.iter().zip(&self.diagonal).map(|(x, d)| x / d).collect();
        let inner = self.capacitance()?.solve_vector(&product_vector(self.factor.transpose(), &y));
        let outer = product_vector(self.factor.as_ref(), &inner);
        y.iter_mut().zip(&outer).zip(&self.diagonal).for_each(|((y, o), d)| *y -= o / d);
        Ok(y)
    }

    /// dᵢ + ‖Fᵢ‖²
    fn sum_diagonal(&self) -> Vec<f64> {
        let mut sum = self.diagonal.clone();
        for column in self.factor.col_iter() {
            sum.iter_mut().zip(column.iter()).for_each(|(s, f)| *s += f * f);
        }
        sum
    }

    /// Diagonal of the inverse: 1/dᵢ − ‖L⁻¹ Fᵢ‖²/dᵢ², L the factor of the capacitance.
    fn inverse_diagonal(&self) -> Result<Vec<f64>> {
        let mut half = self.scaled_factor(f64::recip).transpose().to_owned(); // (r, p)
        self.capacitance()?.half_solve(half.as_mut());
        let of = |(i, d): (usize, &f64)| d.recip() - half.col(i).squared_norm_l2();
        Ok(self.diagonal.iter().enumerate().map(of).collect())
    }

    /// log |D + F Fᵀ| = Σ log dᵢ + log |I + Fᵀ D⁻¹ F|
    fn sum_log_det(&self) -> Result<f64> {
        Ok(self.diagonal.iter().map(|d| d.ln()).sum::<f64>() + self.capacitance()?.log_det())
    }

    /// F_k L with L Lᵀ = (I + F_gᵀ D_g⁻¹ F_g)⁻¹: the directions once the parameters `gone` no longer take part.
    fn remainder(&self, kept: &[usize], gone: &Self) -> Result<Self> {
        let mut left = self.select(kept);
        // K Kᵀ = I + …, so L = K⁻ᵀ, and F L = (K⁻¹ Fᵀ)ᵀ.
        let mut turned = left.factor.transpose().to_owned();
        gone.capacitance()?.half_solve(turned.as_mut());
        left.factor = turned.transpose().to_owned();
        Ok(left)
    }
}

impl Structure for LowRank {
    const NAME: &'static str = "low_rank";

    fn n_parameters(&self) -> usize {
        self.diagonal.len()
    }

    fn check(&self, layout: &Layout) -> Result<()> {
        same_length(layout, self.diagonal.len())
    }

    fn condition(
        &self,
        layout: &Layout,
        slice: &Slice,
        residual: &[f64],
    ) -> Result<Conditioned<Self>> {
        let (pinned, kept) = layout.split(slice)?;
        let gone = self.select(&pinned);
        let (covariance, shift) = match self.form {
            // Ψ_kd Ψ_dd⁻¹ r = F_k F_dᵀ (D_d + F_d F_dᵀ)⁻¹ r
            Form::Covariance => {
                let inner = product_vector(gone.factor.transpose(), &gone.divide(residual)?);
                let rows = self.select(&kept);
                (self.remainder(&kept, &gone)?, product_vector(rows.factor.as_ref(), &inner))
            }
            // −P_kk⁻¹ P_kd r = −(D_k + F_k F_kᵀ)⁻¹ F_k F_dᵀ r
            Form::Precision => {
                let left = self.select(&kept);
                let inner = product_vector(gone.factor.transpose(), residual);
                let pulled = product_vector(left.factor.as_ref(), &inner);
                let shift = left.divide(&pulled)?.iter().map(|s| -s).collect();
                (left, shift)
            }
        };
        Ok(Conditioned { covariance, shift, pin: self.pin(layout, slice, residual)? })
    }

    fn marginalize(&self, layout: &Layout, slice: &Slice) -> Result<Self> {
        let (gone, kept) = layout.split(slice)?;
        match self.form {
            Form::Covariance => Ok(self.select(&kept)),
            // P_kk − P_kd P_dd⁻¹ P_dk
            Form::Precision => self.remainder(&kept, &self.select(&gone)),
        }
    }

    fn pin(&self, layout: &Layout, slice: &Slice, residual: &[f64]) -> Result<Pin> {
        let (pinned, _) = layout.split(slice)?;
        let marginal = match self.form {
            Form::Covariance => self.select(&pinned),
            Form::Precision => {
                let (_, kept) = layout.split(slice)?;
                self.remainder(&pinned, &self.select(&kept))?
            }
        };
        let quadratic = marginal.precision_quadratic(residual)?;
        Ok(Pin { n: pinned.len(), quadratic, log_det: marginal.log_det()? })
    }

    fn permute_columns(&self, layout: &Layout, block: usize, order: &[usize]) -> Result<Self> {
        Ok(self.select(&permuted_positions(layout, block, order)))
    }

    fn column_covariance(&self, layout: &Layout, block: usize) -> Result<Mat<f64>> {
        let (shape, start) = (layout.blocks[block], layout.ranges()[block].start);
        let parts = self.covariance_parts()?;
        let mut mean = Mat::<f64>::zeros(shape.cols, shape.cols);
        for row in 0..shape.rows {
            let at = start + row * shape.cols;
            let f = parts.factor.subrows(at, shape.cols);
            mean += product(f, f.transpose()) * faer::Scale(parts.sign);
            let own = &parts.diagonal[at..at + shape.cols];
            own.iter().enumerate().for_each(|(j, d)| mean[(j, j)] += d);
        }
        Ok(mean * faer::Scale(1.0 / shape.rows as f64))
    }

    fn apply(&self, x: &[f64]) -> Result<Vec<f64>> {
        match self.form {
            Form::Covariance => Ok(self.multiply(x)),
            Form::Precision => self.divide(x),
        }
    }

    fn solve(&self, x: &[f64]) -> Result<Vec<f64>> {
        match self.form {
            Form::Covariance => self.divide(x),
            Form::Precision => Ok(self.multiply(x)),
        }
    }

    fn precision_diagonal(&self) -> Result<Vec<f64>> {
        match self.form {
            Form::Covariance => self.inverse_diagonal(),
            Form::Precision => Ok(self.sum_diagonal()),
        }
    }

    fn log_det(&self) -> Result<f64> {
        match self.form {
            Form::Covariance => self.sum_log_det(),
            Form::Precision => Ok(-self.sum_log_det()?),
        }
    }

    fn diagonal(&self) -> Result<Vec<f64>> {
        match self.form {
            Form::Covariance => Ok(self.sum_diagonal()),
            Form::Precision => self.inverse_diagonal(),
        }
    }

    fn precision_quadratic(&self, x: &[f64]) -> Result<f64> {
        Ok(dot(x, &self.solve(x)?))
    }

    fn sample(&self, rng: &mut Rng) -> Result<Vec<f64>> {
        let inner: Vec<f64> = (0..self.factor.ncols()).map(|_| rng.normal()).collect();
        let mut x = product_vector(self.factor.as_ref(), &inner);
        x.iter_mut().zip(&self.diagonal).for_each(|(x, d)| *x += d.sqrt() * rng.normal());
        match self.form {
            Form::Covariance => Ok(x),
            // x ~ N(0, P), so P⁻¹ x ~ N(0, P⁻¹).
            Form::Precision => self.divide(&x),
        }
    }

    fn trace_ratio(&self, other: &Self) -> Result<f64> {
        let parts = other.covariance_parts()?;
        let mut sum = dot(&self.precision_diagonal()?, &parts.diagonal);
        // tr(Ψ⁻¹ F Fᵀ) = Σⱼ fⱼᵀ Ψ⁻¹ fⱼ
        for column in parts.factor.col_iter() {
            let column: Vec<f64> = column.iter().copied().collect();
            sum += parts.sign * self.precision_quadratic(&column)?;
        }
        Ok(sum)
    }
}

/// A covariance as diag(d) ± F Fᵀ.
struct CovarianceParts {
    diagonal: Vec<f64>,
    factor: Mat<f64>,
    sign: f64,
}

impl LowRank {
    /// Ψ = D + F Fᵀ, or D⁻¹ − W Wᵀ with W = D⁻¹ F K⁻ᵀ, K Kᵀ the capacitance.
    fn covariance_parts(&self) -> Result<CovarianceParts> {
        match self.form {
            Form::Covariance => Ok(CovarianceParts {
                diagonal: self.diagonal.clone(),
                factor: self.factor.clone(),
                sign: 1.0,
            }),
            Form::Precision => {
                let mut half = self.scaled_factor(f64::recip).transpose().to_owned();
                self.capacitance()?.half_solve(half.as_mut());
                let diagonal = self.diagonal.iter().map(|d| d.recip()).collect();
                Ok(CovarianceParts { diagonal, factor: half.transpose().to_owned(), sign: -1.0 })
            }
        }
    }
}
