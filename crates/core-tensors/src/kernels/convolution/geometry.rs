//! How a batch of images is unfolded into matrices: extents, groups, bands of rows.

use std::ops::Range;

use candle_core::{Result, WithDType, bail};

use super::Window;
use crate::kernels::matmul::Shape as Matrix;
use crate::kernels::vectorized;

/// Numbers of an unfolded band: with the factors beside it, half of the L2 cache of a core.
const BAND: usize = 1 << 18;
/// Columns below which a matrix product wastes its registers, and above which more images gain nothing.
const FEWEST_COLUMNS: usize = 64;
const MOST_COLUMNS: usize = 1024;
/// Parts of a batch that may run in parallel; fixed, so that sums over the batch do not depend on the machine.
const PARTS: usize = 4;

/// Numbers copied at once.
const LANES: usize = 16;

/// Extents of an image, its filters and the answer.
#[derive(Clone, Copy)]
pub(super) struct Extents {
    pub(super) c: usize,
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) k: usize,
    pub(super) padding: usize,
    pub(super) out_h: usize,
    pub(super) out_w: usize,
}

impl Extents {
    pub(super) fn new((c, h, w): (usize, usize, usize), window: Window) -> Result<Self> {
        let Window { kernel: k, padding } = window;
        let (tall, wide) = (h + 2 * padding, w + 2 * padding);
        if k == 0 || tall < k || wide < k {
            bail!("a {k} × {k} kernel wanted images at least as large, found {tall} × {wide}");
        }
        Ok(Self { c, h, w, k, padding, out_h: tall - k + 1, out_w: wide - k + 1 })
    }

    /// Numbers of an image, c·h·w.
    pub(super) fn input(self) -> usize {
        self.c * self.h * self.w
    }

    /// Weights of a filter, c·k².
    pub(super) fn weights(self) -> usize {
        self.c * self.k * self.k
    }

    /// The cut of a batch of m images whose outputs are needed by pairs of rows if they are pooled.
    pub(super) fn cut(self, m: usize, is_pooled: bool) -> Cut {
        let step = if is_pooled { 2 } else { 1 };
        let n_rows = self.out_h / step * step;
        let places = (n_rows * self.out_w).max(1);
        let numbers = self.weights() * places;
        let most = (BAND / numbers).min(MOST_COLUMNS / places);
        let most = most.max(FEWEST_COLUMNS.div_ceil(places));
        let group = m.div_ceil(m.div_ceil(most.max(1)).max(1)).max(1);
        let n_bands = if group > 1 { 1 } else { numbers.div_ceil(BAND) };
        let rows = n_rows.div_ceil(n_bands).next_multiple_of(step).max(step);
        let part = m.div_ceil(group).div_ceil(PARTS).max(1) * group;
        Cut { part, group, rows, n_rows }
    }

    /// The bands of a part of m images.
    pub(super) fn bands(self, m: usize, cut: Cut) -> impl Iterator<Item = Band> {
        let groups = (0..m).step_by(cut.group);
        groups.flat_map(move |i| {
            let images = i..m.min(i + cut.group);
            (0..cut.n_rows).step_by(cut.rows).map(move |r| Band {
                images: images.clone(),
                rows: r..cut.n_rows.min(r + cut.rows),
                e: self,
            })
        })
    }
}

/// How a batch is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cut {
    /// Images of a part that may run beside the others.
    pub(super) part: usize,
    /// Images unfolded together; more than one only where all their rows are.
    group: usize,
    /// Rows of the outputs unfolded together.
    rows: usize,
    /// Rows of the outputs that count.
    n_rows: usize,
}

impl Cut {
    /// Columns of the widest band.
    pub(super) fn columns(self, e: Extents) -> usize {
        self.group * self.rows * e.out_w
    }
}

/// Some rows of the outputs of some images of a part.
pub(super) struct Band {
    pub(super) images: Range<usize>,
    pub(super) rows: Range<usize>,
    pub(super) e: Extents,
}

impl Band {
    /// Places of one image.
    pub(super) fn places(&self) -> usize {
        self.rows.len() * self.e.out_w
    }

    pub(super) fn columns(&self) -> usize {
        self.images.len() * self.places()
    }

    /// The unfolded band: one row a weight, one column a place.
    pub(super) fn unfolded(&self) -> Matrix {
        Matrix::rows_apart(self.e.weights(), self.columns(), self.columns())
    }

