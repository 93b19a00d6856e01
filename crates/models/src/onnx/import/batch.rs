//! Which axis of the inputs is the batch, and whether a batch that the file fixes is only written there.

use super::{FileDimension, ImportError, ImportOptions, Imported, Logits, Model, Uses, ValueInfo};
use crate::graph::Graph;

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
