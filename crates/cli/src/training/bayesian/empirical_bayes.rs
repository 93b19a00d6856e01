//! Bayesian training as the authors' code has it: no sampling, and a prior that is trained along.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use anyhow::{Result, ensure};
use bayes_posterior::{EmpiricalBayesAdam, EmpiricalBayesAdamConfig, GaussianPrior};
use candle_core::Tensor;
use core_tensors::{AdamConfig, Dataset, Fit, Params, Rng, Targets};
use losses::{Distillation, Predictions, distillation};
use models::{Architecture, Mlp};

use crate::ledger::{Curve, Metric, metric, stats};
use crate::training::{Monitor, logits};

/// Step size of weights and their variances.
const LEARNING_RATE: f64 = 1e-3;
/// Step size of the prior.
const PRIOR_LEARNING_RATE: f64 = 1e-5;

/// How a network is trained: each minibatch of B examples asks for one step on
///
/// α KL(q ‖ p) + (mean loss over the minibatch) / B
///
/// with q = N(w, diag(e^ρ)), ρ = 0 at the start, and the loss taken at w: squared error of values, cross-entropy of
/// classes. The data term is divided by B twice and the divergence by nothing, as in the authors' code.
#[derive(Clone, Copy)]
pub struct BayesCourse<'a> {
    /// f(x, ·).
    pub network: &'a Mlp,
    /// Passes and batches.
    pub fit: Fit,
    /// α ≥ 0.
    pub kl_weight: f64,
    /// Iterations from one point of the curves to the next; the first point lies there.
    pub every: usize,
}

/// Where training starts.
#[derive(Clone)]
pub struct BayesStart {
    /// w
    pub weights: Params,
    /// p
    pub prior: GaussianPrior,
}

/// What training leaves.
pub struct BayesEnd {
    /// w and p, as they became.
    pub last: BayesStart,
    /// `log_likelihood` (minus mean test loss), `divergence` (KL(q ‖ p) in nats, without α), of classes also `accuracy`.
    pub curves: BTreeMap<String, Curve>,
}

impl BayesCourse<'_> {
    /// Points of each curve.
    pub fn n_points(&self, n_examples: usize) -> usize {
        self.fit.epochs * n_examples.div_ceil(self.fit.batch_size.max(1)) / self.every.max(1)
    }

    /// Trains from a start; reports to `monitor` at every point.
    pub fn train(
        &self,
        monitor: &dyn Monitor,
        start: &BayesStart,
        data: &Dataset,
        test: &Dataset,
        rng: &mut Rng,
    ) -> Result<BayesEnd> {
        ensure!(self.every > 0, "points of a curve wanted at least one iteration between them");
        let w = start.weights.trainable()?;
        let config = EmpiricalBayesAdamConfig {
            kl_weight: self.kl_weight,
            posterior: AdamConfig::pytorch(LEARNING_RATE),
            prior: AdamConfig::pytorch(PRIOR_LEARNING_RATE),
        };
        let mut optimizer = EmpiricalBayesAdam::new(config, &w, &start.prior)?;
        let mut curves: BTreeMap<String, Curve> = BTreeMap::new();
        let mut n_steps = 0;
        let step = |batch: &Dataset| -> Result<f64> {
            let loss = (mean_loss(&self.network.forward(&w, batch.x())?, batch)?
                / batch.n_examples() as f64)?;
            optimizer.step(&loss.backward()?)?;
            n_steps += 1;
            if n_steps % self.every == 0 {
                let mut point = measure(self.network, &w, test)?;
                point.push((metric::DIVERGENCE, optimizer.divergence()?));
                for (metric, value) in point {
                    curves.entry(metric.key()).or_default().push(value);
                }
                monitor.point_done()?;
            }
            Ok(f64::NAN)
        };
        self.fit.run(data, rng, step, |_| Ok::<_, anyhow::Error>(ControlFlow::Continue(())))?;
        let last = BayesStart { weights: w.frozen(), prior: optimizer.prior()? };
        Ok(BayesEnd { last, curves })
    }
}

/// Mean loss of a batch, shape ().
fn mean_loss(outputs: &Tensor, batch: &Dataset) -> Result<Tensor> {
    Ok(match batch.y() {
        Targets::Values(y) => (outputs - y)?.sqr()?.mean_all()?,
        Targets::Classes { .. } => distillation(outputs, batch, &Distillation::labels_only())?,
    })
}

/// Quality on the test examples.
pub(super) fn measure(network: &Mlp, w: &Params, test: &Dataset) -> Result<Vec<(Metric, f64)>> {
    let outputs = logits(network, w, test.x())?;
    Ok(match test.y() {
        Targets::Values(_) => {
            let loss = mean_loss(&outputs, test)?.to_dtype(candle_core::DType::F64)?;
            vec![(metric::LOG_LIKELIHOOD, -loss.to_scalar::<f64>()?)]
        }
        Targets::Classes { labels, .. } => {
            let (p, labels) = (Predictions::new(&outputs)?, labels.to_vec1()?);
            vec![
                (metric::LOG_LIKELIHOOD, -p.cross_entropy(&labels)?),
                (metric::ACCURACY, p.accuracy(&labels)?),
            ]
        }
    })
}

