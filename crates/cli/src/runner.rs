//! Runs the parts of experiments on several threads, and keeps what they found for the next time.

mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::experiment::{Experiment, Interrupted, Outcome, Part, Task};
use crate::session::Session;

pub use store::{Store, folder_in, program_sum};

/// How long a thread waits for a shared part before it looks for an interruption.
const PATIENCE: Duration = Duration::from_millis(200);

/// A part that ran, or was found ready.
pub struct Finished {
    /// What it found.
    pub outcome: Outcome,
    /// Seconds it took when it ran.
    pub seconds: f64,
}

/// Finished parts by (index of the experiment, part).
pub type Ledger = BTreeMap<(usize, Part), Finished>;

/// What is to be run.
pub struct Plan {
    /// The experiments.
    pub experiments: Vec<&'static Experiment>,
    /// Seeds of each; `None` is each experiment's own number.
    pub n_seeds: Option<usize>,
    /// Threads.
    pub n_jobs: usize,
}

impl Plan {
    /// Seeds 0, 1, … of an experiment.
    pub fn seeds(&self, experiment: &Experiment, session: &Session) -> Vec<u64> {
        let n = self.n_seeds.unwrap_or_else(|| (experiment.n_seeds)(session.scale));
        (0..n as u64).collect()
    }

    /// Every part, those that others wait for first, then the long single ones.
    fn parts(&self, session: &Session) -> Vec<(usize, Part)> {
        let mut parts = Vec::new();
        for (index, experiment) in self.experiments.iter().enumerate() {
            parts.extend(experiment.extra_parts.iter().map(|&part| (index, part)));
            let seeds = self.seeds(experiment, session);
            parts.extend(seeds.into_iter().map(|seed| (index, Part::Seed(seed))));
        }
        parts.sort_by_key(|&(index, part)| {
            (matches!(part, Part::Seed(_)), part == Part::Source, index)
        });
        parts
    }
}

struct State {
    pending: Vec<(usize, Part)>,
    /// Experiments whose shared part is still to come.
    awaited: BTreeSet<usize>,
    done: Ledger,
    error: Option<anyhow::Error>,
}

struct Pool<'a> {
    plan: &'a Plan,
    session: &'a Session,
    store: &'a Store,
    bars: MultiProgress,
    style: ProgressStyle,
    state: Mutex<State>,
    changed: Condvar,
}

/// Runs a plan. Returns what was finished, and the error that stopped the rest, if one did.
pub fn run(
    plan: &Plan,
    session: &Session,
    store: &Store,
) -> Result<(Ledger, Option<anyhow::Error>)> {
    let pending = plan.parts(session);
    let is_shared = |&&(_, part): &&(usize, Part)| part == Part::Shared;
    let awaited = pending.iter().filter(is_shared).map(|&(index, _)| index).collect();
    let state = State { pending, awaited, done: Ledger::new(), error: None };
    let pool = Pool {
        plan,
        session,
        store,
        bars: MultiProgress::new(),
        style: ProgressStyle::with_template("{prefix:32} {bar:30} {pos}/{len}, {eta} left")?,
        state: Mutex::new(state),
        changed: Condvar::new(),
    };
    std::thread::scope(|scope| {
        for _ in 0..plan.n_jobs {
            scope.spawn(|| pool.work());
        }
    });
    let state = pool.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((state.done, state.error))
}

impl Pool<'_> {
    /// A thread: takes parts until none is left or one failed.
    fn work(&self) {
        while let Some((index, part)) = self.take() {
            // A panic below must end as an error: a thread that vanished would leave the others waiting.
            let attempt = AssertUnwindSafe(|| self.run_part(index, part));
            let result = catch_unwind(attempt).unwrap_or_else(|_| {
                let id = self.plan.experiments[index].id;
                Err(anyhow!("{id} {}: the run panicked, see the message above", part.name()))
            });
            let mut state = self.lock();
            match result {
                Ok(finished) => {
                    state.done.insert((index, part), finished);
                    if part == Part::Shared {
                        state.awaited.remove(&index);
                    }
                }
                Err(error) => {
                    state.error.get_or_insert(error);
                    state.pending.clear();
                    self.session.interrupt(1);
                }
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next part that can run now; waits while every part left waits for a shared one.
    fn take(&self) -> Option<(usize, Part)> {
        let mut state = self.lock();
        loop {
            if state.pending.is_empty() || self.session.is_interrupted() {
                return None;
            }
            let awaited = &state.awaited;
            let is_ready =
                |&(index, part): &(usize, Part)| part == Part::Shared || !awaited.contains(&index);
            if let Some(position) = state.pending.iter().position(is_ready) {
                return Some(state.pending.remove(position));
            }
            // The wait is bounded so that an interruption is seen.
            let woken = self.changed.wait_timeout(state, PATIENCE);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn run_part(&self, index: usize, part: Part) -> Result<Finished> {
        let experiment = self.plan.experiments[index];
        let name = format!("{} {}", experiment.id, part.name());
        let key = self.store.key(experiment, part, self.session)?;
        if let Some(finished) = self.store.load(experiment, part, &key, &self.session.device)? {
            return Ok(finished);
        }
        // The tensors of a shared part are cheap to clone: they are counted references.
        let shared = self.lock().done.get(&(index, Part::Shared)).map(|f| f.outcome.clone());
        let progress = self.bars.add(ProgressBar::new(0).with_style(self.style.clone()));
        progress.set_prefix(name.clone());
        let start = Instant::now();
        let task = Task { session: self.session, part, shared: shared.as_ref(), progress };
        let outcome = (experiment.run)(&task);
        task.progress.finish_and_clear();
        let outcome = outcome
            .map_err(|error| if error.is::<Interrupted>() { error } else { error.context(name) })?;
        let finished = Finished { outcome, seconds: start.elapsed().as_secs_f64() };
        self.store.save(experiment, part, &key, &finished).context("keeping a finished part")?;
        Ok(finished)
    }
}
