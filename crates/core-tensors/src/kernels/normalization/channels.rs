//! A factor and an offset a channel, and the batch normalization of a trained network made of them.

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

use super::{sum_of, sum_pairs};
use crate::kernels::elementwise::Real;
use crate::kernels::{is_fused, numbers, on_cpu, vectorized};

/// scale · (x − mean) / √(variance + ε) + shift over the channels of (m, c, …), with given moments; the shape stays.
///
/// `scale`, `shift`, `mean` and `variance` have shape (c,); gradients reach all of them and x. ε ≥ 0.
/// This is batch normalization as a trained network computes it: ONNX's `BatchNormalization`, PyTorch's in `eval`.
///
/// Source: Ioffe & Szegedy (2015), Batch normalization, algorithm 2.
pub fn batch_norm(
    x: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    epsilon: f64,
) -> Result<Tensor> {
    let c = channels(x)?;
    let parts = [("scale", scale), ("shift", shift), ("mean", mean), ("variance", variance)];
    for (what, tensor) in parts {
        if tensor.dims() != [c] {
            bail!(
                "{what} of a batch norm of {c} channels wanted shape [{c}], found {:?}",
                tensor.dims()
            );
        }
    }
    if !(epsilon >= 0.0 && epsilon.is_finite()) {
        bail!("epsilon of a batch norm must lie in [0, ∞), got {epsilon}");
    }
    let factor = (scale / (variance + epsilon)?.sqrt()?)?; // (c,)
    let offset = (shift - (mean * &factor)?)?; // (c,)
    affine_channels(x, &factor, &offset)
}

/// x · factor + offset, one of each a channel; (m, c, …), the shape stays.
///
/// `factor` and `offset` have shape (c,); gradients reach all three.
pub fn affine_channels(x: &Tensor, factor: &Tensor, offset: &Tensor) -> Result<Tensor> {
    let c = channels(x)?;
    if factor.dims() != [c] || offset.dims() != [c] {
        bail!(
            "factors and offsets of {c} channels wanted shape [{c}], found {:?} and {:?}",
            factor.dims(),
            offset.dims()
        );
    }
    if !is_fused(&[x, factor, offset]) {
        return composed(x, factor, offset);
    }
    x.contiguous()?.apply_op3(&factor.contiguous()?, &offset.contiguous()?, AffineChannels)
}

fn channels(x: &Tensor) -> Result<usize> {
    match x.dims() {
        [_, c, ..] => Ok(*c),
        dims => bail!("channels are the second axis, found shape {dims:?}"),
    }
}

pub(super) fn composed(x: &Tensor, factor: &Tensor, offset: &Tensor) -> Result<Tensor> {
    let mut shape = vec![1; x.rank()];
    shape[1] = x.dim(1)?;
    x.broadcast_mul(&factor.reshape(&shape[..])?)?.broadcast_add(&offset.reshape(&shape[..])?)
}

struct AffineChannels;

/// Numbers of a channel of one example.
fn run_length(shape: &Shape) -> usize {
    shape.dims().iter().skip(2).product::<usize>().max(1)
}

fn forward<T: Real>(x: &[T], factor: &[T], offset: &[T], n: usize) -> Vec<T> {
    let mut y = vec![T::zero(); x.len()];
    let c = factor.len().max(1);
    vectorized(
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact(c * n).zip(y.chunks_exact_mut(c * n)) {
                if n == 1 {
                    let terms = y.iter_mut().zip(x).zip(factor.iter().zip(offset));
                    terms.for_each(|((y, &x), (&a, &b))| *y = x * a + b);
                    continue;
                }
                let runs = x.chunks_exact(n).zip(y.chunks_exact_mut(n));
                for ((x, y), (&a, &b)) in runs.zip(factor.iter().zip(offset)) {
                    y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * a + b);
                }
            }
        },
    );
    y
}

/// By x, factor and offset.
fn gradients<T: Real>(
    x: &Tensor,
    factor: &Tensor,
    offset: &Tensor,
    gradient: &Tensor,
) -> Result<[Option<Tensor>; 3]> {
    let gradient = gradient.contiguous()?;
    let ((xs, xl), (fs, fl)) = (x.storage_and_layout(), factor.storage_and_layout());
    let (gs, gl) = gradient.storage_and_layout();
    let (values, factors) = (numbers::<T>(on_cpu(&xs)?, xl)?, numbers::<T>(on_cpu(&fs)?, fl)?);
    let gradient = numbers::<T>(on_cpu(&gs)?, gl)?;
    let (c, n) = (factors.len(), run_length(x.shape()));
    let (of_x, of_factor, of_offset) = (x.track_op(), factor.track_op(), offset.track_op());
    let mut dx = vec![T::zero(); if of_x { values.len() } else { 0 }];
    let (mut d_factor, mut d_offset) = (vec![T::zero(); c], vec![T::zero(); c]);
    vectorized(
        #[inline(always)]
        || {
            for (i, (x, g)) in values.chunks_exact(n).zip(gradient.chunks_exact(n)).enumerate() {
                let j = i % c;
                if of_factor {
                    d_factor[j] += sum_pairs(g, x, |g, x| g * x);
                }
                if of_offset {
                    d_offset[j] += sum_of(g, |g| g);
                }
                if of_x {
                    let dx = dx[i * n..(i + 1) * n].iter_mut().zip(g);
                    dx.for_each(|(dx, &g)| *dx = g * factors[j]);
                }
            }
        },
    );
    let device = x.device();
    let dx = of_x.then(|| Tensor::from_vec(dx, x.shape(), device)).transpose()?;
    let d_factor = of_factor.then(|| Tensor::from_vec(d_factor, c, device)).transpose()?;
    let d_offset = of_offset.then(|| Tensor::from_vec(d_offset, c, device)).transpose()?;
    Ok([dx, d_factor, d_offset])
}

impl CustomOp3 for AffineChannels {
    fn name(&self) -> &'static str {
        "affine-channels"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        factor: &CpuStorage,
        factor_layout: &Layout,
        offset: &CpuStorage,
        offset_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let n = run_length(x_layout.shape());
        let y = match x {
            CpuStorage::F32(_) => CpuStorage::F32(forward(
                numbers(x, x_layout)?,
                numbers(factor, factor_layout)?,
                numbers(offset, offset_layout)?,
                n,
            )),
            _ => CpuStorage::F64(forward(
                numbers(x, x_layout)?,
                numbers(factor, factor_layout)?,
                numbers(offset, offset_layout)?,
                n,
            )),
        };
        Ok((y, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        factor: &Tensor,
        offset: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, d_factor, d_offset] = match x.dtype() {
            DType::F32 => gradients::<f32>(x, factor, offset, gradient)?,
            _ => gradients::<f64>(x, factor, offset, gradient)?,
        };
        Ok((dx, d_factor, d_offset))
    }
}
