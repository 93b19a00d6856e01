//! Random networks, and the groups of units that they have.

use core_tensors::Params;
use models::graph::{Binary, Dimension, Graph, Op, Reduction, SliceRange, Unary, ValueId};

use crate::growing::{Growing, Outcome, of, window};

/// A network, the shape of an example, and what must be printed of it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) network: (Graph, Params),
    pub(crate) input: Vec<usize>,
    pub(crate) groups: &'static str,
}

pub(crate) fn cases() -> Outcome<Vec<Case>> {
    Ok(vec![
        perceptron()?,
        convolutional()?,
        residual()?,
        depthwise()?,
        branches()?,
        encoder(true)?,
        encoder(false)?,
        multiplied_batch()?,
        shuffled()?,
        gated()?,
        maxout()?,
        tied()?,
    ])
}

fn case(
    name: &'static str,
    net: Growing,
    output: ValueId,
    input: &[usize],
    groups: &'static str,
) -> Outcome<Case> {
    Ok(Case { name, network: net.finish(output)?, input: input.to_vec(), groups })
}

/// Gemm with both layouts of its weight, and MatMul with an Add.
pub(crate) fn perceptron() -> Outcome<Case> {
    let (mut net, x) = Growing::new(1, &[7]);
    let h = net.gemm("a", x, [6, 7], true)?;
    let h = net.relu(h)?;
    let h = net.gemm("b", h, [5, 6], false)?;
    let h = net.node(Op::Unary(Unary::Gelu), &[h])?;
    let h = net.matmul("c", h, [4, 5])?;
    let slope = net.parameter("slope", &[4], 0.2)?;
    let h = net.node(Op::PRelu, &[h, slope])?;
    let y = net.matmul("d", h, [3, 4])?;
    let groups = "\
a: 6 units -> b (6 columns)
b: 5 units -> c (5 columns)
c: 4 units -> slope, d (4 columns)
d: 3 units, pinned by output `y`";
    case("perceptron", net, y, &[7], groups)
}

pub(crate) fn convolutional() -> Outcome<Case> {
    let (mut net, x) = Growing::new(2, &[2, 8, 8]);
    let h = net.conv("a", x, [5, 2, 3], 1)?;
    let h = net.batch_norm("bn", h, 5)?;
    let h = net.relu(h)?;
    let h = net.node(Op::MaxPool { window: window(2, 2, 0) }, &[h])?;
    let h = net.conv("b", h, [6, 5, 3], 1)?;
    let h = net.relu(h)?;
    let h = net.node(Op::AveragePool { window: window(2, 2, 0), counts_padding: true }, &[h])?;
    let h = net.node(Op::Flatten { axis: 1 }, &[h])?;
    let h = net.gemm("c", h, [7, 24], true)?;
    let h = net.node(Op::Unary(Unary::Tanh), &[h])?;
    let y = net.gemm("d", h, [3, 7], true)?;
    let groups = "\
a: 5 units -> bn, b (45 columns)
b: 6 units -> c (24 columns)
c: 7 units -> d (7 columns)
d: 3 units, pinned by output `y`";
    case("convolutional", net, y, &[2, 8, 8], groups)
}

/// Two blocks on one stream, the second with a projection.
pub(crate) fn residual() -> Outcome<Case> {
    let (mut net, x) = Growing::new(3, &[2, 6, 6]);
    let h = net.conv("stem", x, [4, 2, 3], 1)?;
    let s = net.relu(h)?;
    let h = net.conv("a1", s, [5, 4, 3], 1)?;
    let h = net.batch_norm("bn1", h, 5)?;
    let h = net.relu(h)?;
    let h = net.conv("a2", h, [4, 5, 3], 1)?;
    let h = net.batch_norm("bn2", h, 4)?;
    let h = net.sum(h, s)?;
    let s = net.relu(h)?;
    let h = net.conv("b1", s, [6, 4, 3], 1)?;
    let h = net.relu(h)?;
    let h = net.conv("b2", h, [6, 6, 3], 1)?;
    let skip = net.conv("skip", s, [6, 4, 1], 1)?;
    let h = net.sum(h, skip)?;
    let mean = Op::Reduce { reduction: Reduction::Mean, axes: vec![2, 3], keep: false };
    let h = net.node(mean, &[h])?;
    let y = net.gemm("out", h, [3, 6], true)?;
    let groups = "\
stem + a2: 4 units -> bn2, a1 (36 columns), b1 (36 columns), skip (4 columns)
a1: 5 units -> bn1, a2 (45 columns)
b1: 6 units -> b2 (54 columns)
b2 + skip: 6 units -> out (6 columns)
out: 3 units, pinned by output `y`";
    case("residual", net, y, &[2, 6, 6], groups)
}

