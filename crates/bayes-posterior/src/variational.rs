//! Mean-field variational inference of the weights of a perceptron.

use candle_core::Tensor;
use core_tensors::kernels::mean_field::KlGradient;
use core_tensors::kernels::{Activation, features, linear};
use core_tensors::{Dataset, Params, Rng};
use losses::Likelihood;
use models::{Architecture, Mlp};

use crate::checks;
use crate::divergence::{Divergence, Prior};
use crate::error::Result;
use crate::mean_field::MeanField;
use crate::structure::Covariance;

/// How the expected log-likelihood is estimated from one draw a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimator {
    /// One draw of the weights for the whole batch. Source: Kingma & Welling (2014).
    Reparametrization,
    /// One draw of every sum of every example, from its own normal distribution; a smaller variance at twice the
    /// products. Source: Kingma, Salimans & Welling (2015).
    LocalReparametrization,
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

/// What is inferred: maximize N E_q log p(y | x, w) − β KL(q ‖ p), divided by N.
///
/// ```
/// use bayes_posterior::candle_core::{DType, Device, Tensor};
/// use bayes_posterior::{Estimator, Inference, MeanField, VariationalPrior};
/// use core_tensors::{AdamConfig, Dataset, Params, Rng, Targets, kernels::Activation};
/// use losses::Likelihood;
/// use models::{Architecture, Mlp};
/// # fn main() -> bayes_posterior::Result<()> {
/// // y = 0 at x = 1, with a noise of 1: the posterior of the one weight is N(0, ½).
/// let network = Mlp { widths: vec![1, 1], activation: Activation::Identity, bias: false };
/// let one = Tensor::ones((1, 1), DType::F32, &Device::Cpu)?;
/// let data = Dataset::new(one.clone(), Targets::Values(one.zeros_like()?))?;
/// let inference = Inference {
///     network: &network,
///     likelihood: Likelihood::Normal { variance: 1.0 },
///     prior: VariationalPrior::Isotropic { precision: 1.0 },
///     n_examples: 1,
///     kl_weight: 1.0,
///     estimator: Estimator::LocalReparametrization,
/// };
/// let (config, mut rng) = (AdamConfig::pytorch(1e-2), Rng::new(0));
/// let start = Params::from_vec(&network.layout(), &[1.0], &Device::Cpu)?;
/// let mut q = MeanField::new(config, &start, 0.0)?;
/// assert!((inference.divergence(&q)? - 0.5).abs() < 1e-6); // KL(N(1, 1) ‖ N(0, 1))
/// for _ in 0..100 {
///     inference.step(&mut q, &data, &mut rng)?;
/// }
/// assert!(q.mean()[0] < 0.8 && q.variance()[0] < 1.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Inference<'a> {
    /// f(x, w).
    pub network: &'a Mlp,
    /// p(y | f).
    pub likelihood: Likelihood,
    /// p(w).
    pub prior: VariationalPrior<'a>,
    /// N ≥ 1: examples behind the likelihood, of which a batch is a part.
    pub n_examples: usize,
    /// β ≥ 0: 1 is the evidence lower bound, less tempers the prior.
    pub kl_weight: f64,
    /// How E_q is estimated.
    pub estimator: Estimator,
}

