//! Entries by their places: slices, look-ups, and what stands beyond the edges.

use candle_core::Tensor;

use super::apply::{Context, check_size};
use crate::graph::{PadMode, Problem, SliceRange};

/// Entries of ranges.
pub(super) fn slice(
    x: &Tensor,
    ranges: &[SliceRange],
    context: &Context,
) -> Result<Tensor, Problem> {
    let mut y = x.clone();
    for range in ranges {
        let len = context.extent(range.len)?;
        if len == 0 {
            y = y.narrow(range.axis, 0, 0)?;
            continue;
        }
        let start = context.extent(range.start)?;
        y = match range.step {
            1 => y.narrow(range.axis, start, len)?,
            step => {
                let place = |i| (start as i64).checked_add(step.checked_mul(i)?);
                let places: Option<Vec<i64>> = (0..len as i64).map(place).collect();
                select(&y, range.axis, &places.ok_or(Problem::TooLarge)?)?
            }
        };
    }
    Ok(y)
}

/// Entries of `x` along an axis; the axis becomes those of `indices`, where negative ones count from the end.
pub(super) fn gather(x: &Tensor, indices: &Tensor, axis: usize) -> Result<Tensor, Problem> {
    let n = x.dim(axis)? as i64;
    let wanted = indices.flatten_all()?.to_vec1::<i64>()?;
    if let Some(index) = wanted.iter().find(|&&i| i < -n || i >= n) {
        let expected = format!("at least {} and below {n}", -n);
        return Err(Problem::Setting { what: "index", expected, found: index.to_string() });
    }
    let places: Vec<i64> = wanted.into_iter().map(|i| if i < 0 { i + n } else { i }).collect();
    let (before, behind) = x.dims().split_at(axis);
    let shape = [before, indices.dims(), &behind[1..]].concat();
    check_size(&shape)?;
    Ok(select(x, axis, &places)?.reshape(shape)?)
}

/// The entries at these places of an axis.
fn select(x: &Tensor, axis: usize, places: &[i64]) -> Result<Tensor, Problem> {
    let n = x.dim(axis)?;
    if let Some(place) = places.iter().find(|&&i| usize::try_from(i).map_or(true, |i| i >= n)) {
        let expected = format!("at least 0 and below {n}");
        return Err(Problem::Setting { what: "index", expected, found: place.to_string() });
    }
    let places = Tensor::from_slice(places, places.len(), x.device())?;
    Ok(x.contiguous()?.index_select(&places, axis)?)
}

/// More, or fewer, entries before and behind each axis.
pub(super) fn pad(x: &Tensor, mode: PadMode, pads: &[(i64, i64)]) -> Result<Tensor, Problem> {
    let mut y = x.clone();
    for (axis, &(before, behind)) in pads.iter().enumerate() {
        // What goes goes first, then what comes stands at the edge that is left.
        let n = y.dim(axis)? as i64;
        let [cut_before, cut_behind] = [before, behind].map(|pad| pad.min(0).saturating_neg());
        let kept = n.saturating_sub(cut_before).saturating_sub(cut_behind);
        let Ok(kept) = usize::try_from(kept) else {
            let expected = format!("to leave entries of {n}");
            return Err(Problem::Setting { what: "pads", expected, found: pads_text(pads) });
        };
        if cut_before + cut_behind > 0 {
            y = y.narrow(axis, cut_before as usize, kept)?;
        }
        let [before, behind] = [before, behind].map(|pad| usize::try_from(pad).unwrap_or(0));
        if before > 0 || behind > 0 {
            y = extended(&y, mode, axis, (before, behind), pads)?;
        }
    }
    Ok(y)
}

fn extended(
    x: &Tensor,
    mode: PadMode,
    axis: usize,
    (before, behind): (usize, usize),
    pads: &[(i64, i64)],
) -> Result<Tensor, Problem> {
    let n = x.dim(axis)?;
    let mut shape = x.dims().to_vec();
    shape[axis] =
        n.checked_add(before).and_then(|n| n.checked_add(behind)).ok_or(Problem::TooLarge)?;
    check_size(&shape)?;
    let needed = match mode {
        PadMode::Constant(value) => {
            let edge = |extent| -> candle_core::Result<Tensor> {
                let mut shape = x.dims().to_vec();
                shape[axis] = extent;
                let edge = Tensor::full(value, (), x.device())?.to_dtype(x.dtype())?;
                edge.broadcast_as(shape)?.contiguous()
            };
            let mut parts = Vec::with_capacity(3);
            if before > 0 {
                parts.push(edge(before)?);
            }
            if n > 0 {
                parts.push(x.clone());
            }
            if behind > 0 {
                parts.push(edge(behind)?);
            }
            return Ok(Tensor::cat(&parts, axis)?);
        }
        PadMode::Reflect => before.max(behind) + 1,
        PadMode::Edge => 1,
    };
    if n < needed {
        let expected = format!("at least {needed} entries on axis {axis}, for pads");
        let found = format!("{n} entries with pads {}", pads_text(pads));
        return Err(Problem::Setting { what: "padded axis", expected, found });
    }
    let last = n as i64 - 1;
    let place = |i: i64| match mode {
        PadMode::Reflect if i < 0 => -i,
        PadMode::Reflect if i > last => 2 * last - i,
        PadMode::Reflect => i,
        PadMode::Edge | PadMode::Constant(_) => i.clamp(0, last),
    };
    let places: Vec<i64> = (-(before as i64)..=last + behind as i64).map(place).collect();
    select(x, axis, &places)
}

fn pads_text(pads: &[(i64, i64)]) -> String {
    let parts: Vec<String> = pads.iter().map(|(a, b)| format!("({a}, {b})")).collect();
    parts.join(" ")
}
