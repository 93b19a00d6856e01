//! Tells ONNX files from others by their content.

use super::model::{fields, graph_fields};
use super::wire::{Content, Field, Message, Span};

/// Whether the bytes are an ONNX file, perhaps a damaged one: they start as one, or are one from end to end.
///
/// ONNX files have no mark of their own, so that this is a judgment: a file starts as ONNX if its first field is a small
/// version number and the next one is of the format too.
///
/// ```
/// use models::onnx::looks_like_onnx;
/// assert!(!looks_like_onnx(b"label,pixel1,pixel2\n0,1,2\n"));
/// ```
pub fn looks_like_onnx(bytes: &[u8]) -> bool {
    if other_format(bytes).is_some() {
        return false;
    }
    let mut message = Message::new(bytes, Span { start: 0, end: bytes.len() }, "ModelProto");
    let (mut n_fields, mut has_version, mut has_graph) = (0, false, false);
    loop {
        match message.field() {
            Ok(Some(field)) if is_of_model(&field) => {
                has_version |= n_fields == 0 && is_version(&field);
                has_graph |= is_graph(bytes, &field);
                n_fields += 1;
                if has_version && n_fields > 1 {
                    return true;
                }
            }
            // What is unknown here may come from a later version, behind what is known.
            Ok(Some(_)) if has_graph => {}
            Ok(Some(_)) => return false,
            Ok(None) => return has_graph,
            // The second field is cut short, which most often is the graph.
            Err(super::Error::CutShort { .. }) => return has_version,
            Err(_) => return false,
        }
    }
}

/// Whether a field of this number and kind is one of `ModelProto`.
fn is_of_model(field: &Field) -> bool {
    match field.number {
        // Two versions.
        fields::IR_VERSION | 5 => matches!(field.content, Content::Varint(_)),
        // Texts, messages and what came with later versions.
        2..=4 | 6..=8 | 14 | 20 | 25 | 26 => matches!(field.content, Content::Bytes(_)),
        _ => false,
    }
}

fn is_version(field: &Field) -> bool {
    /// The format has reached 13 in nine years.
    const LARGEST: u64 = 1000;
    field.number == fields::IR_VERSION && matches!(field.content, Content::Varint(1..=LARGEST))
}

/// Whether the field holds a graph, by the graph's first field.
fn is_graph(bytes: &[u8], field: &Field) -> bool {
    let Content::Bytes(span) = field.content else { return false };
    let first = Message::new(bytes, span, "GraphProto").field();
    field.number == fields::GRAPH
        && matches!(first, Ok(Some(Field { number, content: Content::Bytes(_), .. }))
            if matches!(number, 1 | 2 | graph_fields::INITIALIZER | 10..=16))
}

/// What the bytes are, where their first ones say it.
pub(super) fn other_format(bytes: &[u8]) -> Option<&'static str> {
    /// First bytes and what they say.
    const STARTS: [(&[u8], &str); 8] = [
        (b"PK\x03\x04", "it is a zip archive, as PyTorch and NumPy (npz) write"),
        (b"\x1f\x8b", "it is compressed with gzip"),
        (b"\x89HDF\r\n", "it is an HDF5 file, as older versions of Keras write"),
        (b"\x93NUMPY", "it is a NumPy array"),
        (b"\x80\x02", "it is a pickle"),
        (b"\x80\x03", "it is a pickle"),
        (b"\x80\x04", "it is a pickle"),
        (b"\x80\x05", "it is a pickle"),
    ];
    if bytes.is_empty() {
        return Some("it is empty");
    }
    let is_safetensors = bytes.first_chunk().is_some_and(|&length| {
        let length = u64::from_le_bytes(length);
        bytes.get(8) == Some(&b'{') && length >= 2 && length <= (bytes.len() - 8) as u64
    });
    if is_safetensors {
        return Some("it is a safetensors file");
    }
    STARTS.iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, what)| *what)
}

/// What the bytes are, as far as it can be told, once it is known that they are no ONNX file.
pub(super) fn describe(bytes: &[u8]) -> &'static str {
    /// So many bytes tell text from numbers.
    const SEEN: usize = 512;
    let start = bytes.get(..SEEN).unwrap_or(bytes);
    if start.starts_with(b"version https://git-lfs") {
        return "it is a pointer of Git LFS; fetch the file itself with `git lfs pull`";
    }
    let is_text = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e);
    if start.iter().all(is_text) {
        return "it is text";
    }
    "it has no ONNX graph, and its first bytes are of no format known here"
}
