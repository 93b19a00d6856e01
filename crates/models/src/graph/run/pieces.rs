//! Graphs that take batches of one size: other batches go through them in pieces.

use candle_core::Tensor;
use core_tensors::{Error as TensorsError, Params, Result};

use super::spread::{Spread, spreads, spreads_of_fixed};
use crate::graph::{Dimension, Error, Graph, ValueId};

impl Graph {
    /// The batch that the graph takes, where it takes but one: as a file says that was exported without an open batch.
    pub fn fixed_batch(&self) -> Option<usize> {
        let is_open = |&id: &ValueId| self.value(id).shape.iter().any(|d| d.is_per_batch());
        if self.inputs().iter().any(is_open) {
            return None;
        }
        let first = self.inputs().first()?;
        let extent = self.value(*first).shape.first()?.as_known()?;
        usize::try_from(extent).ok().filter(|&n| n > 0)
    }

    /// Whether f(x, w) has a row an example, made of that example alone, for every batch.
    pub(crate) fn is_by_example(&self) -> bool {
        self.outputs().first().is_some_and(|&id| {
            let is_row = self.value(id).shape.first() == Some(&Dimension::BATCH);
            is_row && spreads(self, |_| true)[id.0] == Spread::Rows
        })
    }

    /// Whether batches of another size than the fixed one may be computed n examples at a time.
    pub(crate) fn takes_pieces(&self, n: usize) -> bool {
        let size = Dimension::known(n as i64);
        self.outputs().first().is_some_and(|&id| {
            let is_row = self.value(id).shape.first() == Some(&size);
            // One example alone mixes with no other.
            is_row && (n == 1 || spreads_of_fixed(self, n as i64)[id.0] == Spread::Rows)
        })
    }

    /// f(x, w) of x in pieces of `n`; the last is filled up with its own last example, whose further outputs are left out.
    pub(super) fn in_pieces(
        &self,
        w: &Params,
        x: &Tensor,
        n: usize,
    ) -> std::result::Result<Tensor, Error> {
        let n_examples = x.dim(0).map_err(TensorsError::from)?;
        if !self.takes_pieces(n) {
            return Err(Error::Batch { expected: n, found: n_examples });
        }
        let mut outputs = Vec::with_capacity(n_examples.div_ceil(n));
        for start in (0..n_examples).step_by(n) {
            let n_here = n.min(n_examples - start);
            let y = self.forward(w, &piece(x, start, n_here, n)?)?;
            outputs.push(y.narrow(0, 0, n_here).map_err(TensorsError::from)?);
        }
        Ok(Tensor::cat(&outputs, 0).map_err(TensorsError::from)?)
    }
}

/// `n_here` examples from `start` on, and the last of them again up to n.
fn piece(x: &Tensor, start: usize, n_here: usize, n: usize) -> Result<Tensor> {
    let part = x.narrow(0, start, n_here)?;
    if n_here == n {
        return Ok(part);
    }
    let last = part.narrow(0, n_here - 1, 1)?;
    let mut shape = last.dims().to_vec();
    if let Some(rows) = shape.first_mut() {
        *rows = n - n_here;
    }
    Ok(Tensor::cat(&[&part, &last.broadcast_as(shape)?], 0)?)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use core_tensors::Rng;

    use super::*;
    use crate::graph::{Builder, Dimension, Kind, Op};

    fn dense(batch: Dimension) -> Graph {
        let mut builder = Builder::new();
        let x = builder.input("x", Kind::Float, vec![batch, Dimension::known(3)]);
        let w = builder.parameter("w", &[3, 2]);
        let y = builder.add("dense", Op::MatMul, &[x, w], &["y"]).unwrap();
        builder.finish(&y)
    }

    #[test]
    fn batches_of_any_size_go_through_a_graph_of_four() {
        let (any, four) = (dense(Dimension::BATCH), dense(Dimension::known(4)));
        assert_eq!((any.fixed_batch(), four.fixed_batch()), (None, Some(4)));
        let mut rng = Rng::new(0);
        let w = crate::Architecture::init(&any, &mut rng, &Device::Cpu).unwrap();
        for m in [1, 3, 4, 5, 8, 11] {
            let values: Vec<f32> = (0..3 * m).map(|_| rng.normal() as f32).collect();
            let x = Tensor::from_vec(values, (m, 3), &Device::Cpu).unwrap();
            let [a, b] = [&any, &four].map(|graph| graph.forward(&w, &x).unwrap());
            // A product of more rows may add in another order.
            let gap =
                (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(gap < 1e-6, "{m}: {gap}");
        }
        let none = Tensor::zeros((0, 3), DType::F32, &Device::Cpu).unwrap();
        assert!(four.forward(&w, &none).is_err());
    }
}
