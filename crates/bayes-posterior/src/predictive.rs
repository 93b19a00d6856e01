//! What a posterior over weights says about new examples.

use candle_core::{DType, Device, Tensor};
use core_tensors::linalg::dot;
use core_tensors::{Dataset, Params, Rng, Targets};
use losses::{Likelihood, Predictions, two_class_logits};
use models::{Architecture, Mlp};

use crate::checks;
use crate::curvature::{Directions, Pass};
use crate::error::Result;
use crate::gaussian::Gaussian;
use crate::structure::Covariance;

/// The predictive distribution of each example, (m, k) row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictive {
    /// m
    pub n_examples: usize,
    /// k; of one logit under a Bernoulli likelihood 2, the classes 0 and 1.
    pub n_outputs: usize,
    /// Classification: E p(y = c | x, w); regression: E f(x, w).
    pub mean: Vec<f64>,
    /// Classification: empty; regression: var f(x, w) + σ².
    pub variance: Vec<f64>,
    /// Entropy of the predictive distribution of each example in nats, (m,): its whole uncertainty.
    /// For regression that of N(mean, variance), summed over outputs.
    pub entropy: Vec<f64>,
    /// Mutual information of target and weights in nats, (m,): the part that more data would remove,
    /// H(E p) − E H(p); for regression ½ log (variance / σ²).
    pub mutual_information: Vec<f64>,
}

/// The predictive distribution by averaging over draws of the weights.
///
/// Standard errors fall with `n_samples`^−½; networks run in f32 on the device of `x`.
pub fn monte_carlo<S: Covariance>(
    network: &Mlp,
    gaussian: &Gaussian<S>,
    x: &Tensor,
    likelihood: &Likelihood,
    n_samples: usize,
    rng: &mut Rng,
) -> Result<Predictive> {
    checks::at_least("samples of a predictive distribution", 2, n_samples)?;
    checks::network(network)?;
    checks::some_examples(x.dim(0)?)?;
    let (m, k) = (x.dim(0)?, network.widths[network.widths.len() - 1]);
    let n_values = match likelihood {
        Likelihood::Bernoulli => 2,
        Likelihood::Categorical | Likelihood::Normal { .. } => k,
    };
    let mut mixture = Mixture::new(m, n_values);
    for _ in 0..n_samples {
        let w = Params::from_vec(&network.layout(), &gaussian.sample(rng)?, x.device())?;
        let logits = network.forward(&w, x)?.to_dtype(DType::F64)?;
        let values: Vec<f64> = logits.flatten_all()?.to_vec1()?;
        let values = match likelihood {
            Likelihood::Categorical => softmax(values, m, k)?,
            Likelihood::Bernoulli => two_classes(values, m, k)?,
            Likelihood::Normal { .. } => values,
        };
        mixture.add(&values, *likelihood);
    }
    let Mixture { m, k, mean, spread, .. } = mixture;
    Ok(match likelihood {
        Likelihood::Categorical | Likelihood::Bernoulli => Predictive {
            n_examples: m,
            n_outputs: k,
            entropy: mean.chunks_exact(k).map(entropy).collect(),
            mutual_information: spread.iter().map(|sum| sum / n_samples as f64).collect(),
            mean,
            variance: vec![],
        },
        Likelihood::Normal { variance } => {
            let of_f: Vec<f64> = spread.iter().map(|s| s / (n_samples - 1) as f64).collect();
            normal(m, k, mean, &of_f, *variance)
        }
    })
}

/// What the draws so far say, as sums of terms that are never negative: no spread is a difference of moments.
struct Mixture {
    m: usize,
    k: usize,
    n: f64,
    /// Mean of the values, (m, k).
    mean: Vec<f64>,
    /// Regression: Σ (f − f̄)², (m, k). Classification: Σ KL(p ‖ p̄), (m,), n times the mutual information.
    spread: Vec<f64>,
}

impl Mixture {
    fn new(m: usize, k: usize) -> Self {
        Self { m, k, n: 0.0, mean: vec![0.0; m * k], spread: Vec::new() }
    }

