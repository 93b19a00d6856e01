//! What a user hands in as data: a text table, arrays in a file, a folder of images, or a known data set.
//!
//! What a file holds decides how it is read, or an error does; what had to be assumed is said in one line, with the option
//! that overrules it. A [`Request`] becomes [`Examples`]; those become a data set of a perceptron
//! ([`Examples::dataset`]) or the input of any network ([`Examples::prepared`]).

mod arrays;
mod cells;
mod columns;
mod content;
mod csv;
mod dialect;
mod folder;
mod header;
mod idx;
mod image_steps;
pub(crate) mod labels;
mod names;
mod number;
mod numpy;
mod options;
mod place;
mod prepared;
mod request;
mod selection;
mod shape;
mod split;
mod task;
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
pub(crate) use image_steps::ImageSteps;
use names::Named;
pub(crate) use names::NamesFrom;
use options::Scope;
pub(crate) use options::{ImageOptions, Options};
use place::Place;
pub(crate) use prepared::Prepared;
pub(crate) use request::Request;
pub(crate) use split::{duplicates_across, split};

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
    /// Names of the classes, where data or options say them.
    class_names: Vec<String>,
    place: Place,
    /// Channels, height and width of an image, where the numbers of `x` are in this order.
    image: Option<[usize; 3]>,
    /// Whether it is still open if the bytes of `x` are intensities.
    is_open: bool,
    images: ImageOptions,
    /// Whether they are the images of a folder.
    is_folder: bool,
}

/// Targets as a file holds them.
#[derive(Clone)]
enum Targets {
    /// Classes that were checked already.
    Classes(Vec<f64>),
    /// Classes by name.
    Named(Named),
    /// Numbers, (m, k).
    Numbers { values: Vec<f64>, k: usize },
}

