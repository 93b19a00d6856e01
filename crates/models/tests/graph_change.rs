//! Changes of small graphs: batch norms become parts of linear nodes, and biases come.

#[path = "common/changing.rs"]
mod changing;
#[path = "common/difference.rs"]
mod difference;
#[expect(dead_code, reason = "these networks are of few operators")]
#[path = "common/growing.rs"]
mod growing;
#[path = "common/small.rs"]
mod small;

use candle_core::{Device, Tensor};
use core_tensors::{Params, Rng};
use growing::{Growing, Outcome, window};
use models::graph::axes::Axes;
use models::graph::{Entries, Graph, Kind, Numbers, Op, Reduction, Unary, ValueId};
use models::onnx::no_external;
use small::tried;

type TestResult = Outcome<()>;

/// Sums of f32 in another order, as a share of the largest number.
const TOLERANCE: f64 = 1e-5;

fn gemm(alpha: f32, beta: f32, transpose_b: bool) -> Op {
    Op::Gemm { alpha, beta, transpose_a: false, transpose_b }
}

/// A linear node of 4 outputs behind `x` with 3 channels: its result.
type Linear = fn(&mut Growing, ValueId) -> Outcome<ValueId>;

const CONV: fn(usize) -> Op = |groups| Op::Conv { window: window(3, 1, 1), groups };

fn constant(net: &mut Growing, name: &str, values: &[f64]) -> ValueId {
    let (shape, entries) = (vec![values.len()], Entries::Floats(values.to_vec()));
    net.builder.constant(name, Kind::Float, Numbers { shape, entries })
}

/// Linear nodes in front of a batch norm: name, input, how they are made, whether they add a parameter that is a bias.
const LINEAR: &[(&str, &[usize], Linear, bool)] = &[
    ("conv", &[3, 5, 5], |net, x| net.conv("a", x, [4, 3, 3], 1), true),
    (
        "bare conv",
        &[3, 5, 5],
        |net, x| {
            let w = net.parameter("a.weight", &[4, 3, 3, 3], 0.0)?;
            net.node(CONV(1), &[x, w])
        },
        false,
    ),
    (
        "groups",
        &[4, 5, 5],
        |net, x| {
            let w = net.parameter("a/kernel", &[4, 2, 3, 3], 0.0)?;
            net.node(CONV(2), &[x, w])
        },
        false,
    ),
    ("depthwise", &[2, 5, 5], |net, x| net.conv("a", x, [4, 1, 3], 2), true),
    (
        "conv, Add",
        &[3, 5, 5],
        |net, x| {
            let w = net.parameter("a.weight", &[4, 3, 3, 3], 0.0)?;
            let y = net.node(CONV(1), &[x, w])?;
            let b = net.parameter("b", &[4, 1, 1], 0.0)?;
            net.sum(y, b)
        },
        true,
    ),
    ("gemm", &[3], |net, x| net.gemm("a", x, [4, 3], true), true),
    ("gemm (in, out)", &[3], |net, x| net.gemm("a", x, [4, 3], false), true),
    (
        "α and β",
        &[3],
        |net, x| {
            let w = net.parameter("a.weight", &[4, 3], 0.0)?;
            let b = net.parameter("b", &[1, 4], 0.0)?;
            net.node(gemm(0.5, 3.0, true), &[x, w, b])
        },
        true,
    ),
    (
        "bare gemm",
        &[3],
        |net, x| {
            let w = net.parameter("a.weight", &[4, 3], 0.0)?;
            net.node(gemm(0.5, 0.0, true), &[x, w])
        },
        false,
    ),
    (
        "constant C",
        &[3],
        |net, x| {
            let w = net.parameter("a.weight", &[4, 3], 0.0)?;
            let c = constant(net, "c", &[0.5, 1.0, -1.0, 2.0]);
            net.node(gemm(1.0, 2.0, true), &[x, w, c])
        },
        false,
    ),
    (
        "one number",
        &[3],
        |net, x| {
            let w = net.parameter("a.weight", &[4, 3], 0.0)?;
            let b = net.parameter("b", &[1], 0.5)?;
            net.node(gemm(1.0, 2.0, true), &[x, w, b])
        },
        false,
    ),
    (
        "matmul",
        &[3],
        |net, x| {
            let w = net.parameter("a.weight", &[3, 4], 0.0)?;
            net.node(Op::MatMul, &[x, w])
        },
        false,
    ),
    ("matmul, Add", &[3], |net, x| net.matmul("a", x, [4, 3]), true),
    (
        "matmul, constant",
        &[3],
        |net, x| {
            let w = net.parameter("a.weight", &[3, 4], 0.0)?;
            let y = net.node(Op::MatMul, &[x, w])?;
            let c = constant(net, "c", &[0.5]);
            net.sum(y, c)
        },
        false,
    ),
    (
        "transposed",
        &[3],
        |net, x| {
            let w = net.parameter("a", &[4, 3], 0.0)?;
            let w = net.transpose(w, &[1, 0])?;
            net.node(Op::MatMul, &[x, w])
        },
        false,
    ),
];

