//! Forward and backward passes over a batch of images, in parts that may run beside each other.

use candle_core::{Result, WithDType};

use super::depthwise::Planes;
use super::geometry::{Band, Cut, Extents};
use super::outputs;
use crate::kernels::matmul::{Shape as Matrix, matmul};
use crate::kernels::share_out;

/// Places of an image below which one product an image wastes its registers.
const FEWEST_PLACES: usize = 32;
/// Parts of a batch that may run in parallel where nothing is unfolded; fixed, as those of bands are.
const PARTS: usize = 4;

/// Extents of a whole call.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) e: Extents,
    pub(super) m: usize,
    /// Groups of channels, each with filters of its own.
    pub(super) groups: usize,
    /// Filters of a group.
    pub(super) o: usize,
    /// Numbers from one filter to the next.
    pub(super) filter_stride: usize,
    pub(super) has_bias: bool,
    pub(super) is_pooled: bool,
    pub(super) method: Method,
}

/// How the sums of a convolution are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Method {
    /// As matrix products over unfolded bands of images.
    Unfolded,
    /// As one matrix product an image, which need not be unfolded.
    Pointwise,
    /// Weight by weight over whole planes: filters of one channel each.
    Depthwise,
}

impl Method {
    /// The fastest for outputs that are not pooled.
    pub(super) fn of(e: Extents) -> Self {
        if e.c == 1 && Planes::are_small(e) {
            Self::Depthwise
        } else if e.is_unfolded() && e.places() >= FEWEST_PLACES {
            Self::Pointwise
        } else {
            Self::Unfolded
        }
    }
}

impl Sizes {
    fn cut(self) -> Cut {
        self.e.cut(self.m, self.is_pooled)
    }

    /// Images of a part.
    fn part(self) -> usize {
        match self.method {
            Method::Unfolded => self.cut().part,
            Method::Pointwise | Method::Depthwise => self.m.div_ceil(PARTS).max(1),
        }
    }

    /// Rows and columns of an output.
    pub(super) fn output_size(self) -> (usize, usize) {
        let pooled = if self.is_pooled { 2 } else { 1 };
        (self.e.out_h / pooled, self.e.out_w / pooled)
    }

    /// Numbers of the outputs of one image.
    pub(super) fn output(self) -> usize {
        self.groups * self.group_output()
    }

    /// Numbers of the outputs of one group of an image.
    fn group_output(self) -> usize {
        self.o * self.output_size().0 * self.output_size().1
    }

    /// The filters of a group.
    fn filters(self) -> Matrix {
        Matrix::rows_apart(self.o, self.e.weights(), self.filter_stride)
    }

    /// A band of sums.
    fn sums(self, band: &Band) -> Matrix {
        Matrix::rows_apart(self.o, band.columns(), band.columns())
    }

    /// Gradients of a filter: its weights and its bias.
    pub(super) fn filter_gradients(self) -> usize {
        self.e.weights() + usize::from(self.has_bias)
    }

    /// The gradient by the weights of a group, (weights, o): a product with few columns is faster than one whose left factor lies across.
    fn weight_gradients(self) -> Matrix {
        Matrix::rows_apart(self.e.weights(), self.o, self.o)
    }

    /// One image of a group in `x`, whose start is that of the group.
    fn image<T>(self, x: &[T], i: usize) -> &[T] {
        &x[i * self.e.input()..][..self.e.group_input()]
    }
}

/// Pieces of a slice, and empty ones without end where it is used up or nobody wanted it.
fn pieces<T>(numbers: &mut [T], size: usize) -> impl Iterator<Item = &mut [T]> {
    numbers.chunks_mut(size.max(1)).chain(std::iter::repeat_with(Default::default))
}

/// The outputs and, if they are pooled, their codes. The bias has one number a filter of all groups.
pub(super) fn forward<T: WithDType>(
    x: &[T],
    u: &[T],
    bias: &[T],
    s: Sizes,
) -> Result<(Vec<T>, Vec<u8>)> {
    let (part, n) = (s.part(), s.m * s.output());
    let (mut y, mut codes) = (vec![T::zero(); n], vec![0; if s.is_pooled { n } else { 0 }]);
    let outputs = pieces(&mut y, part * s.output()).zip(pieces(&mut codes, part * s.output()));
    let parts = x.chunks((part * s.e.input()).max(1)).zip(outputs).collect();
    share_out(parts, |(x, (y, codes))| match s.method {
        Method::Unfolded => forward_unfolded(x, u, bias, y, codes, s),
        Method::Pointwise => forward_pointwise(x, u, bias, y, s),
        Method::Depthwise => {
            Planes::new(s).forward(x, u, bias, y);
            Ok(())
        }
    })?;
    Ok((y, codes))
}

