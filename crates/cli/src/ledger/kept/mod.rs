//! Finished parts of experiments on disk, under a key of everything they depend on; what was changed since is not taken.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::experiment::Part;
use super::row::Numbers;
use crate::files::{SUM_LENGTH, read, sha256, write_whole};

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

/// A finished part as it is kept.
pub struct Kept {
    /// Its numbers.
    pub numbers: Numbers,
    /// Seconds it took when it ran.
    pub seconds: f64,
    /// A safetensors file for the parts that follow, where there is one.
    pub tensors: Option<Attachment>,
}

/// The file beside a record.
pub struct Attachment {
    /// Where it lies.
    pub path: PathBuf,
    /// What is in it, its sum checked.
    pub bytes: Vec<u8>,
}

/// A finished part in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    experiment: String,
    part: String,
    key: String,
    seconds: f64,
    outcome: Numbers,
    /// SHA-256 of the file beside this one; none where the part has no tensors.
    tensors: Option<String>,
}

impl Store {
    /// A store in `folder`; `program` is the check sum of the running program. A fresh one finds nothing.
    pub fn new(folder: PathBuf, program: String, is_fresh: bool) -> Self {
        Self { folder, program, is_fresh }
    }

    /// SHA-256 of all that a part depends on: this program, and `inputs`: settings, data, device.
    pub fn key(&self, experiment: &str, part: Part, inputs: &Value) -> String {
        let all = serde_json::json!({
            "program": self.program,
            "experiment": experiment,
            "part": part.name(),
            "inputs": inputs,
        });
        sha256(all.to_string().as_bytes())
    }

    /// What was kept under this key, `None` where nothing was; an error where it is not what was kept.
    ///
    /// The key holds the program's sum, so that what another version kept is never looked at.
    pub fn load(&self, experiment: &str, part: Part, key: &str) -> Result<Option<Kept>> {
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
            if names != [experiment, &part.name(), key] {
                let wanted = format!("{} {}, key {key}", experiment, part.name());
                bail!("wanted {wanted}, found {} {}, key {}", names[0], names[1], names[2]);
            }
            Ok(record)
        };
        let record = take().with_context(|| path.display().to_string())?;
        let Record { seconds, outcome: numbers, tensors, .. } = record;
        let attachment = |wanted: String| -> Result<Attachment> {
            let path = path.with_extension("safetensors");
            let bytes = read(&path)?;
            check_sum(&wanted, &bytes).with_context(|| path.display().to_string())?;
            Ok(Attachment { path, bytes })
        };
        let tensors = tensors.map(attachment).transpose()?;
        Ok(Some(Kept { numbers, seconds, tensors }))
    }

    /// Keeps a finished part; its tensors go first, so that a part with a record is whole.
    pub fn save(
        &self,
        experiment: &str,
        part: Part,
        key: &str,
        (numbers, seconds): (&Numbers, f64),
        tensors: Option<&[u8]>,
    ) -> Result<()> {
        let path = self.path(experiment, part, key);
        if let Some(bytes) = tensors {
            write_whole(&path.with_extension("safetensors"), bytes)?;
        }
        let record = Record {
            experiment: experiment.to_owned(),
            part: part.name(),
            key: key.to_owned(),
            seconds,
            outcome: numbers.clone(),
            tensors: tensors.map(sha256),
        };
        write_whole(&path, seal(&serde_json::to_string(&record)?).as_bytes())
    }

    fn path(&self, experiment: &str, part: Part, key: &str) -> PathBuf {
        let name = format!("{}-{}.json", part.name(), &key[..KEY_LENGTH.min(key.len())]);
        self.folder.join(experiment).join(name)
    }
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
