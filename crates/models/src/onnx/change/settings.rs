//! Constants and settings of nodes that a file has otherwise than a graph.

use std::collections::{BTreeMap, HashMap};

use super::{ChangeError, named, structure};
use crate::graph::{Graph, Node as GraphNode, Op, Source};
use crate::onnx::export::Added;
use crate::onnx::import::Difference;
use crate::onnx::{Attribute, DataType, Edit, Imported, Model, Node};

/// The edits that settle these differences.
pub(super) fn edits(
    file: &Model,
    original: &Imported,
    graph: &Graph,
    differences: &[Difference],
) -> Result<Vec<Edit>, ChangeError> {
    let by_result = |graph: &'_ Graph| -> HashMap<String, usize> {
        let first = |(i, node): (usize, &GraphNode)| {
            Some((graph.value(*node.results.first()?).name.clone(), i))
        };
        graph.nodes().iter().enumerate().filter_map(first).collect()
    };
    let (wanted, before) = (by_result(graph), by_result(&original.graph));
    let mut added = structure::added(file, original, graph);
    let mut changed: BTreeMap<usize, Change> = BTreeMap::new();
    let mut edits = Vec::new();
    for &difference in differences {
        let (Difference::Op(index)
        | Difference::Composed(index)
        | Difference::Constant { node: index, .. }) = difference;
        let Some(node) = file.nodes().get(index) else { continue };
        let unwritten = || {
            let (node, op) = named(node);
            ChangeError::Setting { node, op }
        };
        let result = node.outputs.first().map(String::as_str).unwrap_or_default();
        let expected = wanted.get(result).map(|&i| &graph.nodes()[i]).ok_or_else(unwritten)?;
        let change = changed.entry(index).or_insert_with(|| Change::of(node));
        match difference {
            Difference::Composed(_) => {
                let (node, op) = named(node);
                return Err(ChangeError::Composed { node, op });
            }
            Difference::Constant { place, .. } => {
                let id = expected.operands.get(place).copied().ok_or_else(unwritten)?;
                if !matches!(graph.value(id).source, Source::Constant(_)) {
                    return Err(unwritten());
                }
                let name = added.constant(id)?;
                *change.inputs.get_mut(place).ok_or_else(unwritten)? = name;
            }
            Difference::Op(_) => {
                let old = before.get(result).map(|&i| &original.graph.nodes()[i]);
                set(&mut added, file, node, change, (graph, expected), (&original.graph, old))?;
            }
        }
        let (tensors, nodes) = added.take();
        edits.extend(tensors.into_iter().map(Edit::AddTensor));
        edits.extend(nodes.into_iter().map(|node| Edit::InsertNode { before: index, node }));
    }
    for (index, change) in changed {
        edits.extend(change.edits(index, &file.nodes()[index]));
    }
    Ok(edits)
}

/// What becomes of a node of the file.
struct Change {
    inputs: Vec<String>,
    attributes: Vec<(String, Attribute)>,
    /// Attributes that would contradict what is new.
    dropped: Vec<&'static str>,
    /// Nodes that compute what it takes.
    before: Vec<Node>,
}

impl Change {
    fn of(node: &Node) -> Self {
        Self { inputs: node.inputs.clone(), attributes: vec![], dropped: vec![], before: vec![] }
    }

    /// An edit of the node, or, where attributes go, another node in its place.
    fn edits(self, index: usize, node: &Node) -> Vec<Edit> {
        let outputs = node.outputs.clone();
        let insert = |node| Edit::InsertNode { before: index, node };
        let mut edits: Vec<Edit> = self.before.iter().cloned().map(insert).collect();
        if !self.dropped.iter().any(|name| node.attribute(name).is_some()) {
            let Self { inputs, attributes, .. } = self;
            edits.push(Edit::SetNode { index, inputs, outputs, attributes });
            return edits;
        }
        let kept = node.attributes.iter().filter(|(name, _)| {
            !self.dropped.contains(&name.as_str())
                && !self.attributes.iter().any(|(new, _)| new == name)
        });
        let attributes = kept.cloned().chain(self.attributes.iter().cloned()).collect();
        let node = Node { inputs: self.inputs, attributes, ..node.clone() };
        edits.extend([Edit::RemoveNode { index }, insert(node)]);
        edits
    }

