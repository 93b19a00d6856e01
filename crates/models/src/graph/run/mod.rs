//! f(x, w) of a graph on candle.

use candle_core::Tensor;
use core_tensors::Params;

use super::{Error, Graph};

impl Graph {
    /// All outputs for the inputs, in their orders.
    ///
    /// # Errors
    /// Where inputs or parameters do not have the graph's shapes.
    pub fn run(&self, _w: &Params, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        let names: Vec<&str> =
            self.inputs().iter().map(|&id| self.value(id).name.as_str()).collect();
        Err(Error::Inputs { expected: names.len(), names: names.join(", "), found: inputs.len() })
    }
}
