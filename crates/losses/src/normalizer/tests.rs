//! Laws of the constants that normalize a likelihood of soft answers.

use candle_core::{DType, Device, Var};
use core_tensors::{Dataset, Rng, Targets};

use super::fixtures::{GAPS, SIMPLEX, nodes};
use super::*;
use crate::distillation::{ClassReduction, Distillation, composed, distillation};
use crate::supervision::tests::soft;

const NORMALIZED: [Normalizer; 3] = [Normalizer::Orthant, Normalizer::Cube, Normalizer::Simplex];
/// Rounding of a few hundred operations, relative to the largest number among them.
const ROUNDING: f64 = 1e-13;

fn of(normalizer: Normalizer, log_g: &[f64]) -> LogNormalizer {
    normalizer.log_normalizer(log_g).unwrap()
}

fn integral(normalizer: Normalizer, log_g: &[f64]) -> f64 {
    (-of(normalizer, log_g).value).exp()
}

fn log_softmax(z: &[f64]) -> Vec<f64> {
    let (mut l, mut g) = (z.to_vec(), vec![0.0; z.len()]);
    softmax(&mut l, &mut g, z.len(), 1.0);
    l
}

fn random_log_g(k: usize, rng: &mut Rng) -> Vec<f64> {
    log_softmax(&(0..k).map(|_| 1.5 * rng.normal()).collect::<Vec<f64>>())
}

/// One example whose teacher answers s, so that the loss with λ = 1 is the teacher's term at T = 1.
fn taught(s: &[f64]) -> Dataset {
    let v: Vec<f64> = s.iter().map(|s| s.ln()).collect();
    let x = Tensor::from_vec(v, (1, s.len()), &Device::Cpu).unwrap();
    let labels = Tensor::new(&[0u32], &Device::Cpu).unwrap();
    let data = Dataset::new(x, Targets::Classes { labels, n_classes: s.len() }).unwrap();
    data.with_teacher(1, Tensor::contiguous).unwrap()
}

fn teacher_alone(normalizer: Normalizer) -> Distillation {
    Distillation { normalizer, ..Distillation::convex(1.0, 1.0) }
}

/// Loss and its gradient at logits z.
fn loss_at(z: &[f64], data: &Dataset, config: &Distillation) -> (f64, Vec<f64>) {
    let logits = Var::from_vec(z.to_vec(), (1, z.len()), &Device::Cpu).unwrap();
    let loss = distillation(&logits, data, config).unwrap();
    let derivative = loss.backward().unwrap().get(&logits).unwrap().flatten_all().unwrap();
    (loss.to_scalar().unwrap(), derivative.to_vec1().unwrap())
}

#[test]
fn the_simplex_equals_multi_precision() {
    for (l, wanted) in nodes().iter().zip(SIMPLEX) {
        let found = of(Normalizer::Simplex, l);
        let n = l.len();
        let scale = wanted[0].abs().max(1.0);
        let gap = (found.value - wanted[0]).abs() / scale;
        assert!(gap < ROUNDING, "{n}, {:?}: {} against {}", &l[..2], found.value, wanted[0]);
        for (found, wanted) in [(found.gradient[0], wanted[1]), (found.gradient[n - 1], wanted[2])]
        {
            let gap = (found / wanted - 1.0).abs();
            assert!(gap < 10.0 * ROUNDING, "{n}, {:?}: {found} against {wanted}", &l[..2]);
        }
    }
}

#[test]
fn integrals_at_one_answer_and_the_papers_constant() {
    let g = [0.5f64, 0.3, 0.2];
    let l = g.map(f64::ln);
    // K^(K/2) 2^(−K(K−1)/2), and (−1)^K against the signs of the logarithms
    let factor = 3f64.powf(1.5) / 8.0;
    let paper = factor * of(Normalizer::Paper, &l).value.exp();
    let cases = [
        (Normalizer::Simplex, 0.158_130, 0.0041),
        (Normalizer::Cube, 0.208_469, 0.0055),
        (Normalizer::Orthant, 0.744_532, 0.0195),
    ];
    for (domain, wanted, mass) in cases {
        let found = integral(domain, &l);
        assert!((found - wanted).abs() < 5e-7, "{domain:?}: {found}");
        // A density would have 1 here.
        assert!((paper * found - mass).abs() < 5e-5, "{domain:?}: {}", paper * found);
    }
}

