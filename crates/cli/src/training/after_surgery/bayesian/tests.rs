//! Tests of Bayesian students against closed forms.

use bayes_posterior::surgery::network::{
    Calibration, Cutting, Network, kronecker_posterior, output_curvatures,
};
use bayes_posterior::{Covariance, KroneckerEigen};
use candle_core::{DType, Device};
use core_tensors::kernels::Activation;
use core_tensors::linalg::Cholesky;
use core_tensors::{Dataset, Targets};
use faer::Mat;
use models::graph::axes::Axes;
use models::{Architecture, Cnn, Convolution, Mlp};

use super::carried::likeliest_precision;
use super::problem::negative_log;
use super::*;
use crate::training::after_surgery::checkpoint::NoCheckpoints;
use crate::training::after_surgery::tests::{Memory, Until};
use crate::training::{Interrupted, Unwatched};

fn normals(m: usize, n: usize, rng: &mut Rng) -> Tensor {
    let numbers: Vec<f32> = (0..m * n).map(|_| rng.normal() as f32).collect();
    Tensor::from_vec(numbers, (m, n), &Device::Cpu).unwrap()
}

fn perceptron_of(widths: &[usize], seed: u64) -> (Mlp, Params) {
    let mlp = Mlp { widths: widths.to_vec(), activation: Activation::Tanh, bias: true };
    let w = mlp.init(&mut Rng::new(seed), &Device::Cpu).unwrap();
    (mlp, w)
}

fn classes(m: usize, n_outputs: usize, seed: u64) -> Taught {
    let (mlp, w) = perceptron_of(&[3, 6, n_outputs], 100);
    let (graph, w) = mlp.to_graph(&w.moved(&w, 3.0).unwrap()).unwrap();
    let x = normals(m, 3, &mut Rng::new(seed));
    let taught = Taught::by(&graph, &w, &x, None).unwrap();
    let n_classes = n_outputs.max(2);
    let labels = match n_outputs {
        1 => taught.teacher.squeeze(1).unwrap().gt(0.0).unwrap().to_dtype(DType::U32).unwrap(),
        _ => taught.teacher.argmax(1).unwrap(),
    };
    Taught { targets: Some(Targets::Classes { labels, n_classes }), ..taught }
}

/// One setting alone.
fn one(predicted: Predicted, epochs: usize, counted: f64, learning_rate: f64) -> BayesianCourse {
    BayesianCourse {
        counted: vec![counted],
        learning_rates: vec![learning_rate],
        ..BayesianCourse::after_surgery(predicted, epochs, 20)
    }
}

fn inferred(
    (graph, params): &(Graph, Params),
    examples: (&Taught, &Taught),
    course: &BayesianCourse,
) -> BayesianStudent {
    let (small, rng) = ((graph, params), Rng::new(1));
    infer_after_surgery(&Unwatched, small, examples, course, &rng, &mut NoCheckpoints).unwrap()
}

/// Examples of two linear functions of two features with noise of very different size.
fn values(m: usize, stds: [f64; 2], seed: u64) -> (Tensor, Tensor) {
    let mut rng = Rng::new(seed);
    let x = normals(m, 2, &mut rng);
    let truth = Tensor::new(&[[1.5f32, -2.0], [-0.5, 1.0]], &Device::Cpu).unwrap();
    let stds = Tensor::new(&[stds.map(|std| std as f32)], &Device::Cpu).unwrap();
    let f = x.matmul(&truth).unwrap();
    let y = (f + normals(m, 2, &mut rng)).unwrap().broadcast_mul(&stds).unwrap();
    (x, y)
}

