//! Runs the parts of experiments on several threads, and keeps what they found for the next time.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow};
use candle_core::Tensor;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::protocol::{Experiment, Outcome, Task};
use super::session::Session;
use crate::files::{on_threads, progress_target, tensor_bytes, warn};
use crate::ledger::{Attachment, ExperimentRun, Kept, Kind, Part, Store};
use crate::training::Interrupted;

/// How long a thread waits for a shared part before it looks for an interruption.
const PATIENCE: Duration = Duration::from_millis(200);
/// Exit status of a program that an error ends.
pub const FAILED: u8 = 1;

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
    /// Whether the first error stops the other runs.
    pub is_fail_fast: bool,
}

/// What came of a plan.
pub struct Ran {
    /// The parts that were finished.
    pub ledger: Ledger,
    /// Those that ended with an error, in the order of their ends.
    pub failures: Vec<Failure>,
    /// How many parts the plan has.
    pub n_parts: usize,
    /// How many of them lie in the store now.
    pub n_kept: usize,
}

/// A part that ended with an error or a panic.
pub struct Failure {
    /// Experiment and part, such as `base-small seed-0`.
    pub name: String,
    /// Why.
    pub error: Error,
    /// How many parts were left out because they need this one.
    pub n_skipped: usize,
}

impl Plan {
    /// Seeds 0, 1, … of an experiment.
    pub fn seeds(&self, experiment: &Experiment, session: &Session) -> Vec<u64> {
        let n = self.n_seeds.unwrap_or_else(|| experiment.parts.n_seeds(session.scale));
        (0..n as u64).collect()
    }

    /// The finished parts by experiment, for a report.
    pub fn by_experiment(
        &self,
        mut ledger: Ledger,
        session: &Session,
    ) -> Result<Vec<ExperimentRun>> {
        let mut runs = Vec::new();
        for (index, &experiment) in self.experiments.iter().enumerate() {
            let next = ledger.split_off(&(index + 1, Part::Shared));
            let mine = std::mem::replace(&mut ledger, next).into_iter();
            let is_drawn =
                |id: &&str| session.origin(id).is_ok_and(|(kind, _)| kind == Kind::Generated);
            let is_generated = experiment.data.iter().any(is_drawn);
            runs.push(ExperimentRun {
                about: experiment.description(),
                settings: (experiment.settings)(session.scale)?,
                data: if is_generated { Kind::Generated } else { Kind::Real },
                parts: mine.map(|((_, part), f)| (part, f.outcome.numbers, f.seconds)).collect(),
            });
        }
        Ok(runs)
    }

    /// Every part, those that others wait for first, then the long single ones.
    fn parts(&self, session: &Session) -> Vec<(usize, Part)> {
        let mut parts = Vec::new();
        for (index, experiment) in self.experiments.iter().enumerate() {
            parts.extend(experiment.parts.others.iter().map(|&part| (index, part)));
            let seeds = self.seeds(experiment, session);
            parts.extend(seeds.into_iter().map(|seed| (index, Part::Seed(seed))));
        }
        parts.sort_by_key(|&(index, part)| {
            (matches!(part, Part::Seed(_)), part == Part::Source, index)
        });
        parts
    }

