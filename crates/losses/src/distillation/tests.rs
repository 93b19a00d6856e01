//! Laws of the distillation loss.

use candle_core::{Device, Var};
use core_tensors::{Dataset, Rng, Targets};

use super::*;
use crate::supervision::tests::soft;

/// Rounding of f64 sums of a few dozen terms.
const EXACT: f64 = 1e-12;

fn random(m: usize, k: usize, scale: f64, rng: &mut Rng) -> Var {
    let values: Vec<f64> = (0..m * k).map(|_| scale * rng.normal()).collect();
    Var::from_vec(values, (m, k), &Device::Cpu).unwrap()
}

/// Examples whose features are the teacher's logits, answers known for all but every third.
fn batch(m: usize, k: usize, rng: &mut Rng) -> Dataset {
    let x = random(m, k, 2.0, rng).as_tensor().detach();
    let labels = (0..m).map(|_| rng.below(k) as u32).collect();
    let labels = Tensor::from_vec(labels, m, &Device::Cpu).unwrap();
    let data = Dataset::new(x, Targets::Classes { labels, n_classes: k }).unwrap();
    let mask: Vec<usize> = (0..m).filter(|i| i % 3 != 0).collect();
    data.with_teacher(m, Tensor::contiguous).unwrap().known_for(&mask).unwrap()
}

fn variants() -> Vec<Distillation> {
    let code = Distillation {
        student_temperature: 1.0,
        class_reduction: ClassReduction::Mean,
        ..Distillation::convex(0.75, 10.0)
    };
    vec![
        Distillation::labels_only(),
        Distillation::sum_of_both(),
        Distillation::convex(0.3, 2.0),
        Distillation::hinton(0.9, 4.0),
        Distillation::four_term(0.25, 2.0),
        code,
        Distillation { normalizer: Normalizer::Orthant, ..Distillation::convex(0.4, 1.0) },
        Distillation { normalizer: Normalizer::Cube, ..Distillation::four_term(0.3, 2.0) },
        Distillation { normalizer: Normalizer::Simplex, ..Distillation::hinton(0.6, 1.5) },
    ]
}

fn value(loss: &Tensor) -> f64 {
    loss.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

fn gradient(loss: &Tensor, logits: &Var) -> Vec<f64> {
    let gradients = loss.backward().unwrap();
    gradients.get(logits).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |d: f64, (a, b)| d.max((a - b).abs()))
}

#[test]
fn two_examples_by_hand() {
    // z = (ln 3, 0), (0, 0) → g = (3/4, 1/4), (1/2, 1/2); y = (0, 1); v = (0, ln 4), unknown → s = (1/5, 4/5).
    let logits = Tensor::new(&[[3f64.ln(), 0.0], [0.0, 0.0]], &Device::Cpu).unwrap();
    let x = Tensor::new(&[[0.0, 4f64.ln()], [0.0, 0.0]], &Device::Cpu).unwrap();
    let labels = Tensor::new(&[0u32, 1], &Device::Cpu).unwrap();
    let data = Dataset::new(x, Targets::Classes { labels, n_classes: 2 }).unwrap();
    let data = data.with_teacher(2, Tensor::contiguous).unwrap().known_for(&[0]).unwrap();
    let config = Distillation::convex(0.25, 1.0);
    let first = 0.75 * (4.0f64 / 3.0).ln() + 0.25 * (0.2 * (4.0f64 / 3.0).ln() + 0.8 * 4f64.ln());
    let wanted = 0.5 * (first + 2f64.ln());
    assert!((value(&distillation(&logits, &data, &config).unwrap()) - wanted).abs() < EXACT);
}

