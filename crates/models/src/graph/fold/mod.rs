//! What is known of a graph without its data: constants, and arithmetic of shapes.

mod binary;
mod parts;
mod places;
mod reduce;
mod unary;

use super::{Dimension, Kind, Op, Problem, Source, Value};

/// A tensor of known numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    /// Its extents.
    pub shape: Vec<usize>,
    /// The numbers, row by row.
    pub entries: Entries,
}

/// The numbers of a known tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Entries {
    /// Floats.
    Floats(Vec<f64>),
    /// Whole numbers, or truth values as 0 and 1; those of shape arithmetic may depend on the batch.
    Integers(Vec<Dimension>),
}

impl Entries {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Floats(entries) => entries.len(),
            Self::Integers(entries) => entries.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Results of up to so many entries are always computed beforehand: shapes are not longer.
const SMALL: usize = 64;
/// Larger ones up to so many entries, or so many times the entries of the operands.
const LARGE: usize = 1_000_000;
const GROWTH: usize = 4;
/// All together up to so many entries, and so many times what was given.
const IN_ALL: usize = 4_000_000;

/// How many entries may be computed beforehand, in a graph with so many given ones.
///
/// A file of a few nodes could otherwise ask for any number of them.
pub(super) fn budget(given: usize) -> usize {
    given.saturating_mul(GROWTH).saturating_add(IN_ALL)
}

/// The results of a node, where its operands tell them; `None` where the data are needed, or results of more than a few
/// entries have more than `allowance`.
///
/// Floats are rounded to f32 after each operator, as a runtime does.
pub(super) fn results(
    op: &Op,
    operands: &[&Value],
    inferred: &[(Kind, Vec<Dimension>)],
    allowance: usize,
) -> Result<Option<Vec<Numbers>>, Problem> {
    if let (&Op::Shape { start, end }, [x]) = (op, operands) {
        let entries = x.shape[start..end].to_vec();
        let numbers = Numbers { shape: vec![entries.len()], entries: Entries::Integers(entries) };
        return Ok(Some(vec![numbers]));
    }
    let known: Option<Vec<&Numbers>> = operands.iter().map(|value| numbers(value)).collect();
    let shapes: Option<Vec<Vec<usize>>> =
        inferred.iter().map(|(_, shape)| known_shape(shape)).collect();
    let (Some(known), Some(shapes)) = (known, shapes) else { return Ok(None) };
    let given: usize = known.iter().map(|numbers| numbers.entries.len()).sum();
    let made = shapes.iter().try_fold(0usize, |n, shape| n.checked_add(bulk(shape)?));
    let most = LARGE.max(given.saturating_mul(GROWTH)).min(allowance).max(SMALL);
    if made.is_none_or(|made| made > most) {
        return Ok(None);
    }
    let entries = match op {
        Op::Split { axis, .. } => parts::split(&known, *axis, &shapes),
        _ => match (inferred, shapes.as_slice()) {
            ([(kind, _)], [shape]) => {
                result(op, &known, *kind, shape)?.map(|entries| vec![entries])
            }
            _ => None,
        },
    };
    let fits = |entries: &Vec<Entries>| {
        entries.len() == shapes.len()
            && entries.iter().zip(&shapes).all(|(e, shape)| Some(e.len()) == count(shape))
    };
    Ok(entries.filter(fits).map(|all| {
        all.into_iter().zip(shapes).map(|(entries, shape)| Numbers { shape, entries }).collect()
    }))
}

/// The entries of the only result, of this kind and shape.
fn result(
    op: &Op,
    known: &[&Numbers],
    kind: Kind,
    shape: &[usize],
) -> Result<Option<Entries>, Problem> {
    let entries = match (op, known) {
        (Op::Unary(unary), [x]) => unary::entries(*unary, &x.entries)?,
        (Op::Binary(binary), [a, b]) => binary::entries(*binary, a, b, shape)?,
        (Op::Where, [condition, yes, no]) => binary::choose(condition, yes, no, shape),
        (Op::Cast { to }, [x]) => unary::cast(&x.entries, *to),
        (Op::Reduce { reduction, axes, .. }, [x]) => reduce::entries(*reduction, axes, x)?,

        (
            Op::Flatten { .. } | Op::Reshape { .. } | Op::Squeeze { .. } | Op::Unsqueeze { .. },
            [x],
        ) => Some(x.entries.clone()),
        (Op::Transpose { order }, [x]) => parts::transpose(x, order),
        (Op::Concat { axis }, _) => parts::concat(known, *axis, shape),
        (Op::Slice { ranges }, [x]) => parts::slice(x, ranges),
        (Op::Gather { axis }, [x, indices]) => parts::gather(x, indices, *axis),
        (Op::Expand { .. }, [x]) => places::picked(&x.entries, &places::expanded(&x.shape, shape)),
        (Op::Tile { .. }, [x]) => parts::tile(x, shape),
        (Op::Pad { mode, pads }, [x]) => parts::pad(x, *mode, pads, kind),
        (Op::Fill { value, .. }, []) => count(shape).map(|n| parts::fill(*value, kind, n)),
        (Op::Range, [start, _, step]) => parts::range(start, step, shape),

        // Operators of data, and lists of operands that inference has refused.
        (
            Op::Gemm { .. }
            | Op::MatMul
            | Op::Conv { .. }
            | Op::BatchNormalization { .. }
            | Op::LayerNormalization { .. }
            | Op::GroupNormalization { .. }
            | Op::Unary(_)
            | Op::PRelu
            | Op::Binary(_)
            | Op::Where
            | Op::Softmax { .. }
            | Op::MaxPool { .. }
            | Op::AveragePool { .. }
            | Op::Reduce { .. }
            | Op::Flatten { .. }
            | Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Squeeze { .. }
            | Op::Unsqueeze { .. }
            | Op::Split { .. }
            | Op::Slice { .. }
            | Op::Gather { .. }
            | Op::Expand { .. }
            | Op::Tile { .. }
            | Op::Pad { .. }
            | Op::Cast { .. }
            | Op::Shape { .. }
            | Op::Fill { .. }
            | Op::Range
            | Op::Normalizer { .. }
            | Op::Scaler { .. }
            | Op::LabelEncoder { .. },
            _,
        ) => None,
    };
    Ok(entries)
}

/// The numbers of a constant whose entries fill its shape.
fn numbers<'a>(value: &&'a Value) -> Option<&'a Numbers> {
    let Source::Constant(numbers) = &value.source else { return None };
    let n = numbers.entries.len();
    let is_whole = count(&numbers.shape) == Some(n);
    let is_small = bulk(&numbers.shape).is_some_and(|bulk| bulk <= n.max(LARGE));
    (is_whole && is_small).then_some(numbers)
}

/// A shape that is the same for every batch.
fn known_shape(shape: &[Dimension]) -> Option<Vec<usize>> {
    shape.iter().map(|extent| usize::try_from(extent.as_known()?).ok()).collect()
}

/// The number of entries of a tensor.
fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent))
}

/// The number of entries if extents of 0 were 1: what loops over the axes take.
fn bulk(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent.max(1)))
}

/// The nearest number of f32.
fn rounded(value: f64) -> f64 {
    f64::from(value as f32)
}

/// 1 for true, 0 for false.
fn truth(is_true: bool) -> Dimension {
    Dimension::known(i64::from(is_true))
}

#[cfg(test)]
mod tests;
