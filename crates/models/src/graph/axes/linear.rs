//! Linear nodes: where atoms begin and where they end.

use super::labels::{Labels, extent};
use super::walk::{Late, Operand, Walk};
use crate::graph::{Binary, Node, Op, Source, ValueId};

/// A linear map with a parameter as its weight.
pub(super) struct Linear {
    pub(super) node: usize,
    /// The parameter.
    pub(super) weight: ValueId,
    /// The axis of the parameter that counts the outputs.
    pub(super) output_axis: usize,
    /// The axis of the parameter that counts the inputs.
    pub(super) input_axis: usize,
    /// Columns of an input channel: k² for a convolution.
    pub(super) n_columns: usize,
    /// One number an output: of this node, or of the Add behind it.
    pub(super) bias: Option<ValueId>,
    /// One an output; none where there is only one output.
    pub(super) outputs: Vec<usize>,
    /// One an input, if inputs are units.
    pub(super) inputs: Vec<usize>,
}

/// How a node multiplies.
struct Parts {
    /// The axis of x that is summed over.
    axis: usize,
    /// The axis of the result that counts the outputs.
    result_axis: usize,
    /// Axes of the second operand: outputs, inputs.
    operand: [usize; 2],
    /// Whether the second operand is the transposed parameter.
    is_transposed: bool,
    weight: ValueId,
    n_columns: usize,
}

