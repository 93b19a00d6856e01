//! The small convolutional teacher of paper 004.

use candle_core::Tensor;
use core_tensors::kernels::{Activation, Window, convolve, features, linear, relu_max_pool};
use core_tensors::{Block, Error, Layout, Params, Result};

use crate::Architecture;

/// Height and width of a picture.
const SIDE: usize = 28;
/// Side of the square filters.
const KERNEL: usize = 5;
/// Channels before and after each convolution.
const CHANNELS: [usize; 3] = [1, 3, 9];
/// Widths of the dense part; 9 channels of 4 × 4 places go in.
const DENSE: [usize; 4] = [144, 120, 84, 10];

/// Two blocks of 5 × 5 convolution, ReLU and 2 × 2 max-pooling, then \[144, 120, 84, 10\]; 29 176 parameters.
///
/// Takes pictures of 28 × 28 grey levels as rows, (m, 784).
///
/// Source: Grabovoy & Strijov (2022), FashionMNIST experiment; architecture from the authors' code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmallCnn;

impl Architecture for SmallCnn {
    fn layout(&self) -> Layout {
        let filters = CHANNELS.windows(2).map(|c| (c[1], c[0] * KERNEL * KERNEL));
        let dense = DENSE.windows(2).map(|n| (n[1], n[0]));
        let block = |(rows, n_inputs)| Block { rows, cols: n_inputs + 1 };
        Layout { blocks: filters.chain(dense).map(block).collect() }
    }

    fn forward(&self, w: &Params, x: &Tensor) -> Result<Tensor> {
        let [u1, u2, u3, u4, u5] = w.blocks() else {
            return Err(Error::mismatch("blocks of the small CNN", 5, w.blocks().len()));
        };
        let m = x.dim(0)?;
        let pictures = features(x)?.reshape((m, 1, SIDE, SIDE))?;
        let z = relu_max_pool(&convolve(&pictures, u1, Window { kernel: KERNEL, padding: 0 })?)?; // (m, 3, 12, 12)
        let z = relu_max_pool(&convolve(&z, u2, Window { kernel: KERNEL, padding: 0 })?)?; // (m, 9, 4, 4)
        let z = linear(&z.flatten_from(1)?, u3, Activation::Relu)?; // (m, 120)
        let z = linear(&z, u4, Activation::Relu)?; // (m, 84)
        Ok(linear(&z, u5, Activation::Identity)?)
    }

    fn fan_in(&self) -> Vec<usize> {
        self.layout().blocks.iter().map(|block| block.cols - 1).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use core_tensors::Rng;

    #[test]
    fn has_the_published_count_and_ten_scores() {
        assert_eq!(SmallCnn.layout().n_parameters(), 29_176);
        let w = SmallCnn.init(&mut Rng::new(0), &Device::Cpu).unwrap();
        let x = Tensor::zeros((2, 784), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert_eq!(SmallCnn.forward(&w, &x).unwrap().dims(), [2, 10]);
    }

    #[test]
    fn every_block_receives_a_gradient() {
        let w = SmallCnn.init(&mut Rng::new(1), &Device::Cpu).unwrap().trainable().unwrap();
        let mut rng = Rng::new(2);
        let pixels: Vec<f32> = (0..3 * 784).map(|_| rng.uniform() as f32).collect();
        let x = Tensor::from_vec(pixels, (3, 784), &Device::Cpu).unwrap();
        let loss = SmallCnn.forward(&w, &x).unwrap().sqr().unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        for block in w.blocks() {
            let size = gradients.get(block).unwrap().abs().unwrap().sum_all().unwrap();
            assert!(size.to_scalar::<f32>().unwrap() > 0.0);
        }
    }
}
