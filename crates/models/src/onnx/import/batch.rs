//! Which axis of the inputs is the batch, and whether a batch that the file fixes is only written there.

use std::collections::HashMap;

use super::{
    FileDimension, Import, ImportError, ImportOptions, Imported, Logits, Model, Uses, ValueInfo,
};
use crate::graph::{Dimension, Graph, rules};

/// Parts of names that are hardly those of a batch.
const OTHER_AXES: [&str; 8] = ["seq", "len", "time", "token", "point", "step", "word", "frame"];

/// The inputs that are fed in and needed.
pub(super) fn read<'a>(model: &'a Model, uses: &Uses<'_>, logits: &Logits) -> Vec<&'a ValueInfo> {
    let is_initializer = |name: &str| model.initializers().iter().any(|tensor| tensor.name == name);
    let inputs = model.inputs().iter();
    let is_read = |name: &str| uses.contains(name) || name == logits.tensor;
    inputs.filter(|input| is_read(&input.name) && !is_initializer(&input.name)).collect()
}

/// What an axis is called: its name in the file, or `input:axis`.
pub(super) fn axis_name(input: &ValueInfo, axis: usize, dim: &FileDimension) -> String {
    match dim {
        FileDimension::Named(name) => name.clone(),
        FileDimension::Known(_) | FileDimension::Unknown => format!("{}:{axis}", input.name),
    }
}

/// Refuses sizes for axes that the file does not have, and first axes of several names, of which one alone is the batch.
pub(super) fn check(
    model: &Model,
    inputs: &[&ValueInfo],
    options: &ImportOptions,
) -> Result<Vec<String>, ImportError> {
    let (mut all, mut open) = (Vec::new(), Vec::new());
    for input in model.inputs() {
        for (axis, dim) in input.dims().into_iter().flatten().enumerate() {
            let name = axis_name(input, axis, dim);
            if !matches!(dim, FileDimension::Known(_)) && !open.contains(&name) {
                open.push(name.clone());
            }
            all.push(name);
        }
    }
    if let Some(name) = options.dimensions.keys().find(|name| !all.contains(name)) {
        return Err(ImportError::NoSuchDimension { name: name.clone(), open });
    }
    let mut firsts: Vec<(&str, &str)> = Vec::new();
    for input in inputs {
        if let Some(FileDimension::Named(name)) = input.dims().and_then(|dims| dims.first())
            && !options.dimensions.contains_key(name)
            && !firsts.iter().any(|(_, known)| known == name)
        {
            firsts.push((&input.name, name));
        }
    }
    match firsts[..] {
        [(input, name)] if OTHER_AXES.iter().any(|part| name.to_lowercase().contains(part)) => {
            Ok(vec![format!(
                "the first axis of input `{input}`, `{name}` in the file, is taken as the batch (--dim {name}=SIZE fixes it)"
            )])
        }
        [] | [_] => Ok(vec![]),
        _ => {
            let names = firsts.iter().map(|(_, name)| (*name).to_owned()).collect();
            Err(ImportError::SeveralBatches { names })
        }
    }
}

/// The batch that the file fixes in every input that is read, with the first of them.
pub(super) fn fixed<'a>(
    inputs: &[&'a ValueInfo],
    options: &ImportOptions,
) -> Option<(&'a str, usize)> {
    let mut found = None;
    for input in inputs {
        let Some(dim) = input.dims().and_then(|dims| dims.first()) else { continue };
        match dim {
            FileDimension::Known(n)
                if !options.dimensions.contains_key(&axis_name(input, 0, dim)) =>
            {
                match found {
                    None => found = Some((input.name.as_str(), *n)),
                    Some((_, other)) if other == *n => {}
                    Some(_) => return None,
                }
            }
            FileDimension::Known(_) | FileDimension::Named(_) | FileDimension::Unknown => {
                return None;
            }
        }
    }
    found
}

/// The shapes of all values that have no open extent.
pub(super) fn shapes(graph: &Graph) -> HashMap<String, Vec<usize>> {
    let known = |shape: &[Dimension]| -> Option<Vec<usize>> {
        shape.iter().map(|extent| usize::try_from(extent.as_known()?).ok()).collect()
    };
    let values = graph.values().iter();
    values.filter_map(|value| Some((value.name.clone(), known(&value.shape)?))).collect()
}

/// Whether a graph of any batch computes each example alone, and of n examples what `fixed`, of which n is the batch, does.
///
/// It does where all values have the same shapes for n examples: both graphs were made of the same nodes, and differ in
/// nothing but the targets of shapes.
pub(super) fn is_same(freed: &Graph, fixed: &Graph, n: usize) -> bool {
    let shapes = shapes(fixed);
    let is_kept = freed.values().iter().all(|value| {
        shapes.get(&value.name).is_none_or(|fixed| {
            let wanted = fixed.iter().map(|&extent| i64::try_from(extent).ok());
            value.shape.iter().map(|extent| extent.of_batch(n)).eq(wanted)
        })
    });
    is_kept && freed.is_by_example()
}

impl Import<'_, '_, '_> {
    /// The target of the node that makes `output` of a tensor of this shape, where its batch is to be freed: the examples stay
    /// on the first axis, all other extents are those that the file has with its own batch.
    pub(super) fn freed(&self, output: &str, shape: &[Dimension]) -> Option<Vec<Dimension>> {
        if !shape.first()?.is_per_batch() {
            return None;
        }
        let rest = self.fixed.get(output)?.iter().skip(1);
        let rest = rest.map(|&extent| i64::try_from(extent).map(Dimension::known));
        let target: Result<Vec<Dimension>, _> =
            std::iter::once(Ok(Dimension::known(-1))).chain(rest).collect();
        // Every other extent is a number, so that a 0 among them is one.
        rules::reshape_target(shape, &target.ok()?, true).ok()
    }
}

/// A network whose inputs have the batch that the file says, and what is to be said of it.
pub(super) fn said(mut read: Imported) -> Imported {
    read.notes.extend(note(&read.graph));
    read
}

fn note(graph: &Graph) -> Option<String> {
    let n = graph.fixed_batch()?;
    let how = if graph.takes_pieces(n) {
        format!("; examples are computed {n} at a time")
    } else {
        String::new()
    };
    Some(format!("the network takes batches of exactly {n}, which is built into it{how}"))
}
