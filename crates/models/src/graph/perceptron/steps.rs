//! From the output back to the input, node by node.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Layout, Params};

use super::gelu::{gelu_of, silu_of};
use super::{Columns, Dense, NotAPerceptron, numbers};
use crate::graph::run::{Context, apply, constant};
use crate::graph::{
    Binary, Dimension, Graph, Node, NodeName, Op, Problem, Source, Unary, Value, ValueId,
};

/// What a node of a perceptron does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// W x + b
    Dense(Dense),
    /// A scale and a shift of each column.
    Columns(Columns),
    /// A function of each number.
    Activation(Activation),
}

/// A graph with its parameters.
pub(super) struct Walk<'a> {
    pub(super) graph: &'a Graph,
    w: &'a Params,
    /// Whether each value depends on an input.
    depends: Vec<bool>,
    context: Context,
}

/// A step and the value that goes into it; none where the value comes out as it goes in.
type Found = (Option<Step>, ValueId);

impl<'a> Walk<'a> {
    pub(super) fn new(graph: &'a Graph, w: &'a Params) -> Self {
        let mut depends: Vec<bool> =
            graph.values().iter().map(|value| matches!(value.source, Source::Input)).collect();
        for node in graph.nodes() {
            let is_data = node.operands.iter().any(|id| depends[id.0]);
            node.results.iter().for_each(|id| depends[id.0] = is_data);
        }
        // What does not depend on the data is the same for every batch; that of one example will do.
        let context = Context { m: 1, dtype: DType::F64, device: Device::Cpu };
        Self { graph, w, depends, context }
    }

    /// What the nodes do, input side first.
    pub(super) fn steps(&self) -> Result<Vec<(NodeName, Step)>, NotAPerceptron> {
        let mut steps = Vec::new();
        let wrong =
            |reason: &str| NotAPerceptron { node: self.output_name(), reason: reason.to_owned() };
        let mut at = *self.graph.outputs().first().ok_or_else(|| wrong("no output"))?;
        let same = self.graph.layout().check_same("parameters of a graph", self.w.layout());
        same.map_err(|error| wrong(&error.to_string()))?;
        while let Source::Node { node, .. } = self.graph.value(at).source {
            let node = &self.graph.nodes()[node];
            let (step, before) = self.step(node, at).map_err(|problem| NotAPerceptron {
                node: self.graph.name_of(node),
                reason: problem.to_string(),
            })?;
            steps.extend(step.map(|step| (self.graph.name_of(node), step)));
            at = before;
        }
        if !matches!(self.graph.value(at).source, Source::Input) {
            return Err(wrong("the output does not depend on an input"));
        }
        steps.reverse();
        Ok(steps)
    }

    /// The name of the node of the first output.
    pub(super) fn output_name(&self) -> NodeName {
        let output = self.graph.outputs().first().map(|&id| self.graph.value(id));
        match output.map(|value| (&value.source, value)) {
            Some((Source::Node { node, .. }, _)) => self.graph.name_of(&self.graph.nodes()[*node]),
            Some((_, value)) => NodeName { op: "output".to_owned(), name: value.name.clone() },
            None => NodeName { op: "output".to_owned(), name: String::new() },
        }
    }

    /// Parameters in the type of the graph's own.
    pub(super) fn params(&self, layout: &Layout, values: &[f64]) -> core_tensors::Result<Params> {
        let first = self.w.blocks().first();
        let device = first.map_or(Device::Cpu, |block| block.device().clone());
        if first.map(Tensor::dtype) != Some(DType::F64) {
            return Params::from_vec(layout, values, &device);
        }
        let mut rest = values;
        let blocks = layout.blocks.iter().map(|block| {
            let (mine, others) = rest.split_at(block.n_parameters());
            rest = others;
            Tensor::from_slice(mine, (block.rows, block.cols), &device)
        });
        let blocks = blocks.collect::<candle_core::Result<_>>()?;
        Params::new(layout.clone(), blocks)
    }

