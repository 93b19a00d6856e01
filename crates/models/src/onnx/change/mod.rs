//! Changed graphs as changes of the files that they came from.

mod error;
mod live;
mod settings;
mod standardize;
mod structure;

use std::collections::{HashMap, HashSet};

use core_tensors::Params;

use super::import::{self, Difference};
use super::{Dimension as FileDimension, Edit, Imported, Model, Node, ReadExternal};
use crate::graph::{Dimension, Graph};

pub use error::ChangeError;
pub use standardize::standardize_input;

/// Each round settles the operands of a node before its settings, and the last one finds nothing.
const MOST_ROUNDS: usize = 4;

/// The file of `model` with what a changed graph and changed parameters differ in; all other bytes stay.
///
/// `original` is what [`super::import()`] made of the file. Values of the new graph that have names of the original one are
/// the same tensors of the file, and a node is that of the file with its first result; so whoever changes a graph keeps the
/// names of what stays, that of the logits among them.
///
/// These changes are written: parameters with other numbers or shapes, in the file's types; constants; the settings of
/// Reshape, Expand, Tile, Split, Slice and Pad; attributes; operands, also more or fewer of them; new nodes and parameters;
/// nodes that are gone, with what they alone needed. Declared shapes follow. Without a difference, the bytes are those of
/// the file.
///
/// # Errors
/// Where a change has no place in the file; see [`ChangeError`].
pub fn rewrite(
    model: &Model,
    original: &Imported,
    graph: &Graph,
    params: &Params,
    external: &mut ReadExternal<'_>,
) -> Result<Vec<u8>, ChangeError> {
    graph.layout().check_same("parameters of a graph", params.layout())?;
    let edits = structure::edits(model, original, graph, params)?;
    let mut is_changed = !edits.is_empty();
    let mut file = if is_changed { Model::parse(model.patch(&edits)?)? } else { model.clone() };
    for _ in 0..MOST_ROUNDS {
        let followed = import::follow(&file, external, &original.logits.tensor, graph)?;
        if let Some(node) = followed.missing {
            return Err(ChangeError::Unfinished { node });
        }
        if followed.differences.is_empty() {
            if !is_changed {
                return Ok(model.bytes().to_vec());
            }
            let file = Model::parse(file.patch(&live::cleanup(model, &file)?)?)?;
            live::check_outside(&file, original, &followed.shapes)?;
            return Ok(file.patch(&shapes(&file, original, &followed.shapes))?);
        }
        is_changed = true;
        let edits = settings::edits(&file, original, graph, &followed.differences)?;
        file = Model::parse(file.patch(&edits)?)?;
    }
    let followed = import::follow(&file, external, &original.logits.tensor, graph)?;
    let index = followed.differences.first().map(
        |&(Difference::Op(i) | Difference::Composed(i) | Difference::Constant { node: i, .. })| i,
    );
    let node = index.and_then(|i| file.nodes().get(i)).map(import::node_name).unwrap_or_default();
    Err(ChangeError::Unfinished { node })
}

/// Declared shapes that are not those of the graph.
fn shapes(
    file: &Model,
    original: &Imported,
    shapes: &HashMap<String, Vec<Dimension>>,
) -> Vec<Edit> {
    let before: HashMap<&str, &[Dimension]> = original
        .graph
        .values()
        .iter()
        .map(|value| (value.name.as_str(), value.shape.as_slice()))
        .collect();
    let (mut edits, mut seen) = (Vec::new(), HashSet::new());
    for value in file.inputs().iter().chain(file.outputs()).chain(file.value_infos()) {
        let (Some(declared), Some(shape)) = (value.dims(), shapes.get(&value.name)) else {
            continue;
        };
        let old = before.get(value.name.as_str());
        let old = old.filter(|old| old.len() == shape.len() && declared.len() == shape.len());
        let dims = shape.iter().enumerate().map(|(axis, &extent)| {
            let declared = declared.get(axis).filter(|_| declared.len() == shape.len());
            dimension(declared, old.map(|old| old[axis]), extent)
        });
        let dims: Vec<FileDimension> = dims.collect();
        if dims != declared && seen.insert(value.name.as_str()) {
            edits.push(Edit::SetShape { name: value.name.clone(), dims });
        }
    }
    edits
}

/// What is declared stays unless it is another number, or names a size that has changed.
fn dimension(
    declared: Option<&FileDimension>,
    old: Option<Dimension>,
    extent: Dimension,
) -> FileDimension {
    let known = extent.as_known().and_then(|n| usize::try_from(n).ok());
    match (declared, known) {
        (Some(FileDimension::Known(_)) | None, Some(n)) => FileDimension::Known(n),
        (Some(FileDimension::Named(_)), _) if old.is_some_and(|old| old != extent) => {
            known.map_or(FileDimension::Unknown, FileDimension::Known)
        }
        (Some(declared), _) => declared.clone(),
        (None, None) => FileDimension::Unknown,
    }
}

/// The name and the operator of a node, for messages.
fn named(node: &Node) -> (String, String) {
    (import::node_name(node), node.op_type.clone())
}
