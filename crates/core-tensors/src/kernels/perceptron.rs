//! A step of a perceptron: outputs and the gradient by its weights, in buffers that serve every step.

mod buffers;

use std::ops::Range;

use candle_core::{DType, Device, Tensor, Var};

pub use self::buffers::Buffers;
use super::activation::{Activation, times_derivative};
use super::dense::Dense;
use super::{numbers, on_cpu, share_out};
use crate::error::{Error, Expected, Result};

/// Multiply-adds that a part of a product has at least, where a product is shared out among threads: a tenth of a millisecond,
/// some times what waking a thread takes.
const SMALLEST_PART: usize = 1 << 23;
/// Numbers of a gradient that are made and used at a time, so that they stay in the cache of one core.
const NUMBERS_AT_A_TIME: usize = 1 << 18;
/// Rows that a part of a product has at least.
const ROWS: usize = 16;
/// Numbers that a part of a product has at least: smaller products, and those of a single row, are summed in another order.
const NUMBERS: usize = 257;

/// f(x, w) = U_T act(… act(U_1 x + b_1) …) + b_T and ∂loss/∂U_t on slices of f32.
///
/// The arithmetic is that of [`linear`](super::linear) layer by layer. What differs is the memory: activations and gradients
/// lie in buffers that are used again, and the gradient by a block goes to its [`Weights`] piece by piece, while a piece
/// is in the cache, instead of as a tensor. Large products are shared out by rows among the threads of rayon's pool: each number
/// is summed in the same order whatever their number, so that the bits are the same. One thread makes one part: the other factor
/// of a product is packed anew for each.
#[derive(Clone, Debug)]
pub struct Perceptron {
    /// n_0, …, n_T
    widths: Vec<usize>,
    activation: Activation,
    has_bias: bool,
    /// The outputs of the layers, (m, n_t) each.
    outputs: Vec<Vec<f32>>,
    /// ∂loss/∂(sums of a layer), (m, n_t), and the same of the layer before.
    by_sums: Vec<f32>,
    by_inputs: Vec<f32>,
}

/// Where a perceptron's blocks lie, and what becomes of the gradient by them.
pub trait Weights {
    /// Shows the numbers of block t, row by row.
    fn read(&self, t: usize, see: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()>;

    /// Takes the gradient by block t, whose numbers nobody reads any more in this step.
    fn descend(&mut self, t: usize, gradient: &Gradient) -> Result<()>;
}

impl Perceptron {
    /// Layers of n_0, …, n_T units; `None` for activations whose derivative does not follow from their values, and for slopes
    /// that [`linear`](super::linear) refuses.
    pub fn new(widths: &[usize], activation: Activation, has_bias: bool) -> Option<Self> {
        let has_slope = activation.slope().is_none_or(|slope| slope > 0.0 && slope < 1.0);
        let is_chain = widths.len() > 1 && !widths.contains(&0);
        (activation.is_in_the_layer() && has_slope && is_chain).then(|| Self {
            widths: widths.to_vec(),
            activation,
            has_bias,
            outputs: vec![Vec::new(); widths.len() - 1],
            by_sums: Vec::new(),
            by_inputs: Vec::new(),
        })
    }

    /// Whether numbers of this type and place can be computed on: f32 on the CPU.
    pub fn covers(tensor: &Tensor) -> bool {
        tensor.device().is_cpu() && tensor.dtype() == DType::F32
    }

    /// f(x, w) of m examples, (m, n_T) row by row; `x` is (m, n_0).
    pub fn forward(&mut self, x: &[f32], w: &impl Weights) -> Result<&[f32]> {
        let m = self.n_examples(x)?;
        for t in 0..self.outputs.len() {
            let layer = self.layer(t, m);
            let (before, rest) = self.outputs.split_at_mut(t);
            let inputs = before.last().map_or(x, Vec::as_slice);
            let Some(outputs) = rest.first_mut() else { continue };
            outputs.resize(m * layer.sizes.n_out, 0.0);
            w.read(t, &mut |u| layer.forward(inputs, u, outputs))?;
        }
        Ok(self.outputs.last().map_or(&[], Vec::as_slice))
    }

