//! What runs an experiment: its description with settings, parts and the function behind them; the work of one part.

use std::collections::BTreeMap;

use anyhow::Result;
use candle_core::Tensor;
use indicatif::ProgressBar;

use super::session::Session;
use crate::ledger::{Claim, Curve, Description, Figure, Numbers, Part, Point, RowSpec, Scale};
use crate::training::{Interrupted, Monitor};

/// One experiment of a paper.
pub struct Experiment {
    /// Name on the command line and in results.
    pub id: &'static str,
    /// Name in the report.
    pub title: &'static str,
    /// Short name of the paper; empty where there is none.
    pub source: &'static str,
    /// What is run, and what is not as in the source.
    pub summary: &'static str,
    /// Data sets and weights it needs.
    pub data: &'static [&'static str],
    /// Its settings at a scale: part of the key under which results are kept.
    pub settings: fn(Scale) -> Result<serde_json::Value>,
    /// Its parts.
    pub parts: Parts,
    /// Runs one part.
    pub run: fn(&Task) -> Result<Outcome>,
    /// The rows of its table, in order; an outcome may hold further rows, which only results.json shows.
    pub rows: &'static [RowSpec],
    /// What the papers say about it.
    pub claims: &'static [Claim],
    /// What one point of its curves is.
    pub point: Point,
    /// Its figures.
    pub figures: &'static [Figure],
}

/// The parts of an experiment: one for each seed, and others.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// Besides one for each seed.
    pub others: &'static [Part],
    /// Seeds at quick scale.
    pub quick: usize,
    /// Seeds at the paper's.
    pub paper: usize,
}

/// What a part found, and tensors for the parts that follow.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Rows and arrays.
    pub numbers: Numbers,
    /// Tensors for the parts that follow; kept beside the rest.
    pub tensors: BTreeMap<String, Tensor>,
}

/// The work of one part.
pub struct Task<'a> {
    /// The setting.
    pub session: &'a Session,
    /// Which part.
    pub part: Part,
    /// What [`Part::Shared`] found, where there is one.
    pub shared: Option<&'a Outcome>,
    /// Advances by one a point of the curves.
    pub progress: ProgressBar,
}

impl Experiment {
    /// What a report shows of it.
    pub fn description(&self) -> Description {
        let Self { id, title, source, summary, rows, claims, point, figures, .. } = *self;
        Description { id, title, source, summary, rows, claims, point, figures }
    }
}

impl Parts {
    /// Of most experiments: ten pairs at least, as the small effects of C9 and C18 need.
    pub const USUAL: Self = Self::seeds(10, 20);

    /// One for each of so many seeds at quick scale and at the paper's.
    pub const fn seeds(quick: usize, paper: usize) -> Self {
        Self { others: &[], quick, paper }
    }

    /// And these.
    pub const fn and(self, others: &'static [Part]) -> Self {
        Self { others, ..self }
    }

    /// Seeds at a scale, unless `--seeds` says otherwise; at most two at smoke scale.
    pub fn n_seeds(self, scale: Scale) -> usize {
        match scale {
            Scale::Smoke => self.quick.min(2),
            Scale::Quick => self.quick,
            Scale::Paper => self.paper,
        }
    }
}

impl Task<'_> {
    /// Announces epochs, or other points of curves, to come.
    pub fn expect_epochs(&self, n: usize) {
        self.progress.inc_length(n as u64);
    }
}

impl Monitor for Task<'_> {
    fn point_done(&self) -> Result<()> {
        self.progress.inc(1);
        if self.session.is_interrupted() { Err(Interrupted.into()) } else { Ok(()) }
    }

    fn note(&self, line: &str) {
        self.progress.println(line);
    }
}

impl Outcome {
    /// Adds a run's metrics to a row.
    pub fn add(&mut self, row: &str, metrics: BTreeMap<String, Curve>) {
        self.numbers.add(row, metrics);
    }
}
