//! What each measure means, in half a sentence, for a reader who knows no statistics.

use crate::ledger::{Better, Metric};

/// Name of a metric, what it means.
const MEANINGS: [(&str, &str); 15] = [
    ("accuracy", "the share of examples whose most probable class is the label"),
    (
        "cross_entropy",
        "minus the logarithm of the probability that is given to the label (negative log-likelihood, NLL), on average; it \
         punishes confident mistakes",
    ),
    (
        "calibrated_cross_entropy",
        "the cross-entropy after all logits were divided by the temperature that fits the validation examples best: what is left when \
         only the confidence is corrected",
    ),
    (
        "brier",
        "the squared distance of the predicted probabilities from the label’s (1 for the label, 0 for other classes)",
    ),
    (
        "calibration_error",
        "the expected calibration error: how far confidence and the share of correct predictions are apart, on average over \
         ranges of confidence",
    ),
    (
        "calibration_error_of_equal_mass",
        "the expected calibration error: how far confidence and the share of correct predictions are apart, on average over \
         equally large groups of examples",
    ),
    (
        "debiased_calibration_error",
        "how far confidence and the share of correct predictions are apart, as a root mean square over equally large groups of \
         examples, without what chance alone adds in groups of few examples",
    ),
    ("agreement", "the share of examples for which both networks predict the same class"),
    (
        "teacher_divergence",
        "how far the student’s predictions are from the network’s; 0 where they are the same",
    ),
    (
        "r_squared",
        "the share of the targets’ variance that is predicted; 1 is perfect, 0 no better than always predicting the mean",
    ),
    ("root_mean_squared_error", "the root of the mean squared error, in the unit of the target"),
    ("squared_error", "the mean squared error, in the squared unit of the target"),
    (
        "normal_nll",
        "minus the logarithm of the probability density of the target under a normal distribution around the prediction, on \
         average",
    ),
    (
        "coverage",
        "the share of targets that lie within the central 95 % of that normal distribution; .95 where the prediction is as sure \
         as it should be, less where it is too sure",
    ),
    (
        "teacher_distance",
        "how far the student’s values are from the network’s; 0 where they are the same",
    ),
];

/// What a metric means, if that is known here.
pub(super) fn meaning(metric: Metric) -> Option<&'static str> {
    MEANINGS.iter().find(|(name, _)| *name == metric.name).map(|(_, meaning)| *meaning)
}

/// One line about a metric.
pub(super) fn of(metric: Metric) -> String {
    let better = match metric.better {
        Better::Higher => " Higher is better.",
        Better::Lower => " Lower is better.",
        Better::Neither => "",
    };
    let meaning = meaning(metric)
        .map_or_else(|| format!("as computed by `{}`", metric.source), str::to_owned);
    format!("{}: {meaning}.{better}", super::words::label(metric))
}