#[test]
fn equal_answers_have_the_volume_of_the_simplex() {
    // Beyond 1024 the factors are multiplied in groups, beyond 50 000 their product alone would overflow.
    for k in (1..=100usize).chain([1025, 3000, 100_000]) {
        let l = vec![-0.7; k];
        let found = of(Normalizer::Simplex, &l);
        // exp[l, …, l] = eˡ / (K − 1)!
        let wanted: f64 = 0.7 + (1..k).map(|j| (j as f64).ln()).sum::<f64>();
        // Sums of k numbers.
        let rounding = ROUNDING * (k as f64 / 100.0).max(1.0);
        assert!((found.value - wanted).abs() < rounding * wanted.max(1.0), "{k}");
        assert!(found.gradient.iter().all(|d| (d * k as f64 + 1.0).abs() < rounding), "{k}");
    }
}

#[test]
fn slopes_are_divided_differences_with_a_node_twice_and_sum_to_one() {
    let mut rng = Rng::new(1);
    for k in [2, 3, 10, 100] {
        for gap in GAPS {
            let l: Vec<f64> =
                (0..k).map(|j| -2.0 - 5.0 * (j % 3) as f64 - gap * rng.uniform()).collect();
            let found = of(Normalizer::Simplex, &l);
            let total: f64 = found.gradient.iter().sum();
            assert!((total + 1.0).abs() < ROUNDING, "{total}");
            for j in 0..k {
                let mut twice = l.clone();
                twice.push(l[j]);
                let ratio = (found.value - of(Normalizer::Simplex, &twice).value).exp();
                assert!((ratio / -found.gradient[j] - 1.0).abs() < 1e-11, "{k} {gap}");
            }
        }
    }
}

#[test]
fn order_and_a_common_factor_do_not_matter() {
    let mut rng = Rng::new(2);
    for k in [2, 5, 40] {
        let l = random_log_g(k, &mut rng);
        let whole = of(Normalizer::Simplex, &l);
        let reversed: Vec<f64> = l.iter().rev().map(|l| l - 3.0).collect();
        let found = of(Normalizer::Simplex, &reversed);
        assert!((found.value - 3.0 - whole.value).abs() < ROUNDING * whole.value.abs().max(1.0));
        for (a, b) in found.gradient.iter().rev().zip(&whole.gradient) {
            assert!((a / b - 1.0).abs() < 100.0 * ROUNDING);
        }
    }
}

