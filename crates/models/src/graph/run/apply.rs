//! One operator on tensors: where each kind of operator is computed.

use candle_core::{DType, Device, Tensor};

use super::{cast, elementwise, linear, normalize, pairs, pick, reduce, reshape, sliding};
use crate::graph::{Dimension, Op, Problem};

/// What the operators of one run share.
#[derive(Clone, Debug)]
pub(in crate::graph) struct Context {
    /// m: examples in the batch.
    pub(in crate::graph) m: usize,
    /// The type of all floats: f32 or f64.
    pub(in crate::graph) dtype: DType,
    /// Where everything lies.
    pub(in crate::graph) device: Device,
}

/// More numbers than one tensor may hold: 16 GiB in f32. A damaged file asks for more.
const MAX_ENTRIES: usize = 1 << 32;

impl Context {
    /// Numbers of a shape for this batch.
    pub(super) fn extents(&self, shape: &[Dimension]) -> Result<Vec<usize>, Problem> {
        let extent = |d: &Dimension| d.of_batch(self.m).and_then(|n| usize::try_from(n).ok());
        let extents: Vec<usize> =
            shape.iter().map(extent).collect::<Option<_>>().ok_or(Problem::TooLarge)?;
        check_size(&extents)?;
        Ok(extents)
    }

    /// The number of one extent for this batch.
    pub(super) fn extent(&self, of: Dimension) -> Result<usize, Problem> {
        Ok(self.extents(&[of])?[0])
    }
}

/// Refuses shapes that no memory holds.
pub(super) fn check_size(extents: &[usize]) -> Result<(), Problem> {
    let entries = extents.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    match entries {
        Some(n) if n <= MAX_ENTRIES => Ok(()),
        _ => Err(Problem::TooLarge),
    }
}

/// The results of an operator; operands stand in the order of [`Op`]'s documentation.
///
/// Whole numbers are i64, truth values u8, floats all of the context's type.
pub(in crate::graph) fn apply(
    op: &Op,
    operands: &[Tensor],
    context: &Context,
) -> Result<Vec<Tensor>, Problem> {
    let result = match op {
        Op::Gemm { alpha, beta, transpose_a, transpose_b } => {
            let (a, b, c) = two_or_three(operands)?;
            linear::gemm((a, *transpose_a), (b, *transpose_b), c, (*alpha, *beta))?
        }
        Op::MatMul => linear::matmul(two(operands)?.0, two(operands)?.1)?,
        Op::Conv { window, groups } => {
            let (x, filters, bias) = two_or_three(operands)?;
            sliding::convolution(x, filters, bias, window, *groups)?
        }
        Op::BatchNormalization { epsilon } => {
            let [x, scale, shift, mean, variance] = operands else {
                return Err(count("5", operands));
            };
            normalize::batch(x, [scale, shift, mean, variance], *epsilon)?
        }
        Op::LayerNormalization { axis, epsilon } => {
            let (x, scale, shift) = two_or_three(operands)?;
            normalize::layer(x, scale, shift, *axis, *epsilon)?
        }
        Op::GroupNormalization { groups, epsilon } => {
            let (x, scale, shift) = three(operands)?;
            normalize::group(x, scale, shift, *groups, *epsilon)?
        }
        Op::Unary(unary) => elementwise::unary(*unary, one(operands)?)?,
        Op::PRelu => elementwise::parametric_relu(two(operands)?.0, two(operands)?.1)?,
        Op::Binary(binary) => pairs::binary(*binary, two(operands)?.0, two(operands)?.1)?,
        Op::Where => {
            let (condition, yes, no) = three(operands)?;
            pairs::select(condition, yes, no)?
        }
        Op::Softmax { axis, to_end, is_log } => {
            normalize::softmax(one(operands)?, *axis, *to_end, *is_log)?
        }
        Op::MaxPool { window } => sliding::max_pool(one(operands)?, window)?,
        Op::AveragePool { window, counts_padding } => {
            sliding::average_pool(one(operands)?, window, *counts_padding)?
        }
        Op::Reduce { reduction, axes, keep } => {
            reduce::reduce(*reduction, one(operands)?, axes, *keep)?
        }
        Op::Flatten { axis } => reshape::flatten(one(operands)?, *axis)?,
        Op::Reshape { shape } => one(operands)?.reshape(context.extents(shape)?)?,
        Op::Transpose { order } => one(operands)?.permute(order.as_slice())?,
        Op::Squeeze { axes } => reshape::squeeze(one(operands)?, axes)?,
        Op::Unsqueeze { axes } => reshape::unsqueeze(one(operands)?, axes)?,
        Op::Concat { axis } => reshape::concat(operands, *axis)?,
        Op::Split { axis, sizes } => {
            return reshape::split(one(operands)?, *axis, &context.extents_each(sizes)?);
        }
        Op::Slice { ranges } => pick::slice(one(operands)?, ranges, context)?,
        Op::Gather { axis } => pick::gather(two(operands)?.0, two(operands)?.1, *axis)?,
        Op::Expand { shape } => reshape::expand(one(operands)?, &context.extents(shape)?)?,
        Op::Tile { repeats } => reshape::tile(one(operands)?, &context.extents_each(repeats)?)?,
        Op::Pad { mode, pads } => pick::pad(one(operands)?, *mode, pads)?,
        Op::Cast { to } => cast::cast(one(operands)?, *to, context)?,
        Op::Shape { start, end } => cast::shape(one(operands)?, *start, *end)?,
        Op::Fill { shape, value, kind } => {
            cast::full(*value, *kind, &context.extents(shape)?, context)?
        }
        Op::Range => {
            let (start, limit, step) = three(operands)?;
            cast::range(start, limit, step)?
        }
        Op::Normalizer { norm } => normalize::rows(one(operands)?, *norm)?,
        Op::Scaler { offset, scale } => normalize::columns(one(operands)?, offset, scale)?,
        Op::LabelEncoder { keys, values, default, kind } => {
            let table = cast::Table { keys, values, default: *default, kind: *kind };
            cast::encode(one(operands)?, &table, context)?
        }
    };
    Ok(vec![result])
}

impl Context {
    /// Numbers of a list of extents whose product means nothing.
    fn extents_each(&self, of: &[Dimension]) -> Result<Vec<usize>, Problem> {
        of.iter().map(|&d| self.extent(d)).collect()
    }
}

fn count(expected: &'static str, operands: &[Tensor]) -> Problem {
    Problem::Operands { expected, found: operands.len() }
}

fn one(operands: &[Tensor]) -> Result<&Tensor, Problem> {
    let [x] = operands else { return Err(count("1", operands)) };
    Ok(x)
}

fn two(operands: &[Tensor]) -> Result<(&Tensor, &Tensor), Problem> {
    let [a, b] = operands else { return Err(count("2", operands)) };
    Ok((a, b))
}

fn three(operands: &[Tensor]) -> Result<(&Tensor, &Tensor, &Tensor), Problem> {
    let [a, b, c] = operands else { return Err(count("3", operands)) };
    Ok((a, b, c))
}

fn two_or_three(operands: &[Tensor]) -> Result<(&Tensor, &Tensor, Option<&Tensor>), Problem> {
    match operands {
        [a, b] => Ok((a, b, None)),
        [a, b, c] => Ok((a, b, Some(c))),
        _ => Err(count("2 or 3", operands)),
    }
}
