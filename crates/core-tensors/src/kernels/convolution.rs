//! Convolution, forward and backward, as matrix products over unfolded bands of pictures.

mod geometry;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use self::geometry::{Cut, Extents};
use super::matmul::{Shape as Matrix, matmul};
use super::{is_fused, numbers, on_cpu};

/// What a filter of stride 1 sees of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// k ≥ 1: side of the square filters.
    pub kernel: usize,
    /// Rows and columns of zeros around a picture, on each side.
    pub padding: usize,
}

/// Cross-correlation of stride 1; (m, c, h, w) → (m, o, h + 2·padding − k + 1, w + 2·padding − k + 1).
///
/// y\[i, a, r, s\] = b\[a\] + Σ u\[a, (j, p, q)\] x\[i, j, r + p, s + q\]  over channels j and 0 ≤ p, q < k
///
/// with x surrounded by zeros. `u` has shape (o, c·k²), or (o, c·k² + 1) with the bias b as its last column: one row a
/// filter, its weights in the order channel, row, column. This is the convention of PyTorch's `Conv2d`.
/// The pictures of a batch are shared out among the threads of rayon's pool; the result does not depend on their number.
pub fn convolve(x: &Tensor, u: &Tensor, window: Window) -> Result<Tensor> {
    let (_, c, h, w) = x.dims4()?;
    let (o, n_cols) = u.dims2()?;
    let n = Extents::new((c, h, w), window)?.weights();
    if n_cols != n && n_cols != n + 1 {
        bail!("filters of {c} channels wanted {n} columns or one more, found {n_cols}");
    }
    if o == 0 {
        bail!("a convolution wanted at least one filter, found none");
    }
    if is_fused(&[x, u]) {
        return x.contiguous()?.apply_op2(u, Convolve { window });
    }
    composed(x, u, window)
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
}

/// Extents of a whole call.
#[derive(Clone, Copy)]
struct Sizes {
    e: Extents,
    m: usize,
    o: usize,
    n_cols: usize,
}

impl Sizes {
    fn new(x: &Shape, u: &Shape, window: Window) -> Result<Self> {
        let ((m, c, h, w), (o, n_cols)) = (x.dims4()?, u.dims2()?);
        Ok(Self { e: Extents::new((c, h, w), window)?, m, o, n_cols })
    }

    fn has_bias(self) -> bool {
        self.n_cols > self.e.weights()
    }

    /// U without its bias.
    fn filters(self) -> Matrix {
        Matrix::rows_apart(self.o, self.e.weights(), self.n_cols)
    }

