//! Functions of two numbers, with NumPy's broadcasting.

use candle_core::{DType, Tensor};

use super::plain::pair;
use super::power::power;
use crate::graph::{Binary, Dimension, Kind, Problem};

/// A function of two numbers.
pub(super) fn binary(of: Binary, a: &Tensor, b: &Tensor) -> Result<Tensor, Problem> {
    if of == Binary::Pow && a.dtype() != b.dtype() {
        return mixed_power(a, b);
    }
    if a.dtype() != b.dtype() {
        let [expected, found] = [a, b].map(kind_of);
        return Err(Problem::Kind { operand: 1, expected, found });
    }
    broadcast_shape(&[a.dims(), b.dims()])?;
    let y = match of {
        Binary::Equal => a.broadcast_eq(b)?,
        Binary::Greater => a.broadcast_gt(b)?,
        Binary::GreaterOrEqual => a.broadcast_ge(b)?,
        Binary::Less => a.broadcast_lt(b)?,
        Binary::LessOrEqual => a.broadcast_le(b)?,
        Binary::And | Binary::Or | Binary::Xor => truth(of, a, b)?,
        Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::Pow | Binary::Mod
            if a.dtype() == DType::I64 =>
        {
            whole(of, a, b)?
        }
        Binary::Add | Binary::Sub | Binary::Mul if a.dims() == b.dims() => match pair(of, a, b)? {
            Some(y) => y,
            None => broadcast(of, a, b)?,
        },
        Binary::Add | Binary::Sub | Binary::Mul => broadcast(of, a, b)?,
        Binary::Div => a.broadcast_div(b)?,
        Binary::Pow => power(a, b)?,
        Binary::Min => a.broadcast_minimum(b)?,
        Binary::Max => a.broadcast_maximum(b)?,
        Binary::Mod => remainder(a, b)?,
    };
    Ok(y)
}

fn broadcast(of: Binary, a: &Tensor, b: &Tensor) -> candle_core::Result<Tensor> {
    match of {
        Binary::Add => a.broadcast_add(b),
        Binary::Sub => a.broadcast_sub(b),
        _ => a.broadcast_mul(b),
    }
}

/// `yes` where the condition holds, else `no`.
pub(super) fn select(condition: &Tensor, yes: &Tensor, no: &Tensor) -> Result<Tensor, Problem> {
    let shape = broadcast_shape(&[condition.dims(), yes.dims(), no.dims()])?;
    let of = |x: &Tensor| x.broadcast_as(shape.as_slice());
    Ok(of(condition)?.where_cond(&of(yes)?, &of(no)?)?)
}

/// The shape to which these are broadcast.
pub(super) fn broadcast_shape(shapes: &[&[usize]]) -> Result<Vec<usize>, Problem> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut result = vec![1; rank];
    for shape in shapes {
        for (out, &n) in result[rank - shape.len()..].iter_mut().zip(*shape) {
            if *out == 1 {
                *out = n;
            } else if n != 1 && n != *out {
                let known = |s: &&[usize]| s.iter().map(|&n| Dimension::known(n as i64)).collect();
                let shapes = shapes.iter().map(known).collect();
                return Err(Problem::Shapes { what: "extents must be equal or 1", shapes });
            }
        }
    }
    Ok(result)
}

fn kind_of(x: &Tensor) -> Kind {
    match x.dtype() {
        DType::I64 => Kind::Int,
        DType::U8 => Kind::Bool,
        _ => Kind::Float,
    }
}

/// Functions of truth values, 0 or 1.
fn truth(of: Binary, a: &Tensor, b: &Tensor) -> Result<Tensor, Problem> {
    if a.dtype() != DType::U8 {
        return Err(Problem::Kind { operand: 0, expected: Kind::Bool, found: kind_of(a) });
    }
    Ok(match of {
        Binary::And => a.broadcast_minimum(b)?,
        Binary::Or => a.broadcast_maximum(b)?,
        _ => a.broadcast_ne(b)?,
    })
}

/// Arithmetic of whole numbers, which wraps around as in ONNX Runtime; candle's would panic beyond i64.
fn whole(of: Binary, a: &Tensor, b: &Tensor) -> Result<Tensor, Problem> {
    let shape = broadcast_shape(&[a.dims(), b.dims()])?;
    let numbers = |x: &Tensor| -> candle_core::Result<Vec<i64>> {
        x.broadcast_as(shape.as_slice())?.flatten_all()?.to_vec1::<i64>()
    };
    let (x, y) = (numbers(a)?, numbers(b)?);
    if matches!(of, Binary::Div | Binary::Mod) && y.contains(&0) {
        let expected = "a number other than 0".to_owned();
        return Err(Problem::Setting { what: "divisor", expected, found: "0".to_owned() });
    }
    let f = |x: i64, y: i64| match of {
        Binary::Add => x.wrapping_add(y),
        Binary::Sub => x.wrapping_sub(y),
        Binary::Mul => x.wrapping_mul(y),
        Binary::Div => x.wrapping_div(y),
        // With the sign of the divisor.
        Binary::Mod => x.wrapping_rem(y).wrapping_add(y).wrapping_rem(y),
        _ => whole_power(x, y),
    };
    let values = x.into_iter().zip(y).map(|(x, y)| f(x, y));
    Ok(Tensor::from_iter(values, a.device())?.reshape(shape)?)
}

/// a − b · trunc(a/b), which is exact; the gradients are 1 and −trunc(a/b).
fn remainder(a: &Tensor, b: &Tensor) -> Result<Tensor, Problem> {
    let shape = broadcast_shape(&[a.dims(), b.dims()])?;
    let numbers = |x: &Tensor| -> candle_core::Result<Vec<f64>> {
        let x = x.detach().to_dtype(DType::F64)?;
        x.broadcast_as(shape.as_slice())?.flatten_all()?.to_vec1::<f64>()
    };
    let pairs: Vec<(f64, f64)> = numbers(a)?.into_iter().zip(numbers(b)?).collect();
    let made = |f: fn(f64, f64) -> f64| -> candle_core::Result<Tensor> {
        let values = pairs.iter().map(|&(a, b)| f(a, b));
        Tensor::from_iter(values, a.device())?.reshape(shape.as_slice())?.to_dtype(a.dtype())
    };
    let rest = made(|a, b| a % b)?;
    if !a.track_op() && !b.track_op() {
        return Ok(rest);
    }
    // Zeros that carry the gradients.
    let count = made(|a, b| (a / b).trunc())?;
    let (of_a, of_b) = ((a - a.detach())?, (b - b.detach())?.broadcast_mul(&count)?);
    Ok(rest.broadcast_add(&of_a)?.broadcast_sub(&of_b)?)
}

/// A float to a whole exponent, or a whole number to a float one, which becomes whole again.
fn mixed_power(a: &Tensor, b: &Tensor) -> Result<Tensor, Problem> {
    if a.dtype().is_float() {
        return power(a, &b.to_dtype(a.dtype())?);
    }
    Ok(power(&a.to_dtype(b.dtype())?, b)?.detach().to_dtype(a.dtype())?)
}

/// xʸ, towards zero for negative y.
fn whole_power(x: i64, y: i64) -> i64 {
    match (x, y) {
        (1, _) => 1,
        (-1, _) => {
            if y % 2 == 0 {
                1
            } else {
                -1
            }
        }
        (_, ..0) => 0,
        _ => x.wrapping_pow(u32::try_from(y).unwrap_or(u32::MAX)),
    }
}
