//! A graph in the making: that of another one, some of whose parts are other ones.

use std::collections::{HashMap, HashSet};

use candle_core::{DType, Device, Tensor};
use core_tensors::Params;

use super::GraphChangeError;
use crate::graph::{Builder, Entries, Graph, Node, Source, ValueId};

/// A graph and its parameters, open to changes; values of the original graph keep their ids, new ones have larger ids.
pub(super) struct Draft<'a> {
    graph: &'a Graph,
    /// Nodes of the original graph, then new ones.
    pub(super) nodes: Vec<Node>,
    pub(super) outputs: Vec<ValueId>,
    /// Shape and numbers of each parameter.
    parameters: HashMap<ValueId, (Vec<usize>, Tensor)>,
    /// Names of all values.
    names: Vec<String>,
    taken: HashSet<String>,
    /// What is added to the new graph, in order.
    steps: Vec<Step>,
}

#[derive(Clone, Copy, PartialEq)]
enum Step {
    /// An input, a parameter or a constant.
    Value(ValueId),
    /// A node, by its index.
    Node(usize),
}

impl<'a> Draft<'a> {
    pub(super) fn of(graph: &'a Graph, params: &Params) -> Result<Self, GraphChangeError> {
        graph.layout().check_same("parameters of a graph", params.layout())?;
        let names: Vec<String> = graph.values().iter().map(|value| value.name.clone()).collect();
        let blocks = graph.parameters().iter().zip(params.blocks());
        let parameters = blocks.map(|(&id, block)| (id, (extents(graph, id), block.clone())));
        let steps = graph.values().iter().enumerate().filter_map(|(i, value)| match value.source {
            Source::Input | Source::Parameter(_) | Source::Constant(_) => {
                Some(Step::Value(ValueId(i)))
            }
            Source::Node { node, result: 0 } => Some(Step::Node(node)),
            Source::Node { .. } => None,
        });
        Ok(Self {
            graph,
            nodes: graph.nodes().to_vec(),
            outputs: graph.outputs().to_vec(),
            parameters: parameters.collect(),
            taken: names.iter().cloned().collect(),
            steps: steps.collect(),
            names,
        })
    }

