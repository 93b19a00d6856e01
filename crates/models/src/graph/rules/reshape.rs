//! Numbers of entries as products of linear functions of the batch, and the targets of a reshape.

use super::{Dimension, setting, shapes};
use crate::graph::Problem;

/// A product of extents in lowest terms: constant · ∏ (aᵢ + bᵢ m), each pair without a common divisor.
///
/// Such products are equal for every batch exactly if their parts are, so that two shapes can be compared though neither
/// number of entries is linear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    constant: i128,
    /// Coprime coefficients, the one of the batch positive; sorted.
    factors: Vec<Dimension>,
}

impl Product {
    /// The number of entries of a tensor of this shape.
    ///
    /// # Errors
    /// Where its constant is beyond i64.
    pub fn of(shape: &[Dimension]) -> Result<Self, Problem> {
        let mut product = Self { constant: 1, factors: Vec::new() };
        let mut is_empty = false;
        for extent in shape {
            let mut divisor = gcd(extent.fixed, extent.per_example);
            if divisor == 0 {
                is_empty = true;
                continue;
            }
            if let Some(known) = extent.as_known() {
                divisor = i128::from(known);
            } else {
                divisor *= i128::from(extent.per_example.signum());
                let part = |n: i64| i64::try_from(i128::from(n) / divisor);
                let (fixed, per_example) = (part(extent.fixed), part(extent.per_example));
                let (Ok(fixed), Ok(per_example)) = (fixed, per_example) else {
                    return Err(Problem::TooLarge);
                };
                product.factors.push(Dimension { fixed, per_example });
            }
            product.constant *= divisor;
            if i64::try_from(product.constant).is_err() {
                return Err(Problem::TooLarge);
            }
        }
        if is_empty {
            return Ok(Self { constant: 0, factors: Vec::new() });
        }
        product.factors.sort_by_key(|d| (d.fixed, d.per_example));
        Ok(product)
    }

    /// The extent that a product is.
    ///
    /// # Errors
    /// Where two factors depend on the batch.
    pub fn linear(&self) -> Result<Dimension, Problem> {
        let constant = i64::try_from(self.constant).map_err(|_| Problem::TooLarge)?;
        match self.factors.as_slice() {
            [] => Ok(Dimension::known(constant)),
            [factor] => factor.checked_mul(Dimension::known(constant)).ok_or(Problem::TooLarge),
            _ => Err(Problem::NotLinear),
        }
    }

    /// The exact quotient; `None` where there is none for every batch.
    pub fn divided_by(&self, divisor: &Self) -> Option<Self> {
        if divisor.constant == 0 || self.constant % divisor.constant != 0 {
            return None;
        }
        let constant = self.constant / divisor.constant;
        if constant == 0 {
            return Some(Self { constant, factors: Vec::new() });
        }
        let mut factors = self.factors.clone();
        for factor in &divisor.factors {
            let place = factors.iter().position(|f| f == factor)?;
            factors.remove(place);
        }
        Some(Self { constant, factors })
    }
}

/// Shape that a reshape gives: 0 keeps the extent at its place, unless `allow_zero`, and one −1 takes what is left.
///
/// Both the shape and the target may depend on the batch; −1 is the exact quotient of the numbers of entries.
///
/// # Errors
/// Where a number of entries cannot be kept, or what is left is no linear function of the batch.
pub fn reshape_target(
    shape: &[Dimension],
    target: &[Dimension],
    allow_zero: bool,
) -> Result<Vec<Dimension>, Problem> {
    let (zero, rest) = (Dimension::known(0), Dimension::known(-1));
    let mut result = Vec::with_capacity(target.len());
    let mut open = None;
    for (axis, &extent) in target.iter().enumerate() {
        if extent == rest && open.replace(axis).is_some() {
            return Err(setting("the target of a reshape", "at most one −1", "two"));
        }
        let kept = match extent {
            _ if extent == rest => Dimension::known(1),
            _ if extent == zero && !allow_zero => *shape.get(axis).ok_or_else(|| {
                setting("a 0 in the target of a reshape", "an axis of the operand", axis)
            })?,
            _ if extent.is_at_least(zero) => extent,
            _ => return Err(setting("the target of a reshape", "−1, 0 or more", extent)),
        };
        result.push(kept);
    }
    let wrong = || shapes("expected a target of as many entries", &[shape, target]);
    let (given, made) = (Product::of(shape)?, Product::of(&result)?);
    match open {
        Some(axis) => result[axis] = given.divided_by(&made).ok_or_else(wrong)?.linear()?,
        None if given == made => {}
        None => return Err(wrong()),
    }
    Ok(result)
}

/// The greatest common divisor; 0 of two zeros.
fn gcd(a: i64, b: i64) -> i128 {
    let (mut a, mut b) = (i128::from(a).abs(), i128::from(b).abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
