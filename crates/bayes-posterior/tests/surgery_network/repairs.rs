//! What repair and compensation give is dense least squares over rows that are gathered one by one.

use std::collections::HashMap;

use bayes_posterior::surgery::network::{Operated, Order, Surgery, operate};
use candle_core::Tensor;
use core_tensors::Params;
use models::graph::axes::{Axes, LinearMap};
use models::graph::{Binary, Graph, Op, ValueId};

use crate::growing::Outcome;
use crate::naive::{
    Net, block, calibration, case, error, fitted, gap, inputs, picked, rows, scale, stream, value,
    weights,
};

type TestResult = Outcome<()>;
type Rows = Vec<Vec<f64>>;

/// f64 sums of a few thousand rows, and a condition of at most 1 / 1e-4.
const ROUNDING: f64 = 1e-7;

/// The narrowed network, with the original's numbers in all maps from some node on: what repair has seen there.
fn then(net: &Net, done: &Operated, axes: &Axes, node: usize) -> Outcome<Params> {
    let mut blocks = done.params.blocks().to_vec();
    for map in axes.maps().iter().filter(|map| map.node >= node) {
        for id in std::iter::once(map.weight).chain(map.bias) {
            let name = &done.graph.value(id).name;
            let original = &net.params.blocks()[block(&net.graph, name)?];
            let at = block(&done.graph, name)?;
            if original.dims() == blocks[at].dims() {
                blocks[at] = original.clone();
            }
        }
    }
    Ok(Params::new(done.graph.layout(), blocks)?)
}

/// The sum that z ends in and its other branch, where z is read by nothing else.
fn sum_of(graph: &Graph, z: ValueId) -> Option<(ValueId, ValueId)> {
    let mut readers = graph.nodes().iter().filter(|node| node.operands.contains(&z));
    let node = readers.next()?;
    let is_only = readers.next().is_none();
    let other = *node.operands.iter().find(|&&id| id != z)?;
    (is_only && node.op == Op::Binary(Binary::Add)).then_some((node.results[0], other))
}

/// Inputs and targets of a map: h̃ of the narrowed network, z or the residual sum of the original.
fn pair(
    net: &Net,
    (done, axes): (&Operated, &Axes),
    map: &LinearMap,
    x: &Tensor,
) -> Outcome<(Rows, Rows, bool)> {
    let params = then(net, done, axes, map.node)?;
    let h = inputs(&done.graph, &params, x, map)?;
    let name = |id: ValueId| done.graph.value(id).name.clone();
    match sum_of(&done.graph, map.output) {
        None => {
            let z = value(&net.graph, &name(map.output))?;
            Ok((h, rows(&net.graph, &net.params, x, z)?, false))
        }
        Some((sum, other)) => {
            let sum = rows(&net.graph, &net.params, x, value(&net.graph, &name(sum))?)?;
            let other = rows(&done.graph, &params, x, other)?;
            let less =
                |(s, o): (&Vec<f64>, &Vec<f64>)| s.iter().zip(o).map(|(s, o)| s - o).collect();
            Ok((h, sum.iter().zip(&other).map(less).collect(), true))
        }
    }
}

/// Examples to fit and held out, as every k-th is.
fn cut(x: &Tensor, every: usize) -> Outcome<[Tensor; 2]> {
    let m = x.dim(0)? as u32;
    let pick = |held_out: bool| {
        let some = (0..m).filter(|i| (*i as usize % every == every - 1) == held_out);
        x.index_select(&Tensor::new(some.collect::<Vec<u32>>(), x.device())?, 0)
    };
    Ok([pick(false)?, pick(true)?])
}

fn nets() -> Outcome<Vec<(Net, &'static str, usize)>> {
    Ok(vec![
        (stream(4, [7, 6, 9, 4])?, "a1", 5),
        (case("residual", 0)?, "a1", 3),
        (case("convolutional", 0)?, "a", 3),
        (case("encoder", 1)?, "q", 2),
    ])
}

