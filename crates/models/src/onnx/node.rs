//! Nodes of an ONNX graph and their attributes.

use std::collections::HashSet;

use super::TensorInfo;
use super::error::{Error, Quoted, Result};
use super::reader::Reader;
use super::wire::{Field, Span, put_bytes, put_float, put_int, put_text};

/// An operator, the names of what it takes and gives, and its attributes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Its name, which many files leave empty.
    pub name: String,
    /// Its operator, such as "Conv".
    pub op_type: String,
    /// Domain of the operator; empty for ONNX's own.
    pub domain: String,
    /// Names of its inputs; an optional input that is left out has an empty one.
    pub inputs: Vec<String>,
    /// Names of its outputs.
    pub outputs: Vec<String>,
    /// Names and values of its attributes, each name once.
    pub attributes: Vec<(String, Attribute)>,
}

/// Value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// A number.
    Float(f32),
    /// A text.
    String(String),
    /// Integers.
    Ints(Vec<i64>),
    /// Numbers.
    Floats(Vec<f32>),
    /// Texts.
    Strings(Vec<String>),
    /// A tensor.
    Tensor(TensorInfo),
    /// A graph or several: the body of a loop or a branch, which is not read.
    Graph,
    /// Something else that is not read, by its type in `onnx.proto`: bytes that are no text, lists of tensors, sparse
    /// tensors, types, references of functions.
    Other(i32),
}

/// Fields of `NodeProto`.
pub(super) mod fields {
    pub(in super::super) const INPUT: u32 = 1;
    pub(in super::super) const OUTPUT: u32 = 2;
    pub(in super::super) const NAME: u32 = 3;
    pub(in super::super) const OP_TYPE: u32 = 4;
    pub(in super::super) const ATTRIBUTE: u32 = 5;
    pub(in super::super) const DOMAIN: u32 = 7;
}

/// Fields of `AttributeProto` beside the values.
const ATTRIBUTE_NAME: u32 = 1;
const TYPE: u32 = 20;
const REFERENCE: u32 = 21;
/// The field of an attribute's tensor.
pub(super) const TENSOR_FIELD: u32 = 5;

/// Types of attributes in `onnx.proto`, and the field that holds a value of it.
const FLOAT: i32 = 1;
const INT: i32 = 2;
const STRING: i32 = 3;
const TENSOR: i32 = 4;
const GRAPH: i32 = 5;
const FLOATS: i32 = 6;
const INTS: i32 = 7;
const STRINGS: i32 = 8;
const GRAPHS: i32 = 10;
const VALUE_FIELDS: [(u32, i32); 14] = [
    (2, FLOAT),
    (3, INT),
    (4, STRING),
    (TENSOR_FIELD, TENSOR),
    (6, GRAPH),
    (7, FLOATS),
    (8, INTS),
    (9, STRINGS),
    (10, 9),
    (11, GRAPHS),
    (14, 13),
    (15, 14),
    (22, 11),
    (23, 12),
];

impl Node {
    /// The attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// What messages call the node: its name, or the name of its first output.
    pub fn label(&self) -> Quoted {
        let output = self.outputs.iter().find(|output| !output.is_empty());
        let label = if self.name.is_empty() { output } else { Some(&self.name) };
        Quoted::from(label.map_or(self.op_type.as_str(), String::as_str))
    }

