//! Files whose input is standardized by their first nodes.

use std::collections::HashSet;

use super::live::has_body;
use super::{ChangeError, named};
use crate::graph::Dimension;
use crate::graph::change::Standardization;
use crate::onnx::{DataType, Dimension as FileDimension, Edit, Model, Node, TensorInfo, Values};

/// The file in which every node that read the one input x reads (x − mean)/std, as Sub and Div in front of all others compute
/// it.
///
/// The input keeps its name, type and shape, mean and std have its type; all other bytes stay. Inputs that initializers give
/// a value are none here.
///
/// # Errors
/// Where the file has another number of inputs, one that is not of floats, or loops and branches, whose insides may read the
/// input, and where mean and std do not fit; see [`ChangeError`].
pub fn standardize_input(
    model: &Model,
    standardization: &Standardization,
) -> Result<Vec<u8>, ChangeError> {
    let tensors: HashSet<&str> = model.initializers().iter().map(|t| t.name.as_str()).collect();
    let inputs = model.inputs().iter().filter(|input| !tensors.contains(input.name.as_str()));
    let inputs: Vec<_> = inputs.collect();
    let wrong = |expected, found| ChangeError::Input { expected, found };
    let [input] = inputs[..] else {
        return Err(wrong("one input", format!("{} inputs", inputs.len())));
    };
    let name = input.name.as_str();
    let float = input.data_type().filter(|data_type| data_type.is_float());
    let Some(data_type) = float else {
        let found = input.data_type().map_or("none".to_owned(), |found| format!("{found:?}"));
        return Err(wrong("a tensor of floats", format!("`{name}` of type {found}")));
    };
    if let Some(node) = model.nodes().iter().find(|node| has_body(node)) {
        let (node, op) = named(node);
        return Err(wrong("nodes without loops and branches", format!("node `{node}` ({op})")));
    }
    let extent = |dim: &FileDimension| match dim {
        FileDimension::Known(n) => Some(Dimension::known(i64::try_from(*n).ok()?)),
        FileDimension::Named(_) | FileDimension::Unknown => Some(Dimension::BATCH),
    };
    // An input whose shape the file does not say takes any.
    if let Some(dims) = input.dims() {
        let extents: Vec<Dimension> = dims.iter().filter_map(extent).collect();
        standardization.check(name, &extents)?;
    }
    let mut taken = names(model);
    let mut unique = |name: String| {
        let (mut unique, mut number) = (name.clone(), 2);
        while !taken.insert(unique.clone()) {
            unique = format!("{name}.{number}");
            number += 1;
        }
        unique
    };
    let mut edits = Vec::new();
    let mut last = name.to_owned();
    let stages = [
        ("Sub", "mean", "centered", &standardization.mean),
        ("Div", "std", "standardized", &standardization.std),
    ];
    for (op, what, stage, numbers) in stages {
        let tensor = unique(format!("{name}.{what}"));
        edits.push(Edit::AddTensor(tensor_of(&tensor, data_type, standardization, numbers)?));
        let result = unique(format!("{name}.{stage}"));
        let node = Node {
            name: result.clone(),
            op_type: op.to_owned(),
            inputs: vec![last, tensor],
            outputs: vec![result.clone()],
            ..Node::default()
        };
        edits.push(Edit::InsertNode { before: 0, node });
        last = result;
    }
    for (index, node) in model.nodes().iter().enumerate() {
        if node.inputs.iter().any(|read| read == name) {
            let inputs = node.inputs.iter().map(|read| if read == name { &last } else { read });
            let (inputs, outputs) = (inputs.cloned().collect(), node.outputs.clone());
            edits.push(Edit::SetNode { index, inputs, outputs, attributes: Vec::new() });
        }
    }
    Ok(model.patch(&edits)?)
}

fn tensor_of(
    name: &str,
    data_type: DataType,
    standardization: &Standardization,
    numbers: &[f64],
) -> Result<TensorInfo, ChangeError> {
    let values = Values::F32(numbers.iter().map(|&v| v as f32).collect());
    Ok(TensorInfo::new(name, standardization.shape.clone(), data_type, &values)?)
}

/// All names of tensors and nodes.
fn names(model: &Model) -> HashSet<String> {
    let values = model.inputs().iter().chain(model.outputs()).chain(model.value_infos());
    let tensors = model.initializers().iter().map(|tensor| &tensor.name);
    let of_node = |node: &Node| {
        let tensors = node.inputs.iter().chain(&node.outputs);
        tensors.cloned().chain([node.name.clone()]).collect::<Vec<_>>()
    };
    let nodes = model.nodes().iter().flat_map(of_node);
    values.map(|value| &value.name).chain(tensors).cloned().chain(nodes).collect()
}
