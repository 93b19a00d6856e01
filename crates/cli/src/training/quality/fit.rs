//! Whether a network fits examples at all: it must be better than the best constant prediction.

use anyhow::Result;
use candle_core::Tensor;
use core_tensors::Targets;
use losses::Predictions;

use super::outputs::{class_logits, labels};
use super::values;
use crate::ledger::quality::{FitCheck, FitMeasure};
use crate::ledger::{metric, stats};

/// Each of two one-sided tests has half of the 5 % that a network without any use may pass by.
const LEVEL: f64 = 0.975;
/// Share of the constant's errors above which a cross-entropy worse than the constant's is no mere overconfidence.
const MOST_ERRORS: f64 = 0.5;

/// A network beside the best constant prediction on the same examples.
///
/// Classes: accuracy beside the share of the most frequent class, by McNemar's test, and cross-entropy beside the
/// entropy of the shares; values: R² and RMSE beside the means of the targets; means over examples by Student's one-sided
/// bound. Better by one of the tests is better: a network can be poorly calibrated, or classes unbalanced. Not better are
/// classes whose cross-entropy is above the constant's while more than half of the constant's errors are left: a network
/// that is sure and often wrong was trained on other inputs, while one that is merely too sure is seldom wrong.
pub fn fit_check(outputs: &Tensor, targets: &Targets) -> Result<FitCheck> {
    match targets {
        Targets::Classes { .. } => of_classes(outputs, targets),
        Targets::Values(_) => values::fit(outputs, targets, LEVEL),
    }
}

fn of_classes(outputs: &Tensor, targets: &Targets) -> Result<FitCheck> {
    let logits = class_logits(outputs)?;
    let labels = labels(targets, &logits)?;
    let predictions = Predictions::new(&logits)?;
    let m = labels.len();
    let mut counts = vec![0_usize; logits.dims2()?.1];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    let share = |class: usize| counts[class] as f64 / m as f64;
    let most = (0..counts.len()).rev().max_by_key(|&class| counts[class]).unwrap_or(0);

    let classes = predictions.classes();
    let right: Vec<bool> = classes.iter().zip(&labels).map(|(a, b)| a == b).collect();
    let constant_right: Vec<bool> = labels.iter().map(|&label| label as usize == most).collect();
    let (only_network, only_constant) = stats::discordant(&right, &constant_right);
    let is_more_accurate = stats::is_more_often_right_p(only_network, only_constant) < 1.0 - LEVEL;

    let logs = predictions.negative_logs(&labels)?;
    let constant_logs: Vec<f64> = labels.iter().map(|&label| -share(label as usize).ln()).collect();
    let losses: Vec<f64> = logs.iter().zip(&constant_logs).map(|(a, b)| a - b).collect();
    let is_more_likely = stats::upper_bound_of_mean(&losses, LEVEL) < 0.0;

    let accuracy = FitMeasure {
        metric: metric::ACCURACY,
        network: predictions.accuracy(&labels)?,
        constant: share(most),
    };
    let likelihood = FitMeasure {
        metric: metric::CROSS_ENTROPY,
        network: stats::mean(&logs),
        constant: stats::mean(&constant_logs),
    };
    let is_sure_and_wrong = likelihood.network > likelihood.constant
        && 1.0 - accuracy.network > MOST_ERRORS * (1.0 - accuracy.constant);
    let measures = vec![accuracy, likelihood];
    let is_finite = measures.iter().all(|measure| !measure.network.is_nan());
    let is_better = is_finite && (is_more_accurate || is_more_likely) && !is_sure_and_wrong;
    Ok(FitCheck { n_examples: m, measures, is_better })
}
