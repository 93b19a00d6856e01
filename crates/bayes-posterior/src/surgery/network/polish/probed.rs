//! Forward passes that are pulled back to the output of one linear map, a few examples at a time.

use candle_core::{Tensor, Var};
use core_tensors::Params;
use models::graph::Graph;
use models::graph::axes::LinearMap;

use super::super::calibration::{Batch, of_graph};
use super::target::Target;
use crate::error::{Error, Result};

/// Examples that are differentiated at once.
const CHUNK: usize = 250;

/// Some examples of a batch, with what a map reads of them.
pub(super) struct Probed {
    /// Index of the batch.
    pub(super) b: usize,
    /// The first of the examples in it.
    pub(super) start: usize,
    /// m: how many.
    pub(super) n: usize,
    /// The network's output, differentiable in that of the map.
    pub(super) f: Tensor,
    /// What the map reads.
    pub(super) h: Tensor,
    pub(super) mask: Option<Tensor>,
    probe: Var,
}

impl Probed {
    /// ∂ ⟨direction, f⟩ / ∂z, with z the output of the map, in its shape.
    pub(super) fn pulled(&self, direction: &Tensor) -> Result<Tensor> {
        let direction = direction.to_dtype(self.f.dtype())?.to_device(self.f.device())?;
        let gradients = (&self.f * direction)?.sum_all()?.backward()?;
        Ok(match gradients.get(&self.probe) {
            Some(gradient) => gradient.detach(),
            None => self.probe.zeros_like()?,
        })
    }
}

/// Calls `visit` for the batches that `is_wanted` names, in pieces.
pub(super) fn each(
    graph: &Graph,
    params: &Params,
    map: &LinearMap,
    target: &Target,
    is_wanted: impl Fn(&Batch) -> bool,
    mut visit: impl FnMut(&Probed) -> Result<()>,
) -> Result<()> {
    let frozen = params.frozen();
    for (b, batch) in target.calibration.batches().iter().enumerate() {
        for start in (0..batch.n).step_by(CHUNK).filter(|_| is_wanted(batch)) {
            let n = CHUNK.min(batch.n - start);
            let pick = |x: &Tensor| x.narrow(0, start, n);
            let inputs: Vec<Tensor> =
                batch.inputs.iter().map(pick).collect::<candle_core::Result<_>>()?;
            let mask = batch.mask.as_ref().map(pick).transpose()?;
            let z = graph.values_from(&frozen, &inputs, &[], &[map.output]).map_err(of_graph)?;
            let probe = Var::zeros(z[0].shape(), z[0].dtype(), z[0].device())?;
            let tapped = [(map.output, probe.as_tensor().clone())];
            let wanted = [graph.outputs()[0], map.input];
            let values =
                graph.values_with_probes(&frozen, &inputs, &tapped, &wanted).map_err(of_graph)?;
            let [f, h] = <[Tensor; 2]>::try_from(values).map_err(|values| {
                Error::count("values", core_tensors::Expected::Exactly(2), values.len())
            })?;
            visit(&Probed { b, start, n, f, h: h.detach(), mask, probe })?;
        }
    }
    Ok(())
}
