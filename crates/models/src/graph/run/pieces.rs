//! Graphs that take batches of one size: other batches go through them in pieces.

use candle_core::Tensor;
use core_tensors::{Error as TensorsError, Params, Result};

use crate::graph::{Error, Graph};

impl Graph {
    /// The batch that the graph takes, where it takes but one: as a file says that was exported without an open batch.
    pub fn fixed_batch(&self) -> Option<usize> {
        let first = self.inputs().first()?;
        let extent = self.value(*first).shape.first()?.as_known()?;
        usize::try_from(extent).ok().filter(|&n| n > 0)
    }

    /// f(x, w) of x in pieces of `n`; the last is filled up with its own last example, whose further outputs are left out.
    pub(super) fn in_pieces(
        &self,
        w: &Params,
        x: &Tensor,
        n: usize,
    ) -> std::result::Result<Tensor, Error> {
        let n_examples = x.dim(0).map_err(TensorsError::from)?;
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
    let parts: Vec<&Tensor> =
        std::iter::once(&part).chain(std::iter::repeat_n(&last, n - n_here)).collect();
    Ok(Tensor::cat(&parts, 0)?)
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
