//! An ONNX file as its bytes and an index of what is in them.

use std::collections::HashSet;
use std::fmt;

use super::error::{Error, Result};
use super::external::ReadExternal;
use super::reader::Reader;
use super::sniff;
use super::wire::{Field, Span};
use super::{Node, TensorInfo, ValueInfo, numbers};

/// An ONNX file: its bytes as they are, and what its graph consists of.
///
/// Numbers of tensors stay in the bytes until [`Model::f32_values`] or [`Model::i64_values`] reads them. The index of
/// everything else takes at most 32 times the length of the file and a mebibyte, of real files a small part of it.
#[derive(Clone)]
pub struct Model {
    bytes: Vec<u8>,
    index: Index,
}

/// What was read from the bytes.
#[derive(Clone, Debug, Default)]
struct Index {
    ir_version: i64,
    producer: (String, String),
    opsets: Vec<(String, i64)>,
    metadata: Vec<(String, String)>,
    graph_name: String,
    nodes: Vec<Node>,
    initializers: Vec<TensorInfo>,
    inputs: Vec<ValueInfo>,
    outputs: Vec<ValueInfo>,
    value_infos: Vec<ValueInfo>,
}

impl fmt::Debug for Model {
    /// What the index says, without the bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("n_bytes", &self.bytes.len())
            .field("n_nodes", &self.index.nodes.len())
            .field("n_initializers", &self.index.initializers.len())
            .finish_non_exhaustive()
    }
}

/// Fields of `ModelProto`.
pub(super) mod fields {
    pub(in super::super) const IR_VERSION: u32 = 1;
    pub(in super::super) const PRODUCER_NAME: u32 = 2;
    pub(in super::super) const PRODUCER_VERSION: u32 = 3;
    pub(in super::super) const GRAPH: u32 = 7;
    pub(in super::super) const OPSET_IMPORT: u32 = 8;
    pub(in super::super) const METADATA: u32 = 14;
    pub(in super::super) const TRAINING_INFO: u32 = 20;
    pub(in super::super) const FUNCTIONS: u32 = 25;
}

/// Fields of `GraphProto`.
pub(super) mod graph_fields {
    pub(in super::super) const NODE: u32 = 1;
    pub(in super::super) const NAME: u32 = 2;
    pub(in super::super) const INITIALIZER: u32 = 5;
    pub(in super::super) const INPUT: u32 = 11;
    pub(in super::super) const OUTPUT: u32 = 12;
    pub(in super::super) const VALUE_INFO: u32 = 13;
    pub(in super::super) const SPARSE_INITIALIZER: u32 = 15;
}

/// Files of this and later versions say which operator sets they use.
const FIRST_WITH_OPSETS: i64 = 3;

impl Model {
    /// Reads a file, of which nothing is copied but names, attributes and shapes.
    ///
    /// # Errors
    ///
    /// The bytes are no ONNX file, or a damaged one ([`Error::CutShort`], [`Error::Malformed`], …), or use a part of the
    /// format that is not read here: local functions, training information, sparse initializers ([`Error::Unsupported`]).
    pub fn parse(bytes: Vec<u8>) -> Result<Self> {
        if let Some(found) = sniff::other_format(&bytes) {
            return Err(Error::NotOnnx { found });
        }
        match Index::parse(&bytes) {
            Ok(index) => Ok(Self { bytes, index }),
            Err(error) if sniff::looks_like_onnx(&bytes) => Err(error),
            Err(_) => Err(Error::NotOnnx { found: sniff::describe(&bytes) }),
        }
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Version of the file format.
    pub fn ir_version(&self) -> i64 {
        self.index.ir_version
    }

    /// Name and version of the program that wrote the file, where it says so.
    pub fn producer(&self) -> (&str, &str) {
        (&self.index.producer.0, &self.index.producer.1)
    }

    /// Version of ONNX's own operators; 1 in files that name none.
    pub fn opset(&self) -> i64 {
        self.opset_of("").unwrap_or(1)
    }

    /// Version of a domain's operators, if the file uses that domain; "" and "ai.onnx" are ONNX's own.
    pub fn opset_of(&self, domain: &str) -> Option<i64> {
        let of = |found: &str| plain_domain(found) == plain_domain(domain);
        self.index.opsets.iter().filter(|(found, _)| of(found)).map(|(_, version)| *version).max()
    }

    /// Domains and versions of the operator sets, in the order of the file.
    pub fn opsets(&self) -> &[(String, i64)] {
        &self.index.opsets
    }

    /// Keys and values that the file was given by its author.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.index.metadata
    }

    /// Name of the graph.
    pub fn graph_name(&self) -> &str {
        &self.index.graph_name
    }

    /// Nodes in the order of the file.
    pub fn nodes(&self) -> &[Node] {
        &self.index.nodes
    }

    /// Tensors of the graph, each name once.
    pub fn initializers(&self) -> &[TensorInfo] {
        &self.index.initializers
    }

    /// Inputs of the graph; old files list initializers among them.
    pub fn inputs(&self) -> &[ValueInfo] {
        &self.index.inputs
    }

    /// Outputs of the graph.
    pub fn outputs(&self) -> &[ValueInfo] {
        &self.index.outputs
    }

    /// Values inside the graph whose types the file declares.
    pub fn value_infos(&self) -> &[ValueInfo] {
        &self.index.value_infos
    }

    /// Numbers of a floating-point tensor of this file in row-major order, rounded to f32 where the file has f64.
    ///
    /// # Errors
    ///
    /// The tensor has no floating-point numbers, or more or fewer than its dims say, or its external data cannot be read.
    pub fn f32_values(
        &self,
        tensor: &TensorInfo,
        external: &mut ReadExternal<'_>,
    ) -> Result<Vec<f32>> {
        numbers::f32_values(&self.bytes, tensor, external)
    }

