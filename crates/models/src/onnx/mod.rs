//! ONNX files as bytes: what is in them, changes of a few parts that leave all others as they are, and new files.
//!
//! A file is a protobuf message. [`Model::parse`] keeps its bytes and makes an index of nodes, tensors and values, in which
//! numbers are places, not copies.
//!
//! Source: `onnx.proto` of the ONNX project, versions of the format 1 to 13.

mod change;
mod data_type;
mod error;
mod export;
mod external;
pub(crate) mod half;
mod import;
mod model;
mod new_model;
mod node;
mod numbers;
mod patch;
mod reader;
mod rewrite;
mod rope;
mod sniff;
mod tensor;
mod value;
mod wire;

pub use change::{ChangeError, rewrite, standardize_input};
pub use data_type::DataType;
pub use error::{Dims, Error, Quoted, Result};
pub use export::{ExportError, ExportOptions, WRITTEN_OPSETS, export};
pub use external::{ExternalData, ExternalError, ReadExternal, check_location, no_external};
pub use import::{
    Found, ImportError, ImportOptions, Imported, InputProblem, Logits, OPSETS, Unsupported, import,
    unsupported,
};
pub use model::Model;
pub use new_model::NewModel;
pub use node::{Attribute, Node};
pub use numbers::Values;
pub use patch::Edit;
pub use sniff::looks_like_onnx;
pub use tensor::TensorInfo;
pub use value::{Dimension, ValueInfo, ValueType};

#[cfg(test)]
mod tests;
