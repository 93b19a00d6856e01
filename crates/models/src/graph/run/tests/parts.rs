//! Runs of several kernels and parts against plain ones, node by node.

use candle_core::{DType, Device, Tensor};
use core_tensors::{Params, Rng};

use super::super::apply::{Context, apply};
use super::super::cast::constant;
use super::{close, floats, random};
use crate::graph::{
    Binary, Builder, Dimension, Entries, Graph, Kind, Numbers, Op, Reduction, SliceRange, Source,
    Unary, ValueId, Window,
};

/// More examples than any part has.
const M: usize = 300;

/// All outputs, each node alone and the whole batch at once.
fn plainly(graph: &Graph, w: &Params, x: &[Tensor]) -> Vec<Tensor> {
    let context = Context { m: M, dtype: DType::F64, device: Device::Cpu };
    let mut of: Vec<Option<Tensor>> = vec![None; graph.values().len()];
    for (i, value) in graph.values().iter().enumerate() {
        let shape: Vec<usize> =
            value.shape.iter().map(|d| d.of_batch(M).unwrap() as usize).collect();
        of[i] = match &value.source {
            Source::Parameter(t) => Some(w.blocks()[*t].reshape(shape).unwrap()),
            Source::Constant(numbers) => Some(constant(numbers, value.kind, &context).unwrap()),
            Source::Input | Source::Node { .. } => None,
        };
    }
    for (id, x) in graph.inputs().iter().zip(x) {
        of[id.0] = Some(x.clone());
    }
    for node in graph.nodes() {
        let operands: Vec<Tensor> =
            node.operands.iter().map(|id| of[id.0].clone().unwrap()).collect();
        let results = apply(&node.op, &operands, &context).unwrap();
        for (id, result) in node.results.iter().zip(results) {
            of[id.0] = Some(result);
        }
    }
    graph.outputs().iter().map(|id| of[id.0].clone().unwrap()).collect()
}

struct Sketch {
    builder: Builder,
    blocks: Vec<Tensor>,
    rng: Rng,
    n: usize,
}

impl Sketch {
    fn new(seed: u64) -> Self {
        Self { builder: Builder::new(), blocks: Vec::new(), rng: Rng::new(seed), n: 0 }
    }

    fn input(&mut self, shape: &[i64]) -> ValueId {
        self.n += 1;
        let known = shape.iter().map(|&n| Dimension::known(n));
        let shape = std::iter::once(Dimension::BATCH).chain(known).collect();
        self.builder.input(&format!("x{}", self.n), Kind::Float, shape)
    }

    fn parameter(&mut self, shape: &[usize]) -> ValueId {
        self.n += 1;
        let rows = shape.first().copied().unwrap_or(1);
        let cols: usize = shape.iter().skip(1).product();
        self.blocks.push(random(&mut self.rng, &[rows, cols]).abs().unwrap());
        self.builder.parameter(&format!("w{}", self.n), shape)
    }

    fn add(&mut self, op: Op, operands: &[ValueId]) -> ValueId {
        self.n += 1;
        let name = format!("v{}", self.n);
        self.builder.add(&name, op, operands, &[&name]).unwrap()[0]
    }

    /// Compares runs of the graph in parts, at once with gradients, and plain ones.
    fn check(self, outputs: &[ValueId], what: &str) {
        let graph = self.builder.finish(outputs);
        let w = Params::new(graph.layout(), self.blocks).unwrap();
        let mut rng = Rng::new(8);
        let inputs: Vec<Tensor> = graph
            .inputs()
            .iter()
            .map(|&id| {
                let shape = graph.value(id).shape.iter();
                let shape: Vec<usize> = shape.map(|d| d.of_batch(M).unwrap() as usize).collect();
                random(&mut rng, &shape)
            })
            .collect();
        let wanted = plainly(&graph, &w, &inputs);
        let in_parts = graph.run(&w, &inputs).unwrap();
        let at_once = graph.run(&w.trainable().unwrap(), &inputs).unwrap();
        assert_eq!(in_parts.len(), wanted.len());
        for ((a, b), wanted) in in_parts.iter().zip(&at_once).zip(&wanted) {
            assert_eq!((a.dims(), b.dims()), (wanted.dims(), wanted.dims()), "{what}");
            let size = floats(wanted).iter().fold(1.0, |a: f64, b| a.max(b.abs()));
            let scaled = |x: &Tensor| floats(&(x / size).unwrap());
            close(&scaled(a), &scaled(wanted), what);
            close(&scaled(b), &scaled(wanted), what);
        }
    }
}

