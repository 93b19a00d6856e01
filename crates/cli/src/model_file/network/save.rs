//! Networks as files of other programs.

use std::path::Path;

use anyhow::Result;
use candle_core::DType;
use models::graph::{Binary, Graph, Op, Source, ValueId};
use models::onnx::{Edit, ExportOptions, ExternalError, Model, Values, export};

use super::onnx::Beside;
use super::{Network, Origin};
use crate::model_file::state_dict;

/// A format that networks are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A graph for any runtime.
    Onnx,
    /// A safetensors file that PyTorch loads.
    StateDict,
}

/// Key of the metadata of an ONNX file: the SHA-256 of the file that its network came from.
pub(crate) const PARENT: &str = "distill.parent";

impl Network {
    /// The bytes of a file in a format, and what is to be said of it; `path` is the network's own file.
    pub(crate) fn into_bytes(self, path: &Path, format: Format) -> Result<(Vec<u8>, Vec<String>)> {
        match format {
            Format::Onnx => self.onnx(path),
            Format::StateDict => self.state_dict(),
        }
    }

    /// An ONNX file stays as it is but for its parent, and for numbers in other files, which come into it; another network
    /// becomes one.
    fn onnx(&self, path: &Path) -> Result<(Vec<u8>, Vec<String>)> {
        let (key, value) = (PARENT.to_owned(), self.sha256.clone());
        let model = match &self.origin {
            Origin::Onnx(file) => &file.model,
            Origin::Perceptron(_) => {
                let mut metadata = vec![(key, value)];
                metadata.extend(self.carried_metadata());
                let options = ExportOptions { metadata, ..ExportOptions::default() };
                return Ok((export(&self.graph, &self.params, &options)?, Vec::new()));
            }
        };
        let mut edits = with_all_numbers(model, path)?;
        let n = edits.len();
        edits.push(Edit::SetMetadata { key, value });
        let moved = (n > 0)
            .then(|| format!("the numbers of {n} tensors in other files are in this one now"));
        Ok((model.patch(&edits)?, moved.into_iter().collect()))
    }

    fn state_dict(self) -> Result<(Vec<u8>, Vec<String>)> {
        let (parent, carried) = (self.sha256.clone(), self.carried_metadata());
        let folded = folds(&self.graph).then(|| {
            "scales and shifts of columns, such as a scaler before the first layer, are folded into the layers".to_owned()
        });
        let trained = self.into_perceptron()?;
        let bytes = state_dict::state_dict(&trained, DType::F32, Some(&parent), carried)?;
        Ok((bytes, folded.into_iter().collect()))
    }
}

/// The edits that bring the numbers of other files into an ONNX file; `path` is where those lie beside.
pub(crate) fn with_all_numbers(model: &Model, path: &Path) -> Result<Vec<Edit>> {
    let mut edits = Vec::new();
    let mut beside = Beside::new(path);
    let mut external = |location: &str, offset: u64, n: usize| -> Result<_, ExternalError> {
        Ok(beside.read(location, offset, n)?)
    };
    for tensor in model.initializers().iter().filter(|tensor| tensor.external.is_some()) {
        let values = match tensor.data_type.is_float() {
            true => Values::F32(model.f32_values(tensor, &mut external)?),
            false => Values::I64(model.i64_values(tensor, &mut external)?),
        };
        let (name, dims) = (tensor.name.clone(), tensor.dims.clone());
        edits.push(Edit::SetTensor { name, dims, values });
    }
    Ok(edits)
}

/// Whether a graph scales or shifts columns apart from its layers.
fn folds(graph: &Graph) -> bool {
    let is_given = |id: &ValueId| {
        matches!(graph.value(*id).source, Source::Parameter(_) | Source::Constant(_))
    };
    graph.nodes().iter().any(|node| match &node.op {
        Op::Scaler { .. } | Op::BatchNormalization { .. } => true,
        Op::Binary(Binary::Mul | Binary::Sub | Binary::Div) => node.operands.iter().any(is_given),
        _ => false,
    })
}