    /// Puts names behind the first input, in place of all others.
    fn settings(&mut self, names: &[String]) {
        self.inputs.truncate(1);
        self.inputs.extend_from_slice(names);
    }
}

/// Brings a node's settings to those of the graph.
fn set<'g, 'o>(
    added: &mut Added<'g>,
    file: &Model,
    node: &Node,
    change: &mut Change,
    (graph, expected): (&'g Graph, &'g GraphNode),
    (old_graph, old): (&'o Graph, Option<&'o GraphNode>),
) -> Result<(), ChangeError> {
    /// Since this operator set, the sizes of a Split are an input.
    const SIZES_AS_INPUT: i64 = 13;
    let unwritten = || {
        let (node, op) = named(node);
        ChangeError::Setting { node, op }
    };
    let is_same = node.op_type == expected.op.name();
    match &expected.op {
        Op::Reshape { shape } if is_same => {
            let of = expected.operands.first().map(|&id| &graph.value(id).shape[..]);
            let name = format!("{}/shape", node.outputs[0]);
            let (inputs, attributes) = added.reshaped(&name, of.unwrap_or_default(), shape)?;
            change.settings(inputs.get(1..).unwrap_or_default());
            let zero = i64::from(!attributes.is_empty());
            if zero != 0 || node.attribute("allowzero").is_some() {
                change.attributes.push(("allowzero".to_owned(), Attribute::Int(zero)));
            }
        }
        Op::Split { sizes, .. } if is_same && file.opset() < SIZES_AS_INPUT => {
            let sizes: Option<Vec<i64>> = sizes.iter().map(|size| size.as_known()).collect();
            let sizes = Attribute::Ints(sizes.ok_or_else(unwritten)?);
            change.attributes.push(("split".to_owned(), sizes));
        }
        Op::Expand { .. }
        | Op::Tile { .. }
        | Op::Split { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
            if is_same =>
        {
            let made = added.node(expected)?;
            let (last, before) = made.split_last().ok_or_else(unwritten)?;
            change.before.extend_from_slice(before);
            change.settings(last.inputs.get(1..).unwrap_or_default());
            change.dropped.push("num_outputs");
        }
        // The shape is the only input.
        Op::Fill { .. } if is_same => {
            let made = added.node(expected)?;
            let (last, before) = made.split_last().ok_or_else(unwritten)?;
            change.before.extend_from_slice(before);
            change.inputs.clone_from(&last.inputs);
        }
        Op::GroupNormalization { groups, .. } if is_same => {
            let groups = Attribute::Int(*groups as i64);
            if node.attribute("num_groups") == Some(&groups) {
                return Err(unwritten());
            }
            change.attributes.push(("num_groups".to_owned(), groups));
        }
        _ => {
            let old = old.ok_or_else(unwritten)?;
            let old_file = written(old_graph, old, file)?;
            let made = added.node(expected)?;
            let ([before], [now]) = (&old_file[..], &made[..]) else { return Err(unwritten()) };
            let is_plain = before.op_type == now.op_type
                && now.op_type == node.op_type
                && now.inputs.len() == expected.operands.len();
            if !is_plain {
                return Err(unwritten());
            }
            let differs =
                |(name, value): &&(String, Attribute)| before.attribute(name) != Some(value);
            change.attributes.extend(now.attributes.iter().filter(differs).cloned());
            if change.attributes.is_empty() {
                return Err(unwritten());
            }
        }
    }
    Ok(())
}

/// The node as it was, in the form in which nodes are written here.
fn written<'o>(
    graph: &'o Graph,
    node: &'o GraphNode,
    file: &Model,
) -> Result<Vec<Node>, ChangeError> {
    let settings = (file.opset(), DataType::F32);
    let mut added = Added::new(graph, settings, [].into_iter(), [].into_iter(), |_| false);
    Ok(added.node(node)?)
}
