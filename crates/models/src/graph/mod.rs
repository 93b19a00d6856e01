//! Networks as graphs of operators: the form in which networks of other programs come.
//!
//! A [`Graph`] is an architecture, its parameters are a value apart: block t of [`Params`] holds the numbers of
//! [`Graph::parameters`]\[t\], rows = its first axis, columns = all others. So each block is one tensor of the file
//! that it came from, and what is trained or cut goes back there number by number.
//!
//! Nodes stand in topological order. Everything that can be known without the data is known when a graph is built:
//! shapes, as linear functions of the batch, and arithmetic of shapes; what is left are operators on data.
//!
//! [`Params`]: core_tensors::Params

mod architecture;
pub mod axes;
mod build;
pub mod change;
mod cost;
mod dimension;
mod error;
mod fold;
mod infer;
#[cfg(test)]
mod laws;
mod named;
mod op;
mod own;
mod perceptron;
pub mod rules;
mod run;
mod window;

use core_tensors::{Block, Layout};

pub(crate) use infer::check_size;

pub use build::Builder;
pub use dimension::{Dimension, shape_text};
pub use error::{Error, NodeName, Problem};
pub use fold::{Entries, Numbers};
pub use op::{Binary, Kind, Norm, Op, PadMode, Reduction, SliceRange, Unary};
pub use perceptron::NotAPerceptron;
pub use window::Window;

/// A network as nodes in topological order.
#[derive(Clone, Debug)]
pub struct Graph {
    values: Vec<Value>,
    nodes: Vec<Node>,
    /// Values that are fed in.
    inputs: Vec<ValueId>,
    /// Values that are parameters, one a block.
    parameters: Vec<ValueId>,
    /// What comes out: f(x, w) first.
    outputs: Vec<ValueId>,
}

/// Which value of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(usize);

/// A tensor that flows in a graph.
#[derive(Clone, Debug)]
pub struct Value {
    /// Unique in its graph.
    pub name: String,
    /// Its shape, as a function of the batch.
    pub shape: Vec<Dimension>,
    /// Kind of its numbers.
    pub kind: Kind,
    /// Where it comes from.
    pub source: Source,
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Fed in.
    Input,
    /// Block t of the parameters.
    Parameter(usize),
    /// Known when the graph was built.
    Constant(Numbers),
    /// The k-th result of a node.
    Node {
        /// Index of the node.
        node: usize,
        /// Which of its results.
        result: usize,
    },
}

/// An operator and what it is applied to.
#[derive(Clone, Debug)]
pub struct Node {
    /// A name for messages.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Its operands; each stands before it.
    pub operands: Vec<ValueId>,
    /// Its results.
    pub results: Vec<ValueId>,
}

impl ValueId {
    /// Its place in [`Graph::values`].
    pub fn index(self) -> usize {
        self.0
    }
}

impl Graph {
    /// The ids of all values, in the order of [`Graph::values`].
    pub fn ids(&self) -> impl Iterator<Item = ValueId> + use<> {
        (0..self.values.len()).map(ValueId)
    }

    /// All values; [`ValueId`] indexes them through [`Graph::value`].
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// A value of this graph.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// The nodes, each behind those it depends on.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// What is fed in.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// The parameters, in the order of the blocks.
    pub fn parameters(&self) -> &[ValueId] {
        &self.parameters
    }

    /// What comes out; the first is f(x, w): logits, or predictions.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// How messages name a node: by its own name, or that of its first result.
    pub(crate) fn node_name(&self, index: usize) -> NodeName {
        let node = &self.nodes[index];
        let result = || node.results.first().map(|&id| self.value(id).name.clone());
        let name =
            if node.name.is_empty() { result().unwrap_or_default() } else { node.name.clone() };
        NodeName { op: node.op.name().to_owned(), name }
    }

    /// The parameter that a matrix is, perhaps turned by Transposes, and whether it is the transposed one.
    pub(crate) fn matrix_parameter(&self, mut id: ValueId) -> Option<(ValueId, bool)> {
        let mut is_transposed = false;
        loop {
            match &self.value(id).source {
                Source::Parameter(_) => return Some((id, is_transposed)),
                Source::Input | Source::Constant(_) => return None,
                Source::Node { node, .. } => {
                    let Node { op: Op::Transpose { order }, operands, .. } = &self.nodes[*node]
                    else {
                        return None;
                    };
                    if order.len() != 2 {
                        return None;
                    }
                    is_transposed ^= order == &[1, 0];
                    id = *operands.first()?;
                }
            }
        }
    }

    /// Whether each value depends on what is fed in.
    pub fn depends_on_data(&self) -> Vec<bool> {
        let mut depends = vec![false; self.values().len()];
        for (i, value) in self.values().iter().enumerate() {
            depends[i] = match value.source {
                Source::Input => true,
                Source::Parameter(_) | Source::Constant(_) => false,
                Source::Node { node, .. } => {
                    self.nodes()[node].operands.iter().any(|id| depends[id.0])
                }
            };
        }
        depends
    }

    /// One block a parameter: rows its first axis (1 for a scalar), columns all others.
    pub fn layout(&self) -> Layout {
        let block = |&id: &ValueId| {
            let extents: Vec<usize> = self
                .value(id)
                .shape
                .iter()
                .map(|d| usize::try_from(d.fixed).unwrap_or(0))
                .collect();
            match extents.split_first() {
                Some((&rows, rest)) => Block { rows, cols: rest.iter().product() },
                None => Block { rows: 1, cols: 1 },
            }
        };
        Layout { blocks: self.parameters.iter().map(block).collect() }
    }
}
