//! Outputs of a graph in other units.

use candle_core::{DType, Tensor};
use core_tensors::Params;

use super::GraphChangeError;
use super::readers::Readers;
use crate::graph::axes::{Axes, LinearMap};
use crate::graph::{Graph, Op, Reduction, ValueId};

impl Graph {
    /// The parameters with which this graph gives its outputs in other units: c ⊙ f(x, w).
    ///
    /// cⱼ is the j-th of `factors`, one an output. Row j of the last linear map and its bias are multiplied by cⱼ, and rounded
    /// to the type that they have; all other parameters stay, and so does the graph. Factors 1/cⱼ undo it, up to rounding.
    ///
    /// The map is a Gemm, a MatMul with a parameter or a Conv of one group. Behind it may stand reshapings that keep the order
    /// of the outputs, and means or sums over positions.
    ///
    /// # Errors
    /// [`GraphChangeError::Outputs`] where the graph has several outputs, where they are not those of such a map alone (a
    /// nonlinearity follows, or others read the map), where its weight or bias serves other nodes or is no parameter, for
    /// factors that are 0, not finite or not one an output, and where a parameter would not be finite.
    pub fn with_scaled_outputs(
        &self,
        params: &Params,
        factors: &[f64],
    ) -> Result<Params, GraphChangeError> {
        let &[output] = self.outputs() else {
            let found = format!("there are {}, expected one tensor", self.outputs().len());
            let names = self.outputs().iter().map(|&id| self.value(id).name.as_str());
            let output = names.collect::<Vec<_>>().join("`, `");
            return Err(GraphChangeError::Outputs { output, reason: found });
        };
        let refused = |reason: String| GraphChangeError::Outputs {
            output: self.value(output).name.clone(),
            reason,
        };
        let map = self.map_of(output).map_err(refused)?;
        let weights = map.weights(self, params)?; // (o, n)
        let n = weights.dim(0)?;
        if factors.len() != n {
            return Err(refused(format!("expected {n} factors, found {}", factors.len())));
        }
        if let Some(factor) = factors.iter().find(|c| **c == 0.0 || !c.is_finite()) {
            return Err(refused(format!("expected finite factors other than 0, found {factor}")));
        }
        let c = Tensor::new(factors, weights.device())?; // (o,)
        let weights = weights.broadcast_mul(&c.unsqueeze(1)?)?;
        let biases = map.biases(self, params)?.map(|b| b.mul(&c)).transpose()?;
        let scaled = map.replaced(self, params, &weights, biases.as_ref())?;
        let sums = scaled.blocks().iter().map(|block| {
            let sum = block.to_dtype(DType::F64)?.abs()?.sum_all()?;
            sum.to_scalar::<f64>()
        });
        let sums = sums.collect::<candle_core::Result<Vec<f64>>>()?;
        if sums.iter().any(|sum| !sum.is_finite()) {
            return Err(refused("scaled parameters are not finite".to_owned()));
        }
        Ok(scaled)
    }

    /// The linear map whose outputs, in their order, are those of the graph; else why there is none.
    fn map_of(&self, output: ValueId) -> Result<LinearMap, String> {
        let axes = Axes::of(self);
        let readers = Readers::of(self);
        if !readers.nodes(output).is_empty() {
            return Err("nodes of the graph read them too".to_owned());
        }
        let mut behind = Vec::new();
        let mut value = output;
        let map = loop {
            if let Some(map) = axes.maps().iter().find(|map| map.output == value) {
                break map.clone();
            }
            let maker = self.nodes().iter().position(|node| node.results.contains(&value));
            let Some(index) = maker else {
                return Err("they are those of no linear map".to_owned());
            };
            let node = &self.nodes()[index];
            let name = || self.node_name(index).to_string();
            let (true, Some(&before)) = (is_passed(&node.op), node.operands.first()) else {
                return Err(format!("{} stands between them and a linear map", name()));
            };
            if readers.only(before) != Some(index) {
                return Err(format!("others than {} read `{}`", name(), self.value(before).name));
            }
            behind.push(index);
            value = before;
        };
        if let Some(tied) = &map.tied {
            return Err(format!("the linear map `{}` cannot be changed: {tied}", map.name));
        }
        let rank = self.value(map.output).shape.len();
        let is_second =
            map.window.is_some() || matches!(self.nodes()[map.node].op, Op::Gemm { .. });
        let mut axis = if is_second { 1 } else { rank.saturating_sub(1) };
        for &index in behind.iter().rev() {
            axis = self.axis_behind(index, axis).ok_or_else(|| {
                format!("{} does not keep them in their order", self.node_name(index))
            })?;
        }
        Ok(map)
    }

    /// Where a node that is passed leaves the axis of the outputs.
    fn axis_behind(&self, index: usize, axis: usize) -> Option<usize> {
        let node = &self.nodes()[index];
        let (&before, &after) = (node.operands.first()?, node.results.first()?);
        match &node.op {
            Op::Reduce { axes, keep, .. } => {
                let n_before = axes.iter().filter(|&&reduced| reduced < axis).count();
                let is_kept = !axes.contains(&axis) && !axes.contains(&0);
                is_kept.then_some(if *keep { axis } else { axis - n_before })
            }
            Op::AveragePool { .. } => (axis == 1).then_some(axis),
            _ => {
                // The batch first, and no other axis than that of the outputs: their order is that of the numbers.
                let alone = |id: ValueId| -> Option<(usize, i64)> {
                    let [batch, rest @ ..] = &self.value(id).shape[..] else { return None };
                    let known: Vec<i64> =
                        rest.iter().map(|d| d.as_known()).collect::<Option<_>>()?;
                    let n = known.iter().product();
                    // A lone number an example has no axis of its own.
                    let place = known.iter().position(|&extent| extent == n);
                    (batch.is_per_batch() && (place.is_some() || n == 1))
                        .then_some((place.map_or(0, |place| place + 1), n))
                };
                let ((_, n), (place, other)) = (alone(before)?, alone(after)?);
                (n == other).then_some(place)
            }
        }
    }
}

/// Operators through which a scaled output stays the same output, scaled: they rearrange, or add up each output alone.
fn is_passed(op: &Op) -> bool {
    matches!(
        op,
        Op::Flatten { .. }
            | Op::Reshape { .. }
            | Op::Squeeze { .. }
            | Op::Unsqueeze { .. }
            | Op::AveragePool { .. }
            | Op::Reduce { reduction: Reduction::Mean | Reduction::Sum, .. }
    )
}
