//! A diagonal Gaussian over a block: its draws, and a step of Adam on its mean and standard deviation, in one pass each.

use super::adam::{Constants, Update};
use super::exponential::exp;
use super::normal::{LANES, normals};
use super::perceptron::{Buffers, Gradient};
use super::{share_out, vectorized};
use crate::error::{Expected, Result};
use crate::optim::AdamConfig;
use crate::rng::Rng;

/// Weights that are drawn together, a multiple of [`LANES`].
const PART: usize = 256 * LANES;

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
        lengths.into_iter().try_for_each(|found| Expected::Exactly(p).check(what, found))
    }

    /// The same over the n parameters from `start` on.
    fn part(&self, start: usize, n: usize) -> Result<Self> {
        let end = start.saturating_add(n);
        Ok(match *self {
            Self::Isotropic { .. } => *self,
            Self::Diagonal { mean, precision, scale } => {
                let found = mean.len().min(precision.len()).min(end);
                Expected::Exactly(end).check("numbers of a prior", found)?;
                let (mean, precision) = (&mean[start..end], &precision[start..end]);
                Self::Diagonal { mean, precision, scale }
            }
            Self::Given { by_mean, by_variance, scale } => {
                let found = by_mean.len().min(by_variance.len()).min(end);
                Expected::Exactly(end).check("gradients of a prior", found)?;
                let (by_mean, by_variance) = (&by_mean[start..end], &by_variance[start..end]);
                Self::Given { by_mean, by_variance, scale }
            }
        })
    }
}

impl BlockState {
    /// From m and ρ, (n,) each, and no moments.
    pub fn new(mean: Vec<f32>, log_std: Vec<f32>) -> Result<Self> {
        Expected::Exactly(mean.len()).check("log-standard deviations", log_std.len())?;
        let moments = std::array::from_fn(|_| vec![0.0; mean.len()]);
        Ok(Self { mean, log_std, moments })
    }

    /// The same with the moments that another block had, (n,) each: it goes on where that one was.
    pub fn with_moments(mean: Vec<f32>, log_std: Vec<f32>, moments: [Vec<f32>; 4]) -> Result<Self> {
        for moment in &moments {
            Expected::Exactly(mean.len()).check("moments of Adam", moment.len())?;
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
        let mut w = Vec::new();
        self.sample_into(&mut w, rng);
        w
    }

    /// [`BlockState::sample`] in memory that is used again; on several threads where there are some, with the same draws.
    pub fn sample_into(&self, w: &mut Vec<f32>, rng: &mut Rng) {
        let n = self.mean.len();
        w.resize(n, 0.0);
        let start = rng.position();
        let draw = |(part, w): (usize, &mut [f32])| {
            // Each number costs one word of the generator, so that a part's draws do not depend on who makes the others.
            let first = part * PART;
            let mut rng = rng.clone();
            rng.seek(start + first as u128);
            let range = first..first + w.len();
            draws(w, &self.mean[range.clone()], &self.log_std[range], &mut rng);
            Ok(())
        };
        // Drawing never fails.
        let _ = share_out(w.chunks_mut(PART).enumerate().collect(), draw);
        rng.seek(start + n.next_multiple_of(LANES) as u128);
    }

    /// v = e^{2ρ}, (n,).
    pub fn variance(&self) -> Vec<f32> {
        vectorized(
            #[inline(always)]
            || self.log_std.iter().map(|&rho| exp(2.0 * rho)).collect(),
        )
    }

    /// [`BlockState::step`] at a draw w with a gradient that is made part by part, each part used while it is in the cache.
    pub fn step_in_parts(
        &mut self,
        (config, n_steps): (&AdamConfig, i32),
        w: &[f32],
        gradient: &Gradient,
        (kl_gradient, start): (&KlGradient, usize),
        buffers: &Buffers,
    ) -> Result<()> {
        Expected::Exactly(self.mean.len()).check("numbers of a draw", w.len())?;
        let kl_gradient = &kl_gradient.part(start, self.mean.len())?;
        let constants = Update::new(config, n_steps).constants();
        let n = gradient.numbers_at_a_time();
        let parts = self.whole().chunks(n).into_iter().zip(w.chunks(n)).enumerate().collect();
        gradient.share_out(buffers, parts, |gradient, (i, (mut part, w))| {
            let likelihood = LikelihoodGradient::AtDraw { w, gradient };
            part.step(&constants, likelihood, &kl_gradient.part(i * n, w.len())?)
        })
    }

    fn whole(&mut self) -> Part<'_> {
        let moments = self.moments.each_mut().map(Vec::as_mut_slice);
        Part { mean: &mut self.mean, log_std: &mut self.log_std, moments }
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
        let kl_gradient = &kl_gradient.part(start, self.mean.len())?;
        let constants = Update::new(config, n_steps).constants();
        self.whole().step(&constants, likelihood, kl_gradient)
    }
}

/// w = m + e^ρ ε of a part of a block.
fn draws(w: &mut [f32], mean: &[f32], log_std: &[f32], rng: &mut Rng) {
    let (mut words, mut noise) = ([0; LANES], [0.0; LANES]);
    let parts = mean.chunks(LANES).zip(log_std.chunks(LANES));
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
}

/// Some consecutive weights of a block.
struct Part<'a> {
    mean: &'a mut [f32],
    log_std: &'a mut [f32],
    moments: [&'a mut [f32]; 4],
}

impl<'a> Part<'a> {
    /// Parts of n weights each, the last one of what is left.
    fn chunks(self, n: usize) -> Vec<Self> {
        let [m1, m2, r1, r2] = self.moments.map(|moment| moment.chunks_mut(n));
        let states = self.mean.chunks_mut(n).zip(self.log_std.chunks_mut(n));
        let moments = m1.zip(m2).zip(r1.zip(r2));
        let part = |((mean, log_std), ((m1, m2), (r1, r2)))| Self {
            mean,
            log_std,
            moments: [m1, m2, r1, r2],
        };
        states.zip(moments).map(part).collect()
    }

    /// A step of Adam; `kl_gradient` is that of these weights.
    fn step(
        &mut self,
        constants: &Constants,
        likelihood: LikelihoodGradient,
        kl_gradient: &KlGradient,
    ) -> Result<()> {
        let n = self.mean.len();
        let (LikelihoodGradient::AtDraw { w: first, gradient: second }
        | LikelihoodGradient::ByMoments { by_mean: first, by_variance: second }) = likelihood;
        Expected::Exactly(n).check("numbers of a gradient", first.len())?;
        Expected::Exactly(n).check("numbers of a gradient", second.len())?;
        // A closure that is not inlined leaves the wide instruction set.
        vectorized(
            #[inline(always)]
            || match likelihood {
                LikelihoodGradient::AtDraw { w, gradient } => {
                    let (w, gradient) = (&w[..n], &gradient[..n]);
                    self.with_prior(
                        constants,
                        kl_gradient,
                        #[inline(always)]
                        |i: usize, mean, _| (gradient[i], gradient[i] * (w[i] - mean)),
                    );
                }
                LikelihoodGradient::ByMoments { by_mean, by_variance } => {
                    let (by_mean, by_variance) = (&by_mean[..n], &by_variance[..n]);
                    self.with_prior(
                        constants,
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