/// A depthwise convolution, one with two filters a channel, and one of groups.
fn depthwise() -> Outcome<Case> {
    let (mut net, x) = Growing::new(4, &[2, 6, 6]);
    let h = net.conv("a", x, [4, 2, 1], 1)?;
    let h = net.relu(h)?;
    let h = net.conv("d1", h, [4, 1, 3], 4)?;
    let h = net.batch_norm("bn", h, 4)?;
    let h = net.node(Op::Unary(Unary::HardSwish), &[h])?;
    let h = net.conv("d2", h, [8, 1, 3], 4)?;
    let h = net.conv("b", h, [6, 8, 1], 1)?;
    let h = net.relu(h)?;
    let h = net.conv("grouped", h, [4, 3, 1], 2)?;
    let h = net.node(Op::Flatten { axis: 1 }, &[h])?;
    let y = net.gemm("out", h, [3, 144], true)?;
    let groups = "\
a: 4 units -> d1, bn, d2, b (8 columns)
b: 6 units, pinned by Conv `grouped`
out: 3 units, pinned by output `y`";
    case("depthwise", net, y, &[2, 6, 6], groups)
}

/// Two branches and the input one after another, then parts of them.
pub(crate) fn branches() -> Outcome<Case> {
    let (mut net, x) = Growing::new(5, &[2, 4, 4]);
    let a = net.conv("a", x, [4, 2, 3], 1)?;
    let b = net.conv("b", x, [6, 2, 1], 1)?;
    let joined = net.node(Op::Concat { axis: 1 }, &[a, x, b])?;
    let joined = net.batch_norm("bn", joined, 12)?;
    let parts = net.several(Op::Split { axis: 1, sizes: vec![of(3), of(5), of(4)] }, joined, 3)?;
    let h = net.conv("c", parts[0], [3, 3, 1], 1)?;
    let back = SliceRange { axis: 1, start: of(3), step: -1, len: of(4) };
    let reversed = net.node(Op::Slice { ranges: vec![back] }, &[parts[2]])?;
    let i = net.conv("d", reversed, [3, 4, 1], 1)?;
    let h = net.sum(h, i)?;
    let i = net.conv("e", parts[1], [3, 5, 1], 1)?;
    let h = net.node(Op::Binary(Binary::Mul), &[h, i])?;
    let h = net.node(Op::Flatten { axis: 1 }, &[h])?;
    let y = net.gemm("out", h, [3, 48], true)?;
    let groups = "\
a: 4 units -> bn, c (3 columns), e (1 columns)
b: 6 units -> bn, d (4 columns), e (2 columns)
c + d + e: 3 units -> out (48 columns)
out: 3 units, pinned by output `y`";
    case("branches", net, y, &[2, 4, 4], groups)
}

