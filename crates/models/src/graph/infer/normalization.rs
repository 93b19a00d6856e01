//! Shapes of normalizations and of what scales rows and columns.

use super::{Inferred, channels, check_axis, check_kinds, exactly, perhaps_one_more};
use crate::graph::rules::{fits, setting, shapes};
use crate::graph::{Dimension, Kind, Problem, Value};

/// x (m, c, …) with scale, shift, mean and variance (c,).
pub(super) fn batch(operands: &[&Value]) -> Result<Inferred, Problem> {
    let [x, of_channels @ ..] = exactly::<5>(operands)?;
    check_kinds(operands, Kind::Float)?;
    check_channels(x, &of_channels)?;
    same(x)
}

/// x with scale and shift of the shape of the axes from `axis` on.
pub(super) fn layer(operands: &[&Value], axis: usize) -> Result<Inferred, Problem> {
    let ([x, scale], shift) = perhaps_one_more(operands, "2 or 3")?;
    check_kinds(operands, Kind::Float)?;
    check_axis(axis, x.shape.len())?;
    let normalized = &x.shape[axis..];
    for coefficients in [Some(scale), shift].into_iter().flatten() {
        if !fits(&coefficients.shape, normalized) {
            let what = "expected a scale and a shift of the shape of the last axes";
            return Err(shapes(what, &[&x.shape, &coefficients.shape]));
        }
    }
    same(x)
}

/// x (m, c, …) with scale and shift (c,).
pub(super) fn group(operands: &[&Value], groups: usize) -> Result<Inferred, Problem> {
    let [x, of_channels @ ..] = exactly::<3>(operands)?;
    check_kinds(operands, Kind::Float)?;
    check_channels(x, &of_channels)?;
    let channels = channels(x)?;
    let divides = i64::try_from(groups).is_ok_and(|groups| channels.checked_rem(groups) == Some(0));
    if !divides {
        return Err(setting("groups", format!("a divisor of the {channels} channels"), groups));
    }
    same(x)
}

/// Of x, whose axis is there.
pub(super) fn softmax(operands: &[&Value], axis: usize) -> Result<Inferred, Problem> {
    let [x] = exactly(operands)?;
    check_kinds(operands, Kind::Float)?;
    check_axis(axis, x.shape.len())?;
    same(x)
}

/// Of (m, n).
pub(super) fn rows(operands: &[&Value]) -> Result<Inferred, Problem> {
    let [x] = exactly(operands)?;
    check_kinds(operands, Kind::Float)?;
    if x.shape.len() != 2 {
        return Err(shapes("expected a matrix, one row an example", &[&x.shape]));
    }
    same(x)
}

/// Of (m, n), with 1 or n offsets and scales.
pub(super) fn scaler(
    operands: &[&Value],
    offsets: usize,
    scales: usize,
) -> Result<Inferred, Problem> {
    let (kind, shape) = rows(operands)?;
    for (what, found) in [("offsets", offsets), ("scales", scales)] {
        let is_columns = i64::try_from(found).is_ok_and(|n| shape[1] == Dimension::known(n));
        if found != 1 && !is_columns {
            return Err(setting(what, format!("1 or {}", shape[1]), found));
        }
    }
    Ok((kind, shape))
}

/// Refuses coefficients that are not one number a channel.
fn check_channels(x: &Value, of_channels: &[&Value]) -> Result<(), Problem> {
    let channels = [Dimension::known(channels(x)?)];
    match of_channels.iter().find(|value| value.shape != channels) {
        Some(wrong) => {
            let what = "expected one coefficient a channel (axis 1)";
            Err(shapes(what, &[&x.shape, &wrong.shape]))
        }
        None => Ok(()),
    }
}

/// Kind and shape of x.
fn same(x: &Value) -> Result<Inferred, Problem> {
    Ok((x.kind, x.shape.clone()))
}
