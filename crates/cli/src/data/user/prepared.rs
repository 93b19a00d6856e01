//! A user's examples as a network takes them.

use anyhow::{Context, Result, anyhow, bail};
use bayes_posterior::Task;
use candle_core::{DType, Device, Tensor};
use core_tensors::Targets;
use core_tensors::kernels::features;

use super::image_steps::ImageSteps;
use super::options::{Bytes, ImageOptions};
use super::place::Place;
use super::selection::some;
use super::shape;
use super::{Examples, arrays, folder, task};
use crate::files::note;

/// Examples in the shape of a network's input, with their labels where there are any.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// What named them.
    pub(crate) name: String,
    /// f32, (m, extents of the network's input without the batch).
    pub(crate) x: Tensor,
    /// Classes, or f32 values (m, k); `None` where the examples have no labels. One logit has two classes.
    pub(crate) targets: Option<Targets>,
    /// Names of the classes, where the data or the command line name them: class i is the i-th.
    pub(crate) class_names: Vec<String>,
    /// Channels, height and width, where an example is an image and its numbers are in this order.
    pub(crate) image: Option<[usize; 3]>,
    /// What was done to the images, where they are those of a folder or were normalized.
    pub(crate) images: Option<ImageSteps>,
    /// Names of the features, where they are columns that have some; else empty.
    pub(crate) feature_names: Vec<String>,
}

impl Examples {
    /// The examples for a network that takes `input_shape`, without the batch, and gives `n_outputs` numbers; where `task` is
    /// `None`, the targets decide it. What is assumed is said.
    ///
    /// Bytes of images are divided by 255, and images are normalized as the options say.
    pub(crate) fn prepared(
        self,
        input_shape: &[usize],
        n_outputs: usize,
        task: Option<Task>,
    ) -> Result<Prepared> {
        let name = self.name.clone();
        let (prepared, notices) =
            self.fitted(input_shape, n_outputs, task).with_context(|| name.clone())?;
        notices.iter().for_each(|line| note(&format!("{name}: {line}")));
        Ok(prepared)
    }

    /// [`Examples::prepared`] with what was assumed, for the caller to say.
    pub(super) fn fitted(
        mut self,
        input_shape: &[usize],
        n_outputs: usize,
        task: Option<Task>,
    ) -> Result<(Prepared, Vec<String>)> {
        let mut notices = Vec::new();
        if input_shape.contains(&0) || n_outputs == 0 {
            bail!(
                "expected a network with inputs and outputs, found {input_shape:?} and {n_outputs}"
            );
        }
        self.decide_bytes(input_shape, &mut notices)?;
        let found = self.x.dims().get(1..).unwrap_or_default();
        let reading = shape::reading(found, input_shape, self.images.channels_last);
        let (reading, told) = reading.map_err(|error| self.with_advice(error))?;
        notices.extend(told);
        let image = match *input_shape {
            [c @ (1 | 3), h, w] => Some([c, h, w]),
            [_] => self.image,
            _ => None,
        };
        self.check_in_f32()?;
        let x = match self.x.dtype() {
            DType::U8 => features(&self.x)?,
            _ => self.x.to_dtype(DType::F32)?,
        };
        let x = reading.apply(&x, input_shape)?;
        let is_table = matches!(self.place, Place::Lines { .. });
        let layout = self.images.layout(input_shape, image, is_table)?;
        let folder = match (self.is_folder, self.image) {
            (true, Some([channels, height, width])) => Some(([height, width], channels == 1)),
            (true | false, _) => None,
        };
        let is_changed = folder.is_some() || layout.is_some();
        let images = is_changed.then(|| ImageSteps::of(&self.images, folder));
        let x = match layout {
            Some(layout) => self.images.normalized(&x, layout, &mut notices)?,
            None => x,
        };
        let targets = match self.targets {
            None => None,
            Some(targets) => {
                let (targets, told) = task::targets(targets, n_outputs, task, &self.place)?;
                notices.extend(told);
                Some(targets)
            }
        };
        let feature_names = match (input_shape, self.place.feature_names()) {
            ([_], Some(names)) => names.into_iter().map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let class_names = self.class_names;
        let n_classes = task::n_classes(n_outputs);
        let is_values = matches!(targets, Some(Targets::Values(_)));
        if !class_names.is_empty() && !is_values && class_names.len() != n_classes {
            bail!(
                "--classes: expected {n_classes} names, as the network tells so many classes apart, found {}",
                class_names.len()
            );
        }
        let name = self.name;
        Ok((Prepared { name, x, targets, class_names, image, images, feature_names }, notices))
    }

    /// Bytes are intensities where the network, or their shape, is one of images, and numbers else.
    fn decide_bytes(&mut self, input: &[usize], notices: &mut Vec<String>) -> Result<()> {
        if !self.is_open {
            return Ok(());
        }
        let shape = self.x.dims();
        let is_image = arrays::is_image(shape) || shape.len() > 2 || folder::frame(input).is_some();
        let meaning = if is_image { Bytes::Intensities } else { Bytes::Numbers };
        notices.push(arrays::said(meaning, shape));
        if meaning == Bytes::Numbers {
            self.x = self.x.to_dtype(DType::F64)?;
        }
        Ok(())
    }

    /// What could mend examples that do not fit.
    fn with_advice(&self, error: anyhow::Error) -> anyhow::Error {
        match (&self.place, self.place.feature_names()) {
            (_, Some(names)) => anyhow!(
                "{error}: {}; --drop leaves columns out, --features chooses them, --target names the target or none",
                some(&names)
            ),
            (Place::Lines { .. }, None) => anyhow!(
                "{error}; --drop leaves columns out, --features chooses them, --target names the target or none"
            ),
            (Place::Rows(_), _) if self.images.image_size.is_some() => {
                anyhow!("{error}; --image-size says to which height and width images are resized")
            }
            (Place::Rows(_), _) => error,
        }
    }

    fn check_in_f32(&self) -> Result<()> {
        self.check_features_in_f32()?;
        self.check_targets_in_f32()
    }
}

/// The axis of channels in a network's input, counted with the batch, and their number.
type Layout = (usize, usize);

impl ImageOptions {
    /// Where the channels of images lie that are to be normalized; `None` where nothing is.
    fn layout(
        &self,
        input: &[usize],
        image: Option<[usize; 3]>,
        is_table: bool,
    ) -> Result<Option<Layout>> {
        if self.image_mean.is_empty() && self.image_std.is_empty() || is_table {
            return Ok(None);
        }
        let layout = match (input, image) {
            (&[_, _, c @ (1 | 3)], None) => (3, c),
            (_, Some([c, ..])) | (&[c, _, _], None) => (1, c),
            (_, None) => (1, 1),
        };
        for (option, values) in
            [("--image-mean", &self.image_mean), ("--image-std", &self.image_std)]
        {
            let (n, (_, channels)) = (values.len(), layout);
            if n > 1 && n != channels {
                bail!("{option}: expected one number, or {channels}, one a channel, found {n}");
            }
        }
        Ok(Some(layout))
    }

