//! How well two networks do on the same examples: measures of both, paired differences, and where they part.

use serde::Serialize;

use super::{Metric, metric};

/// A number and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The estimate.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// With ends inside of a range, from least to most; what is no number stays.
    #[must_use]
    pub fn within(self, (least, most): (f64, f64)) -> Self {
        Self { low: self.low.clamp(least, most), high: self.high.clamp(least, most), ..self }
    }

    /// Of the number less another that is known exactly.
    fn less(self, exact: f64) -> Self {
        Self { value: self.value - exact, low: self.low - exact, high: self.high - exact }
    }
}

/// One measure of two networks on the same examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PairedMeasure {
    /// What is measured.
    pub metric: Metric,
    /// Of the first network.
    pub first: f64,
    /// Of the second.
    pub second: f64,
    /// Second minus first, paired by example.
    pub difference: Interval,
}

impl PairedMeasure {
    /// Of two networks, the interval inside of what differences of such a measure can be.
    pub fn new(metric: Metric, first: f64, second: f64, difference: Interval) -> Self {
        Self { metric, first, second, difference: difference.within(metric.range_of_differences()) }
    }

    /// Of a network whose measure is `first` whatever the examples, and of a second with its interval.
    pub fn from_exact(metric: Metric, first: f64, second: Interval) -> Self {
        let difference = second.within(metric.range()).less(first);
        Self { metric, first, second: second.value, difference }
    }
}

impl Measure {
    /// With the interval inside of what such a measure can be.
    pub fn new(metric: Metric, value: Interval) -> Self {
        Self { metric, value: value.within(metric.range()) }
    }
}

/// One measure of a network and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// What is measured.
    pub metric: Metric,
    /// On the examples, with its interval.
    pub value: Interval,
}

/// A network beside the best constant prediction, by one measure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FitMeasure {
    /// What is measured.
    pub metric: Metric,
    /// Of the network.
    pub network: f64,
    /// Of the shares of the classes or their largest, or of the mean of the targets, on the same examples.
    pub constant: f64,
}

/// Whether a network fits examples at all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FitCheck {
    /// Examples.
    pub n_examples: usize,
    /// Each measure of both.
    pub measures: Vec<FitMeasure>,
    /// Whether the network is better than the best constant by one of the measures, at p below .025 each.
    pub is_better: bool,
}

/// McNemar's test: whether two classifiers are right equally often.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct McNemar {
    /// Examples that the first network alone classifies rightly.
    pub only_first: usize,
    /// Examples that the second network alone classifies rightly.
    pub only_second: usize,
    /// Two-sided mid-p of the binomial test on those examples; 1 where there are none.
    pub p: f64,
}

/// Accuracy of two networks on the examples of one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassAccuracy {
    /// Name of the class, or its number.
    pub class: String,
    /// Examples of it.
    pub n_examples: usize,
    /// Accuracy of the first network on them.
    pub first: f64,
    /// Accuracy of the second.
    pub second: f64,
    /// Second minus first, paired by example.
    pub difference: Interval,
}

/// One bin of a reliability diagram; bins hold equally many examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// Mean confidence of its examples.
    pub confidence: f64,
    /// Share of them that is classified rightly.
    pub accuracy: f64,
    /// How many they are.
    pub n_examples: usize,
}

/// An example on which the predictions of two networks differ much.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Disagreement {
    /// Its index in the file that it came from, from 0.
    pub example: usize,
    /// Its label or target, where it has one.
    pub label: Option<String>,
    /// What the first network predicts, such as "cat (.93)".
    pub first: String,
    /// What the second predicts.
    pub second: String,
    /// KL divergence of the second prediction from the first in nats; the squared distance in a regression.
    pub distance: f64,
    /// The example, where it is an image.
    pub image: Option<Thumbnail>,
}

/// An image for a reader.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Thumbnail {
    /// 1 for grayscale, 3 for color.
    pub channels: usize,
    /// Pixels down.
    pub height: usize,
    /// Pixels across.
    pub width: usize,
    /// Intensities in [0, 1], channel by channel, row by row.
    pub intensities: Vec<f64>,
}

/// What a task predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Predicted {
    /// Classes.
    Classes,
    /// Values.
    Values,
}

