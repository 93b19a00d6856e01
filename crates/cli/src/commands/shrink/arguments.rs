//! The options of `distill shrink`.

use std::path::PathBuf;

use models::graph::Graph;

use super::amounts;
use crate::commands::UsageError;
use crate::commands::options::NetworkOptions;
use crate::commands::positive;
use crate::commands::posterior::TaskName;
use crate::data::user::{ImageOptions, Options};
use crate::files::say;
use crate::training::shrink::{Amount, Budget, Resource};

/// Make a trained network smaller, measure what was lost, and write a file that your runtime loads.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  A quarter of the parameters, without training:
    distill shrink teacher.onnx --data images.npz --to 25% --out small
  The same and a short distillation:
    distill shrink teacher.onnx --data images.npz --to 25% --epochs 3 --out small
  The smallest that loses at most half a point, of a table with a column of labels:
    distill shrink clf.pt --data table.csv --target label --max-loss 0.5% --out small

MODEL is what `distill inspect` opens: an ONNX file of any network, a state dict of dense layers (safetensors, .pt, .npz), or
a posterior. DATA are examples like those that it was trained on; labels are used where there are any. They are split once,
by --seed, into a part to fit, a part to choose by (20 %), and a part that only the final measures see (20 %); give --test,
and better --validation too, to use files of your own.

The folder OUT gets student.onnx (same inputs, outputs and names), student.safetensors (the names that the parameters had;
student.py loads it in PyTorch where the network is a chain), widths.json, report.html, report.json, front.csv, and run.toml,
which makes the same student again: distill shrink --config OUT/run.toml --out OTHER.")]
#[command(group = clap::ArgGroup::new("budget").required(true).multiple(false))]
pub(in crate::commands) struct Arguments {
    /// The trained network.
    #[arg(value_name = "MODEL")]
    pub(super) model: PathBuf,
    /// Examples: .npz or .npy arrays, a table (CSV), safetensors, a folder of images, IDX, or a known data set by name.
    #[arg(long, value_name = "DATA")]
    pub(super) data: String,
    /// Examples to choose by, instead of a part of DATA.
    #[arg(long, value_name = "DATA")]
    pub(super) validation: Option<String>,
    /// Examples that only the final measures see, instead of a part of DATA; of a known data set its test examples.
    #[arg(long, value_name = "DATA")]
    pub(super) test: Option<String>,
    /// The folder of the student and its report.
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Write into a folder that is not empty: results of an earlier run are replaced, other files stay.
    #[arg(long)]
    pub(super) overwrite: bool,
    /// Print the report as one JSON object instead of text.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) size: SizeOptions,
    #[command(flatten)]
    pub(super) training: TrainingOptions,
    #[command(flatten)]
    pub(super) task: TaskOptions,
    #[command(flatten)]
    pub(super) options: Options,
    #[command(flatten)]
    pub(super) images: ImageOptions,
    #[command(flatten)]
    pub(super) network: NetworkOptions,
    /// What the command line said, for run.toml.
    #[arg(skip)]
    pub(in crate::commands) given: Vec<(String, toml::Value)>,
    /// The file of options, which is not written over.
    #[arg(skip)]
    pub(in crate::commands) config: Option<PathBuf>,
}

impl Arguments {
    /// Prints text, where no JSON is asked for.
    pub(super) fn tell(&self, text: &str) -> anyhow::Result<()> {
        if self.json { Ok(()) } else { say(text) }
    }
}

/// How small.
#[derive(clap::Args)]
#[command(next_help_heading = "How small (one of these)")]
pub(super) struct SizeOptions {
    /// Parameters that stay: a percentage such as 25%, or a number such as 50k.
    #[arg(long, visible_alias = "params", value_name = "AMOUNT", value_parser = amounts::count, allow_hyphen_values = true, group = "budget")]
    to: Option<Amount>,
    /// Multiply-adds of an example that stay: 50%, or a number such as 3M.
    #[arg(long, value_name = "AMOUNT", value_parser = amounts::count, allow_hyphen_values = true, group = "budget")]
    macs: Option<Amount>,
    /// Size of student.onnx: 25%, or a size such as 1MB.
    #[arg(long, value_name = "AMOUNT", value_parser = amounts::bytes, allow_hyphen_values = true, group = "budget")]
    size: Option<Amount>,
    /// Time of a forward pass on this machine in this program: 50%, or a time such as 2ms.
    #[arg(long, value_name = "TIME", value_parser = amounts::milliseconds, allow_hyphen_values = true, group = "budget")]
    latency: Option<Amount>,
    /// The smallest network that loses at most so many points of accuracy (of R² for values, of agreement without labels)
    /// with 95 % confidence on the validation examples: 0.5%.
    #[arg(long, value_name = "POINTS", value_parser = amounts::loss, allow_hyphen_values = true, group = "budget")]
    max_loss: Option<f64>,
    /// Units that stay, layer by layer: fc1=64,fc2=32; the others keep all. A name that is not there lists the layers.
    #[arg(long, value_name = "LAYER=UNITS", value_parser = amounts::width, value_delimiter = ',', group = "budget")]
    widths: Vec<(String, usize)>,
    /// Widths are multiples of this, such as 8 for runtimes that want it [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096), allow_negative_numbers = true)]
    multiple: Option<u32>,
    /// Examples of a batch whose forward pass is timed [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000), allow_negative_numbers = true)]
    latency_batch: Option<u32>,
    /// Other sizes that are made for the curve of accuracy against size [default: 6].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=40), allow_negative_numbers = true)]
    points: Option<u32>,
}

