//! Changes of a few parts of a file, which leave all other bytes as they are.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::data_type::DataType;
use super::error::{Error, Quoted, Result};
use super::model::{Model, fields, graph_fields};
use super::node::{Attribute, Node};
use super::numbers::{self, Values};
use super::reader::Reader;
use super::rewrite;
use super::rope::Rope;
use super::tensor::TensorInfo;
use super::value::{Dimension, ValueInfo};
use super::wire::{Field, Span, put_bytes};

/// A change of a file, for [`Model::patch`].
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Gives an initializer, or the tensor of the Constant node with this output, other dims and numbers.
    ///
    /// Its data type, name and everything else that the file says about it stay; its numbers are then in the file, however
    /// they were stored before. A shape that the file declares for the value of this name follows.
    SetTensor {
        /// Name of the initializer, or output of the Constant node.
        name: String,
        /// Its dims.
        dims: Vec<usize>,
        /// Its numbers, in row-major order.
        values: Values,
    },
    /// Adds an initializer behind all others; an input declares it where the version of the format asks for that.
    AddTensor(TensorInfo),
    /// Removes an initializer, and the input or value of this name that declares it.
    RemoveTensor {
        /// Its name.
        name: String,
    },
    /// Gives a node other inputs and outputs and some other attributes; all else stays.
    SetNode {
        /// The node, from 0 in the order of the file.
        index: usize,
        /// Names of all its inputs.
        inputs: Vec<String>,
        /// Names of all its outputs.
        outputs: Vec<String>,
        /// Attributes that are replaced or added.
        attributes: Vec<(String, Attribute)>,
    },
    /// Adds a node.
    InsertNode {
        /// The node before which it goes, from 0 in the order of the file; the number of nodes to put it last.
        before: usize,
        /// The node.
        node: Node,
    },
    /// Removes a node.
    RemoveNode {
        /// The node, from 0 in the order of the file.
        index: usize,
    },
    /// Declares another shape for a value: an input, an output or one inside the graph.
    SetShape {
        /// Its name.
        name: String,
        /// Its dims.
        dims: Vec<Dimension>,
    },
    /// Removes the declaration of a value inside the graph.
    RemoveValueInfo {
        /// Its name.
        name: String,
    },
    /// Adds an entry to the file's metadata, or gives the entry of this key another value.
    SetMetadata {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
    },
}

impl Model {
    /// The bytes of the file with these changes; without changes, the bytes of the file.
    ///
    /// What is not changed stays as it is, byte for byte and in its order: fields that are unknown here too. Indices and names
    /// are those of this file, whatever other edits do. Nothing checks that the graph still fits together.
    ///
    /// # Errors
    ///
    /// An edit names something that the file does not have, two edits concern the same part, or a tensor cannot hold the
    /// numbers.
    pub fn patch(&self, edits: &[Edit]) -> Result<Vec<u8>> {
        let plan = Plan::new(self, edits)?;
        let reader = &mut Reader::new(self.bytes());
        let mut rope = Rope::default();
        let mut message = reader.message(Span { start: 0, end: self.bytes().len() }, "ModelProto");
        let mut entries = self.metadata().iter().map(|(key, _)| key.as_str());
        let mut written = HashSet::new();
        while let Some(field) = message.field()? {
            match field.number {
                fields::GRAPH => {
                    let old = field.bytes()?;
                    let graph = plan.graph(reader, old)?;
                    rope.nest(field.span, field.key, old, graph);
                }
                fields::METADATA => {
                    let key = entries.next().unwrap_or_default();
                    match plan.metadata.get(key) {
                        None => rope.copy(field.span),
                        Some(value) if written.insert(key) => {
                            let old = field.bytes()?;
                            rope.nest(
                                field.span,
                                field.key,
                                old,
                                rewrite::entry(reader, old, value)?,
                            );
                        }
                        // A key that was there twice is there once now.
                        Some(_) => {}
                    }
                }
                _ => rope.copy(field.span),
            }
        }
        for (key, value) in plan.metadata.iter().filter(|(key, _)| !written.contains(*key)) {
            rope.write(new_entry(key, value));
        }
        let bytes = rope.len();
        if i32::try_from(bytes).is_err() && !edits.is_empty() {
            return Err(Error::TooLarge { bytes });
        }
        Ok(rope.assemble(self.bytes()))
    }
}

