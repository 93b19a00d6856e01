//! A loss far from where it is trained: logits of ±1e6, equal logits, zeros.

use candle_core::{DType, Tensor};

use super::evaluate::{examples, largest, numbers, point};
use super::{Answer, EXACT, EXTREME, Failure, LossUnderTest};

/// Numbers of the given shape that a saturated, a dead and a diverging network would give, with their names.
fn extremes(at: &Tensor) -> Result<Vec<(&'static str, Tensor)>, Failure> {
    let values = numbers(at)?;
    let of = |value: &dyn Fn(usize, f64) -> f64| {
        let values: Vec<f64> = values.iter().enumerate().map(|(i, &x)| value(i, x)).collect();
        Tensor::from_vec(values, at.shape(), at.device())
    };
    let sign = |is_up: bool| if is_up { EXTREME } else { -EXTREME };
    Ok(vec![
        ("all at 1e6", of(&|_, _| EXTREME)?),
        ("all at -1e6", of(&|_, _| -EXTREME)?),
        ("signs in turn", of(&|i, _| sign(i % 2 == 0))?),
        ("one of three up", of(&|i, _| sign(i % 3 == 1))?),
        ("one of five at 1e6, zeros", of(&|i, _| if i % 5 == 2 { EXTREME } else { 0.0 })?),
        ("zeros", of(&|_, _| 0.0)?),
        ("times 1e6", of(&|_, x| EXTREME * x)?),
        ("as it is", at.clone()),
    ])
}

pub(super) fn finite<E: Into<Failure>>(tested: &LossUnderTest<'_, E>) -> Answer {
    let examples = examples(tested)?;
    let (students, teachers) = (extremes(&tested.student)?, extremes(&tested.teacher)?);
    let mut n_points = 0;
    for dtype in [DType::F64, DType::F32] {
        for (student, z) in &students {
            for (teacher, v) in &teachers {
                let found = point(tested.loss, z, v, &examples, dtype)?;
                let size = largest(&found.gradient);
                if !(found.value.is_finite() && size.is_finite()) {
                    let place = format!("{dtype:?}, student {student}, teacher {teacher}");
                    return Ok((
                        false,
                        format!("value {}, largest derivative {size} at {place}", found.value),
                    ));
                }
                n_points += 1;
            }
        }
    }
    Ok((true, format!("{n_points} points")))
}

pub(super) fn nonnegative<E: Into<Failure>>(tested: &LossUnderTest<'_, E>) -> Answer {
    let examples = examples(tested)?;
    let mut smallest = f64::INFINITY;
    let (mut students, teachers) = (extremes(&tested.student)?, extremes(&tested.teacher)?);
    students.push(("turned round", tested.student.neg()?));
    students.push(("shrunk", (&tested.student * 0.01)?));
    for (_, z) in &students {
        for (_, v) in &teachers {
            let value = point(tested.loss, z, v, &examples, DType::F64)?.value;
            // What is infinite or no number is the business of the check above.
            smallest = if value.is_finite() { smallest.min(value) } else { smallest };
        }
    }
    Ok((smallest >= -EXACT, format!("smallest value {smallest:.1e}")))
}
