//! The files of a narrowed network: ONNX, a state dict like the original's, a script that loads it in PyTorch, its widths.

mod names;
mod norms;
mod onnx;
mod python;
mod state_dict;
mod widths;

pub(crate) use onnx::with_metadata;
pub(crate) use python::python;
pub(crate) use state_dict::StateDict;
pub(crate) use widths::widths_json;

use candle_core::Tensor;
use core_tensors::Params;
use models::graph::{Dimension, Graph, ValueId};

/// The extents of a tensor that has no batch.
fn extents(shape: &[Dimension]) -> Vec<usize> {
    shape.iter().map(|extent| usize::try_from(extent.fixed).unwrap_or(0)).collect()
}

/// The numbers of a parameter in f32, in its shape.
fn tensor(graph: &Graph, params: &Params, id: ValueId) -> candle_core::Result<Option<Tensor>> {
    let block = graph.parameters().iter().position(|&other| other == id);
    let Some(block) = block.and_then(|t| params.blocks().get(t)) else { return Ok(None) };
    let block = block.to_dtype(candle_core::DType::F32)?.to_device(&candle_core::Device::Cpu)?;
    Ok(Some(block.reshape(extents(&graph.value(id).shape))?))
}

#[cfg(test)]
mod tests;
