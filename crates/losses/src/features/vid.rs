//! Variational information distillation: a Gaussian likelihood of the teacher's features given the student's.

use candle_core::Tensor;
use core_tensors::Expected;
use core_tensors::kernels::composed_softplus;

use super::check_examples;
use crate::checks::{check_count, check_range, check_shape};
use crate::error::Result;

/// Negative logarithm of a Gaussian density of the teacher's features, averaged over the batch; shape ().
///
/// (1/m) Σᵢ Σ_{c,p} { ½ log σ_c² + (t_icp − μ_icp)² / 2σ_c² },  σ_c² = log(1 + exp α_c) + ε
///
/// without the constant ½ log 2π a number. `mean` μ is what the student says of the teacher's features, from a layer or two of
/// its own on top of the student's; `teacher` t has the same shape, (m, c) or (m, c, h, w). `alpha` α is (c,), one a channel,
/// trained beside the student; `smallest_variance` ε > 0, in squared units of the features, 1e-5 in the authors' code.
///
/// Source: Ahn et al. (2019). The authors' code takes the mean over channels and positions too.
pub fn vid(
    mean: &Tensor,
    teacher: &Tensor,
    alpha: &Tensor,
    smallest_variance: f64,
) -> Result<Tensor> {
    check_examples(mean, teacher)?;
    let is_inside = smallest_variance > 0.0 && smallest_variance.is_finite();
    check_range("smallest variance", smallest_variance, is_inside, "(0, ∞)")?;
    check_shape("means of the teacher's features", teacher.dims(), mean.dims())?;
    let rank = mean.rank();
    check_count("dimensions of the teacher's features", Expected::AtLeast(2), rank >= 2, rank)?;
    let (m, c) = (mean.dim(0)?, mean.dim(1)?);
    check_shape("variances of the teacher's channels", &[c], alpha.dims())?;
    let teacher = teacher.detach().to_dtype(mean.dtype())?;
    let squares = (mean - teacher)?.sqr()?.reshape((m, c, ()))?; // (m, c, n)
    let n = squares.dim(2)?;
    let variance = (composed_softplus(alpha)? + smallest_variance)?; // (c,)
    let weighed = squares.sum(2)?.sum(0)?.div(&variance)?; // (c,)
    let total = (weighed.sum_all()? + (variance.log()?.sum_all()? * (m * n) as f64)?)?;
    Ok((total * (0.5 / m as f64))?)
}
