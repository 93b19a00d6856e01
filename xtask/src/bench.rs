//! Benches, and the comparison of training steps with a reference script's times.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{Usage, cargo, run as run_command};

/// `cargo xtask bench [--reference FILE] [arguments of cargo bench]`.
///
/// FILE holds one JSON object a line, {"id": …, "ms": …}; several lines of one id count as their minimum.
#[expect(clippy::print_stdout, reason = "the answer of the command")]
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<ExitCode> {
    let mut rest = arguments.to_vec();
    let reference = match rest.iter().position(|argument| argument == "--reference") {
        Some(index) if index + 1 < rest.len() => {
            let path = rest.remove(index + 1);
            rest.remove(index);
            Some(read_reference(Path::new(&path))?)
        }
        Some(_) => return Err(Usage("--reference: wanted a file, found nothing".into()).into()),
        None => None,
    };
    run_command(cargo().current_dir(root).arg("bench").args(&rest))?;
    let Some(reference) = reference else { return Ok(ExitCode::SUCCESS) };
    println!("{:24} {:>12} {:>14} {:>8}", "id", "ours, ms", "reference, ms", "ratio");
    for (id, theirs) in reference {
        if let Some(ours) = median_ms(root, &id)? {
            println!("{id:24} {ours:12.4} {theirs:14.4} {:8.2}", ours / theirs);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read_reference(path: &Path) -> Result<Vec<(String, f64)>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut times: Vec<(String, f64)> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let value: Value = serde_json::from_str(line)
            .with_context(|| format!("{}: wanted JSON lines", path.display()))?;
        let (Some(id), Some(ms)) = (value["id"].as_str(), value["ms"].as_f64()) else {
            bail!("{}: wanted \"id\" and \"ms\", found {line}", path.display());
        };
        match times.iter_mut().find(|(known, _)| known == id) {
            Some((_, least)) => *least = least.min(ms),
            None => times.push((id.to_owned(), ms)),
        }
    }
    Ok(times)
}

/// Criterion's median of the last run of `training_step/<id>`, if it was run.
fn median_ms(root: &Path, id: &str) -> Result<Option<f64>> {
    let folder = format!("target/criterion/training_step_{id}");
    let path = root.join(folder).join("new/estimates.json");
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let value: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(value["median"]["point_estimate"].as_f64().map(|nanoseconds| nanoseconds / 1e6))
}