    /// Numbers of an integer or boolean tensor of this file in row-major order.
    ///
    /// # Errors
    ///
    /// The tensor has no integers, or more or fewer than its dims say, or one of 2^63 or more, or its external data cannot
    /// be read.
    pub fn i64_values(
        &self,
        tensor: &TensorInfo,
        external: &mut ReadExternal<'_>,
    ) -> Result<Vec<i64>> {
        numbers::i64_values(&self.bytes, tensor, external)
    }

    /// Texts of a tensor of this file in row-major order.
    ///
    /// # Errors
    ///
    /// The tensor has no texts, or more or fewer than its dims say.
    pub fn string_values(&self, tensor: &TensorInfo) -> Result<Vec<String>> {
        numbers::string_values(&self.bytes, tensor)
    }
}

/// ONNX's own domain has two names.
fn plain_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

impl Index {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let reader = &mut Reader::new(bytes);
        let (mut index, mut graph) = (Self::default(), None);
        let mut message = reader.message(Span { start: 0, end: bytes.len() }, "ModelProto");
        while let Some(field) = message.field()? {
            match field.number {
                fields::IR_VERSION => index.ir_version = field.int()?,
                fields::PRODUCER_NAME => index.producer.0 = reader.string(&field)?,
                fields::PRODUCER_VERSION => index.producer.1 = reader.string(&field)?,
                fields::GRAPH => field.once(&mut graph)?,
                fields::OPSET_IMPORT => {
                    reader.count::<(String, i64)>()?;
                    index.opsets.push(parse_opset(reader, field.bytes()?)?);
                }
                fields::METADATA => index.metadata.push(reader.entry(field.bytes()?)?),
                fields::TRAINING_INFO => {
                    let (what, name) = ("training information", "training_info".into());
                    return Err(Error::Unsupported { what, name });
                }
                fields::FUNCTIONS => {
                    let name = first_string(reader, field.bytes()?, "FunctionProto", 1)?;
                    let (what, name) = ("local functions", name.as_str().into());
                    return Err(Error::Unsupported { what, name });
                }
                _ => {}
            }
        }
        let missing = |field| Error::Missing { what: "the ONNX file".to_owned(), field };
        index.parse_graph(reader, graph.ok_or_else(|| missing("graph; it may be cut short"))?)?;
        if index.ir_version < 1 {
            return Err(missing("version (ir_version)"));
        }
        if index.ir_version >= FIRST_WITH_OPSETS && index.opsets.is_empty() {
            return Err(missing("operator set (opset_import); it may be cut short"));
        }
        Ok(index)
    }

    fn parse_graph(&mut self, reader: &mut Reader<'_>, span: Span) -> Result<()> {
        let mut message = reader.message(span, "GraphProto");
        while let Some(field) = message.field()? {
            match field.number {
                graph_fields::NODE => {
                    reader.count::<Node>()?;
                    self.nodes.push(Node::parse(reader, field.bytes()?, self.nodes.len())?);
                }
                graph_fields::NAME => self.graph_name = reader.string(&field)?,
                graph_fields::INITIALIZER => {
                    reader.count::<TensorInfo>()?;
                    self.initializers.push(TensorInfo::parse(reader, field.bytes()?)?);
                }
                graph_fields::INPUT => self.inputs.push(parse_value(reader, &field)?),
                graph_fields::OUTPUT => self.outputs.push(parse_value(reader, &field)?),
                graph_fields::VALUE_INFO => self.value_infos.push(parse_value(reader, &field)?),
                graph_fields::SPARSE_INITIALIZER => {
                    // Its values are a tensor, which has the name.
                    let name = match first_bytes(reader, field.bytes()?, "SparseTensorProto", 1)? {
                        Some(span) => TensorInfo::parse(reader, span)?.name,
                        None => String::new(),
                    };
                    let (what, name) = ("sparse initializers", name.as_str().into());
                    return Err(Error::Unsupported { what, name });
                }
                _ => {}
            }
        }
        let mut names = HashSet::new();
        for (i, tensor) in self.initializers.iter().enumerate() {
            let name = tensor.name.as_str();
            if name.is_empty() {
                let what = format!("initializer {i} (from 0)");
                return Err(Error::Missing { what, field: "name" });
            }
            if !names.insert(name) {
                return Err(Error::Duplicate { what: "initializer", name: name.into() });
            }
        }
        Ok(())
    }
}

fn parse_value(reader: &mut Reader<'_>, field: &Field) -> Result<ValueInfo> {
    reader.count::<ValueInfo>()?;
    ValueInfo::parse(reader, field.bytes()?)
}

/// Domain and version of an `OperatorSetIdProto`.
fn parse_opset(reader: &mut Reader<'_>, span: Span) -> Result<(String, i64)> {
    let (mut domain, mut version) = (String::new(), 0);
    let mut message = reader.message(span, "OperatorSetIdProto");
    while let Some(field) = message.field()? {
        match field.number {
            1 => domain = reader.string(&field)?,
            2 => version = field.int()?,
            _ => {}
        }
    }
    Ok((domain, version))
}

fn first_bytes(
    reader: &Reader<'_>,
    span: Span,
    name: &'static str,
    number: u32,
) -> Result<Option<Span>> {
    let mut message = reader.message(span, name);
    while let Some(field) = message.field()? {
        if field.number == number {
            return field.bytes().map(Some);
        }
    }
    Ok(None)
}

fn first_string(
    reader: &Reader<'_>,
    span: Span,
    name: &'static str,
    number: u32,
) -> Result<String> {
    let span = first_bytes(reader, span, name, number)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(span.of(reader.bytes)).into_owned())
}
