//! What networks say of examples and how well: `distill evaluate`, `distill compare`, `distill predict`.

mod compare;
mod evaluate;
mod predict;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bayes_posterior::Task;
use candle_core::{DType, Tensor};
use core_tensors::{Params, Targets};

pub(super) use compare::Arguments as CompareArguments;
pub(super) use evaluate::Arguments as EvaluateArguments;
pub(super) use predict::Arguments as PredictArguments;

pub(super) use compare::run as run_compare;
pub(super) use evaluate::run as run_evaluate;
pub(super) use predict::run as run_predict;

use super::options::NetworkOptions;
use super::posterior::TaskName;
use crate::data::user::{Examples, ImageOptions, ImageSteps, Options, Prepared, Request, place_of};
use crate::files::{Input, cells, note, setting, text_table, warn};
use crate::ledger::Metric;
use crate::ledger::quality::{Interval, PairedQuality, Predicted, Thumbnail};
use crate::model_file::Network;
use crate::training::{logits, thumbnail};

/// Seed of the bootstrap: the same intervals each time.
const SEED: u64 = 0;

/// The examples of a command that takes any network.
#[derive(clap::Args)]
pub(super) struct DataArguments {
    /// The examples: a text table (CSV), arrays (.npz, .npy, safetensors), an IDX file, a folder of images with a sub-folder
    /// for each class, or a known data set, of which the training examples are taken.
    #[arg(long, value_name = "DATA")]
    data: String,
    /// What the outputs are [default: what the targets say; without targets, logits of classes where there are several].
    #[arg(long, value_enum)]
    task: Option<TaskName>,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    images: ImageOptions,
    /// Folder of downloaded data sets.
    #[arg(long, value_name = "DIR", default_value = "datasets/cache")]
    cache: PathBuf,
}

/// A network with examples in the shape of its input, and what it puts out for them.
pub(super) struct Answered {
    pub(super) network: Network,
    pub(super) prepared: Prepared,
    /// (m, k), f32.
    pub(super) outputs: Tensor,
    pub(super) predicted: Predicted,
}

impl DataArguments {
    /// What commands must not write over.
    fn input(&self) -> Input {
        Input::new("--data", place_of(&self.data, &self.cache))
    }

    /// Opens a network and the examples, and evaluates the one on the others.
    fn answered(&self, model: &Path, options: &NetworkOptions) -> Result<Answered> {
        options.check()?;
        let network = self.open(model, options)?;
        let prepared =
            self.prepared(model, &network, &self.image_options(&[(model, &network)])?)?;
        let outputs = outputs(model, &network, &prepared.x)?;
        let predicted = self.predicted(&prepared, network.n_outputs());
        Ok(Answered { network, prepared, outputs, predicted })
    }

    /// A network; where its file alone does not say how many features it takes, the examples do.
    fn open(&self, model: &Path, options: &NetworkOptions) -> Result<Network> {
        let error = match Network::open(model, &options.expected(None)) {
            Ok(network) => return Ok(network),
            Err(error) => error,
        };
        // Notes of what was read are said once, and what is wrong with the file is its error, not that of the data.
        let Ok(examples) = self.examples(&self.images, None) else { return Err(error) };
        let expected = options.expected(Some(examples.n_features()));
        Network::open(model, &expected).map_err(|_| error)
    }

    /// The options of images with what the files of networks say of them; the first that says something is heard.
    fn image_options(&self, networks: &[(&Path, &Network)]) -> Result<ImageOptions> {
        image_options(networks, &self.images, &self.data)
    }

    fn examples(&self, images: &ImageOptions, input_shape: Option<&[usize]>) -> Result<Examples> {
        let options = (&self.options, images);
        Examples::open(&Request::of_network(&self.data, &self.cache, options, input_shape))
    }

    /// The examples in the shape of a network's input.
    fn prepared(&self, model: &Path, network: &Network, images: &ImageOptions) -> Result<Prepared> {
        let shape = network.input_shape().with_context(|| model.display().to_string())?;
        let task = self.task.map(|task| match task {
            TaskName::Classification => Task::Classification,
            TaskName::Regression => Task::Regression,
        });
        let prepared =
            self.examples(images, Some(&shape))?.prepared(&shape, network.n_outputs(), task)?;
        if prepared.x.dim(0)? == 0 {
            bail!("{}: expected at least one example, found none", prepared.name);
        }
        Ok(prepared)
    }

    /// Classes or values: what the targets are, else what the command line says, else by the number of outputs.
    fn predicted(&self, prepared: &Prepared, n_outputs: usize) -> Predicted {
        match (&prepared.targets, self.task) {
            (Some(Targets::Classes { .. }), _) | (None, Some(TaskName::Classification)) => {
                Predicted::Classes
            }
            (Some(Targets::Values(_)), _) | (None, Some(TaskName::Regression)) => Predicted::Values,
            (None, None) if n_outputs > 1 => {
                note(&format!(
                    "{}: without labels the {n_outputs} outputs are taken as logits of classes; --task regression takes \
                     them as values",
                    prepared.name
                ));
                Predicted::Classes
            }
            (None, None) => {
                note(&format!(
                    "{}: without labels the output is taken as a value; --task classification takes it as the logit of \
                     class 1 of two",
                    prepared.name
                ));
                Predicted::Values
            }
        }
    }
}

