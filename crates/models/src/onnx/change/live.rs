//! Which nodes and tensors of a file its outputs need.

use std::collections::{HashMap, HashSet};

use super::{ChangeError, named};
use crate::graph::Dimension;
use crate::onnx::import::producers;
use crate::onnx::{Attribute, Edit, Imported, Model, Node};

/// The removal of nodes and tensors that the outputs of the original file needed, and those of the changed one do not.
pub(super) fn cleanup(original: &Model, file: &Model) -> Result<Vec<Edit>, ChangeError> {
    let mut edits = Vec::new();
    // A loop or a branch reads tensors that its node does not name.
    if file.nodes().iter().any(has_body) {
        return Ok(edits);
    }
    let (was, is) = (needed(original)?, needed(file)?);
    let is_gone = |name: &str| was.contains(name) && !is.contains(name);
    let mut gone: HashSet<&str> = HashSet::new();
    for (index, node) in file.nodes().iter().enumerate() {
        let is_needed = node.outputs.iter().any(|name| is.contains(name.as_str()));
        if !is_needed && node.outputs.iter().any(|name| is_gone(name)) {
            edits.push(Edit::RemoveNode { index });
            gone.extend(node.outputs.iter().map(String::as_str));
        }
    }
    for tensor in file.initializers().iter().filter(|tensor| is_gone(&tensor.name)) {
        edits.push(Edit::RemoveTensor { name: tensor.name.clone() });
    }
    // Nodes may have gone already, with others in their places.
    let producers = producers(file.nodes())?;
    let mut seen = HashSet::new();
    for value in file.value_infos().iter().map(|value| value.name.as_str()) {
        let is_gone = gone.contains(value) || is_gone(value) && !producers.contains_key(value);
        let is_tensor = file.initializers().iter().any(|tensor| tensor.name == value);
        if is_gone && !is_tensor && seen.insert(value) {
            edits.push(Edit::RemoveValueInfo { name: value.to_owned() });
        }
    }
    Ok(edits)
}

/// Names of all tensors that the outputs of a file need.
fn needed(file: &Model) -> Result<HashSet<&str>, ChangeError> {
    let producers = producers(file.nodes())?;
    let mut needed: HashSet<&str> = HashSet::new();
    let mut open: Vec<&str> = file.outputs().iter().map(|output| output.name.as_str()).collect();
    while let Some(name) = open.pop() {
        if !name.is_empty()
            && needed.insert(name)
            && let Some(&i) = producers.get(name)
        {
            open.extend(file.nodes()[i].inputs.iter().map(String::as_str));
        }
    }
    Ok(needed)
}

/// Whether a node has a loop or a branch inside, which may read any tensor.
pub(super) fn has_body(node: &Node) -> bool {
    node.attributes.iter().any(|(_, value)| matches!(value, Attribute::Graph))
}

/// Refuses a file in which a node that is no part of the network reads a tensor that has another shape now, or is gone.
pub(super) fn check_outside(
    file: &Model,
    original: &Imported,
    shapes: &HashMap<String, Vec<Dimension>>,
) -> Result<(), ChangeError> {
    let before: HashMap<&str, &[Dimension]> = original
        .graph
        .values()
        .iter()
        .map(|value| (value.name.as_str(), value.shape.as_slice()))
        .collect();
    let producers = producers(file.nodes())?;
    let inputs = file.inputs().iter().map(|input| input.name.as_str());
    let known: HashSet<&str> =
        inputs.chain(file.initializers().iter().map(|tensor| tensor.name.as_str())).collect();
    for node in file.nodes() {
        let is_inside = node.outputs.first().is_some_and(|name| shapes.contains_key(name));
        if is_inside {
            continue;
        }
        for name in node.inputs.iter().filter(|name| !name.is_empty()) {
            let has_changed = match (before.get(name.as_str()), shapes.get(name)) {
                (Some(before), Some(now)) => *before != now.as_slice(),
                _ => false,
            };
            let is_there = known.contains(name.as_str()) || producers.contains_key(name.as_str());
            if has_changed || !is_there {
                let (node, op) = named(node);
                return Err(ChangeError::Outside { node, op, tensor: name.clone() });
            }
        }
    }
    Ok(())
}
