//! Which atom each entry of a tensor belongs to.

use std::collections::BTreeMap;

use super::units::Units;
use crate::graph::Dimension;

/// An atom for each place along some axes of a tensor; the other axes make no difference.
///
/// An axis of extent N·k, which a reshape has made of the batch and k entries, counts as k: entry i has the atom of i mod k.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    /// Ascending.
    pub(super) axes: Vec<usize>,
    /// One an axis, more than 1.
    pub(super) extents: Vec<usize>,
    /// Row by row over the axes.
    pub(super) atoms: Vec<usize>,
}

impl Labels {
    /// Labels along one axis.
    pub(super) fn along(axis: usize, atoms: Vec<usize>) -> Self {
        Self { axes: vec![axis], extents: vec![atoms.len()], atoms }.without_ones()
    }

    /// On more axes, or as many; an axis that is new repeats what there is.
    pub(super) fn spread(&self, axes: &[usize], extents: &[usize]) -> Self {
        let own = strides(&self.extents);
        let steps = axes.iter().map(|axis| {
            let place = self.axes.iter().position(|own| own == axis);
            place.map_or(0, |place| own[place])
        });
        let atoms = places(&steps.collect::<Vec<_>>(), extents);
        let atoms = atoms.into_iter().map(|place| self.atoms[place]).collect();
        Self { axes: axes.to_vec(), extents: extents.to_vec(), atoms }
    }

    /// Without axes of extent 1.
    fn without_ones(mut self) -> Self {
        let is_long: Vec<bool> = self.extents.iter().map(|&n| n != 1).collect();
        let mut keep = is_long.iter();
        self.axes.retain(|_| keep.next() == Some(&true));
        self.extents.retain(|&n| n != 1);
        self
    }

    /// Without the axes along which all entries are of one set.
    pub(super) fn compressed(&self, units: &Units) -> Self {
        let mut labels = self.clone();
        let mut place = labels.axes.len();
        while let Some(next) = place.checked_sub(1) {
            place = next;
            let (outer, n, inner) = labels.around(place);
            let is_same = (0..outer).all(|o| {
                (0..inner).all(|i| {
                    let set = |j: usize| units.free(labels.atoms[(o * n + j) * inner + i]);
                    (1..n).all(|j| set(j) == set(0))
                })
            });
            if is_same {
                labels = labels.picked(place, &[0]);
                labels.axes.remove(place);
                labels.extents.remove(place);
            }
        }
        labels
    }

    /// Makes one set of the entries along an axis, for each place on the others.
    pub(super) fn unite_along(&self, axis: usize, units: &mut Units) {
        let Some(place) = self.axes.iter().position(|&own| own == axis) else { return };
        let (outer, n, inner) = self.around(place);
        for o in 0..outer {
            for i in 0..inner {
                let atom = |j: usize| self.atoms[(o * n + j) * inner + i];
                (1..n).for_each(|j| {
                    units.unite(atom(0), atom(j));
                });
            }
        }
    }

    /// These entries of one axis.
    pub(super) fn picked(&self, place: usize, entries: &[usize]) -> Self {
        let (outer, n, inner) = self.around(place);
        let mut atoms = Vec::with_capacity(outer * entries.len() * inner);
        for o in 0..outer {
            for &j in entries {
                let start = (o * n + j) * inner;
                atoms.extend_from_slice(&self.atoms[start..start + inner]);
            }
        }
        let mut extents = self.extents.clone();
        extents[place] = entries.len();
        Self { axes: self.axes.clone(), extents, atoms }
    }

    /// The same with these entries of an axis, where it is one of the labels'.
    pub(super) fn part(&self, axis: usize, entries: &[usize]) -> Self {
        match self.axes.iter().position(|&own| own == axis) {
            Some(place) => self.picked(place, entries).without_ones(),
            None => self.clone(),
        }
    }

    /// Axis a becomes axis `to(a)`; any order.
    pub(super) fn moved(&self, to: impl Fn(usize) -> usize) -> Self {
        let mut order: Vec<usize> = (0..self.axes.len()).collect();
        order.sort_by_key(|&place| to(self.axes[place]));
        let own = strides(&self.extents);
        let steps: Vec<usize> = order.iter().map(|&place| own[place]).collect();
        let extents: Vec<usize> = order.iter().map(|&place| self.extents[place]).collect();
        let atoms = places(&steps, &extents).into_iter().map(|i| self.atoms[i]).collect();
        Self { axes: order.iter().map(|&place| to(self.axes[place])).collect(), extents, atoms }
    }

