//! A zip archive in memory: its entries by name, as slices where they are stored, unpacked where they are deflated.

use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::ops::Range;

use ::zip::{CompressionMethod, ZipArchive};
use anyhow::{Context, Result, anyhow, bail};
use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::{Budget, Storage};

/// An archive, whose every entry is read once.
pub(crate) struct Archive<'a> {
    bytes: &'a [u8],
    entries: Vec<(String, Entry)>,
    places: HashMap<String, usize>,
    read: HashMap<usize, Storage<'a>>,
    budget: Budget,
}

/// Where the bytes of an entry lie.
struct Entry {
    range: Range<usize>,
    size: usize,
    is_deflated: bool,
    crc: u32,
}

/// Bytes of an entry's header before its name.
const LOCAL_NAME: usize = 30;

impl<'a> Archive<'a> {
    /// Of the bytes of a file; nothing is unpacked yet.
    pub(crate) fn open(bytes: &'a [u8], budget: Budget) -> Result<Self> {
        let broken = "not a whole zip archive, as torch.save and numpy.savez write it";
        let mut zip = ZipArchive::new(Cursor::new(bytes)).context(broken)?;
        // Of two entries with one name the last would stand for both.
        if n_entries(bytes).is_some_and(|n| n != zip.len()) {
            bail!("{broken}: it has entries of the same name, or fewer than it says");
        }
        let mut entries = Vec::new();
        for i in 0..zip.len() {
            let file = zip.by_index_raw(i).context(broken)?;
            let name = file.name()?.into_owned();
            let is_deflated = match file.compression() {
                CompressionMethod::Stored => false,
                CompressionMethod::DEFLATE => true,
                other => bail!("`{name}` is compressed by {other}, wanted stored or deflated"),
            };
            if file.encrypted() {
                bail!("`{name}` is encrypted");
            }
            // The name stands twice: a change of one is a change of what the bytes are taken for.
            let header = usize::try_from(file.header_start())?.saturating_add(LOCAL_NAME);
            let local = bytes.get(header..).and_then(|rest| rest.get(..file.name_raw().len()));
            if local != Some(file.name_raw()) {
                bail!("{broken}: `{name}` has another name where it begins");
            }
            let start = usize::try_from(file.data_start().unwrap_or(u64::MAX))?;
            let length = usize::try_from(file.compressed_size())?;
            let end = start.checked_add(length).filter(|&end| end <= bytes.len());
            let end = end.ok_or_else(|| anyhow!("`{name}` ends behind the end of the file"))?;
            let (size, crc) = (usize::try_from(file.size())?, file.crc32());
            if !is_deflated && size != length {
                bail!("`{name}` is stored, but has two sizes, {size} and {length} bytes");
            }
            entries.push((name, Entry { range: start..end, size, is_deflated, crc }));
        }
        let places = entries.iter().enumerate().map(|(i, (name, _))| (name.clone(), i)).collect();
        Ok(Self { bytes, entries, places, read: HashMap::new(), budget })
    }

    /// In the order of the archive.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }

    /// Whether there is an entry of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// The bytes of an entry, their check sum compared.
    pub(crate) fn get(&mut self, name: &str) -> Result<Storage<'a>> {
        let i = *self.places.get(name).ok_or_else(|| anyhow!("the archive has no `{name}`"))?;
        if let Some(storage) = self.read.get(&i) {
            return Ok(storage.clone());
        }
        let entry = &self.entries[i].1;
        self.budget.spend(entry.size)?;
        let packed = &self.bytes[entry.range.clone()];
        let storage = match entry.is_deflated {
            false => Storage::of_file(packed),
            true => {
                let mut unpacked = Vec::new();
                unpacked.try_reserve_exact(entry.size)?;
                let most = entry.size as u64 + 1;
                DeflateDecoder::new(packed)
                    .take(most)
                    .read_to_end(&mut unpacked)
                    .with_context(|| format!("unpacking `{name}`"))?;
                if unpacked.len() != entry.size {
                    bail!(
                        "`{name}` does not unpack to the {} bytes it is said to hold",
                        entry.size
                    );
                }
                Storage::unpacked(unpacked)
            }
        };
        let mut crc = Crc::new();
        crc.update(storage.as_slice());
        if crc.sum() != entry.crc {
            bail!("`{name}` is damaged: its check sum is another than the archive says");
        }
        self.read.insert(i, storage.clone());
        Ok(storage)
    }
}

/// How many entries the end of an archive says that there are; `None` where they are too many for its short form.
fn n_entries(bytes: &[u8]) -> Option<usize> {
    let end = &bytes[bytes.len().saturating_sub(MOST_END)..];
    let at = end.windows(4).rposition(|signature| signature == b"PK\x05\x06")?;
    let n = end.get(at + 10..)?.first_chunk::<2>()?;
    Some(usize::from(u16::from_le_bytes(*n))).filter(|&n| n != usize::from(u16::MAX))
}

/// Bytes of the end of an archive with the longest comment.
const MOST_END: usize = 22 + 0xffff;
