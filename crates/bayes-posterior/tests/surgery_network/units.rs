//! Units that cost nothing leave without a change of the function.

use bayes_posterior::surgery::network::{Surgery, operate};
use candle_core::Tensor;
use core_tensors::Params;
use models::graph::{Graph, Op, Unary, ValueId};

use crate::growing::{Growing, Outcome, window};
use crate::naive::{Net, calibration, case, dense, gap, output};

type TestResult = Outcome<()>;

/// What is left of exact dependencies: solved with a jitter of 1e-14 of moments whose smallest share is 1e-10.
const EXACT: f64 = 1e-7;

/// The largest difference of f on new examples after narrowing, and how many units were exact functions of others.
fn change(net: &Net, widths: &[usize], surgery: &Surgery, n: usize) -> Outcome<(f64, usize)> {
    let x = net.examples(70, n)?;
    let done = operate(&net.network(), &calibration(&x, 5)?, widths, surgery, None, None)?;
    let fresh = net.examples(71, 50)?;
    let before = output(&net.graph, &net.params, &fresh)?;
    let after = output(&done.graph, &done.params, &fresh)?;
    Ok((gap(&after, &before), done.report.groups.iter().map(|group| group.n_dependent).sum()))
}

fn both() -> [Surgery; 2] {
    [Surgery::plain(), Surgery::held_out()]
}

#[test]
fn duplicates_constants_and_multiples_behind_relu_cost_nothing() -> TestResult {
    let mut net = dense(1, &[6, 9, 7, 4], Some(Unary::Relu))?;
    for name in ["a.weight", "a.bias"] {
        let is_weight = name == "a.weight";
        net.set(name, |i, j, old| match i {
            1 => old(0, j),
            2 if is_weight => 0.0,
            2 => 0.7,
            3 => 2.5 * old(4, j),
            5 if is_weight => 0.0,
            5 => -0.3,
            _ => old(i, j),
        })?;
    }
    // And a constant and a duplicate further on.
    for name in ["b.weight", "b.bias"] {
        net.set(name, |i, j, old| match i {
            3 if name == "b.weight" => 0.0,
            3 => 1.2,
            6 => old(2, j),
            _ => old(i, j),
        })?;
    }
    for surgery in both() {
        let (found, n) = change(&net, &net.widths(&[("a", 5), ("b", 5)])?, &surgery, 200)?;
        assert!(found < EXACT, "{found:e} {surgery:?}");
        assert_eq!(n, 6);
        // One more costs something.
        let (found, _) = change(&net, &net.widths(&[("a", 4)])?, &surgery, 200)?;
        assert!(found > 1e-3, "{found:e}");
    }
    Ok(())
}

#[test]
fn linear_combinations_cost_nothing() -> TestResult {
    // Nine linear functions of five inputs.
    let net = dense(2, &[5, 9, 6, 3], None)?;
    for surgery in both() {
        let (found, n) = change(&net, &net.widths(&[("a", 5), ("b", 5)])?, &surgery, 200)?;
        assert!(found < EXACT, "{found:e} {surgery:?}");
        assert_eq!(n, 5);
    }
    Ok(())
}

#[test]
fn constant_and_twin_channels_leave_an_unpadded_convolution() -> TestResult {
    let (mut net, x) = Growing::new(3, &[2, 7, 7]);
    let mut h = x;
    for (name, [o, c]) in [("a", [6, 2]), ("b", [5, 6])] {
        let w = net.parameter(&format!("{name}.weight"), &[o, c, 3, 3], 0.0)?;
        let b = net.parameter(&format!("{name}.bias"), &[o], 0.0)?;
        h = net.node(Op::Conv { window: window(3, 1, 0), groups: 1 }, &[h, w, b])?;
        h = net.relu(h)?;
    }
    h = net.node(Op::Flatten { axis: 1 }, &[h])?;
    let y = net.gemm("out", h, [3, 45], true)?;
    let mut net = Net::new(net.finish(y)?, &[2, 7, 7])?;
    for name in ["a.weight", "a.bias"] {
        net.set(name, |i, j, old| match i {
            4 if name == "a.weight" => 0.0,
            4 => 0.9,
            2 => old(0, j),
            _ => old(i, j),
        })?;
    }
    net.set("b.weight", |i, j, old| old(if i == 3 { 1 } else { i }, j))?;
    net.set("b.bias", |i, j, old| old(if i == 3 { 1 } else { i }, j))?;
    for surgery in both() {
        let (found, n) = change(&net, &net.widths(&[("a", 4), ("b", 4)])?, &surgery, 120)?;
        assert!(found < EXACT, "{found:e} {surgery:?}");
        assert_eq!(n, 3);
    }
    Ok(())
}

