//! The operators of scikit-learn's exports that stand before a network.

use super::super::node::At;
use super::super::{Import, ImportError};
use super::ML;
use crate::graph::{Kind, Norm, Op};

pub(super) fn add(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<bool, ImportError> {
    if at.node.domain != ML {
        return Ok(false);
    }
    let op = match at.node.op_type.as_str() {
        "Scaler" => {
            let list = |values: Option<&[f32]>| values.map(<[f32]>::to_vec).unwrap_or_default();
            let (offset, scale) = (list(at.floats("offset")?), list(at.floats("scale")?));
            finite(at, "offset", offset.iter().map(|&v| f64::from(v)))?;
            finite(at, "scale", scale.iter().map(|&v| f64::from(v)))?;
            Op::Scaler {
                offset: if offset.is_empty() { vec![0.0] } else { offset },
                scale: if scale.is_empty() { vec![1.0] } else { scale },
            }
        }
        "Normalizer" => Op::Normalizer {
            norm: match at.word("norm", "MAX")? {
                "MAX" => Norm::Max,
                "L1" => Norm::L1,
                "L2" => Norm::L2,
                word => return Err(at.wrong("norm", "MAX, L1 or L2", word)),
            },
        },
        "LabelEncoder" => encoder(at)?,
        _ => return Ok(false),
    };
    let x = import.operand(at, 0)?;
    import.node(at, op, &[x])?;
    Ok(true)
}

/// A table between numbers; one from or to strings is refused.
fn encoder(at: &At<'_>) -> Result<Op, ImportError> {
    let ints = |name| -> Result<Option<Vec<f64>>, ImportError> {
        Ok(at.ints(name)?.map(|values| values.iter().map(|&n| n as f64).collect()))
    };
    let floats = |name| -> Result<Option<Vec<f64>>, ImportError> {
        Ok(at.floats(name)?.map(|values| values.iter().map(|&v| f64::from(v)).collect()))
    };
    let keys = match ints("keys_int64s")? {
        Some(keys) => Some(keys),
        None => floats("keys_floats")?,
    };
    let (kind, values, default) = match ints("values_int64s")? {
        Some(values) => (Kind::Int, Some(values), at.int("default_int64", -1)? as f64),
        None => {
            (Kind::Float, floats("values_floats")?, f64::from(at.float("default_float", -0.0)?))
        }
    };
    match (keys, values) {
        (Some(keys), Some(values)) if keys.len() == values.len() => {
            finite(at, "keys", keys.iter().copied())?;
            finite(at, "values", values.iter().copied().chain([default]))?;
            Ok(Op::LabelEncoder { keys, values, default, kind })
        }
        _ => {
            let found = "strings, or lists of different lengths";
            Err(at.wrong("keys and values", "two lists of numbers of one length", found))
        }
    }
}

/// Refuses NaN and infinities.
fn finite(
    at: &At<'_>,
    name: &'static str,
    mut values: impl Iterator<Item = f64>,
) -> Result<(), ImportError> {
    match values.find(|value| !value.is_finite()) {
        Some(value) => Err(at.wrong(name, "finite numbers", value.to_string())),
        None => Ok(()),
    }
}
