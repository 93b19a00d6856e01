//! Rows of numbers: what one part of an experiment found, and the parts of one experiment put together.

mod comparison;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::experiment::{Description, Part, Point, Unit};
use super::metric::{Metric, N_PARAMETERS, N_UNITS};
use super::provenance::Kind;

pub use comparison::{Comparison, compare};

/// One metric of one run by epoch, or by the experiment's [`Point`]s; a metric taken once has length 1.
pub type Curve = Vec<f64>;

/// A curve that JSON can hold: a value that is not finite is null there and NaN here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Option<f64>>", into = "Vec<Option<f64>>")]
pub struct FiniteOrNull(pub Curve);

impl From<Vec<Option<f64>>> for FiniteOrNull {
    fn from(values: Vec<Option<f64>>) -> Self {
        Self(values.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect())
    }
}

impl From<FiniteOrNull> for Vec<Option<f64>> {
    fn from(curve: FiniteOrNull) -> Self {
        curve.0.into_iter().map(|v| v.is_finite().then_some(v)).collect()
    }
}

/// What a part found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Numbers {
    /// Row → metric → run → epoch; a part of a seed holds one run a row.
    pub rows: BTreeMap<String, BTreeMap<String, Vec<FiniteOrNull>>>,
    /// Numbers for figures, averaged over the seeds.
    pub arrays: BTreeMap<String, FiniteOrNull>,
}

/// Everything that was run of one experiment.
pub struct ExperimentRun {
    /// The experiment.
    pub about: Description,
    /// Its settings.
    pub settings: serde_json::Value,
    /// Generated, if any of its data sets is.
    pub data: Kind,
    /// Finished parts in order: what each found, and the seconds that it took.
    pub parts: Vec<(Part, Numbers, f64)>,
}

/// One row of results.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name, unique over all experiments.
    pub id: String,
    /// Real or generated data.
    pub data: Kind,
    /// What one run of it is.
    pub unit: Unit,
    /// Label of each run: its seed, or the index of its segment.
    pub runs: Vec<u64>,
    /// Metric → run → point of its curve.
    pub metrics: BTreeMap<String, Vec<FiniteOrNull>>,
}

impl Numbers {
    /// Adds a run's metrics to a row.
    pub fn add(&mut self, row: &str, metrics: BTreeMap<String, Curve>) {
        let row = self.rows.entry(row.to_owned()).or_default();
        for (metric, curve) in metrics {
            row.entry(metric).or_default().push(FiniteOrNull(curve));
        }
    }
}

impl Row {
    /// A row of one metric on real data, one value a seed 0, 1, …
    ///
    /// ```
    /// use cli::ledger::{Row, metric};
    ///
    /// let row = Row::of_seeds("student", metric::ACCURACY, &[0.79, 0.81]);
    /// assert_eq!(row.finals(metric::ACCURACY), [0.79, 0.81]);
    /// ```
    pub fn of_seeds(id: &str, metric: Metric, values: &[f64]) -> Self {
        let curves = values.iter().map(|&value| FiniteOrNull(vec![value])).collect();
        Self {
            id: id.to_owned(),
            data: Kind::Real,
            unit: Unit::Seed,
            runs: (0..values.len() as u64).collect(),
            metrics: BTreeMap::from([(metric.key(), curves)]),
        }
    }

    /// Last value of a metric of each run.
    pub fn finals(&self, metric: Metric) -> Vec<f64> {
        let curves = self.metrics.get(metric.name).map(Vec::as_slice).unwrap_or_default();
        curves.iter().map(|curve| curve.0.last().copied().unwrap_or(f64::NAN)).collect()
    }

    /// Where the first points of its curves lie on the horizontal axis.
    pub fn positions(&self, point: Point, n_points: usize) -> Vec<f64> {
        match point {
            Point::Epoch => (0..n_points).map(|i| i as f64).collect(),
            Point::Iterations(every) => (1..=n_points).map(|i| (every * i) as f64).collect(),
            Point::Units => self.own_positions(N_UNITS, n_points),
            Point::Parameters => self.own_positions(N_PARAMETERS, n_points),
            Point::Of { metric, .. } => self.own_positions(metric, n_points),
        }
    }

    fn own_positions(&self, metric: Metric, n_points: usize) -> Vec<f64> {
        let runs = self.metrics.get(metric.name).and_then(|runs| runs.first());
        runs.map_or_else(Vec::new, |run| run.0.iter().copied().take(n_points).collect())
    }

    /// Last values of a metric of two rows for the runs that both have, in order of the runs.
    pub fn pairs(&self, other: &Self, metric: Metric) -> (Vec<f64>, Vec<f64>) {
        let by_run = |row: &Self| -> BTreeMap<u64, f64> {
            row.runs.iter().copied().zip(row.finals(metric)).collect()
        };
        let (a, b) = (by_run(self), by_run(other));
        a.iter().filter_map(|(run, a)| b.get(run).map(|b| (*a, *b))).unzip()
    }
}

/// Rows and arrays of an experiment from its parts, seeds in order.
pub fn assemble(
    about: &Description,
    data: Kind,
    parts: impl Iterator<Item = (Part, Numbers)>,
) -> (Vec<Row>, BTreeMap<String, Vec<f64>>) {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let mut sums: BTreeMap<String, (f64, Vec<f64>)> = BTreeMap::new();
    for (part, numbers) in parts {
        let unit = match part {
            Part::Shared => Unit::Single,
            Part::Source => Unit::Segment,
            Part::Seed(_) => Unit::Seed,
        };
        for (id, metrics) in numbers.rows {
            let row = rows.entry(id.clone()).or_insert_with(|| Row {
                id,
                data,
                unit,
                runs: Vec::new(),
                metrics: BTreeMap::new(),
            });
            let n_runs = metrics.values().map(Vec::len).max().unwrap_or(0) as u64;
            match part {
                Part::Seed(seed) => row.runs.push(seed),
                Part::Shared | Part::Source => row.runs.extend(0..n_runs),
            }
            for (metric, curves) in metrics {
                row.metrics.entry(metric).or_default().extend(curves);
            }
        }
        for (name, FiniteOrNull(values)) in numbers.arrays {
            let (n, sum) = sums.entry(name).or_insert_with(|| (0.0, vec![0.0; values.len()]));
            *n += 1.0;
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
    }
    let arrays = sums
        .into_iter()
        .map(|(name, (n, sum))| (name, sum.into_iter().map(|s| s / n).collect()))
        .collect();
    let mut ordered: Vec<Row> = about.rows.iter().filter_map(|spec| rows.remove(spec.id)).collect();
    ordered.extend(rows.into_values());
    (ordered, arrays)
}
