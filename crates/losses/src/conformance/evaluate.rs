//! Value and gradient of a loss at a point, and the checks that need nothing else.

use candle_core::{DType, Tensor, Var};
use core_tensors::Expected;

use super::{
    Answer, Batch, DERIVATIVE_TOLERANCE, Failure, Loss, LossUnderTest, SINGLE_TOLERANCE, STEP,
};
use crate::checks::check_count;

/// A loss at a point.
pub(super) struct Point {
    pub(super) value: f64,
    /// Derivatives by the student's numbers, in the order of memory; zeros where the gradient does not arrive.
    pub(super) gradient: Vec<f64>,
    is_student_reached: bool,
    is_teacher_reached: bool,
}

/// Value and gradient in this precision.
pub(super) fn point<E: Into<Failure>>(
    loss: Loss<'_, E>,
    student: &Tensor,
    teacher: &Tensor,
    examples: &[usize],
    dtype: DType,
) -> Result<Point, Failure> {
    let student = Var::from_tensor(&student.to_dtype(dtype)?.contiguous()?)?;
    let teacher = Var::from_tensor(&teacher.to_dtype(dtype)?.contiguous()?)?;
    let batch = Batch { teacher: teacher.as_tensor().clone(), examples: examples.to_vec() };
    let value = loss(&student, &batch).map_err(Into::into)?;
    let gradients = value.backward()?;
    let derivatives = gradients.get(&student);
    let gradient = match derivatives {
        Some(derivatives) => numbers(derivatives)?,
        None => vec![0.0; student.elem_count()],
    };
    Ok(Point {
        value: value.to_dtype(DType::F64)?.to_scalar()?,
        gradient,
        is_student_reached: derivatives.is_some(),
        is_teacher_reached: gradients.get(&teacher).is_some(),
    })
}

/// [`point`] of a tested loss, in f64.
pub(super) fn at_tested<E: Into<Failure>>(tested: &LossUnderTest<'_, E>) -> Result<Point, Failure> {
    point(tested.loss, &tested.student, &tested.teacher, &examples(tested)?, DType::F64)
}

/// 0 … m − 1.
pub(super) fn examples<E: Into<Failure>>(
    tested: &LossUnderTest<'_, E>,
) -> Result<Vec<usize>, Failure> {
    let (found, wanted) = (tested.student.dim(0)?, tested.teacher.dim(0)?);
    check_count("examples of the student", Expected::Exactly(wanted), found == wanted, found)?;
    check_count("examples to test a loss on", Expected::AtLeast(2), found >= 2, found)?;
    Ok((0..found).collect())
}

pub(super) fn numbers(tensor: &Tensor) -> Result<Vec<f64>, Failure> {
    Ok(tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

pub(super) fn largest(values: &[f64]) -> f64 {
    // `f64::max` would drop what is no number.
    values.iter().fold(0.0, |a: f64, b| if a.is_nan() || b.abs() <= a { a } else { b.abs() })
}

/// Largest difference of two lists of one length; infinite otherwise.
pub(super) fn gap(a: &[f64], b: &[f64]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    largest(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f64>>())
}

/// |a − b| relative to the larger of `sizes`; 0 where a = b.
pub(super) fn relative(gap: f64, sizes: &[f64]) -> f64 {
    if gap == 0.0 { 0.0 } else { gap / largest(sizes) }
}

pub(super) fn one_number<E: Into<Failure>>(tested: &LossUnderTest<'_, E>) -> Answer {
    let batch = Batch { teacher: tested.teacher.clone(), examples: examples(tested)? };
    let loss = (tested.loss)(&tested.student, &batch).map_err(Into::into)?;
    if loss.rank() != 0 {
        return Ok((false, format!("wanted shape [], found {:?}", loss.shape())));
    }
    let value: f64 = loss.to_dtype(DType::F64)?.to_scalar()?;
    Ok((value.is_finite(), format!("{value:e}")))
}

pub(super) fn differences<E: Into<Failure>>(tested: &LossUnderTest<'_, E>) -> Answer {
    let found = at_tested(tested)?;
    let start = numbers(&tested.student)?;
    let batch = Batch { teacher: tested.teacher.clone(), examples: examples(tested)? };
    let value = |values: Vec<f64>| -> Result<f64, Failure> {
        let student = Tensor::from_vec(values, tested.student.shape(), tested.student.device())?;
        let loss = (tested.loss)(&student, &batch).map_err(Into::into)?;
        Ok(loss.to_dtype(DType::F64)?.to_scalar()?)
    };
    let mut derivatives = Vec::with_capacity(start.len());
    for i in 0..start.len() {
        let step = STEP * start[i].abs().max(1.0);
        let moved = |by: f64| {
            let mut values = start.clone();
            values[i] += by;
            value(values)
        };
        derivatives.push((moved(step)? - moved(-step)?) / (2.0 * step));
    }
    let (gap, size) = (gap(&found.gradient, &derivatives), largest(&derivatives));
    // What rounding of the value makes of a difference.
    let noise = 16.0 * f64::EPSILON * found.value.abs() / STEP;
    let finding = format!("largest gap {gap:.1e} of derivatives up to {size:.1e}");
    Ok((gap <= DERIVATIVE_TOLERANCE * size + noise, finding))
}

pub(super) fn reaches_student<E: Into<Failure>>(tested: &LossUnderTest<'_, E>) -> Answer {
    let found = at_tested(tested)?;
    let size = largest(&found.gradient);
    // Less is the rounding of a gradient that cancels.
    let least = 1e-12 * found.value.abs();
    Ok((found.is_student_reached && size > least, format!("largest derivative {size:.1e}")))
}

pub(super) fn spares_teacher<E: Into<Failure>>(tested: &LossUnderTest<'_, E>) -> Answer {
    let is_reached = at_tested(tested)?.is_teacher_reached;
    let finding = if is_reached { "the teacher receives a gradient" } else { "none" };
    Ok((!is_reached, finding.to_owned()))
}

pub(super) fn single_precision<E: Into<Failure>>(tested: &LossUnderTest<'_, E>) -> Answer {
    let double = at_tested(tested)?;
    let examples = examples(tested)?;
    let single = point(tested.loss, &tested.student, &tested.teacher, &examples, DType::F32)?;
    let size = largest(&double.gradient);
    let value = relative((single.value - double.value).abs(), &[double.value, size]);
    let derivatives = relative(gap(&single.gradient, &double.gradient), &[size]);
    let is_passed = value <= SINGLE_TOLERANCE && derivatives <= SINGLE_TOLERANCE;
    Ok((is_passed, format!("value off by {value:.1e}, gradient by {derivatives:.1e}")))
}
