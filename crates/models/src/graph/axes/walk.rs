//! The way of the atoms through a graph, node by node.

use super::labels::{Labels, extent, is_too_large, union};
use super::linear::Linear;
use super::units::Units;
use crate::graph::{Dimension, Graph, Node, Op, ValueId};

/// Labels of all activations together beyond which units stay.
const MOST_IN_ALL: usize = 1 << 25;

/// What is known of a graph on the way through it.
pub(super) struct Walk<'a> {
    pub(super) graph: &'a Graph,
    pub(super) units: Units,
    /// At most one for an activation; a weight may have one for its rows and one for its columns.
    pub(super) labels: Vec<Vec<Labels>>,
    /// Whether a value is computed without the data.
    pub(super) is_fixed: Vec<bool>,
    /// Who reads each value.
    pub(super) uses: Vec<Vec<usize>>,
    /// In the order of the nodes.
    pub(super) linear: Vec<Linear>,
    /// Nodes that join sets, each with an atom of the set.
    pub(super) joins: Vec<(usize, usize)>,
    /// Axes that must have no units in the end.
    pub(super) late: Vec<Late>,
    /// Operands that follow labels on several axes once it is known which axis is cut.
    pub(super) deferred: Vec<Deferred>,
}

/// Units along an axis, or any axis, of a value stay.
pub(super) struct Late {
    pub(super) value: ValueId,
    pub(super) axis: Option<usize>,
    pub(super) reason: String,
}

/// A fixed operand whose axes are the last ones of the labels' value.
pub(super) struct Deferred {
    pub(super) labels: Labels,
    pub(super) value: ValueId,
    /// How many axes the operand lacks.
    pub(super) shift: usize,
    pub(super) reason: String,
}

/// An operand of a function of several numbers, seen in the rank of the result.
pub(super) struct Operand {
    /// N taken as 1; `None` for extents such as N + 1.
    pub(super) extents: Vec<Option<usize>>,
    pub(super) labels: Option<Labels>,
    /// Why its units stay, if it had some.
    pub(super) pinned: Option<String>,
    /// Where it is computed without the data: the value, and how many axes it lacks.
    pub(super) fixed: Option<(ValueId, usize)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(graph: &'a Graph) -> Self {
        let n = graph.values().len();
        let is_fixed = graph.depends_on_data().into_iter().map(|depends| !depends).collect();
        let mut uses = vec![Vec::new(); n];
        for (i, node) in graph.nodes().iter().enumerate() {
            node.operands.iter().for_each(|id| uses[id.0].push(i));
        }
        Self {
            graph,
            units: Units::default(),
            labels: vec![Vec::new(); n],
            is_fixed,
            uses,
            linear: Vec::new(),
            joins: Vec::new(),
            late: Vec::new(),
            deferred: Vec::new(),
        }
    }

    /// Follows all nodes.
    pub(super) fn run(&mut self) {
        let mut n_labels = 0usize;
        for (i, node) in self.graph.nodes().iter().enumerate() {
            let is_fixed = node.results.iter().all(|id| self.is_fixed[id.0]);
            if is_fixed {
                continue;
            }
            if let Some(labels) = self.node(i, node) {
                self.set(node.results.first(), labels);
            }
            let results = node.results.iter().flat_map(|id| &self.labels[id.0]);
            n_labels += results.map(|labels| labels.atoms.len()).sum::<usize>();
            if n_labels > MOST_IN_ALL {
                node.results.iter().for_each(|id| self.forget(*id));
            }
        }
        for &id in self.graph.outputs() {
            let reason = format!("output `{}`", self.graph.value(id).name);
            self.late.push(Late { value: id, axis: None, reason });
        }
    }

    /// Why a node pins what comes to it.
    pub(super) fn reason(&self, node: &Node) -> String {
        let name = self.graph.name_of(node);
        format!("{} `{}`", name.op, name.name)
    }

    /// Labels of an activation, if it has units.
    pub(super) fn of(&self, id: ValueId) -> Option<Labels> {
        let labels = self.labels[id.0].first()?;
        let labels = labels.compressed(&self.units);
        let is_pinned = labels.atoms.iter().all(|&atom| self.units.free(atom).is_none());
        (!is_pinned).then_some(labels)
    }

    /// Why the units of an activation stay, if they do.
    fn reason_of(&self, id: ValueId) -> Option<String> {
        let atom = *self.labels[id.0].first()?.atoms.first()?;
        self.units.pinned(atom).map(str::to_owned)
    }

