//! Measures by hand, their limits, and what is told of networks that do not fit.

use candle_core::Tensor;
use candle_core::{DType, Device};
use core_tensors::{Rng, Targets};
use losses::Predictions;

use super::*;
use crate::ledger::quality::PairedMeasure;
use crate::ledger::stats;

fn tensor(rows: &[&[f64]]) -> Tensor {
    let (m, k) = (rows.len(), rows[0].len());
    Tensor::from_vec(rows.concat(), (m, k), &Device::Cpu).unwrap()
}

fn classes(labels: &[u32], n_classes: usize) -> Targets {
    Targets::Classes { labels: Tensor::new(labels, &Device::Cpu).unwrap(), n_classes }
}

fn part<'a>(predicted: Predicted, targets: Option<&'a Targets>) -> TestPart<'a> {
    TestPart { predicted, targets, class_names: &[], indices: &[], n_disagreements: 2, image: None }
}

fn measure(quality: &PairedQuality, metric: Metric) -> PairedMeasure {
    *quality.measure(metric).unwrap()
}

#[track_caller]
fn assert_near(found: f64, wanted: f64) {
    assert!((found - wanted).abs() < 1e-9, "found {found}, wanted {wanted}");
}

/// m logits of k classes, labels that the network is right on in most cases, and a perturbed copy.
fn random(m: usize, k: usize, rng: &mut Rng) -> (Tensor, Tensor, Targets) {
    let z: Vec<f64> = (0..m * k).map(|_| 2.0 * rng.normal()).collect();
    let other: Vec<f64> = z.iter().map(|z| z + 0.5 * rng.normal()).collect();
    let [z, other] = [z, other].map(|z| Tensor::from_vec(z, (m, k), &Device::Cpu).unwrap());
    let best = Predictions::new(&z).unwrap().classes();
    let label = |class: &u32| if rng.uniform() < 0.2 { rng.below(k) as u32 } else { *class };
    let labels: Vec<u32> = best.iter().map(label).collect();
    (z, other, classes(&labels, k))
}

#[test]
fn classifiers_by_hand() {
    let ln = f64::ln;
    let first = tensor(&[
        &[ln(0.9), ln(0.1)],
        &[ln(0.6), ln(0.4)],
        &[ln(0.2), ln(0.8)],
        &[ln(0.7), ln(0.3)],
    ]);
    let second = tensor(&[
        &[ln(0.9), ln(0.1)],
        &[ln(0.4), ln(0.6)],
        &[ln(0.2), ln(0.8)],
        &[ln(0.4), ln(0.6)],
    ]);
    let (targets, names) = (classes(&[0, 0, 1, 1], 2), ["cat".to_owned(), "dog".to_owned()]);
    let part = TestPart {
        class_names: &names,
        indices: &[10, 11, 12, 13],
        ..part(Predicted::Classes, Some(&targets))
    };
    let (first, second) = (Outputs::new(&first), Outputs::new(&second));
    let quality = paired_quality(first, second, &part, &mut Rng::new(0)).unwrap();
    let accuracy = measure(&quality, metric::ACCURACY);
    assert_eq!((accuracy.first, accuracy.second, accuracy.difference.value), (0.75, 0.75, 0.0));
    let interval = stats::paired_proportions_interval(1, 1, 4);
    assert_eq!((accuracy.difference.low, accuracy.difference.high), interval);
    let mc_nemar = quality.mc_nemar.unwrap();
    assert_eq!((mc_nemar.only_first, mc_nemar.only_second, mc_nemar.p), (1, 1, 1.0));
    let cross_entropy = measure(&quality, metric::CROSS_ENTROPY);
    assert_near(cross_entropy.first, -(ln(0.9) + ln(0.6) + ln(0.8) + ln(0.3)) / 4.0);
    // Losses of the second less those of the first are 0, log 1.5, 0 and −log 2.
    let (mean, a, b) = ((ln(1.5) - ln(2.0)) / 4.0, ln(1.5), -ln(2.0));
    let variance = (2.0 * mean * mean + (a - mean).powi(2) + (b - mean).powi(2)) / 3.0;
    assert_near(cross_entropy.difference.value, mean);
    // t₀.₉₇₅(3)
    let half = 3.182_446_305_284_263 * (variance / 4.0).sqrt();
    assert_near(cross_entropy.difference.high, mean + half);
    assert_near(measure(&quality, metric::AGREEMENT).second, 0.5);
    let kl = [0.6 * ln(1.5) - 0.4 * ln(1.5), 0.7 * ln(0.7 / 0.4) + 0.3 * ln(0.3 / 0.6)];
    assert_near(measure(&quality, metric::TEACHER_DIVERGENCE).second, (kl[0] + kl[1]) / 4.0);
    let words: Vec<_> = quality
        .disagreements
        .iter()
        .map(|d| (d.example, d.first.as_str(), d.second.as_str()))
        .collect();
    assert_eq!(words, [(13, "cat (.70)", "dog (.60)"), (11, "cat (.60)", "dog (.60)")]);
    assert_eq!(quality.disagreements[0].label.as_deref(), Some("dog"));
    // The class that lost comes first.
    assert_eq!(
        (quality.classes[0].class.as_str(), quality.classes[0].difference.value),
        ("cat", -0.5)
    );
    assert_eq!(quality.reliability[0].iter().map(|bin| bin.n_examples).sum::<usize>(), 4);
    assert!(quality.measure(metric::CALIBRATED_CROSS_ENTROPY).is_none());
    let order: Vec<usize> = quality.measures.iter().map(|m| place(m.metric)).collect();
    assert!(order.is_sorted());
}

