//! The step of a perceptron at a draw of its weights, in buffers that are used again.

use candle_core::Tensor;
use core_tensors::kernels::mean_field::KlGradient;
use core_tensors::kernels::perceptron::{Buffers, Gradient, Perceptron, Weights};
use core_tensors::{Block, Rng};
use models::{Architecture, Mlp};

use super::MeanField;
use crate::error::Result;

/// Memory of a perceptron's step, which the next one uses again.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    perceptron: Option<(Mlp, Perceptron)>,
    /// The last draw of the weights.
    draws: Vec<Vec<f32>>,
    buffers: Buffers,
}

/// q at a draw: what a perceptron reads and moves.
struct AtDraw<'a> {
    q: &'a mut MeanField,
    n_steps: i32,
    kl_gradient: &'a KlGradient<'a>,
}

impl Weights for AtDraw<'_> {
    fn read(
        &self,
        t: usize,
        see: &mut dyn FnMut(&[f32]) -> core_tensors::Result<()>,
    ) -> core_tensors::Result<()> {
        see(self.q.scratch.draws.get(t).map_or(&[], Vec::as_slice))
    }

    fn descend(&mut self, t: usize, gradient: &Gradient) -> core_tensors::Result<()> {
        let start = self.q.layout.blocks.iter().take(t).map(Block::n_parameters).sum();
        let MeanField { config, blocks, scratch, .. } = &mut *self.q;
        let Scratch { draws, buffers, .. } = scratch;
        let n = blocks.len();
        let (Some(block), Some(w)) = (blocks.get_mut(t), draws.get(t)) else {
            return Err(core_tensors::Error::Index { what: "block", index: t, n });
        };
        block.step_in_parts((config, self.n_steps), w, gradient, (self.kl_gradient, start), buffers)
    }
}

impl MeanField {
    /// The network's form on slices, where it has one and the numbers are f32 on the CPU; kept from step to step.
    pub(crate) fn perceptron(&mut self, network: &Mlp, x: &Tensor) -> Option<Perceptron> {
        let kept = self.scratch.perceptron.take().filter(|(of, _)| of == network);
        kept.map(|(_, kept)| kept)
            .or_else(|| network.perceptron())
            .filter(|_| self.device.is_cpu() && Perceptron::covers(x))
    }

    /// One step at a draw for that form of a network: `loss` maps f(x, w) to the likelihood's term, whose value is returned.
    pub(crate) fn step_of_perceptron(
        &mut self,
        (network, mut perceptron): (&Mlp, Perceptron),
        x: &Tensor,
        rng: &mut Rng,
        kl_gradient: &KlGradient,
        loss: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<f64> {
        let n_steps = self.next(kl_gradient)?;
        self.scratch.draws.resize_with(self.blocks.len(), Vec::new);
        for (block, w) in self.blocks.iter().zip(&mut self.scratch.draws) {
            block.sample_into(w, rng);
        }
        let value = perceptron.step(x, &mut AtDraw { q: self, n_steps, kl_gradient }, loss)?;
        self.scratch.perceptron = Some((network.clone(), perceptron));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use core_tensors::AdamConfig;
    use core_tensors::kernels::Activation;

    const WIDTHS: [usize; 4] = [300, 200, 60, 2];

    fn normal(shape: (usize, usize), rng: &mut Rng) -> Tensor {
        let mut draws = vec![0f32; shape.0 * shape.1];
        rng.fill_normal(&mut draws);
        Tensor::from_vec(draws, shape, &Device::Cpu).unwrap()
    }

    /// Means and variances after ten steps on slices, or on tensors, with the same draws.
    fn moved(bias: bool, in_tensors: bool) -> [Vec<f64>; 2] {
        let network = Mlp { widths: WIDTHS.to_vec(), activation: Activation::Tanh, bias };
        let start = network.init(&mut Rng::new(0), &Device::Cpu).unwrap();
        let mut q = MeanField::new(AdamConfig::pytorch(1e-3), &start, -3.0).unwrap();
        let p = network.layout().n_parameters();
        let precision: Vec<f32> = (0..p).map(|i| 1.0 + (i % 7) as f32).collect();
        let mean = vec![0.1; p];
        let kl_gradient = KlGradient::Diagonal { mean: &mean, precision: &precision, scale: 1e-3 };
        let mut rng = Rng::new(1);
        for step in 0..10 {
            let mut of_data = Rng::new(step + 2);
            let m = [600, 160][step as usize % 2];
            let (x, y) = (normal((m, WIDTHS[0]), &mut of_data), normal((m, 2), &mut of_data));
            let loss = |f: &Tensor| Ok((f - &y)?.sqr()?.mean_all()?);
            if in_tensors {
                let w = q.sample(&mut rng).unwrap();
                let loss: Result<Tensor> = loss(&network.forward(&w, &x).unwrap());
                q.step_at(&w, &loss.unwrap().backward().unwrap(), &kl_gradient).unwrap();
            } else {
                let perceptron = q.perceptron(&network, &x).unwrap();
                let form = (&network, perceptron);
                q.step_of_perceptron(form, &x, &mut rng, &kl_gradient, loss).unwrap();
            }
        }
        [q.mean(), q.variance()]
    }

    #[test]
    fn steps_on_slices_equal_those_on_tensors() {
        for bias in [true, false] {
            let (fast, plain) = (moved(bias, false), moved(bias, true));
            for (fast, plain) in fast.iter().zip(&plain) {
                let gap = fast.iter().zip(plain).fold(0f64, |gap, (a, b)| gap.max((a - b).abs()));
                assert!(gap < 1e-4, "{gap}");
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_neither_draws_nor_steps() {
        let on = |n| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| moved(true, false))
        };
        assert_eq!(on(1), on(3));
    }
}
