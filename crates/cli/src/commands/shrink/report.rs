//! A run from the split to the files that are written, and what is said of it.

use std::path::Path;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use core_tensors::{Params, Rng};
use models::graph::Graph;
use models::graph::change::Standardization;

use super::account::{budget_words, layers, plain, sizes, untouched};
use super::arguments::Arguments;
use super::case::{Case, Predicts};
use super::flow::{self, Outcome};
use super::latency::latencies;
use super::measures;
use super::replay;
use super::split::Split;
use super::train::{Course, Made, Stop, discard_checkpoints, taught, tell_of_checkpoints};
use super::understood;
use crate::commands::quality::paired_table;
use crate::data::user::ImageSteps;
use crate::files::{note, sha256, warn, write_set};
use crate::ledger::quality::Predicted;
use crate::ledger::shrink::{Latency, Quartiles, Repetition, Shrunk, Student};
use crate::model_file::student::{python, widths_json, with_metadata};
use crate::training::after_surgery::noise_variances;
use crate::training::logits;
use crate::training::shrink::{Amount, Budget};

/// The report for programs.
const JSON: &str = "report.json";

/// A run of one seed, ready to be written.
pub(super) struct Finished {
    pub(super) shrunk: Shrunk,
    seed: u64,
    files: Vec<(String, Vec<u8>)>,
}

/// Everything of one seed: surgery, training, measures.
pub(super) fn finish(
    arguments: &Arguments,
    case: &Case,
    split: Split,
    (seed, rng): (u64, &Rng),
    stop: &Stop,
) -> Result<Finished> {
    let (split, standardization) = split.standardized(arguments.task.standardize)?;
    let network = flow::whole(case)?;
    let predicted = case.predicts.predicted();
    let noise = noise(arguments, case.predicts, &split, &network)?;
    let likelihood = flow::likelihood(case.predicts, noise.as_deref());
    understood::check_fit(arguments, case, &split, &network)?;
    let standardization = standardization.as_ref();
    let metadata = match &case.data.images {
        Some(steps) => {
            let before = case.network.metadata.get(ImageSteps::KEY);
            let before = before.map(|text| ImageSteps::from_json(text)).transpose()?;
            let steps = steps.clone().with_size_of(&before.unwrap_or_default());
            vec![(ImageSteps::KEY.to_owned(), steps.to_json()?)]
        }
        None => Vec::new(),
    };
    let file = |graph: &Graph, params: &Params| {
        let model = &arguments.model;
        let bytes = case.network.student_onnx(model, graph, params, standardization)?;
        with_metadata(bytes, &metadata)
    };
    let n_before = file(&network.0, &network.1)?.len();
    let is_double = |block: &Tensor| block.dtype() == DType::F64;
    let has_doubles = case.network.params.blocks().iter().any(is_double);
    let n_bytes_each = if case.network.is_onnx() && has_doubles { 8 } else { 4 };
    let budget = arguments.size.budget()?;
    let mut outcome = flow::narrow(
        arguments,
        split,
        &network,
        (likelihood, [n_before, n_bytes_each]),
        &case.network.spelled_layers(),
        rng,
    )?;
    let students = students(arguments, &outcome, &network, (predicted, noise), (seed, rng), stop)?;
    let chosen = best(&budget, &mut outcome, &students)?;
    let made = (&students[..], chosen);
    let measured = measures::students(case, &outcome.split, &network, made, rng)?;
    let Made { graph, params, .. } = &students[chosen];

    let onnx = file(graph, params)?;
    let mut dict = case.network.student_state_dict(graph, params)?;
    dict.say(&metadata);
    dict.notes.iter().for_each(|line| note(line));
    let before = case.network.student_state_dict(&network.0, &network.1)?;
    let layers = layers(&outcome.plan, &outcome.chosen.widths, &outcome.chosen.operated.report);
    let mut files = vec![
        ("student.onnx".to_owned(), onnx.clone()),
        ("student.safetensors".to_owned(), dict.to_bytes(standardization)?),
        (
            "widths.json".to_owned(),
            widths_json(&layers, &before, &dict, standardization)?.into_bytes(),
        ),
    ];
    if let Some(student) = students.iter().find_map(|made| made.bayesian.as_ref()) {
        let input = case.network.input_shape()?;
        let of_features = standardization.map(|of| of_features(of, &input)).transpose()?;
        let provenance = bayes_posterior::Provenance {
            standardization: of_features,
            ..student.provenance.clone()
        };
        let bytes = student.posterior.to_bytes(&provenance)?;
        files.push(("posterior.safetensors".to_owned(), bytes));
    }
    if let Some(script) = python(graph, &dict, standardization) {
        files.push(("student.py".to_owned(), script.into_bytes()));
    }
    let replay = replay::toml(arguments, &budget, &layers, &outcome.split.filled_in);
    files.push(("run.toml".to_owned(), replay.into_bytes()));

    let n_bytes = [n_before, onnx.len()];
    let batch = arguments.size.latency_batch();
    let x = &outcome.split.test.x;
    let (times, ratio) = latencies([(&network.0, &network.1), (graph, params)], x, batch)?;
    let mut warnings = outcome.warnings.clone();
    if let Budget::Latency(amount) = &budget
        && is_too_slow(*amount, &times, &ratio)
    {
        warnings.push(format!(
            "Measured again, a forward pass takes {:.4} ms, {:.1} % of the network's, more than was asked for: times on a busy \
             machine differ from run to run.",
            times[1].median_ms,
            100.0 * ratio.median
        ));
    }
    let shrunk = Shrunk {
        model: file_name(&arguments.model),
        model_sha256: case.network.sha256.clone(),
        data: data_files(arguments)?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: "distill shrink --config run.toml --out FOLDER".to_owned(),
        understood: understood::sentences(arguments, case, &outcome.split),
        warnings: [warnings, understood::warnings(case, &outcome.split, &network)?].concat(),
        predicted,
        parts: outcome.split.parts,
        budget: budget_words(&budget),
        sizes: sizes(&network.0, &outcome.plan, &outcome.chosen.widths, n_bytes),
        latency: Some(times),
        latency_ratio: Some(ratio),
        students: measured,
        front: outcome.front,
        layers,
        untouched: untouched(&outcome.plan),
        repetitions: Vec::new(),
    };
    Ok(Finished { shrunk, seed, files })
}