    /// (x − mean) / std of each channel.
    fn normalized(
        &self,
        x: &Tensor,
        (axis, channels): Layout,
        notices: &mut Vec<String>,
    ) -> Result<Tensor> {
        let (mean, std) = (&self.image_mean, &self.image_std);
        notices.push(format!(
            "images are normalized: (x − {}) / {}",
            channel_words(mean, 0.0),
            channel_words(std, 1.0)
        ));
        let shape = x.dims().to_vec();
        let (m, n) = (shape[0], shape[1..].iter().product::<usize>());
        // A channel's numbers lie together, or every so many numbers.
        let (rows, one) = match axis {
            1 => ((m, channels, n / channels), (1, channels, 1)),
            _ => ((m, n / channels, channels), (1, 1, channels)),
        };
        let numbers = |values: &[f64], default: f64| -> Result<Tensor> {
            let value = |i: usize| match *values {
                [] => default,
                [value] => value,
                _ => values[i],
            };
            let values: Vec<f32> = (0..channels).map(|i| value(i) as f32).collect();
            Ok(Tensor::from_vec(values, one, &Device::Cpu)?)
        };
        let centered = x.reshape(rows)?.broadcast_sub(&numbers(mean, 0.0)?)?;
        let scaled = centered.broadcast_div(&numbers(std, 1.0)?)?.reshape(shape)?;
        let values = scaled.flatten_all()?.to_vec1::<f32>()?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            bail!(
                "example {} (from 0): expected a finite number after --image-mean and --image-std, found {}",
                at / n.max(1),
                values[at]
            );
        }
        Ok(scaled)
    }
}

pub(super) fn channel_words(values: &[f64], default: f64) -> String {
    match values {
        [] => default.to_string(),
        [value] => value.to_string(),
        _ => format!("{values:?}"),
    }
}

impl Prepared {
    /// m: number of examples.
    pub(crate) fn n_examples(&self) -> usize {
        self.x.dims().first().copied().unwrap_or(0)
    }

    /// The examples with these indices, in this order.
    pub(crate) fn rows(&self, indices: &[usize]) -> Result<Self> {
        let m = self.n_examples();
        if let Some(index) = indices.iter().find(|&&index| index >= m) {
            bail!("expected an example below {m}, found {index}");
        }
        let n = indices.len();
        let indices: Vec<u32> = indices.iter().map(|&index| index as u32).collect();
        let indices = Tensor::from_vec(indices, n, self.x.device())?;
        let targets = match &self.targets {
            None => None,
            Some(Targets::Classes { labels, n_classes }) => Some(Targets::Classes {
                labels: labels.index_select(&indices, 0)?,
                n_classes: *n_classes,
            }),
            Some(Targets::Values(values)) => {
                Some(Targets::Values(values.index_select(&indices, 0)?))
            }
        };
        let x = self.x.index_select(&indices, 0)?;
        Ok(Self { x, targets, name: self.name.clone(), ..self.clone() })
    }
}
