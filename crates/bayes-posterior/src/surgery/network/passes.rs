//! Values of the original and of the changed network, kept at a cut that moves through the graph with the surgery.

use std::rc::Rc;

use candle_core::Tensor;
use core_tensors::Params;
use models::graph::{Graph, ValueId};

use super::calibration::{Batch, Calibration, of_graph};
use super::flow::Flow;
use crate::error::Result;

/// The calibration examples on their way through two versions of a network.
pub(super) struct Passes<'a> {
    graph: &'a Graph,
    flow: Rc<Flow>,
    calibration: &'a Calibration,
    original: &'a Params,
    /// Index of the node that the kept values are in front of, and these, for each batch.
    cut: usize,
    kept: [Vec<Vec<(ValueId, Tensor)>>; 2],
    has_diverged: bool,
}

/// Which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Original = 0,
    Changed = 1,
}

impl<'a> Passes<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        flow: Rc<Flow>,
        original: &'a Params,
        calibration: &'a Calibration,
    ) -> Self {
        let none = || vec![Vec::new(); calibration.batches().len()];
        let kept = [none(), none()];
        Self { graph, flow, calibration, original, cut: 0, kept, has_diverged: false }
    }

    pub(super) fn graph(&self) -> &'a Graph {
        self.graph
    }

    pub(super) fn calibration(&self) -> &'a Calibration {
        self.calibration
    }

    /// Moves the cut to the front of a node, if memory allows: else it stays, and what is behind is computed again. Parameters of nodes behind the cut alone have changed
    /// since the cut was moved last.
    pub(super) fn advance(&mut self, node: usize, changed: &Params) -> Result<()> {
        if node <= self.cut {
            return Ok(());
        }
        let live = self.flow.across(self.graph, node);
        let n = self.calibration.n_examples();
        let each: usize = live.iter().map(|id| self.bytes(*id)).sum();
        let n_versions = if self.has_diverged { 2 } else { 1 };
        if each.saturating_mul(n).saturating_mul(n_versions) > self.calibration.memory() {
            return Ok(());
        }
        let versions: &[Version] = if self.has_diverged {
            &[Version::Original, Version::Changed]
        } else {
            &[Version::Original]
        };
        for &version in versions {
            for (b, batch) in self.calibration.batches().iter().enumerate() {
                let values = self.at(version, b, batch, changed, &live)?;
                self.kept[version as usize][b] = live.iter().copied().zip(values).collect();
            }
        }
        self.cut = node;
        Ok(())
    }

    /// From here on the two versions differ, behind the cut.
    pub(super) fn diverge(&mut self) {
        if !self.has_diverged {
            self.has_diverged = true;
            self.kept[1] = self.kept[0].clone();
        }
    }

    /// Values of a version for a batch.
    pub(super) fn at(
        &self,
        version: Version,
        b: usize,
        batch: &Batch,
        changed: &Params,
        wanted: &[ValueId],
    ) -> Result<Vec<Tensor>> {
        let version = if self.has_diverged { version } else { Version::Original };
        let params = match version {
            Version::Original => self.original,
            Version::Changed => changed,
        };
        let known = &self.kept[version as usize][b];
        self.graph.values_from(params, &batch.inputs, known, wanted).map_err(of_graph)
    }

    /// Bytes of a value for one example.
    fn bytes(&self, id: ValueId) -> usize {
        let extents =
            self.graph.value(id).shape.iter().map(|extent| extent.of_batch(1).unwrap_or(1));
        extents.fold(4usize, |n, extent| n.saturating_mul(usize::try_from(extent).unwrap_or(1)))
    }
}
