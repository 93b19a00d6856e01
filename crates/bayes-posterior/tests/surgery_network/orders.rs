//! Orders that users know, and saliencies from labels.

use bayes_posterior::surgery::network::{
    Network, Order, Surgery, curves, operate, taylor_saliencies,
};
use candle_core::Tensor;
use core_tensors::Params;
use losses::log_softmax;
use models::graph::Unary;

use crate::growing::Outcome;
use crate::naive::{Net, block, calibration, case, dense, gap, inputs, rows, weights};

type TestResult = Outcome<()>;

fn kept(net: &Net, x: &Tensor, group: &str, width: usize, order: Order) -> Outcome<Vec<usize>> {
    let surgery = Surgery::baseline(order, true);
    let widths = net.widths(&[(group, width)])?;
    let done = operate(&net.network(), &calibration(x, 5)?, &widths, &surgery, None, None)?;
    Ok(done.report.groups[0].kept.clone())
}

/// The units of the largest scores, ascending.
fn best(scores: &[f64], n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut best = order[..n].to_vec();
    best.sort_unstable();
    best
}

#[test]
fn magnitude_and_wanda_are_their_formulas() -> TestResult {
    for (net, group, producer, consumer, k) in [
        (dense(60, &[5, 8, 6, 3], Some(Unary::Relu))?, "a", "a", "b", 1),
        (case("convolutional", 0)?, "a", "a", "b", 9),
        (case("perceptron", 0)?, "b", "b", "c", 1),
    ] {
        let x = net.examples(60, 70)?;
        let (_, from) = net.map(producer)?;
        let (_, to) = net.map(consumer)?;
        let (u, _) = weights(&net.graph, &net.params, from)?;
        let (w, _) = weights(&net.graph, &net.params, to)?;
        let h = inputs(&net.graph, &net.params, &x, to)?;
        let n = u.len();
        let second = |j: usize| h.iter().map(|h| h[j] * h[j]).sum::<f64>() / h.len() as f64;
        let sum = |unit: usize, weight: &dyn Fn(usize) -> f64| {
            let columns = unit * k..(unit + 1) * k;
            let of = |j: usize| w.iter().map(|w| w[j] * w[j]).sum::<f64>() * weight(j);
            columns.map(of).sum::<f64>().sqrt()
        };
        let norm = |unit: usize| u[unit].iter().map(|v| v * v).sum::<f64>().sqrt();
        let magnitude: Vec<f64> = (0..n).map(|unit| norm(unit) * sum(unit, &|_| 1.0)).collect();
        let wanda: Vec<f64> = (0..n).map(|unit| sum(unit, &second)).collect();
        for width in 1..n {
            let found = kept(&net, &x, group, width, Order::Magnitude)?;
            assert_eq!(found, best(&magnitude, width), "magnitude {width}");
            assert_eq!(kept(&net, &x, group, width, Order::Wanda)?, best(&wanda, width));
        }
    }
    Ok(())
}

#[test]
fn random_orders_are_their_seeds() -> TestResult {
    let net = dense(61, &[5, 12, 12, 3], Some(Unary::Relu))?;
    let x = net.examples(61, 40)?;
    let of = |seed| kept(&net, &x, "a", 6, Order::Random(seed));
    assert_eq!(of(1)?, of(1)?);
    let different = (2..8).filter(|&seed| of(seed).ok() != of(1).ok()).count();
    assert!(different >= 5);
    // Groups draw apart.
    assert_ne!(of(1)?, kept(&net, &x, "b", 6, Order::Random(1))?);
    Ok(())
}

#[test]
fn nothing_compensates_where_least_squares_is_off() -> TestResult {
    let net = dense(62, &[5, 8, 3], Some(Unary::Relu))?;
    let x = net.examples(62, 40)?;
    let surgery = Surgery::baseline(Order::Magnitude, false);
    let widths = net.widths(&[("a", 3)])?;
    let done = operate(&net.network(), &calibration(&x, 5)?, &widths, &surgery, None, None)?;
    let kept: Vec<u32> = done.report.groups[0].kept.iter().map(|&u| u as u32).collect();
    let (old, new) = (block(&net.graph, "b.weight")?, block(&done.graph, "b.weight")?);
    let kept = Tensor::new(kept, x.device())?;
    let wanted = net.params.blocks()[old].index_select(&kept, 1)?;
    assert_eq!(done.params.blocks()[new].to_vec2::<f64>()?, wanted.to_vec2::<f64>()?);
    Ok(())
}

/// The mean cross-entropy with a gate on the columns of a unit.
fn gated(
    net: &Net,
    x: &Tensor,
    labels: &[u32],
    (g, unit): (usize, usize),
    gate: f64,
) -> Outcome<f64> {
    let mut params = net.params.clone();
    for consumer in &net.axes.groups()[g].consumers {
        let map = net.axes.maps().iter().find(|map| map.node == consumer.node).ok_or("a map")?;
        let (mut w, _) = weights(&net.graph, &params, map)?;
        for row in &mut w {
            consumer.columns[unit].iter().for_each(|&j| row[j] *= gate);
        }
        let shape = (w.len(), w[0].len());
        let w = Tensor::from_vec(w.concat(), shape, x.device())?;
        params = map.replaced(&net.graph, &params, &w, None)?;
    }
    let f = net.graph.run(&params, std::slice::from_ref(x))?.remove(0);
    let log = log_softmax(&f)?.to_vec2::<f64>()?;
    let sum: f64 = log.iter().zip(labels).map(|(row, &y)| -row[y as usize]).sum();
    Ok(sum / labels.len() as f64)
}

