//! Bounds of slices and lengths of ranges.

use super::{Dimension, difference, setting, sum};
use crate::graph::{Problem, SliceRange};

/// A bound that exporters write for "to the end" of an axis, whatever its extent: 2³¹ − 1, or more.
const END: i64 = i32::MAX as i64;

/// How many of 0, step, 2 step, … lie before `gap`: ⌈gap/step⌉, and 0 where the gap lies on the other side.
///
/// # Errors
/// For a step of 0, or where the count is no linear function of the batch.
pub fn count_steps(gap: Dimension, step: i64) -> Result<Dimension, Problem> {
    let zero = Dimension::known(0);
    if step == 0 {
        return Err(setting("a step", "a number other than 0", step));
    }
    let is_ahead = if step > 0 { gap.is_at_least(zero) } else { zero.is_at_least(gap) };
    let is_behind = if step > 0 { zero.is_at_least(gap) } else { gap.is_at_least(zero) };
    if is_behind {
        return Ok(zero);
    }
    // ⌈(a + b m)/s⌉ is linear where s divides b.
    let [fixed, per_example, step] = [gap.fixed, gap.per_example, step].map(i128::from);
    if !is_ahead || per_example % step != 0 {
        return Err(Problem::NotLinear);
    }
    let up = i128::from(fixed % step != 0 && (fixed < 0) == (step < 0));
    let part = |n: i128| i64::try_from(n).map_err(|_| Problem::TooLarge);
    Ok(Dimension { fixed: part(fixed / step + up)?, per_example: part(per_example / step)? })
}

/// The entries start, start + step, … before `end`, with ONNX's rules: negative bounds count from the end of the axis, and
/// those beyond it are brought to it.
///
/// An extent that depends on the batch is taken to be below 2³¹ − 1, which exporters write for "to the end".
/// A range without entries starts at 0; one of at most one entry has step 1.
///
/// # Errors
/// For a step of 0, or where the range is no linear function of the batch.
pub fn slice_range(
    axis: usize,
    extent: Dimension,
    start: Dimension,
    end: Dimension,
    step: i64,
) -> Result<SliceRange, Problem> {
    let [zero, one] = [0, 1].map(Dimension::known);
    let empty = SliceRange { axis, start: zero, step: 1, len: zero };
    if step == 0 {
        return Err(setting("a step", "a number other than 0", step));
    }
    if extent == zero {
        return Ok(empty);
    }
    let last = difference(extent, one)?;
    let (start_bounds, end_bounds) = if step > 0 {
        ((zero, extent), (zero, extent))
    } else {
        ((zero, last), (Dimension::known(-1), last))
    };
    let start = resolved(start, extent, start_bounds)?;
    let end = resolved(end, extent, end_bounds)?;
    let len = count_steps(difference(end, start)?, step)?;
    if len == zero {
        return Ok(empty);
    }
    let step = if len == one { 1 } else { step };
    Ok(SliceRange { axis, start, step, len })
}

/// A bound counted from the front and brought into least ≤ bound ≤ largest.
fn resolved(
    bound: Dimension,
    extent: Dimension,
    (least, largest): (Dimension, Dimension),
) -> Result<Dimension, Problem> {
    let zero = Dimension::known(0);
    if let (Some(known), true) = (bound.as_known(), extent.is_per_batch()) {
        match () {
            () if known >= END => return Ok(largest),
            () if known <= -END => return Ok(least),
            () => {}
        }
    }
    let place = match () {
        () if bound.is_at_least(zero) => bound,
        () if zero.is_above(bound) => sum(bound, extent)?,
        () => return Err(Problem::NotLinear),
    };
    match () {
        () if least.is_at_least(place) => Ok(least),
        () if place.is_at_least(largest) => Ok(largest),
        () if place.is_at_least(least) && largest.is_at_least(place) => Ok(place),
        () => Err(Problem::NotLinear),
    }
}
