//! What students lose on validation examples, beside the network that they are made of.

use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use core_tensors::{Params, Targets};
use losses::Predictions;
use models::graph::Graph;

use super::plan::Resource;
use super::{OutputLikelihood, Plan};
use crate::data::user::Prepared;
use crate::ledger::metric;
use crate::ledger::quality::{Interval, PairedMeasure};
use crate::ledger::shrink::FrontPoint;
use crate::ledger::stats::{
    Estimate, discordant, paired_proportions_interval, proportion_interval, upper_bound_of_loss,
    upper_bound_of_mean,
};
use crate::training::logits;
use crate::training::quality::{class_logits, r_squared_losses, right};

/// Coverage of the bound of a loss.
const LEVEL: f64 = 0.95;

/// Examples that choices are made by, and what the network makes of them.
pub(crate) struct Judge {
    x: Tensor,
    /// Logits or values of the network, (m, k).
    outputs: Tensor,
    /// Labels; where there are none, what the network predicts.
    targets: Targets,
    has_labels: bool,
    likelihood: OutputLikelihood,
}

/// Losses of a student, example by example.
enum Losses {
    /// Whether the network is right, and whether the student is.
    Rights(Vec<bool>, Vec<bool>),
    /// R² that the example takes away, the mean being the loss and their spread its error.
    Numbers(Vec<f64>),
}

impl Judge {
    /// `network` is the one that students are compared with.
    pub(crate) fn new(
        examples: &Prepared,
        (graph, params): (&Graph, &Params),
        likelihood: OutputLikelihood,
    ) -> Result<Self> {
        let x = examples.x.clone();
        let outputs = logits(graph, params, &x)?;
        let has_labels = examples.targets.is_some();
        let targets = match (&examples.targets, &likelihood) {
            (Some(targets), _) => targets.clone(),
            (None, OutputLikelihood::Normal { .. }) => Targets::Values(outputs.clone()),
            (None, OutputLikelihood::Categorical | OutputLikelihood::Bernoulli) => {
                let logits = class_logits(&outputs)?;
                let labels = logits.argmax(1)?.to_dtype(DType::U32)?;
                Targets::Classes { labels, n_classes: logits.dim(1)? }
            }
        };
        Ok(Self { x, outputs, targets, has_labels, likelihood })
    }

    /// How many examples there are.
    pub(crate) fn n_examples(&self) -> usize {
        self.x.dims().first().copied().unwrap_or(0)
    }

    /// Mean KL divergence of a student's predictions from the network's in nats; for values Σⱼ (fⱼ − gⱼ)² / 2σⱼ² with each
    /// output's own noise.
    pub(crate) fn nats(&self, graph: &Graph, params: &Params) -> Result<f64> {
        self.nats_of(&logits(graph, params, &self.x)?)
    }

    fn nats_of(&self, student: &Tensor) -> Result<f64> {
        Ok(match &self.likelihood {
            OutputLikelihood::Categorical | OutputLikelihood::Bernoulli => {
                let of = |values: &Tensor| anyhow::Ok(Predictions::new(&class_logits(values)?)?);
                of(student)?.divergence_from(&of(&self.outputs)?)?
            }
            OutputLikelihood::Normal { variances } => {
                let variances = Tensor::new(variances.as_slice(), student.device())?;
                let squares = (student - &self.outputs)?.to_dtype(DType::F64)?.sqr()?; // (m, k)
                let distances = squares.broadcast_div(&variances)?.sum(1)?; // (m,)
                0.5 * distances.mean_all()?.to_scalar::<f64>()?
            }
        })
    }

    /// One-sided 95 % upper bound of what a student loses: accuracy, agreement without labels, or R².
    pub(crate) fn upper_bound(&self, graph: &Graph, params: &Params) -> Result<f64> {
        Ok(match self.losses(&logits(graph, params, &self.x)?)? {
            Losses::Rights(network, student) => upper_bound_of_loss(&network, &student, LEVEL),
            Losses::Numbers(losses) => bound_of_numbers(losses),
        })
    }

    /// The bound of a student that predicts what the network does: no smaller loss can be certified.
    pub(crate) fn resolvable(&self) -> f64 {
        match self.targets {
            Targets::Classes { .. } => {
                let rights = vec![true; self.n_examples()];
                upper_bound_of_loss(&rights, &rights, LEVEL)
            }
            Targets::Values(_) => bound_of_numbers(vec![0.0; self.n_examples()]),
        }
    }

    /// A student at some widths as a point of the front; it is not marked as chosen.
    pub(crate) fn point(
        &self,
        plan: &Plan,
        widths: &[usize],
        (graph, params): (&Graph, &Params),
    ) -> Result<FrontPoint> {
        let student = logits(graph, params, &self.x)?;
        let change = match self.losses(&student)? {
            // Without targets a reader is told of the distance of values, which has no sign.
            Losses::Numbers(_) if !self.has_labels => {
                let squares = (&student - &self.outputs)?.to_dtype(DType::F64)?.sqr()?;
                let Estimate { mean, ci95, .. } = Estimate::new(&squares.mean(1)?.to_vec1()?);
                let distance = Interval { value: mean, low: ci95.0, high: ci95.1 };
                PairedMeasure::from_exact(metric::TEACHER_DISTANCE, 0.0, distance).difference
            }
            Losses::Rights(network, student) => {
                let (b, c) = discordant(&network, &student);
                let n = network.len();
                // A student cannot agree with the network more often than always.
                let (low, high) = match self.has_labels {
                    true => paired_proportions_interval(b, c, n),
                    false => {
                        let (low, high) = proportion_interval(n - b, n);
                        (low - 1.0, high - 1.0)
                    }
                };
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
        Ok(match &self.targets {
            Targets::Classes { .. } if self.has_labels => {
                Losses::Rights(right(&self.outputs, &self.targets)?, right(student, &self.targets)?)
            }
            Targets::Classes { .. } => {
                Losses::Rights(vec![true; self.n_examples()], right(student, &self.targets)?)
            }
            Targets::Values(_) => {
                let losses = r_squared_losses(&self.outputs, student, &self.targets)?;
                Losses::Numbers(losses.context("all targets are equal, so that there is no R²")?)
            }
        })
    }
}

/// Student's bound of a mean loss, with one example more that loses all of R²: examples on which a student fails are rare, and a
/// sample that happens to have none of them must not certify it.
fn bound_of_numbers(mut losses: Vec<f64>) -> f64 {
    losses.push(1.0);
    upper_bound_of_mean(&losses, LEVEL)
}
