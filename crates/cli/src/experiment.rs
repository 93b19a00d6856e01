//! What an experiment is: parts that can run alone, rows of metrics, claims, figures.

use std::collections::BTreeMap;

use anyhow::Result;
use candle_core::Tensor;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use crate::claims::{Claim, Side};
use crate::session::{Scale, Session};

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
    /// Seeds at a scale, unless `--seeds` says otherwise.
    pub n_seeds: fn(Scale) -> usize,
    /// Its parts besides one for each seed.
    pub extra_parts: &'static [Part],
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

/// What one point of a curve is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The end of an epoch, counted from 0.
    Epoch,
    /// So many iterations more than at the point before; the first point lies there, not at 0.
    Iterations(usize),
    /// Units that a layer has left: the row's own metric [`N_UNITS`], on a logarithmic axis.
    Units,
    /// A value of a setting: the row's own metric of this name.
    Of {
        /// The metric.
        metric: &'static str,
        /// What a reader calls it.
        name: &'static str,
    },
}

/// The metric that holds the positions of [`Point::Units`].
pub const N_UNITS: &str = "n_units";

/// A piece of an experiment that one thread runs and that is kept for the next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// What all seeds share, such as one teacher; runs before them.
    Shared,
    /// The source's own protocol, where it is not independent runs.
    Source,
    /// One independent run of every arm.
    Seed(u64),
}

/// One row of a table.
pub struct RowSpec {
    /// Name, unique over all experiments: data/teacher/protocol.
    pub id: &'static str,
    /// What a reader sees.
    pub title: &'static str,
    /// What one value of the row is: a seeded run or a segment of one run.
    pub unit: Unit,
    /// The row it is compared with.
    pub baseline: Option<&'static str>,
}

impl RowSpec {
    /// A row of independent runs, one a seed.
    pub const fn seeds(id: &'static str, title: &'static str) -> Self {
        Self { id, title, unit: Unit::Seed, baseline: None }
    }

    /// A row of segments of one run.
    pub const fn segments(id: &'static str, title: &'static str) -> Self {
        Self { id, title, unit: Unit::Segment, baseline: None }
    }

    /// A row of one run that all seeds share.
    pub const fn single(id: &'static str, title: &'static str) -> Self {
        Self { id, title, unit: Unit::Single, baseline: None }
    }

    /// The same row, compared with another.
    pub const fn against(self, baseline: &'static str) -> Self {
        Self { baseline: Some(baseline), ..self }
    }
}

/// What one value of a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A whole run with its own seed; tests rest on these.
    Seed,
    /// A segment of one run, as in the source: shown with its spread, never tested.
    Segment,
    /// A single run that all seeds share.
    Single,
}

