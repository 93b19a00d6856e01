//! Known tensors cut, put together and laid out anew.

use super::places::{picked, strides, summed};
use super::{Dimension, Entries, Kind, Numbers, rounded, truth};
use crate::graph::{PadMode, SliceRange};

/// The parts along an axis.
pub(super) fn split(
    known: &[&Numbers],
    axis: usize,
    shapes: &[Vec<usize>],
) -> Option<Vec<Entries>> {
    let [x] = known else { return None };
    let mut start = 0;
    shapes
        .iter()
        .map(|shape| {
            let mut coordinates = all(&x.shape);
            coordinates[axis] = (start..start + shape[axis]).collect();
            start += shape[axis];
            at(x, coordinates)
        })
        .collect()
}

/// The ranges of some axes.
pub(super) fn slice(x: &Numbers, ranges: &[SliceRange]) -> Option<Entries> {
    let mut coordinates = all(&x.shape);
    for range in ranges {
        let (start, len) = (range.start.as_known()?, range.len.as_known()?);
        let place = |j: i64| usize::try_from(start.checked_add(j.checked_mul(range.step)?)?).ok();
        coordinates[range.axis] = (0..len).map(place).collect::<Option<_>>()?;
    }
    at(x, coordinates)
}

/// The entries along an axis that the indices name.
pub(super) fn gather(x: &Numbers, indices: &Numbers, axis: usize) -> Option<Entries> {
    let Entries::Integers(indices) = &indices.entries else { return None };
    let extent = i64::try_from(x.shape[axis]).ok()?;
    let place = |index: &Dimension| {
        let index = index.as_known()?;
        usize::try_from(if index < 0 { index.checked_add(extent)? } else { index }).ok()
    };
    let mut coordinates = all(&x.shape);
    coordinates[axis] = indices.iter().map(place).collect::<Option<_>>()?;
    at(x, coordinates)
}

/// The axes in another order.
pub(super) fn transpose(x: &Numbers, order: &[usize]) -> Option<Entries> {
    let strides = strides(&x.shape);
    let steps = |&axis: &usize| (0..x.shape[axis]).map(|j| j * strides[axis]).collect();
    let steps: Vec<Vec<usize>> = order.iter().map(steps).collect();
    picked(&x.entries, &summed(&steps))
}

/// The axes repeated until they fill a shape.
pub(super) fn tile(x: &Numbers, shape: &[usize]) -> Option<Entries> {
    let repeated =
        |(&extent, &own): (&usize, &usize)| (0..extent).map(|j| j % own.max(1)).collect();
    at(x, shape.iter().zip(&x.shape).map(repeated).collect())
}

/// One after another along an axis.
pub(super) fn concat(known: &[&Numbers], axis: usize, shape: &[usize]) -> Option<Entries> {
    fn joined<T: Copy>(rows: usize, parts: &[(&[T], usize)]) -> Option<Vec<T>> {
        let mut result = Vec::new();
        for row in 0..rows {
            for &(entries, width) in parts {
                result.extend_from_slice(entries.get(row * width..(row + 1) * width)?);
            }
        }
        Some(result)
    }
    let rows: usize = shape[..axis].iter().product();
    let width = |x: &Numbers| x.shape[axis..].iter().product::<usize>();
    let floats = known.iter().map(|x| match &x.entries {
        Entries::Floats(entries) => Some((&entries[..], width(x))),
        Entries::Integers(_) => None,
    });
    if let Some(floats) = floats.collect::<Option<Vec<_>>>() {
        return joined(rows, &floats).map(Entries::Floats);
    }
    let integers = known.iter().map(|x| match &x.entries {
        Entries::Integers(entries) => Some((&entries[..], width(x))),
        Entries::Floats(_) => None,
    });
    joined(rows, &integers.collect::<Option<Vec<_>>>()?).map(Entries::Integers)
}

/// More or fewer entries at both ends of each axis.
pub(super) fn pad(x: &Numbers, mode: PadMode, pads: &[(i64, i64)], kind: Kind) -> Option<Entries> {
    let PadMode::Constant(value) = mode else { return None };
    // One more entry stands for the padding, and its place for all places outside.
    let outside = x.entries.len();
    let mut padded = x.entries.clone();
    match (&mut padded, fill(value, kind, 1)) {
        (Entries::Floats(entries), Entries::Floats(value)) => entries.extend(value),
        (Entries::Integers(entries), Entries::Integers(value)) => entries.extend(value),
        _ => return None,
    }
    let mut places = vec![Some(0)];
    for ((&extent, stride), &(before, behind)) in x.shape.iter().zip(strides(&x.shape)).zip(pads) {
        let end = i64::try_from(extent).ok()?.checked_add(behind)?;
        let steps: Vec<Option<usize>> = (before.checked_neg()?..end)
            .map(|j| usize::try_from(j).ok().filter(|&j| j < extent).map(|j| j * stride))
            .collect();
        let extended = |place: &Option<usize>| {
            let place = *place;
            steps.iter().map(move |step| Some(place? + (*step)?)).collect::<Vec<_>>()
        };
        places = places.iter().flat_map(extended).collect();
    }
    let places: Vec<usize> = places.into_iter().map(|place| place.unwrap_or(outside)).collect();
    picked(&padded, &places)
}

/// n times a number, as this kind holds it.
pub(super) fn fill(value: f64, kind: Kind, n: usize) -> Entries {
    match kind {
        Kind::Float => Entries::Floats(vec![rounded(value); n]),
        Kind::Int => Entries::Integers(vec![Dimension::known(value as i64); n]),
        Kind::Bool => Entries::Integers(vec![truth(value != 0.0); n]),
    }
}

/// start, start + step, … until the shape is full.
pub(super) fn range(start: &Numbers, step: &Numbers, shape: &[usize]) -> Option<Entries> {
    let [n] = *shape else { return None };
    match (&start.entries, &step.entries) {
        (Entries::Floats(start), Entries::Floats(step)) => {
            let (start, step) = (start.first()?, step.first()?);
            Some(Entries::Floats((0..n).map(|j| rounded(start + j as f64 * step)).collect()))
        }
        (Entries::Integers(start), Entries::Integers(step)) => {
            let (start, step) = (start.first()?, step.first()?);
            let entry = |j: usize| {
                let j = Dimension::known(i64::try_from(j).ok()?);
                start.checked_add(step.checked_mul(j)?)
            };
            (0..n).map(entry).collect::<Option<_>>().map(Entries::Integers)
        }
        _ => None,
    }
}

/// Every coordinate of each axis.
fn all(shape: &[usize]) -> Vec<Vec<usize>> {
    shape.iter().map(|&extent| (0..extent).collect()).collect()
}

/// The entries at these coordinates of each axis.
fn at(x: &Numbers, coordinates: Vec<Vec<usize>>) -> Option<Entries> {
    let mut steps = coordinates;
    for ((steps, stride), &extent) in steps.iter_mut().zip(strides(&x.shape)).zip(&x.shape) {
        for step in steps {
            if *step >= extent {
                return None;
            }
            *step *= stride;
        }
    }
    picked(&x.entries, &summed(&steps))
}
