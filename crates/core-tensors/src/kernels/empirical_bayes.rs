//! Empirical Bayes: a step of Adam on a diagonal Gaussian and its data, then one on its diagonal prior, in one pass.

use std::cell::RefCell;

use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Result, Tensor, bail};

use super::adam::{self, Constants, Update};
use super::exponential::{exp, exp_m1};
use super::{numbers, vectorized};
use crate::optim::AdamConfig;

/// Parameters of a chunk: its arrays lie side by side, so that a pass over memory is a few streams, not two dozen.
const LANES: usize = 64;

type Lanes = [f32; LANES];

/// Everything about [`LANES`] parameters but their weights; what lies beyond the end of a block stays zero.
#[derive(Clone, Debug)]
struct Chunk {
    /// ρ = log v_q
    log_variance: Lanes,
    /// μ
    prior_mean: Lanes,
    /// π = log v_p
    prior_log_variance: Lanes,
    /// First and second moments of w, ρ, μ, π.
    moments: [[Lanes; 2]; 4],
}

/// The state of a block of n weights w beside w itself: ρ, μ, π and the moments of both steps of Adam.
///
/// q = N(w, diag(e^ρ)) is the posterior, p = N(μ, diag(e^π)) its prior.
#[derive(Clone, Debug)]
pub struct BlockState {
    chunks: Vec<Chunk>,
    n: usize,
}

/// Settings of one pair of steps.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    /// α ≥ 0: factor of KL(q ‖ p).
    pub kl_weight: f64,
    /// Adam of (w, ρ).
    pub posterior: AdamConfig,
    /// Adam of (μ, π).
    pub prior: AdamConfig,
    /// Number of this step, from 1.
    pub n: i32,
}

/// Whether [`BlockState::step`] takes this block: f32 on the CPU, and no ε of Adam below 1e-8.
pub fn covers(block: &Tensor, posterior: &AdamConfig, prior: &AdamConfig) -> bool {
    let epsilon = posterior.epsilon.min(prior.epsilon);
    block.device().is_cpu() && block.dtype() == DType::F32 && epsilon >= adam::SMALLEST_EPSILON
}

impl BlockState {
    /// ρ = 0 and no moments, from μ and π, (n,) each; of the longer one the end is not read.
    pub fn new(prior_mean: &[f32], prior_log_variance: &[f32]) -> Self {
        let n = prior_mean.len().min(prior_log_variance.len());
        let chunk = |(mean, log_variance): (&[f32], &[f32])| Chunk {
            log_variance: [0.0; LANES],
            prior_mean: padded(mean),
            prior_log_variance: padded(log_variance),
            moments: [[[0.0; LANES]; 2]; 4],
        };
        let parts = prior_mean[..n].chunks(LANES).zip(prior_log_variance[..n].chunks(LANES));
        Self { chunks: parts.map(chunk).collect(), n }
    }

    /// ρ, (n,).
    pub fn log_variance(&self) -> Vec<f32> {
        self.gather(|chunk| &chunk.log_variance)
    }

    /// μ, (n,).
    pub fn prior_mean(&self) -> Vec<f32> {
        self.gather(|chunk| &chunk.prior_mean)
    }

    /// π, (n,).
    pub fn prior_log_variance(&self) -> Vec<f32> {
        self.gather(|chunk| &chunk.prior_log_variance)
    }

    fn gather(&self, field: fn(&Chunk) -> &Lanes) -> Vec<f32> {
        self.chunks.iter().flat_map(|chunk| field(chunk).iter().copied()).take(self.n).collect()
    }

    /// Both steps, first on (w, ρ), then on (μ, π); `block` holds w and is overwritten. Without a gradient the data know
    /// nothing of the block. Refuses a block that [`covers`] does not.
    pub fn step(&mut self, steps: &Steps, block: &Tensor, gradient: Option<&Tensor>) -> Result<()> {
        let gradient = match gradient {
            Some(gradient) => gradient.contiguous()?,
            None => block.zeros_like()?,
        };
        let constants = |config: &AdamConfig| Update::new(config, steps.n).constants();
        let constants = (constants(&steps.posterior), constants(&steps.prior));
        let (weight, chunks) = (steps.kl_weight as f32, RefCell::new(&mut self.chunks[..]));
        block.inplace_op2(&gradient, &Fused { constants, weight, chunks })
    }
}

