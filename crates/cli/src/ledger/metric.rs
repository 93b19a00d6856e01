//! Every metric by name: what a reader is shown, in which unit, which way is better, and where the number comes from.
//!
//! A new metric is one line of the table below.

use serde::{Serialize, Serializer};

/// One measure of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its key in results and files.
    pub name: &'static str,
    /// What a reader sees.
    pub label: &'static str,
    /// Its unit; empty where it has none, or that of the data.
    pub unit: &'static str,
    /// Which values are better.
    pub better: Better,
    /// Decimals of a value below 3; larger ones have fewer.
    pub digits: usize,
    /// Where it is shown.
    pub shown: Shown,
    /// What computes it.
    pub source: &'static str,
}

/// Which values of a metric are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Smaller ones, as of a cross-entropy.
    Lower,
    /// Larger ones, as of an accuracy.
    Higher,
    /// None: it describes a run.
    Neither,
}

/// Where a metric is shown beside results.json and the curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// In tables of results, and rows with a baseline are compared by it.
    Compared,
    /// In tables of results.
    Table,
    /// In figures alone.
    Figures,
    /// Nowhere else.
    Data,
}

/// A constant a line: name, label, unit, better, digits, shown, source.
macro_rules! metrics {
    ($($id:ident: $name:literal, $label:literal, $unit:literal, $better:ident, $digits:literal, $shown:ident, $source:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $label, ".")]
            pub const $id: Metric = Metric {
                name: $name,
                label: $label,
                unit: $unit,
                better: Better::$better,
                digits: $digits,
                shown: Shown::$shown,
                source: $source,
            };
        )*

        /// Every metric, in the order of a table's columns.
        pub static ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    N_PARAMETERS: "n_parameters", "parameters", "thousands", Neither, 3, Table, "the numbers of the network's parameters";
    N_PRODUCTS: "n_products", "multiply-adds", "thousands an example", Neither, 1, Table, "models::graph::Graph::n_products_in_all";
    N_UNITS: "n_units", "units kept", "units", Neither, 1, Table, "the widths of the network";
    LOG_LIKELIHOOD: "log_likelihood", "test log-likelihood", "nats an example", Higher, 4, Table, "minus the mean test loss at the mean weights, no constants";
    AREA: "area", "area under the log-likelihood", "nats an example × iterations", Higher, 4, Compared, "training::area";
    AREA_GAIN: "area_gain", "area gained over the plain student", "nats an example × iterations", Higher, 4, Table, "area, minus that of the plain student of the same seed";
    REMAINING_GAP: "remaining_gap", "share of the early gap left", "share", Lower, 4, Table, "log_likelihood: distance from the plain student at the end, over that at iteration 1000";
    DIVERGENCE: "divergence", "KL from the prior", "nats", Lower, 4, Compared, "KL(q ‖ p) of the weights";
    DIVERGENCE_AREA: "divergence_area", "area under the KL", "nats × iterations", Lower, 4, Table, "training::area of divergence";
    FIT: "fit", "log-likelihood of a draw, training", "nats", Higher, 4, Table, "the training loss at one draw of the weights, with constants";
    RISK: "risk", "risk", "", Lower, 4, Compared, "mean squared distance of a predictive mean from the noise-free function";
    RISK_GAIN: "risk_gain", "risk below the plain student's", "", Higher, 4, Table, "risk of the plain student of the same seed, minus this";
    DENSITY: "density", "log density", "nats", Higher, 4, Compared, "predictive log density of noisy test targets";
    DENSITY_GAIN: "density_gain", "log density above the plain student's", "nats", Higher, 4, Table, "density, minus that of the plain student of the same seed";
    START_LOG_LIKELIHOOD: "start_log_likelihood", "test log-likelihood at the start", "nats an example", Higher, 4, Table, "log_likelihood before the first step";
    ACCURACY: "accuracy", "accuracy", "share", Higher, 4, Compared, "losses::Predictions::accuracy";
    CROSS_ENTROPY: "cross_entropy", "cross-entropy", "nats", Lower, 4, Compared, "losses::Predictions::cross_entropy";
    INTEGRAL: "integral", "integral criterion", "nats × epochs", Lower, 4, Table, "training::Record";
    OBJECTIVE: "objective", "training objective", "nats", Lower, 4, Table, "core_tensors::Epoch";
    BEST_CROSS_ENTROPY: "best_cross_entropy", "least cross-entropy", "nats", Lower, 4, Table, "training::Record";
    BEST_EPOCH: "best_epoch", "at epoch", "epochs", Neither, 1, Table, "training::Record";
    ACCURACY_LOST: "accuracy_lost", "accuracy below the teacher's", "share", Lower, 4, Table, "accuracy of the teacher of the same seed, minus accuracy";
    REFERENCE_GAP: "reference_gap", "accuracy above the reference program's", "share", Neither, 4, Table, "accuracy, minus that in the file beside the network";
    TEACHER_DIVERGENCE: "teacher_divergence", "KL from the teacher", "nats", Lower, 4, Table, "losses::Predictions::divergence_from the teacher's";
    COSINE: "cosine", "cosine to the original's vector", "", Higher, 4, Compared, "mean cosine of a vector of the network and that of the original";
    BRIER: "brier", "Brier", "", Lower, 4, Table, "losses::Predictions::brier";
    CALIBRATION_ERROR: "calibration_error", "ECE", "share", Lower, 4, Table, "losses::Predictions::calibration_error";
    DEBIASED_CALIBRATION_ERROR: "debiased_calibration_error", "ECE (equal mass, debiased, RMS)", "share", Lower, 4, Table, "the root of losses::debiased_squared_calibration_error, 0 where that is below 0";
    CALIBRATED_CROSS_ENTROPY: "calibrated_cross_entropy", "cross-entropy after temperature scaling", "nats", Lower, 4, Table, "losses::Predictions::cross_entropy at losses::fitted_temperature of the validation examples";
    R_SQUARED: "r_squared", "R²", "", Higher, 4, Table, "1 − mean squared error / variance of the targets, mean over the outputs";
    ROOT_MEAN_SQUARED_ERROR: "root_mean_squared_error", "RMSE", "", Lower, 4, Table, "root of the mean squared error over examples and outputs";
    NORMAL_NLL: "normal_nll", "negative log-likelihood", "nats", Lower, 4, Table, "of a normal distribution with the noise variance of each output, with constants";
    COVERAGE: "coverage", "targets within 95 % of the prediction", "share", Neither, 4, Table, "of the same normal distribution as the negative log-likelihood; .95 where it is as wide as the errors";
    TEACHER_DISTANCE: "teacher_distance", "mean squared distance from the teacher", "", Lower, 4, Table, "squared distance of the outputs, mean over examples and outputs";
    AGREEMENT: "agreement", "agreement with teacher", "share", Higher, 4, Table, "losses::Predictions::agreement";
    CROSS_ENTROPY_TRUE: "cross_entropy_true", "cross-entropy to truth", "nats", Lower, 4, Table, "losses::Predictions::cross_entropy_against";
    DIVERGENCE_TRUE: "divergence_true", "KL from truth", "nats", Lower, 4, Table, "losses::Predictions::divergence_from";
    MAX_MIN: "max_min", "probability range", "share", Lower, 4, Table, "losses::Predictions::spreads";
    SQUARED_ERROR: "squared_error", "test MSE", "", Lower, 4, Compared, "mean squared error on the test set";
    EXCESS: "excess", "MSE above the noise", "", Lower, 4, Compared, "mean squared distance from the noise-free function on the test set";
    TEACHER_PROBABILITY: "teacher_probability", "D on the teacher", "share", Neither, 4, Table, "the discriminator's probability of the teacher, on the teacher's outputs";
    STUDENT_PROBABILITY: "student_probability", "D on the student", "share", Neither, 4, Table, "the discriminator's probability of the teacher, on the student's outputs";
    PASSES_WON: "passes_won", "passes in a row won by one player", "passes", Lower, 1, Table, "training::train_adversarially";
    TRAIN_ACCURACY: "train_accuracy", "training accuracy", "share", Higher, 4, Table, "losses::Predictions::accuracy on the training set";
    GAP: "gap", "largest difference of a weight", "", Lower, 4, Table, "largest absolute difference between two solutions";
    LABEL_CONSISTENCY: "label_consistency", "teacher's accuracy through φ", "share", Higher, 4, Table, "losses::Predictions::accuracy of the teacher on φ(x)";
    PROXY_DISTANCE: "proxy_distance", "proxy A-distance", "", Lower, 4, Table, "domain_adapt::proxy_distance";
    MMD: "mmd", "MMD²", "", Lower, 4, Table, "domain_adapt::unbiased_mmd";
    ROUND_TRIP: "round_trip", "round-trip error", "", Lower, 4, Table, "domain_adapt::round_trip_error";
    TEACHER_ENTROPY: "teacher_entropy", "entropy of the teacher's softmax", "nats", Neither, 4, Table, "mean entropy of the teacher's softmax";
    CHOSEN_LAMBDA: "chosen_lambda", "λ chosen", "", Neither, 4, Table, "training::cross_validate";
    CHOSEN_TEMPERATURE: "chosen_temperature", "T chosen", "", Neither, 4, Table, "training::cross_validate";
    CHOSEN_WEIGHT: "chosen_weight", "weight chosen", "", Neither, 4, Table, "training::cross_validate";
    SECONDS: "seconds", "seconds of training", "s", Lower, 4, Table, "the clock, whatever else ran";
    EVIDENCE_CHANGE: "evidence_change", "change of log evidence", "nats", Higher, 4, Table, "bayes_posterior::log_evidence_change";
    EVIDENCE_SIZE: "evidence_size", "units of the largest evidence", "units", Neither, 1, Table, "the number of units with the largest evidence_change";
    LOSS_SIZE: "loss_size", "units at a loss of over 1 point", "units", Neither, 1, Table, "the largest number of units with accuracy over 0.01 below the start";
    LAMBDA: "lambda", "λ", "", Neither, 4, Figures, "training::train_with_hyperparameters";
    TEMPERATURE: "temperature", "T", "", Neither, 4, Figures, "training::train_with_hyperparameters";
    CROSS_ENTROPY_GAIN: "cross_entropy_gain", "cross-entropy below no teacher's", "nats", Higher, 4, Figures, "cross_entropy of the student without a teacher, minus this";
    ACCURACY_GAIN: "accuracy_gain", "accuracy above no teacher's", "share", Higher, 4, Figures, "accuracy, minus that of the student without a teacher";
    OVERFITTING: "overfitting", "cross-entropy above its least", "nats", Lower, 4, Data, "training::Record";
    START_ACCURACY: "start_accuracy", "accuracy at the start", "share", Higher, 4, Data, "accuracy before the first step";
    SHARE: "share", "share of the teacher's rows", "", Neither, 4, Data, "the share of examples whose teacher logits are known";
    DECILE: "decile", "decile", "", Neither, 1, Data, "the decile of the teacher's entropy, 1 the surest";
}

