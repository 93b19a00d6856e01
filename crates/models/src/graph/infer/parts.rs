//! Shapes of operators that cut tensors and put them together.

use super::{Inferred, check_axis, check_kind, check_one_an_axis, exactly};
use crate::graph::rules::{count_steps, difference, setting, shapes, sum};
use crate::graph::{Dimension, Entries, Kind, PadMode, Problem, SliceRange, Source, Value};

/// One after another along an axis.
pub(super) fn concat(operands: &[&Value], axis: usize) -> Result<Inferred, Problem> {
    let Some((first, others)) = operands.split_first() else {
        return Err(Problem::Operands { expected: "at least 1", found: 0 });
    };
    check_axis(axis, first.shape.len())?;
    let mut shape = first.shape.clone();
    for (operand, other) in (1..).zip(others) {
        check_kind(operands, operand, first.kind)?;
        let is_other_axis = |(i, (a, b)): (usize, (&Dimension, &Dimension))| i == axis || a == b;
        let mut extents = first.shape.iter().zip(&other.shape).enumerate();
        if first.shape.len() != other.shape.len() || !extents.all(is_other_axis) {
            let all: Vec<&[Dimension]> = operands.iter().map(|value| &value.shape[..]).collect();
            return Err(shapes("expected shapes that are equal but for the joined axis", &all));
        }
        shape[axis] = sum(shape[axis], other.shape[axis])?;
    }
    Ok((first.kind, shape))
}

/// Parts along an axis.
pub(super) fn split(
    operands: &[&Value],
    axis: usize,
    sizes: &[Dimension],
) -> Result<Vec<Inferred>, Problem> {
    let [x] = exactly(operands)?;
    check_axis(axis, x.shape.len())?;
    let total = sizes.iter().try_fold(Dimension::known(0), |total, &size| sum(total, size))?;
    if total != x.shape[axis] {
        let expected = format!("a sum of {}", x.shape[axis]);
        return Err(setting("the sizes of a split", expected, total));
    }
    let part = |&size: &Dimension| {
        let mut shape = x.shape.clone();
        shape[axis] = size;
        (x.kind, shape)
    };
    Ok(sizes.iter().map(part).collect())
}

/// A range of some axes.
pub(super) fn slice(operands: &[&Value], ranges: &[SliceRange]) -> Result<Inferred, Problem> {
    let [x] = exactly(operands)?;
    let mut shape = x.shape.clone();
    for (i, range) in ranges.iter().enumerate() {
        check_axis(range.axis, x.shape.len())?;
        if ranges[..i].iter().any(|other| other.axis == range.axis) {
            return Err(setting("axes of a slice", "none twice", range.axis));
        }
        check_range(range, x.shape[range.axis])?;
        shape[range.axis] = range.len;
    }
    Ok((x.kind, shape))
}

/// Refuses a range that leaves its axis.
fn check_range(range: &SliceRange, extent: Dimension) -> Result<(), Problem> {
    let SliceRange { start, step, len, .. } = *range;
    let (zero, one) = (Dimension::known(0), Dimension::known(1));
    if step == 0 {
        return Err(setting("a step", "a number other than 0", step));
    }
    if len == zero {
        return Ok(());
    }
    let walk = difference(len, one)?.checked_mul(Dimension::known(step));
    let last = sum(start, walk.ok_or(Problem::TooLarge)?)?;
    let is_inside = |place: Dimension| place.is_at_least(zero) && extent.is_at_least(place);
    // A range that is empty for one example alone ends one step before its start.
    let ends_inside = if step > 0 { extent.is_above(last) } else { last.is_at_least(zero) };
    let starts_inside = if step > 0 { is_inside(start) } else { extent.is_above(start) };
    if !(len.is_at_least(zero) && starts_inside && ends_inside) {
        let found = format!("{len} from {start} on, step {step}");
        return Err(setting("a slice", format!("entries of the {extent} of its axis"), found));
    }
    Ok(())
}

