//! Arms that should differ in one thing alone do: experiments on the same examples share starts, batches and teachers.

use std::error::Error;
use std::process::Command;

type TestResult = Result<(), Box<dyn Error>>;

/// The first or last value of the cross-entropy of a row, by seed.
fn values(results: &serde_json::Value, row: &str, is_last: bool) -> Vec<Option<f64>> {
    let experiments = results["experiments"].as_array().into_iter().flatten();
    let mut rows = experiments.flat_map(|e| e["rows"].as_array().into_iter().flatten());
    let runs =
        rows.find(|found| found["id"] == row).map(|found| &found["metrics"]["cross_entropy"]);
    let runs = runs.and_then(|runs| runs.as_array()).into_iter().flatten();
    let value = |run: &serde_json::Value| {
        let curve = run.as_array()?;
        if is_last { curve.last()?.as_f64() } else { curve.first()?.as_f64() }
    };
    runs.map(value).collect()
}

#[test]
fn students_of_the_same_examples_start_alike_and_see_the_same_batches() -> TestResult {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let output = Command::new(env!("CARGO_BIN_EXE_distill"))
        .args(["reproduce", "--only", "domains-given", "knowledge", "known-share"])
        .args(["--scale", "smoke", "--out"])
        .arg(&out)
        .arg("--cache")
        .arg(folder.path().join("cache"))
        .env_remove("DISTILL_DATA")
        .envs(["HTTPS_PROXY", "https_proxy", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:1")))
        .output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results = serde_json::from_str(&std::fs::read_to_string(out.join("results.json"))?)?;
    let alone = values(&results, "given/none/independent", true);
    assert!(alone.len() == 2 && alone.iter().all(Option::is_some), "{alone:?}");
    assert_ne!(alone[0], alone[1]);
    assert_eq!(values(&results, "knowledge/none", true), alone);
    assert_eq!(values(&results, "share/none", true), alone);
    // Nobody known is no teacher, in either loss.
    assert_eq!(values(&results, "share/likelihood", false), alone);
    let taught = values(&results, "given/big/independent", true);
    assert_ne!(taught, alone);
    assert_eq!(values(&results, "knowledge/teacher", true), taught);
    assert_eq!(values(&results, "share/sum", true), taught);
    Ok(())
}
