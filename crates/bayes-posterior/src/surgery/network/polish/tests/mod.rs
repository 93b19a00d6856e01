//! Laws of polishing, on small networks in f64.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod equations;
#[path = "../../../../../../models/tests/common/growing.rs"]
#[allow(dead_code, reason = "other tests use the other parts")]
mod growing;
mod steps;

use candle_core::{DType, Tensor};
use core_tensors::Params;
use models::graph::axes::Axes;
use models::graph::{Dimension, Op, Reduction, Unary, ValueId};

use self::growing::{Growing, normal, of};
use super::super::{Cutting, Surgery, operate};
use super::equations::{Curvature, Equations};
use super::*;

/// Relative distance of sums in f64 that are taken in another order.
const CLOSE: f64 = 1e-9;
const SOFTMAX: Likelihood = Likelihood::Categorical;
const SIGMOID: Likelihood = Likelihood::Bernoulli;
const NORMAL: Likelihood = Likelihood::Normal { variance: 0.5 };

/// A network of f64 with its units, and inputs for it.
struct Case {
    name: &'static str,
    graph: Graph,
    params: Params,
    axes: Axes,
    x: Tensor,
}

impl Case {
    fn new(name: &'static str, net: Growing, y: ValueId, input: &[usize], m: usize) -> Self {
        let (graph, params) = net.finish(y).unwrap();
        let blocks = params.blocks().iter().map(|b| b.to_dtype(DType::F64).unwrap()).collect();
        let params = Params::new(params.layout().clone(), blocks).unwrap();
        let x = normal(&mut Rng::new(5), &[&[m], input].concat()).unwrap();
        let axes = Axes::of(&graph);
        Self { name, graph, params, axes, x: x.to_dtype(DType::F64).unwrap() }
    }

    fn network(&self) -> Network<'_> {
        Network { graph: &self.graph, params: &self.params, axes: &self.axes }
    }

    fn calibration(&self, held_out_every: usize) -> Calibration {
        let cutting = Cutting { batch_size: 7, held_out_every, ..Cutting::default() };
        Calibration::new(std::slice::from_ref(&self.x), None, cutting).unwrap()
    }

    /// The first group narrowed to a width.
    fn narrowed(&self, width: usize, seed: u64) -> (Graph, Params) {
        let mut widths: Vec<usize> = self.axes.groups().iter().map(|g| g.n_units).collect();
        let first = self
            .axes
            .groups()
            .iter()
            .position(|g| operate::pinned(&self.axes, g).is_none() && g.n_units > width);
        widths[first.unwrap()] = width;
        let surgery = Surgery { order: super::super::Order::Random(seed), ..Surgery::plain() };
        let operated =
            operate(&self.network(), &self.calibration(0), &widths, &surgery, None, None);
        let operated = operated.unwrap();
        (operated.graph, operated.params)
    }
}

fn perceptron(seed: u64, m: usize) -> Case {
    let (mut net, x) = Growing::new(seed, &[6]);
    let h = net.gemm("a", x, [9, 6], true).unwrap();
    let h = net.relu(h).unwrap();
    let h = net.gemm("b", h, [5, 9], false).unwrap();
    let h = net.node(Op::Unary(Unary::Tanh), &[h]).unwrap();
    let y = net.matmul("c", h, [3, 5]).unwrap();
    Case::new("perceptron", net, y, &[6], m)
}

fn one_logit(m: usize) -> Case {
    let (mut net, x) = Growing::new(6, &[6]);
    let h = net.gemm("a", x, [5, 6], true).unwrap();
    let h = net.node(Op::Unary(Unary::Tanh), &[h]).unwrap();
    let y = net.gemm("b", h, [1, 5], true).unwrap();
    Case::new("one logit", net, y, &[6], m)
}

fn convolutional(m: usize) -> Case {
    let (mut net, x) = Growing::new(2, &[2, 5, 5]);
    let h = net.conv("a", x, [5, 2, 3], 1).unwrap();
    let h = net.relu(h).unwrap();
    let h = net.conv("b", h, [4, 5, 3], 1).unwrap();
    let h = net.relu(h).unwrap();
    let h = net.node(Op::Flatten { axis: 1 }, &[h]).unwrap();
    let y = net.gemm("c", h, [3, 100], true).unwrap();
    Case::new("convolutional", net, y, &[2, 5, 5], m)
}

fn tokens(m: usize) -> Case {
    let (mut net, x) = Growing::new(3, &[4, 5]);
    let h = net.matmul("a", x, [7, 5]).unwrap();
    let h = net.node(Op::Unary(Unary::Gelu), &[h]).unwrap();
    let h = net.matmul("b", h, [6, 7]).unwrap();
    let h = net.relu(h).unwrap();
    let mean = Op::Reduce { reduction: Reduction::Mean, axes: vec![1], keep: false };
    let h = net.node(mean, &[h]).unwrap();
    let y = net.gemm("c", h, [3, 6], true).unwrap();
    Case::new("tokens", net, y, &[4, 5], m)
}

/// Heads that are counted with the batch.
fn heads(m: usize) -> Case {
    let (mut net, x) = Growing::new(4, &[6]);
    let h = net.matmul("a", x, [6, 6]).unwrap();
    let many = Dimension { fixed: 0, per_example: 3 };
    let h = net.reshape(h, &[many, of(2)]).unwrap();
    let h = net.matmul("b", h, [4, 2]).unwrap();
    let h = net.relu(h).unwrap();
    let h = net.reshape(h, &[Dimension::BATCH, of(12)]).unwrap();
    let y = net.gemm("c", h, [3, 12], true).unwrap();
    Case::new("heads", net, y, &[6], m)
}

fn cases(m: usize) -> Vec<Case> {
    vec![perceptron(1, m), convolutional(m), tokens(m), heads(m)]
}

/// Another network of the same graph.
fn other(params: &Params, seed: u64) -> Params {
    let mut rng = Rng::new(seed);
    let shaken = |b: &Tensor| {
        let noise = normal(&mut rng, b.dims()).unwrap().to_dtype(DType::F64).unwrap();
        (b + (noise * 0.2).unwrap()).unwrap()
    };
    let blocks = params.blocks().iter().map(shaken).collect();
    Params::new(params.layout().clone(), blocks).unwrap()
}

fn relative(a: &Mat<f64>, b: &Mat<f64>) -> f64 {
    (a - b).norm_max() / b.norm_max().max(1e-12)
}

fn rows(x: &Tensor) -> Vec<Vec<f64>> {
    x.to_vec2().unwrap()
}

fn softmax(f: &[f64]) -> Vec<f64> {
    let sum: f64 = f.iter().map(|v| v.exp()).sum();
    f.iter().map(|v| v.exp() / sum).collect()
}

/// KL by the definition, a mean over the rows of some examples.
fn divergence(before: &Tensor, after: &Tensor) -> f64 {
    let pairs = rows(before).into_iter().zip(rows(after));
    let each = pairs.map(|(f, g)| {
        let (p, q) = (softmax(&f), softmax(&g));
        p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum::<f64>()
    });
    each.sum::<f64>() / before.dim(0).unwrap() as f64
}