struct Fused<'a> {
    constants: (Constants, Constants),
    /// α
    weight: f32,
    chunks: RefCell<&'a mut [Chunk]>,
}

impl InplaceOp2 for Fused<'_> {
    fn name(&self) -> &'static str {
        "empirical-bayes-adam"
    }

    fn cpu_fwd(
        &self,
        block: &mut CpuStorage,
        block_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<()> {
        let Some((start, end)) = block_layout.contiguous_offsets() else {
            bail!("empirical-Bayes Adam wanted a contiguous block, found {block_layout:?}");
        };
        let CpuStorage::F32(block) = block else { bail!("empirical-Bayes Adam wanted f32") };
        let block = &mut block[start..end];
        let gradient = numbers::<f32>(gradient, gradient_layout)?;
        let mut chunks = self.chunks.borrow_mut();
        if gradient.len() != block.len() || chunks.len() != block.len().div_ceil(LANES) {
            bail!(
                "empirical-Bayes Adam wanted {} gradients, found {}",
                block.len(),
                gradient.len()
            );
        }
        // So long a closure would not be inlined of itself, and a call leaves the wide instruction set.
        vectorized(
            #[inline(always)]
            || {
                let parts = block.chunks_mut(LANES).zip(gradient.chunks(LANES));
                for (chunk, (block, gradient)) in chunks.iter_mut().zip(parts) {
                    let mut w = padded(block);
                    self.update(chunk, &mut w, &padded(gradient));
                    block.copy_from_slice(&w[..block.len()]);
                }
            },
        );
        Ok(())
    }
}

impl Fused<'_> {
    /// KL(q ‖ p) = ½ Σ { e^(ρ−π) + e^(−π) (μ − w)² + π − ρ − 1 }
    #[inline(always)]
    fn update(&self, chunk: &mut Chunk, w: &mut Lanes, data: &Lanes) {
        let (half, (posterior, prior)) = (0.5 * self.weight, &self.constants);
        let Chunk { log_variance, prior_mean, prior_log_variance, moments } = chunk;
        let [of_w, of_rho, of_mu, of_pi] = moments;
        let (mut precision, mut slope) = ([0.0; LANES], [0.0; LANES]);
        for i in 0..LANES {
            // e^(−π)
            precision[i] = exp(-prior_log_variance[i]);
            slope[i] = data[i] + self.weight * precision[i] * (w[i] - prior_mean[i]);
        }
        step(posterior, w, &slope, of_w);
        for i in 0..LANES {
            slope[i] = half * exp_m1(log_variance[i] - prior_log_variance[i]);
        }
        step(posterior, log_variance, &slope, of_rho);
        // From here on with the new w and ρ.
        let mut slope_of_pi = [0.0; LANES];
        for i in 0..LANES {
            let gap = prior_mean[i] - w[i];
            let ratio = exp_m1(log_variance[i] - prior_log_variance[i]);
            slope[i] = self.weight * precision[i] * gap;
            slope_of_pi[i] = -half * (ratio + precision[i] * gap * gap);
        }
        step(prior, prior_mean, &slope, of_mu);
        step(prior, prior_log_variance, &slope_of_pi, of_pi);
    }
}

#[inline(always)]
fn step(constants: &Constants, values: &mut Lanes, gradient: &Lanes, moments: &mut [Lanes; 2]) {
    let [first, second] = moments;
    for i in 0..LANES {
        values[i] = constants.step(values[i], gradient[i], &mut first[i], &mut second[i]);
    }
}

#[inline(always)]
fn padded(values: &[f32]) -> Lanes {
    let mut lanes = [0.0; LANES];
    lanes[..values.len()].copy_from_slice(values);
    lanes
}