    /// One more draw: Σ (f − f̄)² grows by (f − f̄ₙ₋₁)(f − f̄ₙ), and Σ KL(p ‖ p̄) by
    /// (n − 1) KL(p̄ₙ₋₁ ‖ p̄ₙ) + KL(p ‖ p̄ₙ).
    ///
    /// Source: Welford (1962); the second is the same identity of another Bregman divergence.
    fn add(&mut self, values: &[f64], likelihood: Likelihood) {
        let before = self.n;
        self.n += 1.0;
        let old = self.mean.clone();
        for (mean, value) in self.mean.iter_mut().zip(values) {
            *mean += (value - *mean) / self.n;
        }
        match likelihood {
            Likelihood::Normal { .. } => {
                self.spread.resize(self.m * self.k, 0.0);
                for (i, sum) in self.spread.iter_mut().enumerate() {
                    *sum += (values[i] - old[i]) * (values[i] - self.mean[i]);
                }
            }
            Likelihood::Categorical | Likelihood::Bernoulli => {
                self.spread.resize(self.m, 0.0);
                for (i, sum) in self.spread.iter_mut().enumerate() {
                    let row = i * self.k..(i + 1) * self.k;
                    let mean = &self.mean[row.clone()];
                    *sum += divergence(&values[row.clone()], mean);
                    if before > 0.0 {
                        *sum += before * divergence(&old[row], mean);
                    }
                }
            }
        }
    }
}

/// Σ p log(p/q) − p + q of two distributions, each term not below 0; q > 0 where p > 0.
fn divergence(p: &[f64], q: &[f64]) -> f64 {
    let term = |(&p, &q): (&f64, &f64)| match (p, q) {
        (_, 0.0) => 0.0,
        (0.0, q) => q,
        (p, q) => q * excess((p - q) / q),
    };
    p.iter().zip(q).map(term).sum()
}

/// (1 + t) ln(1 + t) − t ≥ 0 for t > −1: Σ_{k ≥ 2} (−t)ᵏ / (k (k − 1)) where the difference has no digits.
fn excess(t: f64) -> f64 {
    const NEAR: f64 = 0.1;
    // 0.1¹⁸ is below the rounding of the first term, 0.1² / 2.
    const N_TERMS: u32 = 18;
    if t.abs() > NEAR {
        return (1.0 + t) * t.ln_1p() - t;
    }
    let (mut power, mut sum) = (-t, 0.0);
    for k in 2..=N_TERMS {
        power *= -t;
        sum += power / f64::from(k * (k - 1));
    }
    sum
}

