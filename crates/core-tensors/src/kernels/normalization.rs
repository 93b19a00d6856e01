//! Normalizations and softmaxes, forward and backward in one pass over each row or channel.

mod channels;
mod layer;
mod softmax;
#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor, bail};

pub use self::channels::{affine_channels, batch_norm};
pub use self::layer::layer_norm;
pub use self::softmax::{log_softmax_last, softmax_last};
use super::elementwise::Real;

/// Sums that are taken side by side.
const LANES: usize = 16;

/// Length of the last axis, at least 1.
fn row_length(what: &str, x: &Tensor) -> Result<usize> {
    match x.dims().last() {
        Some(&n) if n > 0 => Ok(n),
        _ => bail!("{what} wanted a last axis of at least one number, found shape {:?}", x.dims()),
    }
}

/// Σ f(a, b) over pairs, in lanes and then what is left.
#[inline(always)]
fn sum_pairs<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> T {
    let mut sums = [T::zero(); LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += f(a[lane], b[lane]);
        }
    }
    let mut n = LANES;
    while n > 1 {
        n /= 2;
        for lane in 0..n {
            let other = sums[lane + n];
            sums[lane] += other;
        }
    }
    a_rest.iter().zip(b_rest).fold(sums[0], |sum, (&a, &b)| sum + f(a, b))
}

/// Σ f(a), as [`sum_pairs`].
#[inline(always)]
fn sum_of<T: Real>(a: &[T], f: impl Fn(T) -> T) -> T {
    sum_pairs(a, a, |a, _| f(a))
}
