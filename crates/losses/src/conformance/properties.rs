//! The checks of properties: what it ignores, what it divides by, what it tends to.

use candle_core::{DType, Tensor};

use super::evaluate::{Point, at_tested, examples, gap, largest, numbers, point, relative};
use super::{Answer, Compared, EXACT, Failure, Limit, LossUnderTest, Role};

/// What the numbers of a role are multiplied by.
const FACTOR: f64 = 2.5;

pub(super) fn zero_at_teacher<E: Into<Failure>>(tested: &LossUnderTest<'_, E>) -> Answer {
    let (student, teacher) = (tested.student.dims(), tested.teacher.dims());
    if student != teacher {
        return Ok((false, format!("wanted one shape, found {student:?} and {teacher:?}")));
    }
    let at = point(tested.loss, &tested.teacher, &tested.teacher, &examples(tested)?, DType::F64)?;
    Ok((at.value.abs() <= EXACT, format!("{:.1e}", at.value)))
}

pub(super) fn any_order<E: Into<Failure>>(tested: &LossUnderTest<'_, E>) -> Answer {
    let was = at_tested(tested)?;
    // Neither a reversal nor a rotation alone: one from the front, one from the back.
    let m = examples(tested)?.len();
    let order: Vec<usize> =
        (0..m).map(|i| if i % 2 == 0 { m - 1 - i / 2 } else { i / 2 }).collect();
    let moved = of_rows(tested, &order)?;
    let per_example = was.gradient.len() / m;
    let wanted = order.iter().flat_map(|&i| &was.gradient[i * per_example..(i + 1) * per_example]);
    agree(&moved, was.value, &wanted.copied().collect::<Vec<f64>>(), EXACT)
}

pub(super) fn twice<E: Into<Failure>>(tested: &LossUnderTest<'_, E>, factor: f64) -> Answer {
    let was = at_tested(tested)?;
    let once = examples(tested)?;
    let both = of_rows(tested, &[once.clone(), once].concat())?;
    // Each of the two copies has half of the derivative.
    let half: Vec<f64> = was.gradient.iter().map(|derivative| 0.5 * factor * derivative).collect();
    agree(&both, factor * was.value, &[half.clone(), half].concat(), EXACT)
}

pub(super) fn mask<E: Into<Failure>>(tested: &LossUnderTest<'_, E>, known: &[usize]) -> Answer {
    let examples = examples(tested)?;
    if examples.iter().all(|i| known.contains(i)) {
        return Ok((false, "wanted an example outside the mask, found none".to_owned()));
    }
    let values = numbers(&tested.teacher)?;
    let per_example = values.len() / examples.len();
    for dtype in [DType::F64, DType::F32] {
        let at = |teacher: &Tensor| point(tested.loss, &tested.student, teacher, &examples, dtype);
        let was = at(&tested.teacher)?;
        for hole in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let holed = values.iter().enumerate();
            let holed =
                holed.map(|(at, v)| if known.contains(&(at / per_example)) { *v } else { hole });
            let teacher = &tested.teacher;
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

pub(super) fn shift<E: Into<Failure>>(tested: &LossUnderTest<'_, E>, role: Role) -> Answer {
    let moved = |x: &Tensor| -> Result<Tensor, Failure> {
        let m = x.dim(0)?;
        let shifts: Vec<f64> = (0..m).map(|i| 1.5 - 2.25 * (i % 4) as f64).collect();
        let mut shape = vec![1; x.rank()];
        shape[0] = m;
        Ok(x.broadcast_add(&Tensor::from_vec(shifts, shape, x.device())?)?)
    };
    changed(tested, role, moved, 1.0)
}

pub(super) fn scale<E: Into<Failure>>(tested: &LossUnderTest<'_, E>, role: Role) -> Answer {
    let derivatives = match role {
        Role::Student => 1.0 / FACTOR,
        Role::Teacher => 1.0,
    };
    changed(tested, role, |x| Ok((x * FACTOR)?), derivatives)
}

pub(super) fn limit<E: Into<Failure>>(
    tested: &LossUnderTest<'_, E>,
    limit: &Limit<'_, E>,
) -> Answer {
    let examples = examples(tested)?;
    let at = |loss| point(loss, &tested.student, &tested.teacher, &examples, DType::F64);
    let (found, wanted) = (at(limit.loss)?, at(limit.reference)?);
    let value = match limit.compared {
        Compared::All => wanted.value,
        Compared::Gradient => found.value,
    };
    agree(&found, value, &wanted.gradient, limit.tolerance)
}

/// Value stays and derivatives are multiplied when the numbers of a role change.
fn changed<E: Into<Failure>>(
    tested: &LossUnderTest<'_, E>,
    role: Role,
    change: impl Fn(&Tensor) -> Result<Tensor, Failure>,
    derivatives: f64,
) -> Answer {
    let was = at_tested(tested)?;
    let (mut student, mut teacher) = (tested.student.clone(), tested.teacher.clone());
    match role {
        Role::Student => student = change(&student)?,
        Role::Teacher => teacher = change(&teacher)?,
    }
    let now = point(tested.loss, &student, &teacher, &examples(tested)?, DType::F64)?;
    let wanted: Vec<f64> = was.gradient.iter().map(|derivative| derivatives * derivative).collect();
    agree(&now, was.value, &wanted, EXACT)
}

/// The loss of these rows, some of them perhaps more than once.
fn of_rows<E: Into<Failure>>(
    tested: &LossUnderTest<'_, E>,
    rows: &[usize],
) -> Result<Point, Failure> {
    let indices: Vec<u32> = rows.iter().map(|&i| i as u32).collect();
    let indices = Tensor::from_vec(indices, rows.len(), tested.student.device())?;
    let pick = |x: &Tensor| x.contiguous()?.index_select(&indices, 0);
    point(tested.loss, &pick(&tested.student)?, &pick(&tested.teacher)?, rows, DType::F64)
}

fn agree(found: &Point, value: f64, derivatives: &[f64], tolerance: f64) -> Answer {
    // A value near 0 is measured by the derivatives, a gradient near 0 by itself.
    let size = largest(derivatives);
    let of_value = relative((found.value - value).abs(), &[value, found.value, size]);
    let of_derivatives =
        relative(gap(&found.gradient, derivatives), &[size, largest(&found.gradient)]);
    let is_passed = of_value <= tolerance && of_derivatives <= tolerance;
    let derivatives = format!("gradient off by {of_derivatives:.1e}");
    Ok((
        is_passed,
        format!("{:.6e} for {value:.6e}, off by {of_value:.1e}; {derivatives}", found.value),
    ))
}
