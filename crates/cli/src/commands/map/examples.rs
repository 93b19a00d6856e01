//! Objects that a map is applied to: a known data set, a folder of images, tensors or numbers.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use candle_core::{DType, Device, Tensor};
use core_tensors::{Dataset, Targets};

use crate::commands::UsageError;
use crate::data::published::{
    self, FETCHED, GrayscaleImages, IMAGENETTE, Images, Places, has_classes, images_by_class,
    images_of_folder,
};
use crate::data::user::{Examples, Options, Purpose, Request};
use crate::files::note;

/// Channels, height and width of an image.
pub(super) type Shape = [usize; 3];

/// Examples as rows.
pub(super) struct Source {
    /// (m, n), bytes or numbers.
    pub(super) x: Tensor,
    /// The class of each, where they have one.
    pub(super) labels: Option<Vec<u32>>,
    /// Targets that are no classes, (m, k).
    pub(super) values: Option<Tensor>,
    /// Why there are no classes, and what to do.
    why_none: String,
    /// What a row is, where it is an image.
    pub(super) shape: Option<Shape>,
    /// The word that named them.
    pub(super) name: String,
}

/// How to read what the words do not say.
pub(super) struct Reading<'a> {
    /// `--side`: images of a folder are resized to it.
    pub(super) side: usize,
    /// `--image`: what a row of numbers is.
    pub(super) image: Option<Shape>,
    /// `--limit`.
    pub(super) limit: usize,
    /// Folder of downloads.
    pub(super) cache: &'a Path,
    /// `--header`, `--target` and the like, of every file.
    pub(super) options: &'a Options,
    /// Whether no other data are read.
    pub(super) is_only: bool,
}

impl Source {
    /// The examples that a word names; `flag` is the one that it stands behind.
    pub(super) fn open(flag: &str, word: &str, reading: &Reading) -> Result<Self> {
        let path = Path::new(word);
        let purpose = if flag == "--reference" { Purpose::Reference } else { Purpose::Features };
        let request = Request {
            flag,
            word,
            cache: reading.cache,
            options: reading.options,
            images: None,
            input_shape: None,
            purpose,
            is_image: reading.image.is_some(),
            is_only: reading.is_only,
        };
        let no_options = || request.check_options(&[], word);
        let mut source = if !path.exists() {
            match word {
                IMAGENETTE => {
                    no_options()?;
                    Self::imagenette(reading).with_context(|| flag.to_owned())?
                }
                id if FETCHED.contains(&id) => Self::known(id, &request)?,
                _ => bail!(
                    "{flag}: expected a folder of images, a safetensors file, a text table (CSV) or one of {}, found \
                     no file {word}",
                    FETCHED.join(", ")
                ),
            }
        } else if path.is_dir() {
            no_options()?;
            Self::folder(path, reading)?
        } else {
            Self::file(&request, reading.image)?
        };
        let n = source.x.dim(0)?.min(reading.limit);
        source.x = source.x.narrow(0, 0, n)?;
        if source.x.dtype() != DType::U8 {
            source.x = source.x.to_dtype(DType::F32)?;
        }
        if let Some(labels) = &mut source.labels {
            labels.truncate(n);
        }
        source.values = source.values.map(|values| values.narrow(0, 0, n)).transpose()?;
        Ok(source)
    }

    fn file(request: &Request, said: Option<Shape>) -> Result<Self> {
        let examples = Examples::open(request)?;
        examples.check_features_in_f32()?;
        let name = examples.name.clone();
        let (labels, why_none) = match examples.classes() {
            Ok(Some(labels)) => (Some(labels), String::new()),
            Ok(None) => (
                None,
                format!(
                    "{name}: expected classes, found none; --target names the column that holds them"
                ),
            ),
            Err(error) => (None, format!("{error:#}")),
        };
        let values = if labels.is_none() { examples.values()? } else { None };
        let x = examples.x;
        let shape = Self::shape_of(&x, said, &name)?;
        Ok(Self { x: x.flatten_from(1)?, labels, values, why_none, shape, name })
    }

