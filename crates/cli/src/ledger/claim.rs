//! Claims of the papers, and the rule by which each is judged.

use super::metric::Metric;
use super::stats::{Estimate, Paired};
use serde::{Serialize, Serializer};

/// Below this many seeds no check but [`Check::Exact`] and [`Check::Reaches`] is better than inconclusive.
pub const FEWEST_SEEDS: usize = 3;

/// One statement of a paper. A published number lives in exactly one claim.
pub struct Claim {
    /// C1 … C27 of the papers that are reproduced, L1 … of Lopez-Paz et al. (2016), which they
    /// build on, M1 of Gorpinich et al. (2022).
    pub id: &'static str,
    /// The statement.
    pub text: &'static str,
    /// What the paper printed; the first is the headline.
    pub published: &'static [Published],
    /// Seeds that the checks want, at least [`FEWEST_SEEDS`] but for [`Check::Reaches`].
    pub min_seeds: usize,
    /// The claim is reproduced if all of them are.
    pub checks: &'static [Check],
}

/// A printed number, and the row and metric it belongs to.
pub struct Published {
    /// Row of ours that repeats it.
    pub row: &'static str,
    /// Metric.
    pub metric: Metric,
    /// Printed mean.
    pub mean: f64,
    /// Printed "±", a population standard deviation.
    pub std: Option<f64>,
}

/// One comparison that a claim implies; the metric's last value of each run is compared.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// The row is better than another by the metric, seed by seed.
    Better {
        /// Metric.
        metric: Metric,
        /// The row that the source says is better.
        row: &'static str,
        /// The other row.
        than: &'static str,
    },
    /// The row's mean lies within a tolerance of a number.
    Near {
        /// Metric.
        metric: Metric,
        /// Row.
        row: &'static str,
        /// The number, and where it is from.
        value: f64,
        /// Whose number it is.
        of: Reference,
        /// Tolerance, > 0.
        within: f64,
    },
    /// The row's mean agrees with the mean of other people's runs, as far as both scatter.
    Matches {
        /// Metric.
        metric: Metric,
        /// Row.
        row: &'static str,
        /// Mean of the re-simulated runs.
        mean: f64,
        /// Their population standard deviation, ≥ 0.
        std: f64,
        /// Their number, at least 2.
        n: usize,
    },
    /// Two rows differ by less than a margin.
    Equivalent {
        /// Metric.
        metric: Metric,
        /// Row.
        row: &'static str,
        /// The other row.
        to: &'static str,
        /// Margin, > 0.
        margin: f64,
    },
    /// The row gains nothing that counts over another: not the margin, seed by seed.
    NoGain {
        /// Metric.
        metric: Metric,
        /// The row that might gain.
        row: &'static str,
        /// The other row.
        over: &'static str,
        /// The smallest gain that counts, > 0.
        margin: f64,
    },
    /// The row is better than a number of other people's runs, as far as ours scatter.
    BetterThan {
        /// Metric.
        metric: Metric,
        /// Row.
        row: &'static str,
        /// The number.
        value: f64,
    },
    /// The row is not worse than a number of the same networks by more than a tolerance.
    Reaches {
        /// Metric.
        metric: Metric,
        /// Row.
        row: &'static str,
        /// The number: of the one run, or the mean of as many as the claim wants.
        value: f64,
        /// Tolerance, ≥ 0.
        within: f64,
    },
    /// A number that does not depend on a seed.
    Exact {
        /// Metric.
        metric: Metric,
        /// Row.
        row: &'static str,
        /// The number.
        value: f64,
        /// Tolerance, ≥ 0.
        tolerance: f64,
    },
}

/// Whose number a row should be near.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The paper's.
    Paper,
    /// An independent re-simulation of the corrected protocol in another framework.
    Resimulation,
    /// Nobody's: the middle of a range that the claim names in words.
    Range,
}

/// What became of a claim or a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The statement holds here.
    Reproduced,
    /// The statement is contradicted here.
    NotReproduced,
    /// The runs cannot tell.
    Inconclusive,
    /// The statement was not put to the test.
    NotRun,
}

/// A judged check.
#[derive(Clone, Debug)]
pub struct CheckResult {
    /// The check.
    pub check: Check,
    /// Its verdict.
    pub verdict: Verdict,
    /// The numbers behind it, in one sentence.
    pub reason: String,
}

/// A judged claim.
#[derive(Clone, Debug)]
pub struct ClaimResult {
    /// Its id.
    pub id: &'static str,
    /// The row of ours that stands for the headline, and its mean, standard deviation and interval.
    pub ours: Option<(&'static str, Estimate)>,
    /// The first paired comparison among the checks.
    pub difference: Option<Paired>,
    /// The checks.
    pub checks: Vec<CheckResult>,
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is not simply reproduced.
    pub reason: Option<String>,
}

impl Verdict {
    /// The word of results.json.
    pub fn word(self) -> &'static str {
        match self {
            Self::Reproduced => "reproduced",
            Self::NotReproduced => "not_reproduced",
            Self::Inconclusive => "inconclusive",
            Self::NotRun => "not_run",
        }
    }
}

