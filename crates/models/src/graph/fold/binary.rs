//! Functions of two known numbers, and choices between them.

use super::places::{expanded, picked};
use super::{Dimension, Entries, Numbers, rounded, truth};
use crate::graph::rules::setting;
use crate::graph::{Binary, Problem};

/// f of two tensors, broadcast to a shape; `None` where a batch decides.
pub(super) fn entries(
    binary: Binary,
    a: &Numbers,
    b: &Numbers,
    shape: &[usize],
) -> Result<Option<Entries>, Problem> {
    let spread = |x: &Numbers| picked(&x.entries, &expanded(&x.shape, shape));
    let (Some(a), Some(b)) = (spread(a), spread(b)) else { return Ok(None) };
    match (a, b) {
        (Entries::Floats(a), Entries::Floats(b)) => Ok(floats(binary, &a, &b)),
        (Entries::Integers(a), Entries::Integers(b)) => {
            let mut result = Vec::with_capacity(a.len());
            for (&a, &b) in a.iter().zip(&b) {
                let Some(entry) = integer(binary, a, b)? else { return Ok(None) };
                result.push(entry);
            }
            Ok(Some(Entries::Integers(result)))
        }
        (Entries::Floats(a), Entries::Integers(b)) if binary == Binary::Pow => {
            let power = |(a, b): (&f64, &Dimension)| Some(rounded(a.powf(b.as_known()? as f64)));
            let result: Option<Vec<f64>> = a.iter().zip(&b).map(power).collect();
            Ok(result.map(Entries::Floats))
        }
        (Entries::Integers(a), Entries::Floats(b)) if binary == Binary::Pow => {
            // Towards zero, as a cast from floats.
            let power = |(a, b): (&Dimension, &f64)| {
                a.as_known().map(|a| Dimension::known((a as f64).powf(*b) as i64))
            };
            let result: Option<Vec<Dimension>> = a.iter().zip(&b).map(power).collect();
            Ok(result.map(Entries::Integers))
        }
        _ => Ok(None),
    }
}

/// Entries of one of two tensors, as a third says.
pub(super) fn choose(
    condition: &Numbers,
    yes: &Numbers,
    no: &Numbers,
    shape: &[usize],
) -> Option<Entries> {
    let spread = |x: &Numbers| picked(&x.entries, &expanded(&x.shape, shape));
    let Entries::Integers(condition) = spread(condition)? else { return None };
    let is_true: Option<Vec<bool>> =
        condition.iter().map(|entry| entry.as_known().map(|entry| entry != 0)).collect();
    fn chosen<T: Copy>(is_true: &[bool], yes: &[T], no: &[T]) -> Vec<T> {
        let pairs = is_true.iter().zip(yes.iter().zip(no));
        pairs.map(|(&is_true, (&yes, &no))| if is_true { yes } else { no }).collect()
    }
    let is_true = is_true?;
    match (spread(yes)?, spread(no)?) {
        (Entries::Floats(yes), Entries::Floats(no)) => {
            Some(Entries::Floats(chosen(&is_true, &yes, &no)))
        }
        (Entries::Integers(yes), Entries::Integers(no)) => {
            Some(Entries::Integers(chosen(&is_true, &yes, &no)))
        }
        _ => None,
    }
}

/// f of floats; comparisons give truth values.
fn floats(binary: Binary, a: &[f64], b: &[f64]) -> Option<Entries> {
    let numbers = |f: fn(f64, f64) -> f64| {
        let each = a.iter().zip(b).map(|(&a, &b)| rounded(f(a, b)));
        Some(Entries::Floats(each.collect()))
    };
    let truths = |f: fn(&f64, &f64) -> bool| {
        Some(Entries::Integers(a.iter().zip(b).map(|(a, b)| truth(f(a, b))).collect()))
    };
    // What is no number wins, unlike in `f64::min`.
    let first_wins = |a: f64, b: f64, is_ahead: bool| if is_ahead || a.is_nan() { a } else { b };
    match binary {
        Binary::Add => numbers(|a, b| a + b),
        Binary::Sub => numbers(|a, b| a - b),
        Binary::Mul => numbers(|a, b| a * b),
        Binary::Div => numbers(|a, b| a / b),
        Binary::Pow => numbers(f64::powf),
        Binary::Min => {
            let each = a.iter().zip(b).map(|(&a, &b)| first_wins(a, b, a <= b));
            Some(Entries::Floats(each.collect()))
        }
        Binary::Max => {
            let each = a.iter().zip(b).map(|(&a, &b)| first_wins(a, b, a >= b));
            Some(Entries::Floats(each.collect()))
        }
        Binary::Equal => truths(|a, b| a == b),
        Binary::Greater => truths(|a, b| a > b),
        Binary::GreaterOrEqual => truths(|a, b| a >= b),
        Binary::Less => truths(|a, b| a < b),
        Binary::LessOrEqual => truths(|a, b| a <= b),
        Binary::Mod => numbers(|a, b| a % b),
        Binary::And | Binary::Or | Binary::Xor => None,
    }
}

