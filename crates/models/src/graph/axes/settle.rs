//! What can only be said once all nodes are known: tensors stay tensors, and some axes stay as they are.

use super::labels::{Labels, extent};
use super::walk::{Deferred, Walk};

impl Walk<'_> {
    /// Joins and pins until every value can be cut along one axis for each kind of units.
    pub(super) fn settle(&mut self) {
        loop {
            let before = self.units.n_changes();
            self.check_boxes();
            self.check_fixed();
            for at in 0..self.late.len() {
                let (value, axis) = (self.late[at].value, self.late[at].axis);
                let reason = self.late[at].reason.clone();
                for labels in self.kinds(value) {
                    if axis.is_none_or(|axis| labels.axes.contains(&axis)) {
                        self.pin(&labels, &reason);
                    }
                }
            }
            // Only along one axis can it be said whether a broadcast operand is cut.
            if self.units.n_changes() == before && !self.follow_deferred() {
                return;
            }
        }
    }

    /// Makes units of whole slices along one axis, so that what is left is a tensor, and keeps a unit that is all of one.
    fn check_boxes(&mut self) {
        for i in 0..self.labels.len() {
            let name = &self.graph.values()[i].name;
            for labels in self.kinds(super::ValueId(i)) {
                if labels.axes.is_empty() {
                    let reason = format!("one unit, which is all of `{name}`");
                    self.pin(&labels, &reason);
                }
                let longest = labels.extents.iter().max();
                let keep = labels.extents.iter().position(|extent| Some(extent) == longest);
                for (place, &axis) in labels.axes.iter().enumerate() {
                    if Some(place) != keep {
                        labels.unite_along(axis, &mut self.units);
                    }
                }
            }
        }
    }

    /// Labels of a value that still have free units, without axes that make no difference.
    pub(super) fn kinds(&self, id: super::ValueId) -> Vec<Labels> {
        let all = self.labels[id.0].iter().map(|labels| labels.compressed(&self.units));
        all.filter(|labels| labels.atoms.iter().any(|&atom| self.units.free(atom).is_some()))
            .collect()
    }

    /// Lets operands follow that have some of several axes; whether there were any.
    fn follow_deferred(&mut self) -> bool {
        let deferred = std::mem::take(&mut self.deferred);
        let are_any = !deferred.is_empty();
        for Deferred { labels, value, shift, reason } in deferred {
            let labels = labels.compressed(&self.units);
            let shape = self.shape(value);
            let own = |axis: usize| shape.get(axis.checked_sub(shift)?).map(|&n| extent(n));
            match labels.axes.as_slice() {
                &[axis] if own(axis).is_some_and(|n| n != Some(1)) => {
                    self.require(value, labels.moved(|axis| axis - shift));
                }
                _ => {
                    let late = super::walk::Late { value, axis: None, reason };
                    self.late.push(late);
                }
            }
        }
        are_any
    }
}