#[test]
fn equals_pytorch() {
    // import torch, torch.nn.functional as F
    // z = torch.tensor([[.5, -1., 2.], [0., 3., -.5]]); v = torch.tensor([[1., 0., 1.5], [-1., 2., .5]])
    // y = torch.tensor([2, 0]); s = F.softmax(v / 2, 1)
    // .5 * F.cross_entropy(z, y) + .25 * 4 * F.cross_entropy(z / 2, s)
    let logits = Tensor::new(&[[0.5, -1.0, 2.0], [0.0, 3.0, -0.5]], &Device::Cpu).unwrap();
    let x = Tensor::new(&[[1.0, 0.0, 1.5], [-1.0, 2.0, 0.5]], &Device::Cpu).unwrap();
    let labels = Tensor::new(&[2u32, 0], &Device::Cpu).unwrap();
    let data = Dataset::new(x, Targets::Classes { labels, n_classes: 3 }).unwrap();
    let data = data.with_teacher(2, Tensor::contiguous).unwrap();
    let config =
        Distillation { label_weight: 0.5, teacher_weight: 0.25, ..Distillation::hinton(0.0, 2.0) };
    let loss = value(&distillation(&logits, &data, &config).unwrap());
    assert!((loss - 1.890_265_104_901_661_6).abs() < EXACT, "{loss}");
}

#[test]
fn the_fused_kernel_equals_the_formula_with_its_gradient() {
    let mut rng = Rng::new(0);
    for config in variants() {
        let (logits, data) = (random(12, 5, 3.0, &mut rng), batch(12, 5, &mut rng));
        let Targets::Classes { labels, .. } = data.y() else { unreachable!() };
        let fused = distillation(&logits, &data, &config).unwrap();
        let plain = composed(&logits, labels, soft(&data).as_ref(), &config).unwrap();
        assert!((value(&fused) - value(&plain)).abs() < EXACT, "{config:?}");
        let gap = distance(&gradient(&fused, &logits), &gradient(&plain, &logits));
        assert!(gap < EXACT, "{config:?}: {gap}");
    }
}

#[test]
fn what_stands_outside_the_mask_is_not_looked_at_in_any_type() {
    let cpu = Device::Cpu;
    let labels = Tensor::new(&[2u32, 0, 1], &cpu).unwrap();
    let logits =
        Tensor::new(&[[0.5, -1.0, 2.0], [0.0, 3.0, -0.5], [1.0, 0.25, 0.0]], &cpu).unwrap();
    let at = |hole: f64, dtype: DType, config: &Distillation| {
        let x = Tensor::new(&[[1.0, 0.0, 1.5], [hole; 3], [-1.0, 2.0, 0.5]], &cpu).unwrap();
        let data = Dataset::new(x, Targets::Classes { labels: labels.clone(), n_classes: 3 });
        let data = data.unwrap().with_teacher(3, Tensor::contiguous).unwrap();
        let data = data.known_for(&[0, 2]).unwrap();
        let z = Var::from_tensor(&logits.to_dtype(dtype).unwrap()).unwrap();
        let loss = distillation(&z, &data, config).unwrap();
        let gradients = loss.backward().unwrap();
        let derivatives = gradients.get(&z).unwrap().to_dtype(DType::F64).unwrap();
        (value(&loss), derivatives.flatten_all().unwrap().to_vec1::<f64>().unwrap())
    };
    for config in variants() {
        for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
            let (value, derivatives) = at(0.0, dtype, &config);
            let (exact, exact_derivatives) = at(0.0, DType::F64, &config);
            // Half a dozen roundings of bf16, which has 8 bits.
            assert!(
                (value - exact).abs() < 0.05 * exact.abs().max(1.0),
                "{config:?} {dtype:?} {value} {exact}"
            );
            assert!(distance(&derivatives, &exact_derivatives) < 0.05, "{config:?} {dtype:?}");
            for hole in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                assert_eq!(
                    at(hole, dtype, &config),
                    (value, derivatives.clone()),
                    "{config:?} {dtype:?}"
                );
            }
        }
    }
}

#[test]
fn students_side_by_side_are_students_alone() {
    let mut rng = Rng::new(8);
    let (configs, data) = (variants(), batch(7, 4, &mut rng));
    let alone: Vec<Var> = configs.iter().map(|_| random(7, 4, 2.0, &mut rng)).collect();
    let together: Vec<&Tensor> = alone.iter().map(Var::as_tensor).collect();
    let together = Tensor::cat(&together, 1).unwrap();
    let losses = distillation_batched(&together, &data, &configs).unwrap();
    // Different outer gradients, so that a mixed-up student would show.
    let weights: Vec<f64> = (1..=configs.len()).map(|a| a as f64).collect();
    let outer = Tensor::from_vec(weights.clone(), configs.len(), &Device::Cpu).unwrap();
    let sum = (&losses * outer).unwrap().sum_all().unwrap();
    for (a, (logits, config)) in alone.iter().zip(&configs).enumerate() {
        let single = distillation(logits, &data, config).unwrap();
        assert!((value(&single) - losses.to_vec1::<f64>().unwrap()[a]).abs() < EXACT);
        let scaled: Vec<f64> = gradient(&single, logits).iter().map(|g| g * weights[a]).collect();
        assert!(distance(&gradient(&sum, logits), &scaled) < EXACT, "{config:?}");
    }
}

