//! The rooms of `cli`: who may know whom, no circles, and few files behind each door.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};

use walk::{Kind, Mention, Source, crate_sources, mentions};

#[path = "../../../tests/walk/mod.rs"]
mod walk;

type TestResult = Result<(), Box<dyn Error>>;
type Edges = BTreeMap<String, BTreeSet<String>>;

/// Room, rooms it may use.
const EDGES: [(&str, &[&str]); 8] = [
    ("files", &[]),
    ("ledger", &["files"]),
    ("data", &["files", "ledger"]),
    ("model_file", &["files", "ledger"]),
    ("training", &["data", "ledger"]),
    ("experiments", &["files", "ledger", "data", "model_file", "training"]),
    ("report", &["files", "ledger"]),
    ("commands", &["files", "ledger", "data", "model_file", "training", "experiments", "report"]),
];

/// Rooms that know numbers and names, and no tensor.
const WITHOUT_TENSORS: [&str; 2] = ["ledger", "report"];

/// Files in the top level of a room, its door `mod.rs` among them.
const MOST_FILES: usize = 8;

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// What is compiled into the program; `main.rs` and `lib.rs` belong to no room.
fn sources() -> Result<Vec<Source>, Box<dyn Error>> {
    let all = crate_sources(&source_folder())?;
    Ok(all.into_iter().filter(|source| !source.module.is_empty()).collect())
}

fn used(source: &Source) -> impl Iterator<Item = &Mention> {
    source.mentions.iter().filter(|mention| !mention.is_test)
}

/// The room that a path of this crate leads into.
fn room_of(mention: &Mention) -> Option<&str> {
    match &mention.segments[..] {
        [first, room, ..] if first == "crate" => Some(room),
        _ => None,
    }
}

/// Why a file of `room` must not mention this, or nothing.
fn objection(room: &str, mention: &Mention) -> Option<String> {
    let allowed = EDGES.iter().find(|(name, _)| *name == room).map(|(_, edges)| *edges)?;
    if WITHOUT_TENSORS.contains(&room) && mention.starts_with(&["candle_core"]) {
        return Some(format!("{room} knows no tensor"));
    }
    let other = room_of(mention)?;
    let is_room = EDGES.iter().any(|(name, _)| *name == other);
    (is_room && other != room && !allowed.contains(&other))
        .then(|| format!("{room} must not use {other}"))
}

#[test]
fn rooms_use_only_what_the_table_allows() -> TestResult {
    let mut found = Vec::new();
    for source in sources()? {
        let room = &source.module[0];
        assert!(EDGES.iter().any(|(name, _)| name == room), "{room} is no room of the table");
        for mention in used(&source) {
            if let Some(why) = objection(room, mention) {
                found.push(format!("{}:{}: {why}", source.path.display(), mention.line));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

#[test]
fn a_forbidden_edge_is_found_in_any_dress() -> TestResult {
    for text in [
        "use crate::commands::main;",
        "use crate::{files::say, report as r};",
        "fn f() { super::super::experiments::run(); }",
        "fn f() { vec![crate::training::train]; }",
        "use candle_core::Tensor;",
    ] {
        let found = mentions(text, &["ledger", "row"])?;
        let is_found = found.iter().any(|mention| objection("ledger", mention).is_some());
        assert!(is_found, "{text}");
    }
    let fine = mentions("use crate::files::say; use super::stats;", &["ledger", "row"])?;
    assert!(fine.iter().all(|mention| objection("ledger", mention).is_none()));
    Ok(())
}

#[test]
fn the_table_has_no_circle() {
    let edges = EDGES.map(|(room, uses)| {
        (room.to_owned(), uses.iter().map(|name| (*name).to_owned()).collect())
    });
    assert_eq!(circle(&edges.into()), None);
}

#[test]
fn the_parts_of_a_room_form_no_circle() -> TestResult {
    let all = sources()?;
    for (room, _) in EDGES {
        let edges = edges_within(room, &all);
        if let Some(circle) = circle(&edges) {
            return Err(format!("{room}: {}", circle.join(" → ")).into());
        }
    }
    Ok(())
}

#[test]
fn a_circle_is_found() {
    let edges = |pairs: &[(&str, &str)]| {
        let mut edges = Edges::new();
        for (from, to) in pairs {
            edges.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        edges
    };
    assert_eq!(circle(&edges(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    let found = circle(&edges(&[("a", "b"), ("b", "c"), ("c", "b")]));
    assert_eq!(found, Some(["b", "c", "b"].map(str::to_owned).to_vec()));
}

#[test]
fn few_files_stand_behind_each_door() -> TestResult {
    for (room, _) in EDGES {
        let mut n_files = 0;
        for entry in std::fs::read_dir(source_folder().join(room))? {
            n_files += usize::from(entry?.path().is_file());
        }
        assert!(n_files <= MOST_FILES, "{room}: {n_files} files, at most {MOST_FILES}");
    }
    Ok(())
}

/// Which parts of a room use which others; names that the door re-exports count as the part that they come from.
fn edges_within(room: &str, sources: &[Source]) -> Edges {
    let mine = || sources.iter().filter(|source| source.module[0] == room);
    let door = mine().filter(|source| source.module.len() == 1);
    let exports: BTreeMap<&str, &str> = door
        .flat_map(|source| &source.mentions)
        .filter(|mention| mention.kind == Kind::Use && room_of(mention) == Some(room))
        .filter_map(|mention| {
            Some((mention.segments.last()?.as_str(), mention.segments.get(2)?.as_str()))
        })
        .collect();
    let parts: BTreeSet<&str> =
        mine().filter_map(|source| source.module.get(1).map(String::as_str)).collect();
    let mut edges = Edges::new();
    for source in mine() {
        let Some(part) = source.module.get(1) else { continue };
        for mention in used(source).filter(|mention| room_of(mention) == Some(room)) {
            let Some(name) = mention.segments.get(2).map(String::as_str) else { continue };
            let other = if parts.contains(name) { Some(name) } else { exports.get(name).copied() };
            if let Some(other) = other.filter(|other| other != part) {
                edges.entry(part.clone()).or_default().insert(other.to_owned());
            }
        }
    }
    edges
}

/// A way from a name back to itself, if there is one.
fn circle(edges: &Edges) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    edges.keys().find_map(|start| search(edges, start, &mut Vec::new(), &mut done))
}

fn search<'a>(
    edges: &'a Edges,
    at: &'a str,
    path: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Option<Vec<String>> {
    if let Some(first) = path.iter().position(|name| *name == at) {
        return Some(path[first..].iter().chain([&at]).map(ToString::to_string).collect());
    }
    if done.contains(at) {
        return None;
    }
    path.push(at);
    let found = edges.get(at).into_iter().flatten().find_map(|to| search(edges, to, path, done));
    path.pop();
    done.insert(at);
    found
}
