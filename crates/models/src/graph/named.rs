//! Parameters of a graph from tensors with names.

use candle_core::Tensor;
use core_tensors::{Error as TensorsError, Params};

use super::{Error, Graph, ValueId};

impl Graph {
    /// The parameters whose numbers `tensor` has under the names of [`Graph::parameters`], such as those of a state dict.
    ///
    /// # Errors
    /// [`Error::NoParameter`] where a name is missing, [`Error::ParameterShape`] where a tensor has another shape.
    ///
    /// ```
    /// use models::graph::{Builder, Dimension, Kind, Op};
    /// # use core_tensors::candle_core::{Device, Tensor};
    /// # fn main() -> Result<(), models::graph::Error> {
    /// let mut builder = Builder::new();
    /// let x = builder.input("x", Kind::Float, vec![Dimension::BATCH, Dimension::known(2)]);
    /// let weight = builder.parameter("weight", &[2, 1]);
    /// let y = builder.add("product", Op::MatMul, &[x, weight], &["y"])?;
    /// let graph = builder.finish(&y);
    /// let tensor = |name: &str| Tensor::new(&[[1f32], [-1.0]], &Device::Cpu).ok().filter(|_| name == "weight");
    /// assert_eq!(graph.params_by_name(tensor)?.to_vec()?, [1.0, -1.0]);
    /// let error = graph.params_by_name(|_| None).unwrap_err().to_string();
    /// assert_eq!(error, "parameter `weight` of shape [2, 1]: found no tensor of this name");
    /// # Ok(())
    /// # }
    /// ```
    pub fn params_by_name(&self, tensor: impl Fn(&str) -> Option<Tensor>) -> Result<Params, Error> {
        let layout = self.layout();
        let shape = |id: ValueId| self.value(id).shape.clone();
        let block = |(&id, block): (&ValueId, &core_tensors::Block)| {
            let name = &self.value(id).name;
            let extents: Vec<usize> =
                shape(id).iter().map(|d| usize::try_from(d.fixed).unwrap_or(0)).collect();
            let Some(found) = tensor(name) else {
                return Err(Error::NoParameter { name: name.clone(), expected: extents });
            };
            if found.dims() != extents {
                let (name, found) = (name.clone(), found.dims().to_vec());
                return Err(Error::ParameterShape { name, expected: extents, found });
            }
            let rows = found.reshape((block.rows, block.cols)).map_err(TensorsError::from)?;
            Ok(rows.contiguous().map_err(TensorsError::from)?)
        };
        let blocks = self.parameters().iter().zip(&layout.blocks).map(block);
        let blocks = blocks.collect::<Result<_, _>>()?;
        Ok(Params::new(layout, blocks)?)
    }
}
