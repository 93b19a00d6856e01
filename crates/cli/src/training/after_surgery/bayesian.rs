//! A small perceptron as a distribution: variational inference under the posterior that surgery carried over as prior.

mod carried;
mod problem;
mod run;
#[cfg(test)]
mod tests;

use anyhow::{Result, ensure};
use bayes_posterior::{
    AnyPosterior, Diagonal, Gaussian, Posterior, Predictive, Provenance, Task,
    linearized_predictive,
};
use candle_core::Tensor;
use core_tensors::{Params, Rng};
use losses::Likelihood;
use models::graph::Graph;

use self::carried::Carried;
use self::problem::{Problem, check_targets};
use self::run::{Inferred, Training};
use super::checkpoint::Checkpoints;
use super::fingerprint::fingerprint;
use super::taught::Taught;
use crate::ledger::quality::Predicted;
use crate::training::Monitor;

/// τ that are tried. 1 counts the calibration examples twice; more stands for a large network that was trained by more
/// examples, and the largest leaves what surgery made almost as it is.
const COUNTED: [f64; 4] = [1.0, 10.0, 100.0, 1000.0];
/// Step sizes of Adam that are tried, for means and log standard deviations.
const LEARNING_RATES: [f64; 2] = [1e-4, 1e-3];
/// Share of all steps that a trial takes.
const SHARE_OF_TRIAL: f64 = 0.25;

/// How the distribution of a small perceptron is inferred.
#[derive(Clone, Debug, PartialEq)]
pub struct BayesianCourse {
    /// What the outputs are; one output that predicts classes is the logit of the second of two.
    pub predicted: Predicted,
    /// Passes over the calibration examples, at least 1; those of the trials come on top.
    pub epochs: usize,
    /// Examples a batch, at least 1.
    pub batch_size: usize,
    /// η > 0 that are tried: largest step size of Adam; it rises for a tenth of the steps and falls to 0 from there.
    pub learning_rates: Vec<f64>,
    /// τ ≥ 0 that are tried: the carried posterior counts τ times as many examples as there are calibration examples.
    pub counted: Vec<f64>,
    /// δ > 0: precision of the prior that the large network had; p/‖w‖², under which the carried parameters are as likely as
    /// can be, where it is not given.
    pub prior_precision: Option<f64>,
    /// σ² > 0 of each output of a regression; the small network's mean squared error on the validation examples where it is
    /// not given.
    pub noise_variances: Option<Vec<f64>>,
}

/// One of the settings that are tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BayesianSetting {
    /// τ: what the examples of the carried posterior count for.
    pub counted: f64,
    /// η: largest step size of Adam.
    pub learning_rate: f64,
}

/// A setting that was tried from the start for some steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BayesianTrial {
    /// The setting.
    pub setting: BayesianSetting,
    /// How many steps.
    pub n_steps: usize,
    /// Predictive loss of the validation examples before them or after, whichever is less; `None` where inference left the
    /// finite numbers.
    pub loss: Option<f64>,
}

/// A small perceptron and the distribution of its parameters.
#[derive(Clone, Debug)]
pub struct BayesianStudent {
    /// N(m, diag v) over the parameters of its network, as files hold it.
    pub posterior: AnyPosterior,
    /// What goes with it into a file.
    pub provenance: Provenance,
    /// What validation chose.
    pub setting: BayesianSetting,
    /// −log p(y | x) of the validation examples under the predictive distribution, before and after each epoch, in nats an
    /// example.
    pub curve: Vec<f64>,
    /// The epoch of `posterior`, from 1; 0 is before inference.
    pub best_epoch: usize,
    /// What was tried, in its order.
    pub trials: Vec<BayesianTrial>,
    /// KL(q ‖ p) in nats.
    pub divergence: f64,
    /// The same distribution in units of training.
    q: Gaussian<Diagonal>,
    problem: Problem,
}

impl std::fmt::Display for BayesianSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { counted, learning_rate } = self;
        write!(f, "the examples of the prior counted by {counted}, learning rate {learning_rate:e}")
    }
}

impl BayesianCourse {
    /// The usual numbers.
    pub fn after_surgery(predicted: Predicted, epochs: usize, batch_size: usize) -> Self {
        Self {
            predicted,
            epochs,
            batch_size,
            learning_rates: LEARNING_RATES.to_vec(),
            counted: COUNTED.to_vec(),
            prior_precision: None,
            noise_variances: None,
        }
    }

    /// How many points a monitor is told of.
    pub fn n_points(&self) -> usize {
        let n = self.settings().len();
        if n > 1 { n + self.epochs } else { self.epochs }
    }

    /// Every τ with every step size.
    fn settings(&self) -> Vec<BayesianSetting> {
        let of = |&counted: &f64| {
            let rates = self.learning_rates.iter();
            rates.map(move |&learning_rate| BayesianSetting { counted, learning_rate })
        };
        self.counted.iter().flat_map(of).collect()
    }

    fn n_steps_of_trial(&self, n_batches: usize) -> usize {
        ((self.epochs * n_batches) as f64 * SHARE_OF_TRIAL).ceil() as usize
    }

