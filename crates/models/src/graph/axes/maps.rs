//! Linear maps with parameters: what a network has to be fitted anew with.

use candle_core::{DType, Tensor};
use core_tensors::{Error as TensorsError, Params, Result};

use super::linear::Linear;
use super::walk::Walk;
use crate::graph::{Binary, Graph, Op, Source, ValueId, Window};

/// A linear map z = W \[h; 1\] of an activation h with parameters: a Gemm, a MatMul with a parameter, or a convolution of one
/// group over its unfolded patches.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearMap {
    /// The weight's name without its last part, where that says "weight", else the node's.
    pub name: String,
    /// Index of the node.
    pub node: usize,
    /// h: dense maps read its last axis (axis 1 of a Gemm), convolutions axis 1, the channels.
    pub input: ValueId,
    /// z, behind the Add of a bias.
    pub output: ValueId,
    /// The parameter that holds W.
    pub weight: ValueId,
    /// The axis of the weight that counts the outputs.
    pub output_axis: usize,
    /// The parameter of one number an output that is added.
    pub bias: Option<ValueId>,
    /// What a convolution sees at once; `None` for a dense map.
    pub window: Option<Window>,
    /// Factors of W and of the bias in the node (a Gemm's α and β).
    pub factors: [f64; 2],
    /// Why W cannot be chosen freely: its parameter serves another node as well, or something that is no parameter is added.
    pub tied: Option<String>,
}

impl Walk<'_> {
    /// The maps, in the order of the graph.
    pub(super) fn maps(&self) -> Vec<LinearMap> {
        self.linear.iter().filter_map(|linear| self.map(linear)).collect()
    }

    fn map(&self, linear: &Linear) -> Option<LinearMap> {
        let node = &self.graph.nodes()[linear.node];
        let (input, result) = (*node.operands.first()?, *node.results.first()?);
        let own = node.operands.get(2);
        let output = match linear.bias {
            Some(bias) if own.is_none() => self.sum_with(result, bias)?,
            _ => result,
        };
        let (window, factors) = match node.op {
            Op::Conv { window, .. } => (Some(window), [1.0, 1.0]),
            // β belongs to the bias of the node itself.
            Op::Gemm { alpha, beta, .. } => {
                let beta = if own.is_some() { f64::from(beta) } else { 1.0 };
                (None, [f64::from(alpha), beta])
            }
            _ => (None, [1.0, 1.0]),
        };
        let n_uses = |id: ValueId| {
            let twins = self.linear.iter().filter(|other| other.weight == id);
            self.uses[id.0].len().max(twins.count())
        };
        let shared = std::iter::once(linear.weight).chain(linear.bias).find(|&id| n_uses(id) > 1);
        let tied = match (shared, own, linear.bias) {
            (Some(id), ..) => {
                Some(format!("`{}` serves other nodes too", self.graph.value(id).name))
            }
            (None, Some(_), None) => Some("what it adds is no parameter".to_owned()),
            _ if factors.contains(&0.0) => Some("a factor of it is 0".to_owned()),
            _ => None,
        };
        Some(LinearMap {
            name: self.name(linear),
            node: linear.node,
            input,
            output,
            weight: linear.weight,
            output_axis: linear.output_axis,
            bias: linear.bias,
            window,
            factors,
            tied,
        })
    }

    /// The sum of a product and the bias that its only reader adds.
    fn sum_with(&self, product: ValueId, bias: ValueId) -> Option<ValueId> {
        let [reader] = self.uses[product.0].as_slice() else { return None };
        let reader = &self.graph.nodes()[*reader];
        let is_sum = reader.op == Op::Binary(Binary::Add) && reader.operands.contains(&bias);
        is_sum.then(|| reader.results.first().copied()).flatten()
    }
}

impl LinearMap {
    /// W, (o, n) in f64; of a convolution n = c·k² in the order channel, row, column.
    ///
    /// # Errors
    /// Where the parameters are not the graph's.
    pub fn weights(&self, graph: &Graph, params: &Params) -> Result<Tensor> {
        let block = shaped(graph, params, self.weight)?;
        let block = (block.to_dtype(DType::F64)? * self.factors[0])?;
        if self.output_axis == 1 {
            Ok(block.t()?.contiguous()?)
        } else {
            Ok(block.flatten_from(1)?)
        }
    }

    /// The bias, (o,) in f64.
    ///
    /// # Errors
    /// Where the parameters are not the graph's.
    pub fn biases(&self, graph: &Graph, params: &Params) -> Result<Option<Tensor>> {
        let block = |id| -> Result<Tensor> {
            let block = shaped(graph, params, id)?.flatten_all()?.to_dtype(DType::F64)?;
            Ok((block * self.factors[1])?)
        };
        self.bias.map(block).transpose()
    }

    /// The parameters with another W, (o, n), and bias, (o,), rounded to the type that they have.
    ///
    /// # Errors
    /// Where sizes are others, or a bias is given to a map that has none.
    pub fn replaced(
        &self,
        graph: &Graph,
        params: &Params,
        weights: &Tensor,
        biases: Option<&Tensor>,
    ) -> Result<Params> {
        let mut blocks = params.blocks().to_vec();
        let weights =
            if self.output_axis == 1 { weights.t()?.contiguous()? } else { weights.clone() };
        replace(graph, &mut blocks, self.weight, &(weights / self.factors[0])?)?;
        match (self.bias, biases) {
            (Some(id), Some(biases)) => {
                replace(graph, &mut blocks, id, &(biases / self.factors[1])?)?;
            }
            (None, Some(_)) => {
                let (what, expected) =
                    ("biases of a linear map", core_tensors::Expected::Exactly(0));
                return Err(TensorsError::Count { what, expected, found: 1 });
            }
            (_, None) => {}
        }
        Params::new(params.layout().clone(), blocks)
    }
}

/// A parameter in its own shape.
fn shaped(graph: &Graph, params: &Params, id: ValueId) -> Result<Tensor> {
    let value = graph.value(id);
    let shape: Vec<usize> =
        value.shape.iter().map(|extent| usize::try_from(extent.fixed).unwrap_or(0)).collect();
    Ok(params.blocks()[block_of(graph, params, id)?].reshape(shape)?)
}

fn block_of(graph: &Graph, params: &Params, id: ValueId) -> Result<usize> {
    graph.layout().check_same("parameters of a graph", params.layout())?;
    match graph.value(id).source {
        Source::Parameter(block) => Ok(block),
        Source::Input | Source::Constant(_) | Source::Node { .. } => {
            let index = graph.values().len();
            Err(TensorsError::Index { what: "parameter of a linear map", index: id.0, n: index })
        }
    }
}

fn replace(graph: &Graph, blocks: &mut [Tensor], id: ValueId, with: &Tensor) -> Result<()> {
    let Source::Parameter(t) = graph.value(id).source else { return Ok(()) };
    let block = &blocks[t];
    blocks[t] = with.to_dtype(block.dtype())?.to_device(block.device())?.reshape(block.shape())?;
    Ok(())
}
