//! What a signal means to a reproduction: before the runs, while they go on, and after them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};

use crate::experiments::Session;
use crate::files::{ask_on_signals, note};

/// Hands the first signal to the runs; before there are any, it ends the program.
pub(super) struct Listener {
    session: OnceLock<Arc<Session>>,
    are_over: AtomicBool,
}

impl Listener {
    /// Listens from now on.
    pub(super) fn start() -> Result<Arc<Self>> {
        let listener =
            Arc::new(Self { session: OnceLock::new(), are_over: AtomicBool::new(false) });
        let hearing = Arc::clone(&listener);
        ask_on_signals(move |status| hearing.hear(status)).context("listening for signals")?;
        Ok(listener)
    }

    /// From now on runs look at this session.
    pub(super) fn runs_begin(&self, session: &Arc<Session>) {
        self.session.get_or_init(|| Arc::clone(session));
    }

    /// From now on only the report is left.
    pub(super) fn runs_are_over(&self) {
        self.are_over.store(true, Ordering::Relaxed);
    }

    /// Whether the program goes on for a while.
    fn hear(&self, status: u8) -> bool {
        let Some(session) = self.session.get() else {
            note("interrupted before the first run");
            return false;
        };
        session.interrupt(status);
        note(match self.are_over.load(Ordering::Relaxed) {
            true => "finishing the report (Ctrl-C again: stop now)",
            false => {
                "stopping after the current epoch; a partial report follows (Ctrl-C again: stop now)"
            }
        });
        true
    }
}
