//! What is told of an experiment: parts that can run alone, rows of its table, claims, figures.

use serde::Serialize;

use super::claim::Claim;
use super::metric::{Better, Metric};

/// How much of an experiment is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Every code path in under a minute; epochs and examples are cut, so no claim can be decided.
    Smoke,
    /// The source's sizes and epochs (of tweets at most 16 000) with about ten seeds (three where one takes long).
    Quick,
    /// The source's sizes and epochs with twenty seeds (ten where one takes long).
    Paper,
}

impl Scale {
    /// The word of the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::Quick => "quick",
            Self::Paper => "paper",
        }
    }
}

/// One experiment of a paper, as a report shows it.
#[derive(Clone, Copy)]
pub struct Description {
    /// Name on the command line and in results.
    pub id: &'static str,
    /// Name in the report.
    pub title: &'static str,
    /// Short name of the paper; empty where there is none.
    pub source: &'static str,
    /// What is run, and what is not as in the source.
    pub summary: &'static str,
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
    /// Units that a layer has left: the row's own metric [`N_UNITS`](super::metric::N_UNITS), on a logarithmic axis.
    Units,
    /// Parameters of the network: the row's own metric [`N_PARAMETERS`](super::metric::N_PARAMETERS), on a logarithmic axis.
    Parameters,
    /// A value of a setting: the row's own metric of this name.
    Of {
        /// The metric.
        metric: Metric,
        /// What a reader calls it.
        name: &'static str,
    },
}

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
#[derive(Clone, Copy)]
pub enum Figure {
    /// Mean over runs with a band of one population standard deviation, by [`Point`].
    Curves {
        /// Its caption.
        title: &'static str,
        /// Which metric.
        metric: Metric,
        /// Of which rows.
        rows: &'static [&'static str],
    },
    /// One metric as a table: lines × columns, a row of results a cell; a row that is none stays empty.
    Cross {
        /// Its caption.
        title: &'static str,
        /// Which metric.
        metric: Metric,
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
        metric: Metric,
        /// Of which rows, all with the same points.
        rows: &'static [&'static str],
    },
    /// Many rows against one, with Holm's correction: sentences and a table of rows × metrics, the best first.
    Ranking {
        /// Its caption.
        title: &'static str,
        /// What the names of all the rows begin with.
        among: &'static str,
        /// The row that the others are compared with.
        than: &'static str,
        /// Which metrics; the first gives the order.
        metrics: &'static [Metric],
    },
    /// Small images, a line of them a named array; an array that was not kept is left out.
    Images {
        /// Its caption.
        title: &'static str,
        /// 1 or 3: numbers of a pixel.
        channels: usize,
        /// Images in a line; longer arrays take several.
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
        better: Better,
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

impl Figure {
    /// Curves of a metric of some rows.
    pub const fn curves(
        title: &'static str,
        metric: Metric,
        rows: &'static [&'static str],
    ) -> Self {
        Self::Curves { title, metric, rows }
    }

    /// A metric at every point of the curves of some rows, as a table.
    pub const fn points(
        title: &'static str,
        metric: Metric,
        rows: &'static [&'static str],
    ) -> Self {
        Self::Points { title, metric, rows }
    }

    /// A metric as a table of named lines × columns.
    pub const fn cross(
        title: &'static str,
        metric: Metric,
        columns: &'static [&'static str],
        rows: &'static [(&'static str, &'static [&'static str])],
    ) -> Self {
        Self::Cross { title, metric, columns, rows }
    }

    /// Rows whose names begin alike against one of them.
    pub const fn ranking(
        title: &'static str,
        among: &'static str,
        than: &'static str,
        metrics: &'static [Metric],
    ) -> Self {
        Self::Ranking { title, among, than, metrics }
    }

    /// A measure over T, upward, and λ, to the right.
    pub const fn heat(
        title: &'static str,
        array: &'static str,
        better: Better,
        temperatures: &'static [f64],
        lambdas: &'static [f64],
    ) -> Self {
        let (vertical, horizontal) = (("T", temperatures), ("λ", lambdas));
        Self::Heat { title, array, better, vertical, horizontal }
    }
}

impl Point {
    /// Name of the horizontal axis.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Iterations(_) => "iteration",
            Self::Units => "units kept",
            Self::Parameters => "parameters, thousands",
            Self::Of { name, .. } => name,
        }
    }
}

impl Description {
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
