//! Functions of one number.

use candle_core::{DType, Result, Tensor};
use core_tensors::kernels::{
    erf, gelu, gelu_tanh, hard_sigmoid, hard_swish, sigmoid, silu, softplus, tanh,
};

use super::cast::host;
use super::plain::relu;
use crate::graph::{Kind, Problem, Unary};

/// A function of each number.
pub(super) fn unary(of: Unary, x: &Tensor) -> std::result::Result<Tensor, Problem> {
    match x.dtype() {
        DType::I64 | DType::U8 => whole(of, x),
        _ => Ok(float(of, x)?),
    }
}

fn float(of: Unary, x: &Tensor) -> Result<Tensor> {
    match of {
        Unary::Relu => relu(x),
        Unary::LeakyRelu { slope } => sides(x, x, &(x * f64::from(slope))?),
        Unary::Elu { alpha } => elu(x, (f64::from(alpha), 1.0)),
        Unary::Selu { alpha, gamma } => elu(x, (f64::from(alpha), 1.0))? * f64::from(gamma),
        Unary::Celu { alpha } => elu(x, (f64::from(alpha), f64::from(alpha))),
        Unary::ThresholdedRelu { alpha } => x.gt(f64::from(alpha))?.where_cond(x, &x.zeros_like()?),
        Unary::HardSigmoid { alpha, beta } => hard_sigmoid(x, f64::from(alpha), f64::from(beta)),
        Unary::HardSwish => hard_swish(x),
        Unary::Sigmoid => sigmoid(x),
        Unary::Tanh => tanh(x),
        Unary::Gelu => gelu(x),
        Unary::GeluTanh => gelu_tanh(x),
        Unary::Silu => silu(x),
        Unary::Mish => x * tanh(&softplus(x)?)?,
        Unary::Softplus => softplus(x),
        Unary::Softsign => x / (x.abs()? + 1.0)?,
        Unary::Clip { min, max } => clip(x, min.map(f64::from), max.map(f64::from)),
        Unary::Erf => erf(x),
        Unary::Exp => x.exp(),
        Unary::Log => x.log(),
        Unary::Sqrt => x.sqrt(),
        Unary::Neg => x.neg(),
        Unary::Reciprocal => x.recip(),
        Unary::Abs => x.abs(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Floor => x.detach().floor(),
        Unary::Ceil => x.detach().ceil(),
        Unary::Round => host(x, f64::round_ties_even)?.to_dtype(x.dtype()),
        Unary::Sign => x.detach().sign(),
        Unary::Not => x.eq(&x.zeros_like()?),
        Unary::ToF16 => x.to_dtype(DType::F16)?.to_dtype(x.dtype()),
        Unary::ToBf16 => x.to_dtype(DType::BF16)?.to_dtype(x.dtype()),
    }
}

/// Functions that whole numbers and truth values have too.
fn whole(of: Unary, x: &Tensor) -> std::result::Result<Tensor, Problem> {
    let f: &dyn Fn(i64) -> i64 = match of {
        Unary::Not => return Ok(x.eq(&x.zeros_like()?)?),
        Unary::Neg => &i64::wrapping_neg,
        Unary::Abs => &i64::wrapping_abs,
        Unary::Sign => &i64::signum,
        Unary::Relu => &|v| v.max(0),
        Unary::Clip { min, max } => &move |v| {
            // A bound between two whole numbers bounds the same whole numbers as the next one inside.
            let v = min.map_or(v, |min| v.max(min.ceil() as i64));
            max.map_or(v, |max| v.min(max.floor() as i64))
        },
        Unary::Floor | Unary::Ceil | Unary::Round => return Ok(x.clone()),
        Unary::ToF16
        | Unary::ToBf16
        | Unary::LeakyRelu { .. }
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
        | Unary::Cos => return Err(no_float(x)),
    };
    let values = x.to_dtype(DType::I64)?.flatten_all()?.to_vec1::<i64>()?;
    let y = Tensor::from_iter(values.into_iter().map(f), x.device())?;
    Ok(y.reshape(x.shape())?)
}

fn no_float(x: &Tensor) -> Problem {
    let found = if x.dtype() == DType::U8 { Kind::Bool } else { Kind::Int };
    Problem::Kind { operand: 0, expected: Kind::Float, found }
}

/// x for x > 0, else slope · x.
pub(super) fn parametric_relu(x: &Tensor, slope: &Tensor) -> std::result::Result<Tensor, Problem> {
    Ok(sides(x, x, &x.broadcast_mul(slope)?)?)
}

/// One thing where x > 0, another elsewhere.
fn sides(x: &Tensor, positive: &Tensor, other: &Tensor) -> Result<Tensor> {
    // Compared without gradients, or candle would look for one.
    x.detach().gt(0.0)?.where_cond(positive, other)
}

/// x for x > 0, else α (e^{x/scale} − 1).
fn elu(x: &Tensor, (alpha, scale): (f64, f64)) -> Result<Tensor> {
    // The exponential of a large positive number would make the gradient ∞ · 0.
    let negative = sides(x, &x.zeros_like()?, x)?;
    let curve = (((negative / scale)?.exp()? - 1.0)? * alpha)?;
    sides(x, x, &curve)
}

/// Not below `min`, then not above `max`.
fn clip(x: &Tensor, min: Option<f64>, max: Option<f64>) -> Result<Tensor> {
    let y = min.map_or(Ok(x.clone()), |min| x.maximum(min))?;
    max.map_or(Ok(y.clone()), |max| y.minimum(max))
}
