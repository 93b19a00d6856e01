//! Changed graphs as changes of the files that they came from.

mod error;
mod live;
mod settings;
mod structure;

use core_tensors::Params;

use super::import::{self, Difference};
use super::{Dimension as FileDimension, Edit, Imported, Model, Node, ReadExternal};
use crate::graph::{Dimension, Graph};

pub use error::ChangeError;

/// Each round settles the operands of a node before its settings, and the last one finds nothing.
const MOST_ROUNDS: usize = 4;

/// The file of `model` with what a changed graph and changed parameters differ in; all other bytes stay.
///
/// `original` is what [`super::import()`] made of the file. Values of the new graph that have names of the original one are the same tensors
/// of the file, and a node is that of the file with its first result; so whoever changes a graph keeps the names of what stays. These
/// changes are written: parameters with other numbers or shapes, in the file's types; constants; shapes that Reshape, Expand, Tile, Split,
/// Slice and Pad make; attributes; operands, also more or fewer of them; new nodes and parameters; nodes that are gone, with what they
/// alone needed. Declared shapes follow. Without a difference, the bytes are those of the file.
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
            return Ok(file.patch(&shapes(&file, &followed.shapes))?);
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
fn shapes(model: &Model, shapes: &std::collections::HashMap<String, Vec<Dimension>>) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    for value in model.inputs().iter().chain(model.outputs()).chain(model.value_infos()) {
        let (Some(declared), Some(shape)) = (value.dims(), shapes.get(&value.name)) else {
            continue;
        };
        let dims: Vec<FileDimension> = if declared.len() == shape.len() {
            declared
                .iter()
                .zip(shape)
                .map(|(declared, &extent)| dimension(Some(declared), extent))
                .collect()
        } else {
            shape.iter().map(|&extent| dimension(None, extent)).collect()
        };
        let is_new = !edits
            .iter()
            .any(|edit| matches!(edit, Edit::SetShape { name, .. } if *name == value.name));
        if dims != declared && is_new {
            edits.push(Edit::SetShape { name: value.name.clone(), dims });
        }
    }
    edits
}

/// What is declared stays unless it is another number.
fn dimension(declared: Option<&FileDimension>, extent: Dimension) -> FileDimension {
    let known = extent.as_known().and_then(|n| usize::try_from(n).ok());
    match (declared, known) {
        (Some(FileDimension::Known(_)) | None, Some(n)) => FileDimension::Known(n),
        (Some(declared), _) => declared.clone(),
        (None, None) => FileDimension::Unknown,
    }
}

/// The name and the operator of a node, for messages.
fn named(node: &Node) -> (String, String) {
    (import::node_name(node), node.op_type.clone())
}
