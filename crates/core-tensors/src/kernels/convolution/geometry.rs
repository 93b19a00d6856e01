//! How a batch of images is unfolded into matrices: extents, groups, bands of rows.

use std::ops::Range;

use candle_core::{Result, WithDType, bail};

use crate::kernels::matmul::Shape as Matrix;
use crate::kernels::sliding_window::{SlidingWindow, n_numbers};
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

/// Extents of an image, its filters and the outputs, of one group of channels.
#[derive(Clone, Copy)]
pub(super) struct Extents {
    /// Channels of the group.
    pub(super) c: usize,
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) window: SlidingWindow,
    pub(super) out_h: usize,
    pub(super) out_w: usize,
    /// Numbers of an image with the channels of all groups.
    image: usize,
}

impl Extents {
    /// Of images (c, h, w) whose channels are in groups that see nothing of each other.
    pub(super) fn new(
        (c, h, w): (usize, usize, usize),
        window: SlidingWindow,
        groups: usize,
    ) -> Result<Self> {
        let [out_h, out_w] = window.output(h, w)?;
        if c == 0 || h == 0 || w == 0 {
            bail!(
                "a convolution wanted at least one channel, row and column, found {c}, {h} and {w}"
            );
        }
        if groups == 0 || !c.is_multiple_of(groups) {
            bail!("{c} channels are not divisible into {groups} groups");
        }
        let image = n_numbers(&[c, h, w])?;
        let [rows, columns] = window.kernel;
        // Whatever is computed from the extents is at most this.
        n_numbers(&[c / groups, rows, columns, out_h, out_w])?;
        Ok(Self { c: c / groups, h, w, window, out_h, out_w, image })
    }

    /// Numbers of an image, of all groups.
    pub(super) fn input(self) -> usize {
        self.image
    }

    /// Numbers of the channels of a group in an image, c·h·w.
    pub(super) fn group_input(self) -> usize {
        self.c * self.h * self.w
    }

    /// Weights of a filter, c·kₕ·k_w.
    pub(super) fn weights(self) -> usize {
        self.c * self.window.kernel[0] * self.window.kernel[1]
    }

    /// Places of a filter on an image.
    pub(super) fn places(self) -> usize {
        self.out_h * self.out_w
    }

    /// Whether the rows of a place lie in an image as in the unfolded one, but for what is between them.
    fn is_plain(self) -> bool {
        self.window.is_bare() && self.window.strides == [1; 2] && self.window.dilations == [1; 2]
    }

    /// Whether an unfolded image is the image itself.
    pub(super) fn is_unfolded(self) -> bool {
        self.is_plain() && self.window.kernel == [1; 2]
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
    /// where the run is padding), length. In the images they are as far apart as the columns of the outputs.
    #[inline(always)]
    fn runs(&self, mut each: impl FnMut(usize, Option<usize>, usize)) {
        let Extents { c, h, w, out_w, .. } = self.e;
        let SlidingWindow { kernel, strides, dilations, pads: [top, left_pad, ..] } = self.e.window;
        let columns = self.columns();
        for (position, i) in self.images.clone().enumerate() {
            for j in 0..c {
                for p in 0..kernel[0] {
                    for q in 0..kernel[1] {
                        let row = ((j * kernel[0] + p) * kernel[1] + q) * columns
                            + position * self.places();
                        let (down, across) = (p * dilations[0], q * dilations[1]);
                        let left = left_pad.saturating_sub(across).div_ceil(strides[1]).min(out_w);
                        let right = (w + left_pad).saturating_sub(across).div_ceil(strides[1]);
                        let right = right.clamp(left, out_w);
                        for (line, r) in self.rows.clone().enumerate() {
                            let to = row + line * out_w;
                            let r = r * strides[0] + down;
                            if r < top || r - top >= h {
                                each(to, None, out_w);
                                continue;
                            }
                            let from = i * self.e.image + (j * h + r - top) * w;
                            if left > 0 {
                                each(to, None, left);
                            }
                            if right > left {
                                let first = left * strides[1] + across - left_pad;
                                each(to + left, Some(from + first), right - left);
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
        let Extents { c, h, w, window, .. } = self.e;
        let [n_rows, n_columns] = window.kernel;
        let (columns, places) = (self.columns(), self.places());
        for (position, i) in self.images.clone().enumerate() {
            for j in 0..c {
                for (p, q) in (0..n_rows).flat_map(|p| (0..n_columns).map(move |q| (p, q))) {
                    let to = ((j * n_rows + p) * n_columns + q) * columns + position * places;
                    each(to, i * self.e.image + (j * h + self.rows.start + p) * w + q);
                }
            }
        }
    }

    pub(super) fn unfold<T: WithDType>(&self, images: &[T], unfolded: &mut [T]) {
        match (self.e.is_plain(), self.e.out_w) {
            (true, 8) => self.unfold_wide::<8, T>(images, unfolded),
            (true, 11) => self.unfold_wide::<11, T>(images, unfolded),
            (true, 24) => self.unfold_wide::<24, T>(images, unfolded),
            (true, 26) => self.unfold_wide::<26, T>(images, unfolded),
            _ if self.e.window.strides[1] == 1 => self.unfold_any(images, unfolded),
            _ => self.unfold_strided(images, unfolded),
        }
    }

    pub(super) fn fold_into<T: WithDType>(&self, unfolded: &[T], images: &mut [T]) {
        match (self.e.is_plain(), self.e.out_w) {
            (true, 8) => self.fold_wide::<8, T>(unfolded, images),
            (true, 11) => self.fold_wide::<11, T>(unfolded, images),
            (true, 24) => self.fold_wide::<24, T>(unfolded, images),
            (true, 26) => self.fold_wide::<26, T>(unfolded, images),
            _ if self.e.window.strides[1] == 1 => self.fold_any(unfolded, images),
            _ => self.fold_strided(unfolded, images),
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

    fn unfold_strided<T: WithDType>(&self, images: &[T], unfolded: &mut [T]) {
        let stride = self.e.window.strides[1];
        vectorized(
            #[inline(always)]
            || {
                self.runs(|to, from, n| {
                    let to = &mut unfolded[to..to + n];
                    match from {
                        Some(from) => {
                            let from = images[from..].chunks(stride);
                            to.iter_mut().zip(from).for_each(|(to, from)| *to = from[0]);
                        }
                        None => to.fill(T::zero()),
                    }
                });
            },
        );
    }

    fn fold_strided<T: WithDType>(&self, unfolded: &[T], images: &mut [T]) {
        let stride = self.e.window.strides[1];
        vectorized(
            #[inline(always)]
            || {
                self.runs(|from, to, n| {
                    let Some(to) = to else { return };
                    let terms = unfolded[from..from + n].iter();
                    let sums = images[to..].chunks_mut(stride);
                    terms.zip(sums).for_each(|(&t, sums)| sums[0] += t);
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
pub(super) fn copy<T: Copy>(to: &mut [T], from: &[T]) {
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
