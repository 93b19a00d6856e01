//! Steps of a run: nodes, some of them several in one kernel.

use candle_core::Tensor;
use core_tensors::kernels::{
    Activation, Window as FilterWindow, convolve_relu_max_pool, linear, relu_max_pool,
};

use super::Values;
use super::apply::{Context, apply};
use super::normalize::channel_factors;
use super::plain::relu;
use super::sliding::{convolution, max_pool};
use super::spread::Spread;
use crate::graph::{Binary, Graph, Node, Op, Problem, Unary, ValueId, Window};

/// What is computed at once.
pub(super) struct Step<'a> {
    /// The node that a failure is told of.
    pub(super) node: &'a Node,
    /// What is read, as often as it is.
    pub(super) operands: Vec<ValueId>,
    results: Vec<ValueId>,
    kernel: Kernel,
}

enum Kernel {
    /// The node alone.
    Plain,
    /// act(x Uᵀ) with U = \[W | b\].
    Dense { u: Tensor, activation: Activation },
    /// A convolution with the batch normalization behind it in its filters.
    Convolution { filters: Tensor, bias: Tensor },
    /// The same, or a convolution alone, with ReLU and 2 × 2 max-pooling: act(x Uᵀ) with U = \[W | b\].
    Pooled { u: Tensor, window: FilterWindow },
    /// ReLU of the maxima instead of maxima of the ReLU.
    MaxPool { window: Window },
}

/// The steps of some nodes. Weights that do not depend on the batch are in `known`.
pub(super) fn steps<'a>(
    graph: &'a Graph,
    nodes: &[&'a Node],
    known: &Values,
    spreads: &[Spread],
    wanted: &[ValueId],
) -> Result<Vec<Step<'a>>, (&'a Node, Problem)> {
    let readers = Readers::new(graph, nodes, wanted);
    let mut is_done = vec![false; nodes.len()];
    let mut steps = Vec::with_capacity(nodes.len());
    for (i, &node) in nodes.iter().enumerate() {
        if is_done[i] {
            continue;
        }
        let plan = Plan { graph, nodes, known, spreads, readers: &readers };
        let fused = plan.fused(node).map_err(|problem| (node, problem))?;
        let (step, also) = fused.unwrap_or_else(|| {
            let (operands, results) = (node.operands.clone(), node.results.clone());
            (Step { node, operands, results, kernel: Kernel::Plain }, Vec::new())
        });
        also.into_iter().for_each(|j: usize| is_done[j] = true);
        steps.push(step);
    }
    Ok(steps)
}

impl Step<'_> {
    /// Computes it and keeps the results that are needed.
    pub(super) fn run(&self, known: &mut Values, context: &Context) -> Result<(), Problem> {
        let operands: Vec<Tensor> =
            self.operands.iter().map(|&id| known.take(id)).collect::<Result<_, _>>()?;
        let results = match (&self.kernel, &operands[..], &self.node.op) {
            (Kernel::Dense { u, activation }, [x], _) => vec![dense(x, u, *activation)?],
            (Kernel::Convolution { filters, bias }, [x], Op::Conv { window, groups }) => {
                vec![convolution(x, filters, Some(bias), window, *groups)?]
            }
            (Kernel::Pooled { u, window }, [x], _) => vec![convolve_relu_max_pool(x, u, *window)?],
            (Kernel::MaxPool { window }, [x], _) if is_halving(window) && x.rank() == 4 => {
                vec![relu_max_pool(x)?]
            }
            (Kernel::MaxPool { window }, [x], _) => vec![relu(&max_pool(x, window)?)?],
            _ => apply(&self.node.op, &operands, context)?,
        };
        let mut results = self.results.iter().zip(results);
        results.try_for_each(|(&id, result)| known.put_result(id, result))
    }
}

/// act(x Uᵀ) of the last axis.
fn dense(x: &Tensor, u: &Tensor, activation: Activation) -> candle_core::Result<Tensor> {
    if x.rank() == 2 {
        return linear(x, u, activation);
    }
    let (mut shape, n) = (x.dims().to_vec(), x.dims().last().copied().unwrap_or(1));
    let rows = x.elem_count().checked_div(n).unwrap_or(0);
    if let Some(last) = shape.last_mut() {
        *last = u.dim(0)?;
    }
    linear(&x.reshape((rows, n))?, u, activation)?.reshape(shape)
}

/// Which node reads each value, where it is one alone.
struct Readers {
    of: Vec<Option<usize>>,
    n: Vec<usize>,
}