fn forward_unfolded<T: WithDType>(
    x: &[T],
    u: &[T],
    bias: &[T],
    y: &mut [T],
    codes: &mut [u8],
    s: Sizes,
) -> Result<()> {
    let (e, columns) = (s.e, s.cut().columns(s.e));
    let mut unfolded = vec![T::zero(); e.weights() * columns];
    let mut sums = vec![T::zero(); s.o * columns];
    for g in 0..s.groups {
        let (x, u) = (&x[g * e.group_input()..], &u[g * s.o * s.filter_stride..]);
        let bias = &bias[g * s.o..(g + 1) * s.o];
        let y = &mut y[g * s.group_output()..];
        for band in e.bands(x.len().div_ceil(e.input()), s.cut()) {
            band.unfold(x, &mut unfolded);
            let factor = (&unfolded[..], band.unfolded());
            matmul((&mut sums, s.sums(&band)), (u, s.filters()), factor, false)?;
            if s.is_pooled {
                outputs::store_pooled(&band, &sums, bias, y, codes);
            } else {
                outputs::store(&band, &sums, bias, y, s.output());
            }
        }
    }
    Ok(())
}

fn forward_pointwise<T: WithDType>(
    x: &[T],
    u: &[T],
    bias: &[T],
    y: &mut [T],
    s: Sizes,
) -> Result<()> {
    let n = s.e.places();
    for (i, y) in y.chunks_exact_mut(s.output()).enumerate() {
        for (g, y) in y.chunks_exact_mut(s.group_output()).enumerate() {
            let (x, u) = (&x[g * s.e.group_input()..], &u[g * s.o * s.filter_stride..]);
            if s.has_bias {
                y.chunks_exact_mut(n).zip(&bias[g * s.o..]).for_each(|(y, &b)| y.fill(b));
            }
            let image = (s.image(x, i), Matrix::rows_apart(s.e.c, n, n));
            matmul((y, Matrix::rows_apart(s.o, n, n)), (u, s.filters()), image, s.has_bias)?;
        }
    }
    Ok(())
}

/// Which gradients are asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) x: bool,
    pub(super) filters: bool,
    pub(super) bias: bool,
}

/// Gradients; one that nobody wants is empty.
pub(super) struct Gradients<T> {
    pub(super) x: Vec<T>,
    /// (groups · o, weights + 1): the filters', and the bias's in the last column if there is one.
    pub(super) filters: Vec<T>,
}

/// The gradients that are wanted, from that of the outputs.
pub(super) fn backward<T: WithDType>(
    images: &[T],
    filters: &[T],
    codes: &[u8],
    dy: &[T],
    wanted: Wanted,
    s: Sizes,
) -> Result<Gradients<T>> {
    let (part, size) = (s.part(), s.groups * s.o * s.filter_gradients());
    let n_parts = if wanted.filters || wanted.bias { s.m.div_ceil(part).max(1) } else { 0 };
    let mut du = vec![T::zero(); n_parts * size];
    let mut dx = vec![T::zero(); if wanted.x { images.len() } else { 0 }];
    let gradients = pieces(&mut du, size).zip(pieces(&mut dx, part * s.e.input()));
    let parts = (0..s.m).step_by(part).zip(gradients).map(|(i, (du, dx))| {
        let (from, to) = (i, s.m.min(i + part));
        let x = &images[from * s.e.input()..to * s.e.input()];
        let outputs = from * s.output()..to * s.output();
        let codes = if s.is_pooled { &codes[outputs.clone()] } else { codes };
        Part { x, dy: &dy[outputs], codes, du, dx, wanted }
    });
    share_out(parts.collect(), |part| match s.method {
        Method::Unfolded => backward_unfolded(part, filters, s),
        Method::Pointwise => backward_pointwise(part, filters, s),
        Method::Depthwise => {
            Planes::new(s).backward(part, filters);
            Ok(())
        }
    })?;
    let filters = if n_parts > 0 { sum_of_parts(&du, s) } else { du };
    Ok(Gradients { x: dx, filters })
}