    /// Gives the weights their gradients, the last block's first; `by_outputs` is ∂loss/∂f, (m, n_T), at the x of the
    /// last [`Perceptron::forward`].
    pub fn backward(&mut self, x: &[f32], by_outputs: &[f32], w: &mut impl Weights) -> Result<()> {
        let m = self.n_examples(x)?;
        let n = m * self.widths[self.widths.len() - 1];
        for found in [by_outputs.len(), self.outputs.last().map_or(0, Vec::len)] {
            Expected::Exactly(n).check("numbers of a gradient by outputs", found)?;
        }
        self.by_sums.clear();
        self.by_sums.extend_from_slice(by_outputs);
        for t in (0..self.outputs.len()).rev() {
            let layer = self.layer(t, m);
            let n_inputs = m * layer.sizes.n_in;
            let below = t.checked_sub(1).map(|below| &self.outputs[below]);
            Expected::Exactly(n_inputs).check("inputs of a layer", below.map_or(x, |b| b).len())?;
            if let Some(inputs) = below {
                let (by_sums, by_inputs) = (&self.by_sums, &mut self.by_inputs);
                by_inputs.resize(n_inputs, 0.0);
                let activation = self.activation;
                w.read(t, &mut |u| {
                    layer.backward(by_sums, u, by_inputs, |g, first| {
                        times_derivative(g, &inputs[first..first + g.len()], activation);
                    })
                })?;
            }
            let inputs = below.map_or(x, Vec::as_slice);
            w.descend(t, &Gradient { layer, by_sums: &self.by_sums, inputs })?;
            std::mem::swap(&mut self.by_sums, &mut self.by_inputs);
        }
        Ok(())
    }

    /// One step: f(x, w), a scalar of it in tensor operations, and its gradient given to the weights; returns the scalar.
    ///
    /// `x` is (m, n_0) or (m, …) with n_0 numbers an example, f32 on the CPU. A loss that does not depend on f moves nothing.
    pub fn step<E: From<Error>>(
        &mut self,
        x: &Tensor,
        w: &mut impl Weights,
        loss: impl FnOnce(&Tensor) -> std::result::Result<Tensor, E>,
    ) -> std::result::Result<f64, E> {
        let (expected, found) =
            (vec![x.dims().first().copied().unwrap_or(0), self.widths[0]], x.dims());
        if expected.iter().product::<usize>() != x.elem_count() {
            let found = found.to_vec();
            return Err(Error::Shape { what: "features of a batch", expected, found }.into());
        }
        let x = x.contiguous().map_err(Error::from)?;
        let (storage, layout) = x.storage_and_layout();
        let x = on_cpu(&storage).and_then(|x| numbers::<f32>(x, layout)).map_err(Error::from)?;
        let outputs = self.outputs_of(x, w)?;
        let loss = loss(&outputs)?;
        Ok(self.descend(x, &outputs, &loss, w)?)
    }

    /// f(x, w) as a variable.
    fn outputs_of(&mut self, x: &[f32], w: &impl Weights) -> Result<Var> {
        let n = self.widths[self.widths.len() - 1];
        let outputs = self.forward(x, w)?;
        Ok(Var::from_slice(outputs, (outputs.len() / n, n), &Device::Cpu)?)
    }

    fn descend(
        &mut self,
        x: &[f32],
        outputs: &Var,
        loss: &Tensor,
        w: &mut impl Weights,
    ) -> Result<f64> {
        if let Some(gradient) = loss.backward()?.get(outputs) {
            let gradient = gradient.contiguous()?;
            let (storage, layout) = gradient.storage_and_layout();
            self.backward(x, numbers(on_cpu(&storage)?, layout)?, w)?;
        }
        Ok(loss.to_dtype(DType::F64)?.to_scalar()?)
    }

    fn n_examples(&self, x: &[f32]) -> Result<usize> {
        let n = self.widths[0];
        Expected::MultipleOf(n).check("features of a batch", x.len())?;
        Ok(x.len() / n)
    }

    fn layer(&self, t: usize, m: usize) -> Layer {
        let (n_in, n_out) = (self.widths[t], self.widths[t + 1]);
        let is_last = t + 2 == self.widths.len();
        let activation = if is_last { Activation::Identity } else { self.activation };
        let sizes = Dense { m, n_in, n_out, n_cols: n_in + usize::from(self.has_bias) };
        Layer { sizes, activation }
    }
}

/// One layer on a batch.
#[derive(Clone, Copy, Debug)]
struct Layer {
    sizes: Dense,
    activation: Activation,
}

impl Layer {
    /// Parts among which threads share a product out.
    fn n_parts(&self) -> usize {
        let Dense { m, n_in, n_out, .. } = self.sizes;
        (m * n_in * n_out / SMALLEST_PART).min(rayon::current_num_threads()).max(1)
    }

    /// Rows of each of at most `n_parts` parts of a product with n rows of `cols` numbers; the last part may have fewer, but
    /// never so few that they would be summed in another order than as rows of the whole.
    fn rows_of_a_part(n: usize, cols: usize, n_parts: usize) -> usize {
        let least = ROWS.max(NUMBERS.div_ceil(cols.max(1)));
        let rows = (2..=n_parts).rev().map(|parts| n.div_ceil(parts).max(1));
        let last = |rows: usize| if n.is_multiple_of(rows) { rows } else { n % rows };
        rows.into_iter().find(|&rows| last(rows) >= least).unwrap_or(n.max(1))
    }

