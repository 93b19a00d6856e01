//! A training's state between two epochs as bytes, from which it goes on to the same bits.
//!
//! The line `distill checkpoint 1`, the SHA-256 of what follows, the length of a header (u64, little-endian), the header in
//! JSON, and the parts whose lengths it holds.

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::fingerprint::Fingerprint;

/// First bytes of every version.
const MAGIC: &[u8] = b"distill checkpoint ";
/// The version that is written, and the only one that is read.
const VERSION: &[u8] = b"1\n";
/// Bytes of a SHA-256.
const SUM: usize = 32;
const ANEW: &str = "remove it to begin anew";

/// Where a training keeps its last checkpoint.
pub trait Checkpoints {
    /// The last one, where there is one.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn load(&mut self) -> Result<Option<Vec<u8>>>;

    /// Keeps this one instead.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn store(&mut self, bytes: &[u8]) -> Result<()>;

    /// Where that is, for messages; `None` where a reader could not go there.
    fn place(&self) -> Option<String> {
        None
    }
}

/// Nothing is kept.
pub struct NoCheckpoints;

impl Checkpoints for NoCheckpoints {
    fn load(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn store(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct Header<T> {
    /// What kind of training it is of.
    kind: String,
    fingerprint: Fingerprint,
    lengths: Vec<usize>,
    state: T,
}

/// A state and its parts as bytes.
pub(super) fn packed<T: Serialize>(
    kind: &str,
    fingerprint: &Fingerprint,
    state: &T,
    parts: &[Vec<u8>],
) -> Result<Vec<u8>> {
    let lengths = parts.iter().map(Vec::len).collect();
    let (kind, fingerprint) = (kind.to_owned(), fingerprint.clone());
    let header = serde_json::to_vec(&Header { kind, fingerprint, lengths, state })?;
    let mut content = (header.len() as u64).to_le_bytes().to_vec();
    content.extend(header);
    parts.iter().for_each(|part| content.extend(part));
    Ok([MAGIC, VERSION, &Sha256::digest(&content)[..], &content].concat())
}

/// The state and the parts of the last checkpoint, where there is one.
///
/// # Errors
/// Those of [`unpacked`], which say where the checkpoint is.
pub(super) fn resumed<T: DeserializeOwned>(
    kind: &str,
    fingerprint: &Fingerprint,
    checkpoints: &mut dyn Checkpoints,
) -> Result<Option<(T, Vec<Vec<u8>>)>> {
    let Some(bytes) = checkpoints.load()? else { return Ok(None) };
    let found = unpacked(kind, fingerprint, &bytes);
    match checkpoints.place() {
        None => found.map(Some),
        Some(place) => found.map(Some).with_context(|| place),
    }
}

/// Reads what [`packed`] wrote for a training of this kind and fingerprint.
///
/// # Errors
/// For other bytes, another version, damage, and a checkpoint of another training; the message says what differs.
fn unpacked<T: DeserializeOwned>(
    kind: &str,
    fingerprint: &Fingerprint,
    bytes: &[u8],
) -> Result<(T, Vec<Vec<u8>>)> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        bail!("the checkpoint is no checkpoint of this program; {ANEW}");
    };
    let Some(rest) = rest.strip_prefix(VERSION) else {
        bail!("the checkpoint was written by another version of this program; use that, or {ANEW}");
    };
    let damaged = || format!("the checkpoint is damaged; {ANEW}");
    ensure!(rest.len() > SUM, damaged());
    let (sum, content) = rest.split_at(SUM);
    ensure!(Sha256::digest(content)[..] == *sum, damaged());
    let (length, content) = content.split_first_chunk::<8>().with_context(damaged)?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    let (header, mut rest) = content.split_at_checked(length).with_context(damaged)?;
    // What a training is of is read before its state, whose form depends on it.
    let of: Header<serde_json::Value> = serde_json::from_slice(header).with_context(damaged)?;
    ensure!(
        of.kind == kind,
        "the checkpoint is one of {}, wanted one of {kind}; give it another place, or {ANEW}",
        of.kind
    );
    let changed: Vec<&str> = fingerprint
        .iter()
        .filter(|(what, sum)| of.fingerprint.get(*what) != Some(sum))
        .map(|(what, _)| what.as_str())
        .collect();
    ensure!(
        changed.is_empty(),
        "the checkpoint belongs to another training: {} changed since; use the same again, or {ANEW}",
        changed.join(", ")
    );
    let state = serde_json::from_value(of.state).with_context(damaged)?;
    let mut parts = Vec::with_capacity(of.lengths.len());
    for length in of.lengths {
        let (part, others) = rest.split_at_checked(length).with_context(damaged)?;
        parts.push(part.to_vec());
        rest = others;
    }
    ensure!(rest.is_empty(), damaged());
    Ok((state, parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(data: &str) -> Fingerprint {
        [("the data", data), ("the seed", "0")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    }

    #[test]
    fn states_come_back_and_any_changed_byte_is_refused() {
        let state = vec![0.1, 1.0 / 3.0, f64::MIN_POSITIVE];
        let parts = [vec![1, 2, 3], vec![], vec![4]];
        let bytes = packed("a test", &of("a"), &state, &parts).unwrap();
        let read = |bytes: &[u8]| unpacked::<Vec<f64>>("a test", &of("a"), bytes);
        assert_eq!(read(&bytes).unwrap(), (state, parts.to_vec()));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(read(&changed).is_err(), "byte {at}");
            assert!(read(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(read(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn a_checkpoint_of_another_training_says_what_changed() {
        let bytes = packed("a test", &of("a"), &(), &[]).unwrap();
        let error = unpacked::<()>("a test", &of("b"), &bytes).unwrap_err().to_string();
        assert!(error.contains("another training: the data changed since"), "{error}");
        let error = unpacked::<()>("another", &of("a"), &bytes).unwrap_err().to_string();
        assert!(error.contains("one of a test, wanted one of another"), "{error}");
    }
}