/// One network on examples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quality {
    /// What it predicts.
    pub predicted: Predicted,
    /// Examples.
    pub n_examples: usize,
    /// Measures in the order of the metric table.
    pub measures: Vec<Measure>,
    /// Accuracy by class, the lowest first.
    pub classes: Vec<OneClass>,
    /// Reliability diagram.
    pub reliability: Vec<ReliabilityBin>,
}

/// Accuracy of a network on the examples of one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OneClass {
    /// Name of the class, or its number.
    pub class: String,
    /// Examples of it.
    pub n_examples: usize,
    /// Share of them that is classified rightly.
    pub accuracy: Interval,
    /// The class that its other examples are taken for most often, and how many are.
    pub taken_for: Option<(String, usize)>,
}

/// Two networks on the same examples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairedQuality {
    /// What they predict.
    pub predicted: Predicted,
    /// Examples.
    pub n_examples: usize,
    /// Whether the examples have labels; without them only agreement and divergence are measured.
    pub has_labels: bool,
    /// Measures in the order of the metric table.
    pub measures: Vec<PairedMeasure>,
    /// The test of accuracies, for classes with labels.
    pub mc_nemar: Option<McNemar>,
    /// Accuracy by class, the largest loss first; empty without labels.
    pub classes: Vec<ClassAccuracy>,
    /// Reliability diagrams of both; empty without labels.
    pub reliability: [Vec<ReliabilityBin>; 2],
    /// The examples on which they differ most, the largest distance first.
    pub disagreements: Vec<Disagreement>,
}

impl PairedQuality {
    /// The measure that a reader asks for first: accuracy, R², or without labels agreement or the distance of values.
    pub fn main_measure(&self) -> Option<&PairedMeasure> {
        let wanted = match (self.predicted, self.has_labels) {
            (Predicted::Classes, true) => metric::ACCURACY,
            (Predicted::Classes, false) => metric::AGREEMENT,
            (Predicted::Values, _) => metric::R_SQUARED,
        };
        let found = self.measures.iter().find(|measure| measure.metric.name == wanted.name);
        found.or_else(|| self.measures.first())
    }

    /// The paired measure of a metric, where it was taken.
    pub fn measure(&self, metric: Metric) -> Option<&PairedMeasure> {
        self.measures.iter().find(|measure| measure.metric == metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_stay_inside_of_what_a_measure_can_be() {
        let wide = Interval { value: 0.5, low: -7.0, high: 9.0 };
        for (metric, low, high) in [
            (metric::ACCURACY, 0.0, 1.0),
            (metric::BRIER, 0.0, 2.0),
            (metric::DEBIASED_CALIBRATION_ERROR, 0.0, 1.0),
            (metric::CROSS_ENTROPY, 0.0, 9.0),
            (metric::ROOT_MEAN_SQUARED_ERROR, 0.0, 9.0),
            (metric::R_SQUARED, -7.0, 1.0),
            // A density may be above 1.
            (metric::NORMAL_NLL, -7.0, 9.0),
        ] {
            let Interval { value, low: found, high: end } = Measure::new(metric, wide).value;
            assert_eq!((value, found, end), (0.5, low, high), "{metric:?}");
        }
        let difference = |metric| PairedMeasure::new(metric, 0.1, 0.6, wide).difference;
        for (metric, low, high) in [
            (metric::ACCURACY, -1.0, 1.0),
            (metric::BRIER, -2.0, 2.0),
            (metric::CROSS_ENTROPY, -7.0, 9.0),
            (metric::R_SQUARED, -7.0, 9.0),
        ] {
            let Interval { low: found, high: end, .. } = difference(metric);
            assert_eq!((found, end), (low, high), "{metric:?}");
        }
        // A distance from the first network has no sign, and nothing agrees more than always.
        let distance = PairedMeasure::from_exact(metric::TEACHER_DISTANCE, 0.0, wide);
        assert_eq!(
            (distance.second, distance.difference.low, distance.difference.high),
            (0.5, 0.0, 9.0)
        );
        let agreement = PairedMeasure::from_exact(metric::AGREEMENT, 1.0, wide);
        assert_eq!(agreement.difference, Interval { value: -0.5, low: -1.0, high: 0.0 });
        let none = Interval { value: 0.5, low: f64::NAN, high: f64::NAN };
        assert!(Measure::new(metric::ACCURACY, none).value.low.is_nan());
    }
}
