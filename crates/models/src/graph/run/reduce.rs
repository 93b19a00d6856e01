//! Sums, means, products and extremes over axes.

use candle_core::{DType, Result, Tensor};

use crate::graph::{Problem, Reduction};

/// What a reduction makes of the numbers over some axes.
pub(super) fn reduce(
    of: Reduction,
    x: &Tensor,
    axes: &[usize],
    keep: bool,
) -> std::result::Result<Tensor, Problem> {
    let mut shape = x.dims().to_vec();
    axes.iter().for_each(|&axis| shape[axis] = 1);
    let rows = last_axis(x, axes)?;
    let y = match x.dtype() {
        DType::F32 | DType::F64 => float(of, x, axes, &rows)?,
        _ => whole(of, &rows)?,
    };
    let y = y.reshape(shape.as_slice())?;
    if keep {
        return Ok(y);
    }
    super::reshape::squeeze(&y, axes)
}

/// The axes in one, behind all others: (…, n).
fn last_axis(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    let kept = (0..x.rank()).filter(|axis| !axes.contains(axis));
    let order: Vec<usize> = kept.clone().chain(axes.iter().copied()).collect();
    let n: usize = axes.iter().map(|&axis| x.dims()[axis]).product();
    let rows: usize = kept.map(|axis| x.dims()[axis]).product();
    x.permute(order)?.reshape((rows, n))
}

fn float(of: Reduction, x: &Tensor, axes: &[usize], rows: &Tensor) -> Result<Tensor> {
    match of {
        Reduction::Sum => x.sum(axes),
        Reduction::Mean => x.mean(axes),
        Reduction::L1 => x.abs()?.sum(axes),
        Reduction::L2 => x.sqr()?.sum(axes)?.sqrt(),
        Reduction::SumSquare => x.sqr()?.sum(axes),
        Reduction::Prod => product(rows),
        // candle's own gradient of an extreme counts once for each entry that has it; this goes to one of them.
        Reduction::Max => rows.contiguous()?.gather(&rows.detach().argmax_keepdim(1)?, 1),
        Reduction::Min => rows.contiguous()?.gather(&rows.detach().argmin_keepdim(1)?, 1),
    }
}

/// Products of rows by pairs, whose gradients are right where factors are zero.
fn product(rows: &Tensor) -> Result<Tensor> {
    let mut y = rows.clone();
    loop {
        let n = y.dim(1)?;
        match n {
            0 => return Tensor::ones((y.dim(0)?, 1), y.dtype(), y.device()),
            1 => return Ok(y),
            _ => {
                let half = n / 2;
                let pairs = (y.narrow(1, 0, half)? * y.narrow(1, half, half)?)?;
                y = if n % 2 == 1 {
                    Tensor::cat(&[&pairs, &y.narrow(1, n - 1, 1)?], 1)?
                } else {
                    pairs
                };
            }
        }
    }
}

/// The same of whole numbers, which wrap around as in ONNX Runtime; the mean is towards zero.
fn whole(of: Reduction, rows: &Tensor) -> std::result::Result<Tensor, Problem> {
    let (m, n) = rows.dims2()?;
    let values = rows.to_dtype(DType::I64)?.flatten_all()?.to_vec1::<i64>()?;
    let sum = |row: &[i64]| row.iter().fold(0i64, |a, &b| a.wrapping_add(b));
    let squares = |row: &[i64]| row.iter().fold(0i64, |a, &b| a.wrapping_add(b.wrapping_mul(b)));
    let of = |row: &[i64]| match of {
        Reduction::Sum => sum(row),
        Reduction::Mean => sum(row).checked_div(n as i64).unwrap_or(0),
        Reduction::Max => row.iter().copied().max().unwrap_or(i64::MIN),
        Reduction::Min => row.iter().copied().min().unwrap_or(i64::MAX),
        Reduction::Prod => row.iter().fold(1i64, |a, &b| a.wrapping_mul(b)),
        Reduction::L1 => row.iter().fold(0i64, |a, &b| a.wrapping_add(b.wrapping_abs())),
        Reduction::L2 => (squares(row) as f64).sqrt() as i64,
        Reduction::SumSquare => squares(row),
    };
    let reduced: Vec<i64> = (0..m).map(|i| of(&values[i * n..(i + 1) * n])).collect();
    Ok(Tensor::from_vec(reduced, m, rows.device())?.to_dtype(rows.dtype())?)
}
