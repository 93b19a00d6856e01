//! Training of the student: short distillation, the same shape from scratch.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use candle_core::Tensor;
use core_tensors::{Params, Rng};
use indicatif::{ProgressBar, ProgressStyle};
use models::graph::Graph;

use super::arguments::{Arguments, Baseline, TrainingOptions};
use crate::data::user::Prepared;
use crate::files::{ask_on_signals, check_set, discard, note, progress_target, read, write_whole};
use crate::ledger::quality::Predicted;
use crate::training::after_surgery::{
    BayesianCourse, BayesianStudent, Checkpoints, Distilled, StudentCourse, Taught,
    distill_after_surgery, distill_from_scratch, epochs_of_equal_work, infer_after_surgery,
    validation_loss,
};
use crate::training::shrink::Plan;
use crate::training::{Interrupted, Monitor, logits};

/// Passes of variational inference at least.
const BAYESIAN_EPOCHS: usize = 20;

/// Names of checkpoints.
const DISTILLATION: &str = "distillation";
const SCRATCH: &str = "scratch";
const INFERENCE: &str = "inference";

/// A student and how it came about.
pub(super) struct Made {
    /// Such as "surgery and 3 epochs of distillation".
    pub(super) how: String,
    /// What validation chose, in words.
    pub(super) training: String,
    pub(super) graph: Graph,
    pub(super) params: Params,
    /// Loss of the validation examples in nats, by which the student is chosen.
    pub(super) loss: Option<f64>,
    /// The distribution of its parameters, of a Bayesian student, whose mean the parameters are not.
    pub(super) bayesian: Option<BayesianStudent>,
}

/// Examples of a training, with what the network predicts for them.
pub(super) struct Course<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) predicted: Predicted,
    /// σ² of each output of a regression.
    pub(super) noise: Option<Vec<f64>>,
    pub(super) calibration: Taught,
    pub(super) validation: Taught,
    /// The folder of checkpoints, and the seed that their names hold.
    pub(super) folder: &'a Path,
    pub(super) seed: u64,
    /// What ends a training early.
    pub(super) stop: &'a Stop,
}

/// The examples of a part and the network's outputs.
pub(super) fn taught(part: &Prepared, (graph, params): &(Graph, Params)) -> Result<Taught> {
    let (x, targets): (Tensor, _) = (part.x.clone(), part.targets.clone());
    let teacher = logits(graph, params, &x)?;
    Ok(Taught { x, teacher, targets })
}

