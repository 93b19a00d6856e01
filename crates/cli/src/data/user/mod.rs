//! What a user hands in as data: a text table, a safetensors file with `x` and `y`, or a known data set.
//!
//! What a file holds decides how it is read, or an error does; what had to be assumed is said in one line, with the option
//! that overrules it.

mod columns;
mod content;
mod csv;
mod dialect;
mod header;
pub(crate) mod labels;
mod number;
mod options;
#[expect(dead_code, reason = "commands on graphs read it next")]
mod prepared;
mod tensors;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bayes_posterior::Task;
use candle_core::{DType, Device, Tensor};
use core_tensors::Dataset;

pub(crate) use columns::Purpose;
use content::Content;
pub(crate) use options::Options;

use crate::data::published::{self, FETCHED, IDS, Images, Places};
use crate::files::parse;
use crate::files::{note, read};

/// Examples before anything is known of the network.
pub(crate) struct Examples {
    /// The word that named them.
    pub(crate) name: String,
    /// (m, n) or (m, …): f64, or bytes where they are image intensities, which networks divide by 255.
    pub(crate) x: Tensor,
    targets: Option<Targets>,
    place: Place,
}

/// Which examples, and how to read them.
pub(crate) struct Request<'a> {
    /// The option that names them.
    pub(crate) flag: &'a str,
    /// A file or a known data set.
    pub(crate) word: &'a str,
    /// Folder of downloads.
    pub(crate) cache: &'a Path,
    pub(crate) options: &'a Options,
    pub(crate) purpose: Purpose,
    /// Whether the command line says that a row is an image.
    pub(crate) is_image: bool,
    /// Whether the command reads no other data, so that an option that these do not obey is a mistake.
    pub(crate) is_only: bool,
}

/// Targets as a file holds them.
#[derive(Clone)]
enum Targets {
    /// Classes that were checked already.
    Classes(Vec<f64>),
    /// Numbers, (m, k).
    Numbers { values: Vec<f64>, k: usize },
}

/// What a reader of one format gives.
struct Read {
    x: Tensor,
    y: Option<Targets>,
    place: Place,
    /// What was assumed.
    notices: Vec<String>,
}

/// Where a number stands in the file, for messages.
enum Place {
    /// In a text table: the line of each example, the column of the target, the names of all columns.
    Lines { lines: Vec<usize>, target: Option<usize>, names: Option<Vec<String>> },
    /// In tensors.
    Rows,
}

/// Where the data that a word names lie: a path, or the folder of a known data set.
pub(crate) fn place_of(word: &str, cache: &Path) -> PathBuf {
    let path = PathBuf::from(word);
    if path.exists() || !FETCHED.contains(&word) {
        return path;
    }
    published::from_environment()
        .map_or_else(|| cache.to_path_buf(), |(_, folder)| folder)
        .join(word)
}

impl Examples {
    /// Reads examples and says what was assumed.
    pub(crate) fn open(request: &Request) -> Result<Self> {
        let (word, flag) = (request.word, request.flag);
        let path = Path::new(word);
        if IDS.contains(&word) && !path.is_file() {
            request.check_no_table(word)?;
            request.check_no_bytes(word)?;
            return Self::known(word, request.cache);
        }
        if !path.exists() || path.is_dir() {
            let found = if path.is_dir() { "the folder" } else { "no file" };
            let known = IDS.join(", ");
            bail!(
                "{flag}: expected a safetensors file, a text table (CSV) or one of {known}, found {found} {word}"
            );
        }
        let bytes = read(path)?;
        let read = || match content::detect(&bytes)? {
            Content::Tensors => {
                request.check_no_table("a safetensors file")?;
                tensors::read(&parse(&bytes)?, request)
            }
            Content::Text(text) => {
                request.check_no_bytes("a text table")?;
                csv::read(text, request.options, request.purpose)
            }
        };
        let Read { x, y: targets, place, notices } = read().with_context(|| word.to_owned())?;
        notices.iter().for_each(|line| note(&format!("{word}: {line}")));
        Ok(Self { name: word.to_owned(), x, targets, place })
    }

    /// The training examples of a known data set; never synthetic ones, which a posterior would take for real.
    fn known(id: &str, cache: &Path) -> Result<Self> {
        let explicit = match published::from_environment() {
            Some(explicit) => explicit,
            None => {
                published::fetch(id, cache)?;
                ("--cache".to_owned(), cache.to_path_buf())
            }
        };
        let places = Places { explicit: Some(explicit), cache: cache.to_path_buf() };
        let mut told = String::new();
        let images = Images::load(id, &places, &Device::Cpu, &mut |line| told = line)?;
        let images = images.unless_synthetic(&told).with_context(|| id.to_owned())?;
        let core_tensors::Targets::Classes { labels, .. } = images.train.y() else {
            bail!("{id}: expected classes, found values");
        };
        let classes = labels.to_dtype(DType::F64)?.to_vec1()?;
        let targets = Some(Targets::Classes(classes));
        let (name, x) = (id.to_owned(), images.train.x().clone());
        Ok(Self { name, x, targets, place: Place::Rows })
    }

    /// n: features of an example.
    pub(crate) fn n_features(&self) -> usize {
        self.x.dims().iter().skip(1).product()
    }

    /// The classes, where there are targets; values that are none are an error.
    pub(crate) fn classes(&self) -> Result<Option<Vec<u32>>> {
        match &self.targets {
            None => Ok(None),
            Some(Targets::Classes(values) | Targets::Numbers { values, k: 1 }) => {
                labels::classes(values, labels::MOST_CLASSES, &self.place)
                    .with_context(|| self.name.clone())
                    .map(Some)
            }
            Some(Targets::Numbers { k, .. }) => {
                bail!("{}: expected one class an example, found {k} targets", self.name)
            }
        }
    }

