//! Everything about the code that can be checked without training: cheapest first.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::cargo;

/// Longest file, its tests included.
const MOST_LINES: usize = 450;

/// Formatting, files, lints, documentation, layers.
#[expect(clippy::print_stdout, reason = "the progress of the command")]
pub(crate) fn run(root: &Path) -> Result<ExitCode> {
    let in_root = |arguments: &[&str]| {
        let mut command = cargo();
        command.current_dir(root).args(arguments);
        command
    };
    println!("tidy: format");
    crate::run(&mut in_root(&["fmt", "--all", "--check"]))?;
    println!("tidy: files");
    files(root)?;
    println!("tidy: lints");
    let lints = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    crate::run(&mut in_root(&lints))?;
    println!("tidy: documentation");
    let mut documentation = in_root(&["doc", "--workspace", "--no-deps", "--quiet"]);
    crate::run(documentation.env("RUSTDOCFLAGS", "-D warnings"))?;
    println!("tidy: layers");
    crate::run(&mut in_root(&[
        "test",
        "--quiet",
        "--package",
        "distillation",
        "--test",
        "layers",
    ]))?;
    Ok(ExitCode::SUCCESS)
}

/// Every source file says in its first line what it is, and none is too long.
fn files(root: &Path) -> Result<()> {
    let mut faults = Vec::new();
    for folder in ["crates", "xtask", "tests", "benches"] {
        for path in sources(&root.join(folder))? {
            let text =
                std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let name = path.strip_prefix(root).unwrap_or(&path).display();
            let n_lines = text.lines().count();
            if n_lines > MOST_LINES {
                faults.push(format!("{name}: wanted at most {MOST_LINES} lines, found {n_lines}"));
            }
            if !text.starts_with("//! ") {
                faults.push(format!("{name}: wanted a first line `//! what the file is`"));
            }
        }
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