/// One block of a transformer with 3 heads of 2; packed: one product for query, key and value.
fn encoder(is_packed: bool) -> Outcome<Case> {
    let (mut net, x) = Growing::new(6, &[4, 5]);
    let s = net.matmul("embed", x, [6, 5])?;
    let h = net.layer_norm("norm1", s, 6)?;
    let mut parts = Vec::new();
    if is_packed {
        let all = net.matmul("qkv", h, [18, 6])?;
        let all = net.reshape(all, &[Dimension::BATCH, of(4), of(3), of(3), of(2)])?;
        let all = net.transpose(all, &[2, 0, 3, 1, 4])?;
        for k in 0..3 {
            let range = SliceRange { axis: 0, start: of(k), step: 1, len: of(1) };
            let part = net.node(Op::Slice { ranges: vec![range] }, &[all])?;
            parts.push(net.node(Op::Squeeze { axes: vec![0] }, &[part])?);
        }
    } else {
        for name in ["q", "k", "v"] {
            let part = net.matmul(name, h, [6, 6])?;
            let part = net.reshape(part, &[Dimension::BATCH, of(4), of(3), of(2)])?;
            parts.push(net.transpose(part, &[0, 2, 1, 3])?);
        }
    }
    let key = net.transpose(parts[1], &[0, 1, 3, 2])?;
    let scores = net.node(Op::MatMul, &[parts[0], key])?;
    let weights = net.node(Op::Softmax { axis: 3, to_end: false, is_log: false }, &[scores])?;
    let h = net.node(Op::MatMul, &[weights, parts[2]])?;
    let h = net.transpose(h, &[0, 2, 1, 3])?;
    let h = net.reshape(h, &[Dimension::BATCH, of(4), of(6)])?;
    let h = net.matmul("o", h, [6, 6])?;
    let s = net.sum(s, h)?;
    let h = net.layer_norm("norm2", s, 6)?;
    let h = net.matmul("up", h, [7, 6])?;
    let h = net.node(Op::Unary(Unary::Gelu), &[h])?;
    let h = net.matmul("down", h, [6, 7])?;
    let s = net.sum(s, h)?;
    let mean = Op::Reduce { reduction: Reduction::Mean, axes: vec![1], keep: false };
    let h = net.node(mean, &[s])?;
    let y = net.gemm("out", h, [3, 6], true)?;
    let groups = if is_packed {
        "\
qkv: 3 units of 18 rows -> o (6 columns)
up: 7 units -> down (7 columns)
embed: 6 units, pinned by LayerNormalization `norm1`
o: 6 units, pinned by LayerNormalization `norm1`
down: 6 units, pinned by LayerNormalization `norm1`
out: 3 units, pinned by output `y`"
    } else {
        "\
q + k + v: 3 units of 18 rows -> o (6 columns)
up: 7 units -> down (7 columns)
embed: 6 units, pinned by LayerNormalization `norm1`
o: 6 units, pinned by LayerNormalization `norm1`
down: 6 units, pinned by LayerNormalization `norm1`
out: 3 units, pinned by output `y`"
    };
    case("encoder", net, y, &[4, 5], groups)
}

/// Heads that are counted with the batch, as (N · 3, 2) of (N, 6), and a parameter for each place of a head.
fn multiplied_batch() -> Outcome<Case> {
    let (mut net, x) = Growing::new(7, &[5]);
    let h = net.matmul("a", x, [6, 5])?;
    let many = Dimension { fixed: 0, per_example: 3 };
    let h = net.reshape(h, &[many, of(1), of(2)])?;
    let scale = net.parameter("scale", &[2], 1.0)?;
    let h = net.node(Op::Binary(Binary::Mul), &[h, scale])?;
    let turned = net.transpose(h, &[0, 2, 1])?;
    let square = net.node(Op::MatMul, &[h, turned])?;
    let h = net.node(Op::MatMul, &[square, h])?;
    let h = net.reshape(h, &[Dimension::BATCH, of(6)])?;
    let y = net.matmul("out", h, [3, 6])?;
    let groups = "\
a: 3 units of 6 rows -> out (6 columns)
out: 3 units, pinned by output `y`";
    case("multiplied batch", net, y, &[5], groups)
}

/// Channels in another order, as a shuffle of groups makes it.
fn shuffled() -> Outcome<Case> {
    let (mut net, x) = Growing::new(8, &[2, 3, 3]);
    let h = net.conv("a", x, [6, 2, 1], 1)?;
    let h = net.reshape(h, &[Dimension::BATCH, of(2), of(3), of(3), of(3)])?;
    let h = net.transpose(h, &[0, 2, 1, 3, 4])?;
    let h = net.reshape(h, &[Dimension::BATCH, of(6), of(3), of(3)])?;
    let h = net.conv("b", h, [4, 6, 3], 1)?;
    let max = Op::Reduce { reduction: Reduction::Max, axes: vec![2, 3], keep: true };
    let h = net.node(max, &[h])?;
    let y = net.conv("out", h, [3, 4, 1], 1)?;
    let groups = "\
a: 3 units of 6 rows -> b (54 columns)
b: 4 units -> out (4 columns)
out: 3 units, pinned by output `y`";
    case("shuffled", net, y, &[2, 3, 3], groups)
}

