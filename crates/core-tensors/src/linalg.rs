//! Algebra in f64: Cholesky factors of positive definite matrices, conditioning by Schur complements, least squares.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::triangular_solve::{
    solve_lower_triangular_in_place, solve_upper_triangular_in_place,
};
use faer::prelude::default;
use faer::{Accum, ColMut, Mat, MatMut, MatRef, Par};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};

use crate::error::{Error, Expected, Result};

mod least_squares;
mod pivoted;
mod tall_qr;

pub use least_squares::{RankPolicy, least_squares};
pub use tall_qr::TallQr;

/// Matrices of fewer rows are not worth a second thread.
const SMALLEST_PARALLEL: usize = 256;

/// A = L Lᵀ with L lower triangular.
///
/// ```
/// use core_tensors::{faer::Mat, linalg::Cholesky};
/// # fn main() -> core_tensors::Result<()> {
/// let a = Mat::from_fn(2, 2, |i, j| if i == j { 2.0 } else { 1.0 });
/// let factor = Cholesky::new(a.as_ref())?;
/// assert!((factor.log_det() - 3f64.ln()).abs() < 1e-12);
/// let x = factor.solve_vector(&[3.0, 3.0]);
/// assert!((x[0] - 1.0).abs() < 1e-12 && (x[1] - 1.0).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Cholesky {
    lower: Mat<f64>,
}

/// The Gaussian of some parameters once others are pinned.
#[derive(Clone, Debug)]
pub struct Schur {
    /// Ψ_kk − Ψ_kd Ψ_dd⁻¹ Ψ_dk, (k, k).
    pub covariance: Mat<f64>,
    /// Ψ_kd Ψ_dd⁻¹ r, (k,): what the mean moves by.
    pub shift: Vec<f64>,
    /// rᵀ Ψ_dd⁻¹ r.
    pub quadratic: f64,
    /// log |Ψ_dd|.
    pub log_det: f64,
}

impl Cholesky {
    /// The factor of a symmetric matrix, whose lower triangle alone is read; (n, n).
    pub fn new(a: MatRef<f64>) -> Result<Self> {
        check_square(a.nrows(), a.ncols())?;
        let mut lower = Mat::zeros(a.nrows(), a.ncols());
        lower.copy_from_triangular_lower(a);
        Self::in_place(lower)
    }

    /// The factor in the memory of its matrix.
    pub fn in_place(mut a: Mat<f64>) -> Result<Self> {
        let size = a.nrows();
        check_square(size, a.ncols())?;
        let par = parallelism(size);
        let mut memory = MemBuffer::new(cholesky_in_place_scratch::<f64>(size, par, default()));
        let stack = MemStack::new(&mut memory);
        let diagonal: Vec<f64> = (0..size).map(|i| a[(i, i)]).collect();
        let refuse = |index: usize, pivot: f64| {
            let diagonal = diagonal[index];
            Err(Error::NotPositiveDefinite { index, size, pivot, diagonal })
        };
        // NaN passes the pivots of a blocked factorization, so the diagonal is looked at as well.
        let factored = cholesky_in_place(a.as_mut(), default(), par, stack, default());
        if let Err(faer::linalg::cholesky::llt::factor::LltError::NonPositivePivot { index }) =
            factored
        {
            // The factorization stops before it takes the root.
            return refuse(index, a[(index, index)]);
        }
        for j in 0..size {
            if !(a[(j, j)] > 0.0 && a[(j, j)].is_finite()) {
                return refuse(j, a[(j, j)]);
            }
            a.as_mut().col_mut(j).subrows_mut(0, j).fill(0.0);
        }
        Ok(Self { lower: a })
    }