impl Course<'_> {
    /// Loss of the validation examples, comparable with that of trained students.
    pub(super) fn loss(&self, small: (&Graph, &Params)) -> Result<f64> {
        let n = self.calibration.n_examples();
        let mut course = StudentCourse::after_surgery(self.predicted, 1, n);
        course.noise_variances.clone_from(&self.noise);
        validation_loss(small, (&self.calibration, &self.validation), &course)
    }

    /// Some gentle epochs from what surgery left.
    pub(super) fn distilled(&self, small: (&Graph, &Params), rng: &Rng) -> Result<Made> {
        let epochs = self.arguments.training.epochs();
        let n = self.calibration.n_examples();
        let mut course = StudentCourse::after_surgery(self.predicted, epochs, n);
        course.noise_variances.clone_from(&self.noise);
        let mut kept = self.kept(DISTILLATION);
        let examples = (&self.calibration, &self.validation);
        let n_points = course.n_points(n, self.calibration.targets.is_some());
        let found = self.stop.during((n_points, true), || {
            distill_after_surgery(self.stop, small, examples, &course, rng, &mut kept)
        })?;
        let how = format!("surgery and {}", epochs_words(found.n_epochs()));
        Ok(made(how, &found, small.0))
    }

    /// The same shape from random parameters, with as many multiply-adds.
    pub(super) fn scratch(&self, plan: &Plan, small: &Graph, rng: &Rng) -> Result<Option<Made>> {
        match self.arguments.training.baseline {
            None => return Ok(None),
            Some(Baseline::Scratch) => {}
        }
        let mut kept = self.kept(SCRATCH);
        let n = self.calibration.n_examples();
        let epochs = self.arguments.training.epochs();
        let epochs = epochs_of_equal_work(&plan.graph, small, plan.n_directions(), epochs);
        let mut course = StudentCourse::from_scratch(self.predicted, epochs, n);
        course.noise_variances.clone_from(&self.noise);
        let examples = (&self.calibration, &self.validation);
        let n_points = course.n_points(n, self.calibration.targets.is_some());
        let found = self.stop.during((n_points, true), || {
            distill_from_scratch(self.stop, small, examples, &course, rng, &mut kept)
        })?;
        let how =
            format!("training from scratch with equal work ({})", epochs_words(found.n_epochs()));
        Ok(Some(made(how, &found, small)))
    }

    /// A distribution of the small perceptron's parameters under the posterior that surgery carried over.
    pub(super) fn inferred(&self, small: (&Graph, &Params), rng: &Rng) -> Result<Made> {
        let epochs = self.arguments.training.epochs().max(BAYESIAN_EPOCHS);
        let batch_size = (self.calibration.n_examples() / 20).clamp(8, 128);
        let n_outputs = self.calibration.teacher.dim(1)?;
        let given = self.arguments.task.noise_variance;
        let course = BayesianCourse {
            noise_variances: given.map(|variance| vec![variance; n_outputs]),
            ..BayesianCourse::after_surgery(self.predicted, epochs, batch_size)
        };
        let mut kept = self.kept(INFERENCE);
        let examples = (&self.calibration, &self.validation);
        let found = self.stop.during((course.n_points(), true), || {
            infer_after_surgery(self.stop, small, examples, &course, rng, &mut kept)
        });
        // An interruption is no error of the option.
        let found = match found {
            Err(error) if !error.is::<Interrupted>() => return Err(error.context("--bayesian")),
            other => other?,
        };
        let training = format!(
            "prior: the network's posterior, its {n} examples counted by {counted}, learning rate {rate:.0e}; epoch {} of \
             {epochs} was best on the validation examples; {:.1} nats from the prior",
            found.best_epoch,
            found.divergence,
            n = self.calibration.n_examples(),
            counted = found.setting.counted,
            rate = found.setting.learning_rate,
        );
        let how =
            "variational inference after surgery, predictions averaged over 100 draws".to_owned();
        let (graph, params) = (small.0.clone(), small.1.clone());
        Ok(Made { how, training, graph, params, loss: None, bayesian: Some(found) })
    }

    fn kept(&self, what: &str) -> InFolder {
        InFolder { path: checkpoint(self.folder, what, self.seed) }
    }
}

fn made(how: String, found: &Distilled, graph: &Graph) -> Made {
    let setting = &found.setting;
    let training = format!(
        "learning rate {:.0e}, λ {}, T {}; epoch {} of {} was best on the validation examples",
        setting.learning_rate,
        setting.lambda,
        setting.temperature,
        found.best_epoch,
        found.n_epochs()
    );
    let (graph, params) = (graph.clone(), found.params.clone());
    Made { how, training, graph, params, loss: Some(found.loss()), bayesian: None }
}

fn epochs_words(n: usize) -> String {
    format!("{n} {} of distillation", if n == 1 { "epoch" } else { "epochs" })
}

fn checkpoint(folder: &Path, what: &str, seed: u64) -> PathBuf {
    folder.join(format!("{what}-{seed}.checkpoint"))
}

/// Removes what a complete run needs no more.
pub(super) fn discard_checkpoints(folder: &Path, training: &TrainingOptions) {
    let of = [
        (DISTILLATION, training.epochs() > 0),
        (SCRATCH, training.baseline.is_some()),
        (INFERENCE, training.bayesian),
    ];
    for seed in training.seeds() {
        let own = of.iter().filter(|(_, was_trained)| *was_trained);
        own.for_each(|(what, _)| discard(&checkpoint(folder, what, seed)));
    }
}

/// Whether a file of this name is a checkpoint of a run.
pub(super) fn is_checkpoint(name: &str) -> bool {
    let seed = name.strip_suffix(".checkpoint").and_then(|name| name.rsplit_once('-'));
    seed.is_some_and(|(what, seed)| {
        [DISTILLATION, SCRATCH, INFERENCE].contains(&what) && seed.parse::<u64>().is_ok()
    })
}