/// The options of images with what the files of networks say of them; the first that says something is heard.
pub(super) fn image_options(
    networks: &[(&Path, &Network)],
    options: &ImageOptions,
    data: &str,
) -> Result<ImageOptions> {
    let mut heard: Option<(&Path, ImageSteps)> = None;
    for &(model, network) in networks {
        let Some(text) = network.metadata.get(ImageSteps::KEY) else { continue };
        let steps = ImageSteps::from_json(text).with_context(|| model.display().to_string())?;
        match &heard {
            None => heard = Some((model, steps)),
            Some((first, taken)) if *taken != steps => warn(&format!(
                "{} and {} say different things of their images; those of the first are taken for both: {}",
                first.display(),
                model.display(),
                taken.words()
            )),
            Some(_) => {}
        }
    }
    let Some((model, steps)) = heard else { return Ok(options.clone()) };
    let is_folder = Path::new(data).is_dir();
    let (taken, notices) = steps.with_options(options, is_folder);
    let name = model.display();
    if is_folder {
        note(&format!(
            "{name}: images are prepared as this file says: {} (--image-size, --image-mean and --image-std overrule)",
            steps.words()
        ));
    } else if let Some(normalization) = steps.normalization() {
        warn(&format!(
            "{name}: its images are normalized, {normalization}, and so are those of {data}; where they are already, \
             --image-mean 0 --image-std 1 leaves it out"
        ));
    }
    notices.iter().for_each(|line| note(&format!("{name}: {line}")));
    Ok(taken)
}

/// f(x, w) in f32, (m, k).
fn outputs(model: &Path, network: &Network, x: &Tensor) -> Result<Tensor> {
    let run = || -> Result<Tensor> {
        let outputs = logits(&network.graph, &single(&network.params)?, x)?;
        let (m, found) = (x.dim(0)?, outputs.dims().to_vec());
        if found.first() != Some(&m) {
            bail!("expected an output of one row an example, {m} in all, found shape {found:?}");
        }
        Ok(outputs.reshape((m, network.n_outputs()))?)
    };
    run().with_context(|| model.display().to_string())
}

/// Parameters in f32, in which examples are.
fn single(params: &Params) -> Result<Params> {
    let blocks = params.blocks().iter().map(|block| block.to_dtype(DType::F32));
    let blocks = blocks.collect::<candle_core::Result<_>>()?;
    Ok(Params::new(params.layout().clone(), blocks)?)
}

/// The image of an example, where examples are images.
fn image_of(prepared: &Prepared) -> Option<impl Fn(usize) -> Result<Thumbnail> + '_> {
    prepared.image.map(|image| move |row| thumbnail(&prepared.x, image, row))
}

/// What a reader calls a measure that says "teacher" in the table of metrics.
fn label(metric: Metric, first: &str) -> String {
    let first = if first == "network" { "the network" } else { first };
    metric
        .label_with_unit()
        .replace("from the teacher", &format!("from {first}"))
        .replace("with teacher", &format!("with {first}"))
}

/// Both ends as "0.8693 to 0.8824".
fn ends(metric: Metric, interval: &Interval) -> String {
    format!("{} to {}", metric.text(interval.low), metric.text(interval.high))
}

/// A probability of a test.
fn p_value(p: f64) -> String {
    if p < 1e-4 { "p < 0.0001".into() } else { format!("p = {p:.4}") }
}

/// A share in points of percent, of three significant digits at most, rounded up: it bounds something.
fn points(share: f64) -> String {
    let percent = 100.0 * share;
    let digits = if percent.abs() < 1.0 { 2 } else { 1 };
    let unit = 10f64.powi(digits as i32);
    setting(format!("{:.digits$}", (percent * unit).ceil() / unit).parse().unwrap_or(percent))
}

/// Each measure of two networks and its change, under these names for the two and the change.
pub(super) fn paired_table(quality: &PairedQuality, names: [&str; 3]) -> String {
    let [first, second, change] = names;
    let mut rows = vec![cells!["", first, second, change, "95 % interval"]];
    for measure in &quality.measures {
        let metric = measure.metric;
        rows.push(cells![
            label(metric, first),
            metric.text(measure.first),
            metric.text(measure.second),
            metric.text(measure.difference.value),
            ends(metric, &measure.difference),
        ]);
    }
    text_table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::metric;

    #[test]
    fn words_of_measures() {
        assert_eq!(label(metric::AGREEMENT, "A"), "agreement with A, share");
        assert_eq!(label(metric::TEACHER_DIVERGENCE, "A"), "KL from A, nats");
        assert_eq!(label(metric::TEACHER_DIVERGENCE, "network"), "KL from the network, nats");
        assert_eq!(p_value(0.0123), "p = 0.0123");
        assert_eq!(p_value(1e-9), "p < 0.0001");
        assert_eq!([0.00318, 0.0123, 0.5].map(points), ["0.32", "1.3", "50"]);
    }
}
