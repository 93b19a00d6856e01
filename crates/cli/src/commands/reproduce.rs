//! `distill reproduce`: experiments, claims, report.

mod ending;
mod listener;
mod load;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::json;

use self::ending::Ending;
use self::listener::Listener;
use self::load::{load, open};
use super::UsageError;
use crate::experiments::{ALL, Experiment, Ledger, Plan, Ran, run as run_plan};
use crate::files::{check_folder as check_apart, n_cores, note, say};
use crate::ledger::{Description, Part, Provenance, Scale, Start, Store, folder_in, program_sum};
use crate::report::{self, Docs, Report};

/// Former names of experiments, which `--only` still takes, and those of today.
const FORMER_IDS: [(&str, &str); 3] = [
    ("metaparameters", "hyperparameters"),
    ("choice", "grid-search"),
    ("bayes-orders", "bayes-ranking"),
];

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
    /// Threads; each runs one seed, and no more are started than there are runs. Default: one a core.
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
    /// Folder of the report and of finished runs. Files that an earlier report left there are removed, unless they were changed.
    #[arg(long, value_name = "DIR", default_value = "target/reproduce/latest")]
    out: PathBuf,
    /// Put a line for each claim between the result marks of this file, and a page for each experiment into docs/results
    /// beside it; those of experiments that are not run stay, and all of them where the report is partial.
    #[arg(long, value_name = "FILE")]
    readme: Option<PathBuf>,
    /// Redo runs that were finished before.
    #[arg(long)]
    fresh: bool,
    /// Stop at the first run that fails; without this the others go on.
    #[arg(long)]
    fail_fast: bool,
    /// List experiments and claims, run nothing.
    #[arg(long)]
    list: bool,
    /// Print the report as one JSON object, the same as results.json, instead of text; with --list experiments and claims.
    #[arg(long)]
    json: bool,
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
        say(&if arguments.json { listed_json(&experiments) } else { listed(&experiments) })?;
        return Ok(ExitCode::SUCCESS);
    }
    check(arguments, &experiments)?;
    let listener = Listener::start()?;
    let device = open(arguments.device)?;
    let session = Arc::new(load(arguments, &experiments, device)?);

    let plan = Plan {
        experiments,
        n_seeds: arguments.seeds.map(|n| n as usize),
        n_jobs: arguments.jobs.map_or_else(n_cores, |n| n as usize),
        is_fail_fast: arguments.fail_fast,
    };
    let store = Store::new(folder_in(&arguments.out), program_sum()?, arguments.fresh);
    listener.runs_begin(&session);
    let Ran { ledger, failures, n_parts, n_kept } = run_plan(&plan, &session, &store)?;
    listener.runs_are_over();

    let (n_done, interruption) = (ledger.len(), session.interruption());
    let ending = Ending { failures, n_parts, n_done, n_kept, interruption };
    let seeds = seeds(&ledger);
    let provenance = Provenance::new(&start, canonical(arguments), seeds, session.data_sums());
    let runs = plan.by_experiment(ledger, &session)?;
    let report = Report::new(runs, session.scale, provenance, ending.reason());
    let reported = report.and_then(|report| tell(&report, arguments, &ending));
    // Both are told: what happened to the runs, and to their report.
    ending.tell(&arguments.out, arguments.fresh);
    reported?;
    // The wish to stop may have come while the report was written.
    Ok(ExitCode::from(ending.status(session.interruption())))
}