#[test]
fn gradients_equal_differences() {
    let mut rng = Rng::new(1);
    for config in variants() {
        let (logits, data) = (random(4, 3, 1.0, &mut rng), batch(4, 3, &mut rng));
        let found = gradient(&distillation(&logits, &data, &config).unwrap(), &logits);
        let start = logits.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let step = 1e-5;
        for i in 0..start.len() {
            let moved = |by: f64| {
                let mut values = start.clone();
                values[i] += by;
                let logits = Tensor::from_vec(values, (4, 3), &Device::Cpu).unwrap();
                value(&distillation(&logits, &data, &config).unwrap())
            };
            let derivative = (moved(step) - moved(-step)) / (2.0 * step);
            assert!(
                (derivative - found[i]).abs() < 1e-8,
                "{config:?}: {derivative} against {}",
                found[i]
            );
        }
    }
}

#[test]
fn without_teacher_is_cross_entropy() {
    let mut rng = Rng::new(2);
    let (logits, data) = (random(9, 4, 1.0, &mut rng), batch(9, 4, &mut rng));
    let Targets::Classes { labels, .. } = data.y() else { unreachable!() };
    let plain = value(&candle_nn::loss::cross_entropy(&logits, labels).unwrap());
    let of = |data: &Dataset, config: &Distillation| {
        value(&distillation(&logits, data, config).unwrap())
    };
    let unknown = data.clone().known_for(&[]).unwrap();
    let bare = Dataset::new(data.x().clone(), data.y().clone()).unwrap();
    assert!((of(&unknown, &Distillation::convex(0.7, 3.0)) - plain).abs() < EXACT, "empty 𝓘");
    assert!((of(&bare, &Distillation::convex(0.7, 3.0)) - plain).abs() < EXACT, "no teacher");
    assert!((of(&data, &Distillation::convex(0.0, 3.0)) - plain).abs() < EXACT, "λ = 0");
    assert!((of(&data, &Distillation::labels_only()) - plain).abs() < EXACT, "labels only");
}

#[test]
fn lambda_one_forgets_the_labels() {
    let mut rng = Rng::new(3);
    let (logits, data) = (random(6, 3, 1.0, &mut rng), batch(6, 3, &mut rng));
    let data = data.with_teacher(6, Tensor::contiguous).unwrap();
    let other = Tensor::from_vec(vec![0u32; 6], 6, &Device::Cpu).unwrap();
    let relabeled =
        Dataset::new(data.x().clone(), Targets::Classes { labels: other, n_classes: 3 });
    let relabeled = relabeled.unwrap().with_teacher(6, Tensor::contiguous).unwrap();
    let config = Distillation::convex(1.0, 2.0);
    let [a, b] = [&data, &relabeled].map(|d| value(&distillation(&logits, d, &config).unwrap()));
    assert!((a - b).abs() < EXACT);
}

#[test]
fn a_hot_teacher_matches_centered_logits() {
    // T² times the gradient of the soft term tends to (z − v) / k for centered z and v, per example.
    let mut rng = Rng::new(4);
    let (m, k) = (5, 4);
    let (logits, data) = (random(m, k, 1.0, &mut rng), batch(m, k, &mut rng));
    let data = data.with_teacher(m, Tensor::contiguous).unwrap();
    let found =
        gradient(&distillation(&logits, &data, &Distillation::hinton(1.0, 1e4)).unwrap(), &logits);
    let centered = |t: &Tensor| {
        let t = t.broadcast_sub(&t.mean_keepdim(1).unwrap()).unwrap();
        t.flatten_all().unwrap().to_vec1::<f64>().unwrap()
    };
    let (z, v) = (centered(&logits), centered(data.x()));
    let wanted: Vec<f64> = z.iter().zip(&v).map(|(z, v)| (z - v) / (k * m) as f64).collect();
    // The next term of the expansion is O(1/T).
    assert!(distance(&found, &wanted) < 1e-4);
}

