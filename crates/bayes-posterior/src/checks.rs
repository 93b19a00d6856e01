//! What every entry of this crate refuses: sizes that do not fit, numbers out of range, networks without layers.

use core_tensors::Layout;
use models::Mlp;

use crate::error::{Error, Result};

/// Refuses another length than the one that was needed.
pub(crate) fn length(what: &'static str, wanted: usize, found: usize) -> Result<()> {
    if wanted == found { Ok(()) } else { Err(Error::mismatch(what, wanted, found)) }
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
    Err(Error::mismatch("a block", format!("below {n}"), block))
}

/// Refuses an order that is no permutation of the first columns of a block.
pub(crate) fn column_order(layout: &Layout, of: usize, order: &[usize]) -> Result<()> {
    block(layout, of)?;
    let cols = layout.blocks[of].cols;
    if order.len() <= cols && is_permutation(order, order.len()) {
        return Ok(());
    }
    let wanted = format!("a permutation of at most {cols} columns");
    Err(Error::mismatch("order of columns", wanted, format!("{order:?}")))
}

/// Whether a list names each of 0 to n − 1 once.
pub(crate) fn is_permutation(list: &[usize], n: usize) -> bool {
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
    let wanted = "two or more, each at least 1";
    Err(Error::mismatch("widths of a network", wanted, format!("{widths:?}")))
}

/// Refuses data without an example.
pub(crate) fn some_examples(n: usize) -> Result<()> {
    if n > 0 { Ok(()) } else { Err(Error::mismatch("examples", "at least 1", 0)) }
}

/// Refuses a number that is not positive and finite.
pub(crate) fn positive(name: &str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::OutOfRange { name: name.into(), value, range: "(0, ∞)" })
}

/// Refuses numbers that are not positive and finite, one for each parameter.
pub(crate) fn all_positive(what: &str, values: &[f64]) -> Result<()> {
    match values.iter().position(|v| !(*v > 0.0 && v.is_finite())) {
        Some(index) => positive(&format!("{what} of parameter {index}"), values[index]),
        None => Ok(()),
    }
}