fn window(kernel: usize, pad: usize) -> Window {
    Window { kernel: [kernel; 2], strides: [2; 2], dilations: [1; 2], pads: [pad; 4], ceil: false }
}

const PLAIN: Op = Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b: true };

#[test]
fn convolutions_with_normalizations_equal_their_nodes() {
    for has_bias in [false, true] {
        let mut s = Sketch::new(1);
        let x = s.input(&[2, 9, 8]);
        let mut operands = vec![x, s.parameter(&[4, 2, 3, 3])];
        if has_bias {
            operands.push(s.parameter(&[4]));
        }
        let y = s.add(Op::Conv { window: window(3, 1), groups: 1 }, &operands);
        let moments = [0; 4].map(|_| s.parameter(&[4]));
        let operands = [&[y][..], &moments].concat();
        let y = s.add(Op::BatchNormalization { epsilon: 1e-3 }, &operands);
        let y = s.add(Op::Unary(Unary::HardSwish), &[y]);
        let pooled = s.add(Op::MaxPool { window: window(2, 0) }, &[y]);
        let mean = Op::Reduce { reduction: Reduction::Mean, axes: vec![2, 3], keep: true };
        let mean = s.add(mean, &[y]);
        let gated = s.add(Op::Binary(Binary::Mul), &[pooled, mean]);
        let flat = s.add(Op::Flatten { axis: 1 }, &[gated]);
        let operands = [flat, s.parameter(&[3, 16]), s.parameter(&[3])];
        let y = s.add(PLAIN, &operands);
        let z = s.add(Op::Unary(Unary::Sigmoid), &[y]);
        // Both the sums and what the activation makes of them are wanted.
        s.check(&[z, y], "convolutions");
    }
}

#[test]
fn pooled_convolutions_equal_their_nodes() {
    for (has_norm, pad, stride, pool) in [
        (false, 1, 1, window(2, 0)),
        (true, 1, 1, window(2, 0)),
        (true, 0, 2, window(2, 0)),
        (false, 1, 1, window(3, 1)),
    ] {
        let mut s = Sketch::new(6);
        let x = s.input(&[2, 9, 8]);
        let operands = [x, s.parameter(&[4, 2, 3, 3])];
        let filter = Window { strides: [stride; 2], ..window(3, pad) };
        let mut y = s.add(Op::Conv { window: filter, groups: 1 }, &operands);
        if has_norm {
            let moments = [0; 4].map(|_| s.parameter(&[4]));
            let operands = [&[y][..], &moments].concat();
            y = s.add(Op::BatchNormalization { epsilon: 1e-3 }, &operands);
        }
        let y = s.add(Op::Unary(Unary::Relu), &[y]);
        let y = s.add(Op::MaxPool { window: pool }, &[y]);
        s.check(&[y], "pooled convolutions");
    }
}

