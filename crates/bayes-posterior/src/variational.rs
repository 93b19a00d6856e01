//! Mean-field variational inference of the weights of a perceptron.

use candle_core::Tensor;
use core_tensors::kernels::{Activation, features, linear};
use core_tensors::{Dataset, MeanField, Params, Pull, Rng};
use losses::Likelihood;
use models::{Architecture, Mlp};

use crate::diagonal::Diagonal;
use crate::divergence::{Divergence, Prior};
use crate::error::{Error, Result};
use crate::gaussian::Gaussian;
use crate::structure::Covariance;

/// How the expected log-likelihood is estimated from one draw a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimator {
    /// One draw of the weights for the whole batch. Source: Kingma & Welling (2014).
    Reparametrisation,
    /// One draw of every sum of every object, from its own normal distribution; a smaller variance at twice the
    /// products. Source: Kingma, Salimans & Welling (2015).
    LocalReparametrisation,
}

/// The prior p(w) of a variational inference; where q starts is another matter.
#[derive(Clone, Copy)]
pub enum VariationalPrior<'a> {
    /// N(0, I/a).
    Isotropic {
        /// a > 0.
        precision: f64,
    },
    /// Any Gaussian, such as a teacher's posterior carried to this network.
    Gaussian(&'a dyn DivergenceFrom),
}

/// A distribution that divergences can be taken from: a [`Prior`] of any structure.
pub trait DivergenceFrom: Sync {
    /// KL(N(m, diag v) ‖ self) and its gradient, (p,) each.
    fn divergence(&self, mean: &[f64], variance: &[f64]) -> Result<Divergence>;
    /// Center and precision of a prior with independent parameters, for which a step needs no f64.
    fn independent(&self) -> Option<(&[f32], &[f32])>;
}

impl<S: Covariance + Sync> DivergenceFrom for Prior<'_, S> {
    fn divergence(&self, mean: &[f64], variance: &[f64]) -> Result<Divergence> {
        Prior::divergence(self, mean, variance)
    }

    fn independent(&self) -> Option<(&[f32], &[f32])> {
        self.in_f32()
    }
}

/// What is inferred: maximise N E_q log p(y | x, w) − β KL(q ‖ p), divided by N.
#[derive(Clone, Copy)]
pub struct Inference<'a> {
    /// f(x, w).
    pub network: &'a Mlp,
    /// p(y | f).
    pub likelihood: Likelihood,
    /// p(w).
    pub prior: VariationalPrior<'a>,
    /// N ≥ 1: objects behind the likelihood, of which a batch is a part.
    pub n_objects: usize,
    /// β ≥ 0: 1 is the evidence lower bound, less tempers the prior.
    pub divergence_weight: f64,
    /// How E_q is estimated.
    pub estimator: Estimator,
}

/// A local draw's variance is raised by this, so that its root has a gradient where all inputs are 0.
const SMALLEST_VARIANCE: f64 = 1e-12;