/// A figure of the report.
pub enum Figure {
    /// Mean over runs with a band of one population standard deviation, by [`Point`].
    Curves {
        /// Its caption.
        title: &'static str,
        /// Which metric.
        metric: &'static str,
        /// Of which rows.
        rows: &'static [&'static str],
    },
    /// One metric as a table: lines × columns, a row of results a cell; a row that is none stays empty.
    Cross {
        /// Its caption.
        title: &'static str,
        /// Which metric.
        metric: &'static str,
        /// Headings of the columns.
        columns: &'static [&'static str],
        /// Name of each line and the rows of its cells.
        rows: &'static [(&'static str, &'static [&'static str])],
    },
    /// One metric as a table of rows × points of their curves.
    Points {
        /// Its caption.
        title: &'static str,
        /// Which metric.
        metric: &'static str,
        /// Of which rows, all with the same points.
        rows: &'static [&'static str],
    },
    /// Many rows against one, with Holm's correction: sentences and a table of rows × metrics, the best first.
    Standing {
        /// Its caption.
        title: &'static str,
        /// What the names of all the rows begin with.
        among: &'static str,
        /// The row that the others are compared with.
        than: &'static str,
        /// Which metrics, and where their better values lie; the first gives the order.
        metrics: &'static [(&'static str, Side)],
    },
    /// Small images, a line of them a named array; an array that was not kept is left out.
    Images {
        /// Its caption.
        title: &'static str,
        /// 1 or 3: numbers of a pixel.
        channels: usize,
        /// Pictures in a line; longer arrays take several.
        columns: usize,
        /// Name of each array, its label and how many square images it holds; levels in \[0, 1\], channel by channel.
        rows: &'static [(&'static str, &'static str, usize)],
    },
    /// Probabilities as grayscale intensities, one strip of examples × classes each.
    Strips {
        /// Its caption.
        title: &'static str,
        /// k: numbers an example.
        n_classes: usize,
        /// Name of the array and label of the strip.
        strips: &'static [(&'static str, &'static str)],
    },
    /// A measure over two settings as a map of colors with its numbers, the best cell framed.
    Heat {
        /// Its caption.
        title: &'static str,
        /// The array, (vertical, horizontal); averaged over seeds.
        array: &'static str,
        /// Where the better values lie.
        better: Side,
        /// Name and values of the vertical axis.
        vertical: (&'static str, &'static [f64]),
        /// Name and values of the horizontal axis.
        horizontal: (&'static str, &'static [f64]),
    },
    /// A probability over two settings, one grayscale map for each example and class.
    Maps {
        /// Its caption.
        title: &'static str,
        /// The array, (examples, classes, vertical, horizontal).
        array: &'static str,
        /// Labels of the examples.
        examples: &'static [&'static str],
        /// Labels of the classes.
        classes: &'static [&'static str],
        /// Name and values of the vertical axis.
        vertical: (&'static str, &'static [f64]),
        /// Name and values of the horizontal axis.
        horizontal: (&'static str, &'static [f64]),
    },
}

/// One metric of one run by epoch, or by the experiment's [`Point`]s; a metric taken once has length 1.
pub type Curve = Vec<f64>;

/// What a part found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Row → metric → run → epoch; a part of a seed holds one run a row.
    pub rows: BTreeMap<String, BTreeMap<String, Vec<FiniteOrNull>>>,
    /// Numbers for figures, averaged over the seeds.
    pub arrays: BTreeMap<String, FiniteOrNull>,
    /// Tensors for the parts that follow; kept beside the rest.
    #[serde(skip)]
    pub tensors: BTreeMap<String, Tensor>,
}

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

/// The run was asked to stop.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

impl Point {
    /// Name of the horizontal axis.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Iterations(_) => "iteration",
            Self::Units => "units kept",
            Self::Of { name, .. } => name,
        }
    }
}

impl Experiment {
    /// Where it comes from, in words.
    pub fn origin(&self) -> String {
        if self.source.is_empty() { "in no paper".into() } else { format!("paper {}", self.source) }
    }
}

impl Part {
    /// Name of the part in progress bars and of its file.
    pub fn name(&self) -> String {
        match self {
            Self::Shared => "shared".into(),
            Self::Source => "source".into(),
            Self::Seed(seed) => format!("seed-{seed}"),
        }
    }

    /// The seed behind its random numbers; what seeds share has the first one.
    pub fn seed(&self) -> u64 {
        match self {
            Self::Shared | Self::Source => 0,
            Self::Seed(seed) => *seed,
        }
    }
}

impl Task<'_> {
    /// Announces epochs, or other points of curves, to come.
    pub fn expect_epochs(&self, n: usize) {
        self.progress.inc_length(n as u64);
    }

    /// Reports one of them done; an error where the run was asked to stop.
    pub fn epoch_done(&self) -> Result<()> {
        self.progress.inc(1);
        if self.session.is_interrupted() { Err(Interrupted.into()) } else { Ok(()) }
    }
}

impl Outcome {
    /// Adds a run's metrics to a row.
    pub fn add(&mut self, row: &str, metrics: BTreeMap<String, Curve>) {
        let row = self.rows.entry(row.to_owned()).or_default();
        for (metric, curve) in metrics {
            row.entry(metric).or_default().push(FiniteOrNull(curve));
        }
    }
}
