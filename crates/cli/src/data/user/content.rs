//! What a file holds, by its bytes and not by its name.

use std::borrow::Cow;

use anyhow::{Result, bail};

use super::idx::is_idx;
use super::numpy::{FLOOR, MOST_EXPANSION};
use crate::files::{gunzip, is_gzip};

/// Longest header of a safetensors file, as its library has it.
const LONGEST_HEADER: u64 = 100_000_000;

/// What can be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// A safetensors file, whole or not.
    Tensors,
    /// A zip file, as an .npz file is.
    Archive,
    /// One array of NumPy.
    Array,
    /// An IDX file.
    Idx,
    /// Text, without the mark of its encoding.
    Text(&'a str),
}

/// How files begin that people take for data, and what to do with them.
const OTHERS: [(&[u8], &str); 17] = [
    (b"\x1f\x8b", "a gzip file in a gzip file: unpack it first"),
    (b"BZh", "a bzip2 file: unpack it first"),
    (b"\xfd7zXZ", "an xz file: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file: unpack it first"),
    (b"\x80\x02", "a pickle of Python: save the numbers as CSV or safetensors"),
    (b"\x80\x03", "a pickle of Python: save the numbers as CSV or safetensors"),
    (b"\x80\x04", "a pickle of Python: save the numbers as CSV or safetensors"),
    (b"\x80\x05", "a pickle of Python: save the numbers as CSV or safetensors"),
    (
        b"PAR1",
        "a Parquet file: pandas.read_parquet(path).to_csv(path, index=False) writes it as CSV",
    ),
    (
        b"ARROW1",
        "an Arrow file: pandas.read_feather(path).to_csv(path, index=False) writes it as CSV",
    ),
    (b"\x89HDF", "an HDF5 file: save the numbers as CSV or safetensors"),
    (b"\x89PNG", "a PNG image: give the folder of images, to a command that takes images"),
    (b"\xff\xd8\xff", "a JPEG image: give the folder of images, to a command that takes images"),
    (b"GIF8", "a GIF image: save the numbers as CSV or safetensors"),
    (b"%PDF", "a PDF document: save the numbers as CSV or safetensors"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word document: save the numbers as CSV"),
    (b"version https://git-lfs", "a pointer of Git LFS and not the file itself: run git lfs pull"),
];

/// What a gzip stream holds; other bytes as they are.
pub(super) fn unpacked(bytes: &[u8]) -> Result<Cow<'_, [u8]>> {
    if !is_gzip(bytes) {
        return Ok(Cow::Borrowed(bytes));
    }
    let most = bytes.len().saturating_mul(MOST_EXPANSION).saturating_add(FLOOR);
    Ok(Cow::Owned(gunzip(bytes, most)?))
}

/// Says what the bytes are; what cannot be read is an error that names what it seems to be.
pub(super) fn detect(bytes: &[u8]) -> Result<Content<'_>> {
    const WANTED: &str =
        "expected a safetensors file, NumPy arrays (.npz, .npy), an IDX file or a text table (CSV)";
    if bytes.is_empty() {
        bail!("{WANTED}, found an empty file");
    }
    if is_tensors(bytes) {
        return Ok(Content::Tensors);
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Ok(Content::Archive);
    }
    if bytes.starts_with(b"\x93NUMPY") {
        return Ok(Content::Array);
    }
    if is_idx(bytes) {
        return Ok(Content::Idx);
    }
    if let Some((_, found)) = OTHERS.iter().find(|(start, _)| bytes.starts_with(start)) {
        bail!("{WANTED}, found {found}");
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        bail!("{WANTED} in UTF-8, found UTF-16: save the file as UTF-8");
    }
    if let Some(at) = bytes.iter().position(|byte| *byte < b' ' && !b"\t\n\r\x0c".contains(byte)) {
        bail!("{WANTED}, found byte {:#04x} at place {at}, which is in none of them", bytes[at]);
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let at = error.valid_up_to();
            let line = 1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count();
            bail!(
                "line {line}: expected text in UTF-8, found byte {:#04x}: save the file as UTF-8",
                bytes[at]
            );
        }
    };
    if text.trim_start().starts_with(['{', '[', '<']) {
        let found = text.trim_start().chars().next().map_or("JSON", |c| match c {
            '<' => "XML or HTML",
            _ => "JSON",
        });
        bail!("{WANTED}, found what seems to be {found}: save the numbers as CSV");
    }
    Ok(Content::Text(text))
}

/// Eight bytes with the length of a header, which is JSON; text never begins like this.
fn is_tensors(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else { return false };
    u64::from_le_bytes(*length) <= LONGEST_HEADER && rest.first() == Some(&b'{')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_say_what_a_file_is() {
        for (bytes, wanted) in [
            (&b"\x02\0\0\0\0\0\0\0{}"[..], Content::Tensors),
            (b"\x09\0\0\0\0\0\0\0{\"x\"", Content::Tensors),
            (b"PK\x03\x04\0\0", Content::Archive),
            (b"\x93NUMPY\x01", Content::Array),
            (b"\0\0\x08\x01\0\0\0\x02ab", Content::Idx),
            (b"1,2\n", Content::Text("1,2\n")),
            (b"\xef\xbb\xbfa\tb\r\n", Content::Text("a\tb\r\n")),
            (b"12345678{", Content::Text("12345678{")),
        ] {
            assert_eq!(detect(bytes).unwrap(), wanted);
        }
        for (bytes, part) in [
            (&b""[..], "an empty file"),
            (b"\xff\xfe1\0,\0", "UTF-16"),
            (b"\xfe\xff\x001", "UTF-16"),
            (b"1\0,\0", "byte 0x00 at place 1"),
            (b"a,b\ncaf\xe9,1\n", "line 2: expected text in UTF-8, found byte 0xe9"),
            (b"\0\0\x07\x01", "byte 0x00 at place 0"),
            (b"\x80\x04\x95", "pickle"),
            (b"\x89PNG\r\n\x1a\n", "PNG"),
            (b"PAR1", "Parquet"),
            (b" [[1, 2]]", "JSON"),
            (b"<html>", "HTML"),
            (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ] {
            let told = detect(bytes).unwrap_err().to_string();
            assert!(told.contains(part) && !told.contains('\n'), "{told}");
        }
    }
}