/// What happens after surgery.
#[derive(clap::Args)]
#[command(next_help_heading = "Training after surgery")]
pub(super) struct TrainingOptions {
    /// Passes of distillation over the calibration examples: from labels where there are any, and always from the network's
    /// own predictions [default: 0, none].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000), allow_negative_numbers = true)]
    epochs: Option<u32>,
    /// Train the same small shape from a random start with as many multiply-adds, and say which is better.
    #[arg(long, value_enum, value_name = "scratch")]
    pub(super) baseline: Option<Baseline>,
    /// Train the small network by variational inference under the network's posterior as prior (perceptrons alone).
    #[arg(long)]
    pub(super) bayesian: bool,
    /// Seed of the split and of everything random.
    #[arg(long, value_name = "N", default_value = "0")]
    pub(super) seed: u64,
    /// Repetitions with other seeds; the first one's student is written [default: 1].
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=1000), allow_negative_numbers = true)]
    seeds: Option<u32>,
    /// Examples that surgery is calibrated on, drawn from the calibration part [default: 10000].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000), allow_negative_numbers = true)]
    examples: Option<u32>,
}

/// What the network predicts, and what is done to its inputs.
#[derive(clap::Args)]
#[command(next_help_heading = "The task")]
pub(super) struct TaskOptions {
    /// What the outputs are: logits of classes, or values [default: what the labels say].
    #[arg(long, value_enum)]
    pub(super) task: Option<TaskName>,
    /// Variance of the noise of a regression's targets [default: estimated from the network's errors].
    #[arg(long, value_name = "V", value_parser = positive)]
    pub(super) noise_variance: Option<f64>,
    /// Subtract each feature's mean and divide by its std, taken from the calibration examples; the student does it itself.
    #[arg(long)]
    pub(super) standardize: bool,
    /// Go on although the network is no better on the data than a constant.
    #[arg(long)]
    pub(super) force: bool,
    /// Folder of downloaded data sets.
    #[arg(long, value_name = "DIR", default_value = "datasets/cache")]
    pub(super) cache: PathBuf,
}

/// What the student is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Baseline {
    Scratch,
}

/// Examples of a calibration, where nothing is said: more change little and take longer.
const N_CALIBRATION: u32 = 10_000;
/// Points of a front.
const N_POINTS: u32 = 6;

impl SizeOptions {
    /// What was asked for; clap sees to it that it is one.
    pub(super) fn budget(&self) -> Result<Budget, UsageError> {
        if !self.widths.is_empty() && self.multiple.is_some() {
            return Err(UsageError("--multiple: --widths says all widths already".into()));
        }
        let of = |resource| move |amount| Budget::Size(resource, amount);
        let named = (!self.widths.is_empty()).then(|| Budget::Widths(self.widths.clone()));
        self.to
            .map(of(Resource::Parameters))
            .or(self.macs.map(of(Resource::Products)))
            .or(self.size.map(of(Resource::Bytes)))
            .or(self.latency.map(Budget::Latency))
            .or(self.max_loss.map(Budget::Loss))
            .or(named)
            .ok_or_else(|| UsageError("expected --to, --max-loss or another size".into()))
    }

    /// Refuses plain numbers that look like percentages.
    pub(super) fn check(&self, graph: &Graph) -> Result<(), UsageError> {
        let n_parameters = graph.layout().n_parameters() as f64;
        let n_products = graph.n_products_in_all() as f64;
        let told = [
            ("--to", self.to, n_parameters, "parameters"),
            ("--macs", self.macs, n_products, "multiply-adds"),
        ];
        let mut told = told.into_iter().filter_map(|(option, amount, whole, unit)| {
            amounts::objection(option, amount?, whole, unit)
        });
        told.next().map_or(Ok(()), |message| Err(UsageError(message)))
    }

    /// Widths are multiples of this.
    pub(super) fn multiple(&self) -> usize {
        self.multiple.unwrap_or(1) as usize
    }

    /// Examples of a timed batch.
    pub(super) fn latency_batch(&self) -> usize {
        self.latency_batch.unwrap_or(1) as usize
    }

    /// Other sizes of the front.
    pub(super) fn n_points(&self) -> usize {
        self.points.unwrap_or(N_POINTS) as usize
    }
}

impl TrainingOptions {
    /// Passes of distillation.
    pub(super) fn epochs(&self) -> usize {
        self.epochs.unwrap_or(0) as usize
    }

    /// The seeds of all repetitions.
    pub(super) fn seeds(&self) -> Vec<u64> {
        (0..u64::from(self.seeds.unwrap_or(1))).map(|k| self.seed.wrapping_add(k)).collect()
    }

    /// Examples of a calibration at most.
    pub(super) fn n_calibration(&self) -> usize {
        self.examples.unwrap_or(N_CALIBRATION) as usize
    }
}