#[test]
fn repaired_maps_solve_naive_normal_equations() -> TestResult {
    let mut n_sums = 0;
    for (net, group, width) in nets()? {
        let x = net.examples(5, 80)?;
        let share = 1e-3;
        let surgery = Surgery { repairs: vec![share], dampings: vec![1e-2], ..Surgery::plain() };
        let surgery = Surgery { dependencies: false, ..surgery };
        let widths = net.widths(&[(group, width)])?;
        let done = operate(&net.network(), &calibration(&x, 0)?, &widths, &surgery, None, None)?;
        let axes = Axes::of(&done.graph);
        assert!(!done.report.maps.is_empty());
        for report in &done.report.maps {
            let map = axes.maps().iter().find(|map| map.name == report.name).ok_or("a map")?;
            let (h, t, is_sum) = pair(&net, (&done, &axes), map, &x)?;
            assert_eq!(report.is_sum, is_sum, "{}", report.name);
            n_sums += usize::from(is_sum);
            let (_, own) = net.map(&report.name)?;
            let before = weights(&net.graph, &net.params, own)?;
            let wanted = match report.damping {
                Some(found) => {
                    assert_eq!(found, share);
                    fitted(&h, &t, &before.0, share * scale(&h))?
                }
                None => before.clone(),
            };
            let found = weights(&done.graph, &done.params, map)?;
            let apart = gap(&found.0.concat(), &wanted.0.concat()).max(gap(&found.1, &wanted.1));
            assert!(apart < ROUNDING, "{group}, {}: {apart:e}", report.name);
            let errors = [error(&h, &t, &before), error(&h, &t, &wanted)];
            let apart = gap(&[report.before, report.after], &errors);
            assert!(apart < ROUNDING, "{group}, {}: {report:?}, {errors:?}", report.name);
        }
    }
    assert!(n_sums >= 3, "{n_sums}");
    Ok(())
}

#[test]
fn compensated_columns_solve_naive_normal_equations() -> TestResult {
    for (net, group, width) in nets()? {
        let x = net.examples(6, 80)?;
        for order in [Order::Greedy, Order::Random(3)] {
            let surgery = Surgery { order, dampings: vec![1e-3], ..Surgery::plain() };
            let surgery = Surgery { dependencies: false, ..surgery };
            let g = net.group(group)?;
            let widths = net.widths(&[(group, width)])?;
            let done =
                operate(&net.network(), &calibration(&x, 0)?, &widths, &surgery, None, None)?;
            let kept = &done.report.groups[0].kept;
            assert_eq!(kept.len(), width);
            let narrow = Axes::of(&done.graph);
            for consumer in &net.axes.groups()[g].consumers {
                let map = net.axes.maps().iter().find(|map| map.node == consumer.node);
                let map = map.ok_or("a map")?;
                let h = inputs(&net.graph, &net.params, &x, map)?;
                let z = rows(&net.graph, &net.params, &x, map.output)?;
                let before = weights(&net.graph, &net.params, map)?;
                let gone = (0..consumer.columns.len()).filter(|unit| !kept.contains(unit));
                let gone: Vec<usize> = gone.flat_map(|u| consumer.columns[u].clone()).collect();
                let columns: Vec<usize> = (0..h[0].len()).filter(|c| !gone.contains(c)).collect();
                let epsilon = 1e-3 * scale(&h);
                let (some, of) = (picked(&h, &columns), picked(&before.0, &columns));
                let wanted = fitted(&some, &z, &of, epsilon)?;
                let after = narrow.maps().iter().find(|own| own.name == map.name).ok_or("a map")?;
                let found = weights(&done.graph, &done.params, after)?;
                let apart = gap(&found.0.concat(), &wanted.0.concat());
                assert!(apart < ROUNDING, "{group} {}: {apart:e}", map.name);
                assert!(gap(&found.1, &wanted.1) < ROUNDING);
            }
        }
    }
    Ok(())
}