    /// L, (n, n).
    pub fn lower(&self) -> MatRef<'_, f64> {
        self.lower.as_ref()
    }

    /// log |A| = 2 Σ log Lᵢᵢ
    pub fn log_det(&self) -> f64 {
        (0..self.lower.nrows()).map(|i| 2.0 * self.lower[(i, i)].ln()).sum()
    }

    /// B ← L⁻¹ B, (n, any); like all solutions here it panics unless there are n rows.
    pub fn half_solve(&self, b: MatMut<f64>) {
        let par = parallelism(b.ncols().min(b.nrows()));
        solve_lower_triangular_in_place(self.lower.as_ref(), b, par);
    }

    /// B ← L⁻ᵀ B, (n, any): the second half of a solution.
    pub(crate) fn half_solve_transposed(&self, b: MatMut<f64>) {
        let par = parallelism(b.ncols().min(b.nrows()));
        solve_upper_triangular_in_place(self.lower.transpose(), b, par);
    }

    /// B ← A⁻¹ B, (n, any).
    pub fn solve(&self, mut b: MatMut<f64>) {
        self.half_solve(b.as_mut());
        self.half_solve_transposed(b);
    }

    /// A⁻¹ b, (n,); panics on another length.
    pub fn solve_vector(&self, b: &[f64]) -> Vec<f64> {
        let mut x = b.to_vec();
        self.solve(MatMut::from_column_major_slice_mut(&mut x, b.len(), 1));
        x
    }

    /// bᵀ A⁻¹ b = ‖L⁻¹ b‖²; panics on a b that is not (n,).
    pub fn quadratic(&self, b: &[f64]) -> f64 {
        let mut x = b.to_vec();
        self.half_solve(MatMut::from_column_major_slice_mut(&mut x, b.len(), 1));
        dot(&x, &x)
    }

    /// A⁻¹, (n, n); where the whole of a precision is wanted and not its product with something.
    pub fn inverse(&self) -> Mat<f64> {
        let n = self.lower.nrows();
        let mut inverse = Mat::identity(n, n);
        self.solve(inverse.as_mut());
        mirror(inverse.as_mut());
        inverse
    }

    /// (A⁻¹)ᵢᵢ, (n,): squared lengths of the columns of L⁻¹.
    pub fn inverse_diagonal(&self) -> Vec<f64> {
        let n = self.lower.nrows();
        let mut half = Mat::identity(n, n);
        self.half_solve(half.as_mut());
        (0..n).map(|j| half.col(j).squared_norm_l2()).collect()
    }
}

/// Conditions N(·, Ψ) on its `pinned` parameters lying `residual` = ν − m_d away from their mean.
///
/// Ψ_kk − Ψ_kd Ψ_dd⁻¹ Ψ_dk,  Ψ_kd Ψ_dd⁻¹ (ν − m_d)
///
/// `covariance` is symmetric, (p, p); the parameters of `kept` come back in its order, those that neither
/// list names are integrated out. Refuses indices that are not below p, and another number of residuals.
pub fn condition(
    covariance: MatRef<f64>,
    kept: &[usize],
    pinned: &[usize],
    residual: &[f64],
) -> Result<Schur> {
    Expected::Exactly(pinned.len()).check("values of pinned parameters", residual.len())?;
    let p = covariance.nrows();
    check_square(p, covariance.ncols())?;
    if let Some(&index) = kept.iter().chain(pinned).find(|&&i| i >= p) {
        return Err(Error::Index { what: "parameter", index, n: p });
    }
    let factor = Cholesky::in_place(gather_lower(covariance, pinned))?; // (d, d)
    let mut half = gather(covariance, pinned, kept); // (d, k)
    factor.half_solve(half.as_mut()); // L⁻¹ Ψ_dk
    let mut std = residual.to_vec();
    factor.half_solve(column(&mut std));
    let mut remainder = gather_lower(covariance, kept); // (k, k)
    let par = parallelism(kept.len());
    triangular::matmul(
        remainder.as_mut(),
        BlockStructure::TriangularLower,
        Accum::Add,
        half.transpose(),
        BlockStructure::Rectangular,
        half.as_ref(),
        BlockStructure::Rectangular,
        -1.0,
        par,
    );
    mirror(remainder.as_mut());
    let mut shift = vec![0.0; kept.len()];
    let rhs = MatRef::from_column_major_slice(&std, pinned.len(), 1);
    matmul(column(&mut shift), Accum::Replace, half.transpose(), rhs, 1.0, par);
    let (quadratic, log_det) = (dot(&std, &std), factor.log_det());
    Ok(Schur { covariance: remainder, shift, quadratic, log_det })
}

