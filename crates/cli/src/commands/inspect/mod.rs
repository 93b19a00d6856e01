//! `distill inspect`: what a file of this program, or a model, holds.

mod graph;
mod json;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use bayes_posterior::{AnyPosterior, Provenance};
use core_tensors::kernels::Activation;
use models::Architecture;
use models::onnx::looks_like_onnx;

use super::options::NetworkOptions;
use crate::files::{cells, decimal, setting, text_list, text_table};
use crate::files::{printable, read, say};
use crate::model_file::{
    Dict, Expected, Network, Perceptron, PosteriorFile, carried_by, is_posterior, log_det,
    n_parameters, n_products, natural, variances,
};

/// Say what a file holds: a network, a posterior, or other tensors.
#[derive(clap::Args)]
#[command(after_help = "Example:
  distill inspect teacher.safetensors

Of a posterior: its network, structure, origin, and for each layer the mean |m| of the weights and the median and
range of their deviations. Of an ONNX file: its layers with their shapes, parameters and multiply-adds (MACs, for one
example), the tensor that holds the logits, and operators that this program does not read. Of a state dict (a safetensors
file, a .pt or .pth file of torch.save, an .npz file): its tensors, and the layers in the order in which `distill
posterior` takes them with the same options.")]
pub(super) struct Arguments {
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkOptions,
}

/// Parameters whose dense covariance is factored at once.
const MOST_FACTORED: usize = 2000;
/// Ids of units that are listed before the table says how many there are.
const MOST_NAMED: usize = 12;

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    arguments.network.check()?;
    let path = &arguments.file;
    let bytes = read(path)?;
    let text = match arguments.json {
        true => json::told(arguments, bytes).map(|told| format!("{told}\n")),
        false => told(arguments, bytes),
    };
    say(&text.with_context(|| path.display().to_string())?)?;
    Ok(ExitCode::SUCCESS)
}

fn told(arguments: &Arguments, bytes: Vec<u8>) -> Result<String> {
    let path = &arguments.file;
    let expected = arguments.network.expected(None);
    if looks_like_onnx(&bytes) {
        return graph::onnx(path, bytes, &expected);
    }
    if !is_posterior(&bytes) {
        expected.refuse_words_of_a_graph()?;
        let text = model(path, &Dict::read(&bytes)?, &expected)?;
        return Ok(match Network::from_bytes(path, bytes, &expected) {
            Ok((network, _)) => format!("{text}\n{}", graph::layers(&network.graph)),
            // The text says why.
            Err(_) => text,
        });
    }
    arguments.network.check_used("a network")?;
    let PosteriorFile { posterior, provenance, sha256 } = PosteriorFile::from_bytes(&bytes)?;
    drop(bytes);
    summary(path, &posterior, &provenance, &sha256)
}

/// A file without our metadata: a perceptron, if its layers chain, or other tensors.
fn model(path: &Path, dict: &Dict, expected: &Expected) -> Result<String> {
    let mut tensors: Vec<_> = dict.tensors.iter().collect();
    tensors.sort_by(|a, b| natural(&a.name, &b.name));
    let mut rows = vec![cells!["tensor", "shape", "type"]];
    for tensor in tensors {
        rows.push(cells![tensor.name, format!("{:?}", tensor.shape), tensor.kind.name()]);
    }
    let mut text =
        format!("{}: {} tensors\n\n{}\n", path.display(), rows.len() - 1, text_table(&rows));
    match Perceptron::find(dict, expected) {
        Ok(Some(perceptron)) => {
            let order: Vec<&str> = perceptron.names().collect();
            let biases = if perceptron.bias { "with biases" } else { "without biases" };
            let widths = perceptron.widths();
            let _ = writeln!(
                text,
                "perceptron {widths:?} {biases}, layers in this order: {}",
                printable(&order.join(", "))
            );
            perceptron.notes.iter().for_each(|line| text += &format!("{}\n", printable(line)));
        }
        Ok(None) => {
            text += "perceptron of one layer; only data tell whether its last column is a bias\n";
        }
        Err(error) => {
            let error = printable(&error.to_string());
            let _ = writeln!(text, "no perceptron that `distill posterior` takes: {error}");
        }
    }
    Ok(text)
}

