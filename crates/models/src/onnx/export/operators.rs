//! Operators of a graph as nodes of a file.

use super::{At, Export, ExportError, ML, WRITTEN_OPSETS, tensor};
use super::{functions, normalization, shapes, windows};
use crate::graph::{Binary, Dimension, Entries, Graph, Kind, Norm, Numbers, Op, Reduction};
use crate::onnx::{Attribute, Node as FileNode};

/// The operator set to write: the one that was asked for, or the first that has all operators.
pub(super) fn opset(graph: &Graph, asked: Option<i64>) -> Result<i64, ExportError> {
    let mut opset = asked.unwrap_or(*WRITTEN_OPSETS.start());
    if !WRITTEN_OPSETS.contains(&opset) {
        return Err(ExportError::Opset { found: opset });
    }
    for node in graph.nodes() {
        let needed = windows::opset(&node.op);
        if needed > opset && asked.is_some() {
            let node = At { node, results: vec![] }.name();
            return Err(ExportError::OlderOpset { node, needed, found: opset });
        }
        opset = opset.max(needed);
    }
    Ok(opset)
}

/// Adds the nodes of one operator.
pub(super) fn add(export: &mut Export<'_>, at: &At<'_>) -> Result<(), ExportError> {
    let int = |value: usize| Attribute::Int(value as i64);
    let operands = export.operands(at);
    let name = at.node.op.name();
    match &at.node.op {
        Op::Gemm { alpha, beta, transpose_a, transpose_b } => {
            let attributes = vec![
                ("alpha", Attribute::Float(*alpha)),
                ("beta", Attribute::Float(*beta)),
                ("transA", int(usize::from(*transpose_a))),
                ("transB", int(usize::from(*transpose_b))),
            ];
            export.node(at, name, operands, attributes);
        }
        Op::MatMul | Op::PRelu | Op::Where | Op::Range => {
            export.node(at, name, operands, vec![]);
        }
        Op::Conv { window, groups } => windows::conv(export, at, window, *groups),
        Op::MaxPool { window } => windows::pool(export, at, window, None),
        Op::AveragePool { window, counts_padding } => {
            windows::pool(export, at, window, Some(*counts_padding));
        }
        Op::BatchNormalization { epsilon } => {
            let attributes = vec![("epsilon", Attribute::Float(*epsilon))];
            export.node(at, name, operands, attributes);
        }
        Op::LayerNormalization { axis, epsilon } => {
            let attributes = vec![("axis", int(*axis)), ("epsilon", Attribute::Float(*epsilon))];
            export.node(at, name, operands, attributes);
        }
        Op::GroupNormalization { groups, epsilon } => {
            normalization::group(export, at, *groups, *epsilon)?;
        }
        Op::Softmax { axis, to_end, .. } => normalization::softmax(export, at, *axis, *to_end)?,
        Op::Unary(unary) => functions::unary(export, at, *unary)?,
        Op::Binary(Binary::Mod) if export.kind(at, 0) == Kind::Float => {
            export.node(at, name, operands, vec![("fmod", Attribute::Int(1))]);
        }
        Op::Binary(_) => export.node(at, name, operands, vec![]),
        Op::Reduce { reduction, axes, keep } => reduce(export, at, *reduction, axes, *keep)?,
        Op::Flatten { axis } => export.node(at, name, operands, vec![("axis", int(*axis))]),
        Op::Reshape { shape } => shapes::reshape(export, at, shape)?,
        Op::Transpose { order } => {
            export.node(at, name, operands, vec![("perm", ints(order))]);
        }
        Op::Squeeze { axes } | Op::Unsqueeze { axes } => shapes::axes(export, at, axes)?,
        Op::Concat { axis } | Op::Gather { axis } => {
            export.node(at, name, operands, vec![("axis", int(*axis))]);
        }
        Op::Split { axis, sizes } => shapes::split(export, at, *axis, sizes)?,
        Op::Slice { ranges } => shapes::slice(export, at, ranges)?,
        Op::Expand { shape } => shapes::expand(export, at, shape)?,
        Op::Tile { repeats } => {
            let repeats = export.sizes(&format!("{}/repeats", at.result()), repeats)?;
            export.node(at, name, [operands, vec![repeats]].concat(), vec![]);
        }
        Op::Pad { mode, pads } => shapes::pad(export, at, *mode, pads)?,
        Op::Cast { to } => {
            let to = Attribute::Int(export.data_type(*to).number().into());
            export.node(at, name, operands, vec![("to", to)]);
        }
        Op::Shape { start, end } => {
            export.node(at, name, operands, vec![("start", int(*start)), ("end", int(*end))]);
        }
        Op::Fill { shape, value, kind } => fill(export, at, shape, *value, *kind)?,
        Op::Normalizer { norm } => {
            let norm = match norm {
                Norm::Max => "MAX",
                Norm::L1 => "L1",
                Norm::L2 => "L2",
            };
            learn(export, at, vec![("norm", Attribute::String(norm.to_owned()))]);
        }
        Op::Scaler { offset, scale } => {
            let floats = |values: &[f32]| Attribute::Floats(values.to_vec());
            learn(export, at, vec![("offset", floats(offset)), ("scale", floats(scale))]);
        }
        Op::LabelEncoder { keys, values, default, kind } => {
            let of = |kind, names: [&'static str; 2], values: &[f64]| match kind {
                Kind::Float => {
                    let values = values.iter().map(|&v| v as f32).collect();
                    (names[0], Attribute::Floats(values))
                }
                Kind::Int | Kind::Bool => {
                    let values = values.iter().map(|&v| v as i64).collect();
                    (names[1], Attribute::Ints(values))
                }
            };
            let keys = of(export.kind(at, 0), ["keys_floats", "keys_int64s"], keys);
            let values = of(*kind, ["values_floats", "values_int64s"], values);
            let default = match kind {
                Kind::Float => ("default_float", Attribute::Float(*default as f32)),
                Kind::Int | Kind::Bool => ("default_int64", Attribute::Int(*default as i64)),
            };
            learn(export, at, vec![keys, values, default]);
        }
    }
    Ok(())
}

