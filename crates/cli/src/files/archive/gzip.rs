//! A gzip stream in memory.

use std::io::Read;

use anyhow::{Context, Result, bail};
use flate2::read::MultiGzDecoder;

/// First bytes of a gzip stream.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Whether bytes begin as a gzip stream does.
pub(crate) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// What a gzip stream holds, where that is at most `most` bytes; its check sums are compared.
pub(crate) fn gunzip(bytes: &[u8], most: usize) -> Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    MultiGzDecoder::new(bytes)
        .take(most as u64 + 1)
        .read_to_end(&mut unpacked)
        .context("expected a whole gzip stream")?;
    if unpacked.len() > most {
        bail!("the gzip stream unpacks to more than {most} bytes: unpack the file first");
    }
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_stream_is_unpacked_whole_or_not_at_all() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&[7; 100_000]).unwrap();
        let packed = encoder.finish().unwrap();
        assert!(is_gzip(&packed) && !is_gzip(b"\x1f"));
        assert_eq!(gunzip(&packed, 100_000).unwrap(), [7; 100_000]);
        let told = |bytes: &[u8], most| format!("{:#}", gunzip(bytes, most).unwrap_err());
        assert!(told(&packed, 99_999).contains("more than 99999 bytes"));
        assert!(told(&packed[..packed.len() - 1], 100_000).starts_with("expected a whole gzip"));
        let mut damaged = packed.clone();
        let last = damaged.len() - 6;
        damaged[last] ^= 1;
        assert!(gunzip(&damaged, 100_000).is_err());
    }
}
