//! NumPy's broadcasting of extents that may depend on the batch.

use super::{Dimension, shapes};
use crate::graph::Problem;

/// The shape that all of these broadcast to: axes are aligned from the right, an extent of 1 takes the others' extent.
///
/// # Errors
/// Where two extents are neither the same function of the batch nor 1.
pub fn broadcast(operands: &[&[Dimension]]) -> Result<Vec<Dimension>, Problem> {
    let one = Dimension::known(1);
    let rank = operands.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut result = vec![one; rank];
    for shape in operands {
        for (place, &extent) in result.iter_mut().rev().zip(shape.iter().rev()) {
            if *place == one {
                *place = extent;
            } else if extent != one && extent != *place {
                return Err(shapes("expected shapes that broadcast", operands));
            }
        }
    }
    Ok(result)
}

/// Whether a shape broadcasts to another that stays as it is.
pub fn fits(shape: &[Dimension], target: &[Dimension]) -> bool {
    let mut pairs = shape.iter().rev().zip(target.iter().rev());
    shape.len() <= target.len() && pairs.all(|(&a, &b)| a == b || a == Dimension::known(1))
}