impl Inference<'_> {
    /// One step on a batch: moves q up the estimated bound and returns the estimate of the *mean* log-likelihood,
    /// m⁻¹ Σᵢ log p(yᵢ | xᵢ, w) at the draw. The divergence is not computed: see [`Inference::divergence`].
    pub fn step(&self, q: &mut MeanField, batch: &Dataset, rng: &mut Rng) -> Result<f64> {
        self.check(q, batch)?;
        match self.estimator {
            Estimator::Reparametrization => {
                let x = features(batch.x())?;
                if let Some(perceptron) = q.perceptron(self.network, &x) {
                    let network = (self.network, perceptron);
                    let loss = |f: &Tensor| Ok(self.likelihood.negative_log(f, batch)?);
                    let step = |q: &mut MeanField, kl_gradient: &KlGradient| {
                        q.step_of_perceptron(network, &x, rng, kl_gradient, loss)
                    };
                    return Ok(-self.with_kl_gradient(q, step)?);
                }
                let w = q.sample(rng)?;
                let logits = self.network.forward(&w, batch.x())?;
                let loss = self.likelihood.negative_log(&logits, batch)?;
                let gradients = loss.backward()?;
                self.with_kl_gradient(q, |q, kl_gradient| q.step_at(&w, &gradients, kl_gradient))?;
                number(&loss)
            }
            Estimator::LocalReparametrization => {
                let moments = q.moments()?;
                let logits = self.local_scores(&moments, batch.x(), rng)?;
                let loss = self.likelihood.negative_log(&logits, batch)?;
                let gradients = loss.backward()?;
                self.with_kl_gradient(q, |q, kl_gradient| {
                    q.step_by_moments(&moments, &gradients, kl_gradient)
                })?;
                number(&loss)
            }
        }
    }

    /// KL(q ‖ p) in nats, unscaled.
    pub fn divergence(&self, q: &MeanField) -> Result<f64> {
        let (mean, variance) = (q.mean(), q.variance());
        let divergence = match self.prior {
            VariationalPrior::Isotropic { precision } => {
                let term = |(m, v): (&f64, &f64)| {
                    // e^d − 1 − d is of second order in d.
                    let d = (precision * v).ln();
                    0.5 * (d.exp_m1() - d + precision * m * m)
                };
                mean.iter().zip(&variance).map(term).sum()
            }
            VariationalPrior::Gaussian(prior) => prior.divergence(&mean, &variance)?.value,
        };
        checks::computed("KL(q ‖ p)", divergence)
    }

    /// Σᵢ E_q log p(yᵢ | xᵢ, w) − KL(q ‖ p) over the whole data set, from `n_samples` draws: a lower bound of the log
    /// evidence, up to the standard error of the draws; and the first part alone. An overflow is an error.
    pub fn bound(
        &self,
        q: &MeanField,
        data: &Dataset,
        n_samples: usize,
        rng: &mut Rng,
    ) -> Result<Elbo> {
        self.check(q, data)?;
        checks::at_least("draws of a bound", 1, n_samples)?;
        let mut sum = 0.0;
        for _ in 0..n_samples {
            let logits = self.network.forward(&q.sample(rng)?.frozen(), data.x())?;
            sum += self.likelihood.mean_log(&logits, data)?;
        }
        let log_likelihood = sum / n_samples as f64 * data.n_examples() as f64;
        checks::computed("the expected log-likelihood of a bound", log_likelihood)?;
        let bound = Elbo { log_likelihood, divergence: self.divergence(q)? };
        checks::computed("a bound of the log evidence", bound.log_evidence())?;
        Ok(bound)
    }

    /// q belongs to the network, and there are examples: a mean over none is none.
    fn check(&self, q: &MeanField, data: &Dataset) -> Result<()> {
        checks::same_layout("a posterior", &self.network.layout(), q.layout())?;
        checks::at_least("examples of a likelihood", 1, data.n_examples())
    }

    fn with_kl_gradient<R>(
        &self,
        q: &mut MeanField,
        step: impl FnOnce(&mut MeanField, &KlGradient) -> Result<R>,
    ) -> Result<R> {
        checks::at_least("examples of an inference", 1, self.n_examples)?;
        let scale = self.kl_weight / self.n_examples as f64;
        match self.prior {
            VariationalPrior::Isotropic { precision } => {
                step(q, &KlGradient::Isotropic { precision, scale })
            }
            VariationalPrior::Gaussian(prior) => {
                if let Some((mean, precision)) = prior.independent() {
                    return step(q, &KlGradient::Diagonal { mean, precision, scale });
                }
                let Divergence { mean_gradient, variance_gradient, .. } =
                    prior.divergence(&q.mean(), &q.variance())?;
                let (by_mean, by_variance) = (&mean_gradient[..], &variance_gradient[..]);
                step(q, &KlGradient::Given { by_mean, by_variance, scale })
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
            let sums = (center + (root(&spread)? * noise)?)?; // (m, n_t)
            z = if t + 1 == depth { sums } else { self.network.activation.apply(&sums)? };
        }
        Ok(z)
    }
}

/// The two parts of an evidence lower bound, in nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Elbo {
    /// Σᵢ E_q log p(yᵢ | xᵢ, w)
    pub log_likelihood: f64,
    /// KL(q ‖ p)
    pub divergence: f64,
}

impl Elbo {
    /// Σᵢ E_q log p(yᵢ | xᵢ, w) − KL(q ‖ p) ≤ log p(D)
    pub fn log_evidence(&self) -> f64 {
        self.log_likelihood - self.divergence
    }
}

/// √x with a gradient of 0 where x = 0, as where all inputs of a sum are 0; no constant is added, which small
/// variances would feel.
fn root(x: &Tensor) -> candle_core::Result<Tensor> {
    let (is_zero, zeros) = (x.eq(0.0)?, x.zeros_like()?);
    let positive = is_zero.where_cond(&x.ones_like()?, x)?;
    is_zero.where_cond(&zeros, &positive.sqrt()?)
}

