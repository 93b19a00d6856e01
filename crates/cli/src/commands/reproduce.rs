//! `distill reproduce`: experiments, claims, report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use candle_core::Device;

use super::UsageError;
use crate::EXPERIMENTS;
use crate::datasets::bert::{BERT_BASE, Bert};
use crate::datasets::tweets::{self, Texts};
use crate::datasets::weights::{VGG19, Weights};
use crate::datasets::{DATA_VARIABLE, IMAGENETTE, Pictures, Places};
use crate::experiment::{Experiment, Interrupted, Part};
use crate::files::{ask_on_signals, check_writable, note, say, warn};
use crate::provenance::{Provenance, Start};
use crate::report::Report;
use crate::runner::{Plan, Store, folder_in, program_sum, run as run_plan};
use crate::session::{Scale, Session};

/// What to run, and where to put the report.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only these experiments (see --list).
    #[arg(long, value_name = "ID", num_args = 1..)]
    only: Vec<String>,
    /// smoke: every path in a minute; quick: the source's sizes, three or ten seeds; paper: twenty seeds.
    #[arg(long, value_enum, default_value = "quick")]
    scale: Scale,
    /// Independent runs of every experiment, instead of the scale's number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    seeds: Option<u32>,
    /// Threads; each runs one seed. Default: one a core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    jobs: Option<u32>,
    /// Where networks live; cuda wants a build with that feature.
    #[arg(long, value_enum, default_value = "cpu")]
    device: DeviceKind,
    /// Folder of data, DIR/<data set>/<file>; $DISTILL_DATA if absent, else the cache or a download.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder of downloads.
    #[arg(long, value_name = "DIR", default_value = "datasets/cache")]
    cache: PathBuf,
    /// Folder of the report and of finished runs.
    #[arg(long, value_name = "DIR", default_value = "target/reproduce/latest")]
    out: PathBuf,
    /// Put verdicts and tables between the result marks of this file; those of experiments that are not run stay.
    #[arg(long, value_name = "FILE")]
    readme: Option<PathBuf>,
    /// Redo runs that were finished before.
    #[arg(long)]
    fresh: bool,
    /// List experiments and claims, run nothing.
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum DeviceKind {
    Cpu,
    Cuda,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let start = Start::now();
    let experiments = chosen(&arguments.only)?;
    if arguments.list {
        list(&experiments)?;
        return Ok(ExitCode::SUCCESS);
    }
    check_writable(&arguments.out).context("--out: wanted a folder to write to")?;
    let device = open(arguments.device)?;
    let session = Arc::new(load(arguments, &experiments, device)?);
    stop_on_signals(&session)?;

    let plan = Plan {
        experiments,
        n_seeds: arguments.seeds.map(|n| n as usize),
        n_jobs: arguments.jobs.map_or_else(cores, |n| n as usize),
    };
    let store = Store::new(folder_in(&arguments.out), program_sum()?, arguments.fresh);
    let (ledger, error) = run_plan(&plan, &session, &store)?;

    let failure = error.filter(|error| !error.is::<Interrupted>());
    let is_interrupted = session.is_interrupted();
    let interruption = match &failure {
        Some(error) => Some(format!("a run failed: {error:#}")),
        None => is_interrupted.then(|| "it was interrupted".to_owned()),
    };
    let seeds: BTreeSet<u64> = ledger
        .keys()
        .filter_map(|(_, part)| match part {
            Part::Seed(seed) => Some(*seed),
            Part::Shared | Part::Source => None,
        })
        .collect();
    let seeds = seeds.into_iter().collect();
    let provenance = Provenance::new(&start, canonical(arguments), seeds, &session);
    let report = Report::new(&plan.experiments, ledger, &session, provenance, interruption)?;
    report.write(&arguments.out)?;
    if let Some(path) = &arguments.readme {
        report.update_readme(path)?;
    }
    announce(&report, &arguments.out)?;
    match failure {
        Some(error) => Err(error),
        None if is_interrupted => Ok(ExitCode::from(session.interruption())),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// The experiments that were named, in the report's order; all of them if none was.
fn chosen(only: &[String]) -> Result<Vec<&'static Experiment>> {
    let known: Vec<&str> = EXPERIMENTS.iter().map(|e| e.id).collect();
    if let Some(id) = only.iter().find(|id| !known.contains(&id.as_str())) {
        let known = known.join(", ");
        return Err(UsageError(format!("--only: wanted one of {known}, found {id}")).into());
    }
    let is_chosen = |e: &&&Experiment| only.is_empty() || only.iter().any(|id| id == e.id);
    Ok(EXPERIMENTS.iter().filter(is_chosen).copied().collect())
}

fn list(experiments: &[&Experiment]) -> Result<()> {
    let mut text = String::new();
    for experiment in experiments {
        let Experiment { id, title, .. } = experiment;
        text += &format!("{id} ({}): {title}\n", experiment.origin());
        for claim in experiment.claims {
            text += &format!("    {:4} {}\n", claim.id, claim.text);
        }
    }
    say(&text)
}

fn open(kind: DeviceKind) -> Result<Device> {
    match kind {
        DeviceKind::Cpu => Ok(Device::Cpu),
        DeviceKind::Cuda if cfg!(feature = "cuda") => {
            Device::new_cuda(0).context("--device: wanted a CUDA device, found none")
        }
        DeviceKind::Cuda => {
            bail!("--device: wanted a build with the feature `cuda`, found one without it")
        }
    }
}

/// Loads the data sets and weights that the experiments name, each once.
fn load(arguments: &Arguments, experiments: &[&Experiment], device: Device) -> Result<Session> {
    let from_variable = || {
        let folder = std::env::var_os(DATA_VARIABLE).filter(|folder| !folder.is_empty())?;
        Some((format!("${DATA_VARIABLE}"), PathBuf::from(folder)))
    };
    let explicit = match &arguments.data {
        Some(folder) => Some(("--data".to_owned(), folder.clone())),
        None => from_variable(),
    };
    let places = Places { explicit, cache: arguments.cache.clone() };
    let mut notice = |line: String| warn(&line);
    let ids: BTreeSet<&str> = experiments.iter().flat_map(|e| e.data).copied().collect();
    let (mut data, mut texts, mut weights) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let is_optional = |id: &str| id == BERT_BASE.name;
    for &id in ids.iter().filter(|id| !is_optional(id)) {
        let side = arguments.scale.side();
        if id == VGG19 {
            let loaded = Weights::load(&places, &device, &mut notice)?;
            weights.insert(id.to_owned(), loaded);
        } else if id == tweets::ID {
            texts.insert(id.to_owned(), Texts::load(&places, &mut notice)?);
        } else if id == IMAGENETTE {
            let pictures = Pictures::imagenette(&places, side, &device, &mut notice)?;
            data.insert(id.to_owned(), pictures);
        } else {
            data.insert(id.to_owned(), Pictures::load(id, &places, &device, &mut notice)?);
        }
    }
    // Last, so that nobody is told of it whose data are missing.
    let bert = if ids.iter().any(|id| is_optional(id)) { bert(arguments, &places)? } else { None };
    let session = Session::new(arguments.scale, device, data);
    Ok(session.with_texts(texts).with_weights(weights).with_bert(bert, places.cache))
}

/// The BERT of the tweets, where it is at hand; at smoke scale nobody waits for 440 MB.
fn bert(arguments: &Arguments, places: &Places) -> Result<Option<Bert>> {
    let find = if arguments.scale == Scale::Smoke { Bert::on_disk } else { Bert::find };
    Ok(match find(&BERT_BASE, places)? {
        Ok(found) => Some(found),
        Err(reason) => {
            warn(&format!("{reason}; its rows are not run"));
            None
        }
    })
}

/// The first signal asks the runs to stop after their epoch, the second ends the program.
fn stop_on_signals(session: &Arc<Session>) -> Result<()> {
    let session = Arc::clone(session);
    ask_on_signals(move |status| {
        note("stopping after the current epoch; a partial report follows (Ctrl-C again: stop now)");
        session.interrupt(status);
    })
    .context("listening for signals")
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The command that gives the same numbers, without what cannot change them.
fn canonical(arguments: &Arguments) -> String {
    use clap::ValueEnum;
    let word = |value: Option<clap::builder::PossibleValue>| {
        value.map(|v| v.get_name().to_owned()).unwrap_or_default()
    };
    let mut command =
        format!("cargo xtask reproduce --scale {}", word(arguments.scale.to_possible_value()));
    if !arguments.only.is_empty() {
        command += &format!(" --only {}", arguments.only.join(" "));
    }
    if let Some(n) = arguments.seeds {
        command += &format!(" --seeds {n}");
    }
    if arguments.device != DeviceKind::Cpu {
        command += &format!(" --device {}", word(arguments.device.to_possible_value()));
    }
    command
}

fn announce(report: &Report, out: &Path) -> Result<()> {
    let mut text: String = report.summary().iter().map(|line| format!("{line}\n")).collect();
    let (seconds, index) = (report.provenance.seconds, out.join("index.html"));
    text += &format!("{seconds:.0} s; report: {}\n", index.display());
    say(&text)
}