    fn step(&self, node: &Node, result: ValueId) -> Result<Found, Obstacle> {
        let activation = |of| Ok((Some(Step::Activation(of)), node.operands[0]));
        let through = (None, node.operands.first().copied().unwrap_or(result));
        if let Some(x) = silu_of(self, result) {
            return Ok((Some(Step::Activation(Activation::Silu)), x));
        }
        if let Some(x) = gelu_of(self, result) {
            return Ok((Some(Step::Activation(Activation::Gelu)), x));
        }
        match &node.op {
            Op::Flatten { .. } | Op::Reshape { .. } | Op::Squeeze { .. } | Op::Unsqueeze { .. } => {
                let shapes = [through.1, result].map(|id| &self.graph.value(id).shape);
                let is_kept = shapes.iter().all(|shape| shape.first() == Some(&Dimension::BATCH));
                if is_kept { Ok(through) } else { Err(Obstacle::Of("it mixes examples")) }
            }
            Op::Gemm { .. } | Op::MatMul => self.dense(node),
            Op::Unary(Unary::Relu) => activation(Activation::Relu),
            Op::Unary(Unary::Clip { min: Some(0.0), max: None }) => activation(Activation::Relu),
            Op::Unary(Unary::LeakyRelu { slope }) if *slope > 0.0 && *slope < 1.0 => {
                activation(Activation::LeakyRelu { slope: f64::from(*slope) })
            }
            Op::Unary(Unary::LeakyRelu { .. }) => {
                Err(Obstacle::Of("its alpha is not between 0 and 1"))
            }
            Op::Unary(Unary::GeluTanh) => Err(Obstacle::Of(
                "its attribute approximate is tanh; expected none, the exact function",
            )),
            Op::Unary(Unary::Tanh) => activation(Activation::Tanh),
            Op::Unary(Unary::Sigmoid) => activation(Activation::Sigmoid),
            Op::Unary(Unary::Silu) => activation(Activation::Silu),
            Op::Unary(Unary::Gelu) => activation(Activation::Gelu),
            Op::Cast { to: crate::graph::Kind::Float } => Ok(through),
            Op::Unary(Unary::Neg) => self.columns(node, vec![-1.0], vec![0.0]),
            Op::Scaler { offset, scale } => {
                let factor: Vec<f64> = scale.iter().map(|&s| f64::from(s)).collect();
                let n = offset.len().max(factor.len());
                let at = |i: usize| factor[if factor.len() == 1 { 0 } else { i }];
                let shift = |i: usize| f64::from(offset[if offset.len() == 1 { 0 } else { i }]);
                let offset = (0..n).map(|i| -shift(i) * at(i)).collect();
                self.columns(node, factor.clone(), offset)
            }
            Op::BatchNormalization { epsilon } => self.batch_normalization(node, *epsilon),
            Op::Binary(of) => self.binary(node, *of),
            _ => Err(Obstacle::Of("no chain of dense layers has this operator")),
        }
    }

    fn dense(&self, node: &Node) -> Result<Found, Obstacle> {
        let (x, right) = (node.operands[0], node.operands[1]);
        let is_transposed = matches!(node.op, Op::Gemm { transpose_b: true, .. });
        if matches!(node.op, Op::Gemm { transpose_a: true, .. }) || self.depends[right.0] {
            return Err(Obstacle::Of("expected a product of examples in rows with weights"));
        }
        self.check_rows(x)?;
        let weights = self.known(right)?;
        let turned = if is_transposed { weights } else { weights.t()? };
        let (n_out, n_in) = turned.dims2()?;
        let mut weights = numbers(&turned)?;
        let mut bias = None;
        if let Op::Gemm { alpha, beta, .. } = node.op {
            weights.iter_mut().for_each(|u| *u *= f64::from(alpha));
            if let Some(&c) = node.operands.get(2) {
                let c = self.row(c, n_out)?;
                let of = |j: usize| f64::from(beta) * c[if c.len() == 1 { 0 } else { j }];
                bias = Some((0..n_out).map(of).collect());
            }
        }
        Ok((Some(Step::Dense(Dense { n_out, n_in, weights, bias })), x))
    }

    fn binary(&self, node: &Node, of: Binary) -> Result<Found, Obstacle> {
        let (a, b) = (node.operands[0], node.operands[1]);
        let (x, other, is_first) = match (self.depends[a.0], self.depends[b.0]) {
            (true, false) => (a, b, true),
            (false, true) => (b, a, false),
            _ => return Err(Obstacle::Of("it joins two values that depend on the input")),
        };
        let value = self.graph.value(x);
        let n = match value.shape.last().and_then(|extent| extent.as_known()) {
            Some(n) if value.shape == [Dimension::BATCH, Dimension::known(n)] => n as usize,
            _ => 1,
        };
        if n > 1 {
            self.check_rows(x)?;
        }
        let v = self.row(other, n)?;
        let inverse = || v.iter().map(|v| 1.0 / v).collect();
        let negative = || v.iter().map(|v| -v).collect();
        let (factor, offset): (Vec<f64>, Vec<f64>) = match (of, is_first) {
            (Binary::Add, _) => (vec![1.0], v),
            (Binary::Sub, true) => (vec![1.0], negative()),
            (Binary::Sub, false) => (vec![-1.0], v),
            (Binary::Mul, _) => (v, vec![0.0]),
            (Binary::Div, true) => (inverse(), vec![0.0]),
            _ => return Err(Obstacle::Of("no chain of dense layers has this operator")),
        };
        Ok((Some(Step::Columns(Columns { factor, offset })), x))
    }

