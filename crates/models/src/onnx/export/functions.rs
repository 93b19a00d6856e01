//! Functions of one number; those that the operator set lacks are spelled out.

use std::f32::consts::SQRT_2;

use super::{At, Export, ExportError, Kind};
use crate::graph::Unary;
use crate::onnx::{Attribute, DataType};

/// First operator sets with an operator.
const MISH: i64 = 18;
const GELU: i64 = 20;

pub(super) fn unary(export: &mut Export<'_>, at: &At<'_>, unary: Unary) -> Result<(), ExportError> {
    let float = |name, value| vec![(name, Attribute::Float(value))];
    let x = export.operand(at, 0);
    let attributes = match unary {
        Unary::LeakyRelu { slope } => float("alpha", slope),
        Unary::Elu { alpha } | Unary::Celu { alpha } | Unary::ThresholdedRelu { alpha } => {
            float("alpha", alpha)
        }
        Unary::Selu { alpha, gamma } => {
            vec![("alpha", Attribute::Float(alpha)), ("gamma", Attribute::Float(gamma))]
        }
        Unary::HardSigmoid { alpha, beta } => {
            vec![("alpha", Attribute::Float(alpha)), ("beta", Attribute::Float(beta))]
        }
        Unary::Gelu if export.opset < GELU => return gelu(export, at, x),
        Unary::GeluTanh if export.opset < GELU => return gelu_tanh(export, at, x),
        Unary::Gelu => vec![("approximate", Attribute::String("none".to_owned()))],
        Unary::GeluTanh => vec![("approximate", Attribute::String("tanh".to_owned()))],
        Unary::Silu => {
            let gate = export.part(at, "Sigmoid", vec![x.clone()], vec![], "gate");
            export.node(at, "Mul", vec![x, gate], vec![]);
            return Ok(());
        }
        Unary::Mish if export.opset < MISH => {
            let positive = export.part(at, "Softplus", vec![x.clone()], vec![], "positive");
            let gate = export.part(at, "Tanh", vec![positive], vec![], "gate");
            export.node(at, "Mul", vec![x, gate], vec![]);
            return Ok(());
        }
        // Runtimes have Relu for floats alone.
        Unary::Relu if export.kind(at, 0) == Kind::Int => {
            let zero = export.integers_of(&format!("{}/zero", at.result()), vec![], &[0])?;
            export.node(at, "Max", vec![x, zero], vec![]);
            return Ok(());
        }
        Unary::Clip { min, max } => return clip(export, at, x, min, max),
        Unary::ToF16 | Unary::ToBf16 => {
            let narrow = if unary == Unary::ToF16 { DataType::F16 } else { DataType::BF16 };
            let to = |of: DataType| vec![("to", Attribute::Int(of.number().into()))];
            let narrow = export.part(at, "Cast", vec![x], to(narrow), "narrow");
            export.node(at, "Cast", vec![narrow], to(export.float));
            return Ok(());
        }
        Unary::Relu
        | Unary::HardSwish
        | Unary::Sigmoid
        | Unary::Tanh
        | Unary::Mish
        | Unary::Softplus
        | Unary::Softsign
        | Unary::Erf
        | Unary::Exp
        | Unary::Log
        | Unary::Sqrt
        | Unary::Neg
        | Unary::Reciprocal
        | Unary::Abs
        | Unary::Sin
        | Unary::Cos
        | Unary::Floor
        | Unary::Ceil
        | Unary::Round
        | Unary::Sign
        | Unary::Not => vec![],
    };
    export.node(at, unary.name(), vec![x], attributes);
    Ok(())
}

/// x/2 (1 + erf(x/√2)), in the form that runtimes recognize.
fn gelu(export: &mut Export<'_>, at: &At<'_>, x: String) -> Result<(), ExportError> {
    let root = export.number(SQRT_2)?;
    let scaled = export.part(at, "Div", vec![x.clone(), root], vec![], "scaled");
    let error = export.part(at, "Erf", vec![scaled], vec![], "error");
    half_of_one_more(export, at, x, error)
}

/// x/2 (1 + tanh(√(2/π)(x + 0.044715 x³))).
fn gelu_tanh(export: &mut Export<'_>, at: &At<'_>, x: String) -> Result<(), ExportError> {
    let (cubic, factor) = (export.number(0.044_715)?, export.number(0.797_884_56)?);
    let square = export.part(at, "Mul", vec![x.clone(), x.clone()], vec![], "square");
    let cube = export.part(at, "Mul", vec![square, x.clone()], vec![], "cube");
    let scaled = export.part(at, "Mul", vec![cube, cubic], vec![], "scaled");
    let sum = export.part(at, "Add", vec![x.clone(), scaled], vec![], "sum");
    let inner = export.part(at, "Mul", vec![sum, factor], vec![], "inner");
    let bounded = export.part(at, "Tanh", vec![inner], vec![], "bounded");
    half_of_one_more(export, at, x, bounded)
}

/// x (1 + y)/2.
fn half_of_one_more(
    export: &mut Export<'_>,
    at: &At<'_>,
    x: String,
    y: String,
) -> Result<(), ExportError> {
    let (one, half) = (export.number(1.0)?, export.number(0.5)?);
    let more = export.part(at, "Add", vec![y, one], vec![], "more");
    let twice = export.part(at, "Mul", vec![x, more], vec![], "twice");
    export.node(at, "Mul", vec![twice, half], vec![]);
    Ok(())
}

/// Bounds are inputs of the kind of the operand.
fn clip(
    export: &mut Export<'_>,
    at: &At<'_>,
    x: String,
    min: Option<f32>,
    max: Option<f32>,
) -> Result<(), ExportError> {
    let is_whole = export.kind(at, 0) == Kind::Int;
    let mut bound = |bound: Option<f32>, round: fn(f32) -> f32, suffix: &str| match bound {
        None => Ok(String::new()),
        Some(bound) if is_whole => {
            let name = format!("{}/{suffix}", at.result());
            export.integers_of(&name, vec![], &[round(bound) as i64])
        }
        Some(bound) => export.number(bound),
    };
    let (min, max) = (bound(min, f32::ceil, "min")?, bound(max, f32::floor, "max")?);
    let mut inputs = vec![x, min, max];
    while inputs.last().is_some_and(String::is_empty) {
        inputs.pop();
    }
    export.node(at, "Clip", inputs, vec![]);
    Ok(())
}
