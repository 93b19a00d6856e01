//! What a linear map reads and should give, as second moments.

use candle_core::{DType, Tensor};
use core_tensors::Params;
use core_tensors::kernels::SlidingWindow;
use models::graph::axes::LinearMap;
use models::graph::{Graph, ValueId};

use super::super::{Moments, SecondMoments};
use super::flow::{Arrangement, Target};
use super::passes::{Passes, Version};
use super::rows::{Examples, counted_rows, examples};
use crate::error::Result;

/// Moments of the inputs of a map: of the examples to fit, of those held out, and of all.
pub(super) struct Reading {
    pub(super) fitted: SecondMoments,
    /// The fitted ones again where none are held out.
    pub(super) held_out: SecondMoments,
    pub(super) all: SecondMoments,
}

/// Moments of what a map reads now, with targets where they are wanted.
pub(super) fn read(
    passes: &Passes,
    map: &LinearMap,
    changed: &Params,
    target: Option<&Target>,
) -> Result<Reading> {
    let (graph, calibration) = (passes.graph(), passes.calibration());
    let n = n_columns(graph, map);
    let empty = || match target {
        Some(_) => Moments::with_targets(n, n_outputs(graph, map)),
        None => Moments::new(n),
    };
    let (mut fitted, mut held_out) = (empty(), empty());
    for (b, batch) in calibration.batches().iter().enumerate() {
        let at = |version, wanted: &[ValueId]| passes.at(version, b, batch, changed, wanted);
        let (h, t) = match target {
            None => (at(Version::Changed, &[map.input])?.remove(0), None),
            Some(Target::Own) => {
                let z = at(Version::Original, &[map.output])?.remove(0);
                (at(Version::Changed, &[map.input])?.remove(0), Some(z))
            }
            Some(Target::Sum { sum, other, steps }) => {
                let sum = at(Version::Original, &[*sum])?.remove(0);
                let mut now = at(Version::Changed, &[map.input, *other])?;
                let t = (sum - now.remove(1))?;
                let t = Arrangement::undone(steps, graph, batch.n, t)?;
                (now.remove(0), Some(t))
            }
        };
        let moments = if batch.is_held_out { &mut held_out } else { &mut fitted };
        let at = [examples(graph, map.input), examples(graph, map.output)];
        add(moments, map, at, &h, t.as_ref(), batch.mask.as_ref())?;
    }
    let first = fitted.finish()?;
    if calibration.n_held_out() == 0 {
        return Ok(Reading { held_out: first.clone(), all: first.clone(), fitted: first });
    }
    let second = held_out.finish()?;
    fitted.merge(&held_out)?;
    Ok(Reading { fitted: first, held_out: second, all: fitted.finish()? })
}

/// Adds a batch of inputs h, and targets, of a map.
pub(super) fn add(
    moments: &mut Moments,
    map: &LinearMap,
    at: [Examples; 2],
    h: &Tensor,
    t: Option<&Tensor>,
    mask: Option<&Tensor>,
) -> Result<()> {
    if let Some(window) = sliding_window(map) {
        let image = |x: &Tensor| if x.rank() == 3 { x.unsqueeze(2) } else { Ok(x.clone()) };
        return match t {
            Some(t) => moments.add_patches_with_target(&image(h)?, &window, &image(t)?),
            None => moments.add_patches(&image(h)?, &window),
        };
    }
    let [of_h, of_t] = at;
    let rows = counted_rows(h, of_h, mask)?;
    match t {
        Some(t) => moments.add_with_target(&rows, &counted_rows(t, of_t, mask)?),
        None => moments.add(&rows),
    }
}

/// What a convolution sees at once.
pub(super) fn sliding_window(map: &LinearMap) -> Option<SlidingWindow> {
    map.window.map(|window| SlidingWindow {
        kernel: window.kernel,
        strides: window.strides,
        dilations: window.dilations,
        pads: window.pads,
    })
}

/// n of W, (o, n).
pub(super) fn n_columns(graph: &Graph, map: &LinearMap) -> usize {
    let extents = &graph.value(map.weight).shape;
    let all = extents.iter().map(|extent| usize::try_from(extent.fixed).unwrap_or(0));
    all.product::<usize>().checked_div(n_outputs(graph, map)).unwrap_or(0)
}

/// o of W, (o, n).
pub(super) fn n_outputs(graph: &Graph, map: &LinearMap) -> usize {
    let extent = graph.value(map.weight).shape.get(map.output_axis);
    extent.map_or(0, |extent| usize::try_from(extent.fixed).unwrap_or(0))
}

/// Numbers of a tensor in f64 as a matrix, (rows, columns).
pub(super) fn matrix(x: &Tensor) -> Result<faer::Mat<f64>> {
    let (rows, columns) = x.dims2()?;
    let values = x.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Ok(faer::Mat::from_fn(rows, columns, |i, j| values[i * columns + j]))
}
