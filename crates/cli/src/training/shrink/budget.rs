//! What the small network may be, in the user's words, as widths.

use anyhow::{Result, bail, ensure};
use bayes_posterior::surgery::network::Operated;
use core_tensors::Params;
use models::graph::Graph;

use super::plan::{Plan, Resource};

/// What the small network must be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Budget {
    /// A share in (0, 1) of a resource, or an amount of it.
    Size(Resource, Amount),
    /// Milliseconds of a forward pass, or a share of the network's.
    Latency(Amount),
    /// Points of accuracy, of R² or of agreement that may be lost, as a share: .005 is half a point.
    Loss(f64),
    /// Units that stay, by the names of layers.
    Widths(Vec<(String, usize)>),
}

/// How much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Amount {
    /// Of the network's, in (0, 1).
    Share(f64),
    /// In units of what is counted.
    Absolute(f64),
}

/// A student of some widths, without training.
pub(crate) struct Narrowed {
    /// One a group.
    pub(crate) widths: Vec<usize>,
    /// The network and what was done.
    pub(crate) operated: Operated,
}

/// Bisections of a latency: the last two are 1/64 of all multiply-adds apart.
const BISECTIONS: usize = 6;

impl Amount {
    /// The amount, of this whole.
    pub(crate) fn of(self, whole: f64) -> f64 {
        match self {
            Self::Share(share) => share * whole,
            Self::Absolute(amount) => amount,
        }
    }
}

impl Plan {
    /// The better, by `nats` from the network, of widths by the curves and of the same share everywhere.
    ///
    /// The curves look at each group alone, so that a share that is the same for all is better for some networks.
    pub(crate) fn narrowed_to(
        &self,
        resource: Resource,
        most: f64,
        nats: &mut dyn FnMut(&Graph, &Params) -> Result<f64>,
    ) -> Result<Narrowed> {
        let by_curves = self.widths(resource, most)?;
        let uniform = self.uniform_widths(resource, most).filter(|widths| *widths != by_curves);
        let mut best: Option<(f64, Narrowed)> = None;
        for widths in std::iter::once(by_curves).chain(uniform) {
            let operated = self.student(&widths)?;
            let lost = nats(&operated.graph, &operated.params)?;
            if best.as_ref().is_none_or(|(least, _)| lost < *least) {
                best = Some((lost, Narrowed { widths, operated }));
            }
        }
        match best {
            Some((_, narrowed)) => Ok(narrowed),
            None => bail!("no widths for {most} of {resource:?}"),
        }
    }

    /// Widths by the curves whose forward pass takes at most `most` milliseconds, as `measure` finds: the largest of a
    /// bisection of the multiply-adds.
    pub(crate) fn widths_for_latency(
        &self,
        most: f64,
        measure: &mut dyn FnMut(&Graph, &Params) -> Result<f64>,
    ) -> Result<Vec<usize>> {
        let size = |widths: &[usize]| self.size(Resource::Products, widths);
        let mut timed = |widths: &[usize]| {
            let (graph, params) = self.shape(widths)?;
            measure(&graph, &params)
        };
        let (mut low, mut high) = (size(&self.least()), size(&self.full()));
        let (fastest, whole) = (timed(&self.least())?, timed(&self.full())?);
        ensure!(
            fastest <= most,
            "--latency: expected a time that can be reached, found {most:.3} ms; the smallest widths take {fastest:.3} ms here, the network {whole:.3} ms: {}",
            self.floor_reasons()
        );
        let mut best = self.least();
        for _ in 0..BISECTIONS {
            let middle = 0.5 * (low + high);
            let widths = self.widths(Resource::Products, middle)?;
            if timed(&widths)? <= most {
                (low, best) = (middle, widths);
            } else {
                high = middle;
            }
        }
        Ok(best)
    }
}
