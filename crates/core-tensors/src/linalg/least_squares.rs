//! Least squares by an orthogonal factor with column pivoting, with a ridge or of minimum norm where asked for.

use faer::linalg::triangular_solve::{
    solve_lower_triangular_in_place, solve_upper_triangular_in_place,
};
use faer::{ColRef, Mat, MatRef, Par};

use super::pivoted::Pivoted;
use crate::error::{Error, Expected, Result};

/// What to do where columns of a design are linear combinations of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RankPolicy {
    /// Refuse with [`Error::RankDeficient`]: the coefficients are not determined.
    Full,
    /// Of all minimizers take that of smallest ‖W‖, which is A⁺ B.
    MinimumNorm,
}

/// argmin over W of ‖A W − B‖² + `ridge` ‖W‖²; A (m, n), B (m, k) → W (n, k).
///
/// By A Π = Q R with column pivoting, on A over √ridge I, rows sorted from large to small: so rows whose weights lie many
/// orders of magnitude apart keep their digits, which AᵀA would lose. The rank counts |Rⱼⱼ| > 4 max(m, n) ε |R₁₁|.
///
/// Source: Golub & Van Loan, section 5.5 (rank, minimum norm); Cox & Higham (1998) for the order of rows.
///
/// ```
/// use core_tensors::{faer::Mat, linalg::{RankPolicy, least_squares}};
/// # fn main() -> core_tensors::Result<()> {
/// // y = 2x + 1 at x = 0, 1, 2.
/// let a = Mat::from_fn(3, 2, |i, j| if j == 0 { i as f64 } else { 1.0 });
/// let y = Mat::from_fn(3, 1, |i, _| 2.0 * i as f64 + 1.0);
/// let w = least_squares(a.as_ref(), y.as_ref(), 0.0, RankPolicy::Full)?;
/// assert!((w[(0, 0)] - 2.0).abs() < 1e-12 && (w[(1, 0)] - 1.0).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
pub fn least_squares(
    a: MatRef<f64>,
    b: MatRef<f64>,
    ridge: f64,
    policy: RankPolicy,
) -> Result<Mat<f64>> {
    Expected::Exactly(a.nrows()).check("rows of the targets", b.nrows())?;
    if !(ridge >= 0.0 && ridge.is_finite()) {
        return Err(Error::OutOfRange { name: "ridge", value: ridge, range: "[0, ∞)" });
    }
    for (name, matrix) in [("entry of a design", a), ("entry of its targets", b)] {
        let mut entries = matrix.col_iter().flat_map(ColRef::iter);
        if let Some(&value) = entries.find(|value| !value.is_finite()) {
            return Err(Error::OutOfRange { name, value, range: "(−∞, ∞)" });
        }
    }
    let n = a.ncols();
    let (rows, mut rhs) = sorted_rows(a, b, ridge);
    let factor = Pivoted::new(rows);
    let rank = factor.rank();
    if rank < n && policy == RankPolicy::Full {
        let mut dependent = factor.order[rank..].to_vec();
        dependent.sort_unstable();
        return Err(Error::RankDeficient { rank, n_columns: n, dependent });
    }
    factor.apply_transposed(rhs.as_mut()); // Qᵀ B
    let top = rhs.as_ref().subrows(0, rank);
    let permuted = if rank == n {
        let mut w = top.to_owned();
        solve_upper_triangular_in_place(factor.triangle(n), w.as_mut(), Par::Seq);
        w
    } else {
        minimum_norm(&factor, rank, top)
    };
    let mut w = Mat::zeros(n, b.ncols());
    for (row, &column) in factor.order.iter().enumerate() {
        for j in 0..b.ncols() {
            w[(column, j)] = permuted[(row, j)];
        }
    }
    Ok(w)
}

/// A over √ridge I and B over 0, the rows with the largest entries of A first.
fn sorted_rows(a: MatRef<f64>, b: MatRef<f64>, ridge: f64) -> (Mat<f64>, Mat<f64>) {
    let (m, n) = a.shape();
    let n_extra = if ridge > 0.0 { n } else { 0 };
    let entry = |i: usize, j: usize| match i.checked_sub(m) {
        None => a[(i, j)],
        Some(extra) if extra == j => ridge.sqrt(),
        Some(_) => 0.0,
    };
    let size = |i: usize| (0..n).fold(0.0, |size: f64, j| size.max(entry(i, j).abs()));
    let mut order: Vec<(usize, f64)> = (0..m + n_extra).map(|i| (i, size(i))).collect();
    order.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let target = |i: usize, j| if i < m { b[(i, j)] } else { 0.0 };
    (
        Mat::from_fn(order.len(), n, |i, j| entry(order[i].0, j)),
        Mat::from_fn(order.len(), b.ncols(), |i, j| target(order[i].0, j)),
    )
}

