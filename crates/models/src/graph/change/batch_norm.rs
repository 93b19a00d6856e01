//! Batch normalizations as parts of the linear maps in front of them.

use core_tensors::Params;

use super::GraphChangeError;
use super::draft::Draft;
use super::linear::{Bias, Linear};
use super::readers::Readers;
use crate::graph::{Graph, Op, Source, ValueId};

impl Graph {
    /// The graph in which linear nodes do what the BatchNormalizations behind them did; with the names of those.
    ///
    /// W ← diag(s) W,  b ← s (b − μ) + β,  s = γ/√(σ² + ε),
    ///
    /// computed in f64 and rounded once to the type of the parameters. The linear node is a Gemm, MatMul or Conv of any groups
    /// with a parameter as its weight; a bias that is missing is added as by [`Graph::with_biases`]. The value that the
    /// BatchNormalization gave keeps its name.
    ///
    /// A BatchNormalization stays where its input is read by others too or comes out of the graph, where others read weight
    /// or bias of the linear node, where its own operands are computed, where axis 1 is not that of the outputs, and where a
    /// number would not be finite.
    ///
    /// # Errors
    /// Where the parameters are those of another graph.
    pub fn with_batch_norm_folded(
        &self,
        params: &Params,
    ) -> Result<(Self, Params, Vec<String>), GraphChangeError> {
        let (mut graph, mut params, mut names) = folded(self, params)?;
        let mut n_more = names.len();
        // One behind another has a linear node in front of it now.
        while n_more > 0 {
            let (next, next_params, more) = folded(&graph, &params)?;
            (graph, params, n_more) = (next, next_params, more.len());
            names.extend(more);
        }
        Ok((graph, params, names))
    }
}

fn folded(
    graph: &Graph,
    params: &Params,
) -> Result<(Graph, Params, Vec<String>), GraphChangeError> {
    let readers = Readers::of(graph);
    let mut draft = Draft::of(graph, params)?;
    let mut gone = Vec::new();
    for (index, node) in graph.nodes().iter().enumerate() {
        let Op::BatchNormalization { epsilon } = node.op else { continue };
        let &[x, scale, shift, mean, variance] = node.operands.as_slice() else { continue };
        let Some(linear) = linear_behind(graph, &draft, &readers, x)? else { continue };
        let mut numbers = Vec::new();
        for id in [scale, shift, mean, variance] {
            numbers.extend(draft.numbers(id)?.filter(|of| of.len() == linear.n_outputs));
        }
        let [scale, shift, mean, variance] = numbers.as_slice() else { continue };
        let s: Vec<f64> = scale
            .iter()
            .zip(variance)
            .map(|(scale, variance)| scale / (variance + f64::from(epsilon)).sqrt())
            .collect();
        let Some(bias) = linear.bias(&draft)? else { continue };
        let bias = (0..s.len()).map(|o| s[o] * (bias[o] - mean[o]) + shift[o]).collect();
        let Some(weight) = draft.numbers(linear.weight)? else { continue };
        let shape = draft.shape(linear.weight).to_vec();
        let weight = scaled(weight, &shape, linear.output_axis, &s);
        let Some(weight) = draft.block(weight, &shape, linear.weight)? else { continue };
        if linear.set_bias(&mut draft, bias, node.results[0])? {
            draft.set(linear.weight, weight);
            gone.push(index);
        }
    }
    draft.remove(|index| gone.contains(&index));
    let names = gone.iter().map(|&index| graph.node_name(index).name).collect();
    let (graph, params) = draft.build()?;
    Ok((graph, params, names))
}

/// The linear node, with nothing of it shared, of which a normalization is the only reader.
fn linear_behind(
    graph: &Graph,
    draft: &Draft<'_>,
    readers: &Readers,
    x: ValueId,
) -> Result<Option<Linear>, GraphChangeError> {
    if readers.only(x).is_none() {
        return Ok(None);
    }
    let Source::Node { node: end, .. } = graph.value(x).source else { return Ok(None) };
    // The node itself, or one in front of the Add of a bias.
    let operands = graph.nodes()[end].operands.iter();
    let in_front = operands.filter_map(|&id| match graph.value(id).source {
        Source::Node { node, .. } => Some(node),
        Source::Input | Source::Parameter(_) | Source::Constant(_) => None,
    });
    for index in std::iter::once(end).chain(in_front) {
        let Some(linear) = Linear::of(graph, draft, readers, index)? else { continue };
        let has_own_bias = match linear.bias {
            Bias::Missing | Bias::Known(_) => true,
            Bias::Parameter(id) => readers.only(id).is_some(),
            Bias::Other => false,
        };
        if linear.end() == end && linear.result_axis == 1 && !linear.is_shared && has_own_bias {
            return Ok(Some(linear));
        }
    }
    Ok(None)
}

/// The numbers of a tensor, those at place j of an axis times `factors[j]`.
fn scaled(mut numbers: Vec<f64>, shape: &[usize], axis: usize, factors: &[f64]) -> Vec<f64> {
    let inner = shape.iter().skip(axis + 1).product::<usize>().max(1);
    for (slice, factor) in numbers.chunks_mut(inner).zip(factors.iter().cycle()) {
        slice.iter_mut().for_each(|v| *v *= factor);
    }
    numbers
}
