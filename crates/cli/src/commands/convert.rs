//! `distill convert`: a network in another format.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use super::UsageError;
use super::options::NetworkOptions;
use crate::files::{Input, check_out, note, say, write_whole};
use crate::model_file::{Format, Network};

/// Write a trained network in another format.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  A student, or any posterior's mean, for ONNX Runtime:
    distill convert student.safetensors --out student.onnx
  The same for torch.nn.Module.load_state_dict:
    distill convert student.safetensors --out student-weights.safetensors

MODEL is what the other commands take: an ONNX file, a state dict (safetensors, .pt, .pth, .npz), or a posterior. What is
written opens again in every command. A state dict has the names layers.0.weight (out, in), layers.0.bias, and so on; its
metadata keep the activation and the SHA-256 of MODEL, as the metadata of an ONNX file keep the latter. An ONNX file that
becomes an ONNX file stays as it is, but for that line, and for numbers in other files, which come into it.")]
pub(super) struct Arguments {
    /// The network.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Where it goes; a file of that name is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The format [default: onnx for a FILE that ends in .onnx, state-dict for .safetensors].
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkOptions,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum FormatName {
    Onnx,
    StateDict,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    arguments.network.check()?;
    let format = format(arguments)?;
    let inputs = [Input::new("MODEL", &arguments.model)];
    check_out(&arguments.out, &inputs).map_err(UsageError)?;
    let expected = arguments.network.expected(None);
    let network = Network::open(&arguments.model, &expected)?;
    let (n_parameters, sha256) = (network.graph.layout().n_parameters(), network.sha256.clone());
    let is_copy = network.is_onnx() && format == Format::Onnx;
    if let (true, Some(word)) = (is_copy, expected.of_a_graph()) {
        let message =
            format!("{word}: an ONNX file that becomes an ONNX file keeps its outputs and sizes");
        return Err(UsageError(message).into());
    }
    let written = network.into_bytes(&arguments.model, format);
    let (bytes, notes) = written.with_context(|| arguments.model.display().to_string())?;
    notes.iter().for_each(|line| note(line));
    write_whole(&arguments.out, &bytes)?;
    if arguments.json {
        let told = serde_json::json!({
            "out": arguments.out,
            "format": match format {
                Format::Onnx => "onnx",
                Format::StateDict => "state-dict",
            },
            "parameters": n_parameters,
            "bytes": bytes.len(),
            "model": arguments.model,
            "model_sha256": sha256,
        });
        say(&format!("{told}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!(
        "{}: {}, {n_parameters} parameters, {} bytes\nmade from {} (SHA-256 {sha256})\n",
        arguments.out.display(),
        match format {
            Format::Onnx => "an ONNX file",
            Format::StateDict => "a state dict for PyTorch",
        },
        bytes.len(),
        arguments.model.display(),
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// The format that was asked for, or that the name of the file tells.
fn format(arguments: &Arguments) -> Result<Format, UsageError> {
    match arguments.format {
        Some(FormatName::Onnx) => return Ok(Format::Onnx),
        Some(FormatName::StateDict) => return Ok(Format::StateDict),
        None => {}
    }
    let ending = Path::new(&arguments.out).extension().and_then(|ending| ending.to_str());
    match ending {
        Some("onnx") => Ok(Format::Onnx),
        Some("safetensors") => Ok(Format::StateDict),
        _ => Err(UsageError(
            "--out: expected a name that ends in .onnx or .safetensors, or --format beside it"
                .into(),
        )),
    }
}