/// Whether a student takes longer than was asked for.
fn is_too_slow(amount: Amount, times: &[Latency; 2], ratio: &Quartiles) -> bool {
    match amount {
        Amount::Share(share) => ratio.median > share,
        Amount::Absolute(most) => times[1].median_ms > most,
    }
}

/// The student of surgery, after training where it is asked for, and the one from scratch.
fn students(
    arguments: &Arguments,
    outcome: &Outcome,
    network: &(Graph, Params),
    (predicted, noise): (Predicted, Option<Vec<f64>>),
    (seed, rng): (u64, &Rng),
    stop: &Stop,
) -> Result<Vec<Made>> {
    let operated = &outcome.chosen.operated;
    let mut students = vec![Made {
        how: "surgery".to_owned(),
        training: String::new(),
        graph: operated.graph.clone(),
        params: operated.params.clone(),
        loss: None,
        bayesian: None,
    }];
    let training = &arguments.training;
    if training.epochs() == 0 && training.baseline.is_none() && !training.bayesian {
        return Ok(students);
    }
    let course = Course {
        arguments,
        predicted,
        noise,
        calibration: taught(&outcome.split.calibration, network)?,
        validation: taught(&outcome.split.validation, network)?,
        folder: &arguments.out,
        seed,
        stop,
    };
    let small = (&operated.graph, &operated.params);
    students[0].loss = Some(course.loss(small)?);
    if training.epochs() > 0 {
        students.push(course.distilled(small, &rng.split("distillation"))?);
    }
    let scratch = course.scratch(&outcome.plan, &operated.graph, &rng.split("scratch"))?;
    students.extend(scratch);
    if training.bayesian {
        students.push(course.inferred(small, &rng.split("inference"))?);
    }
    Ok(students)
}

/// The student with the least loss of the validation examples; surgery's where nothing was trained.
///
/// Where a loss was promised, only students that keep the promise are asked.
fn best(budget: &Budget, outcome: &mut Outcome, students: &[Made]) -> Result<usize> {
    let mut best = 0;
    for (i, made) in students.iter().enumerate().skip(1) {
        let (Some(loss), Some(least)) = (made.loss, students[best].loss) else { continue };
        if loss.is_nan() || loss >= least {
            continue;
        }
        if let Budget::Loss(most) = budget {
            let bound = outcome.validation.upper_bound(&made.graph, &made.params)?;
            if bound > *most {
                outcome.warnings.push(format!(
                    "The student of {} has the least validation loss, but may lose {:.2} points and was not taken.",
                    made.how,
                    100.0 * bound
                ));
                continue;
            }
        }
        best = i;
    }
    Ok(best)
}

/// σ² of each output of a regression: given, or the network's mean squared error on the validation examples; without targets
/// nats are in units of what the outputs vary by.
fn noise(
    arguments: &Arguments,
    predicts: Predicts,
    split: &Split,
    (graph, params): &(Graph, Params),
) -> Result<Option<Vec<f64>>> {
    let Predicts::Values(k) = predicts else { return Ok(None) };
    if let Some(variance) = arguments.task.noise_variance {
        return Ok(Some(vec![variance; k]));
    }
    let targets = split.validation.targets.as_ref();
    let variances = noise_variances(&logits(graph, params, &split.validation.x)?, targets)?;
    if targets.is_some() {
        let shown: Vec<String> = variances.iter().take(4).map(|v| format!("{v:.3e}")).collect();
        note(&format!(
            "variance of the targets' noise: {}{}, the network's mean squared error on the validation examples \
             (--noise-variance overrules)",
            shown.join(", "),
            if variances.len() > shown.len() { ", …" } else { "" }
        ));
    }
    Ok(Some(variances))
}

