//! Linear maps, and windows that slide: Gemm, MatMul, Conv, pooling.

use super::super::node::At;
use super::super::{Import, ImportError};
use crate::graph::{Op, Reduction, ValueId, Window, rules};

pub(super) const OPERATORS: &[&str] =
    &["Gemm", "MatMul", "Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"];

pub(super) fn add(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<bool, ImportError> {
    let op = match at.node.op_type.as_str() {
        "Gemm" => Op::Gemm {
            alpha: at.float("alpha", 1.0)?,
            beta: at.float("beta", 1.0)?,
            transpose_a: at.flag("transA", false)?,
            transpose_b: at.flag("transB", false)?,
        },
        "MatMul" => Op::MatMul,
        "Conv" => {
            let filters = import.operand(at, 1)?;
            let shape = import.shape(filters).iter().skip(2);
            let kernel: Vec<i64> = shape.filter_map(|extent| extent.as_known()).collect();
            let window = window(import, at, Some(&kernel))?;
            let found = at.int("group", 1)?;
            let groups = usize::try_from(found).ok().filter(|&groups| groups > 0);
            let wrong = || at.wrong("group", "a number from 1", found.to_string());
            Op::Conv { window, groups: groups.ok_or_else(wrong)? }
        }
        "MaxPool" => {
            if at.int("storage_order", 0)? != 0 {
                return Err(at.wrong("storage_order", "0", "1"));
            }
            Op::MaxPool { window: window(import, at, None)? }
        }
        "AveragePool" => Op::AveragePool {
            window: window(import, at, None)?,
            counts_padding: at.flag("count_include_pad", false)?,
        },
        "GlobalAveragePool" => global(import, at, Reduction::Mean)?,
        "GlobalMaxPool" => global(import, at, Reduction::Max)?,
        _ => return Ok(false),
    };
    let operands = import.operands(at)?;
    import.node(at, op, &operands)?;
    Ok(true)
}

fn global(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    reduction: Reduction,
) -> Result<Op, ImportError> {
    let x: ValueId = import.operand(at, 0)?;
    let axes = (2..import.shape(x).len()).collect();
    Ok(Op::Reduce { reduction, axes, keep: true })
}

/// The window of a node; `filters`: extents of the filters of a convolution, which may leave the kernel out.
fn window(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    filters: Option<&[i64]>,
) -> Result<Window, ImportError> {
    let kernel = match (at.ints("kernel_shape")?, filters) {
        (Some(kernel), Some(filters)) if kernel != filters => {
            let found = format!("{kernel:?} beside filters of {filters:?}");
            return Err(at.wrong("kernel_shape", "the extents of the filters", found));
        }
        (Some(kernel), _) => kernel.to_vec(),
        (None, Some(filters)) => filters.to_vec(),
        (None, None) => return Err(at.wrong("kernel_shape", "one number an axis", "none")),
    };
    let rank = kernel.len();
    let x = import.operand(at, 0)?;
    if !(1..=2).contains(&rank) || import.shape(x).len() != rank + 2 {
        let found = format!("{kernel:?} for an operand of {} axes", import.shape(x).len());
        return Err(at.wrong(
            "kernel_shape",
            "one or two extents, one an axis behind the channels",
            found,
        ));
    }
    let strides = numbers(at, "strides", rank, 1)?;
    let dilations = numbers(at, "dilations", rank, 1)?;
    let kernel = pair(at, "kernel_shape", &kernel, 1)?;
    let (strides, dilations) =
        (pair(at, "strides", &strides, 1)?, pair(at, "dilations", &dilations, 1)?);
    let ceil = at.flag("ceil_mode", false)?;
    let mut window = Window { kernel, strides, dilations, pads: [0; 4], ceil };
    window.pads = match at.word("auto_pad", "NOTSET")? {
        "NOTSET" | "" => {
            let pads = numbers(at, "pads", 2 * rank, 0)?;
            let (before, behind) = pads.split_at(rank);
            let [top, left] = pair(at, "pads", before, 0)?;
            let [bottom, right] = pair(at, "pads", behind, 0)?;
            [top, left, bottom, right]
        }
        "VALID" => [0; 4],
        word @ ("SAME_UPPER" | "SAME_LOWER") => {
            let extents: Vec<i64> =
                import.shape(x).iter().skip(2).filter_map(|extent| extent.as_known()).collect();
            let extents = pair(at, "auto_pad", &extents, 1)?;
            rules::same_pads(&window, extents, word == "SAME_LOWER")
                .map_err(|problem| at.problem(problem))?
        }
        word => {
            return Err(at.wrong("auto_pad", "NOTSET, VALID, SAME_UPPER or SAME_LOWER", word));
        }
    };
    Ok(window)
}

fn numbers(
    at: &At<'_>,
    name: &'static str,
    n: usize,
    default: i64,
) -> Result<Vec<i64>, ImportError> {
    match at.ints(name)? {
        None | Some([]) => Ok(vec![default; n]),
        Some(values) if values.len() == n => Ok(values.to_vec()),
        Some(values) => {
            Err(at.wrong(name, "one number an axis (pads: two)", format!("{values:?}")))
        }
    }
}

/// One or two numbers as two; a window over one axis has one row. `least` stands for the row that is not there: 1 for
/// extents, 0 for pads.
fn pair(
    at: &At<'_>,
    name: &'static str,
    values: &[i64],
    least: usize,
) -> Result<[usize; 2], ImportError> {
    let of = |value: i64| {
        usize::try_from(value).ok().filter(|&n| n >= least).ok_or_else(|| {
            let expected = if least == 0 { "numbers from 0" } else { "numbers from 1" };
            at.wrong(name, expected, format!("{values:?}"))
        })
    };
    match *values {
        [one] => Ok([least, of(one)?]),
        [rows, columns] => Ok([of(rows)?, of(columns)?]),
        _ => Err(at.wrong(name, "one or two numbers", format!("{values:?}"))),
    }
}
