//! Archives in memory: entries of a zip file, and arrays as NumPy writes them; no size in them is believed.

pub(super) mod gzip;
pub(super) mod npy;
pub(super) mod npz;
pub(super) mod zip;

use std::ops::Range;
use std::rc::Rc;

use anyhow::{Result, bail};

/// Bytes that may still be unpacked, checked or pointed to.
pub(crate) struct Budget {
    left: usize,
    /// What is said where they do not suffice.
    told: String,
}

impl Budget {
    /// `times` the bytes of a file and `floor` more; `told` is the error beyond.
    pub(crate) fn new(n_bytes: usize, times: usize, floor: usize, told: String) -> Self {
        Self { left: n_bytes.saturating_mul(times).saturating_add(floor), told }
    }

    /// Takes `n` bytes of it.
    pub(crate) fn spend(&mut self, n: usize) -> Result<()> {
        let Some(left) = self.left.checked_sub(n) else { bail!("{}", self.told) };
        self.left = left;
        Ok(())
    }
}

/// Bytes of the file, or of what was unpacked from it.
#[derive(Clone, Debug)]
pub(crate) struct Storage<'a> {
    bytes: Bytes<'a>,
    range: Range<usize>,
}

#[derive(Clone, Debug)]
enum Bytes<'a> {
    File(&'a [u8]),
    Unpacked(Rc<Vec<u8>>),
}

impl<'a> Storage<'a> {
    /// A part of the file, as it stands there.
    pub(crate) fn of_file(bytes: &'a [u8]) -> Self {
        Self { bytes: Bytes::File(bytes), range: 0..bytes.len() }
    }

    /// What was unpacked.
    pub(crate) fn unpacked(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self { bytes: Bytes::Unpacked(Rc::new(bytes)), range }
    }

    /// All but the first bytes.
    pub(crate) fn after(&self, n: usize) -> Self {
        let start = self.range.end.min(self.range.start.saturating_add(n));
        Self { bytes: self.bytes.clone(), range: start..self.range.end }
    }

    /// The bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        let bytes = match &self.bytes {
            Bytes::File(bytes) => bytes,
            Bytes::Unpacked(bytes) => &bytes[..],
        };
        bytes.get(self.range.clone()).unwrap_or_default()
    }
}
