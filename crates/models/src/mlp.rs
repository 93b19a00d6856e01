//! Multilayer perceptron.

use candle_core::Tensor;
use core_tensors::kernels::perceptron::Perceptron;
use core_tensors::kernels::{Activation, features, linear};
use core_tensors::{Block, Layout, Params, Result};

use crate::Architecture;

/// f(x, w) = U_T act(… act(U_1 x + b_1) …) + b_T; the last layer has no activation.
///
/// One layer makes a linear model: `widths` = \[784, 10\] is multinomial logistic regression.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use core_tensors::Rng;
/// use core_tensors::kernels::Activation;
/// use models::{Architecture, Mlp};
/// # fn main() -> core_tensors::Result<()> {
/// let student = Mlp { widths: vec![784, 64, 10], activation: Activation::Relu, bias: true };
/// let w = student.init(&mut Rng::new(0), &Device::Cpu)?;
/// let logits = student.forward(&w, &Tensor::zeros((5, 784), DType::F32, &Device::Cpu)?)?;
/// assert_eq!(logits.dims(), [5, 10]);
/// assert_eq!(student.layout().n_parameters(), 50_890);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Mlp {
    /// n_0, …, n_T: inputs, hidden units, outputs; at least two, each at least 1.
    pub widths: Vec<usize>,
    /// Between the layers.
    pub activation: Activation,
    /// Whether each layer has a bias, kept as the last column of its block.
    pub bias: bool,
}

impl Architecture for Mlp {
    fn layout(&self) -> Layout {
        let bias = usize::from(self.bias);
        let block = |pair: &[usize]| Block { rows: pair[1], cols: pair[0] + bias };
        Layout { blocks: self.widths.windows(2).map(block).collect() }
    }

    /// T tensors, the t-th of shape (m, n_t).
    fn activations(&self, w: &Params, x: &Tensor) -> Result<Vec<Tensor>> {
        self.layout().check_same("parameters of a perceptron", w.layout())?;
        let mut z = features(x)?.flatten_from(1)?; // (m, n)
        let mut outputs = Vec::with_capacity(w.blocks().len());
        for (t, u) in w.blocks().iter().enumerate() {
            let is_last = t + 1 == w.blocks().len();
            let activation = if is_last { Activation::Identity } else { self.activation };
            z = linear(&z, u, activation)?; // (m, n_t)
            outputs.push(z.clone());
        }
        Ok(outputs)
    }

    fn perceptron(&self) -> Option<Perceptron> {
        Perceptron::new(&self.widths, self.activation, self.bias)
    }

    fn fan_in(&self) -> Vec<usize> {
        self.widths.windows(2).map(|pair| pair[0]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use core_tensors::Rng;

    #[test]
    fn a_two_layer_network_by_hand() {
        let mlp = Mlp { widths: vec![2, 2, 1], activation: Activation::Relu, bias: true };
        let hidden = Tensor::new(&[[1f32, -1.0, 0.5], [2.0, 1.0, -4.0]], &Device::Cpu).unwrap();
        let last = Tensor::new(&[[3f32, 5.0, 10.0]], &Device::Cpu).unwrap();
        let w = Params::new(mlp.layout(), vec![hidden, last]).unwrap();
        // x = (1, 2): z = (−0.5, 0) → (0, 0) → 10;  x = (3, 1): z = (2.5, 3) → 7.5 + 15 + 10.
        let x = Tensor::new(&[[1f32, 2.0], [3.0, 1.0]], &Device::Cpu).unwrap();
        let y = mlp.forward(&w, &x).unwrap();
        assert_eq!(y.to_vec2::<f32>().unwrap(), [[10.0], [32.5]]);
    }

    #[test]
    fn counts_of_the_papers_networks() {
        let count = |widths: &[usize], bias| {
            let mlp = Mlp { widths: widths.to_vec(), activation: Activation::Relu, bias };
            mlp.layout().n_parameters()
        };
        assert_eq!(count(&[784, 10], true), 7850);
        assert_eq!(count(&[784, 64, 10], false), 50_816);
        assert_eq!(count(&[784, 256, 128, 64, 64, 10], true), 246_922);
        assert_eq!(count(&[10, 100, 50, 1], false), 6050);
    }

    #[test]
    fn foreign_parameters_are_refused() {
        let mlp = |n| Mlp { widths: vec![n, 1], activation: Activation::Relu, bias: false };
        let w = mlp(3).init(&mut Rng::new(0), &Device::Cpu).unwrap();
        let x = Tensor::zeros((1, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        let message = mlp(2).forward(&w, &x).unwrap_err().to_string();
        assert!(message.starts_with("parameters of a perceptron: expected blocks"), "{message}");
    }
}
