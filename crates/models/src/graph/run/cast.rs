//! Kinds of numbers, tensors made of nothing, tables.

use std::collections::HashMap;

use candle_core::{DType, Tensor};

use super::apply::{Context, check_size};
use crate::graph::{Entries, Kind, Numbers, Problem};

/// The type in which a kind of number is computed.
pub(super) fn dtype(kind: Kind, context: &Context) -> DType {
    match kind {
        Kind::Float => context.dtype,
        Kind::Int => DType::I64,
        Kind::Bool => DType::U8,
    }
}

/// Another kind of number; floats become whole towards zero, and true where they are not zero.
pub(super) fn cast(x: &Tensor, to: Kind, context: &Context) -> Result<Tensor, Problem> {
    match to {
        Kind::Bool if x.dtype() != DType::U8 => Ok(x.ne(&x.zeros_like()?)?),
        Kind::Float | Kind::Int | Kind::Bool => Ok(x.to_dtype(dtype(to, context))?),
    }
}

/// The extents of the axes from `start` to before `end`.
pub(super) fn shape(x: &Tensor, start: usize, end: usize) -> Result<Tensor, Problem> {
    let end = end.min(x.rank());
    let extents: Vec<i64> = x.dims()[start.min(end)..end].iter().map(|&n| n as i64).collect();
    Ok(Tensor::from_vec(extents.clone(), extents.len(), x.device())?)
}

/// One number everywhere.
pub(super) fn full(
    value: f64,
    kind: Kind,
    shape: &[usize],
    context: &Context,
) -> Result<Tensor, Problem> {
    let one = Tensor::full(value, (), &context.device)?;
    Ok(cast(&one, kind, context)?.broadcast_as(shape)?.contiguous()?)
}

/// A known tensor for this batch.
pub(super) fn constant(
    numbers: &Numbers,
    kind: Kind,
    context: &Context,
) -> Result<Tensor, Problem> {
    let shape = numbers.shape.as_slice();
    let tensor = match &numbers.entries {
        Entries::Floats(values) if context.dtype == DType::F32 => {
            let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
            Tensor::from_vec(values, shape, &context.device)?
        }
        Entries::Floats(values) => Tensor::from_slice(values, shape, &context.device)?,
        Entries::Integers(values) => {
            let values = values.iter().map(|d| d.of_batch(context.m));
            let values: Vec<i64> = values.collect::<Option<_>>().ok_or(Problem::TooLarge)?;
            Tensor::from_vec(values, shape, &context.device)?
        }
    };
    cast(&tensor, kind, context)
}

/// start, start + step, … before the limit.
pub(super) fn range(start: &Tensor, limit: &Tensor, step: &Tensor) -> Result<Tensor, Problem> {
    if start.dtype() == DType::I64 {
        let of = |x: &Tensor| x.reshape(())?.to_scalar::<i64>();
        let (first, limit, step) = (of(start)?, of(limit)?, of(step)?);
        let (way, stride) = (i128::from(limit) - i128::from(first), i128::from(step));
        if stride == 0 {
            return Err(no_step());
        }
        // ⌈way / stride⌉
        let is_broken = way % stride != 0 && (way < 0) == (stride < 0);
        let n = (way / stride + i128::from(is_broken)).max(0);
        let n = usize::try_from(n).map_err(|_| Problem::TooLarge)?;
        check_size(&[n])?;
        let values = (0..n as i64).map(|i| first.wrapping_add(step.wrapping_mul(i)));
        return Ok(Tensor::from_iter(values, start.device())?);
    }
    let of = |x: &Tensor| x.reshape(())?.to_dtype(DType::F64)?.to_scalar::<f64>();
    let (first, limit, step) = (of(start)?, of(limit)?, of(step)?);
    let n = ((limit - first) / step).ceil().max(0.0);
    if step == 0.0 || !n.is_finite() {
        return Err(no_step());
    }
    check_size(&[n as usize])?;
    let values = (0..n as usize).map(|i| first + step * i as f64);
    Ok(Tensor::from_iter(values, start.device())?.to_dtype(start.dtype())?)
}

fn no_step() -> Problem {
    let (expected, found) = ("finite numbers and a step other than 0", "others");
    Problem::Setting { what: "range", expected: expected.to_owned(), found: found.to_owned() }
}

/// What stands for which number.
pub(super) struct Table<'a> {
    pub(super) keys: &'a [f64],
    pub(super) values: &'a [f64],
    pub(super) default: f64,
    pub(super) kind: Kind,
}

/// Every number by the table.
pub(super) fn encode(x: &Tensor, table: &Table<'_>, context: &Context) -> Result<Tensor, Problem> {
    // Adding 0 makes −0 and 0 one key.
    let bits = |v: f64| (v + 0.0).to_bits();
    // The first of equal keys counts.
    let pairs = table.keys.iter().zip(table.values).rev();
    let of: HashMap<u64, f64> = pairs.map(|(&key, &value)| (bits(key), value)).collect();
    let looked_up = host(x, |v| of.get(&bits(v)).copied().unwrap_or(table.default))?;
    cast(&looked_up, table.kind, context)
}

/// A function of each number, computed in f64 on the CPU; the result is f64 and has no gradient.
pub(super) fn host(x: &Tensor, f: impl Fn(f64) -> f64) -> candle_core::Result<Tensor> {
    let values = x.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Tensor::from_iter(values.into_iter().map(f), x.device())?.reshape(x.shape())
}
