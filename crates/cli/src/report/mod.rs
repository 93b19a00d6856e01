//! The report of a reproduction: results.json, report.md, index.html, CSV of every curve, figures.

mod csv;
mod docs;
mod document;
mod figures;
mod html;
mod json;
mod markdown;
mod pages;
mod plots;
mod readme;
mod standing;
mod tables;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use core_tensors::stats::{Paired, holm, sign_flip_p};

use crate::claims::{ClaimResult, Rows, judge};
use crate::datasets::Kind;
use crate::experiment::{Experiment, FiniteOrNull, N_UNITS, Outcome, Part, Point, Unit};
use crate::files::{check_set, check_writable, write_set};
use crate::provenance::Provenance;
use crate::runner::Ledger;
use crate::session::{Scale, Session};

pub(crate) use docs::Docs;

/// Files of a report beside those in its folders, which are also below.
pub(crate) const PAGES: [&str; 3] = ["results.json", "report.md", "index.html"];
const FIGURES: &str = "figures";
const CURVES: &str = "curves";
/// Metrics of the comparisons of arms.
const COMPARED: [&str; 8] = [
    "cross_entropy",
    "area",
    "divergence",
    "accuracy",
    "squared_error",
    "excess",
    "risk",
    "density",
];

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

/// Everything about one reproduction.
pub struct Report {
    /// The scale.
    pub scale: Scale,
    /// Where it came from.
    pub provenance: Provenance,
    /// Set where the run was cut short: why.
    pub interruption: Option<String>,
    /// The experiments.
    pub experiments: Vec<ExperimentReport>,
}

/// Everything about one experiment.
pub struct ExperimentReport {
    /// The experiment.
    pub experiment: &'static Experiment,
    /// Seconds of computing, over all its parts.
    pub seconds: f64,
    /// Its settings.
    pub settings: serde_json::Value,
    /// Rows in the order of the table, then the others.
    pub rows: Vec<Row>,
    /// Numbers for figures.
    pub arrays: BTreeMap<String, Vec<f64>>,
    /// Every row against its baseline.
    pub comparisons: Vec<Comparison>,
    /// Judged claims.
    pub claims: Vec<ClaimResult>,
}

/// A row against its baseline, seed by seed.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Metric.
    pub metric: &'static str,
    /// Row.
    pub row: &'static str,
    /// Its baseline.
    pub than: &'static str,
    /// Row minus baseline.
    pub paired: Paired,
    /// Two-sided p of the sign-flip permutation test.
    pub p_permutation: f64,
    /// Student's p after Holm's correction over the rows of this metric.
    pub p_holm: f64,
}

impl ExperimentReport {
    /// Whether it rests on generated data.
    fn is_generated(&self) -> bool {
        self.rows.iter().any(|row| row.data == Kind::Generated)
    }
}

impl Row {
    /// Last value of a metric of each run.
    pub fn finals(&self, metric: &str) -> Vec<f64> {
        let curves = self.metrics.get(metric).map(Vec::as_slice).unwrap_or_default();
        curves.iter().map(|curve| curve.0.last().copied().unwrap_or(f64::NAN)).collect()
    }

    /// Where the first points of its curves lie on the horizontal axis.
    fn positions(&self, point: Point, n_points: usize) -> Vec<f64> {
        match point {
            Point::Epoch => (0..n_points).map(|i| i as f64).collect(),
            Point::Iterations(every) => (1..=n_points).map(|i| (every * i) as f64).collect(),
            Point::Units => self.own_positions(N_UNITS, n_points),
            Point::Of { metric, .. } => self.own_positions(metric, n_points),
        }
    }

    fn own_positions(&self, metric: &str, n_points: usize) -> Vec<f64> {
        let runs = self.metrics.get(metric).and_then(|runs| runs.first());
        runs.map_or_else(Vec::new, |run| run.0.iter().copied().take(n_points).collect())
    }

    /// Last values of a metric of two rows for the runs that both have, in order of the runs.
    pub fn pairs(&self, other: &Self, metric: &str) -> (Vec<f64>, Vec<f64>) {
        let by_run = |row: &Self| -> BTreeMap<u64, f64> {
            row.runs.iter().copied().zip(row.finals(metric)).collect()
        };
        let (a, b) = (by_run(self), by_run(other));
        a.iter().filter_map(|(run, a)| b.get(run).map(|b| (*a, *b))).unzip()
    }
}

/// Fails before hours of work rather than after them, where [`Report::write`] would refuse the folder.
pub(crate) fn check_folder(folder: &Path) -> Result<()> {
    check_writable(folder)?;
    check_set(folder, &[&PAGES[..], &[FIGURES, CURVES]].concat())
}