impl Metric {
    /// The least and the largest number that such a measure of a network can be, where intervals end too.
    pub fn range(self) -> (f64, f64) {
        let is_any_of = |metrics: &[Self]| metrics.contains(&self);
        if is_any_of(&[
            ACCURACY,
            AGREEMENT,
            COVERAGE,
            CALIBRATION_ERROR,
            DEBIASED_CALIBRATION_ERROR,
        ]) {
            (0.0, 1.0)
        } else if self == BRIER {
            (0.0, 2.0)
        } else if self == R_SQUARED {
            (f64::NEG_INFINITY, 1.0)
        } else if is_any_of(&[
            CROSS_ENTROPY,
            CALIBRATED_CROSS_ENTROPY,
            TEACHER_DIVERGENCE,
            TEACHER_DISTANCE,
            ROOT_MEAN_SQUARED_ERROR,
            SQUARED_ERROR,
        ]) {
            (0.0, f64::INFINITY)
        } else {
            (f64::NEG_INFINITY, f64::INFINITY)
        }
    }

    /// The same of the difference of two networks.
    pub fn range_of_differences(self) -> (f64, f64) {
        let (least, most) = self.range();
        (least - most, most - least)
    }
}

impl Better {
    /// The other way round.
    pub fn opposite(self) -> Self {
        match self {
            Self::Lower => Self::Higher,
            Self::Higher => Self::Lower,
            Self::Neither => Self::Neither,
        }
    }