#[test]
fn a_network_beside_itself_differs_in_nothing() {
    for seed in 0..3 {
        let mut rng = Rng::new(seed);
        let (logits, _, targets) = random(200, 3, &mut rng);
        let part = part(Predicted::Classes, Some(&targets));
        let calibration = Calibration::fitted(&logits, &targets).unwrap();
        let outputs = Outputs { values: &logits, calibration: Some(&calibration) };
        let quality = paired_quality(outputs, outputs, &part, &mut rng).unwrap();
        for measure in &quality.measures {
            assert_eq!(measure.difference.value, 0.0, "{:?}", measure.metric);
            assert_eq!(measure.first, measure.second);
            assert!(measure.difference.low <= 0.0 && measure.difference.high >= 0.0);
        }
        assert_eq!(quality.mc_nemar.unwrap().p, 1.0);
        assert!(quality.disagreements.is_empty());
        // The temperature is the best one on the examples it was fitted on.
        let of = |metric| measure(&quality, metric).first;
        assert!(of(metric::CALIBRATED_CROSS_ENTROPY) <= of(metric::CROSS_ENTROPY));
    }
}

#[test]
fn swapped_networks_have_mirrored_differences_and_labels_are_optional() {
    let mut rng = Rng::new(4);
    let (logits, other, targets) = random(300, 4, &mut rng);
    let with = part(Predicted::Classes, Some(&targets));
    let (a, b) = (Outputs::new(&logits), Outputs::new(&other));
    let there = paired_quality(a, b, &with, &mut Rng::new(0)).unwrap();
    let back = paired_quality(b, a, &with, &mut Rng::new(0)).unwrap();
    for metric in
        [metric::ACCURACY, metric::CROSS_ENTROPY, metric::BRIER, metric::DEBIASED_CALIBRATION_ERROR]
    {
        let [there, back] = [&there, &back].map(|quality| measure(quality, metric).difference);
        assert_near(there.value, -back.value);
        assert_near(there.low, -back.high);
    }
    let without = part(Predicted::Classes, None);
    let unlabeled = paired_quality(a, b, &without, &mut Rng::new(0)).unwrap();
    assert!(!unlabeled.has_labels && unlabeled.classes.is_empty() && unlabeled.mc_nemar.is_none());
    assert_eq!(unlabeled.measures.len(), 2);
    for metric in [metric::AGREEMENT, metric::TEACHER_DIVERGENCE] {
        assert_eq!(measure(&unlabeled, metric), measure(&there, metric));
    }
}

#[test]
fn a_single_logit_is_that_of_class_1() {
    let one = tensor(&[&[2.0], &[-1.0], &[0.5]]);
    let two = tensor(&[&[0.0, 2.0], &[0.0, -1.0], &[0.0, 0.5]]);
    let targets = classes(&[1, 0, 0], 2);
    let part = part(Predicted::Classes, Some(&targets));
    let of = |z: &Tensor| quality_alone(Outputs::new(z), &part, &mut Rng::new(0)).unwrap();
    assert_eq!(of(&one), of(&two));
    assert_eq!(of(&one).measures[0].value.value, 2.0 / 3.0);
    assert_eq!(right(&one, &targets).unwrap(), [true, true, false]);
    let beyond = classes(&[2, 0, 0], 3);
    let message = right(&one, &beyond).unwrap_err().to_string();
    assert_eq!(message, "row 0 (from 0): expected a class from 0 to 1, found 2");
}

