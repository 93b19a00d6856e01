//! Why a changed graph cannot be written into the file that it came from.

use crate::graph::change::GraphChangeError;
use crate::onnx::{Error, ExportError, ImportError};

/// A failure to write a changed graph into the file that it came from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The file cannot be read or changed.
    #[error(transparent)]
    File(#[from] Error),
    /// The changed file does not fit together.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A node of the graph cannot be written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The parameters are those of another graph.
    #[error(transparent)]
    Tensors(#[from] core_tensors::Error),
    /// A node that stands for several operators.
    #[error(
        "node `{node}` ({op}): it is one node in the file and several in the network, of which one has changed; expected \
         changes of its operands alone"
    )]
    Composed {
        /// The node.
        node: String,
        /// Its operator in the file.
        op: String,
    },
    /// A change that has no place in the file's node.
    #[error(
        "node `{node}` ({op}): its settings have changed in a way that cannot be written into the file"
    )]
    Setting {
        /// The node.
        node: String,
        /// Its operator in the file.
        op: String,
    },
    /// A node that is no part of the network depends on what has changed.
    #[error(
        "node `{node}` ({op}) reads `{tensor}`, which has another shape now or is gone, but the node is no part of the \
         network that was read; expected changes of what the logits alone depend on"
    )]
    Outside {
        /// The node.
        node: String,
        /// Its operator.
        op: String,
        /// What it reads.
        tensor: String,
    },
    /// A node would read what a later one writes.
    #[error("node `{node}` ({op}) would read `{tensor}`, which a later node of the file writes")]
    Order {
        /// The node.
        node: String,
        /// Its operator.
        op: String,
        /// What it reads.
        tensor: String,
    },
    /// The logits have another name, but the old one is still a tensor of the network.
    #[error(
        "the output `{name}` of the file is no longer the output of the network; expected an output of this name"
    )]
    Output {
        /// The old name.
        name: String,
    },
    /// The input of a file that is to be standardized.
    #[error("the input of the network: expected {expected}, found {found}")]
    Input {
        /// What can be standardized.
        expected: &'static str,
        /// What the file has.
        found: String,
    },
    /// Means and stds that do not fit.
    #[error(transparent)]
    Graph(#[from] GraphChangeError),
    /// A node of the graph has not come into the file.
    #[error("node `{node}` of the network could not be written into the file")]
    Unfinished {
        /// The node.
        node: String,
    },
}
