//! A graph whose linear nodes have biases.

use core_tensors::Params;

use super::GraphChangeError;
use super::draft::Draft;
use super::linear::{Bias, Linear};
use super::readers::Readers;
use crate::graph::{Graph, NodeName};

impl Graph {
    /// The graph in which each of these nodes, by index, adds a parameter of one number an output; that of a node that added
    /// nothing is 0.
    ///
    /// The nodes are Gemm, MatMul or Conv with a parameter as their weight. Conv and Gemm take the bias as their third operand.
    /// Behind a MatMul stands an Add, which gives the value that the MatMul gave, under its name; an Add of a bias that is
    /// there already serves. So it is behind a Gemm or Conv that adds something computed. A bias that is a constant, or one
    /// number for all outputs, becomes a parameter of one number an output. α and β of a Gemm stay, but for β where C is new.
    /// New parameters are called after the weight: `fc.weight` and `fc.bias`, `fc/kernel` and `fc/bias`.
    ///
    /// # Errors
    /// For indices that are not those of linear nodes, and where the parameters are those of another graph.
    pub fn with_biases(
        &self,
        params: &Params,
        nodes: &[usize],
    ) -> Result<(Self, Params), GraphChangeError> {
        let readers = Readers::of(self);
        let mut draft = Draft::of(self, params)?;
        let mut nodes = nodes.to_vec();
        nodes.sort_unstable();
        nodes.dedup();
        for index in nodes {
            let n_nodes = self.nodes().len();
            if index >= n_nodes {
                return Err(GraphChangeError::NoNode { found: index, n_nodes });
            }
            let Some(linear) = Linear::of(self, &draft, &readers, index)? else {
                let NodeName { op, name } = self.node_name(index);
                return Err(GraphChangeError::NotLinear { node: name, op });
            };
            let numbers = match &linear.bias {
                Bias::Parameter(_) => continue,
                Bias::Missing | Bias::Other => vec![0.0; linear.n_outputs],
                Bias::Known(numbers) => numbers.clone(),
            };
            let sum = self.nodes()[linear.end()].results[0];
            linear.set_bias(&mut draft, numbers, sum)?;
        }
        draft.build()
    }
}
