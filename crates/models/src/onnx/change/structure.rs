//! Parameters, operands and nodes that a graph has otherwise than the file that it came from.

use std::collections::{BTreeMap, HashMap, HashSet};

use candle_core::{DType, Device, Tensor};
use core_tensors::Params;

use super::{ChangeError, named};
use crate::graph::{Graph, Node as GraphNode, Source, ValueId};
use crate::onnx::export::Added;
use crate::onnx::import::producers;
use crate::onnx::{DataType, Edit, Imported, Model, Node, TensorInfo, Values};

/// Writes nodes of a graph with names that the file does not have yet.
pub(super) fn added<'g>(file: &Model, original: &Imported, graph: &'g Graph) -> Added<'g> {
    let tensors: HashSet<&str> = names(file);
    let known = names_of(&original.graph);
    let is_named = |id: ValueId| {
        let value = graph.value(id);
        let is_known = !matches!(value.source, Source::Constant(_));
        is_known && (known.contains(value.name.as_str()) || tensors.contains(value.name.as_str()))
    };
    let nodes = file.nodes().iter().map(|node| node.name.as_str());
    Added::new(graph, (file.opset(), float_type(file)), tensors.iter().copied(), nodes, is_named)
}

/// All tensors of a file.
fn names(file: &Model) -> HashSet<&str> {
    let values = file.inputs().iter().chain(file.outputs()).map(|value| value.name.as_str());
    let tensors = file.initializers().iter().map(|tensor| tensor.name.as_str());
    let results = file.nodes().iter().flat_map(|node| &node.outputs).map(String::as_str);
    values.chain(tensors).chain(results).filter(|name| !name.is_empty()).collect()
}

/// What is no constant in a graph.
fn names_of(graph: &Graph) -> HashSet<&str> {
    let values = graph.values().iter();
    let others = values.filter(|value| !matches!(value.source, Source::Constant(_)));
    others.map(|value| value.name.as_str()).collect()
}

/// Type of the first floats among a file's tensors: that of its numbers.
fn float_type(file: &Model) -> DataType {
    let mut types = file.initializers().iter().map(|tensor| tensor.data_type);
    types.find(|data_type| data_type.is_float()).unwrap_or(DataType::F32)
}

/// The edits that give the file the parameters and the nodes of a graph, all but their settings.
pub(super) fn edits(
    model: &Model,
    original: &Imported,
    graph: &Graph,
    params: &Params,
) -> Result<Vec<Edit>, ChangeError> {
    let mut structure = Structure {
        model,
        original: &original.graph,
        graph,
        producers: producers(model.nodes())?,
        before: by_result(&original.graph),
        added: added(model, original, graph),
        inputs: BTreeMap::new(),
        removed: HashSet::new(),
        inserted: BTreeMap::new(),
        edits: Vec::new(),
    };
    structure.parameters(&original.params, params)?;
    for node in graph.nodes() {
        structure.node(node)?;
    }
    structure.output()?;
    let (tensors, _) = structure.added.take();
    structure.edits.extend(tensors.into_iter().map(Edit::AddTensor));
    Ok(structure.finish())
}

fn by_result(graph: &Graph) -> HashMap<&str, &GraphNode> {
    let first = |node: &GraphNode| node.results.first().map(|&id| graph.value(id).name.as_str());
    graph.nodes().iter().filter_map(|node| Some((first(node)?, node))).collect()
}

struct Structure<'a> {
    model: &'a Model,
    original: &'a Graph,
    graph: &'a Graph,
    /// The file's node behind each of its tensors.
    producers: HashMap<&'a str, usize>,
    /// Nodes of the original graph by their first results.
    before: HashMap<&'a str, &'a GraphNode>,
    added: Added<'a>,
    /// New inputs of the file's nodes.
    inputs: BTreeMap<usize, Vec<String>>,
    /// Nodes of the file in whose place others stand.
    removed: HashSet<usize>,
    /// New nodes by the node of the file before which they stand.
    inserted: BTreeMap<usize, Vec<Node>>,
    edits: Vec<Edit>,
}

impl<'a> Structure<'a> {
    /// Parameters with other numbers or shapes, and new ones.
    fn parameters(&mut self, old: &Params, new: &Params) -> Result<(), ChangeError> {
        let (before, graph) = (self.original, self.graph);
        let old: HashMap<&str, (ValueId, &Tensor)> = before
            .parameters()
            .iter()
            .zip(old.blocks())
            .map(|(&id, block)| (before.value(id).name.as_str(), (id, block)))
            .collect();
        for (&id, block) in graph.parameters().iter().zip(new.blocks()) {
            let value = graph.value(id);
            let extents =
                value.shape.iter().map(|extent| usize::try_from(extent.fixed).unwrap_or(0));
            let dims: Vec<usize> = extents.collect();
            let numbers = flat(block)?;
            match old.get(value.name.as_str()) {
                Some(&(old_id, block)) => {
                    let is_same = before.value(old_id).shape == value.shape && {
                        let bits = |numbers: &[f32]| -> Vec<u32> {
                            numbers.iter().map(|v| v.to_bits()).collect()
                        };
                        bits(&flat(block)?) == bits(&numbers)
                    };
                    if !is_same {
                        let (name, values) = (value.name.clone(), Values::F32(numbers));
                        self.edits.push(Edit::SetTensor { name, dims, values });
                    }
                }
                None => {
                    let name = self.added.value(id);
                    let values = Values::F32(numbers);
                    let tensor = TensorInfo::new(&name, dims, float_type(self.model), &values)?;
                    self.edits.push(Edit::AddTensor(tensor));
                }
            }
        }
        Ok(())
    }

