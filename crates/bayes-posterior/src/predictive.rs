//! What a posterior over weights says about new objects.

use candle_core::{DType, Tensor};
use core_tensors::linalg::dot;
use core_tensors::{Dataset, Params, Rng, Targets};
use losses::Likelihood;
use models::{Architecture, Mlp};

use crate::curvature::{Directions, Pass};
use crate::error::{Error, Result};
use crate::gaussian::Gaussian;
use crate::structure::Structure;

/// The predictive distribution of each object, (m, k) row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictive {
    /// m
    pub n_objects: usize,
    /// k
    pub n_outputs: usize,
    /// Classification: E p(y = c | x, w); regression: E f(x, w).
    pub mean: Vec<f64>,
    /// Classification: empty; regression: var f(x, w) + σ².
    pub variance: Vec<f64>,
    /// Entropy of the predictive distribution of each object in nats, (m,): its whole uncertainty.
    /// For regression that of N(mean, variance), summed over outputs.
    pub entropy: Vec<f64>,
    /// Mutual information of target and weights in nats, (m,): the part that more data would remove,
    /// H(E p) − E H(p); for regression ½ log (variance / σ²).
    pub mutual_information: Vec<f64>,
}

/// The predictive distribution by averaging over draws of the weights.
///
/// Standard errors fall with `n_samples`^−½; networks run in f32 on the device of `x`.
pub fn monte_carlo<S: Structure>(
    network: &Mlp,
    gaussian: &Gaussian<S>,
    x: &Tensor,
    likelihood: &Likelihood,
    n_samples: usize,
    rng: &mut Rng,
) -> Result<Predictive> {
    if n_samples < 2 {
        return Err(Error::mismatch(
            "samples of a predictive distribution",
            "at least 2",
            n_samples,
        ));
    }
    let (mut sums, mut squares, mut entropies) = (Vec::new(), Vec::new(), Vec::new());
    let (mut m, mut k) = (0, 0);
    for _ in 0..n_samples {
        let w = Params::from_vec(&network.layout(), &gaussian.sample(rng)?, x.device())?;
        let scores = network.forward(&w, x)?.to_dtype(DType::F64)?;
        (m, k) = scores.dims2()?;
        let mut values: Vec<f64> = scores.flatten_all()?.to_vec1()?;
        if sums.is_empty() {
            (sums, squares, entropies) = (vec![0.0; m * k], vec![0.0; m * k], vec![0.0; m]);
        }
        if *likelihood == Likelihood::Categorical {
            for (row, sum) in values.chunks_exact_mut(k).zip(&mut entropies) {
                softmax(row);
                *sum += entropy(row);
            }
        }
        sums.iter_mut().zip(&values).for_each(|(s, v)| *s += v);
        squares.iter_mut().zip(&values).for_each(|(s, v)| *s += v * v);
    }
    let n = n_samples as f64;
    let mean: Vec<f64> = sums.iter().map(|s| s / n).collect();
    Ok(match likelihood {
        Likelihood::Categorical => {
            let whole: Vec<f64> = mean.chunks_exact(k).map(entropy).collect();
            // Jensen's gap, never negative but by rounding.
            let gap = |(h, e): (&f64, &f64)| (h - e / n).max(0.0);
            let mutual_information = whole.iter().zip(&entropies).map(gap).collect();
            Predictive {
                n_objects: m,
                n_outputs: k,
                mean,
                variance: vec![],
                entropy: whole,
                mutual_information,
            }
        }
        Likelihood::Normal { variance } => {
            let spread = |(s, mean): (&f64, &f64)| (s - n * mean * mean).max(0.0) / (n - 1.0);
            let of_f: Vec<f64> = squares.iter().zip(&mean).map(spread).collect();
            normal(m, k, mean, &of_f, *variance)
        }
    })
}

/// The predictive distribution from the network's linearisation at the mean, without draws.
///
/// f(x, w) ~ N(f(x, m), J Ψ Jᵀ). Classification: softmax(f_c / √(1 + π v_c / 8)) with v = diag J Ψ Jᵀ; regression is
/// exact for the linearisation. Costs k products Ψ · (p,) an object. The mutual information of a classification is
/// the entropy of the result less that of softmax(f), at least 0: a proxy.
///
/// Source: MacKay (1992); Daxberger et al. (2021), section B.
pub fn probit<S: Structure>(
    network: &Mlp,
    gaussian: &Gaussian<S>,
    x: &Tensor,
    likelihood: &Likelihood,
) -> Result<Predictive> {
    let n = x.dim(0)?;
    let data =
        Dataset::new(x.clone(), Targets::Values(Tensor::zeros((n, 1), DType::F32, x.device())?))?;
    let pass = Pass::new(network, gaussian.mean())?;
    let p = gaussian.mean().len();
    let (mut mean, mut of_f, mut k) = (Vec::new(), Vec::new(), 0);
    pass.visit(&data, Directions::Outputs, |chunk| {
        k = chunk.scores.ncols();
        let mut row = vec![0.0; p];
        for i in 0..chunk.scores.nrows() {
            for c in 0..k {
                chunk.row(c, i, &mut row);
                of_f.push(dot(&row, &gaussian.covariance().apply(&row)?));
                mean.push(chunk.scores[(i, c)]);
            }
        }
        Ok(())
    })?;
    if let Likelihood::Normal { variance } = likelihood {
        return Ok(normal(n, k, mean, &of_f, *variance));
    }
    let mut scaled = mean.clone();
    scaled
        .iter_mut()
        .zip(&of_f)
        .for_each(|(f, v)| *f /= (1.0 + std::f64::consts::PI * v / 8.0).sqrt());
    mean.chunks_exact_mut(k).for_each(softmax);
    scaled.chunks_exact_mut(k).for_each(softmax);
    let whole: Vec<f64> = scaled.chunks_exact(k).map(entropy).collect();
    let plain = mean.chunks_exact(k).map(entropy);
    let mutual_information = whole.iter().zip(plain).map(|(h, e)| (h - e).max(0.0)).collect();
    Ok(Predictive {
        n_objects: n,
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
    let information =
        variance.chunks_exact(k).map(|row| row.iter().map(|&v| half_log(v / noise)).sum());
    let (entropy, mutual_information) = (entropy.collect(), information.collect());
    Predictive { n_objects: m, n_outputs: k, mean, variance, entropy, mutual_information }
}

fn softmax(row: &mut [f64]) {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    row.iter_mut().for_each(|s| *s = (*s - largest).exp());
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|s| *s /= sum);
}

/// −Σ p log p with 0 log 0 = 0.
fn entropy(row: &[f64]) -> f64 {
    row.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum()
}
