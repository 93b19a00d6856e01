//! The greedy order of columns under (G ⊗ A + δI)⁻¹, exact: in the eigenbasis of G the rows are independent.

use core_tensors::linalg::product;
use faer::{Mat, MatRef};

use super::LayerCurvature;
use crate::error::{Error, Result};

/// Numbers that are kept at once: 4 GiB.
const MOST_NUMBERS: usize = 1 << 29;

/// A row of Q_Gᵀ W: what is left of it, and its covariance (g A + δI)⁻¹ over the columns that take part.
struct Row {
    mean: Vec<f64>,
    covariance: Mat<f64>,
}

/// Columns in the order in which fixing them at 0 costs least, with what each adds given those before it.
///
/// Row k of Z = Q_Gᵀ W has the covariance S_k = (g_k A + δI)⁻¹ and knows nothing of the others; a column of W is 0
/// where that of Z is. So a column costs ½ Σ_k z_kj² / S_k,jj, and fixing it conditions every row.
pub(super) fn columns(
    layer: &LayerCurvature,
    prior_precision: f64,
    weights: MatRef<f64>,
    n_columns: usize,
) -> Result<Vec<(usize, f64)>> {
    let (n, a) = (layer.rows.n(), &layer.columns);
    let n_numbers = n.saturating_mul(n_columns).saturating_mul(n_columns);
    if n_numbers > MOST_NUMBERS {
        return Err(Error::Refused {
            edit: format!("the greedy order of {n_columns} units that feed {n}"),
            reason: format!(
                "it takes {:.0} GB under this posterior; use another rule, or make the posterior Kronecker first",
                n_numbers as f64 * 8e-9
            ),
        });
    }
    let z = product(layer.rows.vectors.transpose(), weights);
    let row = |k: usize| {
        let inverse = |_: usize, a: f64| 1.0 / (layer.rows.values[k] * a + prior_precision);
        let covariance = a.map(inverse).submatrix(0, 0, n_columns, n_columns).to_owned();
        Row { mean: (0..n_columns).map(|j| z[(k, j)]).collect(), covariance }
    };
    let mut rows: Vec<Row> = (0..n).map(row).collect();
    let mut left: Vec<usize> = (0..n_columns).collect();
    let mut ranked = Vec::with_capacity(n_columns);
    while !left.is_empty() {
        let cost = |j: usize| {
            let term = |row: &Row| row.mean[j] * row.mean[j] / row.covariance[(j, j)];
            0.5 * rows.iter().map(term).sum::<f64>()
        };
        let mut best = (0, f64::INFINITY);
        for (place, &j) in left.iter().enumerate() {
            let cost = cost(j);
            if cost < best.1 {
                best = (place, cost);
            }
        }
        let j = left.remove(best.0);
        ranked.push((j, best.1));
        rows.iter_mut().for_each(|row| row.fix(j, &left));
    }
    Ok(ranked)
}

impl Row {
    /// Conditions the columns that are left on column j being 0.
    fn fix(&mut self, j: usize, left: &[usize]) {
        let variance = self.covariance[(j, j)];
        let gain: Vec<f64> = left.iter().map(|&i| self.covariance[(i, j)] / variance).collect();
        let value = self.mean[j];
        for (&i, gain) in left.iter().zip(&gain) {
            self.mean[i] -= gain * value;
        }
        for &k in left {
            let cross = self.covariance[(j, k)];
            let column = &mut self.covariance.col_mut(k);
            left.iter().zip(&gain).for_each(|(&i, gain)| column[i] -= gain * cross);
        }
    }
}
