//! Laws of the regression with a teacher.

use candle_core::Var;
use core_tensors::{Dataset, Rng, Targets};

use super::*;
use crate::Likelihood;

/// Rounding of sums of a few dozen terms.
const EXACT: f64 = 1e-12;

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

fn value(loss: &Tensor) -> f64 {
    loss.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn two_examples_by_hand() {
    // g = 1, 2; y = 0, 4; s = 3, unknown: squares 1 and 4 of the values, 4 of the teacher.
    let column = |values: [f64; 2]| Tensor::from_slice(&values, (2, 1), &Device::Cpu).unwrap();
    let data = Dataset::new(column([3.0, f64::NAN]), Targets::Values(column([0.0, 4.0]))).unwrap();
    let data = data.with_teacher(2, Tensor::contiguous).unwrap().known_for(&[0]).unwrap();
    let config = Regression { label_variance: 2.0, teacher_variance: 0.5, ..choices(0.25) };
    let log = |variance: f64| 0.5 * (std::f64::consts::TAU * variance).ln();
    let first = 0.75 * (1.0 / 4.0 + log(2.0)) + 0.25 * (4.0 / 1.0 + log(0.5));
    let wanted = 0.5 * (first + 4.0 / 4.0 + log(2.0));
    let prediction = Var::from_tensor(&column([1.0, 2.0])).unwrap();
    let loss = regression(&prediction, &data, &config).unwrap();
    assert!((value(&loss) - wanted).abs() < EXACT);
    let derivative = numbers(loss.backward().unwrap().get(&prediction).unwrap());
    // ½ {0.75 · 1 / 2 − 0.25 · 2 / 0.5} and ½ {−2 / 2}
    assert!(
        (derivative[0] + 0.3125).abs() < EXACT && (derivative[1] + 0.5).abs() < EXACT,
        "{derivative:?}"
    );
}

#[test]
fn without_teacher_is_the_normal_likelihood() {
    let mut rng = Rng::new(0);
    let (data, prediction) = (examples(9, 3, 2, &mut rng), normal(9, 2, &mut rng));
    let plain = Likelihood::Normal { variance: 0.7 }.negative_log(&prediction, &data).unwrap();
    let bare = Dataset::new(data.x().clone(), data.y().clone()).unwrap();
    let unknown = data.clone().known_for(&[]).unwrap();
    for (data, lambda) in [(&data, 0.0), (&bare, 0.4), (&unknown, 0.4), (&unknown, 1.0)] {
        let loss = regression(&prediction, data, &choices(lambda)).unwrap();
        assert!((value(&loss) - value(&plain)).abs() < EXACT);
    }
}

#[test]
fn the_gradient_equals_differences_and_reaches_the_prediction_alone() {
    let mut rng = Rng::new(1);
    let (y, s) = (normal(6, 2, &mut rng), normal(6, 2, &mut rng));
    let (y, s) = (Var::from_tensor(&y).unwrap(), Var::from_tensor(&s).unwrap());
    let data =
        Dataset::new(normal(6, 1, &mut rng), Targets::Values(y.as_tensor().clone())).unwrap();
    let data = data.with_teacher(6, |_| s.contiguous()).unwrap().known_for(&[1, 4]).unwrap();
    let prediction = Var::from_tensor(&normal(6, 2, &mut rng)).unwrap();
    for weights in [Weights::Likelihood, Weights::AsPrinted] {
        let config = Regression { weights, ..choices(0.3) };
        let gradients = regression(&prediction, &data, &config).unwrap().backward().unwrap();
        assert!(gradients.get(&y).is_none() && gradients.get(&s).is_none());
        let found = numbers(gradients.get(&prediction).unwrap());
        let start = numbers(&prediction);
        for i in 0..start.len() {
            let moved = |by: f64| {
                let mut values = start.clone();
                values[i] += by;
                let values = Tensor::from_vec(values, (6, 2), &Device::Cpu).unwrap();
                value(&regression(&values, &data, &config).unwrap())
            };
            // Exact for a square, up to rounding over the step.
            let derivative = (moved(1e-3) - moved(-1e-3)) / 2e-3;
            assert!((derivative - found[i]).abs() < 1e-10, "{derivative} against {}", found[i]);
        }
    }
}

#[test]
fn two_squares_are_one_square_and_a_constant() {
    let mut rng = Rng::new(2);
    for _ in 0..20 {
        let [y, s, g] = [(); 3].map(|()| rng.normal());
        let (a, b) = (rng.uniform() + 0.1, rng.uniform() + 0.1);
        let both = a * (y - g).powi(2) + b * (s - g).powi(2);
        let mean = (a * y + b * s) / (a + b);
        let one = (a + b) * (g - mean).powi(2) + a * b / (a + b) * (y - s).powi(2);
        assert!((both - one).abs() < EXACT);
    }
}

#[test]
fn pseudo_targets_give_the_likelihood_up_to_a_constant() {
    let mut rng = Rng::new(3);
    let data = examples(11, 3, 2, &mut rng);
    for weights in [Weights::Likelihood, Weights::AsPrinted] {
        for lambda in [0.0, 0.3, 1.0] {
            let config = Regression { weights, ..choices(lambda) };
            let PseudoTargets { precisions, values } = pseudo_targets(&data, &config).unwrap();
            let constant = |prediction: &Tensor| {
                let squares = (prediction - &values).unwrap().sqr().unwrap().sum(1).unwrap();
                let weighted = (squares * &precisions).unwrap().sum_all().unwrap();
                value(&regression(prediction, &data, &config).unwrap())
                    - value(&weighted) / (2.0 * 11.0)
            };
            let (one, other) = (normal(11, 2, &mut rng), normal(11, 2, &mut rng));
            assert!((constant(&one) - constant(&other)).abs() < EXACT, "{config:?}");
        }
    }
}

#[test]
fn numbers_of_weight_zero_are_not_looked_at() {
    let mut rng = Rng::new(4);
    let data = examples(5, 2, 1, &mut rng); // known: 1, 2, 4
    let spoilt = |tensor: &Tensor, rows: &[usize]| {
        let mut values = numbers(tensor);
        rows.iter().for_each(|&i| values[i] = f64::NAN);
        Tensor::from_vec(values, (5, 1), &Device::Cpu).unwrap()
    };
    let Targets::Values(y) = data.y() else { unreachable!() };
    let s = data.soft().unwrap().logits();
    let holes = |y: Tensor, s: Tensor| {
        let data = Dataset::new(data.x().clone(), Targets::Values(y)).unwrap();
        data.with_teacher(5, |_| s.contiguous()).unwrap().known_for(&[1, 2, 4]).unwrap()
    };
    let prediction = Var::from_tensor(&normal(5, 1, &mut rng)).unwrap();
    let cases = [
        (0.4, holes(y.clone(), spoilt(s, &[0, 3]))),
        (1.0, holes(spoilt(y, &[1, 2, 4]), spoilt(s, &[0, 3]))),
        (0.0, holes(y.clone(), spoilt(s, &[0, 1, 2, 3, 4]))),
    ];
    for (lambda, holes) in cases {
        let losses = [&data, &holes].map(|d| regression(&prediction, d, &choices(lambda)).unwrap());
        assert_eq!(value(&losses[0]), value(&losses[1]));
        let derivatives =
            losses.map(|loss| numbers(loss.backward().unwrap().get(&prediction).unwrap()));
        assert_eq!(derivatives[0], derivatives[1]);
        let targets =
            [&data, &holes].map(|d| numbers(pseudo_targets(d, &choices(lambda)).unwrap().values()));
        assert_eq!(targets[0], targets[1]);
    }
}

#[test]
fn as_printed_weights_are_the_likelihood_of_inverse_variances() {
    let mut rng = Rng::new(5);
    let data = examples(7, 2, 1, &mut rng);
    let as_printed = Regression { weights: Weights::AsPrinted, ..choices(0.4) };
    let inverse = Regression { label_variance: 1.0 / 0.7, teacher_variance: 5.0, ..choices(0.4) };
    // A single-precision network is served in its own type, at large errors too.
    for (scale, dtype, rounding) in [(1.0, DType::F64, EXACT), (1e6, DType::F32, 1e-5)] {
        let prediction = (normal(7, 1, &mut rng) * scale).unwrap().to_dtype(dtype).unwrap();
        let of = |config| value(&regression(&prediction, &data, config).unwrap());
        assert!((of(&as_printed) / of(&inverse) - 1.0).abs() < rounding);
        assert!((of(&as_printed) / of(&choices(0.4)) - 1.0).abs() > 1e-2);
    }
}

#[test]
fn bad_settings_and_shapes_are_refused() {
    let mut rng = Rng::new(6);
    let data = examples(4, 2, 2, &mut rng);
    let message = |prediction: &Tensor, data: &Dataset, config: &Regression| {
        regression(prediction, data, config).unwrap_err().to_string()
    };
    let g = normal(4, 2, &mut rng);
    for (lambda, printed) in [(1.5, "1.5"), (-0.1, "-0.1"), (f64::NAN, "NaN")] {
        let wanted = format!("teacher weight must lie in [0, 1], got {printed}");
        assert_eq!(message(&g, &data, &choices(lambda)), wanted);
        assert_eq!(pseudo_targets(&data, &choices(lambda)).unwrap_err().to_string(), wanted);
    }
    for variance in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let config = Regression { label_variance: variance, ..choices(0.5) };
        let wanted = format!("label variance must lie in (0, ∞), got {variance}");
        assert_eq!(message(&g, &data, &config), wanted);
        let config = Regression { teacher_variance: variance, ..choices(0.5) };
        let wanted = format!("teacher variance must lie in (0, ∞), got {variance}");
        assert_eq!(message(&g, &data, &config), wanted);
    }
    assert_eq!(
        message(&normal(4, 1, &mut rng), &data, &choices(0.5)),
        "targets of a regression: expected shape [4, 1], found [4, 2]"
    );
    let wide = data.clone().with_teacher(4, |x| Tensor::cat(&[x, x], 1)).unwrap();
    assert_eq!(
        message(&g, &wide, &choices(0.5)),
        "predictions of the teacher: expected shape [4, 2], found [4, 4]"
    );
    let classes = Dataset::classification(vec![0.0; 2], vec![0, 1], 2, &Device::Cpu).unwrap();
    assert_eq!(message(&g, &classes, &choices(0.5)), "regression wanted values as hard targets");
    let empty = data.rows(&[]).unwrap();
    assert_eq!(
        message(&g.narrow(0, 0, 0).unwrap(), &empty, &choices(0.5)),
        "examples of a batch: expected at least 1, found 0"
    );
}