    fn known(id: &str, request: &Request) -> Result<Self> {
        let examples = Examples::open(request)?;
        let (labels, shape) = (examples.classes()?, Some([1, 28, 28]));
        Ok(Self::with(examples.x, labels, shape, id.to_owned()))
    }

    /// Images with the classes of their folders.
    fn with(x: Tensor, labels: Option<Vec<u32>>, shape: Option<Shape>, name: String) -> Self {
        let why_none = format!(
            "{name}: expected classes, found none; images of a class go into a folder of their own"
        );
        Self { x, labels, values: None, why_none, shape, name }
    }

    fn imagenette(reading: &Reading) -> Result<Self> {
        let explicit = published::from_environment();
        if explicit.is_none() {
            // Drawn images are of no use to somebody who asked for these: where the archive that has this side is
            // out of reach, none are drawn.
            published::fetch_for(IMAGENETTE, reading.side, reading.cache)?;
        }
        let places = Places { explicit, cache: reading.cache.to_path_buf() };
        let mut told = String::new();
        let mut notice = |line: String| told = line;
        let images = Images::imagenette(&places, reading.side, &Device::Cpu, &mut notice)?;
        let images = images.unless_synthetic(&told)?;
        let labels = match images.train.y() {
            Targets::Classes { labels, .. } => Some(labels.to_vec1()?),
            Targets::Values(_) => None,
        };
        let (x, shape) = (images.train.x().clone(), Some(images.shape));
        Ok(Self::with(x, labels, shape, IMAGENETTE.to_owned()))
    }

    /// Images by class where the folder has folders, else without classes. A grayscale one among them is an error: nobody
    /// said that it should count as a colored one.
    fn folder(path: &Path, reading: &Reading) -> Result<Self> {
        let (side, grayscale) = (reading.side, GrayscaleImages::Refuse);
        let (labels, intensities) = if has_classes(path)? {
            let (_, labels, intensities) = images_by_class(path, [side, side], grayscale)?;
            (Some(labels), intensities)
        } else {
            (None, images_of_folder(path, [side, side], grayscale)?.1)
        };
        let n = 3 * side * side;
        let m = intensities.bytes.len() / n;
        let x = Tensor::from_vec(intensities.bytes, (m, n), &Device::Cpu)?;
        let name = path.display().to_string();
        Ok(Self::with(x, labels, Some([3, side, side]), name))
    }

    /// What an example is as an image: what the user says, the tensor's own dimensions, or a square of intensities.
    fn shape_of(x: &Tensor, said: Option<Shape>, name: &str) -> Result<Option<Shape>> {
        let n: usize = x.dims()[1..].iter().product();
        if let Some(shape) = said {
            if shape.iter().product::<usize>() != n {
                return Err(UsageError(format!(
                    "--image: wanted {n} numbers an object, found {shape:?}"
                ))
                .into());
            }
            return Ok(said);
        }
        if let [_, c @ (1 | 3), h, w] = *x.dims() {
            return Ok(Some([c, h, w]));
        }
        let square = |n: usize| n.isqrt().pow(2) == n;
        let shape = match x.dtype() {
            DType::U8 if square(n) => [1, n.isqrt(), n.isqrt()],
            DType::U8 if n.is_multiple_of(3) && square(n / 3) => {
                [3, (n / 3).isqrt(), (n / 3).isqrt()]
            }
            _ => return Ok(None),
        };
        let [c, h, w] = shape;
        note(&format!(
            "{name}: a row is taken as an image of {c} x {h} x {w}; --image overrules this"
        ));
        Ok(Some(shape))
    }

    /// The classes, or an error that says what to do.
    pub(super) fn classes(&self) -> Result<&[u32]> {
        self.labels.as_deref().ok_or_else(|| anyhow!("{}", self.why_none))
    }

    /// The examples with their classes, of which there are as many as the largest says.
    pub(super) fn dataset(&self) -> Result<Dataset> {
        let labels = self.classes()?;
        let n_classes = labels.iter().max().map_or(0, |&most| most as usize + 1);
        let labels = Tensor::from_slice(labels, labels.len(), &Device::Cpu)?;
        Dataset::new(self.x.clone(), Targets::Classes { labels, n_classes })
            .with_context(|| self.name.clone())
    }
}
