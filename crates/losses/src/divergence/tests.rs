//! Laws of the losses of logits: golden values, limits, identities, unknown answers, refusals.

use candle_core::{DType, Device, Var};
use core_tensors::{Dataset, Rng, Targets};

use super::*;
use crate::Predictions;
use crate::golden::{assert_golden, n_of_logits, ramp};
use crate::ls::standardized;
use crate::{
    Dist, Distillation, Dkd, Regression, Weights, dirichlet, dist, distillation, dkd, ls,
    regression, squared_error,
};

/// Rounding of sums of a few dozen terms.
const EXACT: f64 = 1e-12;

pub(crate) const KINDS: [Divergence; 11] = [
    Divergence::ForwardKl,
    Divergence::ReverseKl,
    Divergence::JensenShannon { teacher_weight: 0.3 },
    Divergence::Skew { teacher_weight: 0.3 },
    Divergence::ReverseSkew { student_weight: 0.3 },
    Divergence::Renyi { order: 0.3 },
    Divergence::Renyi { order: 3.0 },
    Divergence::TotalVariation,
    Divergence::SquaredHellinger,
    Divergence::Logits,
    Divergence::CentredLogits,
];

/// Labels, and the teacher's logits (m, k), f64.
pub(crate) fn taught(labels: Vec<u32>, teacher: &Tensor) -> Dataset {
    let (m, n_classes) = teacher.dims2().unwrap();
    let labels = Tensor::from_vec(labels, m, &Device::Cpu).unwrap();
    let data = Dataset::new(teacher.detach(), Targets::Classes { labels, n_classes }).unwrap();
    data.with_teacher(m, Tensor::contiguous).unwrap()
}

fn random(m: usize, k: usize, scale: f64, rng: &mut Rng) -> Var {
    let values: Vec<f64> = (0..m * k).map(|_| scale * rng.normal()).collect();
    Var::from_vec(values, (m, k), &Device::Cpu).unwrap()
}

/// Six examples, five classes.
fn pair(seed: u64) -> (Var, Dataset) {
    let mut rng = Rng::new(seed);
    let (z, v) = (random(6, 5, 2.0, &mut rng), random(6, 5, 2.0, &mut rng));
    (z, taught(vec![0, 4, 2, 2, 1, 3], &v))
}