impl Readers {
    fn new(graph: &Graph, nodes: &[&Node], wanted: &[ValueId]) -> Self {
        let mut readers =
            Self { of: vec![None; graph.values().len()], n: vec![0; graph.values().len()] };
        wanted.iter().for_each(|id| readers.n[id.0] += 1);
        for (i, node) in nodes.iter().enumerate() {
            for id in &node.operands {
                readers.of[id.0] = Some(i);
                readers.n[id.0] += 1;
            }
        }
        readers
    }

    fn only(&self, id: ValueId) -> Option<usize> {
        self.of[id.0].filter(|_| self.n[id.0] == 1)
    }
}

struct Plan<'a, 'b> {
    graph: &'a Graph,
    nodes: &'b [&'a Node],
    known: &'b Values,
    spreads: &'b [Spread],
    readers: &'b Readers,
}

impl<'a> Plan<'a, '_> {
    /// A step of several nodes that starts at this one, and the places of the others.
    fn fused(&self, node: &'a Node) -> Result<Option<(Step<'a>, Vec<usize>)>, Problem> {
        match &node.op {
            Op::Gemm { alpha, beta, transpose_a: false, transpose_b }
                if *alpha == 1.0 && *beta == 1.0 =>
            {
                let Some(weight) = node.operands.get(1).and_then(|&id| self.fixed(id)) else {
                    return Ok(None);
                };
                let rows = if *transpose_b { weight } else { weight.t()? };
                match node.operands.get(2) {
                    None => self.dense(node, rows, None),
                    Some(&c) => match self.row(c, rows.dim(0)?) {
                        Some(bias) => self.dense(node, rows, Some(bias)),
                        None => Ok(None),
                    },
                }
            }
            Op::MatMul => {
                let weight = node.operands.get(1).and_then(|&id| self.fixed(id));
                let is_data = node.operands.first().is_some_and(|&id| self.fixed(id).is_none());
                match weight {
                    Some(weight) if is_data && weight.rank() == 2 => {
                        self.dense(node, weight.t()?, None)
                    }
                    _ => Ok(None),
                }
            }
            Op::Conv { window, groups } => self.convolution(node, window, *groups),
            Op::Unary(Unary::Relu) => Ok(self.pooled(node)),
            _ => Ok(None),
        }
    }

    /// A product with rows of weights, the sum behind it if there is no bias yet, and the activation behind both.
    fn dense(
        &self,
        node: &'a Node,
        weight: Tensor,
        bias: Option<Tensor>,
    ) -> Result<Option<(Step<'a>, Vec<usize>)>, Problem> {
        let (x, mut result) = (node.operands[0], node.results[0]);
        let rank = self.graph.value(x).shape.len();
        let n_out = weight.dim(0)?;
        if rank < 2 || n_out == 0 || weight.rank() != 2 {
            return Ok(None);
        }
        let (mut also, mut bias) = (Vec::new(), bias);
        if bias.is_none()
            && let Some((place, sum)) = self.next(result)
            && let (Op::Binary(Binary::Add), &[a, b]) = (&sum.op, &sum.operands[..])
            && let Some(row) = self.row(if a == result { b } else { a }, n_out)
            && self.graph.value(sum.results[0]).shape.len() == rank
        {
            bias = Some(row);
            also.push(place);
            result = sum.results[0];
        }
        let mut activation = Activation::Identity;
        if let Some((place, node)) = self.next(result)
            && let Op::Unary(unary) = node.op
            && let Some(found) = activation_of(unary)
        {
            activation = found;
            also.push(place);
            result = node.results[0];
        }
        let u = match bias {
            Some(bias) => Tensor::cat(&[weight.contiguous()?, bias.reshape((n_out, 1))?], 1)?,
            None => weight,
        };
        let kernel = Kernel::Dense { u: u.contiguous()?, activation };
        Ok(Some((Step { node, operands: vec![x], results: vec![result], kernel }, also)))
    }

    /// ReLU and the max-pooling that alone reads it.
    fn pooled(&self, node: &'a Node) -> Option<(Step<'a>, Vec<usize>)> {
        let (place, pool) = self.next(node.results[0])?;
        let Op::MaxPool { window } = pool.op else { return None };
        let (operands, results) = (node.operands.clone(), pool.results.clone());
        Some((Step { node, operands, results, kernel: Kernel::MaxPool { window } }, vec![place]))
    }

    /// A convolution, the batch normalization that alone reads it, and ReLU and max-pooling behind them.
    fn convolution(
        &self,
        node: &'a Node,
        window: &Window,
        groups: usize,
    ) -> Result<Option<(Step<'a>, Vec<usize>)>, Problem> {
        let fixed = |id: &ValueId| self.fixed(*id);
        let parameters: Option<Vec<Tensor>> = node.operands.iter().skip(1).map(fixed).collect();
        let (mut filters, mut bias) = match parameters.as_deref() {
            Some([filters]) => (filters.clone(), None),
            Some([filters, bias]) => (filters.clone(), Some(bias.clone())),
            _ => return Ok(None),
        };
        let (mut also, mut results) = (Vec::new(), &node.results);
        if let Some((place, norm)) = self.next(results[0])
            && let Op::BatchNormalization { epsilon } = norm.op
            && let Some(moments) =
                norm.operands.iter().skip(1).map(fixed).collect::<Option<Vec<Tensor>>>()
            && let [scale, shift, mean, variance] = &moments[..]
        {
            let (factor, offset) = channel_factors([scale, shift, mean, variance], epsilon)?;
            let mut shape = vec![1; filters.rank()];
            shape[0] = factor.elem_count();
            filters = filters.broadcast_mul(&factor.reshape(shape)?)?;
            bias = Some(match bias {
                Some(bias) => ((bias * &factor)? + offset)?,
                None => offset,
            });
            also.push(place);
            results = &norm.results;
        }
        let operands = vec![node.operands[0]];
        if let Some((first, relu)) = self.next(results[0])
            && matches!(relu.op, Op::Unary(Unary::Relu))
            && let Some((second, pool)) = self.next(relu.results[0])
            && matches!(&pool.op, Op::MaxPool { window } if is_halving(window))
            && let (Some(window), 4) = (filter_window(window, groups), filters.rank())
        {
            also.extend([first, second]);
            let o = filters.dim(0)?;
            let rows = filters.flatten_from(1)?;
            let u = match bias {
                Some(bias) => Tensor::cat(&[rows.contiguous()?, bias.reshape((o, 1))?], 1)?,
                None => rows,
            };
            let kernel = Kernel::Pooled { u: u.contiguous()?, window };
            return Ok(Some((
                Step { node, operands, results: pool.results.clone(), kernel },
                also,
            )));
        }
        let (Some(bias), false) = (bias, also.is_empty()) else { return Ok(None) };
        let kernel = Kernel::Convolution { filters, bias };
        Ok(Some((Step { node, operands, results: results.clone(), kernel }, also)))
    }

    /// The node that alone reads a value.
    fn next(&self, id: ValueId) -> Option<(usize, &'a Node)> {
        let place = self.readers.only(id)?;
        Some((place, self.nodes[place]))
    }

    /// A value that does not depend on the batch.
    fn fixed(&self, id: ValueId) -> Option<Tensor> {
        if self.spreads[id.0] == Spread::Fixed { self.known.peek(id) } else { None }
    }

    /// A fixed row of n numbers.
    fn row(&self, id: ValueId, n: usize) -> Option<Tensor> {
        let row = self.fixed(id)?;
        let is_row = match row.dims() {
            [count] | [1, count] => *count == n,
            _ => false,
        };
        is_row.then_some(row)
    }
}

