//! New ONNX files.

use super::error::{Error, Result};
use super::model::{fields, graph_fields};
use super::patch::new_entry;
use super::wire::{put_bytes, put_int, put_text};
use super::{Node, TensorInfo, ValueInfo};

/// What a new ONNX file consists of.
///
/// ```
/// use models::onnx::{Attribute, DataType, Dimension, Model, NewModel, Node, TensorInfo, ValueInfo, Values};
/// # fn main() -> models::onnx::Result<()> {
/// // y = x Uᵀ of two inputs and one output.
/// let u = TensorInfo::new("u", vec![1, 2], DataType::F32, &Values::F32(vec![2.0, -1.0]))?;
/// let shape = |n| vec![Dimension::Named("batch".to_owned()), Dimension::Known(n)];
/// let bytes = NewModel {
///     name: "product".to_owned(),
///     opsets: vec![(String::new(), 17)],
///     inputs: vec![ValueInfo::tensor("x", DataType::F32, shape(2))],
///     outputs: vec![ValueInfo::tensor("y", DataType::F32, shape(1))],
///     nodes: vec![Node {
///         op_type: "Gemm".to_owned(),
///         inputs: vec!["x".to_owned(), "u".to_owned()],
///         outputs: vec!["y".to_owned()],
///         attributes: vec![("transB".to_owned(), Attribute::Int(1))],
///         ..Node::default()
///     }],
///     initializers: vec![u],
///     metadata: vec![],
/// }
/// .to_bytes()?;
/// assert_eq!(Model::parse(bytes)?.nodes()[0].op_type, "Gemm");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct NewModel {
    /// Name of the graph; not empty.
    pub name: String,
    /// Domains and versions of the operator sets; "" is ONNX's own domain.
    pub opsets: Vec<(String, i64)>,
    /// Inputs of the graph.
    pub inputs: Vec<ValueInfo>,
    /// Outputs of the graph.
    pub outputs: Vec<ValueInfo>,
    /// Nodes, each behind those whose outputs it takes.
    pub nodes: Vec<Node>,
    /// Tensors of the graph, made by [`TensorInfo::new`].
    pub initializers: Vec<TensorInfo>,
    /// Keys and values about the file.
    pub metadata: Vec<(String, String)>,
}

/// Name of the program in the files that it writes.
const PRODUCER: &str = "distillation";

impl NewModel {
    /// The file. Nothing checks that the nodes fit together.
    ///
    /// # Errors
    ///
    /// A name or the version of ONNX's operators is missing, a tensor was read from another file, or the file would have more
    /// bytes than protobuf allows.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let missing = |field| Error::Missing { what: "the new ONNX file".to_owned(), field };
        if self.name.is_empty() {
            return Err(missing("name of its graph"));
        }
        let own = self.opsets.iter().find(|(domain, _)| domain.is_empty());
        let (_, opset) = own.ok_or_else(|| missing("version of ONNX's own operators"))?;
        let graph = self.graph()?;
        let mut out = Vec::with_capacity(graph.len() + 1024);
        put_int(&mut out, fields::IR_VERSION, ir_version(*opset));
        put_text(&mut out, fields::PRODUCER_NAME, PRODUCER);
        put_text(&mut out, fields::PRODUCER_VERSION, env!("CARGO_PKG_VERSION"));
        put_bytes(&mut out, fields::GRAPH, &graph);
        for (domain, version) in &self.opsets {
            let mut import = Vec::new();
            put_bytes(&mut import, 1, domain.as_bytes());
            put_int(&mut import, 2, *version);
            put_bytes(&mut out, fields::OPSET_IMPORT, &import);
        }
        self.metadata.iter().for_each(|(key, value)| out.extend(new_entry(key, value)));
        if i32::try_from(out.len()).is_err() {
            return Err(Error::TooLarge { bytes: out.len() });
        }
        Ok(out)
    }

    fn graph(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        for node in &self.nodes {
            put_bytes(&mut out, graph_fields::NODE, &node.encode(&[])?);
        }
        put_text(&mut out, graph_fields::NAME, &self.name);
        for tensor in &self.initializers {
            put_bytes(&mut out, graph_fields::INITIALIZER, &tensor.encode(&[])?);
        }
        for input in &self.inputs {
            put_bytes(&mut out, graph_fields::INPUT, &input.encode());
        }
        for output in &self.outputs {
            put_bytes(&mut out, graph_fields::OUTPUT, &output.encode());
        }
        Ok(out)
    }
}

/// The version of the format that came with a version of the operators; programs that know the operators know it.
fn ir_version(opset: i64) -> i64 {
    match opset {
        ..=18 => 8,
        19 | 20 => 9,
        _ => 10,
    }
}
