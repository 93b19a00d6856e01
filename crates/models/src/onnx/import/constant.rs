//! Known numbers of a file as those of a graph.

use super::{ImportError, kind};
use crate::graph::{Dimension, Entries, Kind, Numbers};
use crate::onnx::{Attribute, DataType, Error, Model, ReadExternal, TensorInfo, no_external};

/// The numbers of a tensor.
pub(super) fn numbers(
    model: &Model,
    tensor: &TensorInfo,
    external: &mut ReadExternal<'_>,
) -> Result<(Kind, Numbers), ImportError> {
    let shape = tensor.dims.clone();
    let wrong = || {
        let (tensor, found) = (tensor.name.as_str().into(), tensor.data_type);
        Error::DataType { tensor, expected: "floats, integers or truth values", found }
    };
    let kind = kind(tensor.data_type).ok_or_else(wrong)?;
    let entries = match kind {
        Kind::Float => {
            let values = model.f32_values(tensor, external)?;
            Entries::Floats(values.into_iter().map(f64::from).collect())
        }
        Kind::Int | Kind::Bool => {
            let values = model.i64_values(tensor, external)?;
            Entries::Integers(values.into_iter().map(Dimension::known).collect())
        }
    };
    Ok((kind, Numbers { shape, entries }))
}

/// The numbers of an attribute of a Constant; `None` where it holds none.
pub(super) fn of_attribute(name: &str, attribute: &Attribute) -> Option<(Kind, Numbers)> {
    let integers =
        |values: &[i64]| Entries::Integers(values.iter().map(|&n| Dimension::known(n)).collect());
    let floats = |values: &[f32]| Entries::Floats(values.iter().map(|&v| f64::from(v)).collect());
    let (kind, shape, entries) = match (name, attribute) {
        ("value_int", Attribute::Int(n)) => (Kind::Int, vec![], integers(&[*n])),
        ("value_float", Attribute::Float(v)) => (Kind::Float, vec![], floats(&[*v])),
        ("value_ints", Attribute::Ints(ns)) => (Kind::Int, vec![ns.len()], integers(ns)),
        ("value_floats", Attribute::Floats(vs)) => (Kind::Float, vec![vs.len()], floats(vs)),
        _ => return None,
    };
    Some((kind, Numbers { shape, entries }))
}

/// The one number of a constant, where it has but one and that lies in the file.
pub(super) fn one_number(model: &Model, attribute: &Attribute) -> Option<f64> {
    match attribute {
        Attribute::Tensor(tensor) => of_tensor(model, tensor),
        Attribute::Int(n) => Some(*n as f64),
        Attribute::Float(v) => Some(f64::from(*v)),
        _ => None,
    }
}

/// The one number of a tensor, where it has but one and that lies in the file.
pub(super) fn of_tensor(model: &Model, tensor: &TensorInfo) -> Option<f64> {
    if tensor.external.is_some() || tensor.n_elements().ok()? != 1 {
        return None;
    }
    match tensor.data_type {
        DataType::String | DataType::Other(_) => None,
        data_type if data_type.is_float() => {
            let values: Result<Vec<f32>, Error> = model.f32_values(tensor, &mut no_external);
            values.ok()?.first().map(|&v| f64::from(v))
        }
        _ => model.i64_values(tensor, &mut no_external).ok()?.first().map(|&n| n as f64),
    }
}
