//! FitNets: the teacher's hint is a target for a projection of the student's features.

use candle_core::Tensor;
use core_tensors::kernels::{Activation, linear};

use super::rows;
use crate::checks::check_shape;
use crate::error::Result;

/// Squared distance of the student's projected features from the teacher's; shape ().
///
/// (1/m) Σᵢ ½ ‖fᵀᵢ − U fˢᵢ − b‖²
///
/// `student` fˢ is (m, d_s), `teacher` fᵀ (m, d_t), maps count as rows; `projection` (U, b) is a block of parameters,
/// (d_t, d_s) or with the bias as one column more, and is trained beside the student. Without it, for equal sizes, U is the
/// identity: so does a student go whose regressor is a convolution, applied before.
///
/// Source: Romero et al. (2015), FitNets, with a linear regressor; summed there over examples. Public code mostly takes
/// the mean over features too, and leaves out the ½.
///
/// ```
/// use losses::candle_core::{Device, Tensor};
/// use losses::features::fitnets;
///
/// let student = Tensor::new(&[[1.0, 2.0], [0.0, 1.0]], &Device::Cpu)?; // (m, d_s)
/// let teacher = Tensor::new(&[[3.0], [2.0]], &Device::Cpu)?; // (m, d_t)
/// let projection = Tensor::new(&[[1.0, 1.0, 0.5]], &Device::Cpu)?; // (d_t, d_s + 1)
/// let loss = fitnets(&student, &teacher, Some(&projection))?; // ½ (0.5² + 0.5²) / 2
/// assert_eq!(loss.to_scalar::<f64>()?, 0.125);
/// # Ok::<(), losses::Error>(())
/// ```
pub fn fitnets(student: &Tensor, teacher: &Tensor, projection: Option<&Tensor>) -> Result<Tensor> {
    let (student, teacher) = rows(student, teacher)?;
    let guided = match projection {
        Some(projection) => linear(&student, projection, Activation::Identity)?,
        None => student,
    };
    check_shape("features of the student", teacher.dims(), guided.dims())?;
    let m = teacher.dim(0)?;
    Ok(((teacher - guided)?.sqr()?.sum_all()? * (0.5 / m as f64))?)
}
