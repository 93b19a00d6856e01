//! Finished parts on disk, under a key of everything they depend on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use candle_core::Device;
use serde::{Deserialize, Serialize};

use super::Finished;
use crate::datasets::sha256;
use crate::experiment::{Experiment, Outcome, Part};
use crate::files::{read, write_whole};
use crate::session::Session;

/// Characters of a key in a file name.
const KEY_LENGTH: usize = 16;

/// The folder of finished parts.
pub struct Store {
    folder: PathBuf,
    program: String,
    is_fresh: bool,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    key: String,
    seconds: f64,
    outcome: Outcome,
    /// Names of the tensors in the file beside this one.
    tensors: Vec<String>,
}

impl Store {
    /// A store in `folder`; `program` is the check sum of the running program. A fresh one finds nothing.
    pub fn new(folder: PathBuf, program: String, is_fresh: bool) -> Self {
        Self { folder, program, is_fresh }
    }

    /// SHA-256 of all that a part depends on: program, settings, data, device.
    pub fn key(&self, experiment: &Experiment, part: Part, session: &Session) -> Result<String> {
        let data: BTreeMap<_, _> = experiment
            .data
            .iter()
            .map(|&id| {
                let shape = session.pictures(id).ok().map(|pictures| pictures.shape);
                // What is optional and not at hand counts too, as nothing.
                (id, (session.origin(id).ok().map(|(_, sums)| sums), shape))
            })
            .collect();
        let inputs = serde_json::json!({
            "program": self.program,
            "experiment": experiment.id,
            "part": part.name(),
            "settings": (experiment.settings)(session.scale)?,
            "data": data,
            "device": format!("{:?}", session.device.location()),
        });
        Ok(sha256(inputs.to_string().as_bytes()))
    }

    /// What was kept under this key; a damaged or foreign file counts as nothing.
    pub fn load(
        &self,
        experiment: &Experiment,
        part: Part,
        key: &str,
        device: &Device,
    ) -> Result<Option<Finished>> {
        let path = self.path(experiment, part, key);
        if self.is_fresh || !path.is_file() {
            return Ok(None);
        }
        let text = read(&path)?;
        let Ok(Kept { key: found, seconds, mut outcome, tensors: names }) =
            serde_json::from_slice(&text)
        else {
            return Ok(None);
        };
        let tensors = path.with_extension("safetensors");
        if tensors.is_file() {
            let Ok(loaded) = candle_core::safetensors::load(&tensors, device) else {
                return Ok(None);
            };
            outcome.tensors = loaded.into_iter().collect();
        }
        let is_whole = found == key && names.iter().all(|name| outcome.tensors.contains_key(name));
        Ok(is_whole.then_some(Finished { outcome, seconds }))
    }

    /// Keeps a finished part; its tensors go first, so that a part with a record is whole.
    pub fn save(
        &self,
        experiment: &Experiment,
        part: Part,
        key: &str,
        finished: &Finished,
    ) -> Result<()> {
        let path = self.path(experiment, part, key);
        if !finished.outcome.tensors.is_empty() {
            let bytes = safetensors::serialize(&finished.outcome.tensors, None)?;
            write_whole(&path.with_extension("safetensors"), &bytes)?;
        }
        let kept = Kept {
            key: key.to_owned(),
            seconds: finished.seconds,
            outcome: finished.outcome.clone(),
            tensors: finished.outcome.tensors.keys().cloned().collect(),
        };
        write_whole(&path, &serde_json::to_vec(&kept)?)
    }

    fn path(&self, experiment: &Experiment, part: Part, key: &str) -> PathBuf {
        let name = format!("{}-{}.json", part.name(), &key[..KEY_LENGTH.min(key.len())]);
        self.folder.join(experiment.id).join(name)
    }
}

/// Check sum of the running program: any change of code is a change of inputs.
pub fn program_sum() -> Result<String> {
    let path = std::env::current_exe().context("finding the running program")?;
    Ok(sha256(&read(&path)?))
}

/// The store below an output folder.
pub fn folder_in(out: &Path) -> PathBuf {
    out.join("runs")
}
