//! Laws of the linear student in closed form.

use candle_core::Var;
use core_tensors::Rng;
use losses::{Weights, regression};

use super::*;

/// Rounding of well-conditioned systems of a few dozen rows.
const ROUNDING: f64 = 1e-10;

fn normal(m: usize, n: usize, rng: &mut Rng) -> Tensor {
    let values: Vec<f64> = (0..m * n).map(|_| rng.normal()).collect();
    Tensor::from_vec(values, (m, n), &Device::Cpu).unwrap()
}

/// m examples of n features, k noisy linear targets, a teacher that is another line, known for all but every third.
fn examples(m: usize, n: usize, k: usize, rng: &mut Rng) -> Dataset {
    let x = normal(m, n, rng);
    let y = (x.matmul(&normal(n, k, rng)).unwrap() + normal(m, k, rng)).unwrap();
    let teacher = normal(n, k, rng);
    let data = Dataset::new(x, Targets::Values(y)).unwrap();
    let mask: Vec<usize> = (0..m).filter(|i| i % 3 != 0).collect();
    data.with_teacher(m, |x| x.matmul(&teacher)).unwrap().known_for(&mask).unwrap()
}

fn choices(lambda: f64) -> Regression {
    Regression {
        teacher_weight: lambda,
        label_variance: 0.7,
        teacher_variance: 0.2,
        weights: Weights::Likelihood,
    }
}

fn student(data: &Dataset, config: &Regression) -> Tensor {
    linear_student(data, config, 0.0, RankPolicy::Full).unwrap()
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
}

/// The same examples and values, with this teacher, known everywhere.
fn with_teacher(data: &Dataset, w: &Tensor) -> Dataset {
    data.clone().with_teacher(data.n_examples(), |x| x.matmul(w)).unwrap()
}

fn without_teacher(data: &Dataset) -> Dataset {
    Dataset::new(data.x().clone(), data.y().clone()).unwrap()
}

#[test]
fn both_forms_agree() {
    let mut rng = Rng::new(0);
    for (m, n, k) in [(12, 4, 1), (40, 7, 3)] {
        let data = examples(m, n, k, &mut rng);
        for lambda in [0.0, 0.2, 0.9, 1.0] {
            for (weights, ridge) in
                [(Weights::Likelihood, 0.0), (Weights::Likelihood, 1.3), (Weights::AsPrinted, 0.0)]
            {
                let config = Regression { weights, ..choices(lambda) };
                let one = linear_student(&data, &config, ridge, RankPolicy::Full).unwrap();
                let other =
                    linear_student_stacked(&data, &config, ridge, RankPolicy::Full).unwrap();
                assert!(distance(&one, &other) < ROUNDING, "{config:?} {ridge}");
            }
        }
        // A teacher that is almost certain next to labels that say almost nothing.
        let config = Regression { label_variance: 1e4, teacher_variance: 1e-6, ..choices(0.5) };
        let other = linear_student_stacked(&data, &config, 0.0, RankPolicy::Full).unwrap();
        assert!(distance(&student(&data, &config), &other) < ROUNDING);
    }
}

#[test]
fn the_likelihood_has_no_slope_at_the_closed_form() {
    let mut rng = Rng::new(1);
    let data = examples(30, 5, 2, &mut rng);
    for weights in [Weights::Likelihood, Weights::AsPrinted] {
        for (lambda, ridge) in [(0.0, 0.0), (0.35, 0.0), (0.35, 2.0), (1.0, 0.0)] {
            let config = Regression { weights, ..choices(lambda) };
            let w = linear_student(&data, &config, ridge, RankPolicy::Full).unwrap();
            let w = Var::from_tensor(&w).unwrap();
            let loss = regression(&data.x().matmul(&w).unwrap(), &data, &config).unwrap();
            let derivative = loss.backward().unwrap().get(&w).unwrap().clone();
            // m ∂loss/∂W + ridge W = 0
            let kl_gradient = (w.as_tensor() * (-ridge / 30.0)).unwrap();
            assert!(distance(&derivative, &kl_gradient) < ROUNDING, "{config:?} {ridge}");
        }
    }
}

#[test]
fn the_least_squares_fit_as_teacher_changes_nothing() {
    let mut rng = Rng::new(2);
    let data = examples(20, 4, 2, &mut rng);
    let plain = student(&without_teacher(&data), &choices(0.0));
    let data = with_teacher(&data, &plain);
    for lambda in [0.0, 0.3, 0.8, 1.0] {
        for weights in [Weights::Likelihood, Weights::AsPrinted] {
            let w = student(&data, &Regression { weights, ..choices(lambda) });
            assert!(distance(&w, &plain) < ROUNDING, "{lambda}");
        }
    }
}

#[test]
fn limits_are_fits_to_one_source() {
    let mut rng = Rng::new(3);
    let data = examples(20, 4, 1, &mut rng);
    let plain = student(&without_teacher(&data), &choices(0.5));
    let unknown = data.clone().known_for(&[]).unwrap();
    assert!(distance(&student(&unknown, &choices(0.5)), &plain) < ROUNDING, "empty 𝓘");
    assert!(distance(&student(&data, &choices(0.0)), &plain) < ROUNDING, "λ = 0");
    // λ = 1 and 𝓘 = all: the teacher itself, a line.
    let line = normal(4, 1, &mut rng);
    let taught = with_teacher(&data, &line);
    assert!(distance(&student(&taught, &choices(1.0)), &line) < ROUNDING, "λ = 1");
    assert!(distance(&student(&taught, &choices(0.5)), &line) > 1e-3, "λ = ½");
}