impl Walk<'_> {
    /// Gemm, MatMul and Conv.
    pub(super) fn product(&mut self, i: usize, node: &Node) -> Option<Labels> {
        match self.parts(node) {
            Some(parts) => self.linear(i, node, &parts),
            None => match (&node.op, node.operands.as_slice()) {
                (Op::Conv { groups, .. }, [x, filters, bias @ ..])
                    if self.shape(*x).get(1).and_then(|&n| extent(n)) == Some(*groups) =>
                {
                    self.depthwise(node, *x, *filters, bias)
                }
                (Op::MatMul, &[a, b]) if !self.is_fixed[a.0] && !self.is_fixed[b.0] => {
                    self.contraction(i, node, a, b)
                }
                _ => {
                    self.pin_operands(node);
                    None
                }
            },
        }
    }

    /// What makes a node a linear map of an activation with a parameter.
    fn parts(&self, node: &Node) -> Option<Parts> {
        let (&x, &second) = (node.operands.first()?, node.operands.get(1)?);
        if self.is_fixed[x.0] {
            return None;
        }
        let rank = self.shape(x).len();
        let (axis, result_axis, operand) = match node.op {
            Op::Gemm { transpose_a: false, transpose_b: true, .. } => (1, 1, [0, 1]),
            Op::Gemm { transpose_a: false, transpose_b: false, .. } => (1, 1, [1, 0]),
            Op::MatMul if rank >= 2 && self.shape(second).len() == 2 => {
                (rank - 1, rank - 1, [1, 0])
            }
            Op::Conv { groups: 1, .. } => (1, 1, [0, 1]),
            _ => return None,
        };
        let (weight, is_transposed) = self.graph.matrix_parameter(second)?;
        let kernel = self.shape(weight).get(2..)?;
        let n_columns = kernel.iter().map(|&n| extent(n)).product::<Option<usize>>()?;
        Some(Parts { axis, result_axis, operand, is_transposed, weight, n_columns })
    }

    fn linear(&mut self, i: usize, node: &Node, parts: &Parts) -> Option<Labels> {
        let reason = self.reason(node);
        let (x, second) = (*node.operands.first()?, *node.operands.get(1)?);
        let [rows, columns] = parts.operand;
        let flip = |axis: usize| if parts.is_transposed { 1 - axis } else { axis };
        let incoming = self.of(x);
        let inputs = match incoming {
            Some(labels) if labels.axes == [parts.axis] => {
                self.require(second, labels.moved(|_| columns));
                labels.atoms
            }
            other => {
                // Units along an axis that the map leaves alone: one kind of units at a time.
                other.iter().for_each(|labels| self.pin(labels, &reason));
                let (axis, reason) = (Some(flip(columns)), reason.clone());
                self.late.push(Late { value: parts.weight, axis, reason });
                Vec::new()
            }
        };
        let n_outputs = self.shape(second).get(rows).and_then(|&n| extent(n))?;
        let outputs = if n_outputs > 1 { self.units.fresh(n_outputs) } else { Vec::new() };
        let labels =
            (!outputs.is_empty()).then(|| Labels::along(parts.result_axis, outputs.clone()));
        match &labels {
            Some(labels) => self.require(second, labels.moved(|_| rows)),
            None => {
                let axis = Some(flip(rows));
                self.late.push(Late { value: parts.weight, axis, reason });
            }
        }
        let own = node.operands.get(2).copied();
        let bias = own.or_else(|| self.added(node, n_outputs));
        let is_one_an_output = |&id: &ValueId| {
            let shape = self.shape(id).iter().map(|&n| extent(n));
            shape.product::<Option<usize>>() == Some(n_outputs)
                && matches!(self.graph.value(id).source, Source::Parameter(_))
        };
        self.linear.push(Linear {
            node: i,
            weight: parts.weight,
            output_axis: flip(rows),
            input_axis: flip(columns),
            n_columns: parts.n_columns,
            bias: bias.filter(is_one_an_output),
            outputs,
            inputs,
        });
        let Some(own) = own else { return labels };
        let result = *node.results.first()?;
        let rank = self.shape(result).len();
        let mut bias = self.operand(own, rank);
        if let (Op::Conv { .. }, Some((_, shift))) = (&node.op, &mut bias.fixed) {
            // One number a channel, axis 1 of the result.
            bias.extents = vec![Some(1); rank];
            bias.extents[1] = Some(n_outputs);
            *shift = 1;
        }
        let extents = self.shape(result).iter().map(|&n| extent(n)).collect();
        self.join(i, node, &[Operand { extents, labels, pinned: None, fixed: None }, bias])
    }

    /// The parameter that the only reader of a product adds to it, one number an output.
    fn added(&self, node: &Node, n_outputs: usize) -> Option<ValueId> {
        let result = *node.results.first()?;
        let [reader] = self.uses[result.0].as_slice() else { return None };
        let reader = &self.graph.nodes()[*reader];
        if reader.op != Op::Binary(Binary::Add) || self.graph.outputs().contains(&result) {
            return None;
        }
        let other = reader.operands.iter().copied().find(|&id| id != result)?;
        let axis = match node.op {
            Op::Conv { .. } => 1,
            _ => self.shape(result).len() - 1,
        };
        let behind = self.shape(result).len() - axis;
        let place = self.shape(other).len().checked_sub(behind)?;
        let along = *self.shape(other).get(place)?;
        (extent(along) == Some(n_outputs) && !along.is_per_batch()).then_some(other)
    }

    /// Each filter sees one channel: its output goes with that channel.
    fn depthwise(
        &mut self,
        node: &Node,
        x: ValueId,
        filters: ValueId,
        bias: &[ValueId],
    ) -> Option<Labels> {
        let others = [&[filters], bias].concat();
        let labels = self.of(x).filter(|labels| labels.axes == [1]);
        let n = self.shape(filters).first().and_then(|&n| extent(n))?;
        let all_fixed = others.iter().all(|id| self.is_fixed[id.0]);
        let Some(labels) = labels.filter(|_| all_fixed) else {
            self.pin_operands(node);
            return None;
        };
        let each = n / labels.atoms.len().max(1);
        let atoms = labels.atoms.iter().flat_map(|&atom| std::iter::repeat_n(atom, each));
        let labels = Labels::along(1, atoms.collect());
        others.into_iter().for_each(|id| self.require(id, labels.moved(|_| 0)));
        Some(labels)
    }

    /// A product of two activations: what is summed over is one unit (a head), other axes are joined.
    fn contraction(&mut self, i: usize, node: &Node, a: ValueId, b: ValueId) -> Option<Labels> {
        let [rank_a, rank_b] = [a, b].map(|id| self.shape(id).len());
        let rank = self.shape(*node.results.first()?).len();
        if rank_a < 2 || rank_b < 2 {
            self.pin_operands(node);
            return None;
        }
        let summed = [(a, rank_a - 1, rank - 1), (b, rank_b - 2, rank - 2)];
        let operands = summed.map(|(id, axis, place)| {
            if let Some(labels) = self.of(id) {
                labels.unite_along(axis, &mut self.units);
            }
            let mut operand = self.operand(id, rank);
            if let Some(extent) = operand.extents.get_mut(place) {
                *extent = Some(1);
            }
            operand
        });
        self.join(i, node, &operands)
    }
}
