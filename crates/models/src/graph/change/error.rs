//! Why a graph cannot be changed.

use super::super::Error;

/// A failure of a change of a graph.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphChangeError {
    /// There is no such node.
    #[error("there is no node {found}: the graph has {n_nodes}, counted from 0")]
    NoNode {
        /// What was asked for.
        found: usize,
        /// How many there are.
        n_nodes: usize,
    },
    /// A bias was asked for where none can be.
    #[error(
        "node `{node}` ({op}) takes no bias; expected a Gemm, a MatMul or a Conv whose weight is a parameter"
    )]
    NotLinear {
        /// The node.
        node: String,
        /// Its operator.
        op: String,
    },
    /// A residual block that the graph does not have.
    #[error("the graph has no residual block `{block}`; expected some of those that it lists")]
    NoBlock {
        /// The block.
        block: String,
    },
    /// An output behind the first one would lose its name.
    #[error(
        "without the block `{block}` the output `{output}` would be `{identity}`; only the first output of a graph can be \
         another value"
    )]
    Output {
        /// The block.
        block: String,
        /// The output.
        output: String,
        /// What would be passed on.
        identity: String,
    },
    /// The graph has no input, or several.
    #[error("expected a network with one input, which can be standardized; found {found} inputs")]
    Inputs {
        /// How many there are.
        found: usize,
    },
    /// Means and stds that do not fit the input.
    #[error("standardization of the input `{input}`: expected {expected}, found {found}")]
    Standardization {
        /// The input.
        input: String,
        /// What fits.
        expected: String,
        /// What was given.
        found: String,
    },
    /// Outputs that cannot be brought into other units.
    #[error(
        "the outputs `{output}` cannot be scaled: {reason}; expected those of a linear map whose weight and bias are parameters"
    )]
    Outputs {
        /// The output.
        output: String,
        /// What is in the way.
        reason: String,
    },
    /// The changed graph does not fit together, or parameters are those of another graph.
    #[error(transparent)]
    Graph(#[from] Error),
}

impl From<core_tensors::Error> for GraphChangeError {
    fn from(error: core_tensors::Error) -> Self {
        Self::Graph(error.into())
    }
}

impl From<candle_core::Error> for GraphChangeError {
    fn from(error: candle_core::Error) -> Self {
        Self::from(core_tensors::Error::from(error))
    }
}
