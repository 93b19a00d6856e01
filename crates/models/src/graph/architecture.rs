//! A graph as one of the families of networks: what its layers put out, and where its parameters start.

use candle_core::{Device, Tensor};
use core_tensors::{Block, Layout, Params, Result, Rng};

use super::{Binary, Graph, Node, Op, Source, Value, ValueId};
use crate::Architecture;

/// Standard deviation of parameters that are neither weights of a product nor part of a normalization, such as embeddings.
const STD: f64 = 0.02;

impl Architecture for Graph {
    fn layout(&self) -> Layout {
        Self::layout(self)
    }

    /// The outputs of the nodes that have parameters, in their order, and f(x, w) last.
    fn activations(&self, w: &Params, x: &Tensor) -> Result<Vec<Tensor>> {
        let of = self.parameters_behind();
        let is_layer = |node: &&Node| {
            let result = node.results.first().map(|&id| self.value(id));
            let depends = |value: &Value| value.shape.iter().any(|extent| extent.is_per_batch());
            node.operands.iter().any(|id| of[id.0].is_some()) && result.is_some_and(depends)
        };
        let layers = self.nodes().iter().filter(is_layer);
        let mut wanted: Vec<ValueId> =
            layers.filter_map(|node| node.results.first().copied()).collect();
        let output = self.outputs().first();
        wanted.retain(|id| Some(id) != output);
        wanted.extend(output);
        Ok(self.evaluate(w, std::slice::from_ref(x), &wanted)?)
    }

    fn forward(&self, w: &Params, x: &Tensor) -> Result<Tensor> {
        Ok(Self::forward(self, w, x)?)
    }

    /// Terms of a sum for the weights of products and convolutions, 1 for all other parameters.
    fn fan_in(&self) -> Vec<usize> {
        let of = |start: &Start| match *start {
            Start::Weight { fan_in } => fan_in,
            _ => 1,
        };
        self.starts().iter().map(of).collect()
    }

    /// Weights of products and convolutions, and the biases behind them, ~ U(±1/√fan_in); scales and variances of
    /// normalizations 1, their shifts and means 0; slopes of PReLU 0.25; all others ~ N(0, 0.02²).
    fn init(&self, rng: &mut Rng, device: &Device) -> Result<Params> {
        let layout = Self::layout(self);
        let starts = self.starts();
        let blocks = layout.blocks.iter().zip(&starts).map(|(&Block { rows, cols }, start)| {
            let values: Vec<f32> = (0..rows * cols).map(|_| start.draw(rng) as f32).collect();
            Ok(Tensor::from_vec(values, (rows, cols), device)?)
        });
        let blocks = blocks.collect::<Result<_>>()?;
        Params::new(layout, blocks)
    }
}

/// What a parameter does, as far as its start depends on it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Start {
    /// A factor of a product or a filter.
    Weight { fan_in: usize },
    /// Added to the sums of such a one.
    Bias { fan_in: usize },
    /// A factor of each channel, or a variance.
    One,
    /// Added to each channel, or a mean.
    Zero,
    /// Of a parametric ReLU.
    Slope,
    /// Anything else.
    Other,
}

impl Start {
    fn draw(self, rng: &mut Rng) -> f64 {
        match self {
            Self::Weight { fan_in } | Self::Bias { fan_in } => {
                (2.0 * rng.uniform() - 1.0) / (fan_in.max(1) as f64).sqrt()
            }
            Self::One => 1.0,
            Self::Zero => 0.0,
            Self::Slope => 0.25,
            Self::Other => STD * rng.normal(),
        }
    }
}

impl Graph {
    /// The parameter whose numbers a value holds, perhaps in another shape.
    pub(super) fn parameters_behind(&self) -> Vec<Option<usize>> {
        let mut of = vec![None; self.values().len()];
        for (i, value) in self.values().iter().enumerate() {
            if let Source::Parameter(t) = value.source {
                of[i] = Some(t);
            }
        }
        for node in self.nodes() {
            if let (true, [x], [y]) =
                (is_arrangement(&node.op), &node.operands[..], &node.results[..])
            {
                of[y.0] = of[x.0];
            }
        }
        of
    }

