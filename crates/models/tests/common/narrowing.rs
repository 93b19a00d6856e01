//! The law of narrowing: units whose columns are 0 in all consumers leave without a change of the function.

use std::error::Error;

use candle_core::{DType, Tensor};
use core_tensors::{Params, Rng};
use models::graph::axes::{Axes, AxesError};
use models::graph::{Graph, ValueId};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Parameters whose entries at `places` of an axis are 0.
pub(crate) fn zeroed(
    graph: &Graph,
    w: &Params,
    (weight, axis): (ValueId, usize),
    places: &[usize],
) -> Outcome<Params> {
    let block = graph.parameters().iter().position(|&id| id == weight).ok_or("no parameter")?;
    let shape = extents(graph, weight);
    let mut blocks = w.blocks().to_vec();
    let n = shape[axis];
    let mask = (0..n).map(|place| if places.contains(&place) { 0.0f32 } else { 1.0 });
    let mut along = vec![1; shape.len()];
    along[axis] = n;
    let mask = Tensor::from_vec(mask.collect(), along, blocks[block].device())?;
    let tensor = blocks[block].reshape(shape.as_slice())?.broadcast_mul(&mask)?;
    blocks[block] = tensor.reshape(blocks[block].shape())?;
    Ok(Params::new(graph.layout(), blocks)?)
}

pub(crate) fn extents(graph: &Graph, id: ValueId) -> Vec<usize> {
    graph.value(id).shape.iter().map(|n| n.fixed as usize).collect()
}

/// Largest difference of two outputs as a share of max(1, largest number).
pub(crate) fn distance(a: &Tensor, b: &Tensor) -> Outcome<f64> {
    if a.dims() != b.dims() {
        return Err(format!("{:?} is not {:?}", a.dims(), b.dims()).into());
    }
    let [a, b] = [a, b].map(|x| x.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>());
    let (a, b) = (a?, b?);
    let size = b.iter().fold(1.0f64, |most, v| most.max(v.abs()));
    let gap = a.iter().zip(&b).map(|(a, b)| (a - b).abs());
    Ok(gap.fold(0.0, |most, d| if d.is_nan() { f64::INFINITY } else { d.max(most) }) / size)
}

/// Removes these units; the difference between the network whose columns of theirs are 0 and the narrowed one. `None` where
/// nothing would be left of some tensor.
pub(crate) fn law(
    axes: &Axes,
    graph: &Graph,
    w: &Params,
    inputs: &[Tensor],
    kept: &[(usize, Vec<usize>)],
) -> Outcome<Option<f64>> {
    let mut zero = w.clone();
    for (g, kept) in kept {
        let group = &axes.groups()[*g];
        for consumer in &group.consumers {
            let shape = extents(graph, consumer.weight);
            let each = shape.iter().product::<usize>()
                / (shape[consumer.axis] * shape[consumer.output_axis]);
            let gone = (0..group.n_units).filter(|unit| !kept.contains(unit));
            let places: Vec<usize> =
                gone.flat_map(|unit| &consumer.columns[unit]).map(|column| column / each).collect();
            zero = zeroed(graph, &zero, (consumer.weight, consumer.axis), &places)?;
        }
    }
    let (narrow, narrow_w) = match axes.narrow(graph, w, kept) {
        Ok(narrow) => narrow,
        Err(AxesError::NothingLeft { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if narrow.layout().n_parameters() >= graph.layout().n_parameters() {
        return Err("no parameter has gone".into());
    }
    let (full, narrow) = (graph.run(&zero, inputs)?, narrow.run(&narrow_w, inputs)?);
    let mut worst = 0.0f64;
    for (a, b) in narrow.iter().zip(&full) {
        worst = worst.max(distance(a, b)?);
    }
    Ok(Some(worst))
}

/// The law for every unit of every group (at most `most` units of a group), and for random halves of all groups at once:
/// how many units were tried, and the largest difference.
pub(crate) fn laws(
    axes: &Axes,
    graph: &Graph,
    w: &Params,
    inputs: &[Tensor],
    most: usize,
) -> Outcome<(usize, f64)> {
    let mut rng = Rng::new(5);
    let (mut n, mut worst) = (0, 0.0f64);
    let mut halves = Vec::new();
    for (g, group) in axes.groups().iter().enumerate().filter(|(_, g)| g.pinned.is_none()) {
        let order = rng.permutation(group.n_units);
        for &gone in order.iter().take(most) {
            let kept: Vec<usize> = (0..group.n_units).filter(|&unit| unit != gone).collect();
            let found = law(axes, graph, w, inputs, &[(g, kept)])
                .map_err(|error| format!("`{}` without unit {gone}: {error}", group.name))?;
            let found = found.ok_or_else(|| format!("nothing left without {gone}"))?;
            if found > 1e-6 {
                return Err(format!("`{}` without unit {gone}: {found:e}", group.name).into());
            }
            (n, worst) = (n + 1, worst.max(found));
        }
        let mut half = order[..group.n_units.div_ceil(2)].to_vec();
        half.sort_unstable();
        halves.push((g, half));
    }
    if !halves.is_empty()
        && let Some(found) = law(axes, graph, w, inputs, &halves)
            .map_err(|error| format!("half of all groups: {error}"))?
    {
        worst = worst.max(found);
        if found > 1e-6 {
            return Err(format!("half of all groups: {found:e}").into());
        }
    }
    Ok((n, worst))
}
