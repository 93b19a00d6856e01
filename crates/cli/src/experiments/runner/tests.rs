//! One part's end does not decide the others', and what was damaged on disk is done again.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::bail;
use candle_core::{Device, Tensor};

use super::*;
use crate::experiments::Parts;
use crate::ledger::Scale;
use crate::ledger::{FiniteOrNull, Point};

/// An experiment with a shared part and two seeds.
pub(super) const TOY: Experiment = Experiment {
    id: "toy",
    title: "Toy",
    source: "",
    summary: "",
    data: &[],
    settings: |_| Ok(serde_json::Value::Null),
    parts: Parts::USUAL.and(&[Part::Shared]),
    run: toy,
    rows: &[],
    claims: &[],
    point: Point::Epoch,
    figures: &[],
};

/// A metric with a value that was not finite when it was computed; the shared part has tensors too.
fn toy(task: &Task) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let curve = vec![0.1, f64::NAN, task.part.seed() as f64];
    outcome.add("row", BTreeMap::from([("metric".to_owned(), curve)]));
    if task.part == Part::Shared {
        let x = Tensor::new(&[[0.5f32, -1.0], [2.0, 3.0]], &Device::Cpu)?;
        outcome.tensors = BTreeMap::from([("x".to_owned(), x)]);
    }
    Ok(outcome)
}

pub(super) fn session() -> Session {
    Session::new(Scale::Smoke, Device::Cpu, BTreeMap::new())
}

fn plan(experiments: &[&'static Experiment], n_jobs: usize) -> Plan {
    Plan { experiments: experiments.to_vec(), n_seeds: Some(4), n_jobs, is_fail_fast: false }
}

fn store(folder: &Path) -> Store {
    Store::new(folder.to_owned(), "this program".into(), false)
}

static TOYS: Experiment = TOY;
/// Seed 1 fails, seed 2 panics.
static FAILING: Experiment = Experiment { id: "failing", parts: Parts::USUAL, run: failing, ..TOY };
/// Its shared part fails.
static LAME: Experiment = Experiment { id: "lame", run: lame, ..TOY };
/// Its shared part holds a number that is not finite.
static DIVERGED: Experiment = Experiment { id: "diverged", run: diverged, ..TOY };

fn failing(task: &Task) -> Result<Outcome> {
    match task.part {
        Part::Seed(1) => bail!("no such data"),
        Part::Seed(2) => panic!("index 3 of 2"),
        _ => toy(task),
    }
}

fn lame(task: &Task) -> Result<Outcome> {
    match task.part {
        Part::Shared => bail!("no teacher"),
        _ => toy(task),
    }
}

fn diverged(task: &Task) -> Result<Outcome> {
    let mut outcome = toy(task)?;
    if task.part == Part::Shared {
        outcome.tensors.insert("x".into(), Tensor::new(&[f32::NAN], &Device::Cpu)?);
    }
    Ok(outcome)
}

#[test]
fn an_error_or_a_panic_ends_its_run_alone() {
    for n_jobs in [1, 2, 1000] {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(&[&FAILING, &LAME, &TOYS], n_jobs);
        let ran = run(&plan, &session(), &store(folder.path())).unwrap();
        let found: Vec<_> = ran.ledger.keys().copied().collect();
        let seed = Part::Seed;
        let toys = [Part::Shared, seed(0), seed(1), seed(2), seed(3)].map(|part| (2, part));
        assert_eq!(found, [&[(0, seed(0)), (0, seed(3))][..], &toys].concat());
        assert_eq!((ran.n_parts, ran.n_kept), (14, 7));
        let mut told: Vec<_> = ran.failures.iter().map(ToString::to_string).collect();
        told.sort_unstable();
        let wanted = [
            "failing seed-1: no such data",
            "failing seed-2: the run panicked: index 3 of 2",
            "lame shared: no teacher (4 runs that need it were skipped)",
        ];
        assert_eq!(told, wanted);
    }
}

#[test]
fn the_first_error_stops_the_others_where_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan { is_fail_fast: true, ..plan(&[&LAME, &TOYS], 1) };
    let session = session();
    let ran = run(&plan, &session, &store(folder.path())).unwrap();
    assert!(ran.ledger.is_empty() && ran.failures.len() == 1 && ran.n_parts == 10);
    assert_eq!(session.interruption(), FAILED);
}

#[test]
fn what_cannot_be_kept_counts_and_is_run_again() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let ran = run(&plan(&[&DIVERGED], 1), &session(), &store(folder.path())).unwrap();
        assert!(ran.failures.is_empty());
        assert_eq!((ran.ledger.len(), ran.n_parts, ran.n_kept), (5, 5, 4));
    }
}

#[test]
fn a_damaged_run_alone_is_done_again() {
    static N_RUN: AtomicUsize = AtomicUsize::new(0);
    static COUNTED: Experiment = Experiment {
        id: "counted",
        run: |task| {
            N_RUN.fetch_add(1, Ordering::Relaxed);
            toy(task)
        },
        ..TOY
    };
    let folder = tempfile::tempdir().unwrap();
    let run = || {
        let before = N_RUN.load(Ordering::Relaxed);
        let ran = run(&plan(&[&COUNTED], 2), &session(), &store(folder.path())).unwrap();
        assert!(ran.failures.is_empty() && ran.ledger.len() == 5);
        let curves = |f: &Finished| f.outcome.numbers.rows["row"]["metric"][0].clone();
        let curves: Vec<FiniteOrNull> = ran.ledger.values().map(curves).collect();
        (format!("{curves:?}"), N_RUN.load(Ordering::Relaxed) - before)
    };
    let (wanted, n_run) = run();
    assert_eq!(n_run, 5);
    assert_eq!(run(), (wanted.clone(), 0));
    let files: Vec<_> = std::fs::read_dir(folder.path().join("counted")).unwrap().collect();
    assert_eq!(files.len(), 6);
    for file in files {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(run(), (wanted.clone(), 1), "{}", path.display());
        assert_eq!(run(), (wanted.clone(), 0), "{}", path.display());
    }
}
