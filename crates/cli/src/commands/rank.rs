//! `distill rank`: which units of a layer are worth least.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use bayes_posterior::{AnyPosterior, Provenance, PruningCriterion, Task, UnitScore};
use clap::builder::PossibleValuesParser;
use core_tensors::kernels::features;
use core_tensors::{Dataset, Rng};
use losses::Likelihood;
use serde::Serialize;

use super::posterior::{TaskName, likelihood};
use super::{UsageError, positive};
use crate::data::user::{Examples, Options, Request};
use crate::files::{cells, say, text_table, warn};
use crate::model_file::PosteriorFile;

/// Rank the hidden units of a layer, least important first.
#[derive(clap::Args)]
#[command(
    after_help = "Rules (a score is summed over the outgoing weights of a unit unless said otherwise):
  random                seeded by --seed; the score is the place
  optimal-brain-damage  h w^2 / 2 with the curvature h on --data, or the posterior's precision where there are none
  density               m^2 / 2v: density of the posterior at the mean against at zero
  signal-to-noise       |m| / sqrt(v)
  belsley               condition indices of the units' collinearity with a minus sign, as Belsley, Kuh and Welsch
                        define them: units that stand for one another come first
  belsley-covariance    the same proportions with the indices of the covariance itself, as in Grabovoy et al. (2019):
                        units that stand for one another come last
  magnitude             |m|
  activation            mean |z| of the unit on --data
  greedy                the exact joint cost in nats: the next unit is always the cheapest given those before it

Example:
  distill rank --posterior teacher.safetensors --layer 1 --by greedy --keep 50
ends with the --remove-units flag that leaves 50 units."
)]
pub(super) struct Arguments {
    /// The posterior, a file made by `distill posterior` or `distill transform`.
    #[arg(long, value_name = "FILE")]
    posterior: PathBuf,
    /// The hidden layer, from 1.
    #[arg(long, value_name = "LAYER")]
    layer: usize,
    /// The rule; see below.
    #[arg(long, value_name = "RULE", value_parser = PossibleValuesParser::new(PruningCriterion::ALL.map(PruningCriterion::name)))]
    by: String,
    /// Examples for activation and optimal-brain-damage: a text table (CSV), a safetensors file, or a known data set, as
    /// for `distill posterior`.
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    #[command(flatten)]
    options: Options,
    /// What the outputs are, where the posterior's file does not say.
    #[arg(long, value_enum)]
    task: Option<TaskName>,
    /// Variance of the noise of a regression's targets, instead of the file's.
    #[arg(long, value_name = "V", value_parser = positive)]
    noise_variance: Option<f64>,
    /// Seed of the random order.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Print the --remove-units flag that leaves so many units.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Folder of downloaded data sets.
    #[arg(long, value_name = "DIR", default_value = "datasets/cache")]
    cache: PathBuf,
}

/// The answer as JSON.
#[derive(Serialize)]
struct Answer<'a> {
    layer: usize,
    by: &'a str,
    units: Vec<Unit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remove_units: Option<String>,
}

#[derive(Serialize)]
struct Unit {
    /// Index in the layer, from 0.
    unit: usize,
    /// Index in the network that was edited first.
    original: usize,
    score: f64,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let order = PruningCriterion::ALL.into_iter().find(|order| order.name() == arguments.by);
    let Some(order) = order else { bail!("--by: found no rule {}", arguments.by) };
    if order == PruningCriterion::Activation && arguments.data.is_none() {
        return Err(
            UsageError("--by activation: wanted --data beside it, found none".into()).into()
        );
    }
    let path = &arguments.posterior;
    let PosteriorFile { posterior, provenance, .. } = PosteriorFile::open(path)?;
    let data = data(arguments, &posterior, &provenance)?;
    let data = data.as_ref().map(|(data, likelihood)| (data, likelihood));
    let mut rng = Rng::new(arguments.seed);
    let ranked = posterior
        .rank(order, arguments.layer, data, &mut rng)
        .with_context(|| path.display().to_string())?;
    let kept = &posterior.kept()[arguments.layer];
    let remove_units = match arguments.keep {
        Some(keep) => Some(flag(arguments.layer, &ranked, keep as usize)?),
        None => None,
    };
    let units: Vec<Unit> = ranked
        .iter()
        .map(|&UnitScore { unit, score }| Unit { unit, original: kept[unit], score })
        .collect();
    let answer = Answer { layer: arguments.layer, by: &arguments.by, units, remove_units };
    say(&if arguments.json { serde_json::to_string(&answer)? + "\n" } else { table(&answer) })?;
    Ok(ExitCode::SUCCESS)
}

