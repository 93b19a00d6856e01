//! Tests of Bayesian students against closed forms.

use bayes_posterior::surgery::network::{
    Calibration, Cutting, Network, kronecker_posterior, output_curvatures,
};
use candle_core::Device;
use core_tensors::kernels::Activation;
use core_tensors::linalg::Cholesky;
use faer::Mat;
use models::graph::axes::Axes;
use models::{Cnn, Convolution};

use super::*;
use crate::training::Unwatched;

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

#[test]
fn a_linear_student_has_the_posterior_of_its_closed_form() {
    let (m, variance, delta) = (60, 0.25, 2.0);
    let mut rng = Rng::new(0);
    let x = normals(m, 2, &mut rng);
    let (mlp, w) = perceptron_of(&[2, 1], 5);
    let (graph, params) = mlp.to_graph(&w).unwrap();
    let truth = Tensor::new(&[[1.5f32], [-0.5]], &Device::Cpu).unwrap();
    let y = (x.matmul(&truth).unwrap() + (normals(m, 1, &mut rng) * 0.5).unwrap()).unwrap();
    let taught = Taught::by(&graph, &params, &x, Some(&Targets::Values(y.clone()))).unwrap();
    for tau in [0.0, 0.5, 1.0] {
        let course = BayesianCourse {
            epochs: 250,
            learning_rate: 1e-2,
            counted: tau,
            ..BayesianCourse::after_surgery(Predicted::Values, 1, 20)
        };
        let likelihood = Likelihood::Normal { variance };
        let data = labeled(&taught, &mlp).unwrap();
        let carried = carried((&mlp, &w), &data, (likelihood, delta), &course).unwrap();
        let prior = Prior::new(&carried.prior).unwrap();
        let inference = Inference {
            network: &mlp,
            likelihood,
            prior: VariationalPrior::Gaussian(&prior),
            n_examples: m,
            kl_weight: 1.0,
            estimator: Estimator::LocalReparametrization,
        };
        let mut last = Vec::new();
        infer(&inference, &carried, &data, &course, &Rng::new(1), |q| {
            last = q.mean().into_iter().zip(q.variance()).collect();
            Ok(())
        })
        .unwrap();
        // P = (1 + τ) XᵀX/σ² + δI, m = P⁻¹ {(τ XᵀX/σ² + δI) w + Xᵀy/σ²}; the best independent parameters have its mean and
        // the inverses of its diagonal.
        let rows = x.to_vec2::<f32>().unwrap();
        let z = |i: usize, j: usize| if j == 2 { 1.0 } else { f64::from(rows[i][j]) };
        let y = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let h =
            Mat::from_fn(3, 3, |j, k| (0..m).map(|i| z(i, j) * z(i, k)).sum::<f64>() / variance);
        let one = |j: usize, k: usize| if j == k { delta } else { 0.0 };
        let precision = Mat::from_fn(3, 3, |j, k| (1.0 + tau) * h[(j, k)] + one(j, k));
        let w = w.to_vec().unwrap();
        let right = |j: usize| {
            let prior: f64 = (0..3).map(|k| (tau * h[(j, k)] + one(j, k)) * w[k]).sum();
            prior + (0..m).map(|i| z(i, j) * f64::from(y[i])).sum::<f64>() / variance
        };
        let right: Vec<f64> = (0..3).map(right).collect();
        let mean = Cholesky::new(precision.as_ref()).unwrap().solve_vector(&right);
        for j in 0..3 {
            let wanted = 1.0 / precision[(j, j)];
            let gap = (last[j].0 - mean[j]) / wanted.sqrt();
            let ratio = last[j].1 / wanted;
            // Adam ends within a fraction of a standard deviation of the optimum.
            assert!(gap.abs() < 0.5, "τ {tau}, parameter {j}: {gap} standard deviations");
            assert!((ratio - 1.0).abs() < 0.2, "τ {tau}, parameter {j}: variance times {ratio}");
        }
    }
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
    let (mlp, w) = perceptron(&graph, &params, Predicted::Classes).unwrap();
    let data = labeled(&taught, &mlp).unwrap();
    let course =
        BayesianCourse { counted: 1.0, ..BayesianCourse::after_surgery(Predicted::Classes, 1, 10) };
    let found = carried((&mlp, &w), &data, (likelihood, 0.7), &course).unwrap().prior;
    let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5 * b.abs());
    assert!(close(found.mean(), wanted.mean()));
    let precisions = |of: &Gaussian<KroneckerEigen>| of.covariance().precision_diagonal().unwrap();
    assert!(close(&precisions(&found), &precisions(&wanted)));
    // τ = 0 knows the prior's precision alone.
    let course = BayesianCourse { counted: 0.0, ..course };
    let found = carried((&mlp, &w), &data, (likelihood, 0.7), &course).unwrap().prior;
    assert!(precisions(&found).iter().all(|p| (p - 0.7).abs() < 1e-12));
}

#[test]
fn students_of_one_logit_and_of_several_go_into_a_file() {
    for n_outputs in [1, 3] {
        let (taught, others) = (classes(80, n_outputs, 0), classes(40, n_outputs, 1));
        let (mlp, w) = perceptron_of(&[3, 4, n_outputs], 5);
        let (graph, params) = mlp.to_graph(&w).unwrap();
        let course = BayesianCourse {
            learning_rate: 1e-2,
            ..BayesianCourse::after_surgery(Predicted::Classes, 30, 16)
        };
        let run = || {
            let examples = (&taught, &others);
            infer_after_surgery(&Unwatched, (&graph, &params), examples, &course, &Rng::new(1))
                .unwrap()
        };
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
        let bytes = found.posterior.to_bytes(&found.provenance).unwrap();
        let (back, provenance) = AnyPosterior::from_bytes(&bytes).unwrap();
        assert_eq!((back.mean(), provenance.n_examples), (found.posterior.mean(), Some(80)));
        assert_eq!(run().posterior.to_bytes(&found.provenance).unwrap(), bytes, "the same bits");
    }
}

#[test]
fn one_logit_becomes_two_of_the_same_function() {
    let (mlp, w) = perceptron_of(&[3, 4, 1], 5);
    let (graph, params) = mlp.to_graph(&w).unwrap();
    let (two, of_two) = perceptron(&graph, &params, Predicted::Classes).unwrap();
    let x = normals(10, 3, &mut Rng::new(0));
    let z = mlp.forward(&w, &x).unwrap().to_vec2::<f32>().unwrap();
    let pairs = two.forward(&of_two, &x).unwrap().to_vec2::<f32>().unwrap();
    assert!(pairs.iter().zip(&z).all(|(pair, z)| pair[0] == 0.0 && (pair[1] - z[0]).abs() < 1e-6));
}

#[test]
fn other_networks_and_examples_without_labels_are_refused() {
    let taught = classes(20, 3, 0);
    let course = BayesianCourse::after_surgery(Predicted::Classes, 1, 10);
    let run = |graph: &Graph, params: &Params, taught: &Taught| {
        let examples = (taught, taught);
        let error =
            infer_after_surgery(&Unwatched, (graph, params), examples, &course, &Rng::new(0))
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