/// Whether a window takes 2 × 2 numbers and then the next.
fn is_halving(window: &Window) -> bool {
    let Window { kernel, strides, dilations, pads, ceil } = *window;
    (kernel, strides, dilations, pads, ceil) == ([2; 2], [2; 2], [1; 2], [0; 4], false)
}

/// A window of the kernel for square filters of stride 1, if it is one.
fn filter_window(window: &Window, groups: usize) -> Option<FilterWindow> {
    let Window { kernel: [kernel, columns], strides, dilations, pads, ceil: _ } = *window;
    let is_plain = groups == 1 && strides == [1; 2] && dilations == [1; 2];
    let is_square = kernel == columns && pads == [pads[0]; 4];
    (is_plain && is_square).then_some(FilterWindow { kernel, padding: pads[0] })
}

/// What the kernel of a dense layer applies too.
fn activation_of(unary: Unary) -> Option<Activation> {
    match unary {
        Unary::Relu => Some(Activation::Relu),
        Unary::LeakyRelu { slope } if slope > 0.0 && slope < 1.0 => {
            Some(Activation::LeakyRelu { slope: f64::from(slope) })
        }
        Unary::Tanh => Some(Activation::Tanh),
        Unary::Sigmoid => Some(Activation::Sigmoid),
        Unary::Silu => Some(Activation::Silu),
        Unary::Gelu => Some(Activation::Gelu),
        _ => None,
    }
}