#[test]
fn finite_at_huge_logits() {
    let mut rng = Rng::new(5);
    for dtype in [DType::F32, DType::F64] {
        for config in variants() {
            // A teacher that is as sure as its student.
            let data = batch(8, 3, &mut rng).with_teacher(8, |x| x * 1e6).unwrap();
            let logits = random(8, 3, 1e6, &mut rng);
            let logits = Var::from_tensor(&logits.to_dtype(dtype).unwrap()).unwrap();
            let loss = distillation(&logits, &data, &config).unwrap();
            let gradients = loss.backward().unwrap();
            let largest = gradients.get(&logits).unwrap().abs().unwrap().max_all().unwrap();
            assert!(value(&loss).is_finite() && value(&largest).is_finite(), "{config:?}");
        }
    }
}

#[test]
fn the_fourth_term_is_exact_for_a_sure_student() {
    // z = (d, 0, 0), s = (1, 0, 0): with e = 2 exp(−d), log g = (−log(1 + e), −d − log(1 + e), …).
    for d in [30.0f64, 36.0, 40.0, 60.0] {
        let logits = Tensor::new(&[[d, 0.0, 0.0]], &Device::Cpu).unwrap();
        let x = Tensor::new(&[[1e6, 0.0, 0.0]], &Device::Cpu).unwrap();
        let labels = Tensor::new(&[0u32], &Device::Cpu).unwrap();
        let data = Dataset::new(x, Targets::Classes { labels, n_classes: 3 }).unwrap();
        let data = data.with_teacher(1, Tensor::contiguous).unwrap();
        let found =
            value(&distillation(&logits, &data, &Distillation::four_term(1.0, 1.0)).unwrap());
        let l0 = -(2.0 * (-d).exp()).ln_1p();
        let l1 = l0 - d;
        let wanted = (-l0 - (l0 + 2.0 * l1) - ((-l0).ln() + 2.0 * (-l1).ln())) / 3.0;
        assert!((found - wanted).abs() < 1e-9, "{d}: {found} against {wanted}");
    }
}

#[test]
fn the_fourth_term_flattens_the_student() {
    // Its optimum for s = (.8, .15, .05) is (.452, .289, .259); without it, s itself.
    let s = [0.8f64, 0.15, 0.05];
    let v: Vec<f64> = s.iter().map(|p| p.ln()).collect();
    let x = Tensor::from_vec(v, (1, 3), &Device::Cpu).unwrap();
    let labels = Tensor::new(&[0u32], &Device::Cpu).unwrap();
    let data = Dataset::new(x, Targets::Classes { labels, n_classes: 3 }).unwrap();
    let data = data.with_teacher(1, Tensor::contiguous).unwrap();
    let optima = [
        (Distillation::convex(1.0, 1.0), s),
        (Distillation::four_term(1.0, 1.0), [0.452, 0.289, 0.259]),
    ];
    for (config, wanted) in optima {
        let mut z = vec![0.0; 3];
        for _ in 0..5000 {
            let logits = Var::from_vec(z.clone(), (1, 3), &Device::Cpu).unwrap();
            let derivative = gradient(&distillation(&logits, &data, &config).unwrap(), &logits);
            z.iter_mut().zip(derivative).for_each(|(z, g)| *z -= 0.5 * g);
        }
        let total: f64 = z.iter().map(|z| z.exp()).sum();
        let g: Vec<f64> = z.iter().map(|z| z.exp() / total).collect();
        assert!(distance(&g, &wanted) < 1e-3, "{g:?}");
    }
}

#[test]
fn the_teacher_receives_no_gradient() {
    let mut rng = Rng::new(6);
    let (logits, teacher) = (random(4, 3, 1.0, &mut rng), random(4, 3, 1.0, &mut rng));
    for config in variants() {
        let data = batch(4, 3, &mut rng).with_teacher(4, |_| teacher.contiguous()).unwrap();
        let Targets::Classes { labels, .. } = data.y() else { unreachable!() };
        for loss in [
            distillation(&logits, &data, &config).unwrap(),
            composed(&logits, labels, soft(&data).as_ref(), &config).unwrap(),
        ] {
            let gradients = loss.backward().unwrap();
            assert!(gradients.get(&teacher).is_none() && gradients.get(&logits).is_some());
        }
    }
}

