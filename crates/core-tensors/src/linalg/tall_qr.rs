//! The orthogonal factor of a tall matrix whose rows may differ by many orders of magnitude.

use faer::linalg::triangular_solve::{
    solve_lower_triangular_in_place, solve_upper_triangular_in_place,
};
use faer::{ColRef, Mat, MatMut, MatRef, Par};

use super::pivoted::Pivoted;
use crate::error::{Error, Expected, Result};

/// A Π = Q R of a matrix A, (m, n) with m ≥ n and of full column rank, whose rows are sorted from large to small.
///
/// AᵀA = Π RᵀR Πᵀ without forming the product, in which small rows would be lost beside large ones.
///
/// Source: Cox & Higham (1998): Householder's reflections are stable row by row with this order and column pivoting.
#[derive(Clone, Debug)]
pub struct TallQr {
    factor: Pivoted,
    /// Row i of what was factored is row `rows[i]` of A.
    rows: Vec<usize>,
}

impl TallQr {
    /// Refuses a matrix with more columns than rows, or with a number that is not finite.
    pub fn new(a: MatRef<f64>) -> Result<Self> {
        let (m, n) = a.shape();
        Expected::AtLeast(n).check("rows of a tall matrix", m)?;
        let mut entries = a.col_iter().flat_map(ColRef::iter);
        if let Some(&value) = entries.find(|value| !value.is_finite()) {
            let name = "entry of a tall matrix";
            return Err(Error::OutOfRange { name, value, range: "(−∞, ∞)" });
        }
        let mut rows: Vec<(usize, f64)> = (0..m).map(|i| (i, a.row(i).norm_max())).collect();
        rows.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let rows: Vec<usize> = rows.into_iter().map(|(i, _)| i).collect();
        let factor = Pivoted::new(Mat::from_fn(m, n, |i, j| a[(rows[i], j)]));
        Ok(Self { factor, rows })
    }

    /// log |AᵀA| = 2 Σ log |Rⱼⱼ|
    pub fn log_det(&self) -> f64 {
        (0..self.n_columns()).map(|j| 2.0 * self.factor.entries[(j, j)].abs().ln()).sum()
    }

    /// ‖Qᵢ‖² = aᵢᵀ (AᵀA)⁻¹ aᵢ of each row, (m,), in \[0, 1\]: how much of it the other rows do not hold.
    pub fn leverages(&self) -> Vec<f64> {
        let (m, n) = (self.rows.len(), self.n_columns());
        let mut q = Mat::identity(m, n);
        self.factor.apply(q.as_mut());
        let mut leverages = vec![0.0; m];
        for (i, &row) in self.rows.iter().enumerate() {
            leverages[row] = q.row(i).squared_norm_l2();
        }
        leverages
    }

    /// R⁻ᵀ Πᵀ X for X of shape (n, k): its columns have the squared lengths xᵀ (AᵀA)⁻¹ x.
    pub fn half_solve(&self, x: MatRef<f64>) -> Result<Mat<f64>> {
        self.check(x.nrows())?;
        let mut half = Mat::from_fn(x.nrows(), x.ncols(), |i, j| x[(self.factor.order[i], j)]);
        let triangle = self.factor.triangle(self.n_columns());
        solve_lower_triangular_in_place(triangle.transpose(), half.as_mut(), Par::Seq);
        Ok(half)
    }

    /// (AᵀA)⁻¹ x, (n,).
    pub fn solve(&self, x: &[f64]) -> Result<Vec<f64>> {
        let half = self.half_solve(MatRef::from_column_major_slice(x, x.len(), 1))?;
        self.back(half)
    }

    /// Qᵀ y, (n,): all of y, (m,), that a least-squares solution needs.
    pub fn project(&self, y: &[f64]) -> Result<Vec<f64>> {
        let m = self.rows.len();
        Expected::Exactly(m).check("numbers of a target", y.len())?;
        let mut sorted: Vec<f64> = self.rows.iter().map(|&i| y[i]).collect();
        self.factor.apply_transposed(MatMut::from_column_major_slice_mut(&mut sorted, m, 1));
        sorted.truncate(self.n_columns());
        Ok(sorted)
    }

