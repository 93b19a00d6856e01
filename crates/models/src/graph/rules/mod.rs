//! Rules of shapes: what a reader of ONNX needs to resolve settings, and what inference of shapes is made of.

mod broadcast;
mod order;
mod reshape;
mod slice;
mod window;

use super::{Dimension, Problem};

pub use broadcast::{broadcast, fits};
pub use reshape::{Product, reshape_target};
pub use slice::{count_steps, slice_range};
pub use window::{output_extent, same_pads};

/// An axis of a tensor of this rank, counted from the end where it is negative.
///
/// # Errors
/// Where it lies outside −rank ≤ axis < rank.
pub fn axis(axis: i64, rank: usize) -> Result<usize, Problem> {
    let found = usize::try_from(axis.unsigned_abs()).ok();
    let place = match found {
        Some(place) if axis >= 0 => Some(place),
        Some(back) => rank.checked_sub(back),
        None => None,
    };
    place
        .filter(|&place| place < rank)
        .ok_or_else(|| setting("an axis", format!("−{rank} ≤ axis < {rank}"), axis))
}

/// Sum of two extents.
///
/// # Errors
/// Beyond i64.
pub fn sum(a: Dimension, b: Dimension) -> Result<Dimension, Problem> {
    a.checked_add(b).ok_or(Problem::TooLarge)
}

/// Difference of two extents.
///
/// # Errors
/// Beyond i64.
pub fn difference(a: Dimension, b: Dimension) -> Result<Dimension, Problem> {
    a.checked_sub(b).ok_or(Problem::TooLarge)
}

/// Product of two extents.
///
/// # Errors
/// Where both depend on the batch, or beyond i64.
pub fn product(a: Dimension, b: Dimension) -> Result<Dimension, Problem> {
    let is_linear = !(a.is_per_batch() && b.is_per_batch());
    a.checked_mul(b).ok_or(if is_linear { Problem::TooLarge } else { Problem::NotLinear })
}

/// A [`Problem::Setting`].
pub(super) fn setting(
    what: &'static str,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Problem {
    Problem::Setting { what, expected: expected.to_string(), found: found.to_string() }
}

/// A [`Problem::Shapes`].
pub(super) fn shapes(what: &'static str, shapes: &[&[Dimension]]) -> Problem {
    Problem::Shapes { what, shapes: shapes.iter().map(|shape| shape.to_vec()).collect() }
}

#[cfg(test)]
mod tests;
