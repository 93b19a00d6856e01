//! Where the entries of a result stand in an operand.

use super::Entries;

/// The entries at these places; `None` where one is outside.
pub(super) fn picked(entries: &Entries, places: &[usize]) -> Option<Entries> {
    fn take<T: Copy>(entries: &[T], places: &[usize]) -> Option<Vec<T>> {
        places.iter().map(|&place| entries.get(place).copied()).collect()
    }
    Some(match entries {
        Entries::Floats(entries) => Entries::Floats(take(entries, places)?),
        Entries::Integers(entries) => Entries::Integers(take(entries, places)?),
    })
}

/// How far neighbors along each axis are apart.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// The places of a result whose axis i adds `steps[i][j]` at its j-th entry, row by row.
pub(super) fn summed(steps: &[Vec<usize>]) -> Vec<usize> {
    steps.iter().fold(vec![0], |places, steps| {
        places.iter().flat_map(|place| steps.iter().map(move |step| place + step)).collect()
    })
}

/// The places of an operand that is broadcast to a shape.
pub(super) fn expanded(shape: &[usize], target: &[usize]) -> Vec<usize> {
    let new = target.len() - shape.len().min(target.len());
    let strides = strides(shape);
    let steps: Vec<Vec<usize>> = target
        .iter()
        .enumerate()
        .map(|(axis, &extent)| match axis.checked_sub(new).map(|own| (shape[own], strides[own])) {
            None | Some((1, _)) => vec![0; extent],
            Some((_, stride)) => (0..extent).map(|j| j * stride).collect(),
        })
        .collect();
    summed(&steps)
}
