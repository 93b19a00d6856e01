//! The Laplace posterior under Kronecker curvature, exact: Ψ_t = (G_t ⊗ A_t + δI)⁻¹ by eigenvectors and eigenvalues.

mod factors;
mod greedy;

use core_tensors::linalg::product;
use core_tensors::{Block, Layout, Rng};
use faer::{Mat, MatRef, Side};

pub use self::factors::Damping;
use crate::checks;
use crate::error::{Error, Result};
use crate::kronecker::row_major;
use crate::structure::{Covariance, Outgoing};

/// A symmetric matrix without negative eigenvalues, Q diag(λ) Qᵀ.
#[derive(Clone, Debug)]
pub struct Spectrum {
    vectors: Mat<f64>,
    values: Vec<f64>,
}

/// The curvature of one layer: the Hessian of its weights is G ⊗ A.
#[derive(Clone, Debug)]
pub struct LayerCurvature {
    /// G, (n_t, n_t): summed over examples, between units.
    pub rows: Spectrum,
    /// A, (cols, cols): averaged over examples, between inputs, the bias last.
    pub columns: Spectrum,
}

/// Ψ = diag((G_1 ⊗ A_1 + δI)⁻¹, …), row-major vec; δ > 0 is the precision of the prior.
///
/// With G = Q_G diag(g) Q_Gᵀ and A = Q_A diag(a) Q_Aᵀ everything is a sum over hᵢⱼ = gᵢ aⱼ + δ:
/// Ψ_t = (Q_G ⊗ Q_A) diag(1/hᵢⱼ) (Q_G ⊗ Q_A)ᵀ. It is no Kronecker product, so an edit needs the nearest pair of
/// factors, [`crate::Posterior::to_kronecker`]; evidence, draws, variances, predictions and logits need none.
///
/// Source: George et al. (2018), section 3; Daxberger et al. (2021), whose `KronDecomposed` this is.
#[derive(Clone, Debug)]
pub struct KroneckerEigen {
    layers: Vec<LayerCurvature>,
    prior_precision: f64,
}

/// Eigenvalues this far below 0, in units of the largest, are rounding of a sum of squares.
const ROUNDING: f64 = 1e-9;
/// Columns of a matrix of eigenvectors may be so far from orthonormal: rounding of whoever wrote them.
const ORTHONORMAL: f64 = 1e-8;

impl Spectrum {
    /// From Q, (n, n) with orthonormal columns, and λ, (n,), each in [0, ∞).
    pub fn new(vectors: Mat<f64>, values: Vec<f64>) -> Result<Self> {
        let n = values.len();
        checks::length("rows of a matrix of eigenvectors", n, vectors.nrows())?;
        checks::length("eigenvectors", n, vectors.ncols())?;
        if let Some(i) = values.iter().position(|v| !(*v >= 0.0 && v.is_finite())) {
            let (name, value) = (format!("eigenvalue {i} of a curvature"), values[i]);
            return Err(Error::OutOfRange { name, value, range: "[0, ∞)" });
        }
        checks::entries("eigenvectors of a curvature", vectors.as_ref())?;
        let gap = product(vectors.transpose(), vectors.as_ref()) - Mat::<f64>::identity(n, n);
        let is_small = gap.norm_l2() <= ORTHONORMAL * n as f64;
        if !is_small {
            return Err(Error::NotOrthonormal { gap: gap.norm_l2() });
        }
        Ok(Self { vectors, values })
    }

    /// Of a symmetric matrix, whose lower triangle alone is read. Negative eigenvalues of the size of rounding are 0.
    pub fn of(matrix: MatRef<f64>) -> Result<Self> {
        checks::length("columns of a curvature", matrix.nrows(), matrix.ncols())?;
        checks::entries("a curvature", matrix)?;
        let eigen = matrix
            .self_adjoint_eigen(Side::Lower)
            .map_err(|_| Error::Eigenvalues { of: "a curvature" })?;
        let values: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
        let largest = values.iter().fold(0.0, |l: f64, v| l.max(*v));
        let is_bad = |v: &f64| !v.is_finite() || *v < -ROUNDING * largest;
        if let Some(i) = values.iter().position(is_bad) {
            let (name, value) = (format!("eigenvalue {i} of a curvature"), values[i]);
            return Err(Error::OutOfRange { name, value, range: "[0, ∞)" });
        }
        checks::entries("eigenvectors of a curvature", eigen.U())?;
        // The trace is exact to rounding, the smallest eigenvalues are not: those below it carry no information.
        Ok(Self {
            vectors: eigen.U().to_owned(),
            values: values.iter().map(|v| v.max(0.0)).collect(),
        })
    }

