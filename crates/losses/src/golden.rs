//! Values and gradients of every loss as PyTorch computes them, from formulas written down a second time.

use candle_core::{Device, Shape, Tensor, Var};

mod features;
mod logits;

/// Name, value, gradient in the order of memory.
type Golden = (&'static str, f64, &'static [f64]);

/// Rounding of sums of a few dozen terms, and of a second way to the same number.
const EXACT: f64 = 1e-12;

/// ((a i + b) mod 13 − 6) / 4 for i = 0, 1, …: exact in both languages.
pub(crate) fn ramp(a: usize, b: usize, shape: impl Into<Shape>) -> Var {
    let shape = shape.into();
    let number = |i: usize| (((a * i + b) % 13) as f64 - 6.0) / 4.0;
    let numbers: Vec<f64> = (0..shape.elem_count()).map(number).collect();
    Var::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

/// The loss has the value and the gradient by `student` that PyTorch gives under this name.
pub(crate) fn assert_golden(name: &str, loss: &Tensor, student: &Var) {
    let all = || logits::LOGITS.iter().chain(features::FEATURES);
    let Some((_, value, derivatives)) = all().find(|golden| golden.0 == name) else {
        panic!("no golden value `{name}`");
    };
    let found = loss.to_scalar::<f64>().unwrap();
    assert!((found - value).abs() < EXACT, "{name}: {found} for {value}");
    let gradients = loss.backward().unwrap();
    let found: Vec<f64> = gradients.get(student).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(found.len(), derivatives.len(), "{name}");
    for (found, wanted) in found.iter().zip(*derivatives) {
        assert!((found - wanted).abs() < EXACT, "{name}: slope {found} for {wanted}");
    }
}

/// How many values there are, so that a test can tell that it asks for all.
pub(crate) fn n_of_logits() -> usize {
    logits::LOGITS.len()
}

/// The same of losses of features.
pub(crate) fn n_of_features() -> usize {
    features::FEATURES.len()
}
