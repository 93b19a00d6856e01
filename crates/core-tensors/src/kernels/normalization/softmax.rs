//! Softmax and log-softmax of rows.

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor};

use super::{LANES, row_length, sum_of, sum_pairs};
use crate::kernels::elementwise::Real;
use crate::kernels::{is_fused, numbers, on_cpu, vectorized};

/// e^{xⱼ} / Σₖ e^{xₖ} over the last axis, n ≥ 1 numbers; the shape stays.
///
/// An entry of −∞ is 0; a row of nothing else is NaN, as in PyTorch.
pub fn softmax_last(x: &Tensor) -> Result<Tensor> {
    apply(x, Softmax { is_log: false })
}

/// xⱼ − log Σₖ e^{xₖ} over the last axis, n ≥ 1 numbers; the shape stays.
pub fn log_softmax_last(x: &Tensor) -> Result<Tensor> {
    apply(x, Softmax { is_log: true })
}

fn apply(x: &Tensor, op: Softmax) -> Result<Tensor> {
    row_length("a softmax", x)?;
    if is_fused(&[x]) {
        return x.contiguous()?.apply_op1(op);
    }
    composed(x, op.is_log)
}

pub(super) fn composed(x: &Tensor, is_log: bool) -> Result<Tensor> {
    // The largest number only keeps the powers finite.
    let below = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?;
    let powers = below.exp()?;
    let total = powers.sum_keepdim(D::Minus1)?;
    if is_log { below.broadcast_sub(&total.log()?) } else { powers.broadcast_div(&total) }
}

/// The largest number of a row, in lanes; a NaN in the first place stays, one elsewhere makes its own power NaN.
#[inline(always)]
fn largest<T: Real>(row: &[T]) -> T {
    let mut most = [row[0]; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            most[lane] = if chunk[lane] > most[lane] { chunk[lane] } else { most[lane] };
        }
    }
    most.iter().chain(rest).fold(row[0], |most, &x| if x > most { x } else { most })
}

struct Softmax {
    is_log: bool,
}

impl Softmax {
    fn forward<T: Real>(&self, x: &[T], n: usize) -> Vec<T> {
        let mut y = vec![T::zero(); x.len()];
        vectorized(
            #[inline(always)]
            || {
                for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
                    let largest = largest(x);
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y = (x - largest).power();
                    }
                    let total = sum_of(y, |y| y);
                    if self.is_log {
                        let shift = T::from_f64(total.to_f64().ln());
                        let pairs = y.iter_mut().zip(x);
                        pairs.for_each(|(y, &x)| *y = (x - largest) - shift);
                    } else {
                        let share = T::one() / total;
                        y.iter_mut().for_each(|y| *y *= share);
                    }
                }
            },
        );
        y
    }

    fn backward<T: Real>(&self, y: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let n = row_length("a softmax", y)?;
        let gradient = gradient.contiguous()?;
        let ((ys, yl), (gs, gl)) = (y.storage_and_layout(), gradient.storage_and_layout());
        let (rows, gradient) = (numbers::<T>(on_cpu(&ys)?, yl)?, numbers::<T>(on_cpu(&gs)?, gl)?);
        let mut dx = vec![T::zero(); rows.len()];
        vectorized(
            #[inline(always)]
            || {
                let pairs = rows.chunks_exact(n).zip(gradient.chunks_exact(n));
                for (dx, (y, g)) in dx.chunks_exact_mut(n).zip(pairs) {
                    let terms = dx.iter_mut().zip(y.iter().zip(g));
                    if self.is_log {
                        let total = sum_of(g, |g| g);
                        terms.for_each(|(dx, (&y, &g))| *dx = g - y.power() * total);
                    } else {
                        let mean = sum_pairs(g, y, |g, y| g * y);
                        terms.for_each(|(dx, (&y, &g))| *dx = y * (g - mean));
                    }
                }
            },
        );
        Tensor::from_vec(dx, y.shape(), y.device())
    }
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let n = layout.dims().last().copied().unwrap_or(1);
        let y = match x {
            CpuStorage::F32(_) => CpuStorage::F32(self.forward(numbers(x, layout)?, n)),
            _ => CpuStorage::F64(self.forward(numbers(x, layout)?, n)),
        };
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        match y.dtype() {
            DType::F32 => self.backward::<f32>(y, gradient),
            _ => self.backward::<f64>(y, gradient),
        }
        .map(Some)
    }
}
