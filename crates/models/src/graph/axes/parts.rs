//! Atoms through operators that cut tensors and put them together.

use super::labels::{Labels, extent, is_too_large, union};
use super::walk::{Late, Walk};
use crate::graph::{Entries, Node, SliceRange, Source, ValueId};

impl Walk<'_> {
    /// One after another along an axis.
    pub(super) fn concat(&mut self, i: usize, node: &Node, axis: usize) -> Option<Labels> {
        let rank = self.shape(*node.results.first()?).len();
        let operands: Vec<_> = node.operands.iter().map(|&id| self.operand(id, rank)).collect();
        let is_across = |labels: &Labels| labels.axes.contains(&axis);
        let labelled = || operands.iter().filter_map(|operand| operand.labels.as_ref());
        if !labelled().any(is_across) {
            // The operands stand behind one another, but their other axes are common.
            return self.join(i, node, &operands);
        }
        let extents: Option<Vec<usize>> = node
            .operands
            .iter()
            .map(|&id| {
                let along = *self.shape(id).get(axis)?;
                extent(along).filter(|_| !along.is_per_batch())
            })
            .collect();
        let Some(extents) = extents else {
            self.pin_operands(node);
            return None;
        };
        // All axes along which any operand has units; only the joined one differs in extent.
        let (axes, mut sizes) = union(&labelled().collect::<Vec<_>>());
        let place = axes.iter().position(|&other| other == axis)?;
        sizes[place] = extents.iter().sum();
        if is_too_large(&sizes) {
            self.pin_operands(node);
            return None;
        }
        let reason = self.reason(node);
        let outer: usize = sizes[..place].iter().product();
        let inner: usize = sizes[place + 1..].iter().product();
        let mut rows = vec![Vec::new(); outer];
        for ((operand, n), &value) in operands.iter().zip(extents).zip(&node.operands) {
            sizes[place] = n;
            let atoms = match &operand.labels {
                Some(labels) => labels.spread(&axes, &sizes).atoms,
                None => {
                    self.late.push(Late { value, axis: None, reason: reason.clone() });
                    let stays = self.units.fresh(outer * n * inner);
                    let pinned = operand.pinned.as_ref().unwrap_or(&reason);
                    stays.iter().for_each(|&atom| self.units.pin(atom, pinned));
                    stays
                }
            };
            for (row, atoms) in rows.iter_mut().zip(atoms.chunks((n * inner).max(1))) {
                row.extend_from_slice(atoms);
            }
        }
        let atoms = rows.concat();
        sizes[place] = atoms.len() / (outer * inner).max(1);
        Some(Labels { axes, extents: sizes, atoms })
    }

    /// Parts along an axis, one a result.
    pub(super) fn split(&mut self, node: &Node, axis: usize) {
        let Some(labels) = node.operands.first().and_then(|&id| self.of(id)) else { return };
        let mut start = 0;
        for &id in &node.results {
            let along = self.shape(id).get(axis).copied();
            let n = along.and_then(extent);
            let (Some(n), Some(along)) = (n, along) else { return self.pin_operands(node) };
            if labels.axes.contains(&axis) {
                if along.is_per_batch() {
                    return self.pin_operands(node);
                }
                let entries: Vec<usize> = (start..start + n).collect();
                self.labels[id.0] = vec![labels.part(axis, &entries)];
            } else {
                self.labels[id.0] = vec![labels.clone()];
            }
            start += n;
        }
    }

    /// Ranges of some axes.
    pub(super) fn slice(&mut self, node: &Node, ranges: &[SliceRange]) -> Option<Labels> {
        let id = *node.operands.first()?;
        let mut labels = self.of(id)?;
        for range in ranges {
            if !labels.axes.contains(&range.axis) {
                continue;
            }
            let known = |n: crate::graph::Dimension| usize::try_from(n.as_known()?).ok();
            let (Some(start), Some(len)) = (known(range.start), known(range.len)) else {
                self.pin_operands(node);
                return None;
            };
            let is_batch =
                self.shape(id).get(range.axis).is_none_or(|extent| extent.is_per_batch());
            let walk =
                |j: usize| start.checked_add_signed(isize::try_from(range.step).ok()? * j as isize);
            let entries: Option<Vec<usize>> = (0..len).map(walk).collect();
            let Some(entries) = entries.filter(|entries| !entries.is_empty() && !is_batch) else {
                self.pin_operands(node);
                return None;
            };
            if range.step.abs() != 1 {
                // What is kept may not be evenly spaced any more.
                let (axis, reason) = (Some(range.axis), self.reason(node));
                self.late.push(Late { value: id, axis, reason });
            }
            labels = labels.part(range.axis, &entries);
        }
        Some(labels)
    }

    /// Entries along an axis by whole numbers.
    pub(super) fn gather(&mut self, node: &Node, axis: usize) -> Option<Labels> {
        let &[id, indices] = node.operands.as_slice() else { return None };
        let reason = self.reason(node);
        self.late.push(Late { value: indices, axis: None, reason: reason.clone() });
        if self.is_fixed[id.0] {
            self.late.push(Late { value: id, axis: None, reason });
            return None;
        }
        let labels = self.of(id)?;
        // The indices stay what they are.
        self.late.push(Late { value: id, axis: Some(axis), reason });
        let rank = self.shape(indices).len();
        let behind = |from: usize| if from > axis { from + rank - 1 } else { from };
        if !labels.axes.contains(&axis) {
            return Some(labels.moved(behind));
        }
        let n = self.shape(id).get(axis).and_then(|&n| extent(n)).unwrap_or(0);
        match self.indices(indices, n).as_deref() {
            Some(&[index]) if rank <= 1 => {
                let front = labels.part(axis, &[index]);
                Some(if rank == 0 { front.moved(behind) } else { front })
            }
            Some(entries) if rank == 1 && !entries.is_empty() => Some(labels.part(axis, entries)),
            _ => {
                self.pin_operands(node);
                None
            }
        }
    }

    /// Known places in an axis of n entries.
    fn indices(&self, id: ValueId, n: usize) -> Option<Vec<usize>> {
        let Source::Constant(numbers) = &self.graph.value(id).source else { return None };
        let Entries::Integers(entries) = &numbers.entries else { return None };
        let place = |entry: &crate::graph::Dimension| {
            let index = entry.as_known()?;
            let index = if index < 0 { index + i64::try_from(n).ok()? } else { index };
            usize::try_from(index).ok().filter(|&index| index < n)
        };
        entries.iter().map(place).collect()
    }
}
