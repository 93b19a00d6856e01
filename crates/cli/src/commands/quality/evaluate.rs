//! `distill evaluate`: how well a network does on examples.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use core_tensors::{Rng, Targets};
use serde::Serialize;

use super::{Answered, DataArguments, SEED, ends, outputs};
use crate::commands::options::NetworkOptions;
use crate::files::{cells, say, text_table};
use crate::ledger::metric;
use crate::ledger::quality::{FitCheck, Quality};
use crate::training::{Calibration, Outputs, TestPart, fit_check, fit_reasons, quality_alone};

/// Classes that the table of the lowest accuracies lists.
const LISTED: usize = 5;

/// Measure a network on examples with labels or targets.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  distill evaluate model.onnx --data images.npz
  distill evaluate model.pt --data table.csv --target label --json

Classes: accuracy, cross-entropy, Brier score, calibration errors (over bins of equal mass, and without the bias of few
examples), cross-entropy after temperature scaling (the temperature of half of the examples judges the other half), and
the classes with the lowest accuracy. Values: R2, RMSE, and the likelihood of a normal distribution whose noise half of the
examples tell the other half. Each with a 95 % interval, beside the best constant prediction where there is one; where the
network is no better than that, likely reasons are tried and told.")]
pub(in crate::commands) struct Arguments {
    /// The network: an ONNX file, a state dict (safetensors, .pt, .pth, .npz), or a posterior.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    data: DataArguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkOptions,
}

/// The answer as JSON.
#[derive(Serialize)]
struct Answer {
    model: PathBuf,
    /// SHA-256 of its file.
    model_sha256: String,
    data: String,
    quality: Quality,
    /// Beside the best constant prediction.
    fit: FitCheck,
    /// Why it may not fit; empty where it does.
    reasons: Vec<String>,
}

pub(in crate::commands) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let answered = arguments.data.answered(&arguments.model, &arguments.network)?;
    let Answered { network, prepared, outputs: values, predicted } = answered;
    let Some(targets) = &prepared.targets else {
        bail!(
            "{}: expected labels or targets to measure the network by, found none; `distill compare` compares two networks \
             without them, and `distill predict` writes what one says",
            prepared.name
        );
    };
    let calibration = calibration(&values, targets)?;
    let measured = Outputs { values: &values, calibration: calibration.as_ref() };
    let part = TestPart {
        predicted,
        targets: Some(targets),
        class_names: &prepared.class_names,
        indices: &[],
        n_disagreements: 0,
        image: None,
    };
    let quality = quality_alone(measured, &part, &mut Rng::new(SEED))?;
    let fit = fit_check(&values, targets)?;
    let reasons = match fit.is_better {
        true => Vec::new(),
        false => {
            let mut run = |x: &_| outputs(&arguments.model, &network, x);
            fit_reasons(&values, targets, &prepared.class_names, &prepared.x, &mut run)?
        }
    };
    let answer = Answer {
        model: arguments.model.clone(),
        model_sha256: network.sha256,
        data: prepared.name,
        quality,
        fit,
        reasons,
    };
    let json = || Ok::<_, anyhow::Error>(serde_json::to_string(&answer)? + "\n");
    say(&if arguments.json { json()? } else { text(&answer) })?;
    Ok(ExitCode::SUCCESS)
}

/// What half of the examples say of the other half; nothing for a single one.
pub(super) fn calibration(
    values: &candle_core::Tensor,
    targets: &Targets,
) -> Result<Option<Calibration>> {
    Ok(if values.dim(0)? < 2 { None } else { Some(Calibration::two_fold(values, targets)?) })
}

fn text(answer: &Answer) -> String {
    let Answer { quality, fit, .. } = answer;
    let mut text = format!(
        "{} on {}: {} examples\n\n",
        answer.model.display(),
        answer.data,
        quality.n_examples
    );
    let mut rows = vec![cells!["", "value", "95 % interval", "best constant"]];
    for measure in &quality.measures {
        let metric = measure.metric;
        let constant = fit.measures.iter().find(|of| of.metric == metric);
        rows.push(cells![
            metric.label_with_unit(),
            metric.text(measure.value.value),
            ends(metric, &measure.value),
            constant.map(|of| metric.text(of.constant)).unwrap_or_default(),
        ]);
    }
    text += &text_table(&rows);
    if !quality.classes.is_empty() {
        let mut rows =
            vec![cells!["lowest accuracy", "examples", "accuracy", "95 % interval", "taken for"]];
        for class in quality.classes.iter().take(LISTED) {
            let taken_for = class.taken_for.as_ref().map(|(other, n)| format!("{other} ({n})"));
            rows.push(cells![
                class.class,
                class.n_examples,
                metric::ACCURACY.text(class.accuracy.value),
                ends(metric::ACCURACY, &class.accuracy),
                taken_for.unwrap_or_default(),
            ]);
        }
        let _ = write!(text, "\n{}", text_table(&rows));
    }
    if !fit.is_better {
        text += "\nThe network is no better than the best constant prediction on these examples. Likely reasons:\n";
        answer.reasons.iter().for_each(|reason| {
            let _ = writeln!(text, "- {reason}");
        });
    }
    text
}