#[test]
fn a_linear_student_has_the_posterior_of_its_closed_form_for_each_output() {
    // The second output's noise is a millionth of the first one's in variance.
    let (m, stds, delta) = (60, [0.5, 5e-4], 2.0);
    let (x, y) = values(m, stds, 0);
    let (mlp, w) = perceptron_of(&[2, 2], 5);
    // In units of the noise the start is as far from the truth for both.
    let scale = Tensor::new(&[[0.5f32], [5e-4]], &Device::Cpu).unwrap();
    let w = w.blocks().iter().map(|b| b.broadcast_mul(&scale).unwrap()).collect();
    let w = Params::new(mlp.layout(), w).unwrap();
    let small = mlp.to_graph(&w).unwrap();
    let taught = Taught::by(&small.0, &small.1, &x, Some(&Targets::Values(y.clone()))).unwrap();
    for tau in [0.0, 0.5, 1.0] {
        let course = BayesianCourse {
            noise_variances: Some(stds.map(|std| std * std).to_vec()),
            prior_precision: Some(delta),
            ..one(Predicted::Values, 400, tau, 2e-2)
        };
        let found = inferred(&small, (&taught, &taught), &course);
        let (found_mean, found_variance) =
            (found.posterior.mean(), found.posterior.diagonal().unwrap());
        // In units of σ: P = (1 + τ) XᵀX + δI, m = P⁻¹ {(τ XᵀX + δI) w/σ + Xᵀy/σ}; the best independent parameters have its
        // mean and the inverses of its diagonal, and σ times the one, σ² times the other are those of the network. G ⊗ A is
        // exact, as both outputs have the curvature 1 of their own noise and none together.
        let rows = x.to_vec2::<f32>().unwrap();
        let z = |i: usize, j: usize| if j == 2 { 1.0 } else { f64::from(rows[i][j]) };
        let y = y.to_vec2::<f32>().unwrap();
        let h = Mat::from_fn(3, 3, |j, k| (0..m).map(|i| z(i, j) * z(i, k)).sum::<f64>());
        let one = |j: usize, k: usize| if j == k { delta } else { 0.0 };
        let precision = Mat::from_fn(3, 3, |j, k| (1.0 + tau) * h[(j, k)] + one(j, k));
        let all = w.to_vec().unwrap();
        for (output, std) in stds.into_iter().enumerate() {
            let w = &all[3 * output..3 * output + 3];
            let right = |j: usize| {
                let prior: f64 = (0..3).map(|k| (tau * h[(j, k)] + one(j, k)) * w[k] / std).sum();
                prior + (0..m).map(|i| z(i, j) * f64::from(y[i][output]) / std).sum::<f64>()
            };
            let right: Vec<f64> = (0..3).map(right).collect();
            let mean = Cholesky::new(precision.as_ref()).unwrap().solve_vector(&right);
            for j in 0..3 {
                let wanted = std * std / precision[(j, j)];
                let gap = (found_mean[3 * output + j] - std * mean[j]) / wanted.sqrt();
                let ratio = found_variance[3 * output + j] / wanted;
                // Kept is the best epoch by 50 draws, not the last: around the optimum by less than a standard deviation, and by
                // less than the 2 and 10⁶ that (1 + τ) and σ² make.
                let at = format!("τ {tau}, output {output}, parameter {j}");
                assert!(gap.abs() < 0.5, "{at}: {gap} standard deviations");
                assert!((ratio - 1.0).abs() < 0.3, "{at}: variance times {ratio}");
            }
        }
        assert_eq!(found.provenance.noise_variances, course.noise_variances);
        // var f + σ² of the linear network, and both in the units of the targets.
        let said = found.linearized(&x).unwrap();
        for (i, output) in [(0, 0), (7, 1)] {
            let spread: f64 =
                (0..3).map(|j| z(i, j).powi(2) * found_variance[3 * output + j]).sum();
            let wanted = spread + stds[output].powi(2);
            assert!((said.variance[2 * i + output] / wanted - 1.0).abs() < 1e-5);
            let f: f64 = (0..3).map(|j| z(i, j) * found_mean[3 * output + j]).sum();
            assert!((said.mean[2 * i + output] - f).abs() < 1e-5 * stds[output].max(f.abs()));
        }
    }
}

#[test]
fn the_unit_of_an_output_changes_nothing() {
    let run = |unit: f64| {
        let (x, y) = values(50, [0.5, unit], 0);
        let (mlp, w) = perceptron_of(&[2, 3, 2], 5);
        let scale = Tensor::new(&[[1f32], [unit as f32]], &Device::Cpu).unwrap();
        let mut blocks = w.blocks().to_vec();
        blocks[1] = blocks[1].broadcast_mul(&scale).unwrap();
        let small = mlp.to_graph(&Params::new(mlp.layout(), blocks).unwrap()).unwrap();
        let taught = Taught::by(&small.0, &small.1, &x, Some(&Targets::Values(y))).unwrap();
        inferred(&small, (&taught, &taught), &one(Predicted::Values, 10, 1.0, 1e-2))
    };
    // Powers of 2 leave every rounding as it is.
    let (a, b) = (run(1.0), run(2f64.powi(-20)));
    let pairs = a.posterior.mean().iter().zip(b.posterior.mean());
    for (i, (a, b)) in pairs.enumerate() {
        let unit = if i >= 3 * 3 + 4 { 2f64.powi(-20) } else { 1.0 };
        assert!((a * unit - b).abs() <= 1e-6 * b.abs(), "{i}: {a} {b}");
    }
    let density = 20.0 * 2f64.ln();
    assert!((a.curve[5] - density - b.curve[5]).abs() < 1e-5, "{:?} {:?}", a.curve, b.curve);
}