/// The predictive distribution from the network's linearization at the mean, without draws.
///
/// f(x, w) ~ N(f(x, m), J Ψ Jᵀ). Classification: softmax(f_c / √(1 + π v_c / 8)) with v = diag J Ψ Jᵀ, of one logit
/// σ(f / √(1 + π v / 8)); regression is exact for the linearization. Costs k products Ψ · (p,) an example. The mutual information of a classification is
/// the entropy of the result less that of softmax(f), at least 0: a proxy.
///
/// Source: MacKay (1992); Daxberger et al. (2021), section B.
///
/// ```
/// use bayes_posterior::candle_core::{Device, Tensor};
/// use bayes_posterior::{Diagonal, Gaussian, linearized_predictive};
/// use core_tensors::kernels::Activation;
/// use losses::Likelihood;
/// use models::{Architecture, Mlp};
/// # fn main() -> bayes_posterior::Result<()> {
/// // f = w x with w ~ N(2, 0.1): at x = 3 the variance is 9 · 0.1, and the noise adds 0.5.
/// let network = Mlp { widths: vec![1, 1], activation: Activation::Identity, bias: false };
/// let gaussian = Gaussian::new(network.layout(), vec![2.0], Diagonal::new(vec![0.1])?)?;
/// let x = Tensor::new(&[[3f64]], &Device::Cpu)?;
/// let noise = Likelihood::Normal { variance: 0.5 };
/// let said = linearized_predictive(&network, &gaussian, &x, &noise)?;
/// assert!((said.mean[0] - 6.0).abs() < 1e-12 && (said.variance[0] - 1.4).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
pub fn linearized_predictive<S: Covariance>(
    network: &Mlp,
    gaussian: &Gaussian<S>,
    x: &Tensor,
    likelihood: &Likelihood,
) -> Result<Predictive> {
    checks::network(network)?;
    let n = x.dim(0)?;
    checks::some_examples(n)?;
    let data =
        Dataset::new(x.clone(), Targets::Values(Tensor::zeros((n, 1), DType::F32, x.device())?))?;
    let pass = Pass::new(network, gaussian.mean())?;
    let p = gaussian.mean().len();
    let (mut mean, mut of_f, mut k) = (Vec::new(), Vec::new(), 0);
    pass.visit(&data, Directions::Outputs, |chunk| {
        k = chunk.logits.ncols();
        let mut row = vec![0.0; p];
        for i in 0..chunk.logits.nrows() {
            for c in 0..k {
                chunk.row(c, i, &mut row);
                of_f.push(dot(&row, &gaussian.covariance().apply(&row)?));
                mean.push(chunk.logits[(i, c)]);
            }
        }
        Ok(())
    })?;
    let probabilities = match likelihood {
        Likelihood::Normal { variance } => return Ok(normal(n, k, mean, &of_f, *variance)),
        Likelihood::Categorical => softmax,
        Likelihood::Bernoulli => two_classes,
    };
    let mut scaled = mean.clone();
    scaled
        .iter_mut()
        .zip(&of_f)
        .for_each(|(f, v)| *f /= (1.0 + std::f64::consts::PI * v / 8.0).sqrt());
    let (mean, scaled) = (probabilities(mean, n, k)?, probabilities(scaled, n, k)?);
    let k = scaled.len() / n;
    let whole: Vec<f64> = scaled.chunks_exact(k).map(entropy).collect();
    let plain = mean.chunks_exact(k).map(entropy);
    let mutual_information = whole.iter().zip(plain).map(|(h, e)| (h - e).max(0.0)).collect();
    Ok(Predictive {
        n_examples: n,
        n_outputs: k,
        mean: scaled,
        variance: vec![],
        entropy: whole,
        mutual_information,
    })
}

fn normal(m: usize, k: usize, mean: Vec<f64>, of_f: &[f64], noise: f64) -> Predictive {
    let variance: Vec<f64> = of_f.iter().map(|v| v + noise).collect();
    let half_log = |v: f64| 0.5 * v.ln();
    let constant = 0.5 * (std::f64::consts::TAU * std::f64::consts::E).ln();
    let entropy =
        variance.chunks_exact(k).map(|row| row.iter().map(|&v| constant + half_log(v)).sum());
    // ½ log (variance / σ²), which a small var f leaves near 0.
    let information =
        of_f.chunks_exact(k).map(|row| row.iter().map(|v| 0.5 * (v / noise).ln_1p()).sum());
    let (entropy, mutual_information) = (entropy.collect(), information.collect());
    Predictive { n_examples: m, n_outputs: k, mean, variance, entropy, mutual_information }
}

/// Probabilities of logits, both (m, k) row by row.
pub(crate) fn softmax(logits: Vec<f64>, m: usize, k: usize) -> Result<Vec<f64>> {
    let logits = Tensor::from_vec(logits, (m, k), &Device::Cpu)?;
    Ok(Predictions::new(&logits)?.into_probabilities())
}

/// Probabilities of the classes 0 and 1 by one logit, (m, 1) → (m, 2) row by row.
pub(crate) fn two_classes(logits: Vec<f64>, m: usize, k: usize) -> Result<Vec<f64>> {
    let logits = Tensor::from_vec(logits, (m, k), &Device::Cpu)?;
    Ok(Predictions::new(&two_class_logits(&logits)?)?.into_probabilities())
}

/// −Σ p log p with 0 log 0 = 0.
fn entropy(row: &[f64]) -> f64 {
    row.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum()
}
