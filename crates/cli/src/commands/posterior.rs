//! `distill posterior`: a Gaussian over the weights of any trained perceptron.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use bayes_posterior::{
    AnyPosterior, Curvature, Estimator, Inference, Laplace, MeanField, Posterior, Provenance, Task,
    VariationalPrior,
};
use candle_core::{DType, Device};
use core_tensors::{AdamConfig, Dataset, Fit, Params, Rng};
use losses::Likelihood;
use models::Architecture;

use super::options::NetworkOptions;
use super::{UsageError, positive};
use crate::data::user::{Examples, Options, Request, place_of};
use crate::files::{Input, check_out, say};
use crate::files::{cells, decimal, setting, text_list};
use crate::model_file::{Network, Trained, check_proper, n_parameters, write};

/// Make a Gaussian posterior of a trained perceptron: its weights, and how sure the data are of each.
///
/// The result is a file for `distill rank`, `transform` and `inspect`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  A classifier from PyTorch, one factor a layer:
    distill posterior model.safetensors --data train.csv --task classification --method laplace --structure kronecker --out teacher.safetensors
  A small regression network, all correlations:
    distill posterior model.safetensors --data train.safetensors --task regression --noise-variance 0.01 --method laplace --structure full --out teacher.safetensors

MODEL is a file with dense layers alone: a state dict with the names of PyTorch (x.weight of shape (out, in), x.bias),
Keras or Flax (kernel of shape (in, out)), blocks of this program, or a posterior, whose mean is taken. It may be a
safetensors file, a .pt or .pth file of torch.save, or an .npz file: the content counts, not the name, and no code in it
is run. Batch normalizations between the layers are folded into them, weight normalization and pruning masks are
multiplied out, counters and the state of an optimizer are left out. Layers go in the one order in which each takes what
the one before gives; where shapes leave it open, by the numbers in their names; else --layers says it.

