//! Operators that move numbers, and those of shapes.

use super::super::node::At;
use super::super::{Import, ImportError, constant, kind};
use crate::graph::{
    Binary, Dimension, Entries, Kind, Numbers, Op, PadMode, Problem, Reduction, SliceRange, Unary,
    ValueId, rules,
};
use crate::onnx::{DataType, ValueInfo, ValueType};

pub(super) const OPERATORS: &[&str] = &[
    "Flatten",
    "Reshape",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Concat",
    "Split",
    "Slice",
    "Gather",
    "Expand",
    "Tile",
    "Pad",
    "Cast",
    "CastLike",
    "Shape",
    "Size",
    "Constant",
    "ConstantOfShape",
    "Range",
];

pub(super) fn add(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<bool, ImportError> {
    match at.node.op_type.as_str() {
        "Constant" => constant(import, at)?,
        "Split" => split(import, at)?,
        "Cast" | "CastLike" => cast(import, at)?,
        "Size" => {
            let x = import.operand(at, 0)?;
            let end = import.shape(x).len();
            let shape = import.part(at, Op::Shape { start: 0, end }, &[x], "shape")?;
            let product = Op::Reduce { reduction: Reduction::Prod, axes: vec![0], keep: false };
            import.node(at, product, &[shape])?;
        }
        "ConstantOfShape" => fill(import, at)?,
        "Range" => {
            let operands = import.operands(at)?;
            import.node(at, Op::Range, &operands)?;
        }
        "Concat" => {
            let operands = import.operands(at)?;
            let rank = operands.first().map_or(0, |&x| import.shape(x).len());
            let axis = import.axis(at, at.int("axis", 0)?, rank)?;
            import.node(at, Op::Concat { axis }, &operands)?;
        }
        "Gather" => {
            let operands = import.operands(at)?;
            let rank = operands.first().map_or(0, |&x| import.shape(x).len());
            let axis = import.axis(at, at.int("axis", 0)?, rank)?;
            import.node(at, Op::Gather { axis }, &operands)?;
        }
        _ => return one_operand(import, at),
    }
    Ok(true)
}

/// Operators whose other inputs are settings.
fn one_operand(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<bool, ImportError> {
    if !OPERATORS.contains(&at.node.op_type.as_str()) {
        return Ok(false);
    }
    let x = import.operand(at, 0)?;
    let shape = import.shape(x).to_vec();
    let rank = shape.len();
    let op = match at.node.op_type.as_str() {
        "Flatten" => {
            let axis = at.int("axis", 1)?;
            // The axis behind the last one is allowed.
            let axis = if axis == rank as i64 { rank } else { import.axis(at, axis, rank)? };
            Op::Flatten { axis }
        }
        "Reshape" => {
            let target = needed(import, at, 1, "the shape")?;
            let allow_zero = at.flag("allowzero", false)?;
            let output = at.node.outputs.first().map_or("", String::as_str);
            let target = match import.freed(output, &shape) {
                Some(target) => Ok(target),
                None => rules::reshape_target(&shape, &target, allow_zero),
            };
            Op::Reshape { shape: target.map_err(|problem| at.problem(problem))? }
        }
        "Transpose" => {
            let order = match at.ints("perm")? {
                Some(order) => {
                    let axes = order.iter().map(|&axis| import.axis(at, axis, rank));
                    axes.collect::<Result<_, _>>()?
                }
                None => (0..rank).rev().collect(),
            };
            Op::Transpose { order }
        }
        "Squeeze" => {
            let is_one = |axis: &usize| shape[*axis] == Dimension::known(1);
            let axes = import.axes(at, 1, rank)?;
            Op::Squeeze { axes: axes.unwrap_or_else(|| (0..rank).filter(is_one).collect()) }
        }
        "Unsqueeze" => {
            let n = match at.ints("axes")? {
                Some(axes) => axes.len(),
                None => import.known_fixed(at, 1, "axes")?.map_or(0, |axes| axes.len()),
            };
            let axes = import.axes(at, 1, rank.saturating_add(n))?;
            Op::Unsqueeze { axes: axes.ok_or_else(|| at.left_out(1))? }
        }
        "Slice" => Op::Slice { ranges: ranges(import, at, &shape)? },
        "Expand" => Op::Expand { shape: needed(import, at, 1, "the shape")? },
        "Tile" => Op::Tile { repeats: needed(import, at, 1, "repeats")? },
        "Pad" if at.word("mode", "constant")? == "wrap" => {
            wrap(import, at, x)?;
            return Ok(true);
        }
        "Pad" => pad(import, at, rank)?,
        _ => {
            let start = clamped(at.int("start", 0)?, rank);
            let end = clamped(at.int("end", i64::MAX)?, rank);
            Op::Shape { start, end: end.max(start) }
        }
    };
    import.node(at, op, &[x])?;
    Ok(true)
}

/// Whole numbers that an input must hold when the graph is built, and that must be there.
fn needed(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    place: usize,
    what: &'static str,
) -> Result<Vec<Dimension>, ImportError> {
    import.known_integers(at, place, what)?.ok_or_else(|| at.left_out(place))
}

/// An axis from the front or the back, inside [0, rank].
fn clamped(axis: i64, rank: usize) -> usize {
    let rank = rank as i64;
    let axis = if axis < 0 { axis.saturating_add(rank) } else { axis };
    axis.clamp(0, rank) as usize
}

fn constant(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<(), ImportError> {
    let Some(result) = at.node.outputs.first() else { return Ok(()) };
    if let Some(tensor) = at.tensor("value")? {
        import.tensor(result, tensor)?;
        return Ok(());
    }
    let numbers =
        at.node.attributes.iter().find_map(|(name, value)| constant::of_attribute(name, value));
    let wrong = || at.wrong("value", "a tensor, numbers or one number", "none of these");
    let (kind, numbers) = numbers.ok_or_else(wrong)?;
    match numbers.entries {
        // Floats are weights wherever they stand.
        Entries::Floats(values) => {
            let values = values.into_iter().map(|v| v as f32).collect();
            import.floats(result, &numbers.shape, values)?;
        }
        Entries::Integers(_) => {
            import.known_tensor(result, kind, numbers);
        }
    }
    Ok(())
}

fn split(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<(), ImportError> {
    let x = import.operand(at, 0)?;
    let rank = import.shape(x).len();
    let axis = import.axis(at, at.int("axis", 0)?, rank)?;
    let names: Vec<&str> = at.node.outputs.iter().map(String::as_str).collect();
    let extent = import.shape(x)[axis];
    let sizes = match at.ints("split")? {
        Some(sizes) => Some(sizes.iter().map(|&n| Dimension::known(n)).collect()),
        None => import.known_integers(at, 1, "split")?,
    };
    let sizes = match sizes {
        Some(sizes) => sizes,
        None => equal_parts(at, extent, names.len())?,
    };
    let named: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(i, name)| match *name {
            "" => format!("{}/unused{i}", super::super::node::name(at.node)),
            name => name.to_owned(),
        })
        .collect();
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    let node = super::super::node::name(at.node);
    let ids = import.builder.add(&node, Op::Split { axis, sizes }, &[x], &named)?;
    for (name, id) in named.iter().zip(ids) {
        import.set(name, id);
    }
    Ok(())
}

/// Parts of one size, the last perhaps smaller.
fn equal_parts(at: &At<'_>, extent: Dimension, n: usize) -> Result<Vec<Dimension>, ImportError> {
    let parts = Dimension::known(n as i64);
    if let (Some(extent), Some(n_before)) = (extent.as_known(), n.checked_sub(1)) {
        let (n, n_before_last) = (n as i64, n_before as i64);
        let each = extent / n + i64::from(extent % n != 0);
        let mut sizes = vec![Dimension::known(each); n_before];
        sizes.push(Dimension::known(extent.saturating_sub(each.saturating_mul(n_before_last))));
        return Ok(sizes);
    }
    let each = extent.checked_div(parts).ok_or_else(|| at.problem(Problem::NotLinear))?;
    Ok(vec![each; n])
}

fn cast(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<(), ImportError> {
    let x = import.operand(at, 0)?;
    let data_type = match at.node.op_type.as_str() {
        "CastLike" => type_of(import, at, 1)?,
        _ => DataType::from_number(i32::try_from(at.int("to", 0)?).unwrap_or(0)),
    };
    let wrong = || at.wrong("to", "a type of numbers", format!("{data_type:?}"));
    let to = kind(data_type).ok_or_else(wrong)?;
    let from = import.builder.get(x).kind;
    match (data_type, from) {
        (DataType::F16, Kind::Float) => return import.node(at, Op::Unary(Unary::ToF16), &[x]),
        (DataType::BF16, Kind::Float) => return import.node(at, Op::Unary(Unary::ToBf16), &[x]),
        (DataType::F16 | DataType::BF16, _) => {
            let whole = import.part(at, Op::Cast { to }, &[x], "float")?;
            let narrow = if data_type == DataType::F16 { Unary::ToF16 } else { Unary::ToBf16 };
            return import.node(at, Op::Unary(narrow), &[whole]);
        }
        (DataType::I8, Kind::Int) => return wrapped(import, at, x, 8, true),
        (DataType::I16, Kind::Int) => return wrapped(import, at, x, 16, true),
        (DataType::U8, Kind::Int) => return wrapped(import, at, x, 8, false),
        (DataType::U16, Kind::Int) => return wrapped(import, at, x, 16, false),
        _ => {}
    }
    // All floats are computed in one type, and all whole numbers in another.
    if import.builder.get(x).kind == to && to != Kind::Bool {
        return import.alias(at);
    }
    import.node(at, Op::Cast { to }, &[x])
}

/// Whole numbers of so many bits: the lowest ones of x.
fn wrapped(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    x: ValueId,
    bits: u32,
    is_signed: bool,
) -> Result<(), ImportError> {
    let number = |import: &mut Import<'_, '_, '_>, n: i64| {
        let entries = Entries::Integers(vec![Dimension::known(n)]);
        import.own_constant(at, "bits", Kind::Int, Numbers { shape: vec![], entries })
    };
    let whole = number(import, 1 << bits);
    if !is_signed {
        return import.node(at, Op::Binary(Binary::Mod), &[x, whole]);
    }
    let half = number(import, 1 << (bits - 1));
    let moved = import.part(at, Op::Binary(Binary::Add), &[x, half], "moved")?;
    let rest = import.part(at, Op::Binary(Binary::Mod), &[moved, whole], "rest")?;
    import.node(at, Op::Binary(Binary::Sub), &[rest, half])
}

/// The data type of an input: that of an initializer, an input or a constant of the file, else the widest of its kind.
fn type_of(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    place: usize,
) -> Result<DataType, ImportError> {
    let id = import.operand(at, place)?;
    let name = at.input(place).unwrap_or_default();
    if let Some(tensor) = import.uses.tensor(name) {
        return Ok(tensor.data_type);
    }
    let declared = |info: &&ValueInfo| match info.value_type {
        ValueType::Tensor { data_type, .. } if info.name == name => Some(data_type),
        _ => None,
    };
    if let Some(data_type) = import.model.inputs().iter().find_map(|info| declared(&info)) {
        return Ok(data_type);
    }
    let is_half = |data_type: DataType| matches!(data_type, DataType::F16 | DataType::BF16);
    let is_half_input = |info: &ValueInfo| match info.value_type {
        ValueType::Tensor { data_type, .. } => is_half(data_type),
        _ => false,
    };
    let has_half = import.model.initializers().iter().any(|tensor| is_half(tensor.data_type))
        || import.model.inputs().iter().any(is_half_input);
    Ok(match import.builder.get(id).kind {
        Kind::Float if has_half => {
            let expected = "an initializer, a constant or an input, beside numbers of 16 bits";
            return Err(at.wrong("target_type", expected, "a result of another node"));
        }
        Kind::Float => DataType::F32,
        Kind::Int => DataType::I64,
        Kind::Bool => DataType::Bool,
    })
}

fn fill(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<(), ImportError> {
    let shape = needed(import, at, 0, "the shape")?;
    let (kind, value) = match at.tensor("value")? {
        None => (Kind::Float, 0.0),
        Some(tensor) => {
            let value = constant::of_tensor(import.model, tensor);
            let wrong = || at.wrong("value", "one number", format!("{:?}", tensor.dims));
            (kind(tensor.data_type).unwrap_or(Kind::Float), value.ok_or_else(wrong)?)
        }
    };
    import.node(at, Op::Fill { shape, value, kind }, &[])
}

fn ranges(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    shape: &[Dimension],
) -> Result<Vec<SliceRange>, ImportError> {
    let starts = needed(import, at, 1, "starts")?;
    let ends = needed(import, at, 2, "ends")?;
    let axes = match import.known_fixed(at, 3, "axes")? {
        Some(axes) => axes
            .into_iter()
            .map(|axis| import.axis(at, axis, shape.len()))
            .collect::<Result<Vec<usize>, _>>()?,
        None => (0..starts.len().min(shape.len())).collect(),
    };
    let steps = import.known_fixed(at, 4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        let found = format!("{}, {}, {} and {}", starts.len(), ends.len(), axes.len(), steps.len());
        return Err(at.wrong("starts, ends, axes and steps", "as many of each", found));
    }
    let all = axes.iter().zip(starts.iter().zip(&ends)).zip(&steps);
    all.map(|((&axis, (&start, &end)), &step)| {
        rules::slice_range(axis, shape[axis], start, end, step)
            .map_err(|problem| at.problem(problem))
    })
    .collect()
}

/// Entries from the other end of each axis, at both of its ends.
fn wrap(import: &mut Import<'_, '_, '_>, at: &At<'_>, x: ValueId) -> Result<(), ImportError> {
    let rank = import.shape(x).len();
    let pads = pads(import, at, rank)?;
    let mut so_far = x;
    for (axis, (before, behind)) in pads.into_iter().enumerate().filter(|(_, pads)| *pads != (0, 0))
    {
        let extent = import.shape(so_far)[axis];
        let known =
            extent.as_known().filter(|&n| (0..=n).contains(&before) && (0..=n).contains(&behind));
        let wrong = || {
            let expected = "with mode wrap, numbers from 0 to the extent of a fixed axis";
            at.wrong("pads", expected, format!("{before} and {behind} for an extent of {extent}"))
        };
        let last = known.ok_or_else(wrong)? - before;
        let part = |start: i64, len: i64| Op::Slice {
            ranges: vec![SliceRange {
                axis,
                start: Dimension::known(start),
                step: 1,
                len: Dimension::known(len),
            }],
        };
        let front = import.part(at, part(last, before), &[so_far], &format!("front{axis}"))?;
        let back = import.part(at, part(0, behind), &[so_far], &format!("back{axis}"))?;
        let parts = [front, so_far, back];
        so_far = import.part(at, Op::Concat { axis }, &parts, &format!("whole{axis}"))?;
    }
    let shape = import.shape(so_far).to_vec();
    import.node(at, Op::Reshape { shape }, &[so_far])
}

fn pad(import: &mut Import<'_, '_, '_>, at: &At<'_>, rank: usize) -> Result<Op, ImportError> {
    let pads = pads(import, at, rank)?;
    let mode = match at.word("mode", "constant")? {
        "constant" => {
            PadMode::Constant(import.known_number(at, 2, "constant_value")?.unwrap_or(0.0))
        }
        "reflect" => PadMode::Reflect,
        "edge" => PadMode::Edge,
        word => return Err(at.wrong("mode", "constant, reflect, edge or wrap", word)),
    };
    Ok(Op::Pad { mode, pads })
}

/// Entries before and behind, one pair an axis.
fn pads(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    rank: usize,
) -> Result<Vec<(i64, i64)>, ImportError> {
    let values = import.known_fixed(at, 1, "pads")?.ok_or_else(|| at.left_out(1))?;
    let axes = match import.known_fixed(at, 3, "axes")? {
        Some(axes) => axes
            .into_iter()
            .map(|axis| import.axis(at, axis, rank))
            .collect::<Result<Vec<usize>, _>>()?,
        None => (0..rank).collect(),
    };
    if values.len() != 2 * axes.len() {
        return Err(at.wrong("pads", "two numbers an axis", format!("{values:?}")));
    }
    let mut pads = vec![(0, 0); rank];
    let (before, behind) = values.split_at(axes.len());
    for (&axis, (&before, &behind)) in axes.iter().zip(before.iter().zip(behind)) {
        pads[axis] = (before, behind);
    }
    Ok(pads)
}
