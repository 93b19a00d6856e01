//! Measures of classifiers.

use anyhow::{Context, Result};
use candle_core::Tensor;
use core_tensors::Rng;
use losses::{Predictions, calibration_bins, debiased_squared_calibration_error, equal_mass};

use super::TestPart;
use super::bootstrap::{interval, standard_errors};
use super::outputs::{Outputs, class_logits, interval_of_mean, labels};
use super::words;
use crate::ledger::quality::{
    ClassAccuracy, Interval, McNemar, Measure, OneClass, PairedMeasure, PairedQuality, Predicted,
    Quality, ReliabilityBin,
};
use crate::ledger::{Metric, metric, stats};

/// A classifier on examples with labels.
struct Judged {
    right: Vec<bool>,
    /// Measures that are means over the examples.
    means: Vec<(Metric, Vec<f64>)>,
    judged: Vec<(f64, bool)>,
    bin_of: Vec<u8>,
}

impl Judged {
    fn new(outputs: Outputs, predictions: &Predictions, labels: &[u32]) -> Result<Self> {
        let judged = predictions.judged(labels)?;
        let mut means = vec![
            (metric::CROSS_ENTROPY, predictions.negative_logs(labels)?),
            (metric::BRIER, predictions.briers(labels)?),
        ];
        if let Some(temperatures) = outputs.temperatures() {
            let calibrated = calibrated(&class_logits(outputs.values)?, &temperatures, labels)?;
            means.push((metric::CALIBRATED_CROSS_ENTROPY, calibrated));
        }
        let right = judged.iter().map(|(_, is_right)| *is_right).collect();
        let bin_of = equal_mass(&judged)?;
        Ok(Self { right, means, judged, bin_of })
    }

    fn n_right(&self) -> usize {
        self.right.iter().filter(|is_right| **is_right).count()
    }

    /// Calibration errors of examples: plain, and the root of the debiased square.
    fn calibration(&self, of: &[usize]) -> f64 {
        let examples = of.iter().copied();
        let squared = debiased_squared_calibration_error(&self.judged, &self.bin_of, examples);
        // Below 0 there is no error that the noise lets see; what is no number stays none.
        if squared < 0.0 { 0.0 } else { squared.sqrt() }
    }

    fn reliability(&self) -> Result<Vec<ReliabilityBin>> {
        let bins = calibration_bins(&self.judged)?.into_iter();
        let bin = |bin: losses::CalibrationBin| ReliabilityBin {
            confidence: bin.confidence,
            accuracy: bin.accuracy,
            n_examples: bin.n_examples,
        };
        Ok(bins.map(bin).collect())
    }
}

/// −log softmax(z / T) of each example's label, example i at the temperature of its fold.
fn calibrated(logits: &Tensor, temperatures: &[f64], labels: &[u32]) -> Result<Vec<f64>> {
    let by_fold = |&temperature: &f64| {
        Ok::<_, anyhow::Error>(Predictions::tempered(logits, temperature)?.negative_logs(labels)?)
    };
    let by_fold = temperatures.iter().map(by_fold).collect::<Result<Vec<_>>>()?;
    Ok((0..labels.len()).map(|i| by_fold[i % by_fold.len()][i]).collect())
}

const CALIBRATION: Metric = metric::DEBIASED_CALIBRATION_ERROR;

/// Both networks on the examples.
pub(super) fn paired(
    first: Outputs,
    second: Outputs,
    part: &TestPart,
    rng: &mut Rng,
) -> Result<PairedQuality> {
    let of = |outputs: Outputs| {
        Ok::<_, anyhow::Error>(Predictions::new(&class_logits(outputs.values)?)?)
    };
    let both = [of(first)?, of(second)?];
    let distances = both[1].divergences_from(&both[0])?;
    let labels = match part.targets {
        Some(targets) => Some(labels(targets, &class_logits(first.values)?)?),
        None => None,
    };
    let classes = [both[0].classes(), both[1].classes()];
    let mut quality = PairedQuality {
        predicted: Predicted::Classes,
        n_examples: distances.len(),
        has_labels: labels.is_some(),
        measures: of_the_first(&classes, &distances),
        mc_nemar: None,
        classes: Vec::new(),
        reliability: [Vec::new(), Vec::new()],
        disagreements: words::classes(&both, &classes, labels.as_deref(), &distances, part)?,
    };
    let Some(labels) = labels else { return Ok(quality) };
    let judged = [Judged::new(first, &both[0], &labels)?, Judged::new(second, &both[1], &labels)?];
    let [a, b] = &judged;
    quality.measures.extend(measures(a, b, rng));
    let (only_first, only_second) = stats::discordant(&a.right, &b.right);
    let p = stats::mc_nemar_p(only_first, only_second);
    quality.mc_nemar = Some(McNemar { only_first, only_second, p });
    quality.classes = by_class(a, b, &labels, part);
    quality.reliability = [a.reliability()?, b.reliability()?];
    Ok(quality)
}

/// Agreement of the second with the first, and its divergence from it.
fn of_the_first(classes: &[Vec<u32>; 2], distances: &[f64]) -> Vec<PairedMeasure> {
    let m = distances.len();
    let n_equal = classes[0].iter().zip(&classes[1]).filter(|(a, b)| a == b).count();
    let (low, high) = stats::proportion_interval(n_equal, m);
    let agreement = Interval { value: n_equal as f64 / m as f64, low, high };
    vec![
        PairedMeasure::from_exact(metric::AGREEMENT, 1.0, agreement),
        PairedMeasure::from_exact(metric::TEACHER_DIVERGENCE, 0.0, interval_of_mean(distances)),
    ]
}

