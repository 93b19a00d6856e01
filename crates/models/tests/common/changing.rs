//! Changed graphs: whether they compute the same, also when they come back from a file.

use std::error::Error;

use candle_core::Tensor;
use core_tensors::Params;
use models::graph::change::ResidualBlock;
use models::graph::{Graph, Op};
use models::onnx::{ImportOptions, Imported, Model, ReadExternal, import, rewrite};

use crate::difference::difference;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A network in a file, and inputs for it.
pub(crate) struct Subject<'a> {
    pub(crate) model: &'a Model,
    pub(crate) original: &'a Imported,
    pub(crate) inputs: &'a [Tensor],
}

impl Subject<'_> {
    /// Difference of two networks, the second one also read from the file in which it was written; the larger one.
    pub(crate) fn gap(
        &self,
        (graph, w): (&Graph, &Params),
        (changed, changed_w): (&Graph, &Params),
        external: &mut ReadExternal<'_>,
    ) -> Outcome<f64> {
        let expected = graph.run(w, self.inputs)?;
        let found = changed.run(changed_w, self.inputs)?;
        let bytes = rewrite(self.model, self.original, changed, changed_w, external)
            .map_err(|error| format!("rewriting: {error}"))?;
        let output = Some(self.original.logits.tensor.clone());
        let options = ImportOptions { output, ..ImportOptions::default() };
        let again = import(&Model::parse(bytes)?, external, &options)
            .map_err(|error| format!("what was written: {error}"))?;
        if again.params.layout().n_parameters() != changed_w.layout().n_parameters() {
            return Err("the file has other parameters".into());
        }
        let written = again.graph.run(&again.params, self.inputs)?;
        Ok(difference(&found[0], &expected[0])?.max(difference(&written[0], &found[0])?))
    }

    /// Batch normalizations that were folded, and the difference that it makes.
    pub(crate) fn folded(&self, external: &mut ReadExternal<'_>) -> Outcome<(Vec<String>, f64)> {
        let Imported { graph, params, .. } = self.original;
        let (changed, w, names) = graph.with_batch_norm_folded(params)?;
        let n = |graph: &Graph| {
            let is_norm = |op: &Op| matches!(op, Op::BatchNormalization { .. });
            graph.nodes().iter().filter(|node| is_norm(&node.op)).count()
        };
        if n(graph) - n(&changed) != names.len() {
            return Err(format!("{names:?} of {} have gone, {} stay", n(graph), n(&changed)).into());
        }
        Ok((names, self.gap((graph, params), (&changed, &w), external)?))
    }

    /// How many parameters biases for all linear nodes add, and the difference that they make.
    pub(crate) fn biased(&self, external: &mut ReadExternal<'_>) -> Outcome<(usize, f64)> {
        let Imported { graph, params, .. } = self.original;
        let all: Vec<usize> = (0..graph.nodes().len()).collect();
        let is_linear = |&i: &usize| graph.with_biases(params, &[i]).is_ok();
        let linear: Vec<usize> = all.into_iter().filter(is_linear).collect();
        let (changed, w) = graph.with_biases(params, &linear)?;
        let n = changed.parameters().len() - graph.parameters().len();
        Ok((n, self.gap((graph, params), (&changed, &w), external)?))
    }

    /// Difference between a graph without blocks, and one in which all parameters of the blocks alone are 0.
    pub(crate) fn skipped(
        &self,
        blocks: &[ResidualBlock],
        external: &mut ReadExternal<'_>,
    ) -> Outcome<f64> {
        let Imported { graph, params, .. } = self.original;
        let (changed, w) = graph.without_blocks(params, blocks)?;
        let name = |graph: &Graph, id| graph.value(id).name.clone();
        let kept: Vec<String> = changed.parameters().iter().map(|&id| name(&changed, id)).collect();
        let pairs = graph.parameters().iter().zip(params.blocks());
        let zeroed = pairs.map(|(&id, block)| {
            if kept.contains(&name(graph, id)) { Ok(block.clone()) } else { block.zeros_like() }
        });
        let zero = Params::new(graph.layout(), zeroed.collect::<Result<_, _>>()?)?;
        if kept.len() == graph.parameters().len() {
            return Err("no parameter has gone".into());
        }
        self.gap((graph, &zero), (&changed, &w), external)
    }
}
