//! Convolutions and pools.

use super::operators::ints;
use super::{At, Export, WRITTEN_OPSETS};
use crate::graph::{Op, Window};
use crate::onnx::Attribute;

/// The first operator set that has an operator with its attributes.
pub(super) fn opset(op: &Op) -> i64 {
    const DILATED_MEAN: i64 = 19;
    match op {
        Op::AveragePool { window, .. } if window.dilations != [1, 1] => DILATED_MEAN,
        _ => *WRITTEN_OPSETS.start(),
    }
}

pub(super) fn conv(export: &mut Export<'_>, at: &At<'_>, window: &Window, groups: usize) {
    let mut attributes = window_attributes(export, at, window);
    attributes.push(("group", Attribute::Int(groups as i64)));
    export.node(at, "Conv", export.operands(at), attributes);
}

/// A largest number, or a mean that counts padding or not.
pub(super) fn pool(
    export: &mut Export<'_>,
    at: &At<'_>,
    window: &Window,
    counts_padding: Option<bool>,
) {
    let mut attributes = window_attributes(export, at, window);
    attributes.push(("ceil_mode", Attribute::Int(i64::from(window.ceil))));
    if let Some(counts) = counts_padding {
        attributes.push(("count_include_pad", Attribute::Int(i64::from(counts))));
        // An attribute that older operator sets lack.
        attributes.retain(|(name, _)| *name != "dilations" || window.dilations != [1, 1]);
    }
    export.node(at, at.node.op.name(), export.operands(at), attributes);
}

/// A window over one axis is kept as rows of height 1, and written without them.
fn window_attributes(
    export: &Export<'_>,
    at: &At<'_>,
    window: &Window,
) -> Vec<(&'static str, Attribute)> {
    let first = if export.shape(at, 0).len() == 3 { 1 } else { 0 };
    let [top, left, bottom, right] = window.pads;
    let pads = [&[top, left][first..], &[bottom, right][first..]].concat();
    vec![
        ("kernel_shape", ints(&window.kernel[first..])),
        ("strides", ints(&window.strides[first..])),
        ("dilations", ints(&window.dilations[first..])),
        ("pads", ints(&pads)),
    ]
}