    /// A node that has other operands, or is another one, or is new.
    fn node(&mut self, node: &'a GraphNode) -> Result<(), ChangeError> {
        let Some(&id) = node.results.first() else { return Ok(()) };
        let result = self.graph.value(id).name.as_str();
        let place = self.producers.get(result).copied();
        let Some(&before) = self.before.get(result) else {
            return self.insert(node, place);
        };
        if before.op.name() != node.op.name() {
            return match place {
                Some(_) => self.insert(node, place),
                None => Err(self.composed(result)),
            };
        }
        let index = place.or_else(|| self.whole(result));
        let Some(index) = index else { return Err(self.composed(result)) };
        let file_node = &self.model.nodes()[index];
        let is_plain = place.is_some() && before.op.name() == file_node.op_type;
        let mut inputs = self.inputs.get(&index).unwrap_or(&file_node.inputs).clone();
        for (k, &operand) in node.operands.iter().enumerate() {
            let old = before.operands.get(k).map(|&id| self.original.value(id));
            let new = self.graph.value(operand);
            let is_known = matches!(new.source, Source::Constant(_));
            let was_known = old.is_some_and(|old| matches!(old.source, Source::Constant(_)));
            let name = match old {
                // Constants are compared with what the file makes of them.
                Some(_) if is_known && was_known => continue,
                Some(old) if !is_known && !was_known && old.name == new.name => continue,
                _ if is_known => self.added.constant(operand)?,
                _ => self.added.value(operand),
            };
            self.check_order(index, &name)?;
            if is_plain {
                inputs.resize(inputs.len().max(k + 1), String::new());
                inputs[k] = name;
            } else {
                // One of several operators: the tensor goes in wherever the old one went.
                let old = old.map(|old| old.name.as_str()).unwrap_or_default();
                let places = inputs.iter_mut().filter(|input| *input == old);
                if places.map(|input| *input = name.clone()).count() == 0 {
                    return Err(self.composed(result));
                }
            }
        }
        if node.operands.len() < before.operands.len() {
            if !is_plain || inputs.len() > before.operands.len() {
                return Err(self.composed(result));
            }
            inputs.truncate(node.operands.len());
        }
        if inputs != file_node.inputs {
            self.inputs.insert(index, inputs);
        }
        Ok(())
    }

    /// The file's node of which a result without a name in the file is a part.
    fn whole(&self, result: &str) -> Option<usize> {
        let mut ends = result.match_indices('/').map(|(at, _)| &result[..at]);
        ends.rfind(|name| self.producers.contains_key(name))
            .and_then(|name| self.producers.get(name).copied())
    }

    fn composed(&self, result: &str) -> ChangeError {
        let index = self.producers.get(result).copied().or_else(|| self.whole(result));
        let node = index.and_then(|i| self.model.nodes().get(i));
        let (node, op) = node.map_or((result.to_owned(), String::new()), named);
        ChangeError::Composed { node, op }
    }

    fn check_order(&self, index: usize, tensor: &str) -> Result<(), ChangeError> {
        match self.producers.get(tensor) {
            Some(&producer) if producer >= index => {
                let (node, op) = named(&self.model.nodes()[index]);
                Err(ChangeError::Order { node, op, tensor: tensor.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// A new node, in the place of one of the file or behind what it reads.
    fn insert(&mut self, node: &'a GraphNode, place: Option<usize>) -> Result<(), ChangeError> {
        let made = self.added.node(node)?;
        let behind = made.iter().flat_map(|node| &node.inputs).filter_map(|name| self.place(name));
        let before = match place {
            Some(index) => {
                self.removed.insert(index);
                index
            }
            None => behind.max().unwrap_or(0),
        };
        self.inserted.entry(before).or_default().extend(made);
        Ok(())
    }

    /// The node of the file before which a tensor is there.
    fn place(&self, name: &str) -> Option<usize> {
        let is_made = |(_, nodes): &(&usize, &Vec<Node>)| {
            nodes.iter().any(|node| node.outputs.iter().any(|output| output == name))
        };
        let inserted = self.inserted.iter().find(is_made).map(|(&before, _)| before);
        inserted.or_else(|| self.producers.get(name).map(|&index| index + 1))
    }

    /// Logits of another name get the old one, which others read.
    fn output(&mut self) -> Result<(), ChangeError> {
        let (before, graph) = (self.original, self.graph);
        let (Some(&old), Some(&new)) = (before.outputs().first(), graph.outputs().first()) else {
            return Ok(());
        };
        let name = before.value(old).name.as_str();
        if graph.value(new).name == name {
            return Ok(());
        }
        let wrong = || ChangeError::Output { name: name.to_owned() };
        let is_used = graph.values().iter().any(|value| value.name == name);
        let Some(index) = self.producers.get(name).copied().filter(|_| !is_used) else {
            return Err(wrong());
        };
        let copies = self.added.copy(&self.added.value(new), name);
        let behind = self.place(&self.added.value(new)).unwrap_or(0);
        self.removed.insert(index);
        self.inserted.entry(behind.max(index)).or_default().extend(copies);
        Ok(())
    }

    /// All edits.
    fn finish(self) -> Vec<Edit> {
        let Self { model, inputs, removed, inserted, mut edits, .. } = self;
        for (index, node) in model.nodes().iter().enumerate() {
            if removed.contains(&index) {
                edits.push(Edit::RemoveNode { index });
            } else if let Some(inputs) = inputs.get(&index) {
                let (inputs, outputs) = (inputs.clone(), node.outputs.clone());
                edits.push(Edit::SetNode { index, inputs, outputs, attributes: vec![] });
            }
        }
        for (before, nodes) in inserted {
            edits.extend(nodes.into_iter().map(|node| Edit::InsertNode { before, node }));
        }
        edits
    }
}

fn flat(block: &Tensor) -> Result<Vec<f32>, core_tensors::Error> {
    Ok(block.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
}
