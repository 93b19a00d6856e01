//! What the program says: answers on standard output, everything else on standard error.

pub(super) mod table;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Error, Result};
use indicatif::ProgressDrawTarget;

/// Characters of a line on standard error: a name in a file can be as long as the file.
const MOST_CHARACTERS: usize = 1000;

/// Prints the answer of a command. A reader who has seen enough is no error; a full disk is one.
pub(crate) fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("writing to standard output")
        }
        _ => Ok(()),
    }
}

/// Says what was assumed, or what happens, and which option changes it.
///
/// A line is said once, however often somebody has reason to: one file may be read twice.
pub(crate) fn note(line: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if is_quiet() {
        return;
    }
    let is_new = SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(line.to_owned());
    if is_new {
        tell("note", line);
    }
}

/// Whether notes and progress are left out.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// From now on, notes and progress are left out.
pub(crate) fn be_quiet() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

/// Whether notes and progress are left out.
fn is_quiet() -> bool {
    IS_QUIET.load(Ordering::Relaxed)
}

/// Where progress bars go: to standard error, where they vanish if it is no terminal, or nowhere in a quiet run.
pub(crate) fn progress_target() -> ProgressDrawTarget {
    if is_quiet() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() }
}

/// Says what is not as the user will expect it.
pub(crate) fn warn(line: &str) {
    tell("warning", line);
}

/// Says why the program ends: its chain of reasons in one line, and how to go on, where one of them knows a way.
pub(crate) fn tell_error(error: &Error) {
    tell("error", &format!("{error:#}"));
    if let Some(hinted) = error.chain().find_map(|cause| cause.downcast_ref::<Hinted>()) {
        to_stderr(&format!("{}\n", hinted.hint));
    }
}

/// Says what is wrong with a command line, in lines of their own: the error, what is allowed, how to go on.
pub(crate) fn tell_usage(text: &str) {
    let lines = text.trim_end().lines().map(|line| format!("{}\n", printable(line)));
    to_stderr(&lines.collect::<String>());
}

/// An error of one line with lines below it that say how to go on.
#[derive(Debug)]
pub(crate) struct Hinted {
    /// What is wrong.
    pub(crate) message: String,
    /// What to do: lines of ours, such as a command to copy.
    pub(crate) hint: String,
}

impl std::fmt::Display for Hinted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Hinted {}

fn tell(kind: &str, line: &str) {
    to_stderr(&format!("{kind}: {}\n", shortened(&printable(line))));
}

/// A line that a screen holds: of what is longer, the beginning and the end.
fn shortened(line: &str) -> String {
    let n = line.chars().count();
    if n <= MOST_CHARACTERS {
        return line.to_owned();
    }
    let start: String = line.chars().take(MOST_CHARACTERS / 2).collect();
    let end: String = line.chars().skip(n - MOST_CHARACTERS / 4).collect();
    format!("{start} … {end}")
}

/// Where nobody listens on standard error, nothing can be done about it.
fn to_stderr(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// A text of somebody else in one line: line ends and other control characters are escaped.
pub(crate) fn printable(text: &str) -> String {
    let is_plain = |c: char| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}');
    if text.chars().all(is_plain) {
        return text.to_owned();
    }
    let piece = |c: char| if is_plain(c) { c.to_string() } else { c.escape_default().to_string() };
    text.chars().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_in_its_middle() {
        assert_eq!(shortened("short"), "short");
        let long = format!("begin{}end", "é".repeat(100_000));
        let cut = shortened(&long);
        assert!(cut.starts_with("begin") && cut.ends_with("end") && cut.contains(" … "));
        assert!(cut.chars().count() <= MOST_CHARACTERS);
    }

    #[test]
    fn control_characters_are_escaped_and_letters_are_not() {
        assert_eq!(printable("φ(x), «a» — b"), "φ(x), «a» — b");
        assert_eq!(printable("a\nb\u{1b}[31m\r\u{2028}"), "a\\nb\\u{1b}[31m\\r\\u{2028}");
    }
}
