//! Nodes of a file as operators of a graph, every spelling of opsets 11 and newer.

mod attention;
mod attributes;
mod composed;
mod elementwise;
mod labels;
mod linear;
mod normalization;
mod reduction;
mod shapes;
mod transposed;

use super::node::At;
use super::{Import, ImportError, Unsupported, constant};
use crate::graph::{Dimension, Entries, Numbers, Op, Source, ValueId, rules};
use crate::onnx::Node;

/// The domain of the operators of scikit-learn's exports.
const ML: &str = "ai.onnx.ml";

/// Reads the nodes of one kind; `false` where the operator is of another.
type Reader = fn(&mut Import<'_, '_, '_>, &At<'_>) -> Result<bool, ImportError>;

const READERS: [Reader; 9] = [
    linear::add,
    composed::add,
    attention::add,
    transposed::add,
    normalization::add,
    elementwise::add,
    reduction::add,
    shapes::add,
    labels::add,
];

/// Refuses nodes that are not read: the first by its name, with how many others there are.
pub(super) fn check(nodes: &[&Node]) -> Result<(), ImportError> {
    let mut refused = nodes.iter().filter_map(|&node| Some((node, unsupported(node)?)));
    match refused.next() {
        Some((node, reason)) => Err(At { node, opset: 0 }.unsupported(reason, refused.count())),
        None => Ok(()),
    }
}

/// Why a node is not read, as far as its operator tells; `None` where it is.
pub fn unsupported(node: &Node) -> Option<Unsupported> {
    let op = node.op_type.as_str();
    let is_main = matches!(node.domain.as_str(), "" | "ai.onnx");
    match op {
        "Loop" | "If" | "Scan" if is_main => Some(Unsupported::ControlFlow),
        _ if is_main
            && (op.contains("Sequence") || op.contains("Optional") || op.contains("String")) =>
        {
            Some(Unsupported::Sequence)
        }
        _ if is_main && is_read(op) => None,
        _ if op.to_lowercase().contains("quantize")
            || op.starts_with("QLinear")
            || op.ends_with("Integer") =>
        {
            Some(Unsupported::Quantized)
        }
        "LSTM" | "GRU" | "RNN" if is_main => Some(Unsupported::Recurrent),
        _ if is_main => Some(Unsupported::Operator),
        "Scaler" | "Normalizer" | "LabelEncoder" if node.domain == ML => None,
        _ => Some(Unsupported::Domain),
    }
}

/// Whether an operator of the main domain is read.
pub(crate) fn is_read(op: &str) -> bool {
    const ALL: [&[&str]; 8] = [
        linear::OPERATORS,
        composed::OPERATORS,
        attention::OPERATORS,
        transposed::OPERATORS,
        normalization::OPERATORS,
        elementwise::OPERATORS,
        reduction::OPERATORS,
        shapes::OPERATORS,
    ];
    ALL.iter().any(|operators| operators.contains(&op))
}