DATA is a text table (CSV: numbers, one example a line, the target in the last column unless --target names it), a
safetensors file with `x` (m, n) and `y` (m,) or (m, k), or a known data set (fashion-mnist, mnist). What a file holds
counts, not its name, and /dev/stdin will do. Separator, decimal commas and a line of names are detected; what is
not plain CSV is said, with the option that overrules it. Classes are whole numbers from 0. Features are taken as they
are: scale them as for training. Bytes (U8) in `x` are intensities, divided by 255, where `x` has shape
(m, 1 or 3, height, width), and numbers elsewhere; --bytes overrules this.")]
pub(super) struct Arguments {
    /// The trained network: a safetensors, .pt or .npz file.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The examples it was trained on: a text table (CSV), a safetensors file, or a known data set.
    #[arg(long, value_name = "DATA")]
    data: String,
    #[command(flatten)]
    options: Options,
    /// What the outputs are: logits of classes before the softmax, or values.
    #[arg(long, value_enum)]
    task: TaskName,
    /// Variance of the noise of a regression's targets [default: 1].
    #[arg(long, value_name = "V", value_parser = positive)]
    noise_variance: Option<f64>,
    /// Precision a of the prior N(0, 1/a) of every weight; weight decay with the summed loss.
    #[arg(long, value_name = "A", value_parser = positive, default_value = "1")]
    prior_precision: f64,
    /// Seed of everything random (of vi alone).
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// vi: fit mean and variances to the data by gradient; laplace: keep the weights, take the curvature of the loss.
    #[arg(long, value_enum)]
    method: Method,
    /// What of the covariance is kept: diagonal (independent weights), kronecker (curvature as a factor for units and
    /// one for inputs of each layer; the prior is added exactly), low-rank (a diagonal and the --rank leading directions), full (all of it).
    #[arg(long, value_enum)]
    structure: StructureName,
    /// Directions of a low-rank posterior [default: 20, or all where the network has fewer parameters].
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rank: Option<u32>,
    /// Passes over the data, of vi [default: 100].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    epochs: Option<u32>,
    /// Examples in a step, of vi [default: 64].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000_000))]
    batch_size: Option<u32>,
    /// Step of Adam, of vi [default: 0.001].
    #[arg(long, value_name = "X", value_parser = positive)]
    learning_rate: Option<f64>,
    /// Folder of downloaded data sets.
    #[arg(long, value_name = "DIR", default_value = "datasets/cache")]
    cache: PathBuf,
    /// Where the posterior goes; a file of that name is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkOptions,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum TaskName {
    Classification,
    Regression,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Method {
    Vi,
    Laplace,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum StructureName {
    Diagonal,
    Kronecker,
    LowRank,
    Full,
}

/// Variance of a regression's noise where none is given.
const NOISE_VARIANCE: f64 = 1.0;
/// Directions of a low-rank posterior.
const RANK: usize = 20;
/// Passes of vi over the data.
const EPOCHS: u32 = 100;
/// Examples in a step of vi.
const BATCH_SIZE: u32 = 64;
/// Step of Adam of vi.
const LEARNING_RATE: f64 = 1e-3;
/// Standard deviation of every weight at the start of vi, small beside the weights of a trained network.
const START: f64 = 0.05;
/// Draws behind the bound that vi prints.
const N_DRAWS: usize = 20;
/// Parameters whose dense covariance fits an ordinary memory: 1.2 GB, and as much again while it is made.
const MOST_DENSE: usize = 12_000;

/// A posterior and its fit.
struct Made {
    posterior: AnyPosterior,
    log_likelihood: f64,
    /// log p(D), or what is known of it.
    evidence: (&'static str, f64),
}

impl Arguments {
    /// Whether a network is trained, which one thread does best.
    pub(super) fn trains(&self) -> bool {
        self.method == Method::Vi
    }

    /// Refuses words that do not go together.
    fn check(&self) -> Result<(), UsageError> {
        let wrong = |message: &str| Err(UsageError(message.into()));
        if self.method == Method::Vi && self.structure != StructureName::Diagonal {
            return wrong(
                "--method vi: wanted --structure diagonal; other structures go with --method laplace",
            );
        }
        if self.task == TaskName::Classification && self.noise_variance.is_some() {
            return wrong("--noise-variance: wanted --task regression, found classification");
        }
        self.network.check()?;
        if self.rank.is_some() && self.structure != StructureName::LowRank {
            return wrong("--rank: wanted --structure low-rank beside it");
        }
        let of_vi = [
            ("--epochs", self.epochs.is_some()),
            ("--batch-size", self.batch_size.is_some()),
            ("--learning-rate", self.learning_rate.is_some()),
        ];
        match of_vi.iter().find(|(_, is_given)| *is_given && self.method == Method::Laplace) {
            Some((name, _)) => Err(UsageError(format!(
                "{name}: wanted --method vi, found laplace, which trains nothing"
            ))),
            None => Ok(()),
        }
    }

    /// What an approximation that failed can be due to.
    fn blame(&self) -> String {
        let precision = setting(self.prior_precision);
        let noise = match self.task {
            TaskName::Classification => String::new(),
            TaskName::Regression => {
                let variance = setting(self.noise_variance.unwrap_or(NOISE_VARIANCE));
                format!(" or --noise-variance {variance}")
            }
        };
        format!("the covariance (a larger --prior-precision than {precision}{noise} may help)")
    }

    /// `p`: parameters of the network.
    fn curvature(&self, p: usize) -> Result<Curvature, UsageError> {
        Ok(match self.structure {
            StructureName::Diagonal => Curvature::Diagonal,
            StructureName::Kronecker => Curvature::Kronecker,
            StructureName::LowRank => Curvature::LowRank { rank: self.rank(p)? },
            StructureName::Full => Curvature::Full,
        })
    }

    /// Directions of a low-rank posterior of `p` parameters.
    fn rank(&self, p: usize) -> Result<usize, UsageError> {
        match self.rank.map(|rank| rank as usize) {
            Some(rank) if rank > p => {
                let wanted = format!("at most {p}, the number of the network's parameters");
                Err(UsageError(format!("--rank: wanted {wanted}, found {rank}")))
            }
            Some(rank) => Ok(rank),
            None => Ok(p.min(RANK)),
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    arguments.check()?;
    let inputs = [
        Input::new("MODEL", &arguments.model),
        Input::new("--data", place_of(&arguments.data, &arguments.cache)),
    ];
    check_out(&arguments.out, &inputs).map_err(UsageError)?;
    let (task, likelihood) = likelihood(arguments.task, arguments.noise_variance);
    let request = Request::supervised(&arguments.data, &arguments.cache, &arguments.options);
    let examples = Examples::open(&request)?;
    if arguments.method == Method::Vi {
        examples.check_features_in_f32()?;
        examples.check_targets_in_f32()?;
    }
    let expected = arguments.network.expected(Some(examples.n_features()));
    let network = Network::open(&arguments.model, &expected)?;
    let trained =
        network.into_perceptron().with_context(|| arguments.model.display().to_string())?;
    let p = n_parameters(&trained.network);
    if arguments.structure == StructureName::Full && p > MOST_DENSE {
        let gigabytes = (p as f64).powi(2) * 8e-9;
        bail!(
            "--structure full: wanted at most {MOST_DENSE} parameters, found {p}, whose covariance takes \
             {gigabytes:.0} GB; kronecker and low-rank keep correlations too"
        );
    }
    let widths = &trained.network.widths;
    let (n_inputs, n_outputs) = (widths[0], widths[widths.len() - 1]);
    if task == Task::Classification && n_outputs == 1 {
        bail!(
            "--task classification: expected a network with a logit for each class, found one output; for a binary \
             classifier with a sigmoid put a row of zeros above the last weight and a zero before the last bias: two \
             logits then give the same probabilities"
        );
    }
    let data = examples.dataset(task, n_inputs, n_outputs)?;
    let made = match arguments.method {
        Method::Laplace => {
            let curvature = arguments.curvature(p)?;
            let laplace = Laplace {
                network: &trained.network,
                weights: &trained.weights,
                data: &data,
                likelihood,
                prior_precision: arguments.prior_precision,
            };
            let made = laplace.fit(curvature).with_context(|| arguments.blame())?;
            let evidence = ("log evidence", made.log_evidence);
            Made { posterior: made.posterior, log_likelihood: made.log_likelihood, evidence }
        }
        Method::Vi => variational(arguments, &trained, &data, &likelihood)?,
    };
    check_proper(&made.posterior).with_context(|| arguments.blame())?;
    let provenance = Provenance {
        task: Some(task),
        noise_variance: match likelihood {
            Likelihood::Normal { variance } => Some(variance),
            Likelihood::Categorical | Likelihood::Bernoulli => None,
        },
        prior_precision: Some(arguments.prior_precision),
        n_examples: Some(data.n_examples()),
        log_likelihood: Some(made.log_likelihood),
        ..Provenance::default()
    };
    write(&arguments.out, &made.posterior, &provenance)?;
    say(&match arguments.json {
        true => json(arguments, &trained, &provenance, &made),
        false => told(arguments, &trained, &provenance, &made),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Mean-field variational inference, started at the weights of the model.
fn variational(
    arguments: &Arguments,
    trained: &Trained,
    data: &Dataset,
    likelihood: &Likelihood,
) -> Result<Made> {
    let (network, layout) = (&trained.network, trained.network.layout());
    let data = in_f32(data)?;
    let n_examples = data.n_examples();
    let inference = Inference {
        network,
        likelihood: *likelihood,
        prior: VariationalPrior::Isotropic { precision: arguments.prior_precision },
        n_examples,
        kl_weight: 1.0,
        estimator: Estimator::LocalReparametrization,
    };
    let start = Params::from_vec(&layout, &trained.weights.to_vec()?, &Device::Cpu)?;
    let adam = AdamConfig::pytorch(arguments.learning_rate.unwrap_or(LEARNING_RATE));
    let mut q = MeanField::new(adam, &start, START.ln())?;
    let rng = Rng::new(arguments.seed);
    let mut draws = rng.split("draws");
    let fit = Fit {
        epochs: arguments.epochs.unwrap_or(EPOCHS) as usize,
        batch_size: arguments.batch_size.unwrap_or(BATCH_SIZE) as usize,
    };
    fit.run(
        &data,
        &mut rng.split("order"),
        |batch| inference.step(&mut q, batch, &mut draws),
        |epoch| match epoch.objective.is_finite() {
            true => Ok(ControlFlow::Continue(())),
            false => Err(bayes_posterior::Error::OutOfRange {
                name: format!("log-likelihood of epoch {} (lower --learning-rate)", epoch.index),
                value: epoch.objective,
                range: "(−∞, ∞)",
            }),
        },
    )?;
    let bound = inference.bound(&q, &data, N_DRAWS, &mut rng.split("bound"))?;
    let logits = network.forward(&q.plug_in()?.frozen(), data.x())?;
    let log_likelihood = likelihood.mean_log(&logits, &data)? * n_examples as f64;
    let posterior = Posterior::new(network.clone(), q.to_gaussian()?)?;
    let posterior = AnyPosterior::Diagonal(posterior);
    Ok(Made { posterior, log_likelihood, evidence: ("evidence bound", bound.log_evidence()) })
}

/// Examples as networks take them: bytes stay bytes.
fn in_f32(data: &Dataset) -> Result<Dataset> {
    let x = match data.x().dtype() {
        DType::U8 => data.x().clone(),
        _ => data.x().to_dtype(DType::F32)?,
    };
    Ok(Dataset::new(x, data.y().clone())?)
}

/// Task and likelihood of the words on the command line.
pub(super) fn likelihood(task: TaskName, noise_variance: Option<f64>) -> (Task, Likelihood) {
    match task {
        TaskName::Classification => (Task::Classification, Likelihood::Categorical),
        TaskName::Regression => {
            let variance = noise_variance.unwrap_or(NOISE_VARIANCE);
            (Task::Regression, Likelihood::Normal { variance })
        }
    }
}

/// What was made, as one JSON object.
fn json(arguments: &Arguments, trained: &Trained, provenance: &Provenance, made: &Made) -> String {
    let network = &trained.network;
    let told = serde_json::json!({
        "out": arguments.out,
        "structure": made.posterior.structure(),
        "widths": network.widths,
        "layers": trained.names,
        "biases": network.bias,
        "parameters": n_parameters(network),
        "provenance": provenance,
        "evidence": { "name": made.evidence.0, "value": made.evidence.1 },
        "seed": arguments.seed,
    });
    format!("{told}\n")
}

fn told(arguments: &Arguments, trained: &Trained, provenance: &Provenance, made: &Made) -> String {
    let network = &trained.network;
    let mut rows = vec![
        cells!["widths", format!("{:?}", network.widths)],
        cells!["layers", trained.names.join(", ")],
        cells!["biases", if network.bias { "yes" } else { "no" }],
        cells!["parameters", n_parameters(network)],
        cells!["structure", made.posterior.structure()],
        cells!["objects", provenance.n_examples.unwrap_or(0)],
    ];
    if arguments.structure == StructureName::LowRank {
        let all = n_parameters(network);
        let rank = arguments.rank.map_or(all.min(RANK), |rank| rank as usize);
        rows.push(cells!["rank", rank]);
    }
    if arguments.method == Method::Vi {
        let epochs = arguments.epochs.unwrap_or(EPOCHS);
        rows.push(cells!["epochs, seed", format!("{epochs}, {}", arguments.seed)]);
    }
    if let Some(variance) = provenance.noise_variance {
        let chosen = if arguments.noise_variance.is_none() { " (default)" } else { "" };
        rows.push(cells!["noise variance", format!("{}{chosen}", setting(variance))]);
    }
    rows.push(cells!["prior precision", setting(arguments.prior_precision)]);
    rows.push(cells!["log-likelihood", decimal(made.log_likelihood)]);
    rows.push(cells![made.evidence.0, decimal(made.evidence.1)]);
    rows.push(cells!["written", arguments.out.display()]);
    text_list(&rows)
}
