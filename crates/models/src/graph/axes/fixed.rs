//! Parameters, constants and what is computed of them: their entries go with the units.

use super::labels::{Labels, extent};
use super::walk::{Late, Walk};
use crate::graph::{Node, Op, Source, ValueId};

impl Walk<'_> {
    /// The entries of a value that is computed without the data belong to these atoms.
    pub(super) fn require(&mut self, id: ValueId, labels: Labels) {
        if labels.axes.is_empty() {
            let reason = format!("the size of `{}`", self.graph.value(id).name);
            return self.pin(&labels, &reason);
        }
        let shape = self.shape(id);
        let fits = labels.axes.iter().zip(&labels.extents);
        let mut fits =
            fits.map(|(&axis, &n)| shape.get(axis).and_then(|&own| extent(own)) == Some(n));
        if !fits.all(|fits| fits) {
            let reason = format!("the shape of `{}`", self.graph.value(id).name);
            return self.pin(&labels, &reason);
        }
        let mut labels = labels;
        while let Some(place) = self.labels[id.0].iter().position(|known| overlap(known, &labels)) {
            let known = self.labels[id.0].remove(place);
            let mut axes: Vec<(usize, usize)> = [&known, &labels]
                .into_iter()
                .flat_map(|each| each.axes.iter().copied().zip(each.extents.iter().copied()))
                .collect();
            axes.sort_unstable();
            axes.dedup();
            let (axes, extents): (Vec<usize>, Vec<usize>) = axes.into_iter().unzip();
            let known = known.spread(&axes, &extents);
            labels = labels.spread(&axes, &extents);
            for (&a, &b) in known.atoms.iter().zip(&labels.atoms) {
                self.units.unite(a, b);
            }
        }
        self.labels[id.0].push(labels.clone());
        if let Source::Node { node, .. } = self.graph.value(id).source {
            self.back(&self.graph.nodes()[node], id, &labels);
        }
    }

    /// What the operands of a node must be so that its result has these labels.
    fn back(&mut self, node: &Node, id: ValueId, labels: &Labels) {
        let shape = self.shape(id);
        let first = node.operands.first().copied();
        match (&node.op, first) {
            (Op::Unary(_) | Op::Cast { .. }, Some(x)) => self.require(x, labels.clone()),
            (Op::Transpose { order }, Some(x)) => self.require(x, labels.moved(|axis| order[axis])),
            (
                Op::Flatten { .. } | Op::Reshape { .. } | Op::Squeeze { .. } | Op::Unsqueeze { .. },
                Some(x),
            ) => match labels.reshaped(shape, self.shape(x)) {
                Some(labels) => self.require(x, labels),
                None => self.pin_back(node, labels),
            },
            (Op::Expand { .. } | Op::PRelu | Op::Binary(_) | Op::Where, _) => {
                node.operands
                    .iter()
                    .for_each(|&x| self.back_broadcast(node, x, shape.len(), labels));
            }
            (Op::Fill { .. }, _) => {}
            _ => self.pin_back(node, labels),
        }
    }

    /// An operand that was broadcast goes along where it has the axes.
    fn back_broadcast(&mut self, node: &Node, x: ValueId, rank: usize, labels: &Labels) {
        let shape = self.shape(x);
        let shift = rank.saturating_sub(shape.len());
        let is_along = |&axis: &usize| {
            let own = axis.checked_sub(shift).and_then(|axis| shape.get(axis));
            own.is_some_and(|&own| extent(own) != Some(1))
        };
        let n = labels.axes.iter().filter(|axis| is_along(axis)).count();
        if n == labels.axes.len() {
            self.require(x, labels.moved(|axis| axis - shift));
        } else if n > 0 {
            self.pin_back(node, labels);
        }
    }

    fn pin_back(&mut self, node: &Node, labels: &Labels) {
        let reason = self.reason(node);
        self.pin(labels, &reason);
    }

    /// Nodes without data whose operands have units that their results do not show, and operands of others that have two
    /// kinds of units.
    pub(super) fn check_fixed(&mut self) {
        for (i, node) in self.graph.nodes().iter().enumerate() {
            let is_fixed = node.results.iter().all(|id| self.is_fixed[id.0]);
            let shown = match (is_fixed, node.results.first()) {
                (true, Some(&id)) => self.n_free(id),
                _ => 1,
            };
            let weight = self.linear.iter().any(|linear| linear.node == i).then_some(1);
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
