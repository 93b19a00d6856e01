//! Why a graph cannot be built or run.

use super::dimension::{Dimension, shape_text};
use super::op::Kind;

/// A failure of a graph, with the node it belongs to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A failure at one node.
    #[error("node {}: {problem}", .node)]
    Node {
        /// The node.
        node: NodeName,
        /// What is wrong there.
        problem: Box<Problem>,
    },
    /// Parameters, or a tensor that was handed in, do not fit.
    #[error(transparent)]
    Tensors(#[from] core_tensors::Error),
    /// The graph takes another number of inputs.
    #[error("the graph takes {expected} inputs ({names}), found {found}")]
    Inputs {
        /// How many.
        expected: usize,
        /// Their names.
        names: String,
        /// How many came.
        found: usize,
    },
    /// The graph takes batches of one size, and others cannot go through it in pieces.
    #[error("the graph takes exactly {expected} examples, found {found}")]
    Batch {
        /// How many.
        expected: usize,
        /// How many came.
        found: usize,
    },
    /// An input has a shape that the graph does not take.
    #[error("input `{name}`: expected shape {}, found {found:?}", shape_text(.expected))]
    InputShape {
        /// The input.
        name: String,
        /// N is the batch.
        expected: Vec<Dimension>,
        /// The shape that came.
        found: Vec<usize>,
    },
    /// No tensor has the name of a parameter.
    #[error("parameter `{name}` of shape {expected:?}: found no tensor of this name")]
    NoParameter {
        /// The parameter.
        name: String,
        /// Its shape.
        expected: Vec<usize>,
    },
    /// The tensor of a parameter's name has another shape.
    #[error("parameter `{name}`: expected shape {expected:?}, found {found:?}")]
    ParameterShape {
        /// The parameter.
        name: String,
        /// Its shape.
        expected: Vec<usize>,
        /// That of the tensor.
        found: Vec<usize>,
    },
}

/// A node as a message names it: its operator, and its own name or that of its first result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeName {
    /// Such as "Conv".
    pub op: String,
    /// The node's name.
    pub name: String,
}

/// `name` (Op)
impl std::fmt::Display for NodeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` ({})", self.name, self.op)
    }
}

/// What is wrong at a node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It has too few or too many operands.
    #[error("expected {expected} operands, found {found}")]
    Operands {
        /// How many, in words such as "2 or 3".
        expected: &'static str,
        /// How many there are.
        found: usize,
    },
    /// Operands do not fit together.
    #[error("{what}: found shapes {}", shapes_text(.shapes))]
    Shapes {
        /// What was expected of them.
        what: &'static str,
        /// Those of the operands.
        shapes: Vec<Vec<Dimension>>,
    },
    /// An axis, a group, a size or another setting is none that the operator takes.
    #[error("{what}: expected {expected}, found {found}")]
    Setting {
        /// Which setting.
        what: &'static str,
        /// What it takes.
        expected: String,
        /// What there is.
        found: String,
    },
    /// An operand is of the wrong kind of number.
    #[error("operand {operand} (from 0) holds {found:?} numbers, expected {expected:?}")]
    Kind {
        /// Which operand.
        operand: usize,
        /// The kind that is needed.
        expected: Kind,
        /// The kind that there is.
        found: Kind,
    },
    /// A setting that must be known beforehand depends on the data.
    #[error("{what} depends on the data; expected a constant, or arithmetic of shapes")]
    NotConstant {
        /// Which operand.
        what: &'static str,
    },
    /// A size is beyond what can be computed.
    #[error("a size of it is beyond what a computer holds")]
    TooLarge,
    /// The batch enters in a way that is not linear.
    #[error("a size of it is no linear function of the batch")]
    NotLinear,
    /// The numbers came out wrong.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

fn shapes_text(shapes: &[Vec<Dimension>]) -> String {
    shapes.iter().map(|shape| shape_text(shape)).collect::<Vec<_>>().join(" and ")
}

/// Keeps the failure's words.
impl From<Error> for core_tensors::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Tensors(error) => error,
            error => Self::Candle(candle_core::Error::wrap(error)),
        }
    }
}
