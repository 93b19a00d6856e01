//! Groups of units of random networks: what goes together, and that it leaves without a trace.

#[path = "common/growing.rs"]
mod growing;
#[path = "common/narrowing.rs"]
mod narrowing;

use candle_core::Tensor;
use core_tensors::{Params, Rng};
use growing::{Growing, Outcome, normal, of, window};
use models::graph::axes::{Axes, Group};
use models::graph::{Binary, Dimension, Graph, Op, Reduction, SliceRange, Unary, ValueId};

type TestResult = Outcome<()>;

/// A network, one example of its input, and what [`Axes`] must print of it.
struct Case {
    name: &'static str,
    network: (Graph, Params),
    input: Vec<usize>,
    groups: &'static str,
}

fn cases() -> Outcome<Vec<Case>> {
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
fn perceptron() -> Outcome<Case> {
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

fn convolutional() -> Outcome<Case> {
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
fn residual() -> Outcome<Case> {
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
fn branches() -> Outcome<Case> {
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
b: 5 units, pinned by Softmax `softmax5`
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
w: 4 units of 8 rows -> w (4 columns), out (4 columns)
w: 6 units, pinned by Gemm `gemm1`
out: 3 units, pinned by output `y`";
    case("tied", net, y, &[6], groups)
}

#[test]
fn groups_are_those_of_the_architecture() -> TestResult {
    let mut wrong = Vec::new();
    for Case { name, network: (graph, _), groups, .. } in cases()? {
        let output = &graph.value(graph.outputs()[0]).name;
        let found =
            Axes::of(&graph).to_string().replace(&format!("output `{output}`"), "output `y`");
        if found != groups {
            wrong.push(format!("{name}: expected\n{groups}\nfound\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn inputs(case: &Case) -> Outcome<Vec<Tensor>> {
    let shape = [&[3], case.input.as_slice()].concat();
    Ok(vec![normal(&mut Rng::new(20), &shape)?])
}

#[test]
fn units_without_columns_leave_without_a_trace() -> TestResult {
    for case in cases()? {
        let (graph, w) = &case.network;
        let (n, worst) = narrowing::laws(&Axes::of(graph), graph, w, &inputs(&case)?, usize::MAX)
            .map_err(|error| format!("{}: {error}", case.name))?;
        assert!(n > 0, "{}", case.name);
        println!("{}: {n} units, {worst:e}", case.name);
    }
    Ok(())
}

/// Rows, biases and batch norms of a unit that are 0, so that it is 0 behind ReLU or without an activation.
#[test]
fn units_that_are_zero_leave_without_a_trace() -> TestResult {
    for case in [convolutional()?, residual()?] {
        let (graph, w) = &case.network;
        let (axes, inputs) = (Axes::of(graph), inputs(&case)?);
        for (g, group) in axes.groups().iter().enumerate().filter(|(_, g)| g.pinned.is_none()) {
            let unit = group.n_units / 2;
            let zero = without_rows(graph, w, group, unit)?;
            let kept: Vec<usize> = (0..group.n_units).filter(|&other| other != unit).collect();
            let (narrow, narrow_w) = axes.narrow(graph, w, &[(g, kept)])?;
            let full = graph.run(&zero, &inputs)?;
            let found = narrowing::distance(&narrow.run(&narrow_w, &inputs)?[0], &full[0])?;
            assert!(found < 1e-6, "{} of {}: {found:e}", group.name, case.name);
            let whole = graph.run(w, &inputs)?;
            let changed = narrowing::distance(&whole[0], &full[0])?;
            assert!(changed > 1e-4, "{} of {} does nothing", group.name, case.name);
        }
    }
    Ok(())
}

fn without_rows(graph: &Graph, w: &Params, group: &Group, unit: usize) -> Outcome<Params> {
    let mut zero = w.clone();
    for producer in &group.producers {
        let rows = &producer.entries[unit];
        zero = narrowing::zeroed(graph, &zero, (producer.weight, producer.axis), rows)?;
        if let Some(bias) = producer.bias {
            zero = narrowing::zeroed(graph, &zero, (bias, 0), rows)?;
        }
    }
    for follower in &group.followers {
        let is_variance = follower.name.ends_with("var");
        let entries = &follower.entries[unit];
        if !is_variance {
            zero = narrowing::zeroed(graph, &zero, (follower.value, follower.axis), entries)?;
        }
    }
    Ok(zero)
}

#[test]
fn names_and_order_of_what_stays_are_the_same() -> TestResult {
    for case in cases()? {
        let (graph, w) = &case.network;
        let axes = Axes::of(graph);
        let (same, same_w) = axes.narrow(graph, w, &[])?;
        let names = |graph: &Graph| -> Vec<String> {
            graph.values().iter().map(|value| format!("{} {:?}", value.name, value.shape)).collect()
        };
        assert_eq!(names(&same), names(graph), "{}", case.name);
        assert_eq!(same_w.to_vec()?, w.to_vec()?);
        let first: Vec<(usize, Vec<usize>)> = vec![(0, vec![0])];
        let Ok((narrow, narrow_w)) = axes.narrow(graph, w, &first) else { continue };
        let names = |graph: &Graph| -> Vec<String> {
            graph.values().iter().map(|value| value.name.clone()).collect()
        };
        assert_eq!(names(&narrow), names(graph), "{}", case.name);
        assert!(narrow_w.layout().n_parameters() < w.layout().n_parameters());
        assert_eq!(narrow_w.layout(), &narrow.layout());
    }
    Ok(())
}

#[test]
fn what_cannot_be_kept_is_said() -> TestResult {
    let case = perceptron()?;
    let (graph, w) = &case.network;
    let axes = Axes::of(graph);
    let message = |kept: &[(usize, Vec<usize>)]| match axes.narrow(graph, w, kept) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    let cases = [
        ((0, vec![1, 6]), "group `a` has no unit 6: it has 6, counted from 0"),
        ((0, vec![1, 1]), "unit 1 of group `a` is named twice"),
        ((1, vec![]), "none of the 5 units of group `b` is kept; expected at least 1"),
        ((3, vec![0]), "the 3 units of `d` are pinned by output `add4.y`"),
        ((4, vec![0]), "there is no group 4: the graph has 4, counted from 0"),
    ];
    for (kept, expected) in cases {
        assert_eq!(message(&[kept]), expected);
    }
    assert_eq!(message(&[(0, vec![0]), (0, vec![1])]), "group `a` is named twice");
    let other = convolutional()?;
    let found = axes.narrow(&other.network.0, &other.network.1, &[]).unwrap_err().to_string();
    assert!(found.starts_with("the groups are those of a graph of "), "{found}");
    // A part of a split that would be empty.
    let case = branches()?;
    let axes = Axes::of(&case.network.0);
    let found = axes.narrow(&case.network.0, &case.network.1, &[(0, vec![3])]);
    let found = found.unwrap_err().to_string();
    assert_eq!(found, "nothing would be left of `split2.y0`, which has 3 entries along axis 1");
    Ok(())
}