/// A gate for each channel, the two halves of a gated unit, and a stream that a parameter is put in front of.
fn gated() -> Outcome<Case> {
    let (mut net, x) = Growing::new(9, &[2, 4, 4]);
    let s = net.conv("a", x, [6, 2, 3], 1)?;
    let mean = Op::Reduce { reduction: Reduction::Mean, axes: vec![2, 3], keep: true };
    let h = net.node(mean, &[s])?;
    let h = net.conv("squeeze", h, [3, 6, 1], 1)?;
    let h = net.relu(h)?;
    let h = net.conv("excite", h, [6, 3, 1], 1)?;
    let h = net.node(Op::Unary(Unary::Sigmoid), &[h])?;
    let h = net.node(Op::Binary(Binary::Mul), &[s, h])?;
    let halves = net.several(Op::Split { axis: 1, sizes: vec![of(3), of(3)] }, h, 2)?;
    let gate = net.node(Op::Unary(Unary::Sigmoid), &[halves[1]])?;
    let h = net.node(Op::Binary(Binary::Mul), &[halves[0], gate])?;
    let h = net.reshape(h, &[Dimension::BATCH, of(3), of(16)])?;
    let h = net.transpose(h, &[0, 2, 1])?;
    let token = net.parameter("token", &[1, 1, 3], 0.5)?;
    let token = net.node(Op::Expand { shape: vec![Dimension::BATCH, of(1), of(3)] }, &[token])?;
    let h = net.node(Op::Concat { axis: 1 }, &[token, h])?;
    let place = net.parameter("place", &[1, 17, 3], 0.0)?;
    let h = net.sum(h, place)?;
    let h = net.matmul("b", h, [4, 3])?;
    let h = net.relu(h)?;
    let first = SliceRange { axis: 1, start: of(0), step: 1, len: of(1) };
    let h = net.node(Op::Slice { ranges: vec![first] }, &[h])?;
    let h = net.node(Op::Squeeze { axes: vec![1] }, &[h])?;
    let y = net.gemm("out", h, [3, 4], true)?;
    let groups = "\
a + excite: 3 units of 12 rows -> token, place, squeeze (6 columns), b (3 columns)
squeeze: 3 units -> excite (3 columns)
b: 4 units -> out (4 columns)
out: 3 units, pinned by output `y`";
    case("gated", net, y, &[2, 4, 4], groups)
}

/// The largest of two sums, and a softmax that sees all.
fn maxout() -> Outcome<Case> {
    let (mut net, x) = Growing::new(10, &[5]);
    let h = net.gemm("a", x, [8, 5], true)?;
    let h = net.reshape(h, &[Dimension::BATCH, of(4), of(2)])?;
    let max = Op::Reduce { reduction: Reduction::Max, axes: vec![2], keep: false };
    let h = net.node(max, &[h])?;
    let h = net.gemm("b", h, [5, 4], true)?;
    let h = net.node(Op::Softmax { axis: 1, to_end: false, is_log: false }, &[h])?;
    let y = net.gemm("out", h, [3, 5], true)?;
    let groups = "\
a: 4 units of 8 rows -> b (4 columns)
b: 5 units, pinned by Softmax `softmax3`
out: 3 units, pinned by output `y`";
    case("maxout", net, y, &[5], groups)
}

/// One weight in two layers, once transposed: an autoencoder.
fn tied() -> Outcome<Case> {
    let (mut net, x) = Growing::new(11, &[6]);
    let w = net.parameter("w.weight", &[4, 6], 0.0)?;
    let gemm = |transpose_b| Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b };
    let h = net.node(gemm(true), &[x, w])?;
    let h = net.relu(h)?;
    let turned = net.transpose(w, &[1, 0])?;
    let h = net.node(gemm(true), &[h, turned])?;
    let h = net.relu(h)?;
    let h = net.node(gemm(true), &[h, w])?;
    let y = net.matmul("out", h, [3, 4])?;
    let groups = "\
w: 4 units -> w (4 columns), out (4 columns)
w: 6 units, pinned by Gemm `gemm1`
out: 3 units, pinned by output `y`";
    case("tied", net, y, &[6], groups)
}