    /// The content of `NodeProto`, the node at this index from 0.
    pub(super) fn parse(reader: &mut Reader<'_>, span: Span, index: usize) -> Result<Self> {
        let mut node = Self::default();
        let mut message = reader.message(span, "NodeProto");
        while let Some(field) = message.field()? {
            match field.number {
                fields::INPUT => node.inputs.push(reader.string(&field)?),
                fields::OUTPUT => node.outputs.push(reader.string(&field)?),
                fields::NAME => node.name = reader.string(&field)?,
                fields::OP_TYPE => node.op_type = reader.string(&field)?,
                fields::DOMAIN => node.domain = reader.string(&field)?,
                fields::ATTRIBUTE => {
                    reader.count::<(String, Attribute)>()?;
                    node.attributes.push(parse_attribute(reader, field.bytes()?, index)?);
                }
                _ => {}
            }
        }
        if node.op_type.is_empty() {
            return Err(Error::Missing {
                what: format!("node {index} (from 0)"),
                field: "operator",
            });
        }
        let mut names = HashSet::new();
        if let Some((name, _)) = node.attributes.iter().find(|(name, _)| !names.insert(name)) {
            return Err(Error::Duplicate {
                what: "attribute of a node",
                name: name.as_str().into(),
            });
        }
        // A vector starts with room for four, which most nodes do not need.
        node.inputs.shrink_to_fit();
        node.outputs.shrink_to_fit();
        node.attributes.shrink_to_fit();
        Ok(node)
    }

    /// The content of a `NodeProto`; `bytes` are the file's that tensors of attributes were read from.
    pub(super) fn encode(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        if self.op_type.is_empty() {
            return Err(Error::Missing {
                what: format!("node {}", self.label()),
                field: "operator",
            });
        }
        let mut out = Vec::new();
        self.inputs.iter().for_each(|name| put_bytes(&mut out, fields::INPUT, name.as_bytes()));
        self.outputs.iter().for_each(|name| put_bytes(&mut out, fields::OUTPUT, name.as_bytes()));
        put_text(&mut out, fields::NAME, &self.name);
        put_text(&mut out, fields::OP_TYPE, &self.op_type);
        for (name, value) in &self.attributes {
            out.extend(new_attribute(name, value, bytes, &self.label())?);
        }
        put_text(&mut out, fields::DOMAIN, &self.domain);
        Ok(out)
    }
}

/// A field of a node with an attribute; `bytes` are the file's that a tensor of it was read from.
pub(super) fn new_attribute(
    name: &str,
    value: &Attribute,
    bytes: &[u8],
    node: &Quoted,
) -> Result<Vec<u8>> {
    let (mut attribute, mut out) = (Vec::new(), Vec::new());
    put_bytes(&mut attribute, ATTRIBUTE_NAME, name.as_bytes());
    value.put(&mut attribute, bytes, || not_writable(name, node.clone()))?;
    put_bytes(&mut out, fields::ATTRIBUTE, &attribute);
    Ok(out)
}

pub(super) fn not_writable(attribute: &str, node: Quoted) -> Error {
    Error::NotWritable { attribute: attribute.into(), node }
}

/// Whether a field of `AttributeProto` says what the value is; the others are its name and what is unknown.
pub(super) fn is_value(number: u32) -> bool {
    number == TYPE || number == REFERENCE || type_of_field(number).is_some()
}

fn type_of_field(number: u32) -> Option<i32> {
    VALUE_FIELDS.iter().find(|(field, _)| *field == number).map(|(_, kind)| *kind)
}

impl Attribute {
    /// Appends value and type of an `AttributeProto`.
    pub(super) fn put(
        &self,
        out: &mut Vec<u8>,
        bytes: &[u8],
        not_writable: impl Fn() -> Error,
    ) -> Result<()> {
        let kind = match self {
            Self::Float(value) => {
                put_float(out, 2, *value);
                FLOAT
            }
            Self::Int(value) => {
                put_int(out, 3, *value);
                INT
            }
            Self::String(value) => {
                put_bytes(out, 4, value.as_bytes());
                STRING
            }
            Self::Tensor(tensor) => {
                put_bytes(out, TENSOR_FIELD, &tensor.encode(bytes)?);
                TENSOR
            }
            Self::Floats(values) => {
                values.iter().for_each(|&value| put_float(out, 7, value));
                FLOATS
            }
            Self::Ints(values) => {
                values.iter().for_each(|&value| put_int(out, 8, value));
                INTS
            }
            Self::Strings(values) => {
                values.iter().for_each(|value| put_bytes(out, 9, value.as_bytes()));
                STRINGS
            }
            Self::Graph | Self::Other(_) => return Err(not_writable()),
        };
        put_int(out, TYPE, kind.into());
        Ok(())
    }
}

