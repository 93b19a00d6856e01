//! Predicted nats are the measured ones where the quadratic picture holds, and weights those of the posterior's own edit.

use bayes_posterior::surgery::network::{OutputCurvatures, Surgery, operate, output_curvatures};
use bayes_posterior::{Factors, Gaussian, Kronecker};
use core_tensors::linalg::{Cholesky, product};
use core_tensors::{Block, Layout, Rng, Slice};
use faer::Mat;
use losses::Likelihood;
use models::graph::Unary;

use crate::growing::Outcome;
use crate::naive::{Net, calibration, dense, gap, inputs, scale, weights};

type TestResult = Outcome<()>;

/// A perceptron whose unit 2 of the last hidden layer hardly counts.
fn nearly(seed: u64, share: f64) -> Outcome<Net> {
    let mut net = dense(seed, &[5, 6, 5, 4], Some(Unary::Tanh))?;
    net.set("c.weight", |i, j, old| share * old(i, j) * if j == 2 { 1e-2 } else { 1.0 })?;
    Ok(net)
}

#[test]
fn a_small_removal_costs_what_was_predicted() -> TestResult {
    for seed in 20..24 {
        // Of a last layer G is the same for all examples: exactly with a normal likelihood, nearly with small logits.
        for (likelihood, share, tolerance) in
            [(Likelihood::Normal { variance: 0.7 }, 1.0, 1e-6), (Likelihood::Categorical, 0.3, 0.1)]
        {
            let net = nearly(seed, share)?;
            let calibration = calibration(&net.examples(seed, 400)?, 0)?;
            let g =
                output_curvatures(&net.network(), &calibration, likelihood, 16, &mut Rng::new(0))?;
            let widths = net.widths(&[("b", 4)])?;
            let surgery = Surgery::plain();
            let run =
                |g| operate(&net.network(), &calibration, &widths, &surgery, g, Some(likelihood));
            let report = run(Some(&g))?.report;
            assert_eq!(report.groups[0].kept, [0, 1, 3, 4]);
            let (predicted, measured) =
                (report.predicted.ok_or("nats")?, report.measured.ok_or("nats")?);
            assert!(
                measured > 0.0 && (predicted / measured - 1.0).abs() < tolerance,
                "{predicted:e} {measured:e}"
            );
            assert_eq!(report.groups[0].measured, report.measured);
            let report = run(None)?.report;
            assert_eq!((report.predicted, report.groups[0].predicted), (None, None));
            // Not at the end of the network: G is a mean over examples, and so is the prediction.
            let widths = net.widths(&[("a", 5)])?;
            let some = operate(
                &net.network(),
                &calibration,
                &widths,
                &surgery,
                Some(&g),
                Some(likelihood),
            )?
            .report;
            let ratio = some.predicted.ok_or("nats")? / some.measured.ok_or("nats")?;
            assert!((0.2..5.0).contains(&ratio), "{ratio}");
        }
    }
    Ok(())
}

#[test]
fn no_likelihood_measures_nothing() -> TestResult {
    let net = nearly(20, 1.0)?;
    let calibration = calibration(&net.examples(1, 50)?, 5)?;
    let widths = net.widths(&[("b", 4)])?;
    let report =
        operate(&net.network(), &calibration, &widths, &Surgery::plain(), None, None)?.report;
    assert_eq!((report.measured, report.groups[0].measured), (None, None));
    Ok(())
}

#[test]
fn removal_is_conditioning_of_a_kronecker_posterior() -> TestResult {
    let symmetric =
        |x: Mat<f64>| Mat::from_fn(x.nrows(), x.ncols(), |i, j| 0.5 * (x[(i, j)] + x[(j, i)]));
    for seed in 30..34 {
        let net = dense(seed, &[6, 9, 4], Some(Unary::Relu))?;
        let x = net.examples(seed, 150)?;
        let (share, n, o) = (1e-3, 9, 4);
        let half = Mat::from_fn(o, o, |i, j| ((i * 7 + j * 3 + seed as usize) as f64).sin());
        let g = product(half.as_ref(), half.transpose()) + Mat::<f64>::identity(o, o);
        let ones = Mat::<f64>::identity(9, 9);
        let curvatures = OutputCurvatures::new(vec![ones, g.clone()]);
        let surgery = Surgery { dampings: vec![share], dependencies: false, ..Surgery::plain() };
        let widths = net.widths(&[("a", 5)])?;
        let done = operate(
            &net.network(),
            &calibration(&x, 0)?,
            &widths,
            &surgery,
            Some(&curvatures),
            None,
        )?;
        // N(w, G⁻¹ ⊗ (A + ε)⁻¹) over [W | b], by naive sums.
        let (_, map) = net.map("b")?;
        let h = inputs(&net.graph, &net.params, &x, map)?;
        let one = |row: &[f64], j: usize| if j == n { 1.0 } else { row[j] };
        let mut a = Mat::from_fn(n + 1, n + 1, |i, j| {
            h.iter().map(|h| one(h, i) * one(h, j)).sum::<f64>() / h.len() as f64
        });
        (0..n).for_each(|i| a[(i, i)] += share * scale(&h));
        let factors = Factors::new(
            symmetric(Cholesky::new(g.as_ref())?.inverse()),
            symmetric(Cholesky::new(a.as_ref())?.inverse()),
        )?;
        let (w, b) = weights(&net.graph, &net.params, map)?;
        let mean: Vec<f64> =
            w.iter().zip(&b).flat_map(|(w, b)| w.iter().copied().chain([*b])).collect();
        let layout = Layout { blocks: vec![Block { rows: o, cols: n + 1 }] };
        let mut gaussian = Gaussian::new(layout, mean, Kronecker::new(vec![factors]))?;
        let (mut left, mut total): (Vec<usize>, f64) = ((0..n).collect(), 0.0);
        while left.len() > 5 {
            let slice = |at: usize| Slice::Cols { block: 0, cols: vec![at] };
            let mut best = (0, f64::INFINITY);
            for at in 0..left.len() {
                let cost = gaussian.marginal_density(&slice(at), &vec![0.0; o])?.cost();
                if cost < best.1 {
                    best = (at, cost);
                }
            }
            gaussian = gaussian.condition(&slice(best.0), &vec![0.0; o])?.0;
            total += best.1;
            left.remove(best.0);
        }
        let group = &done.report.groups[0];
        assert_eq!(group.kept, left);
        let after = models::graph::axes::Axes::of(&done.graph);
        let map = after.maps().iter().find(|map| map.name == "b").ok_or("a map")?;
        let (w, b) = weights(&done.graph, &done.params, map)?;
        let found: Vec<f64> =
            w.iter().zip(&b).flat_map(|(w, b)| w.iter().copied().chain([*b])).collect();
        assert!(gap(&found, gaussian.mean()) < 1e-8);
        // The cost of the posterior has the ε of the damping in it, the prediction has not.
        let predicted = group.predicted.ok_or("nats")?;
        assert!(predicted < total && predicted > 0.9 * total, "{predicted} {total}");
    }
    Ok(())
}