#[test]
fn values_by_hand() {
    let y = Targets::Values(tensor(&[&[0.0, 1.0], &[2.0, 1.0], &[4.0, 1.0]]));
    let first = tensor(&[&[0.0, 1.0], &[2.0, 1.0], &[5.0, 1.0]]);
    let second = tensor(&[&[1.0, 1.0], &[2.0, 1.0], &[4.0, 3.0]]);
    let part = part(Predicted::Values, Some(&y));
    let given = Calibration::of_noise(vec![0.5, 2.0]);
    let [a, b] = [&first, &second].map(|values| Outputs { values, calibration: Some(&given) });
    let quality = paired_quality(a, b, &part, &mut Rng::new(0)).unwrap();
    // The second output's targets do not differ: R² is that of the first, whose variance is 8/3.
    let r_squared = measure(&quality, metric::R_SQUARED);
    assert_near(r_squared.first, 1.0 - 1.0 / 8.0);
    assert_near(r_squared.second, 1.0 - 1.0 / 8.0);
    assert_near(r_squared.difference.value, 0.0);
    // Losses ⅜, 0, −⅜ have a standard error of √(9/64 / 3); t₀.₉₇₅(2).
    assert_near(r_squared.difference.high, 4.302_652_729_749_462 * (9.0 / 64.0 / 3.0f64).sqrt());
    let losses = r_squared_losses(&first, &second, &y).unwrap().unwrap();
    losses.iter().zip([0.375, 0.0, -0.375]).for_each(|(found, wanted)| assert_near(*found, wanted));
    let root = measure(&quality, metric::ROOT_MEAN_SQUARED_ERROR);
    assert_near(root.first, (1.0 / 6.0f64).sqrt());
    assert_near(root.second, (5.0 / 6.0f64).sqrt());
    assert_near(measure(&quality, metric::TEACHER_DISTANCE).second, 1.0);
    let tau = std::f64::consts::TAU;
    // ½ log(2π ½) + ½ log(2π 2) = log 2π, and squared errors 1/½ over 3 examples.
    assert_near(measure(&quality, metric::NORMAL_NLL).first, tau.ln() + 1.0 / 3.0);
    assert_near(measure(&quality, metric::COVERAGE).first, 1.0);
    assert_eq!(quality.disagreements[0].example, 2);
    assert_eq!(quality.disagreements[0].first, "5.000, 1.000");
    let fitted = Calibration::fitted(&second, &y).unwrap();
    assert_eq!(fitted, Calibration::of_noise(vec![1.0 / 3.0, 4.0 / 3.0]));
}

#[test]
fn a_predictive_distribution_has_a_variance_for_each_example() {
    let of = |values: Vec<f64>| Tensor::from_vec(values, (2, 2), &Device::Cpu).unwrap();
    let (values, y) = (of(vec![0.0; 4]), of(vec![1.0, 3.0, 2.0, 4.0]));
    let targets = Targets::Values(y);
    let part = part(Predicted::Values, Some(&targets));
    let variances = [1.0, 1.0, 4.0, 2.0];
    let own = Calibration::of_predictive(&variances, 2);
    let outputs = Outputs { values: &values, calibration: Some(&own) };
    let quality = quality_alone(outputs, &part, &mut Rng::new(0)).unwrap();
    let found = |metric| quality.measures.iter().find(|m| m.metric == metric).unwrap().value.value;
    // Of 1, 3, 1 and 2√2 standard deviations two lie within 1.96.
    assert_near(found(metric::COVERAGE), 0.5);
    let squares = 1.0 + 9.0 + 1.0 + 8.0;
    let logs: f64 = variances.iter().map(|v| (std::f64::consts::TAU * v).ln()).sum();
    assert_near(found(metric::NORMAL_NLL), 0.25 * (squares + logs));
}