/// The rows and columns of a matrix that two lists name, (rows, cols); panics on one that is not there.
pub fn gather(a: MatRef<f64>, rows: &[usize], cols: &[usize]) -> Mat<f64> {
    gather_from(a, rows, cols, |_| 0)
}

/// The lower triangle of [`gather`] on one list; zeros above.
fn gather_lower(a: MatRef<f64>, indices: &[usize]) -> Mat<f64> {
    gather_from(a, indices, indices, |j| j)
}

/// Fills each column from its `first` row on.
fn gather_from(
    a: MatRef<f64>,
    rows: &[usize],
    cols: &[usize],
    first: impl Fn(usize) -> usize + Sync,
) -> Mat<f64> {
    let mut picked = Mat::zeros(rows.len(), cols.len());
    let fill = |(j, mut to): (usize, ColMut<f64>)| {
        let (from, first) = (a.col(cols[j]), first(j));
        match (from.try_as_col_major(), to.as_mut().try_as_col_major_mut()) {
            (Some(from), Some(to)) => {
                let (from, to) = (from.as_slice(), to.as_slice_mut());
                to[first..].iter_mut().zip(&rows[first..]).for_each(|(to, &row)| *to = from[row]);
            }
            _ => (first..rows.len()).for_each(|i| to[i] = from[rows[i]]),
        }
    };
    match parallelism(rows.len().min(cols.len())) {
        Par::Seq => picked.col_iter_mut().enumerate().for_each(fill),
        Par::Rayon(_) => picked.par_col_iter_mut().enumerate().for_each(fill),
    }
    picked
}

/// A B, (n, m); panics unless A has as many columns as B rows.
pub fn product(a: MatRef<f64>, b: MatRef<f64>) -> Mat<f64> {
    let mut c = Mat::zeros(a.nrows(), b.ncols());
    matmul(c.as_mut(), Accum::Replace, a, b, 1.0, parallelism(a.nrows().min(b.ncols())));
    c
}

/// A x, (n,); panics unless x has an entry for each column.
pub fn product_vector(a: MatRef<f64>, x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; a.nrows()];
    let x = MatRef::from_column_major_slice(x, x.len(), 1);
    matmul(column(&mut y), Accum::Replace, a, x, 1.0, Par::Seq);
    y
}

/// Σᵢ aᵢ bᵢ of vectors of one length, which only debug builds check: it stands in inner loops.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    debug_assert_eq!(a.len(), b.len(), "factors of a dot product");
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn check_square(n_rows: usize, n_cols: usize) -> Result<()> {
    Expected::Exactly(n_rows).check("columns of a covariance", n_cols)
}

fn column(values: &mut [f64]) -> MatMut<'_, f64> {
    let n = values.len();
    MatMut::from_column_major_slice_mut(values, n, 1)
}

/// Copies the lower triangle to the upper one, in tiles that fit the cache.
fn mirror(mut a: MatMut<f64>) {
    const TILE: usize = 64;
    let n = a.nrows();
    for j0 in (0..n).step_by(TILE) {
        for i0 in (j0..n).step_by(TILE) {
            for j in j0..n.min(j0 + TILE) {
                for i in i0.max(j + 1)..n.min(i0 + TILE) {
                    a[(j, i)] = a[(i, j)];
                }
            }
        }
    }
}