    /// The same numbers in another shape; `None` where the batch comes between, or there are too many.
    pub(super) fn reshaped(&self, from: &[Dimension], to: &[Dimension]) -> Option<Self> {
        let (mut axes, mut extents) = (Vec::new(), Vec::new());
        let (mut new_axes, mut new_extents) = (Vec::new(), Vec::new());
        let mut seen = 0;
        for (old, new) in blocks(from, to)? {
            let labelled = self.axes.iter().filter(|axis| old.contains(axis)).count();
            if labelled == 0 {
                continue;
            }
            seen += labelled;
            if !(is_batch_first(&from[old.clone()]) && is_batch_first(&to[new.clone()])) {
                return None;
            }
            for axis in old {
                axes.push(axis);
                extents.push(extent(from[axis])?);
            }
            for axis in new {
                new_axes.push(axis);
                new_extents.push(extent(to[axis])?);
            }
        }
        if seen != self.axes.len() || is_too_large(&extents) {
            return None;
        }
        let atoms = self.spread(&axes, &extents).atoms;
        Some(Self { axes: new_axes, extents: new_extents, atoms }.without_ones())
    }

    /// Entries before an axis, of it, and behind it.
    fn around(&self, place: usize) -> (usize, usize, usize) {
        let (front, behind) = (&self.extents[..place], &self.extents[place + 1..]);
        (front.iter().product(), self.extents[place], behind.iter().product())
    }
}

/// All axes of some labels, with their extents.
pub(super) fn union(all: &[&Labels]) -> (Vec<usize>, Vec<usize>) {
    let pairs =
        all.iter().flat_map(|each| each.axes.iter().copied().zip(each.extents.iter().copied()));
    let axes: BTreeMap<usize, usize> = pairs.collect();
    axes.into_iter().unzip()
}

/// Whether labels of these extents are more than are kept: a file of a few nodes could otherwise ask for any number.
pub(super) fn is_too_large(extents: &[usize]) -> bool {
    const MOST: usize = 1 << 23;
    extents.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent)).is_none_or(|n| n > MOST)
}

/// The extent of an axis, N taken as 1; `None` for extents such as N + 1.
pub(super) fn extent(of: Dimension) -> Option<usize> {
    let n = match (of.fixed, of.per_example) {
        (n, 0) | (0, n) => n,
        _ => return None,
    };
    usize::try_from(n).ok()
}

/// How far neighbors along each axis are apart.
fn strides(extents: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; extents.len()];
    for axis in (1..extents.len()).rev() {
        strides[axis - 1] = strides[axis] * extents[axis];
    }
    strides
}

/// Places that are `steps[i]` apart along axis i, row by row.
fn places(steps: &[usize], extents: &[usize]) -> Vec<usize> {
    let axes = steps.iter().zip(extents);
    axes.fold(vec![0], |places, (&step, &n)| {
        places.iter().flat_map(|&place| (0..n).map(move |j| place + j * step)).collect()
    })
}

/// Whether the batch, if it is in these axes at all, is the outermost factor of their entries.
fn is_batch_first(shape: &[Dimension]) -> bool {
    let batch = shape.iter().position(|extent| extent.is_per_batch());
    batch.is_none_or(|at| shape[..at].iter().all(|&before| before == Dimension::known(1)))
}

/// Neighboring axes of two shapes that hold the same entries.
fn blocks(
    from: &[Dimension],
    to: &[Dimension],
) -> Option<Vec<(std::ops::Range<usize>, std::ops::Range<usize>)>> {
    let (mut i, mut j) = (0, 0);
    let mut blocks = Vec::new();
    while i < from.len() && j < to.len() {
        let starts = (i, j);
        let mut sizes = [size(from[i])?, size(to[j])?];
        (i, j) = (i + 1, j + 1);
        while sizes[0] != sizes[1] {
            let side = usize::from(sizes[0] > sizes[1]);
            let next = if side == 0 { from.get(i) } else { to.get(j) };
            let (n, batches) = size(*next?)?;
            sizes[side] = (sizes[side].0.checked_mul(n)?, sizes[side].1 + batches);
            if side == 0 { i += 1 } else { j += 1 }
        }
        blocks.push((starts.0..i, starts.1..j));
    }
    // What is left over has extent 1.
    if i < from.len() || j < to.len() {
        blocks.push((i..from.len(), j..to.len()));
    }
    Some(blocks)
}