    /// argmin over z of ‖A z − y‖, (n,).
    pub fn least_squares(&self, y: &[f64]) -> Result<Vec<f64>> {
        let c = self.project(y)?;
        self.back(MatRef::from_column_major_slice(&c, c.len(), 1).to_owned())
    }

    /// A matrix with the same AᵀA, (n, n): R Πᵀ.
    pub fn small(&self) -> Mat<f64> {
        let n = self.n_columns();
        let mut small = Mat::zeros(n, n);
        for (j, &column) in self.factor.order.iter().enumerate() {
            (0..=j).for_each(|i| small[(i, column)] = self.factor.entries[(i, j)]);
        }
        small
    }

    fn n_columns(&self) -> usize {
        self.factor.order.len()
    }

    fn check(&self, found: usize) -> Result<()> {
        Expected::Exactly(self.n_columns()).check("rows of a right side", found)
    }

    /// Π R⁻¹ c
    fn back(&self, mut c: Mat<f64>) -> Result<Vec<f64>> {
        let n = self.n_columns();
        solve_upper_triangular_in_place(self.factor.triangle(n), c.as_mut(), Par::Seq);
        let mut z = vec![0.0; n];
        for (i, &column) in self.factor.order.iter().enumerate() {
            z[column] = c[(i, 0)];
        }
        Ok(z)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cholesky, product};
    use super::*;
    use crate::Rng;

    #[test]
    fn equals_the_normal_equations_where_these_are_good() {
        let mut rng = Rng::new(0);
        let a = Mat::from_fn(9, 4, |_, _| rng.normal());
        let qr = TallQr::new(a.as_ref()).unwrap();
        let gram = product(a.transpose(), a.as_ref());
        let cholesky = Cholesky::new(gram.as_ref()).unwrap();
        assert!((qr.log_det() - cholesky.log_det()).abs() < 1e-12);
        let small = qr.small();
        let gap = product(small.transpose(), small.as_ref()) - &gram;
        assert!(gap.norm_max() < 1e-12);
        let y: Vec<f64> = (0..9).map(|_| rng.normal()).collect();
        let right: Vec<f64> = (0..4).map(|j| (0..9).map(|i| a[(i, j)] * y[i]).sum()).collect();
        let wanted = cholesky.solve_vector(&right);
        for found in [qr.least_squares(&y).unwrap(), qr.solve(&right).unwrap()] {
            assert!(found.iter().zip(&wanted).all(|(f, w)| (f - w).abs() < 1e-12));
        }
        let leverages = qr.leverages();
        for i in 0..9 {
            let row: Vec<f64> = (0..4).map(|j| a[(i, j)]).collect();
            assert!((leverages[i] - cholesky.quadratic(&row)).abs() < 1e-12);
        }
        // n orthonormal columns.
        assert!((leverages.iter().sum::<f64>() - 4.0).abs() < 1e-12);
    }

    #[test]
    fn small_rows_survive_beside_large_ones() {
        // [1e12 1e12; 1 0; 0 1]: AᵀA = 1e24 · 11ᵀ + I has the determinant 1 + 2e24, though 1e24 + 1 = 1e24 in f64.
        let rows = [[1.0, 0.0], [1e12, 1e12], [0.0, 1.0]];
        let a = Mat::from_fn(3, 2, |i, j| rows[i][j]);
        let qr = TallQr::new(a.as_ref()).unwrap();
        assert!((qr.log_det() - 2e24f64.ln()).abs() < 1e-13);
        // (1, −1)ᵀ (AᵀA)⁻¹ (1, −1) = 2, since 11ᵀ does not see it.
        let x = [1.0, -1.0];
        let half = qr.half_solve(MatRef::from_column_major_slice(&x, 2, 1)).unwrap();
        assert!((half.squared_norm_l2() - 2.0).abs() < 1e-12);
    }

    #[test]
    fn wrong_shapes_are_refused() {
        assert!(TallQr::new(Mat::<f64>::zeros(1, 2).as_ref()).is_err());
        assert!(TallQr::new(Mat::from_fn(2, 1, |_, _| f64::NAN).as_ref()).is_err());
        let qr = TallQr::new(Mat::<f64>::identity(3, 2).as_ref()).unwrap();
        assert!(qr.solve(&[1.0]).is_err() && qr.least_squares(&[1.0]).is_err());
    }
}