fn summary(
    path: &Path,
    posterior: &AnyPosterior,
    provenance: &Provenance,
    sha256: &str,
) -> Result<String> {
    let network = posterior.network();
    let activation = match network.activation {
        Activation::LeakyRelu { slope } => format!("leaky relu, slope {}", setting(slope)),
        other => other.name().to_owned(),
    };
    let structure = match posterior {
        AnyPosterior::BlockDiagonal(p) => {
            format!("block, one a {:?}", p.gaussian().covariance().group()).to_lowercase()
        }
        AnyPosterior::KroneckerEigen(_) => {
            "kronecker_eigen: G x A of each layer and the prior, exact".to_owned()
        }
        AnyPosterior::LowRank(p) => {
            let low_rank = p.gaussian().covariance();
            let form = format!("{:?}", low_rank.form()).to_lowercase();
            format!("low_rank, {} directions of the {form}", low_rank.factor().ncols())
        }
        other => other.structure().to_owned(),
    };
    let p = n_parameters(network);
    let is_dense = matches!(posterior, AnyPosterior::Full(_) | AnyPosterior::BlockDiagonal(_));
    let log_det = match is_dense && p > MOST_FACTORED {
        true => "not computed: it takes a factor of the whole covariance".to_owned(),
        false => decimal(log_det(posterior)?),
    };
    let or_unknown = |value: Option<String>| value.unwrap_or_else(|| "unknown".into());
    let text = |value: Option<f64>| or_unknown(value.map(setting));
    let task = provenance.task.map(|task| format!("{task:?}").to_lowercase());
    let inexact = posterior.is_inexact();
    let inputs = match &provenance.standardization {
        None => "as they are",
        Some(_) => "standardized: (x - input_mean) / input_std",
    };
    let mut rows = vec![
        cells!["widths", format!("{:?}", network.widths)],
        cells!["biases", if network.bias { "yes" } else { "no" }],
        cells!["activation", activation],
        cells!["structure", structure],
        cells!["parameters", p],
        cells!["MACs", n_products(network)],
        cells!["log-determinant", log_det],
        cells!["task", or_unknown(task)],
        cells!["noise variance", text(provenance.noise_variance)],
        cells!["inputs", inputs.to_owned()],
        cells!["prior precision", text(provenance.prior_precision)],
        cells!["objects", or_unknown(provenance.n_examples.map(|n| n.to_string()))],
        cells!["log-likelihood", or_unknown(provenance.log_likelihood.map(decimal))],
        cells!["exact", if inexact { "no: a condition of a theorem was waived" } else { "yes" }],
        cells!["made from", provenance.parent.as_deref().unwrap_or("a trained network")],
        cells!["SHA-256", sha256],
    ];
    if let Some(damping) = provenance.damping {
        rows.insert(rows.len() - 2, cells!["damping", carried_by(damping)]);
    }
    let mut told = format!("{}: a posterior\n\n{}", path.display(), text_list(&rows));
    told += "\n";
    told += &layers(posterior)?;
    Ok(told)
}

/// A line for every layer.
fn layers(posterior: &AnyPosterior) -> Result<String> {
    let network = posterior.network();
    let (mean, kept) = (posterior.mean(), posterior.kept());
    let diagonal = variances(posterior)?;
    let mut rows = vec![cells![
        "layer",
        "shape",
        "mean |m|",
        "deviation: least",
        "median",
        "largest",
        "kept units"
    ]];
    let layout = network.layout();
    for (t, (range, block)) in layout.ranges().into_iter().zip(&layout.blocks).enumerate() {
        // Each a share of its own: the sum of large numbers may be beyond them.
        let n = range.len() as f64;
        let size: f64 = mean[range.clone()].iter().map(|m| m.abs() / n).sum();
        let mut stds: Vec<f64> = diagonal[range].iter().map(|v| v.sqrt()).collect();
        stds.sort_by(f64::total_cmp);
        let n = stds.len();
        let median = 0.5 * (stds[(n - 1) / 2] + stds[n / 2]);
        rows.push(vec![
            (t + 1).to_string(),
            format!("{} x {}", block.rows, block.cols),
            number(size),
            number(stds[0]),
            number(median),
            number(stds[n - 1]),
            ids(&kept[t + 1]),
        ]);
    }
    Ok(text_table(&rows))
}

fn number(value: f64) -> String {
    format!("{value:.4e}")
}

/// Which units of the network that was edited first these are.
fn ids(kept: &[usize]) -> String {
    if kept.iter().enumerate().all(|(i, &id)| i == id) {
        return format!("0 to {}", kept.len().saturating_sub(1));
    }
    let mut named: Vec<String> = kept.iter().take(MOST_NAMED).map(usize::to_string).collect();
    if kept.len() > MOST_NAMED {
        named.push(format!("… ({} in all)", kept.len()));
    }
    named.join(",")
}
