//! The arithmetic of a dense layer on slices: act(x Uᵀ + b), and the gradients by x and by U from that by the sums.

use std::ops::Range;

use candle_core::Result;

use super::activation::{Activation, activate};
use super::elementwise::Real;
use super::matmul::{Shape, matmul};
use super::vectorized;

/// Units whose gradients of the bias are summed at a time.
const AT_A_TIME: usize = 16;

/// The sizes of a layer and its batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dense {
    /// Examples.
    pub(super) m: usize,
    pub(super) n_in: usize,
    pub(super) n_out: usize,
    /// n_in, and one for the bias.
    pub(super) n_cols: usize,
}

impl Dense {
    fn x(self) -> Shape {
        Shape::rows_apart(self.m, self.n_in, self.n_in)
    }

    /// U without its bias.
    fn u(self) -> Shape {
        Shape::rows_apart(self.n_out, self.n_in, self.n_cols)
    }

    fn y(self) -> Shape {
        Shape::rows_apart(self.m, self.n_out, self.n_out)
    }

    fn has_bias(self) -> bool {
        self.n_cols > self.n_in
    }

    /// y ← act(x Uᵀ + b), (m, n_out), for the activations that a layer's own pass applies.
    pub(super) fn forward<T: Real>(
        self,
        y: &mut [T],
        x: &[T],
        u: &[T],
        activation: Activation,
    ) -> Result<()> {
        if self.has_bias() && self.m > 0 {
            let (first, rest) = y.split_at_mut(self.n_out);
            for (b, row) in first.iter_mut().zip(u.chunks_exact(self.n_cols)) {
                *b = row[self.n_in];
            }
            rest.chunks_exact_mut(self.n_out).for_each(|row| row.copy_from_slice(first));
        }
        matmul((y, self.y()), (x, self.x()), (u, self.u().transposed()), self.has_bias())?;
        activate(y, activation);
        Ok(())
    }

    /// The gradient by x, (m, n_in), from that by the sums, (m, n_out).
    pub(super) fn by_inputs<T: Real>(self, dx: &mut [T], dz: &[T], u: &[T]) -> Result<()> {
        matmul((dx, self.x()), (dz, self.y()), (u, self.u()), false)
    }

    /// Rows of the gradient by U, the bias included, from that by the sums; `units` are within n_out.
    pub(super) fn by_weights<T: Real>(
        self,
        units: Range<usize>,
        du: &mut [T],
        dz: &[T],
        x: &[T],
    ) -> Result<()> {
        let n = units.len();
        if n == 0 {
            return Ok(());
        }
        let columns = Shape::rows_apart(self.m, n, self.n_out).transposed();
        let of_units = Shape::rows_apart(n, self.n_in, self.n_cols);
        let from_first = dz.get(units.start..).unwrap_or(&[]);
        matmul((du, of_units), (from_first, columns), (x, self.x()), false)?;
        if self.has_bias() {
            let rows = du.chunks_mut(AT_A_TIME * self.n_cols);
            for (first, rows) in units.step_by(AT_A_TIME).zip(rows) {
                let sums = self.sums_of_columns(first, dz);
                for (row, sum) in rows.chunks_exact_mut(self.n_cols).zip(sums) {
                    row[self.n_in] = sum;
                }
            }
        }
        Ok(())
    }

    /// Σᵢ δᵢⱼ for the units j from `first` on, as many as there are up to 16.
    fn sums_of_columns<T: Real>(self, first: usize, dz: &[T]) -> [T; AT_A_TIME] {
        let mut sums = [T::zero(); AT_A_TIME];
        vectorized(
            #[inline(always)]
            || {
                for deltas in dz.chunks_exact(self.n_out) {
                    match deltas[first..].first_chunk::<AT_A_TIME>() {
                        Some(deltas) => (0..AT_A_TIME).for_each(|j| sums[j] += deltas[j]),
                        None => sums.iter_mut().zip(&deltas[first..]).for_each(|(s, &d)| *s += d),
                    }
                }
            },
        );
        sums
    }
}