    fn check(&self) -> Result<()> {
        ensure!(self.epochs > 0, "epochs of inference: wanted at least 1, found 0");
        ensure!(self.batch_size > 0, "examples a batch: wanted at least 1, found 0");
        let settings = self.settings();
        ensure!(!settings.is_empty(), "settings to try: wanted at least 1, found 0");
        for BayesianSetting { counted, learning_rate } in settings {
            ensure!(
                counted >= 0.0 && counted.is_finite(),
                "weight of the examples in the prior: wanted a number from 0 on, found {counted}"
            );
            ensure!(
                learning_rate > 0.0 && learning_rate.is_finite(),
                "learning rate: wanted more than 0, found {learning_rate}"
            );
        }
        Ok(())
    }
}

impl BayesianStudent {
    /// p(y | f) of the outputs in the units of training, in which the noise of values has variance 1.
    pub fn likelihood(&self) -> Likelihood {
        self.problem.likelihood
    }

    /// What the mean of predictions over draws of the parameters says of examples, in the units of the targets; one logit
    /// gives two classes.
    ///
    /// # Errors
    /// For fewer than two draws, and for examples that the network does not take.
    pub fn predictive(&self, x: &Tensor, n_draws: usize, rng: &mut Rng) -> Result<Predictive> {
        self.problem.predictive(&self.q, x, n_draws, rng)
    }

    /// The same without draws, by the network's linearization at the mean parameters.
    ///
    /// # Errors
    /// For examples that the network does not take.
    pub fn linearized(&self, x: &Tensor) -> Result<Predictive> {
        let Problem { network, likelihood, units, .. } = &self.problem;
        Ok(units.of_targets(linearized_predictive(network, &self.q, x, likelihood)?))
    }

    fn new(problem: Problem, inferred: Inferred, provenance: Provenance) -> Result<Self> {
        let Inferred { q, setting, best_epoch, curve, trials, divergence } = inferred;
        let gaussian = problem.units.of_file(&problem.network, &q)?;
        let posterior = Posterior::new(problem.network.clone(), gaussian)?;
        let posterior = AnyPosterior::Diagonal(posterior);
        Ok(Self {
            posterior,
            provenance,
            setting,
            curve,
            best_epoch,
            trials,
            divergence,
            q,
            problem,
        })
    }
}

/// Infers the distribution of a small perceptron's parameters from labeled examples.
///
/// The prior is N(w, (τ N G ⊗ A + δI)⁻¹) for each layer, w what surgery left: the Laplace posterior of the small network by
/// the calibration examples, counted τ times each. A network with p parameters that are independent and that τ N examples
/// leave open loses about p/2τN nats an example to its own spread, so that τ decides whether it is of use; it is chosen by
/// the predictive loss of the validation examples, together with the step size, each setting for a quarter of all steps. τ = 1
/// counts the calibration examples twice; the large network was trained by more examples than are here, which is what
/// larger numbers stand for.
///
/// The result has independent parameters, which start at w with the inverses of the diagonal of (1 + τ) N G ⊗ A + δI, where
/// they end in a linear network. Kept is the epoch with the least predictive loss of the validation examples, the start among
/// them. Values are inferred in units of their noise: each output's last row is divided by its σ, and the distribution scaled
/// back in the end.
///
/// Batches and noise depend on the seed and the step alone. `checkpoints` get the state after each trial and each epoch,
/// before `monitor` is told that the point is done; the next call with the same arguments goes on to the same bits.
///
/// # Errors
/// [`NonFinite`](super::NonFinite) where a loss is no number; for a graph that is no perceptron, with the node that no
/// perceptron has; for examples without labels, or with those of another kind than is predicted; for numbers out of range; for
/// a checkpoint that is damaged or of another training; and whatever `monitor` ends the inference with.
pub fn infer_after_surgery(
    monitor: &dyn Monitor,
    (graph, params): (&Graph, &Params),
    (calibration, validation): (&Taught, &Taught),
    course: &BayesianCourse,
    rng: &Rng,
    checkpoints: &mut dyn Checkpoints,
) -> Result<BayesianStudent> {
    course.check()?;
    calibration.check("calibration")?;
    validation.check("validation")?;
    let problem = Problem::new((graph, params), validation, course)?;
    check_targets(calibration, course.predicted, problem.n_targets())?;
    let sums = fingerprint((graph, params), (calibration, validation), course, rng)?;
    let (data, held_out) = (problem.data(calibration)?, problem.data(validation)?);
    let small = (&problem.network, &problem.weights);
    let carried = Carried::of(small, &data, problem.likelihood, course.prior_precision)?;
    let provenance = provenance(&problem, carried.prior_precision, data.n_examples());
    let rng = rng.split("inference");
    let training =
        Training { monitor, problem: problem.clone(), carried, course, data, held_out, rng };
    BayesianStudent::new(problem, training.run(&sums, checkpoints)?, provenance)
}

/// What a file says of the posterior.
fn provenance(problem: &Problem, prior_precision: f64, n_examples: usize) -> Provenance {
    let variances = problem.units.variances();
    let of_outputs = Provenance { n_examples: Some(n_examples), ..Provenance::default() };
    match problem.likelihood {
        Likelihood::Categorical | Likelihood::Bernoulli => Provenance {
            task: Some(Task::Classification),
            prior_precision: Some(prior_precision),
            ..of_outputs
        },
        // δ belongs to the units of training: in those of the targets the prior has another precision for each output.
        Likelihood::Normal { .. } => Provenance {
            task: Some(Task::Regression),
            noise_variance: Some(crate::ledger::stats::mean(&variances)),
            noise_variances: (variances.len() > 1).then_some(variances),
            ..of_outputs
        },
    }
}
