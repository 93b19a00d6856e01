//! Who reads the values of a graph.

use super::super::{Graph, ValueId};

/// The readers of each value.
pub(super) struct Readers {
    /// Indices of nodes; one that reads a value twice stands there twice.
    nodes: Vec<Vec<usize>>,
    is_output: Vec<bool>,
}

impl Readers {
    pub(super) fn of(graph: &Graph) -> Self {
        let n = graph.values().len();
        let (mut nodes, mut is_output) = (vec![Vec::new(); n], vec![false; n]);
        for (i, node) in graph.nodes().iter().enumerate() {
            node.operands.iter().for_each(|id| nodes[id.0].push(i));
        }
        graph.outputs().iter().for_each(|id| is_output[id.0] = true);
        Self { nodes, is_output }
    }

    /// The nodes that read a value.
    pub(super) fn nodes(&self, id: ValueId) -> &[usize] {
        &self.nodes[id.0]
    }

    /// Whether a value comes out of the graph.
    pub(super) fn is_output(&self, id: ValueId) -> bool {
        self.is_output[id.0]
    }

    /// The node that alone reads a value, once; `None` where the value is an output of the graph too.
    pub(super) fn only(&self, id: ValueId) -> Option<usize> {
        match self.nodes(id) {
            [reader] if !self.is_output(id) => Some(*reader),
            _ => None,
        }
    }
}
