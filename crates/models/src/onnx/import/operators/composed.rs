//! Operators that are read as several simpler ones: sums over named axes, triangles, pixels into channels and back.

use std::collections::BTreeSet;

use super::super::node::At;
use super::super::{Import, ImportError};
use super::attention;
use crate::graph::{Dimension, Entries, Kind, Numbers, Op, Problem, Reduction, ValueId, rules};

pub(super) const OPERATORS: &[&str] = &["Einsum", "Trilu", "DepthToSpace", "SpaceToDepth"];

pub(super) fn add(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<bool, ImportError> {
    match at.node.op_type.as_str() {
        "Trilu" => triangle(import, at)?,
        "Einsum" => einsum(import, at)?,
        "DepthToSpace" => to_space(import, at)?,
        "SpaceToDepth" => to_depth(import, at)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// The entries on and below (or above) a diagonal of the last two axes, zeros elsewhere.
fn triangle(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<(), ImportError> {
    let x = import.operand(at, 0)?;
    let diagonal = import.known_fixed(at, 1, "k")?.and_then(|k| k.first().copied()).unwrap_or(0);
    let is_upper = at.flag("upper", true)?;
    let shape = import.shape(x);
    let extents = shape.len().checked_sub(2).map(|axis| [shape[axis], shape[axis + 1]]);
    let Some([Some(n_rows), Some(n_columns)]) = extents.map(|of| of.map(Dimension::as_known))
    else {
        return Err(at.wrong("input", "a matrix of a fixed size in its last two axes", "another"));
    };
    let mask = attention::triangle(import, at, [n_rows, n_columns], diagonal, is_upper)?;
    let kind = import.builder.get(x).kind;
    let entries = match kind {
        Kind::Float => Entries::Floats(vec![0.0]),
        Kind::Int | Kind::Bool => Entries::Integers(vec![Dimension::known(0)]),
    };
    let zero = import.own_constant(at, "zero", kind, Numbers { shape: vec![], entries });
    import.node(at, Op::Where, &[mask, x, zero])
}

/// A sum of products over named axes, such as `bihd,bjhd->bhij`: one or two operands, each name once in an operand. Dots
/// stand for axes that the operands share from the right; an axis of extent 1 fits any other of its name.
fn einsum(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<(), ImportError> {
    let equation: String =
        at.word("equation", "")?.chars().filter(|c| !c.is_whitespace()).collect();
    let wrong = || {
        at.wrong(
            "equation",
            "one or two operands, each name once in each, dots on both sides or none",
            equation.as_str(),
        )
    };
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, right.chars().collect::<Vec<_>>()),
        None => {
            // Without a right side: the names that occur once, in the order of the alphabet.
            let mut names: Vec<char> =
                equation.chars().filter(|&c| !matches!(c, ',' | '.')).collect();
            names.sort_unstable();
            let once = |c: &char| equation.matches(*c).count() == 1;
            let dots = if equation.contains('.') { "..." } else { "" };
            (equation.as_str(), dots.chars().chain(names.into_iter().filter(once)).collect())
        }
    };
    let operands = import.operands(at)?;
    let ranks: Vec<usize> = operands.iter().map(|&id| import.shape(id).len()).collect();
    let (names, right) = without_dots(left, right, &ranks).ok_or_else(wrong)?;
    let mut parts: Vec<(ValueId, Vec<char>)> = operands.into_iter().zip(names).collect();
    fit_extents(import, at, &mut parts, &equation)?;
    // What one operand alone has and nobody asks for is summed at once.
    for i in 0..parts.len() {
        let others: BTreeSet<char> = parts
            .iter()
            .enumerate()
            .filter(|(k, _)| *k != i)
            .flat_map(|(_, (_, names))| names.iter().copied())
            .chain(right.iter().copied())
            .collect();
        let (id, names) = parts[i].clone();
        let axes: Vec<usize> = (0..names.len()).filter(|&a| !others.contains(&names[a])).collect();
        if !axes.is_empty() {
            let sum = Op::Reduce { reduction: Reduction::Sum, axes, keep: false };
            let id = import.part(at, sum, &[id], &format!("sum{i}"))?;
            parts[i] = (id, names.into_iter().filter(|name| others.contains(name)).collect());
        }
    }
    let (id, names) = match &parts[..] {
        [one] => one.clone(),
        [a, b] => product(import, at, a, b, &right)?,
        _ => return Err(wrong()),
    };
    let order: Option<Vec<usize>> =
        right.iter().map(|name| names.iter().position(|other| other == name)).collect();
    let order = order.filter(|order| order.len() == names.len()).ok_or_else(wrong)?;
    import.node(at, Op::Transpose { order }, &[id])
}

/// The names of each operand's axes and of the result's, those behind dots as digits; none where they do not fit.
fn without_dots(
    left: &str,
    right: Vec<char>,
    ranks: &[usize],
) -> Option<(Vec<Vec<char>>, Vec<char>)> {
    const DOTS: &str = "...";
    let parts: Vec<&str> = left.split(',').collect();
    let n_behind = |part: &str, rank: usize| {
        let n_dots = if part.contains(DOTS) { DOTS.len() } else { 0 };
        rank.checked_sub(part.len().checked_sub(n_dots)?)
    };
    if parts.len() != ranks.len() || parts.len() > 2 {
        return None;
    }
    let counts: Vec<usize> =
        parts.iter().zip(ranks).map(|(part, &rank)| n_behind(part, rank)).collect::<Option<_>>()?;
    let most = counts.iter().copied().max().filter(|&most| most < 10)?;
    let digits = |n: usize| ('0'..='9').take(most).skip(most - n).collect::<String>();
    let mut names: Vec<Vec<char>> = Vec::new();
    for (part, &n) in parts.iter().zip(&counts) {
        if part.contains(|c: char| c.is_ascii_digit()) || (n > 0 && !part.contains(DOTS)) {
            return None;
        }
        names.push(part.replacen(DOTS, &digits(n), 1).chars().collect());
    }
    let right: String = right.into_iter().collect();
    if right.contains(|c: char| c.is_ascii_digit()) || right.contains(DOTS) != left.contains(DOTS) {
        return None;
    }
    let right: Vec<char> = right.replacen(DOTS, &digits(most), 1).chars().collect();
    let is_plain = |names: &Vec<char>| {
        let set: BTreeSet<&char> = names.iter().collect();
        set.len() == names.len() && names.iter().all(char::is_ascii_alphanumeric)
    };
    let is_plain = names.iter().chain([&right]).all(is_plain);
    is_plain.then_some((names, right))
}

/// Drops axes of extent 1 where the other operand has more of that name; refuses other extents that differ.
fn fit_extents(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    parts: &mut [(ValueId, Vec<char>)],
    equation: &str,
) -> Result<(), ImportError> {
    let [(a, a_names), (b, b_names)] = parts else { return Ok(()) };
    let (shapes, one) = ([*a, *b].map(|id| import.shape(id).to_vec()), Dimension::known(1));
    let mut dropped = [Vec::new(), Vec::new()];
    for (i, name) in a_names.iter().enumerate() {
        let Some(k) = b_names.iter().position(|other| other == name) else { continue };
        let (left, right) = (shapes[0][i], shapes[1][k]);
        match (left == right, left == one, right == one) {
            (true, ..) => {}
            (_, true, _) => dropped[0].push(i),
            (_, _, true) => dropped[1].push(k),
            _ => {
                let found = format!("`{name}` of extents {left} and {right} in {equation}");
                return Err(at.wrong("equation", "one extent for each name", found));
            }
        }
    }
    for ((id, names), (mut axes, side)) in
        [(a, a_names), (b, b_names)].into_iter().zip(dropped.into_iter().zip(["left1", "right1"]))
    {
        if axes.is_empty() {
            continue;
        }
        axes.sort_unstable();
        *id = import.part(at, Op::Squeeze { axes: axes.clone() }, &[*id], side)?;
        let mut place = 0..;
        names.retain(|_| place.next().is_none_or(|place| !axes.contains(&place)));
    }
    Ok(())
}

/// The product of two operands with named axes, as one matrix product: batch axes, then rows, then columns.
fn product(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    (a, a_names): &(ValueId, Vec<char>),
    (b, b_names): &(ValueId, Vec<char>),
    right: &[char],
) -> Result<(ValueId, Vec<char>), ImportError> {
    let select = |names: &[char], keep: &dyn Fn(&char) -> bool| -> Vec<char> {
        names.iter().copied().filter(|name| keep(name)).collect()
    };
    let batch = select(a_names, &|name| b_names.contains(name) && right.contains(name));
    let summed = select(a_names, &|name| b_names.contains(name) && !right.contains(name));
    let rows = select(a_names, &|name| !b_names.contains(name));
    let columns = select(b_names, &|name| !a_names.contains(name));
    let extents = |import: &Import<'_, '_, '_>, id: ValueId, all: &[char], some: &[char]| {
        let shape = import.shape(id);
        let of = |name: &char| all.iter().position(|other| other == name).map(|axis| shape[axis]);
        some.iter().filter_map(of).collect::<Vec<Dimension>>()
    };
    let batch_extents = extents(import, *a, a_names, &batch);
    let row_extents = extents(import, *a, a_names, &rows);
    let sum_extents = extents(import, *a, a_names, &summed);
    let column_extents = extents(import, *b, b_names, &columns);
    let one = |extents: &[Dimension]| {
        let all = extents.iter().try_fold(Dimension::known(1), |n, &d| rules::product(n, d));
        all.map_err(|problem| at.problem(problem))
    };
    let (n_rows, n_summed, n_columns) =
        (one(&row_extents)?, one(&sum_extents)?, one(&column_extents)?);
    let factor = |import: &mut Import<'_, '_, '_>,
                  id,
                  names: &[char],
                  groups: [&[char]; 2],
                  ends: [Dimension; 2],
                  suffix: &str| {
        let wanted = batch.iter().chain(groups[0]).chain(groups[1]);
        let order =
            wanted.filter_map(|name| names.iter().position(|other| other == name)).collect();
        let turned =
            import.part(at, Op::Transpose { order }, &[id], &format!("{suffix}/turned"))?;
        let shape = batch_extents.iter().copied().chain(ends).collect();
        import.part(at, Op::Reshape { shape }, &[turned], suffix)
    };
    let left = factor(import, *a, a_names, [&rows, &summed], [n_rows, n_summed], "left")?;
    let other = factor(import, *b, b_names, [&summed, &columns], [n_summed, n_columns], "right")?;
    let product = import.part(at, Op::MatMul, &[left, other], "product")?;
    let shape = batch_extents.iter().chain(&row_extents).chain(&column_extents).copied().collect();
    let whole = import.part(at, Op::Reshape { shape }, &[product], "whole")?;
    Ok((whole, [batch, rows, columns].concat()))
}

/// (N, b² c, h, w) → (N, c, b h, b w).
fn to_space(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<(), ImportError> {
    let (x, [n, c, h, w], b) = image(import, at)?;
    let fewer =
        c.checked_div(Dimension::known(b * b)).ok_or_else(|| at.problem(Problem::NotLinear))?;
    let block = Dimension::known(b);
    let (parts, order) = match at.word("mode", "DCR")? {
        "DCR" => (vec![n, block, block, fewer, h, w], vec![0, 3, 4, 1, 5, 2]),
        "CRD" => (vec![n, fewer, block, block, h, w], vec![0, 1, 4, 2, 5, 3]),
        word => return Err(at.wrong("mode", "DCR or CRD", word)),
    };
    let parts = import.part(at, Op::Reshape { shape: parts }, &[x], "parts")?;
    let turned = import.part(at, Op::Transpose { order }, &[parts], "turned")?;
    let times =
        |extent: Dimension| rules::product(extent, block).map_err(|problem| at.problem(problem));
    import.node(at, Op::Reshape { shape: vec![n, fewer, times(h)?, times(w)?] }, &[turned])
}

/// (N, c, b h, b w) → (N, b² c, h, w).
fn to_depth(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<(), ImportError> {
    let (x, [n, c, h, w], b) = image(import, at)?;
    let block = Dimension::known(b);
    let part =
        |extent: Dimension| extent.checked_div(block).ok_or_else(|| at.problem(Problem::NotLinear));
    let (h, w) = (part(h)?, part(w)?);
    let parts = Op::Reshape { shape: vec![n, c, h, block, w, block] };
    let parts = import.part(at, parts, &[x], "parts")?;
    let order = match at.word("mode", "DCR")? {
        "DCR" => vec![0, 3, 5, 1, 2, 4],
        "CRD" => vec![0, 1, 3, 5, 2, 4],
        word => return Err(at.wrong("mode", "DCR or CRD", word)),
    };
    let turned = Op::Transpose { order };
    let turned = import.part(at, turned, &[parts], "turned")?;
    let more = rules::product(c, Dimension::known(b * b)).map_err(|problem| at.problem(problem))?;
    import.node(at, Op::Reshape { shape: vec![n, more, h, w] }, &[turned])
}

/// The operand of four axes, and the side of a block.
fn image(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
) -> Result<(ValueId, [Dimension; 4], i64), ImportError> {
    /// A larger block would have more places than an image.
    const MOST: i64 = 1 << 15;
    let block = at.int("blocksize", 0)?;
    if !(1..=MOST).contains(&block) {
        return Err(at.wrong("blocksize", "a number from 1", block.to_string()));
    }
    let x = import.operand(at, 0)?;
    let shape = import.shape(x).to_vec();
    match <[Dimension; 4]>::try_from(shape) {
        Ok(shape) => Ok((x, shape, block)),
        Err(shape) => {
            Err(at.problem(Problem::Shapes { what: "expected four axes", shapes: vec![shape] }))
        }
    }
}
