//! Sizes and paddings of sliding windows.

use super::setting;
use crate::graph::{Problem, Window};

/// How many places a window has along its axis `along` (0 rows, 1 columns) of an input of this extent.
///
/// ⌊(h + p₀ + p₁ − d (k − 1) − 1)/s⌋ + 1; ⌈·⌉ where a window that is only partly inside counts, without a last one that
/// would start in the padding behind the input.
///
/// # Errors
/// Where a kernel, stride or dilation is 0, or the window is larger than the padded input.
pub fn output_extent(window: &Window, along: usize, extent: usize) -> Result<usize, Problem> {
    let axis = along.min(1);
    let (stride, [before, behind]) =
        (window.strides[axis], [window.pads[axis], window.pads[axis + 2]]);
    let reach = reach(window, axis)?;
    let padded = extent.checked_add(before).and_then(|n| n.checked_add(behind));
    let padded = padded.ok_or(Problem::TooLarge)?;
    let Some(room) = padded.checked_sub(reach) else {
        let expected = format!("at most the padded input's {padded}");
        return Err(setting("the extent of a window", expected, reach));
    };
    if !window.ceil {
        return Ok(room / stride + 1);
    }
    let places = room.div_ceil(stride) + 1;
    let last = (places - 1).checked_mul(stride).ok_or(Problem::TooLarge)?;
    let is_in_padding = places > 1 && last >= extent + before;
    Ok(places - usize::from(is_in_padding))
}

/// The pads (top, left, bottom, right) with which a window has ⌈extent/stride⌉ places on both axes, as `auto_pad` asks.
///
/// Of an odd number, the larger half stands behind (`SAME_UPPER`), or before if `is_lower`.
///
/// # Errors
/// Where a kernel, stride or dilation is 0, or a size beyond what can be computed.
pub fn same_pads(
    window: &Window,
    extents: [usize; 2],
    is_lower: bool,
) -> Result<[usize; 4], Problem> {
    let mut pads = [0; 4];
    for axis in [0, 1] {
        let reach = reach(window, axis)?;
        let stride = window.strides[axis];
        let places = extents[axis].div_ceil(stride);
        let needed = places.saturating_sub(1).checked_mul(stride);
        let needed = needed.and_then(|n| n.checked_add(reach)).ok_or(Problem::TooLarge)?;
        let total = needed.saturating_sub(extents[axis]);
        let before = if is_lower { total.div_ceil(2) } else { total / 2 };
        (pads[axis], pads[axis + 2]) = (before, total - before);
    }
    Ok(pads)
}

/// d (k − 1) + 1: from the first entry that a window sees to the last.
fn reach(window: &Window, axis: usize) -> Result<usize, Problem> {
    let [kernel, stride, dilation] =
        [window.kernel, window.strides, window.dilations].map(|setting| setting[axis]);
    for (what, found) in [("a kernel", kernel), ("a stride", stride), ("a dilation", dilation)] {
        if found == 0 {
            return Err(setting(what, "1 or more", found));
        }
    }
    let reach = (kernel - 1).checked_mul(dilation).and_then(|n| n.checked_add(1));
    reach.ok_or(Problem::TooLarge)
}