    fn name(&self, index: usize, part: Part) -> String {
        format!("{} {}", self.experiments[index].id, part.name())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {:#}", self.name, self.error)?;
        match self.n_skipped {
            0 => Ok(()),
            n => write!(f, " ({n} runs that need it were skipped)"),
        }
    }
}

struct State {
    pending: Vec<(usize, Part)>,
    /// Experiments whose shared part is still to come.
    awaited: BTreeSet<usize>,
    done: Ledger,
    failures: Vec<Failure>,
    n_kept: usize,
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

/// Runs a plan; the error of one part does not end the others.
pub fn run(plan: &Plan, session: &Session, store: &Store) -> Result<Ran> {
    let pending = plan.parts(session);
    let n_parts = pending.len();
    let is_shared = |&&(_, part): &&(usize, Part)| part == Part::Shared;
    let awaited = pending.iter().filter(is_shared).map(|&(index, _)| index).collect();
    let (done, failures) = (Ledger::new(), Vec::new());
    let pool = Pool {
        plan,
        session,
        store,
        bars: MultiProgress::with_draw_target(progress_target()),
        style: ProgressStyle::with_template("{prefix:32} {bar:30} {pos}/{len}, {eta} left")?,
        state: Mutex::new(State { pending, awaited, done, failures, n_kept: 0 }),
        changed: Condvar::new(),
    };
    on_threads(plan.n_jobs.min(n_parts), || pool.work());
    let State { done: ledger, failures, n_kept, .. } =
        pool.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Ran { ledger, failures, n_parts, n_kept })
}

impl Pool<'_> {
    /// A thread: takes parts until none is left.
    fn work(&self) {
        while let Some((index, part)) = self.take() {
            // A panic below must end as an error: a thread that vanished would leave the others waiting.
            let attempt = AssertUnwindSafe(|| self.run_part(index, part));
            let result = catch_unwind(attempt)
                .unwrap_or_else(|panic| Err(anyhow!("the run panicked: {}", message(&*panic))));
            let mut state = self.lock();
            match result {
                Ok((finished, is_kept)) => {
                    state.done.insert((index, part), finished);
                    state.n_kept += usize::from(is_kept);
                    if part == Part::Shared {
                        state.awaited.remove(&index);
                    }
                }
                // Neither done nor failed: the next time runs it.
                Err(error) if error.is::<Interrupted>() && self.session.is_interrupted() => {}
                Err(error) => self.fail(&mut state, (index, part), error),
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Notes an error, and leaves out the parts that need this one.
    fn fail(&self, state: &mut State, (index, part): (usize, Part), error: Error) {
        let n_before = state.pending.len();
        if part == Part::Shared {
            state.pending.retain(|&(of, _)| of != index);
        }
        let n_skipped = n_before - state.pending.len();
        let name = self.plan.name(index, part);
        state.failures.push(Failure { name, error, n_skipped });
        if self.plan.is_fail_fast {
            self.session.interrupt(FAILED);
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

    /// A part as it was kept, or run and kept now; whether it lies in the store.
    fn run_part(&self, index: usize, part: Part) -> Result<(Finished, bool)> {
        let experiment = self.plan.experiments[index];
        let key = self.store.key(experiment.id, part, &inputs(experiment, self.session)?);
        match self.kept(experiment, part, &key) {
            Ok(Some(finished)) => return Ok((finished, true)),
            Ok(None) => {}
            Err(error) => self.warn(&format!("{error:#}; this run is done again")),
        }
        // The tensors of a shared part are cheap to clone: they are counted references.
        let shared = self.lock().done.get(&(index, Part::Shared)).map(|f| f.outcome.clone());
        let progress = self.bars.add(ProgressBar::new(0).with_style(self.style.clone()));
        progress.set_prefix(self.plan.name(index, part));
        let start = Instant::now();
        let task = Task { session: self.session, part, shared: shared.as_ref(), progress };
        let outcome = (experiment.run)(&task);
        task.progress.finish_and_clear();
        let finished = Finished { outcome: outcome?, seconds: start.elapsed().as_secs_f64() };
        let kept = self.keep(experiment, part, &key, &finished);
        if let Err(error) = &kept {
            let name = self.plan.name(index, part);
            self.warn(&format!("{name}: not kept, so that the next time runs it again: {error:#}"));
        }
        Ok((finished, kept.is_ok()))
    }

    /// A part from the store.
    fn kept(&self, experiment: &Experiment, part: Part, key: &str) -> Result<Option<Finished>> {
        let Some(Kept { numbers, seconds, tensors }) = self.store.load(experiment.id, part, key)?
        else {
            return Ok(None);
        };
        let load = |Attachment { path, bytes }: Attachment| {
            let loaded = candle_core::safetensors::load_buffer(&bytes, &self.session.device);
            loaded.with_context(|| path.display().to_string())
        };
        let tensors = tensors.map(load).transpose()?.unwrap_or_default().into_iter().collect();
        Ok(Some(Finished { outcome: Outcome { numbers, tensors }, seconds }))
    }

    /// Puts a part into the store.
    fn keep(
        &self,
        experiment: &Experiment,
        part: Part,
        key: &str,
        finished: &Finished,
    ) -> Result<()> {
        let Finished { outcome: Outcome { numbers, tensors }, seconds } = finished;
        let tensors = match tensors.is_empty() {
            true => None,
            false => Some(tensor_bytes(&tensors.iter().map(named).collect::<Vec<_>>())?),
        };
        self.store.save(experiment.id, part, key, (numbers, *seconds), tensors.as_deref())
    }

    /// Says something above the progress bars.
    fn warn(&self, line: &str) {
        self.bars.suspend(|| warn(line));
    }
}

fn named((name, tensor): (&String, &Tensor)) -> (String, Tensor) {
    (name.clone(), tensor.clone())
}

/// What the numbers of an experiment depend on beside the program: settings, data, device.
fn inputs(experiment: &Experiment, session: &Session) -> Result<serde_json::Value> {
    let of = |&id: &&'static str| {
        let shape = session.images(id).ok().map(|images| images.shape);
        // What is optional and not at hand counts too, as nothing.
        (id, (session.origin(id).ok().map(|(_, sums)| sums), shape))
    };
    let data: BTreeMap<_, _> = experiment.data.iter().map(of).collect();
    Ok(serde_json::json!({
        "settings": (experiment.settings)(session.scale)?,
        "data": data,
        "device": format!("{:?}", session.device.location()),
    }))
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it did not say why")
}

#[cfg(test)]
mod tests;