/// The linear node, `norms` batch norms, ReLU and a product.
fn normalized(linear: Linear, input: &[usize], norms: &[&str]) -> Outcome<(Graph, Params)> {
    let (mut net, x) = Growing::new(3, input);
    let mut y = linear(&mut net, x)?;
    for norm in norms {
        y = net.batch_norm(norm, y, 4)?;
    }
    let y = net.relu(y)?;
    let axes = (2..=input.len()).collect();
    let y = net.node(Op::Reduce { reduction: Reduction::Sum, axes, keep: false }, &[y])?;
    let y = net.gemm("out", y, [2, 4], true)?;
    net.finish(y)
}

#[test]
fn batch_norms_become_parts_of_linear_nodes() -> TestResult {
    for &(name, input, linear, _) in LINEAR {
        for norms in [&["n"][..], &["n", "m"]] {
            let network = normalized(linear, input, norms)?;
            let (folded, gap) = tried(&network, input, |subject| subject.folded(&mut no_external))
                .map_err(|error| format!("{name}: {error}"))?;
            println!("{name}: {folded:?}, {gap:e}");
            assert!(folded.len() == norms.len() && gap < TOLERANCE, "{name}: {folded:?} {gap:e}");
            // What the last of them gave has its name.
            let names = |graph: &Graph| -> Vec<String> {
                graph.nodes().iter().map(|node| graph.value(node.results[0]).name.clone()).collect()
            };
            let (graph, w, _) = network.0.with_batch_norm_folded(&network.1)?;
            let relu = network.0.nodes().iter().find(|node| node.op == Op::Unary(Unary::Relu));
            let read = relu.ok_or("no ReLU")?.operands[0];
            assert!(names(&graph).contains(&network.0.value(read).name), "{name}");
            assert!(graph.parameters().iter().all(|&id| !graph.value(id).name.starts_with("n.")));
            assert_eq!(w.layout(), &graph.layout());
        }
    }
    Ok(())
}

/// y = γ (w x + b − μ)/√(σ² + ε) + β with numbers that f32 holds.
#[test]
fn one_number_is_folded_as_by_hand() -> TestResult {
    let (mut net, x) = Growing::new(1, &[1]);
    let y = net.gemm("a", x, [1, 1], true)?;
    let mut operands = vec![y];
    for (name, value) in [("scale", 3.0), ("shift", 0.5), ("mean", -1.0), ("variance", 3.75)] {
        operands.push(constant(&mut net, name, &[value]));
    }
    let y = net.node(Op::BatchNormalization { epsilon: 0.25 }, &operands)?;
    let (graph, w) = net.finish(y)?;
    let blocks = [[2.0f32], [4.0]].map(|v| Tensor::new(&[v], &Device::Cpu));
    let [a, b] = blocks;
    let w = Params::new(w.layout().clone(), vec![a?, b?])?;
    let (graph, w, names) = graph.with_batch_norm_folded(&w)?;
    // s = 3/2: w = 3, b = 3/2 · 5 + 1/2.
    assert_eq!((w.to_vec()?, names.len(), graph.nodes().len()), (vec![3.0, 8.0], 1, 1));
    Ok(())
}