/// A standardization of an input of these extents as one of its features, which a perceptron takes in a row.
fn of_features(standardization: &Standardization, input: &[usize]) -> Result<Standardization> {
    let Standardization { shape, mean, std } = standardization;
    let spread = |numbers: &[f64]| -> Result<Vec<f64>> {
        let numbers = Tensor::from_slice(numbers, shape.as_slice(), &Device::Cpu)?;
        Ok(numbers.broadcast_as(input)?.flatten_all()?.to_vec1()?)
    };
    let (mean, std) = (spread(mean)?, spread(std)?);
    Ok(Standardization { shape: vec![mean.len()], mean, std })
}

/// One line a seed, where there are several.
fn seeds(repetitions: &[Repetition], chosen: Option<&Student>) -> Vec<String> {
    let Some(metric) = chosen.and_then(|chosen| Some(chosen.quality.main_measure()?.metric)) else {
        return Vec::new();
    };
    let line = |repetition: &Repetition| {
        let Repetition { seed, before, after, scratch } = *repetition;
        let scratch =
            scratch.map_or(String::new(), |value| format!(", from scratch {}", metric.text(value)));
        format!(
            "seed {seed}: {} of the network {}, of the student {}, change {}{scratch}",
            metric.label,
            metric.text(before),
            metric.text(after),
            metric.text(after - before)
        )
    };
    repetitions.iter().map(line).collect()
}

/// Name of a file without its folders.
fn file_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into())
}

/// Words of the data, and the sums of those that are files.
fn data_files(arguments: &Arguments) -> Result<Vec<(String, Option<String>)>> {
    let words = [Some(&arguments.data), arguments.validation.as_ref(), arguments.test.as_ref()];
    let of = |word: &String| {
        let path = Path::new(word);
        let sum = match path.is_file() {
            true => Some(sha256(&crate::files::read(path)?)),
            false => None,
        };
        Ok((file_name(path), sum))
    };
    words.into_iter().flatten().map(of).collect()
}

impl Finished {
    /// Adds another seed.
    pub(super) fn repeated(&mut self, other: &Self) {
        if self.shrunk.repetitions.is_empty() {
            let own = self.repetition();
            self.shrunk.repetitions.extend(own);
        }
        self.shrunk.repetitions.extend(other.repetition());
    }

    fn repetition(&self) -> Option<Repetition> {
        let chosen = self.shrunk.students.iter().find(|student| student.is_chosen)?;
        let main = chosen.quality.main_measure()?;
        let scratch = self.shrunk.students.iter().find(|student| student.how.contains("scratch"));
        let scratch =
            scratch.and_then(|student| student.quality.main_measure()).map(|found| found.second);
        Some(Repetition { seed: self.seed, before: main.first, after: main.second, scratch })
    }

    /// Writes the folder; gives the report as JSON.
    pub(super) fn write(&self, arguments: &Arguments) -> Result<String> {
        let pages = crate::report::shrink::pages(&self.shrunk)?;
        self.shrunk.warnings.iter().for_each(|line| warn(line));
        let json = pages.iter().find(|(name, _)| name == JSON).map(|(_, text)| text.clone());
        let pages = pages.into_iter().map(|(name, text)| (name, text.into_bytes()));
        let files: Vec<(String, Vec<u8>)> = self.files.iter().cloned().chain(pages).collect();
        write_set(&arguments.out, &super::WRITTEN, files)?;
        discard_checkpoints(&arguments.out, &arguments.training);
        tell_of_checkpoints(&arguments.out);
        Ok(json.unwrap_or_default() + "\n")
    }

    /// What the terminal says in the end.
    pub(super) fn summary(&self, arguments: &Arguments) -> String {
        let shrunk = &self.shrunk;
        let mut lines = Vec::new();
        for size in &shrunk.sizes {
            lines.push(format!(
                "{}: {} -> {} ({} %)",
                size.what,
                plain(size.before),
                plain(size.after),
                plain((1000.0 * size.after / size.before).round() / 10.0)
            ));
        }
        lines.push(String::new());
        for student in &shrunk.students {
            let chosen =
                if student.is_chosen && shrunk.students.len() > 1 { " (written)" } else { "" };
            lines.push(format!(
                "{}{chosen}, on {} test examples:",
                student.how, student.quality.n_examples
            ));
            let names = ["network", "student", "change"];
            lines.push(paired_table(&student.quality, names).trim_end().to_owned());
        }
        lines.extend(seeds(&shrunk.repetitions, shrunk.students.iter().find(|s| s.is_chosen)));
        lines.push(format!(
            "{}: student.onnx, student.safetensors, report.html and more",
            arguments.out.display()
        ));
        lines.join("\n") + "\n"
    }
}
