//! Whether a file computes what a graph says, node by node.

use std::collections::{HashMap, HashSet};

use super::node::At;
use super::{Batch, Import, ImportError, ImportOptions, operators, order};
use crate::graph::{Builder, Dimension, Graph, Node, Op, Source, Value, ValueId};
use crate::onnx::{Model, ReadExternal};

/// What a file says otherwise than a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::onnx) enum Difference {
    /// The operator at this node of the file, counted from 0, or its settings.
    Op(usize),
    /// A constant operand of this node.
    Constant {
        /// The node of the file.
        node: usize,
        /// Which of its inputs.
        place: usize,
    },
    /// Something in a node that stands for several operators of the graph.
    Composed(usize),
}

/// What was found on the way through a file.
#[derive(Debug, Default)]
pub(in crate::onnx) struct Followed {
    /// Where the file says something else.
    pub(in crate::onnx) differences: Vec<Difference>,
    /// Extents of the file's tensors, as the graph has them.
    pub(in crate::onnx) shapes: HashMap<String, Vec<Dimension>>,
    /// A node of the graph that the file does not have.
    pub(in crate::onnx) missing: Option<String>,
}

/// Reads the nodes behind the logits and compares each with the node of the graph that has the same result; where they
/// differ, goes on with that of the graph.
///
/// # Errors
/// As the import, but for operators whose settings do not fit: those differ.
pub(in crate::onnx) fn follow(
    model: &Model,
    external: &mut ReadExternal<'_>,
    logits: &str,
    graph: &Graph,
) -> Result<Followed, ImportError> {
    let needed = order::needed(model, logits)?;
    operators::check(&needed)?;
    let options = ImportOptions::default();
    let mut import = Import::new(model, external, &options, &needed, Batch::Open);
    for &id in graph.inputs() {
        let Value { name, kind, shape, .. } = graph.value(id);
        let id = import.builder.input(name, *kind, shape.clone());
        import.set(name, id);
    }
    let places = model.nodes().iter().enumerate();
    let places: HashMap<&str, usize> =
        places.filter_map(|(i, node)| Some((node.outputs.first()?.as_str(), i))).collect();
    let first = |node: &Node| node.results.first().map(|&id| graph.value(id).name.as_str());
    let wanted: HashMap<&str, &Node> =
        graph.nodes().iter().filter_map(|node| Some((first(node)?, node))).collect();
    // Nodes of the file that are several of the graph: those whose results have no names in the file.
    let names = wanted.keys().copied().filter(|name| !places.contains_key(name));
    let composed: HashSet<&str> =
        names.flat_map(|name| name.match_indices('/').map(|(at, _)| &name[..at])).collect();
    let mut followed = Followed::default();
    let mut seen = 0;
    for node in needed {
        let at = At { node, opset: model.opset() };
        let Some(output) = node.outputs.first() else { continue };
        let index = places.get(output.as_str()).copied().unwrap_or(0);
        let expected = wanted.get(output.as_str()).copied();
        let n_before = import.builder.nodes().len();
        let read = operators::add(&mut import, &at);
        let made = import.builder.nodes().get(n_before..).unwrap_or_default();
        let is_composed = made.len() > 1 || composed.contains(output.as_str());
        match expected {
            // Nodes whose results are known, or the same as their operands, leave none in the graph.
            None => read?,
            Some(_) if is_composed => {
                read?;
                let made = import.builder.nodes()[n_before..].to_vec();
                for made in made {
                    let name = made.results.first().map(|&id| import.builder.get(id).name.clone());
                    let Some(expected) = name.and_then(|name| wanted.get(name.as_str()).copied())
                    else {
                        continue;
                    };
                    seen += 1;
                    let fits = operand_differences(&import, graph, &made.operands, expected);
                    if made.op != expected.op || !fits.is_empty() {
                        followed.differences.push(Difference::Composed(index));
                    }
                }
            }
            Some(expected) => {
                seen += 1;
                let made = match (read, made) {
                    (Ok(()), [made]) => Some(made.clone()),
                    (Ok(()), _)
                    | (Err(ImportError::Graph(_) | ImportError::Attribute { .. }), _) => None,
                    (Err(error), _) => return Err(error),
                };
                let operands = match &made {
                    Some(made) => made.operands.clone(),
                    None => (0..expected.operands.len())
                        .map(|place| import.operand(&at, place))
                        .collect::<Result<_, _>>()?,
                };
                let places = operand_differences(&import, graph, &operands, expected);
                // An operator that does not fit wrong operands may fit the right ones.
                let is_op = places.is_empty()
                    && made.is_none_or(|made| is_other(&import.builder, graph, &made, expected));
                followed.differences.extend(is_op.then_some(Difference::Op(index)));
                let constant = |&place| Difference::Constant { node: index, place };
                followed.differences.extend(places.iter().map(constant));
                if is_op || !places.is_empty() {
                    replace(&mut import, graph, &at, expected)?;
                }
            }
        }
    }
    if seen < graph.nodes().len() {
        let is_missing = |node: &&Node| {
            first(node).is_some_and(|name| {
                !import.builder.nodes().iter().any(|made| {
                    made.results.first().is_some_and(|&id| import.builder.get(id).name == name)
                })
            })
        };
        followed.missing = graph.nodes().iter().find(is_missing).map(|node| node.name.clone());
    }
    let shape = |id: ValueId| import.builder.get(id).shape.clone();
    followed.shapes = import.env.iter().map(|(name, &id)| (name.clone(), shape(id))).collect();
    Ok(followed)
}