#[test]
fn batch_norms_of_what_is_shared_stay() -> TestResult {
    let stays = |net: Growing, y: ValueId| -> Outcome<usize> {
        let (graph, w) = net.finish(y)?;
        let (same, same_w, names) = graph.with_batch_norm_folded(&w)?;
        assert_eq!(same_w.to_vec()?, w.to_vec()?);
        assert_eq!(same.nodes().len(), graph.nodes().len());
        Ok(names.len())
    };
    // The sums have another reader; the weight has; the bias has.
    let (mut net, x) = Growing::new(1, &[3]);
    let a = net.gemm("a", x, [4, 3], true)?;
    let n = net.batch_norm("n", a, 4)?;
    let y = net.sum(a, n)?;
    assert_eq!(stays(net, y)?, 0);
    for shared in [0, 1] {
        let (mut net, x) = Growing::new(1, &[4]);
        let w = net.parameter("a.weight", &[4, 4], 0.0)?;
        let b = net.parameter("a.bias", &[4], 0.0)?;
        let a = net.node(gemm(1.0, 1.0, true), &[x, w, b])?;
        let n = net.batch_norm("n", a, 4)?;
        let other = net.parameter("other", &[4, 4], 0.0)?;
        let second = if shared == 0 { vec![n, w] } else { vec![n, other, b] };
        let y = net.node(gemm(1.0, 1.0, true), &second)?;
        assert_eq!(stays(net, y)?, 0);
    }
    // Not behind a linear node; axis 1 counts the places; the variance is 0.
    let (mut net, x) = Growing::new(1, &[4, 3]);
    let n = net.batch_norm("n", x, 4)?;
    let w = net.parameter("w", &[3, 5], 0.0)?;
    let y = net.node(Op::MatMul, &[n, w])?;
    let y = net.batch_norm("m", y, 4)?;
    assert_eq!(stays(net, y)?, 0);
    let (mut net, x) = Growing::new(1, &[3]);
    let a = net.gemm("a", x, [1, 3], true)?;
    let mut operands = vec![a];
    for (name, value) in [("scale", 1.0), ("shift", 0.0), ("mean", 0.0), ("variance", 0.0)] {
        operands.push(constant(&mut net, name, &[value]));
    }
    let y = net.node(Op::BatchNormalization { epsilon: 0.0 }, &operands)?;
    assert_eq!(stays(net, y)?, 0);
    Ok(())
}

#[test]
fn biases_come_where_there_are_none() -> TestResult {
    for &(name, input, linear, has_bias) in LINEAR {
        let network = normalized(linear, input, &[])?;
        let (_, gap) = tried(&network, input, |subject| subject.biased(&mut no_external))
            .map_err(|error| format!("{name}: {error}"))?;
        assert!(gap == 0.0, "{name}: {gap:e}");
        let (graph, w) = &network;
        let is_linear = |&i: &usize| graph.with_biases(w, &[i]).is_ok();
        let all: Vec<usize> = (0..graph.nodes().len()).filter(is_linear).collect();
        assert_eq!(all.len(), 2, "{name}");
        let (changed, changed_w) = graph.with_biases(w, &all)?;
        if has_bias {
            assert_eq!(changed_w.to_vec()?, w.to_vec()?, "{name}");
        } else {
            let names: Vec<&str> =
                changed.parameters().iter().map(|&id| changed.value(id).name.as_str()).collect();
            let expected = if names[0] == "a/kernel" { "a/bias" } else { "a.bias" };
            assert_eq!(names[1], expected, "{name}");
        }
        let groups = Axes::of(&changed);
        let n_biased = groups.groups().iter().flat_map(|group| &group.producers);
        assert!(n_biased.filter(|producer| producer.bias.is_none()).count() == 0, "{name}");
        // Nothing is missing any more.
        let all: Vec<usize> = (0..changed.nodes().len())
            .filter(|&i| changed.with_biases(&changed_w, &[i]).is_ok())
            .collect();
        let (_, again) = changed.with_biases(&changed_w, &all)?;
        assert_eq!(again.to_vec()?, changed_w.to_vec()?, "{name}");
    }
    Ok(())
}

