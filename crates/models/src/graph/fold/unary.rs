//! Functions of each known number.

use candle_core::cpu::erf::erf_f64;

use super::{Dimension, Entries, rounded, truth};
use crate::graph::{Kind, Problem, Unary};
use crate::onnx::half::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};

/// f of each number; `None` where a batch decides.
pub(super) fn entries(unary: Unary, x: &Entries) -> Result<Option<Entries>, Problem> {
    match x {
        Entries::Floats(x) => {
            Ok(Some(Entries::Floats(x.iter().map(|&x| rounded(float(unary, x))).collect())))
        }
        Entries::Integers(x) => {
            let mut result = Vec::with_capacity(x.len());
            for &x in x {
                let Some(entry) = integer(unary, x)? else { return Ok(None) };
                result.push(entry);
            }
            Ok(Some(Entries::Integers(result)))
        }
    }
}

/// The numbers in another kind; `None` where that depends on the batch.
pub(super) fn cast(x: &Entries, to: Kind) -> Option<Entries> {
    Some(match (x, to) {
        (Entries::Floats(x), Kind::Float) => {
            Entries::Floats(x.iter().copied().map(rounded).collect())
        }
        (Entries::Floats(x), Kind::Int) => {
            Entries::Integers(x.iter().map(|&x| Dimension::known(x as i64)).collect())
        }
        (Entries::Floats(x), Kind::Bool) => {
            Entries::Integers(x.iter().map(|&x| truth(x != 0.0)).collect())
        }
        (Entries::Integers(x), Kind::Float) => {
            let float = |x: &Dimension| x.as_known().map(|n| f64::from(n as f32));
            Entries::Floats(x.iter().map(float).collect::<Option<_>>()?)
        }
        (Entries::Integers(x), Kind::Int) => Entries::Integers(x.clone()),
        (Entries::Integers(x), Kind::Bool) => {
            let zero = Dimension::known(0);
            let is_true = |&x: &Dimension| match () {
                () if x == zero => Some(truth(false)),
                () if x.is_never(zero) => Some(truth(true)),
                () => None,
            };
            Entries::Integers(x.iter().map(is_true).collect::<Option<_>>()?)
        }
    })
}

/// f of a float, in f64.
fn float(unary: Unary, x: f64) -> f64 {
    let relu = x.max(0.0);
    match unary {
        // `max` would make 0 of what is no number.
        Unary::Relu => {
            if x.is_nan() {
                x
            } else {
                relu
            }
        }
        Unary::LeakyRelu { slope } => {
            if x > 0.0 {
                x
            } else {
                f64::from(slope) * x
            }
        }
        Unary::Elu { alpha } => {
            if x > 0.0 {
                x
            } else {
                f64::from(alpha) * x.exp_m1()
            }
        }
        Unary::Selu { alpha, gamma } => {
            let (alpha, gamma) = (f64::from(alpha), f64::from(gamma));
            gamma * if x > 0.0 { x } else { alpha * x.exp_m1() }
        }
        Unary::Celu { alpha } => {
            let alpha = f64::from(alpha);
            if x > 0.0 { x } else { alpha * (x / alpha).exp_m1() }
        }
        Unary::ThresholdedRelu { alpha } => {
            if x > f64::from(alpha) {
                x
            } else {
                0.0
            }
        }
        Unary::HardSigmoid { alpha, beta } => {
            (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0)
        }
        Unary::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Unary::Sigmoid => sigmoid(x),
        Unary::Tanh => x.tanh(),
        Unary::Gelu => x * 0.5 * (1.0 + erf_f64(x * std::f64::consts::FRAC_1_SQRT_2)),
        Unary::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            x * 0.5 * (1.0 + inner.tanh())
        }
        Unary::Silu => x * sigmoid(x),
        Unary::Mish => x * softplus(x).tanh(),
        Unary::Softplus => softplus(x),
        Unary::Softsign => x / (1.0 + x.abs()),
        Unary::Clip { min, max } => {
            let above = min.map_or(x, |min| if x < f64::from(min) { f64::from(min) } else { x });
            max.map_or(above, |max| if above > f64::from(max) { f64::from(max) } else { above })
        }
        Unary::Erf => erf_f64(x),
        Unary::Exp => x.exp(),
        Unary::Log => x.ln(),
        Unary::Sqrt => x.sqrt(),
        Unary::Neg => -x,
        Unary::Reciprocal => 1.0 / x,
        Unary::Abs => x.abs(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        // `signum` of 0 is 1.
        Unary::Sign => {
            if x == 0.0 {
                0.0
            } else {
                x.signum()
            }
        }
        Unary::Not => f64::from(u8::from(x == 0.0)),
        Unary::ToF16 => f64::from(f16_to_f32(f32_to_f16(x as f32))),
        Unary::ToBf16 => f64::from(bf16_to_f32(f32_to_bf16(x as f32))),
    }
}

/// 1/(1 + e⁻ˣ)
fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// log(1 + eˣ), finite for large x.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// f of a whole number or truth value; `None` where the batch decides, or f is none of whole numbers.
fn integer(unary: Unary, x: Dimension) -> Result<Option<Dimension>, Problem> {
    let zero = Dimension::known(0);
    let is_positive =
        if x.is_at_least(zero) { Some(true) } else { zero.is_at_least(x).then_some(false) };
    let negative = || zero.checked_sub(x).ok_or(Problem::TooLarge);
    Ok(match (unary, is_positive) {
        (Unary::Neg, _) => Some(negative()?),
        (Unary::Abs | Unary::Relu, Some(true)) => Some(x),
        (Unary::Abs, Some(false)) => Some(negative()?),
        (Unary::Relu, Some(false)) => Some(zero),
        (Unary::Sign, _) => match () {
            () if x == zero => Some(zero),
            () if x.is_above(zero) => Some(Dimension::known(1)),
            () if zero.is_above(x) => Some(Dimension::known(-1)),
            () => None,
        },
        (Unary::Clip { min, max }, _) => clipped(x, min, max),
        (Unary::Not, _) => x.as_known().map(|x| truth(x == 0)),
        _ => None,
    })
}

/// A whole number not below `min` and not above `max`, where these are whole and no batch decides.
fn clipped(x: Dimension, min: Option<f32>, max: Option<f32>) -> Option<Dimension> {
    let whole = |bound: f32| {
        (bound.fract() == 0.0 && bound.abs() < 1e9).then(|| Dimension::known(bound as i64))
    };
    let mut result = x;
    if let Some(min) = min {
        let min = whole(min)?;
        result = if result.is_at_least(min) {
            result
        } else if min.is_at_least(result) {
            min
        } else {
            return None;
        };
    }
    if let Some(max) = max {
        let max = whole(max)?;
        result = if max.is_at_least(result) {
            result
        } else if result.is_at_least(max) {
            max
        } else {
            return None;
        };
    }
    Some(result)
}