#[test]
fn slopes_equal_differences_also_where_answers_coincide() {
    for k in [2, 3, 10, 100] {
        for gap in GAPS {
            for base in [-0.02, -1.0] {
                let l: Vec<f64> =
                    (0..k).map(|j| base - 4.0 * (j % 2) as f64 - gap * j as f64).collect();
                for normalizer in NORMALIZED.into_iter().chain([Normalizer::Paper]) {
                    let found = of(normalizer, &l);
                    for j in [0, k / 2, k - 1] {
                        let step = 1e-4 * -l[j];
                        let moved = |by: f64| {
                            let mut l = l.clone();
                            l[j] += by;
                            of(normalizer, &l).value
                        };
                        let derivative = (moved(step) - moved(-step)) / (2.0 * step);
                        let scale = 1.0 + derivative.abs() + found.value.abs();
                        let gap = (derivative - found.gradient[j]).abs();
                        assert!(gap < 2e-8 * scale, "{normalizer:?} {k} {gap}: {derivative}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_unit_interval_has_no_seam() {
    // mpmath: log((exp(l) - 1) / l) and 1 / (1 - exp(-l)) - 1 / l
    let cases = [
        (-0.0, 0.0, 0.5),
        (-1e-12, -4.999999999999583e-13, 0.4999999999999167),
        (-0.249, -0.12191795845320358, 0.4792714104084811),
        (-0.251, -0.122876335125519, 0.4791052632889551),
        (-1e6, -13.815510557964274, 1e-6),
        (3.0, 1.8503185303891887, 0.7190623631579226),
    ];
    for (l, value, mean) in cases {
        let found = unit_interval(l);
        assert!((found.0 - value).abs() < 1e-15 * value.abs().max(1.0), "{l}: {found:?}");
        assert!((found.1 / mean - 1.0).abs() < 1e-14, "{l}: {found:?}");
    }
}

/// One point of the domain and its weight e^{Σ sₖlₖ} / density.
fn draw(normalizer: Normalizer, l: &[f64], rng: &mut Rng) -> (Vec<f64>, f64) {
    let k = l.len();
    let mut exponential = || -(1.0 - rng.uniform()).ln();
    match normalizer {
        Normalizer::Simplex => {
            let e: Vec<f64> = (0..k).map(|_| exponential()).collect();
            let sum: f64 = e.iter().sum();
            let s: Vec<f64> = e.iter().map(|e| e / sum).collect();
            let volume: f64 = (1..k).map(|j| 1.0 / j as f64).product();
            let power: f64 = s.iter().zip(l).map(|(s, l)| s * l).sum();
            (s, volume * power.exp())
        }
        Normalizer::Cube => {
            let s: Vec<f64> = (0..k).map(|_| rng.uniform()).collect();
            let power: f64 = s.iter().zip(l).map(|(s, l)| s * l).sum();
            (s, power.exp())
        }
        // Exponentials of a rate that is 0.8 of the right one.
        _ => {
            let s: Vec<f64> = l.iter().map(|l| exponential() / (-0.8 * l)).collect();
            let weight = s.iter().zip(l).map(|(s, l)| (0.2 * s * l).exp() / (-0.8 * l)).product();
            (s, weight)
        }
    }
}

#[test]
fn integrals_and_means_equal_monte_carlo() {
    const N: usize = 40_000;
    /// Standard errors; some 80 numbers are compared.
    const MOST: f64 = 4.0;
    let mut rng = Rng::new(3);
    for normalizer in NORMALIZED {
        for k in 2..=5 {
            let l = random_log_g(k, &mut rng);
            let LogNormalizer { value, gradient } = of(normalizer, &l);
            let mut wanted = vec![(-value).exp()];
            wanted.extend(gradient.iter().map(|d| -d * (-value).exp()));
            let (mut sums, mut squares) = (vec![0.0; k + 1], vec![0.0; k + 1]);
            for _ in 0..N {
                let (s, weight) = draw(normalizer, &l, &mut rng);
                for (j, factor) in std::iter::once(1.0).chain(s).enumerate() {
                    sums[j] += weight * factor;
                    squares[j] += (weight * factor).powi(2);
                }
            }
            for j in 0..=k {
                let mean = sums[j] / N as f64;
                let error = ((squares[j] / N as f64 - mean * mean) / N as f64).sqrt();
                let z = (mean - wanted[j]) / error;
                assert!(z.abs() < MOST, "{normalizer:?} {k} {j}: {mean} {} {z}", wanted[j]);
            }
        }
    }
}

#[test]
fn the_best_answer_depends_on_the_constant() {
    let s = [0.8, 0.15, 0.05];
    let data = taught(&s);
    let cases = [
        (Normalizer::None, s),
        (Normalizer::Paper, [0.452, 0.289, 0.259]),
        (Normalizer::Orthant, [0.645, 0.355, 0.0]),
        (Normalizer::Simplex, [0.9986, 0.0014, 0.0]),
    ];
    for (normalizer, wanted) in cases {
        let config = teacher_alone(normalizer);
        let mut z = vec![0.0; 3];
        for _ in 0..20_000 {
            let derivative = loss_at(&z, &data, &config).1;
            z.iter_mut().zip(derivative).for_each(|(z, derivative)| *z -= 0.5 * derivative);
        }
        let l = log_softmax(&z);
        for (l, wanted) in l.iter().zip(wanted) {
            assert!((l.exp() - wanted).abs() < 6e-4, "{normalizer:?}: {l:?} {wanted}");
        }
        if normalizer == Normalizer::Simplex {
            // The mean of the density is what the teacher said.
            for (d, s) in of(normalizer, &l).gradient.iter().zip(s) {
                assert!((d + s).abs() < 1e-4, "{d} {s}");
            }
        }
    }
}

#[test]
fn the_loss_subtracts_the_log_constant_inside_its_factor() {
    let (s, z) = ([0.6, 0.3, 0.1], [0.4, -0.3, 1.2]);
    let l = log_softmax(&z.map(|z| z / 2.0));
    let cross: f64 = -s.iter().zip(&l).map(|(s, l)| s * l).sum::<f64>();
    for normalizer in NORMALIZED {
        for (class_reduction, share) in [(ClassReduction::Sum, 1.0), (ClassReduction::Mean, 3.0)] {
            let config = Distillation {
                label_weight: 0.0,
                teacher_weight: 0.3,
                student_temperature: 2.0,
                class_reduction,
                ..teacher_alone(normalizer)
            };
            let wanted = 0.3 * (cross - of(normalizer, &l).value) / share;
            let found = loss_at(&z, &taught(&s), &config).0;
            assert!((found - wanted).abs() < ROUNDING, "{normalizer:?}");
        }
    }
}

#[test]
fn the_orthant_keeps_its_digits_for_a_sure_student() {
    // g = (1 / (1 + e), e / (1 + e)) with e = exp(−d): −log C = −log log(1 + e) − log(d + log(1 + e)).
    let config = teacher_alone(Normalizer::Orthant);
    for d in [1.0f64, 20.0, 36.0, 38.0, 60.0, 740.0, 760.0, 1e6] {
        let (found, derivative) = loss_at(&[d, 0.0], &taught(&[1.0 - 1e-9, 1e-9]), &config);
        let e = (-d).exp();
        let log_depth = if d > 37.0 { -d } else { e.ln_1p().ln() };
        let wanted = e.ln_1p() + 1e-9 * d - log_depth - (d + e.ln_1p()).ln();
        assert!((found / wanted - 1.0).abs() < 1e-13, "{d}: {found} against {wanted}");
        // ∂/∂d of the three terms; the first is log(1 + e) + 1e-9 d.
        let ratio = if d > 37.0 { 1.0 } else { e / (1.0 + e) / e.ln_1p() };
        let wanted = 1e-9 - e / (1.0 + e) + ratio - 1.0 / ((1.0 + e) * (d + e.ln_1p()));
        assert!((derivative[0] - wanted).abs() < 1e-13, "{d}: {} against {wanted}", derivative[0]);
        assert!((derivative[0] + derivative[1]).abs() < 1e-13, "{d}");
    }
}

#[test]
fn the_kernel_and_the_formula_agree_at_any_logits() {
    for normalizer in NORMALIZED {
        let config = Distillation { normalizer, ..Distillation::convex(0.4, 2.0) };
        let largest = |f: f64| [f, f / 3.0, 0.0, -f, -f * (1.0 - 1e-12)];
        for z in [largest(1e-12), largest(1.0), largest(50.0), largest(1e3), largest(1e6)] {
            let data = taught(&[0.2; 5]);
            let Targets::Classes { labels, .. } = data.y() else { unreachable!() };
            let (found, derivative) = loss_at(&z, &data, &config);
            let logits = Var::from_vec(z.to_vec(), (1, 5), &Device::Cpu).unwrap();
            let plain = composed(&logits, labels, soft(&data).as_ref(), &config).unwrap();
            let gradient = plain.backward().unwrap().get(&logits).unwrap().flatten_all().unwrap();
            let plain: f64 = plain.to_scalar().unwrap();
            assert!((found / plain - 1.0).abs() < 1e-12, "{normalizer:?} {z:?}: {found} {plain}");
            for (a, b) in derivative.iter().zip(gradient.to_vec1::<f64>().unwrap()) {
                assert!((a - b).abs() < 1e-12, "{normalizer:?} {z:?}: {a} {b}");
            }
        }
    }
}

#[test]
fn bad_answers_are_refused_and_not_a_number_ends() {
    let message =
        |normalizer: Normalizer, l: &[f64]| normalizer.log_normalizer(l).unwrap_err().to_string();
    assert_eq!(message(Normalizer::Simplex, &[]), "classes: expected at least 1, found 0");
    assert_eq!(
        message(Normalizer::Simplex, &[-1.0, f64::NAN]),
        "log g must lie in (−∞, ∞), got NaN"
    );
    assert_eq!(message(Normalizer::Orthant, &[-1.0, 0.0]), "log g must lie in (−∞, 0), got 0");
    let one = Dataset::classification(vec![0.0], vec![0], 1, &Device::Cpu).unwrap();
    let logits = Tensor::zeros((1, 1), DType::F64, &Device::Cpu).unwrap();
    let error = distillation(&logits, &one, &teacher_alone(Normalizer::Orthant)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "classes of a likelihood on the orthant: expected at least 2, found 1"
    );
    for normalizer in NORMALIZED {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let (loss, _) =
                loss_at(&[0.0, bad, 1.0], &taught(&[0.2; 3]), &teacher_alone(normalizer));
            assert!(!loss.is_finite(), "{normalizer:?} {bad}: {loss}");
        }
    }
}
