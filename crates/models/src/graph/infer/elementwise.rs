//! Shapes and kinds of functions of each number.

use super::{Inferred, check_kind, check_kinds, exactly};
use crate::graph::rules::{broadcast, fits, setting, shapes};
use crate::graph::{Binary, Kind, Problem, Unary, Value};

/// f of each number.
pub(super) fn unary(operands: &[&Value], unary: Unary) -> Result<Inferred, Problem> {
    let [x] = exactly(operands)?;
    let takes_whole_numbers = match unary {
        Unary::Relu | Unary::Clip { .. } | Unary::Neg | Unary::Abs | Unary::Sign => true,
        Unary::Not => {
            check_kinds(operands, Kind::Bool)?;
            return Ok((Kind::Bool, x.shape.clone()));
        }
        Unary::LeakyRelu { .. }
        | Unary::Elu { .. }
        | Unary::Selu { .. }
        | Unary::Celu { .. }
        | Unary::ThresholdedRelu { .. }
        | Unary::HardSigmoid { .. }
        | Unary::HardSwish
        | Unary::Sigmoid
        | Unary::Tanh
        | Unary::Gelu
        | Unary::GeluTanh
        | Unary::Silu
        | Unary::Mish
        | Unary::Softplus
        | Unary::Softsign
        | Unary::Erf
        | Unary::Exp
        | Unary::Log
        | Unary::Sqrt
        | Unary::Reciprocal
        | Unary::Sin
        | Unary::Cos
        | Unary::Floor
        | Unary::Ceil
        | Unary::Round
        | Unary::ToF16
        | Unary::ToBf16 => false,
    };
    if !(takes_whole_numbers && x.kind == Kind::Int) {
        check_kinds(operands, Kind::Float)?;
    }
    Ok((x.kind, x.shape.clone()))
}

/// x with a slope that broadcasts to it.
pub(super) fn prelu(operands: &[&Value]) -> Result<Inferred, Problem> {
    let [x, slope] = exactly(operands)?;
    check_kinds(operands, Kind::Float)?;
    if !fits(&slope.shape, &x.shape) {
        let what = "expected a slope that broadcasts to the other operand";
        return Err(shapes(what, &[&x.shape, &slope.shape]));
    }
    Ok((Kind::Float, x.shape.clone()))
}

/// f of two numbers, with broadcasting.
pub(super) fn binary(operands: &[&Value], binary: Binary) -> Result<Inferred, Problem> {
    let [a, b] = exactly(operands)?;
    let shape = broadcast(&[&a.shape, &b.shape])?;
    let kind = match binary {
        Binary::Add
        | Binary::Sub
        | Binary::Mul
        | Binary::Div
        | Binary::Min
        | Binary::Max
        | Binary::Mod => {
            check_number(operands, 0)?;
            check_kind(operands, 1, a.kind)?;
            a.kind
        }
        Binary::Pow => {
            check_number(operands, 0)?;
            check_number(operands, 1)?;
            a.kind
        }
        Binary::Equal => {
            check_kind(operands, 1, a.kind)?;
            Kind::Bool
        }
        Binary::Greater | Binary::GreaterOrEqual | Binary::Less | Binary::LessOrEqual => {
            check_number(operands, 0)?;
            check_kind(operands, 1, a.kind)?;
            Kind::Bool
        }
        Binary::And | Binary::Or | Binary::Xor => {
            check_kinds(operands, Kind::Bool)?;
            Kind::Bool
        }
    };
    Ok((kind, shape))
}

/// One of two operands, as a third says.
pub(super) fn choose(operands: &[&Value]) -> Result<Inferred, Problem> {
    let [condition, yes, no] = exactly(operands)?;
    check_kind(operands, 0, Kind::Bool)?;
    check_kind(operands, 2, yes.kind)?;
    Ok((yes.kind, broadcast(&[&condition.shape, &yes.shape, &no.shape])?))
}

/// The same shape in another kind.
pub(super) fn cast(operands: &[&Value], to: Kind) -> Result<Inferred, Problem> {
    let [x] = exactly(operands)?;
    Ok((to, x.shape.clone()))
}

/// The same shape, each number looked up.
pub(super) fn label_encoder(
    operands: &[&Value],
    keys: usize,
    values: usize,
    kind: Kind,
) -> Result<Inferred, Problem> {
    let [x] = exactly(operands)?;
    check_number(operands, 0)?;
    if keys != values {
        return Err(setting("values of a table", format!("{keys}, one a key"), values));
    }
    Ok((kind, x.shape.clone()))
}

/// Refuses truth values.
fn check_number(operands: &[&Value], operand: usize) -> Result<(), Problem> {
    match operands.get(operand) {
        Some(value) if value.kind == Kind::Bool => check_kind(operands, operand, Kind::Float),
        _ => Ok(()),
    }
}
