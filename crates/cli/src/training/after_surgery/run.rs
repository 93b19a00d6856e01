//! The training itself: trials of settings, then epochs with the best of them, each kept in a checkpoint.

use std::ops::Range;

use anyhow::{Result, ensure};
use candle_core::{DType, Device};
use core_tensors::{Adam, AdamConfig, Dataset, Params, Rng};
use models::Architecture;
use models::graph::Graph;
use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoints, packed, resumed};
use super::course::{Round, Setting, StudentCourse, step_size};
use super::failure::{NonFinite, largest_parameter};
use super::fingerprint::{Fingerprint, fingerprint};
use super::objective::Objective;
use super::taught::Taught;
use super::trials::{Trials, Tried, best_epoch};
use crate::training::Monitor;

/// What checkpoints are called.
const AFTER_SURGERY: &str = "a training after surgery";
const FROM_SCRATCH: &str = "a training from random parameters";

/// A small network after training.
#[derive(Clone, Debug)]
pub struct Distilled {
    /// Parameters after the best epoch; those before training where no epoch was better.
    pub params: Params,
    /// What validation chose.
    pub setting: Setting,
    /// The epoch of `params`, from 1; 0 is before training.
    pub best_epoch: usize,
    /// Loss of the validation examples before training and after each epoch, in nats an example: −log p(y | x) with labels,
    /// KL from the large network's prediction without.
    pub curve: Vec<f64>,
    /// Mean training loss of each epoch.
    pub objective: Vec<f64>,
    /// What was tried, in its order.
    pub trials: Vec<Trial>,
}

/// A setting that was tried from the start for some steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// The setting.
    pub setting: Setting,
    /// How many steps.
    pub n_steps: usize,
    /// Loss of the validation examples then; `None` where training left the finite numbers.
    pub loss: Option<f64>,
}

impl Distilled {
    /// The loss of the validation examples that the parameters have.
    pub fn loss(&self) -> f64 {
        self.curve.get(self.best_epoch).copied().unwrap_or(f64::NAN)
    }

    /// Epochs that were trained; fewer than wanted where training ended early.
    pub fn n_epochs(&self) -> usize {
        self.objective.len()
    }
}

/// Trains a small network from parameters that surgery left, by labels where there are any and by the large network's outputs.
///
/// Settings of the course are tried from the start by the same batches and judged by the loss of the validation examples: all
/// for a sixteenth of all steps, then the best of each step size for a quarter. The best of these is trained for all epochs.
/// In a trial as in a training the step size rises for a tenth of the steps and then falls to 0 as a cosine does: trials are
/// small trainings, and not the beginnings of long ones, by which only the smallest steps would look good. Kept are the
/// parameters after the epoch with the least loss of the validation examples, the first among equals, those before training
/// among them, so that no training makes it larger.
///
/// Batches depend on the seed and the epoch alone. `checkpoints` get the state after each trial and each epoch, before
/// `monitor` is told that the point is done; whatever ends the training then, the next call with the same arguments goes on
/// to the same bits.
///
/// Parameters of the graph are trained without exception, moments of a batch normalization too: fold these first.
///
/// # Errors
/// [`NonFinite`] where the loss is no number while the chosen setting is trained, or in all trials; for examples that do not
/// fit; for a checkpoint that is damaged or of another training; and whatever `monitor` ends the training with.
pub fn distill_after_surgery(
    monitor: &dyn Monitor,
    (graph, start): (&Graph, &Params),
    (calibration, validation): (&Taught, &Taught),
    course: &StudentCourse,
    rng: &Rng,
    checkpoints: &mut dyn Checkpoints,
) -> Result<Distilled> {
    let examples = (calibration, validation);
    trained(AFTER_SURGERY, monitor, (graph, start), examples, course, rng, checkpoints)
}

/// Trains a network of the same shape from random parameters, with the same trials and the same choice of the best epoch.
///
/// For equal work the course has [`epochs_of_equal_work`](super::epochs_of_equal_work); [`Distilled::n_epochs`] says how many
/// there were. The start is drawn from `rng`.
///
/// # Errors
/// As [`distill_after_surgery`].
pub fn distill_from_scratch(
    monitor: &dyn Monitor,
    graph: &Graph,
    (calibration, validation): (&Taught, &Taught),
    course: &StudentCourse,
    rng: &Rng,
    checkpoints: &mut dyn Checkpoints,
) -> Result<Distilled> {
    let start = graph.init(&mut rng.split("start"), calibration.x.device())?;
    let examples = (calibration, validation);
    trained(FROM_SCRATCH, monitor, (graph, &start), examples, course, rng, checkpoints)
}

