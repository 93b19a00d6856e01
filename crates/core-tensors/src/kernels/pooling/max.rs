//! Largest numbers of sliding windows.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, WithDType};

use super::planes::{Planes, strided};
use crate::kernels::sliding_window::{SlidingWindow, views};
use crate::kernels::{is_fused, numbers, on_cpu, share_out, vectorized};

/// The largest number that each window sees; (m, c, h, w) → (m, c, h′, w′), of the extents of
/// [`SlidingWindow::output_rounded`].
///
/// Numbers around an image count as −∞. A NaN wins over everything; the first among equals gets the gradient.
/// This is ONNX's `MaxPool` and PyTorch's `MaxPool2d`.
///
/// Pads as large as the window and a window that does not fit are errors.
pub fn max_pool(x: &Tensor, window: &SlidingWindow, ceil: bool) -> Result<Tensor> {
    let planes = Planes::new(x, window, ceil)?;
    if !is_fused(&[x]) {
        return composed(x, &planes);
    }
    let pairs = SlidingWindow { kernel: [2; 2], strides: [2; 2], dilations: [1; 2], pads: [0; 4] };
    let is_by_pairs =
        *window == pairs && planes.out_h == planes.h / 2 && planes.out_w == planes.w / 2;
    let places = OnceLock::new();
    x.contiguous()?.apply_op1(MaxPool { planes, is_by_pairs, is_tracked: x.track_op(), places })
}

/// Maxima over the places of the window.
pub(super) fn composed(x: &Tensor, planes: &Planes) -> Result<Tensor> {
    let views = views(x, &planes.window, [planes.out_h, planes.out_w], f64::NEG_INFINITY)?;
    Tensor::stack(&views, 0)?.max(0)
}

struct MaxPool {
    planes: Planes,
    /// Whether the windows are 2 × 2 and stand side by side.
    is_by_pairs: bool,
    /// Whether the places of the maxima are kept for a gradient.
    is_tracked: bool,
    places: OnceLock<Places>,
}

/// Where in its window, or in its plane, each maximum stood: left by the forward pass.
enum Places {
    Codes(Vec<u8>),
    Indices(Vec<u32>),
}

/// The index of a window that sees nothing of the image.
const NONE: u32 = u32::MAX;

impl MaxPool {
    fn forward<T: WithDType>(&self, x: &[T]) -> Result<Vec<T>> {
        let p = &self.planes;
        if self.is_by_pairs {
            let (y, codes) = super::forward::<T, false>(x, p.h, p.w);
            // An operation runs once.
            let _ = self.places.set(Places::Codes(codes));
            return Ok(y);
        }
        let n = x.len() / p.input() * p.output();
        let lowest = T::from_f64(f64::NEG_INFINITY);
        let mut y = vec![lowest; n];
        let mut indices = vec![NONE; if self.is_tracked { n } else { 0 }];
        let (images, outputs) = (p.part() * p.input(), p.part() * p.output());
        let indices_of =
            indices.chunks_mut(outputs).chain(std::iter::repeat_with(Default::default));
        let parts = x.chunks(images).zip(y.chunks_mut(outputs).zip(indices_of)).collect();
        share_out(parts, |(x, (y, indices))| {
            for (i, y) in y.chunks_exact_mut(p.output()).enumerate() {
                let x = &x[i * p.input()..(i + 1) * p.input()];
                match indices {
                    [] => largest(p, x, y),
                    _ => largest_with_places(p, x, y, &mut indices[i * p.output()..]),
                }
            }
            Ok(())
        })?;
        let _ = self.places.set(Places::Indices(indices));
        Ok(y)
    }

    fn backward<T: WithDType>(&self, x: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let p = &self.planes;
        let indices = match self.places.get() {
            Some(Places::Codes(codes)) => return super::backward::<T>(x, codes, gradient),
            Some(Places::Indices(indices)) => &indices[..],
            None => &[],
        };
        let gradient = gradient.contiguous()?;
        let (gs, gl) = gradient.storage_and_layout();
        let dy = numbers::<T>(on_cpu(&gs)?, gl)?;
        let mut dx = vec![T::zero(); x.elem_count()];
        let planes = dx.chunks_exact_mut(p.input());
        let outputs = dy.chunks_exact(p.output()).zip(indices.chunks_exact(p.output()));
        for (dx, (dy, indices)) in planes.zip(outputs) {
            for (&g, &index) in dy.iter().zip(indices) {
                if let Some(dx) = dx.get_mut(index as usize) {
                    *dx += g;
                }
            }
        }
        Tensor::from_vec(dx, x.shape(), x.device())
    }
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max-pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (m, c, _, _) = layout.shape().dims4()?;
        let y = match x {
            CpuStorage::F32(_) => CpuStorage::F32(self.forward(numbers(x, layout)?)?),
            _ => CpuStorage::F64(self.forward(numbers(x, layout)?)?),
        };
        Ok((y, (m, c, self.planes.out_h, self.planes.out_w).into()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        match x.dtype() {
            DType::F32 => self.backward::<f32>(x, gradient),
            _ => self.backward::<f64>(x, gradient),
        }
        .map(Some)
    }
}

/// The maxima of a plane, which starts with −∞.
fn largest<T: WithDType>(p: &Planes, x: &[T], y: &mut [T]) {
    vectorized(
        #[inline(always)]
        || {
            for (r, y) in y.chunks_exact_mut(p.out_w).enumerate() {
                p.runs(
                    r,
                    #[inline(always)]
                    |run, from| {
                        let y = &mut y[run.output..run.output + run.n];
                        strided(
                            &x[from..],
                            p.window.strides[1],
                            run.n,
                            #[inline(always)]
                            |s, x| y[s] = larger(y[s], x),
                        );
                    },
                );
            }
        },
    );
}

#[inline(always)]
#[expect(clippy::eq_op, reason = "the generic number has no is_nan")]
fn larger<T: WithDType>(best: T, value: T) -> T {
    if (value > best) | (value != value) { value } else { best }
}

/// The maxima of a plane and the places of them; the first pass of a window is taken whatever it is.
#[expect(clippy::eq_op, reason = "the generic number has no is_nan")]
fn largest_with_places<T: WithDType>(p: &Planes, x: &[T], y: &mut [T], indices: &mut [u32]) {
    let stride = p.window.strides[1];
    vectorized(
        #[inline(always)]
        || {
            for (r, (y, indices)) in
                y.chunks_exact_mut(p.out_w).zip(indices.chunks_exact_mut(p.out_w)).enumerate()
            {
                p.runs(
                    r,
                    #[inline(always)]
                    |run, from| {
                        let y = &mut y[run.output..run.output + run.n];
                        let indices = &mut indices[run.output..run.output + run.n];
                        strided(
                            &x[from..],
                            stride,
                            run.n,
                            #[inline(always)]
                            |s, value| {
                                let is_better =
                                    (value > y[s]) | (value != value) | (indices[s] == NONE);
                                y[s] = if is_better { value } else { y[s] };
                                let place = from as u32 + s as u32 * stride as u32;
                                indices[s] = if is_better { place } else { indices[s] };
                            },
                        );
                    },
                );
            }
        },
    );
}