/// The shortest W with R W = C for the first `rank` rows of R: Rᵀ Π₂ = Q₂ R₂, hence W = Q₂ R₂⁻ᵀ Π₂ᵀ C.
fn minimum_norm(factor: &Pivoted, rank: usize, c: MatRef<f64>) -> Mat<f64> {
    let n = factor.order.len();
    let transposed = |j: usize, i: usize| if i <= j { factor.entries[(i, j)] } else { 0.0 };
    let second = Pivoted::new(Mat::from_fn(n, rank, transposed));
    let mut y = Mat::from_fn(rank, c.ncols(), |i, j| c[(second.order[i], j)]);
    solve_lower_triangular_in_place(second.triangle(rank).transpose(), y.as_mut(), Par::Seq);
    let mut w = Mat::zeros(n, c.ncols());
    w.as_mut().subrows_mut(0, rank).copy_from(&y);
    second.apply(w.as_mut());
    w
}

#[cfg(test)]
mod tests {
    use super::super::{Cholesky, product};
    use super::*;
    use crate::Rng;

    /// Rounding of small well-conditioned systems.
    const ROUNDING: f64 = 1e-12;

    fn random(m: usize, n: usize, rng: &mut Rng) -> Mat<f64> {
        Mat::from_fn(m, n, |_, _| rng.normal())
    }

    fn distance(a: MatRef<f64>, b: MatRef<f64>) -> f64 {
        (a - b).norm_max()
    }

    #[test]
    fn residuals_are_orthogonal_to_the_columns() {
        let mut rng = Rng::new(0);
        for (m, n, k) in [(1, 1, 1), (6, 6, 2), (40, 7, 3), (300, 70, 1)] {
            let (a, b) = (random(m, n, &mut rng), random(m, k, &mut rng));
            for ridge in [0.0, 0.7] {
                let w = least_squares(a.as_ref(), b.as_ref(), ridge, RankPolicy::Full).unwrap();
                let residual = &b - product(a.as_ref(), w.as_ref());
                // Aᵀ (B − A W) = ridge W
                let slope = product(a.transpose(), residual.as_ref());
                let scale = w.norm_max().max(1.0);
                let gap = distance(slope.as_ref(), (faer::Scale(ridge) * &w).as_ref());
                assert!(gap < 100.0 * ROUNDING * scale, "{m} {n}");
            }
        }
    }

    #[test]
    fn a_ridge_is_the_augmented_system() {
        let mut rng = Rng::new(1);
        let (a, b) = (random(9, 4, &mut rng), random(9, 2, &mut rng));
        let ridge = 2.5f64;
        let extra = |i: usize, j| if i == j + 9 { ridge.sqrt() } else { 0.0 };
        let taller = Mat::from_fn(13, 4, |i, j| if i < 9 { a[(i, j)] } else { extra(i, j) });
        let zeros = Mat::from_fn(13, 2, |i, j| if i < 9 { b[(i, j)] } else { 0.0 });
        let found = least_squares(a.as_ref(), b.as_ref(), ridge, RankPolicy::Full).unwrap();
        let wanted = least_squares(taller.as_ref(), zeros.as_ref(), 0.0, RankPolicy::Full).unwrap();
        assert!(distance(found.as_ref(), wanted.as_ref()) < ROUNDING);
    }

    #[test]
    fn the_minimum_norm_equals_numpy() {
        // import numpy as np
        // A = np.array([[1, 2, 3, 1], [4, 5, 9, 0], [7, 8, 15, 2], [2, 1, 3, 1], [0, 3, 3, 5.]])
        // b = np.array([[1, 0], [2, 1], [4, -1], [1, 3], [0, 2.]])
        // np.linalg.pinv(A) @ b; np.linalg.pinv(A[:2]) @ b[:2]
        let rows = [
            [1., 2., 3., 1.],
            [4., 5., 9., 0.],
            [7., 8., 15., 2.],
            [2., 1., 3., 1.],
            [0., 3., 3., 5.],
        ];
        let a = Mat::from_fn(5, 4, |i, j| rows[i][j]);
        let targets = [[1.0, 0.0], [2.0, 1.0], [4.0, -1.0], [1.0, 3.0], [0.0, 2.0]];
        let b = Mat::from_fn(5, 2, |i, j| targets[i][j]);
        let whole = [
            [0.32927712588729535, 0.789801535564247],
            [-0.14529914529914545, -0.8034188034188031],
            [0.18397798058815001, -0.013617267854556282],
            [-0.0013037809647978849, 0.8252933507170798],
        ];
        let wide = [
            [-0.026845637583892967, 0.12751677852349022],
            [0.167785234899329, -0.046979865771812096],
            [0.1409395973154363, 0.08053691275167775],
            [0.26845637583892645, -0.27516778523489915],
        ];
        for (m, wanted) in [(5, whole), (2, wide)] {
            let (a, b) = (a.as_ref().subrows(0, m), b.as_ref().subrows(0, m));
            let found = least_squares(a, b, 0.0, RankPolicy::MinimumNorm).unwrap();
            let wanted = Mat::from_fn(4, 2, |i, j| wanted[i][j]);
            assert!(distance(found.as_ref(), wanted.as_ref()) < ROUNDING, "{found:?}");
        }
    }

