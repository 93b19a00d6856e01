//! A small perceptron as a distribution: variational inference under the posterior that surgery carried over as prior.

use std::cell::RefCell;
use std::ops::ControlFlow;

use anyhow::{Context, Result, bail, ensure};
use bayes_posterior::{
    AnyPosterior, Covariance, Diagonal, Estimator, Gaussian, Inference, KroneckerEigen, Laplace,
    LayerCurvature, MeanField, Posterior, Predictive, Prior, Provenance, Spectrum, Task,
    VariationalPrior, linearized_predictive, monte_carlo, with_posterior,
};
use candle_core::{DType, Tensor};
use core_tensors::{AdamConfig, Dataset, Fit, Params, Rng, Targets};
use losses::Likelihood;
use models::graph::Graph;
use models::{Architecture, Mlp};

use super::taught::Taught;
use crate::ledger::quality::Predicted;
use crate::training::Monitor;

/// Step size of Adam for means and log standard deviations.
const LEARNING_RATE: f64 = 1e-3;
/// Half of what the examples say is believed before they are seen again.
const COUNTED: f64 = 0.5;
/// Draws by which an epoch is judged.
const DRAWS: usize = 20;

/// How the distribution of a small perceptron is inferred.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BayesianCourse {
    /// What the outputs are; one output that predicts classes becomes two logits, of which the first starts at 0.
    pub predicted: Predicted,
    /// Passes over the calibration examples.
    pub epochs: usize,
    /// Examples a batch.
    pub batch_size: usize,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// δ > 0: precision of the prior that the large network had; p/‖w‖², under which the carried parameters are as likely as
    /// can be, where it is not given.
    pub prior_precision: Option<f64>,
    /// τ ≥ 0: the carried posterior counts τ times as many examples as there are calibration examples. 1 counts these twice
    /// where both networks saw them, less tempers that, and 0 leaves N(w, I/δ) around the carried mean; more than 1 stands for
    /// a large network that was trained by more examples.
    pub counted: f64,
    /// σ² > 0 of a regression; estimated by the large network's errors where it is not given.
    pub noise_variance: Option<f64>,
}

/// A small perceptron and the distribution of its parameters.
#[derive(Clone, Debug)]
pub struct BayesianStudent {
    /// N(m, diag v) over the parameters of its network, as files hold it.
    pub posterior: AnyPosterior,
    /// What goes with it into a file.
    pub provenance: Provenance,
    /// p(y | f).
    pub likelihood: Likelihood,
    /// −log p(y | x) of the validation examples under the predictive distribution, before and after each epoch, in nats an
    /// example.
    pub curve: Vec<f64>,
    /// The epoch of `posterior`, from 1; 0 is before inference.
    pub best_epoch: usize,
    /// KL(q ‖ p) in nats.
    pub divergence: f64,
}

impl BayesianCourse {
    /// The usual numbers.
    pub fn after_surgery(predicted: Predicted, epochs: usize, batch_size: usize) -> Self {
        Self {
            predicted,
            epochs,
            batch_size,
            learning_rate: LEARNING_RATE,
            prior_precision: None,
            counted: COUNTED,
            noise_variance: None,
        }
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.counted >= 0.0 && self.counted.is_finite(),
            "weight of the examples in the prior: wanted a number from 0 on, found {}",
            self.counted
        );
        ensure!(self.epochs > 0, "epochs of inference: wanted at least 1, found 0");
        Ok(())
    }
}

impl BayesianStudent {
    /// f(x, ·).
    pub fn network(&self) -> &Mlp {
        self.posterior.network()
    }

    /// What the mean of predictions over draws of the parameters says of examples.
    ///
    /// # Errors
    /// For fewer than two draws, and for examples that the network does not take.
    pub fn predictive(&self, x: &Tensor, n_draws: usize, rng: &mut Rng) -> Result<Predictive> {
        with_posterior!(&self.posterior, p => {
            Ok(monte_carlo(p.network(), p.gaussian(), x, &self.likelihood, n_draws, rng)?)
        })
    }

    /// The same without draws, by the network's linearization at the mean parameters.
    ///
    /// # Errors
    /// For examples that the network does not take.
    pub fn linearized(&self, x: &Tensor) -> Result<Predictive> {
        with_posterior!(&self.posterior, p => {
            Ok(linearized_predictive(p.network(), p.gaussian(), x, &self.likelihood)?)
        })
    }
}