#[test]
fn the_prior_is_the_kronecker_posterior_of_the_graph() {
    let taught = classes(50, 3, 0);
    let (mlp, w) = perceptron_of(&[3, 4, 3], 5);
    let (graph, params) = mlp.to_graph(&w).unwrap();
    let axes = Axes::of(&graph);
    let network = Network { graph: &graph, params: &params, axes: &axes };
    let calibration =
        Calibration::new(std::slice::from_ref(&taught.x), None, Cutting::default()).unwrap();
    let likelihood = Likelihood::Categorical;
    let g = output_curvatures(&network, &calibration, likelihood, 3, &mut Rng::new(0)).unwrap();
    let wanted = kronecker_posterior(&network, &calibration, &g, 0.7).unwrap().gaussian;
    let course = BayesianCourse::after_surgery(Predicted::Classes, 1, 10);
    let problem = Problem::new((&graph, &params), &taught, &course).unwrap();
    let data = problem.data(&taught).unwrap();
    let small = (&problem.network, &problem.weights);
    let carried = Carried::of(small, &data, likelihood, Some(0.7)).unwrap();
    let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5 * b.abs());
    let precisions = |of: &Gaussian<KroneckerEigen>| of.covariance().precision_diagonal().unwrap();
    let once = carried.prior(1.0).unwrap();
    assert!(close(once.mean(), wanted.mean()));
    assert!(close(&precisions(&once), &precisions(&wanted)));
    // τ = 0 knows the prior's precision alone, and what is above it grows with τ.
    let never = precisions(&carried.prior(0.0).unwrap());
    assert!(never.iter().all(|p| (p - 0.7).abs() < 1e-12));
    let often: Vec<f64> =
        precisions(&carried.prior(100.0).unwrap()).iter().map(|p| p - 0.7).collect();
    let hundred: Vec<f64> = precisions(&once).iter().map(|p| 100.0 * (p - 0.7)).collect();
    assert!(close(&often, &hundred));
}

#[test]
fn students_of_one_logit_and_of_several_go_into_a_file() {
    for n_outputs in [1, 3] {
        let (taught, others) = (classes(80, n_outputs, 0), classes(40, n_outputs, 1));
        let (mlp, w) = perceptron_of(&[3, 4, n_outputs], 5);
        let small = mlp.to_graph(&w).unwrap();
        let course = one(Predicted::Classes, 30, 0.5, 2e-2);
        let run = || inferred(&small, (&taught, &others), &course);
        let found = run();
        let said = |of: &BayesianStudent, n| of.predictive(&others.x, n, &mut Rng::new(2)).unwrap();
        assert_eq!(found.curve.len(), 31);
        let best = found.curve[found.best_epoch];
        assert!(found.curve.iter().all(|loss| best <= *loss) && best < found.curve[0] - 0.05);
        let loss = negative_log(&said(&found, 2000), others.targets.as_ref().unwrap()).unwrap();
        assert!((loss - best).abs() < 0.1, "{loss} {best}");
        let k = n_outputs.max(2);
        let said = said(&found, 50);
        let linearized = found.linearized(&others.x).unwrap();
        for of in [&said, &linearized] {
            assert_eq!(of.mean.len(), 40 * k);
            assert!(of.mean.chunks(k).all(|p| (p.iter().sum::<f64>() - 1.0).abs() < 1e-6));
        }
        // One logit stays one logit.
        assert_eq!(found.posterior.network().widths, [3, 4, n_outputs]);
        let bytes = found.posterior.to_bytes(&found.provenance).unwrap();
        let (back, provenance) = AnyPosterior::from_bytes(&bytes).unwrap();
        assert_eq!((back.mean(), provenance.n_examples), (found.posterior.mean(), Some(80)));
        assert_eq!(run().posterior.to_bytes(&found.provenance).unwrap(), bytes, "the same bits");
    }
}

