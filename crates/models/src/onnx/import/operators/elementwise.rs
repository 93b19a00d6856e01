//! Functions of each number alone, and of two.

use super::super::node::At;
use super::super::{Import, ImportError};
use crate::graph::{Binary, Dimension, Entries, Kind, Numbers, Op, Unary, ValueId};

pub(super) const OPERATORS: &[&str] = &[
    "Relu",
    "LeakyRelu",
    "PRelu",
    "Elu",
    "Selu",
    "Celu",
    "ThresholdedRelu",
    "HardSigmoid",
    "HardSwish",
    "Sigmoid",
    "Tanh",
    "Gelu",
    "Swish",
    "Mish",
    "Softplus",
    "Softsign",
    "Clip",
    "Erf",
    "Exp",
    "Log",
    "Sqrt",
    "Neg",
    "Reciprocal",
    "Abs",
    "Sin",
    "Cos",
    "Floor",
    "Ceil",
    "Round",
    "Sign",
    "Not",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Min",
    "Max",
    "Sum",
    "Mean",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "And",
    "Or",
    "Xor",
    "Mod",
    "Where",
    "Dropout",
    "Identity",
];

pub(super) fn add(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<bool, ImportError> {
    let name = at.node.op_type.as_str();
    if name == "Clip" && whole_clip(import, at)? {
        return Ok(true);
    }
    if let Some(unary) = unary(import, at, name)? {
        let x = import.operand(at, 0)?;
        import.node(at, Op::Unary(unary), &[x])?;
        return Ok(true);
    }
    if let Some(binary) = binary(name) {
        let operands = import.operands(at)?;
        import.node(at, Op::Binary(binary), &operands)?;
        return Ok(true);
    }
    match name {
        "PRelu" | "Where" => {
            let operands = import.operands(at)?;
            let op = if name == "PRelu" { Op::PRelu } else { Op::Where };
            import.node(at, op, &operands)?;
        }
        "Mod" => {
            let operands = import.operands(at)?;
            // ONNX wants the sign of the first operand for floats, and leaves the choice for whole numbers.
            let is_float = operands.iter().all(|&id| import.builder.get(id).kind == Kind::Float);
            if at.flag("fmod", false)? != is_float {
                let found = i64::from(!is_float).to_string();
                return Err(at.wrong("fmod", "1 for floats, 0 for whole numbers", found));
            }
            import.node(at, Op::Binary(Binary::Mod), &operands)?;
        }
        "Min" | "Max" | "Sum" | "Mean" => many(import, at, name)?,
        "Swish" => swish(import, at)?,
        "Dropout" => {
            if at.n_inputs() > 2 && import.known_number(at, 2, "training_mode")? != Some(0.0) {
                return Err(at.wrong("training_mode", "0: export the network in eval mode", "1"));
            }
            import.alias(at)?;
        }
        "Identity" => import.alias(at)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn unary(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    name: &str,
) -> Result<Option<Unary>, ImportError> {
    Ok(Some(match name {
        "Relu" => Unary::Relu,
        "LeakyRelu" => Unary::LeakyRelu { slope: at.float("alpha", 0.01)? },
        "Elu" => Unary::Elu { alpha: at.float("alpha", 1.0)? },
        "Selu" => Unary::Selu {
            alpha: at.float("alpha", 1.673_263_2)?,
            gamma: at.float("gamma", 1.050_701)?,
        },
        "Celu" => Unary::Celu { alpha: at.float("alpha", 1.0)? },
        "ThresholdedRelu" => Unary::ThresholdedRelu { alpha: at.float("alpha", 1.0)? },
        "HardSigmoid" => {
            Unary::HardSigmoid { alpha: at.float("alpha", 0.2)?, beta: at.float("beta", 0.5)? }
        }
        "HardSwish" => Unary::HardSwish,
        "Sigmoid" => Unary::Sigmoid,
        "Tanh" => Unary::Tanh,
        "Gelu" => match at.word("approximate", "none")? {
            "none" => Unary::Gelu,
            "tanh" => Unary::GeluTanh,
            word => return Err(at.wrong("approximate", "none or tanh", word)),
        },
        "Mish" => Unary::Mish,
        "Softplus" => Unary::Softplus,
        "Softsign" => Unary::Softsign,
        "Clip" => {
            let min = import.known_number(at, 1, "min")?;
            let max = import.known_number(at, 2, "max")?;
            Unary::Clip { min: min.map(|v| v as f32), max: max.map(|v| v as f32) }
        }
        "Erf" => Unary::Erf,
        "Exp" => Unary::Exp,
        "Log" => Unary::Log,
        "Sqrt" => Unary::Sqrt,
        "Neg" => Unary::Neg,
        "Reciprocal" => Unary::Reciprocal,
        "Abs" => Unary::Abs,
        "Sin" => Unary::Sin,
        "Cos" => Unary::Cos,
        "Floor" => Unary::Floor,
        "Ceil" => Unary::Ceil,
        "Round" => Unary::Round,
        "Sign" => Unary::Sign,
        "Not" => Unary::Not,
        _ => return Ok(None),
    }))
}

fn binary(name: &str) -> Option<Binary> {
    Some(match name {
        "Add" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "Div" => Binary::Div,
        "Pow" => Binary::Pow,
        "Equal" => Binary::Equal,
        "Greater" => Binary::Greater,
        "GreaterOrEqual" => Binary::GreaterOrEqual,
        "Less" => Binary::Less,
        "LessOrEqual" => Binary::LessOrEqual,
        "And" => Binary::And,
        "Or" => Binary::Or,
        "Xor" => Binary::Xor,
        _ => return None,
    })
}

/// Operators of any number of operands, in pairs.
fn many(import: &mut Import<'_, '_, '_>, at: &At<'_>, name: &str) -> Result<(), ImportError> {
    let operands = import.operands(at)?;
    let binary = match name {
        "Min" => Binary::Min,
        "Max" => Binary::Max,
        _ => Binary::Add,
    };
    let Some((&first, rest)) = operands.split_first() else {
        return Err(at.problem(crate::graph::Problem::Operands { expected: "1 or more", found: 0 }));
    };
    let divisor = (name == "Mean" && !rest.is_empty()).then_some(operands.len());
    let Some((&last, middle)) = rest.split_last() else { return import.alias(at) };
    let mut so_far = first;
    for (i, &operand) in middle.iter().enumerate() {
        so_far = import.part(at, Op::Binary(binary), &[so_far, operand], &format!("part{i}"))?;
    }
    let Some(n) = divisor else { return import.node(at, Op::Binary(binary), &[so_far, last]) };
    let sum = import.part(at, Op::Binary(binary), &[so_far, last], "sum")?;
    let n = one_number(import, at, n as f64, "n");
    import.node(at, Op::Binary(Binary::Div), &[sum, n])
}

/// The bounds of a Clip of whole numbers, where floats do not hold them: as the larger and the smaller of two numbers.
fn whole_clip(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<bool, ImportError> {
    /// Floats of 24 bits hold all whole numbers up to here.
    const EXACT: i64 = 1 << 24;
    let x = import.operand(at, 0)?;
    if import.builder.get(x).kind != Kind::Int {
        return Ok(false);
    }
    // Some exporters leave float bounds at whole numbers.
    let whole = |numbers: Option<Numbers>| match numbers?.entries {
        Entries::Integers(values) => values.first()?.as_known(),
        Entries::Floats(_) => None,
    };
    let bounds = [whole(import.known(at, 1, "min")?), whole(import.known(at, 2, "max")?)];
    if bounds.iter().flatten().all(|n| (-EXACT..=EXACT).contains(n)) {
        return Ok(false);
    }
    let mut known = |n: i64, suffix: &str| {
        let entries = Entries::Integers(vec![Dimension::known(n)]);
        import.own_constant(at, suffix, Kind::Int, Numbers { shape: vec![], entries })
    };
    let bounds = [bounds[0].map(|n| known(n, "least")), bounds[1].map(|n| known(n, "most"))];
    match bounds {
        [Some(least), Some(most)] => {
            let x = import.part(at, Op::Binary(Binary::Max), &[x, least], "raised")?;
            import.node(at, Op::Binary(Binary::Min), &[x, most])?;
        }
        [Some(least), None] => import.node(at, Op::Binary(Binary::Max), &[x, least])?,
        [None, Some(most)] => import.node(at, Op::Binary(Binary::Min), &[x, most])?,
        [None, None] => return Ok(false),
    }
    Ok(true)
}

/// x · σ(α x).
fn swish(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<(), ImportError> {
    let alpha = at.float("alpha", 1.0)?;
    let x = import.operand(at, 0)?;
    if alpha == 1.0 {
        return import.node(at, Op::Unary(Unary::Silu), &[x]);
    }
    let factor = one_number(import, at, f64::from(alpha), "alpha");
    let inner = import.part(at, Op::Binary(Binary::Mul), &[x, factor], "scaled")?;
    let gate = import.part(at, Op::Unary(Unary::Sigmoid), &[inner], "gate")?;
    import.node(at, Op::Binary(Binary::Mul), &[x, gate])
}

/// A scalar that the file does not have.
fn one_number(import: &mut Import<'_, '_, '_>, at: &At<'_>, value: f64, suffix: &str) -> ValueId {
    let numbers = Numbers { shape: vec![], entries: Entries::Floats(vec![value]) };
    import.own_constant(at, suffix, Kind::Float, numbers)
}