#[test]
fn what_is_chosen_is_best_on_examples_held_out() -> TestResult {
    let mut chosen = HashMap::new();
    for (net, group, width) in nets()? {
        // So few examples that dampings matter.
        let x = net.examples(7, 30)?;
        let [fit, held_out] = cut(&x, 3)?;
        let surgery = Surgery { dependencies: false, ..Surgery::held_out() };
        let widths = net.widths(&[(group, width)])?;
        let done = operate(&net.network(), &calibration(&x, 3)?, &widths, &surgery, None, None)?;
        let axes = Axes::of(&done.graph);
        for report in &done.report.maps {
            let map = axes.maps().iter().find(|map| map.name == report.name).ok_or("a map")?;
            let before = weights(&net.graph, &net.params, net.map(&report.name)?.1)?;
            let (h, t, _) = pair(&net, (&done, &axes), map, &fit)?;
            let (h_out, t_out, _) = pair(&net, (&done, &axes), map, &held_out)?;
            let none = error(&h_out, &t_out, &before);
            assert!(gap(&[report.before], &[none]) < ROUNDING);
            let mut best = (None, none);
            for &share in &surgery.repairs {
                let of = fitted(&h, &t, &before.0, share * scale(&h))?;
                let error = error(&h_out, &t_out, &of);
                if error < best.1 {
                    best = (Some(share), error);
                }
            }
            assert_eq!(report.damping, best.0, "{}", report.name);
            assert!(gap(&[report.after], &[best.1]) < 1e-5, "{report:?} {best:?}");
            *chosen.entry(format!("{:?}", report.damping)).or_insert(0) += 1;
            // And then it is fitted to all.
            if let Some(share) = report.damping {
                let (h, t, _) = pair(&net, (&done, &axes), map, &x)?;
                let wanted = fitted(&h, &t, &before.0, share * scale(&h))?;
                let found = weights(&done.graph, &done.params, map)?;
                assert!(gap(&found.0.concat(), &wanted.0.concat()) < 1e-5, "{}", report.name);
            }
        }
        // The damping of the removal.
        let report = &done.report.groups[0];
        let consumers = &net.axes.groups()[report.group].consumers;
        let mut best = (0.0, f64::INFINITY);
        for tried in &report.tried {
            let share = tried.relative.ok_or("a share")?;
            let mut sum = 0.0;
            for consumer in consumers {
                let map = net.axes.maps().iter().find(|map| map.node == consumer.node);
                let map = map.ok_or("a map")?;
                let before = weights(&net.graph, &net.params, map)?;
                let gone = (0..consumer.columns.len()).filter(|unit| !report.kept.contains(unit));
                let gone: Vec<usize> = gone.flat_map(|u| consumer.columns[u].clone()).collect();
                let n = before.0[0].len();
                let columns: Vec<usize> = (0..n).filter(|c| !gone.contains(c)).collect();
                let h = inputs(&net.graph, &net.params, &fit, map)?;
                let z = rows(&net.graph, &net.params, &fit, map.output)?;
                let (some, of) = (picked(&h, &columns), picked(&before.0, &columns));
                let now = fitted(&some, &z, &of, share * scale(&h))?;
                let h = inputs(&net.graph, &net.params, &held_out, map)?;
                let z = rows(&net.graph, &net.params, &held_out, map.output)?;
                sum += error(&picked(&h, &columns), &z, &now);
            }
            assert!(gap(&[tried.error], &[sum]) < 1e-5, "{group}: {tried:?} {sum}");
            if sum < best.1 {
                best = (share, sum);
            }
        }
        assert_eq!(report.damping, best.0, "{group}");
    }
    assert!(chosen.len() > 2, "one answer everywhere would say little: {chosen:?}");
    Ok(())
}