#[test]
fn a_linear_student_of_one_logit_is_a_logistic_regression() {
    // KL(q ‖ p) − E log p(y | f) is least where each mean and variance has a gradient of 0: by Gauss–Hermite sums over f, which
    // is normal.
    let m = 40;
    let mut rng = Rng::new(3);
    let x = normals(m, 1, &mut rng);
    let rows: Vec<f64> =
        x.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|&x| f64::from(x)).collect();
    let sigmoid = |f: f64| 1.0 / (1.0 + (-f).exp());
    let labels: Vec<u32> =
        rows.iter().map(|x| u32::from(rng.uniform() < sigmoid(1.5 * x))).collect();
    let targets =
        Targets::Classes { labels: Tensor::new(&labels[..], &Device::Cpu).unwrap(), n_classes: 2 };
    let mlp = Mlp { widths: vec![1, 1], activation: Activation::Identity, bias: false };
    let w = Params::from_vec(&mlp.layout(), &[0.3], &Device::Cpu).unwrap();
    let small = mlp.to_graph(&w).unwrap();
    let taught = Taught::by(&small.0, &small.1, &x, Some(&targets)).unwrap();
    let course =
        BayesianCourse { prior_precision: Some(1.0), ..one(Predicted::Classes, 300, 0.0, 2e-2) };
    let found = inferred(&small, (&taught, &taught), &course);
    let (mean, variance) = (found.posterior.mean()[0], found.posterior.diagonal().unwrap()[0]);
    // The bound on a fine grid of means and deviations, its expectations by sums over quantiles.
    let bound = |mean: f64, std: f64| {
        let n = 400;
        let normal = |i: usize| -4.0 + 8.0 * (i as f64 + 0.5) / n as f64;
        let weight = |e: f64| (-0.5 * e * e).exp() / std::f64::consts::TAU.sqrt() * 8.0 / n as f64;
        let term = |(x, y): (&f64, &u32)| -> f64 {
            let sign = if *y == 1 { 1.0 } else { -1.0 };
            (0..n).map(normal).map(|e| weight(e) * sigmoid(sign * x * (mean + std * e)).ln()).sum()
        };
        let fit: f64 = rows.iter().zip(&labels).map(term).sum();
        // N(0.3, 1) is the prior.
        fit - 0.5 * (std * std + (mean - 0.3).powi(2) - 1.0) + std.ln()
    };
    let best = bound(mean, variance.sqrt());
    for (step, other) in [(0.3, 1.0), (-0.3, 1.0), (0.0, 1.3), (0.0, 0.75)] {
        let moved = bound(mean + step * variance.sqrt(), other * variance.sqrt());
        assert!(moved < best, "{step} deviations, times {other}: {moved} {best}");
    }
}

#[test]
fn validation_chooses_what_the_prior_s_examples_count_for() {
    // More parameters than examples, at the large network's own weights: their spread alone does harm.
    let (taught, others) = (classes(60, 3, 0), classes(60, 3, 1));
    let (mlp, w) = perceptron_of(&[3, 6, 3], 100);
    let small = mlp.to_graph(&w.moved(&w, 3.0).unwrap()).unwrap();
    let grid = vec![1.0, 1000.0];
    let course = BayesianCourse { counted: grid, ..one(Predicted::Classes, 8, 1.0, 1e-4) };
    assert_eq!(course.n_points(), 2 + 8);
    let found = inferred(&small, (&taught, &others), &course);
    assert_eq!((found.trials.len(), found.setting.counted), (2, 1000.0), "{:?}", found.trials);
    let losses: Vec<f64> = found.trials.iter().filter_map(|trial| trial.loss).collect();
    assert!(losses[1] < losses[0]);
    // Hardly anything is left open: the predictions are those of the network itself.
    let logits = small.0.forward(&small.1, &others.x).unwrap().to_dtype(DType::F64).unwrap();
    let plain = Likelihood::Categorical
        .negative_log(
            &logits,
            &Dataset::new(others.x.clone(), others.targets.clone().unwrap()).unwrap(),
        )
        .unwrap()
        .to_scalar::<f64>()
        .unwrap();
    assert!(found.curve[found.best_epoch] < plain + 0.02, "{:?} {plain}", found.curve);
}

