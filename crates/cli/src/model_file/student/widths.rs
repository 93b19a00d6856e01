//! What became narrower: units of each group, and the shape of each tensor.

use std::collections::BTreeMap;

use anyhow::Result;
use models::graph::change::Standardization;
use serde::Serialize;

use super::StateDict;
use crate::ledger::shrink::LayerChange;
use crate::model_file::natural;

#[derive(Serialize)]
struct Widths<'a> {
    /// Units that can only go together: layers, channels, heads.
    groups: Vec<Group<'a>>,
    /// The tensors of `student.safetensors`.
    tensors: Vec<Shapes<'a>>,
    /// (x − mean)/std, which the network of `student.safetensors` expects to be done, and that of `student.onnx` does.
    #[serde(skip_serializing_if = "Option::is_none")]
    standardization: Option<Standardized<'a>>,
}

#[derive(Serialize)]
struct Group<'a> {
    name: &'a str,
    before: usize,
    after: usize,
}

#[derive(Serialize)]
struct Shapes<'a> {
    name: &'a str,
    /// None where it is new.
    before: Option<&'a [usize]>,
    /// None where it is gone.
    after: Option<&'a [usize]>,
}

#[derive(Serialize)]
struct Standardized<'a> {
    shape: &'a [usize],
    mean: &'a [f64],
    std: &'a [f64],
}

/// The text of `widths.json`: `before` are the tensors of the original, `after` those of the student.
pub(crate) fn widths_json(
    groups: &[LayerChange],
    before: &StateDict,
    after: &StateDict,
    standardization: Option<&Standardization>,
) -> Result<String> {
    let mut shapes: BTreeMap<&str, [Option<&[usize]>; 2]> = BTreeMap::new();
    for (i, dict) in [before, after].into_iter().enumerate() {
        for (name, tensor) in &dict.tensors {
            shapes.entry(name).or_default()[i] = Some(tensor.dims());
        }
    }
    let mut tensors: Vec<Shapes> =
        shapes.into_iter().map(|(name, [before, after])| Shapes { name, before, after }).collect();
    tensors.sort_by(|a, b| natural(a.name, b.name));
    let groups =
        groups.iter().map(|of| Group { name: &of.name, before: of.before, after: of.after });
    let standardization = standardization
        .map(|Standardization { shape, mean, std }| Standardized { shape, mean, std });
    let widths = Widths { groups: groups.collect(), tensors, standardization };
    Ok(serde_json::to_string_pretty(&widths)? + "\n")
}
