//! Products of matrices.

use candle_core::Tensor;

use crate::graph::Problem;

/// α · A B + β · C, each factor with whether it is transposed first.
pub(super) fn gemm(
    (a, transpose_a): (&Tensor, bool),
    (b, transpose_b): (&Tensor, bool),
    c: Option<&Tensor>,
    (alpha, beta): (f32, f32),
) -> Result<Tensor, Problem> {
    let turned = |x: &Tensor, is| if is { x.t() } else { Ok(x.clone()) };
    let product = plain(&turned(a, transpose_a)?, &turned(b, transpose_b)?)?;
    let product = scaled(&product, alpha)?;
    match c {
        Some(c) => Ok(product.broadcast_add(&scaled(c, beta)?)?),
        None => Ok(product),
    }
}

fn scaled(x: &Tensor, factor: f32) -> candle_core::Result<Tensor> {
    if factor == 1.0 { Ok(x.clone()) } else { x * f64::from(factor) }
}

/// The product of NumPy's `matmul`: a vector on the left is a row, one on the right a column, and what was added goes again.
pub(super) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor, Problem> {
    let row = if a.rank() == 1 { a.unsqueeze(0)? } else { a.clone() };
    let column = if b.rank() == 1 { b.unsqueeze(1)? } else { b.clone() };
    let mut y = match column.rank() {
        2 => {
            // Any leading axes are examples of one product.
            let (k, n) = column.dims2()?;
            let mut shape = row.dims().to_vec();
            if let Some(last) = shape.last_mut() {
                *last = n;
            }
            let rows = row.elem_count().checked_div(k).unwrap_or(0);
            let flat = if row.rank() == 2 { row } else { row.reshape((rows, k))? };
            plain(&flat, &column)?.reshape(shape)?
        }
        _ => row.contiguous()?.broadcast_matmul(&column.contiguous()?)?,
    };
    if a.rank() == 1 {
        y = y.squeeze(y.rank() - 2)?;
    }
    if b.rank() == 1 {
        y = y.squeeze(y.rank() - 1)?;
    }
    Ok(y)
}

/// Product of two matrices; candle takes those that lie row by row or column by column.
fn plain(a: &Tensor, b: &Tensor) -> candle_core::Result<Tensor> {
    let ready = |x: &Tensor| {
        if x.t()?.is_contiguous() { Ok(x.clone()) } else { x.contiguous() }
    };
    ready(a)?.matmul(&ready(b)?)
}
