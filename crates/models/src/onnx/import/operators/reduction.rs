//! Sums, means and extremes over axes.

use super::super::node::At;
use super::super::{Import, ImportError};
use crate::graph::{Op, Reduction};

pub(super) const OPERATORS: &[&str] = &[
    "ReduceMean",
    "ReduceSum",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
];

pub(super) fn add(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<bool, ImportError> {
    let reduction = match at.node.op_type.as_str() {
        "ReduceMean" => Reduction::Mean,
        "ReduceSum" => Reduction::Sum,
        "ReduceMax" => Reduction::Max,
        "ReduceMin" => Reduction::Min,
        "ReduceProd" => Reduction::Prod,
        "ReduceL1" => Reduction::L1,
        "ReduceL2" => Reduction::L2,
        "ReduceSumSquare" => Reduction::SumSquare,
        _ => return Ok(false),
    };
    let x = import.operand(at, 0)?;
    let rank = import.shape(x).len();
    let named = import.axes(at, 1, rank)?.filter(|axes| !axes.is_empty());
    let axes = match named {
        Some(axes) => axes,
        None if at.flag("noop_with_empty_axes", false)? => Vec::new(),
        None => (0..rank).collect(),
    };
    let keep = at.flag("keepdims", true)?;
    import.node(at, Op::Reduce { reduction, axes, keep }, &[x])?;
    Ok(true)
}
