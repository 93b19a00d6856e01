//! The nodes that a tensor needs, each behind those it reads.

use std::collections::HashSet;

use super::ImportError;
use super::logits::producers;
use crate::onnx::{Model, Node};

/// The nodes behind a tensor in topological order, whatever their order in the file.
pub(super) fn needed<'a>(model: &'a Model, tensor: &str) -> Result<Vec<&'a Node>, ImportError> {
    let nodes = model.nodes();
    let producers = producers(nodes)?;
    // Old files list initializers among the inputs; results of nodes are neither.
    let tensors = model.initializers().iter().map(|tensor| &tensor.name);
    let mut given = tensors.chain(model.inputs().iter().map(|input| &input.name));
    if let Some(tensor) = given.find(|name| producers.contains_key(name.as_str())) {
        return Err(ImportError::WrittenTwice { tensor: tensor.clone() });
    }
    let mut inputs = HashSet::new();
    if let Some(input) = model.inputs().iter().find(|input| !inputs.insert(&input.name)) {
        return Err(ImportError::WrittenTwice { tensor: input.name.clone() });
    }
    let Some(&last) = producers.get(tensor) else { return Ok(Vec::new()) };
    let mut state = vec![State::New; nodes.len()];
    let mut ordered = Vec::new();
    // Depth first, with a stack of our own: a chain of nodes may be long.
    let mut open = vec![(last, 0)];
    state[last] = State::Open;
    while let Some((i, input)) = open.pop() {
        let Some(name) = nodes[i].inputs.get(input) else {
            state[i] = State::Done;
            ordered.push(&nodes[i]);
            continue;
        };
        open.push((i, input + 1));
        if let Some(&before) = producers.get(name.as_str()) {
            match state[before] {
                State::Done => {}
                State::Open => return Err(cycle(&nodes[before])),
                State::New => {
                    state[before] = State::Open;
                    open.push((before, 0));
                }
            }
        }
    }
    Ok(ordered)
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    Open,
    Done,
}

fn cycle(node: &Node) -> ImportError {
    ImportError::Cycle { node: super::node::name(node), op: node.op_type.clone() }
}
