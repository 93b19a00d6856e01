//! Convolution by filters of one channel each, weight by weight over whole planes.
//!
//! A plane with zeros around it is laid out so that every weight meets one run of numbers: the rows and columns that a weight
//! sees have one remainder by the strides, its *phase*; each phase is a plane of its own, in which outputs side by side
//! see numbers side by side. Rows of the outputs are as far apart as those of a phase; what stands between them is not used.

use candle_core::WithDType;

use super::geometry::{Extents, copy};
use super::passes::{Part, Sizes};
use crate::kernels::vectorized;

/// Numbers that are summed side by side.
const LANES: usize = 32;
/// Numbers of a layout that are never too many.
const FEW: usize = 1 << 16;

/// How planes are laid out, and a place for one of them.
pub(super) struct Planes {
    s: Sizes,
    /// Numbers from one row of a phase to the next.
    pitch: usize,
    /// Rows of a phase.
    rows: usize,
    /// Numbers from one phase to the next.
    apart: usize,
    /// Outputs of a plane with what stands between their rows, rounded up to whole lanes.
    length: usize,
    /// Remainders of rows and columns by the strides.
    phases: Vec<[usize; 2]>,
    /// Of each weight its phase and the place in it that meets output 0.
    weights: Vec<(usize, usize)>,
}

impl Planes {
    /// Whether the layout has hardly more numbers than an image or its unfolded form.
    pub(super) fn are_small(e: Extents) -> bool {
        let few = FEW + 4 * (e.h * e.w + e.weights() * e.places());
        let [rows, pitch, phases] = extents(e);
        rows.checked_mul(pitch).and_then(|n| n.checked_mul(phases)).is_some_and(|n| n < few)
    }

    pub(super) fn new(s: Sizes) -> Self {
        let [rows, pitch, _] = extents(s.e);
        let window = s.e.window;
        let (mut phases, mut weights) = (Vec::new(), Vec::new());
        for (p, q) in (0..window.kernel[0]).flat_map(|p| (0..window.kernel[1]).map(move |q| (p, q)))
        {
            let at = [p * window.dilations[0], q * window.dilations[1]];
            let phase = [at[0] % window.strides[0], at[1] % window.strides[1]];
            let index = phases.iter().position(|&other| other == phase).unwrap_or(phases.len());
            if index == phases.len() {
                phases.push(phase);
            }
            weights.push((index, at[0] / window.strides[0] * pitch + at[1] / window.strides[1]));
        }
        let length = ((s.e.out_h - 1) * pitch + s.e.out_w).next_multiple_of(LANES);
        let last = weights.iter().map(|weight| weight.1).max().unwrap_or(0);
        let apart = (length + last).max(rows * pitch).next_multiple_of(LANES);
        Self { s, pitch, rows, apart, length, phases, weights }
    }

    /// Zeros for all phases of a plane.
    fn layout<T: WithDType>(&self) -> Vec<T> {
        vec![T::zero(); self.phases.len() * self.apart]
    }

    /// Calls `each` with every row of a phase that has numbers of the image: start in the layout, start in the plane, length.
    #[inline(always)]
    fn runs(&self, mut each: impl FnMut(usize, usize, usize)) {
        let Extents { h, w, window, .. } = self.s.e;
        let [top, left, ..] = window.pads;
        let [down, across] = window.strides;
        for (index, phase) in self.phases.iter().enumerate() {
            let first = left.saturating_sub(phase[1]).div_ceil(across).min(self.pitch);
            let end = (w + left).saturating_sub(phase[1]).div_ceil(across);
            let end = end.clamp(first, self.pitch);
            let above = top.saturating_sub(phase[0]).div_ceil(down).min(self.rows);
            let below = (h + top).saturating_sub(phase[0]).div_ceil(down);
            for r in above..below.clamp(above, self.rows) {
                if end > first {
                    let row = r * down + phase[0] - top;
                    let from = row * w + first * across + phase[1] - left;
                    each(index * self.apart + r * self.pitch + first, from, end - first);
                }
            }
        }
    }

    /// A plane to its layout, whose zeros around the image stay.
    #[inline(always)]
    fn load<T: WithDType>(&self, plane: &[T], layout: &mut [T]) {
        match self.s.e.window.strides[1] {
            1 => self.runs(
                #[inline(always)]
                |to, from, n| copy(&mut layout[to..to + n], &plane[from..from + n]),
            ),
            across => self.runs(
                #[inline(always)]
                |to, from, n| {
                    let from = plane[from..].chunks(across);
                    layout[to..to + n].iter_mut().zip(from).for_each(|(to, from)| *to = from[0]);
                },
            ),
        }
    }

    /// The way back of [`Planes::load`]; every number of a plane is in one phase at most.
    #[inline(always)]
    fn unload<T: WithDType>(&self, layout: &[T], plane: &mut [T]) {
        match self.s.e.window.strides[1] {
            1 => self.runs(
                #[inline(always)]
                |from, to, n| copy(&mut plane[to..to + n], &layout[from..from + n]),
            ),
            across => self.runs(
                #[inline(always)]
                |from, to, n| {
                    let to = plane[to..].chunks_mut(across);
                    layout[from..from + n].iter().zip(to).for_each(|(&from, to)| to[0] = from);
                },
            ),
        }
    }

