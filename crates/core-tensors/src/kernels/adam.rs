//! One step of Adam on one block.

use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp1, InplaceOp2, Layout, Result, Tensor, bail};

use super::perceptron::{Buffers, Gradient};
use super::{numbers, vectorized};
use crate::optim::AdamConfig;

/// Gradients below this count as zero in the fused step: g² would leave the normal range of f32, where a
/// multiplication takes many times longer. Such a gradient moves a weight by at most 1e-8 η while ε ≥ 1e-8.
const SMALLEST_GRADIENT: f32 = 1e-16;
/// The smallest ε for which that holds; below it the composed form is used.
pub(crate) const SMALLEST_EPSILON: f64 = 1e-8;
/// Moments below these count as zero, for the same reason; a unit that has died decays through them.
const SMALLEST_FIRST: f32 = 1e-30;
const SMALLEST_SECOND: f32 = 1e-35;

/// The constants of step t.
pub(crate) struct Update {
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    /// η / (1 − β₁ᵗ)
    rate: f64,
    /// √(1 − β₂ᵗ)
    root_correction: f64,
}

impl Update {
    pub(crate) fn new(config: &AdamConfig, n_steps: i32) -> Self {
        let AdamConfig { learning_rate, beta1, beta2, epsilon } = *config;
        Self {
            beta1,
            beta2,
            epsilon,
            rate: learning_rate / (1.0 - beta1.powi(n_steps)),
            root_correction: (1.0 - beta2.powi(n_steps)).sqrt(),
        }
    }

    /// The constants of the fused step.
    pub(super) fn constants(&self) -> Constants {
        Constants {
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            rest1: (1.0 - self.beta1) as f32,
            rest2: (1.0 - self.beta2) as f32,
            rate: self.rate as f32,
            epsilon: self.epsilon as f32,
            correction: (1.0 / self.root_correction) as f32,
        }
    }

    /// Moments and block in one pass, f32 on the CPU.
    pub(crate) fn fused(
        &self,
        block: &Tensor,
        gradient: &Tensor,
        first: &mut [f32],
        second: &mut [f32],
    ) -> Result<()> {
        let moments = RefCell::new((first, second));
        block.inplace_op2(&gradient.contiguous()?, &Fused { update: self, moments })
    }

    /// [`Update::fused`] with a gradient that is made part by part, each part used while it is in the cache.
    pub(crate) fn in_parts(
        &self,
        block: &Tensor,
        gradient: &Gradient,
        first: &mut [f32],
        second: &mut [f32],
        buffers: &Buffers,
    ) -> Result<()> {
        let moments = RefCell::new((first, second));
        block.inplace_op1(&InParts { update: self, gradient, moments, buffers })
    }

    /// The same in tensor operations.
    pub(crate) fn composed(
        &self,
        block: &Tensor,
        gradient: &Tensor,
        first: &mut Tensor,
        second: &mut Tensor,
    ) -> Result<()> {
        *first = ((&*first * self.beta1)? + (gradient * (1.0 - self.beta1))?)?;
        *second = ((&*second * self.beta2)? + (gradient.sqr()? * (1.0 - self.beta2))?)?;
        let root = ((second.sqrt()? / self.root_correction)? + self.epsilon)?;
        let updated = (block.detach() - ((&*first / root)? * self.rate)?)?;
        block.slice_set(&updated.contiguous()?, 0, 0)
    }
}

/// [`Update`] in f32.
#[derive(Clone, Copy)]
pub(super) struct Constants {
    beta1: f32,
    beta2: f32,
    rest1: f32,
    rest2: f32,
    rate: f32,
    epsilon: f32,
    correction: f32,
}

impl Constants {
    /// One number's new value; its moments are updated.
    #[inline(always)]
    pub(super) fn step(&self, w: f32, gradient: f32, first: &mut f32, second: &mut f32) -> f32 {
        let g = at_least(gradient, SMALLEST_GRADIENT);
        let m = at_least(self.beta1 * *first + self.rest1 * g, SMALLEST_FIRST);
        let v = at_least(self.beta2 * *second + self.rest2 * g * g, SMALLEST_SECOND);
        *first = m;
        *second = v;
        w - self.rate * m / (v.sqrt() * self.correction + self.epsilon)
    }
}

impl Constants {
    /// New values of a block and its moments, all of one length.
    fn steps(&self, block: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
        let n = block.len().min(gradient.len());
        let (block, gradient) = (&mut block[..n], &gradient[..n]);
        let (first, second) = (&mut first[..n], &mut second[..n]);
        // A closure that is not inlined leaves the wide instruction set.
        vectorized(
            #[inline(always)]
            || {
                for i in 0..n {
                    block[i] = self.step(block[i], gradient[i], &mut first[i], &mut second[i]);
                }
            },
        );
    }
}

/// The numbers of a block, to be changed.
fn numbers_of_block<'a>(block: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("adam wanted a contiguous block, found {layout:?}");
    };
    let CpuStorage::F32(block) = block else { bail!("adam wanted a block of f32") };
    Ok(&mut block[start..end])
}

struct Fused<'a> {
    update: &'a Update,
    moments: RefCell<(&'a mut [f32], &'a mut [f32])>,
}

impl InplaceOp2 for Fused<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(
        &self,
        block: &mut CpuStorage,
        block_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<()> {
        let block = numbers_of_block(block, block_layout)?;
        let gradient = numbers::<f32>(gradient, gradient_layout)?;
        let mut moments = self.moments.borrow_mut();
        let (first, second) = &mut *moments;
        let n = block.len();
        if gradient.len() != n || first.len() != n || second.len() != n {
            bail!("adam wanted {n} gradients and moments, found {}", gradient.len());
        }
        self.update.constants().steps(block, gradient, first, second);
        Ok(())
    }
}

/// [`Fused`] with a gradient in parts.
struct InParts<'a> {
    update: &'a Update,
    gradient: &'a Gradient<'a>,
    moments: RefCell<(&'a mut [f32], &'a mut [f32])>,
    buffers: &'a Buffers,
}

impl InplaceOp1 for InParts<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(&self, block: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let block = numbers_of_block(block, layout)?;
        let mut moments = self.moments.borrow_mut();
        let (first, second) = &mut *moments;
        let (n, constants) = (self.gradient.numbers_at_a_time(), self.update.constants());
        let parts = block.chunks_mut(n).zip(first.chunks_mut(n)).zip(second.chunks_mut(n));
        self.gradient.share_out(self.buffers, parts.collect(), |gradient, part| {
            let ((block, first), second) = part;
            constants.steps(block, gradient, first, second);
            Ok(())
        })?;
        Ok(())
    }
}

/// `value`, or zero where it is smaller in size than `bound`; NaN stays.
#[inline(always)]
fn at_least(value: f32, bound: f32) -> f32 {
    if value.abs() < bound { 0.0 } else { value }
}