/// Unit `to` of a group made a copy of unit `from`, wherever it is made or followed.
fn twin(net: &mut Net, name: &str, from: usize, to: usize) -> Outcome<()> {
    let group = net.axes.groups()[net.group(name)?].clone();
    let producers = group.producers.iter().map(|p| (p.weight, p.axis, p.bias, &p.entries));
    let followers = group.followers.iter().map(|f| (f.value, f.axis, None, &f.entries));
    let mut blocks = net.params.blocks().to_vec();
    for (weight, axis, bias, entries) in producers.chain(followers) {
        let places = (entries[from].clone(), entries[to].clone());
        copy(&net.graph, &mut blocks, (weight, axis), &places)?;
        if let Some(bias) = bias {
            copy(&net.graph, &mut blocks, (bias, 0), &places)?;
        }
    }
    net.params = Params::new(net.graph.layout(), blocks)?;
    Ok(())
}

fn copy(
    graph: &Graph,
    blocks: &mut [Tensor],
    (id, axis): (ValueId, usize),
    (from, to): &(Vec<usize>, Vec<usize>),
) -> Outcome<()> {
    let at = graph.parameters().iter().position(|&own| own == id).ok_or("no parameter")?;
    let shape: Vec<usize> = graph.value(id).shape.iter().map(|n| n.fixed as usize).collect();
    let mut order: Vec<u32> = (0..shape[axis] as u32).collect();
    from.iter().zip(to).for_each(|(&from, &to)| order[to] = from as u32);
    let order = Tensor::new(order, blocks[at].device())?;
    let moved = blocks[at].reshape(shape)?.index_select(&order, axis)?;
    blocks[at] = moved.reshape(blocks[at].shape())?;
    Ok(())
}

#[test]
fn a_twin_channel_of_a_spine_leaves_all_its_readers() -> TestResult {
    let mut net = case("residual", 0)?;
    twin(&mut net, "stem", 0, 2)?;
    twin(&mut net, "b2", 1, 4)?;
    let widths = net.widths(&[("stem", 3), ("b2", 5)])?;
    for surgery in both() {
        let (found, n) = change(&net, &widths, &surgery, 60)?;
        assert!(found < EXACT, "{found:e} {surgery:?}");
        assert_eq!(n, 2);
    }
    Ok(())
}

#[test]
fn a_twin_head_leaves() -> TestResult {
    for (nth, group) in [(0, "qkv"), (1, "q")] {
        let mut net = case("encoder", nth)?;
        twin(&mut net, group, 0, 2)?;
        twin(&mut net, "up", 3, 5)?;
        let widths = net.widths(&[(group, 2), ("up", 6)])?;
        for surgery in both() {
            let (found, n) = change(&net, &widths, &surgery, 100)?;
            assert!(found < EXACT, "{found:e} {surgery:?}");
            assert_eq!(n, 2);
        }
    }
    Ok(())
}

#[test]
fn full_widths_are_the_very_same_function() -> TestResult {
    for name in ["perceptron", "convolutional", "residual", "encoder", "branches"] {
        let net = case(name, 0)?;
        let x = net.examples(3, 30)?;
        for surgery in both() {
            let calibration = calibration(&x, 5)?;
            let likelihood = Some(losses::Likelihood::Normal { variance: 1.0 });
            let done =
                operate(&net.network(), &calibration, &net.full(), &surgery, None, likelihood)?;
            let report = &done.report;
            assert!(report.groups.is_empty() && report.maps.is_empty(), "{name}: {report:?}");
            assert_eq!(report.measured, Some(0.0));
            assert_eq!(report.predicted, None);
            assert_eq!(done.params.to_vec()?, net.params.to_vec()?);
            let found = output(&done.graph, &done.params, &x)?;
            assert_eq!(found, output(&net.graph, &net.params, &x)?);
        }
    }
    Ok(())
}
