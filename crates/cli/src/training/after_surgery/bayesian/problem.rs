//! What is inferred from: a small network as a perceptron, its labeled examples, and the units of its outputs.

use anyhow::{Context, Result, bail, ensure};
use bayes_posterior::{Diagonal, Gaussian, Predictive, monte_carlo};
use candle_core::{DType, Device, Tensor};
use core_tensors::{Dataset, Params, Rng, Targets};
use losses::Likelihood;
use models::graph::Graph;
use models::{Architecture, Mlp};

use super::super::noise::noise_variances;
use super::super::taught::Taught;
use super::BayesianCourse;
use crate::ledger::quality::Predicted;
use crate::training::logits;

/// A perceptron whose outputs are logits, or values in units of their noise.
///
/// In these units the noise of each output has variance 1, so that one likelihood serves all of them and none of them
/// decides by the unit that its targets happen to have.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) network: Mlp,
    /// w, its last layer in those units.
    pub(super) weights: Params,
    pub(super) likelihood: Likelihood,
    pub(super) units: Units,
}

/// σ of each output of a regression, (k,); none where classes are predicted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Units(pub(super) Vec<f64>);

impl Problem {
    pub(super) fn new(
        (graph, params): (&Graph, &Params),
        validation: &Taught,
        course: &BayesianCourse,
    ) -> Result<Self> {
        let (network, weights) = graph
            .as_perceptron(params)
            .context("only perceptrons can be trained as a distribution of their parameters")?;
        let k = n_outputs(&network);
        let is_one_logit = course.predicted == Predicted::Classes && k == 1;
        check_targets(validation, course.predicted, if is_one_logit { 2 } else { k })?;
        let (likelihood, units) = match course.predicted {
            Predicted::Classes if is_one_logit => (Likelihood::Bernoulli, vec![]),
            Predicted::Classes => (Likelihood::Categorical, vec![]),
            Predicted::Values => {
                let small = (&network, &weights);
                let noise = noise(course.noise_variances.as_deref(), small, validation)?;
                (Likelihood::Normal { variance: 1.0 }, noise.iter().map(|v| v.sqrt()).collect())
            }
        };
        let units = Units(units);
        let weights = units.of_training(&network, &weights)?;
        Ok(Self { network, weights, likelihood, units })
    }

    /// Classes, or values an example.
    pub(super) fn n_targets(&self) -> usize {
        match self.likelihood {
            Likelihood::Bernoulli => 2,
            Likelihood::Categorical | Likelihood::Normal { .. } => n_outputs(&self.network),
        }
    }

    /// Labeled examples, values in units of their noise.
    pub(super) fn data(&self, examples: &Taught) -> Result<Dataset> {
        let Some(targets) = &examples.targets else { bail!(NO_LABELS) };
        let targets = match targets {
            Targets::Classes { .. } => targets.clone(),
            Targets::Values(values) => {
                let per_noise = self.units.row(|std| std.recip() as f32, values.device())?;
                Targets::Values(values.to_dtype(DType::F32)?.broadcast_mul(&per_noise)?)
            }
        };
        Ok(Dataset::new(examples.x.clone(), targets)?)
    }

    /// What draws from a distribution in units of training say, in the units of the targets.
    pub(super) fn predictive(
        &self,
        q: &Gaussian<Diagonal>,
        x: &Tensor,
        n_draws: usize,
        rng: &mut Rng,
    ) -> Result<Predictive> {
        let said = monte_carlo(&self.network, q, x, &self.likelihood, n_draws, rng)?;
        Ok(self.units.of_targets(said))
    }

    /// −log p(y | x) of examples under the predictive distribution, in nats an example and the units of the targets.
    pub(super) fn judged(
        &self,
        q: &Gaussian<Diagonal>,
        data: &Dataset,
        n_draws: usize,
        rng: &mut Rng,
    ) -> Result<f64> {
        let said = monte_carlo(&self.network, q, data.x(), &self.likelihood, n_draws, rng)?;
        let density: f64 = self.units.0.iter().map(|std| std.ln()).sum();
        Ok(negative_log(&said, data.y())? + density)
    }
}

impl Units {
    /// 1 in the place of classes, else a row of numbers for the outputs, (1, k).
    fn row(&self, of: impl Fn(f64) -> f32, device: &Device) -> Result<Tensor> {
        let numbers: Vec<f32> = self.0.iter().map(|&std| of(std)).collect();
        Ok(Tensor::from_vec(numbers, (1, self.0.len()), device)?)
    }

