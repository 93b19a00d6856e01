//! `distill predict`: what a network says of examples, in a file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use candle_core::{D, DType, Tensor};
use serde::Serialize;

use super::{Answered, DataArguments};
use crate::commands::UsageError;
use crate::commands::options::NetworkOptions;
use crate::data::user::Prepared;
use crate::files::{
    Input, check_finite, check_out, check_replaceable, npz_bytes, say, tensor_bytes, write_whole,
};
use crate::ledger::quality::Predicted;
use crate::training::class_logits;

/// Write what a network says of examples.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  distill predict model.onnx --data images.npz --out logits.npz
  distill predict model.onnx --data table.csv --target none --out predictions.csv

The end of FILE decides its format: .npz, .safetensors or .csv. Of classes it has `logits` (m, k) as the network gives
them, `probabilities` after the softmax, and `classes`, the most probable one by its index from 0; a single logit is that of
class 1 of two. Of values it has `predictions` (m, k). A table has a column for each, and classes by name where the data
name them. The examples need no labels.")]
pub(in crate::commands) struct Arguments {
    /// The network: an ONNX file, a state dict (safetensors, .pt, .pth, .npz), or a posterior.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    data: DataArguments,
    /// Where the predictions go: a name that ends in .npz, .safetensors or .csv.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace FILE where it exists.
    #[arg(long)]
    overwrite: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkOptions,
}

/// The answer as JSON.
#[derive(Serialize)]
struct Answer<'a> {
    model: &'a Path,
    /// SHA-256 of its file.
    model_sha256: &'a str,
    data: &'a str,
    out: &'a Path,
    predicted: Predicted,
    n_examples: usize,
    n_outputs: usize,
}

/// A format of predictions.
#[derive(Clone, Copy)]
enum Format {
    Npz,
    Safetensors,
    Csv,
}

pub(in crate::commands) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Arguments { model, data, out, .. } = arguments;
    let format = format(out)?;
    check_out(out, &[Input::new("MODEL", model), data.input()]).map_err(UsageError)?;
    if out.is_file() && !arguments.overwrite {
        let message = format!("--out: {} exists already; --overwrite replaces it", out.display());
        return Err(UsageError(message).into());
    }
    check_replaceable(out)?;
    let Answered { network, prepared, outputs, predicted } =
        data.answered(model, &arguments.network)?;
    let arrays = arrays(&outputs, predicted)?;
    let check = || arrays.iter().try_for_each(|(name, array)| check_finite(name, array));
    check().with_context(|| format!("{} on {}", model.display(), prepared.name))?;
    let bytes = match format {
        Format::Npz => npz_bytes(&arrays)?,
        Format::Safetensors => tensor_bytes(&arrays)?,
        Format::Csv => table(&arrays, &prepared)?,
    };
    write_whole(out, &bytes)?;
    let (n_examples, n_outputs) = outputs.dims2()?;
    let answer = Answer {
        model,
        model_sha256: &network.sha256,
        data: &prepared.name,
        out,
        predicted,
        n_examples,
        n_outputs,
    };
    say(&match arguments.json {
        true => serde_json::to_string(&answer)? + "\n",
        false => {
            let names: Vec<String> =
                arrays.iter().map(|(name, array)| format!("{name} {:?}", array.dims())).collect();
            format!(
                "{}: {} on {}, {n_examples} examples\n{}\n",
                out.display(),
                model.display(),
                prepared.name,
                names.join(", ")
            )
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

fn format(out: &Path) -> Result<Format, UsageError> {
    match out.extension().and_then(|ending| ending.to_str()) {
        Some("npz") => Ok(Format::Npz),
        Some("safetensors") => Ok(Format::Safetensors),
        Some("csv") => Ok(Format::Csv),
        _ => Err(UsageError(format!(
            "--out: expected a name that ends in .npz, .safetensors or .csv, found {}",
            out.display()
        ))),
    }
}

/// What is written, by name.
fn arrays(outputs: &Tensor, predicted: Predicted) -> Result<Vec<(&'static str, Tensor)>> {
    Ok(match predicted {
        Predicted::Values => vec![("predictions", outputs.clone())],
        Predicted::Classes => {
            let logits = class_logits(outputs)?;
            let probabilities = candle_nn::ops::softmax(&logits.to_dtype(DType::F64)?, D::Minus1)?;
            let classes = logits.argmax(D::Minus1)?.to_dtype(DType::I64)?;
            vec![
                ("logits", outputs.clone()),
                ("probabilities", probabilities.to_dtype(DType::F32)?),
                ("classes", classes),
            ]
        }
    })
}

/// A text table: the class, then logits and probabilities, or the values.
fn table(arrays: &[(&'static str, Tensor)], prepared: &Prepared) -> Result<Vec<u8>> {
    let mut header: Vec<String> = Vec::new();
    let mut columns: Vec<Vec<String>> = Vec::new();
    let name = |class: usize| {
        prepared.class_names.get(class).cloned().unwrap_or_else(|| class.to_string())
    };
    for (what, array) in arrays.iter().rev() {
        match *what {
            "classes" => {
                header.push("class".into());
                columns.push(
                    array.to_vec1::<i64>()?.iter().map(|&class| name(class as usize)).collect(),
                );
            }
            what => {
                let (_, k) = array.dims2()?;
                let singular = what.strip_suffix("ies").map(|word| format!("{word}y"));
                let singular = singular.unwrap_or_else(|| what.trim_end_matches('s').to_owned());
                for j in 0..k {
                    // A single logit is that of class 1.
                    let class = if what == "logits" && k == 1 { 1 } else { j };
                    let of = if what == "predictions" { j.to_string() } else { name(class) };
                    header.push(format!("{singular}_{of}"));
                    let column = array.narrow(1, j, 1)?.flatten_all()?.to_vec1::<f32>()?;
                    columns.push(column.iter().map(f32::to_string).collect());
                }
            }
        }
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&header)?;
    let m = columns.first().map_or(0, Vec::len);
    for row in 0..m {
        writer.write_record(columns.iter().map(|column| column[row].as_str()))?;
    }
    Ok(writer.into_inner()?)
}
