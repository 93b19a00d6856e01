//! Files as graphs: the nodes that the logits need, with their parameters.

mod batch;
mod constant;
mod error;
mod follow;
mod learned;
mod logits;
mod node;
mod operators;
mod order;

use std::collections::{BTreeMap, HashMap, HashSet};

use candle_core::{Device, Tensor};
use core_tensors::Params;

use self::learned::Uses;
use self::node::At;
use super::ReadExternal;
use super::{DataType, Dimension as FileDimension, Model, Node, TensorInfo, ValueInfo, ValueType};
use crate::graph::{
    Builder, Dimension, Entries, Graph, Kind, Numbers, ValueId, check_size, shape_text,
};

pub(super) use self::follow::{Difference, follow};
pub(super) use self::logits::producers;

pub use error::{ImportError, InputProblem, Unsupported};
pub use logits::{Found, Logits};
pub use operators::unsupported;

/// Oldest and newest operator set that is read.
pub const OPSETS: std::ops::RangeInclusive<i64> = 11..=28;

/// What the reader of a file is told.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// The tensor that is f(x, w), where the file leaves it open or another one is wanted.
    pub output: Option<String>,
    /// Sizes of extents that the file leaves open, by their names there.
    pub dimensions: BTreeMap<String, usize>,
}

/// A network read from a file.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Its nodes, as far as f(x, w) needs them; parameters have the names of the file's tensors.
    pub graph: Graph,
    /// Its parameters, in f32: the weights, also the means and variances of batch normalizations; not masks, bounds,
    /// settings and the constants that normalize an input.
    pub params: Params,
    /// Which tensor is f(x, w).
    pub logits: Logits,
    /// What was assumed, and is to be said.
    pub notes: Vec<String>,
}

/// The network in a file.
///
/// What stands behind the logits is not read, only carried along by [`Model::patch`]. The batch is the first axis of each
/// input; one that the file fixes is opened where f(x, w) of an example depends on that example alone, also in the targets
/// of Reshape that name it. With as many examples as the file says, the graph computes what the file computes.
///
/// # Errors
/// Where the file uses what is not read, contradicts itself, or leaves open what is needed; see [`ImportError`].
pub fn import(
    model: &Model,
    external: &mut ReadExternal<'_>,
    options: &ImportOptions,
) -> Result<Imported, ImportError> {
    let opset = model.opset();
    if !OPSETS.contains(&opset) {
        return Err(ImportError::Opset { found: opset });
    }
    let logits = logits::find(model, options.output.as_deref())?;
    let needed = order::needed(model, &logits.tensor)?;
    operators::check(&needed)?;
    let inputs = batch::read(model, &Uses::new(model, &needed), &logits);
    let notes = batch::check(model, &inputs, options)?;
    let mut read = |batch| attempt(model, external, options, &needed, &logits, batch);
    // Many a network was exported with a batch of one that is written in its inputs alone.
    let mut read = match batch::fixed(&inputs, options) {
        None => batch::said(read(Batch::OfFile)?),
        Some((input, n)) => match read(Batch::Open).ok().filter(|r| r.graph.is_by_example()) {
            Some(mut read) => {
                read.notes.push(format!(
                    "input `{input}` has a batch of {n} in the file, but nothing in the network depends on it; any batch \
                     is taken, and what is written keeps {n} (--dim {input}:0={n} overrules)"
                ));
                read
            }
            None => {
                let fixed = read(Batch::OfFile)?;
                let freed = read(Batch::Freed(&fixed.graph)).ok();
                match freed.filter(|freed| batch::is_same(&freed.graph, &fixed.graph, n)) {
                    Some(mut freed) => {
                        freed.notes.push(format!(
                            "input `{input}` has a batch of {n} in the file, and shapes inside name it, but no example \
                             depends on another; any batch is taken, and what is written keeps {n} (--dim {input}:0={n} overrules)"
                        ));
                        freed
                    }
                    None => batch::said(fixed),
                }
            }
        },
    };
    read.notes.splice(0..0, notes);
    Ok(read)
}

/// Which batch the inputs get that have one in the file.
#[derive(Clone, Copy)]
enum Batch<'g> {
    /// The file's.
    OfFile,
    /// Any.
    Open,
    /// Any, and shapes in the file that name the batch of this graph, which has the file's, follow.
    Freed(&'g Graph),
}

/// Reads the nodes.
fn attempt(
    model: &Model,
    external: &mut ReadExternal<'_>,
    options: &ImportOptions,
    needed: &[&Node],
    logits: &Logits,
    batch: Batch<'_>,
) -> Result<Imported, ImportError> {
    let mut import = Import::new(model, external, options, needed, batch);
    for input in batch::read(model, &import.uses, logits) {
        import.input(input)?;
    }
    for &node in needed {
        operators::add(&mut import, &At { node, opset: model.opset() })?;
    }
    let not_made = || ImportError::NotMade { output: logits.tensor.clone() };
    let output = import.value(&logits.tensor).ok_or_else(not_made)?;
    import.check_function(logits, output)?;
    let notes = import.declared();
    let Import { builder, blocks, .. } = import;
    let graph = builder.finish(&[output]);
    let params = Params::new(graph.layout(), blocks)?;
    Ok(Imported { graph, params, logits: logits.clone(), notes })
}

