//! Small networks as files.

use core_tensors::{Params, Rng};
use models::graph::Graph;
use models::onnx::{ExportOptions, ImportOptions, Model, export, import, no_external};

use crate::changing::Subject;
use crate::growing::{Outcome, normal};

/// A network, written as a file and read again, with inputs of this shape.
pub(crate) fn tried<T>(
    (graph, w): &(Graph, Params),
    input: &[usize],
    try_it: impl Fn(&Subject<'_>) -> Outcome<T>,
) -> Outcome<T> {
    let model = Model::parse(export(graph, w, &ExportOptions::default())?)?;
    let original = import(&model, &mut no_external, &ImportOptions::default())?;
    let inputs = [normal(&mut Rng::new(20), &[&[3], input].concat())?];
    try_it(&Subject { model: &model, original: &original, inputs: &inputs })
}
