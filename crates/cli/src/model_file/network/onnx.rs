//! Networks of ONNX files, and the files beside them that hold their numbers.

use std::path::Path;

use anyhow::Result;
use models::onnx::{ExternalError, ImportOptions, Imported, Model, import};

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
    let imported = import_beside(path, &model, expected)?;
    let mut notes = vec![format!("logits: {} (--output overrules)", imported.logits)];
    notes.extend(imported.notes.iter().cloned());
    let Imported { graph, params, .. } = imported;
    Ok((Network { graph, params, origin: Origin::Onnx(Box::new(model)), sha256 }, notes))
}

/// The network of an ONNX file at this path, with numbers that lie in other files of its folder.
pub(crate) fn import_beside(path: &Path, model: &Model, expected: &Expected) -> Result<Imported> {
    expected.refuse_words_of_a_state_dict()?;
    let options = ImportOptions {
        output: expected.output.map(str::to_owned),
        dimensions: expected.dimensions.iter().cloned().collect(),
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut external = |location: &str, offset: u64, n: usize| -> Result<Vec<u8>, ExternalError> {
        Ok(read_part(folder, location, offset, n)?)
    };
    Ok(import(model, &mut external, &options)?)
}
