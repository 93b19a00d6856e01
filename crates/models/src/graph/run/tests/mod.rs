//! Tests of the operators one by one; whole graphs are in `tests/` of the crate.

mod gradients;
mod integers;
mod parts;
mod values;

use candle_core::{DType, Device, Tensor};
use core_tensors::Rng;

use super::apply::{Context, apply};
use crate::graph::{Op, Problem};

/// Examples in the batch of these tests.
const M: usize = 3;

fn context() -> Context {
    Context { m: M, dtype: DType::F64, device: Device::Cpu }
}

/// The results of an operator.
fn results(op: &Op, operands: &[Tensor]) -> Result<Vec<Tensor>, Problem> {
    apply(op, operands, &context())
}

/// The one result of an operator.
fn result(op: &Op, operands: &[Tensor]) -> Tensor {
    let mut results = results(op, operands).unwrap_or_else(|problem| panic!("{op:?}: {problem}"));
    assert_eq!(results.len(), 1);
    results.remove(0)
}

/// Normal numbers, none of which is near 0, where many functions have a kink.
fn random(rng: &mut Rng, shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let away = |v: f64| v + 0.1 * v.signum();
    let values: Vec<f64> = (0..n).map(|_| away(rng.normal())).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Numbers in (0.2, 2.2), which roots, logarithms and divisions take.
fn positive(rng: &mut Rng, shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let values: Vec<f64> = (0..n).map(|_| 0.2 + 2.0 * rng.uniform()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Numbers of which no two are near each other, in random order.
fn distinct(rng: &mut Rng, shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let values: Vec<f64> =
        rng.permutation(n).into_iter().map(|i| 0.05 * i as f64 - 0.02 * n as f64).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn floats(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn close(a: &[f64], b: &[f64], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        let is_same = a == b || (a.is_nan() && b.is_nan());
        assert!(is_same || (a - b).abs() < 1e-12 * b.abs().max(1.0), "{what} at {i}: {a}, {b}");
    }
}