/// Infers the distribution of a small perceptron's parameters from labeled examples.
///
/// The prior is N(w, (τ N G ⊗ A + δI)⁻¹) for each layer, w what surgery left: the Laplace posterior of the small network by
/// the same examples that the large one's would have, which is the large one's where surgery changed nothing. It has seen
/// the examples that come now: for τ = 1 they count twice, and the result is too sure of itself. `counted` is τ.
/// The result has independent parameters, which start at w with the inverses of the diagonal of (1 + τ) N G ⊗ A + δI, where
/// they end in a linear network. Kept is the epoch with the least loss of the validation examples, the start among them;
/// there is no checkpoint.
///
/// # Errors
/// For a graph that is no perceptron, with the node that no perceptron has; for examples without labels, or with those of
/// another kind than is predicted; for numbers out of range.
pub fn infer_after_surgery(
    monitor: &dyn Monitor,
    (graph, params): (&Graph, &Params),
    (calibration, validation): (&Taught, &Taught),
    course: &BayesianCourse,
    rng: &Rng,
) -> Result<BayesianStudent> {
    course.check()?;
    calibration.check("calibration")?;
    validation.check("validation")?;
    let (network, weights) = perceptron(graph, params, course.predicted)?;
    let likelihood = likelihood(course, calibration)?;
    let (data, held_out) = (labeled(calibration, &network)?, labeled(validation, &network)?);
    let prior_precision = match course.prior_precision {
        Some(given) => given,
        None => likeliest_precision(&weights)?,
    };
    let carried = carried((&network, &weights), &data, (likelihood, prior_precision), course)?;
    let prior = Prior::new(&carried.prior)?;
    let inference = Inference {
        network: &network,
        likelihood,
        prior: VariationalPrior::Gaussian(&prior),
        n_examples: data.n_examples(),
        kl_weight: 1.0,
        estimator: Estimator::LocalReparametrization,
    };
    let mut curve: Vec<f64> = Vec::new();
    let mut best: Option<(usize, Gaussian<Diagonal>, f64)> = None;
    infer(&inference, &carried, &data, course, rng, |q| {
        let (epoch, gaussian) = (curve.len(), q.to_gaussian()?);
        let mut draws = rng.split("judging");
        let (x, n) = (held_out.x(), DRAWS);
        let said = monte_carlo(&network, &gaussian, x, &likelihood, n, &mut draws)?;
        let loss = negative_log(&said, held_out.y())?;
        curve.push(loss);
        if best.as_ref().is_none_or(|(at, ..)| loss < curve[*at]) {
            best = Some((epoch, gaussian, inference.divergence(q)?));
        }
        if epoch > 0 {
            let (n, before) = (course.epochs, curve[0]);
            monitor.note(&format!(
                "epoch {epoch} of {n}: predictive validation loss {loss:.5} ({before:.5} before inference)"
            ));
            monitor.point_done()?;
        }
        Ok(())
    })?;
    let (best_epoch, gaussian, divergence) = best.context("an epoch to keep")?;
    let provenance = provenance(likelihood, prior_precision, data.n_examples());
    let posterior = AnyPosterior::Diagonal(Posterior::new(network.clone(), gaussian)?);
    Ok(BayesianStudent { posterior, provenance, likelihood, curve, best_epoch, divergence })
}

/// What a file says of the posterior.
fn provenance(likelihood: Likelihood, prior_precision: f64, n_examples: usize) -> Provenance {
    let (task, noise_variance) = match likelihood {
        Likelihood::Categorical | Likelihood::Bernoulli => (Task::Classification, None),
        Likelihood::Normal { variance } => (Task::Regression, Some(variance)),
    };
    Provenance {
        task: Some(task),
        noise_variance,
        prior_precision: Some(prior_precision),
        n_examples: Some(n_examples),
        ..Provenance::default()
    }
}

/// The graph as a perceptron; one logit z as the two logits 0 and z.
fn perceptron(graph: &Graph, params: &Params, predicted: Predicted) -> Result<(Mlp, Params)> {
    let (mut network, w) = graph
        .as_perceptron(params)
        .context("only perceptrons can be trained as a distribution of their parameters")?;
    if predicted != Predicted::Classes || network.widths.last() != Some(&1) {
        return Ok((network, w));
    }
    if let Some(last) = network.widths.last_mut() {
        *last = 2;
    }
    let mut blocks = w.blocks().to_vec();
    if let Some(block) = blocks.last_mut() {
        *block = Tensor::cat(&[&block.zeros_like()?, &*block], 0)?;
    }
    let w = Params::new(network.layout(), blocks)?;
    Ok((network, w))
}

/// Labeled examples for a network.
fn labeled(examples: &Taught, network: &Mlp) -> Result<Dataset> {
    let Some(targets) = &examples.targets else {
        bail!("a distribution of the parameters is inferred from labels: wanted them, found none");
    };
    let k = network.widths.last().copied().unwrap_or(0);
    let found = match targets {
        Targets::Classes { n_classes, .. } => *n_classes,
        Targets::Values(values) => values.dim(1)?,
    };
    ensure!(
        k == found,
        "targets: wanted {k} classes or values, as the network has outputs, found {found}"
    );
    Ok(Dataset::new(examples.x.clone(), targets.clone())?)
}

