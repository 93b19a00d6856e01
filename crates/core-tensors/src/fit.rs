//! The one training loop.

use std::ops::ControlFlow;

use candle_core::Tensor;

use crate::data::Dataset;
use crate::error::{Error, Expected, Result};
use crate::optim::Adam;
use crate::rng::Rng;

/// Passes over a data set in freshly shuffled batches.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use core_tensors::{Adam, AdamConfig, Block, Dataset, Fit, Layout, Params, Rng, Targets};
/// # fn main() -> core_tensors::Result<()> {
/// // Least squares for y = 2x, from w = 0.
/// let x = Tensor::arange(0f32, 8.0, &Device::Cpu)?.reshape((8, 1))?;
/// let data = Dataset::new(x.clone(), Targets::Values((x * 2.0)?))?;
/// let layout = Layout { blocks: vec![Block { rows: 1, cols: 1 }] };
/// let w = Params::uniform(&layout, &[0.0], &mut Rng::new(0), &Device::Cpu)?.trainable()?;
/// let mut adam = Adam::new(AdamConfig::pytorch(0.05), &w)?;
/// let fit = Fit { epochs: 200, batch_size: 4 };
/// fit.minimize(
///     &mut adam,
///     &data,
///     &mut Rng::new(1),
///     |batch| match batch.y() {
///         Targets::Values(y) => Ok((batch.x().matmul(&w.blocks()[0])? - y)?.sqr()?.mean_all()?),
///         Targets::Classes { .. } => unreachable!("the data hold values"),
///     },
///     |_| Ok::<_, core_tensors::Error>(std::ops::ControlFlow::Continue(())),
/// )?;
/// assert!((w.to_vec()?[0] - 2.0).abs() < 1e-3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Passes over the data; none leaves everything as it is.
    pub epochs: usize,
    /// Examples a batch, at least 1; the last batch of a pass holds what is left.
    pub batch_size: usize,
}

/// What one pass over the data left behind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// Index of the pass, from 0.
    pub index: usize,
    /// Mean of the steps' scalars over the batches of the pass, each batch counting once.
    pub objective: f64,
}

impl Fit {
    /// Calls `step` with every batch and `on_epoch` after every pass, until the passes are done or it breaks.
    ///
    /// `step` does whatever updates it likes and returns a scalar for the record; alternating optimizers and
    /// games of several players are such closures. The order of the examples comes from `rng` alone. Data without a
    /// single example are refused: a mean over no batches is none.
    pub fn run<E: From<Error>>(
        &self,
        data: &Dataset,
        rng: &mut Rng,
        mut step: impl FnMut(&Dataset) -> std::result::Result<f64, E>,
        mut on_epoch: impl FnMut(Epoch) -> std::result::Result<ControlFlow<()>, E>,
    ) -> std::result::Result<(), E> {
        if self.batch_size == 0 {
            return Err(
                Error::OutOfRange { name: "batch size", value: 0.0, range: "[1, ∞)" }.into()
            );
        }
        Expected::AtLeast(1).check("examples to train on", data.n_examples())?;
        let n_batches = data.n_examples().div_ceil(self.batch_size);
        for index in 0..self.epochs {
            let order = rng.permutation(data.n_examples());
            let mut total = 0.0;
            for indices in order.chunks(self.batch_size) {
                total += step(&data.rows(indices)?)?;
            }
            let objective = total / n_batches as f64;
            if on_epoch(Epoch { index, objective })?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// [`Fit::run`] for one loss, shape (), and one optimizer.
    pub fn minimize<E: From<Error>>(
        &self,
        optimizer: &mut Adam,
        data: &Dataset,
        rng: &mut Rng,
        mut loss: impl FnMut(&Dataset) -> std::result::Result<Tensor, E>,
        on_epoch: impl FnMut(Epoch) -> std::result::Result<ControlFlow<()>, E>,
    ) -> std::result::Result<(), E> {
        let mut update = |loss: &Tensor| -> Result<f64> {
            optimizer.step(&loss.backward()?)?;
            Ok(loss.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?)
        };
        self.run(data, rng, |batch| Ok(update(&loss(batch)?)?), on_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Targets;
    use candle_core::Device;

    fn numbers(n: usize) -> Dataset {
        let x = Tensor::arange(0f32, n as f32, &Device::Cpu).unwrap().reshape((n, 1)).unwrap();
        Dataset::new(x.clone(), Targets::Values(x)).unwrap()
    }

    #[test]
    fn every_pass_sees_every_example_once_in_a_new_order() {
        let (mut seen, mut passes) = (Vec::new(), Vec::new());
        let fit = Fit { epochs: 2, batch_size: 4 };
        fit.run::<Error>(
            &numbers(10),
            &mut Rng::new(0),
            |batch| {
                seen.extend(batch.x().flatten_all()?.to_vec1::<f32>()?);
                Ok(batch.n_examples() as f64)
            },
            |epoch| {
                passes.push(epoch);
                Ok(ControlFlow::Continue(()))
            },
        )
        .unwrap();
        let mut sorted = [seen[..10].to_vec(), seen[10..].to_vec()];
        assert_ne!(sorted[0], sorted[1]);
        sorted.iter_mut().for_each(|part| part.sort_by(f32::total_cmp));
        assert_eq!(sorted[0], (0..10).map(|i| i as f32).collect::<Vec<_>>());
        assert_eq!(sorted[0], sorted[1]);
        // Batches of 4, 4 and 2 examples count once each.
        assert_eq!(passes[1], Epoch { index: 1, objective: 10.0 / 3.0 });
    }

    #[test]
    fn breaking_after_an_epoch_ends_the_fit() {
        let mut passes = 0;
        let fit = Fit { epochs: 5, batch_size: 3 };
        fit.run::<Error>(
            &numbers(3),
            &mut Rng::new(0),
            |_| Ok(0.0),
            |_| {
                passes += 1;
                Ok(ControlFlow::Break(()))
            },
        )
        .unwrap();
        assert_eq!(passes, 1);
    }

    #[test]
    fn an_empty_batch_is_refused() {
        let fit = Fit { epochs: 1, batch_size: 0 };
        let keep = |_| Ok(ControlFlow::Continue(()));
        let error = fit.run::<Error>(&numbers(3), &mut Rng::new(0), |_| Ok(0.0), keep).unwrap_err();
        assert_eq!(error.to_string(), "batch size must lie in [1, ∞), got 0");
    }

    #[test]
    fn no_examples_are_refused_and_no_passes_change_nothing() {
        let step = |_: &Dataset| -> Result<f64> { unreachable!("there is nothing to step on") };
        let after = |_| -> Result<ControlFlow<()>> { unreachable!("there is no pass") };
        let fit = Fit { epochs: 2, batch_size: 3 };
        let error = fit.run(&numbers(0), &mut Rng::new(0), step, after).unwrap_err();
        assert_eq!(error.to_string(), "examples to train on: expected at least 1, found 0");
        Fit { epochs: 0, ..fit }.run(&numbers(3), &mut Rng::new(0), step, after).unwrap();
    }
}
