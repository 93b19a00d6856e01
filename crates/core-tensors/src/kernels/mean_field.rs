//! A diagonal Gaussian over a block: its draws, and a step of Adam on its mean and standard deviation, in one pass each.

use super::adam::{Constants, Update};
use super::exponential::exp;
use super::normal::{LANES, normals};
use super::vectorized;
use crate::mean_field::KlGradient;
use crate::rng::Rng;

/// q = N(m, diag e^{2ρ}) over a block, with Adam's moments.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// m
    pub(crate) mean: Vec<f32>,
    /// ρ
    pub(crate) log_std: Vec<f32>,
    /// First and second moments of m and of ρ.
    moments: [Vec<f32>; 4],
}

/// The gradient of the likelihood's term.
#[derive(Clone, Copy)]
pub(crate) enum Slope<'a> {
    /// g by the drawn weights w: by m it is g, by ρ it is g (w − m).
    AtDraw { w: &'a [f32], gradient: &'a [f32] },
    /// By m and by v = e^{2ρ}: by ρ the latter is 2 v times as large.
    Apart { by_mean: &'a [f32], by_variance: &'a [f32] },
}

impl State {
    pub(crate) fn new(mean: Vec<f32>, log_std: Vec<f32>) -> Self {
        let moments = std::array::from_fn(|_| vec![0.0; mean.len()]);
        Self { mean, log_std, moments }
    }

    /// w = m + e^ρ ε, ε ~ N(0, I).
    pub(crate) fn sample(&self, rng: &mut Rng) -> Vec<f32> {
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

    /// e^{2ρ}
    pub(crate) fn variance(&self) -> Vec<f32> {
        vectorized(
            #[inline(always)]
            || self.log_std.iter().map(|&rho| exp(2.0 * rho)).collect(),
        )
    }

    /// One step of Adam; `kl_gradient` begins at this block.
    pub(crate) fn step(&mut self, update: &Update, slope: Slope, kl_gradient: &KlGradient) {
        let (constants, n) = (update.constants(), self.mean.len());
        // A closure that is not inlined leaves the wide instruction set.
        vectorized(
            #[inline(always)]
            || match slope {
                Slope::AtDraw { w, gradient } => {
                    let (w, gradient) = (&w[..n], &gradient[..n]);
                    self.with_prior(
                        &constants,
                        kl_gradient,
                        #[inline(always)]
                        |i: usize, mean, _| (gradient[i], gradient[i] * (w[i] - mean)),
                    );
                }
                Slope::Apart { by_mean, by_variance } => {
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
