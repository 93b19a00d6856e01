//! Transposed convolution, read as a convolution of an image with zeros between its pixels.

use super::super::node::At;
use super::super::{Import, ImportError};
use crate::graph::{Dimension, Op, PadMode, SliceRange, ValueId, Window, rules};

pub(super) const OPERATORS: &[&str] = &["ConvTranspose"];

/// The adjoint of a convolution in its input: (N, c, …), filters (c, o/groups, …) → (N, o, …).
///
/// stride − 1 zeros go between neighbors and d (k − 1) − pad around, then filters that are turned round see each place.
pub(super) fn add(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<bool, ImportError> {
    if at.node.op_type != "ConvTranspose" {
        return Ok(false);
    }
    let (x, filters) = (import.operand(at, 0)?, import.operand(at, 1)?);
    let kernel = import.shape(filters).iter().skip(2).map(|extent| extent.as_known());
    let kernel: Option<Vec<i64>> = kernel.collect();
    let kernel = kernel.filter(|kernel| (1..=2).contains(&kernel.len()));
    let wrong = || at.wrong("filters", "one or two extents behind the channels", "others");
    let kernel = kernel.ok_or_else(wrong)?;
    if let Some(&least) = kernel.iter().find(|&&extent| extent < 1) {
        return Err(at.wrong("filters", "extents from 1", least.to_string()));
    }
    if let Some(named) = at.ints("kernel_shape")?.filter(|&named| named != kernel) {
        let found = format!("{named:?} beside filters of {kernel:?}");
        return Err(at.wrong("kernel_shape", "the extents of the filters", found));
    }
    let rank = kernel.len();
    if import.shape(x).len() != rank + 2 {
        return Err(wrong());
    }
    let strides = numbers(at, "strides", rank, 1, 1)?;
    let dilations = numbers(at, "dilations", rank, 1, 1)?;
    let more = numbers(at, "output_padding", rank, 0, 0)?;
    let groups = at.int("group", 1)?;
    if groups < 1 {
        return Err(at.wrong("group", "a number from 1", groups.to_string()));
    }
    let whole: Vec<i64> = (0..rank).map(|i| dilations[i].saturating_mul(kernel[i] - 1)).collect();
    let pads = pads(import, at, x, [&strides, &whole, &more])?;

    let spread = spread(import, at, x, &strides)?;
    let mut around = vec![(0, 0); rank + 2];
    for axis in 0..rank {
        let reach = whole[axis];
        let behind = reach.saturating_sub(pads[rank + axis]).saturating_add(more[axis]);
        around[axis + 2] = (reach.saturating_sub(pads[axis]), behind);
    }
    let padded = Op::Pad { mode: PadMode::Constant(0.0), pads: around };
    let padded = import.part(at, padded, &[spread], "padded")?;
    let turned = turned(import, at, filters, groups)?;
    let of = |values: &[i64]| match *values {
        [one] => [1, usize::try_from(one).unwrap_or(1)],
        [rows, columns] => [rows, columns].map(|n| usize::try_from(n).unwrap_or(1)),
        _ => [1, 1],
    };
    let window = Window {
        kernel: of(&kernel),
        strides: [1, 1],
        dilations: of(&dilations),
        pads: [0; 4],
        ceil: false,
    };
    let groups = usize::try_from(groups).unwrap_or(1);
    let mut operands = vec![padded, turned];
    if at.input(2).is_some() {
        operands.push(import.operand(at, 2)?);
    }
    import.node(at, Op::Conv { window, groups }, &operands)?;
    Ok(true)
}

/// stride − 1 zeros between neighbors on the axes behind the channels.
fn spread(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    x: ValueId,
    strides: &[i64],
) -> Result<ValueId, ImportError> {
    if strides.iter().all(|&stride| stride == 1) {
        return Ok(x);
    }
    let shape = import.shape(x).to_vec();
    // Each axis gets one of its own behind it, (…, h, 1, w, 1), which is filled up with zeros.
    let axes: Vec<usize> = (0..strides.len()).map(|i| 3 + 2 * i).collect();
    let apart = import.part(at, Op::Unsqueeze { axes: axes.clone() }, &[x], "apart")?;
    let mut pads = vec![(0, 0); 2 + 2 * strides.len()];
    axes.iter().zip(strides).for_each(|(&axis, &stride)| pads[axis] = (0, stride - 1));
    let filled = Op::Pad { mode: PadMode::Constant(0.0), pads };
    let filled = import.part(at, filled, &[apart], "filled")?;
    let mut wide = shape[..2].to_vec();
    let mut ranges = Vec::new();
    for (i, (&extent, &stride)) in shape[2..].iter().zip(strides).enumerate() {
        let stride = Dimension::known(stride);
        let whole = rules::product(extent, stride).map_err(|problem| at.problem(problem))?;
        wide.push(whole);
        // No zeros follow the last pixel.
        let len = rules::difference(
            whole,
            rules::difference(stride, Dimension::known(1))
                .map_err(|problem| at.problem(problem))?,
        )
        .map_err(|problem| at.problem(problem))?;
        ranges.push(SliceRange { axis: 2 + i, start: Dimension::known(0), step: 1, len });
    }
    let joined = import.part(at, Op::Reshape { shape: wide }, &[filled], "joined")?;
    import.part(at, Op::Slice { ranges }, &[joined], "spread")
}

/// Filters (c, o/g, …) as those of the convolution, (o, c/g, …), each turned round.
fn turned(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    filters: ValueId,
    groups: i64,
) -> Result<ValueId, ImportError> {
    let shape = import.shape(filters).to_vec();
    let g = Dimension::known(groups);
    let each = shape[0].checked_div(g).filter(|&n| n.checked_mul(g) == Some(shape[0]));
    let wrong = || at.wrong("group", "a number that divides the channels", groups.to_string());
    let each = each.ok_or_else(wrong)?;
    let places = &shape[2..];
    let parts = [&[g, each, shape[1]], places].concat();
    let parts = import.part(at, Op::Reshape { shape: parts }, &[filters], "groups")?;
    let order = [0, 2, 1].into_iter().chain(3..3 + places.len()).collect();
    let swapped = import.part(at, Op::Transpose { order }, &[parts], "swapped")?;
    let n_filters = rules::product(g, shape[1]).map_err(|problem| at.problem(problem))?;
    let whole = [&[n_filters, each], places].concat();
    let whole = import.part(at, Op::Reshape { shape: whole }, &[swapped], "filters")?;
    let last = |extent: Dimension| Dimension::known(extent.fixed - 1);
    let ranges = places
        .iter()
        .enumerate()
        .filter(|(_, extent)| extent.fixed > 1)
        .map(|(i, &len)| SliceRange { axis: 2 + i, start: last(len), step: -1, len })
        .collect();
    import.part(at, Op::Slice { ranges }, &[whole], "turned")
}

/// The pads of the file, or those that make an output of the shape that it asks for; the reach of a filter is d (k − 1).
fn pads(
    import: &Import<'_, '_, '_>,
    at: &At<'_>,
    x: ValueId,
    [strides, reach, more]: [&[i64]; 3],
) -> Result<Vec<i64>, ImportError> {
    let rank = strides.len();
    let word = at.word("auto_pad", "NOTSET")?;
    let extents: Vec<i64> =
        import.shape(x).iter().skip(2).filter_map(|extent| extent.as_known()).collect();
    let asked = at.ints("output_shape")?;
    let wanted: Vec<i64> = match (asked, word) {
        (Some(shape), _) if shape.len() == rank => shape.to_vec(),
        (Some(shape), _) => {
            return Err(at.wrong("output_shape", "one number an axis", format!("{shape:?}")));
        }
        (None, "SAME_UPPER" | "SAME_LOWER") => {
            extents.iter().zip(strides).map(|(&n, &stride)| n.saturating_mul(stride)).collect()
        }
        (None, "VALID") => return Ok(vec![0; 2 * rank]),
        (None, "NOTSET" | "") => return numbers(at, "pads", 2 * rank, 0, 0),
        (None, word) => {
            return Err(at.wrong("auto_pad", "NOTSET, VALID, SAME_UPPER or SAME_LOWER", word));
        }
    };
    if extents.len() != rank {
        return Err(at.wrong("output_shape", "an image of a fixed size", "an open one"));
    }
    let mut pads = vec![0; 2 * rank];
    for axis in 0..rank {
        let natural = (extents[axis] - 1).saturating_mul(strides[axis]);
        let natural =
            natural.saturating_add(reach[axis]).saturating_add(more[axis].saturating_add(1));
        let total = natural.saturating_sub(wanted[axis]);
        if total < 0 && asked.is_some() {
            let expected = "no more places than the filters reach";
            let found = format!("{} of {natural}", wanted[axis]);
            return Err(at.wrong("output_shape", expected, found));
        }
        // A stride that is longer than a filter leaves gaps, which SAME does not fill.
        let total = total.max(0);
        let half = total.div_euclid(2);
        let (before, behind) =
            if word == "SAME_UPPER" { (half, total - half) } else { (total - half, half) };
        (pads[axis], pads[rank + axis]) = (before, behind);
    }
    Ok(pads)
}

/// One number an axis, at least `least`.
fn numbers(
    at: &At<'_>,
    name: &'static str,
    n: usize,
    default: i64,
    least: i64,
) -> Result<Vec<i64>, ImportError> {
    match at.ints(name)? {
        None | Some([]) => Ok(vec![default; n]),
        Some(values) if values.len() == n && values.iter().all(|&value| value >= least) => {
            Ok(values.to_vec())
        }
        Some(values) => {
            let expected = "one number an axis (pads: two), not negative, extents from 1";
            Err(at.wrong(name, expected, format!("{values:?}")))
        }
    }
}
