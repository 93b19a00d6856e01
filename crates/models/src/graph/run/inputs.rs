//! What is fed to a graph, in the shapes and types that it takes.

use candle_core::{DType, Device, Tensor};
use core_tensors::kernels::features;
use core_tensors::{Error as TensorsError, Params};

use super::Context;
use crate::graph::{Dimension, Error, Graph, Kind, Value};

impl Graph {
    /// The inputs in the graph's shapes and types, and what the nodes must know of this run.
    pub(super) fn feed(
        &self,
        w: &Params,
        inputs: &[Tensor],
    ) -> Result<(Context, Vec<Tensor>), Error> {
        let wanted: Vec<&Value> = self.inputs().iter().map(|&id| self.value(id)).collect();
        if inputs.len() != wanted.len() {
            let names: Vec<&str> = wanted.iter().map(|value| value.name.as_str()).collect();
            let (expected, found) = (names.len(), inputs.len());
            return Err(Error::Inputs { expected, names: names.join(", "), found });
        }
        let context = Context {
            m: batch(&wanted, inputs),
            dtype: float_type(&wanted, w, inputs),
            device: w
                .blocks()
                .iter()
                .chain(inputs)
                .next()
                .map_or(Device::Cpu, |x| x.device().clone()),
        };
        let pairs = wanted.iter().zip(inputs);
        let fed = pairs.map(|(value, x)| {
            let x = typed(value, x, &context)?;
            shaped(value, &x, &context)
        });
        let fed = fed.collect::<Result<_, _>>()?;
        Ok((context, fed))
    }
}

/// m: what the first extent that grows with the batch says.
fn batch(wanted: &[&Value], inputs: &[Tensor]) -> usize {
    for (value, x) in wanted.iter().zip(inputs) {
        // Rows may stand for images; the examples come first in both.
        let axes = if value.shape.len() == x.rank() { x.rank() } else { 1 };
        for (extent, &n) in value.shape.iter().zip(x.dims()).take(axes) {
            let grown = i64::try_from(n).ok().and_then(|n| n.checked_sub(extent.fixed));
            let m = grown.and_then(|n| n.checked_div(extent.per_example));
            if let (true, Some(Ok(m))) = (extent.is_per_batch(), m.map(usize::try_from)) {
                return m;
            }
        }
    }
    inputs.first().and_then(|x| x.dims().first().copied()).unwrap_or(1)
}

fn float_type(wanted: &[&Value], w: &Params, inputs: &[Tensor]) -> DType {
    let floats = wanted.iter().zip(inputs).filter(|(value, _)| value.kind == Kind::Float);
    let mut types = w.blocks().iter().chain(floats.map(|(_, x)| x)).map(Tensor::dtype);
    match types.find(|dtype| dtype.is_float()) {
        Some(DType::F64) => DType::F64,
        _ => DType::F32,
    }
}

/// An input in the type in which it is computed.
fn typed(value: &Value, x: &Tensor, context: &Context) -> Result<Tensor, Error> {
    let converted = match value.kind {
        Kind::Float => features(x).and_then(|x| x.to_dtype(context.dtype)),
        Kind::Int if x.dtype().is_int() => x.to_dtype(DType::I64),
        Kind::Bool if x.dtype().is_int() => x.ne(0u8),
        Kind::Int | Kind::Bool => {
            let (name, expected) = (value.name.clone(), value.kind);
            return Err(Error::InputKind { name, expected, found: x.dtype() });
        }
    };
    let converted = converted.and_then(|x| x.to_device(&context.device));
    Ok(converted.map_err(TensorsError::from)?)
}

/// An input in its shape; the entries of an example may come in another one.
fn shaped(value: &Value, x: &Tensor, context: &Context) -> Result<Tensor, Error> {
    let extents: Option<Vec<usize>> = value
        .shape
        .iter()
        .map(|d| d.of_batch(context.m).and_then(|n| usize::try_from(n).ok()))
        .collect();
    let is_batch_first = value.shape.first() == Some(&Dimension::BATCH);
    match extents {
        Some(extents) if extents == x.dims() => Ok(x.clone()),
        Some(extents)
            if is_batch_first
                && x.dims().first() == extents.first()
                && extents.iter().product::<usize>() == x.elem_count()
                && (extents.len() == 2 || x.rank() == 2) =>
        {
            Ok(x.reshape(extents).map_err(TensorsError::from)?)
        }
        _ => Err(Error::InputShape {
            name: value.name.clone(),
            expected: value.shape.clone(),
            found: x.dims().to_vec(),
        }),
    }
}
