//! Maps φ between domains, through which a teacher sees the objects of a student: so far the given, simple ones.
//!
//! A teacher of a rich domain answers for an object x of a poor one as f(φ(x)); fill the answers with
//! [`core_tensors::Dataset::taught_by`].

mod simple;

use candle_core::Tensor;
use core_tensors::{Result, Rng};

pub use simple::{GaussianNoise, Identity, Sine};

/// φ: X_t → X_s, from the student's domain to the teacher's.
pub trait DomainMap {
    /// φ(x) for objects x, first dimension m; whatever is random comes from `rng`, afresh at each call.
    fn apply(&self, x: &Tensor, rng: &mut Rng) -> Result<Tensor>;
}