/// What an `AttributeProto` may hold, before it is known which of it counts.
#[derive(Default)]
struct Values {
    float: f32,
    int: i64,
    string: Option<Field>,
    tensor: Option<Span>,
    graph: Option<Span>,
    floats: Vec<f32>,
    ints: Vec<i64>,
    strings: Vec<Field>,
}

impl Values {
    fn read(&mut self, reader: &mut Reader<'_>, field: &Field) -> Result<()> {
        match field.number {
            2 => self.float = field.float()?,
            3 => self.int = field.int()?,
            4 => self.string = Some(*field),
            TENSOR_FIELD => field.once(&mut self.tensor)?,
            6 => field.once(&mut self.graph)?,
            7 => reader.floats(field, &mut self.floats)?,
            8 => reader.ints(field, &mut self.ints)?,
            9 => {
                reader.count::<Field>()?;
                self.strings.push(*field);
            }
            _ => {}
        }
        Ok(())
    }

    fn value(self, reader: &mut Reader<'_>, kind: i32) -> Result<Option<Attribute>> {
        let bytes = reader.bytes;
        let is_text = |field: &Field| -> Result<bool> {
            Ok(std::str::from_utf8(field.bytes()?.of(bytes)).is_ok())
        };
        Ok(Some(match kind {
            FLOAT => Attribute::Float(self.float),
            INT => Attribute::Int(self.int),
            STRING => match self.string {
                None => Attribute::String(String::new()),
                Some(field) if is_text(&field)? => Attribute::String(reader.string(&field)?),
                Some(_) => Attribute::Other(kind),
            },
            TENSOR => match self.tensor {
                None => return Ok(None),
                Some(span) => Attribute::Tensor(TensorInfo::parse(reader, span)?),
            },
            GRAPH | GRAPHS => Attribute::Graph,
            FLOATS => Attribute::Floats(self.floats),
            INTS => Attribute::Ints(self.ints),
            STRINGS => {
                let mut texts = Vec::new();
                for field in &self.strings {
                    if !is_text(field)? {
                        return Ok(Some(Attribute::Other(kind)));
                    }
                    texts.push(reader.string(field)?);
                }
                Attribute::Strings(texts)
            }
            other => Attribute::Other(other),
        }))
    }
}

/// The content of `AttributeProto`, an attribute of the node at this index.
fn parse_attribute(
    reader: &mut Reader<'_>,
    span: Span,
    node: usize,
) -> Result<(String, Attribute)> {
    let (mut name, mut values) = (String::new(), Values::default());
    let (mut declared, mut held, mut is_reference) = (None, None, false);
    let mut message = reader.message(span, "AttributeProto");
    while let Some(field) = message.field()? {
        match field.number {
            ATTRIBUTE_NAME => name = reader.string(&field)?,
            TYPE => declared = Some(field.int()? as i32).filter(|&kind| kind != 0),
            REFERENCE => is_reference = !field.is_empty(),
            number => {
                let Some(kind) = type_of_field(number) else { continue };
                if held.replace(kind).is_some_and(|before| before != kind) {
                    return Err(field.malformed("an attribute has values of two types"));
                }
                values.read(reader, &field)?;
            }
        }
    }
    let place = || format!("attribute {} of node {node} (from 0)", Quoted::from(name.as_str()));
    if name.is_empty() {
        return Err(Error::Missing { what: place(), field: "name" });
    }
    let kind = declared.or(held).unwrap_or(0);
    if is_reference {
        return Ok((name, Attribute::Other(kind)));
    }
    // A writer may leave out a value that is 0 or empty, but not write one of another type.
    if held.is_some_and(|held| held != kind) {
        return Err(Error::Missing { what: place(), field: "value of its declared type" });
    }
    match values.value(reader, kind)? {
        Some(value) => Ok((name, value)),
        None => Err(Error::Missing { what: place(), field: "tensor" }),
    }
}
