//! What students lose on validation examples, beside the network that they are made of.

use anyhow::{Result, bail};
use candle_core::{DType, Tensor};
use core_tensors::{Params, Targets};
use losses::{Likelihood, Predictions, two_class_logits};
use models::graph::Graph;

use super::Plan;
use super::plan::Resource;
use crate::data::user::Prepared;
use crate::ledger::quality::Interval;
use crate::ledger::shrink::FrontPoint;
use crate::ledger::stats::{
    Estimate, discordant, paired_proportions_interval, upper_bound_of_loss, upper_bound_of_mean,
};
use crate::training::logits;

/// Coverage of the bound of a loss.
const LEVEL: f64 = 0.95;

/// Examples that choices are made by, and what the network makes of them.
pub(crate) struct Judge {
    x: Tensor,
    of: Network,
}

/// What a network predicts for each example, and whether it is right.
enum Network {
    Classes { predictions: Predictions, classes: Vec<u32>, labels: Option<Vec<u32>> },
    /// Row by row, k numbers an example; losses of R² are squared errors over `scale`, σ² is that of the noise.
    Values { outputs: Vec<f64>, targets: Option<Vec<f64>>, k: usize, scale: Vec<f64>, variance: f64 },
}

impl Judge {
    /// `network` is the one that students are compared with.
    pub(crate) fn new(
        examples: &Prepared,
        (graph, params): (&Graph, &Params),
        likelihood: Likelihood,
    ) -> Result<Self> {
        let x = examples.x.clone();
        let outputs = logits(graph, params, &x)?;
        let of = match likelihood {
            Likelihood::Normal { variance } => {
                let (_, k) = outputs.dims2()?;
                let outputs = numbers(&outputs)?;
                let targets = match &examples.targets {
                    Some(Targets::Values(values)) => Some(numbers(values)?),
                    Some(Targets::Classes { .. }) => bail!("expected values, found classes"),
                    None => None,
                };
                let scale = variances(targets.as_ref().unwrap_or(&outputs), k);
                Network::Values { outputs, targets, k, scale, variance }
            }
            Likelihood::Categorical | Likelihood::Bernoulli => {
                let predictions = predictions(&outputs)?;
                let labels = match &examples.targets {
                    Some(Targets::Classes { labels, .. }) => Some(labels.to_vec1()?),
                    Some(Targets::Values(_)) => bail!("expected classes, found values"),
                    None => None,
                };
                Network::Classes { classes: predictions.classes(), predictions, labels }
            }
        };
        Ok(Self { x, of })
    }

    /// How many examples there are.
    pub(crate) fn n_examples(&self) -> usize {
        match &self.of {
            Network::Classes { classes, .. } => classes.len(),
            Network::Values { outputs, k, .. } => outputs.len() / k,
        }
    }

    /// Mean KL divergence of a student's predictions from the network's in nats; half the squared distance over the variance
    /// of the noise for values.
    pub(crate) fn nats(&self, graph: &Graph, params: &Params) -> Result<f64> {
        let student = logits(graph, params, &self.x)?;
        self.nats_of(&student)
    }

    fn nats_of(&self, student: &Tensor) -> Result<f64> {
        Ok(match &self.of {
            Network::Classes { predictions: network, .. } => {
                predictions(student)?.divergence_from(network)?
            }
            Network::Values { outputs, variance, k, .. } => {
                let squares = numbers(student)?.iter().zip(outputs).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
                let m = (outputs.len() / k) as f64;
                squares / (2.0 * variance * m)
            }
        })
    }

    /// One-sided 95 % upper bound of what a student loses: accuracy, agreement without labels, or R².
    pub(crate) fn upper_bound(&self, graph: &Graph, params: &Params) -> Result<f64> {
        let student = logits(graph, params, &self.x)?;
        Ok(match self.losses(&student)? {
            Losses::Rights(network, student) => upper_bound_of_loss(&network, &student, LEVEL),
            Losses::Numbers(losses) => upper_bound_of_mean(&losses, LEVEL),
        })
    }