    /// The numbers of a parameter or a constant, row by row.
    pub(super) fn numbers(&self, id: ValueId) -> Result<Option<Vec<f64>>, GraphChangeError> {
        if let Some((_, block)) = self.parameters.get(&id) {
            let block = block.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
            return Ok(Some(block.flatten_all()?.to_vec1()?));
        }
        match self.graph.values().get(id.0).map(|value| &value.source) {
            Some(Source::Constant(numbers)) => match &numbers.entries {
                Entries::Floats(entries) => Ok(Some(entries.clone())),
                Entries::Integers(_) => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// These numbers, row by row, as a block of a parameter of this shape, in the type and on the device of parameter `like`;
    /// `None` where one of them is not finite in that type.
    pub(super) fn block(
        &self,
        numbers: Vec<f64>,
        shape: &[usize],
        like: ValueId,
    ) -> Result<Option<Tensor>, GraphChangeError> {
        let (data_type, device) = match self.parameters.get(&like) {
            Some((_, block)) => (block.dtype(), block.device().clone()),
            None => (DType::F32, Device::Cpu),
        };
        let rows = shape.first().copied().unwrap_or(1);
        let columns = shape.iter().skip(1).product::<usize>();
        let block =
            Tensor::from_vec(numbers, (rows, columns), &Device::Cpu)?.to_dtype(data_type)?;
        let rounded = block.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        let is_finite = rounded.iter().all(|v| v.is_finite());
        Ok(if is_finite { Some(block.to_device(&device)?) } else { None })
    }

    /// The extents of a parameter.
    pub(super) fn shape(&self, id: ValueId) -> &[usize] {
        self.parameters.get(&id).map_or(&[], |(shape, _)| shape)
    }

    /// Other numbers of a parameter.
    pub(super) fn set(&mut self, id: ValueId, block: Tensor) {
        if let Some((_, old)) = self.parameters.get_mut(&id) {
            *old = block;
        }
    }

    /// A new parameter, right behind another one.
    pub(super) fn add_parameter(
        &mut self,
        name: &str,
        shape: Vec<usize>,
        block: Tensor,
        behind: ValueId,
    ) -> ValueId {
        let id = self.add_value(name);
        self.parameters.insert(id, (shape, block));
        self.insert(Step::Value(id), Step::Value(behind));
        id
    }

    /// A new value of this name, or a similar one where others have it.
    pub(super) fn add_value(&mut self, name: &str) -> ValueId {
        let (mut unique, mut number) = (name.to_owned(), 2);
        while !self.taken.insert(unique.clone()) {
            unique = format!("{name}.{number}");
            number += 1;
        }
        self.names.push(unique);
        ValueId(self.names.len() - 1)
    }

    /// The name of a value.
    pub(super) fn name(&self, id: ValueId) -> &str {
        &self.names[id.0]
    }

    /// A new node, right behind another one; its index.
    pub(super) fn add_node(&mut self, node: Node, behind: usize) -> usize {
        self.nodes.push(node);
        let index = self.nodes.len() - 1;
        self.insert(Step::Node(index), Step::Node(behind));
        index
    }

    fn insert(&mut self, step: Step, behind: Step) {
        let place = self.steps.iter().position(|&other| other == behind);
        self.steps.insert(place.map_or(0, |place| place + 1), step);
    }

    /// Leaves nodes out.
    pub(super) fn remove(&mut self, is_gone: impl Fn(usize) -> bool) {
        self.steps.retain(|step| !matches!(step, Step::Node(index) if is_gone(*index)));
    }

    /// The graph; parameters that somebody read go with their last reader.
    pub(super) fn build(self) -> Result<(Graph, Params), GraphChangeError> {
        let was_read: HashSet<ValueId> = read(self.graph.nodes(), self.graph.outputs());
        let nodes = self.steps.iter().filter_map(|step| match step {
            Step::Node(index) => self.nodes.get(*index),
            Step::Value(_) => None,
        });
        let is_read = read(nodes, &self.outputs);
        let (mut builder, mut blocks) = (Builder::new(), Vec::new());
        let mut ids: HashMap<ValueId, ValueId> = HashMap::new();
        for step in &self.steps {
            match *step {
                Step::Value(id) if self.parameters.contains_key(&id) => {
                    let is_gone = was_read.contains(&id) && !is_read.contains(&id);
                    if let Some((shape, block)) = self.parameters.get(&id).filter(|_| !is_gone) {
                        ids.insert(id, builder.parameter(self.name(id), shape));
                        blocks.push(block.clone());
                    }
                }
                Step::Value(id) => {
                    let value = self.graph.value(id);
                    let (name, kind) = (value.name.as_str(), value.kind);
                    let new = match &value.source {
                        Source::Constant(numbers) => builder.constant(name, kind, numbers.clone()),
                        Source::Input | Source::Parameter(_) | Source::Node { .. } => {
                            builder.input(name, kind, value.shape.clone())
                        }
                    };
                    ids.insert(id, new);
                }
                Step::Node(index) => {
                    let node = &self.nodes[index];
                    let operands: Vec<ValueId> =
                        node.operands.iter().filter_map(|id| ids.get(id).copied()).collect();
                    let names: Vec<&str> = node.results.iter().map(|&id| self.name(id)).collect();
                    let results = builder.add(&node.name, node.op.clone(), &operands, &names)?;
                    ids.extend(node.results.iter().copied().zip(results));
                }
            }
        }
        let outputs: Vec<ValueId> =
            self.outputs.iter().filter_map(|id| ids.get(id).copied()).collect();
        let graph = builder.finish(&outputs);
        let params = Params::new(graph.layout(), blocks)?;
        Ok((graph, params))
    }
}

/// What nodes read or a graph gives.
fn read<'n>(nodes: impl IntoIterator<Item = &'n Node>, outputs: &[ValueId]) -> HashSet<ValueId> {
    let operands = nodes.into_iter().flat_map(|node| &node.operands);
    operands.chain(outputs).copied().collect()
}

/// The extents of a parameter.
fn extents(graph: &Graph, id: ValueId) -> Vec<usize> {
    let shape = graph.value(id).shape.iter();
    shape.map(|extent| usize::try_from(extent.fixed).unwrap_or(0)).collect()
}
