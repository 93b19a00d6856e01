//! Convolutions and pools.

use candle_core::Tensor;

use super::pick::{pad, select};
use crate::graph::{PadMode, Problem, Window};

/// Cross-correlation of (m, c, h, w) or (m, c, l) with filters (o, c/groups, …), and a bias (o,).
pub(super) fn convolution(
    x: &Tensor,
    filters: &Tensor,
    bias: Option<&Tensor>,
    window: &Window,
    groups: usize,
) -> Result<Tensor, Problem> {
    let is_flat = x.rank() == 3;
    let (x, filters) = (as_images(x)?, as_images(filters)?);
    let (m, c, _, _) = x.dims4()?;
    let (o, per_group, kh, kw) = filters.dims4()?;
    if groups == 0 || per_group * groups != c || o % groups != 0 || [kh, kw] != window.kernel {
        let expected = format!("channels of {groups} groups, kernel {:?}", window.kernel);
        let found = format!("{c} channels, filters {:?}", filters.dims());
        return Err(Problem::Setting { what: "filters", expected, found });
    }
    let windows = unfolded(&x, window, 0.0)?; // (m, c, kh·kw, h′, w′)
    let [out_h, out_w] = [windows.dim(3)?, windows.dim(4)?];
    let n = per_group * kh * kw;
    let windows = windows.reshape((m, groups, n, out_h * out_w))?;
    let u = filters.reshape((1, groups, o / groups, n))?;
    let y = u.broadcast_matmul(&windows)?.reshape((m, o, out_h, out_w))?;
    let y = match bias {
        Some(bias) => y.broadcast_add(&bias.reshape((1, o, 1, 1))?)?,
        None => y,
    };
    back(y, is_flat)
}

/// Largest number of each window.
pub(super) fn max_pool(x: &Tensor, window: &Window) -> Result<Tensor, Problem> {
    let is_flat = x.rank() == 3;
    let windows = unfolded(&as_images(x)?, window, f64::NEG_INFINITY)?; // (m, c, kh·kw, h′, w′)
    let places = windows.detach().argmax_keepdim(2)?;
    back(windows.gather(&places, 2)?.squeeze(2)?, is_flat)
}

/// Mean of each window.
pub(super) fn average_pool(
    x: &Tensor,
    window: &Window,
    counts_padding: bool,
) -> Result<Tensor, Problem> {
    let is_flat = x.rank() == 3;
    let x = as_images(x)?;
    let sums = unfolded(&x, window, 0.0)?.sum(2)?; // (m, c, h′, w′)
    let counts = |axis: usize| -> Result<Vec<f64>, Problem> {
        let n = x.dim(axis + 2)?;
        let (before, behind) = (window.pads[axis], window.pads[axis + 2]);
        let (first, end) =
            if counts_padding { (0, before + n + behind) } else { (before, before + n) };
        let count = |i: usize| {
            let places = (0..window.kernel[axis])
                .map(|k| i * window.strides[axis] + k * window.dilations[axis]);
            places.filter(|place| (first..end).contains(place)).count() as f64
        };
        Ok((0..sums.dim(axis + 2)?).map(count).collect())
    };
    let (rows, columns) = (counts(0)?, counts(1)?);
    let areas: Vec<f64> = rows.iter().flat_map(|r| columns.iter().map(move |c| r * c)).collect();
    let areas = Tensor::from_vec(areas, (1, 1, rows.len(), columns.len()), x.device())?;
    back(sums.broadcast_div(&areas.to_dtype(x.dtype())?)?, is_flat)
}

/// (m, c, l) as (m, c, 1, l).
fn as_images(x: &Tensor) -> candle_core::Result<Tensor> {
    if x.rank() == 3 { x.unsqueeze(2) } else { Ok(x.clone()) }
}

fn back(y: Tensor, is_flat: bool) -> Result<Tensor, Problem> {
    Ok(if is_flat { y.squeeze(2)? } else { y })
}

/// Every window of images (m, c, h, w): (m, c, kh·kw, h′, w′).
fn unfolded(x: &Tensor, window: &Window, fill: f64) -> Result<Tensor, Problem> {
    let mut outputs = [0; 2];
    let mut pads = vec![(0, 0); 4];
    for axis in [0, 1] {
        let n = x.dim(axis + 2)?;
        outputs[axis] = output_extent(window, axis, n)?;
        let (before, behind) = (window.pads[axis], window.pads[axis + 2]);
        let reach = (window.kernel[axis] - 1) * window.dilations[axis] + 1;
        // A last window that is only partly inside needs more.
        let needed = (outputs[axis].max(1) - 1) * window.strides[axis] + reach;
        pads[axis + 2] = (before as i64, needed.saturating_sub(before + n).max(behind) as i64);
    }
    let padded = pad(x, PadMode::Constant(fill), &pads)?;
    let mut parts = Vec::with_capacity(window.kernel[0] * window.kernel[1]);
    let places = |axis: usize, k: usize| -> Vec<i64> {
        let place = |i| (i * window.strides[axis] + k * window.dilations[axis]) as i64;
        (0..outputs[axis]).map(place).collect()
    };
    for row in 0..window.kernel[0] {
        let rows = select(&padded, 2, places(0, row))?;
        for column in 0..window.kernel[1] {
            parts.push(select(&rows, 3, places(1, column))?);
        }
    }
    Ok(Tensor::stack(&parts, 2)?)
}

/// How many places a window has along an axis (0 rows, 1 columns).
fn output_extent(window: &Window, axis: usize, n: usize) -> Result<usize, Problem> {
    let (before, behind) = (window.pads[axis], window.pads[axis + 2]);
    let [kernel, stride, dilation] =
        [window.kernel, window.strides, window.dilations].map(|s| s[axis]);
    let room =
        kernel.checked_sub(1).and_then(|k| (before + n + behind).checked_sub(k * dilation + 1));
    let (Some(room), 1..) = (room, stride) else {
        let (expected, found) = (format!("at most {}", before + n + behind), kernel.to_string());
        return Err(Problem::Setting { what: "the extent of a window", expected, found });
    };
    if !window.ceil {
        return Ok(room / stride + 1);
    }
    let places = room.div_ceil(stride) + 1;
    let is_in_padding = places > 1 && (places - 1) * stride >= before + n;
    Ok(places - usize::from(is_in_padding))
}