    /// On which side of another value a better one lies, in a word.
    pub fn side(self) -> &'static str {
        match self {
            Self::Lower => "below",
            Self::Higher => "above",
            Self::Neither => "beside",
        }
    }
}

impl Metric {
    /// What a reader sees, with the unit where there is one.
    pub fn label_with_unit(self) -> String {
        match self.unit {
            "" => self.label.to_owned(),
            unit => format!("{}, {unit}", self.label),
        }
    }

    /// A value for a reader: [`Metric::digits`] decimals, three of them from 3 on, one from 100 on.
    pub fn text(self, value: f64) -> String {
        let digits = match value.abs() {
            size if !size.is_finite() => return "not finite".into(),
            size if size >= 100.0 => 1,
            size if size >= 3.0 => 3,
            _ => self.digits,
        };
        let text = format!("{value:.*}", digits.min(self.digits));
        // −0.0000 is 0.0000.
        let is_zero = text.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.'));
        match text.strip_prefix('-') {
            Some(rest) if is_zero => rest.to_owned(),
            Some(_) | None => text,
        }
    }

    /// Its name, for a map by names.
    pub fn key(self) -> String {
        self.name.to_owned()
    }
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_unique_and_say_something() {
        let mut words: Vec<&str> =
            ALL.iter().flat_map(|metric| [metric.name, metric.label]).collect();
        assert!(ALL.iter().all(|m| !m.label.is_empty() && !m.source.is_empty() && m.digits > 0));
        // A metric without a better word than its name is one word.
        words.sort_unstable();
        words.dedup();
        let n_same = ALL.iter().filter(|metric| metric.name == metric.label).count();
        assert_eq!(words.len(), 2 * ALL.len() - n_same);
    }

    #[test]
    fn values_have_fewer_decimals_the_larger_they_are() {
        for (value, text) in [(0.31256, "0.3126"), (-3.0, "-3.000"), (1234.56, "1234.6")] {
            assert_eq!(CROSS_ENTROPY.text(value), text);
        }
        assert_eq!((BEST_EPOCH.text(12.34), BEST_EPOCH.text(2.0)), ("12.3".into(), "2.0".into()));
        assert_eq!(ACCURACY.text(f64::NAN), "not finite");
        assert_eq!(CROSS_ENTROPY.label_with_unit(), "cross-entropy, nats");
        assert_eq!(BRIER.label_with_unit(), "Brier");
    }
}
