//! Small dense algebra of removal: blocks of a unit's columns, roots, symmetric copies.

use faer::{Mat, MatMut, MatRef, Side};

use crate::error::{Error, Result};

/// Lᵀ with G = L Lᵀ, (r, o), for a G that may be singular: rows √λ qᵀ of its positive eigenvalues.
pub(super) fn symmetric_root(g: MatRef<f64>) -> Result<Mat<f64>> {
    let eigen = g
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| Error::Eigenvalues { of: "an output weight" })?;
    let (values, vectors) = (eigen.S(), eigen.U());
    let kept: Vec<usize> = (0..g.nrows()).filter(|&i| values[i] > 0.0).collect();
    Ok(Mat::from_fn(kept.len(), g.nrows(), |i, j| values[kept[i]].sqrt() * vectors[(j, kept[i])]))
}

/// B_J L⁻ᵀ, (r, k): its squares are tr(B_J (L Lᵀ)⁻¹ B_Jᵀ).
pub(super) fn half_solved(b: MatRef<f64>, places: &[usize], lower: &[f64]) -> Mat<f64> {
    let k = places.len();
    let mut half = Mat::from_fn(b.nrows(), k, |i, j| b[(i, places[j])]);
    for j in 0..k {
        let (done, mut rest) = half.as_mut().split_at_col_mut(j);
        let now = slice_mut(rest.as_mut().subcols_mut(0, 1));
        for i in 0..j {
            subtract(now, slice(done.as_ref().subcols(i, 1)), lower[i * k + j]);
        }
        let scale = 1.0 / lower[j * k + j];
        now.iter_mut().for_each(|v| *v *= scale);
    }
    half
}

/// L of a symmetric (k, k) matrix, column by column (entry (i, j) at j·k + i); `None` if a pivot is not positive.
pub(super) fn small_cholesky(mut a: Vec<f64>, k: usize) -> Option<Vec<f64>> {
    for j in 0..k {
        for p in 0..j {
            let factor = a[p * k + j];
            for i in j..k {
                a[j * k + i] -= factor * a[p * k + i];
            }
        }
        let pivot = a[j * k + j];
        if !(pivot > 0.0 && pivot.is_finite()) {
            return None;
        }
        let root = pivot.sqrt();
        (j..k).for_each(|i| a[j * k + i] /= root);
    }
    Some(a)
}

/// Rows and columns of a symmetric matrix, ascending, of which the lower triangle is read; in tiles that fit the cache.
pub(super) fn mirrored(lower: MatRef<f64>, kept: &[usize]) -> Mat<f64> {
    const TILE: usize = 64;
    let n = kept.len();
    let mut whole = Mat::zeros(n, n);
    for j0 in (0..n).step_by(TILE) {
        for i0 in (j0..n).step_by(TILE) {
            for j in j0..n.min(j0 + TILE) {
                for i in i0.max(j)..n.min(i0 + TILE) {
                    let value = lower[(kept[i], kept[j])];
                    (whole[(i, j)], whole[(j, i)]) = (value, value);
                }
            }
        }
    }
    whole
}

pub(super) fn slice(column: MatRef<'_, f64>) -> &[f64] {
    column.col(0).try_as_col_major().map_or(&[], |column| column.as_slice())
}

pub(super) fn slice_mut(column: MatMut<'_, f64>) -> &mut [f64] {
    column.col_mut(0).try_as_col_major_mut().map_or(&mut [], |column| column.as_slice_mut())
}

pub(super) fn subtract(to: &mut [f64], from: &[f64], factor: f64) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to -= factor * from);
}

/// Σ w² in four sums, which the machine adds side by side.
pub(super) fn squares(w: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let (chunks, rest) = (w.chunks_exact(4), w.chunks_exact(4).remainder());
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(s, w)| *s += w * w);
    }
    sums.iter().sum::<f64>() + rest.iter().map(|w| w * w).sum::<f64>()
}