    fn batch_normalization(&self, node: &Node, epsilon: f32) -> Result<Found, Obstacle> {
        let x = node.operands[0];
        self.check_rows(x)?;
        let of = |k: usize| -> Result<Vec<f64>, Obstacle> {
            Ok(numbers(&self.known(node.operands[k])?)?)
        };
        let (scale, shift, mean, variance) = (of(1)?, of(2)?, of(3)?, of(4)?);
        let size = |variance: f64| (variance + f64::from(epsilon)).sqrt();
        let factor: Vec<f64> = scale.iter().zip(&variance).map(|(s, &v)| s / size(v)).collect();
        let offset = (0..factor.len()).map(|i| shift[i] - mean[i] * factor[i]).collect();
        Ok((Some(Step::Columns(Columns { factor, offset })), x))
    }

    fn columns(&self, node: &Node, factor: Vec<f64>, offset: Vec<f64>) -> Result<Found, Obstacle> {
        let x = node.operands[0];
        if factor.len() > 1 || offset.len() > 1 {
            self.check_rows(x)?;
        }
        Ok((Some(Step::Columns(Columns { factor, offset })), x))
    }

    /// Refuses values that are not (N, n).
    fn check_rows(&self, x: ValueId) -> Result<(), Obstacle> {
        match self.graph.value(x).shape[..] {
            [first, n] if first == Dimension::BATCH && n.as_known().is_some() => Ok(()),
            _ => Err(Obstacle::Of("its input is no row an example")),
        }
    }

    /// A known row of n numbers, or one for all.
    fn row(&self, id: ValueId, n: usize) -> Result<Vec<f64>, Obstacle> {
        let v = self.known(id)?;
        let (is_row, count) = match v.dims() {
            [front @ .., last] => (front.iter().all(|&n| n == 1), *last),
            [] => (true, 1),
        };
        // A column of one number each would need a batch of as many examples.
        if !is_row || v.rank() > 2 || (count != n && count != 1) {
            return Err(Obstacle::Of("its other operand is no row of one number a column"));
        }
        Ok(numbers(&v)?)
    }

    /// The one number of a value that does not depend on the input.
    pub(super) fn scalar(&self, id: ValueId) -> Option<f64> {
        let is_one = self.graph.value(id).shape.iter().all(|d| d.as_known() == Some(1));
        if self.depends[id.0] || !is_one {
            return None;
        }
        numbers(&self.known(id).ok()?).ok()?.first().copied()
    }

    /// The node that makes a value, if the value depends on the input.
    pub(super) fn source(&self, id: ValueId) -> Option<&'a Node> {
        match self.graph.value(id).source {
            Source::Node { node, .. } if self.depends[id.0] => self.graph.nodes().get(node),
            _ => None,
        }
    }

    /// A value that does not depend on the input, in f64.
    fn known(&self, id: ValueId) -> Result<Tensor, Obstacle> {
        let mut of: HashMap<ValueId, Tensor> = HashMap::new();
        // First what the value is made of, then the values from the front on: a deep graph is no deep recursion.
        let (mut needed, mut open) = (vec![false; self.graph.nodes().len()], vec![id]);
        while let Some(id) = open.pop() {
            let value: &Value = self.graph.value(id);
            match &value.source {
                Source::Input => return Err(Obstacle::Of("an operand of it depends on the input")),
                Source::Node { node, .. } if needed[*node] => {}
                Source::Node { node, .. } => {
                    needed[*node] = true;
                    open.extend(&self.graph.nodes()[*node].operands);
                }
                Source::Parameter(t) => {
                    let shape = extents(value)?;
                    of.insert(id, self.w.blocks()[*t].to_dtype(DType::F64)?.reshape(shape)?);
                }
                Source::Constant(numbers) => {
                    of.insert(id, constant(numbers, value.kind, &self.context)?);
                }
            }
        }
        for (node, _) in self.graph.nodes().iter().zip(&needed).filter(|(_, needed)| **needed) {
            node.results.iter().try_for_each(|&id| extents(self.graph.value(id)).map(|_| ()))?;
            let operands = node.operands.iter().filter_map(|id| of.get(id).cloned());
            let results = apply(&node.op, &operands.collect::<Vec<_>>(), &self.context)?;
            of.extend(node.results.iter().copied().zip(results));
        }
        of.remove(&id).ok_or(Obstacle::Of("an operand of it is not known"))
    }
}

/// The shape of a value that is the same for every batch.
fn extents(value: &Value) -> Result<Vec<usize>, Obstacle> {
    let extent = |d: &Dimension| usize::try_from(d.as_known()?).ok();
    let shape: Option<_> = value.shape.iter().map(extent).collect();
    shape.ok_or(Obstacle::Of("an operand of it grows with the batch"))
}

/// Why a node belongs to no perceptron.
#[derive(Debug, thiserror::Error)]
pub(super) enum Obstacle {
    #[error("{0}")]
    Of(&'static str),
    #[error(transparent)]
    Problem(#[from] Problem),
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
