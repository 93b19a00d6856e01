//! A classifier with one logit f is that with the logits \[0, f\].

use bayes_posterior::surgery::network::{
    Operated, Surgery, operate, output_curvatures, taylor_saliencies,
};
use candle_core::Tensor;
use core_tensors::{Params, Rng};
use losses::Likelihood;
use models::graph::Unary;

use crate::growing::Outcome;
use crate::naive::{Net, block, calibration, dense, gap, of_mat, output};

type TestResult = Outcome<()>;

/// Sums in f64 that are taken in another order.
const ROUNDING: f64 = 1e-9;

/// A network of one logit, and the same with a logit of 0 before it.
fn one_and_two(seed: u64) -> Outcome<(Net, Net)> {
    let one = dense(seed, &[5, 7, 6, 1], Some(Unary::Tanh))?;
    let mut two = dense(seed, &[5, 7, 6, 2], Some(Unary::Tanh))?;
    let blocks = one.params.blocks().iter().zip(two.params.blocks()).map(|(one, two)| {
        if one.dims() == two.dims() {
            return Ok(one.clone());
        }
        Tensor::cat(&[&one.zeros_like()?, one], 0)
    });
    two.params = Params::new(two.graph.layout(), blocks.collect::<candle_core::Result<Vec<_>>>()?)?;
    Ok((one, two))
}

/// Mean KL of Bernoulli distributions by their own formula.
fn divergence(before: &[f64], after: &[f64]) -> f64 {
    let log_of = |f: f64| [-f.exp().ln_1p(), -(-f).exp().ln_1p()];
    let of_one = |(&before, &after): (&f64, &f64)| {
        let pairs = log_of(before).into_iter().zip(log_of(after));
        pairs.map(|(p, q)| p.exp() * (p - q)).sum::<f64>()
    };
    before.iter().zip(after).map(of_one).sum::<f64>() / before.len() as f64
}

#[test]
fn one_logit_is_narrowed_as_two_are() -> TestResult {
    for seed in 50..54 {
        let (one, two) = one_and_two(seed)?;
        let x = one.examples(seed, 300)?;
        let run = |net: &Net, likelihood, surgery: &Surgery| {
            let calibration = calibration(&x, 5)?;
            let network = net.network();
            let g = output_curvatures(&network, &calibration, likelihood, 16, &mut Rng::new(0))?;
            let widths = net.widths(&[("a", 4), ("b", 3)])?;
            let done =
                operate(&network, &calibration, &widths, surgery, Some(&g), Some(likelihood))?;
            Outcome::Ok((g, done))
        };
        for surgery in [Surgery::plain(), Surgery { softmax_fit: false, ..Surgery::held_out() }] {
            let (g, a) = run(&one, Likelihood::Bernoulli, &surgery)?;
            let (h, b) = run(&two, Likelihood::Categorical, &surgery)?;
            for m in 0..2 {
                let of = |g: &bayes_posterior::surgery::network::OutputCurvatures| {
                    g.get(m).map(|g| of_mat(&g.to_owned())).ok_or("a curvature")
                };
                assert!(gap(&of(&g)?, &of(&h)?) < ROUNDING, "{m}");
            }
            for (a, b) in a.report.groups.iter().zip(&b.report.groups) {
                assert_eq!((&a.kept, a.damping), (&b.kept, b.damping));
            }
            for (a, b) in
                [(a.report.measured, b.report.measured), (a.report.predicted, b.report.predicted)]
            {
                let (a, b) = (a.ok_or("nats")?, b.ok_or("nats")?);
                assert!((a / b - 1.0).abs() < ROUNDING, "{a} {b}");
            }
            let (f, z) = (output(&a.graph, &a.params, &x)?, output(&b.graph, &b.params, &x)?);
            let z: Vec<f64> = z.chunks_exact(2).map(|z| z[1] - z[0]).collect();
            assert!(gap(&f, &z) < ROUNDING);
        }
        let labels: Vec<u32> = (0..300).map(|i| i % 2).collect();
        let saliencies = |net: &Net| {
            Outcome::Ok(taylor_saliencies(&net.network(), &calibration(&x, 5)?, &labels)?)
        };
        let (a, b) = (saliencies(&one)?, saliencies(&two)?);
        for (a, b) in a.iter().zip(&b).take(2) {
            assert!(gap(a, b) < ROUNDING);
        }
    }
    Ok(())
}