/// The axis replaced by those of the indices.
pub(super) fn gather(operands: &[&Value], axis: usize) -> Result<Inferred, Problem> {
    let [x, indices] = exactly(operands)?;
    check_kind(operands, 1, Kind::Int)?;
    check_axis(axis, x.shape.len())?;
    let extent = x.shape[axis];
    if let Source::Constant(numbers) = &indices.source
        && let Entries::Integers(entries) = &numbers.entries
    {
        let least = difference(Dimension::known(0), extent)?;
        let is_inside = |&&i: &&Dimension| i.is_at_least(least) && extent.is_above(i);
        if let Some(wrong) = entries.iter().find(|i| !is_inside(i)) {
            return Err(setting("an index", format!("−{extent} ≤ index < {extent}"), wrong));
        }
    }
    let (front, behind) = (&x.shape[..axis], &x.shape[axis + 1..]);
    Ok((x.kind, [front, &indices.shape, behind].concat()))
}

/// More or fewer entries at both ends of each axis.
pub(super) fn pad(
    operands: &[&Value],
    mode: PadMode,
    pads: &[(i64, i64)],
) -> Result<Inferred, Problem> {
    let [x] = exactly(operands)?;
    check_one_an_axis("pairs of pads", pads.len(), x.shape.len())?;
    let mut shape = x.shape.clone();
    for (extent, &(before, behind)) in shape.iter_mut().zip(pads) {
        let zero = Dimension::known(0);
        let [cut_before, cut_behind] = [before, behind].map(|n| Dimension::known(n.min(0)));
        let left = sum(sum(*extent, cut_before)?, cut_behind)?;
        if !left.is_at_least(zero) {
            let expected = format!("no more than the extent {extent} cut off");
            return Err(setting("pads", expected, format!("{before} and {behind}")));
        }
        let needed = Dimension::known(before.max(behind));
        let is_enough = match mode {
            PadMode::Constant(_) => true,
            PadMode::Reflect => zero.is_at_least(needed) || left.is_above(needed),
            PadMode::Edge => zero.is_at_least(needed) || left.is_above(zero),
        };
        if !is_enough {
            let expected = format!("numbers that an extent of {left} can fill");
            return Err(setting("pads", expected, format!("{before} and {behind}")));
        }
        let added = Dimension::known(before.max(0)).checked_add(Dimension::known(behind.max(0)));
        *extent = sum(left, added.ok_or(Problem::TooLarge)?)?;
    }
    Ok((x.kind, shape))
}

/// As many entries as there are steps from the start to the limit.
pub(super) fn range(operands: &[&Value]) -> Result<Inferred, Problem> {
    let [start, limit, step] = exactly(operands)?;
    check_kind(operands, 1, start.kind)?;
    check_kind(operands, 2, start.kind)?;
    if start.kind == Kind::Bool {
        return Err(Problem::Kind { operand: 0, expected: Kind::Int, found: Kind::Bool });
    }
    let len = match [entries(start)?, entries(limit)?, entries(step)?] {
        [Entries::Integers(start), Entries::Integers(limit), Entries::Integers(step)] => {
            let step = only(step)?.as_known().ok_or(Problem::NotLinear)?;
            count_steps(difference(only(limit)?, only(start)?)?, step)?
        }
        [Entries::Floats(start), Entries::Floats(limit), Entries::Floats(step)] => {
            // The gap in f32, as a runtime takes it.
            let gap = only(limit)? as f32 - only(start)? as f32;
            let count = (f64::from(gap) / only(step)?).ceil();
            if count.is_nan() || count > super::MAX_ENTRIES as f64 {
                return Err(Problem::TooLarge);
            }
            Dimension::known(count.max(0.0) as i64)
        }
        _ => return Err(Problem::NotConstant { what: "a bound of the range" }),
    };
    Ok((start.kind, vec![len]))
}

/// What is known of a bound.
fn entries(value: &Value) -> Result<&Entries, Problem> {
    match &value.source {
        Source::Constant(numbers) => Ok(&numbers.entries),
        _ => Err(Problem::NotConstant { what: "a bound of the range" }),
    }
}

/// The number of a tensor of one.
fn only<T: Copy>(entries: &[T]) -> Result<T, Problem> {
    match *entries {
        [entry] => Ok(entry),
        _ => Err(setting("numbers of a bound of the range", 1, entries.len())),
    }
}