    /// The bound of a student that predicts what the network does: no smaller loss can be certified.
    pub(crate) fn resolvable(&self) -> f64 {
        match &self.of {
            Network::Classes { classes, .. } => {
                let rights = vec![true; classes.len()];
                upper_bound_of_loss(&rights, &rights, LEVEL)
            }
            Network::Values { .. } => 0.0,
        }
    }

    /// A student as a point of the front; it is not marked as chosen.
    pub(crate) fn point(
        &self,
        plan: &Plan,
        widths: &[usize],
        (graph, params): (&Graph, &Params),
    ) -> Result<FrontPoint> {
        let student = logits(graph, params, &self.x)?;
        let change = match self.losses(&student)? {
            Losses::Rights(network, student) => {
                let (b, c) = discordant(&network, &student);
                let n = network.len();
                let (low, high) = paired_proportions_interval(b, c, n);
                Interval { value: (c as f64 - b as f64) / n as f64, low, high }
            }
            Losses::Numbers(losses) => {
                let Estimate { mean, ci95, .. } = Estimate::new(&losses);
                Interval { value: -mean, low: -ci95.1, high: -ci95.0 }
            }
        };
        Ok(FrontPoint {
            widths: plan.free().iter().map(|&g| widths[g]).collect(),
            n_parameters: plan.size(Resource::Parameters, widths),
            n_products: plan.size(Resource::Products, widths),
            change,
            nats: self.nats_of(&student)?,
            is_chosen: false,
        })
    }

    /// What each example tells of a student beside the network.
    fn losses(&self, student: &Tensor) -> Result<Losses> {
        Ok(match &self.of {
            Network::Classes { classes, labels, .. } => {
                let found = predictions(student)?.classes();
                match labels {
                    Some(labels) => {
                        let right = |found: &[u32]| found.iter().zip(labels).map(|(a, b)| a == b).collect();
                        Losses::Rights(right(classes), right(&found))
                    }
                    None => {
                        let agrees = found.iter().zip(classes).map(|(a, b)| a == b).collect();
                        Losses::Rights(vec![true; classes.len()], agrees)
                    }
                }
            }
            Network::Values { outputs, targets, k, scale, .. } => {
                let found = numbers(student)?;
                let truth = targets.as_ref().unwrap_or(outputs);
                let error = |of: &[f64], i: usize| (of[i] - truth[i]).powi(2);
                let loss = |row: usize| {
                    let of = |j: usize| {
                        let i = row * k + j;
                        (error(&found, i) - error(outputs, i)) / scale[j]
                    };
                    (0..*k).map(of).sum::<f64>() / *k as f64
                };
                Losses::Numbers((0..outputs.len() / k).map(loss).collect())
            }
        })
    }
}

/// Losses of a student, example by example.
enum Losses {
    /// Whether the network is right, and whether the student is.
    Rights(Vec<bool>, Vec<bool>),
    /// Share of R² that the example takes away; the mean is the loss.
    Numbers(Vec<f64>),
}

/// Predictions of logits, one of them for two classes.
fn predictions(outputs: &Tensor) -> Result<Predictions> {
    let (_, k) = outputs.dims2()?;
    Ok(if k == 1 { Predictions::new(&two_class_logits(outputs)?)? } else { Predictions::new(outputs)? })
}

fn numbers(values: &Tensor) -> Result<Vec<f64>> {
    Ok(values.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

/// Population variance of each of k columns; 1 for a constant one.
fn variances(values: &[f64], k: usize) -> Vec<f64> {
    let column = |j: usize| -> Vec<f64> { values.iter().skip(j).step_by(k).copied().collect() };
    let variance = |j| crate::ledger::stats::population_std(&column(j)).powi(2);
    (0..k).map(|j| match variance(j) { v if v > 0.0 => v, _ => 1.0 }).collect()
}
