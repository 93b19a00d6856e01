//! Kinds and shapes of the results of a node.

mod elementwise;
mod layout;
mod normalization;
mod parts;
mod products;
mod windows;

use super::rules::{setting, shapes};
use super::{Dimension, Kind, Op, Problem, Value};

/// Extents of a tensor.
type Shape = Vec<Dimension>;

/// Kind and shape of a tensor.
type Inferred = (Kind, Shape);

/// More numbers than this for a batch of one example are refused: 1 GiB in f32.
const MAX_ENTRIES: i64 = 1 << 28;

/// Kind and shape of each result.
pub(super) fn results(op: &Op, operands: &[&Value]) -> Result<Vec<Inferred>, Problem> {
    let results = match op {
        Op::Split { axis, sizes } => parts::split(operands, *axis, sizes)?,
        _ => vec![result(op, operands)?],
    };
    results.iter().try_for_each(|(_, shape)| check_size(shape))?;
    Ok(results)
}

/// The result of an operator that has one.
fn result(op: &Op, operands: &[&Value]) -> Result<Inferred, Problem> {
    match op {
        Op::Gemm { transpose_a, transpose_b, .. } => {
            products::gemm(operands, *transpose_a, *transpose_b)
        }
        Op::MatMul => products::matmul(operands),
        Op::Conv { window, groups } => windows::conv(operands, window, *groups),
        Op::MaxPool { window } | Op::AveragePool { window, .. } => windows::pool(operands, window),

        Op::BatchNormalization { .. } => normalization::batch(operands),
        Op::LayerNormalization { axis, .. } => normalization::layer(operands, *axis),
        Op::GroupNormalization { groups, .. } => normalization::group(operands, *groups),
        Op::Softmax { axis, .. } => normalization::softmax(operands, *axis),
        Op::Normalizer { .. } => normalization::rows(operands),
        Op::Scaler { offset, scale } => normalization::scaler(operands, offset.len(), scale.len()),

        Op::Unary(unary) => elementwise::unary(operands, *unary),
        Op::PRelu => elementwise::prelu(operands),
        Op::Binary(binary) => elementwise::binary(operands, *binary),
        Op::Where => elementwise::choose(operands),
        Op::Cast { to } => elementwise::cast(operands, *to),
        Op::LabelEncoder { keys, values, kind, .. } => {
            elementwise::label_encoder(operands, keys.len(), values.len(), *kind)
        }

        Op::Reduce { reduction, axes, keep } => layout::reduce(operands, *reduction, axes, *keep),
        Op::Flatten { axis } => layout::flatten(operands, *axis),
        Op::Reshape { shape } => layout::reshape(operands, shape),
        Op::Transpose { order } => layout::transpose(operands, order),
        Op::Squeeze { axes } => layout::squeeze(operands, axes),
        Op::Unsqueeze { axes } => layout::unsqueeze(operands, axes),
        Op::Expand { shape } => layout::expand(operands, shape),
        Op::Tile { repeats } => layout::tile(operands, repeats),
        Op::Shape { start, end } => layout::shape(operands, *start, *end),
        Op::Fill { shape, kind, .. } => {
            let [] = exactly(operands)?;
            Ok((*kind, shape.clone()))
        }

        Op::Concat { axis } => parts::concat(operands, *axis),
        Op::Slice { ranges } => parts::slice(operands, ranges),
        Op::Gather { axis } => parts::gather(operands, *axis),
        Op::Pad { mode, pads } => parts::pad(operands, *mode, pads),
        Op::Range => parts::range(operands),
        // The caller takes the results of a split, which may be several.
        Op::Split { axis, sizes } => {
            let found = parts::split(operands, *axis, sizes)?.pop();
            found.ok_or_else(|| setting("the sizes of a split", "at least one", "none"))
        }
    }
}

/// Refuses extents below 0 and tensors that no computer holds.
pub(crate) fn check_size(shape: &[Dimension]) -> Result<(), Problem> {
    let mut entries = 1i64;
    for &extent in shape {
        if !extent.is_at_least(Dimension::known(0)) {
            return Err(setting("an extent of the result", "0 or more for every batch", extent));
        }
        // Extents of 0 hide no huge ones, which later arithmetic would meet.
        let of_one = extent.of_batch(1).ok_or(Problem::TooLarge)?.max(1);
        entries = entries.checked_mul(of_one).ok_or(Problem::TooLarge)?;
    }
    if entries > MAX_ENTRIES { Err(Problem::TooLarge) } else { Ok(()) }
}

/// The operands of an operator that takes K.
fn exactly<'a, const K: usize>(operands: &[&'a Value]) -> Result<[&'a Value; K], Problem> {
    const WORDS: [&str; 6] = ["0", "1", "2", "3", "4", "5"];
    let wrong = |_| Problem::Operands {
        expected: WORDS.get(K).copied().unwrap_or("other"),
        found: operands.len(),
    };
    operands.try_into().map_err(wrong)
}

/// The operands of an operator whose last one may be missing: K, and perhaps one more.
fn perhaps_one_more<'a, const K: usize>(
    operands: &[&'a Value],
    expected: &'static str,
) -> Result<([&'a Value; K], Option<&'a Value>), Problem> {
    let wrong = || Problem::Operands { expected, found: operands.len() };
    match operands.split_first_chunk::<K>() {
        Some((first, [])) => Ok((*first, None)),
        Some((first, [last])) => Ok((*first, Some(*last))),
        _ => Err(wrong()),
    }
}

/// Refuses an operand of another kind.
fn check_kind(operands: &[&Value], operand: usize, expected: Kind) -> Result<(), Problem> {
    match operands.get(operand) {
        Some(value) if value.kind != expected => {
            Err(Problem::Kind { operand, expected, found: value.kind })
        }
        _ => Ok(()),
    }
}

/// Refuses operands that are not all of a kind.
fn check_kinds(operands: &[&Value], expected: Kind) -> Result<(), Problem> {
    (0..operands.len()).try_for_each(|operand| check_kind(operands, operand, expected))
}

/// Refuses an axis outside a tensor of this rank.
fn check_axis(axis: usize, rank: usize) -> Result<(), Problem> {
    if axis < rank {
        return Ok(());
    }
    Err(setting("an axis", format!("0 ≤ axis < {rank}"), axis))
}

/// Refuses axes that are not ascending, or outside a tensor of this rank.
fn check_axes(axes: &[usize], rank: usize) -> Result<(), Problem> {
    if !axes.is_sorted_by(|a, b| a < b) {
        return Err(setting("axes", "ascending numbers, none twice", format!("{axes:?}")));
    }
    axes.iter().try_for_each(|&axis| check_axis(axis, rank))
}

/// Refuses a list of settings that has not one entry an axis.
fn check_one_an_axis(what: &'static str, found: usize, rank: usize) -> Result<(), Problem> {
    if found == rank { Ok(()) } else { Err(setting(what, format!("{rank}, one an axis"), found)) }
}

/// The channels of (m, c, …), which a network knows.
fn channels(x: &Value) -> Result<i64, Problem> {
    let channels = x.shape.get(1).and_then(|extent| extent.as_known());
    channels.ok_or_else(|| shapes("expected a known number of channels on axis 1", &[&x.shape]))
}

#[cfg(test)]
mod tests;