    /// Q, (n, n), an eigenvector a column.
    pub fn vectors(&self) -> MatRef<'_, f64> {
        self.vectors.as_ref()
    }

    /// λ, (n,).
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    fn n(&self) -> usize {
        self.values.len()
    }

    /// Q diag(f(λ)) Qᵀ
    fn map(&self, of: impl Fn(usize, f64) -> f64) -> Mat<f64> {
        let n = self.n();
        let scaled = Mat::from_fn(n, n, |i, k| self.vectors[(i, k)] * of(k, self.values[k]));
        let full = product(scaled.as_ref(), self.vectors.transpose());
        // Symmetric to the last bit.
        Mat::from_fn(n, n, |i, j| 0.5 * (full[(i, j)] + full[(j, i)]))
    }

    /// Squares of the entries of Q.
    fn squares(&self) -> Mat<f64> {
        Mat::from_fn(self.n(), self.n(), |i, j| self.vectors[(i, j)].powi(2))
    }

    /// Diagonal of Q diag(λ) Qᵀ.
    fn diagonal(&self) -> Vec<f64> {
        let term = |i: usize, k: usize| self.vectors[(i, k)].powi(2) * self.values[k];
        (0..self.n()).map(|i| (0..self.n()).map(|k| term(i, k)).sum()).collect()
    }
}

impl LayerCurvature {
    /// hᵢⱼ = gᵢ aⱼ + δ, (n_t, cols).
    fn eigenvalues(&self, prior_precision: f64) -> Mat<f64> {
        let (g, a) = (&self.rows.values, &self.columns.values);
        Mat::from_fn(g.len(), a.len(), |i, j| g[i] * a[j] + prior_precision)
    }

    fn n_parameters(&self) -> usize {
        self.rows.n() * self.columns.n()
    }

    /// Q_Gᵀ X Q_A
    fn rotate(&self, x: MatRef<f64>) -> Mat<f64> {
        let half = product(self.rows.vectors.transpose(), x);
        product(half.as_ref(), self.columns.vectors.as_ref())
    }

    /// Q_G Z Q_Aᵀ
    fn rotate_back(&self, z: MatRef<f64>) -> Mat<f64> {
        let half = product(self.rows.vectors.as_ref(), z);
        product(half.as_ref(), self.columns.vectors.transpose())
    }
}

impl KroneckerEigen {
    /// From the curvature of each layer, input side first, and δ > 0.
    pub fn new(layers: Vec<LayerCurvature>, prior_precision: f64) -> Result<Self> {
        let posterior = Self { layers, prior_precision };
        posterior.check_numbers()?;
        Ok(posterior)
    }

    /// The curvature of each layer.
    pub fn layers(&self) -> &[LayerCurvature] {
        &self.layers
    }

    /// δ
    pub fn prior_precision(&self) -> f64 {
        self.prior_precision
    }

    /// Layer by layer: a matrix (n_t, cols) made of that of the numbers there, row by row.
    fn each(&self, x: &[f64], of: impl Fn(&LayerCurvature, MatRef<f64>) -> Mat<f64>) -> Vec<f64> {
        let (mut all, mut start) = (Vec::with_capacity(x.len()), 0);
        for layer in &self.layers {
            let end = start + layer.n_parameters();
            let (n, cols) = (layer.rows.n(), layer.columns.n());
            let x = MatRef::from_row_major_slice(&x[start..end], n, cols);
            all.extend(row_major(of(layer, x).as_ref()));
            start = end;
        }
        all
    }

    /// Q f(h) Qᵀ x with Q = Q_G ⊗ Q_A.
    fn spectral(&self, x: &[f64], of: impl Fn(f64) -> f64) -> Vec<f64> {
        self.each(x, |layer, x| {
            let (mut z, h) = (layer.rotate(x), layer.eigenvalues(self.prior_precision));
            scale(&mut z, &h, &of);
            layer.rotate_back(z.as_ref())
        })
    }
}

/// Each entry of `z` times a function of its eigenvalue.
fn scale(z: &mut Mat<f64>, h: &Mat<f64>, of: impl Fn(f64) -> f64) {
    for (z, h) in z.col_iter_mut().zip(h.col_iter()) {
        z.iter_mut().zip(h.iter()).for_each(|(z, &h)| *z *= of(h));
    }
}

impl Covariance for KroneckerEigen {
    const NAME: &'static str = "kronecker_eigen";

    fn n_parameters(&self) -> usize {
        self.layers.iter().map(LayerCurvature::n_parameters).sum()
    }

    fn check(&self, layout: &Layout) -> Result<()> {
        let block = |l: &LayerCurvature| Block { rows: l.rows.n(), cols: l.columns.n() };
        let blocks = self.layers.iter().map(block).collect();
        checks::same_layout("layers of a covariance", layout, &Layout { blocks })
    }

