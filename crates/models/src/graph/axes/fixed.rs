//! Parameters, constants and what is computed of them: their entries go with the units.

use std::collections::HashSet;

use super::labels::{Labels, extent, union};
use super::walk::{Late, Walk};
use crate::graph::{Node, Op, Source, ValueId};

impl Walk<'_> {
    /// The entries of a value that is computed without the data belong to these atoms, and so do those of what it is
    /// computed of.
    pub(super) fn require(&mut self, id: ValueId, labels: Labels) {
        let mut open = vec![(id, labels)];
        while let Some((id, labels)) = open.pop() {
            if let Some(labels) = self.mark(id, labels)
                && let Source::Node { node, .. } = self.graph.value(id).source
            {
                open.extend(self.back(&self.graph.nodes()[node], id, &labels));
            }
        }
    }

    /// Puts labels on a value, together with those that it has along the same axes.
    fn mark(&mut self, id: ValueId, mut labels: Labels) -> Option<Labels> {
        let shape = self.shape(id);
        let own = |axis: usize| shape.get(axis).and_then(|&own| extent(own));
        let mut extents = labels.axes.iter().zip(&labels.extents);
        if labels.axes.is_empty() || extents.any(|(&axis, &n)| own(axis) != Some(n)) {
            let reason = format!("the shape of `{}`", self.graph.value(id).name);
            self.pin(&labels, &reason);
            return None;
        }
        while let Some(place) = self.labels[id.0].iter().position(|known| overlap(known, &labels)) {
            let known = self.labels[id.0].remove(place);
            let (axes, extents) = union(&[&known, &labels]);
            let known = known.spread(&axes, &extents);
            labels = labels.spread(&axes, &extents);
            for (&a, &b) in known.atoms.iter().zip(&labels.atoms) {
                self.units.unite(a, b);
            }
        }
        self.labels[id.0].push(labels.clone());
        Some(labels)
    }

    /// What the operands of a node must be so that its result has these labels.
    fn back(&mut self, node: &Node, id: ValueId, labels: &Labels) -> Vec<(ValueId, Labels)> {
        let shape = self.shape(id);
        let first = node.operands.first().copied();
        let back = match (&node.op, first) {
            (Op::Unary(_) | Op::Cast { .. }, Some(x)) => Some(vec![(x, labels.clone())]),
            (Op::Transpose { order }, Some(x)) => {
                Some(vec![(x, labels.moved(|axis| order.get(axis).copied().unwrap_or(axis)))])
            }
            (
                Op::Flatten { .. } | Op::Reshape { .. } | Op::Squeeze { .. } | Op::Unsqueeze { .. },
                Some(x),
            ) => labels.reshaped(shape, self.shape(x)).map(|labels| vec![(x, labels)]),
            (Op::Expand { .. } | Op::PRelu | Op::Binary(_) | Op::Where, _) => {
                let operands = node.operands.iter();
                let back: Option<Vec<_>> =
                    operands.map(|&x| self.back_broadcast(x, shape.len(), labels)).collect();
                back.map(|back| back.into_iter().flatten().collect())
            }
            (Op::Fill { .. }, _) => Some(Vec::new()),
            _ => None,
        };
        back.unwrap_or_else(|| {
            self.pin_back(node, labels);
            Vec::new()
        })
    }

    /// An operand that was broadcast goes along where it has the axes; `None` where it has only some of them.
    fn back_broadcast(
        &self,
        x: ValueId,
        rank: usize,
        labels: &Labels,
    ) -> Option<Option<(ValueId, Labels)>> {
        let shape = self.shape(x);
        let shift = rank.saturating_sub(shape.len());
        let is_along = |&axis: &usize| {
            let own = axis.checked_sub(shift).and_then(|axis| shape.get(axis));
            own.is_some_and(|&own| extent(own) != Some(1))
        };
        match labels.axes.iter().filter(|axis| is_along(axis)).count() {
            0 => Some(None),
            n if n == labels.axes.len() => Some(Some((x, labels.moved(|axis| axis - shift)))),
            _ => None,
        }
    }

    fn pin_back(&mut self, node: &Node, labels: &Labels) {
        let reason = self.reason(node);
        self.pin(labels, &reason);
    }

    /// Nodes without data whose operands have units that their results do not show, and operands of others that have two
    /// kinds of units.
    pub(super) fn check_fixed(&mut self) {
        let linear: HashSet<usize> = self.linear.iter().map(|linear| linear.node).collect();
        for (i, node) in self.graph.nodes().iter().enumerate() {
            let is_fixed = node.results.iter().all(|id| self.is_fixed[id.0]);
            let shown = match (is_fixed, node.results.first()) {
                (true, Some(&id)) => self.n_free(id),
                _ => 1,
            };
            let weight = linear.contains(&i).then_some(1);
            for (place, &id) in node.operands.iter().enumerate() {
                let most = if weight == Some(place) { 2 } else { shown };
                if self.is_fixed[id.0] && self.n_free(id) > most {
                    let reason = self.reason(node);
                    self.late.push(Late { value: id, axis: None, reason });
                }
            }
        }
    }

    /// How many kinds of units a value has.
    fn n_free(&self, id: ValueId) -> usize {
        let free = |labels: &&Labels| !labels.compressed(&self.units).axes.is_empty();
        self.labels[id.0].iter().filter(free).count()
    }
}

fn overlap(a: &Labels, b: &Labels) -> bool {
    a.axes.iter().any(|axis| b.axes.contains(axis))
}
