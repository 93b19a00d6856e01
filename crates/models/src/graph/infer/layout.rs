//! Shapes of reductions, and of operators that lay the same numbers out anew.

use super::{Inferred, Shape, check_axes, check_kinds, check_one_an_axis, check_size, exactly};
use crate::graph::rules::{Product, broadcast, product, setting, shapes};
use crate::graph::{Dimension, Kind, Problem, Reduction, Value};

/// Without the reduced axes, or with extent 1 there.
pub(super) fn reduce(
    operands: &[&Value],
    reduction: Reduction,
    axes: &[usize],
    keep: bool,
) -> Result<Inferred, Problem> {
    let [x] = exactly(operands)?;
    check_axes(axes, x.shape.len())?;
    let takes_whole_numbers = match reduction {
        Reduction::Sum
        | Reduction::Prod
        | Reduction::Max
        | Reduction::Min
        | Reduction::L1
        | Reduction::SumSquare => true,
        Reduction::Mean | Reduction::L2 => false,
    };
    if !(takes_whole_numbers && x.kind == Kind::Int) {
        check_kinds(operands, Kind::Float)?;
    }
    let mut shape = x.shape.clone();
    for &axis in axes.iter().rev() {
        if keep {
            shape[axis] = Dimension::known(1);
        } else {
            shape.remove(axis);
        }
    }
    Ok((x.kind, shape))
}

/// Two axes: all before `axis`, and the others.
pub(super) fn flatten(operands: &[&Value], axis: usize) -> Result<Inferred, Problem> {
    let [x] = exactly(operands)?;
    if axis > x.shape.len() {
        return Err(setting("an axis", format!("0 ≤ axis ≤ {}", x.shape.len()), axis));
    }
    let (rows, columns) = x.shape.split_at(axis);
    Ok((x.kind, vec![Product::of(rows)?.linear()?, Product::of(columns)?.linear()?]))
}

/// Another shape of as many numbers.
pub(super) fn reshape(operands: &[&Value], shape: &[Dimension]) -> Result<Inferred, Problem> {
    let [x] = exactly(operands)?;
    check_size(shape)?;
    if Product::of(&x.shape)? != Product::of(shape)? {
        return Err(shapes("expected a target of as many entries", &[&x.shape, shape]));
    }
    Ok((x.kind, shape.to_vec()))
}

/// The axes in another order.
pub(super) fn transpose(operands: &[&Value], order: &[usize]) -> Result<Inferred, Problem> {
    let [x] = exactly(operands)?;
    let rank = x.shape.len();
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..rank) {
        let expected = format!("each of the {rank} axes once");
        return Err(setting("an order of axes", expected, format!("{order:?}")));
    }
    Ok((x.kind, order.iter().map(|&axis| x.shape[axis]).collect()))
}

/// Without some axes of extent 1.
pub(super) fn squeeze(operands: &[&Value], axes: &[usize]) -> Result<Inferred, Problem> {
    let [x] = exactly(operands)?;
    check_axes(axes, x.shape.len())?;
    if axes.iter().any(|&axis| x.shape[axis] != Dimension::known(1)) {
        return Err(shapes("expected extents of 1 on the axes that go", &[&x.shape]));
    }
    let mut shape = x.shape.clone();
    for &axis in axes.iter().rev() {
        shape.remove(axis);
    }
    Ok((x.kind, shape))
}

/// With more axes of extent 1.
pub(super) fn unsqueeze(operands: &[&Value], axes: &[usize]) -> Result<Inferred, Problem> {
    let [x] = exactly(operands)?;
    check_axes(axes, x.shape.len() + axes.len())?;
    let mut shape = x.shape.clone();
    axes.iter().for_each(|&axis| shape.insert(axis, Dimension::known(1)));
    Ok((x.kind, shape))
}

/// Broadcast with another shape.
pub(super) fn expand(operands: &[&Value], shape: &[Dimension]) -> Result<Inferred, Problem> {
    let [x] = exactly(operands)?;
    Ok((x.kind, broadcast(&[&x.shape, shape])?))
}

/// Each axis repeated.
pub(super) fn tile(operands: &[&Value], repeats: &[Dimension]) -> Result<Inferred, Problem> {
    let [x] = exactly(operands)?;
    check_one_an_axis("repeats", repeats.len(), x.shape.len())?;
    if let Some(wrong) = repeats.iter().find(|n| !n.is_at_least(Dimension::known(0))) {
        return Err(setting("repeats", "0 or more for every batch", wrong));
    }
    let shape: Result<Shape, Problem> =
        x.shape.iter().zip(repeats).map(|(&extent, &repeats)| product(extent, repeats)).collect();
    Ok((x.kind, shape?))
}

/// One whole number an axis.
pub(super) fn shape(operands: &[&Value], start: usize, end: usize) -> Result<Inferred, Problem> {
    let [x] = exactly(operands)?;
    let rank = x.shape.len();
    if start > end || end > rank {
        let expected = format!("0 ≤ start ≤ end ≤ {rank}");
        return Err(setting("axes of a shape", expected, format!("{start} to {end}")));
    }
    let axes = i64::try_from(end - start).map_err(|_| Problem::TooLarge)?;
    Ok((Kind::Int, vec![Dimension::known(axes)]))
}
