//! Which unit of the layer below a unit stands for when its layer goes.

use core_tensors::Slice;
use pathfinding::prelude::{Matrix, kuhn_munkres};

use crate::edit::permutation_matrix;
use crate::error::{Error, Result};
use crate::gaussian::Gaussian;
use crate::structure::Structure;

/// The permutation P that a removed layer is fixed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitMatching {
    /// P = I, as in the papers; arbitrary after units have gone.
    Identity,
    /// The P of largest density among the best under independent parameters and the identity.
    Density,
}

/// Gains are rounded to so many steps of the largest, so that whole numbers order them; 10⁴ of them still fit 64 bits.
const STEPS: f64 = (1_u64 << 40) as f64;

/// σ with Pᵢⱼ = \[j = σ(i)\] for the square block of a layer.
///
/// The density at P is a quadratic assignment. Under the marginals alone it is a linear one, with gain
/// log N(1; m_ij, v_ij) − log N(0; m_ij, v_ij) = (m_ij − ½) / v_ij for each one in P, solved exactly; the joint
/// density then decides between its solution and the identity, so that the result is never less dense than the latter.
pub(crate) fn pair<S: Structure>(
    gaussian: &Gaussian<S>,
    block: usize,
    matching: UnitMatching,
) -> Result<Vec<usize>> {
    let shape = gaussian.layout().blocks[block];
    let n = shape.rows;
    let identity: Vec<usize> = (0..n).collect();
    if matching == UnitMatching::Identity {
        return Ok(identity);
    }
    let range = gaussian.layout().ranges()[block].clone();
    let variance = &gaussian.covariance().diagonal()?[range.clone()];
    let mean = &gaussian.mean()[range];
    let gain = |i: usize, j: usize| (mean[i * shape.cols + j] - 0.5) / variance[i * shape.cols + j];
    let largest = (0..n * n).map(|a| gain(a / n, a % n).abs()).fold(0.0, f64::max);
    if !(largest > 0.0 && largest.is_finite()) {
        return Ok(identity);
    }
    let whole = |i: usize, j: usize| (gain(i, j) / largest * STEPS).round() as i64;
    let rows = (0..n).map(|i| (0..n).map(|j| whole(i, j)).collect::<Vec<_>>());
    let weights = Matrix::from_rows(rows).map_err(|error| Error::Refused {
        edit: "matching units".into(),
        reason: error.to_string(),
    })?;
    let (_, best) = kuhn_munkres(&weights);
    let slice = Slice::Block { block };
    let has_bias = shape.cols > n;
    let cost = |order: &[usize]| -> Result<f64> {
        Ok(gaussian.marginal_density(&slice, &permutation_matrix(order, has_bias))?.cost())
    };
    Ok(if cost(&best)? < cost(&identity)? { best } else { identity })
}