    /// The sizes of a part of the batch.
    fn of_part(&self, m: usize) -> Dense {
        Dense { m, ..self.sizes }
    }

    fn check(&self, u: &[f32]) -> Result<()> {
        let Dense { n_out, n_cols, .. } = self.sizes;
        Expected::Exactly(n_out * n_cols).check("numbers of a block", u.len())
    }

    fn forward(&self, x: &[f32], u: &[f32], y: &mut [f32]) -> Result<()> {
        self.check(u)?;
        let Dense { m, n_in, n_out, .. } = self.sizes;
        let rows = Self::rows_of_a_part(m, n_out, self.n_parts());
        let parts = y.chunks_mut(rows * n_out).zip(x.chunks(rows * n_in)).collect();
        let work = |(y, x): (&mut [f32], &[f32])| {
            self.of_part(y.len() / n_out).forward(y, x, u, self.activation)
        };
        Ok(share_out(parts, work)?)
    }

    /// ∂loss/∂(inputs) from ∂loss/∂(sums); `finish` gets each part and where it begins.
    fn backward(
        &self,
        by_sums: &[f32],
        u: &[f32],
        by_inputs: &mut [f32],
        finish: impl Fn(&mut [f32], usize) + Sync,
    ) -> Result<()> {
        self.check(u)?;
        let Dense { m, n_in, n_out, .. } = self.sizes;
        let rows = Self::rows_of_a_part(m, n_in, self.n_parts());
        let parts = by_inputs.chunks_mut(rows * n_in).zip(by_sums.chunks(rows * n_out));
        let parts: Vec<_> = parts.enumerate().collect();
        let work = |(part, (by_inputs, by_sums)): (usize, (&mut [f32], &[f32]))| {
            self.of_part(by_sums.len() / n_out).by_inputs(by_inputs, by_sums, u)?;
            finish(by_inputs, part * rows * n_in);
            Ok(())
        };
        Ok(share_out(parts, work)?)
    }
}

/// ∂loss/∂U of one block, of which rows are made when they are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Gradient<'a> {
    layer: Layer,
    /// ∂loss/∂(sums), (m, n_out).
    by_sums: &'a [f32],
    /// (m, n_in)
    inputs: &'a [f32],
}

impl Gradient<'_> {
    /// Columns of the block: inputs, and one for the bias where there is one.
    pub fn n_cols(&self) -> usize {
        self.layer.sizes.n_cols
    }

    /// Numbers of whole rows that are best asked for at a time.
    pub fn numbers_at_a_time(&self) -> usize {
        let Dense { n_in, n_cols, n_out, .. } = self.layer.sizes;
        let for_the_cache = n_out.div_ceil((NUMBERS_AT_A_TIME / n_cols).max(ROWS));
        Layer::rows_of_a_part(n_out, n_in, self.layer.n_parts().max(for_the_cache)) * n_cols
    }

    /// Σᵢ δᵢⱼ xᵢ and Σᵢ δᵢⱼ for the units j in `rows`, row by row.
    pub fn rows(&self, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let Dense { n_out, n_cols, .. } = self.layer.sizes;
        Expected::Exactly(rows.len() * n_cols)
            .check("numbers of a part of a gradient", out.len())?;
        if rows.end > n_out {
            return Err(Error::Index { what: "unit", index: rows.end, n: n_out });
        }
        Ok(self.layer.sizes.by_weights(rows, out, self.by_sums, self.inputs)?)
    }

    /// Makes the gradient part by part in `buffers` and hands each to `take` with the part of the state that belongs to it.
    ///
    /// `state` has one entry for each [`Gradient::numbers_at_a_time`] numbers of the block, in order.
    pub fn share_out<P: Send>(
        &self,
        buffers: &Buffers,
        state: Vec<P>,
        take: impl Fn(&[f32], P) -> Result<()> + Send + Sync,
    ) -> Result<()> {
        let n_rows = self.numbers_at_a_time() / self.n_cols();
        let work = |(part, state): (usize, P)| {
            let first = part * n_rows;
            let rows = first..(first + n_rows).min(self.layer.sizes.n_out);
            buffers.with(rows.len() * self.n_cols(), |gradient| {
                self.rows(rows, gradient)?;
                take(gradient, state)
            })
        };
        let parts: Vec<_> = state.into_iter().enumerate().collect();
        if self.layer.n_parts() > 1 {
            return Ok(share_out(parts, |part| Ok(work(part)?))?);
        }
        parts.into_iter().try_for_each(work)
    }
}

#[cfg(test)]
mod tests;
