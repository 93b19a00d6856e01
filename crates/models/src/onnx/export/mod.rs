//! Graphs as new ONNX files.

mod added;
mod error;
mod functions;
mod names;
mod normalization;
mod operators;
mod shapes;
mod windows;

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use candle_core::{DType, Device};
use core_tensors::Params;

use self::names::Names;
use super::{Attribute, DataType, NewModel, TensorInfo, ValueInfo, Values};
use super::{Dimension as FileDimension, Node as FileNode};
use crate::graph::{
    Dimension, Entries, Error as GraphError, Graph, Kind, Node, NodeName, Numbers, Problem, Source,
    ValueId,
};

pub(super) use added::Added;
pub use error::ExportError;

/// Oldest and newest operator set that is written.
pub const WRITTEN_OPSETS: RangeInclusive<i64> = 17..=21;

/// The domain of Scaler, Normalizer and LabelEncoder, and the version that is written.
const ML: (&str, i64) = ("ai.onnx.ml", 3);

/// What the writer of a file is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExportOptions {
    /// The operator set; left open, 17, or the first newer one that has all operators.
    pub opset: Option<i64>,
    /// Name of the graph in the file; left empty, `network`.
    pub name: String,
    /// Keys and values about the file.
    pub metadata: Vec<(String, String)>,
}

/// A graph with its parameters, in f32, as an ONNX file.
///
/// Inputs, outputs and parameters have their names in the graph, the axis of the examples is `batch`. Operators that the
/// operator set lacks are spelled out; constants become initializers. An output that is no result of a node, or one for
/// the second time, gets the name `NAME.output`.
///
/// # Errors
/// Where the parameters are those of another graph, or the file cannot express something; see [`ExportError`].
pub fn export(
    graph: &Graph,
    params: &Params,
    options: &ExportOptions,
) -> Result<Vec<u8>, ExportError> {
    let opset = operators::opset(graph, options.opset)?;
    graph.layout().check_same("parameters of a graph", params.layout())?;
    let mut export = Export::new(graph, opset, DataType::F32);
    export.name_values();
    for (&id, block) in graph.parameters().iter().zip(params.blocks()) {
        let dims = known(&graph.value(id).shape);
        let flat = block.to_dtype(DType::F32).and_then(|block| block.to_device(&Device::Cpu));
        let flat = flat.and_then(|block| block.flatten_all()?.to_vec1::<f32>());
        let values = Values::F32(flat.map_err(core_tensors::Error::from)?);
        let name = export.value(id);
        export.initializers.push(TensorInfo::new(&name, dims, DataType::F32, &values)?);
    }
    for node in graph.nodes() {
        let results = node.results.iter().map(|&id| export.value(id)).collect();
        let at = At { node, results };
        for &id in &node.operands {
            export.constant(id)?;
        }
        operators::add(&mut export, &at)?;
    }
    let outputs = export.outputs()?;
    let inputs = graph.inputs().iter().map(|&id| export.info(id, export.value(id))).collect();
    let mut opsets = vec![(String::new(), opset)];
    opsets.extend(export.uses_ml.then(|| (ML.0.to_owned(), ML.1)));
    let name = if options.name.is_empty() { "network" } else { &options.name };
    let file = NewModel {
        name: name.to_owned(),
        opsets,
        inputs,
        outputs,
        nodes: export.nodes,
        initializers: export.initializers,
        metadata: options.metadata.clone(),
    };
    Ok(file.to_bytes()?)
}

/// A graph on its way to a file.
struct Export<'g> {
    graph: &'g Graph,
    opset: i64,
    /// Type of floats.
    float: DataType,
    /// Names of the graph's values in the file.
    values: HashMap<ValueId, String>,
    /// Constants that the file has already.
    written: HashSet<ValueId>,
    /// Names of tensors.
    taken: Names,
    node_names: Names,
    nodes: Vec<FileNode>,
    initializers: Vec<TensorInfo>,
    /// Initializers of one float, by its bits.
    numbers: HashMap<u32, String>,
    /// The number of examples as a tensor (1,), where it was needed.
    batch: Option<String>,
    uses_ml: bool,
}

/// A node of the graph, and the names of its results in the file.
struct At<'g> {
    node: &'g Node,
    results: Vec<String>,
}

impl At<'_> {
    /// The name of the first result.
    fn result(&self) -> String {
        self.results.first().cloned().unwrap_or_default()
    }

    fn name(&self) -> NodeName {
        let NodeName { op, name } =
            NodeName { op: self.node.op.name().to_owned(), name: self.node.name.clone() };
        NodeName { op, name: if name.is_empty() { self.result() } else { name } }
    }

    fn problem(&self, problem: Problem) -> ExportError {
        GraphError::Node { node: self.name(), problem: Box::new(problem) }.into()
    }

    /// What arithmetic of sizes gives, if it stays in bounds.
    fn size(&self, size: Option<Dimension>) -> Result<Dimension, ExportError> {
        size.ok_or_else(|| self.problem(Problem::TooLarge))
    }
}

