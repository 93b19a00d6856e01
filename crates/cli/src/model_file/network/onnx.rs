//! Networks of ONNX files, and the files beside them that hold their numbers.

use std::path::Path;

use anyhow::Result;
use models::onnx::{ExternalError, ImportOptions, Model, import};

use super::{Network, Origin};
use crate::files::read_part;
use crate::model_file::Expected;

/// The network of an ONNX file, and what was found or assumed.
pub(super) fn open(
    path: &Path,
    bytes: Vec<u8>,
    expected: &Expected,
    sha256: String,
) -> Result<(Network, Vec<String>)> {
    let model = Model::parse(bytes)?;
    let options = ImportOptions {
        output: expected.output.map(str::to_owned),
        dimensions: expected.dimensions.iter().cloned().collect(),
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut external = |location: &str, offset: u64, n: usize| -> Result<Vec<u8>, ExternalError> {
        Ok(read_part(folder, location, offset, n)?)
    };
    let imported = import(&model, &mut external, &options)?;
    let mut notes = vec![format!("logits: {} (--output overrules)", imported.logits)];
    notes.extend(imported.notes.iter().cloned());
    let (graph, params) = (imported.graph.clone(), imported.params.clone());
    let origin = Origin::Onnx { model: Box::new(model), imported: Box::new(imported) };
    Ok((Network { graph, params, origin, sha256 }, notes))
}