/// Whether two nodes with the same operands compute something else.
fn is_other(builder: &Builder, graph: &Graph, made: &Node, expected: &Node) -> bool {
    match (&made.op, &expected.op) {
        // A target may have 1 where the operand has the extent already.
        (Op::Expand { .. }, Op::Expand { .. }) => {
            let made = made.results.iter().map(|&id| &builder.get(id).shape);
            !made.eq(expected.results.iter().map(|&id| &graph.value(id).shape))
        }
        (made, expected) => made != expected,
    }
}

/// Operands that are other values than those of the graph's node.
fn operand_differences(
    import: &Import<'_, '_, '_>,
    graph: &Graph,
    operands: &[ValueId],
    expected: &Node,
) -> Vec<usize> {
    let pairs = operands.iter().zip(&expected.operands).enumerate();
    let differs = |(place, (&found, &wanted)): (usize, (&ValueId, &ValueId))| {
        (!is_same(import.builder.get(found), graph.value(wanted))).then_some(place)
    };
    pairs.filter_map(differs).collect()
}

fn is_same(found: &Value, wanted: &Value) -> bool {
    match (&found.source, &wanted.source) {
        (Source::Constant(found), Source::Constant(wanted)) => found == wanted,
        (Source::Constant(_), _) | (_, Source::Constant(_)) => false,
        _ => found.name == wanted.name,
    }
}

/// Goes on with the node of the graph instead of that of the file.
fn replace(
    import: &mut Import<'_, '_, '_>,
    graph: &Graph,
    at: &At<'_>,
    expected: &Node,
) -> Result<(), ImportError> {
    let mut operands = Vec::with_capacity(expected.operands.len());
    for &id in &expected.operands {
        let value = graph.value(id);
        operands.push(match &value.source {
            Source::Constant(numbers) => {
                import.builder.constant(&value.name, value.kind, numbers.clone())
            }
            _ => import.resolve(&value.name, at)?,
        });
    }
    let results: Vec<&str> =
        expected.results.iter().map(|&id| graph.value(id).name.as_str()).collect();
    let ids = import.builder.add(&expected.name, expected.op.clone(), &operands, &results)?;
    for (name, id) in at.node.outputs.iter().zip(ids) {
        import.set(name, id);
    }
    Ok(())
}