/// Entries of an axis for a batch of one, and how often the batch is a factor of them.
fn size(of: Dimension) -> Option<(usize, usize)> {
    let n = extent(of).filter(|&n| n > 0)?;
    Some((n, usize::from(of.is_per_batch())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(shape: &[i64]) -> Vec<Dimension> {
        shape
            .iter()
            .map(
                |&n| {
                    if n < 0 {
                        Dimension { fixed: 0, per_example: -n }
                    } else {
                        Dimension::known(n)
                    }
                },
            )
            .collect()
    }

    /// Labels of a tensor by the definition: the atom of each entry, row by row, for a batch of one.
    fn flat(labels: &Labels, shape: &[Dimension]) -> Vec<usize> {
        let axes: Vec<usize> = (0..shape.len()).collect();
        let extents: Vec<usize> = shape.iter().map(|&n| extent(n).unwrap()).collect();
        labels.spread(&axes, &extents).atoms
    }

    #[test]
    fn reshapes_leave_each_entry_its_atom() {
        let cases: [(&[i64], usize, &[i64]); 8] = [
            (&[-1, 4, 3, 2], 1, &[-1, 24]),
            (&[-1, 24], 1, &[-1, 4, 3, 2]),
            (&[-1, 5, 6], 2, &[-5, 6]),
            (&[-1, 6], 1, &[-3, 2]),
            (&[-6, 2], 0, &[-1, 2, 3, 2]),
            (&[5, -1, 6], 2, &[5, -3, 2]),
            (&[-1, 6], 1, &[-1, 1, 6, 1]),
            (&[-1, 2, 6, 1], 2, &[-1, 12]),
        ];
        for (from, axis, to) in cases {
            let [from, to] = [from, to].map(known);
            let n = extent(from[axis]).unwrap();
            let labels = Labels::along(axis, (0..n).collect());
            let reshaped = labels.reshaped(&from, &to).unwrap();
            assert_eq!(flat(&reshaped, &to), flat(&labels, &from), "{from:?} {to:?}");
            let back = reshaped.reshaped(&to, &from).unwrap();
            assert_eq!(flat(&back, &from), flat(&labels, &from));
        }
    }

    #[test]
    fn a_batch_between_entries_is_refused() {
        // Entry i of N · 6 is no function of i mod 6 where the batch is the inner factor.
        let labels = Labels::along(0, (0..6).collect());
        assert!(labels.reshaped(&known(&[6, -1]), &known(&[-6])).is_none());
        assert!(labels.reshaped(&known(&[6, 2]), &known(&[5, 3])).is_none());
    }

    #[test]
    fn axes_along_which_nothing_differs_go() {
        let mut units = Units::default();
        let labels = Labels { axes: vec![1, 3], extents: vec![2, 3], atoms: units.fresh(6) };
        assert_eq!(labels.compressed(&units).axes, [1, 3]);
        labels.unite_along(3, &mut units);
        let left = labels.compressed(&units);
        assert_eq!((left.axes, left.atoms.len()), (vec![1], 2));
        // What stays is all alike.
        labels.atoms.iter().for_each(|&atom| units.pin(atom, "a test"));
        assert!(labels.compressed(&units).axes.is_empty());
        assert_eq!(units.pinned(4), Some("a test"));
    }

    #[test]
    fn moved_axes_take_their_entries_along() {
        let labels = Labels { axes: vec![0, 1], extents: vec![2, 3], atoms: (0..6).collect() };
        let moved = labels.moved(|axis| 2 - axis);
        assert_eq!((moved.axes, moved.extents), (vec![1, 2], vec![3, 2]));
        assert_eq!(moved.atoms, [0, 3, 1, 4, 2, 5]);
        assert_eq!(labels.part(1, &[2, 0]).atoms, [2, 0, 5, 3]);
    }
}