#[test]
fn r_squared_alone_has_an_interval_that_covers() {
    // y = x + noise of variance ¼ with x ~ N(0, 1), f = x: R² is 0.8.
    let mut rng = Rng::new(5);
    let (m, n_draws) = (200, 400);
    let mut n_covered = 0;
    for _ in 0..n_draws {
        let x: Vec<f64> = (0..m).map(|_| rng.normal()).collect();
        let y: Vec<f64> = x.iter().map(|x| x + 0.5 * rng.normal()).collect();
        let [x, y] = [x, y].map(|v| Tensor::from_vec(v, (m, 1), &Device::Cpu).unwrap());
        let targets = Targets::Values(y);
        let part = part(Predicted::Values, Some(&targets));
        let quality = quality_alone(Outputs::new(&x), &part, &mut rng).unwrap();
        let found = quality.measures.iter().find(|m| m.metric == metric::R_SQUARED).unwrap().value;
        n_covered += usize::from(found.low <= 0.8 && found.high >= 0.8);
    }
    // A standard deviation of .011.
    let share = n_covered as f64 / f64::from(n_draws);
    assert!((share - 0.95).abs() < 0.04, "{share}");
}

#[test]
fn intervals_of_a_loss_of_r_squared_cover_it() {
    // Targets of variances 1 and 10⁴, both outputs exact; the second network errs by the same amount everywhere, a half of the
    // first output's variance and a tenth of the second's: R² falls by .3.
    let (m, n_draws, scale) = (150, 400, 100.0);
    let shift = [0.5f64.sqrt(), scale * 0.1f64.sqrt()];
    let mut rng = Rng::new(8);
    let (mut n_covered, mut n_without) = (0, 0);
    let covers = |losses: &[f64]| {
        let (low, high) = stats::Estimate::new(losses).ci95;
        usize::from(low <= 0.3 && 0.3 <= high)
    };
    for _ in 0..n_draws {
        let y: Vec<f64> = (0..m).flat_map(|_| [rng.normal(), scale * rng.normal()]).collect();
        let g: Vec<f64> = y.iter().enumerate().map(|(i, y)| y + shift[i % 2]).collect();
        let column = |j: usize| y.iter().copied().skip(j).step_by(2).collect::<Vec<_>>();
        let variances = [0, 1].map(|j| stats::population_std(&column(j)).powi(2));
        // What each example loses as a share of the variance, as if that were known.
        let share = (0..2).map(|j| shift[j].powi(2) / variances[j] / 2.0).sum::<f64>();
        let [y, g] = [y, g].map(|v| Tensor::from_vec(v, (m, 2), &Device::Cpu).unwrap());
        let targets = Targets::Values(y.clone());
        let losses = r_squared_losses(&y, &g, &targets).unwrap().unwrap();
        assert_near(stats::mean(&losses), share);
        let part = part(Predicted::Values, Some(&targets));
        let quality = paired_quality(Outputs::new(&y), Outputs::new(&g), &part, &mut rng).unwrap();
        let found = measure(&quality, metric::R_SQUARED).difference;
        let (low, high) = stats::Estimate::new(&losses).ci95;
        assert_near(found.low, -high);
        assert_near(found.high, -low);
        n_covered += covers(&losses);
        n_without += covers(&vec![share; m]);
    }
    // A standard deviation of .011; the error of a ratio is skewed.
    let share = n_covered as f64 / f64::from(n_draws);
    assert!((share - 0.95).abs() < 0.04, "{share}");
    assert_eq!(n_without, 0, "without the spread's error the interval is a point");
}

#[test]
fn the_error_of_a_loss_of_r_squared_is_that_of_examples_drawn_anew() {
    let mut rng = Rng::new(9);
    let m = 300;
    let y: Vec<f64> = (0..m).flat_map(|_| [rng.normal(), 0.01 * rng.normal().powi(3)]).collect();
    let mut with_noise = |noise: f64| -> Vec<f64> {
        let scale = [1.0, 0.01];
        y.iter().enumerate().map(|(i, y)| y + noise * scale[i % 2] * rng.normal()).collect()
    };
    let (f, g) = (with_noise(0.3), with_noise(0.9));
    let rows = |v: &[f64], of: &[usize]| {
        let v: Vec<f64> = of.iter().flat_map(|&i| [v[2 * i], v[2 * i + 1]]).collect();
        Tensor::from_vec(v, (of.len(), 2), &Device::Cpu).unwrap()
    };
    let losses = |of: &[usize]| {
        let targets = Targets::Values(rows(&y, of));
        r_squared_losses(&rows(&f, of), &rows(&g, of), &targets).unwrap().unwrap()
    };
    let all: Vec<usize> = (0..m).collect();
    let error = stats::population_std(&losses(&all)) / (m as f64).sqrt();
    let mut draws = Rng::new(10);
    let [wanted] = bootstrap::standard_errors(m, &mut draws, |of| [stats::mean(&losses(of))]);
    assert!((error / wanted - 1.0).abs() < 0.15, "{error} {wanted}");
}