    /// The last layer's rows as often as the noise goes into them: f / σ.
    fn of_training(&self, network: &Mlp, weights: &Params) -> Result<Params> {
        let mut w = weights.to_vec()?;
        self.each(network, &mut w, |w, std| *w /= std);
        let device = weights.blocks().first().map_or(Device::Cpu, |b| b.device().clone());
        Ok(Params::from_vec(&network.layout(), &w, &device)?)
    }

    /// A distribution in units of training as one of the parameters of the network: N(σ m, diag σ² v) in the last layer.
    pub(super) fn of_file(
        &self,
        network: &Mlp,
        q: &Gaussian<Diagonal>,
    ) -> Result<Gaussian<Diagonal>> {
        let (mut mean, mut variance) = (q.mean().to_vec(), q.covariance().variance().to_vec());
        self.each(network, &mut mean, |m, std| *m *= std);
        self.each(network, &mut variance, |v, std| *v *= std * std);
        Ok(Gaussian::new(network.layout(), mean, Diagonal::new(variance)?)?)
    }

    /// Visits the numbers of the last layer with the σ of their output.
    fn each(&self, network: &Mlp, numbers: &mut [f64], mut of: impl FnMut(&mut f64, f64)) {
        let layout = network.layout();
        let (Some(range), Some(block)) = (layout.ranges().pop(), layout.blocks.last()) else {
            return;
        };
        // Where classes are predicted there are no σ, and nothing is visited.
        let rows = numbers[range].chunks_exact_mut(block.cols).zip(&self.0);
        rows.for_each(|(row, &std)| row.iter_mut().for_each(|number| of(number, std)));
    }

    /// A predictive distribution of values over σ as one of values.
    pub(super) fn of_targets(&self, said: Predictive) -> Predictive {
        if self.0.is_empty() {
            return said;
        }
        let k = self.0.len();
        let times = |values: &[f64], power: i32| {
            let of = |(i, value): (usize, &f64)| value * self.0[i % k].powi(power);
            values.iter().enumerate().map(of).collect()
        };
        let density: f64 = self.0.iter().map(|std| std.ln()).sum();
        Predictive {
            mean: times(&said.mean, 1),
            variance: times(&said.variance, 2),
            entropy: said.entropy.iter().map(|h| h + density).collect(),
            ..said
        }
    }

    /// σ² of each output.
    pub(super) fn variances(&self) -> Vec<f64> {
        self.0.iter().map(|std| std * std).collect()
    }
}

const NO_LABELS: &str =
    "a distribution of the parameters is inferred from labels: wanted them, found none";

fn n_outputs(network: &Mlp) -> usize {
    network.widths.last().copied().unwrap_or(0)
}

/// Refuses targets of another kind or number than what is predicted.
pub(super) fn check_targets(examples: &Taught, predicted: Predicted, wanted: usize) -> Result<()> {
    let (found, words) = match (&examples.targets, predicted) {
        (None, _) => bail!(NO_LABELS),
        (Some(Targets::Classes { n_classes, .. }), Predicted::Classes) => (*n_classes, "classes"),
        (Some(Targets::Values(values)), Predicted::Values) => (values.dim(1)?, "values an example"),
        (Some(Targets::Values(_)), Predicted::Classes) => {
            bail!("targets: wanted classes, found values")
        }
        (Some(Targets::Classes { .. }), Predicted::Values) => {
            bail!("targets: wanted values, found classes")
        }
    };
    ensure!(
        found == wanted,
        "targets: wanted {wanted} {words}, as the network has outputs, found {found}"
    );
    Ok(())
}

/// σ² of each output: given, or the small network's mean squared error on the validation examples.
fn noise(
    given: Option<&[f64]>,
    (network, weights): (&Mlp, &Params),
    validation: &Taught,
) -> Result<Vec<f64>> {
    let k = n_outputs(network);
    let variances = match (given, &validation.targets) {
        (Some(given), _) => given.to_vec(),
        (None, Some(y @ Targets::Values(_))) => {
            noise_variances(&logits(network, weights, &validation.x)?, Some(y))?
        }
        (None, Some(Targets::Classes { .. }) | None) => bail!(NO_LABELS),
    };
    ensure!(variances.len() == k, "noise variances: wanted {k}, found {}", variances.len());
    if let Some((j, found)) =
        variances.iter().enumerate().find(|(_, v)| !(**v > 0.0 && v.is_normal()))
    {
        bail!("noise variance of output {j} (from 0): wanted more than 0, found {found}; give it");
    }
    Ok(variances)
}

/// −log p(y | x) under a predictive distribution, in nats an example.
pub(super) fn negative_log(said: &Predictive, y: &Targets) -> Result<f64> {
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
