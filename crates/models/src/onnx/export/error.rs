//! Why a graph cannot be written as an ONNX file.

use crate::graph::{self, NodeName};
use crate::onnx;

/// A failure to write a graph as an ONNX file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The file cannot hold it, as one of more than 2 GiB.
    #[error(transparent)]
    File(#[from] onnx::Error),
    /// The parameters are those of another graph, or candle cannot read them.
    #[error(transparent)]
    Tensors(#[from] core_tensors::Error),
    /// A size of a node is beyond what a file holds.
    #[error(transparent)]
    Graph(#[from] graph::Error),
    /// An operator set for which nothing is written.
    #[error(
        "opset {found} is not written: expected {} to {}",
        super::WRITTEN_OPSETS.start(),
        super::WRITTEN_OPSETS.end()
    )]
    Opset {
        /// The one that was asked for.
        found: i64,
    },
    /// An operator set that lacks an operator.
    #[error(
        "node {node} needs opset {needed} or newer, found {found}; leave the opset open, or ask for {needed}"
    )]
    OlderOpset {
        /// The node.
        node: NodeName,
        /// The first one that has the operator.
        needed: i64,
        /// The one that was asked for.
        found: i64,
    },
    /// A size depends on the batch, which no input has.
    #[error(
        "{place}: a size depends on the batch, but no input of the graph has an axis that does"
    )]
    NoBatch {
        /// The node or the constant.
        place: String,
    },
}
