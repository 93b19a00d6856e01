//! `distill shrink`: a smaller network from a trained one, and what it keeps.

mod account;
mod amounts;
mod arguments;
mod case;
mod flow;
mod latency;
mod measures;
mod replay;
mod report;
mod split;
mod train;
mod understood;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use core_tensors::Rng;

pub(super) use arguments::Arguments;

use self::case::{Case, Predicts};
use self::report::Finished;
use self::split::Split;
use self::train::{Stop, is_checkpoint};
use super::UsageError;
use crate::data::user::place_of;
use crate::files::{Input, check_folder, check_set, check_writable, note, say};
use crate::training::Interrupted;

/// Files that a run writes.
const WRITTEN: [&str; 9] = [
    "student.onnx",
    "student.safetensors",
    "student.py",
    "widths.json",
    "report.html",
    "report.json",
    "front.csv",
    "run.toml",
    "posterior.safetensors",
];

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    arguments.network.check()?;
    check_out(arguments)?;
    let stop = Stop::listening()?;
    match make(arguments, &stop) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => match (error.is::<Interrupted>(), stop.status()) {
            (true, Some(status)) => {
                note("stopped; the same command goes on from the last epoch");
                Ok(ExitCode::from(status))
            }
            _ => Err(error),
        },
    }
}

fn make(arguments: &Arguments, stop: &Stop) -> Result<()> {
    let case = Case::open(arguments)?;
    arguments.size.check(&case.network.graph)?;
    if let (Some(_), Predicts::Classes(_) | Predicts::TwoClasses) =
        (arguments.task.noise_variance, case.predicts)
    {
        let message = "--noise-variance: is of a regression, but the network predicts classes (--task regression says otherwise)";
        return Err(UsageError(message.into()).into());
    }
    if arguments.training.bayesian {
        check_bayesian(&case)?;
    }
    let mut finished: Option<Finished> = None;
    for seed in arguments.training.seeds() {
        let rng = Rng::new(seed);
        let split = Split::new(&case, &rng)?;
        if finished.is_none() {
            arguments.tell(&understood::lines(arguments, &case, &split)?)?;
        }
        let done = report::finish(arguments, &case, split, (seed, &rng), stop)?;
        match &mut finished {
            None => finished = Some(done),
            Some(first) => first.repeated(&done),
        }
    }
    let Some(finished) = finished else { return Ok(()) };
    let json = finished.write(arguments)?;
    say(&if arguments.json { json } else { finished.summary(arguments) })
}

/// Refuses what variational inference cannot do, before hours of other work.
fn check_bayesian(case: &Case) -> Result<()> {
    ensure!(
        case.data.targets.is_some(),
        "--bayesian: expected labels, found examples without them"
    );
    let (graph, params) = (&case.network.graph, &case.network.params);
    graph.as_perceptron(params).context("--bayesian: expected a network of dense layers alone")?;
    Ok(())
}

/// A file in the folder that is no checkpoint of an interrupted run; the first by name.
fn something_else(out: &Path) -> Option<String> {
    let names = std::fs::read_dir(out).ok()?.flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    // Hidden files are those of a system, or of a file that was being written when a run was killed.
    names.filter(|name| !is_checkpoint(name) && !name.starts_with('.')).min()
}

/// Refuses a folder that holds something that this command would destroy.
fn check_out(arguments: &Arguments) -> Result<()> {
    let cache = &arguments.task.cache;
    let data = |word: &Option<String>| word.as_ref().map(|word| place_of(word, cache));
    let inputs = [
        ("MODEL", Some(arguments.model.clone())),
        ("--data", Some(place_of(&arguments.data, cache))),
        ("--validation", data(&arguments.validation)),
        ("--test", data(&arguments.test)),
        ("--labels", arguments.options.labels.clone()),
        ("--config", arguments.config.clone()),
    ];
    let inputs: Vec<Input> =
        inputs.into_iter().filter_map(|(name, path)| Some(Input::new(name, path?))).collect();
    let out = &arguments.out;
    check_folder(out, &WRITTEN, &inputs).map_err(UsageError)?;
    let found: Vec<&str> = WRITTEN.iter().copied().filter(|name| out.join(name).exists()).collect();
    if let (Some(first), false) = (found.first(), arguments.overwrite) {
        let message = format!(
            "--out: {} holds {first} of an earlier run; give another folder, or --overwrite",
            out.display()
        );
        return Err(UsageError(message).into());
    }
    if let (Some(other), false) = (something_else(out), arguments.overwrite) {
        let message = format!(
            "--out: expected a new or an empty folder, found {other} in {}; give another folder, or --overwrite",
            out.display()
        );
        return Err(UsageError(message).into());
    }
    if let Some(name) = found.iter().find(|name| !out.join(name).is_file()) {
        let message =
            format!("--out: expected a file in the place of {}", out.join(name).display());
        return Err(UsageError(message).into());
    }
    check_writable(out)?;
    check_set(out, &WRITTEN)
}