/// f of whole numbers or truth values; `None` where it is no linear function of the batch, or not the same truth for each.
fn integer(binary: Binary, a: Dimension, b: Dimension) -> Result<Option<Dimension>, Problem> {
    let zero = Dimension::known(0);
    let known = a.as_known().zip(b.as_known());
    // Known numbers fail for their size alone.
    let or_too_large = |result: Option<Dimension>| match (result, known) {
        (None, Some(_)) => Err(Problem::TooLarge),
        _ => Ok(result),
    };
    let decided = |is_true: bool, is_false: bool| match (is_true, is_false) {
        (true, _) => Some(truth(true)),
        (_, true) => Some(truth(false)),
        _ => None,
    };
    if matches!(binary, Binary::Div | Binary::Mod) && b == zero {
        return Err(setting("a divisor", "a number other than 0", 0));
    }
    Ok(match binary {
        Binary::Add => Some(a.checked_add(b).ok_or(Problem::TooLarge)?),
        Binary::Sub => Some(a.checked_sub(b).ok_or(Problem::TooLarge)?),
        Binary::Mul => or_too_large(a.checked_mul(b))?,
        Binary::Div => or_too_large(a.checked_div(b))?,
        Binary::Pow => power(a, b)?,
        Binary::Min if a.is_at_least(b) => Some(b),
        Binary::Min if b.is_at_least(a) => Some(a),
        Binary::Max if a.is_at_least(b) => Some(a),
        Binary::Max if b.is_at_least(a) => Some(b),
        Binary::Min | Binary::Max => None,
        Binary::Equal => decided(a == b, a.is_never(b)),
        Binary::Greater => decided(a.is_above(b), b.is_at_least(a)),
        Binary::GreaterOrEqual => decided(a.is_at_least(b), b.is_above(a)),
        Binary::Less => decided(b.is_above(a), a.is_at_least(b)),
        Binary::LessOrEqual => decided(b.is_at_least(a), a.is_above(b)),
        Binary::And => known.map(|(a, b)| truth(a != 0 && b != 0)),
        Binary::Or => known.map(|(a, b)| truth(a != 0 || b != 0)),
        Binary::Xor => known.map(|(a, b)| truth((a != 0) != (b != 0))),
        Binary::Mod => match known {
            // A remainder of i64::MIN by −1 is 0.
            Some((a, b)) => {
                let rest = a.checked_rem(b).unwrap_or(0);
                let is_below = rest != 0 && (rest < 0) != (b < 0);
                Some(Dimension::known(if is_below { rest + b } else { rest }))
            }
            None => a.checked_div(b).map(|_| zero),
        },
    })
}

/// aᵇ; `None` where it is no linear function of the batch, or b is negative.
fn power(a: Dimension, b: Dimension) -> Result<Option<Dimension>, Problem> {
    let one = Dimension::known(1);
    match (a.as_known(), b.as_known()) {
        (_, Some(0)) => Ok(Some(one)),
        (_, Some(1)) => Ok(Some(a)),
        (Some(a), Some(b)) if b > 0 => {
            let exponent = u32::try_from(b).ok();
            // Whatever is not 0, 1 or −1 is too large long before.
            let exponent = exponent.unwrap_or(if b % 2 == 0 { u32::MAX - 1 } else { u32::MAX });
            let power = a.checked_pow(exponent).ok_or(Problem::TooLarge)?;
            Ok(Some(Dimension::known(power)))
        }
        _ => Ok(None),
    }
}
