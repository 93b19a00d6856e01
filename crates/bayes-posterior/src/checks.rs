//! What every entry of this crate refuses: sizes that do not fit, numbers out of range, networks without layers.
//!
//! Finite in, finite out: numbers that come in pass [`finite`] and its kin, results pass [`computed`].

use core_tensors::{Expected, Layout};
use faer::MatRef;
use models::Mlp;

use crate::error::{Error, Result};

/// Refuses another length than the one that was needed.
pub(crate) fn length(what: &'static str, wanted: usize, found: usize) -> Result<()> {
    if wanted == found {
        return Ok(());
    }
    Err(Error::count(what, Expected::Exactly(wanted), found))
}

/// Refuses parameters of other blocks.
pub(crate) fn same_layout(what: &'static str, expected: &Layout, found: &Layout) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Layout { what, expected: expected.clone(), found: found.clone() })
}

/// Refuses a covariance over another number of parameters.
pub(crate) fn same_length(layout: &Layout, found: usize) -> Result<()> {
    length("parameters of a covariance", layout.n_parameters(), found)
}

/// Refuses a block that the layout lacks.
pub(crate) fn block(layout: &Layout, block: usize) -> Result<()> {
    let n = layout.blocks.len();
    if block < n {
        return Ok(());
    }
    Err(core_tensors::Error::Index { what: "block", index: block, n }.into())
}

/// Refuses an order that is no permutation of the first columns of a block.
pub(crate) fn column_order(layout: &Layout, of: usize, order: &[usize]) -> Result<()> {
    block(layout, of)?;
    let cols = layout.blocks[of].cols;
    if order.len() > cols {
        return Err(Error::count("columns of an order", Expected::AtMost(cols), order.len()));
    }
    permutation("order of columns", order, order.len())
}

/// Refuses a list that does not name each of 0 to n − 1 once.
pub(crate) fn permutation(what: &'static str, list: &[usize], n: usize) -> Result<()> {
    if is_permutation(list, n) {
        return Ok(());
    }
    Err(Error::Permutation { what, n, found: list.to_vec() })
}

/// Whether a list names each of 0 to n − 1 once.
fn is_permutation(list: &[usize], n: usize) -> bool {
    let mut sorted = list.to_vec();
    sorted.sort_unstable();
    sorted.into_iter().eq(0..n)
}

/// Refuses a network without a layer, or with an empty one.
pub(crate) fn network(network: &Mlp) -> Result<()> {
    let widths = &network.widths;
    if widths.len() >= 2 && !widths.contains(&0) {
        return Ok(());
    }
    Err(Error::Widths { widths: widths.clone() })
}

/// Refuses data without an example.
pub(crate) fn some_examples(n: usize) -> Result<()> {
    at_least("examples", 1, n)
}

/// Refuses too few of something.
pub(crate) fn at_least(what: &'static str, n: usize, found: usize) -> Result<()> {
    if found >= n { Ok(()) } else { Err(Error::count(what, Expected::AtLeast(n), found)) }
}

/// The range of any number.
const FINITE: &str = "(−∞, ∞)";
/// The range of a variance.
const POSITIVE: &str = "(0, ∞)";

/// Refuses a number that is not finite.
pub(crate) fn finite(name: &str, value: f64) -> Result<()> {
    if value.is_finite() {
        return Ok(());
    }
    Err(Error::OutOfRange { name: name.into(), value, range: FINITE })
}

/// Refuses numbers that are not finite, one for each parameter.
pub(crate) fn all_finite(what: &str, values: &[f64]) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => finite(&format!("{what} of parameter {index}"), values[index]),
        None => Ok(()),
    }
}

/// Refuses a matrix with an entry that is not finite.
pub(crate) fn entries(what: &str, a: MatRef<f64>) -> Result<()> {
    for (j, column) in a.col_iter().enumerate() {
        if let Some(i) = column.iter().position(|v| !v.is_finite()) {
            return finite(&format!("entry ({i}, {j}) of {what}"), a[(i, j)]);
        }
    }
    Ok(())
}

/// Refuses a square matrix with an entry that is not finite, or a diagonal that is not positive.
pub(crate) fn variances(what: &str, a: MatRef<f64>) -> Result<()> {
    entries(what, a)?;
    let is_bad = |i: &usize| a[(*i, *i)] <= 0.0;
    match (0..a.nrows()).find(is_bad) {
        Some(i) => positive(&format!("entry ({i}, {i}) of {what}"), a[(i, i)]),
        None => Ok(()),
    }
}

/// A result that must be finite.
pub(crate) fn computed(quantity: &str, value: f64) -> Result<f64> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(Error::Computed { quantity: quantity.into(), value, range: FINITE })
}

/// What a check of numbers says where these are not given but computed: `of` names what they belong to.
pub(crate) fn of_result(of: &str, check: Result<()>) -> Result<()> {
    check.map_err(|error| match error {
        Error::OutOfRange { name, value, range } => {
            Error::Computed { quantity: format!("{name}, {of},"), value, range }
        }
        other => other,
    })
}

/// Refuses ids of units that are not those of the widths, each once.
pub(crate) fn kept_units(widths: &[usize], kept: &[Vec<usize>]) -> Result<()> {
    let counts: Vec<usize> = kept.iter().map(Vec::len).collect();
    if counts != widths {
        return Err(Error::KeptUnits { expected: widths.to_vec(), found: counts });
    }
    for ids in kept {
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::Repeated { what: "ids of kept units of a layer", value: pair[0] });
        }
        if let Some(&last) = sorted.last().filter(|last| **last >= MOST_UNITS) {
            let (what, n) = ("kept unit", MOST_UNITS);
            return Err(core_tensors::Error::Index { what, index: last, n }.into());
        }
    }
    Ok(())
}

/// Units of a layer: memory ends long before.
const MOST_UNITS: usize = 1 << 32;

/// Refuses a number that is not positive and finite.
pub(crate) fn positive(name: &str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::OutOfRange { name: name.into(), value, range: POSITIVE })
}

/// Refuses numbers that are not positive and finite, one for each parameter.
pub(crate) fn all_positive(what: &str, values: &[f64]) -> Result<()> {
    match values.iter().position(|v| !(*v > 0.0 && v.is_finite())) {
        Some(index) => positive(&format!("{what} of parameter {index}"), values[index]),
        None => Ok(()),
    }
}