impl Published {
    /// A printed mean and its "±".
    pub const fn new(row: &'static str, metric: Metric, mean: f64, std: f64) -> Self {
        Self { row, metric, mean, std: Some(std) }
    }

    /// A printed number without a spread.
    pub const fn plain(row: &'static str, metric: Metric, mean: f64) -> Self {
        Self { row, metric, mean, std: None }
    }
}

impl Check {
    /// `row` is better than another by the metric.
    pub const fn better(metric: Metric, row: &'static str, than: &'static str) -> Self {
        Self::Better { metric, row, than }
    }

    /// The row's mean lies near the paper's number.
    pub const fn near_paper(metric: Metric, row: &'static str, value: f64, within: f64) -> Self {
        Self::Near { metric, row, value, of: Reference::Paper, within }
    }

    /// The row's mean lies near that of an independent re-simulation.
    pub const fn near_resimulation(
        metric: Metric,
        row: &'static str,
        value: f64,
        within: f64,
    ) -> Self {
        Self::Near { metric, row, value, of: Reference::Resimulation, within }
    }

    /// The row's mean lies in a range that the claim names in words: its middle, and half its length.
    pub const fn in_range(metric: Metric, row: &'static str, middle: f64, half: f64) -> Self {
        Self::Near { metric, row, value: middle, of: Reference::Range, within: half }
    }

    /// The row's mean agrees with the mean of `n` re-simulated runs.
    pub const fn matches(metric: Metric, row: &'static str, mean: f64, std: f64, n: usize) -> Self {
        Self::Matches { metric, row, mean, std, n }
    }

    /// Two rows differ by less than a margin.
    pub const fn same(metric: Metric, row: &'static str, to: &'static str, margin: f64) -> Self {
        Self::Equivalent { metric, row, to, margin }
    }

    /// The row gains less than a margin over another.
    pub const fn no_gain(
        metric: Metric,
        row: &'static str,
        over: &'static str,
        margin: f64,
    ) -> Self {
        Self::NoGain { metric, row, over, margin }
    }

    /// The row is better than a number of other people's runs.
    pub const fn better_than(metric: Metric, row: &'static str, value: f64) -> Self {
        Self::BetterThan { metric, row, value }
    }

    /// The row is not worse than a number of the same networks by more than a tolerance.
    pub const fn reaches(metric: Metric, row: &'static str, value: f64, within: f64) -> Self {
        Self::Reaches { metric, row, value, within }
    }

    /// A number that no seed moves.
    pub const fn exact(metric: Metric, row: &'static str, value: f64, tolerance: f64) -> Self {
        Self::Exact { metric, row, value, tolerance }
    }

    /// The rows it reads.
    pub fn rows(&self) -> Vec<&'static str> {
        match *self {
            Self::Better { row, than: other, .. }
            | Self::Equivalent { row, to: other, .. }
            | Self::NoGain { row, over: other, .. } => vec![row, other],
            Self::Near { row, .. }
            | Self::Matches { row, .. }
            | Self::BetterThan { row, .. }
            | Self::Reaches { row, .. }
            | Self::Exact { row, .. } => vec![row],
        }
    }

    /// The metric it reads.
    pub fn metric(&self) -> Metric {
        match *self {
            Self::Better { metric, .. }
            | Self::Near { metric, .. }
            | Self::Matches { metric, .. }
            | Self::Equivalent { metric, .. }
            | Self::NoGain { metric, .. }
            | Self::BetterThan { metric, .. }
            | Self::Reaches { metric, .. }
            | Self::Exact { metric, .. } => metric,
        }
    }

    /// The check in words, rows and metrics by their keys.
    pub fn describe(&self) -> String {
        self.in_words(self.metric().name, &str::to_owned)
    }

    /// The check in words for a reader, who knows a row by its `title` and a metric by its label.
    pub fn describe_to_reader(&self, title: &dyn Fn(&str) -> String) -> String {
        self.in_words(self.metric().label, &|id| format!("“{}”", title(id)))
    }

    fn in_words(&self, metric: &str, row_in_words: &dyn Fn(&str) -> String) -> String {
        let better = self.metric().better;
        let (side, side_of_worse) = (better.side(), better.opposite().side());
        let [row, other] = match self.rows()[..] {
            [row, other] => [row, other].map(row_in_words),
            [row] => [row_in_words(row), String::new()],
            _ => Default::default(),
        };
        match *self {
            Self::Better { .. } => format!("{metric} of {row} {side} that of {other}"),
            Self::Near { value, of, within, .. } => {
                let whose = match of {
                    Reference::Paper => "the paper's",
                    Reference::Resimulation => "the re-simulated",
                    Reference::Range => "the middle of the claimed range,",
                };
                format!("{metric} of {row} within {within} of {whose} {value}")
            }
            Self::Matches { mean, std, n, .. } => {
                format!("{metric} of {row} matches the re-simulated {mean} ± {std} of {n} runs")
            }
            Self::Equivalent { margin, .. } => {
                format!("{metric} of {row} within {margin} of that of {other}")
            }
            Self::NoGain { margin, .. } => {
                format!("{metric} of {row} not {margin} or more {side} that of {other}")
            }
            Self::BetterThan { value, .. } => format!("{metric} of {row} {side} {value}"),
            Self::Reaches { value, within, .. } => {
                format!("{metric} of {row} not {side_of_worse} {value} by more than {within}")
            }
            Self::Exact { value, tolerance, .. } => {
                format!("{metric} of {row} equal to {value} within {tolerance}")
            }
        }
    }
}

