//! Activations that exporters spell out in several nodes.

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use super::steps::Walk;
use crate::graph::{Binary, Op, Unary, ValueId};

/// Constants of a file are f32.
const TOLERANCE: f64 = 1e-6;

/// Products inside products that are looked into: three factors make two.
const DEPTH: usize = 4;

/// The x of x · σ(x).
pub(super) fn silu_of(walk: &Walk<'_>, result: ValueId) -> Option<ValueId> {
    let (a, b) = operands(walk, result, Binary::Mul)?;
    let is_gate = |gate: ValueId, x: ValueId| inside(walk, gate, Unary::Sigmoid) == Some(x);
    if is_gate(b, a) {
        return Some(a);
    }
    is_gate(a, b).then_some(b)
}

/// The x of ½ x (1 + erf(x/√2)), in any order of its factors.
pub(super) fn gelu_of(walk: &Walk<'_>, result: ValueId) -> Option<ValueId> {
    let bell =
        factors(walk, result, None, DEPTH).1.into_iter().find_map(|id| cumulative(walk, id))?;
    let (factor, values) = factors(walk, result, Some(bell), DEPTH);
    let is_pair = match values[..] {
        [a, b] => {
            (a == bell && cumulative(walk, b) == Some(bell))
                || (b == bell && cumulative(walk, a) == Some(bell))
        }
        _ => false,
    };
    (is_pair && is_near(factor, 0.5)).then_some(bell)
}

/// The x of 1 + erf(x/√2).
fn cumulative(walk: &Walk<'_>, id: ValueId) -> Option<ValueId> {
    let (a, b) = operands(walk, id, Binary::Add)?;
    let bell = if walk.scalar(b) == Some(1.0) {
        a
    } else if walk.scalar(a) == Some(1.0) {
        b
    } else {
        return None;
    };
    let scaled = inside(walk, bell, Unary::Erf)?;
    if let Some((x, divisor)) = operands(walk, scaled, Binary::Div) {
        return is_near(walk.scalar(divisor)?, SQRT_2).then_some(x);
    }
    let (a, b) = operands(walk, scaled, Binary::Mul)?;
    let is_scale = |id| walk.scalar(id).is_some_and(|v| is_near(v, FRAC_1_SQRT_2));
    if is_scale(b) {
        return Some(a);
    }
    is_scale(a).then_some(b)
}

/// Known factors in one number, and the other factors; `whole` is not taken apart.
fn factors(
    walk: &Walk<'_>,
    id: ValueId,
    whole: Option<ValueId>,
    depth: usize,
) -> (f64, Vec<ValueId>) {
    if Some(id) == whole || depth == 0 {
        return (1.0, vec![id]);
    }
    if let Some(factor) = walk.scalar(id) {
        return (factor, Vec::new());
    }
    if let Some((a, b)) = operands(walk, id, Binary::Mul) {
        let (u, mut left) = factors(walk, a, whole, depth - 1);
        let (v, right) = factors(walk, b, whole, depth - 1);
        left.extend(right);
        return (u * v, left);
    }
    match operands(walk, id, Binary::Div) {
        Some((a, b)) if walk.scalar(b).is_some() => {
            let (u, left) = factors(walk, a, whole, depth - 1);
            (u / walk.scalar(b).unwrap_or(1.0), left)
        }
        _ => (1.0, vec![id]),
    }
}

fn operands(walk: &Walk<'_>, id: ValueId, of: Binary) -> Option<(ValueId, ValueId)> {
    let node = walk.source(id)?;
    match (&node.op, &node.operands[..]) {
        (Op::Binary(binary), &[a, b]) if *binary == of => Some((a, b)),
        _ => None,
    }
}

fn inside(walk: &Walk<'_>, id: ValueId, of: Unary) -> Option<ValueId> {
    let node = walk.source(id)?;
    match (&node.op, &node.operands[..]) {
        (Op::Unary(unary), &[x]) if *unary == of => Some(x),
        _ => None,
    }
}

fn is_near(a: f64, b: f64) -> bool {
    (a - b).abs() < TOLERANCE * b.abs()
}