#[test]
fn the_bootstrap_knows_the_standard_error_of_a_mean() {
    let mut rng = Rng::new(6);
    let values: Vec<f64> = (0..400).map(|_| rng.normal()).collect();
    let mean = |of: &[usize]| [of.iter().map(|&i| values[i]).sum::<f64>() / of.len() as f64];
    let [error] = bootstrap::standard_errors(400, &mut rng, mean);
    let wanted = stats::population_std(&values) / 20.0;
    assert!((error / wanted - 1.0).abs() < 0.15, "{error} {wanted}");
}

#[test]
fn two_folds_calibrate_each_other() {
    let mut rng = Rng::new(10);
    let (logits, _, targets) = random(100, 3, &mut rng);
    let Targets::Classes { labels, .. } = &targets else { panic!("no classes") };
    let labels = labels.to_vec1::<u32>().unwrap();
    let part = part(Predicted::Classes, Some(&targets));
    let calibration = Calibration::two_fold(&logits, &targets).unwrap();
    let outputs = Outputs { values: &logits, calibration: Some(&calibration) };
    let quality = quality_alone(outputs, &part, &mut rng).unwrap();
    let metric = metric::CALIBRATED_CROSS_ENTROPY;
    let found = quality.measures.iter().find(|m| m.metric == metric).unwrap().value.value;
    let half = |parity: usize| {
        let of: Vec<u32> = (parity as u32..100).step_by(2).collect();
        let labels: Vec<u32> = of.iter().map(|&i| labels[i as usize]).collect();
        (logits.index_select(&Tensor::new(of, &Device::Cpu).unwrap(), 0).unwrap(), labels)
    };
    let [(z0, y0), (z1, y1)] = [half(0), half(1)];
    let loss = |z: &Tensor, y: &[u32], t: f64| {
        Predictions::tempered(z, t).unwrap().cross_entropy(y).unwrap()
    };
    let [t0, t1] = [(&z0, &y0), (&z1, &y1)].map(|(z, y)| losses::fitted_temperature(z, y).unwrap());
    assert_near(found, (loss(&z0, &y0, t1) + loss(&z1, &y1, t0)) / 2.0);
}

#[test]
fn networks_of_different_shapes_are_refused() {
    let (a, b) = (tensor(&[&[0.0, 1.0]]), tensor(&[&[0.0, 1.0, 2.0]]));
    let part = part(Predicted::Classes, None);
    let refused = |a: &Tensor, b: &Tensor| {
        let found = paired_quality(Outputs::new(a), Outputs::new(b), &part, &mut Rng::new(0));
        found.unwrap_err().to_string()
    };
    assert!(refused(&a, &b).starts_with("expected networks with as many outputs, found 2 and 3"));
    let both = tensor(&[&[0.0, 1.0], &[0.0, 1.0]]);
    assert!(refused(&a, &both).ends_with("found 1 and 2"));
}

#[test]
fn images_are_scaled_to_what_a_screen_shows() {
    let x = Tensor::new(&[[-1f32, 0.0, 1.0, 3.0]], &Device::Cpu).unwrap();
    let image = thumbnail(&x, [1, 2, 2], 0).unwrap();
    assert_eq!(image.intensities, [0.0, 0.25, 0.5, 1.0]);
    let unit = Tensor::new(&[[0.25f32, 0.5, 0.5, 0.5]], &Device::Cpu).unwrap();
    assert_eq!(thumbnail(&unit, [1, 2, 2], 0).unwrap().intensities, [0.25, 0.5, 0.5, 0.5]);
    assert_eq!(thumbnail(&unit, [4, 1, 1], 0).unwrap().channels, 1);
    assert!(thumbnail(&unit, [3, 2, 2], 0).is_err());
}

mod fitting;