impl<'g> Export<'g> {
    fn new(graph: &'g Graph, opset: i64, float: DataType) -> Self {
        Self {
            graph,
            opset,
            float,
            values: HashMap::new(),
            written: HashSet::new(),
            taken: Names::default(),
            node_names: Names::default(),
            nodes: Vec::new(),
            initializers: Vec::new(),
            numbers: HashMap::new(),
            batch: None,
            uses_ml: false,
        }
    }

    /// Gives every value its name: inputs, outputs and parameters first, so that they keep theirs.
    fn name_values(&mut self) {
        let graph = self.graph;
        let outer = graph.inputs().iter().chain(graph.outputs()).chain(graph.parameters());
        let inner = graph.nodes().iter().flat_map(|node| node.results.iter().chain(&node.operands));
        for &id in outer.chain(inner) {
            if !self.values.contains_key(&id) {
                let name = self.taken.unique(&graph.value(id).name, "value");
                self.values.insert(id, name);
            }
        }
    }

    fn value(&self, id: ValueId) -> String {
        self.values.get(&id).cloned().unwrap_or_default()
    }

    /// The name of an operand.
    fn operand(&self, at: &At<'_>, place: usize) -> String {
        at.node.operands.get(place).map(|&id| self.value(id)).unwrap_or_default()
    }

    fn operands(&self, at: &At<'_>) -> Vec<String> {
        at.node.operands.iter().map(|&id| self.value(id)).collect()
    }

