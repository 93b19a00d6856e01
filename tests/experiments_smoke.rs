//! The library behind the command: one seed of the synthetic experiment, as a program that depends on the crate runs it.

use std::collections::BTreeMap;
use std::error::Error;

use candle_core::Device;
use cli::experiments::{ALL, Plan, Ran, Session, run};
use cli::ledger::{Part, Scale, Store};

type TestResult = Result<(), Box<dyn Error>>;

#[test]
fn the_synthetic_experiment_runs_from_a_library() -> TestResult {
    let folder = tempfile::tempdir()?;
    let session = Session::new(Scale::Smoke, Device::Cpu, BTreeMap::new());
    let experiment = *ALL.iter().find(|e| e.id == "synthetic-classes").ok_or("absent")?;
    let plan =
        Plan { experiments: vec![experiment], n_seeds: Some(1), n_jobs: 1, is_fail_fast: false };
    let store = Store::new(folder.path().to_path_buf(), "this program".into(), true);
    let Ran { ledger, failures, .. } = run(&plan, &session, &store)?;
    assert!(failures.is_empty(), "{}", failures[0]);

    // Five epochs already lead below log 3, the cross-entropy of knowing nothing.
    let row = &ledger[&(0, Part::Seed(0))].outcome.numbers.rows["classes/none"];
    let curve = &row["cross_entropy"][0].0;
    assert_eq!(curve.len(), 5);
    assert!(curve[4] < curve[0], "{curve:?}");
    // The generator's own quality, known from the published data: 0.4005 and 0.833.
    let truth = &ledger[&(0, Part::Shared)].outcome.numbers.rows["classes/truth"];
    assert!((truth["cross_entropy"][0].0[0] - 0.4005).abs() < 5e-5);
    assert!((truth["accuracy"][0].0[0] - 0.833).abs() < 5e-4);
    Ok(())
}

#[test]
fn an_interrupted_session_finishes_nothing_and_says_nothing_false() -> TestResult {
    let folder = tempfile::tempdir()?;
    let session = Session::new(Scale::Smoke, Device::Cpu, BTreeMap::new());
    session.interrupt(130);
    let experiments = vec![ALL[3]];
    let plan = Plan { experiments, n_seeds: Some(2), n_jobs: 2, is_fail_fast: false };
    let store = Store::new(folder.path().to_path_buf(), "this program".into(), false);
    let ran = run(&plan, &session, &store)?;
    assert!(ran.ledger.is_empty() && ran.failures.is_empty() && ran.n_kept == 0);
    Ok(())
}
