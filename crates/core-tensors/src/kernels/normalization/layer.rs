//! Layer normalization.

use candle_core::{
    CpuStorage, CustomOp2, CustomOp3, D, DType, Layout, Result, Shape, Tensor, bail,
};

use super::{row_length, sum_of, sum_pairs};
use crate::kernels::elementwise::Real;
use crate::kernels::{is_fused, numbers, on_cpu, vectorized};

/// scale · (x − μ) / √(σ² + ε) + shift, with the mean μ and the population variance σ² of each row; the shape stays.
///
/// A row is the last axis of x, n ≥ 1 numbers; `scale` and `shift` have shape (n,), `epsilon` ε is positive.
/// Gradients reach x, scale and shift.
///
/// Source: Ba, Kiros & Hinton (2016), Layer normalization.
pub fn layer_norm(
    x: &Tensor,
    scale: &Tensor,
    shift: Option<&Tensor>,
    epsilon: f64,
) -> Result<Tensor> {
    let n = row_length("a layer norm", x)?;
    for (what, tensor) in std::iter::once(("scale", scale)).chain(shift.map(|s| ("shift", s))) {
        if tensor.dims() != [n] {
            bail!(
                "{what} of a layer norm over {n} numbers wanted shape [{n}], found {:?}",
                tensor.dims()
            );
        }
    }
    if !(epsilon > 0.0 && epsilon.is_finite()) {
        bail!("epsilon of a layer norm must lie in (0, ∞), got {epsilon}");
    }
    if !is_fused(&[x, scale]) || shift.is_some_and(|shift| !is_fused(&[shift])) {
        return composed(x, scale, shift, epsilon);
    }
    let (x, scale, op) = (x.contiguous()?, scale.contiguous()?, LayerNorm { epsilon });
    match shift {
        Some(shift) => x.apply_op3(&scale, &shift.contiguous()?, op),
        None => x.apply_op2(&scale, op),
    }
}

pub(super) fn composed(
    x: &Tensor,
    scale: &Tensor,
    shift: Option<&Tensor>,
    epsilon: f64,
) -> Result<Tensor> {
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
    let y = centered.broadcast_div(&(variance + epsilon)?.sqrt()?)?.broadcast_mul(scale)?;
    shift.map_or(Ok(y.clone()), |shift| y.broadcast_add(shift))
}

struct LayerNorm {
    epsilon: f64,
}

impl LayerNorm {
    /// μ and 1 / √(σ² + ε) of a row.
    #[inline(always)]
    fn moments<T: Real>(&self, row: &[T]) -> (T, T) {
        let n = T::from_f64(row.len() as f64);
        let mean = sum_of(row, |x| x) / n;
        let variance = sum_of(row, |x| (x - mean) * (x - mean)) / n;
        (mean, T::from_f64(1.0 / (variance.to_f64() + self.epsilon).sqrt()))
    }

