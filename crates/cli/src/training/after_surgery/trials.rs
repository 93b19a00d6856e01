//! Trials of settings that an interruption may separate, and the epoch that was best: what all trainings after surgery share.

use anyhow::{Error, Result, anyhow};

use super::failure::NonFinite;

/// The loss of a trial, or why there is none.
pub(super) type Tried = std::result::Result<f64, NonFinite>;

/// Trials in the order in which they are made; those before an interruption are kept, not made again.
pub(super) struct Trials {
    n_done: usize,
    failure: Option<NonFinite>,
}

impl Trials {
    /// Those after the first `n_done`.
    pub(super) fn after(n_done: usize) -> Self {
        Self { n_done, failure: None }
    }

    /// The loss of the next trial, none where it is no number; and whether it was made now, added to `kept`, and has to be
    /// stored.
    pub(super) fn next(
        &mut self,
        kept: &mut Vec<Option<f64>>,
        make: impl FnOnce() -> Result<Tried>,
    ) -> Result<(Option<f64>, bool)> {
        let index = self.n_done;
        self.n_done += 1;
        if let Some(&loss) = kept.get(index) {
            return Ok((loss, false));
        }
        let found = make()?;
        let loss = found.as_ref().ok().copied();
        self.failure = self.failure.take().or(found.err());
        kept.push(loss);
        Ok((loss, true))
    }

    /// Why no trial has a loss; `again` makes one of them once more, for what was found before an interruption was not kept.
    pub(super) fn why_none(self, again: impl FnOnce() -> Result<Tried>) -> Error {
        match self.failure {
            Some(failure) => failure.into(),
            None => match again() {
                Ok(Err(failure)) => failure.into(),
                Ok(Ok(_)) => anyhow!("no trial is left"),
                Err(error) => error,
            },
        }
    }
}

/// The epoch with the least loss, the first among equals; 0 is before training. What is no number counts as +∞.
pub(super) fn best_epoch(curve: impl IntoIterator<Item = f64>) -> usize {
    let all = curve.into_iter().map(at_worst).enumerate();
    all.min_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(0, |(epoch, _)| epoch)
}

/// A loss, or +∞ where it is no number.
pub(super) fn at_worst(loss: f64) -> f64 {
    if loss.is_nan() { f64::INFINITY } else { loss }
}