#[test]
fn attention_equals_its_nodes() {
    let mut s = Sketch::new(2);
    let x = s.input(&[5, 6]);
    let known = Dimension::known;
    let token = s.parameter(&[1, 1, 6]);
    let shape = vec![Dimension::BATCH, known(1), known(6)];
    let token = s.add(Op::Expand { shape }, &[token]);
    let x = s.add(Op::Concat { axis: 1 }, &[token, x]);
    let places = s.parameter(&[6, 6]);
    let x = s.add(Op::Binary(Binary::Add), &[x, places]);
    let operands = [x, s.parameter(&[6]), s.parameter(&[6])];
    let z = s.add(Op::LayerNormalization { axis: 2, epsilon: 1e-5 }, &operands);
    let heads = |s: &mut Sketch| {
        let weight = s.parameter(&[6, 6]);
        let turned = s.add(Op::Transpose { order: vec![1, 0] }, &[weight]);
        let y = s.add(Op::MatMul, &[z, turned]);
        let bias = s.parameter(&[6]);
        let y = s.add(Op::Binary(Binary::Add), &[bias, y]);
        let shape = vec![Dimension::BATCH, known(6), known(2), known(3)];
        let y = s.add(Op::Reshape { shape }, &[y]);
        s.add(Op::Transpose { order: vec![0, 2, 1, 3] }, &[y])
    };
    let [q, k, v] = [0; 3].map(|_| heads(&mut s));
    let k = s.add(Op::Transpose { order: vec![0, 1, 3, 2] }, &[k]);
    let logits = s.add(Op::MatMul, &[q, k]);
    let shares = s.add(Op::Softmax { axis: 3, to_end: false, is_log: false }, &[logits]);
    let y = s.add(Op::MatMul, &[shares, v]);
    let y = s.add(Op::Transpose { order: vec![0, 2, 1, 3] }, &[y]);
    // All tokens of all examples as rows.
    let rows = Dimension { fixed: 0, per_example: 6 };
    let y = s.add(Op::Reshape { shape: vec![rows, known(6)] }, &[y]);
    let weight = s.parameter(&[6, 6]);
    let y = s.add(PLAIN, &[y, weight]);
    let y = s.add(Op::Unary(Unary::Gelu), &[y]);
    let y = s.add(Op::Reshape { shape: vec![Dimension::BATCH, known(6), known(6)] }, &[y]);
    let y = s.add(Op::Binary(Binary::Add), &[y, x]);
    let entries = Entries::Integers(vec![known(0)]);
    let first = s.builder.constant("first", Kind::Int, Numbers { shape: vec![], entries });
    let y = s.add(Op::Gather { axis: 1 }, &[y, first]);
    s.check(&[y], "attention");
}

#[test]
fn examples_that_meet_are_computed_at_once() {
    // x − mean over the batch; and a product over it.
    let mut s = Sketch::new(3);
    let x = s.input(&[4]);
    let mean = Op::Reduce { reduction: Reduction::Mean, axes: vec![0], keep: true };
    let mean = s.add(mean, &[x]);
    let centered = s.add(Op::Binary(Binary::Sub), &[x, mean]);
    let turned = s.add(Op::Transpose { order: vec![1, 0] }, &[centered]);
    let moments = s.add(Op::MatMul, &[turned, centered]);
    let weight = s.parameter(&[4, 4]);
    let y = s.add(PLAIN, &[centered, weight]);
    s.check(&[y, moments], "means over a batch");
    // Shapes that would allow parts, of operators that do not.
    let start = Dimension { fixed: -1, per_example: 1 };
    let range = SliceRange { axis: 0, start, step: -1, len: Dimension::BATCH };
    for op in [
        Op::Softmax { axis: 0, to_end: false, is_log: false },
        Op::Concat { axis: 0 },
        Op::Slice { ranges: vec![range] },
    ] {
        let mut s = Sketch::new(7);
        let x = s.input(&[4]);
        let operands = if op == (Op::Concat { axis: 0 }) { vec![x, x] } else { vec![x] };
        let what = format!("{op:?}");
        let y = s.add(op, &operands);
        s.check(&[y], &what);
    }
    // A batch that stands on the second axis.
    let mut s = Sketch::new(4);
    let x = s.input(&[5, 3]);
    let turned = s.add(Op::Transpose { order: vec![1, 0, 2] }, &[x]);
    let weight = s.parameter(&[3, 2]);
    let y = s.add(Op::MatMul, &[turned, weight]);
    let sum = Op::Reduce { reduction: Reduction::Sum, axes: vec![0], keep: false };
    let y = s.add(sum, &[y]);
    s.check(&[y], "a batch on the second axis");
}

#[test]
fn outputs_that_no_example_changes_come_once() {
    let mut s = Sketch::new(5);
    let x = s.input(&[4]);
    let weight = s.parameter(&[4, 2]);
    let square = s.add(Op::Binary(Binary::Mul), &[weight, weight]);
    let y = s.add(Op::MatMul, &[x, square]);
    let ones = Op::Fill {
        shape: vec![Dimension::BATCH, Dimension::known(2)],
        value: 1.5,
        kind: Kind::Float,
    };
    let ones = s.add(ones, &[]);
    let z = s.add(Op::Binary(Binary::Add), &[y, ones]);
    s.check(&[square, z, weight, x], "fixed outputs");
}