/// p(y | f) for what is predicted.
fn likelihood(course: &BayesianCourse, examples: &Taught) -> Result<Likelihood> {
    match (course.predicted, &examples.targets) {
        (Predicted::Classes, Some(Targets::Values(_))) => {
            bail!("targets: wanted classes, found values")
        }
        (Predicted::Values, Some(Targets::Classes { .. })) => {
            bail!("targets: wanted values, found classes")
        }
        (Predicted::Classes, _) => Ok(Likelihood::Categorical),
        (Predicted::Values, targets) => {
            let variance = match (course.noise_variance, targets) {
                (Some(variance), _) => variance,
                (None, Some(Targets::Values(y))) if y.dims() == examples.teacher.dims() => {
                    let error =
                        (y.to_dtype(DType::F64)? - examples.teacher.to_dtype(DType::F64)?)?;
                    error.sqr()?.mean_all()?.to_scalar::<f64>()?
                }
                (None, _) => {
                    bail!("targets: wanted as many values an example as the network has outputs")
                }
            };
            ensure!(
                variance > 0.0 && variance.is_finite(),
                "noise variance: wanted more than 0, found {variance}; give it"
            );
            Ok(Likelihood::Normal { variance })
        }
    }
}

/// What surgery and the examples say before inference.
struct Carried {
    /// N(w, (τ N G ⊗ A + δI)⁻¹).
    prior: Gaussian<KroneckerEigen>,
    /// Inverses of the diagonal of (1 + τ) N G ⊗ A + δI, in vec order.
    variance: Vec<f64>,
}

fn carried(
    (network, weights): (&Mlp, &Params),
    data: &Dataset,
    (likelihood, prior_precision): (Likelihood, f64),
    course: &BayesianCourse,
) -> Result<Carried> {
    let laplace = Laplace { network, weights, data, likelihood, prior_precision };
    let whole = laplace.kronecker()?.posterior.into_gaussian();
    let diagonal = whole.covariance().precision_diagonal()?;
    let seen = |p: &f64| (1.0 + course.counted) * (p - prior_precision).max(0.0) + prior_precision;
    let variance = diagonal.iter().map(|p| seen(p).recip()).collect();
    let layer = |layer: &LayerCurvature| {
        let values = layer.rows.values().iter().map(|g| course.counted * g).collect();
        let rows = Spectrum::new(layer.rows.vectors().to_owned(), values)?;
        anyhow::Ok(LayerCurvature { rows, columns: layer.columns.clone() })
    };
    let layers = whole.covariance().layers().iter().map(layer).collect::<Result<_>>()?;
    let covariance = KroneckerEigen::new(layers, prior_precision)?;
    let prior = Gaussian::new(network.layout(), whole.mean().to_vec(), covariance)?;
    Ok(Carried { prior, variance })
}

/// p/‖w‖², the δ with the largest density of w under N(0, I/δ).
fn likeliest_precision(w: &Params) -> Result<f64> {
    let w = w.to_vec()?;
    let precision = w.len() as f64 / w.iter().map(|w| w * w).sum::<f64>();
    ensure!(
        precision.is_finite() && precision > 0.0,
        "the parameters are all 0: give the precision of their prior"
    );
    Ok(precision)
}

/// Variational inference from what was carried; `after` sees q before the first epoch and after each.
fn infer(
    inference: &Inference,
    carried: &Carried,
    data: &Dataset,
    course: &BayesianCourse,
    rng: &Rng,
    mut after: impl FnMut(&MeanField) -> Result<()>,
) -> Result<()> {
    let config = AdamConfig::pytorch(course.learning_rate);
    let (layout, device) = (inference.network.layout(), data.x().device());
    let Carried { prior, variance } = carried;
    let q = MeanField::from_vectors(config, &layout, prior.mean(), variance, device)?;
    after(&q)?;
    let (q, mut noise) = (RefCell::new(q), rng.split("noise"));
    let fit = Fit { epochs: course.epochs, batch_size: course.batch_size };
    let step = |batch: &Dataset| Ok(inference.step(&mut q.borrow_mut(), batch, &mut noise)?);
    let on_epoch = |_| {
        after(&q.borrow())?;
        anyhow::Ok(ControlFlow::Continue(()))
    };
    fit.run(data, &mut rng.split("batches of inference"), step, on_epoch)
}

/// −log p(y | x) under a predictive distribution, in nats an example.
fn negative_log(said: &Predictive, y: &Targets) -> Result<f64> {
    let k = said.n_outputs;
    let sum: f64 = match y {
        Targets::Classes { labels, .. } => {
            let rows = said.mean.chunks(k).zip(labels.to_vec1::<u32>()?);
            // A class that no draw allows is as unlikely as the smallest number.
            rows.map(|(p, y)| -p[y as usize].max(f64::MIN_POSITIVE).ln()).sum()
        }
        Targets::Values(y) => {
            let y = y.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
            let of = |((y, mean), v): ((&f64, &f64), &f64)| {
                0.5 * ((y - mean).powi(2) / v + (std::f64::consts::TAU * v).ln())
            };
            y.iter().zip(&said.mean).zip(&said.variance).map(of).sum()
        }
    };
    Ok(sum / said.n_examples as f64)
}

#[cfg(test)]
mod tests;
