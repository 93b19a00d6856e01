//! A network that is trained step by step, by the fastest path that its shape has.

use std::ops::ControlFlow;

use candle_core::{DType, Tensor};
use core_tensors::kernels::features;
use core_tensors::kernels::perceptron::Perceptron;
use core_tensors::{Adam, AdamConfig, Dataset, Epoch, Error, Fit, Params, Result, Rng};

use crate::Architecture;

/// Steps of Adam down a loss of a network's outputs.
///
/// A perceptron in f32 on the CPU takes each step in buffers that are used again ([`Perceptron`]), and only the loss is
/// differentiated in tensor operations; any other network goes through those as a whole. Both are the same mathematics, up to
/// the rounding of f32.
///
/// ```
/// use core_tensors::candle_core::{Device, Tensor};
/// use core_tensors::kernels::Activation;
/// use core_tensors::{AdamConfig, Rng};
/// use models::{Architecture, Descent, Mlp};
/// # fn main() -> core_tensors::Result<()> {
/// let network = Mlp { widths: vec![1, 1], activation: Activation::Relu, bias: false };
/// let w = network.init(&mut Rng::new(0), &Device::Cpu)?.trainable()?;
/// let x = Tensor::new(&[[1f32], [2.0]], &Device::Cpu)?;
/// let y = (&x * 3.0)?;
/// let mut descent = Descent::new(&network, &w, AdamConfig::pytorch(0.1))?;
/// for _ in 0..300 {
///     descent.step(&x, |f| -> core_tensors::Result<_> { Ok((f - &y)?.sqr()?.mean_all()?) })?;
/// }
/// assert!((w.to_vec()?[0] - 3.0).abs() < 1e-3);
/// # Ok(())
/// # }
/// ```
pub struct Descent<'a> {
    network: &'a dyn Architecture,
    w: Params,
    adam: Adam,
    perceptron: Option<Perceptron>,
}

impl<'a> Descent<'a> {
    /// For trainable parameters of the network; refuses settings of Adam out of range.
    pub fn new(network: &'a dyn Architecture, w: &Params, config: AdamConfig) -> Result<Self> {
        network.layout().check_same("parameters to train", w.layout())?;
        let adam = Adam::new(config, w)?;
        let perceptron = network.perceptron().filter(|_| w.blocks().iter().all(Perceptron::covers));
        // Which share their numbers with those of the caller.
        let w = w.clone();
        Ok(Self { network, w, adam, perceptron })
    }

    /// The optimizer, for its state and its step size.
    pub fn optimizer(&mut self) -> &mut Adam {
        &mut self.adam
    }

    /// One step on a batch x; `loss` maps f(x, w), (m, k), to a scalar, whose value before the step is returned.
    pub fn step<E: From<Error>>(
        &mut self,
        x: &Tensor,
        loss: impl FnOnce(&Tensor) -> std::result::Result<Tensor, E>,
    ) -> std::result::Result<f64, E> {
        if let Some(perceptron) = self.perceptron.as_mut() {
            let x = features(x).map_err(Error::from)?;
            if Perceptron::covers(&x) {
                return perceptron.step(&x, &mut self.adam, loss);
            }
        }
        let loss = loss(&self.network.forward(&self.w, x)?)?;
        Ok(step_in_tensors(&mut self.adam, &loss)?)
    }

    /// Steps down a loss of f(x, w) and its batch over whole passes, as [`Fit::minimize`] takes them.
    pub fn fit<E: From<Error>>(
        &mut self,
        fit: Fit,
        data: &Dataset,
        rng: &mut Rng,
        mut loss: impl FnMut(&Tensor, &Dataset) -> std::result::Result<Tensor, E>,
        on_epoch: impl FnMut(Epoch) -> std::result::Result<ControlFlow<()>, E>,
    ) -> std::result::Result<(), E> {
        fit.run(data, rng, |batch| self.step(batch.x(), |f| loss(f, batch)), on_epoch)
    }
}

fn step_in_tensors(adam: &mut Adam, loss: &Tensor) -> Result<f64> {
    adam.step(&loss.backward()?)?;
    Ok(loss.to_dtype(DType::F64)?.to_scalar()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mlp;
    use candle_core::Device;
    use core_tensors::Targets;
    use core_tensors::kernels::Activation;

    /// Weights after some passes over bytes or numbers, and the last objective; a device-independent copy of the network
    /// has no form on slices.
    fn trained(network: &dyn Architecture, as_bytes: bool) -> (Vec<f64>, f64) {
        let mut rng = Rng::new(3);
        let x: Vec<u8> = (0..50 * 20).map(|_| rng.below(256) as u8).collect();
        let x = Tensor::from_vec(x, (50, 20), &Device::Cpu).unwrap();
        let x = if as_bytes { x } else { features(&x).unwrap() };
        let mut y = vec![0f32; 50];
        rng.fill_normal(&mut y);
        let y = Targets::Values(Tensor::from_vec(y, (50, 1), &Device::Cpu).unwrap());
        let data = Dataset::new(x, y).unwrap();
        let w = network.init(&mut Rng::new(0), &Device::Cpu).unwrap().trainable().unwrap();
        let mut descent = Descent::new(network, &w, AdamConfig::pytorch(1e-2)).unwrap();
        let loss = |f: &Tensor, batch: &Dataset| {
            let Targets::Values(y) = batch.y() else { unreachable!("the data hold values") };
            Ok::<_, Error>((f - y)?.sqr()?.mean_all()?)
        };
        let mut last = f64::NAN;
        let after = |epoch: Epoch| {
            last = epoch.objective;
            Ok(ControlFlow::Continue(()))
        };
        let fit = Fit { epochs: 4, batch_size: 16 };
        descent.fit(fit, &data, &mut Rng::new(1), loss, after).unwrap();
        (w.to_vec().unwrap(), last)
    }

    /// A perceptron that does not tell that it is one.
    struct Unknown(Mlp);

    impl Architecture for Unknown {
        fn layout(&self) -> core_tensors::Layout {
            self.0.layout()
        }

        fn activations(&self, w: &Params, x: &Tensor) -> Result<Vec<Tensor>> {
            self.0.activations(w, x)
        }

        fn fan_in(&self) -> Vec<usize> {
            self.0.fan_in()
        }
    }

    #[test]
    fn both_paths_end_at_the_same_weights() {
        for (activation, bias) in [(Activation::Relu, true), (Activation::Sigmoid, false)] {
            let network = Mlp { widths: vec![20, 9, 1], activation, bias };
            assert!(network.perceptron().is_some());
            for as_bytes in [false, true] {
                let (fast, a) = trained(&network, as_bytes);
                let (plain, b) = trained(&Unknown(network.clone()), as_bytes);
                let gap = fast.iter().zip(&plain).fold(0f64, |gap, (a, b)| gap.max((a - b).abs()));
                assert!(gap < 1e-4 && (a - b).abs() < 1e-5 * b, "{gap}, {a} {b}");
            }
        }
        // Its derivative needs the sums: no form on slices, and still trained.
        let network = Mlp { widths: vec![20, 9, 1], activation: Activation::Gelu, bias: true };
        assert!(network.perceptron().is_none() && trained(&network, false).1.is_finite());
    }

    #[test]
    fn foreign_parameters_are_refused() {
        let network = |n| Mlp { widths: vec![n, 1], activation: Activation::Relu, bias: true };
        let w = network(2).init(&mut Rng::new(0), &Device::Cpu).unwrap().trainable().unwrap();
        let other = network(3);
        assert!(Descent::new(&other, &w, AdamConfig::pytorch(1e-2)).is_err());
    }
}