    /// Units of a value stay, for want of space.
    fn forget(&mut self, id: ValueId) {
        let reason = format!("the size of `{}`", self.graph.value(id).name);
        for labels in std::mem::take(&mut self.labels[id.0]) {
            self.pin(&labels, &reason);
        }
    }

    fn set(&mut self, id: Option<&ValueId>, labels: Labels) {
        if let Some(id) = id {
            self.labels[id.0] = vec![labels];
        }
    }

    pub(super) fn shape(&self, id: ValueId) -> &'a [Dimension] {
        &self.graph.value(id).shape
    }

    pub(super) fn pin(&mut self, labels: &Labels, reason: &str) {
        labels.atoms.iter().for_each(|&atom| self.units.pin(atom, reason));
    }

    /// All operands stay as they are.
    pub(super) fn pin_operands(&mut self, node: &Node) {
        let reason = self.reason(node);
        for &id in &node.operands {
            self.late.push(Late { value: id, axis: None, reason: reason.clone() });
            if let Some(labels) = self.of(id) {
                self.pin(&labels, &reason);
            }
        }
    }

    /// Labels of the first operand, if `allows` all its axes and the operator thus leaves them alone; the other operands
    /// have none.
    fn passes(&mut self, node: &Node, allows: impl Fn(usize) -> bool) -> Option<Labels> {
        let (first, others) = node.operands.split_first()?;
        let reason = self.reason(node);
        for &id in others {
            self.late.push(Late { value: id, axis: None, reason: reason.clone() });
        }
        let labels = self.of(*first)?;
        if labels.axes.iter().all(|&axis| allows(axis)) {
            return Some(labels);
        }
        self.pin(&labels, &reason);
        None
    }

    /// What a node makes of its operands' labels; results of a split are set here.
    fn node(&mut self, i: usize, node: &Node) -> Option<Labels> {
        match &node.op {
            Op::Gemm { .. } | Op::MatMul | Op::Conv { .. } => self.product(i, node),
            Op::PRelu | Op::Binary(_) | Op::Where => {
                let rank = node.results.first().map_or(0, |&id| self.shape(id).len());
                let operands: Vec<Operand> =
                    node.operands.iter().map(|&id| self.operand(id, rank)).collect();
                self.join(i, node, &operands)
            }
            Op::BatchNormalization { .. } => self.follows(node),
            Op::GroupNormalization { groups, .. } => {
                let x = node.operands.first().map(|&id| self.shape(id));
                let channels = x.and_then(|shape| extent(*shape.get(1)?));
                if channels == Some(*groups) {
                    self.follows(node)
                } else {
                    self.passes(node, |axis| axis == 0)
                }
            }
            &Op::LayerNormalization { axis: first, .. } => self.passes(node, |axis| axis < first),
            Op::Unary(_) | Op::Cast { .. } => self.passes(node, |_| true),
            &Op::Softmax { axis: first, to_end, .. } => {
                self.passes(node, |axis| axis < first || !to_end && axis > first)
            }
            Op::MaxPool { .. } | Op::AveragePool { .. } => self.passes(node, |axis| axis < 2),
            Op::Reduce { axes, keep, .. } => {
                let labels = self.summed(node, axes)?;
                let before = |axis: usize| axes.iter().filter(|&&gone| gone < axis).count();
                Some(labels.moved(|axis| if *keep { axis } else { axis - before(axis) }))
            }
            Op::Flatten { .. } | Op::Reshape { .. } | Op::Squeeze { .. } | Op::Unsqueeze { .. } => {
                let labels = self.passes(node, |_| true)?;
                let [from, to] = [node.operands.first()?, node.results.first()?];
                let reshaped = labels.reshaped(self.shape(*from), self.shape(*to));
                if reshaped.is_none() {
                    self.pin_operands(node);
                }
                reshaped
            }
            Op::Transpose { order } => {
                let labels = self.passes(node, |_| true)?;
                let place = |axis| order.iter().position(|&from| from == axis).unwrap_or(axis);
                Some(labels.moved(place))
            }
            Op::Expand { shape: target } => {
                let labels = self.passes(node, |_| true)?;
                let own = self.shape(*node.operands.first()?).len();
                let shift = target.len().saturating_sub(own);
                Some(labels.moved(|axis| axis + shift))
            }
            Op::Tile { repeats } => {
                let once = |axis: usize| repeats.get(axis) == Some(&Dimension::known(1));
                self.passes(node, once)
            }
            Op::Pad { pads, .. } => self.passes(node, |axis| pads.get(axis) == Some(&(0, 0))),
            Op::Concat { axis } => self.concat(i, node, *axis),
            Op::Split { axis, .. } => {
                self.split(node, *axis);
                None
            }
            Op::Slice { ranges } => self.slice(node, ranges),
            Op::Gather { axis } => self.gather(node, *axis),
            Op::Normalizer { .. } | Op::Scaler { .. } | Op::LabelEncoder { .. } => {
                self.pin_operands(node);
                None
            }
            // Without operands, or known when the graph was built.
            Op::Shape { .. } | Op::Fill { .. } | Op::Range => {
                self.pin_operands(node);
                None
            }
        }
    }

    /// What a reduction goes over is one unit, as long as that is not all.
    fn summed(&mut self, node: &Node, axes: &[usize]) -> Option<Labels> {
        let labels = self.of(*node.operands.first()?)?;
        if labels.axes.iter().all(|axis| axes.contains(axis)) && !labels.axes.is_empty() {
            self.pin_operands(node);
            return None;
        }
        axes.iter().for_each(|&axis| labels.unite_along(axis, &mut self.units));
        let labels = labels.compressed(&self.units);
        let is_left = labels.axes.iter().all(|axis| !axes.contains(axis));
        is_left.then_some(labels)
    }

    /// One number a channel of each other operand goes with the channel, axis 1.
    fn follows(&mut self, node: &Node) -> Option<Labels> {
        let labels = node.operands.first().and_then(|&id| self.of(id));
        let Some(labels) = labels.filter(|labels| labels.axes == [1]) else {
            self.pin_operands(node);
            return None;
        };
        for &id in node.operands.iter().skip(1) {
            if !self.is_fixed[id.0] {
                self.pin_operands(node);
                return None;
            }
            self.require(id, labels.moved(|_| 0));
        }
        Some(labels)
    }

    /// A value, its axes aligned from the right.
    pub(super) fn operand(&self, id: ValueId, rank: usize) -> Operand {
        let shape = self.shape(id);
        let shift = rank.saturating_sub(shape.len());
        let own = shape.iter().map(|&n| extent(n));
        let is_fixed = self.is_fixed[id.0];
        Operand {
            extents: std::iter::repeat_n(Some(1), shift).chain(own).collect(),
            labels: if is_fixed { None } else { self.of(id) },
            pinned: self.reason_of(id),
            fixed: is_fixed.then_some((id, shift)),
        }
        .shifted(shift)
    }

    /// The labels of a function of several numbers, with broadcasting: units of all operands become one.
    pub(super) fn join(&mut self, i: usize, node: &Node, all: &[Operand]) -> Option<Labels> {
        let reason = self.reason(node);
        let labelled: Vec<&Labels> =
            all.iter().filter_map(|operand| operand.labels.as_ref()).collect();
        let (axes, extents) = union(&labelled);
        if is_too_large(&extents) {
            self.pin_operands(node);
            return None;
        }
        let spread: Vec<Labels> =
            labelled.iter().map(|labels| labels.spread(&axes, &extents)).collect();
        let mut spread = spread.into_iter();
        let joined = spread.next();
        for other in spread {
            let first = joined.iter().flat_map(|labels| &labels.atoms);
            for (&a, &b) in first.zip(&other.atoms) {
                if self.units.unite(a, b) {
                    self.joins.push((i, a));
                }
            }
        }
        for operand in all.iter().filter(|operand| operand.labels.is_none()) {
            let is_along = |axis: &&usize| operand.extents.get(**axis) != Some(&Some(1));
            let along: Vec<usize> = axes.iter().filter(is_along).copied().collect();
            match (&joined, operand.fixed) {
                (None, Some((value, _))) => {
                    self.late.push(Late { value, axis: None, reason: reason.clone() });
                }
                (Some(labels), None) if !along.is_empty() => {
                    self.pin(labels, operand.pinned.as_ref().unwrap_or(&reason));
                }
                (Some(labels), Some((value, shift))) => {
                    let reason = reason.clone();
                    if along.is_empty() {
                        self.late.push(Late { value, axis: None, reason });
                    } else if along == axes {
                        self.require(value, labels.moved(|axis| axis - shift));
                    } else {
                        let labels = labels.clone();
                        self.deferred.push(Deferred { labels, value, shift, reason });
                    }
                }
                (_, None) => {}
            }
        }
        joined
    }
}

impl Operand {
    /// Labels on axes that stand so many places further right.
    pub(super) fn shifted(mut self, shift: usize) -> Self {
        self.labels = self.labels.map(|labels| labels.moved(|axis| axis + shift));
        self
    }
}
