//! A diagonal Gaussian over a block: its draws, and a step of Adam on its mean and standard deviation, in one pass each.

use super::adam::{Constants, Update};
use super::exponential::exp;
use super::normal::{LANES, normals};
use super::vectorized;
use crate::error::{Error, Expected, Result};
use crate::optim::AdamConfig;
use crate::rng::Rng;

/// q = N(m, diag e^{2ρ}) over a block of n weights, with Adam's moments, in f32.
#[derive(Clone, Debug)]
pub struct BlockState {
    /// m
    mean: Vec<f32>,
    /// ρ
    log_std: Vec<f32>,
    /// First and second moments of m and of ρ.
    moments: [Vec<f32>; 4],
}

/// The gradient of the likelihood's term over a block.
#[derive(Clone, Copy, Debug)]
pub enum LikelihoodGradient<'a> {
    /// At a draw: by m it is g, by ρ it is g (w − m).
    AtDraw {
        /// w: the draw, (n,).
        w: &'a [f32],
        /// g: the gradient by w, (n,).
        gradient: &'a [f32],
    },
    /// By the moments m and v = e^{2ρ}: by ρ the latter is 2 v times as large.
    ByMoments {
        /// The gradient by m, (n,).
        by_mean: &'a [f32],
        /// The gradient by v, (n,).
        by_variance: &'a [f32],
    },
}

/// The gradient of the prior's term, scale · KL(q ‖ p), over all p parameters of a network.
#[derive(Clone, Copy, Debug)]
pub enum KlGradient<'a> {
    /// p = N(0, I/a): by m a m, by ρ a v − 1.
    Isotropic {
        /// a > 0.
        precision: f64,
        /// Factor of the divergence in the loss.
        scale: f64,
    },
    /// p = N(m₀, diag 1/P): by m P (m − m₀), by ρ P v − 1.
    Diagonal {
        /// m₀, (p,).
        mean: &'a [f32],
        /// P, (p,), each > 0.
        precision: &'a [f32],
        /// Factor of the divergence in the loss.
        scale: f64,
    },
    /// Any p: its gradients by m and by v, (p,) each, computed where p is known.
    Given {
        /// ∂KL/∂m, (p,).
        by_mean: &'a [f64],
        /// ∂KL/∂v, (p,).
        by_variance: &'a [f64],
        /// Factor of the divergence in the loss.
        scale: f64,
    },
}

impl KlGradient<'_> {
    /// Refuses another length than `p`, the number of parameters of the network.
    pub fn check(&self, p: usize) -> Result<()> {
        let (what, lengths) = match self {
            Self::Isotropic { .. } => return Ok(()),
            Self::Diagonal { mean, precision, .. } => {
                ("numbers of a prior", [mean.len(), precision.len()])
            }
            Self::Given { by_mean, by_variance, .. } => {
                ("gradients of a prior", [by_mean.len(), by_variance.len()])
            }
        };
        lengths.into_iter().try_for_each(|found| same_length(what, p, found))
    }

    /// The same over the n parameters from `start` on.
    fn part(&self, start: usize, n: usize) -> Result<Self> {
        let end = start.saturating_add(n);
        Ok(match *self {
            Self::Isotropic { .. } => *self,
            Self::Diagonal { mean, precision, scale } => {
                same_length("numbers of a prior", end, mean.len().min(precision.len()).min(end))?;
                let (mean, precision) = (&mean[start..end], &precision[start..end]);
                Self::Diagonal { mean, precision, scale }
            }
            Self::Given { by_mean, by_variance, scale } => {
                let found = by_mean.len().min(by_variance.len()).min(end);
                same_length("gradients of a prior", end, found)?;
                let (by_mean, by_variance) = (&by_mean[start..end], &by_variance[start..end]);
                Self::Given { by_mean, by_variance, scale }
            }
        })
    }
}

fn same_length(what: &'static str, n: usize, found: usize) -> Result<()> {
    if n == found {
        return Ok(());
    }
    Err(Error::Count { what, expected: Expected::Exactly(n), found })
}

impl BlockState {
    /// From m and ρ, (n,) each, and no moments.
    pub fn new(mean: Vec<f32>, log_std: Vec<f32>) -> Result<Self> {
        same_length("log-standard deviations", mean.len(), log_std.len())?;
        let moments = std::array::from_fn(|_| vec![0.0; mean.len()]);
        Ok(Self { mean, log_std, moments })
    }

    /// The same with the moments that another block had, (n,) each: it goes on where that one was.
    pub fn with_moments(mean: Vec<f32>, log_std: Vec<f32>, moments: [Vec<f32>; 4]) -> Result<Self> {
        for moment in &moments {
            same_length("moments of Adam", mean.len(), moment.len())?;
        }
        Ok(Self { moments, ..Self::new(mean, log_std)? })
    }

    /// First and second moments of m, then those of ρ, (n,) each.
    pub fn moments(&self) -> &[Vec<f32>; 4] {
        &self.moments
    }

    /// m, (n,).
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// ρ, (n,).
    pub fn log_std(&self) -> &[f32] {
        &self.log_std
    }