/// What would only be found after the runs.
fn check(arguments: &Arguments, experiments: &[&'static Experiment]) -> Result<()> {
    let Arguments { out, readme, .. } = arguments;
    if let Some(readme) = readme {
        let docs = Docs::of(readme);
        let described = descriptions(experiments);
        check_apart(out, &report::PAGES, &docs.inputs(&described)).map_err(UsageError)?;
        docs.check(&described)?;
    }
    report::check_folder(out).context("--out: wanted a folder to write to")
}

/// Seeds of finished runs, over all experiments.
fn seeds(ledger: &Ledger) -> Vec<u64> {
    let seed = |part: &Part| match part {
        Part::Seed(seed) => Some(*seed),
        Part::Shared | Part::Source => None,
    };
    let seeds: BTreeSet<u64> = ledger.keys().filter_map(|(_, part)| seed(part)).collect();
    seeds.into_iter().collect()
}

/// Writes the report and says what it found.
fn tell(report: &Report, arguments: &Arguments, ending: &Ending) -> Result<()> {
    report.write(&arguments.out)?;
    match &arguments.readme {
        Some(path) if ending.is_whole() => Docs::of(path).update(report, &descriptions(&ALL))?,
        Some(path) => note(&format!(
            "{}: left as it is, with its pages, as this report is partial",
            path.display()
        )),
        None => {}
    }
    if arguments.json {
        return say(&report.json()?);
    }
    let mut text: String = report.summary().iter().map(|line| format!("{line}\n")).collect();
    let (seconds, index) = (report.provenance.seconds, arguments.out.join("index.html"));
    text += &format!("{seconds:.0} s; report: {}\n", index.display());
    say(&text)
}

/// What a report shows of experiments.
fn descriptions(experiments: &[&Experiment]) -> Vec<Description> {
    experiments.iter().map(|experiment| experiment.description()).collect()
}

/// The experiments that were named, in the report's order; all of them if none was.
fn chosen(only: &[String]) -> Result<Vec<&'static Experiment>> {
    let known: Vec<&str> = ALL.iter().map(|e| e.id).collect();
    let only: Vec<&str> = only.iter().map(|id| present(id)).collect();
    if let Some(id) = only.iter().find(|id| !known.contains(id)) {
        let known = known.join(", ");
        return Err(UsageError(format!("--only: wanted one of {known}, found {id}")).into());
    }
    let is_chosen = |e: &&&Experiment| only.is_empty() || only.contains(&e.id);
    Ok(ALL.iter().filter(is_chosen).copied().collect())
}

/// The name of an experiment that may be given by one it had before.
fn present(id: &str) -> &str {
    FORMER_IDS.iter().find(|(former, _)| *former == id).map_or(id, |(_, now)| now)
}

/// Experiments and their claims.
fn listed(experiments: &[&Experiment]) -> String {
    let mut text = String::new();
    for experiment in experiments {
        let Experiment { id, title, .. } = experiment;
        text += &format!("{id} ({}): {title}\n", experiment.description().origin());
        for claim in experiment.claims {
            text += &format!("    {:4} {}\n", claim.id, claim.text);
        }
    }
    text
}

/// The same as one object.
fn listed_json(experiments: &[&Experiment]) -> String {
    let of = |experiment: &&Experiment| {
        let claims = experiment.claims.iter();
        let claims = claims.map(|claim| json!({ "id": claim.id, "text": claim.text }));
        json!({
            "id": experiment.id,
            "origin": experiment.description().origin(),
            "title": experiment.title,
            "claims": claims.collect::<Vec<_>>(),
        })
    };
    let experiments: Vec<_> = experiments.iter().map(of).collect();
    format!("{}\n", json!({ "experiments": experiments }))
}

/// The command that gives the same numbers, without what cannot change them.
fn canonical(arguments: &Arguments) -> String {
    let mut command = format!("cargo xtask reproduce --scale {}", arguments.scale.word());
    if !arguments.only.is_empty() {
        command += &format!(
            " --only {}",
            arguments.only.iter().map(|id| present(id)).collect::<Vec<_>>().join(" ")
        );
    }
    if let Some(n) = arguments.seeds {
        command += &format!(" --seeds {n}");
    }
    match arguments.device {
        DeviceKind::Cpu => {}
        DeviceKind::Cuda => command += " --device cuda",
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn former_names_lead_to_the_experiments_of_today() {
        for (former, now) in FORMER_IDS {
            assert!(ALL.iter().all(|experiment| experiment.id != former));
            let found = chosen(&[former.to_owned()]).unwrap();
            assert!(found.len() == 1 && found[0].id == now, "{former}");
        }
        assert!(chosen(&["nonsense".to_owned()]).is_err());
    }
}
