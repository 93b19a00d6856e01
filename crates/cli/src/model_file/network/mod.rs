//! The one door to trained networks: whatever a file holds becomes a graph with its parameters.

mod onnx;
mod open;
mod save;

use std::collections::HashMap;

use anyhow::{Result, anyhow, bail};
use candle_core::DType;
use core_tensors::Params;
use models::graph::{Dimension, Graph, shape_text};
use models::onnx::{Imported, Model};

use super::Trained;

pub(super) use onnx::Beside;
pub(crate) use onnx::import_beside;
pub(crate) use save::Format;
pub(super) use save::{PARENT, with_all_numbers};

/// How keys of metadata begin that this program writes.
const OURS: &str = "distill.";
/// Those that say what a file was made from, and what is in it.
const OF_THE_FILE: [&str; 2] = [PARENT, "distill.network"];

/// A trained network, from a file of any format that we take.
pub(crate) struct Network {
    /// f(x, w).
    pub(crate) graph: Graph,
    /// w: f32, or f64 where the file has f64 or something was computed from parts.
    pub(crate) params: Params,
    /// What the file held.
    pub(crate) origin: Origin,
    /// SHA-256 of the file.
    pub(crate) sha256: String,
    /// The metadata of an ONNX or a safetensors file.
    pub(crate) metadata: HashMap<String, String>,
}

/// What a network's file held.
pub(crate) enum Origin {
    /// An ONNX file.
    Onnx(Box<OnnxFile>),
    /// Dense layers, of a state dict, blocks of this program, or a posterior's mean.
    Perceptron(Box<Trained>),
}

/// An ONNX file and what was read of it.
pub(crate) struct OnnxFile {
    /// Its bytes and their index.
    pub(crate) model: Model,
    /// Its network, which changed graphs are compared with when they are written into the file.
    pub(crate) imported: Imported,
}

impl Network {
    /// The network as a perceptron with its weights in f64; an error says which part of it is none.
    pub(crate) fn into_perceptron(self) -> Result<Trained> {
        let trained = self.perceptron()?;
        let blocks = trained.weights.blocks().iter().map(|block| block.to_dtype(DType::F64));
        let blocks = blocks.collect::<candle_core::Result<_>>()?;
        let weights = Params::new(trained.weights.layout().clone(), blocks)?;
        Ok(Trained { weights, ..trained })
    }

    fn perceptron(self) -> Result<Trained> {
        match self.origin {
            Origin::Perceptron(trained) => Ok(*trained),
            Origin::Onnx(_) => {
                if let Some((name, n)) = shared(&self.graph) {
                    bail!(
                        "the weights `{name}` serve {n} layers; posteriors and state dicts take each layer's weights as its own"
                    );
                }
                let (network, weights) =
                    self.graph.as_perceptron(&self.params).map_err(|error| {
                        anyhow!("{error}; posteriors and state dicts are made of networks of dense layers alone")
                    })?;
                let names = (1..network.widths.len()).map(|t| format!("layer {t}")).collect();
                Ok(Trained { network, weights, names, spelled: Vec::new() })
            }
        }
    }

    /// Whether its file is an ONNX file.
    pub(crate) fn is_onnx(&self) -> bool {
        matches!(self.origin, Origin::Onnx(_))
    }

    /// What the metadata of a file made from this one say, too: of inputs, such as how images are prepared, and not of the
    /// file itself.
    pub(crate) fn carried_metadata(&self) -> Vec<(String, String)> {
        let is_carried = |key: &str| key.starts_with(OURS) && !OF_THE_FILE.contains(&key);
        let carried = self.metadata.iter().filter(|(key, _)| is_carried(key));
        let mut carried: Vec<_> = carried.map(|(k, v)| (k.clone(), v.clone())).collect();
        carried.sort();
        carried
    }

    /// Names of the layers in a state dict, each with that in the graph.
    pub(crate) fn spelled_layers(&self) -> Vec<(String, String)> {
        match &self.origin {
            Origin::Onnx(_) => Vec::new(),
            Origin::Perceptron(trained) => {
                let names = trained.names.iter().enumerate();
                names.map(|(t, name)| (name.clone(), format!("layers.{t}"))).collect()
            }
        }
    }

    /// Numbers of one example, over all inputs.
    pub(crate) fn n_inputs(&self) -> usize {
        let inputs = self.graph.inputs().iter();
        inputs.map(|&id| n_numbers(&self.graph.value(id).shape)).fold(0, usize::saturating_add)
    }

    /// Extents of one example's input, without the batch: of the network's only input, all of them known.
    pub(crate) fn input_shape(&self) -> Result<Vec<usize>> {
        let [id] = *self.graph.inputs() else {
            let names = self.graph.inputs().iter();
            let names = names.map(|&id| format!("`{}`", self.graph.value(id).name));
            let (n, names) = (self.graph.inputs().len(), names.collect::<Vec<_>>().join(", "));
            bail!("expected a network with one input, found {n}: {names}");
        };
        let input = self.graph.value(id);
        let extents = input.shape.iter().skip(1).map(|extent| extent.as_known());
        let extents = extents.map(|n| n.and_then(|n| usize::try_from(n).ok()));
        extents.collect::<Option<_>>().ok_or_else(|| {
            anyhow!(
                "expected an input whose extents are known but for the batch, found `{}` of shape {}; --dim NAME=SIZE \
                 gives them",
                input.name,
                shape_text(&input.shape)
            )
        })
    }

    /// Numbers that come out for one example.
    pub(crate) fn n_outputs(&self) -> usize {
        self.graph.outputs().first().map_or(0, |&id| n_numbers(&self.graph.value(id).shape))
    }
}

/// Numbers of a tensor that belong to one example: all extents but the batch.
fn n_numbers(shape: &[Dimension]) -> usize {
    let extents = shape.iter().skip(1).map(|extent| extent.as_known());
    let extents = extents.map(|n| n.and_then(|n| usize::try_from(n).ok()).unwrap_or(0));
    extents.fold(1, usize::saturating_mul)
}

/// A parameter that several nodes read, and how many they are.
fn shared(graph: &Graph) -> Option<(&str, usize)> {
    graph.parameters().iter().find_map(|id| {
        let n = graph.nodes().iter().filter(|node| node.operands.contains(id)).count();
        (n > 1).then(|| (graph.value(*id).name.as_str(), n))
    })
}
