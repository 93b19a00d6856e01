//! The same numbers in other shapes, whole or in parts.

use candle_core::Tensor;

use super::apply::check_size;
use super::pairs::broadcast_shape;
use crate::graph::Problem;

/// Two axes: all before `axis`, and the others.
pub(super) fn flatten(x: &Tensor, axis: usize) -> Result<Tensor, Problem> {
    let (before, behind) = x.dims().split_at(axis.min(x.rank()));
    Ok(x.reshape((before.iter().product::<usize>(), behind.iter().product::<usize>()))?)
}

/// Without the axes, which have extent 1.
pub(super) fn squeeze(x: &Tensor, axes: &[usize]) -> Result<Tensor, Problem> {
    let kept = x.dims().iter().enumerate().filter(|(i, _)| !axes.contains(i));
    Ok(x.reshape(kept.map(|(_, &n)| n).collect::<Vec<_>>())?)
}

/// With axes of extent 1 at these places of the result, ascending.
pub(super) fn unsqueeze(x: &Tensor, axes: &[usize]) -> Result<Tensor, Problem> {
    let mut shape = x.dims().to_vec();
    for &axis in axes {
        shape.insert(axis.min(shape.len()), 1);
    }
    Ok(x.reshape(shape)?)
}

/// One after another along an axis.
pub(super) fn concat(parts: &[Tensor], axis: usize) -> Result<Tensor, Problem> {
    let Some(first) = parts.first() else {
        return Err(Problem::Operands { expected: "at least 1", found: 0 });
    };
    let filled: Vec<&Tensor> = parts.iter().filter(|x| x.elem_count() > 0).collect();
    match filled.as_slice() {
        // Nothing but empty parts: the shape is all there is.
        [] => {
            let mut shape = first.dims().to_vec();
            let sum = parts.iter().map(|x| x.dims().get(axis).copied().unwrap_or(0)).sum();
            if let Some(extent) = shape.get_mut(axis) {
                *extent = sum;
            }
            Ok(Tensor::zeros(shape, first.dtype(), first.device())?)
        }
        [only] => Ok((*only).clone()),
        several => Ok(Tensor::cat(several, axis)?),
    }
}

/// Parts of these extents.
pub(super) fn split(x: &Tensor, axis: usize, sizes: &[usize]) -> Result<Vec<Tensor>, Problem> {
    let mut start = 0;
    let mut part = |&size: &usize| {
        let part = x.narrow(axis, start, size);
        start += size;
        Ok(part?)
    };
    sizes.iter().map(&mut part).collect()
}

/// Axes of extent 1 repeated, so that the shape fits this one.
pub(super) fn expand(x: &Tensor, shape: &[usize]) -> Result<Tensor, Problem> {
    let shape = broadcast_shape(&[x.dims(), shape])?;
    check_size(&shape)?;
    Ok(x.broadcast_as(shape)?)
}

/// Each axis repeated as a whole.
pub(super) fn tile(x: &Tensor, repeats: &[usize]) -> Result<Tensor, Problem> {
    if repeats.len() != x.rank() {
        let (expected, found) = (x.rank().to_string(), repeats.len().to_string());
        return Err(Problem::Setting { what: "number of repeats", expected, found });
    }
    let sizes = x.dims().iter().zip(repeats).map(|(&n, &times)| n.checked_mul(times));
    let shape: Vec<usize> = sizes.collect::<Option<_>>().ok_or(Problem::TooLarge)?;
    check_size(&shape)?;
    if shape.contains(&0) {
        return Ok(Tensor::zeros(shape, x.dtype(), x.device())?);
    }
    // (n₁, n₂, …) → (1, n₁, 1, n₂, …) → (r₁, n₁, r₂, n₂, …) → (r₁ n₁, r₂ n₂, …)
    let apart: Vec<usize> = x.dims().iter().flat_map(|&n| [1, n]).collect();
    let repeated: Vec<usize> =
        x.dims().iter().zip(repeats).flat_map(|(&n, &times)| [times, n]).collect();
    Ok(x.reshape(apart)?.broadcast_as(repeated)?.reshape(shape)?)
}