/// Trials, then epochs, from some parameters.
fn trained(
    kind: &'static str,
    monitor: &dyn Monitor,
    (graph, start): (&Graph, &Params),
    (calibration, validation): (&Taught, &Taught),
    course: &StudentCourse,
    rng: &Rng,
    checkpoints: &mut dyn Checkpoints,
) -> Result<Distilled> {
    let examples = (calibration, validation);
    let noise = course.noise_variances.as_deref();
    let objective = Objective::new(course.predicted, noise, calibration, validation)?;
    course.check(objective.has_labels)?;
    graph.layout().check_same("parameters of the small network", start.layout())?;
    let fingerprint = fingerprint((graph, start), examples, course, rng)?;
    let (data, held_out) = (objective.data(calibration)?, objective.data(validation)?);
    let settings = course.settings(objective.has_labels);
    let rounds = course.rounds(data.n_examples(), &settings);
    let rng = rng.split("batches");
    let training = Training {
        kind,
        monitor,
        graph,
        start,
        course,
        settings,
        rounds,
        objective,
        data,
        held_out,
        rng,
    };
    training.run(&fingerprint, checkpoints)
}

/// Loss of the validation examples of a network, by which trainings choose: comparable with [`Distilled::loss`].
///
/// # Errors
/// For examples that do not fit.
pub fn validation_loss(
    (graph, params): (&Graph, &Params),
    (calibration, validation): (&Taught, &Taught),
    course: &StudentCourse,
) -> Result<f64> {
    let noise = course.noise_variances.as_deref();
    let objective = Objective::new(course.predicted, noise, calibration, validation)?;
    let held_out = objective.data(validation)?;
    objective.judged(graph, params, &held_out)
}

/// How far a training has come; all numbers are finite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Progress {
    /// Losses of the trials so far, round by round.
    trials: Vec<Option<f64>>,
    /// Training loss and validation loss of the epochs so far.
    epochs: Vec<(f64, f64)>,
}

/// Everything that does not change while training goes on.
struct Training<'a> {
    kind: &'static str,
    monitor: &'a dyn Monitor,
    graph: &'a Graph,
    start: &'a Params,
    course: &'a StudentCourse,
    settings: Vec<Setting>,
    rounds: Vec<Round>,
    objective: Objective,
    data: Dataset,
    held_out: Dataset,
    rng: Rng,
}

/// What moves.
struct Learner {
    w: Params,
    adam: Adam,
    setting: Setting,
    /// Steps in all, by which the step size moves.
    n_steps: usize,
}

impl Learner {
    fn new(w: &Params, setting: Setting, n_steps: usize) -> Result<Self> {
        let w = w.trainable()?;
        let adam = Adam::new(AdamConfig::pytorch(setting.learning_rate), &w)?;
        Ok(Self { w, adam, setting, n_steps })
    }

    /// The step size of a step, from 0.
    fn learning_rate(&self, step: usize) -> f64 {
        step_size(self.setting.learning_rate, step, self.n_steps)
    }
}

