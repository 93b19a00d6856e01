//! Who reads what in a graph, what depends on the data, and where a linear map ends in a residual sum.

use candle_core::Tensor;
use models::graph::axes::LinearMap;
use models::graph::{Binary, Graph, Op, Source, ValueId};

/// The readers of each value.
pub(super) struct Flow {
    readers: Vec<Vec<usize>>,
    is_fixed: Vec<bool>,
    is_output: Vec<bool>,
}

/// What a map is fitted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// z of the original network.
    Own,
    /// The original sum that z ends in, less what the other branch gives now.
    Sum {
        /// z + other.
        sum: ValueId,
        /// The other branch.
        other: ValueId,
        /// How z was arranged on the way to the sum, first step first.
        steps: Vec<Arrangement>,
    },
}

/// The same numbers in another order or shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrangement {
    /// The value before.
    before: ValueId,
    /// Of a Transpose; none of what only gives the numbers other extents.
    order: Option<Vec<usize>>,
}

impl Flow {
    pub(super) fn of(graph: &Graph) -> Self {
        let n = graph.values().len();
        let (mut readers, mut is_output) = (vec![Vec::new(); n], vec![false; n]);
        for (i, node) in graph.nodes().iter().enumerate() {
            node.operands.iter().for_each(|id| readers[id.index()].push(i));
        }
        graph.outputs().iter().for_each(|id| is_output[id.index()] = true);
        let is_fixed = graph.depends_on_data().into_iter().map(|depends| !depends).collect();
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

    /// A residual sum, where z is read by it alone, perhaps in another arrangement.
    pub(super) fn target(&self, graph: &Graph, map: &LinearMap) -> Target {
        let (mut z, mut steps) = (map.output, Vec::new());
        loop {
            let [reader] = self.readers[z.index()].as_slice() else { return Target::Own };
            let node = &graph.nodes()[*reader];
            let Some(&result) = node.results.first() else { return Target::Own };
            if self.is_output[z.index()] {
                return Target::Own;
            }
            if let Some(order) = arrangement(&node.op) {
                steps.push(Arrangement { before: z, order });
                z = result;
                continue;
            }
            let Some(other) = node.operands.iter().copied().find(|&id| id != z) else {
                return Target::Own;
            };
            let shape = &graph.value(result).shape;
            let is_same = |id: ValueId| &graph.value(id).shape == shape;
            let is_sum = node.op == Op::Binary(Binary::Add) && is_same(z) && is_same(other);
            return if is_sum && !self.is_fixed[other.index()] {
                Target::Sum { sum: result, other, steps }
            } else {
                Target::Own
            };
        }
    }

    /// The map whose zeros make a value 0: the one that gives it, perhaps in another arrangement.
    pub(super) fn map_behind(
        &self,
        graph: &Graph,
        maps: &[LinearMap],
        value: ValueId,
    ) -> Option<usize> {
        let mut value = value;
        loop {
            if let Some(m) = maps.iter().position(|map| map.output == value) {
                return Some(m);
            }
            let Source::Node { node, .. } = graph.value(value).source else { return None };
            let node = &graph.nodes()[node];
            arrangement(&node.op)?;
            value = *node.operands.first()?;
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

/// The order of a Transpose, none of a change of extents; `None` where an operator is something else.
#[expect(clippy::option_option, reason = "whether it is an arrangement, and which")]
fn arrangement(op: &Op) -> Option<Option<Vec<usize>>> {
    match op {
        Op::Transpose { order } => Some(Some(order.clone())),
        Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze { .. } | Op::Unsqueeze { .. } => {
            Some(None)
        }
        _ => None,
    }
}

impl Arrangement {
    /// The numbers of a value in the arrangement before these steps; m examples.
    pub(super) fn undone(
        steps: &[Self],
        graph: &Graph,
        m: usize,
        value: Tensor,
    ) -> candle_core::Result<Tensor> {
        let mut value = value;
        for step in steps.iter().rev() {
            value = match &step.order {
                Some(order) => {
                    let mut inverse = vec![0; order.len()];
                    order.iter().enumerate().for_each(|(to, &from)| inverse[from] = to);
                    value.permute(inverse)?.contiguous()?
                }
                None => {
                    let extents = graph.value(step.before).shape.iter().map(|extent| {
                        extent.of_batch(m).and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
                    });
                    value.reshape(extents.collect::<Vec<_>>())?
                }
            };
        }
        Ok(value)
    }
}