#[test]
fn taylor_saliencies_are_the_slopes_of_gates() -> TestResult {
    for name in ["perceptron", "convolutional", "residual", "encoder", "branches"] {
        let net = case(name, 0)?;
        let x = net.examples(63, 23)?;
        let labels: Vec<u32> = (0..23).map(|i| (i * i) % 3).collect();
        let found = taylor_saliencies(&net.network(), &calibration(&x, 4)?, &labels)?;
        assert_eq!(found.len(), net.axes.groups().len());
        for (g, group) in net.axes.groups().iter().enumerate().filter(|(_, g)| g.pinned.is_none()) {
            let step = 1e-5;
            let slope = |unit| -> Outcome<f64> {
                let up = gated(&net, &x, &labels, (g, unit), 1.0 + step)?;
                let down = gated(&net, &x, &labels, (g, unit), 1.0 - step)?;
                Ok(((up - down) / (2.0 * step)).abs())
            };
            let wanted: Vec<f64> = (0..group.n_units).map(slope).collect::<Outcome<_>>()?;
            let apart = gap(&found[g], &wanted);
            assert!(apart < 1e-5, "{name}, `{}`: {apart:e}", group.name);
            if group.n_units > 2 && group.consumers.len() == 1 {
                let order = Order::Taylor(found.clone());
                assert_eq!(kept(&net, &x, &group.name, 2, order)?, best(&wanted, 2));
            }
        }
    }
    Ok(())
}

#[test]
fn taylor_wants_a_label_for_each_example() -> TestResult {
    let net = dense(64, &[5, 8, 3], Some(Unary::Relu))?;
    let x = net.examples(64, 10)?;
    let calibration = calibration(&x, 5)?;
    for (labels, words) in [(vec![0u32; 9], "expected 10"), (vec![3; 10], "class")] {
        let error = taylor_saliencies(&net.network(), &calibration, &labels);
        let error = error.err().ok_or("an error")?.to_string();
        assert!(error.contains(words), "{error}");
    }
    // In f32 as well.
    let f32s = net.params.blocks().iter().map(|b| b.to_dtype(candle_core::DType::F32));
    let f32s = Params::new(net.graph.layout(), f32s.collect::<candle_core::Result<_>>()?)?;
    let small = Network { params: &f32s, ..net.network() };
    let labels = vec![1; 10];
    let [a, b] = [
        taylor_saliencies(&net.network(), &calibration, &labels)?,
        taylor_saliencies(
            &small,
            &crate::naive::calibration(&x.to_dtype(candle_core::DType::F32)?, 5)?,
            &labels,
        )?,
    ];
    assert!(gap(&b[0], &a[0]) < 1e-4);
    Ok(())
}

#[test]
fn curves_are_what_removal_costs_in_the_order_of_the_surgery() -> TestResult {
    let net = dense(65, &[5, 8, 6, 3], Some(Unary::Relu))?;
    let x = net.examples(65, 80)?;
    for order in [Order::Greedy, Order::Magnitude, Order::Random(4)] {
        let surgery = Surgery { order, dependencies: false, ..Surgery::plain() };
        let found = curves(&net.network(), &calibration(&x, 0)?, &surgery, None)?;
        assert_eq!(found.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        for curve in &found {
            let n = net.axes.groups()[curve.group].n_units;
            assert_eq!((curve.costs.len(), curve.costs[0]), (n, 0.0));
            assert!(curve.costs.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", curve.costs);
            // Half the mean squared error of z, up to what the damping of 1e-6 is worth.
            for width in [2, 4] {
                let mut widths = net.full();
                widths[curve.group] = width;
                let done =
                    operate(&net.network(), &calibration(&x, 0)?, &widths, &surgery, None, None)?;
                let next = if curve.name == "a" { "b" } else { "c" };
                let (_, before) = net.map(next)?;
                let axes = models::graph::axes::Axes::of(&done.graph);
                let after = axes.maps().iter().find(|map| map.name == next).ok_or("a map")?;
                let z = rows(&net.graph, &net.params, &x, before.output)?.concat();
                let then = rows(&done.graph, &done.params, &x, after.output)?.concat();
                let sum: f64 = z.iter().zip(&then).map(|(a, b)| (a - b).powi(2)).sum();
                let wanted = 0.5 * sum / 80.0;
                let apart = (curve.at(width) / wanted - 1.0).abs();
                assert!(apart < 1e-3, "{} {width}: {} {wanted}", curve.name, curve.at(width));
            }
        }
    }
    Ok(())
}
