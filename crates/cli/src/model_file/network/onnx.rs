//! Networks of ONNX files, and the files beside them that hold their numbers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use models::onnx::{ExternalError, ImportOptions, Imported, Model, import};

use super::{Network, OnnxFile, Origin};
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
    let (graph, params) = (imported.graph.clone(), imported.params.clone());
    let metadata = model.metadata().iter().cloned().collect();
    let origin = Origin::Onnx(Box::new(OnnxFile { model, imported }));
    Ok((Network { graph, params, origin, sha256, metadata }, notes))
}

/// The network of an ONNX file at this path, with numbers that lie in other files of its folder.
pub(crate) fn import_beside(path: &Path, model: &Model, expected: &Expected) -> Result<Imported> {
    expected.refuse_words_of_a_state_dict()?;
    let options = ImportOptions {
        output: expected.output.map(str::to_owned),
        dimensions: expected.dimensions.iter().cloned().collect(),
    };
    let mut beside = Beside::new(path);
    let mut external = |location: &str, offset: u64, n: usize| -> Result<Vec<u8>, ExternalError> {
        Ok(beside.read(location, offset, n)?)
    };
    Ok(import(model, &mut external, &options)?)
}

/// Files beside an ONNX file: each of their bytes belongs to one tensor.
pub(crate) struct Beside {
    folder: PathBuf,
    /// How often each part was read.
    parts: HashMap<(String, u64, usize), u32>,
    /// Bytes of the different parts of each file.
    n_bytes: HashMap<String, u64>,
}

impl Beside {
    /// The files in the folder of an ONNX file.
    pub(crate) fn new(path: &Path) -> Self {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Self { folder, parts: HashMap::new(), n_bytes: HashMap::new() }
    }

    /// Bytes of one of them. A file of a few tensors may name the same bytes for thousands, which would fill the memory.
    pub(crate) fn read(&mut self, location: &str, offset: u64, n: usize) -> Result<Vec<u8>> {
        /// A graph may be read three times: with any batch, with that of the file, and with shapes that follow any.
        const MOST_READS: u32 = 3;
        let times = self.parts.entry((location.to_owned(), offset, n)).or_default();
        *times += 1;
        let is_first = *times == 1;
        if *times > MOST_READS {
            bail!(
                "several tensors have the same bytes of `{location}`; expected each byte in one tensor"
            );
        }
        let (bytes, size) = read_part(&self.folder, location, offset, n)?;
        let in_all = self.n_bytes.entry(location.to_owned()).or_default();
        *in_all += if is_first { n as u64 } else { 0 };
        if *in_all > size {
            bail!("tensors overlap in `{location}`: they have {in_all} bytes of its {size}");
        }
        Ok(bytes)
    }
}