    /// Calls `each` with every run of numbers: start in the unfolded band, start in the images of the part (none
    /// where the run is padding), length.
    #[inline(always)]
    fn runs(&self, mut each: impl FnMut(usize, Option<usize>, usize)) {
        let Extents { c, h, w, k, padding, out_w, .. } = self.e;
        let columns = self.columns();
        for (position, i) in self.images.clone().enumerate() {
            for j in 0..c {
                for p in 0..k {
                    for q in 0..k {
                        let row = ((j * k + p) * k + q) * columns + position * self.places();
                        let left = padding.saturating_sub(q).min(out_w);
                        let right = (w + padding).saturating_sub(q).clamp(left, out_w);
                        for (line, r) in self.rows.clone().enumerate() {
                            let to = row + line * out_w;
                            if r + p < padding || r + p - padding >= h {
                                each(to, None, out_w);
                                continue;
                            }
                            let from = ((i * c + j) * h + r + p - padding) * w;
                            if left > 0 {
                                each(to, None, left);
                            }
                            if right > left {
                                each(to + left, Some(from + left + q - padding), right - left);
                            }
                            if right < out_w {
                                each(to + right, None, out_w - right);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Calls `each` with every place of a filter on a channel of an image, where nothing is padded: start of its rows in the
    /// unfolded band, where they stand one after another, and in the images, where they are w apart.
    #[inline(always)]
    fn rows_of_places(&self, mut each: impl FnMut(usize, usize)) {
        let Extents { c, h, w, k, .. } = self.e;
        let (columns, places) = (self.columns(), self.places());
        for (position, i) in self.images.clone().enumerate() {
            for j in 0..c {
                for (p, q) in (0..k).flat_map(|p| (0..k).map(move |q| (p, q))) {
                    let to = ((j * k + p) * k + q) * columns + position * places;
                    each(to, ((i * c + j) * h + self.rows.start + p) * w + q);
                }
            }
        }
    }

    pub(super) fn unfold<T: WithDType>(&self, images: &[T], unfolded: &mut [T]) {
        match (self.e.padding, self.e.out_w) {
            (0, 8) => self.unfold_wide::<8, T>(images, unfolded),
            (0, 11) => self.unfold_wide::<11, T>(images, unfolded),
            (0, 24) => self.unfold_wide::<24, T>(images, unfolded),
            (0, 26) => self.unfold_wide::<26, T>(images, unfolded),
            _ => self.unfold_any(images, unfolded),
        }
    }

    pub(super) fn fold_into<T: WithDType>(&self, unfolded: &[T], images: &mut [T]) {
        match (self.e.padding, self.e.out_w) {
            (0, 8) => self.fold_wide::<8, T>(unfolded, images),
            (0, 11) => self.fold_wide::<11, T>(unfolded, images),
            (0, 24) => self.fold_wide::<24, T>(unfolded, images),
            (0, 26) => self.fold_wide::<26, T>(unfolded, images),
            _ => self.fold_any(unfolded, images),
        }
    }

    /// Without padding, rows of N outputs: those of 28 × 28 images under filters of 5 × 5 (24, then 8) or 3 × 3 (26, then 11).
    fn unfold_wide<const N: usize, T: WithDType>(&self, images: &[T], unfolded: &mut [T]) {
        let (n, w) = (self.places(), self.e.w);
        vectorized(
            #[inline(always)]
            || {
                self.rows_of_places(|to, from| {
                    let lines = unfolded[to..to + n].as_chunks_mut::<N>().0.iter_mut();
                    for (to, from) in lines.zip(images[from..].chunks(w)) {
                        if let Some(from) = from.first_chunk::<N>() {
                            *to = *from;
                        }
                    }
                });
            },
        );
    }

    /// The way back of [`Band::unfold_wide`].
    fn fold_wide<const N: usize, T: WithDType>(&self, unfolded: &[T], images: &mut [T]) {
        let (n, w) = (self.places(), self.e.w);
        vectorized(
            #[inline(always)]
            || {
                self.rows_of_places(|from, to| {
                    let lines = unfolded[from..from + n].as_chunks::<N>().0.iter();
                    for (terms, sums) in lines.zip(images[to..].chunks_mut(w)) {
                        if let Some(sums) = sums.first_chunk_mut::<N>() {
                            for (sum, &term) in sums.iter_mut().zip(terms) {
                                *sum += term;
                            }
                        }
                    }
                });
            },
        );
    }

    fn unfold_any<T: WithDType>(&self, images: &[T], unfolded: &mut [T]) {
        vectorized(
            #[inline(always)]
            || {
                self.runs(|to, from, n| match from {
                    Some(from) => copy(&mut unfolded[to..to + n], &images[from..from + n]),
                    None => unfolded[to..to + n].fill(T::zero()),
                });
            },
        );
    }

    fn fold_any<T: WithDType>(&self, unfolded: &[T], images: &mut [T]) {
        vectorized(
            #[inline(always)]
            || {
                self.runs(|from, to, n| {
                    let Some(to) = to else { return };
                    let terms = &unfolded[from..from + n];
                    images[to..to + n].iter_mut().zip(terms).for_each(|(sum, &t)| *sum += t);
                });
            },
        );
    }
}

/// Copies a run in whole registers, the last one overlapping: runs are too short to call the library for each.
#[inline(always)]
fn copy<T: Copy>(to: &mut [T], from: &[T]) {
    if !(copy_by::<LANES, T>(to, from) || copy_by::<4, T>(to, from)) {
        for (to, &from) in to.iter_mut().zip(from) {
            *to = from;
        }
    }
}

/// Whether a run is long enough for N numbers at a time.
#[inline(always)]
fn copy_by<const N: usize, T: Copy>(to: &mut [T], from: &[T]) -> bool {
    if let (Some(last), Some(end)) = (to.last_chunk_mut::<N>(), from.last_chunk::<N>()) {
        *last = *end;
        for (to, from) in to.as_chunks_mut::<N>().0.iter_mut().zip(from.as_chunks::<N>().0) {
            *to = *from;
        }
        return true;
    }
    false
}