    fn check_positive_definite(&self) -> Result<()> {
        Ok(())
    }

    /// Eigenvalues and eigenvectors were looked at when they came; here it is hᵢⱼ and 1/hᵢⱼ.
    fn check_numbers(&self) -> Result<()> {
        checks::positive("prior precision", self.prior_precision)?;
        checks::positive("1 / prior precision", 1.0 / self.prior_precision)?;
        let largest = |s: &Spectrum| s.values.iter().fold(0.0, |l: f64, v| l.max(*v));
        for (i, layer) in self.layers.iter().enumerate() {
            let product = largest(&layer.rows) * largest(&layer.columns);
            let name = format!("largest eigenvalue of the curvature of layer {}", i + 1);
            checks::finite(&name, product)?;
        }
        Ok(())
    }

    /// Gᵢᵢ Aⱼⱼ + δ
    fn precision_diagonal(&self) -> Result<Vec<f64>> {
        let mut all = Vec::with_capacity(self.n_parameters());
        for layer in &self.layers {
            let (g, a) = (layer.rows.diagonal(), layer.columns.diagonal());
            all.extend(g.iter().flat_map(|g| a.iter().map(move |a| g * a + self.prior_precision)));
        }
        Ok(all)
    }

    /// −Σ log hᵢⱼ
    fn log_det(&self) -> Result<f64> {
        let of = |layer: &LayerCurvature| {
            let h = layer.eigenvalues(self.prior_precision);
            h.col_iter().map(|h| h.iter().map(|h| h.ln()).sum::<f64>()).sum::<f64>()
        };
        Ok(-self.layers.iter().map(of).sum::<f64>())
    }

    /// Σ_kl Q_G,ik² Q_A,jl² / h_kl
    fn diagonal(&self) -> Result<Vec<f64>> {
        let mut all = Vec::with_capacity(self.n_parameters());
        for layer in &self.layers {
            let h = layer.eigenvalues(self.prior_precision);
            let inverse = Mat::from_fn(h.nrows(), h.ncols(), |i, j| 1.0 / h[(i, j)]);
            let half = product(layer.rows.squares().as_ref(), inverse.as_ref());
            let whole = product(half.as_ref(), layer.columns.squares().transpose());
            all.extend(row_major(whole.as_ref()));
        }
        Ok(all)
    }

    fn sample(&self, rng: &mut Rng) -> Result<Vec<f64>> {
        let noise: Vec<f64> = (0..self.n_parameters()).map(|_| rng.normal()).collect();
        Ok(self.each(&noise, |layer, z| {
            let (mut z, h) = (z.to_owned(), layer.eigenvalues(self.prior_precision));
            scale(&mut z, &h, |h| 1.0 / h.sqrt());
            layer.rotate_back(z.as_ref())
        }))
    }

    fn greedy_columns_unchecked(&self, outgoing: &Outgoing) -> Result<Vec<(usize, f64)>> {
        let Outgoing { layout, block, mean, n_columns } = *outgoing;
        let (shape, range) = (layout.blocks[block], layout.ranges()[block].clone());
        let weights = MatRef::from_row_major_slice(&mean[range], shape.rows, shape.cols);
        greedy::columns(&self.layers[block], self.prior_precision, weights, n_columns)
    }

    /// Q_A diag(n⁻¹ Σ_k 1/h_kl) Q_Aᵀ
    fn column_covariance_unchecked(&self, _: &Layout, block: usize) -> Result<Mat<f64>> {
        let layer = &self.layers[block];
        let h = layer.eigenvalues(self.prior_precision);
        let n = h.nrows() as f64;
        let mean = |l: usize| h.col(l).iter().map(|h| 1.0 / h).sum::<f64>() / n;
        Ok(layer.columns.map(|l, _| mean(l)))
    }

    fn apply_unchecked(&self, x: &[f64]) -> Result<Vec<f64>> {
        Ok(self.spectral(x, |h| 1.0 / h))
    }

    fn solve_unchecked(&self, x: &[f64]) -> Result<Vec<f64>> {
        Ok(self.spectral(x, |h| h))
    }

    /// Σ hᵢⱼ zᵢⱼ² with z = Qᵀ x.
    fn precision_quadratic_unchecked(&self, x: &[f64]) -> Result<f64> {
        let squares = self.each(x, |layer, x| {
            let (z, mut h) = (layer.rotate(x), layer.eigenvalues(self.prior_precision));
            scale(&mut h, &z, |z| z * z);
            h
        });
        Ok(squares.iter().sum())
    }
}
