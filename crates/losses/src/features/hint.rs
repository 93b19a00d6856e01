//! FitNets: the teacher's hint is a target for a projection of the student's features.

use candle_core::Tensor;
use core_tensors::Error;
use core_tensors::kernels::{Activation, linear};

use super::rows;
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
pub fn hint(student: &Tensor, teacher: &Tensor, projection: Option<&Tensor>) -> Result<Tensor> {
    let (student, teacher) = rows(student, teacher)?;
    let guided = match projection {
        Some(projection) => linear(&student, projection, Activation::Identity)?,
        None => student,
    };
    if guided.dims() != teacher.dims() {
        let (wanted, found) = (format!("{:?}", teacher.dims()), format!("{:?}", guided.dims()));
        return Err(Error::mismatch("features of the student", wanted, found).into());
    }
    let m = teacher.dim(0)?;
    Ok(((teacher - guided)?.sqr()?.sum_all()? * (0.5 / m as f64))?)
}