/// ∫ of a curve from its first point to its last by trapezoids, `every` iterations apart.
pub fn area(curve: &[f64], every: usize) -> f64 {
    stats::trapezoid(curve) * every as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::metric;
    use crate::training::Unwatched;
    use candle_core::Device;
    use core_tensors::kernels::Activation;
    use core_tensors::{Adam, Block, Layout};

    /// Forty f32 steps of 1e-3 against f64 ones, a factor of ten for the gradient of a leaky unit.
    const TOLERANCE: f64 = 1e-5;

    fn course(network: &Mlp, batch_size: usize) -> BayesCourse<'_> {
        let fit = Fit { epochs: 10, batch_size };
        BayesCourse { network, fit, kl_weight: 0.7, every: 10 }
    }

    fn problem() -> (Mlp, BayesStart, Dataset) {
        let mut rng = Rng::new(3);
        let activation = Activation::LeakyRelu { slope: 0.01 };
        let network = Mlp { widths: vec![3, 4, 1], activation, bias: true };
        let mut init = || network.init(&mut rng, &Device::Cpu).unwrap();
        let (weights, mean) = (init(), init());
        let zeros = vec![0.0; network.layout().n_parameters()];
        let log_variance = Params::from_vec(&network.layout(), &zeros, &Device::Cpu).unwrap();
        let column = |rng: &mut Rng, n: usize| {
            Params::uniform(
                &Layout { blocks: vec![Block { rows: 20, cols: n }] },
                &[1.0],
                rng,
                &Device::Cpu,
            )
            .unwrap()
            .blocks()[0]
                .clone()
        };
        let (x, y) = (column(&mut rng, 3), column(&mut rng, 1));
        let data = Dataset::new(x, Targets::Values(y)).unwrap();
        (network, BayesStart { weights, prior: GaussianPrior { mean, log_variance } }, data)
    }

    /// The same objective written out in f64 tensors: one optimizer a group, as the source has it.
    fn by_differentiation(
        network: &Mlp,
        start: &BayesStart,
        data: &Dataset,
        rng: &mut Rng,
    ) -> Vec<f64> {
        let copy = |p: &Params| {
            let blocks = p.blocks().iter().map(|b| b.to_dtype(candle_core::DType::F64).unwrap());
            Params::new(p.layout().clone(), blocks.collect()).unwrap().trainable().unwrap()
        };
        let (w, rho) = (copy(&start.weights), copy(&start.prior.log_variance));
        let (mu, pi) = (copy(&start.prior.mean), copy(&start.prior.log_variance));
        let adam = |p: &Params, rate| Adam::new(AdamConfig::pytorch(rate), p).unwrap();
        let mut posterior = [adam(&w, LEARNING_RATE), adam(&rho, LEARNING_RATE)];
        let mut prior = [adam(&mu, PRIOR_LEARNING_RATE), adam(&pi, PRIOR_LEARNING_RATE)];
        for _ in 0..10 {
            for batch in rng.permutation(20).chunks(8) {
                let batch = data.rows(batch).unwrap();
                let b = batch.n_examples() as f64;
                let objective = || -> candle_core::Result<Tensor> {
                    let x = batch.x().to_dtype(candle_core::DType::F64)?;
                    let Targets::Values(y) = batch.y() else { unreachable!() };
                    let outputs = network.forward(&w, &x).unwrap();
                    let y = y.to_dtype(candle_core::DType::F64)?;
                    let mut total = ((outputs - y)?.sqr()?.mean_all()? / b)?;
                    for t in 0..2 {
                        let of = |p: &Params| p.blocks()[t].clone();
                        let d = (of(&rho) - of(&pi))?;
                        let gap = ((of(&mu) - of(&w))?.sqr()? * of(&pi).neg()?.exp()?)?;
                        let sum = ((d.exp()? - &d)? + gap)?.sum_all()?;
                        total = (total + (sum * (0.5 * 0.7))?)?;
                    }
                    Ok(total)
                };
                let gradients = objective().unwrap().backward().unwrap();
                posterior.iter_mut().for_each(|adam| adam.step(&gradients).unwrap());
                let gradients = objective().unwrap().backward().unwrap();
                prior.iter_mut().for_each(|adam| adam.step(&gradients).unwrap());
            }
        }
        [w, mu, pi].iter().flat_map(|p| p.to_vec().unwrap()).collect()
    }

    #[test]
    fn training_equals_the_objective_written_out() {
        let (network, start, data) = problem();
        // Batches of 8, 8 and 4: the last is divided by its own number of examples.
        let course = course(&network, 8);
        let end = course.train(&Unwatched, &start, &data, &data, &mut Rng::new(5)).unwrap();
        let last = &end.last;
        let found = [&last.weights, &last.prior.mean, &last.prior.log_variance];
        let found: Vec<f64> = found.iter().flat_map(|p| p.to_vec().unwrap()).collect();
        let wanted = by_differentiation(&network, &start, &data, &mut Rng::new(5));
        let gap = found.iter().zip(&wanted).fold(0.0, |d: f64, (a, b)| d.max((a - b).abs()));
        assert!(gap < TOLERANCE, "{gap}");
        assert_eq!(course.n_points(20), 3);
        assert_eq!(end.curves[metric::LOG_LIKELIHOOD.name].len(), 3);
        let outputs = network.forward(&last.weights, data.x()).unwrap();
        let loss = mean_loss(&outputs, &data).unwrap().to_scalar::<f32>().unwrap();
        assert!((end.curves[metric::LOG_LIKELIHOOD.name][2] + f64::from(loss)).abs() < 1e-6);
    }

    #[test]
    fn an_area_by_hand() {
        assert_eq!(area(&[-4.0, -2.0, -1.0], 100), -450.0);
    }
}
