//! Random operators, their operands and what candle makes of them.

use candle_core::{DType, Device, Result, Tensor};
use core_tensors::Rng;

use crate::graph::{Binary, Dimension, Kind, Op, PadMode, Reduction, SliceRange, Unary, Window};

/// One operator on tensors.
pub(super) struct Case {
    pub(super) op: Op,
    pub(super) operands: Vec<Tensor>,
    pub(super) expected: Vec<Tensor>,
}

/// Makes a case.
type Maker = fn(&mut Rng) -> Result<Case>;

pub(super) const MAKERS: [Maker; 23] = [
    transpose, reshape, flatten, unsqueeze, squeeze, concat, split, slice, gather, expand, tile,
    pad, binary, compare, logic, whole, choose, reduce, unary, cast, matmul, gemm, windows,
];

fn case(op: Op, operands: &[&Tensor], expected: Tensor) -> Result<Case> {
    let operands = operands.iter().map(|&x| x.clone()).collect();
    Ok(Case { op, operands, expected: vec![expected] })
}

/// Halves of small whole numbers, so that some are equal, some 0, and sums exact.
fn tensor(rng: &mut Rng, shape: &[usize]) -> Result<Tensor> {
    let n = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|_| (rng.normal() * 4.0).round() as f32 / 2.0).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// Numbers of all sizes.
