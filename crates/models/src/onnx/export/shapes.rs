//! Operators that move numbers: their settings become tensors.

use super::{At, Export, ExportError};
use crate::graph::{Dimension, Kind, PadMode, SliceRange};
use crate::onnx::Attribute;

/// What exporters write for "to the end" of an axis, and backwards for "to the start".
const END: Dimension = Dimension::known(i64::MAX);
const START: Dimension = Dimension::known(-i64::MAX);

/// The operands and attributes of a Reshape of x, whose own extents are perhaps known.
///
/// An extent that depends on the batch is 0 where x has it at the same place, else −1, if there is one such; otherwise the
/// target is computed from the batch.
pub(super) fn reshaped(
    export: &mut Export<'_>,
    name: &str,
    (x, of): (String, Option<&[Dimension]>),
    shape: &[Dimension],
) -> Result<(Vec<String>, Vec<(&'static str, Attribute)>), ExportError> {
    let zero = Dimension::known(0);
    if shape.contains(&zero) {
        let target = export.sizes(name, shape)?;
        return Ok((vec![x, target], vec![("allowzero", Attribute::Int(1))]));
    }
    let is_kept = |axis: usize, extent| of.is_some_and(|of| of.get(axis) == Some(&extent));
    let short = |(axis, &extent): (usize, &Dimension)| match extent {
        _ if !extent.is_per_batch() => extent,
        _ if is_kept(axis, extent) => zero,
        _ => Dimension::known(-1),
    };
    let target: Vec<Dimension> = shape.iter().enumerate().map(short).collect();
    let n_open = target.iter().filter(|extent| **extent == Dimension::known(-1)).count();
    let target = export.sizes(name, if n_open > 1 { shape } else { &target })?;
    Ok((vec![x, target], vec![]))
}

pub(super) fn reshape(
    export: &mut Export<'_>,
    at: &At<'_>,
    shape: &[Dimension],
) -> Result<(), ExportError> {
    let x = (export.operand(at, 0), Some(export.shape(at, 0)));
    let (inputs, attributes) = reshaped(export, &format!("{}/shape", at.result()), x, shape)?;
    export.node(at, "Reshape", inputs, attributes);
    Ok(())
}

/// Squeeze and Unsqueeze; without axes, ONNX's Squeeze would take all of extent 1.
pub(super) fn axes(
    export: &mut Export<'_>,
    at: &At<'_>,
    axes: &[usize],
) -> Result<(), ExportError> {
    let x = export.operand(at, 0);
    if axes.is_empty() {
        export.node(at, "Identity", vec![x], vec![]);
        return Ok(());
    }
    let axes: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
    let axes = export.integers(&format!("{}/axes", at.result()), &axes)?;
    export.node(at, at.node.op.name(), vec![x, axes], vec![]);
    Ok(())
}

pub(super) fn split(
    export: &mut Export<'_>,
    at: &At<'_>,
    axis: usize,
    sizes: &[Dimension],
) -> Result<(), ExportError> {
    let sizes = export.sizes(&format!("{}/sizes", at.result()), sizes)?;
    let axis = vec![("axis", Attribute::Int(axis as i64))];
    export.node(at, "Split", vec![export.operand(at, 0), sizes], axis);
    Ok(())
}

pub(super) fn slice(
    export: &mut Export<'_>,
    at: &At<'_>,
    ranges: &[SliceRange],
) -> Result<(), ExportError> {
    let shape = export.shape(at, 0);
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    let (mut axes, mut steps) = (Vec::new(), Vec::new());
    for range in ranges {
        let extent = shape.get(range.axis).copied().unwrap_or(Dimension::known(0));
        let (start, end) = bounds(at, range, extent)?;
        starts.push(start);
        ends.push(end);
        axes.push(range.axis as i64);
        steps.push(range.step);
    }
    let name = |suffix: &str| format!("{}/{suffix}", at.result());
    let inputs = vec![
        export.operand(at, 0),
        export.sizes(&name("starts"), &starts)?,
        export.sizes(&name("ends"), &ends)?,
        export.integers(&name("axes"), &axes)?,
        export.integers(&name("steps"), &steps)?,
    ];
    export.node(at, "Slice", inputs, vec![]);
    Ok(())
}

/// First entry, and the one behind the last.
fn bounds(
    at: &At<'_>,
    range: &SliceRange,
    extent: Dimension,
) -> Result<(Dimension, Dimension), ExportError> {
    let (zero, one) = (Dimension::known(0), Dimension::known(1));
    let SliceRange { start, step, len, .. } = *range;
    if len == zero {
        return Ok((zero, zero));
    }
    // A bound that depends on the batch is counted from the end, where that makes it a number.
    let from_end = |bound: Dimension| match bound.checked_sub(extent).and_then(|d| d.as_known()) {
        Some(n) if bound.is_per_batch() && n < 0 => Dimension::known(n),
        _ => bound,
    };
    let walk = len.checked_sub(one).and_then(|n| n.checked_mul(Dimension::known(step)));
    let last = at.size(walk.and_then(|walk| start.checked_add(walk)))?;
    let end = at.size(if step > 0 { last.checked_add(one) } else { last.checked_sub(one) })?;
    let end = match end {
        end if end == extent => END,
        end if end.as_known().is_some_and(|n| n < 0) => START,
        end => from_end(end),
    };
    Ok((from_end(start), end))
}

/// Extents that the operand has already are 1 where they depend on the batch.
pub(super) fn expand(
    export: &mut Export<'_>,
    at: &At<'_>,
    shape: &[Dimension],
) -> Result<(), ExportError> {
    let of = export.shape(at, 0);
    let short = |(i, &extent): (usize, &Dimension)| {
        let behind = shape.len() - i;
        let own = of.len().checked_sub(behind).and_then(|axis| of.get(axis));
        if extent.is_per_batch() && own == Some(&extent) { Dimension::known(1) } else { extent }
    };
    let target: Vec<Dimension> = shape.iter().enumerate().map(short).collect();
    let target = export.sizes(&format!("{}/shape", at.result()), &target)?;
    export.node(at, "Expand", vec![export.operand(at, 0), target], vec![]);
    Ok(())
}

pub(super) fn pad(
    export: &mut Export<'_>,
    at: &At<'_>,
    mode: PadMode,
    pads: &[(i64, i64)],
) -> Result<(), ExportError> {
    let before = pads.iter().map(|&(before, _)| before);
    let all: Vec<i64> = before.chain(pads.iter().map(|&(_, behind)| behind)).collect();
    let mut inputs = vec![export.operand(at, 0)];
    inputs.push(export.integers(&format!("{}/pads", at.result()), &all)?);
    let mode = match mode {
        PadMode::Constant(value) => {
            if value != 0.0 {
                inputs.push(match export.kind(at, 0) {
                    Kind::Float => export.number(value as f32)?,
                    Kind::Int | Kind::Bool => {
                        let name = format!("{}/value", at.result());
                        export.integers_of(&name, vec![], &[value as i64])?
                    }
                });
            }
            "constant"
        }
        PadMode::Reflect => "reflect",
        PadMode::Edge => "edge",
    };
    export.node(at, "Pad", inputs, vec![("mode", Attribute::String(mode.to_owned()))]);
    Ok(())
}
