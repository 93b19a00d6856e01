//! The inference itself: trials of settings, then epochs with the best of them, each kept in a checkpoint.

use std::ops::Range;

use anyhow::Result;
use bayes_posterior::{
    Diagonal, Estimator, Gaussian, Inference, MeanField, Prior, VariationalPrior,
};
use candle_core::Device;
use core_tensors::{AdamConfig, Dataset, Rng};

use super::super::checkpoint::{Checkpoints, packed, resumed};
use super::super::course::step_size;
use super::super::failure::{NonFinite, largest_parameter};
use super::super::fingerprint::Fingerprint;
use super::super::trials::{Trials, Tried, at_worst, best_epoch};
use super::carried::Carried;
use super::problem::Problem;
use super::{BayesianCourse, BayesianSetting, BayesianTrial};
use crate::training::Monitor;
use serde::{Deserialize, Serialize};

/// What checkpoints are called.
const KIND: &str = "a variational inference after surgery";
/// Draws by which an epoch and a trial are judged, the same ones each time.
const DRAWS: usize = 50;

/// Everything that does not change while inference goes on.
pub(super) struct Training<'a> {
    pub(super) monitor: &'a dyn Monitor,
    pub(super) problem: Problem,
    pub(super) carried: Carried,
    pub(super) course: &'a BayesianCourse,
    pub(super) data: Dataset,
    pub(super) held_out: Dataset,
    pub(super) rng: Rng,
}

/// What inference ends with.
pub(super) struct Inferred {
    /// In units of training.
    pub(super) q: Gaussian<Diagonal>,
    pub(super) setting: BayesianSetting,
    pub(super) best_epoch: usize,
    pub(super) curve: Vec<f64>,
    pub(super) trials: Vec<BayesianTrial>,
    /// KL(q ‖ p)
    pub(super) divergence: f64,
}

/// How far inference has come; all numbers are finite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Progress {
    /// Losses of the trials so far.
    trials: Vec<Option<f64>>,
    /// Predictive validation losses of the epochs so far.
    epochs: Vec<f64>,
}