#[test]
fn as_printed_weights_give_another_student() {
    let mut rng = Rng::new(4);
    let data = examples(25, 3, 1, &mut rng);
    let as_printed = student(&data, &Regression { weights: Weights::AsPrinted, ..choices(0.5) });
    let inverse = Regression { label_variance: 1.0 / 0.7, teacher_variance: 5.0, ..choices(0.5) };
    assert!(distance(&as_printed, &student(&data, &inverse)) < ROUNDING);
    assert!(distance(&as_printed, &student(&data, &choices(0.5))) > 1e-2);
}

#[test]
fn a_ridge_is_one_more_example_a_feature() {
    let mut rng = Rng::new(5);
    let data = examples(8, 3, 2, &mut rng);
    let (config, ridge) = (choices(0.4), 1.7);
    let w = linear_student(&data, &config, ridge, RankPolicy::Full).unwrap();
    // √(ridge σ²) eⱼ with value 0 outside 𝓘 adds ridge Wⱼ².
    let extra = (Tensor::eye(3, DType::F64, &Device::Cpu).unwrap()
        * (ridge * config.label_variance).sqrt())
    .unwrap();
    let zeros = Tensor::zeros((3, 2), DType::F64, &Device::Cpu).unwrap();
    let Targets::Values(y) = data.y() else { unreachable!() };
    let below = |above: &Tensor, below: &Tensor| Tensor::cat(&[above, below], 0).unwrap();
    let s = below(data.soft().unwrap().logits(), &zeros);
    let longer = Dataset::new(below(data.x(), &extra), Targets::Values(below(y, &zeros))).unwrap();
    let longer = longer.with_teacher(11, |_| s.contiguous()).unwrap();
    let longer = longer.known_for(&[1, 2, 4, 5, 7]).unwrap();
    assert!(distance(&w, &student(&longer, &config)) < ROUNDING);
}

/// Five examples whose third feature is the sum of the others; 𝓘 = {0, 3}.
fn dependent() -> Dataset {
    let tensor = |rows: &[[f64; 3]]| {
        Tensor::from_slice(rows.as_flattened(), (rows.len(), 3), &Device::Cpu).unwrap()
    };
    let x = tensor(&[[1., 2., 3.], [4., 0., 4.], [-1., 1., 0.], [2., 5., 7.], [0., 3., 3.]]);
    let column = |values: [f64; 5]| Tensor::from_slice(&values, (5, 1), &Device::Cpu).unwrap();
    let data = Dataset::new(x, Targets::Values(column([1.0, 2.0, 0.5, -1.0, 4.0]))).unwrap();
    let s = column([2.0, 0.0, 0.0, 3.0, 0.0]);
    data.with_teacher(5, |_| s.contiguous()).unwrap().known_for(&[0, 3]).unwrap()
}

#[test]
fn a_dependent_design_is_refused_or_gets_the_shortest_weights() {
    // import numpy as np
    // X = np.array([[1, 2, 3], [4, 0, 4], [-1, 1, 0], [2, 5, 7], [0, 3, 3.]]); l = .25; v, u = .7, .2
    // y = np.array([1, 2, .5, -1, 4]); s = np.array([2, 0, 0, 3, 0.]); known = np.array([1, 0, 0, 1, 0])
    // a, b = (1 - l * known) / v, l * known / u; w = a + b; z = (a * y + b * s) / w; r = np.sqrt(w)
    // np.linalg.pinv(r[:, None] * X) @ (r * z)
    let config = choices(0.25);
    for form in [linear_student, linear_student_stacked] {
        let error = form(&dependent(), &config, 0.0, RankPolicy::Full).unwrap_err().to_string();
        let wanted = "a design of 3 columns has rank 2: columns [";
        assert!(error.starts_with(wanted) && error.contains("minimum norm"), "{error}");
        let w = form(&dependent(), &config, 0.0, RankPolicy::MinimumNorm).unwrap();
        let w: Vec<f64> = w.flatten_all().unwrap().to_vec1().unwrap();
        let wanted = [0.04748426324341576, 0.16877999037448957, 0.2162642536179054];
        let gap = w.iter().zip(wanted).fold(0.0, |gap: f64, (w, v)| gap.max((w - v).abs()));
        assert!(gap < 1e-12, "{w:?}");
        assert!(form(&dependent(), &config, 0.1, RankPolicy::Full).is_ok());
    }
}

#[test]
fn bad_data_are_refused() {
    let data = dependent();
    let message = |data: &Dataset, ridge: f64| {
        let w = linear_student(data, &choices(0.5), ridge, RankPolicy::MinimumNorm);
        w.unwrap_err().to_string()
    };
    assert_eq!(message(&data, -2.0), "ridge must lie in [0, ∞), got -2");
    let of = |x: Tensor, y: Tensor| Dataset::new(x, Targets::Values(y)).unwrap();
    let Targets::Values(y) = data.y() else { unreachable!() };
    let nowhere = (data.x() * f64::INFINITY).unwrap();
    let refused = message(&of(nowhere, y.clone()), 0.0);
    assert!(refused.starts_with("entry of a design must lie in (−∞, ∞), got "), "{refused}");
    let nothing = (y * f64::NAN).unwrap();
    assert_eq!(
        message(&of(data.x().clone(), nothing), 0.0),
        "entry of its targets must lie in (−∞, ∞), got NaN"
    );
    let images = data.x().unsqueeze(1).unwrap();
    assert_eq!(
        message(&of(images, y.clone()), 0.0),
        "features of a linear student: expected examples by features, found [5, 1, 3]"
    );
}