/// What a reader of one format gives.
struct Read {
    x: Tensor,
    y: Option<Targets>,
    place: Place,
    image: Option<[usize; 3]>,
    is_open: bool,
    /// What was assumed.
    notices: Vec<String>,
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
        let (examples, notices) = Self::opened(request)?;
        notices.iter().for_each(|line| note(&format!("{}: {line}", request.word)));
        Ok(examples)
    }

    /// [`Examples::open`] with what was assumed, for the caller to say.
    fn opened(request: &Request) -> Result<(Self, Vec<String>)> {
        let (word, flag) = (request.word, request.flag);
        let path = Path::new(word);
        let read = if IDS.contains(&word) && !path.is_file() {
            request.check_options(&[Scope::Images], word)?;
            Self::known(word, request.cache, request.flag == "--test")
        } else if path.is_dir() && request.images.is_some() {
            folder::read(path, request)
        } else if !path.exists() || path.is_dir() {
            let found = if path.is_dir() { "the folder" } else { "no file" };
            let folder = if request.images.is_some() { "a folder of images, " } else { "" };
            let known = IDS.join(", ");
            bail!(
                "{flag}: expected {folder}a safetensors file, NumPy arrays (.npz, .npy), an IDX file, a text table (CSV) or \
                 one of {known}, found {found} {word}"
            );
        } else {
            Self::file(&read(path)?, request)
        };
        let read = read.with_context(|| word.to_owned())?;
        let Read { x, y, place, image, is_open, mut notices } = read;
        let told = &request.options.classes;
        names::check(told)?;
        let targets = match y {
            Some(targets) if !told.is_empty() => {
                let told = (&told[..], request.options.classes_from);
                Some(names::with_told(targets, told, &place).with_context(|| word.to_owned())?)
            }
            other => other,
        };
        let mut class_names = told.clone();
        if let Some(Targets::Named(named)) = &targets {
            notices.extend(named.notice());
            class_names.clone_from(&named.names);
        }
        let images = request.images.cloned().unwrap_or_default();
        let is_folder = path.is_dir() && matches!(place, Place::Rows(_)) && !IDS.contains(&word);
        let name = word.to_owned();
        let examples =
            Self { name, x, targets, class_names, place, image, is_open, images, is_folder };
        Ok((examples, notices))
    }

    /// What the bytes of a file hold.
    fn file(bytes: &[u8], request: &Request) -> Result<Read> {
        let bytes = content::unpacked(bytes)?;
        let found = match content::detect(&bytes)? {
            Content::Text(text) => {
                request.check_options(&[Scope::Tables], "a text table")?;
                let (options, purpose) = (request.options, request.purpose);
                return csv::read(text, options, purpose, request.n_inputs());
            }
            Content::Tensors => {
                request.check_options(&[Scope::Bytes, Scope::Images], "a safetensors file")?;
                tensors::read(&parse(&bytes)?)?
            }
            Content::Archive => {
                request.check_options(&[Scope::Bytes, Scope::Images], "an .npz file")?;
                numpy::npz(&bytes)?
            }
            Content::Array => {
                request
                    .check_options(&[Scope::Bytes, Scope::Images, Scope::Labels], "an .npy file")?;
                idx::with_labels(numpy::array("array `x`", &bytes)?, false, request)?
            }
            Content::Idx => {
                request
                    .check_options(&[Scope::Bytes, Scope::Images, Scope::Labels], "an IDX file")?;
                idx::with_labels(idx::array("array `x`", &bytes)?, true, request)?
            }
        };
        arrays::read(found, request)
    }

    /// The training examples of a known data set, or its test examples; never synthetic ones, which a posterior would take for
    /// real.
    fn known(id: &str, cache: &Path, is_test: bool) -> Result<Read> {
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
        let images = images.unless_synthetic(&told)?;
        let part = if is_test { &images.test } else { &images.train };
        let core_tensors::Targets::Classes { labels, .. } = part.y() else {
            bail!("expected classes, found values");
        };
        let classes = labels.to_dtype(DType::F64)?.to_vec1()?;
        let (x, y) = (part.x().clone(), Some(Targets::Classes(classes)));
        let (place, image) = (Place::Rows("array"), Some(images.shape));
        Ok(Read { x, y, place, image, is_open: false, notices: Vec::new() })
    }

    /// n: features of an example.
    pub(crate) fn n_features(&self) -> usize {
        self.x.dims().iter().skip(1).product()
    }

    /// The classes, where there are targets; values that are none are an error.
    pub(crate) fn classes(&self) -> Result<Option<Vec<u32>>> {
        match &self.targets {
            None => Ok(None),
            Some(Targets::Named(named)) => Ok(Some(named.classes.clone())),
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
            Some(Targets::Named(Named { classes, .. })) => {
                Some(of(&classes.iter().copied().map(f64::from).collect::<Vec<_>>(), 1)?)
            }
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
            Some(at) => self.beyond_f32(&self.place.target(at / k, at % k), values[at]),
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
            (Task::Classification, Targets::Named(named)) => {
                task::check_names(&named, n_outputs).with_context(|| name.clone())?;
                let labels = Tensor::from_vec(named.classes, m, &Device::Cpu)?;
                Checked::Classes { labels, n_classes: n_outputs }
            }
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
            (Task::Regression, Targets::Classes(_) | Targets::Named(_)) => {
                bail!("{name}: its targets are classes, expected --task classification");
            }
            (Task::Regression, Targets::Numbers { values, k }) if k == n_outputs => {
                Checked::Values(Tensor::from_vec(values, (m, k), &Device::Cpu)?)
            }
            (Task::Regression, Targets::Numbers { k, .. }) => bail!(
                "{name}: expected {n_outputs} targets an example, as the network gives, found {k} (--target a,b \
                 names several columns of a table)"
            ),
        };
        Ok(Dataset::new(self.x, y)?)
    }
}

fn is_beyond_f32(value: &f64) -> bool {
    value.abs() > f64::from(f32::MAX)
}
