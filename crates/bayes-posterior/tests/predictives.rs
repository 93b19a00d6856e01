//! Predictive distributions: small spreads, the mutual information of both predictives, and what is refused.

mod dense;

use bayes_posterior::{Diagonal, Full, Gaussian, Predictive, linearized_predictive, monte_carlo};
use candle_core::{DType, Device, Tensor};
use core_tensors::Rng;
use dense::{TestResult, network, normals};
use faer::Mat;
use losses::Likelihood;
use models::{Architecture, Mlp};

fn entropy(p: &[f64]) -> f64 {
    p.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum()
}

fn softmax(f: &[f64]) -> Vec<f64> {
    let sum: f64 = f.iter().map(|f| f.exp()).sum();
    f.iter().map(|f| f.exp() / sum).collect()
}

/// The linearized predictive at x = 1 of k logits wᵢ x with means and variances.
fn linearized(mean: &[f64], variance: &[f64]) -> Result<Predictive, Box<dyn std::error::Error>> {
    let model = network(&[1, mean.len()], false);
    let covariance = Diagonal::new(variance.to_vec())?;
    let gaussian = Gaussian::new(model.layout(), mean.to_vec(), covariance)?;
    let x = Tensor::ones((1, 1), DType::F32, &Device::Cpu)?;
    Ok(linearized_predictive(&model, &gaussian, &x, &Likelihood::Categorical)?)
}

#[test]
fn the_mutual_information_of_a_linearized_classifier_by_its_formula() -> TestResult {
    let cases: [(&[f64], &[f64]); 3] = [
        (&[2.0, 0.0, -1.0], &[4.0, 1.0, 9.0]),
        (&[0.3, 1.2], &[1.5, 2.5]),
        // The larger logit is sure, the smaller one, below 0, is not and rises: the entropy rises with it.
        (&[3.0, -2.0], &[0.01, 30.0]),
    ];
    for (mean, variance) in cases {
        let found = linearized(mean, variance)?;
        let scaled = mean
            .iter()
            .zip(variance)
            .map(|(f, v)| f / (1.0 + std::f64::consts::PI * v / 8.0).sqrt());
        let p = softmax(&scaled.collect::<Vec<_>>());
        let wanted = entropy(&p) - entropy(&softmax(mean));
        assert!(wanted > 0.04, "{wanted}");
        assert!((found.mutual_information[0] - wanted).abs() < 1e-12);
        assert!((found.entropy[0] - entropy(&p)).abs() < 1e-12);
        assert!(found.mean.iter().zip(&p).all(|(a, b)| (a - b).abs() < 1e-12));
    }
    // A common offset that is far from 0 and uncertain in one logit alone: scaling it parts the logits, and the entropy
    // falls. The proxy is then 0, not negative.
    let found = linearized(&[10.0, 10.0], &[50.0, 0.01])?;
    assert!(found.entropy[0] < entropy(&[0.5, 0.5]) - 0.1);
    assert_eq!(found.mutual_information, [0.0]);
    Ok(())
}

#[test]
fn small_spreads_keep_their_digits() -> TestResult {
    // A regression far from 0 with a tiny variance, and a classifier that is almost sure of its weights.
    let mut rng = Rng::new(0);
    let model = network(&[1, 1], false);
    let x = Tensor::ones((1, 1), DType::F32, &Device::Cpu)?;
    let (v, n) = (1e-4, 4000);
    let gaussian = Gaussian::new(model.layout(), vec![1e4], Diagonal::new(vec![v])?)?;
    let normal = Likelihood::Normal { variance: 1e3 };
    let exact = linearized_predictive(&model, &gaussian, &x, &normal)?;
    // ½ ln(1 + v/σ²) to its last digits.
    assert!((exact.mutual_information[0] / (0.5 * (v / 1e3).ln_1p()) - 1.0).abs() < 1e-12);
    // Weights of 1e4 in f32 are on a grid of 1e-3, whose own variance is small beside 1e-2².
    let drawn = monte_carlo(&model, &gaussian, &x, &normal, n, &mut rng)?;
    let found = drawn.variance[0] - 1e3;
    assert!((found / v - 1.0).abs() < 5.0 * (2.0 / n as f64).sqrt() + 0.01, "{found:e}");

    // Mutual information ≈ ½ Σ_c var(p_c)/p_c: 1e-9 nats, far below the rounding of either entropy's sum.
    let model = network(&[1, 2], false);
    let v = 4e-9;
    let gaussian = Gaussian::new(model.layout(), vec![0.5, 0.0], Diagonal::new(vec![v, v])?)?;
    let drawn = monte_carlo(&model, &gaussian, &x, &Likelihood::Categorical, n, &mut rng)?;
    let p = softmax(&[0.5, 0.0]);
    let wanted = 0.5 * p[0] * p[1] * 2.0 * v;
    let found = drawn.mutual_information[0];
    // Five standard errors of a variance, and the f32 grid of the logits.
    assert!(
        (found / wanted - 1.0).abs() < 5.0 * (2.0 / n as f64).sqrt() + 0.01,
        "{found:e} {wanted:e}"
    );
    Ok(())
}