fn measures(a: &Judged, b: &Judged, rng: &mut Rng) -> Vec<PairedMeasure> {
    let m = a.right.len();
    let (only_a, only_b) = stats::discordant(&a.right, &b.right);
    let [first, second] = [a, b].map(|judged| judged.n_right() as f64 / m as f64);
    let difference = of_proportions(only_a, only_b, m);
    let mut measures = vec![PairedMeasure::new(metric::ACCURACY, first, second, difference)];
    for (metric, of_a) in &a.means {
        let Some((_, of_b)) = b.means.iter().find(|(other, _)| other == metric) else { continue };
        measures.push(of_means(*metric, of_a, of_b));
    }
    let all: Vec<usize> = (0..m).collect();
    let [error] = standard_errors(m, rng, |of| [b.calibration(of) - a.calibration(of)]);
    let [first, second] = [a.calibration(&all), b.calibration(&all)];
    let difference = interval(second - first, error);
    measures.push(PairedMeasure::new(CALIBRATION, first, second, difference));
    measures
}

/// Second minus first, in the shares that either alone is right on.
fn of_proportions(only_first: usize, only_second: usize, m: usize) -> Interval {
    let (low, high) = stats::paired_proportions_interval(only_first, only_second, m);
    Interval { value: (only_second as f64 - only_first as f64) / m as f64, low, high }
}

/// Means over examples, and Student's interval of the mean difference.
pub(super) fn of_means(metric: Metric, first: &[f64], second: &[f64]) -> PairedMeasure {
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| b - a).collect();
    let difference = interval_of_mean(&differences);
    PairedMeasure::new(metric, stats::mean(first), stats::mean(second), difference)
}

fn by_class(a: &Judged, b: &Judged, labels: &[u32], part: &TestPart) -> Vec<ClassAccuracy> {
    let n_classes = labels.iter().max().map_or(0, |&last| last as usize + 1);
    let mut classes: Vec<ClassAccuracy> = of_each_class(labels, n_classes)
        .into_iter()
        .filter(|(_, of)| !of.is_empty())
        .map(|(class, of)| {
            let pick = |right: &[bool]| of.iter().map(|&i| right[i]).collect::<Vec<_>>();
            let (first, second) = (pick(&a.right), pick(&b.right));
            let (only_first, only_second) = stats::discordant(&first, &second);
            let share = |right: &[bool]| {
                right.iter().filter(|right| **right).count() as f64 / of.len() as f64
            };
            ClassAccuracy {
                class: words::class(part.class_names, class),
                n_examples: of.len(),
                first: share(&first),
                second: share(&second),
                difference: of_proportions(only_first, only_second, of.len()),
            }
        })
        .collect();
    classes.sort_by(|x, y| x.difference.value.total_cmp(&y.difference.value));
    classes
}

/// Each class with its examples.
fn of_each_class(labels: &[u32], n_classes: usize) -> Vec<(usize, Vec<usize>)> {
    let mut of: Vec<(usize, Vec<usize>)> =
        (0..n_classes).map(|class| (class, Vec::new())).collect();
    for (i, &label) in labels.iter().enumerate() {
        if let Some((_, examples)) = of.get_mut(label as usize) {
            examples.push(i);
        }
    }
    of
}

/// One network on the examples.
pub(super) fn alone(outputs: Outputs, part: &TestPart, rng: &mut Rng) -> Result<Quality> {
    let targets = part.targets.context("expected labels to measure a network by, found none")?;
    let logits = class_logits(outputs.values)?;
    let labels = labels(targets, &logits)?;
    let predictions = Predictions::new(&logits)?;
    let judged = Judged::new(outputs, &predictions, &labels)?;
    let (m, n_right) = (labels.len(), judged.n_right());
    let (low, high) = stats::proportion_interval(n_right, m);
    let accuracy = Interval { value: n_right as f64 / m as f64, low, high };
    let mut measures = vec![Measure::new(metric::ACCURACY, accuracy)];
    let means = judged.means.iter();
    measures.extend(means.map(|(metric, of)| Measure::new(*metric, interval_of_mean(of))));
    let [error] = standard_errors(m, rng, |of| [judged.calibration(of)]);
    let all: Vec<usize> = (0..m).collect();
    measures.push(Measure::new(CALIBRATION, interval(judged.calibration(&all), error)));
    Ok(Quality {
        predicted: Predicted::Classes,
        n_examples: m,
        measures,
        classes: one_by_one(&judged, &predictions.classes(), &labels, part),
        reliability: judged.reliability()?,
    })
}

fn one_by_one(judged: &Judged, found: &[u32], labels: &[u32], part: &TestPart) -> Vec<OneClass> {
    let n_classes = labels.iter().chain(found).max().map_or(0, |&last| last as usize + 1);
    let mut classes: Vec<OneClass> = of_each_class(labels, n_classes)
        .into_iter()
        .filter(|(_, of)| !of.is_empty())
        .map(|(class, of)| {
            let n_right = of.iter().filter(|&&i| judged.right[i]).count();
            let (low, high) = stats::proportion_interval(n_right, of.len());
            let mut others = vec![0; n_classes];
            of.iter().filter(|&&i| !judged.right[i]).for_each(|&i| others[found[i] as usize] += 1);
            // The first among equals.
            let most = (0..n_classes).rev().max_by_key(|&other| others[other]);
            let most = most.filter(|&other| others[other] > 0);
            OneClass {
                class: words::class(part.class_names, class),
                n_examples: of.len(),
                accuracy: Interval { value: n_right as f64 / of.len() as f64, low, high },
                taken_for: most.map(|other| (words::class(part.class_names, other), others[other])),
            }
        })
        .collect();
    classes.sort_by(|x, y| x.accuracy.value.total_cmp(&y.accuracy.value));
    classes
}
