//! Convolution, forward and backward, as matrix products over unfolded bands of images.

mod depthwise;
mod geometry;
mod grouped;
mod outputs;
mod passes;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType, bail};

use self::geometry::Extents;
pub use self::grouped::grouped_convolution;
use self::passes::{Method, Sizes, Wanted, backward, forward};
use super::{SlidingWindow, is_fused, numbers, on_cpu, relu_max_pool};

/// What a filter of stride 1 sees of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// k ≥ 1: side of the square filters.
    pub kernel: usize,
    /// Rows and columns of zeros around an image, on each side.
    pub padding: usize,
}

/// Cross-correlation of stride 1; (m, c, h, w) → (m, o, h + 2·padding − k + 1, w + 2·padding − k + 1).
///
/// y\[i, a, r, s\] = b\[a\] + Σ u\[a, (j, p, q)\] x\[i, j, r + p, s + q\]  over channels j and 0 ≤ p, q < k
///
/// with x surrounded by zeros. `u` has shape (o, c·k²), or (o, c·k² + 1) with the bias b as its last column: one row a
/// filter, its weights in the order channel, row, column. This is the convention of PyTorch's `Conv2d`.
/// The images of a batch are shared out among the threads of rayon's pool; the result does not depend on their number.
pub fn convolve(x: &Tensor, u: &Tensor, window: Window) -> Result<Tensor> {
    check(x, u, window)?;
    if is_fused(&[x, u]) {
        return x.contiguous()?.apply_op2(u, Convolve { window, codes: None });
    }
    composed(x, u, window)
}

/// ReLU and 2 × 2 max-pooling of [`convolve`], whose own outputs are never whole in memory;
/// (m, c, h, w) → (m, o, ⌊h′/2⌋, ⌊w′/2⌋) with h′ and w′ the extents after the convolution.
///
/// The same as [`super::relu_max_pool`] after [`convolve`], without the passes over large outputs and their gradients.
pub fn convolve_relu_max_pool(x: &Tensor, u: &Tensor, window: Window) -> Result<Tensor> {
    check(x, u, window)?;
    if is_fused(&[x, u]) {
        return x.contiguous()?.apply_op2(u, Convolve { window, codes: Some(OnceLock::new()) });
    }
    relu_max_pool(&composed(x, u, window)?)
}

impl Window {
    /// The same window in general terms, as long as it fits into images of h × w.
    fn on(self, h: usize, w: usize) -> Result<SlidingWindow> {
        let Self { kernel: k, padding } = self;
        let (tall, wide) = (h + 2 * padding, w + 2 * padding);
        if k == 0 || tall < k || wide < k {
            bail!("a {k} × {k} kernel wanted images at least as large, found {tall} × {wide}");
        }
        let (kernel, pads) = ([k; 2], [padding; 4]);
        Ok(SlidingWindow { kernel, strides: [1; 2], dilations: [1; 2], pads })
    }
}

fn check(x: &Tensor, u: &Tensor, window: Window) -> Result<()> {
    let (_, c, h, w) = x.dims4()?;
    let (o, n_cols) = u.dims2()?;
    let n = Extents::new((c, h, w), window.on(h, w)?, 1)?.weights();
    if n_cols != n && n_cols != n + 1 {
        bail!("filters of {c} channels wanted {n} columns or one more, found {n_cols}");
    }
    if o == 0 {
        bail!("a convolution wanted at least one filter, found none");
    }
    Ok(())
}

fn composed(x: &Tensor, u: &Tensor, window: Window) -> Result<Tensor> {
    let (c, (o, n_cols), k) = (x.dim(1)?, u.dims2()?, window.kernel);
    let n = c * k * k;
    let weights = u.narrow(1, 0, n)?.contiguous()?.reshape((o, c, k, k))?;
    let y = x.conv2d(&weights, window.padding, 1, 1, 1)?;
    if n_cols == n {
        return Ok(y);
    }
    y.broadcast_add(&u.narrow(1, n, 1)?.contiguous()?.reshape((1, o, 1, 1))?)
}

struct Convolve {
    window: Window,
    /// If the outputs are pooled, where in its window each came from: left by the forward pass.
    codes: Option<OnceLock<Vec<u8>>>,
}

impl Convolve {
    fn sizes(&self, x: &Shape, u: &Shape) -> Result<Sizes> {
        let ((m, c, h, w), (o, n_cols)) = (x.dims4()?, u.dims2()?);
        let e = Extents::new((c, h, w), self.window.on(h, w)?, 1)?;
        Ok(Sizes {
            e,
            m,
            groups: 1,
            o,
            filter_stride: n_cols,
            has_bias: n_cols > e.weights(),
            is_pooled: self.codes.is_some(),
            method: Method::Unfolded,
        })
    }

    fn forward<T: WithDType>(x: &[T], u: &[T], s: Sizes) -> Result<(Vec<T>, Vec<u8>)> {
        let n = s.e.weights();
        let bias = |a| if s.has_bias { u[a * s.filter_stride + n] } else { T::zero() };
        let bias: Vec<T> = (0..s.o).map(bias).collect();
        forward(x, u, &bias, s)
    }

    fn gradients<T: WithDType>(
        &self,
        x: &Tensor,
        u: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let s = self.sizes(x.shape(), u.shape())?;
        let codes = self.codes.as_ref().and_then(OnceLock::get).map_or(&[][..], Vec::as_slice);
        let gradient = gradient.contiguous()?;
        let ((xs, xl), (us, ul)) = (x.storage_and_layout(), u.storage_and_layout());
        let (gs, gl) = gradient.storage_and_layout();
        let (images, filters) = (numbers::<T>(on_cpu(&xs)?, xl)?, numbers::<T>(on_cpu(&us)?, ul)?);
        let dy = numbers::<T>(on_cpu(&gs)?, gl)?;
        if s.is_pooled && codes.len() != dy.len() {
            bail!("a pooled convolution wanted {} codes, found {}", dy.len(), codes.len());
        }
        let (of_x, of_u) = (x.track_op(), u.track_op());
        let wanted = Wanted { x: of_x, filters: of_u, bias: of_u && s.has_bias };
        let found = backward(images, filters, codes, dy, wanted, s)?;
        let dx = of_x.then(|| Tensor::from_vec(found.x, x.shape(), x.device()));
        let du = of_u.then(|| Tensor::from_vec(found.filters, u.shape(), u.device()));
        Ok((dx.transpose()?, du.transpose()?))
    }
}

impl CustomOp2 for Convolve {
    fn name(&self) -> &'static str {
        "convolve"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        u: &CpuStorage,
        u_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let s = self.sizes(x_layout.shape(), u_layout.shape())?;
        let (y, codes) = match x {
            CpuStorage::F32(_) => {
                let (x, u) = (numbers(x, x_layout)?, numbers(u, u_layout)?);
                let (y, codes) = Self::forward::<f32>(x, u, s)?;
                (CpuStorage::F32(y), codes)
            }
            _ => {
                let (x, u) = (numbers(x, x_layout)?, numbers(u, u_layout)?);
                let (y, codes) = Self::forward::<f64>(x, u, s)?;
                (CpuStorage::F64(y), codes)
            }
        };
        if let Some(place) = &self.codes {
            // An operation runs once.
            let _ = place.set(codes);
        }
        Ok((y, (s.m, s.o, s.output_size().0, s.output_size().1).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        u: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        match x.dtype() {
            DType::F32 => self.gradients::<f32>(x, u, gradient),
            _ => self.gradients::<f64>(x, u, gradient),
        }
    }
}