/// The examples of `--data`, with the likelihood of the command line or the file.
fn data(
    arguments: &Arguments,
    posterior: &AnyPosterior,
    provenance: &Provenance,
) -> Result<Option<(Dataset, Likelihood)>> {
    let Some(word) = &arguments.data else { return Ok(None) };
    let of_file = provenance.task.map(|task| match task {
        Task::Classification => TaskName::Classification,
        Task::Regression => TaskName::Regression,
    });
    let Some(task) = arguments.task.or(of_file) else {
        let message =
            "--data: wanted --task beside it, as the posterior's file does not say the task";
        return Err(UsageError(message.into()).into());
    };
    let noise_variance = arguments.noise_variance.or(provenance.noise_variance);
    if let (None, Some(own)) = (arguments.noise_variance, &provenance.noise_variances)
        && own.iter().any(|variance| *variance != own[0])
    {
        warn(
            "--data: the outputs of this posterior have noise of different sizes, and units are scored with the mean of their \
             variances, which the largest decides; --noise-variance gives another",
        );
    }
    let (task, likelihood) = likelihood(task, noise_variance);
    let widths = &posterior.network().widths;
    let (n_inputs, n_outputs) = (widths[0], widths[widths.len() - 1]);
    // One logit tells two classes apart.
    let (likelihood, n_outputs) = match (task, n_outputs) {
        (Task::Classification, 1) => (Likelihood::Bernoulli, 2),
        _ => (likelihood, n_outputs),
    };
    let request = Request::supervised(word, &arguments.cache, &arguments.options);
    let examples = Examples::open(&request)?;
    let data = examples.dataset(task, n_inputs, n_outputs)?;
    let data = match &provenance.standardization {
        None => data,
        Some(standardization) => {
            let x = standardization.apply(&features(data.x())?.flatten_from(1)?)?;
            Dataset::new(x, data.y().clone())?
        }
    };
    Ok(Some((data, likelihood)))
}

/// The flag of `distill transform` that leaves `keep` units.
fn flag(layer: usize, ranked: &[UnitScore], keep: usize) -> Result<String> {
    let n = ranked.len();
    if keep >= n {
        let message =
            format!("--keep: wanted fewer than the {n} units of layer {layer}, found {keep}");
        return Err(UsageError(message).into());
    }
    let mut units: Vec<usize> = ranked[..n - keep].iter().map(|r| r.unit).collect();
    units.sort_unstable();
    let units: Vec<String> = units.iter().map(usize::to_string).collect();
    Ok(format!("--remove-units {layer}:{}", units.join(",")))
}

fn table(answer: &Answer) -> String {
    let is_edited = answer.units.iter().any(|unit| unit.unit != unit.original);
    let mut rows = vec![cells!["unit", "score"]];
    rows.extend(answer.units.iter().map(|u| cells![u.unit, format!("{:.6e}", u.score)]));
    if is_edited {
        rows[0].push("original unit".into());
        rows.iter_mut()
            .skip(1)
            .zip(&answer.units)
            .for_each(|(row, u)| row.push(u.original.to_string()));
    }
    let mut text = text_table(&rows);
    if let Some(flag) = &answer.remove_units {
        text += &format!("\n{flag}\n");
    }
    text
}