/// A file on its way to a graph.
struct Import<'a, 'e, 'x> {
    model: &'a Model,
    external: &'e mut ReadExternal<'x>,
    options: &'e ImportOptions,
    /// Whether the batch that the file says is kept.
    is_fixed: bool,
    /// Shapes of the file's tensors with its own batch, where targets that name it are to be freed.
    fixed: HashMap<String, Vec<usize>>,
    builder: Builder,
    /// Tensors of the file that have become values.
    env: HashMap<String, ValueId>,
    /// Who makes and reads each tensor.
    uses: Uses<'a>,
    /// Names that values have got and the file does not know.
    own_names: HashSet<String>,
    blocks: Vec<Tensor>,
}

/// What messages call a node.
pub(super) fn node_name(node: &Node) -> String {
    node::name(node)
}

impl<'a, 'e, 'x> Import<'a, 'e, 'x> {
    /// Nothing yet.
    fn new(
        model: &'a Model,
        external: &'e mut ReadExternal<'x>,
        options: &'e ImportOptions,
        needed: &[&'a Node],
        batch: Batch<'_>,
    ) -> Self {
        let (is_fixed, fixed) = match batch {
            Batch::OfFile => (true, HashMap::new()),
            Batch::Open => (false, HashMap::new()),
            Batch::Freed(graph) => (false, batch::shapes(graph)),
        };
        Self {
            model,
            external,
            options,
            is_fixed,
            fixed,
            builder: Builder::new(),
            env: HashMap::new(),
            uses: Uses::new(model, needed),
            own_names: HashSet::new(),
            blocks: Vec::new(),
        }
    }

    /// The value of a tensor of the file; an initializer becomes one when it is first read.
    fn resolve(&mut self, name: &str, at: &At<'_>) -> Result<ValueId, ImportError> {
        if let Some(id) = self.value(name) {
            return Ok(id);
        }
        match self.uses.tensor(name) {
            Some(tensor) => self.tensor(name, tensor),
            None => Err(at.missing(name)),
        }
    }

    fn value(&self, name: &str) -> Option<ValueId> {
        self.env.get(name).copied()
    }

    fn set(&mut self, name: &str, id: ValueId) {
        self.env.insert(name.to_owned(), id);
    }

    /// An initializer, or the tensor of a Constant: a parameter where it is learned, else a constant.
    fn tensor(&mut self, name: &str, tensor: &TensorInfo) -> Result<ValueId, ImportError> {
        if tensor.data_type.is_float() {
            let values = self.model.f32_values(tensor, self.external)?;
            return self.floats(name, &tensor.dims, values);
        }
        let (kind, numbers) = constant::numbers(self.model, tensor, self.external)?;
        Ok(self.known_tensor(name, kind, numbers))
    }

    /// Floats that stand in the file.
    fn floats(
        &mut self,
        name: &str,
        dims: &[usize],
        values: Vec<f32>,
    ) -> Result<ValueId, ImportError> {
        let place = values.iter().position(|value| !value.is_finite());
        let is_hiding = place.is_some()
            && self.uses.is_only_added(name)
            && !values.iter().any(|value| value.is_nan());
        if is_hiding || !self.uses.is_parameter(name, dims, &values) {
            let entries = Entries::Floats(values.into_iter().map(f64::from).collect());
            let numbers = Numbers { shape: dims.to_vec(), entries };
            return Ok(self.known_tensor(name, Kind::Float, numbers));
        }
        if let Some(place) = place {
            let (tensor, value) = (name.to_owned(), values[place]);
            return Err(ImportError::NotFinite { tensor, place, value });
        }
        let rows = dims.first().copied().unwrap_or(1);
        let cols = values.len() / rows.max(1);
        let block = Tensor::from_vec(values, (rows, cols), &Device::Cpu);
        self.blocks.push(block.map_err(core_tensors::Error::from)?);
        let id = self.builder.parameter(name, dims);
        self.set(name, id);
        Ok(id)
    }

    /// A constant.
    fn known_tensor(&mut self, name: &str, kind: Kind, numbers: Numbers) -> ValueId {
        let id = self.builder.constant(name, kind, numbers);
        self.set(name, id);
        id
    }

    /// A name for a value that has none in the file: of a node's first result, and one that no other value has.
    fn own_name(&mut self, at: &At<'_>, suffix: &str) -> String {
        let wanted = format!("{}/{suffix}", at.node.outputs.first().map_or("", String::as_str));
        let (mut name, mut n) = (wanted.clone(), 0usize);
        while self.uses.is_name(&name) || self.own_names.contains(&name) {
            n += 1;
            name = format!("{wanted}_{n}");
        }
        self.own_names.insert(name.clone());
        name
    }

    /// A constant of a composed operator.
    fn own_constant(&mut self, at: &At<'_>, suffix: &str, kind: Kind, numbers: Numbers) -> ValueId {
        let name = self.own_name(at, suffix);
        self.builder.constant(&name, kind, numbers)
    }

    /// Refuses probabilities over an axis that the logits do not have.
    fn check_function(&self, logits: &Logits, output: ValueId) -> Result<(), ImportError> {
        let Found::Before { function, .. } = &logits.found else { return Ok(()) };
        let rank = self.builder.get(output).shape.len() as i64;
        let takes =
            |node: &&Node| node.op_type == *function && node.inputs.first() == Some(&logits.tensor);
        for node in self.model.nodes().iter().filter(takes) {
            let at = At { node, opset: self.model.opset() };
            let axis = at.int("axis", -1)?;
            if function != "Sigmoid" && !(-rank..rank).contains(&axis) {
                return Err(at.wrong("axis", "an axis of the logits", axis.to_string()));
            }
        }
        Ok(())
    }

    /// Declared shapes of outputs that are not those that come out.
    fn declared(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for output in self.model.outputs() {
            let (Some(dims), Some(id)) = (output.dims(), self.value(&output.name)) else {
                continue;
            };
            let shape = &self.builder.get(id).shape;
            let differs = |(dim, extent): (&FileDimension, &Dimension)| match dim {
                FileDimension::Known(n) => extent.as_known().is_some_and(|m| m != *n as i64),
                FileDimension::Named(_) | FileDimension::Unknown => false,
            };
            if dims.len() != shape.len() || dims.iter().zip(shape).any(differs) {
                let text = |dim: &FileDimension| match dim {
                    FileDimension::Known(n) => n.to_string(),
                    FileDimension::Named(name) => name.clone(),
                    FileDimension::Unknown => "?".to_owned(),
                };
                let declared: Vec<String> = dims.iter().map(text).collect();
                notes.push(format!(
                    "output `{}` has shape {}, but the file declares [{}]",
                    output.name,
                    shape_text(shape),
                    declared.join(", ")
                ));
            }
        }
        notes
    }

    /// What is fed in.
    fn input(&mut self, info: &ValueInfo) -> Result<(), ImportError> {
        let wrong = |problem| ImportError::Input { input: info.name.clone(), problem };
        let kind = match &info.value_type {
            ValueType::Tensor { data_type, .. } => kind(*data_type)
                .ok_or_else(|| wrong(InputProblem::NoNumbers(type_text(*data_type))))?,
            ValueType::Other(what) => {
                return Err(wrong(InputProblem::NoNumbers(format!("a {what}"))));
            }
            ValueType::Undeclared => {
                return Err(wrong(InputProblem::NoNumbers("no type".into())));
            }
        };
        let Some(dims) = info.dims() else { return Err(wrong(InputProblem::NoShape)) };
        let mut shape = Vec::with_capacity(dims.len());
        for (axis, dim) in dims.iter().enumerate() {
            let name = batch::axis_name(info, axis, dim);
            let said = self.options.dimensions.get(&name).copied();
            let extent = match (axis, dim, said) {
                (_, _, Some(n)) => Dimension::known(i64::try_from(n).unwrap_or(i64::MAX)),
                (0, FileDimension::Known(_), None) if !self.is_fixed => Dimension::BATCH,
                (0, FileDimension::Named(_) | FileDimension::Unknown, None) => Dimension::BATCH,
                (_, FileDimension::Known(n), None) => {
                    Dimension::known(i64::try_from(*n).unwrap_or(i64::MAX))
                }
                (_, _, None) => return Err(wrong(InputProblem::Open { axis, name })),
            };
            shape.push(extent);
        }
        check_size(&shape).map_err(|_| wrong(InputProblem::TooLarge))?;
        let id = self.builder.input(&info.name, kind, shape);
        self.set(&info.name, id);
        Ok(())
    }
}

/// What holds no numbers, for messages.
fn type_text(data_type: DataType) -> String {
    if data_type == DataType::String { "texts".to_owned() } else { data_type.to_string() }
}

/// The kind of number of a type; none for strings and what we do not know.
fn kind(data_type: DataType) -> Option<Kind> {
    match data_type {
        DataType::F32 | DataType::F64 | DataType::F16 | DataType::BF16 => Some(Kind::Float),
        DataType::I8 | DataType::I16 | DataType::I32 | DataType::I64 => Some(Kind::Int),
        DataType::U8 | DataType::U16 | DataType::U32 | DataType::U64 => Some(Kind::Int),
        DataType::Bool => Some(Kind::Bool),
        DataType::String | DataType::Other(_) => None,
    }
}