    /// How each block starts: by the first node that makes something of it.
    fn starts(&self) -> Vec<Start> {
        let of = self.parameters_behind();
        let mut starts = vec![None; self.parameters().len()];
        // Terms of the sums that a value holds, where a bias may follow.
        let mut sums: Vec<Option<usize>> = vec![None; self.values().len()];
        for node in self.nodes().iter().filter(|node| !is_arrangement(&node.op)) {
            let has_weight = node.operands.iter().any(|id| of[id.0].is_some());
            let fan_in = self.fan_in_of(node).filter(|_| has_weight);
            if let (Some(fan_in), Some(result)) = (fan_in, node.results.first()) {
                sums[result.0] = Some(fan_in);
            }
            for (k, id) in node.operands.iter().enumerate() {
                if let Some(place) = of[id.0].map(|t| &mut starts[t])
                    && place.is_none()
                {
                    *place = Some(self.start(node, k, fan_in, &sums));
                }
            }
        }
        starts.into_iter().map(|start| start.unwrap_or(Start::Other)).collect()
    }

    /// Terms of each sum of a product.
    fn fan_in_of(&self, node: &Node) -> Option<usize> {
        let shape = |k: usize| node.operands.get(k).map(|&id| self.value(id).shape.as_slice());
        let known = |k: usize, axis: usize| {
            let extent = shape(k)?.get(axis)?.as_known()?;
            usize::try_from(extent).ok()
        };
        match &node.op {
            Op::Gemm { transpose_b, .. } => known(1, usize::from(*transpose_b)),
            Op::MatMul => known(1, shape(1)?.len().saturating_sub(2)),
            Op::Conv { .. } => {
                let axes = 1..shape(1)?.len();
                axes.map(|axis| known(1, axis)).product()
            }
            _ => None,
        }
    }

    /// How operand k of a node starts, if that is a parameter.
    fn start(&self, node: &Node, k: usize, fan_in: Option<usize>, sums: &[Option<usize>]) -> Start {
        let is_vector = node.operands.get(k).is_some_and(|&id| {
            let shape = &self.value(id).shape;
            shape.iter().filter(|extent| extent.as_known() != Some(1)).count() <= 1
        });
        let other = || node.operands.get(1 - k.min(1)).and_then(|id| sums[id.0]);
        match (&node.op, k, fan_in) {
            (Op::Gemm { .. } | Op::Conv { .. }, 2, Some(fan_in)) => Start::Bias { fan_in },
            (Op::Gemm { .. } | Op::Conv { .. } | Op::MatMul, _, Some(fan_in)) => {
                Start::Weight { fan_in }
            }
            (Op::BatchNormalization { .. }, 1 | 4, _) => Start::One,
            (Op::BatchNormalization { .. }, 2 | 3, _) => Start::Zero,
            (Op::LayerNormalization { .. } | Op::GroupNormalization { .. }, 1, _) => Start::One,
            (Op::LayerNormalization { .. } | Op::GroupNormalization { .. }, 2, _) => Start::Zero,
            (Op::PRelu, 1, _) => Start::Slope,
            (Op::Binary(Binary::Add), _, _) if is_vector => match other() {
                Some(fan_in) => Start::Bias { fan_in },
                None => Start::Zero,
            },
            (Op::Binary(Binary::Sub), 1, _) if is_vector => Start::Zero,
            (Op::Binary(Binary::Mul), _, _) | (Op::Binary(Binary::Div), 1, _) if is_vector => {
                Start::One
            }
            _ => Start::Other,
        }
    }
}

/// Whether the result holds the numbers of the operand, in another arrangement.
fn is_arrangement(op: &Op) -> bool {
    matches!(
        op,
        Op::Flatten { .. }
            | Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Squeeze { .. }
            | Op::Unsqueeze { .. }
            | Op::Expand { .. }
            | Op::Cast { .. }
    )
}
