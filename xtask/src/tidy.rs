//! Everything about the code that can be checked without training: cheapest first.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::cargo;

/// Longest file, its tests included.
const MOST_LINES: usize = 450;
/// Longest README: bytes and lines.
const MOST_OF_README: (usize, usize) = (16 * 1024, 250);

/// Formatting, files, links, lints, documentation, layers.
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
    println!("tidy: links");
    links(root)?;
    println!("tidy: lints");
    let lints = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    crate::run(&mut in_root(&lints))?;
    println!("tidy: documentation");
    let mut documentation = in_root(&["doc", "--workspace", "--no-deps", "--quiet"]);
    crate::run(documentation.env("RUSTDOCFLAGS", "-D warnings"))?;
    println!("tidy: layers and rooms");
    for (package, test) in [("distillation", "layers"), ("cli", "rooms")] {
        crate::run(&mut in_root(&["test", "--quiet", "--package", package, "--test", test]))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Every source file says in its first line what it is, and none is too long.
fn files(root: &Path) -> Result<()> {
    let mut faults = Vec::new();
    for folder in ["crates", "xtask", "tests", "benches"] {
        for path in found_in(&root.join(folder), "rs")? {
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

/// Every link to a file, in the documents that a reader begins with, leads to one; and the first of them is short.
fn links(root: &Path) -> Result<()> {
    let mut documents = vec![root.join("README.md")];
    documents.extend(found_in(&root.join("docs"), "md")?);
    let below = found_in(&root.join("crates"), "md")?;
    documents.extend(below.into_iter().filter(|path| path.ends_with("README.md")));
    let mut faults = Vec::new();
    for path in documents {
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let name = path.strip_prefix(root).unwrap_or(&path).display();
        let folder = path.parent().unwrap_or(root);
        for (line, target) in targets(&text) {
            if !folder.join(target).exists() {
                faults.push(format!("{name}:{line}: wanted a link to a file, found `{target}`"));
            }
        }
    }
    let readme = std::fs::read_to_string(root.join("README.md")).context("README.md")?;
    let (most_bytes, most_lines) = MOST_OF_README;
    let (n_bytes, n_lines) = (readme.len(), readme.lines().count());
    if n_bytes > most_bytes || n_lines > most_lines {
        faults.push(format!(
            "README.md: wanted at most {most_bytes} bytes in {most_lines} lines, found {n_bytes} in {n_lines}; \
             details belong into docs/"
        ));
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

/// Relative targets of the inline links of a Markdown text, without their fragments, and the line of each from 1.
///
/// Fenced blocks and code between single backticks hold none.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut is_fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        }
        if is_fenced {
            continue;
        }
        // Between the first backtick and the second lies code, and so on; `](` never spans it.
        for piece in line.split('`').step_by(2) {
            let ends = piece.match_indices("](").map(|(at, mark)| &piece[at + mark.len()..]);
            for rest in ends {
                let target = rest.split([')', ' ']).next().unwrap_or(rest);
                let path = target.split('#').next().unwrap_or(target);
                if !path.is_empty() && !path.contains("://") && !path.starts_with("mailto:") {
                    found.push((index + 1, path));
                }
            }
        }
    }
    found
}

/// Files below a folder with an extension, in order.
fn found_in(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(found_in(&path, extension)?);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_links_are_found_outside_of_code() {
        let text = "[a](docs/a.md#part) and ![b](b.svg \"b\")\n`[c](c.md)` [`d`](../d.md)\n\
                    ```\n[e](e.md)\n```\n| [C1](f.md) | [g](https://g.org/g.md) | [h](#part) |";
        let found = [(1, "docs/a.md"), (1, "b.svg"), (2, "../d.md"), (6, "f.md")];
        assert_eq!(targets(text), found);
    }

    #[test]
    fn the_documents_of_this_workspace_have_no_broken_links() {
        links(&crate::root()).unwrap();
    }
}