impl Inference<'_> {
    /// One step on a batch: moves q up the estimated bound and returns the estimate of the *mean* log-likelihood,
    /// m⁻¹ Σᵢ log p(yᵢ | xᵢ, w) at the draw. The divergence is not computed: see [`Inference::divergence`].
    pub fn step(&self, q: &mut MeanField, batch: &Dataset, rng: &mut Rng) -> Result<f64> {
        match self.estimator {
            Estimator::Reparametrisation => {
                let w = q.sample(rng)?;
                let scores = self.network.forward(&w, batch.x())?;
                let loss = self.likelihood.negative_log(&scores, batch)?;
                let gradients = loss.backward()?;
                self.with_pull(q, |q, pull| Ok(q.step_at(&w, &gradients, pull)?))?;
                number(&loss)
            }
            Estimator::LocalReparametrisation => {
                let moments = q.moments()?;
                let scores = self.local_scores(&moments, batch.x(), rng)?;
                let loss = self.likelihood.negative_log(&scores, batch)?;
                let gradients = loss.backward()?;
                self.with_pull(q, |q, pull| Ok(q.step_apart(&moments, &gradients, pull)?))?;
                number(&loss)
            }
        }
    }

    /// KL(q ‖ p) in nats, unscaled.
    pub fn divergence(&self, q: &MeanField) -> Result<f64> {
        let (mean, variance) = (q.mean(), q.variance());
        match self.prior {
            VariationalPrior::Isotropic { precision } => {
                let term = |(m, v): (&f64, &f64)| {
                    let ratio = precision * v;
                    0.5 * (ratio + precision * m * m - 1.0 - ratio.ln())
                };
                Ok(mean.iter().zip(&variance).map(term).sum())
            }
            VariationalPrior::Gaussian(prior) => Ok(prior.divergence(&mean, &variance)?.value),
        }
    }

    /// Σᵢ E_q log p(yᵢ | xᵢ, w) − KL(q ‖ p) over the whole data set, from `n_samples` draws: a lower bound of the log
    /// evidence, up to the standard error of the draws; and the first part alone.
    pub fn bound(
        &self,
        q: &MeanField,
        data: &Dataset,
        n_samples: usize,
        rng: &mut Rng,
    ) -> Result<Bound> {
        let mut sum = 0.0;
        for _ in 0..n_samples {
            let scores = self.network.forward(&q.sample(rng)?.frozen(), data.x())?;
            sum += self.likelihood.mean_log(&scores, data)?;
        }
        let log_likelihood = sum / n_samples.max(1) as f64 * data.n_objects() as f64;
        Ok(Bound { log_likelihood, divergence: self.divergence(q)? })
    }

    fn with_pull(
        &self,
        q: &mut MeanField,
        step: impl FnOnce(&mut MeanField, &Pull) -> Result<()>,
    ) -> Result<()> {
        if self.n_objects == 0 {
            return Err(Error::mismatch("objects of an inference", "at least 1", 0));
        }
        let scale = self.divergence_weight / self.n_objects as f64;
        match self.prior {
            VariationalPrior::Isotropic { precision } => {
                step(q, &Pull::Isotropic { precision, scale })
            }
            VariationalPrior::Gaussian(prior) => {
                if let Some((mean, precision)) = prior.independent() {
                    return step(q, &Pull::Diagonal { mean, precision, scale });
                }
                let Divergence { mean_gradient, variance_gradient, .. } =
                    prior.divergence(&q.mean(), &q.variance())?;
                let (by_mean, by_variance) = (&mean_gradient[..], &variance_gradient[..]);
                step(q, &Pull::Given { by_mean, by_variance, scale })
            }
        }
    }

    /// f(x, ·) with each sum drawn from N(z mᵀ, z² vᵀ), biases included.
    fn local_scores(
        &self,
        (mean, variance): &(Params, Params),
        x: &Tensor,
        rng: &mut Rng,
    ) -> Result<Tensor> {
        let mut z = features(x)?.flatten_from(1)?; // (m, n)
        let depth = mean.blocks().len();
        for (t, (mean, variance)) in mean.blocks().iter().zip(variance.blocks()).enumerate() {
            let center = linear(&z, mean, Activation::Identity)?;
            let spread = linear(&z.sqr()?, variance, Activation::Identity)?;
            let mut noise = vec![0f32; center.elem_count()];
            rng.fill_normal(&mut noise);
            let noise = Tensor::from_vec(noise, center.shape(), center.device())?;
            let sums = (center + ((spread + SMALLEST_VARIANCE)?.sqrt()? * noise)?)?; // (m, n_t)
            z = match self.network.activation {
                _ if t + 1 == depth => sums,
                Activation::Identity => sums,
                Activation::Relu => sums.relu()?,
                Activation::LeakyRelu { slope } => (sums.relu()? - (sums.neg()?.relu()? * slope)?)?,
            };
        }
        Ok(z)
    }
}

/// The two parts of an evidence lower bound, in nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// Σᵢ E_q log p(yᵢ | xᵢ, w)
    pub log_likelihood: f64,
    /// KL(q ‖ p)
    pub divergence: f64,
}

impl Bound {
    /// Σᵢ E_q log p(yᵢ | xᵢ, w) − KL(q ‖ p) ≤ log p(D)
    pub fn log_evidence(&self) -> f64 {
        self.log_likelihood - self.divergence
    }
}

/// q as a Gaussian of this crate.
pub fn to_gaussian(q: &MeanField) -> Result<Gaussian<Diagonal>> {
    Gaussian::new(q.layout().clone(), q.mean(), Diagonal::new(q.variance())?)
}

fn number(loss: &Tensor) -> Result<f64> {
    Ok(-loss.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?)
}