impl Training<'_> {
    fn run(
        &self,
        fingerprint: &Fingerprint,
        checkpoints: &mut dyn Checkpoints,
    ) -> Result<Distilled> {
        let before = self.judged(self.start)?;
        ensure!(
            before.is_finite(),
            "the loss of the validation examples is {before} before training; look for very large numbers among them"
        );
        let (mut progress, parts) =
            resumed::<Progress>(self.kind, fingerprint, checkpoints)?.unwrap_or_default();
        let mut store = |progress: &Progress, parts: &[Vec<u8>]| -> Result<()> {
            checkpoints.store(&packed(self.kind, fingerprint, progress, parts)?)?;
            self.monitor.point_done()
        };
        let (setting, trials) = self.choose(&mut progress, |progress| store(progress, &[]))?;
        let n_steps = self.course.epochs * self.course.n_batches(self.data.n_examples());
        let mut learner = Learner::new(self.start, setting, n_steps)?;
        let mut best = self.start.frozen();
        if let [w, kept_best, adam] = &parts[..] {
            let read = |bytes| Params::from_bytes(self.graph.layout(), bytes, &self.device());
            (learner, best) = (Learner::new(&read(w)?, setting, n_steps)?, read(kept_best)?);
            learner.adam.restore(adam)?;
        }
        while !self.is_over(before, &progress) {
            let epoch = progress.epochs.len();
            let n = self.course.n_batches(self.data.n_examples());
            let objective = self.steps(&mut learner, epoch * n..(epoch + 1) * n)?;
            let loss = self.judged(&learner.w)?;
            if !loss.is_finite() {
                return Err(self.failure(&learner, loss, epoch, None)?.into());
            }
            progress.epochs.push((objective, loss));
            if best_epoch(curve(before, &progress)) == epoch + 1 {
                best = Params::new(self.graph.layout(), copied(&learner.w)?)?;
            }
            self.monitor.note(&format!(
                "epoch {} of {}: training loss {objective:.5}, validation loss {loss:.5} ({before:.5} before training)",
                epoch + 1,
                self.course.epochs
            ));
            let parts = [learner.w.to_bytes()?, best.to_bytes()?, learner.adam.to_bytes()?];
            store(&progress, &parts)?;
        }
        let curve = curve(before, &progress);
        let objective = progress.epochs.iter().map(|(objective, _)| *objective).collect();
        Ok(Distilled {
            params: best,
            setting,
            best_epoch: best_epoch(curve.iter().copied()),
            curve,
            objective,
            trials,
        })
    }

    /// Tries what was not tried yet, and gives the best setting.
    fn choose(
        &self,
        progress: &mut Progress,
        mut store: impl FnMut(&Progress) -> Result<()>,
    ) -> Result<(Setting, Vec<Trial>)> {
        let mut left: Vec<usize> = (0..self.settings.len()).collect();
        let mut trials = Vec::new();
        for (r, &Round { n_steps, n }) in self.rounds.iter().enumerate() {
            let mut losses = Vec::new();
            let mut of_round = Trials::after(trials.len());
            for &i in &left {
                let setting = self.settings[i];
                let (loss, is_new) =
                    of_round.next(&mut progress.trials, || self.tried(setting, n_steps))?;
                if is_new {
                    store(progress)?;
                }
                trials.push(Trial { setting, n_steps, loss });
                losses.extend(loss.map(|loss| (loss, i)));
            }
            losses.sort_by(|(a, i), (b, j)| a.total_cmp(b).then(i.cmp(j)));
            // The best first, one of each step size.
            left = Vec::new();
            for &(_, i) in &losses {
                let rate = |i: usize| self.settings[i].learning_rate;
                if left.iter().all(|&other| rate(other) != rate(i)) {
                    left.push(i);
                }
            }
            let Some(&(loss, i)) = losses.first() else {
                return Err(of_round.why_none(|| self.tried(self.settings[0], n_steps)));
            };
            self.monitor.note(&format!(
                "{n} settings for {n_steps} steps each, round {} of {}: validation loss {loss:.5} with {}",
                r + 1,
                self.rounds.len(),
                self.settings[i]
            ));
        }
        Ok((self.settings[left[0]], trials))
    }

    /// The loss of the validation examples after some steps from the start; a failure where it is no number.
    fn tried(&self, setting: Setting, n_steps: usize) -> Result<Tried> {
        let mut learner = Learner::new(self.start, setting, n_steps)?;
        if let Err(error) = self.steps(&mut learner, 0..n_steps) {
            return error.downcast::<NonFinite>().map(Err);
        }
        let loss = self.judged(&learner.w)?;
        if loss.is_finite() {
            return Ok(Ok(loss));
        }
        let epoch = (n_steps - 1) / self.course.n_batches(self.data.n_examples());
        Ok(Err(self.failure(&learner, loss, epoch, None)?))
    }

    /// Steps of a training, counted from its start; the mean of their losses.
    fn steps(&self, learner: &mut Learner, steps: Range<usize>) -> Result<f64> {
        let m = self.data.n_examples();
        let n_batches = self.course.n_batches(m);
        let (mut order, mut of_epoch) = (Vec::new(), None);
        let (mut total, n_steps) = (0.0, steps.len());
        for step in steps {
            let (epoch, batch) = (step / n_batches, step % n_batches);
            if of_epoch != Some(epoch) {
                order = self.rng.split(&format!("epoch {epoch}")).permutation(m);
                of_epoch = Some(epoch);
            }
            let from = batch * self.course.batch_size;
            let examples = &order[from..m.min(from + self.course.batch_size)];
            let loss = self.objective.loss(
                self.graph,
                &learner.w,
                &self.data.rows(examples)?,
                &learner.setting,
            )?;
            let value = loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
            if !value.is_finite() {
                let at = Some((batch + 1, examples.to_vec()));
                return Err(self.failure(learner, value, epoch, at)?.into());
            }
            learner.adam.set_learning_rate(learner.learning_rate(step))?;
            learner.adam.step(&loss.backward()?)?;
            total += value;
        }
        Ok(total / n_steps as f64)
    }

    fn judged(&self, w: &Params) -> Result<f64> {
        self.objective.judged(self.graph, w, &self.held_out)
    }

    fn failure(
        &self,
        learner: &Learner,
        loss: f64,
        epoch: usize,
        step: Option<(usize, Vec<usize>)>,
    ) -> Result<NonFinite> {
        let largest = largest_parameter(self.graph, &learner.w)?;
        Ok(NonFinite {
            loss,
            epoch: epoch + 1,
            step,
            setting: learner.setting.to_string(),
            largest,
        })
    }

    /// Whether all epochs are done, or enough without a better loss.
    fn is_over(&self, before: f64, progress: &Progress) -> bool {
        let n = progress.epochs.len();
        let waited = n - best_epoch(curve(before, progress));
        n >= self.course.epochs
            || self.course.patience.is_some_and(|most| {
                // The step size rises for a tenth of the epochs: nothing ends before it has fallen for a while.
                waited > 0 && waited >= most.max(self.course.epochs / 4)
            })
    }

    fn device(&self) -> Device {
        self.start.blocks().first().map_or(Device::Cpu, |block| block.device().clone())
    }
}

/// The numbers of trainable parameters as they are now.
fn copied(w: &Params) -> Result<Vec<candle_core::Tensor>> {
    Ok(w.blocks().iter().map(|block| block.detach().copy()).collect::<candle_core::Result<_>>()?)
}

/// Validation losses before training and after each epoch.
fn curve(before: f64, progress: &Progress) -> Vec<f64> {
    std::iter::once(before).chain(progress.epochs.iter().map(|(_, loss)| *loss)).collect()
}
