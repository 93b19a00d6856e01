//! Networks as files of other programs.

use anyhow::Result;
use candle_core::DType;
use models::onnx::{Edit, ExportOptions, export};

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
const PARENT: &str = "distill.parent";

impl Network {
    /// The bytes of a file in a format, and what is to be said of it.
    pub(crate) fn into_bytes(self, format: Format) -> Result<(Vec<u8>, Vec<String>)> {
        match format {
            Format::Onnx => self.onnx().map(|bytes| (bytes, Vec::new())),
            Format::StateDict => self.state_dict(),
        }
    }

    /// An ONNX file stays as it is but for its parent; another network becomes one.
    fn onnx(&self) -> Result<Vec<u8>> {
        let (key, value) = (PARENT.to_owned(), self.sha256.clone());
        match &self.origin {
            Origin::Onnx(model) => Ok(model.patch(&[Edit::SetMetadata { key, value }])?),
            Origin::Perceptron(_) => {
                let options =
                    ExportOptions { metadata: vec![(key, value)], ..ExportOptions::default() };
                Ok(export(&self.graph, &self.params, &options)?)
            }
        }
    }

    fn state_dict(self) -> Result<(Vec<u8>, Vec<String>)> {
        let parent = self.sha256.clone();
        let folded = matches!(self.origin, Origin::Onnx(_)).then(|| {
            "scales and shifts of columns, such as a scaler before the first layer, are folded into the layers".to_owned()
        });
        let trained = self.into_perceptron()?;
        let bytes = state_dict::state_dict(&trained, DType::F32, Some(&parent))?;
        Ok((bytes, folded.into_iter().collect()))
    }
}