    /// w = m + e^ρ ε, ε ~ N(0, I).
    pub fn sample(&self, rng: &mut Rng) -> Vec<f32> {
        let (mut words, mut noise) = ([0; LANES], [0.0; LANES]);
        let mut w = vec![0.0; self.mean.len()];
        let parts = self.mean.chunks(LANES).zip(self.log_std.chunks(LANES));
        for (w, (mean, log_std)) in w.chunks_mut(LANES).zip(parts) {
            rng.fill_words(&mut words);
            normals(&words, &mut noise);
            vectorized(
                #[inline(always)]
                || {
                    for i in 0..w.len().min(LANES) {
                        w[i] = mean[i] + exp(log_std[i]) * noise[i];
                    }
                },
            );
        }
        w
    }

    /// v = e^{2ρ}, (n,).
    pub fn variance(&self) -> Vec<f32> {
        vectorized(
            #[inline(always)]
            || self.log_std.iter().map(|&rho| exp(2.0 * rho)).collect(),
        )
    }

    /// Step `n_steps` (from 1) of Adam; the block begins at parameter `start` of those of `kl_gradient`.
    pub fn step(
        &mut self,
        config: &AdamConfig,
        n_steps: i32,
        likelihood: LikelihoodGradient,
        kl_gradient: &KlGradient,
        start: usize,
    ) -> Result<()> {
        let n = self.mean.len();
        let (LikelihoodGradient::AtDraw { w: first, gradient: second }
        | LikelihoodGradient::ByMoments { by_mean: first, by_variance: second }) = likelihood;
        same_length("numbers of a gradient", n, first.len())?;
        same_length("numbers of a gradient", n, second.len())?;
        let kl_gradient = &kl_gradient.part(start, n)?;
        let constants = Update::new(config, n_steps).constants();
        // A closure that is not inlined leaves the wide instruction set.
        vectorized(
            #[inline(always)]
            || match likelihood {
                LikelihoodGradient::AtDraw { w, gradient } => {
                    let (w, gradient) = (&w[..n], &gradient[..n]);
                    self.with_prior(
                        &constants,
                        kl_gradient,
                        #[inline(always)]
                        |i: usize, mean, _| (gradient[i], gradient[i] * (w[i] - mean)),
                    );
                }
                LikelihoodGradient::ByMoments { by_mean, by_variance } => {
                    let (by_mean, by_variance) = (&by_mean[..n], &by_variance[..n]);
                    self.with_prior(
                        &constants,
                        kl_gradient,
                        #[inline(always)]
                        |i: usize, _, variance| (by_mean[i], 2.0 * variance * by_variance[i]),
                    );
                }
            },
        );
        Ok(())
    }

    #[inline(always)]
    fn with_prior(
        &mut self,
        constants: &Constants,
        kl_gradient: &KlGradient,
        data: impl Fn(usize, f32, f32) -> (f32, f32),
    ) {
        let n = self.mean.len();
        match *kl_gradient {
            KlGradient::Isotropic { precision, scale } => {
                let (a, scale) = (precision as f32, scale as f32);
                self.each(
                    constants,
                    data,
                    #[inline(always)]
                    |_, mean, v| (scale * a * mean, scale * (a * v - 1.0)),
                );
            }
            KlGradient::Diagonal { mean: center, precision, scale } => {
                let (center, precision, scale) = (&center[..n], &precision[..n], scale as f32);
                self.each(
                    constants,
                    data,
                    #[inline(always)]
                    |i, mean, v| {
                        let gap = mean - center[i];
                        (scale * precision[i] * gap, scale * (precision[i] * v - 1.0))
                    },
                );
            }
            KlGradient::Given { by_mean, by_variance, scale } => {
                let (by_mean, by_variance) = (&by_mean[..n], &by_variance[..n]);
                self.each(
                    constants,
                    data,
                    #[inline(always)]
                    |i, _, v| {
                        let by_rho = 2.0 * f64::from(v) * by_variance[i];
                        ((scale * by_mean[i]) as f32, (scale * by_rho) as f32)
                    },
                );
            }
        }
    }

    /// `data` and `prior` give the gradients by m and by ρ of parameter i from its m and its v.
    #[inline(always)]
    fn each(
        &mut self,
        constants: &Constants,
        data: impl Fn(usize, f32, f32) -> (f32, f32),
        prior: impl Fn(usize, f32, f32) -> (f32, f32),
    ) {
        let n = self.mean.len();
        let (mean, rho) = (&mut self.mean[..n], &mut self.log_std[..n]);
        let [m1, m2, r1, r2] = &mut self.moments;
        let (m1, m2, r1, r2) = (&mut m1[..n], &mut m2[..n], &mut r1[..n], &mut r2[..n]);
        for i in 0..n {
            let variance = exp(2.0 * rho[i]);
            let (by_mean, by_rho) = data(i, mean[i], variance);
            let (prior_mean, prior_rho) = prior(i, mean[i], variance);
            mean[i] = constants.step(mean[i], by_mean + prior_mean, &mut m1[i], &mut m2[i]);
            rho[i] = constants.step(rho[i], by_rho + prior_rho, &mut r1[i], &mut r2[i]);
        }
    }
}
