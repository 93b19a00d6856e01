//! Everything in `cli` goes through the gates of its room `files`: no other code writes, reads whole files or prints.

use std::error::Error;
use std::path::Path;

use walk::rust_files;

#[path = "../../../tests/walk/mod.rs"]
mod walk;

/// What only `files` may say, and what to say instead.
const GATES: [(&str, &str); 14] = [
    ("fs::write(", "files::write_whole"),
    ("File::create", "files::stream_whole"),
    ("OpenOptions", "files::stream_whole"),
    ("NamedTempFile", "files::stream_whole"),
    ("fs::read(", "files::read"),
    ("fs::read_to_string(", "files::read"),
    ("Mmap", "files::read_released"),
    ("println!", "files::say, files::note or files::warn"),
    ("print!", "files::say, files::note or files::warn"),
    ("io::stdout", "files::say"),
    ("io::stderr", "files::note or files::warn"),
    ("signal_hook", "files::ask_on_signals"),
    ("fs::remove_file", "files::write_set"),
    ("thread::scope(", "files::on_threads"),
];

/// Places with a reason of their own.
const EXEMPT: [(&str, &str, &str); 2] = [
    ("ledger/provenance.rs", "fs::read_to_string(", "the processor's name, a file of the system"),
    (
        "data/published/download.rs",
        "File::create",
        "members of an archive, in a folder that is renamed when it is whole",
    ),
];

#[test]
fn only_the_room_files_writes_reads_and_prints() -> Result<(), Box<dyn Error>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut offences = Vec::new();
    for path in rust_files(&source)? {
        let name = path.strip_prefix(&source)?.to_string_lossy().into_owned();
        if name.starts_with("files/") || name.ends_with("tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        // Tests at the end of a file write what they read.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (word, instead) in GATES {
            let is_exempt = EXEMPT.iter().any(|(file, of, _)| (*file, *of) == (&name, word));
            if code.contains(word) && !is_exempt {
                offences.push(format!("{name}: wanted {instead}, found {word}"));
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
    Ok(())
}
