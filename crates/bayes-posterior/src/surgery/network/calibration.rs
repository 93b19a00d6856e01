//! The examples that surgery learns from: some to fit, some held out to choose by.

use candle_core::{DType, Tensor};
use models::graph::Graph;

use crate::checks;
use crate::error::{Error, Result};

/// Examples without labels, cut into batches.
///
/// Every k-th example is held out: dampings, repairs and ridges are chosen by these, and then fitted to all examples.
#[derive(Clone, Debug)]
pub struct Calibration {
    batches: Vec<Batch>,
    n_examples: usize,
    n_held_out: usize,
    memory: usize,
}

/// Some examples.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// One tensor an input of the graph.
    pub(super) inputs: Vec<Tensor>,
    /// Which of (example, position) count, (m, T); all where it is absent.
    pub(super) mask: Option<Tensor>,
    pub(super) is_held_out: bool,
    /// Which of the examples, in the order in which they were given.
    pub(super) rows: Vec<u32>,
    pub(super) n: usize,
}

/// How examples are cut.
#[derive(Clone, Copy, Debug)]
pub struct Cutting {
    /// Examples of a batch.
    pub batch_size: usize,
    /// k ≥ 2: every k-th example is held out; 0 holds out none, and what is chosen is chosen by what was fitted.
    pub held_out_every: usize,
    /// Bytes of activations that are kept between the layers at most; with less, more is computed again, to the same result.
    pub memory: usize,
}

impl Default for Cutting {
    fn default() -> Self {
        Self { batch_size: 250, held_out_every: 5, memory: 1 << 30 }
    }
}

impl Calibration {
    /// One tensor an input of the graph, all with the same examples along the first axis.
    ///
    /// `mask` says which tokens of a text are there, (m, T), 0 for those that only fill it up: they are left out wherever
    /// activations are (m, T, n).
    ///
    /// # Errors
    /// For no example, for inputs of different numbers of examples, and for numbers that are not finite.
    pub fn new(inputs: &[Tensor], mask: Option<&Tensor>, cutting: Cutting) -> Result<Self> {
        let first = inputs.first().map(|x| x.dim(0)).transpose()?.unwrap_or(0);
        checks::some_examples(first)?;
        checks::at_least("examples of a batch", 1, cutting.batch_size)?;
        for x in inputs.iter().chain(mask) {
            checks::length("examples of an input", first, x.dim(0)?)?;
            // A ReLU may make 0 of what is not a number, so that no moment would tell.
            if matches!(x.dtype(), DType::F32 | DType::F64) {
                let values = x.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
                checks::all_finite("number of the examples", &values)?;
            }
        }
        if let Some(mask) = mask {
            mask.dims2()?;
        }
        let every = cutting.held_out_every;
        if every == 1 {
            let (name, value) = ("k of every k-th example held out".to_owned(), 1.0);
            return Err(Error::OutOfRange { name, value, range: "0 or [2, ∞)" });
        }
        let is_held_out = |i: usize| every > 0 && i % every == every - 1;
        let (held_out, fitted): (Vec<u32>, Vec<u32>) =
            (0..first as u32).partition(|&i| is_held_out(i as usize));
        let mut batches = Vec::new();
        for (rows, is_held_out) in [(&fitted, false), (&held_out, true)] {
            for rows in rows.chunks(cutting.batch_size) {
                let index = Tensor::new(rows, inputs[0].device())?;
                let pick = |x: &Tensor| x.to_device(index.device())?.index_select(&index, 0);
                let inputs = inputs.iter().map(pick).collect::<candle_core::Result<_>>()?;
                let mask = mask.map(pick).transpose()?;
                let (n, rows) = (rows.len(), rows.to_vec());
                batches.push(Batch { inputs, mask, is_held_out, rows, n });
            }
        }
        let (n_held_out, memory) = (held_out.len(), cutting.memory);
        Ok(Self { batches, n_examples: first, n_held_out, memory })
    }

    /// How many examples there are.
    pub fn n_examples(&self) -> usize {
        self.n_examples
    }

    /// How many of them are held out.
    pub fn n_held_out(&self) -> usize {
        self.n_held_out
    }

    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    pub(super) fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// Refuses examples that the graph does not take, before anything is computed.
    pub(super) fn check(&self, graph: &Graph, params: &core_tensors::Params) -> Result<()> {
        let first = &self.batches[0];
        graph.values_from(params, &first.inputs, &[], graph.outputs()).map_err(of_graph)?;
        Ok(())
    }
}

/// A failure of a graph in this crate's words.
pub(super) fn of_graph(error: models::graph::Error) -> Error {
    Error::Core(error.into())
}