#[test]
fn a_mixture_of_two_networks_has_the_information_of_its_parts() -> TestResult {
    // Large spread: draws of a wide Gaussian, against entropies computed from the same draws.
    let model = network(&[1, 3], false);
    let covariance = Full::new(Mat::from_fn(3, 3, |i, j| if i == j { 9.0 } else { 2.0 }))?;
    let gaussian = Gaussian::new(model.layout(), vec![1.0, 0.0, -1.0], covariance)?;
    let x = Tensor::ones((1, 1), DType::F32, &Device::Cpu)?;
    let n = 50;
    let found = monte_carlo(&model, &gaussian, &x, &Likelihood::Categorical, n, &mut Rng::new(3))?;
    let mut rng = Rng::new(3);
    let (mut mean, mut expected) = (vec![0.0; 3], 0.0);
    for _ in 0..n {
        let w = gaussian.sample(&mut rng)?;
        let p = softmax(&w.iter().map(|&w| f64::from(w as f32)).collect::<Vec<_>>());
        expected += entropy(&p) / n as f64;
        mean.iter_mut().zip(&p).for_each(|(m, p)| *m += p / n as f64);
    }
    assert!((found.entropy[0] - entropy(&mean)).abs() < 1e-6);
    assert!((found.mutual_information[0] - (entropy(&mean) - expected)).abs() < 1e-6);
    assert!(found.mutual_information[0] > 0.3);
    Ok(())
}

#[test]
fn one_logit_has_the_predictives_of_two_classes() -> TestResult {
    // f = w x with w ~ N(0.8, 2.5) at x = 1.
    let (mean, v, n) = (0.8, 2.5, 4000);
    let model = network(&[1, 1], false);
    let gaussian = Gaussian::new(model.layout(), vec![mean], Diagonal::new(vec![v])?)?;
    let x = Tensor::ones((1, 1), DType::F32, &Device::Cpu)?;
    let sigmoid = |f: f64| 1.0 / (1.0 + (-f).exp());
    let found = linearized_predictive(&model, &gaussian, &x, &Likelihood::Bernoulli)?;
    let p = sigmoid(mean / (1.0 + std::f64::consts::PI * v / 8.0).sqrt());
    assert_eq!((found.n_outputs, found.variance.len()), (2, 0));
    assert!((found.mean[0] - (1.0 - p)).abs() < 1e-7 && (found.mean[1] - p).abs() < 1e-7);
    let wanted = entropy(&[1.0 - p, p]);
    let plain = entropy(&[sigmoid(-mean), sigmoid(mean)]);
    assert!((found.entropy[0] - wanted).abs() < 1e-7);
    assert!((found.mutual_information[0] - (wanted - plain)).abs() < 1e-7);

    let drawn = monte_carlo(&model, &gaussian, &x, &Likelihood::Bernoulli, n, &mut Rng::new(4))?;
    // ∫ g(f) N(f; mean, v) df by the midpoint rule.
    let integral = |g: &dyn Fn(f64) -> f64| {
        let (steps, width) = (4000, 16.0 * v.sqrt());
        let of_step = |i: usize| {
            let z = ((i as f64 + 0.5) / f64::from(steps) - 0.5) * width;
            g(mean + z) * (-0.5 * z * z / v).exp()
        };
        (0..steps as usize).map(of_step).sum::<f64>() * width
            / f64::from(steps)
            / (std::f64::consts::TAU * v).sqrt()
    };
    let p = integral(&sigmoid);
    let square = integral(&|f| (sigmoid(f) - p).powi(2));
    let close = 5.0 * (square / n as f64).sqrt();
    assert_eq!((drawn.n_outputs, drawn.mean.len()), (2, 2));
    assert!((drawn.mean[1] - p).abs() < close && (drawn.mean[0] - (1.0 - p)).abs() < close);
    let information = entropy(&[1.0 - p, p]) - integral(&|f| entropy(&[sigmoid(-f), sigmoid(f)]));
    assert!((drawn.mutual_information[0] - information).abs() < 2.0 * close);
    let two = network(&[1, 2], false);
    let gaussian = Gaussian::new(two.layout(), vec![0.0; 2], Diagonal::new(vec![1.0; 2])?)?;
    let wanted = "logits of a binary classifier: expected 1, found 2";
    let likelihood = Likelihood::Bernoulli;
    let found =
        linearized_predictive(&two, &gaussian, &x, &likelihood).err().map(|e| e.to_string());
    assert_eq!(found.as_deref(), Some(wanted));
    let found = monte_carlo(&two, &gaussian, &x, &likelihood, 2, &mut Rng::new(0));
    assert_eq!(found.err().map(|e| e.to_string()).as_deref(), Some(wanted));
    Ok(())
}

