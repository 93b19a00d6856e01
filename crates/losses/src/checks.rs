//! Checks that several losses share.

use core_tensors::{Error, Expected};

use crate::error::Result;

/// At least one example to take a mean over.
pub(crate) fn check_examples(m: usize) -> Result<()> {
    check_count("examples of a batch", Expected::AtLeast(1), m > 0, m)
}

/// Refuses a wrong number of something.
pub(crate) fn check_count(
    what: &'static str,
    expected: Expected,
    is_right: bool,
    found: usize,
) -> Result<()> {
    if is_right { Ok(()) } else { Err(Error::Count { what, expected, found }.into()) }
}

/// Refuses another shape than this.
pub(crate) fn check_shape(what: &'static str, expected: &[usize], found: &[usize]) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let (expected, found) = (expected.to_vec(), found.to_vec());
    Err(Error::Shape { what, expected, found }.into())
}

/// T > 0, finite.
pub(crate) fn check_temperature(value: f64) -> Result<()> {
    check_range("temperature", value, value > 0.0 && value.is_finite(), "(0, ∞)")
}

/// Refuses a number outside its range.
pub(crate) fn check_range(
    name: &'static str,
    value: f64,
    is_inside: bool,
    range: &'static str,
) -> Result<()> {
    if is_inside { Ok(()) } else { Err(Error::OutOfRange { name, value, range }.into()) }
}
