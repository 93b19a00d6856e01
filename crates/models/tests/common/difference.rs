//! How far two tensors are apart.

use std::error::Error;

use candle_core::{DType, Tensor};

/// Largest difference as a share of max(1, largest number); infinite where shapes differ.
pub(crate) fn difference(found: &Tensor, expected: &Tensor) -> Result<f64, Box<dyn Error>> {
    if found.elem_count() != expected.elem_count() {
        return Ok(f64::INFINITY);
    }
    let flat = |x: &Tensor| x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
    let (found, expected) = (flat(found)?, flat(expected)?);
    let finite = expected.iter().filter(|v| v.is_finite());
    let size = finite.fold(1.0f64, |most, v| most.max(f64::from(v.abs())));
    let mut worst = 0.0f64;
    for (&a, &b) in found.iter().zip(&expected) {
        let is_same = a == b || a.is_nan() && b.is_nan();
        let difference = if is_same { 0.0 } else { f64::from(a - b).abs() / size };
        worst = worst.max(if difference.is_nan() { f64::INFINITY } else { difference });
    }
    Ok(worst)
}
