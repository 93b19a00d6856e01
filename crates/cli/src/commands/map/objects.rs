//! Objects that a map is applied to: a known data set, a folder of pictures, tensors or numbers.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use core_tensors::{Dataset, Targets};

use crate::commands::UsageError;
use crate::datasets::{
    self, DATA_VARIABLE, FETCHED, GreyPictures, IMAGENETTE, Pictures, Places, has_classes,
    pictures_by_class, pictures_of_folder,
};
use crate::user_data::Objects;

/// Channels, height and width of a picture.
pub(super) type Shape = [usize; 3];

/// Objects as rows.
pub(super) struct Source {
    /// (m, n), bytes or numbers.
    pub(super) x: Tensor,
    /// The class of each, where they have one.
    pub(super) labels: Option<Vec<u32>>,
    /// What a row is, where it is a picture.
    pub(super) shape: Option<Shape>,
    /// The word that named them.
    pub(super) name: String,
}

/// How to read what the words do not say.
pub(super) struct Reading<'a> {
    /// `--side`: pictures of a folder are resized to it.
    pub(super) side: usize,
    /// `--picture`: what a row of numbers is.
    pub(super) picture: Option<Shape>,
    /// `--limit`.
    pub(super) limit: usize,
    /// Folder of downloads.
    pub(super) cache: &'a Path,
}

impl Source {
    /// The objects that a word names; `flag` is the one that it stands behind.
    pub(super) fn open(flag: &str, word: &str, reading: &Reading) -> Result<Self> {
        let path = Path::new(word);
        let mut source = if !path.exists() {
            match word {
                IMAGENETTE => Self::imagenette(reading).with_context(|| flag.to_owned())?,
                id if FETCHED.contains(&id) => Self::grey(id, reading)?,
                _ => bail!(
                    "{flag}: wanted a folder of pictures, a .safetensors or .csv file, or one of {}, found no file \
                     {word}",
                    FETCHED.join(", ")
                ),
            }
        } else if path.is_dir() {
            Self::folder(path, reading)?
        } else {
            let (x, labels) = Objects::open(word, reading.cache)?.into_parts()?;
            let shape = Self::shape_of(&x, reading.picture)?;
            Self { x: x.flatten_from(1)?, labels, shape, name: word.to_owned() }
        };
        let n = source.x.dim(0)?.min(reading.limit);
        source.x = source.x.narrow(0, 0, n)?;
        if source.x.dtype() != DType::U8 {
            source.x = source.x.to_dtype(DType::F32)?;
        }
        if let Some(labels) = &mut source.labels {
            labels.truncate(n);
        }
        Ok(source)
    }

    fn grey(id: &str, reading: &Reading) -> Result<Self> {
        let (x, labels) = Objects::open(id, reading.cache)?.into_parts()?;
        Ok(Self { x, labels, shape: Some([1, 28, 28]), name: id.to_owned() })
    }

    fn imagenette(reading: &Reading) -> Result<Self> {
        let variable = std::env::var_os(DATA_VARIABLE).filter(|folder| !folder.is_empty());
        let explicit = variable.map(|folder| (format!("${DATA_VARIABLE}"), PathBuf::from(folder)));
        if explicit.is_none() {
            // Drawn pictures are of no use to somebody who asked for these: where the archive that has this side is
            // out of reach, none are drawn.
            datasets::fetch_for(IMAGENETTE, reading.side, reading.cache)?;
        }
        let places = Places { explicit, cache: reading.cache.to_path_buf() };
        let mut told = String::new();
        let mut notice = |line: String| told = line;
        let pictures = Pictures::imagenette(&places, reading.side, &Device::Cpu, &mut notice)?;
        let pictures = pictures.unless_drawn(&told)?;
        let labels = match pictures.train.y() {
            Targets::Classes { labels, .. } => Some(labels.to_vec1()?),
            Targets::Values(_) => None,
        };
        let (x, shape) = (pictures.train.x().clone(), Some(pictures.shape));
        Ok(Self { x, labels, shape, name: IMAGENETTE.to_owned() })
    }

    /// Pictures by class where the folder has folders, else without classes. A grey one among them is an error: nobody
    /// said that it should count as a coloured one.
    fn folder(path: &Path, reading: &Reading) -> Result<Self> {
        let (side, grey) = (reading.side, GreyPictures::Refuse);
        let (labels, levels) = if has_classes(path)? {
            let (_, labels, levels) = pictures_by_class(path, side, grey)?;
            (Some(labels), levels)
        } else {
            (None, pictures_of_folder(path, side, grey)?.1)
        };
        let n = 3 * side * side;
        let m = levels.bytes.len() / n;
        let x = Tensor::from_vec(levels.bytes, (m, n), &Device::Cpu)?;
        let name = path.display().to_string();
        Ok(Self { x, labels, shape: Some([3, side, side]), name })
    }

    /// What an object is as a picture: what the user says, the tensor's own dimensions, or a square of bytes.
    fn shape_of(x: &Tensor, said: Option<Shape>) -> Result<Option<Shape>> {
        let n: usize = x.dims()[1..].iter().product();
        if let Some(shape) = said {
            if shape.iter().product::<usize>() != n {
                return Err(UsageError(format!(
                    "--picture: wanted {n} numbers an object, found {shape:?}"
                ))
                .into());
            }
            return Ok(said);
        }
        if let [_, c @ (1 | 3), h, w] = *x.dims() {
            return Ok(Some([c, h, w]));
        }
        let square = |n: usize| n.isqrt().pow(2) == n;
        Ok(match x.dtype() {
            DType::U8 if square(n) => Some([1, n.isqrt(), n.isqrt()]),
            DType::U8 if n.is_multiple_of(3) && square(n / 3) => {
                Some([3, (n / 3).isqrt(), (n / 3).isqrt()])
            }
            _ => None,
        })
    }

    /// The objects with their classes, of which there are as many as the largest says.
    pub(super) fn dataset(&self) -> Result<Dataset> {
        let Some(labels) = &self.labels else {
            bail!("{}: wanted classes to pair domains by, found none", self.name);
        };
        let n_classes = labels.iter().max().map_or(0, |&most| most as usize + 1);
        let labels = Tensor::from_slice(labels, labels.len(), &Device::Cpu)?;
        Dataset::new(self.x.clone(), Targets::Classes { labels, n_classes })
            .with_context(|| self.name.clone())
    }
}