impl Training<'_> {
    pub(super) fn run(
        &self,
        fingerprint: &Fingerprint,
        checkpoints: &mut dyn Checkpoints,
    ) -> Result<Inferred> {
        let (mut progress, parts) =
            resumed::<Progress>(KIND, fingerprint, checkpoints)?.unwrap_or_default();
        let mut store = |progress: &Progress, parts: &[Vec<u8>]| -> Result<()> {
            checkpoints.store(&packed(KIND, fingerprint, progress, parts)?)?;
            self.monitor.point_done()
        };
        let (setting, trials) = self.choose(&mut progress, |progress| store(progress, &[]))?;
        let (mut q, prior) = (self.start(setting)?, self.carried.prior(setting.counted)?);
        let prior = Prior::new(&prior)?;
        let inference = self.inference(&prior);
        let before = self.judged(&q)?;
        let mut best = q.clone();
        if let [of_q, of_best] = &parts[..] {
            q.restore(of_q)?;
            best.restore(of_best)?;
        }
        let (n, n_epochs) = (self.n_batches(), self.course.epochs);
        while progress.epochs.len() < n_epochs {
            let epoch = progress.epochs.len();
            let steps = epoch * n..(epoch + 1) * n;
            self.steps(&inference, &mut q, setting, steps, n_epochs * n)?;
            let loss = self.judged(&q)?;
            if !loss.is_finite() {
                return Err(self.failure(&q, setting, loss, epoch, None)?.into());
            }
            progress.epochs.push(loss);
            if best_epoch(curve(before, &progress)) == epoch + 1 {
                best = q.clone();
            }
            self.monitor.note(&format!(
                "epoch {} of {n_epochs}: predictive validation loss {loss:.5} ({before:.5} before inference)",
                epoch + 1
            ));
            store(&progress, &[q.to_bytes()?, best.to_bytes()?])?;
        }
        let curve = curve(before, &progress);
        Ok(Inferred {
            q: best.to_gaussian()?,
            setting,
            best_epoch: best_epoch(curve.iter().copied()),
            divergence: inference.divergence(&best)?,
            curve,
            trials,
        })
    }

    /// Tries what was not tried yet, and gives the best setting.
    fn choose(
        &self,
        progress: &mut Progress,
        mut store: impl FnMut(&Progress) -> Result<()>,
    ) -> Result<(BayesianSetting, Vec<BayesianTrial>)> {
        let settings = self.course.settings();
        if let [only] = settings[..] {
            return Ok((only, Vec::new()));
        }
        let n_steps = self.course.n_steps_of_trial(self.n_batches());
        let (mut trials, mut made) = (Vec::new(), Trials::after(0));
        for &setting in &settings {
            let (loss, is_new) =
                made.next(&mut progress.trials, || self.tried(setting, n_steps))?;
            if is_new {
                store(progress)?;
            }
            trials.push(BayesianTrial { setting, n_steps, loss });
        }
        let finite = trials.iter().filter_map(|trial| Some((trial.loss?, trial.setting)));
        // The first among equals.
        let Some((loss, setting)) = finite.min_by(|(a, _), (b, _)| a.total_cmp(b)) else {
            return Err(made.why_none(|| self.tried(settings[0], n_steps)));
        };
        self.monitor.note(&format!(
            "{} settings for {n_steps} steps each: predictive validation loss {loss:.5} with {setting}",
            trials.len()
        ));
        Ok((setting, trials))
    }

    /// The loss of the validation examples after some steps, or before them where that is less; a failure where it is no
    /// number.
    fn tried(&self, setting: BayesianSetting, n_steps: usize) -> Result<Tried> {
        let (mut q, prior) = (self.start(setting)?, self.carried.prior(setting.counted)?);
        let before = at_worst(self.judged(&q)?);
        let prior = Prior::new(&prior)?;
        let inference = self.inference(&prior);
        if let Err(error) = self.steps(&inference, &mut q, setting, 0..n_steps, n_steps) {
            return error.downcast::<NonFinite>().map(Err);
        }
        let after = self.judged(&q)?;
        let loss = before.min(after);
        if after.is_finite() && loss.is_finite() {
            return Ok(Ok(loss));
        }
        let epoch = n_steps.saturating_sub(1) / self.n_batches();
        Ok(Err(self.failure(&q, setting, after, epoch, None)?))
    }

    fn start(&self, setting: BayesianSetting) -> Result<MeanField> {
        let config = AdamConfig::pytorch(setting.learning_rate);
        self.carried.start(setting.counted, config, self.device())
    }

    fn inference<'a>(
        &'a self,
        prior: &'a Prior<'a, bayes_posterior::KroneckerEigen>,
    ) -> Inference<'a> {
        Inference {
            network: &self.problem.network,
            likelihood: self.problem.likelihood,
            prior: VariationalPrior::Gaussian(prior),
            n_examples: self.data.n_examples(),
            kl_weight: 1.0,
            estimator: Estimator::LocalReparametrization,
        }
    }

    /// Some of `n_steps` steps, counted from the start.
    fn steps(
        &self,
        inference: &Inference,
        q: &mut MeanField,
        setting: BayesianSetting,
        steps: Range<usize>,
        n_steps: usize,
    ) -> Result<()> {
        let (m, size, n) = (self.data.n_examples(), self.course.batch_size, self.n_batches());
        let (mut order, mut of_epoch) = (Vec::new(), None);
        for step in steps {
            let (epoch, batch) = (step / n, step % n);
            if of_epoch != Some(epoch) {
                order = self.rng.split(&format!("epoch {epoch}")).permutation(m);
                of_epoch = Some(epoch);
            }
            let examples = &order[batch * size..m.min((batch + 1) * size)];
            q.set_learning_rate(step_size(setting.learning_rate, step, n_steps))?;
            let mut noise = self.rng.split(&format!("noise of step {step}"));
            let found = -inference.step(q, &self.data.rows(examples)?, &mut noise)?;
            if !found.is_finite() {
                let at = Some((batch + 1, examples.to_vec()));
                return Err(self.failure(q, setting, found, epoch, at)?.into());
            }
        }
        Ok(())
    }

    fn judged(&self, q: &MeanField) -> Result<f64> {
        let mut draws = self.rng.split("judging");
        self.problem.judged(&q.to_gaussian()?, &self.held_out, DRAWS, &mut draws)
    }

    fn failure(
        &self,
        q: &MeanField,
        setting: BayesianSetting,
        loss: f64,
        epoch: usize,
        step: Option<(usize, Vec<usize>)>,
    ) -> Result<NonFinite> {
        let (graph, means) = self.problem.network.to_graph(&q.plug_in()?.frozen())?;
        let largest = largest_parameter(&graph, &means)?;
        Ok(NonFinite { loss, epoch: epoch + 1, step, setting: setting.to_string(), largest })
    }

    fn n_batches(&self) -> usize {
        self.data.n_examples().div_ceil(self.course.batch_size)
    }

    fn device(&self) -> &Device {
        self.data.x().device()
    }
}

/// Predictive validation losses before inference and after each epoch.
fn curve(before: f64, progress: &Progress) -> Vec<f64> {
    std::iter::once(before).chain(progress.epochs.iter().copied()).collect()
}
