//! Who watches a training: told of each point of its curves, and free to end it.

use anyhow::Result;

/// What a training tells, and asks, while it goes on.
pub trait Monitor {
    /// Told when a point of the curves, such as an epoch, is done; an error, such as [`Interrupted`], ends the training.
    fn point_done(&self) -> Result<()>;

    /// Told what a reader may want to see meanwhile, in one line.
    fn note(&self, line: &str);
}

/// Nobody watches.
pub struct Unwatched;

impl Monitor for Unwatched {
    fn point_done(&self) -> Result<()> {
        Ok(())
    }

    fn note(&self, _: &str) {}
}

/// The run was asked to stop.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}