    /// Extents of an operand.
    fn shape(&self, at: &At<'_>, place: usize) -> &'g [Dimension] {
        let graph = self.graph;
        at.node.operands.get(place).map(|&id| &graph.value(id).shape[..]).unwrap_or_default()
    }

    fn kind(&self, at: &At<'_>, place: usize) -> Kind {
        at.node.operands.get(place).map_or(Kind::Float, |&id| self.graph.value(id).kind)
    }

    /// Writes a constant when it is first needed.
    fn constant(&mut self, id: ValueId) -> Result<(), ExportError> {
        let graph = self.graph;
        let value = graph.value(id);
        let Source::Constant(numbers) = &value.source else { return Ok(()) };
        let name = self.value(id);
        if !self.written.insert(id) {
            return Ok(());
        }
        match &numbers.entries {
            Entries::Integers(entries) if entries.iter().any(|entry| entry.is_per_batch()) => {
                let flat = self.sizes(&name, entries)?;
                let shape: Vec<i64> = numbers.shape.iter().map(|&n| n as i64).collect();
                let shape = self.integers(&format!("{name}/shape"), &shape)?;
                self.push("Reshape", vec![flat, shape], vec![name.clone()], vec![], &name);
            }
            _ => {
                let tensor = tensor(&name, self.data_type(value.kind), numbers)?;
                self.initializers.push(tensor);
            }
        }
        Ok(())
    }

    /// Declares the outputs; one that has no node of its own gets one.
    fn outputs(&mut self) -> Result<Vec<ValueInfo>, ExportError> {
        let graph = self.graph;
        let mut outputs: Vec<ValueInfo> = Vec::new();
        for &id in graph.outputs() {
            self.constant(id)?;
            let mut name = self.value(id);
            let is_result = matches!(graph.value(id).source, Source::Node { .. });
            if !is_result || outputs.iter().any(|output| output.name == name) {
                let copy = self.taken.unique(&format!("{name}.output"), "output");
                self.push("Identity", vec![name], vec![copy.clone()], vec![], &copy);
                name = copy;
            }
            outputs.push(self.info(id, name));
        }
        Ok(outputs)
    }

    fn data_type(&self, kind: Kind) -> DataType {
        match kind {
            Kind::Float => self.float,
            Kind::Int => DataType::I64,
            Kind::Bool => DataType::Bool,
        }
    }

    fn info(&self, id: ValueId, name: String) -> ValueInfo {
        let value = self.graph.value(id);
        let dims = value.shape.iter().map(|&extent| match extent {
            Dimension::BATCH => FileDimension::Named("batch".to_owned()),
            Dimension { fixed, per_example: 0 } => {
                usize::try_from(fixed).map_or(FileDimension::Unknown, FileDimension::Known)
            }
            _ => FileDimension::Unknown,
        });
        ValueInfo::tensor(&name, self.data_type(value.kind), dims.collect())
    }

    /// Appends a node of ONNX's own domain.
    fn push(
        &mut self,
        op_type: &str,
        inputs: Vec<String>,
        outputs: Vec<String>,
        attributes: Vec<(&str, Attribute)>,
        name: &str,
    ) {
        let name = self.node_names.unique(name, op_type);
        let attributes = attributes.into_iter().map(|(key, value)| (key.to_owned(), value));
        let attributes = attributes.collect();
        let (op_type, domain) = (op_type.to_owned(), String::new());
        self.nodes.push(FileNode { name, op_type, domain, inputs, outputs, attributes });
    }

    /// The node itself, with its results.
    fn node(
        &mut self,
        at: &At<'_>,
        op_type: &str,
        inputs: Vec<String>,
        attributes: Vec<(&str, Attribute)>,
    ) {
        let name = at.name().name;
        self.push(op_type, inputs, at.results.clone(), attributes, &name);
    }

    /// One node of several that stand for one; gives the name of its result.
    fn part(
        &mut self,
        at: &At<'_>,
        op_type: &str,
        inputs: Vec<String>,
        attributes: Vec<(&str, Attribute)>,
        suffix: &str,
    ) -> String {
        let result = self.taken.unique(&format!("{}/{suffix}", at.result()), suffix);
        let name = format!("{}/{suffix}", at.name().name);
        self.push(op_type, inputs, vec![result.clone()], attributes, &name);
        result
    }

    /// Whole numbers as an initializer (n,).
    fn integers(&mut self, name: &str, values: &[i64]) -> Result<String, ExportError> {
        self.integers_of(name, vec![values.len()], values)
    }

    fn integers_of(
        &mut self,
        name: &str,
        dims: Vec<usize>,
        values: &[i64],
    ) -> Result<String, ExportError> {
        let name = self.taken.unique(name, "integers");
        let values = Values::I64(values.to_vec());
        self.initializers.push(TensorInfo::new(&name, dims, DataType::I64, &values)?);
        Ok(name)
    }

    /// One float as an initializer, shared by all nodes that need it.
    fn number(&mut self, value: f32) -> Result<String, ExportError> {
        if let Some(name) = self.numbers.get(&value.to_bits()) {
            return Ok(name.clone());
        }
        let name = self.taken.unique(&format!("number {value}"), "number");
        let values = Values::F32(vec![value]);
        self.initializers.push(TensorInfo::new(&name, vec![], self.float, &values)?);
        self.numbers.insert(value.to_bits(), name.clone());
        Ok(name)
    }

    /// Sizes as a tensor (n,): an initializer, or arithmetic with the batch.
    fn sizes(&mut self, name: &str, sizes: &[Dimension]) -> Result<String, ExportError> {
        let known: Option<Vec<i64>> = sizes.iter().map(|size| size.as_known()).collect();
        if let Some(known) = known {
            return self.integers(name, &known);
        }
        let batch = self.batch(name)?;
        let per_example: Vec<i64> = sizes.iter().map(|size| size.per_example).collect();
        let per_example = self.integers(&format!("{name}/per_example"), &per_example)?;
        let product = self.taken.unique(&format!("{name}/of_batch"), "sizes");
        let (inputs, outputs) = (vec![batch, per_example], vec![product.clone()]);
        self.push("Mul", inputs, outputs, vec![], &product);
        let fixed: Vec<i64> = sizes.iter().map(|size| size.fixed).collect();
        let fixed = self.integers(&format!("{name}/fixed"), &fixed)?;
        let sum = self.taken.unique(&format!("{name}/sum"), "sizes");
        self.push("Add", vec![product, fixed], vec![sum.clone()], vec![], &sum);
        Ok(sum)
    }

    /// The number of examples as a tensor (1,).
    fn batch(&mut self, place: &str) -> Result<String, ExportError> {
        if let Some(batch) = &self.batch {
            return Ok(batch.clone());
        }
        let graph = self.graph;
        let of_input = |&id: &ValueId| {
            let mut extents = graph.value(id).shape.iter().enumerate();
            let (axis, extent) = extents.find(|(_, extent)| extent.is_per_batch())?;
            Some((id, axis as i64, *extent))
        };
        let found = graph.inputs().iter().find_map(of_input);
        let no_batch = || ExportError::NoBatch { place: format!("`{place}`") };
        let (id, axis, extent) = found.ok_or_else(no_batch)?;
        let range = vec![("start", Attribute::Int(axis)), ("end", Attribute::Int(axis + 1))];
        let mut batch = self.taken.unique("batch/extent", "batch");
        self.push("Shape", vec![self.value(id)], vec![batch.clone()], range, "batch/extent");
        // The extent is fixed + per_example · m.
        let steps =
            [("Sub", extent.fixed, 0, "fixed"), ("Div", extent.per_example, 1, "per_example")];
        for (op, number, neutral, suffix) in steps {
            if number != neutral {
                let number = self.integers(&format!("batch/{suffix}"), &[number])?;
                let result = self.taken.unique(&format!("batch/less_{suffix}"), "batch");
                self.push(op, vec![batch, number], vec![result.clone()], vec![], &result);
                batch = result;
            }
        }
        self.batch = Some(batch.clone());
        Ok(batch)
    }
}

/// Extents that do not depend on the batch, as of a parameter.
fn known(shape: &[Dimension]) -> Vec<usize> {
    shape.iter().map(|extent| usize::try_from(extent.fixed).unwrap_or(0)).collect()
}

/// Known numbers that do not depend on the batch as a tensor of a file.
fn tensor(name: &str, data_type: DataType, numbers: &Numbers) -> Result<TensorInfo, ExportError> {
    let values = match &numbers.entries {
        Entries::Floats(entries) => Values::F32(entries.iter().map(|&v| v as f32).collect()),
        Entries::Integers(entries) => Values::I64(entries.iter().map(|v| v.fixed).collect()),
    };
    Ok(TensorInfo::new(name, numbers.shape.clone(), data_type, &values)?)
}