#[test]
fn what_cannot_be_changed_is_said() -> TestResult {
    let (graph, w) = normalized(LINEAR[0].2, LINEAR[0].1, &["n"])?;
    let found = graph.with_biases(&w, &[99]).unwrap_err().to_string();
    assert_eq!(found, "there is no node 99: the graph has 5, counted from 0");
    let found = graph.with_biases(&w, &[2]).unwrap_err().to_string();
    assert!(found.starts_with("node `relu2` (Relu) takes no bias; expected a Gemm"), "{found}");
    let (_, other) = normalized(LINEAR[0].2, LINEAR[0].1, &[])?;
    let found = graph.with_batch_norm_folded(&other).err().map(|error| error.to_string());
    assert!(found.is_some_and(|found| found.contains("parameters of a graph")));
    Ok(())
}

/// Layers in random order on a stream of 4 channels.
fn random(seed: u64) -> Outcome<(Graph, Params)> {
    let mut rng = Rng::new(seed);
    let (mut net, x) = Growing::new(seed, &[2, 5, 5]);
    let mut y = net.conv("stem", x, [4, 2, 3], 1)?;
    for i in 0..7 {
        let name = format!("l{i}");
        y = match (6.0 * rng.uniform()) as usize {
            0 => net.conv(&name, y, [4, 4, 3], 1)?,
            1 => {
                let w = net.parameter(&format!("{name}.weight"), &[4, 4, 3, 3], 0.0)?;
                net.node(CONV(1), &[y, w])?
            }
            2 => net.conv(&name, y, [4, 1, 3], 4)?,
            3 => net.relu(y)?,
            4 => {
                let h = net.conv(&name, y, [4, 4, 3], 1)?;
                let h = net.batch_norm(&format!("{name}.norm"), h, 4)?;
                net.sum(y, h)?
            }
            _ => net.batch_norm(&name, y, 4)?,
        };
    }
    let y = net.node(Op::Flatten { axis: 1 }, &[y])?;
    let y = net.matmul("dense", y, [4, 100])?;
    let y = net.batch_norm("norm", y, 4)?;
    net.finish(y)
}

#[test]
fn random_networks_change_without_a_trace() -> TestResult {
    let mut n = [0; 3];
    for seed in 0..24 {
        let network = random(seed)?;
        tried(&network, &[2, 5, 5], |subject| {
            let (names, folded) = subject.folded(&mut no_external)?;
            let (n_biases, biased) = subject.biased(&mut no_external)?;
            let blocks = subject.original.graph.residual_blocks();
            let mut skipped = 0.0f64;
            for block in &blocks {
                let gap = subject.skipped(std::slice::from_ref(block), &mut no_external)?;
                skipped = skipped.max(gap);
            }
            assert!(folded < TOLERANCE && biased == 0.0 && skipped < TOLERANCE, "{seed}");
            Ok([names.len(), n_biases, blocks.len()])
        })
        .map_err(|error| format!("seed {seed}: {error}"))?
        .iter()
        .zip(&mut n)
        .for_each(|(found, n)| *n += found);
    }
    println!("{n:?} batch norms, biases, blocks");
    assert!(n.iter().all(|&n| n > 10), "{n:?}");
    Ok(())
}