fn real(rng: &mut Rng, shape: &[usize]) -> Result<Tensor> {
    let n = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|_| (rng.normal() * 2.0) as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

fn extents(rng: &mut Rng, rank: usize) -> Vec<usize> {
    (0..rank).map(|_| 1 + rng.below(4)).collect()
}

fn some(rng: &mut Rng) -> Result<Tensor> {
    let rank = 1 + rng.below(4);
    let shape = extents(rng, rank);
    real(rng, &shape)
}

/// A shape that broadcasts to another: some extents are 1, some axes are not there.
fn narrowed(rng: &mut Rng, shape: &[usize]) -> Vec<usize> {
    let from = rng.below(shape.len() + 1);
    shape[from..].iter().map(|&extent| if rng.below(3) == 0 { 1 } else { extent }).collect()
}

/// Two tensors that broadcast with one another.
fn pair(rng: &mut Rng, draw: fn(&mut Rng, &[usize]) -> Result<Tensor>) -> Result<[Tensor; 2]> {
    let rank = 1 + rng.below(4);
    let shape = extents(rng, rank);
    let other = narrowed(rng, &shape);
    let mut pair = [draw(rng, &shape)?, draw(rng, &other)?];
    if rng.below(2) == 0 {
        pair.reverse();
    }
    Ok(pair)
}

fn known(n: usize) -> Dimension {
    Dimension::known(n as i64)
}

fn all_known(shape: &[usize]) -> Vec<Dimension> {
    shape.iter().map(|&n| known(n)).collect()
}

fn transpose(rng: &mut Rng) -> Result<Case> {
    let x = some(rng)?;
    let order = rng.permutation(x.rank());
    case(Op::Transpose { order: order.clone() }, &[&x], x.permute(order)?)
}

fn reshape(rng: &mut Rng) -> Result<Case> {
    let x = some(rng)?;
    let cut = rng.below(x.rank() + 1);
    let (front, behind) = x.dims().split_at(cut);
    let shape = match rng.below(3) {
        0 => vec![front.iter().product::<usize>(), behind.iter().product()],
        1 => x.dims().iter().rev().copied().collect(),
        _ => [front, &[1, behind.iter().product()]].concat(),
    };
    case(Op::Reshape { shape: all_known(&shape) }, &[&x], x.reshape(shape)?)
}

fn flatten(rng: &mut Rng) -> Result<Case> {
    let x = some(rng)?;
    let axis = rng.below(x.rank() + 1);
    let rows: usize = x.dims()[..axis].iter().product();
    case(Op::Flatten { axis }, &[&x], x.reshape((rows, ()))?)
}

fn unsqueeze(rng: &mut Rng) -> Result<Case> {
    let x = some(rng)?;
    let first = rng.below(x.rank() + 1);
    let second = first + 1 + rng.below(x.rank() + 1 - first);
    let expected = x.unsqueeze(first)?.unsqueeze(second)?;
    case(Op::Unsqueeze { axes: vec![first, second] }, &[&x], expected)
}

fn squeeze(rng: &mut Rng) -> Result<Case> {
    let x = some(rng)?;
    let first = rng.below(x.rank() + 1);
    let second = first + 1 + rng.below(x.rank() + 1 - first);
    let wide = x.unsqueeze(first)?.unsqueeze(second)?;
    case(Op::Squeeze { axes: vec![first, second] }, &[&wide], x)
}

fn concat(rng: &mut Rng) -> Result<Case> {
    let x = some(rng)?;
    let axis = rng.below(x.rank());
    let mut parts = vec![x.clone()];
    for _ in 0..rng.below(3) {
        let mut shape = x.dims().to_vec();
        shape[axis] = 1 + rng.below(3);
        parts.push(real(rng, &shape)?);
    }
    let expected = Tensor::cat(&parts, axis)?;
    Ok(Case { op: Op::Concat { axis }, operands: parts, expected: vec![expected] })
}

fn split(rng: &mut Rng) -> Result<Case> {
    let x = some(rng)?;
    let axis = rng.below(x.rank());
    let (mut sizes, mut expected, mut start) = (Vec::new(), Vec::new(), 0);
    while start < x.dim(axis)? {
        let size = 1 + rng.below(x.dim(axis)? - start);
        expected.push(x.narrow(axis, start, size)?);
        sizes.push(known(size));
        start += size;
    }
    Ok(Case { op: Op::Split { axis, sizes }, operands: vec![x], expected })
}

fn slice(rng: &mut Rng) -> Result<Case> {
    let x = some(rng)?;
    let (mut ranges, mut expected) = (Vec::new(), x.clone());
    for axis in (0..x.rank()).filter(|_| rng.below(2) == 0).collect::<Vec<_>>() {
        let n = x.dim(axis)?;
        let start = rng.below(n);
        let step = [-2, -1, 1, 2][rng.below(4)];
        let places: Vec<u32> = (0..)
            .map(|j| start as i64 + j * step)
            .take_while(|&place| place >= 0 && place < n as i64)
            .map(|place| place as u32)
            .collect();
        let len = places.len();
        ranges.push(SliceRange { axis, start: known(start), step, len: known(len) });
        let places = Tensor::from_vec(places, len, &Device::Cpu)?;
        expected = expected.contiguous()?.index_select(&places, axis)?;
    }
    case(Op::Slice { ranges }, &[&x], expected)
}

fn gather(rng: &mut Rng) -> Result<Case> {
    let x = some(rng)?;
    let axis = rng.below(x.rank());
    let n = x.dim(axis)?;
    let rank = rng.below(3);
    let shape = extents(rng, rank);
    let count = shape.iter().product();
    let indices: Vec<i64> = (0..count).map(|_| rng.below(2 * n) as i64 - n as i64).collect();
    let places: Vec<u32> = indices.iter().map(|i| i.rem_euclid(n as i64) as u32).collect();
    let indices = Tensor::from_vec(indices, shape.as_slice(), &Device::Cpu)?;
    let places = Tensor::from_vec(places, count, &Device::Cpu)?;
    let picked = x.index_select(&places, axis)?;
    let result = [&x.dims()[..axis], &shape, &x.dims()[axis + 1..]].concat();
    case(Op::Gather { axis }, &[&x, &indices], picked.reshape(result)?)
}

fn expand(rng: &mut Rng) -> Result<Case> {
    let rank = 1 + rng.below(4);
    let target = extents(rng, rank);
    let shape = narrowed(rng, &target);
    let x = real(rng, &shape)?;
    // The target may itself be 1 where the operand is not.
    let asked: Vec<usize> = target.iter().map(|&n| if rng.below(4) == 0 { 1 } else { n }).collect();
    let new = target.len() - shape.len();
    let result: Vec<usize> = (0..target.len())
        .map(|axis| axis.checked_sub(new).map_or(asked[axis], |own| shape[own].max(asked[axis])))
        .collect();
    case(Op::Expand { shape: all_known(&asked) }, &[&x], x.broadcast_as(result)?)
}

fn tile(rng: &mut Rng) -> Result<Case> {
    let x = some(rng)?;
    let repeats = extents(rng, x.rank());
    case(Op::Tile { repeats: all_known(&repeats) }, &[&x], x.repeat(repeats)?)
}

fn pad(rng: &mut Rng) -> Result<Case> {
    let x = some(rng)?;
    let (mut pads, mut expected) = (Vec::new(), x.clone());
    for (axis, &n) in x.dims().iter().enumerate() {
        let mut pair = (rng.below(3) as i64, rng.below(3) as i64);
        if rng.below(3) == 0 && n > 1 {
            let is_before = rng.below(2) == 0;
            *(if is_before { &mut pair.0 } else { &mut pair.1 }) = -1;
            expected = expected.narrow(axis, usize::from(is_before), n - 1)?;
        }
        let [before, behind] = [pair.0, pair.1].map(|n| n.max(0) as usize);
        expected = expected.pad_with_zeros(axis, before, behind)?;
        pads.push(pair);
    }
    case(Op::Pad { mode: PadMode::Constant(0.0), pads }, &[&x], expected)
}

fn binary(rng: &mut Rng) -> Result<Case> {
    let [a, b] = pair(rng, real)?;
    let (op, expected) = match rng.below(6) {
        0 => (Binary::Add, a.broadcast_add(&b)?),
        1 => (Binary::Sub, a.broadcast_sub(&b)?),
        2 => (Binary::Mul, a.broadcast_mul(&b)?),
        3 => (Binary::Div, a.broadcast_div(&b)?),
        4 => (Binary::Min, a.broadcast_minimum(&b)?),
        _ => (Binary::Max, a.broadcast_maximum(&b)?),
    };
    case(Op::Binary(op), &[&a, &b], expected)
}

fn compare(rng: &mut Rng) -> Result<Case> {
    let [mut a, mut b] = pair(rng, tensor)?;
    if rng.below(2) == 0 {
        (a, b) = (a.to_dtype(DType::I64)?, b.to_dtype(DType::I64)?);
    }
    let (op, expected) = match rng.below(5) {
        0 => (Binary::Equal, a.broadcast_eq(&b)?),
        1 => (Binary::Greater, a.broadcast_gt(&b)?),
        2 => (Binary::GreaterOrEqual, a.broadcast_ge(&b)?),
        3 => (Binary::Less, a.broadcast_lt(&b)?),
        _ => (Binary::LessOrEqual, a.broadcast_le(&b)?),
    };
    case(Op::Binary(op), &[&a, &b], expected)
}

fn logic(rng: &mut Rng) -> Result<Case> {
    let [a, b] = pair(rng, tensor)?;
    let [a, b] = [a.gt(0.0)?, b.gt(0.0)?];
    let (op, expected) = match rng.below(3) {
        0 => (Binary::And, a.broadcast_mul(&b)?),
        1 => (Binary::Or, a.broadcast_maximum(&b)?),
        _ => (Binary::Xor, a.broadcast_ne(&b)?),
    };
    case(Op::Binary(op), &[&a, &b], expected)
}

fn whole(rng: &mut Rng) -> Result<Case> {
    let [a, b] = pair(rng, tensor)?;
    let [a, b] = [a.to_dtype(DType::I64)?, b.to_dtype(DType::I64)?];
    let (op, expected) = match rng.below(5) {
        0 => (Binary::Add, a.broadcast_add(&b)?),
        1 => (Binary::Sub, a.broadcast_sub(&b)?),
        2 => (Binary::Mul, a.broadcast_mul(&b)?),
        3 => (Binary::Min, a.broadcast_minimum(&b)?),
        _ => {
            // No divisor of 0.
            let b = b.abs()?.broadcast_add(&Tensor::new(1i64, &Device::Cpu)?)?;
            let expected = a.broadcast_div(&b)?;
            return case(Op::Binary(Binary::Div), &[&a, &b], expected);
        }
    };
    case(Op::Binary(op), &[&a, &b], expected)
}

fn choose(rng: &mut Rng) -> Result<Case> {
    let [yes, no] = pair(rng, real)?;
    let target = yes.broadcast_add(&no)?.dims().to_vec();
    let shape = narrowed(rng, &target);
    let condition = tensor(rng, &shape)?.gt(0.0)?;
    let spread = |x: &Tensor| x.broadcast_as(target.as_slice());
    let expected = spread(&condition)?.where_cond(&spread(&yes)?, &spread(&no)?)?;
    case(Op::Where, &[&condition, &yes, &no], expected)
}

fn reduce(rng: &mut Rng) -> Result<Case> {
    let rank = 1 + rng.below(4);
    let shape = extents(rng, rank);
    let x = tensor(rng, &shape)?;
    let axes: Vec<usize> = (0..x.rank()).filter(|_| rng.below(2) == 0).collect();
    let (reduction, kept) = match rng.below(6) {
        0 => (Reduction::Sum, x.sum_keepdim(axes.as_slice())?),
        1 => (Reduction::Mean, x.mean_keepdim(axes.as_slice())?),
        2 => (Reduction::Max, extreme(&x, &axes, Tensor::max_keepdim)?),
        3 => (Reduction::Min, extreme(&x, &axes, Tensor::min_keepdim)?),
        4 => (Reduction::L1, x.abs()?.sum_keepdim(axes.as_slice())?),
        _ => (Reduction::SumSquare, x.sqr()?.sum_keepdim(axes.as_slice())?),
    };
    let keep = rng.below(2) == 0;
    let expected = match keep {
        true => kept,
        false => {
            let left = (0..x.rank()).filter(|axis| !axes.contains(axis)).map(|axis| x.dims()[axis]);
            kept.reshape(left.collect::<Vec<_>>())?
        }
    };
    case(Op::Reduce { reduction, axes, keep }, &[&x], expected)
}

fn extreme(x: &Tensor, axes: &[usize], f: fn(&Tensor, usize) -> Result<Tensor>) -> Result<Tensor> {
    axes.iter().try_fold(x.clone(), |x, &axis| f(&x, axis))
}

fn unary(rng: &mut Rng) -> Result<Case> {
    let x = some(rng)?;
    let (op, expected) = match rng.below(20) {
        0 => (Unary::Relu, x.relu()?),
        1 => (Unary::Elu { alpha: 1.5 }, x.elu(1.5)?),
        2 => (Unary::Sigmoid, ((x.neg()?.exp()? + 1.0)?).recip()?),
        3 => (Unary::Tanh, x.tanh()?),
        4 => (Unary::Gelu, x.gelu_erf()?),
        5 => (Unary::GeluTanh, x.gelu()?),
        6 => (Unary::Silu, x.silu()?),
        7 => (Unary::Erf, x.erf()?),
        8 => (Unary::Exp, x.exp()?),
        9 => (Unary::Log, x.log()?),
        10 => (Unary::Sqrt, x.sqrt()?),
        11 => (Unary::Neg, x.neg()?),
        12 => (Unary::Reciprocal, x.recip()?),
        13 => (Unary::Abs, x.abs()?),
        14 => (Unary::Sin, x.sin()?),
        15 => (Unary::Cos, x.cos()?),
        16 => (Unary::Floor, x.floor()?),
        17 => (Unary::Ceil, x.ceil()?),
        18 => (Unary::Sign, x.sign()?),
        _ => (Unary::Clip { min: Some(-0.5), max: Some(1.25) }, x.clamp(-0.5, 1.25)?),
    };
    case(Op::Unary(op), &[&x], expected)
}

fn cast(rng: &mut Rng) -> Result<Case> {
    let rank = rng.below(4);
    let shape = extents(rng, rank);
    let x = tensor(rng, &shape)?;
    let whole = x.to_dtype(DType::I64)?;
    match rng.below(5) {
        0 => case(Op::Cast { to: Kind::Int }, &[&x], whole),
        1 => case(Op::Cast { to: Kind::Bool }, &[&x], x.ne(0.0)?),
        2 => case(Op::Cast { to: Kind::Float }, &[&whole], whole.to_dtype(DType::F32)?),
        3 => case(Op::Cast { to: Kind::Bool }, &[&whole], whole.ne(0i64)?),
        _ => {
            let is_true = x.gt(0.0)?;
            case(Op::Cast { to: Kind::Int }, &[&is_true], is_true.to_dtype(DType::I64)?)
        }
    }
}

fn matmul(rng: &mut Rng) -> Result<Case> {
    let rank = rng.below(3);
    let front = extents(rng, rank);
    let other = narrowed(rng, &front);
    let [m, k, n] = [(); 3].map(|()| 1 + rng.below(4));
    let mut fronts = [front, other];
    if rng.below(2) == 0 {
        fronts.reverse();
    }
    let a = real(rng, &[&fronts[0][..], &[m, k]].concat())?;
    let b = real(rng, &[&fronts[1][..], &[k, n]].concat())?;
    case(Op::MatMul, &[&a, &b], a.broadcast_matmul(&b)?)
}

fn gemm(rng: &mut Rng) -> Result<Case> {
    let [m, k, n] = [(); 3].map(|()| 1 + rng.below(4));
    let [transpose_a, transpose_b] = [(); 2].map(|()| rng.below(2) == 0);
    let (a, b) = (real(rng, &[m, k])?, real(rng, &[k, n])?);
    let product = a.matmul(&b)?;
    let a = if transpose_a { a.t()?.contiguous()? } else { a };
    let b = if transpose_b { b.t()?.contiguous()? } else { b };
    let shape = narrowed(rng, &[m, n]);
    let c = real(rng, &shape)?;
    let op = Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a, transpose_b };
    case(op, &[&a, &b, &c], product.broadcast_add(&c)?)
}