/// A node of the domain of scikit-learn's exports.
fn learn(export: &mut Export<'_>, at: &At<'_>, attributes: Vec<(&str, Attribute)>) {
    export.uses_ml = true;
    let attributes = attributes.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let node = FileNode {
        name: export.node_names.unique(&at.name().name, "node"),
        op_type: at.node.op.name().to_owned(),
        domain: ML.0.to_owned(),
        inputs: export.operands(at),
        outputs: at.results.clone(),
        attributes,
    };
    export.nodes.push(node);
}

/// Axes are an input of sums since opset 13, of all other reductions since opset 18.
fn reduce(
    export: &mut Export<'_>,
    at: &At<'_>,
    reduction: Reduction,
    axes: &[usize],
    keep: bool,
) -> Result<(), ExportError> {
    const AXES_AS_INPUT: i64 = 18;
    let mut operands = export.operands(at);
    if axes.is_empty() {
        // Older files reduce over all axes where they name none, so each number alone is spelled out.
        match reduction {
            Reduction::L1 | Reduction::L2 => export.node(at, "Abs", operands, vec![]),
            Reduction::SumSquare => {
                let twice = [operands.clone(), operands].concat();
                export.node(at, "Mul", twice, vec![]);
            }
            Reduction::Mean
            | Reduction::Sum
            | Reduction::Max
            | Reduction::Min
            | Reduction::Prod => export.node(at, "Identity", operands, vec![]),
        }
        return Ok(());
    }
    let rank = export.shape(at, 0).len();
    let is_places = keep && (3..=4).contains(&rank) && axes.iter().copied().eq(2..rank);
    match reduction {
        Reduction::Mean if is_places => export.node(at, "GlobalAveragePool", operands, vec![]),
        Reduction::Max if is_places && export.kind(at, 0) == Kind::Float => {
            export.node(at, "GlobalMaxPool", operands, vec![]);
        }
        _ => {
            let mut attributes = vec![("keepdims", Attribute::Int(i64::from(keep)))];
            if reduction == Reduction::Sum || export.opset >= AXES_AS_INPUT {
                let axes: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
                operands.push(export.integers(&format!("{}/axes", at.result()), &axes)?);
            } else {
                attributes.push(("axes", ints(axes)));
            }
            export.node(at, reduction.name(), operands, attributes);
        }
    }
    Ok(())
}

fn fill(
    export: &mut Export<'_>,
    at: &At<'_>,
    shape: &[Dimension],
    value: f64,
    kind: Kind,
) -> Result<(), ExportError> {
    let entries = match kind {
        Kind::Float => Entries::Floats(vec![value]),
        Kind::Int | Kind::Bool => Entries::Integers(vec![Dimension::known(value as i64)]),
    };
    let value = tensor("value", export.data_type(kind), &Numbers { shape: vec![1], entries })?;
    let shape = export.sizes(&format!("{}/shape", at.result()), shape)?;
    let value = vec![("value", Attribute::Tensor(value))];
    export.node(at, "ConstantOfShape", vec![shape], value);
    Ok(())
}

pub(super) fn ints(values: &[usize]) -> Attribute {
    Attribute::Ints(values.iter().map(|&value| value as i64).collect())
}
