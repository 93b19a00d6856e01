//! The invariants of crates/README.md that concern who may know whom, and who may touch the world.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

type TestResult = Result<(), Box<dyn Error>>;

/// Crate, workspace crates it may use.
const EDGES: [(&str, &[&str]); 7] = [
    ("core-tensors", &[]),
    ("models", &["core-tensors"]),
    ("losses", &["core-tensors"]),
    ("bayes-posterior", &["core-tensors", "models", "losses"]),
    ("domain-adapt", &["core-tensors", "models", "losses"]),
    ("cli", &["core-tensors", "models", "losses", "bayes-posterior", "domain-adapt"]),
    ("xtask", &[]),
];

/// What a library must not contain: files, network, processes, clock, printing.
const WORLD: [&str; 10] = [
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::time",
    "println!",
    "print!(",
    "eprintln!",
    "eprint!(",
    "static mut",
];

/// Libraries that are pure.
const LIBRARIES: [&str; 5] =
    ["core-tensors", "models", "losses", "bayes-posterior", "domain-adapt"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder(name: &str) -> PathBuf {
    if name == "xtask" { root().join(name) } else { root().join("crates").join(name) }
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

#[test]
fn edges_between_crates_are_as_drawn() -> TestResult {
    let allowed: BTreeMap<_, _> = EDGES.into();
    let mut folders = vec!["xtask".to_owned()];
    for entry in std::fs::read_dir(root().join("crates"))? {
        let entry = entry?;
        if entry.path().is_dir() {
            folders.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    for name in folders {
        let edges =
            allowed.get(name.as_str()).ok_or(format!("crate {name} is not in the table"))?;
        let manifest: toml::Table =
            std::fs::read_to_string(folder(&name).join("Cargo.toml"))?.parse()?;
        let Some(dependencies) = manifest.get("dependencies").and_then(|d| d.as_table()) else {
            continue;
        };
        for dependency in dependencies.keys().filter(|d| allowed.contains_key(d.as_str())) {
            assert!(edges.contains(&dependency.as_str()), "{name} must not use {dependency}");
        }
    }
    Ok(())
}

#[test]
fn libraries_touch_nothing_outside() -> TestResult {
    for name in LIBRARIES {
        for path in sources(&folder(name).join("src"))? {
            let text = std::fs::read_to_string(&path)?;
            for word in WORLD {
                assert!(!text.contains(word), "{} contains {word}", path.display());
            }
        }
    }
    Ok(())
}

#[test]
fn xtask_knows_no_tensor() -> TestResult {
    let manifest = std::fs::read_to_string(folder("xtask").join("Cargo.toml"))?;
    assert!(!manifest.contains("candle") && !manifest.contains("faer"));
    Ok(())
}

#[test]
fn every_public_name_of_a_library_is_documented() -> TestResult {
    // `missing_docs = "deny"` reaches a crate only through its own [lints] table.
    for (name, _) in EDGES {
        let manifest: toml::Table =
            std::fs::read_to_string(folder(name).join("Cargo.toml"))?.parse()?;
        let is_inherited = manifest.get("lints").and_then(|l| l.get("workspace")?.as_bool());
        assert_eq!(is_inherited, Some(true), "{name}");
    }
    Ok(())
}