#[test]
fn measured_nats_of_one_logit_are_those_of_bernoulli_distributions() -> TestResult {
    let (net, _) = one_and_two(55)?;
    let (x, widths) = (net.examples(55, 200)?, net.widths(&[("a", 5), ("b", 4)])?);
    let likelihood = Some(Likelihood::Bernoulli);
    let calibration = calibration(&x, 0)?;
    let done = operate(&net.network(), &calibration, &widths, &Surgery::plain(), None, likelihood)?;
    let before = output(&net.graph, &net.params, &x)?;
    let wanted = divergence(&before, &output(&done.graph, &done.params, &x)?);
    let found = done.report.measured.ok_or("nats")?;
    assert!(wanted > 1e-4 && (found / wanted - 1.0).abs() < ROUNDING, "{found} {wanted}");
    Ok(())
}

/// ∂ of the divergence by the last map of a narrowed network, by central differences.
fn slopes(net: &Net, small: &Operated, x: &Tensor) -> Outcome<Vec<f64>> {
    let before = output(&net.graph, &net.params, x)?;
    let mut slopes = Vec::new();
    for name in ["c.weight", "c.bias"] {
        let at = block(&small.graph, name)?;
        let own = &small.params.blocks()[at];
        let numbers = own.flatten_all()?.to_vec1::<f64>()?;
        for k in 0..numbers.len() {
            let moved = |by: f64| {
                let (mut blocks, mut numbers) = (small.params.blocks().to_vec(), numbers.clone());
                numbers[k] += by;
                blocks[at] = Tensor::from_vec(numbers, own.shape(), own.device())?;
                let params = Params::new(small.graph.layout(), blocks)?;
                Outcome::Ok(divergence(&before, &output(&small.graph, &params, x)?))
            };
            slopes.push((moved(1e-5)? - moved(-1e-5)?) / 2e-5);
        }
    }
    Ok(slopes)
}

#[test]
fn the_last_map_of_one_logit_is_fitted_to_its_sigmoid() -> TestResult {
    let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
    for seed in 56..59 {
        let (mut net, _) = one_and_two(seed)?;
        // Sure enough that a logit and its sigmoid are not the same target.
        net.set("c.weight", |i, j, old| 4.0 * old(i, j))?;
        let (x, widths) = (net.examples(seed, 300)?, net.widths(&[("a", 4), ("b", 3)])?);
        let run = |softmax_fit, every| {
            let surgery = Surgery { softmax_fit, ..Surgery::held_out() };
            let calibration = calibration(&x, every)?;
            let likelihood = Some(Likelihood::Bernoulli);
            Outcome::Ok(operate(&net.network(), &calibration, &widths, &surgery, None, likelihood)?)
        };
        let (plain, fitted) = (run(false, 0)?, run(true, 0)?);
        assert!(plain.report.softmax_fit.is_none());
        let fit = fitted.report.softmax_fit.ok_or("a fit")?;
        assert!(fit.ridge.is_some() && fit.after < 0.95 * fit.before, "{fit:?}");
        let measured = |done: &Operated| done.report.measured.ok_or("nats");
        assert!((fit.before / measured(&plain)? - 1.0).abs() < ROUNDING);
        assert!((fit.after / measured(&fitted)? - 1.0).abs() < ROUNDING);
        // Little is left to gain: two Newton steps leave a tenth of the slope.
        let (start, end) = (norm(&slopes(&net, &plain, &x)?), norm(&slopes(&net, &fitted, &x)?));
        assert!(end < 0.2 * start, "{start} {end}");
        let held_out = run(true, 5)?.report.softmax_fit.ok_or("a fit")?;
        assert!(held_out.after <= held_out.before);
    }
    Ok(())
}

#[test]
fn several_logits_are_no_bernoulli_distribution() -> TestResult {
    let (_, net) = one_and_two(60)?;
    let calibration = calibration(&net.examples(60, 20)?, 5)?;
    let (network, likelihood) = (net.network(), Likelihood::Bernoulli);
    let error = output_curvatures(&network, &calibration, likelihood, 4, &mut Rng::new(0)).err();
    let wanted = "logits of a binary classifier: expected 1, found 2";
    assert_eq!(error.ok_or("an error")?.to_string(), wanted);
    let widths = net.widths(&[("a", 4)])?;
    for surgery in [Surgery::plain(), Surgery::held_out()] {
        let done = operate(&network, &calibration, &widths, &surgery, None, Some(likelihood));
        assert_eq!(done.err().ok_or("an error")?.to_string(), wanted);
    }
    Ok(())
}