    #[test]
    fn the_minimum_norm_lies_in_the_span_of_the_rows() {
        let mut rng = Rng::new(3);
        for (m, n) in [(1, 3), (3, 7), (20, 25)] {
            let mut a = random(m, n, &mut rng);
            // Its row of R is then shorter than the next ones, though its pivot is larger.
            for j in 0..n {
                a[(m - 1, j)] = if j == 0 { 9.0 } else { 0.0 };
            }
            let b = random(m, 2, &mut rng);
            let found = least_squares(a.as_ref(), b.as_ref(), 0.0, RankPolicy::MinimumNorm);
            // Aᵀ (A Aᵀ)⁻¹ B
            let mut u = b.clone();
            let squares = product(a.as_ref(), a.transpose());
            Cholesky::in_place(squares).unwrap().solve(u.as_mut());
            let wanted = product(a.transpose(), u.as_ref());
            let gap = distance(found.unwrap().as_ref(), wanted.as_ref());
            assert!(gap < 100.0 * ROUNDING, "{m} {n}: {gap}");
        }
    }

    #[test]
    fn rows_of_very_different_weight_keep_their_digits() {
        // from mpmath import mp, matrix, lu_solve; mp.dps = 80
        // A = matrix([[1, 2, 3], [2, -1, 1], [1, 1, 0], [3, 1, -2], [0, 1, 4]]); b = matrix([1, 2, 3, 4, 5])
        // for i in (3, 4): A[i, :] *= 10**8; b[i] *= 10**8
        // lu_solve(A.T * A, A.T * b)
        let rows: [[f64; 3]; 5] =
            [[1.0, 2.0, 3.0], [2.0, -1.0, 1.0], [1.0, 1.0, 0.0], [3e8, 1e8, -2e8], [0.0, 1e8, 4e8]];
        let a = Mat::from_fn(5, 3, |i, j| rows[i][j]);
        let b = Mat::from_fn(5, 1, |i, _| [1.0, 2.0, 3.0, 4e8, 5e8][i]);
        let found = least_squares(a.as_ref(), b.as_ref(), 0.0, RankPolicy::Full).unwrap();
        let wanted = [1.7588652482269502, 0.8156028368794325, 1.0460992907801416];
        let wanted = Mat::from_fn(3, 1, |i, _| wanted[i]);
        assert!(distance(found.as_ref(), wanted.as_ref()) < ROUNDING, "{found:?}");
    }

    #[test]
    fn a_dependent_design_is_refused_by_name() {
        let mut rng = Rng::new(2);
        let mut a = random(8, 4, &mut rng);
        for i in 0..8 {
            a[(i, 2)] = 0.1 * a[(i, 0)] - 0.3 * a[(i, 3)];
        }
        let b = random(8, 1, &mut rng);
        let message = |a: MatRef<f64>, b: MatRef<f64>, ridge: f64| {
            least_squares(a, b, ridge, RankPolicy::Full).unwrap_err().to_string()
        };
        assert_eq!(
            message(a.as_ref(), b.as_ref(), 0.0),
            "a design of 4 columns has rank 3: columns [2] (from 0) are combinations of the others; \
             drop them, add a ridge, or ask for the minimum norm"
        );
        assert!(least_squares(a.as_ref(), b.as_ref(), 1e-3, RankPolicy::Full).is_ok());
        let nothing = Mat::zeros(0, 2);
        let none = least_squares(nothing.as_ref(), nothing.as_ref(), 0.0, RankPolicy::MinimumNorm);
        assert_eq!(none.unwrap(), Mat::<f64>::zeros(2, 2));
        assert_eq!(
            message(a.as_ref(), b.as_ref().subrows(1, 7), 0.0),
            "rows of the targets: expected 8, found 7"
        );
        assert_eq!(message(a.as_ref(), b.as_ref(), -1.0), "ridge must lie in [0, ∞), got -1");
        a[(3, 1)] = f64::NAN;
        assert_eq!(
            message(a.as_ref(), b.as_ref(), 0.0),
            "entry of a design must lie in (−∞, ∞), got NaN"
        );
    }
}
