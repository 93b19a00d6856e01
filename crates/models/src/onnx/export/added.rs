//! Nodes of a graph for a file that is there already.

use std::collections::HashMap;

use super::{At, Export, ExportError, Names, WRITTEN_OPSETS, operators, shapes};
use crate::graph::{Dimension, Graph, Node, Op, Unary, ValueId};
use crate::onnx::{Attribute, DataType, Node as FileNode, TensorInfo};

/// Writes single nodes of a graph, with names that a file does not have.
pub(in crate::onnx) struct Added<'g> {
    export: Export<'g>,
    opset: i64,
}

impl<'g> Added<'g> {
    /// For a file of this operator set, type of floats and names of tensors and nodes; `names` are those of values of the
    /// graph that are in the file.
    pub(in crate::onnx) fn new<'n>(
        graph: &'g Graph,
        (opset, float): (i64, DataType),
        tensors: impl Iterator<Item = &'n str>,
        nodes: impl Iterator<Item = &'n str>,
        is_named: impl Fn(ValueId) -> bool,
    ) -> Self {
        let written = opset.clamp(*WRITTEN_OPSETS.start(), *WRITTEN_OPSETS.end());
        let mut export = Export::new(graph, written, float);
        let ids = graph.nodes().iter().flat_map(|node| node.results.iter().chain(&node.operands));
        let ids = ids.chain(graph.inputs()).chain(graph.parameters()).chain(graph.outputs());
        let named: HashMap<ValueId, String> = ids
            .copied()
            .filter(|&id| is_named(id))
            .map(|id| (id, graph.value(id).name.clone()))
            .collect();
        export.values = named;
        tensors.for_each(|name| export.taken.reserve(name));
        nodes.for_each(|name| export.node_names.reserve(name));
        export.name_values();
        Self { export, opset }
    }

    /// The name of a value in the file.
    pub(in crate::onnx) fn value(&self, id: ValueId) -> String {
        self.export.value(id)
    }

    /// The name of a constant, which is written where it was not.
    pub(in crate::onnx) fn constant(&mut self, id: ValueId) -> Result<String, ExportError> {
        self.export.constant(id)?;
        Ok(self.value(id))
    }

    /// The nodes of a file for one of the graph.
    pub(in crate::onnx) fn node(&mut self, node: &'g Node) -> Result<Vec<FileNode>, ExportError> {
        let results = node.results.iter().map(|&id| self.export.value(id)).collect();
        let at = At { node, results };
        let needed = first_opset(&node.op);
        if self.opset < needed {
            let (node, found) = (at.name(), self.opset);
            return Err(ExportError::OlderOpset { node, needed, found });
        }
        for &id in &node.operands {
            self.export.constant(id)?;
        }
        operators::add(&mut self.export, &at)?;
        Ok(std::mem::take(&mut self.export.nodes))
    }

    /// A target of a Reshape to the shape, of an operand of another; with the attributes that it needs.
    pub(in crate::onnx) fn reshaped(
        &mut self,
        name: &str,
        of: &[Dimension],
        shape: &[Dimension],
    ) -> Result<(Vec<String>, Vec<(&'static str, Attribute)>), ExportError> {
        shapes::reshaped(&mut self.export, name, (String::new(), Some(of)), shape)
    }

    /// A copy of a value under a name.
    pub(in crate::onnx) fn copy(&mut self, from: &str, to: &str) -> Vec<FileNode> {
        self.export.push("Identity", vec![from.to_owned()], vec![to.to_owned()], vec![], to);
        std::mem::take(&mut self.export.nodes)
    }

    /// Initializers that were written since the last call, and nodes that compute sizes.
    pub(in crate::onnx) fn take(&mut self) -> (Vec<TensorInfo>, Vec<FileNode>) {
        (std::mem::take(&mut self.export.initializers), std::mem::take(&mut self.export.nodes))
    }
}

impl Names {
    fn reserve(&mut self, name: &str) {
        if !name.is_empty() {
            self.unique(name, name);
        }
    }
}

/// The first operator set for which the form that is written here is right.
fn first_opset(op: &Op) -> i64 {
    match op {
        Op::Gemm { .. } | Op::MatMul | Op::Conv { .. } | Op::BatchNormalization { .. } => 11,
        Op::PRelu | Op::Where | Op::Binary(_) | Op::Flatten { .. } | Op::Transpose { .. } => 11,
        Op::Concat { .. } | Op::Gather { .. } | Op::MaxPool { .. } | Op::Expand { .. } => 11,
        Op::Reshape { .. } | Op::Slice { .. } | Op::Tile { .. } | Op::Pad { .. } => 11,
        Op::Cast { .. } | Op::Range | Op::Fill { .. } | Op::AveragePool { .. } => 11,
        Op::Unary(Unary::HardSwish) => 14,
        Op::Unary(Unary::ToBf16) => 13,
        Op::Unary(_) | Op::Normalizer { .. } | Op::Scaler { .. } => 11,
        Op::Shape { .. } => 15,
        Op::LayerNormalization { .. } => 17,
        Op::Softmax { .. } | Op::Squeeze { .. } | Op::Unsqueeze { .. } | Op::Split { .. } => 13,
        Op::Reduce { .. } | Op::GroupNormalization { .. } | Op::LabelEncoder { .. } => 13,
    }
}
