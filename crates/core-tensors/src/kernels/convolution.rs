//! Convolution, forward and backward, as matrix products over unfolded bands of images.

mod geometry;
mod outputs;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use self::geometry::{Band, Cut, Extents};
use super::matmul::{Shape as Matrix, matmul};
use super::{is_fused, numbers, on_cpu, relu_max_pool};

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

fn check(x: &Tensor, u: &Tensor, window: Window) -> Result<()> {
    let (_, c, h, w) = x.dims4()?;
    let (o, n_cols) = u.dims2()?;
    let n = Extents::new((c, h, w), window)?.weights();
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

/// Extents of a whole call.
#[derive(Clone, Copy)]
struct Sizes {
    e: Extents,
    m: usize,
    o: usize,
    n_cols: usize,
    is_pooled: bool,
}

impl Sizes {
    fn new(x: &Shape, u: &Shape, op: &Convolve) -> Result<Self> {
        let ((m, c, h, w), (o, n_cols)) = (x.dims4()?, u.dims2()?);
        Ok(Self {
            e: Extents::new((c, h, w), op.window)?,
            m,
            o,
            n_cols,
            is_pooled: op.codes.is_some(),
        })
    }

    fn cut(self) -> Cut {
        self.e.cut(self.m, self.is_pooled)
    }

    fn has_bias(self) -> bool {
        self.n_cols > self.e.weights()
    }

    /// Rows and columns of an answer.
    fn output_size(self) -> (usize, usize) {
        let pooled = if self.is_pooled { 2 } else { 1 };
        (self.e.out_h / pooled, self.e.out_w / pooled)
    }

    /// Numbers of the outputs of one image.
    fn output(self) -> usize {
        self.o * self.output_size().0 * self.output_size().1
    }

    /// U without its bias.
    fn filters(self) -> Matrix {
        Matrix::rows_apart(self.o, self.e.weights(), self.n_cols)
    }

    /// A band of sums.
    fn sums(self, band: &Band) -> Matrix {
        Matrix::rows_apart(self.o, band.columns(), band.columns())
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
        let s = Sizes::new(x_layout.shape(), u_layout.shape(), self)?;
        let (y, codes) = match x {
            CpuStorage::F32(_) => {
                let (y, codes) = forward::<f32>(numbers(x, x_layout)?, numbers(u, u_layout)?, s)?;
                (CpuStorage::F32(y), codes)
            }
            _ => {
                let (y, codes) = forward::<f64>(numbers(x, x_layout)?, numbers(u, u_layout)?, s)?;
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
        let s = Sizes::new(x.shape(), u.shape(), self)?;
        let codes = self.codes.as_ref().and_then(OnceLock::get).map_or(&[][..], Vec::as_slice);
        match x.dtype() {
            DType::F32 => backward::<f32>(x, u, codes, gradient, s),
            _ => backward::<f64>(x, u, codes, gradient, s),
        }
    }
}

/// Does the parts in any order, on the threads of the pool; on the calling thread if the pool has but one, which
/// would be another.
fn share_out<P: Send>(parts: Vec<P>, work: impl Fn(P) -> Result<()> + Send + Sync) -> Result<()> {
    if rayon::current_num_threads() > 1 && parts.len() > 1 {
        return parts.into_par_iter().try_for_each(work);
    }
    parts.into_iter().try_for_each(work)
}

/// Pieces of a slice, and empty ones without end where it is used up or nobody wanted it.
fn pieces<T>(numbers: &mut [T], size: usize) -> impl Iterator<Item = &mut [T]> {
    numbers.chunks_mut(size.max(1)).chain(std::iter::repeat_with(Default::default))
}

/// The outputs and, if they are pooled, their codes.
fn forward<T: WithDType>(x: &[T], u: &[T], s: Sizes) -> Result<(Vec<T>, Vec<u8>)> {
    let (part, n) = (s.cut().part, s.m * s.output());
    let (mut y, mut codes) = (vec![T::zero(); n], vec![0; if s.is_pooled { n } else { 0 }]);
    let outputs = pieces(&mut y, part * s.output()).zip(pieces(&mut codes, part * s.output()));
    let parts = x.chunks((part * s.e.input()).max(1)).zip(outputs).collect();
    share_out(parts, |(x, (y, codes))| forward_part(x, u, y, codes, s))?;
    Ok((y, codes))
}

fn forward_part<T: WithDType>(
    x: &[T],
    u: &[T],
    y: &mut [T],
    codes: &mut [u8],
    s: Sizes,
) -> Result<()> {
    let (e, n, columns) = (s.e, s.e.weights(), s.cut().columns(s.e));
    let mut unfolded = vec![T::zero(); n * columns];
    let mut sums = vec![T::zero(); s.o * columns];
    let bias = |a| if s.has_bias() { u[a * s.n_cols + n] } else { T::zero() };
    let bias: Vec<T> = (0..s.o).map(bias).collect();
    for band in e.bands(x.len() / e.input().max(1), s.cut()) {
        band.unfold(x, &mut unfolded);
        let factor = (&unfolded[..], band.unfolded());
        matmul((&mut sums, s.sums(&band)), (u, s.filters()), factor, false)?;
        if s.is_pooled {
            outputs::store_pooled(&band, &sums, &bias, y, codes);
        } else {
            outputs::store(&band, &sums, &bias, y);
        }
    }
    Ok(())
}

fn backward<T: WithDType>(
    x: &Tensor,
    u: &Tensor,
    codes: &[u8],
    gradient: &Tensor,
    s: Sizes,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let gradient = gradient.contiguous()?;
    let ((xs, xl), (us, ul)) = (x.storage_and_layout(), u.storage_and_layout());
    let (gs, gl) = gradient.storage_and_layout();
    let (images, filters) = (numbers::<T>(on_cpu(&xs)?, xl)?, numbers::<T>(on_cpu(&us)?, ul)?);
    let dy = numbers::<T>(on_cpu(&gs)?, gl)?;
    if s.is_pooled && codes.len() != dy.len() {
        bail!("a pooled convolution wanted {} codes, found {}", dy.len(), codes.len());
    }

    let (part, size) = (s.cut().part, s.o * s.n_cols);
    let n_parts = if u.track_op() { s.m.div_ceil(part).max(1) } else { 0 };
    let mut du = vec![T::zero(); n_parts * size];
    let mut dx = vec![T::zero(); if x.track_op() { images.len() } else { 0 }];
    let gradients = pieces(&mut du, size).zip(pieces(&mut dx, part * s.e.input()));
    let parts = (0..s.m).step_by(part).zip(gradients).map(|(i, (du, dx))| {
        let (from, to) = (i, s.m.min(i + part));
        let x = &images[from * s.e.input()..to * s.e.input()];
        let outputs = from * s.output()..to * s.output();
        let codes = if s.is_pooled { &codes[outputs.clone()] } else { codes };
        Part { x, dy: &dy[outputs], codes, du, dx }
    });
    share_out(parts.collect(), |part| backward_part(part, filters, s))?;

    let du =
        u.track_op().then(|| Tensor::from_vec(sum_of_parts(&du, s), (s.o, s.n_cols), u.device()));
    let dx = x.track_op().then(|| Tensor::from_vec(dx, x.shape(), x.device()));
    Ok((dx.transpose()?, du.transpose()?))
}

/// Gradients (n_cols, o) of the parts to their sum (o, n_cols), in the order of the parts.
fn sum_of_parts<T: WithDType>(parts: &[T], s: Sizes) -> Vec<T> {
    let mut sum = vec![T::zero(); s.o * s.n_cols];
    for part in parts.chunks_exact(sum.len()) {
        for (j, column) in part.chunks_exact(s.o).enumerate() {
            column.iter().enumerate().for_each(|(a, &term)| sum[a * s.n_cols + j] += term);
        }
    }
    sum
}

/// Some images of the batch on their way back; a gradient that nobody wants is empty.
struct Part<'a, T> {
    x: &'a [T],
    dy: &'a [T],
    codes: &'a [u8],
    /// Shape (n_cols, o): a product with few columns is faster than one whose left factor lies across.
    du: &'a mut [T],
    dx: &'a mut [T],
}

fn backward_part<T: WithDType>(part: Part<'_, T>, u: &[T], s: Sizes) -> Result<()> {
    let Part { x, dy, codes, du, dx } = part;
    let (e, n, columns) = (s.e, s.e.weights(), s.cut().columns(s.e));
    let mut unfolded = vec![T::zero(); n * columns];
    let mut sums = vec![T::zero(); s.o * columns];
    let transposed = Matrix::rows_apart(n, s.o, s.o);
    for band in e.bands(x.len() / e.input().max(1), s.cut()) {
        if s.is_pooled {
            outputs::load_pooled(&band, s.o, dy, codes, &mut sums);
        } else {
            outputs::load(&band, s.o, dy, &mut sums);
        }
        if !du.is_empty() {
            band.unfold(x, &mut unfolded);
            let factor = (&sums[..], s.sums(&band).transposed());
            matmul((du, transposed), (&unfolded, band.unfolded()), factor, true)?;
        }
        if !du.is_empty() && s.has_bias() {
            for (a, row) in sums.chunks_exact(band.columns()).take(s.o).enumerate() {
                du[n * s.o + a] += row.iter().fold(T::zero(), |sum, &g| sum + g);
            }
        }
        if !dx.is_empty() {
            let factor = (u, s.filters().transposed());
            matmul((&mut unfolded, band.unfolded()), factor, (&sums, s.sums(&band)), false)?;
            band.fold_into(&unfolded, dx);
        }
    }
    Ok(())
}