    /// The answers of the filters, `columns` places each, at a stride.
    fn answers(self, columns: usize, stride: usize) -> Matrix {
        Matrix::rows_apart(self.o, columns, stride)
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
        let s = Sizes::new(x_layout.shape(), u_layout.shape(), self.window)?;
        let y = match x {
            CpuStorage::F32(_) => {
                CpuStorage::F32(forward::<f32>(numbers(x, x_layout)?, numbers(u, u_layout)?, s)?)
            }
            _ => CpuStorage::F64(forward::<f64>(numbers(x, x_layout)?, numbers(u, u_layout)?, s)?),
        };
        Ok((y, (s.m, s.o, s.e.out_h, s.e.out_w).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        u: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let s = Sizes::new(x.shape(), u.shape(), self.window)?;
        match x.dtype() {
            DType::F32 => backward::<f32>(x, u, gradient, s),
            _ => backward::<f64>(x, u, gradient, s),
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

fn forward<T: WithDType>(x: &[T], u: &[T], s: Sizes) -> Result<Vec<T>> {
    let (e, cut) = (s.e, s.e.cut(s.m));
    let (input, output) = (e.input().max(1), s.o * e.places());
    let mut y = vec![T::zero(); s.m * output];
    let parts = x.chunks(cut.part * input).zip(y.chunks_mut(cut.part * output)).collect();
    share_out(parts, |(x, y): (&[T], &mut [T])| forward_part(x, u, y, s, cut))?;
    Ok(y)
}

fn forward_part<T: WithDType>(x: &[T], u: &[T], y: &mut [T], s: Sizes, cut: Cut) -> Result<()> {
    let (e, n) = (s.e, s.e.weights());
    let columns = cut.columns(e);
    let mut unfolded = vec![T::zero(); n * columns];
    let mut apart = vec![T::zero(); if cut.group > 1 { s.o * columns } else { 0 }];
    if s.has_bias() {
        for (i, y) in y.chunks_exact_mut(e.places()).enumerate() {
            y.fill(u[i % s.o * s.n_cols + n]);
        }
    }
    for band in e.bands(x.len() / e.input().max(1), cut) {
        band.unfold(x, &mut unfolded);
        let (filters, columns) = ((u, s.filters()), band.columns());
        let unfolded = (&unfolded[..], band.unfolded());
        if let Some(start) = band.start(s.o) {
            let answers = (&mut y[start..], s.answers(columns, e.places()));
            matmul(answers, filters, unfolded, s.has_bias())?;
        } else {
            matmul((&mut apart, s.answers(columns, columns)), filters, unfolded, false)?;
            band.answers(s.o, |from, to, n| {
                let sums = y[to..to + n].iter_mut().zip(&apart[from..from + n]);
                sums.for_each(|(sum, &term)| *sum += term);
            });
        }
    }
    Ok(())
}

fn backward<T: WithDType>(
    x: &Tensor,
    u: &Tensor,
    gradient: &Tensor,
    s: Sizes,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (e, cut) = (s.e, s.e.cut(s.m));
    let gradient = gradient.contiguous()?;
    let ((xs, xl), (us, ul)) = (x.storage_and_layout(), u.storage_and_layout());
    let (gs, gl) = gradient.storage_and_layout();
    let (pictures, filters) = (numbers::<T>(on_cpu(&xs)?, xl)?, numbers::<T>(on_cpu(&us)?, ul)?);
    let dy = numbers::<T>(on_cpu(&gs)?, gl)?;

    let n_parts = s.m.div_ceil(cut.part);
    let mut du = vec![T::zero(); if u.track_op() { n_parts * s.o * s.n_cols } else { 0 }];
    let mut dx = vec![T::zero(); if x.track_op() { pictures.len() } else { 0 }];
    let (input, output) = (e.input(), s.o * e.places());
    let mut parts = Vec::with_capacity(n_parts);
    let (mut rest_du, mut rest_dx) = (&mut du[..], &mut dx[..]);
    for i in (0..s.m).step_by(cut.part) {
        let (start, end) = (i, s.m.min(i + cut.part));
        let (mine_du, others_du) =
            rest_du.split_at_mut(if u.track_op() { s.o * s.n_cols } else { 0 });
        let (mine_dx, others_dx) =
            rest_dx.split_at_mut(if x.track_op() { (end - start) * input } else { 0 });
        (rest_du, rest_dx) = (others_du, others_dx);
        parts.push(Part {
            x: &pictures[start * input..end * input],
            dy: &dy[start * output..end * output],
            du: mine_du,
            dx: mine_dx,
        });
    }
    share_out(parts, |part| backward_part(part, filters, s, cut))?;
    let du = u.track_op().then(|| {
        let (sum, others) = du.split_at_mut(s.o * s.n_cols);
        for part in others.chunks_exact(s.o * s.n_cols) {
            sum.iter_mut().zip(part).for_each(|(sum, &term)| *sum += term);
        }
        du.truncate(s.o * s.n_cols);
        Tensor::from_vec(du, (s.o, s.n_cols), u.device())
    });
    let dx = x.track_op().then(|| Tensor::from_vec(dx, x.shape(), x.device()));
    Ok((dx.transpose()?, du.transpose()?))
}

/// Some pictures of the batch on their way back; a gradient that nobody wants is empty.
struct Part<'a, T> {
    x: &'a [T],
    dy: &'a [T],
    du: &'a mut [T],
    dx: &'a mut [T],
}

fn backward_part<T: WithDType>(part: Part<'_, T>, u: &[T], s: Sizes, cut: Cut) -> Result<()> {
    let Part { x, dy, du, dx } = part;
    let (e, n) = (s.e, s.e.weights());
    let columns = cut.columns(e);
    let mut unfolded = vec![T::zero(); n * columns];
    let mut apart = vec![T::zero(); if cut.group > 1 { s.o * columns } else { 0 }];
    for band in e.bands(x.len() / e.input().max(1), cut) {
        let columns = band.columns();
        let (dy, answers) = match band.start(s.o) {
            Some(start) => (&dy[start..], s.answers(columns, e.places())),
            None => {
                band.answers(s.o, |to, from, n| {
                    apart[to..to + n].copy_from_slice(&dy[from..from + n]);
                });
                (&apart[..], s.answers(columns, columns))
            }
        };
        if !du.is_empty() {
            band.unfold(x, &mut unfolded);
            let places_first = (&unfolded[..], band.unfolded().transposed());
            matmul((du, s.filters()), (dy, answers), places_first, true)?;
        }
        if !dx.is_empty() {
            let filters = (u, s.filters().transposed());
            matmul((&mut unfolded, band.unfolded()), filters, (dy, answers), false)?;
            band.fold_into(&unfolded, dx);
        }
    }
    if !du.is_empty() && s.has_bias() {
        for (i, dy) in dy.chunks_exact(e.places()).enumerate() {
            du[i % s.o * s.n_cols + n] += dy.iter().fold(T::zero(), |sum, &g| sum + g);
        }
    }
    Ok(())
}
