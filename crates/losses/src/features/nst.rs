//! Neuron selectivity transfer: the channels of a layer as a sample, whose distribution the student's should match.

use candle_core::{D, DType, Tensor};

use super::maps;
use crate::checks::check_range;
use crate::error::Result;
use crate::stable::unit;

/// A kernel k(x, y) of two channels of length 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NstKernel {
    /// xᵀy
    Linear,
    /// (xᵀy + c)^d; d = 2 and c = 0 in the paper's experiments.
    Polynomial {
        /// d ≥ 1.
        degree: u32,
        /// c ≥ 0.
        constant: f64,
    },
    /// exp(−‖x − y‖² / v)
    Gaussian {
        /// v > 0; twice the mean of the squared distances of pairs in the paper. Unit vectors are at most 4 apart, squared.
        scale: f64,
    },
}

/// Squared maximum mean discrepancy of the student's channels from the teacher's, averaged over the batch; shape ().
///
/// (1/m) Σᵢ { c_s⁻² Σ_ab k(x_a, x_b) + c_t⁻² Σ_ab k(y_a, y_b) − 2 (c_s c_t)⁻¹ Σ_ab k(x_a, y_b) } ≥ 0
///
/// with x and y the channels of the student's and the teacher's maps of example i, each divided by its length (a channel of
/// zeros stays). `student` and `teacher` are (m, c, h, w) of as many positions, channels at will. This estimate counts every
/// channel against itself and is biased, unlike [`crate::mmd`], which compares samples of examples. Its three sums
/// cancel as the two come close: they are taken in f64.
///
/// Source: Huang & Wang (2017), like what you like, where half of it is the term of one example.
pub fn nst(student: &Tensor, teacher: &Tensor, kernel: NstKernel) -> Result<Tensor> {
    kernel.check()?;
    let (student, teacher) = maps(student, teacher)?;
    let dtype = student.dtype();
    let unit = |x: Tensor| unit(&x.to_dtype(DType::F64)?);
    let (x, y) = (unit(student)?, unit(teacher)?); // (m, c, n)
    let mean = |a: &Tensor, b: &Tensor| kernel.of(a, b)?.mean_all();
    let within = (mean(&x, &x)? + mean(&y, &y)?)?;
    Ok((within - (mean(&x, &y)? * 2.0)?)?.to_dtype(dtype)?)
}

impl NstKernel {
    /// (m, a, n), (m, b, n) → (m, a, b).
    fn of(self, a: &Tensor, b: &Tensor) -> candle_core::Result<Tensor> {
        let products = || a.matmul(&b.t()?);
        match self {
            Self::Linear => products(),
            Self::Polynomial { degree, constant } => {
                let base = (products()? + constant)?;
                (1..degree).try_fold(base.clone(), |power, _| power * &base)
            }
            Self::Gaussian { scale } => (squared_distances(a, b)? * (-1.0 / scale))?.exp(),
        }
    }

    fn check(self) -> Result<()> {
        match self {
            Self::Linear => Ok(()),
            Self::Polynomial { degree, constant } => {
                let name = "degree of a kernel";
                check_range(name, f64::from(degree), degree >= 1, "[1, ∞)")?;
                let is_inside = constant >= 0.0 && constant.is_finite();
                check_range("constant of a kernel", constant, is_inside, "[0, ∞)")
            }
            Self::Gaussian { scale } => {
                check_range("scale of a kernel", scale, scale > 0.0 && scale.is_finite(), "(0, ∞)")
            }
        }
    }
}

/// ‖aᵢ − bⱼ‖² ≥ 0 of the rows of a (…, m, d) and b (…, n, d); (…, m, n).
///
/// From products, as rows of length 1 lose no more by them than a unit of rounding of f64.
fn squared_distances(a: &Tensor, b: &Tensor) -> candle_core::Result<Tensor> {
    let norms = |x: &Tensor| x.sqr()?.sum_keepdim(D::Minus1);
    let products = a.matmul(&b.t()?)?; // (m, n)
    let sums = norms(a)?.broadcast_add(&norms(b)?.t()?)?;
    (sums - (products * 2.0)?)?.relu()
}
