//! `distill compare`: two networks on the same examples.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use core_tensors::Rng;
use serde::Serialize;

use super::evaluate::calibration;
use super::{DataArguments, SEED, ends, image_of, outputs, p_value, paired_table, points};
use crate::commands::options::NetworkOptions;
use crate::files::{cells, say, text_table};
use crate::ledger::quality::{McNemar, PairedQuality, Thumbnail};
use crate::ledger::{metric, stats};
use crate::training::{Calibration, Outputs, TestPart, paired_quality};

/// Classes that the table of the largest losses lists.
const LISTED: usize = 5;

/// Compare two networks on the same examples, paired.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  distill compare teacher.onnx student.onnx --data images.npz
  distill compare teacher.onnx student.onnx --data unlabeled.npz --json

Every measure of both, the difference B - A with its 95 % interval, paired by example, and McNemar's test of the
accuracies; the classes that lose most; the examples on which the networks differ most, by their index in DATA from 0.
Without labels: the share of examples on which B agrees with A, and the KL divergence of B from A, or the mean squared
distance of values. The options for the network's file hold for both networks.")]
pub(in crate::commands) struct Arguments {
    /// The first network, such as a teacher: an ONNX file, a state dict (safetensors, .pt, .pth, .npz), or a posterior.
    #[arg(value_name = "A")]
    first: PathBuf,
    /// The second network, such as its student.
    #[arg(value_name = "B")]
    second: PathBuf,
    #[command(flatten)]
    data: DataArguments,
    /// Examples to list on which the networks differ most.
    #[arg(long, value_name = "N", default_value = "10")]
    examples: usize,
    /// Print JSON; images among the examples are in it.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkOptions,
}

/// The answer as JSON.
#[derive(Serialize)]
struct Answer {
    first: PathBuf,
    /// SHA-256 of its file.
    first_sha256: String,
    second: PathBuf,
    /// SHA-256 of its file.
    second_sha256: String,
    data: String,
    quality: PairedQuality,
    /// One-sided 95 % upper bound of the accuracy that the second loses, for classes with labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    most_lost: Option<f64>,
}

pub(in crate::commands) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Arguments { first, second, data, .. } = arguments;
    arguments.network.check()?;
    let network = data.open(first, &arguments.network)?;
    let other = data.open(second, &arguments.network)?;
    let (n, found) = (network.n_outputs(), other.n_outputs());
    if n != found {
        let (first, second) = (first.display(), second.display());
        bail!(
            "expected networks with as many outputs, found {n} of {first} and {found} of {second}"
        );
    }
    // Both see the same examples: what one of the files says of its images holds for both.
    let images = data.image_options(&[(first, &network), (second, &other)])?;
    let prepared = data.prepared(first, &network, &images)?;
    let of_first = outputs(first, &network, &prepared.x)?;
    let predicted = data.predicted(&prepared, n);
    let of_second = match other.input_shape()? == network.input_shape()? {
        true => outputs(second, &other, &prepared.x)?,
        // The same numbers in the shape of another input.
        false => outputs(second, &other, &data.prepared(second, &other, &images)?.x)?,
    };
    let targets = prepared.targets.as_ref();
    let of = |values: &_| -> Result<Option<Calibration>> {
        targets.map_or(Ok(None), |targets| calibration(values, targets))
    };
    let calibrations = [of(&of_first)?, of(&of_second)?];
    let image = image_of(&prepared);
    let image = image.as_ref().map(|image| image as &dyn Fn(usize) -> Result<Thumbnail>);
    let part = TestPart {
        predicted,
        targets,
        class_names: &prepared.class_names,
        indices: &[],
        n_disagreements: arguments.examples,
        image: if arguments.json { image } else { None },
    };
    let quality = paired_quality(
        Outputs { values: &of_first, calibration: calibrations[0].as_ref() },
        Outputs { values: &of_second, calibration: calibrations[1].as_ref() },
        &part,
        &mut Rng::new(SEED),
    )?;
    let most_lost = quality.mc_nemar.map(|test| most_lost(&test, quality.n_examples));
    let answer = Answer {
        first: first.clone(),
        first_sha256: network.sha256,
        second: second.clone(),
        second_sha256: other.sha256,
        data: prepared.name.clone(),
        quality,
        most_lost,
    };
    let json = || Ok::<_, anyhow::Error>(serde_json::to_string(&answer)? + "\n");
    say(&if arguments.json { json()? } else { text(&answer) })?;
    Ok(ExitCode::SUCCESS)
}

fn most_lost(test: &McNemar, n_examples: usize) -> f64 {
    let McNemar { only_first, only_second, .. } = *test;
    stats::upper_bound_of_loss_of(only_first, only_second, n_examples, stats::CONFIDENCE)
}

fn text(answer: &Answer) -> String {
    let quality = &answer.quality;
    let mut text = format!(
        "A = {}\nB = {}\non {}: {} examples{}\n\n",
        answer.first.display(),
        answer.second.display(),
        answer.data,
        quality.n_examples,
        if quality.has_labels { "" } else { " without labels" }
    );
    text += &paired_table(quality, ["A", "B", "B - A"]);
    if let (Some(test), Some(most)) = (&quality.mc_nemar, answer.most_lost) {
        let _ = write!(text, "\n{}", sentences(test, most));
    }
    let lost: Vec<_> =
        quality.classes.iter().filter(|class| class.difference.value < 0.0).collect();
    if !lost.is_empty() {
        let mut rows =
            vec![cells!["largest losses", "examples", "A", "B", "B - A", "95 % interval"]];
        for class in lost.into_iter().take(LISTED) {
            let share = |value| metric::ACCURACY.text(value);
            rows.push(cells![
                class.class,
                class.n_examples,
                share(class.first),
                share(class.second),
                share(class.difference.value),
                ends(metric::ACCURACY, &class.difference),
            ]);
        }
        let _ = write!(text, "\n{}", text_table(&rows));
    }
    if !quality.disagreements.is_empty() {
        let mut rows = vec![cells!["differ most on example", "label", "A", "B", "distance"]];
        for example in &quality.disagreements {
            rows.push(cells![
                example.example,
                example.label.as_deref().unwrap_or("-"),
                example.first,
                example.second,
                metric::TEACHER_DIVERGENCE.text(example.distance),
            ]);
        }
        let _ = write!(text, "\n{}", text_table(&rows));
    }
    text
}

/// McNemar's test and what can be lost, in two sentences.
fn sentences(test: &McNemar, most_lost: f64) -> String {
    let McNemar { only_first, only_second, p } = *test;
    let verdict = match p < 1.0 - stats::CONFIDENCE {
        true if only_first > only_second => "B is less accurate",
        true => "B is more accurate",
        false => "no difference found, which is no proof of none",
    };
    format!(
        "McNemar's test: {only_first} examples are right with A alone and {only_second} with B alone, {}: {verdict}.\n\
         With 95 % confidence B loses at most {} points of accuracy.\n",
        p_value(p),
        points(most_lost.max(0.0))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_difference_is_no_proof_of_none() {
        let test = |only_first, only_second| {
            let p = stats::mc_nemar_p(only_first, only_second);
            let test = McNemar { only_first, only_second, p };
            sentences(&test, most_lost(&test, 1000))
        };
        let told = test(3, 2);
        assert!(told.contains("no proof of none") && told.contains("at most 0.61"), "{told}");
        assert!(test(40, 10).contains("B is less accurate"));
        assert!(test(10, 40).contains("B is more accurate") && test(10, 40).contains("at most 0 "));
    }
}
