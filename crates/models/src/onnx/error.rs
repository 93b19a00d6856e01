//! What can be wrong with an ONNX file, or with an edit of one.

use std::fmt;

use super::DataType;

/// A failure to read, to change or to write an ONNX file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are something else.
    #[error("not an ONNX file: {found}")]
    NotOnnx {
        /// What the bytes are, or what they lack.
        found: &'static str,
    },
    /// A field declares more bytes than there are.
    #[error(
        "the ONNX file is damaged or cut short: a field of {message} at byte {offset} needs {expected} bytes, found {found}"
    )]
    CutShort {
        /// The protobuf message that the field belongs to.
        message: &'static str,
        /// Where the field starts, in bytes from the start of the file.
        offset: usize,
        /// Bytes that the field needs.
        expected: u64,
        /// Bytes that are left in the message.
        found: usize,
    },
    /// Bytes that are no protobuf.
    #[error("the ONNX file is damaged: {reason}, in {message} at byte {offset}")]
    Malformed {
        /// The protobuf message.
        message: &'static str,
        /// Where, in bytes from the start of the file.
        offset: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A field is stored in another way than its type says.
    #[error(
        "the ONNX file is damaged: field {field} of {message} at byte {offset} should be {expected}, found wire type \
        {found}"
    )]
    WireType {
        /// The protobuf message.
        message: &'static str,
        /// Number of the field.
        field: u32,
        /// Where the field starts, in bytes from the start of the file.
        offset: usize,
        /// What the field should be.
        expected: &'static str,
        /// Protobuf's number of the way in which it is stored.
        found: u8,
    },
    /// A message occurs twice where one belongs; protobuf would merge the two.
    #[error(
        "{message} has field {field} twice, the second time at byte {offset}; expected it once"
    )]
    Twice {
        /// The protobuf message.
        message: &'static str,
        /// Number of the field.
        field: u32,
        /// Where the second one starts, in bytes from the start of the file.
        offset: usize,
    },
    /// Something that every file has is not there.
    #[error("{what} has no {field}")]
    Missing {
        /// Where it is missing.
        what: String,
        /// What is missing.
        field: &'static str,
    },
    /// The parts of the file would fill more memory than the file's length explains.
    #[error(
        "the ONNX file has {bytes} bytes and so many small parts that an index of them would need more than {limit} \
        bytes; it is damaged, or no network"
    )]
    TooManyParts {
        /// Length of the file.
        bytes: usize,
        /// What an index may need.
        limit: usize,
    },
    /// A part of the format that is not read here.
    #[error("ONNX files with {what} are not supported, found {name}")]
    Unsupported {
        /// The part.
        what: &'static str,
        /// The first of them.
        name: Quoted,
    },
    /// Something that may be there once is there twice.
    #[error("{what} {name} is there twice")]
    Duplicate {
        /// What it is, such as "initializer".
        what: &'static str,
        /// Its name.
        name: Quoted,
    },
    /// Dims of a tensor that are negative, or whose product has no place in memory.
    #[error(
        "tensor {tensor}: dimension {axis} is {value}; expected 0 or more, and a product below 2^63 bytes"
    )]
    Dimension {
        /// The tensor.
        tensor: Quoted,
        /// The axis, from 0.
        axis: usize,
        /// What the file says.
        value: i64,
    },
    /// A tensor with more or fewer numbers or bytes than its dims say.
    #[error("tensor {tensor}: dims {dims} need {expected} {unit}, found {found}")]
    Size {
        /// The tensor.
        tensor: Quoted,
        /// Its dims.
        dims: Dims,
        /// What was counted.
        unit: &'static str,
        /// How many the dims need.
        expected: usize,
        /// How many there are.
        found: u64,
    },
    /// A tensor of another data type than is needed.
    #[error("tensor {tensor}: expected {expected}, found {found}")]
    DataType {
        /// The tensor.
        tensor: Quoted,
        /// What is needed.
        expected: &'static str,
        /// What it has.
        found: DataType,
    },
    /// A number that the data type of its tensor does not hold.
    #[error("tensor {tensor}: number {index} is {value}, which {data_type} does not hold")]
    OutOfRange {
        /// The tensor.
        tensor: Quoted,
        /// Position of the number in row-major order, from 0.
        index: usize,
        /// The number.
        value: i128,
        /// The data type.
        data_type: DataType,
    },
    /// A tensor whose fields contradict each other.
    #[error("tensor {tensor}: {reason}")]
    Tensor {
        /// The tensor.
        tensor: Quoted,
        /// What is wrong.
        reason: &'static str,
    },
    /// External data in a place where a file must not point.
    #[error(
        "external data at {location}: {reason}; expected a path inside the folder of the ONNX file"
    )]
    Location {
        /// The path in the file.
        location: Quoted,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// External data that could not be read.
    #[error(
        "tensor {tensor}: reading {expected} bytes from byte {offset} of external data {location}"
    )]
    External {
        /// The tensor.
        tensor: Quoted,
        /// The path in the file.
        location: Quoted,
        /// Where the tensor starts in the external file.
        offset: u64,
        /// Bytes that the tensor needs.
        expected: usize,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An edit of something that the file does not have.
    #[error("the ONNX file has no {what} {name}")]
    Unknown {
        /// What was to be edited.
        what: &'static str,
        /// Its name.
        name: Quoted,
    },
    /// An edit of a node that the file does not have.
    #[error("node {index} is out of range: the ONNX file has {n}, counted from 0")]
    Index {
        /// The node, from 0 in the order of the file.
        index: usize,
        /// How many there are.
        n: usize,
    },
    /// Two edits of the same part.
    #[error("{what} {name} is edited twice")]
    EditedTwice {
        /// What is edited.
        what: &'static str,
        /// Its name or index.
        name: Quoted,
    },
    /// An attribute that was not read and so cannot be written.
    #[error(
        "attribute {attribute} of node {node} holds a graph or another content that cannot be written"
    )]
    NotWritable {
        /// The attribute.
        attribute: Quoted,
        /// The node.
        node: Quoted,
    },
    /// A file that protobuf cannot hold.
    #[error("the ONNX file would have {bytes} bytes; protobuf files have at most {}", i32::MAX)]
    TooLarge {
        /// How many bytes it would have.
        bytes: usize,
    },
}

/// Result of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// A name out of a file, which may hold anything: in messages it is cut and its control characters are escaped.
///
/// ```
/// use models::onnx::Quoted;
/// assert_eq!(Quoted::from("conv\n1").to_string(), r"`conv\n1`");
/// assert!(Quoted::from("x".repeat(1000).as_str()).to_string().chars().count() < 90);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted(String);

/// Characters of a name that a message shows.
const SHOWN: usize = 80;

impl From<&str> for Quoted {
    fn from(name: &str) -> Self {
        let mut shown: String = name.escape_debug().take(SHOWN).collect();
        if name.escape_debug().nth(SHOWN).is_some() {
            shown.push('…');
        }
        Self(shown)
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

/// Dims of a tensor in a message; of very many, the first ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dims(Vec<usize>);

/// Dims that a message shows.
const SHOWN_DIMS: usize = 8;

impl From<&[usize]> for Dims {
    fn from(dims: &[usize]) -> Self {
        Self(dims.iter().copied().take(SHOWN_DIMS + 1).collect())
    }
}

impl fmt::Display for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.0.iter().take(SHOWN_DIMS).map(ToString::to_string).collect();
        let rest = if self.0.len() > SHOWN_DIMS { ", …" } else { "" };
        write!(f, "[{}{rest}]", shown.join(", "))
    }
}
