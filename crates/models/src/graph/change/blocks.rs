//! Residual blocks, and graphs without some of them.

use std::collections::{HashMap, HashSet};

use core_tensors::Params;

use super::GraphChangeError;
use super::draft::Draft;
use super::readers::Readers;
use crate::graph::{Binary, Graph, Kind, Op, Source, ValueId};

/// A sum of an activation and of something that is computed of it: x + f(x).
///
/// A block with a projection, g(x) + f(x), is none: nothing could be passed on in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResidualBlock {
    /// That of the Add, or of what it gives.
    pub name: String,
    /// Index of the Add.
    pub add: usize,
    /// x, the operand that is passed on.
    pub identity: ValueId,
    /// f(x), the operand that would go.
    pub branch: ValueId,
    /// x + f(x).
    pub result: ValueId,
    /// Indices of the nodes that only the branch needs, in the order of the graph.
    pub nodes: Vec<usize>,
}

impl Graph {
    /// The residual blocks in the order of the graph, those inside of others too.
    ///
    /// Both operands of the Add have the same shape and depend on the data, one of them on the other. Something in the branch
    /// has a parameter, and nothing between the two operands is read elsewhere or comes out of the graph. What is scaled or
    /// projected on the way past the branch is not listed.
    pub fn residual_blocks(&self) -> Vec<ResidualBlock> {
        let readers = Readers::of(self);
        let depends = self.depends_on_data();
        let mut blocks = Vec::new();
        for (add, node) in self.nodes().iter().enumerate() {
            let (Op::Binary(Binary::Add), &[a, b], &[result]) =
                (&node.op, node.operands.as_slice(), node.results.as_slice())
            else {
                continue;
            };
            let [left, right] = [a, b].map(|id| self.value(id));
            let is_sum = a != b
                && depends[a.0]
                && depends[b.0]
                && left.kind == Kind::Float
                && left.shape == right.shape;
            if !is_sum {
                continue;
            }
            let found = [(a, b), (b, a)].into_iter().find_map(|(identity, branch)| {
                Some((identity, branch, self.branch(&readers, add, identity, branch)?))
            });
            if let Some((identity, branch, nodes)) = found {
                let name = self.node_name(add).name;
                blocks.push(ResidualBlock { name, add, identity, branch, result, nodes });
            }
        }
        blocks
    }

    /// The graph in which those who read x + f(x) read x, for some of [`Graph::residual_blocks`]; parameters that the
    /// branches alone needed go with them.
    ///
    /// Where x + f(x) is the first output of the graph, x is it now, under its own name; [`crate::onnx::rewrite`] gives it the
    /// name of the old one in the file.
    ///
    /// # Errors
    /// For blocks that the graph does not list, for those whose result is an output behind the first one, and where the
    /// parameters are those of another graph.
    pub fn without_blocks(
        &self,
        params: &Params,
        blocks: &[ResidualBlock],
    ) -> Result<(Self, Params), GraphChangeError> {
        let known = self.residual_blocks();
        let mut draft = Draft::of(self, params)?;
        let (mut gone, mut passed_on) = (HashSet::new(), HashMap::new());
        for block in blocks {
            let name = || block.name.clone();
            if !known.contains(block) {
                return Err(GraphChangeError::NoBlock { block: name() });
            }
            if self.outputs().iter().skip(1).any(|&id| id == block.result) {
                let [output, identity] =
                    [block.result, block.identity].map(|id| self.value(id).name.clone());
                return Err(GraphChangeError::Output { block: name(), output, identity });
            }
            gone.extend(block.nodes.iter().copied().chain([block.add]));
            passed_on.insert(block.result, block.identity);
        }
        let operands = draft.nodes.iter_mut().flat_map(|node| &mut node.operands);
        for id in operands.chain(&mut draft.outputs) {
            while let Some(&identity) = passed_on.get(id) {
                *id = identity;
            }
        }
        draft.remove(|index| gone.contains(&index));
        draft.build()
    }

    /// The nodes that only the branch of a block needs; `None` where it is no branch.
    fn branch(
        &self,
        readers: &Readers,
        add: usize,
        identity: ValueId,
        branch: ValueId,
    ) -> Option<Vec<usize>> {
        let producer = |id: ValueId| match self.value(id).source {
            Source::Node { node, .. } => Some(node),
            Source::Input | Source::Parameter(_) | Source::Constant(_) => None,
        };
        // What the branch is computed of, from the identity on.
        let (mut cone, mut open) = (HashSet::new(), vec![branch]);
        while let Some(id) = open.pop() {
            if id != identity
                && let Some(node) = producer(id)
                && cone.insert(node)
            {
                open.extend(&self.nodes()[node].operands);
            }
        }
        let mut cone: Vec<usize> = cone.into_iter().collect();
        cone.sort_unstable();
        let mut reached = HashSet::from([identity]);
        let mut between = Vec::new();
        for &i in &cone {
            let node = &self.nodes()[i];
            if node.operands.iter().any(|id| reached.contains(id)) {
                reached.extend(&node.results);
                between.push(i);
            }
        }
        let mut alone = HashSet::new();
        for &i in cone.iter().rev().filter(|&&i| Some(i) != producer(identity)) {
            let is_alone = self.nodes()[i].results.iter().all(|&id| {
                let mut nodes = readers.nodes(id).iter();
                !readers.is_output(id)
                    && nodes.all(|reader| alone.contains(reader) || *reader == add)
            });
            if is_alone {
                alone.insert(i);
            }
        }
        let has_parameter = alone.iter().any(|&i| {
            let mut operands = self.nodes()[i].operands.iter();
            operands.any(|&id| matches!(self.value(id).source, Source::Parameter(_)))
        });
        let is_branch = reached.contains(&branch)
            && has_parameter
            && between.iter().all(|node| alone.contains(node));
        cone.retain(|node| alone.contains(node));
        is_branch.then_some(cone)
    }
}
