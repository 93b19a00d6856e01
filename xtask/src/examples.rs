//! Runs the example programs of every crate: each ends with an assertion and prints a line.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cargo;

/// Builds them all, then runs one after another; the first that fails is an error.
///
/// They are built together, as `cargo test` builds them: one package at a time has features of its own, for which the
/// crates below would be compiled anew.
#[expect(clippy::print_stdout, reason = "the progress of the command")]
pub(crate) fn run(root: &Path) -> Result<ExitCode> {
    let mut command = cargo();
    command.current_dir(root).args(["build", "--workspace", "--examples"]);
    command
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(std::process::Stdio::inherit());
    let built = command.output().with_context(|| format!("starting {command:?}"))?;
    if !built.status.success() {
        bail!("{command:?} ended with {}", built.status);
    }
    let programs = programs(&String::from_utf8_lossy(&built.stdout));
    let n_files = n_files(&root.join("crates"))?;
    if programs.len() != n_files {
        bail!("expected a program of each of {n_files} examples, found {}", programs.len());
    }
    for program in programs {
        let name = Path::new(&program).file_stem().unwrap_or_default();
        println!("{}:", name.display());
        crate::run(Command::new(&program).current_dir(root))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Paths of the examples among cargo's messages, one a line, sorted.
fn programs(messages: &str) -> Vec<String> {
    let path = |line: &str| -> Option<String> {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_example = message["target"]["kind"][0] == "example";
        is_example.then(|| message["executable"].as_str().map(str::to_owned))?
    };
    let mut found: Vec<String> = messages.lines().filter_map(path).collect();
    found.sort();
    found
}

/// How many files there are in the folders of examples.
fn n_files(crates: &Path) -> Result<usize> {
    let mut n = 0;
    for folder in std::fs::read_dir(crates).with_context(|| crates.display().to_string())? {
        let Ok(examples) = std::fs::read_dir(folder?.path().join("examples")) else { continue };
        for example in examples {
            n += usize::from(example?.path().extension().is_some_and(|e| e == "rs"));
        }
    }
    Ok(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_has_an_example() -> Result<()> {
        for folder in std::fs::read_dir(crate::root().join("crates"))? {
            let path = folder?.path();
            assert!(!path.is_dir() || path.join("examples").is_dir(), "{}", path.display());
        }
        Ok(())
    }

    #[test]
    fn programs_are_read_from_cargos_messages() {
        let line = |kind: &str, path: &str| {
            format!("{{\"target\":{{\"kind\":[\"{kind}\"]}},\"executable\":\"{path}\"}}\n")
        };
        let messages = line("example", "/t/b") + &line("bin", "/t/c") + &line("example", "/t/a");
        assert_eq!(programs(&messages), ["/t/a", "/t/b"]);
        assert!(programs(&line("example", "/t/a").replace("\"/t/a\"", "null")).is_empty());
    }
}
