//! The checks of what a loss promises: what it ignores, what it divides by, what it tends to.

use candle_core::{DType, Tensor};

use super::evaluate::{Point, at_subject, gap, largest, numbers, objects, point, relative};
use super::{Answer, Compared, EXACT, Limit, Role, Subject};
use crate::error::Result;

/// What the numbers of a role are multiplied by.
const FACTOR: f64 = 2.5;

pub(super) fn zero_at_teacher(subject: &Subject<'_>) -> Answer {
    let (student, teacher) = (subject.student.dims(), subject.teacher.dims());
    if student != teacher {
        return Ok((false, format!("wanted one shape, found {student:?} and {teacher:?}")));
    }
    let at =
        point(subject.loss, &subject.teacher, &subject.teacher, &objects(subject)?, DType::F64)?;
    Ok((at.value.abs() <= EXACT, format!("{:.1e}", at.value)))
}

pub(super) fn any_order(subject: &Subject<'_>) -> Answer {
    let was = at_subject(subject)?;
    // Neither a reversal nor a rotation alone: one from the front, one from the back.
    let m = objects(subject)?.len();
    let order: Vec<usize> =
        (0..m).map(|i| if i % 2 == 0 { m - 1 - i / 2 } else { i / 2 }).collect();
    let moved = of_rows(subject, &order)?;
    let per_object = was.gradient.len() / m;
    let wanted = order.iter().flat_map(|&i| &was.gradient[i * per_object..(i + 1) * per_object]);
    agree(&moved, was.value, &wanted.copied().collect::<Vec<f64>>(), EXACT)
}

pub(super) fn twice(subject: &Subject<'_>, factor: f64) -> Answer {
    let was = at_subject(subject)?;
    let once = objects(subject)?;
    let both = of_rows(subject, &[once.clone(), once].concat())?;
    // Each of the two copies has half of the slope.
    let half: Vec<f64> = was.gradient.iter().map(|slope| 0.5 * factor * slope).collect();
    agree(&both, factor * was.value, &[half.clone(), half].concat(), EXACT)
}

pub(super) fn mask(subject: &Subject<'_>, known: &[usize]) -> Answer {
    let objects = objects(subject)?;
    if objects.iter().all(|i| known.contains(i)) {
        return Ok((false, "wanted an object outside the mask, found none".to_owned()));
    }
    let values = numbers(&subject.teacher)?;
    let per_object = values.len() / objects.len();
    for dtype in [DType::F64, DType::F32] {
        let at = |teacher: &Tensor| point(subject.loss, &subject.student, teacher, &objects, dtype);
        let was = at(&subject.teacher)?;
        for hole in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let holed = values.iter().enumerate();
            let holed =
                holed.map(|(at, v)| if known.contains(&(at / per_object)) { *v } else { hole });
            let teacher = &subject.teacher;
            let holed =
                Tensor::from_vec(holed.collect::<Vec<f64>>(), teacher.shape(), teacher.device())?;
            let (is_same, finding) = agree(&at(&holed)?, was.value, &was.gradient, EXACT)?;
            if !is_same {
                return Ok((false, format!("{finding}, with {hole} outside, {dtype:?}")));
            }
        }
    }
    Ok((true, "NaN, inf and -inf outside play no part".to_owned()))
}

pub(super) fn shift(subject: &Subject<'_>, role: Role) -> Answer {
    let moved = |x: &Tensor| -> Result<Tensor> {
        let m = x.dim(0)?;
        let shifts: Vec<f64> = (0..m).map(|i| 1.5 - 2.25 * (i % 4) as f64).collect();
        let mut shape = vec![1; x.rank()];
        shape[0] = m;
        Ok(x.broadcast_add(&Tensor::from_vec(shifts, shape, x.device())?)?)
    };
    changed(subject, role, moved, 1.0)
}

pub(super) fn scale(subject: &Subject<'_>, role: Role) -> Answer {
    let slopes = match role {
        Role::Student => 1.0 / FACTOR,
        Role::Teacher => 1.0,
    };
    changed(subject, role, |x| Ok((x * FACTOR)?), slopes)
}

pub(super) fn limit(subject: &Subject<'_>, limit: &Limit<'_>) -> Answer {
    let objects = objects(subject)?;
    let at = |loss| point(loss, &subject.student, &subject.teacher, &objects, DType::F64);
    let (found, wanted) = (at(limit.loss)?, at(limit.reference)?);
    let value = match limit.compared {
        Compared::All => wanted.value,
        Compared::Gradient => found.value,
    };
    agree(&found, value, &wanted.gradient, limit.tolerance)
}

/// Value stays and slopes are multiplied when the numbers of a role change.
fn changed(
    subject: &Subject<'_>,
    role: Role,
    change: impl Fn(&Tensor) -> Result<Tensor>,
    slopes: f64,
) -> Answer {
    let was = at_subject(subject)?;
    let (mut student, mut teacher) = (subject.student.clone(), subject.teacher.clone());
    match role {
        Role::Student => student = change(&student)?,
        Role::Teacher => teacher = change(&teacher)?,
    }
    let now = point(subject.loss, &student, &teacher, &objects(subject)?, DType::F64)?;
    let wanted: Vec<f64> = was.gradient.iter().map(|slope| slopes * slope).collect();
    agree(&now, was.value, &wanted, EXACT)
}

/// The loss of these rows, some of them perhaps more than once.
fn of_rows(subject: &Subject<'_>, rows: &[usize]) -> Result<Point> {
    let indices: Vec<u32> = rows.iter().map(|&i| i as u32).collect();
    let indices = Tensor::from_vec(indices, rows.len(), subject.student.device())?;
    let pick = |x: &Tensor| x.contiguous()?.index_select(&indices, 0);
    point(subject.loss, &pick(&subject.student)?, &pick(&subject.teacher)?, rows, DType::F64)
}

fn agree(found: &Point, value: f64, slopes: &[f64], tolerance: f64) -> Answer {
    // A value near 0 is measured by the slopes, a gradient near 0 by itself.
    let size = largest(slopes);
    let of_value = relative((found.value - value).abs(), &[value, found.value, size]);
    let of_slopes = relative(gap(&found.gradient, slopes), &[size, largest(&found.gradient)]);
    let is_passed = of_value <= tolerance && of_slopes <= tolerance;
    let slopes = format!("gradient off by {of_slopes:.1e}");
    Ok((is_passed, format!("{:.6e} for {value:.6e}, off by {of_value:.1e}; {slopes}", found.value)))
}
