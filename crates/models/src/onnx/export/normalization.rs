//! Normalizations and softmax.

use super::shapes;
use super::{At, Export, ExportError};
use crate::onnx::Attribute;

/// One operator since opset 21, the operators of its formula before.
pub(super) fn group(
    export: &mut Export<'_>,
    at: &At<'_>,
    groups: usize,
    epsilon: f32,
) -> Result<(), ExportError> {
    /// Since this opset, scale and shift have one number a channel.
    const PER_CHANNEL: i64 = 21;
    let operands = export.operands(at);
    let shape = export.shape(at, 0);
    let is_instance = shape.get(1).and_then(|extent| extent.as_known()) == Some(groups as i64);
    let epsilon_attribute = ("epsilon", Attribute::Float(epsilon));
    if is_instance && shape.len() > 2 {
        export.node(at, "InstanceNormalization", operands, vec![epsilon_attribute]);
        return Ok(());
    }
    let number = ("num_groups", Attribute::Int(groups as i64));
    if export.opset >= PER_CHANNEL {
        export.node(at, "GroupNormalization", operands, vec![number, epsilon_attribute]);
        return Ok(());
    }
    let [x, scale, shift] = [0, 1, 2].map(|place| export.operand(at, place));
    let name = |suffix: &str| format!("{}/{suffix}", at.result());
    // (m, c, …) → (m, groups, all numbers of one): moments are taken over the last axis.
    let to_groups = export.integers(&name("to_groups"), &[0, groups as i64, -1])?;
    let rows = export.part(at, "Reshape", vec![x, to_groups], vec![], "rows");
    let mean = mean(export, at, rows.clone(), "mean")?;
    let centered = export.part(at, "Sub", vec![rows, mean], vec![], "centered");
    let squares =
        export.part(at, "Mul", vec![centered.clone(), centered.clone()], vec![], "squares");
    let variance = self::mean(export, at, squares, "variance")?;
    let epsilon = export.number(epsilon)?;
    let sum = export.part(at, "Add", vec![variance, epsilon], vec![], "sum");
    let deviation = export.part(at, "Sqrt", vec![sum], vec![], "deviation");
    let standardized = export.part(at, "Div", vec![centered, deviation], vec![], "standardized");
    let (inputs, attributes) =
        shapes::reshaped(export, &name("shape"), (standardized, None), shape)?;
    let standardized = export.part(at, "Reshape", inputs, attributes, "of_channels");
    let axes: Vec<i64> = (1..shape.len() as i64 - 1).collect();
    let axes = export.integers(&name("axes_of_places"), &axes)?;
    let mut column = |coefficients: String, suffix: &str| {
        export.part(at, "Unsqueeze", vec![coefficients, axes.clone()], vec![], suffix)
    };
    let (scale, shift) = (column(scale, "scale"), column(shift, "shift"));
    let scaled = export.part(at, "Mul", vec![standardized, scale], vec![], "scaled");
    export.node(at, "Add", vec![scaled, shift], vec![]);
    Ok(())
}

/// Over the last of three axes.
fn mean(
    export: &mut Export<'_>,
    at: &At<'_>,
    x: String,
    suffix: &str,
) -> Result<String, ExportError> {
    const AXES_AS_INPUT: i64 = 18;
    let mut inputs = vec![x];
    let mut attributes = vec![("keepdims", Attribute::Int(1))];
    if export.opset < AXES_AS_INPUT {
        attributes.push(("axes", Attribute::Ints(vec![2])));
    } else {
        inputs.push(export.integers(&format!("{}/{suffix}/axes", at.result()), &[2])?);
    }
    Ok(export.part(at, "ReduceMean", inputs, attributes, suffix))
}

/// Over one axis; over several, between a Flatten and a Reshape.
pub(super) fn softmax(
    export: &mut Export<'_>,
    at: &At<'_>,
    axis: usize,
    to_end: bool,
) -> Result<(), ExportError> {
    let (name, x) = (at.node.op.name(), export.operand(at, 0));
    let shape = export.shape(at, 0);
    let of = |axis: usize| vec![("axis", Attribute::Int(axis as i64))];
    if !to_end || axis + 1 == shape.len() {
        export.node(at, name, vec![x], of(axis));
        return Ok(());
    }
    let rows = export.part(at, "Flatten", vec![x], of(axis), "rows");
    let softmax = export.part(at, name, vec![rows], of(1), "of_rows");
    let name = format!("{}/shape", at.result());
    let (inputs, attributes) = shapes::reshaped(export, &name, (softmax, None), shape)?;
    export.node(at, "Reshape", inputs, attributes);
    Ok(())
}
