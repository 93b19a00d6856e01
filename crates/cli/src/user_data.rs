//! A user's objects: a known data set, a safetensors file with `x` and `y`, or numbers in a CSV file.

mod csv;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use bayes_posterior::Task;
use candle_core::safetensors::Load;
use candle_core::{DType, Device, Tensor};
use core_tensors::{Dataset, Targets};
use safetensors::{Dtype, SafeTensors};

use crate::datasets::{self, DATA_VARIABLE, IDS, Pictures, Places};
use crate::files::read;
use crate::model_file::{parse, refuse_pickle};

/// Objects before anything is known of the network: features (m, …) and raw targets.
pub(crate) struct Objects {
    x: Tensor,
    y: Raw,
    name: String,
}

/// Targets as a file holds them.
enum Raw {
    /// Classes that were checked already.
    Classes(Vec<f64>),
    /// Numbers, (m, k).
    Numbers { values: Vec<f64>, k: usize },
}

impl Objects {
    /// The objects that `--data` names; `cache` is where downloads are.
    pub(crate) fn open(word: &str, cache: &Path) -> Result<Self> {
        let path = Path::new(word);
        if IDS.contains(&word) && !path.is_file() {
            return Self::known(word, cache);
        }
        if !path.exists() {
            let known = IDS.join(", ");
            bail!(
                "--data: wanted a .safetensors or .csv file, or one of {known}, found no file {word}"
            );
        }
        let bytes = read(path)?;
        refuse_pickle(path, &bytes)?;
        let is_csv = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
        let objects = if is_csv { csv::objects(&bytes) } else { Self::tensors(&bytes) };
        let (x, y) = objects.with_context(|| word.to_owned())?;
        Ok(Self { x, y, name: word.to_owned() })
    }

    /// The training objects of a known data set; never drawn ones, as a posterior of those is nobody's.
    fn known(id: &str, cache: &Path) -> Result<Self> {
        let variable = std::env::var_os(DATA_VARIABLE).filter(|folder| !folder.is_empty());
        let explicit = match variable {
            Some(folder) => (format!("${DATA_VARIABLE}"), PathBuf::from(folder)),
            None => {
                datasets::fetch(id, cache)?;
                ("--cache".to_owned(), cache.to_path_buf())
            }
        };
        let places = Places { explicit: Some(explicit), cache: cache.to_path_buf() };
        let mut told = String::new();
        let pictures = Pictures::load(id, &places, &Device::Cpu, &mut |line| told = line)?;
        let pictures = pictures.unless_drawn(&told).with_context(|| id.to_owned())?;
        let Targets::Classes { labels, .. } = pictures.train.y() else {
            bail!("{id}: wanted classes, found values");
        };
        let classes = labels.to_dtype(DType::F64)?.to_vec1()?;
        Ok(Self { x: pictures.train.x().clone(), y: Raw::Classes(classes), name: id.to_owned() })
    }

