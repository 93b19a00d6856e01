//! Means of sliding windows.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, WithDType};

use super::planes::{Planes, strided};
use crate::kernels::sliding_window::{SlidingWindow, views};
use crate::kernels::{is_fused, numbers, on_cpu, share_out, vectorized};

/// The mean of the numbers that each window sees; (m, c, h, w) → (m, c, h′, w′), of the extents of
/// [`SlidingWindow::output_rounded`].
///
/// The sum over the image's own numbers is divided by how many they are or, where `counts_padding`, by the places of the
/// window within the padded image: pads count as zeros, what lies beyond them does not count. A window that sees neither is 0.
/// This is ONNX's `AveragePool` and PyTorch's `AvgPool2d`, whose names for it are `count_include_pad`.
///
/// Pads as large as the window and a window that does not fit are errors.
pub fn average_pool(
    x: &Tensor,
    window: &SlidingWindow,
    ceil: bool,
    counts_padding: bool,
) -> Result<Tensor> {
    let planes = Planes::new(x, window, ceil)?;
    if !is_fused(&[x]) {
        return composed(x, &planes, counts_padding);
    }
    x.contiguous()?.apply_op1(AveragePool { planes, counts_padding })
}

/// Sums over the places of the window, divided by the same of ones.
pub(super) fn composed(x: &Tensor, planes: &Planes, counts_padding: bool) -> Result<Tensor> {
    let output = [planes.out_h, planes.out_w];
    let sum = |x: &Tensor| Tensor::stack(&views(x, &planes.window, output, 0.0)?, 0)?.sum(0);
    let counts = (0..planes.out_h).flat_map(|r| {
        let rows = planes.count(0, r, counts_padding);
        (0..planes.out_w).map(move |s| rows * planes.count(1, s, counts_padding))
    });
    let counts: Vec<f64> = counts.map(|n| n.max(1) as f64).collect();
    let counts = Tensor::from_vec(counts, (1, 1, planes.out_h, planes.out_w), x.device())?;
    sum(x)?.broadcast_div(&counts.to_dtype(x.dtype())?)
}

struct AveragePool {
    planes: Planes,
    counts_padding: bool,
}

impl AveragePool {
    /// How many places count for each output along an axis.
    fn counts<T: WithDType>(&self, axis: usize, n: usize) -> Vec<T> {
        let count = |i| self.planes.count(axis, i, self.counts_padding).max(1);
        (0..n).map(|i| T::from_f64(count(i) as f64)).collect()
    }

    fn forward<T: WithDType>(&self, x: &[T]) -> Result<Vec<T>> {
        let p = &self.planes;
        let (rows, columns) = (self.counts::<T>(0, p.out_h), self.counts::<T>(1, p.out_w));
        let mut y = vec![T::zero(); x.len() / p.input() * p.output()];
        let outputs = y.chunks_mut(p.part() * p.output());
        let parts = x.chunks(p.part() * p.input()).zip(outputs).collect();
        share_out(parts, |(x, y)| {
            let planes = x.chunks_exact(p.input()).zip(y.chunks_exact_mut(p.output()));
            planes.for_each(|(x, y)| mean(p, x, y, &rows, &columns));
            Ok(())
        })?;
        Ok(y)
    }

    fn backward<T: WithDType>(&self, x: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let p = &self.planes;
        let (rows, columns) = (self.counts::<T>(0, p.out_h), self.counts::<T>(1, p.out_w));
        let gradient = gradient.contiguous()?;
        let (gs, gl) = gradient.storage_and_layout();
        let dy = numbers::<T>(on_cpu(&gs)?, gl)?;
        let mut dx = vec![T::zero(); x.elem_count()];
        let images = dx.chunks_mut(p.part() * p.input());
        let parts = dy.chunks(p.part() * p.output()).zip(images).collect();
        share_out(parts, |(dy, dx)| {
            let planes = dy.chunks_exact(p.output()).zip(dx.chunks_exact_mut(p.input()));
            planes.for_each(|(dy, dx)| spread(p, dy, dx, &rows, &columns));
            Ok(())
        })?;
        Tensor::from_vec(dx, x.shape(), x.device())
    }
}

impl CustomOp1 for AveragePool {
    fn name(&self) -> &'static str {
        "average-pool"
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

/// The means of a plane, which starts with zeros.
fn mean<T: WithDType>(p: &Planes, x: &[T], y: &mut [T], rows: &[T], columns: &[T]) {
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
                            |s, x| y[s] += x,
                        );
                    },
                );
                y.iter_mut().zip(columns).for_each(|(y, &n)| *y /= rows[r] * n);
            }
        },
    );
}

/// The gradient of the means to that of their plane, which starts with zeros.
fn spread<T: WithDType>(p: &Planes, dy: &[T], dx: &mut [T], rows: &[T], columns: &[T]) {
    let mut share = vec![T::zero(); p.out_w];
    vectorized(
        #[inline(always)]
        || {
            for (r, dy) in dy.chunks_exact(p.out_w).enumerate() {
                let gradients = dy.iter().zip(columns);
                share.iter_mut().zip(gradients).for_each(|(g, (&dy, &n))| *g = dy / (rows[r] * n));
                p.runs(
                    r,
                    #[inline(always)]
                    |run, to| {
                        let share = &share[run.output..run.output + run.n];
                        match p.window.strides[1] {
                            1 => dx[to..].iter_mut().zip(share).for_each(|(dx, &g)| *dx += g),
                            stride => {
                                let dx = dx[to..].chunks_mut(stride);
                                dx.zip(share).for_each(|(dx, &g)| dx[0] += g);
                            }
                        }
                    },
                );
            }
        },
    );
}
