//! Runs the example programs of every crate: each ends with an assertion and prints a line.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::cargo;

/// Builds them all, then runs one after another; the first that fails is an error.
#[expect(clippy::print_stdout, reason = "the progress of the command")]
pub(crate) fn run(root: &Path) -> Result<ExitCode> {
    for (package, name) in found(&root.join("crates"))? {
        println!("{package}: {name}");
        let mut command = cargo();
        command.current_dir(root).args([
            "run",
            "--quiet",
            "--package",
            &package,
            "--example",
            &name,
        ]);
        crate::run(&mut command)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Package and name of every example, sorted.
fn found(crates: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for folder in std::fs::read_dir(crates).with_context(|| crates.display().to_string())? {
        let folder = folder?;
        let Ok(examples) = std::fs::read_dir(folder.path().join("examples")) else { continue };
        for example in examples {
            let path = example?.path();
            if path.extension().is_some_and(|extension| extension == "rs")
                && let Some(name) = path.file_stem()
            {
                let package = folder.file_name().to_string_lossy().into_owned();
                found.push((package, name.to_string_lossy().into_owned()));
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_has_an_example() -> Result<()> {
        let crates = crate::root().join("crates");
        let found = found(&crates)?;
        for folder in std::fs::read_dir(&crates)? {
            let folder = folder?;
            if folder.path().is_dir() {
                let name = folder.file_name().to_string_lossy().into_owned();
                assert!(found.iter().any(|(package, _)| *package == name), "{name}");
            }
        }
        Ok(())
    }
}
