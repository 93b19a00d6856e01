//! The last words of a reproduction: which runs failed, how many are kept, how to go on.

use std::path::Path;

use crate::experiments::{FAILED, Failure};
use crate::files::{Hinted, note, printable, tell_error};
use crate::ledger::folder_in;

/// How the runs of a plan ended.
pub(super) struct Ending {
    pub(super) failures: Vec<Failure>,
    pub(super) n_parts: usize,
    pub(super) n_done: usize,
    /// How many of those lie in the store.
    pub(super) n_kept: usize,
    /// Exit status that was asked for while they ran; 0 where nobody asked.
    pub(super) interruption: u8,
}

impl Ending {
    /// Whether every run was finished.
    pub(super) fn is_whole(&self) -> bool {
        self.n_done == self.n_parts
    }

    /// Why the report is partial, where it is.
    pub(super) fn reason(&self) -> Option<String> {
        match self.failures.first() {
            Some(first) => {
                Some(format!("{}, first {}", self.count(), printable(&first.to_string())))
            }
            None => (!self.is_whole()).then(|| "it was interrupted".to_owned()),
        }
    }

    /// Says what failed, and how to go on.
    pub(super) fn tell(&self, out: &Path, is_fresh: bool) {
        if !self.failures.is_empty() {
            let lines = self.failures.iter().map(|failure| printable(&failure.to_string()));
            let (message, hint) = (self.count(), lines.collect::<Vec<_>>().join("\n"));
            tell_error(&Hinted { message, hint }.into());
        }
        if !self.is_whole() {
            note(&self.way_on(out, is_fresh));
        }
    }

    /// Exit status of the program; `interruption` as above, but now.
    pub(super) fn status(&self, interruption: u8) -> u8 {
        match interruption {
            0 if self.failures.is_empty() => 0,
            0 => FAILED,
            status => status,
        }
    }

    fn count(&self) -> String {
        format!("{} of {} runs failed", self.failures.len(), self.n_parts)
    }

    fn way_on(&self, out: &Path, is_fresh: bool) -> String {
        let what = match self.interruption {
            0 => "",
            FAILED => "stopped at the first error; ",
            _ => "interrupted; ",
        };
        let (kept, parts, runs) = (self.n_kept, self.n_parts, folder_in(out));
        let runs = runs.display();
        if kept == 0 {
            return format!("{what}none of {parts} runs is kept: the same command starts anew");
        }
        let without = if is_fresh { " without --fresh" } else { "" };
        format!(
            "{what}{kept} of {parts} runs are kept in {runs}: the same command{without} goes on from there"
        )
    }
}