/// Adds the operators of a node to the graph.
pub(super) fn add(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<(), ImportError> {
    attributes::check(at)?;
    for reader in READERS {
        if reader(import, at)? {
            return Ok(());
        }
    }
    Err(at.unsupported(Unsupported::Operator, 0))
}

impl Import<'_, '_, '_> {
    /// The operand at a place that must be there.
    pub(super) fn operand(&mut self, at: &At<'_>, place: usize) -> Result<ValueId, ImportError> {
        match at.input(place) {
            Some(name) => self.resolve(name, at),
            None => Err(at.left_out(place)),
        }
    }

    /// All operands; one that is left out in between is an error.
    fn operands(&mut self, at: &At<'_>) -> Result<Vec<ValueId>, ImportError> {
        (0..at.n_inputs()).map(|place| self.operand(at, place)).collect()
    }

    /// One operator with the node's first result.
    fn node(&mut self, at: &At<'_>, op: Op, operands: &[ValueId]) -> Result<(), ImportError> {
        self.refuse_other_results(at, 1)?;
        let result = at.node.outputs.first().map(String::as_str).unwrap_or_default();
        let ids = self.builder.add(&super::node::name(at.node), op, operands, &[result])?;
        if let Some(&id) = ids.first() {
            self.set(result, id);
        }
        Ok(())
    }

    /// One operator of several that a node stands for, with a result that has no name in the file.
    fn part(
        &mut self,
        at: &At<'_>,
        op: Op,
        operands: &[ValueId],
        suffix: &str,
    ) -> Result<ValueId, ImportError> {
        let result = self.own_name(at, suffix);
        let name = super::node::name(at.node);
        let ids = self.builder.add(&name, op, operands, &[&result])?;
        // One name makes one result, or an error.
        ids.first().copied().ok_or_else(|| at.missing(&result))
    }

    /// The first result is the first operand itself.
    fn alias(&mut self, at: &At<'_>) -> Result<(), ImportError> {
        self.refuse_other_results(at, 1)?;
        let id = self.operand(at, 0)?;
        if let Some(result) = at.node.outputs.first() {
            self.set(result, id);
        }
        Ok(())
    }

    /// Refuses a node of which somebody reads more than the first results.
    fn refuse_other_results(&self, at: &At<'_>, n: usize) -> Result<(), ImportError> {
        let others = at.node.outputs.iter().skip(n);
        match others.filter(|name| !name.is_empty()).any(|name| self.uses.contains(name)) {
            true => Err(at.unsupported(Unsupported::Result, 0)),
            false => Ok(()),
        }
    }

    /// Extents of a value.
    fn shape(&self, id: ValueId) -> &[Dimension] {
        &self.builder.get(id).shape
    }

    /// The axis of a negative or positive number.
    fn axis(&self, at: &At<'_>, axis: i64, rank: usize) -> Result<usize, ImportError> {
        rules::axis(axis, rank).map_err(|problem| at.problem(problem))
    }

    /// Whole numbers that an input must hold when the graph is built; `None` where the input is left out.
    fn known_integers(
        &mut self,
        at: &At<'_>,
        place: usize,
        what: &'static str,
    ) -> Result<Option<Vec<Dimension>>, ImportError> {
        match self.known(at, place, what)? {
            Some(Numbers { entries: Entries::Integers(values), .. }) => Ok(Some(values)),
            Some(_) => Err(at.wrong(what, "whole numbers", "floats")),
            None => Ok(None),
        }
    }

    /// The same for numbers that do not depend on the batch.
    fn known_fixed(
        &mut self,
        at: &At<'_>,
        place: usize,
        what: &'static str,
    ) -> Result<Option<Vec<i64>>, ImportError> {
        let Some(values) = self.known_integers(at, place, what)? else { return Ok(None) };
        let fixed = values.iter().map(|value| value.as_known());
        let fixed: Option<Vec<i64>> = fixed.collect();
        fixed.map(Some).ok_or_else(|| at.wrong(what, "numbers", "numbers that depend on the batch"))
    }

    /// One number that an input must hold when the graph is built.
    fn known_number(
        &mut self,
        at: &At<'_>,
        place: usize,
        what: &'static str,
    ) -> Result<Option<f64>, ImportError> {
        let number = match self.known(at, place, what)? {
            None => return Ok(None),
            Some(Numbers { entries: Entries::Floats(values), .. }) => match values[..] {
                [value] => Some(value),
                _ => None,
            },
            Some(Numbers { entries: Entries::Integers(values), .. }) => match values[..] {
                [value] => value.as_known().map(|n| n as f64),
                _ => None,
            },
        };
        number.map(Some).ok_or_else(|| at.wrong(what, "one number", "several"))
    }

    fn known(
        &mut self,
        at: &At<'_>,
        place: usize,
        what: &'static str,
    ) -> Result<Option<Numbers>, ImportError> {
        let Some(name) = at.input(place) else { return Ok(None) };
        // A number may be a setting here and a weight elsewhere.
        if let Some(tensor) = self.uses.tensor(name).filter(|tensor| tensor.data_type.is_float()) {
            return Ok(Some(constant::numbers(self.model, tensor, self.external)?.1));
        }
        let id = self.resolve(name, at)?;
        match &self.builder.get(id).source {
            Source::Constant(numbers) => Ok(Some(numbers.clone())),
            _ => Err(at.problem(crate::graph::Problem::NotConstant { what })),
        }
    }

    /// Axes from an attribute, or since some opset from an input; `None` where neither names any.
    fn axes(
        &mut self,
        at: &At<'_>,
        place: usize,
        rank: usize,
    ) -> Result<Option<Vec<usize>>, ImportError> {
        let axes = match at.ints("axes")? {
            Some(axes) => Some(axes.to_vec()),
            None => self.known_fixed(at, place, "axes")?,
        };
        let Some(axes) = axes else { return Ok(None) };
        let mut axes = axes
            .into_iter()
            .map(|axis| self.axis(at, axis, rank))
            .collect::<Result<Vec<usize>, _>>()?;
        axes.sort_unstable();
        match axes.windows(2).any(|pair| pair[0] == pair[1]) {
            true => Err(at.wrong("axes", "different axes", format!("{axes:?}"))),
            false => Ok(Some(axes)),
        }
    }
}
