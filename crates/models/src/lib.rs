//! Families of networks f(x, w): an architecture is one value, its parameters another.
//!
#![doc = include_str!("../README.md")]

mod bag_of_words;
mod bert;
mod bi_lstm;
mod cnn;
mod descent;
pub mod graph;
mod mlp;
pub mod onnx;
mod spectral;
mod translator;
mod vgg;

use candle_core::{Device, Tensor};
use core_tensors::kernels::perceptron::Perceptron;
use core_tensors::{Error, Expected, Layout, Params, Result, Rng};

pub use bag_of_words::BagOfWords;
pub use bert::BertEncoder;
pub use bi_lstm::BiLstm;
pub use cnn::{Cnn, Convolution};
pub use descent::Descent;
pub use mlp::Mlp;
pub use spectral::SpectralNorm;
pub use translator::{Domain, Encoding, TranslatorNetwork};
pub use vgg::{InputScale, Vgg19};

/// A family of functions f(x, w).
///
/// Three methods make one of your own:
///
/// ```
/// use core_tensors::candle_core::{Device, Tensor};
/// use core_tensors::{Block, Layout, Params, Result};
/// use models::Architecture;
/// /// f(x, w) = x Uᵀ.
/// struct Product;
/// impl Architecture for Product {
///     fn layout(&self) -> Layout {
///         Layout { blocks: vec![Block { rows: 1, cols: 2 }] }
///     }
///     fn activations(&self, w: &Params, x: &Tensor) -> Result<Vec<Tensor>> {
///         Ok(vec![x.matmul(&w.blocks()[0].t()?)?])
///     }
///     fn fan_in(&self) -> Vec<usize> {
///         vec![2]
///     }
/// }
/// # fn main() -> core_tensors::Result<()> {
/// let w = Params::from_vec(&Product.layout(), &[2.0, -1.0], &Device::Cpu)?;
/// let x = Tensor::new(&[[3f32, 4.0]], &Device::Cpu)?;
/// assert_eq!(Product.forward(&w, &x)?.to_vec2::<f32>()?, [[2.0]]);
/// # Ok(())
/// # }
/// ```
pub trait Architecture: Send + Sync {
    /// Order and shapes of the matrices in w.
    fn layout(&self) -> Layout;

    /// What every layer puts out, after its activation and pooling: (m, …) each, input side first, f(x, w) last.
    fn activations(&self, w: &Params, x: &Tensor) -> Result<Vec<Tensor>>;

    /// f(x, w): logits of a classifier before the softmax, or predictions of a regression; shape (m, k).
    ///
    /// Bytes in x are grayscale intensities and count as x / 255 ([`core_tensors::kernels::features`]).
    fn forward(&self, w: &Params, x: &Tensor) -> Result<Tensor> {
        let last = self.activations(w, x)?.pop();
        last.ok_or(Error::Count {
            what: "layers of a network",
            expected: Expected::AtLeast(1),
            found: 0,
        })
    }

    /// The same function on slices, of networks that are chains of dense layers whose blocks are those of w: what training
    /// then uses for f32 on the CPU ([`Descent`]).
    fn perceptron(&self) -> Option<Perceptron> {
        None
    }

    /// Fan-in n_{t−1} of each block, without the bias.
    fn fan_in(&self) -> Vec<usize>;

    /// Random parameters: weights and biases of a block ~ U(±1/√fan_in), the start of all the papers' networks.
    fn init(&self, rng: &mut Rng, device: &Device) -> Result<Params> {
        uniform_start(&self.layout(), &self.fan_in(), rng, device)
    }
}

/// Weights and biases of each block ~ U(±1/√fan_in).
fn uniform_start(
    layout: &Layout,
    fan_in: &[usize],
    rng: &mut Rng,
    device: &Device,
) -> Result<Params> {
    let bounds: Vec<f64> = fan_in.iter().map(|&n| 1.0 / (n as f64).sqrt()).collect();
    Params::uniform(layout, &bounds, rng, device)
}