/// Gradients (groups, weights + 1, o) of the parts to their sum (groups · o, weights + 1), in the order of the parts.
fn sum_of_parts<T: WithDType>(parts: &[T], s: Sizes) -> Vec<T> {
    let n = s.filter_gradients();
    let mut sum = vec![T::zero(); s.groups * s.o * n];
    for part in parts.chunks_exact(sum.len()) {
        for (terms, sum) in part.chunks_exact(n * s.o).zip(sum.chunks_exact_mut(n * s.o)) {
            for (j, column) in terms.chunks_exact(s.o).enumerate() {
                column.iter().enumerate().for_each(|(a, &term)| sum[a * n + j] += term);
            }
        }
    }
    sum
}

/// Some images of the batch on their way back; a gradient that nobody wants is empty.
pub(super) struct Part<'a, T> {
    pub(super) x: &'a [T],
    pub(super) dy: &'a [T],
    codes: &'a [u8],
    /// Shape (groups, weights + 1, o), the last row for the bias.
    pub(super) du: &'a mut [T],
    pub(super) dx: &'a mut [T],
    pub(super) wanted: Wanted,
}

fn backward_unfolded<T: WithDType>(part: Part<'_, T>, u: &[T], s: Sizes) -> Result<()> {
    let Part { x, dy, codes, du, dx, wanted } = part;
    let (e, n, columns) = (s.e, s.e.weights(), s.cut().columns(s.e));
    let mut unfolded = vec![T::zero(); n * columns];
    let mut sums = vec![T::zero(); s.o * columns];
    let mut du = pieces(du, s.o * s.filter_gradients());
    for g in 0..s.groups {
        let (x, u) = (&x[g * e.group_input()..], &u[g * s.o * s.filter_stride..]);
        let (dy, du) = (&dy[g * s.group_output()..], du.next().unwrap_or_default());
        for band in e.bands(x.len().div_ceil(e.input()), s.cut()) {
            if s.is_pooled {
                outputs::load_pooled(&band, s.o, dy, codes, &mut sums);
            } else {
                outputs::load(&band, s.o, dy, &mut sums, s.output());
            }
            if wanted.filters {
                band.unfold(x, &mut unfolded);
                let factor = (&sums[..], s.sums(&band).transposed());
                let unfolded = (&unfolded[..], band.unfolded());
                matmul((du, s.weight_gradients()), unfolded, factor, true)?;
            }
            if wanted.bias {
                for (a, row) in sums.chunks_exact(band.columns()).take(s.o).enumerate() {
                    du[n * s.o + a] += sum_of(row);
                }
            }
            if wanted.x {
                let factor = (u, s.filters().transposed());
                let sums = (&sums[..], s.sums(&band));
                matmul((&mut unfolded, band.unfolded()), factor, sums, false)?;
                band.fold_into(&unfolded, &mut dx[g * e.group_input()..]);
            }
        }
    }
    Ok(())
}

fn backward_pointwise<T: WithDType>(part: Part<'_, T>, u: &[T], s: Sizes) -> Result<()> {
    let Part { x, dy, du, dx, wanted, .. } = part;
    let (c, n) = (s.e.c, s.e.places());
    let image = Matrix::rows_apart(c, n, n);
    for (i, dy) in dy.chunks_exact(s.output()).enumerate() {
        let mut du = pieces(du, s.o * s.filter_gradients());
        for (g, dy) in dy.chunks_exact(s.group_output()).enumerate() {
            let (start, du) = (g * s.e.group_input(), du.next().unwrap_or_default());
            let sums = (dy, Matrix::rows_apart(s.o, n, n));
            if wanted.filters {
                let x = (s.image(&x[start..], i), image);
                matmul((du, s.weight_gradients()), x, (sums.0, sums.1.transposed()), true)?;
            }
            if wanted.bias {
                let biases = du[c * s.o..].iter_mut().zip(dy.chunks_exact(n));
                biases.for_each(|(db, row)| *db += sum_of(row));
            }
            if wanted.x {
                let dx = &mut dx[i * s.e.input() + start..][..s.e.group_input()];
                let factor = (&u[g * s.o * s.filter_stride..], s.filters().transposed());
                matmul((dx, image), factor, sums, false)?;
            }
        }
    }
    Ok(())
}

fn sum_of<T: WithDType>(row: &[T]) -> T {
    row.iter().fold(T::zero(), |sum, &g| sum + g)
}
