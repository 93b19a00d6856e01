//! The invariants of crates/README.md that concern who may know whom, and who may touch the world.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use walk::{Kind, Mention, crate_sources};

mod walk;

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

/// What a library must not name: files, network, processes, clock, standard input and output.
const WORLD: [&[&str]; 12] = [
    &["std", "fs"],
    &["std", "net"],
    &["std", "os"],
    &["std", "process"],
    &["std", "env"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["std", "io", "stdin"],
    &["std", "io", "stdout"],
    &["std", "io", "stderr"],
    // Behind a glob anything of the above could stand.
    &["std", "*"],
    &["std", "time", "*"],
];

/// Macros that print, or that keep a state of the thread.
const MACROS: [&str; 6] = ["print", "println", "eprint", "eprintln", "dbg", "thread_local"];

/// Libraries that are pure.
const LIBRARIES: [&str; 5] =
    ["core-tensors", "models", "losses", "bayes-posterior", "domain-adapt"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder(name: &str) -> PathBuf {
    if name == "xtask" { root().join(name) } else { root().join("crates").join(name) }
}

fn manifest(name: &str) -> Result<toml::Table, Box<dyn Error>> {
    Ok(std::fs::read_to_string(folder(name).join("Cargo.toml"))?.parse()?)
}

/// Dependencies of a manifest's table of what is compiled into the crate: of all machines, of builds, of one target.
fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let of = |table: &toml::Table| -> Vec<String> {
        let tables = ["dependencies", "build-dependencies"].into_iter();
        let tables = tables.filter_map(|name| table.get(name)?.as_table());
        tables.flat_map(|table| table.keys().cloned()).collect()
    };
    let targets = manifest.get("target").and_then(|t| t.as_table());
    let targets = targets.into_iter().flat_map(toml::Table::values);
    let of_targets = targets.filter_map(|t| t.as_table()).flat_map(of);
    of(manifest).into_iter().chain(of_targets).collect()
}

/// Why a library must not mention this, or nothing.
fn objection(mention: &Mention) -> Option<&'static str> {
    let is_macro = |name: &&str| mention.segments.last().is_some_and(|last| last == name);
    match mention.kind {
        _ if mention.is_test => None,
        Kind::StaticMut => Some("is a static that changes"),
        Kind::Macro if MACROS.iter().any(is_macro) => Some("prints or keeps a state"),
        _ if WORLD.iter().any(|path| mention.starts_with(path)) => Some("touches the world"),
        _ => None,
    }
}

#[test]
fn edges_between_crates_are_as_drawn() -> TestResult {
    let allowed: BTreeMap<_, _> = EDGES.into();
    let mut names = vec!["xtask".to_owned()];
    for entry in std::fs::read_dir(root().join("crates"))? {
        let entry = entry?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    for name in names {
        let edges =
            allowed.get(name.as_str()).ok_or(format!("crate {name} is not in the table"))?;
        let is_forbidden =
            |used: &str| used != name && allowed.contains_key(used) && !edges.contains(&used);
        for dependency in dependencies(&manifest(&name)?) {
            assert!(!is_forbidden(&dependency), "{name} must not depend on {dependency}");
        }
        for source in crate_sources(&folder(&name).join("src"))? {
            for mention in source.mentions.iter().filter(|mention| !mention.is_test) {
                let used = mention.crate_name().unwrap_or_default().replace('_', "-");
                let (path, line) = (source.path.display(), mention.line);
                assert!(!is_forbidden(&used), "{path}:{line}: {name} must not use {used}");
            }
        }
    }
    Ok(())
}

#[test]
fn libraries_touch_nothing_outside() -> TestResult {
    for name in LIBRARIES {
        for source in crate_sources(&folder(name).join("src"))? {
            for mention in &source.mentions {
                let (path, line) = (source.path.display(), mention.line);
                let found = objection(mention);
                let what = mention.segments.join("::");
                assert!(found.is_none(), "{path}:{line}: {what} {}", found.unwrap_or_default());
            }
        }
    }
    Ok(())
}

#[test]
fn no_disguise_hides_what_touches_the_world() -> TestResult {
    let disguises = [
        "fn f() { std::fs::read(\"x\"); }",
        "use std::{fs as files, io};",
        "use std::{fs, io};",
        "use std as s; fn f() { s::process::exit(0) }",
        "extern crate std as s; fn f() { s::net::TcpStream::connect(\"x\"); }",
        "use std::time; fn f() -> time::Instant { todo!() }",
        "use std::time::{self as clock}; type T = Vec<clock::SystemTime>;",
        "fn f() { assert!(::std::env::var(\"x\").is_ok()); }",
        "use std as s; fn f() { vec![1, s::fs::read(\"x\").len()]; }",
        "macro_rules! m { () => { use std::{fs, io}; }; }",
        "use std::*;",
        "fn f() { use std::io; io::stdout(); }",
        "fn f() { println!(); }",
        "fn f() { vec![std::eprintln!(\"x\")]; }",
        "static mut COUNT: u32 = 0;",
        "macro_rules! m { () => { static mut COUNT: u32 = 0; }; }",
        "mod inner { use super::x; fn f() { std::process::id(); } }",
        "#[cfg(any(test, feature = \"x\"))] fn f() { std::process::id(); }",
        "#[cfg(not(test))] fn f() { std::process::id(); }",
    ];
    for text in disguises {
        let found = walk::mentions(text, &[])?;
        assert!(found.iter().any(|mention| objection(mention).is_some()), "{text}: {found:?}");
    }
    let harmless = [
        "use std::time::Duration; fn f() -> std::io::Result<()> { Ok(()) }",
        "/// Calls std::fs::read and println!(\"x\").\nfn f() { let s = \"std::fs\"; }",
        "#[cfg(test)] mod tests { use std::fs; fn f() { println!(\"x\"); } }",
        "#[cfg(all(test, unix))] fn f() { std::process::id(); }",
        "mod fs {} use self::fs::x; fn f() { fs::read() }",
    ];
    for text in harmless {
        let found = walk::mentions(text, &[])?;
        assert!(found.iter().all(|mention| objection(mention).is_none()), "{text}: {found:?}");
    }
    Ok(())
}

#[test]
fn paths_come_flat_resolved_and_with_their_line() -> TestResult {
    let text = "use crate::b::{self, c::D as E};\nfn f() { E::new(b::x()); }\n\
        #[test]\nfn t() { super::super::y::z(self::w::v); }";
    let found = walk::mentions(text, &["rooms", "data"])?;
    let paths: Vec<_> = found.iter().map(|m| (m.segments.join("::"), m.line, m.is_test)).collect();
    let wanted = [
        ("crate::b", 1, false),
        ("crate::b::c::D", 1, false),
        ("crate::b::c::D::new", 2, false),
        ("crate::b::x", 2, false),
        ("crate::y::z", 4, true),
        ("crate::rooms::data::w::v", 4, true),
    ];
    assert_eq!(paths, wanted.map(|(path, line, is_test)| (path.to_owned(), line, is_test)));
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
        let manifest = manifest(name)?;
        let is_inherited = manifest.get("lints").and_then(|l| l.get("workspace")?.as_bool());
        assert_eq!(is_inherited, Some(true), "{name}");
    }
    Ok(())
}
