//! Which values hold the examples one after another, so that a batch may be computed in parts.

use crate::graph::{Dimension, Entries, Graph, Node, Op, Source, Value, ValueId};

/// How a value depends on the examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// It does not: the same for every batch.
    Fixed,
    /// Its first axis is k rows an example, made of nothing but that example.
    Rows,
    /// Another way, or it is not needed.
    Other,
}

/// The spread of each value; nodes that `is_needed` refuses are left out.
pub(super) fn spreads(graph: &Graph, is_needed: impl Fn(&Node) -> bool) -> Vec<Spread> {
    traced(graph, None, is_needed)
}

/// The same for a graph that takes n examples and no other batch.
pub(super) fn spreads_of_fixed(graph: &Graph, n: i64) -> Vec<Spread> {
    traced(graph, Some(n), |_| true)
}

fn traced(graph: &Graph, n: Option<i64>, is_needed: impl Fn(&Node) -> bool) -> Vec<Spread> {
    let mut of: Vec<Spread> = graph
        .values()
        .iter()
        .map(|value| match &value.source {
            Source::Parameter(_) => Spread::Fixed,
            Source::Constant(numbers) => match &numbers.entries {
                Entries::Integers(entries) if entries.iter().any(|d| d.is_per_batch()) => {
                    Spread::Other
                }
                Entries::Integers(_) | Entries::Floats(_) => Spread::Fixed,
            },
            Source::Input => by_shape(value, n),
            Source::Node { .. } => Spread::Other,
        })
        .collect();
    for node in graph.nodes().iter().filter(|node| is_needed(node)) {
        let spread = of_results(graph, node, n, &of);
        node.results.iter().for_each(|id| of[id.0] = spread);
    }
    of
}

/// What the shape of a value allows at best.
fn by_shape(value: &Value, n: Option<i64>) -> Spread {
    if let Some(n) = n {
        let first = value.shape.first().and_then(|first| first.as_known());
        let is_rows = first.is_some_and(|rows| rows > 0 && rows.checked_rem(n) == Some(0));
        return if is_rows { Spread::Rows } else { Spread::Other };
    }
    let is_known = |d: &Dimension| !d.is_per_batch();
    match value.shape.split_first() {
        Some((first, rest)) if first.is_per_batch() => {
            let is_rows = first.fixed == 0 && first.per_example > 0 && rest.iter().all(is_known);
            if is_rows { Spread::Rows } else { Spread::Other }
        }
        _ if value.shape.iter().all(is_known) => Spread::Fixed,
        _ => Spread::Other,
    }
}

fn of_results(graph: &Graph, node: &Node, n: Option<i64>, of: &[Spread]) -> Spread {
    let shapes: Vec<Spread> = node.results.iter().map(|&id| by_shape(graph.value(id), n)).collect();
    let operands: Vec<Operand<'_>> = node
        .operands
        .iter()
        .map(|id| Operand { spread: of[id.0], shape: &graph.value(*id).shape })
        .collect();
    if operands.iter().any(|x| x.spread == Spread::Other) {
        return Spread::Other;
    }
    let is_fixed = operands.iter().all(|x| x.spread == Spread::Fixed);
    let repeats = n.is_some() && matches!(node.op, Op::Expand { .. } | Op::Fill { .. });
    if is_fixed && !repeats && (n.is_some() || shapes.iter().all(|&shape| shape == Spread::Fixed)) {
        return Spread::Fixed;
    }
    let result: &[Dimension] = match node.results.first() {
        Some(&ValueId(i)) => &graph.values()[i].shape,
        None => &[],
    };
    if shapes.iter().all(|&shape| shape == Spread::Rows)
        && acts_on_rows(&node.op, &operands, result)
    {
        return Spread::Rows;
    }
    if is_fixed && n.is_some() { Spread::Fixed } else { Spread::Other }
}

struct Operand<'a> {
    spread: Spread,
    shape: &'a [Dimension],
}

impl Operand<'_> {
    fn is_rows(&self) -> bool {
        self.spread == Spread::Rows
    }

    /// Whether broadcasting leaves its examples, if it has them, where those of the result are.
    fn aligns(&self, result: &[Dimension]) -> bool {
        let (rank, wanted) = (self.shape.len(), result.len());
        if self.is_rows() {
            rank == wanted && self.shape.first() == result.first()
        } else {
            rank < wanted || self.shape.first() == Some(&Dimension::known(1))
        }
    }
}

/// Whether row i of the result, whose shape is one of rows, is made of rows i of the operands.
fn acts_on_rows(op: &Op, operands: &[Operand<'_>], result: &[Dimension]) -> bool {
    let is_first_alone =
        |rest: &[Operand<'_>]| operands[0].is_rows() && rest.iter().all(|x| !x.is_rows());
    match (op, operands) {
        (Op::Gemm { transpose_a, .. }, [_, rest @ ..]) => !transpose_a && is_first_alone(rest),
        (Op::MatMul, [a, b]) => {
            let (m, n) = (a.shape.len(), b.shape.len());
            match (a.is_rows(), b.is_rows()) {
                (true, false) => m >= 2 && (n <= 2 || b.aligns(result)) && a.aligns(result),
                (false, true) => n >= 3 && (m <= 2 || a.aligns(result)) && b.aligns(result),
                _ => m >= 3 && m == n && a.aligns(result) && b.aligns(result),
            }
        }
        (
            Op::Conv { .. } | Op::BatchNormalization { .. } | Op::GroupNormalization { .. },
            [_, rest @ ..],
        ) => is_first_alone(rest),
        (Op::LayerNormalization { axis, .. }, [_, rest @ ..]) => *axis > 0 && is_first_alone(rest),
        (Op::MaxPool { .. } | Op::AveragePool { .. }, [_]) => true,
        (Op::Unary(_) | Op::Cast { .. } | Op::LabelEncoder { .. }, [_]) => true,
        (Op::Normalizer { .. } | Op::Scaler { .. }, [_]) => true,
        (Op::Binary(_) | Op::PRelu | Op::Where | Op::Expand { .. }, _) => {
            operands.iter().all(|x| x.aligns(result))
        }
        (Op::Softmax { axis, .. } | Op::Concat { axis } | Op::Split { axis, .. }, _) => {
            *axis > 0 && operands.iter().all(Operand::is_rows)
        }
        (Op::Reduce { axes, .. } | Op::Squeeze { axes } | Op::Unsqueeze { axes }, [_]) => {
            !axes.contains(&0)
        }
        // The numbers stay in their order, example by example.
        (Op::Flatten { .. } | Op::Reshape { .. }, [_]) => true,
        (Op::Transpose { order }, [_]) => order.first() == Some(&0),
        (Op::Slice { ranges }, [_]) => ranges.iter().all(|range| range.axis > 0),
        (Op::Gather { axis }, [data, indices]) => match (data.is_rows(), indices.is_rows()) {
            (true, false) => *axis > 0,
            (false, true) => *axis == 0,
            _ => false,
        },
        (Op::Tile { repeats }, [x]) => {
            !x.is_rows() || repeats.first() == Some(&Dimension::known(1))
        }
        (Op::Pad { pads, .. }, [_]) => pads.first() == Some(&(0, 0)),
        (Op::Fill { .. }, []) => true,
        _ => false,
    }
}