    /// The targets as they are, f64, (m, k).
    pub(crate) fn values(&self) -> Result<Option<Tensor>> {
        let m = self.x.dim(0)?;
        let of = |values: &[f64], k| Tensor::from_slice(values, (m, k), &Device::Cpu);
        Ok(match &self.targets {
            None => None,
            Some(Targets::Classes(values)) => Some(of(values, 1)?),
            Some(Targets::Numbers { values, k }) => Some(of(values, *k)?),
        })
    }

    /// Refuses features that f32, in which networks compute, does not hold.
    pub(crate) fn check_features_in_f32(&self) -> Result<()> {
        if self.x.dtype() == DType::U8 {
            return Ok(());
        }
        let (values, n) = (self.x.flatten_all()?.to_vec1::<f64>()?, self.n_features().max(1));
        match values.iter().position(is_beyond_f32) {
            Some(at) => self.beyond_f32(&self.place.feature(at / n, at % n), values[at]),
            None => Ok(()),
        }
    }

    /// Refuses targets that f32 does not hold.
    pub(crate) fn check_targets_in_f32(&self) -> Result<()> {
        let Some(Targets::Numbers { values, k }) = &self.targets else { return Ok(()) };
        match values.iter().position(is_beyond_f32) {
            Some(at) => self.beyond_f32(&self.place.target(at / k), values[at]),
            None => Ok(()),
        }
    }

    fn beyond_f32(&self, place: &str, value: f64) -> Result<()> {
        let (name, most) = (&self.name, f32::MAX);
        bail!(
            "{name}: {place}: expected a number in the range of f32, of size at most {most:e}, found {value:e}"
        )
    }

    /// The examples as a network with `n_inputs` and `n_outputs` takes them; says what is unusual about the classes.
    pub(crate) fn dataset(self, task: Task, n_inputs: usize, n_outputs: usize) -> Result<Dataset> {
        use core_tensors::Targets as Checked;
        let (found, name) = (self.n_features(), self.name);
        if found != n_inputs {
            bail!(
                "{name}: expected {n_inputs} features an example, as the network takes, found {found}"
            );
        }
        let m = self.x.dim(0)?;
        let Some(targets) = self.targets else { bail!("{name}: expected targets, found none") };
        let y = match (task, targets) {
            (
                Task::Classification,
                Targets::Classes(values) | Targets::Numbers { values, k: 1 },
            ) => {
                let classes = labels::classes(&values, n_outputs, &self.place);
                let classes = classes.with_context(|| name.clone())?;
                if let Some(line) = labels::notices(&classes, n_outputs) {
                    note(&format!("{name}: {line}"));
                }
                let labels = Tensor::from_vec(classes, m, &Device::Cpu)?;
                Checked::Classes { labels, n_classes: n_outputs }
            }
            (Task::Classification, Targets::Numbers { k, .. }) => bail!(
                "{name}: expected one class an example, found {k} targets (for one-hot rows store the index of the 1)"
            ),
            (Task::Regression, Targets::Classes(_)) => {
                bail!("{name}: its targets are classes, expected --task classification");
            }
            (Task::Regression, Targets::Numbers { values, k }) if k == n_outputs => {
                Checked::Values(Tensor::from_vec(values, (m, k), &Device::Cpu)?)
            }
            (Task::Regression, Targets::Numbers { k, .. }) => bail!(
                "{name}: expected {n_outputs} targets an example, as the network gives, found {k} (more than one need a \
                 safetensors file with `x` and `y`)"
            ),
        };
        Ok(Dataset::new(self.x, y)?)
    }
}

impl<'a> Request<'a> {
    /// The only data of a command that fits a network to them: `--data`, with targets.
    pub(crate) fn supervised(word: &'a str, cache: &'a Path, options: &'a Options) -> Self {
        let purpose = Purpose::Supervised;
        Self { flag: "--data", word, cache, options, purpose, is_image: false, is_only: true }
    }

    /// Refuses options of tables where there is no table.
    pub(crate) fn check_no_table(&self, found: &str) -> Result<()> {
        self.check(self.options.of_tables(), "a text table (CSV)", found)
    }

    /// Refuses `--bytes` where there are none in `x`.
    pub(crate) fn check_no_bytes(&self, found: &str) -> Result<()> {
        let given = self.options.bytes.map(|_| "--bytes");
        self.check(given, "a safetensors file with bytes (U8) in `x`", found)
    }

    fn check(&self, given: Option<&str>, wanted: &str, found: &str) -> Result<()> {
        match given {
            Some(option) if self.is_only => {
                bail!("{option}: expected {wanted} as {}, found {found}", self.flag)
            }
            _ => Ok(()),
        }
    }
}

impl Place {
    /// The target of an example, rows and columns from 0.
    fn target(&self, row: usize) -> String {
        match self {
            Self::Lines { lines, target, names } => {
                let line = lines.get(row).copied().unwrap_or_default();
                let column = target.map(|at| format!(", {}", csv::place(at, names.as_deref())));
                format!("line {line}{}", column.unwrap_or_default())
            }
            Self::Rows => format!("tensor `y`, row {row} (from 0)"),
        }
    }

    /// A feature of an example, rows and columns from 0.
    fn feature(&self, row: usize, column: usize) -> String {
        match self {
            Self::Lines { lines, target, names } => {
                let column = column + usize::from(target.is_some_and(|target| target <= column));
                let line = lines.get(row).copied().unwrap_or_default();
                format!("line {line}, {}", csv::place(column, names.as_deref()))
            }
            Self::Rows => format!("tensor `x`, row {row}, column {column} (both from 0)"),
        }
    }
}

fn is_beyond_f32(value: &f64) -> bool {
    value.abs() > f64::from(f32::MAX)
}
