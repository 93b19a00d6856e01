//! Two alternating steps of Adam on one block: on a diagonal Gaussian and its data, then on its diagonal prior.

use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, bail};

use super::adam::{Constants, Update};
use super::exponential::{exp, exp_m1};
use super::{numbers, vectorized};

/// Parameters of a chunk: its arrays lie side by side, so that a pass over memory is a few streams, not two dozen.
const LANES: usize = 64;

pub(crate) type Lanes = [f32; LANES];

/// Everything about [`LANES`] parameters but their weights; what lies beyond the end of a block stays zero.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    /// ρ = log v_q
    pub(crate) log_variance: Lanes,
    /// μ
    pub(crate) prior_mean: Lanes,
    /// π = log v_p
    pub(crate) prior_log_variance: Lanes,
    /// First and second moments of w, ρ, μ, π.
    moments: [[Lanes; 2]; 4],
}

/// The steps that a pair of updates makes.
pub(crate) struct Steps<'a> {
    /// α
    pub(crate) kl_weight: f64,
    pub(crate) posterior: &'a Update,
    pub(crate) prior: &'a Update,
}

/// Chunks of one block: ρ = 0 and no moments.
pub(crate) fn chunks(prior_mean: &[f32], prior_log_variance: &[f32]) -> Vec<Chunk> {
    let means = prior_mean.chunks(LANES);
    let chunk = |(mean, log_variance): (&[f32], &[f32])| Chunk {
        log_variance: [0.0; LANES],
        prior_mean: padded(mean),
        prior_log_variance: padded(log_variance),
        moments: [[[0.0; LANES]; 2]; 4],
    };
    means.zip(prior_log_variance.chunks(LANES)).map(chunk).collect()
}

/// The numbers that one field of the chunks holds for a block of `n` parameters.
pub(crate) fn gather(chunks: &[Chunk], field: fn(&Chunk) -> &Lanes, n: usize) -> Vec<f32> {
    chunks.iter().flat_map(|chunk| field(chunk).iter().copied()).take(n).collect()
}

/// Updates a block of weights, f32 on the CPU, and its chunks; no gradient means that the data know nothing of it.
pub(crate) fn fused(
    steps: &Steps,
    block: &Tensor,
    gradient: Option<&Tensor>,
    chunks: &mut [Chunk],
) -> Result<()> {
    let gradient = match gradient {
        Some(gradient) => gradient.contiguous()?,
        None => block.zeros_like()?,
    };
    let constants = (steps.posterior.constants(), steps.prior.constants());
    let weight = steps.kl_weight as f32;
    block.inplace_op2(&gradient, &Fused { constants, weight, chunks: RefCell::new(chunks) })
}

struct Fused<'a> {
    constants: (Constants, Constants),
    /// α
    weight: f32,
    chunks: RefCell<&'a mut [Chunk]>,
}

impl InplaceOp2 for Fused<'_> {
    fn name(&self) -> &'static str {
        "alternating-adam"
    }

    fn cpu_fwd(
        &self,
        block: &mut CpuStorage,
        block_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<()> {
        let Some((start, end)) = block_layout.contiguous_offsets() else {
            bail!("alternating Adam wanted a contiguous block, found {block_layout:?}");
        };
        let CpuStorage::F32(block) = block else { bail!("alternating Adam wanted f32") };
        let block = &mut block[start..end];
        let gradient = numbers::<f32>(gradient, gradient_layout)?;
        let mut chunks = self.chunks.borrow_mut();
        if gradient.len() != block.len() || chunks.len() != block.len().div_ceil(LANES) {
            bail!("alternating Adam wanted {} gradients, found {}", block.len(), gradient.len());
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
