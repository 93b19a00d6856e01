//! A student as an ONNX file.

use std::path::Path;

use anyhow::{Context, Result};
use core_tensors::Params;
use models::graph::Graph;
use models::graph::change::Standardization;
use models::onnx::{Edit, ExportOptions, ExternalError, Model, export, rewrite, standardize_input};

use crate::model_file::network::{Beside, Network, Origin, PARENT, with_all_numbers};

/// An ONNX file whose metadata say this, too.
pub(crate) fn with_metadata(bytes: Vec<u8>, metadata: &[(String, String)]) -> Result<Vec<u8>> {
    if metadata.is_empty() {
        return Ok(bytes);
    }
    let set = |(key, value): &(String, String)| Edit::SetMetadata {
        key: key.clone(),
        value: value.clone(),
    };
    Ok(Model::parse(bytes)?.patch(&metadata.iter().map(set).collect::<Vec<_>>())?)
}

impl Network {
    /// The bytes of an ONNX file of a student: `graph` is this network's, changed under the names that it had.
    ///
    /// Of an ONNX file all else stays, its inputs, outputs and operator set and what stands behind the logits; another network
    /// becomes a new file. Numbers in files beside it, at `path`, come into it. The metadata say the SHA-256 of the original.
    /// With a standardization the file takes raw examples.
    ///
    /// # Errors
    /// Where a change has no place in the file.
    pub(crate) fn student_onnx(
        &self,
        path: &Path,
        graph: &Graph,
        params: &Params,
        standardization: Option<&Standardization>,
    ) -> Result<Vec<u8>> {
        let context = "the student as an ONNX file";
        let mut bytes = match &self.origin {
            Origin::Onnx(file) => {
                // Each part was checked when the network was read; now it may be read several times.
                let mut external = |location: &str, offset: u64, n: usize| {
                    let read = Beside::new(path).read(location, offset, n);
                    read.map_err(ExternalError::from)
                };
                let (model, imported) = (&file.model, &file.imported);
                rewrite(model, imported, graph, params, &mut external).context(context)?
            }
            Origin::Perceptron(_) => {
                export(graph, params, &ExportOptions::default()).context(context)?
            }
        };
        if let Some(standardization) = standardization {
            bytes = standardize_input(&Model::parse(bytes)?, standardization).context(context)?;
        }
        let model = Model::parse(bytes)?;
        let mut edits = with_all_numbers(&model, path)?;
        edits.push(Edit::SetMetadata { key: PARENT.to_owned(), value: self.sha256.clone() });
        let carried = self.carried_metadata().into_iter();
        edits.extend(carried.map(|(key, value)| Edit::SetMetadata { key, value }));
        Ok(model.patch(&edits)?)
    }
}