#[test]
fn an_interrupted_inference_goes_on_to_the_same_bits() {
    let (taught, others) = (classes(70, 3, 0), classes(30, 3, 1));
    let (mlp, w) = perceptron_of(&[3, 4, 3], 5);
    let (graph, params) = mlp.to_graph(&w).unwrap();
    let course = BayesianCourse {
        learning_rates: vec![1e-2, 0.2],
        counted: vec![0.5, 1.0],
        ..BayesianCourse::after_surgery(Predicted::Classes, 5, 16)
    };
    let with = |rng: &Rng, monitor: &dyn Monitor, checkpoints: &mut Memory| {
        let (small, examples) = ((&graph, &params), (&taught, &others));
        infer_after_surgery(monitor, small, examples, &course, rng, checkpoints)
    };
    // A run whose best epoch is neither the start nor the last, so that both are to be kept.
    let is_between = |rng: &Rng| {
        let found = with(rng, &Unwatched, &mut Memory::default()).unwrap();
        (1..5).contains(&found.best_epoch)
    };
    let rng = (0..40).map(Rng::new).find(is_between).unwrap();
    let run = |monitor: &dyn Monitor, checkpoints: &mut Memory| with(&rng, monitor, checkpoints);
    let bits = |found: &BayesianStudent| {
        let bytes = found.posterior.to_bytes(&found.provenance).unwrap();
        let curve: Vec<u64> = found.curve.iter().map(|loss| loss.to_bits()).collect();
        let others = format!("{:?} {:?} {:?}", found.setting, found.trials, found.divergence);
        (bytes, curve, found.best_epoch, others)
    };
    let n_points = course.n_points();
    assert_eq!(n_points, 4 + 5);
    let watch = Until::points(n_points + 1);
    let whole = run(&watch, &mut Memory::default()).unwrap();
    assert_eq!((watch.n_left.get(), watch.lines.borrow().len()), (1, 1 + 5));
    for n in 1..=n_points {
        let mut memory = Memory::default();
        let error = run(&Until::points(n), &mut memory).unwrap_err();
        assert!(error.is::<Interrupted>(), "{error}");
        assert!(bits(&run(&Unwatched, &mut memory).unwrap()) == bits(&whole), "after point {n}");
        // What is finished is not inferred again.
        assert!(bits(&run(&Until::points(1), &mut memory).unwrap()) == bits(&whole));
    }
    let mut memory = Memory::default();
    for _ in 0..n_points {
        assert!(run(&Until::points(1), &mut memory).unwrap_err().is::<Interrupted>());
    }
    assert!(bits(&run(&Unwatched, &mut memory).unwrap()) == bits(&whole));
    // Another course does not go on from there.
    let longer = BayesianCourse { epochs: 6, ..course.clone() };
    let (small, examples) = ((&graph, &params), (&taught, &others));
    let error = infer_after_surgery(&Unwatched, small, examples, &longer, &rng, &mut memory);
    let error = format!("{:#}", error.unwrap_err());
    assert!(error.contains(": the options of training changed since"), "{error}");
}

#[test]
fn other_networks_and_examples_without_labels_are_refused() {
    let taught = classes(20, 3, 0);
    let course = BayesianCourse::after_surgery(Predicted::Classes, 1, 10);
    let run = |graph: &Graph, params: &Params, taught: &Taught| {
        let examples = (taught, taught);
        let error = infer_after_surgery(
            &Unwatched,
            (graph, params),
            examples,
            &course,
            &Rng::new(0),
            &mut NoCheckpoints,
        )
        .unwrap_err();
        format!("{error:#}")
    };
    let (mlp, w) = perceptron_of(&[3, 4, 3], 5);
    let (graph, params) = mlp.to_graph(&w).unwrap();
    let unlabeled = Taught { targets: None, ..taught.clone() };
    let error = run(&graph, &params, &unlabeled);
    assert!(error.contains("inferred from labels: wanted them, found none"), "{error}");
    let cnn = Cnn {
        input: [1, 6, 6],
        convolutions: vec![Convolution { channels: 2, kernel: 3 }],
        dense: vec![3],
        is_averaged: false,
        bias: true,
    };
    let w = cnn.init(&mut Rng::new(0), &Device::Cpu).unwrap();
    let (graph, params) = cnn.to_graph(&w).unwrap();
    let error = run(&graph, &params, &taught);
    assert!(
        error.contains("only perceptrons") && error.contains("not a perceptron: node"),
        "{error}"
    );
}

#[test]
fn predictive_losses_by_hand() {
    let of = |mean: Vec<f64>, variance: Vec<f64>| Predictive {
        n_examples: 2,
        n_outputs: mean.len() / 2,
        mean,
        variance,
        entropy: vec![],
        mutual_information: vec![],
    };
    let labels = Tensor::new(&[1u32, 0], &Device::Cpu).unwrap();
    let y = Targets::Classes { labels, n_classes: 2 };
    let found = negative_log(&of(vec![0.75, 0.25, 0.5, 0.5], vec![]), &y).unwrap();
    assert!((found - 0.5 * 8f64.ln()).abs() < 1e-12);
    let y = Targets::Values(Tensor::new(&[[1.0], [3.0]], &Device::Cpu).unwrap());
    let found = negative_log(&of(vec![0.0, 3.0], vec![0.5, 2.0]), &y).unwrap();
    // ½ (2 + log π + log 4π) / 2
    let wanted = 0.25 * (2.0 + 2.0 * std::f64::consts::TAU.ln());
    assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
    let w = Params::from_vec(&perceptron_of(&[1, 1], 0).0.layout(), &[3.0, 1.0], &Device::Cpu);
    assert!((likeliest_precision(&w.unwrap()).unwrap() - 0.2).abs() < 1e-12);
}