fn windows(rng: &mut Rng) -> Result<Case> {
    let [m, h, w] = [(); 3].map(|()| 1 + rng.below(6));
    let [k, stride, dilation, groups] = [(); 4].map(|()| 1 + rng.below(3));
    let padding = (dilation * (k - 1)).min(2);
    let window =
        |rows: usize, kernel: [usize; 2], stride: usize, dilation: usize, padding| Window {
            kernel,
            strides: [if rows == 0 { 1 } else { stride }, stride],
            dilations: [dilation; 2],
            pads: [padding * rows, padding, padding * rows, padding],
            ceil: false,
        };
    match rng.below(3) {
        0 => {
            let h = h + dilation * (k - 1);
            let x = real(rng, &[m, 2 * groups, h, h + w])?;
            let filters = real(rng, &[groups, 2, k, k])?;
            let expected = x.conv2d(&filters, padding, stride, dilation, groups)?;
            let window = window(1, [k, k], stride, dilation, padding);
            case(Op::Conv { window, groups }, &[&x, &filters], expected)
        }
        1 => {
            let x = real(rng, &[m, 3 * groups, w + dilation * (k - 1)])?;
            let filters = real(rng, &[2 * groups, 3, k])?;
            let expected = x.conv1d(&filters, padding, stride, dilation, groups)?;
            let window = window(0, [1, k], stride, dilation, padding);
            let bias = Tensor::zeros(2 * groups, DType::F32, &Device::Cpu)?;
            case(Op::Conv { window, groups }, &[&x, &filters, &bias], expected)
        }
        _ => {
            let l = 1 + rng.below(3);
            let x = real(rng, &[m, 2, h + k, w + l])?;
            let expected = x.max_pool2d_with_stride((k, l), (stride, stride))?;
            let window = window(1, [k, l], stride, 1, 0);
            case(Op::MaxPool { window }, &[&x], expected)
        }
    }
}