fn of(z: &Tensor, data: &Dataset, kind: Divergence, temperature: f64) -> f64 {
    let loss = divergence(z, data, kind, temperature, TemperatureScale::None).unwrap();
    loss.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

fn gradient(loss: &Tensor, logits: &Var) -> Vec<f64> {
    let gradients = loss.backward().unwrap();
    gradients.get(logits).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn batches_and_temperatures_that_do_not_fit_are_refused() {
    let (z, data) = pair(1);
    let message = |z: &Tensor, data: &Dataset, temperature: f64| {
        let (kind, scale) = (Divergence::ForwardKl, TemperatureScale::None);
        divergence(z, data, kind, temperature, scale).unwrap_err().to_string()
    };
    for (t, printed) in [(0.0, "0"), (-1.0, "-1"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let wanted = format!("temperature must lie in (0, ∞), got {printed}");
        assert_eq!(message(&z, &data, t), wanted);
    }
    let (nobody, empty) = (z.narrow(0, 0, 0).unwrap(), data.rows(&[]).unwrap());
    let wanted = "examples of a batch: expected at least 1, found 0";
    assert_eq!(message(&nobody, &empty, 1.0), wanted);
    assert_eq!(dirichlet(&nobody, &empty, 1.0).unwrap_err().to_string(), wanted);
    let fewer = dirichlet(&z.narrow(0, 0, 4).unwrap(), &data, 1.0).unwrap_err().to_string();
    assert_eq!(fewer, "rows of the logits: expected 6, found 4");
    // Columns of a wider tensor are logits as any.
    let wide = Tensor::cat(&[z.as_tensor(), z.as_tensor()], 1).unwrap();
    let (data, columns) = (data.known_for(&[1, 4]).unwrap(), wide.narrow(1, 5, 5).unwrap());
    let kind = Divergence::ReverseKl;
    assert_eq!(of(&columns, &data, kind, 2.0), of(&z, &data, kind, 2.0));
}

#[test]
fn a_correlation_near_one_keeps_its_digits_and_a_constant_has_none() {
    let config = |example_weight, class_weight| Dist {
        example_weight,
        class_weight,
        temperature: 1.0,
        scale: TemperatureScale::None,
    };
    let (z, data) = pair(0);
    let v = data.soft().unwrap().logits();
    let near = (v + (z.as_tensor() * 1e-3).unwrap()).unwrap();
    let number = |z: &Tensor, config: &Dist| -> f64 {
        dist(z, &data, config).unwrap().to_dtype(DType::F64).unwrap().to_scalar().unwrap()
    };
    for config in [config(1.0, 0.0), config(0.0, 1.0)] {
        let (double, single) =
            (number(&near, &config), number(&near.to_dtype(DType::F32).unwrap(), &config));
        // The logits, at most 6, are rounded at 4e-7, their gap is 1e-3 of them.
        assert!(double < 1e-5 && (single / double - 1.0).abs() < 5e-3, "{double:e} {single:e}");
    }
    // Even answers: no correlation of an example or of a class, in the student or in both.
    let even = z.zeros_like().unwrap();
    assert!((number(&even, &config(1.0, 0.0)) - 1.0).abs() < EXACT);
    assert!((number(&even, &config(0.0, 1.0)) - 1.0).abs() < EXACT);
    let both = taught(vec![0, 4, 2, 2, 1, 3], &even);
    let loss = dist(&even, &both, &config(2.0, 0.5)).unwrap().to_scalar::<f64>().unwrap();
    assert!((loss - 2.5).abs() < EXACT);
}

#[test]
fn every_loss_of_logits_equals_pytorch() {
    let (z, v) = (ramp(5, 1, (4, 4)), ramp(7, 3, (4, 4)));
    // What stands where there is no answer must not matter.
    let mut numbers: Vec<f64> = v.flatten_all().unwrap().to_vec1().unwrap();
    numbers[4..8].fill(f64::NAN);
    let holed = Tensor::from_vec(numbers, (4, 4), &Device::Cpu).unwrap();
    let data = taught(vec![2, 0, 1, 3], &holed).known_for(&[0, 2, 3]).unwrap();
    let names = [
        "forward",
        "reverse",
        "jensen",
        "skew",
        "reverse skew",
        "renyi 0.3",
        "renyi 3",
        "variation",
        "hellinger",
        "logits",
        "centred",
    ];
    let (mut n, none, squared) = (0, TemperatureScale::None, TemperatureScale::Squared);
    let mut check = |name: &str, loss: Result<Tensor>| {
        assert_golden(name, &loss.unwrap(), &z);
        n += 1;
    };
    for (name, kind) in names.into_iter().zip(KINDS) {
        check(name, divergence(&z, &data, kind, 2.0, none));
    }
    check("standardised", ls(&z, &data, KINDS[0], 2.0, squared));
    let config = Dkd { label_weight: 1.5, others_weight: 8.0, temperature: 2.0, scale: squared };
    check("dkd", dkd(&z, &data, &config));
    let config = Dist { example_weight: 2.0, class_weight: 0.5, temperature: 2.0, scale: none };
    check("dist", dist(&z, &data, &config));
    let members = ramp(7, 3, (4, 8)).as_tensor().detach();
    let several = data.clone().with_teacher(4, |_| members.contiguous()).unwrap();
    check("dirichlet", dirichlet(&z, &several.known_for(&[0, 2, 3]).unwrap(), 2.0));
    let constructors = [
        ("labels only", Distillation::labels_only()),
        ("convex", Distillation::convex(0.3, 2.0)),
        ("fitnetson", Distillation::hinton(0.3, 2.0)),
        ("generalized", Distillation::generalized(0.3, 2.0)),
        ("sum of both", Distillation::sum_of_both()),
        ("four term", Distillation::four_term(0.3, 2.0)),
    ];
    for (name, config) in constructors {
        check(name, distillation(&z, &data, &config));
    }
    let t = ramp(3, 2, (4, 4)).as_tensor().detach();
    let values = Dataset::new(t.clone(), Targets::Values(t.clone())).unwrap();
    let values =
        values.with_teacher(4, |_| holed.contiguous()).unwrap().known_for(&[0, 2, 3]).unwrap();
    let config = Regression {
        teacher_weight: 0.3,
        label_variance: 0.7,
        teacher_variance: 0.2,
        weights: Weights::Likelihood,
    };
    check("regression", regression(&z, &values, &config));
    check("squared error", squared_error(&z, &t));
    assert_eq!(n, n_of_logits());
}

#[test]
fn two_classes_by_hand() {
    // g = (¾, ¼), s = (⅕, ⅘); the second example is unknown.
    let z = Tensor::new(&[[3f64.ln(), 0.0], [1.0, 2.0]], &Device::Cpu).unwrap();
    let v = Tensor::new(&[[0.0, 4f64.ln()], [0.0, 0.0]], &Device::Cpu).unwrap();
    let data = taught(vec![0, 1], &v).known_for(&[0]).unwrap();
    let forward = 0.2 * (0.2f64 / 0.75).ln() + 0.8 * (0.8f64 / 0.25).ln();
    assert!((of(&z, &data, Divergence::ForwardKl, 1.0) - forward / 2.0).abs() < EXACT);
    assert!((of(&z, &data, Divergence::TotalVariation, 1.0) - 0.55 / 2.0).abs() < EXACT);
    // (ln 3 − 0)² and (0 − ln 4)², over two classes and two examples.
    let squares = 3f64.ln().powi(2) + 4f64.ln().powi(2);
    assert!((of(&z, &data, Divergence::Logits, 1.0) - squares / 8.0).abs() < EXACT);
}

#[test]
fn families_end_in_the_two_divergences() {
    let (z, data) = pair(0);
    let value = |kind| of(&z, &data, kind, 1.5);
    let (forward, reverse) = (value(Divergence::ForwardKl), value(Divergence::ReverseKl));
    let near = 1e-6;
    let js = |beta: f64| value(Divergence::JensenShannon { teacher_weight: beta });
    let skew = |alpha: f64| value(Divergence::Skew { teacher_weight: alpha });
    let cases = [
        (js(near) / near, forward),
        (js(1.0 - near) / near, reverse),
        (skew(0.0), forward),
        (skew(near), forward),
        (value(Divergence::ReverseSkew { student_weight: near }), reverse),
        (value(Divergence::Renyi { order: 1.0 }), forward),
        (value(Divergence::Renyi { order: 1.0 + near }), forward),
        (value(Divergence::Renyi { order: 1.0 - near }), forward),
        // D_α(s ‖ g) / α → KL(g ‖ s) as α → 0, by D_α(s ‖ g) = α / (1 − α) D_{1 − α}(g ‖ s).
        (value(Divergence::Renyi { order: near }) / near, reverse),
    ];
    for (i, (found, wanted)) in cases.into_iter().enumerate() {
        // The families are smooth in their parameter; constants of the order of χ².
        assert!((found - wanted).abs() < 1e-3 * wanted, "{i}: {found} for {wanted}");
    }
    // KL(s ‖ α s + (1 − α) g) / (1 − α)² → ½ χ².
    let probability = |x: &Tensor| log_softmax(&(x / 1.5).unwrap()).unwrap().exp().unwrap();
    let (s, g) = (probability(data.soft().unwrap().logits()), probability(&z));
    let ratio = ((&s - &g).unwrap().sqr().unwrap() / &s).unwrap();
    let chi = ratio.sum_all().unwrap().to_scalar::<f64>().unwrap() / 6.0;
    let found = skew(1.0 - 1e-4) / 1e-8;
    assert!((found - 0.5 * chi).abs() < 1e-2 * chi, "{found} for {}", 0.5 * chi);
}

#[test]
fn known_identities_and_bounds_hold() {
    let (z, data) = pair(1);
    let (v, m) = (data.soft().unwrap().logits().clone(), 6.0);
    let back = taught(vec![0; 6], &z);
    let js = |weight| Divergence::JensenShannon { teacher_weight: weight };
    let order = |order| Divergence::Renyi { order };
    // The roles exchanged.
    let pairs = [
        (Divergence::ForwardKl, Divergence::ReverseKl),
        (Divergence::Skew { teacher_weight: 0.2 }, Divergence::ReverseSkew { student_weight: 0.2 }),
        (js(0.2), js(0.8)),
        (js(0.5), js(0.5)),
        (order(0.5), order(0.5)),
        (Divergence::TotalVariation, Divergence::TotalVariation),
        (Divergence::SquaredHellinger, Divergence::SquaredHellinger),
    ];
    for (one, other) in pairs {
        let gap = of(&z, &data, one, 1.0) - of(&v, &back, other, 1.0);
        assert!(gap.abs() < EXACT, "{one:?}: {gap}");
    }
    // β-JS is made of two skew divergences.
    let parts = 0.2 * of(&z, &data, Divergence::Skew { teacher_weight: 0.2 }, 1.0)
        + 0.8 * of(&z, &data, Divergence::ReverseSkew { student_weight: 0.8 }, 1.0);
    assert!((of(&z, &data, js(0.2), 1.0) - parts).abs() < EXACT);
    for i in 0..6 {
        let (z, data) = (z.narrow(0, i, 1).unwrap(), data.rows(&[i]).unwrap());
        let value = |kind| of(&z, &data, kind, 1.0);
        let hellinger = value(Divergence::SquaredHellinger);
        assert!((hellinger - (1.0 - (-0.5 * value(order(0.5))).exp())).abs() < EXACT);
        let variation = value(Divergence::TotalVariation);
        let forward = value(Divergence::ForwardKl);
        assert!(2.0 * variation * variation <= forward, "Pinsker");
        assert!(hellinger <= variation && variation <= (2.0 * hellinger).sqrt(), "Le Cam");
        assert!(value(order(0.5)) <= forward && forward <= value(order(2.0)), "orders rise");
        assert!(value(js(0.5)) <= 2f64.ln() && variation <= 1.0);
    }
    // The same gradient as soft cross-entropy, whose value is more by the teacher's entropy.
    let ours =
        divergence(&z, &data, Divergence::ForwardKl, 2.0, TemperatureScale::Squared).unwrap();
    let soft = distillation(&z, &data, &Distillation::hinton(1.0, 2.0)).unwrap();
    let entropy = Predictions::tempered(&v, 2.0).unwrap().entropies().iter().sum::<f64>() / m;
    let value = |loss: &Tensor| loss.to_scalar::<f64>().unwrap();
    assert!((value(&soft) - value(&ours) - 4.0 * entropy).abs() < 1e-11);
    let gap = gradient(&ours, &z).into_iter().zip(gradient(&soft, &z)).map(|(a, b)| (a - b).abs());
    assert!(gap.fold(0.0, f64::max) < EXACT);
}

#[test]
fn a_divergence_falls_into_its_decoupled_parts() {
    // KL(s ‖ g) = KL(b(s) ‖ b(g)) + (1 − s_y) KL(ŝ ‖ ĝ), example by example.
    let (z, data) = pair(2);
    let parts = |label_weight, others_weight, i: usize| {
        let scale = TemperatureScale::None;
        let config = Dkd { label_weight, others_weight, temperature: 1.0, scale };
        let z = z.narrow(0, i, 1).unwrap();
        let loss = dkd(&z, &data.rows(&[i]).unwrap(), &config).unwrap();
        loss.to_scalar::<f64>().unwrap()
    };
    let s = log_softmax(data.soft().unwrap().logits()).unwrap().exp().unwrap().to_vec2::<f64>();
    let (s, labels) = (s.unwrap(), [0, 4, 2, 2, 1, 3]);
    for i in 0..6 {
        let whole = of(&z.narrow(0, i, 1).unwrap(), &data.rows(&[i]).unwrap(), KINDS[0], 1.0);
        let sum = parts(1.0, 1.0 - s[i][labels[i]], i);
        assert!((whole - sum).abs() < EXACT, "{i}: {whole} for {sum}");
        assert!(
            (parts(2.0, 3.0, i) - 2.0 * parts(1.0, 0.0, i) - 3.0 * parts(0.0, 1.0, i)).abs()
                < EXACT
        );
    }
}

#[test]
fn a_rare_class_counts_as_much_as_any() {
    // Probabilities of e⁻⁸⁰ and less, whose squares f32 does not hold.
    let mut z = ramp(5, 1, (4, 3)).to_vec2::<f64>().unwrap();
    z.iter_mut().for_each(|z| z[1] -= 80.0);
    let z = Tensor::new(z, &Device::Cpu).unwrap();
    let scale = TemperatureScale::None;
    let config = Dist { example_weight: 1.0, class_weight: 1.0, temperature: 1.0, scale };
    for dtype in [DType::F64, DType::F32] {
        let z = z.to_dtype(dtype).unwrap();
        let loss = dist(&z, &taught(vec![0; 4], &z), &config).unwrap();
        let loss: f64 = loss.to_dtype(DType::F64).unwrap().to_scalar().unwrap();
        assert!(loss.abs() < 1e-6, "{dtype:?}: {loss}");
    }
}

#[test]
fn logits_are_standardized_and_constants_are_zeros() {
    let x = Tensor::new(&[[1.0, 3.0, 5.0, 7.0], [0.1, 0.1, 0.1, 0.1]], &Device::Cpu).unwrap();
    let x = Var::from_tensor(&x).unwrap();
    let z = standardized(&x).unwrap();
    let found = z.to_vec2::<f64>().unwrap();
    // Mean 4, variance 5.
    for (found, wanted) in found[0].iter().zip([-3.0, -1.0, 1.0, 3.0]) {
        assert!((found - wanted / 5f64.sqrt()).abs() < EXACT);
    }
    assert_eq!(found[1], [0.0; 4]);
    let loss = z.narrow(1, 0, 1).unwrap().sum_all().unwrap();
    assert_eq!(gradient(&loss, &x)[4..], [0.0; 4]);
}

#[test]
fn nobody_known_is_zero_and_no_teacher_is_refused() {
    let (z, data) = pair(3);
    let none = TemperatureScale::None;
    let nobody = data.clone().known_for(&[]).unwrap();
    let loss = divergence(&z, &nobody, KINDS[0], 1.0, none).unwrap();
    assert_eq!(loss.to_scalar::<f64>().unwrap(), 0.0);
    assert_eq!(gradient(&loss, &z), [0.0; 30]);
    let bare = Dataset::new(data.x().clone(), data.y().clone()).unwrap();
    let message = |z: &Tensor, data: &Dataset, kind, temperature| {
        divergence(z, data, kind, temperature, none).unwrap_err().to_string()
    };
    assert_eq!(
        message(&z, &bare, KINDS[0], 1.0),
        "the loss wanted a teacher's logits, found none: give them as `Supervision::with_teacher` or `Dataset::with_teacher`"
    );
    let narrow = z.narrow(1, 0, 4).unwrap();
    assert_eq!(
        message(&narrow, &data, KINDS[0], 1.0),
        "logits: expected shape [6, 5], found [6, 4]"
    );
    assert_eq!(message(&z, &data, KINDS[0], 0.0), "temperature must lie in (0, ∞), got 0");
    let outside = [
        Divergence::JensenShannon { teacher_weight: 0.0 },
        Divergence::JensenShannon { teacher_weight: 1.0 },
        Divergence::Skew { teacher_weight: 1.0 },
        Divergence::ReverseSkew { student_weight: -0.1 },
        Divergence::Renyi { order: 0.0 },
    ];
    for kind in outside {
        assert!(divergence(&z, &data, kind, 1.0, none).is_err(), "{kind:?}");
    }
}
