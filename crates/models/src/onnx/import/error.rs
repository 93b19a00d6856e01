//! Why a file is no network that we can run.

use crate::graph;
use crate::onnx;

/// A failure to make a graph of a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Its bytes are damaged.
    #[error(transparent)]
    File(#[from] onnx::Error),
    /// An operator does not fit its operands.
    #[error(transparent)]
    Graph(#[from] graph::Error),
    /// Parameters that candle refuses.
    #[error(transparent)]
    Tensors(#[from] core_tensors::Error),
    /// An operator set that is older or newer than what was tested.
    #[error("opset {found} is not read: expected {} to {}", onnx::OPSETS.start(), onnx::OPSETS.end())]
    Opset {
        /// That of the file.
        found: i64,
    },
    /// An operator that is not read.
    #[error("node {}: {reason}{}", node_text(.node, .op, .domain), others_text(*.others))]
    Unsupported {
        /// Its name, or that of its first output.
        node: String,
        /// Its operator.
        op: String,
        /// Its domain.
        domain: String,
        /// Why.
        reason: Unsupported,
        /// How many other nodes are not read either.
        others: usize,
    },
    /// An attribute has a value that the operator does not take here.
    #[error("node {}: attribute {attribute}: expected {expected}, found {found}", node_text(.node, .op, ""))]
    Attribute {
        /// The node.
        node: String,
        /// Its operator.
        op: String,
        /// The attribute, or the input that is one.
        attribute: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What there is.
        found: String,
    },
    /// A node has an attribute that its operator does not take.
    #[error("node {}: attribute `{attribute}` is none of this operator", node_text(.node, .op, ""))]
    UnknownAttribute {
        /// The node.
        node: String,
        /// Its operator.
        op: String,
        /// The attribute.
        attribute: String,
    },
    /// A node reads a tensor that nothing writes.
    #[error("node {}: reads `{tensor}`, which is no input, no initializer and no result of a node", node_text(.node, .op, ""))]
    Missing {
        /// The node.
        node: String,
        /// Its operator.
        op: String,
        /// The tensor.
        tensor: String,
    },
    /// Two nodes write one tensor, or one writes an input or an initializer.
    #[error(
        "tensor `{tensor}` is made twice; expected each tensor to be an input, an initializer or a result of one node"
    )]
    WrittenTwice {
        /// The tensor.
        tensor: String,
    },
    /// Nodes that wait for one another.
    #[error("node {} depends on its own result", node_text(.node, .op, ""))]
    Cycle {
        /// A node of the cycle.
        node: String,
        /// Its operator.
        op: String,
    },
    /// The file has no output.
    #[error("the file has no output; expected one that holds the logits")]
    NoOutput,
    /// The outputs of the file are numbers that stand in it.
    #[error("the outputs of the file ({}) depend on no input; expected logits of an input", list_text(.outputs))]
    Constant {
        /// Their names.
        outputs: Vec<String>,
    },
    /// An output that nothing makes.
    #[error(
        "output `{output}` of the file is no input, no initializer and no result of a node; the file may be cut short"
    )]
    NotMade {
        /// Its name.
        output: String,
    },
    /// A node leaves out an input that its operator needs.
    #[error("node {}: input {place} (from 0) is left out, but this operator needs it", node_text(.node, .op, ""))]
    LeftOut {
        /// The node.
        node: String,
        /// Its operator.
        op: String,
        /// Which input.
        place: usize,
    },
    /// More than one tensor may hold the logits.
    #[error("several tensors may hold the logits: {}; choose one with --output NAME", list_text(.candidates))]
    SeveralLogits {
        /// Their names.
        candidates: Vec<String>,
    },
    /// The tensor that was asked for is not there.
    #[error("--output: the file has no tensor `{name}`; its outputs are {}", list_text(.outputs))]
    NoSuchTensor {
        /// The name.
        name: String,
        /// The outputs of the file.
        outputs: Vec<String>,
    },
    /// An input whose shape or kind the file does not tell, or that has a size left open.
    #[error("input `{input}`: {problem}")]
    Input {
        /// The input.
        input: String,
        /// What is wrong.
        problem: InputProblem,
    },
    /// Inputs whose first axes have different names: one of them alone can be the batch.
    #[error(
        "the first axes of the inputs have the names {}, of which one is the batch; say the sizes of the others with --dim NAME=SIZE",
        list_text(.names)
    )]
    SeveralBatches {
        /// The names.
        names: Vec<String>,
    },
    /// A size for an axis that the inputs do not have.
    #[error("--dim: the inputs have no axis `{name}`; the open ones are {}", list_text(.open))]
    NoSuchDimension {
        /// The name.
        name: String,
        /// Axes without a size in the file.
        open: Vec<String>,
    },
    /// A weight that is no number.
    #[error("tensor `{tensor}` holds {value} at place {place} (from 0); expected finite numbers")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// Where, from 0.
        place: usize,
        /// NaN or an infinity.
        value: f32,
    },
}

/// Why an operator is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// Loops and branches.
    #[error("loops and branches are not read; export the network without control flow")]
    ControlFlow,
    /// Sequences, maps, optionals and strings.
    #[error("sequences, maps, optionals and strings are not read")]
    Sequence,
    /// Another domain than ONNX's own.
    #[error("operators of other domains than ONNX's own are not read")]
    Domain,
    /// An operator of ONNX that this program does not have.
    #[error("this operator is not read")]
    Operator,
    /// An operator of a quantized network.
    #[error(
        "operators of quantized networks are not read; give the network of floats, and quantize what comes of it"
    )]
    Quantized,
    /// A recurrent layer.
    #[error(
        "recurrent layers are not read; networks of dense, convolutional and attention layers are"
    )]
    Recurrent,
    /// A second or later result that a network needs.
    #[error("only the first result of this operator is computed, but another one is used")]
    Result,
}

/// What is wrong with an input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputProblem {
    /// The file does not tell its shape.
    #[error("the file does not tell its shape")]
    NoShape,
    /// It has more numbers than can be computed.
    #[error("its size is beyond what a computer holds")]
    TooLarge,
    /// It is no tensor of numbers.
    #[error("expected a tensor of floats, whole numbers or truth values, found {0}")]
    NoNumbers(String),
    /// An extent other than the batch is open.
    #[error("axis {axis} (from 0) has no fixed size; say one with --dim {name}=SIZE")]
    Open {
        /// The axis.
        axis: usize,
        /// The name in the file, or `input:axis`.
        name: String,
    },
}

fn node_text(node: &str, op: &str, domain: &str) -> String {
    match domain {
        "" | "ai.onnx" => format!("`{node}` ({op})"),
        domain => format!("`{node}` ({domain} {op})"),
    }
}

fn others_text(others: usize) -> String {
    match others {
        0 => String::new(),
        1 => " (and 1 more node that is not read)".to_owned(),
        n => format!(" (and {n} more nodes that are not read)"),
    }
}

fn list_text(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
