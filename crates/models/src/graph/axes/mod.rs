//! Which channels of a network go together, and the network without some of them.
//!
//! A *unit* is what can be removed on its own: an output of a linear node (Gemm, MatMul with a parameter, Conv), with all
//! that depends on it alone. Units begin as the rows of a *producer*, go through the graph by the rules of each operator,
//! and end as columns of *consumers*. Where two activations meet number by number, their units become one; where a product
//! of two activations sums over units, all of them become one (a head of an attention). What an operator does not pass on
//! stays, with the operator's name: an unknown operator costs opportunity, never correctness.
//!
//! | part of a graph | rule |
//! |---|---|
//! | Gemm, MatMul with a parameter, Conv of one group | consumer of its input axis, producer of its output axis |
//! | depthwise Conv, BatchNormalization, InstanceNormalization, PRelu, a parameter or constant along the axis | follows |
//! | functions of one number, pooling, reductions and softmax over other axes | pass the axis through |
//! | Flatten, Reshape, Transpose, Squeeze, Unsqueeze, Expand, Concat, Split, Slice, Gather | map the axis |
//! | Add, Mul and others of two activations | join both axes |
//! | MatMul of two activations | makes one unit of what it sums over, joins the others |
//! | LayerNormalization, GroupNormalization, softmax and reductions over the axis, inputs, outputs, all else | pin |

mod error;
mod fixed;
mod groups;
mod labels;
mod linear;
mod maps;
mod narrow;
mod parts;
mod settle;
mod sizes;
mod text;
mod units;
mod walk;

use super::{Graph, ValueId};
use walk::Walk;

pub use error::AxesError;
pub use maps::LinearMap;
pub use sizes::Sizes;

/// Groups of units of a graph.
#[derive(Clone, Debug)]
pub struct Axes {
    groups: Vec<Group>,
    maps: Vec<LinearMap>,
    /// For each value of the graph, the axes along which it has units.
    cuts: Vec<Vec<Cut>>,
}

/// Units along an axis of a value.
#[derive(Clone, Debug)]
struct Cut {
    axis: usize,
    /// Group and unit of each entry; entries without one stay. An axis of extent N·k has k of them, which repeat.
    units: Vec<Option<(usize, usize)>>,
}

/// Units that are removed from the same tensors.
#[derive(Clone, Debug)]
pub struct Group {
    /// That of its first producer.
    pub name: String,
    /// How many units it has.
    pub n_units: usize,
    /// Where the units come from.
    pub producers: Vec<Producer>,
    /// Parameters and constants whose entries go with the units.
    pub followers: Vec<Follower>,
    /// Where the units end.
    pub consumers: Vec<Consumer>,
    /// Nodes that join units of several producers or channels, by index.
    pub joins: Vec<usize>,
    /// Why no unit can be removed, if none can.
    pub pinned: Option<String>,
}

/// A linear node whose outputs are units.
#[derive(Clone, Debug)]
pub struct Producer {
    /// A name for messages.
    pub name: String,
    /// Index of the node.
    pub node: usize,
    /// Its weight, a parameter.
    pub weight: ValueId,
    /// The axis of the weight that counts the outputs.
    pub axis: usize,
    /// For each unit of the group, its places on the axis.
    pub entries: Vec<Vec<usize>>,
    /// A parameter of one number an output that the node, or the Add behind it, adds.
    pub bias: Option<ValueId>,
}

/// A parameter or constant that is cut with the units.
#[derive(Clone, Debug)]
pub struct Follower {
    /// A name for messages.
    pub name: String,
    /// The parameter or constant.
    pub value: ValueId,
    /// The axis that is cut.
    pub axis: usize,
    /// For each unit of the group, its places on the axis.
    pub entries: Vec<Vec<usize>>,
}

/// A linear node whose inputs are units.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// A name for messages.
    pub name: String,
    /// Index of the node.
    pub node: usize,
    /// Its weight, a parameter.
    pub weight: ValueId,
    /// The axis of the weight that counts the inputs.
    pub axis: usize,
    /// The axis of the weight that counts the outputs.
    pub output_axis: usize,
    /// A parameter of one number an output that the node, or the Add behind it, adds.
    pub bias: Option<ValueId>,
    /// For each unit of the group, its columns in the matrix W (out, in · k²), in the order channel, row, column.
    pub columns: Vec<Vec<usize>>,
}

impl Axes {
    /// The groups of a graph: first those with units that can be removed, each kind in the order of the graph.
    pub fn of(graph: &Graph) -> Self {
        let mut walk = Walk::new(graph);
        walk.run();
        walk.settle();
        walk.groups()
    }

    /// The groups.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// How many values the graph has that these axes are of.
    pub fn n_values(&self) -> usize {
        self.cuts.len()
    }

    /// The linear maps with parameters, in the order of the graph.
    pub fn maps(&self) -> &[LinearMap] {
        &self.maps
    }
}