impl Report {
    /// Puts finished parts together and judges the claims.
    pub fn new(
        experiments: &[&'static Experiment],
        mut ledger: Ledger,
        session: &Session,
        provenance: Provenance,
        interruption: Option<String>,
    ) -> Result<Self> {
        let mut reports = Vec::new();
        for (index, &experiment) in experiments.iter().enumerate() {
            let next = ledger.split_off(&(index + 1, Part::Shared));
            let mine = std::mem::replace(&mut ledger, next);
            let seconds = mine.values().map(|finished| finished.seconds).sum();
            let is_drawn =
                |id: &&str| session.origin(id).is_ok_and(|(kind, _)| kind == Kind::Generated);
            let data =
                if experiment.data.iter().any(is_drawn) { Kind::Generated } else { Kind::Real };
            let parts = mine.into_iter().map(|((_, part), finished)| (part, finished.outcome));
            let (rows, arrays) = assemble(experiment, data, parts);
            reports.push(ExperimentReport {
                experiment,
                seconds,
                settings: (experiment.settings)(session.scale)?,
                comparisons: compare(experiment, &rows)?,
                rows,
                arrays,
                claims: Vec::new(),
            });
        }
        let rows = Rows::new(reports.iter().flat_map(|report| &report.rows), session.scale);
        let claims: Vec<Vec<ClaimResult>> = reports
            .iter()
            .map(|report| report.experiment.claims.iter().map(|c| judge(c, &rows)).collect())
            .collect();
        drop(rows);
        reports.iter_mut().zip(claims).for_each(|(report, claims)| report.claims = claims);
        Ok(Self { scale: session.scale, provenance, interruption, experiments: reports })
    }

    /// Writes every file of the report into a folder; what an earlier report left there goes, as `files::write_set` says.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let document = document::build(self)?;
        let pages = [json::render(self)?, markdown::render(&document), html::render(&document)];
        let pages = PAGES.map(str::to_owned).into_iter().zip(pages);
        let figure = |(name, svg): (&str, &str)| (format!("{FIGURES}/{name}.svg"), svg.to_owned());
        let curve = |(name, text)| (format!("{CURVES}/{name}"), text);
        let figures = document.figures().map(figure);
        let curves = csv::curves(self).into_iter().map(curve);
        write_set(folder, &[FIGURES, CURVES], pages.chain(figures).chain(curves))
    }

    /// One line a claim, for the terminal.
    pub fn summary(&self) -> Vec<String> {
        let claims = self.experiments.iter().flat_map(|e| &e.claims);
        claims.map(|c| format!("{:4} {}", c.id, c.verdict.word())).collect()
    }

    /// Whether any row rests on generated data.
    pub fn has_generated_rows(&self) -> bool {
        self.experiments.iter().any(ExperimentReport::is_generated)
    }
}

/// Rows and arrays of an experiment from its parts, seeds in order.
fn assemble(
    experiment: &Experiment,
    data: Kind,
    parts: impl Iterator<Item = (Part, Outcome)>,
) -> (Vec<Row>, BTreeMap<String, Vec<f64>>) {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let mut sums: BTreeMap<String, (f64, Vec<f64>)> = BTreeMap::new();
    for (part, outcome) in parts {
        let unit = match part {
            Part::Shared => Unit::Single,
            Part::Source => Unit::Segment,
            Part::Seed(_) => Unit::Seed,
        };
        for (id, metrics) in outcome.rows {
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
        for (name, FiniteOrNull(values)) in outcome.arrays {
            let (n, sum) = sums.entry(name).or_insert_with(|| (0.0, vec![0.0; values.len()]));
            *n += 1.0;
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
    }
    let arrays = sums
        .into_iter()
        .map(|(name, (n, sum))| (name, sum.into_iter().map(|s| s / n).collect()))
        .collect();
    let mut ordered: Vec<Row> =
        experiment.rows.iter().filter_map(|spec| rows.remove(spec.id)).collect();
    ordered.extend(rows.into_values());
    (ordered, arrays)
}

/// Every row with a baseline against it; Holm's correction runs over the rows of a metric.
fn compare(experiment: &Experiment, rows: &[Row]) -> Result<Vec<Comparison>> {
    let find = |id: &str| rows.iter().find(|row| row.id == id);
    let mut comparisons = Vec::new();
    for metric in COMPARED {
        let start = comparisons.len();
        for spec in experiment.rows {
            let Some(than) = spec.baseline else { continue };
            let (Some(row), Some(other)) = (find(spec.id), find(than)) else { continue };
            if ![row, other].iter().all(|row| row.metrics.contains_key(metric)) {
                continue;
            }
            let (a, b) = row.pairs(other, metric);
            let mut rng = core_tensors::Rng::new(0).split("sign flips");
            comparisons.push(Comparison {
                metric,
                row: spec.id,
                than,
                paired: Paired::new(&a, &b)?,
                p_permutation: sign_flip_p(&a, &b, &mut rng)?,
                p_holm: f64::NAN,
            });
        }
        let p: Vec<f64> = comparisons[start..].iter().map(|c| c.paired.p).collect();
        comparisons[start..].iter_mut().zip(holm(&p)).for_each(|(c, p)| c.p_holm = p);
    }
    Ok(comparisons)
}
