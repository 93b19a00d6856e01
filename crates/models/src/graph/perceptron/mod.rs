//! Graphs that are perceptrons, recognized as such.

mod gelu;
mod steps;

use core_tensors::kernels::Activation;
use core_tensors::{Params, candle_core::Tensor};

use self::steps::{Step, Walk};
use super::{Graph, NodeName};
use crate::{Architecture, Mlp};

/// Why a graph is no perceptron: the node that no chain of dense layers has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a perceptron: node {node}: {reason}")]
pub struct NotAPerceptron {
    /// The obstacle.
    pub node: NodeName,
    /// What is wrong with it.
    pub reason: String,
}

/// One dense layer in f64: rows of weights, and a bias where there is one.
#[derive(Clone, Debug, PartialEq)]
struct Dense {
    n_out: usize,
    n_in: usize,
    /// Row by row.
    weights: Vec<f64>,
    bias: Option<Vec<f64>>,
}

/// factor · x + offset for each column; one number stands for all columns.
#[derive(Clone, Debug, PartialEq)]
struct Columns {
    factor: Vec<f64>,
    offset: Vec<f64>,
}

impl Graph {
    /// The first output as a perceptron of the input, with parameters that compute the same numbers.
    ///
    /// Taken are chains of products with weights (Gemm, or MatMul and Add), one activation between all of them, reshapes of
    /// an example, and whatever scales and shifts columns: Scaler, batch normalization with its moments given, Add, Sub, Mul
    /// and Div with constants or parameters. The latter are folded into the next layer, or the one before, in f64.
    ///
    /// # Errors
    /// Where the graph is something else; the error names the first node that is.
    pub fn as_perceptron(&self, w: &Params) -> Result<(Mlp, Params), NotAPerceptron> {
        let walk = Walk::new(self, w);
        let steps = walk.steps()?;
        let (layers, activation) = folded(&steps)?;
        let last = || NotAPerceptron { node: walk.output_name(), reason: "no layer".to_owned() };
        let first = layers.first().ok_or_else(last)?;
        let widths = std::iter::once(first.n_in).chain(layers.iter().map(|layer| layer.n_out));
        let bias = layers.iter().any(|layer| layer.bias.is_some());
        let mlp = Mlp { widths: widths.collect(), activation, bias };
        let values: Vec<f64> = layers.iter().flat_map(|layer| layer.block(bias)).collect();
        let in_words = |error: &dyn std::fmt::Display| NotAPerceptron {
            node: walk.output_name(),
            reason: error.to_string(),
        };
        let params = walk.params(&mlp.layout(), &values).map_err(|error| in_words(&error))?;
        Ok((mlp, params))
    }
}

/// Layers with everything else folded in, and what stands between them.
fn folded(steps: &[(NodeName, Step)]) -> Result<(Vec<Dense>, Activation), NotAPerceptron> {
    let wrong = |node: &NodeName, reason: &str| NotAPerceptron {
        node: node.clone(),
        reason: reason.to_owned(),
    };
    let mut layers: Vec<Dense> = Vec::new();
    let mut between: Vec<(NodeName, Activation)> = Vec::new();
    // Scales before a layer wait for it.
    let mut waiting: Vec<&Columns> = Vec::new();
    for (node, step) in steps {
        // An activation belongs between two layers.
        let is_behind_a_layer = layers.len() > between.len();
        match step {
            Step::Columns(columns) => match layers.last_mut() {
                Some(layer) if is_behind_a_layer => layer.scale_outputs(columns),
                _ => waiting.push(columns),
            },
            Step::Activation(activation) if is_behind_a_layer => {
                between.push((node.clone(), *activation));
            }
            Step::Activation(_) => {
                return Err(wrong(node, "an activation that stands behind no layer"));
            }
            Step::Dense(dense) => {
                if is_behind_a_layer {
                    between.push((node.clone(), Activation::Identity));
                }
                let mut dense = dense.clone();
                waiting.drain(..).rev().for_each(|columns| dense.scale_inputs(columns));
                layers.push(dense);
            }
        }
    }
    if let Some((node, _)) = between.get(layers.len().saturating_sub(1)) {
        return Err(wrong(node, "an activation behind the last layer"));
    }
    let first = between.first().map_or(Activation::Identity, |(_, activation)| *activation);
    if let Some((node, other)) = between.iter().find(|(_, activation)| *activation != first) {
        let reason = format!("{other:?} between layers, where others have {first:?}");
        return Err(wrong(node, &reason));
    }
    Ok((layers, first))
}

impl Dense {
    /// W diag(f), b + W o: a layer behind factor · x + offset.
    fn scale_inputs(&mut self, columns: &Columns) {
        let Columns { factor, offset } = columns;
        let at = |v: &[f64], i: usize| if v.len() == 1 { v[0] } else { v[i] };
        if offset.iter().any(|&o| o != 0.0) {
            let n = self.n_in;
            let shift = |row: &[f64]| (0..n).map(|i| row[i] * at(offset, i)).sum::<f64>();
            let shifts: Vec<f64> = self.weights.chunks_exact(n).map(shift).collect();
            let bias = self.bias.get_or_insert_with(|| vec![0.0; shifts.len()]);
            bias.iter_mut().zip(shifts).for_each(|(b, shift)| *b += shift);
        }
        for row in self.weights.chunks_exact_mut(self.n_in) {
            row.iter_mut().enumerate().for_each(|(i, u)| *u *= at(factor, i));
        }
    }

    /// diag(f) W, f b + o: a layer before factor · y + offset.
    fn scale_outputs(&mut self, columns: &Columns) {
        let Columns { factor, offset } = columns;
        let at = |v: &[f64], j: usize| if v.len() == 1 { v[0] } else { v[j] };
        for (j, row) in self.weights.chunks_exact_mut(self.n_in).enumerate() {
            row.iter_mut().for_each(|u| *u *= at(factor, j));
        }
        if self.bias.is_some() || offset.iter().any(|&o| o != 0.0) {
            let bias = self.bias.get_or_insert_with(|| vec![0.0; self.n_out]);
            for (j, b) in bias.iter_mut().enumerate() {
                *b = at(factor, j) * *b + at(offset, j);
            }
        }
    }

    /// Its numbers in a block, with a bias of zeros where others have one.
    fn block(&self, has_bias: bool) -> Vec<f64> {
        let bias = |j: usize| self.bias.as_ref().map_or(0.0, |bias| bias[j]);
        let rows = self.weights.chunks_exact(self.n_in).enumerate();
        rows.flat_map(|(j, row)| row.iter().copied().chain(has_bias.then(|| bias(j)))).collect()
    }
}

/// The same numbers as candle keeps them.
fn numbers(x: &Tensor) -> candle_core::Result<Vec<f64>> {
    x.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1::<f64>()
}
