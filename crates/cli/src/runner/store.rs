//! Finished parts on disk, under a key of everything they depend on; what was changed since is not taken.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Finished;
use crate::experiment::{Experiment, Outcome, Part};
use crate::files::{SUM_LENGTH, read, sha256, tensor_bytes, write_whole};
use crate::session::Session;

/// Characters of a key in a file name.
const KEY_LENGTH: usize = 16;
/// What stands before, between and after the sum of a record and the record: with them every byte is fixed.
const SEAL: [&str; 3] = ["{\"sha256\":\"", "\",\"run\":", "}\n"];

/// The folder of finished parts.
pub struct Store {
    folder: PathBuf,
    program: String,
    is_fresh: bool,
}

/// A finished part in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    experiment: String,
    part: String,
    key: String,
    seconds: f64,
    outcome: Outcome,
    /// SHA-256 of the file beside this one; none where the part has no tensors.
    tensors: Option<String>,
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
                let shape = session.images(id).ok().map(|images| images.shape);
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

    /// What was kept under this key, `None` where nothing was; an error where it is not what was kept.
    ///
    /// The key holds the program's sum, so that what another version kept is never looked at.
    pub fn load(
        &self,
        experiment: &Experiment,
        part: Part,
        key: &str,
        device: &Device,
    ) -> Result<Option<Finished>> {
        let path = self.path(experiment, part, key);
        let is_absent = std::fs::symlink_metadata(&path)
            .is_err_and(|error| error.kind() == ErrorKind::NotFound);
        if self.is_fresh || is_absent {
            return Ok(None);
        }
        let bytes = read(&path)?;
        let take = || -> Result<Record> {
            let record: Record = serde_json::from_slice(unseal(&bytes)?)?;
            let names = [&*record.experiment, &record.part, &record.key];
            if names != [experiment.id, &part.name(), key] {
                let wanted = format!("{} {}, key {key}", experiment.id, part.name());
                bail!("wanted {wanted}, found {} {}, key {}", names[0], names[1], names[2]);
            }
            Ok(record)
        };
        let record = take().with_context(|| path.display().to_string())?;
        let Record { seconds, mut outcome, tensors, .. } = record;
        if let Some(wanted) = tensors {
            let path = path.with_extension("safetensors");
            let load = |bytes: &[u8]| -> Result<_> {
                check_sum(&wanted, bytes)?;
                Ok(candle_core::safetensors::load_buffer(bytes, device)?)
            };
            let loaded = load(&read(&path)?).with_context(|| path.display().to_string())?;
            outcome.tensors = loaded.into_iter().collect();
        }
        Ok(Some(Finished { outcome, seconds }))
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
        let tensors = match finished.outcome.tensors.is_empty() {
            true => None,
            false => Some(save_tensors(&path.with_extension("safetensors"), finished)?),
        };
        let record = Record {
            experiment: experiment.id.to_owned(),
            part: part.name(),
            key: key.to_owned(),
            seconds: finished.seconds,
            outcome: finished.outcome.clone(),
            tensors,
        };
        write_whole(&path, seal(&serde_json::to_string(&record)?).as_bytes())
    }

    fn path(&self, experiment: &Experiment, part: Part, key: &str) -> PathBuf {
        let name = format!("{}-{}.json", part.name(), &key[..KEY_LENGTH.min(key.len())]);
        self.folder.join(experiment.id).join(name)
    }
}

/// Writes the tensors of a part; their SHA-256.
fn save_tensors(path: &Path, finished: &Finished) -> Result<String> {
    let named: Vec<(&str, Tensor)> =
        finished.outcome.tensors.iter().map(|(name, t)| (name.as_str(), t.clone())).collect();
    let bytes = tensor_bytes(&named)?;
    write_whole(path, &bytes)?;
    Ok(sha256(&bytes))
}

/// A record and its SHA-256 as one value of JSON.
fn seal(record: &str) -> String {
    let [before, between, after] = SEAL;
    format!("{before}{}{between}{record}{after}", sha256(record.as_bytes()))
}

/// The record of a file, where each byte of the file is as it was written.
fn unseal(bytes: &[u8]) -> Result<&[u8]> {
    let [before, between, after] = SEAL.map(str::as_bytes);
    let parts = || {
        let (sum, rest) = bytes.strip_prefix(before)?.split_at_checked(SUM_LENGTH)?;
        let record = rest.strip_prefix(between)?.strip_suffix(after)?;
        Some((std::str::from_utf8(sum).ok()?, record))
    };
    let (wanted, record) =
        parts().context("wanted a kept run with its SHA-256, found something else")?;
    check_sum(wanted, record)?;
    Ok(record)
}

fn check_sum(wanted: &str, bytes: &[u8]) -> Result<()> {
    let found = sha256(bytes);
    if found != wanted {
        bail!("the file was changed since it was kept: wanted SHA-256 {wanted}, found {found}");
    }
    Ok(())
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

#[cfg(test)]
mod tests;
