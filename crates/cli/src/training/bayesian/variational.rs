//! Mean-field variational inference with a record; start and prior are separate.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use anyhow::{Result, ensure};
use bayes_posterior::{Inference, MeanField};
use core_tensors::{AdamConfig, Dataset, Fit, Layout, Rng};

use super::empirical_bayes::measure;
use crate::ledger::{Curve, Metric, metric};
use crate::training::Monitor;

/// How a posterior is inferred: each minibatch asks for one step up
///
/// m⁻¹ Σᵢ log p(yᵢ | xᵢ, w) − β N⁻¹ KL(q ‖ p),  w drawn from q.
#[derive(Clone, Copy)]
pub struct VariationalCourse<'a> {
    /// Network, likelihood, prior and N.
    pub inference: Inference<'a>,
    /// Passes and batches.
    pub fit: Fit,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Iterations from one point of the curves to the next; the first point lies there.
    pub every: usize,
}

/// q before the first step.
#[derive(Clone, Copy)]
pub struct VariationalStart<'a> {
    /// Means in vec order, (p,).
    pub mean: &'a [f64],
    /// ρ = log standard deviation of every parameter.
    pub log_std: f64,
}

/// What inference leaves.
pub struct VariationalEnd {
    /// q
    pub posterior: MeanField,
    /// At the mean weights on the test examples: `log_likelihood` (minus the mean squared error, or minus the mean
    /// cross-entropy), of classes `accuracy`; `divergence`, KL(q ‖ p) in nats; `fit`, the mean over the steps since the
    /// last point of the mean log-likelihood of a batch at a draw.
    pub curves: BTreeMap<String, Curve>,
    /// The same test metrics before the first step.
    pub at_start: Vec<(Metric, f64)>,
}

impl VariationalCourse<'_> {
    /// Points of each curve.
    pub fn n_points(&self, n_examples: usize) -> usize {
        self.fit.epochs * n_examples.div_ceil(self.fit.batch_size.max(1)) / self.every.max(1)
    }

    /// Infers from a start; reports to `monitor` at every point.
    pub fn train(
        &self,
        monitor: &dyn Monitor,
        start: VariationalStart,
        data: &Dataset,
        test: &Dataset,
        rng: &Rng,
    ) -> Result<VariationalEnd> {
        ensure!(self.every > 0, "points of a curve wanted at least one iteration between them");
        let layout: Layout = models::Architecture::layout(self.inference.network);
        let variance = vec![(2.0 * start.log_std).exp(); layout.n_parameters()];
        let config = AdamConfig::pytorch(self.learning_rate);
        let device = data.x().device();
        let mut q = MeanField::from_vectors(config, &layout, start.mean, &variance, device)?;
        let network = self.inference.network;
        let at_start = measure(network, &q.plug_in()?, test)?;
        let mut curves: BTreeMap<String, Curve> = BTreeMap::new();
        let (mut n_steps, mut fit) = (0, 0.0);
        let mut noise = rng.split("noise");
        let step = |batch: &Dataset| -> Result<f64> {
            let log_likelihood = self.inference.step(&mut q, batch, &mut noise)?;
            fit += log_likelihood / self.every as f64;
            n_steps += 1;
            if n_steps % self.every == 0 {
                let mut point = measure(network, &q.plug_in()?, test)?;
                point.push((metric::DIVERGENCE, self.inference.divergence(&q)?));
                point.push((metric::FIT, std::mem::take(&mut fit)));
                for (metric, value) in point {
                    curves.entry(metric.key()).or_default().push(value);
                }
                monitor.point_done()?;
            }
            Ok(log_likelihood)
        };
        let on_epoch = |_| Ok::<_, anyhow::Error>(ControlFlow::Continue(()));
        self.fit.run(data, &mut rng.split("batches"), step, on_epoch)?;
        Ok(VariationalEnd { posterior: q, curves, at_start })
    }
}