fn number(loss: &Tensor) -> Result<f64> {
    Ok(-loss.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use core_tensors::{AdamConfig, Targets};

    fn inference(network: &Mlp) -> Inference<'_> {
        Inference {
            network,
            likelihood: Likelihood::Normal { variance: 1.0 },
            prior: VariationalPrior::Isotropic { precision: 1.0 },
            n_examples: 4,
            kl_weight: 1.0,
            estimator: Estimator::LocalReparametrization,
        }
    }

    fn posterior(network: &Mlp, variance: f64) -> MeanField {
        let (layout, config) = (network.layout(), AdamConfig::pytorch(1e-3));
        let p = layout.n_parameters();
        let (mean, variance) = (vec![0.0; p], vec![variance; p]);
        MeanField::from_vectors(config, &layout, &mean, &variance, &Device::Cpu).unwrap()
    }

    fn examples(x: &[f32], n_features: usize) -> Dataset {
        let m = x.len() / n_features;
        let x = Tensor::from_slice(x, (m, n_features), &Device::Cpu).unwrap();
        Dataset::new(x, Targets::Values(Tensor::ones((m, 1), DType::F32, &Device::Cpu).unwrap()))
            .unwrap()
    }

    fn linear_model(n: usize, bias: bool) -> Mlp {
        Mlp { widths: vec![n, 1], activation: Activation::Relu, bias }
    }

    #[test]
    fn local_draws_have_the_variance_of_their_weights_however_small() {
        let network = linear_model(3, true);
        // z² summed, with the bias: 1 + 4 + 0.25 + 1.
        let (x, squares) = (Tensor::new(&[[1f32, -2.0, 0.5]], &Device::Cpu).unwrap(), 6.25);
        for v in [1.0, 1e-8, 1e-14, 1e-30] {
            let moments = posterior(&network, v).moments().unwrap();
            let (mut rng, n, mut sum) = (Rng::new(0), 4000, 0.0);
            for _ in 0..n {
                let draw = inference(&network).local_scores(&moments, &x, &mut rng).unwrap();
                sum += f64::from(draw.to_vec2::<f32>().unwrap()[0][0]).powi(2);
            }
            let ratio = sum / (f64::from(n) * squares * v);
            // Five standard errors of a mean of squares.
            assert!((ratio - 1.0).abs() < 5.0 * (2.0 / f64::from(n)).sqrt(), "v = {v:e}: {ratio}");
        }
    }

    #[test]
    fn inputs_of_zero_without_a_bias_leave_finite_gradients() {
        let network = linear_model(2, false);
        let mut q = posterior(&network, 1e-14);
        let data = examples(&[0.0, 0.0, 1.0, 2.0], 2);
        for _ in 0..3 {
            inference(&network).step(&mut q, &data, &mut Rng::new(1)).unwrap();
        }
        assert!(q.mean().iter().chain(&q.variance()).all(|value| value.is_finite()));
        assert!(q.mean().iter().all(|m| *m != 0.0));
    }

    #[test]
    fn the_divergence_from_a_prior_nearby_keeps_its_digits() {
        // ½ (e^d − 1 − d + m²) = d²/4 + m²/2 + …: 1 + m² is 1.
        let (network, config) = (linear_model(1, false), AdamConfig::pytorch(1e-3));
        let (layout, mean, variance) = (network.layout(), [1e-8], [1e-8f64.exp()]);
        let q = MeanField::from_vectors(config, &layout, &mean, &variance, &Device::Cpu).unwrap();
        // Both are kept in f32.
        let (m, d) = (q.mean()[0], q.variance()[0].ln());
        let wanted = d * d / 4.0 + m * m / 2.0;
        let found = inference(&network).divergence(&q).unwrap();
        assert!((found / wanted - 1.0).abs() < 1e-6, "{found} {wanted}");
    }

    #[test]
    fn nothing_to_infer_from_and_foreign_posteriors_are_refused() {
        let network = linear_model(2, true);
        let (mut q, mut rng) = (posterior(&network, 1.0), Rng::new(2));
        let (some, none) = (examples(&[1.0, 2.0], 2), examples(&[], 2));
        let mut inference = inference(&network);
        let error = inference.bound(&q, &some, 0, &mut rng).unwrap_err().to_string();
        assert_eq!(error, "draws of a bound: expected at least 1, found 0");
        let of_none = "examples of a likelihood: expected at least 1, found 0";
        assert_eq!(inference.bound(&q, &none, 1, &mut rng).unwrap_err().to_string(), of_none);
        let other = linear_model(2, false);
        for estimator in [Estimator::Reparametrization, Estimator::LocalReparametrization] {
            inference.estimator = estimator;
            assert_eq!(inference.step(&mut q, &none, &mut rng).unwrap_err().to_string(), of_none);
            let error = inference.step(&mut posterior(&other, 1.0), &some, &mut rng);
            assert_eq!(
                error.unwrap_err().to_string(),
                "a posterior: expected blocks of (1, 3), found (1, 2)"
            );
        }
        inference.n_examples = 0;
        assert!(inference.step(&mut q, &some, &mut rng).is_err());
    }
}