    fn tensors(bytes: &[u8]) -> Result<(Tensor, Raw)> {
        let file = parse(bytes)?;
        let x = named(&file, "x", "(m, n) features")?;
        if x.dims().len() < 2 || x.elem_count() == 0 {
            bail!("tensor `x` has shape {:?}, wanted (m, n)", x.dims());
        }
        let m = x.dim(0)?;
        let y = named(&file, "y", "(m,) classes or (m,) or (m, k) values")?;
        if y.dims().is_empty() || y.dims().len() > 2 || y.dim(0)? != m || y.elem_count() == 0 {
            bail!(
                "tensor `y` has shape {:?}, wanted ({m},) or ({m}, k): `x` has {m} rows",
                y.dims()
            );
        }
        let k = y.elem_count() / m;
        let values = y.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            bail!("tensor `y`, row {}: wanted a finite number, found {}", at / k, values[at]);
        }
        // Bytes are grey levels, and stay so.
        let x = if x.dtype() == DType::U8 { x } else { x.to_dtype(DType::F64)? };
        if x.dtype() == DType::F64 {
            let numbers = x.flatten_all()?.to_vec1::<f64>()?;
            if let Some(at) = numbers.iter().position(|value| !value.is_finite()) {
                bail!(
                    "tensor `x`, row {}: wanted finite numbers, found {}",
                    at / (numbers.len() / m),
                    numbers[at]
                );
            }
        }
        Ok((x, Raw::Numbers { values, k }))
    }

    /// Features, (m, …), and the classes where all targets are whole numbers from 0.
    pub(crate) fn into_parts(self) -> Result<(Tensor, Option<Vec<u32>>)> {
        let classes = match self.y {
            Raw::Classes(values) | Raw::Numbers { values, k: 1 } => {
                let n_classes = values.iter().fold(0.0f64, |a, &b| a.max(b)) as usize + 1;
                classes(&values, n_classes).ok()
            }
            Raw::Numbers { .. } => None,
        };
        Ok((self.x, classes))
    }

    /// n: features of an object.
    pub(crate) fn n_features(&self) -> usize {
        self.x.dims().iter().skip(1).product()
    }

    /// The objects as a network with `n_inputs` and `n_outputs` takes them.
    pub(crate) fn dataset(self, task: Task, n_inputs: usize, n_outputs: usize) -> Result<Dataset> {
        let (found, name) = (self.n_features(), self.name);
        if found != n_inputs {
            bail!(
                "{name}: wanted {n_inputs} features an object, as the network takes, found {found}"
            );
        }
        let m = self.x.dim(0)?;
        let y = match (task, self.y) {
            (Task::Classification, Raw::Classes(values) | Raw::Numbers { values, k: 1 }) => {
                let labels = classes(&values, n_outputs).with_context(|| name.clone())?;
                Targets::Classes {
                    labels: Tensor::from_vec(labels, m, &Device::Cpu)?,
                    n_classes: n_outputs,
                }
            }
            (Task::Classification, Raw::Numbers { k, .. }) => {
                bail!("{name}: wanted one class an object, found {k} targets");
            }
            (Task::Regression, Raw::Classes(_)) => {
                bail!("{name}: its targets are classes, wanted --task classification");
            }
            (Task::Regression, Raw::Numbers { values, k }) if k == n_outputs => {
                Targets::Values(Tensor::from_vec(values, (m, k), &Device::Cpu)?)
            }
            (Task::Regression, Raw::Numbers { k, .. }) => bail!(
                "{name}: wanted {n_outputs} targets an object, as the network gives, found {k} (more than one \
                 want a safetensors file with `x` and `y`)"
            ),
        };
        Ok(Dataset::new(self.x, y)?)
    }
}

fn classes(values: &[f64], n_classes: usize) -> Result<Vec<u32>> {
    let class = |(row, &value): (usize, &f64)| {
        if value >= 0.0 && value < n_classes as f64 && value.fract() == 0.0 {
            return Ok(value as u32);
        }
        let last = n_classes.saturating_sub(1);
        Err(anyhow!("object {row}: wanted a class, a whole number from 0 to {last}, found {value}"))
    };
    values.iter().enumerate().map(class).collect()
}

/// A tensor of a file, in a type that candle holds.
fn named(file: &SafeTensors, name: &str, wanted: &str) -> Result<Tensor> {
    let view = file.tensor(name).map_err(|_| {
        let mut names = file.names();
        names.sort_unstable();
        anyhow!("wanted a tensor `{name}`, {wanted}, found {names:?}")
    })?;
    match view.dtype() {
        Dtype::U8 | Dtype::U32 | Dtype::I16 | Dtype::I32 | Dtype::I64 => {}
        Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64 => {}
        other => {
            bail!("tensor `{name}` holds {other:?}, wanted floats, or integers of 8 to 64 bits")
        }
    }
    Ok(view.load(&Device::Cpu)?)
}