/// How verdicts are reached; printed in every report.
pub const RULES: &[&str] = &[
    "A check compares the last value of a metric of every seeded run; arms of one seed share data, start \
     and, where the data agree, batch order.",
    "better: reproduced when the paired 95 % Student interval of the difference lies on the source's side of zero, \
     not reproduced when on the other side, else inconclusive.",
    "near: reproduced when our mean lies within the named tolerance on either side, else not reproduced; inconclusive when our \
     own 95 % interval reaches further from our mean than the tolerance.",
    "matches: reproduced when our mean lies within 3 √(s²/(n − 1) + s′²/(n′ − 1)) of the re-simulated one, else not reproduced; s \
     and s′ are the population deviations of our n and its n′ runs. It says that two programs do the same thing as far as \
     so few runs can tell, not that the number is known.",
    "equivalent: reproduced when the paired 95 % interval lies inside the margin, not reproduced when it lies outside \
     altogether, else inconclusive.",
    "no gain: reproduced when the paired 95 % interval excludes a gain of the margin or more, not reproduced when every gain in it \
     is larger, else inconclusive.",
    "better than a number: reproduced when the 95 % Student interval of our mean lies on the source's side of the number, not \
     reproduced when on the other side, else inconclusive.",
    "reaches: reproduced when our mean is not worse than the number by more than the named tolerance, else not reproduced. Both \
     are of the same networks, so that their spread does not count; wants all the seeds that the claim names, if only one.",
    "exact: reproduced when the value lies within its tolerance; needs no seeds.",
    "With fewer than three seeds (or the number a claim names) every kind but exact and reaches is inconclusive, and so is every \
     check at smoke scale, which cuts epochs and objects.",
    "A claim is not reproduced if any check is not and is reproduced if all are. Else it is not run if a check could not be put \
     to the test, for want of its rows or on generated data, and inconclusive otherwise.",
    "Segments of one run (protocol \"as in the source\") are shown with their spread and never tested.",
];

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = match *self {
            Self::Better { metric, row, than } => serde_json::json!({
                "kind": "better", "row": row, "metric": metric, "than": than,
                "side": metric.better.side(),
            }),
            Self::Near { metric, row, value, of, within } => serde_json::json!({
                "kind": "near", "row": row, "metric": metric, "value": value, "within": within,
                "of": match of {
                    Reference::Paper => "paper",
                    Reference::Resimulation => "resimulation",
                    Reference::Range => "range",
                },
            }),
            Self::Matches { metric, row, mean, std, n } => serde_json::json!({
                "kind": "matches", "row": row, "metric": metric, "mean": mean, "deviation": std,
                "n": n,
            }),
            Self::Equivalent { metric, row, to, margin } => serde_json::json!({
                "kind": "equivalent", "row": row, "metric": metric, "to": to, "margin": margin,
            }),
            Self::NoGain { metric, row, over, margin } => serde_json::json!({
                "kind": "no_gain", "row": row, "metric": metric, "over": over, "side": metric.better.side(),
                "margin": margin,
            }),
            Self::BetterThan { metric, row, value } => serde_json::json!({
                "kind": "better_than", "row": row, "metric": metric, "value": value,
                "side": metric.better.side(),
            }),
            Self::Reaches { metric, row, value, within } => serde_json::json!({
                "kind": "reaches", "row": row, "metric": metric, "value": value, "within": within,
                "side": metric.better.side(),
            }),
            Self::Exact { metric, row, value, tolerance } => serde_json::json!({
                "kind": "exact", "row": row, "metric": metric, "value": value, "tolerance": tolerance,
            }),
        };
        value.serialize(serializer)
    }
}
