//! Who reads what in a graph, what depends on the data, and where a linear map ends in a residual sum.

use models::graph::axes::LinearMap;
use models::graph::{Binary, Graph, Op, Source, ValueId};

/// The readers of each value.
pub(super) struct Flow {
    readers: Vec<Vec<usize>>,
    is_fixed: Vec<bool>,
    is_output: Vec<bool>,
}

/// What a map is fitted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// z of the original network.
    Own,
    /// The original sum that z ends in, less what the other branch gives now.
    Sum {
        /// z + other.
        sum: ValueId,
        /// The other branch.
        other: ValueId,
    },
}

impl Flow {
    pub(super) fn of(graph: &Graph) -> Self {
        let n = graph.values().len();
        let (mut readers, mut is_output) = (vec![Vec::new(); n], vec![false; n]);
        for (i, node) in graph.nodes().iter().enumerate() {
            node.operands.iter().for_each(|id| readers[id.index()].push(i));
        }
        graph.outputs().iter().for_each(|id| is_output[id.index()] = true);
        let mut is_fixed = vec![false; n];
        for id in graph.ids() {
            is_fixed[id.index()] = match &graph.value(id).source {
                Source::Input => false,
                Source::Parameter(_) | Source::Constant(_) => true,
                Source::Node { node, .. } => {
                    graph.nodes()[*node].operands.iter().all(|id| is_fixed[id.index()])
                }
            };
        }
        Self { readers, is_fixed, is_output }
    }

    /// Activations that nodes before a cut give to nodes behind it, or out.
    pub(super) fn across(&self, graph: &Graph, node: usize) -> Vec<ValueId> {
        let is_across = |id: &ValueId| match graph.value(*id).source {
            Source::Input | Source::Parameter(_) | Source::Constant(_) => false,
            Source::Node { node: from, .. } => {
                let at = id.index();
                let is_read = self.is_output[at] || self.readers[at].iter().any(|&i| i >= node);
                from < node && !self.is_fixed[at] && is_read
            }
        };
        graph.ids().filter(is_across).collect()
    }

    /// A residual sum, where z is read by it alone.
    pub(super) fn target(&self, graph: &Graph, map: &LinearMap) -> Target {
        let z = map.output;
        let [reader] = self.readers[z.index()].as_slice() else { return Target::Own };
        let node = &graph.nodes()[*reader];
        let other = node.operands.iter().copied().find(|&id| id != z);
        let (Some(other), Some(&sum)) = (other, node.results.first()) else { return Target::Own };
        let shape = &graph.value(sum).shape;
        let is_same = |id: ValueId| &graph.value(id).shape == shape;
        let is_sum = node.op == Op::Binary(Binary::Add) && is_same(z) && is_same(other);
        if is_sum && !self.is_output[z.index()] && !self.is_fixed[other.index()] {
            Target::Sum { sum, other }
        } else {
            Target::Own
        }
    }

    /// Marks a value and all that depends on it.
    pub(super) fn mark_behind(&self, graph: &Graph, of: ValueId, is_marked: &mut [bool]) {
        let mut next = vec![of];
        while let Some(id) = next.pop() {
            if !std::mem::replace(&mut is_marked[id.index()], true) {
                let nodes = self.readers[id.index()].iter().map(|&node| &graph.nodes()[node]);
                next.extend(nodes.flat_map(|node| &node.results));
            }
        }
    }
}