/// Says which checkpoints stay: those of an interrupted run that trained something else, which it goes on from.
pub(super) fn tell_of_checkpoints(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut left: Vec<String> = names.filter(|name| is_checkpoint(name)).collect();
    left.sort();
    if left.is_empty() {
        return;
    }
    note(&format!(
        "{}: left of an interrupted run with another seed or other training: {}; run that command again to go on from there, or \
         delete what you do not need",
        folder.display(),
        left.join(", ")
    ));
}

/// Checkpoints in a file, which goes when the run is complete.
struct InFolder {
    path: PathBuf,
}

impl Checkpoints for InFolder {
    fn load(&mut self) -> Result<Option<Vec<u8>>> {
        if !self.path.exists() {
            return Ok(None);
        }
        self.refuse_links()?;
        note(&format!("{}: going on from there", self.path.display()));
        read(&self.path).map(Some)
    }

    fn store(&mut self, bytes: &[u8]) -> Result<()> {
        let folder = self.path.parent().context("a checkpoint has a folder")?;
        std::fs::create_dir_all(folder)?;
        self.refuse_links()?;
        write_whole(&self.path, bytes)
    }

    fn place(&self) -> Option<String> {
        Some(self.path.display().to_string())
    }
}

impl InFolder {
    fn refuse_links(&self) -> Result<()> {
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned());
        let folder = self.path.parent().unwrap_or(Path::new(""));
        check_set(folder, &[name.unwrap_or_default().as_str()])
    }
}

/// A signal, heeded at the end of an epoch while something is trained, and at once else; and how far training is.
#[derive(Clone, Default)]
pub(super) struct Stop {
    status: Arc<AtomicU8>,
    is_training: Arc<AtomicBool>,
    bar: Arc<Mutex<Option<ProgressBar>>>,
}

impl Stop {
    /// Listens from now on.
    pub(super) fn listening() -> Result<Self> {
        let stop = Self::default();
        let heard = stop.clone();
        ask_on_signals(move |status| {
            let is_training = heard.is_training.load(Ordering::SeqCst);
            if is_training {
                heard.status.store(status, Ordering::SeqCst);
                note(
                    "stopping at the end of this epoch; the same command goes on from there (a second signal stops at once)",
                );
            }
            is_training
        })?;
        Ok(stop)
    }

    /// The exit status that a signal asked for.
    pub(super) fn status(&self) -> Option<u8> {
        Some(self.status.load(Ordering::SeqCst)).filter(|&status| status > 0)
    }

    /// Trains, with a bar for that many trials and epochs on a terminal; a signal waits for a checkpoint where there are some.
    fn during<T>(
        &self,
        (n_points, can_resume): (usize, bool),
        train: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len}, {eta} left  {msg}")?;
        let bar = ProgressBar::with_draw_target(Some(n_points as u64), progress_target());
        self.set_bar(Some(bar.with_style(style)));
        self.is_training.store(can_resume, Ordering::SeqCst);
        let trained = train();
        self.is_training.store(false, Ordering::SeqCst);
        if let Some(bar) = self.set_bar(None) {
            bar.finish_and_clear();
        }
        trained
    }

    fn set_bar(&self, bar: Option<ProgressBar>) -> Option<ProgressBar> {
        std::mem::replace(&mut *self.bar.lock().unwrap_or_else(PoisonError::into_inner), bar)
    }

    /// The bar, where it is on a terminal.
    fn bar(&self) -> Option<ProgressBar> {
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner).clone();
        bar.filter(|bar| !bar.is_hidden())
    }
}

impl Monitor for Stop {
    fn point_done(&self) -> Result<()> {
        self.bar().inspect(|bar| bar.inc(1));
        if self.status().is_some() { Err(Interrupted.into()) } else { Ok(()) }
    }

    fn note(&self, line: &str) {
        match self.bar() {
            Some(bar) => bar.set_message(line.to_owned()),
            None => note(line),
        }
    }
}