    pub(super) fn forward<T: WithDType>(&self, x: &[T], u: &[T], bias: &[T], y: &mut [T]) {
        let (s, n) = (self.s, self.s.e.places());
        let mut layout = self.layout();
        let mut sums = vec![T::zero(); self.length];
        let filters = bias.chunks_exact(s.o).zip(u.chunks(s.o * s.filter_stride));
        let mut terms: Vec<_> =
            self.weights.iter().map(|&(phase, at)| (phase * self.apart + at, T::zero())).collect();
        vectorized(
            #[inline(always)]
            || {
                let groups = x.chunks_exact(s.e.h * s.e.w).zip(filters.clone().cycle());
                for ((plane, (bias, u)), y) in groups.zip(y.chunks_exact_mut(s.o * n)) {
                    self.load(plane, &mut layout);
                    for (a, y) in y.chunks_exact_mut(n).enumerate() {
                        let weights = &u[a * s.filter_stride..];
                        terms.iter_mut().zip(weights).for_each(|(term, &w)| term.1 = w);
                        sum_into::<T, false>(&mut sums, &layout, &terms, bias[a]);
                        for (y, sums) in y.chunks_exact_mut(s.e.out_w).zip(sums.chunks(self.pitch))
                        {
                            copy(y, &sums[..s.e.out_w]);
                        }
                    }
                }
            },
        );
    }

    pub(super) fn backward<T: WithDType>(&self, part: Part<'_, T>, u: &[T]) {
        let Part { x, dy, du, dx, wanted, .. } = part;
        let (s, n, plane) = (self.s, self.s.e.places(), self.s.e.h * self.s.e.w);
        let (mut layout, mut back) = (self.layout::<T>(), self.layout::<T>());
        // The gradient of a plane of outputs, with zeros around and between its rows.
        let front = self.apart - self.length;
        let mut spaced = vec![T::zero(); front + self.apart];
        let n_weights = self.weights.len();
        vectorized(
            #[inline(always)]
            || {
                for (i, dy) in dy.chunks_exact(s.o * n).enumerate() {
                    let g = i % s.groups;
                    if wanted.filters {
                        self.load(&x[i * plane..(i + 1) * plane], &mut layout);
                    }
                    for (a, dy) in dy.chunks_exact(n).enumerate() {
                        let to = spaced[front..].chunks_mut(self.pitch);
                        for (to, dy) in to.zip(dy.chunks_exact(s.e.out_w)) {
                            copy(&mut to[..s.e.out_w], dy);
                        }
                        let spaced = &spaced[..];
                        let start = g * s.o * s.filter_gradients() + a;
                        if wanted.filters {
                            for (j, &(phase, at)) in self.weights.iter().enumerate() {
                                let seen = &layout[phase * self.apart + at..];
                                du[start + j * s.o] += dot(&spaced[front..][..self.length], seen);
                            }
                        }
                        if wanted.bias {
                            let sum = dy.iter().fold(T::zero(), |sum, &g| sum + g);
                            du[start + n_weights * s.o] += sum;
                        }
                        if wanted.x {
                            let weights = &u[(g * s.o + a) * s.filter_stride..];
                            self.spread(spaced, front, weights, &mut back, a > 0);
                        }
                    }
                    if wanted.x {
                        self.unload(&back, &mut dx[i * plane..(i + 1) * plane]);
                    }
                }
            },
        );
    }

    /// Gradient of a plane of outputs to that of the laid-out images, added to what is there from other filters.
    #[inline(always)]
    fn spread<T: WithDType>(
        &self,
        spaced: &[T],
        front: usize,
        weights: &[T],
        back: &mut [T],
        is_added: bool,
    ) {
        let mut terms = Vec::with_capacity(self.weights.len());
        for (index, back) in back.chunks_exact_mut(self.apart).enumerate() {
            terms.clear();
            let of_phase = self.weights.iter().zip(weights).filter(|(weight, _)| weight.0 == index);
            terms.extend(of_phase.map(|(&(_, at), &w)| (front - at, w)));
            if is_added {
                sum_into::<T, true>(back, spaced, &terms, T::zero());
            } else {
                sum_into::<T, false>(back, spaced, &terms, T::zero());
            }
        }
    }
}

/// Rows and columns of a phase, and a bound of the number of phases.
fn extents(e: Extents) -> [usize; 3] {
    let of = |axis: usize, outputs: usize| {
        let (stride, kernel) = (e.window.strides[axis], e.window.kernel[axis]);
        let last = (kernel - 1) * e.window.dilations[axis];
        (outputs + last / stride, stride.min(kernel))
    };
    let ((rows, n), (pitch, m)) = (of(0, e.out_h), of(1, e.out_w));
    [rows, pitch, n * m]
}

/// to\[t\] = start + Σ w · from\[t + at\] over terms (at, w), or that added where `ADDED`; whole lanes.
#[inline(always)]
fn sum_into<T: WithDType, const ADDED: bool>(
    to: &mut [T],
    from: &[T],
    terms: &[(usize, T)],
    start: T,
) {
    for (t, to) in to.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let mut sums = if ADDED { *to } else { [start; LANES] };
        for &(at, w) in terms {
            if let Some(from) = from[t * LANES + at..].first_chunk::<LANES>() {
                for lane in 0..LANES {
                    sums[lane] += w * from[lane];
                }
            }
        }
        *to = sums;
    }
}

/// Σ a · b over the whole lanes of a.
#[inline(always)]
fn dot<T: WithDType>(a: &[T], b: &[T]) -> T {
    let mut sums = [T::zero(); LANES];
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let mut n = LANES;
    while n > 1 {
        n /= 2;
        for lane in 0..n {
            let other = sums[lane + n];
            sums[lane] += other;
        }
    }
    sums[0]
}