/// A field of metadata.
pub(super) fn new_entry(key: &str, value: &str) -> Vec<u8> {
    let (mut entry, mut out) = (Vec::new(), Vec::new());
    put_bytes(&mut entry, 1, key.as_bytes());
    put_bytes(&mut entry, 2, value.as_bytes());
    put_bytes(&mut out, fields::METADATA, &entry);
    out
}

/// Edits by what they concern.
struct Plan<'e> {
    model: &'e Model,
    tensors: HashMap<&'e str, TensorEdit<'e>>,
    added: Vec<&'e TensorInfo>,
    nodes: HashMap<usize, NodeEdit<'e>>,
    inserted: BTreeMap<usize, Vec<&'e Node>>,
    shapes: HashMap<&'e str, Shape>,
    removed_values: HashSet<&'e str>,
    metadata: BTreeMap<&'e str, &'e str>,
}

enum TensorEdit<'e> {
    Set { dims: &'e [usize], raw: Vec<u8> },
    Remove,
}

enum NodeEdit<'e> {
    Set { inputs: &'e [String], outputs: &'e [String], attributes: &'e [(String, Attribute)] },
    Constant { dims: &'e [usize], raw: Vec<u8> },
    Remove,
}

struct Shape {
    dims: Vec<Dimension>,
    /// Whether an edit asks for it; otherwise it follows the dims of a tensor.
    is_asked: bool,
}

/// Files of this and later versions need not list initializers among the inputs.
const FIRST_WITHOUT_INPUTS: i64 = 4;

impl<'e> Plan<'e> {
    fn new(model: &'e Model, edits: &'e [Edit]) -> Result<Self> {
        let mut plan = Self {
            model,
            tensors: HashMap::new(),
            added: Vec::new(),
            nodes: HashMap::new(),
            inserted: BTreeMap::new(),
            shapes: HashMap::new(),
            removed_values: HashSet::new(),
            metadata: BTreeMap::new(),
        };
        edits.iter().try_for_each(|edit| plan.add(edit))?;
        let names: HashSet<_> = model.initializers().iter().map(|t| t.name.as_str()).collect();
        let mut added = HashSet::new();
        for tensor in &plan.added {
            let name = tensor.name.as_str();
            let is_removed = matches!(plan.tensors.get(name), Some(TensorEdit::Remove));
            if name.is_empty() {
                return Err(Error::Missing { what: "an added tensor".to_owned(), field: "name" });
            }
            if names.contains(name) && !is_removed || !added.insert(name) {
                return Err(Error::Duplicate { what: "initializer", name: name.into() });
            }
        }
        Ok(plan)
    }

    fn add(&mut self, edit: &'e Edit) -> Result<()> {
        let n = self.model.nodes().len();
        match edit {
            Edit::SetTensor { name, dims, values } => self.set_tensor(name, dims, values),
            Edit::AddTensor(tensor) => {
                self.added.push(tensor);
                Ok(())
            }
            Edit::RemoveTensor { name } => {
                if !self.model.initializers().iter().any(|tensor| tensor.name == *name) {
                    return unknown("initializer", name);
                }
                once("tensor", name, self.tensors.insert(name, TensorEdit::Remove).is_some())
            }
            Edit::SetNode { index, inputs, outputs, attributes } => {
                let mut names = HashSet::new();
                if let Some((name, _)) = attributes.iter().find(|(name, _)| !names.insert(name)) {
                    let (what, name) = ("attribute of a node", name.as_str().into());
                    return Err(Error::Duplicate { what, name });
                }
                self.edit_node(*index, NodeEdit::Set { inputs, outputs, attributes })
            }
            Edit::InsertNode { before, .. } if *before > n => {
                Err(Error::Index { index: *before, n })
            }
            Edit::InsertNode { before, node } => {
                self.inserted.entry(*before).or_default().push(node);
                Ok(())
            }
            Edit::RemoveNode { index } => self.edit_node(*index, NodeEdit::Remove),
            Edit::SetShape { name, dims } => {
                if !self.values().any(|value| value.name == *name) {
                    return unknown("value with a declared type", name);
                }
                let shape = Shape { dims: dims.clone(), is_asked: true };
                let before = self.shapes.insert(name, shape);
                once("shape", name, before.is_some_and(|before| before.is_asked))
            }
            Edit::RemoveValueInfo { name } => {
                if !self.model.value_infos().iter().any(|value| value.name == *name) {
                    return unknown("value inside the graph with a declared type", name);
                }
                once("value", name, !self.removed_values.insert(name))
            }
            Edit::SetMetadata { key, value } => {
                once("metadata", key, self.metadata.insert(key, value).is_some())
            }
        }
    }

    fn values(&self) -> impl Iterator<Item = &'e ValueInfo> {
        let model = self.model;
        model.inputs().iter().chain(model.outputs()).chain(model.value_infos())
    }

    fn edit_node(&mut self, index: usize, edit: NodeEdit<'e>) -> Result<()> {
        let n = self.model.nodes().len();
        if index >= n {
            return Err(Error::Index { index, n });
        }
        once("node", &index.to_string(), self.nodes.insert(index, edit).is_some())
    }

    fn set_tensor(&mut self, name: &'e str, dims: &'e [usize], values: &Values) -> Result<()> {
        let known = |&dim: &usize| Dimension::Known(dim);
        let shape = Shape { dims: dims.iter().map(known).collect(), is_asked: false };
        // What an edit asks for counts more than what follows from another one.
        self.shapes.entry(name).or_insert(shape);
        let found = self.model.initializers().iter().find(|tensor| tensor.name == name);
        if let Some(tensor) = found {
            let raw = numbers::to_raw(name, dims, tensor.data_type, values)?;
            let before = self.tensors.insert(name, TensorEdit::Set { dims, raw });
            return once("tensor", name, before.is_some());
        }
        for (index, node) in self.model.nodes().iter().enumerate() {
            let is_it = node.op_type == "Constant" && node.outputs.iter().any(|out| out == name);
            if let Some(Attribute::Tensor(tensor)) = node.attribute("value").filter(|_| is_it) {
                let raw = numbers::to_raw(name, dims, tensor.data_type, values)?;
                return self.edit_node(index, NodeEdit::Constant { dims, raw });
            }
            let is_list = node.attribute("value_floats").is_some() && dims.len() == 1;
            let is_number = node.attribute("value_float").is_some() && dims.is_empty();
            if is_it && (is_list || is_number) {
                let raw = numbers::to_raw(name, dims, DataType::F32, values)?;
                return self.edit_node(index, NodeEdit::Constant { dims, raw });
            }
        }
        unknown("initializer or Constant node with a tensor for", name)
    }

    /// The content of the graph with the edits.
    fn graph(&self, reader: &mut Reader<'_>, span: Span) -> Result<Rope> {
        let (mut rope, mut message) = (Rope::default(), reader.message(span, "GraphProto"));
        let mut nodes = self.model.nodes().iter().enumerate();
        let mut tensors = self.model.initializers().iter();
        let mut inputs = self.model.inputs().iter();
        let mut outputs = self.model.outputs().iter();
        let mut values = self.model.value_infos().iter();
        while let Some(field) = message.field()? {
            match field.number {
                graph_fields::NODE => match nodes.next() {
                    Some((index, node)) => self.node(reader, &mut rope, &field, index, node)?,
                    None => rope.copy(field.span),
                },
                graph_fields::INITIALIZER => {
                    let name = tensors.next().map_or("", |tensor| tensor.name.as_str());
                    match self.tensors.get(name) {
                        None => rope.copy(field.span),
                        Some(TensorEdit::Remove) => {}
                        Some(TensorEdit::Set { dims, raw }) => {
                            let old = field.bytes()?;
                            let new = rewrite::tensor(reader, old, dims, raw)?;
                            rope.nest(field.span, field.key, old, new);
                        }
                    }
                }
                graph_fields::INPUT => self.value(reader, &mut rope, &field, inputs.next())?,
                graph_fields::OUTPUT => self.value(reader, &mut rope, &field, outputs.next())?,
                graph_fields::VALUE_INFO => self.value(reader, &mut rope, &field, values.next())?,
                _ => rope.copy(field.span),
            }
        }
        self.insert_nodes(reader, &mut rope, self.model.nodes().len())?;
        for tensor in &self.added {
            let mut out = Vec::new();
            put_bytes(&mut out, graph_fields::INITIALIZER, &tensor.encode(reader.bytes)?);
            if self.model.ir_version() < FIRST_WITHOUT_INPUTS {
                let dims = tensor.dims.iter().map(|&dim| Dimension::Known(dim)).collect();
                let input = ValueInfo::tensor(&tensor.name, tensor.data_type, dims);
                put_bytes(&mut out, graph_fields::INPUT, &input.encode());
            }
            rope.write(out);
        }
        Ok(rope)
    }

    /// A node with what goes before it.
    fn node(
        &self,
        reader: &Reader<'_>,
        rope: &mut Rope,
        field: &Field,
        index: usize,
        node: &Node,
    ) -> Result<()> {
        self.insert_nodes(reader, rope, index)?;
        let old = field.bytes()?;
        let new = match self.nodes.get(&index) {
            None => {
                rope.copy(field.span);
                return Ok(());
            }
            Some(NodeEdit::Remove) => return Ok(()),
            Some(NodeEdit::Set { inputs, outputs, attributes }) => {
                rewrite::node(reader, old, node, [inputs, outputs], attributes)?
            }
            Some(NodeEdit::Constant { dims, raw }) => {
                rewrite::constant(reader, old, node, dims, raw)?
            }
        };
        rope.nest(field.span, field.key, old, new);
        Ok(())
    }

    /// The new nodes that go before the one at this index.
    fn insert_nodes(&self, reader: &Reader<'_>, rope: &mut Rope, before: usize) -> Result<()> {
        for node in self.inserted.get(&before).into_iter().flatten() {
            let mut out = Vec::new();
            put_bytes(&mut out, graph_fields::NODE, &node.encode(reader.bytes)?);
            rope.write(out);
        }
        Ok(())
    }

    /// The declaration of a value.
    fn value(
        &self,
        reader: &Reader<'_>,
        rope: &mut Rope,
        field: &Field,
        value: Option<&ValueInfo>,
    ) -> Result<()> {
        let name = value.map_or("", |value| value.name.as_str());
        let is_output = field.number == graph_fields::OUTPUT;
        let is_removed = !is_output && matches!(self.tensors.get(name), Some(TensorEdit::Remove));
        let is_inside = field.number == graph_fields::VALUE_INFO;
        if is_removed || is_inside && self.removed_values.contains(name) {
            return Ok(());
        }
        if let Some(shape) = self.shapes.get(name) {
            let old = field.bytes()?;
            match rewrite::value(reader, old, &shape.dims)? {
                Some(new) => {
                    rope.nest(field.span, field.key, old, new);
                    return Ok(());
                }
                None if shape.is_asked => return unknown("tensor type of value", name),
                None => {}
            }
        }
        rope.copy(field.span);
        Ok(())
    }
}

fn unknown(what: &'static str, name: &str) -> Result<()> {
    Err(Error::Unknown { what, name: name.into() })
}

/// An error where a part has been edited before.
fn once(what: &'static str, name: &str, is_again: bool) -> Result<()> {
    if is_again {
        return Err(Error::EditedTwice { what, name: Quoted::from(name) });
    }
    Ok(())
}