/// All threads of the caller's pool where the work is worth them. Products are split by output only, so the
/// number of threads changes no bit (a test holds this).
fn parallelism(size: usize) -> Par {
    if size < SMALLEST_PARALLEL { Par::Seq } else { Par::rayon(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_and_indices_that_do_not_fit_are_refused() {
        let wide = Mat::<f64>::zeros(2, 3);
        let of_columns = "columns of a covariance: expected 2, found 3";
        assert_eq!(Cholesky::new(wide.as_ref()).unwrap_err().to_string(), of_columns);
        assert_eq!(Cholesky::in_place(wide.clone()).unwrap_err().to_string(), of_columns);
        let message =
            |covariance: MatRef<f64>, kept: &[usize], pinned: &[usize], residual: &[f64]| {
                condition(covariance, kept, pinned, residual).unwrap_err().to_string()
            };
        assert_eq!(message(wide.as_ref(), &[0], &[1], &[1.0]), of_columns);
        let identity = Mat::identity(2, 2);
        let of_index = "parameter 2 is out of range: there are 2, counted from 0";
        assert_eq!(message(identity.as_ref(), &[2], &[1], &[1.0]), of_index);
        assert_eq!(message(identity.as_ref(), &[0], &[2], &[1.0]), of_index);
        assert_eq!(
            message(identity.as_ref(), &[0], &[1], &[]),
            "values of pinned parameters: expected 1, found 0"
        );
    }

    #[test]
    fn the_pivot_that_is_none_is_told_with_its_size() {
        // 11ᵀ + diag(1, …, 1, −1 at one place): the pivots before it are 1 + 1/(i + 1), and there 1/(i + 1) − 1.
        for (size, bad) in [(1, 0), (3, 2), (40, 17), (300, 130), (300, 299)] {
            let own = |i: usize| if i == bad { -1.0 } else { 1.0 };
            let a = Mat::from_fn(size, size, |i, j| 1.0 + if i == j { own(i) } else { 0.0 });
            let wanted = 1.0 / (bad + 1) as f64 - 1.0;
            match Cholesky::new(a.as_ref()) {
                Err(Error::NotPositiveDefinite { index, size: n, pivot, diagonal }) => {
                    assert_eq!((index, n, diagonal), (bad, size, 0.0));
                    assert!((pivot - wanted).abs() < 1e-12, "{pivot} {wanted}");
                }
                other => panic!("{other:?}"),
            }
        }
        let a = Mat::from_fn(2, 2, |i, j| if i == j { 1.0 } else { 2.0 });
        assert_eq!(
            Cholesky::new(a.as_ref()).unwrap_err().to_string(),
            "a covariance must be positive definite: pivot 1 of its 2 (from 0) came out as -3e0, beside 1e0 on the \
            diagonal there; wanted a positive one"
        );
        let nan = Mat::from_fn(2, 2, |_, _| f64::NAN);
        assert!(Cholesky::new(nan.as_ref()).is_err());
    }

    #[test]
    fn nothing_pinned_and_nothing_kept_are_limits_of_conditioning() {
        let covariance = Mat::from_fn(2, 2, |i, j| if i == j { 2.0 } else { 0.5 });
        let all = condition(covariance.as_ref(), &[0, 1], &[], &[]).unwrap();
        assert_eq!((all.covariance, all.shift), (covariance.clone(), vec![0.0; 2]));
        assert_eq!((all.quadratic, all.log_det), (0.0, 0.0));
        let none = condition(covariance.as_ref(), &[], &[1], &[1.0]).unwrap();
        assert_eq!((none.covariance.shape(), none.shift), ((0, 0), vec![]));
        assert!((none.quadratic - 0.5).abs() < 1e-15 && (none.log_det - 2f64.ln()).abs() < 1e-15);
        let empty = Cholesky::new(Mat::zeros(0, 0).as_ref()).unwrap();
        assert_eq!((empty.log_det(), empty.quadratic(&[])), (0.0, 0.0));
    }
}
