//! What each measure means, in half a sentence, for a reader who knows no statistics.

use crate::ledger::{Better, Metric};

/// Name of a metric, what it means.
const MEANINGS: [(&str, &str); 10] = [
    ("accuracy", "the share of examples whose most probable class is the label"),
    (
        "cross_entropy",
        "minus the logarithm of the probability that is given to the label (negative log-likelihood, NLL), on average; it punishes confident mistakes",
    ),
    (
        "calibrated_nll",
        "the same after all logits were divided by one temperature that fits best: what is left of it when confidence is set right",
    ),
    (
        "brier",
        "the squared distance of the predicted probabilities from the label’s (1 for the label, 0 for other classes)",
    ),
    (
        "calibration_error",
        "the expected calibration error: how far confidence and the share of correct predictions are apart, on average over equally large groups of examples; corrected for the chance that remains in small groups",
    ),
    ("agreement", "the share of examples for which both networks predict the same class"),
    (
        "teacher_divergence",
        "how far the student’s predictions are from the network’s; 0 where they are the same",
    ),
    (
        "r_squared",
        "the share of the targets’ variance that is predicted; 1 is perfect, 0 is no better than always predicting the mean",
    ),
    ("rmse", "the root of the mean squared error, in the unit of the target"),
    ("squared_error", "the mean squared error, in the squared unit of the target"),
];

/// One line about a metric.
pub(super) fn of(metric: Metric) -> String {
    let meaning = MEANINGS.iter().find(|(name, _)| *name == metric.name);
    let better = match metric.better {
        Better::Higher => "Higher is better",
        Better::Lower => "Lower is better",
        Better::Neither => "Neither direction is better",
    };
    match meaning {
        Some((_, meaning)) => format!("{}: {meaning}. {better}.", metric.label),
        None => format!("{}: {better}.", metric.label),
    }
}
