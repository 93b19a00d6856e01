//! Shapes of convolutions and pools.

use super::{Inferred, Shape, channels, check_kinds, exactly, perhaps_one_more};
use crate::graph::rules::{output_extent, setting, shapes};
use crate::graph::{Dimension, Kind, Problem, Value, Window};

/// (m, c, …) and filters (o, c/groups, …) give (m, o, …).
pub(super) fn conv(
    operands: &[&Value],
    window: &Window,
    groups: usize,
) -> Result<Inferred, Problem> {
    let ([x, filters], bias) = perhaps_one_more(operands, "2 or 3")?;
    check_kinds(operands, Kind::Float)?;
    if window.ceil {
        return Err(setting("the rounding of a convolution's extents", "down", "up"));
    }
    let [outputs, inputs, kernel @ ..] = &filters.shape[..] else {
        return Err(shapes("expected filters (o, c/groups, …)", &[&filters.shape]));
    };
    let (Some(outputs), Some(inputs)) = (outputs.as_known(), inputs.as_known()) else {
        return Err(shapes("expected filters of known extents", &[&filters.shape]));
    };
    let known = |n: usize| i64::try_from(n).map(Dimension::known).ok();
    let [rows, columns] = window.kernel.map(known);
    let is_kernel = match *kernel {
        [k] => rows == known(1) && Some(k) == columns,
        [k, l] => Some(k) == rows && Some(l) == columns,
        _ => false,
    };
    if !is_kernel || kernel.len() + 2 != x.shape.len() {
        let what = "expected an input and filters with one or two axes, those of the kernel";
        return Err(shapes(what, &[&x.shape, &filters.shape]));
    }
    let groups = i64::try_from(groups).ok().filter(|&groups| groups >= 1);
    let groups = groups.ok_or_else(|| setting("groups", "1 or more", 0))?;
    if inputs.checked_mul(groups) != Some(channels(x)?) {
        let what = "expected filters (o, c/groups, …) for an input (m, c, …)";
        return Err(shapes(what, &[&x.shape, &filters.shape]));
    }
    if outputs % groups != 0 {
        return Err(setting("groups", format!("a divisor of the {outputs} filters"), groups));
    }
    let outputs = Dimension::known(outputs);
    match bias {
        Some(bias) if bias.shape != [outputs] => {
            return Err(shapes(
                "expected a bias of one number a filter",
                &[&filters.shape, &bias.shape],
            ));
        }
        _ => {}
    }
    let mut shape = windowed(x, window)?;
    shape[1] = outputs;
    Ok((Kind::Float, shape))
}

/// (m, c, …) gives (m, c, …).
pub(super) fn pool(operands: &[&Value], window: &Window) -> Result<Inferred, Problem> {
    let [x] = exactly(operands)?;
    check_kinds(operands, Kind::Float)?;
    let shape = windowed(x, window)?;
    for (place, &pad) in window.pads.iter().enumerate() {
        // Otherwise a window could see nothing but padding.
        let reach = (window.kernel[place % 2] - 1) * window.dilations[place % 2];
        if pad > reach {
            return Err(setting("a padding of a pool", format!("at most {reach}"), pad));
        }
    }
    Ok((Kind::Float, shape))
}

/// (m, c, …) with the extents after a window has passed over the axes behind the channels.
fn windowed(x: &Value, window: &Window) -> Result<Shape, Problem> {
    let known = |extent: &Dimension| extent.as_known().and_then(|n| usize::try_from(n).ok());
    let wrong = || shapes("expected one or two axes of known extents behind axis 1", &[&x.shape]);
    let extent = |along, n| -> Result<Dimension, Problem> {
        let extent = output_extent(window, along, n)?;
        i64::try_from(extent).map(Dimension::known).map_err(|_| Problem::TooLarge)
    };
    match x.shape[..] {
        [m, c, columns] => {
            let columns = known(&columns).ok_or_else(wrong)?;
            if window.kernel[0] != 1 || window.pads[0] != 0 || window.pads[2] != 0 {
                let what = "rows of a window over one axis";
                return Err(setting(what, "1, without pads", window.kernel[0]));
            }
            Ok(vec![m, c, extent(1, columns)?])
        }
        [m, c, rows, columns] => {
            let extents = known(&rows).zip(known(&columns)).ok_or_else(wrong)?;
            Ok(vec![m, c, extent(0, extents.0)?, extent(1, extents.1)?])
        }
        _ => Err(wrong()),
    }
}
