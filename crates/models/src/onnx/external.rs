//! Numbers of a tensor that lie in another file.

use super::error::{Error, Quoted, Result};
use super::reader::Reader;
use super::wire::Span;

/// Where the numbers of a tensor lie, if not in the ONNX file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExternalData {
    /// Path of the file, relative to the folder of the ONNX file; [`check_location`] has passed it.
    pub location: String,
    /// First byte of the tensor in the file.
    pub offset: u64,
    /// Bytes of the tensor, where the file says it.
    pub length: Option<u64>,
    /// SHA-1 of the file as hexadecimal digits, where the file says it; nothing here checks it.
    pub checksum: Option<String>,
}

/// Why a file could not be read, in the words of whoever reads files.
pub type ExternalError = Box<dyn std::error::Error + Send + Sync>;

/// Reads external data: location, first byte and number of bytes in, so many bytes out.
///
/// The number of bytes follows from the tensor's dims, which may say anything: compare it with the length of the file
/// before you reserve memory. The location has passed [`check_location`].
pub type ReadExternal<'a> =
    dyn FnMut(&str, u64, usize) -> std::result::Result<Vec<u8>, ExternalError> + 'a;

/// For files that have no external data: an error for those that do.
///
/// # Errors
///
/// Always.
pub fn no_external(_: &str, _: u64, _: usize) -> std::result::Result<Vec<u8>, ExternalError> {
    Err("no files are at hand here".into())
}

/// Whether external data may lie there: below the folder of the ONNX file, on every operating system.
///
/// # Errors
///
/// [`Error::Location`] where the path is empty or absolute, names a drive, leaves the folder by `..`, or holds a backslash
/// or a NUL.
pub fn check_location(location: &str) -> Result<()> {
    let reason = if location.is_empty() {
        "the path is empty"
    } else if location.contains('\0') {
        "the path holds a NUL character"
    } else if location.contains('\\') {
        "the path holds a backslash"
    } else if location.starts_with('/') {
        "the path is absolute"
    } else if location.contains(':') {
        "the path names a drive or a protocol"
    } else if location.split('/').any(|part| part == "..") {
        "the path leaves the folder"
    } else if location.split('/').all(|part| part.is_empty() || part == ".") {
        "the path names no file"
    } else {
        return Ok(());
    };
    Err(Error::Location { location: location.into(), reason })
}

/// The entries of a tensor whose data location is external.
pub(super) fn parse(
    reader: &mut Reader<'_>,
    tensor: &str,
    entries: &[Span],
) -> Result<ExternalData> {
    let mut external = ExternalData::default();
    for &entry in entries {
        let (key, value) = reader.entry(entry)?;
        match key.as_str() {
            "location" => external.location = value,
            "offset" => external.offset = number(tensor, &value)?,
            "length" => external.length = Some(number(tensor, &value)?),
            "checksum" => external.checksum = Some(value),
            _ => {}
        }
    }
    check_location(&external.location)?;
    if external.offset.checked_add(external.length.unwrap_or(0)).is_none() {
        let reason = "offset and length of its external data exceed every file";
        return Err(Error::Tensor { tensor: tensor.into(), reason });
    }
    Ok(external)
}

fn number(tensor: &str, digits: &str) -> Result<u64> {
    let reason = "offset or length of its external data is no number";
    digits.parse().map_err(|_| Error::Tensor { tensor: Quoted::from(tensor), reason })
}