#[test]
fn both_predictives_refuse_alike() -> TestResult {
    let mut rng = Rng::new(1);
    let model = network(&[2, 3], true);
    let p = model.layout().n_parameters();
    let gaussian =
        Gaussian::new(model.layout(), normals(p, &mut rng), Diagonal::new(vec![1.0; p])?)?;
    let none = Tensor::zeros((0, 2), DType::F32, &Device::Cpu)?;
    let one = Tensor::zeros((1, 2), DType::F32, &Device::Cpu)?;
    let empty = Mlp { widths: vec![], ..model.clone() };
    for likelihood in [Likelihood::Categorical, Likelihood::Normal { variance: 1.0 }] {
        let mut message = |network: &Mlp, x: &Tensor| {
            let linear = linearized_predictive(network, &gaussian, x, &likelihood)
                .err()
                .map(|e| e.to_string());
            let drawn = monte_carlo(network, &gaussian, x, &likelihood, 2, &mut rng);
            assert_eq!(linear, drawn.err().map(|e| e.to_string()));
            linear.unwrap_or_default()
        };
        assert_eq!(message(&model, &none), "examples: expected at least 1, found 0");
        assert!(message(&empty, &one).starts_with("widths of a network: expected two or more"));
        assert!(monte_carlo(&model, &gaussian, &one, &likelihood, 1, &mut rng).is_err());
        assert!(monte_carlo(&model, &gaussian, &one, &likelihood, 2, &mut rng).is_ok());
    }
    Ok(())
}

#[test]
fn two_draws_of_two_examples_by_hand() -> TestResult {
    // f = w x at x = 1 and 3: the sample variance of two draws is (w₁ − w₂)² / 2 times x².
    let model = network(&[1, 1], false);
    let gaussian = Gaussian::new(model.layout(), vec![0.5], Diagonal::new(vec![2.0])?)?;
    let x = Tensor::new(&[[1f32], [3.0]], &Device::Cpu)?;
    let normal = Likelihood::Normal { variance: 0.25 };
    let found = monte_carlo(&model, &gaussian, &x, &normal, 2, &mut Rng::new(5))?;
    let mut rng = Rng::new(5);
    let w = [gaussian.sample(&mut rng)?[0], gaussian.sample(&mut rng)?[0]];
    for (i, x) in [1.0, 3.0].into_iter().enumerate() {
        let spread = 0.5 * (w[0] - w[1]).powi(2) * x * x;
        assert!((found.variance[i] - 0.25 - spread).abs() < 1e-5 * (1.0 + spread));
        assert!((found.mean[i] - 0.5 * (w[0] + w[1]) * x).abs() < 1e-5);
    }
    Ok(())
}
