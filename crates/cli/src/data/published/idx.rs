//! IDX files: the format of MNIST and Fashion-MNIST.

use std::io::Read;

use anyhow::{Context, Result, bail};

/// Unsigned bytes, the only type of numbers in these data sets.
const UNSIGNED_BYTE: u8 = 0x08;

/// The bytes of a gzipped IDX file, whose dimensions must be `wanted`.
pub(super) fn read_gzipped(bytes: &[u8], wanted: &[usize]) -> Result<Vec<u8>> {
    let mut raw = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_end(&mut raw)
        .context("wanted a whole gzip stream")?;
    let n_dims = wanted.len();
    let header = 4 + 4 * n_dims;
    let magic = [0, 0, UNSIGNED_BYTE, n_dims as u8];
    match raw.get(..4) {
        Some(found) if found == magic => {}
        found => bail!("wanted the IDX magic number {magic:?}, found {:?}", found.unwrap_or(&raw)),
    }
    let Some(sizes) = raw.get(4..header) else {
        bail!("wanted a header of {header} bytes, found {}", raw.len());
    };
    let found: Vec<usize> = sizes
        .chunks_exact(4)
        .map(|b| b.iter().fold(0, |size, &byte| size << 8 | usize::from(byte)))
        .collect();
    if found != wanted {
        bail!("wanted dimensions {wanted:?}, found {found:?}");
    }
    let n_numbers: usize = wanted.iter().product();
    if raw.len() - header != n_numbers {
        bail!("wanted {n_numbers} numbers, found {}", raw.len() - header);
    }
    raw.drain(..header);
    Ok(raw)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::Write;

    /// A gzipped IDX file.
    pub(crate) fn gzipped(dims: &[usize], numbers: &[u8]) -> Vec<u8> {
        let mut raw = vec![0, 0, UNSIGNED_BYTE, dims.len() as u8];
        dims.iter().for_each(|&d| raw.extend((d as u32).to_be_bytes()));
        raw.extend(numbers);
        gzip(&raw)
    }

    fn gzip(raw: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(raw).unwrap();
        encoder.finish().unwrap()
    }

    fn message(bytes: &[u8], wanted: &[usize]) -> String {
        format!("{:#}", read_gzipped(bytes, wanted).unwrap_err())
    }

    #[test]
    fn reads_what_was_written() {
        let numbers = [1, 2, 3, 4, 5, 6];
        assert_eq!(read_gzipped(&gzipped(&[3, 2], &numbers), &[3, 2]).unwrap(), numbers);
    }

    #[test]
    fn every_defect_is_named() {
        let whole = gzipped(&[3, 2], &[1, 2, 3, 4, 5, 6]);
        assert!(message(&whole[..whole.len() - 9], &[3, 2]).starts_with("wanted a whole gzip"));
        assert_eq!(message(&whole, &[2, 3]), "wanted dimensions [2, 3], found [3, 2]");
        assert_eq!(
            message(&whole, &[6]),
            "wanted the IDX magic number [0, 0, 8, 1], found [0, 0, 8, 2]"
        );
        assert_eq!(message(&gzipped(&[3], &[1, 2]), &[3]), "wanted 3 numbers, found 2");
        assert_eq!(message(&gzip(&[0, 0, 8, 1, 0]), &[3]), "wanted a header of 8 bytes, found 5");
        assert_eq!(
            message(&gzip(&[7]), &[3]),
            "wanted the IDX magic number [0, 0, 8, 1], found [7]"
        );
    }
}
