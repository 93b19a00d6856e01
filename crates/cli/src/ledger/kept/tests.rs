//! Every changed byte of a kept run is found, and named with its file.

use std::collections::BTreeMap;

use super::*;
use crate::ledger::FiniteOrNull;

const TOY: &str = "toy";
const KEY: &str = "0123456789abcdef0123456789abcdef";
/// Stands for the tensors of the shared part.
const TENSORS: &[u8] = b"some bytes";

/// A store with the shared part of a toy and its first two seeds.
fn kept(folder: &Path) -> Store {
    let store = Store::new(folder.to_owned(), "this program".into(), false);
    for part in [Part::Shared, Part::Seed(0), Part::Seed(1)] {
        let mut numbers = Numbers::default();
        let curve = vec![0.1, f64::NAN, part.seed() as f64];
        numbers.add("row", BTreeMap::from([("metric".to_owned(), curve)]));
        let tensors = (part == Part::Shared).then_some(TENSORS);
        store.save(TOY, part, KEY, (&numbers, 1.5), tensors).unwrap();
    }
    store
}

fn load(store: &Store, part: Part) -> Result<Option<Kept>> {
    store.load(TOY, part, KEY)
}

/// The error of a damaged part; it must name the file.
#[track_caller]
fn refused(store: &Store, part: Part, path: &Path) -> String {
    let name = path.display().to_string();
    match load(store, part) {
        Ok(found) => panic!("{name}: taken, {}", found.is_some()),
        Err(error) => {
            let error = format!("{error:#}");
            assert!(error.contains(&name) && !error.contains('\n'), "{error}");
            error
        }
    }
}

#[test]
fn what_is_whole_comes_back_with_its_nan() {
    let folder = tempfile::tempdir().unwrap();
    let store = kept(folder.path());
    let kept = load(&store, Part::Shared).unwrap().unwrap();
    let FiniteOrNull(curve) = &kept.numbers.rows["row"]["metric"][0];
    assert!(curve[0] == 0.1 && curve[1].is_nan() && kept.seconds == 1.5);
    assert_eq!(kept.tensors.unwrap().bytes, TENSORS);
    assert!(load(&store, Part::Seed(2)).unwrap().is_none());
    assert!(store.load(TOY, Part::Shared, "another key").unwrap().is_none());
    let fresh = Store { is_fresh: true, ..store };
    assert!(load(&fresh, Part::Shared).unwrap().is_none());
    // Other programs read the file as JSON.
    let bytes = std::fs::read(fresh.path(TOY, Part::Seed(1), KEY)).unwrap();
    let value: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(value["run"]["part"], "seed-1");
}

#[test]
fn every_changed_byte_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let store = kept(folder.path());
    let record = store.path(TOY, Part::Shared, KEY);
    for path in [record.with_extension("safetensors"), record] {
        let whole = std::fs::read(&path).unwrap();
        let damaged = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            refused(&store, Part::Shared, &path)
        };
        for at in 0..whole.len() {
            // The second bit makes small letters of capitals, the third makes a line end of a space.
            for flip in [1, 0x20, 0x2a] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                damaged(&bytes);
            }
            damaged(&whole[..at]);
        }
        for more in [&b"\n"[..], b" ", b"{}", &whole] {
            damaged(&[&whole, more].concat());
            damaged(&[more, &whole].concat());
        }
        let message = damaged(&whole.iter().rev().copied().collect::<Vec<_>>());
        assert!(message.contains("wanted"), "{message}");
        std::fs::write(&path, &whole).unwrap();
        assert!(load(&store, Part::Shared).unwrap().is_some());
    }
}

#[test]
fn changed_tensors_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let store = kept(folder.path());
    let path = store.path(TOY, Part::Shared, KEY).with_extension("safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[0] = b'S';
    std::fs::write(&path, bytes).unwrap();
    let message = refused(&store, Part::Shared, &path);
    assert!(message.contains("was changed since it was kept: wanted SHA-256"), "{message}");
}

#[test]
fn files_of_other_runs_and_what_is_no_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = kept(folder.path());
    let at = |part| store.path(TOY, part, KEY);
    std::fs::copy(at(Part::Seed(0)), at(Part::Seed(1))).unwrap();
    let message = refused(&store, Part::Seed(1), &at(Part::Seed(1)));
    assert!(message.contains("wanted toy seed-1"), "{message}");
    assert!(message.contains("found toy seed-0"), "{message}");

    // A record of the form before: no sum.
    std::fs::write(at(Part::Seed(1)), b"{\"key\":\"0\",\"seconds\":1.0}").unwrap();
    let message = refused(&store, Part::Seed(1), &at(Part::Seed(1)));
    assert!(message.contains("wanted a kept run with its SHA-256"), "{message}");

    let tensors = at(Part::Shared).with_extension("safetensors");
    std::fs::remove_file(&tensors).unwrap();
    refused(&store, Part::Shared, &tensors);
    std::fs::create_dir(&tensors).unwrap();
    assert!(refused(&store, Part::Shared, &tensors).contains("found a folder"));
    std::fs::remove_file(at(Part::Shared)).unwrap();
    std::fs::create_dir(at(Part::Shared)).unwrap();
    assert!(refused(&store, Part::Shared, &at(Part::Shared)).contains("found a folder"));
    #[cfg(unix)]
    {
        std::fs::remove_file(at(Part::Seed(0))).unwrap();
        std::os::unix::fs::symlink("nowhere", at(Part::Seed(0))).unwrap();
        refused(&store, Part::Seed(0), &at(Part::Seed(0)));
    }
}