#[test]
fn every_setting_outside_its_range_is_refused_by_name() {
    let mut rng = Rng::new(9);
    let (logits, data) = (random(4, 3, 1.0, &mut rng), batch(4, 3, &mut rng));
    let good = Distillation::sum_of_both();
    type Field = fn(&mut Distillation) -> &mut f64;
    let set: [(&str, &str, Field); 5] = [
        ("label weight", "[0, ∞)", |config| &mut config.label_weight),
        ("label weight outside 𝓘", "[0, ∞)", |config| &mut config.unknown_label_weight),
        ("teacher weight", "[0, ∞)", |config| &mut config.teacher_weight),
        ("teacher temperature", "(0, ∞)", |config| &mut config.teacher_temperature),
        ("student temperature", "(0, ∞)", |config| &mut config.student_temperature),
    ];
    for (name, range, field) in set {
        for value in [-1.0, f64::NAN, f64::INFINITY] {
            let mut config = good;
            *field(&mut config) = value;
            let message = distillation(&logits, &data, &config).unwrap_err().to_string();
            assert_eq!(message, format!("{name} must lie in {range}, got {value}"));
        }
        let mut zero = good;
        *field(&mut zero) = 0.0;
        assert_eq!(distillation(&logits, &data, &zero).is_ok(), range == "[0, ∞)", "{name}");
    }
    let wide = data.clone().with_teacher(4, |x| Tensor::cat(&[x, x], 1)).unwrap();
    let message = distillation(&logits, &wide, &good).unwrap_err().to_string();
    assert_eq!(message, "logits of the teacher: expected shape [4, 3], found [4, 6]");
    let values =
        Dataset::new(logits.as_tensor().clone(), Targets::Values(logits.as_tensor().clone()));
    let message = distillation(&logits, &values.unwrap(), &good).unwrap_err().to_string();
    assert_eq!(
        message,
        "distillation wanted the class of each example, an integer, as hard targets"
    );
}

#[test]
fn the_square_of_the_temperature_is_the_students() {
    let mut rng = Rng::new(10);
    let (logits, data) = (random(4, 3, 1.0, &mut rng), batch(4, 3, &mut rng));
    let soft = |scale| {
        let config = Distillation {
            label_weight: 0.0,
            unknown_label_weight: 0.0,
            teacher_temperature: 5.0,
            student_temperature: 2.0,
            scale,
            ..Distillation::sum_of_both()
        };
        value(&distillation(&logits, &data, &config).unwrap())
    };
    let (with, without) = (soft(TemperatureScale::Squared), soft(TemperatureScale::None));
    assert!((with - 4.0 * without).abs() < EXACT, "{with} {without}");
}

#[test]
fn bad_settings_and_shapes_are_refused() {
    let mut rng = Rng::new(7);
    let (logits, data) = (random(4, 3, 1.0, &mut rng), batch(4, 3, &mut rng));
    let message = |logits: &Tensor, config: &Distillation| {
        distillation(logits, &data, config).unwrap_err().to_string()
    };
    let narrow = logits.narrow(1, 0, 2).unwrap();
    assert_eq!(
        message(&narrow, &Distillation::labels_only()),
        "logits: expected shape [4, 3], found [4, 2]"
    );
    let none = distillation_batched(&logits.narrow(1, 0, 0).unwrap(), &data, &[]);
    assert_eq!(none.unwrap_err().to_string(), "students: expected at least 1, found 0");
    let (nobody, empty) = (logits.narrow(0, 0, 0).unwrap(), data.rows(&[]).unwrap());
    let nothing = distillation(&nobody, &empty, &Distillation::labels_only());
    assert_eq!(
        nothing.unwrap_err().to_string(),
        "examples of a batch: expected at least 1, found 0"
    );
    assert_eq!(
        message(&logits, &Distillation::convex(0.5, 0.0)),
        "teacher temperature must lie in (0, ∞), got 0"
    );
    assert_eq!(
        message(&logits, &Distillation::convex(1.5, 1.0)),
        "label weight must lie in [0, ∞), got -0.5"
    );
}