    fn forward<T: Real>(&self, x: &[T], scale: &[T], shift: Option<&[T]>) -> Vec<T> {
        let (n, mut y) = (scale.len(), vec![T::zero(); x.len()]);
        vectorized(
            #[inline(always)]
            || {
                for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
                    let (mean, rate) = self.moments(x);
                    let terms = y.iter_mut().zip(x).zip(scale);
                    match shift {
                        Some(shift) => terms
                            .zip(shift)
                            .for_each(|(((y, &x), &s), &b)| *y = (x - mean) * rate * s + b),
                        None => terms.for_each(|((y, &x), &s)| *y = (x - mean) * rate * s),
                    }
                }
            },
        );
        y
    }

    fn run(
        &self,
        x: (&CpuStorage, &Layout),
        scale: (&CpuStorage, &Layout),
        shift: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let y = match x.0 {
            CpuStorage::F32(_) => {
                let shift = shift.map(|shift| numbers(shift.0, shift.1)).transpose()?;
                CpuStorage::F32(self.forward(numbers(x.0, x.1)?, numbers(scale.0, scale.1)?, shift))
            }
            _ => {
                let shift = shift.map(|shift| numbers(shift.0, shift.1)).transpose()?;
                CpuStorage::F64(self.forward(numbers(x.0, x.1)?, numbers(scale.0, scale.1)?, shift))
            }
        };
        Ok((y, x.1.shape().clone()))
    }

    /// By x, scale and shift.
    fn back(
        &self,
        x: &Tensor,
        scale: &Tensor,
        shift: Option<&Tensor>,
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        match x.dtype() {
            DType::F32 => self.gradients::<f32>(x, scale, shift, gradient),
            _ => self.gradients::<f64>(x, scale, shift, gradient),
        }
    }

    fn gradients<T: Real>(
        &self,
        x: &Tensor,
        scale: &Tensor,
        shift: Option<&Tensor>,
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let gradient = gradient.contiguous()?;
        let ((xs, xl), (ss, sl)) = (x.storage_and_layout(), scale.storage_and_layout());
        let (gs, gl) = gradient.storage_and_layout();
        let (rows, factors) = (numbers::<T>(on_cpu(&xs)?, xl)?, numbers::<T>(on_cpu(&ss)?, sl)?);
        let gradient = numbers::<T>(on_cpu(&gs)?, gl)?;
        let (n, of_x, of_scale) = (factors.len(), x.track_op(), scale.track_op());
        let of_shift = shift.is_some_and(Tensor::track_op);
        let mut dx = vec![T::zero(); if of_x { rows.len() } else { 0 }];
        let mut d_scale = vec![T::zero(); n];
        let mut d_shift = vec![T::zero(); n];
        let mut scaled = vec![T::zero(); n];
        let size = T::from_f64(n as f64);
        vectorized(
            #[inline(always)]
            || {
                for (i, (x, g)) in rows.chunks_exact(n).zip(gradient.chunks_exact(n)).enumerate() {
                    let (mean, rate) = self.moments(x);
                    if of_scale {
                        let terms = d_scale.iter_mut().zip(x).zip(g);
                        terms.for_each(|((sum, &x), &g)| *sum += g * ((x - mean) * rate));
                    }
                    if of_shift {
                        d_shift.iter_mut().zip(g).for_each(|(sum, &g)| *sum += g);
                    }
                    if of_x {
                        let terms = scaled.iter_mut().zip(g).zip(factors);
                        terms.for_each(|((to, &g), &s)| *to = g * s);
                        let shared = sum_of(&scaled, |g| g) / size;
                        let along = sum_pairs(&scaled, x, |g, x| g * ((x - mean) * rate)) / size;
                        let dx = dx[i * n..(i + 1) * n].iter_mut().zip(x).zip(&scaled);
                        dx.for_each(|((dx, &x), &g)| {
                            *dx = rate * (g - shared - (x - mean) * rate * along);
                        });
                    }
                }
            },
        );
        let device = x.device();
        let dx = of_x.then(|| Tensor::from_vec(dx, x.shape(), device)).transpose()?;
        let d_scale = of_scale.then(|| Tensor::from_vec(d_scale, n, device)).transpose()?;
        let d_shift = of_shift.then(|| Tensor::from_vec(d_shift, n, device)).transpose()?;
        Ok([dx, d_scale, d_shift])
    }
}

impl CustomOp2 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        scale: &CpuStorage,
        scale_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run((x, x_layout), (scale, scale_layout), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        scale: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, d_scale, _] = self.back(x, scale, None, gradient)?;
        Ok((dx, d_scale))
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        scale: &CpuStorage,
        scale_layout: &Layout,
        shift: &CpuStorage,
        shift_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run((x, x_layout), (scale, scale_layout), Some((shift, shift_layout)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        scale: &Tensor,
        shift: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, d_scale, d_shift] = self.back(x, scale, Some(shift), gradient)?;
        Ok((dx, d_scale, d_shift))
    }
}
