//! One direction of an LSTM over a packed batch.

use candle_core::Result;

use super::batch::Batch;
use super::gates::{step, step_back};
use crate::kernels::Real;
use crate::kernels::matmul::{Shape as Matrix, matmul};

/// Extents of a direction.
#[derive(Clone, Copy)]
pub(super) struct Extents {
    /// d: numbers of an embedded token.
    pub(super) d: usize,
    /// h: numbers of a state.
    pub(super) h: usize,
}

impl Extents {
    /// Inputs of a step: token, state, 1.
    fn width(self) -> usize {
        self.d + self.h + 1
    }

    /// `rows` inputs.
    fn inputs(self, rows: usize) -> Matrix {
        Matrix::rows_apart(rows, self.width(), self.width())
    }

    /// The tokens of `rows` inputs, or their part of U.
    fn tokens(self, rows: usize) -> Matrix {
        Matrix { cols: self.d, ..self.inputs(rows) }
    }

    /// The states of `rows` inputs, or their part of U, from column d on.
    fn states(self, rows: usize) -> Matrix {
        Matrix { cols: self.h, ..self.inputs(rows) }
    }

    /// The sums of `rows` inputs.
    fn sums(self, rows: usize) -> Matrix {
        Matrix::rows_apart(rows, 4 * self.h, 4 * self.h)
    }
}

/// What one direction did, step by step over the packed tokens.
pub(super) struct Course<T> {
    /// (token, h_{t−1}, 1) of each packed token.
    inputs: Vec<T>,
    /// i, f, g, o of each.
    gates: Vec<T>,
    /// c_t of each.
    cells: Vec<T>,
    /// tanh c_t of each.
    tanh_cells: Vec<T>,
}

impl<T: Real> Course<T> {
    /// Reads the packed `words`; the final state of row i goes to `states`, (m, 2h), from column `at` on.
    pub(super) fn run(
        batch: &Batch,
        (table, words): (&[T], &[u32]),
        u: &[T],
        e: Extents,
        (states, at): (&mut [T], usize),
    ) -> Result<Self> {
        let Extents { d, h } = e;
        let (n, width) = (words.len(), e.width());
        let mut inputs = vec![T::zero(); n * width];
        for (input, &word) in inputs.chunks_exact_mut(width).zip(words) {
            let word = word as usize * d;
            input[..d].copy_from_slice(&table[word..word + d]);
            input[width - 1] = T::one();
        }
        // The product of each step runs along the gates, so their numbers lie side by side.
        let turned = transposed(u, 4 * h, width); // (d + h + 1, 4h)
        let mut gates = vec![T::zero(); n * 4 * h];
        matmul((&mut gates, e.sums(n)), (&inputs, e.tokens(n)), (&turned, e.sums(d)), false)?;
        let mut cells = vec![T::zero(); n * h];
        let mut tanh_cells = vec![T::zero(); n * h];
        let (mut cell, mut state) = (vec![T::zero(); batch.n_rows() * h], vec![T::zero(); h]);
        let steps: Vec<_> = batch.steps().collect();
        for (t, &(start, running)) in steps.iter().enumerate() {
            let state_and_one = Matrix { cols: h + 1, ..e.inputs(running) };
            matmul(
                (&mut gates[start * 4 * h..], e.sums(running)),
                (&inputs[start * width + d..], state_and_one),
                (&turned[d * 4 * h..], e.sums(h + 1)),
                true,
            )?;
            let (next, n_next) = steps.get(t + 1).copied().unwrap_or((n, 0));
            for r in 0..running {
                let token = start + r;
                let cell = &mut cell[r * h..(r + 1) * h];
                step(
                    &mut gates[token * 4 * h..(token + 1) * 4 * h],
                    cell,
                    &mut tanh_cells[token * h..(token + 1) * h],
                    &mut state,
                );
                cells[token * h..(token + 1) * h].copy_from_slice(cell);
                if r < n_next {
                    let input = (next + r) * width + d;
                    inputs[input..input + h].copy_from_slice(&state);
                } else {
                    let row = batch.order()[r] * 2 * h + at;
                    states[row..row + h].copy_from_slice(&state);
                }
            }
        }
        Ok(Self { inputs, gates, cells, tanh_cells })
    }

    /// Gradient with respect to the sums of each packed token, (·, 4h); `gradient` is laid out as the states are.
    pub(super) fn sum_gradient(
        &self,
        batch: &Batch,
        u: &[T],
        e: Extents,
        (gradient, at): (&[T], usize),
    ) -> Result<Vec<T>> {
        let h = e.h;
        let mut dz = vec![T::zero(); self.gates.len()];
        // A row that has ended gets nothing from later steps: until its last step these are the gradients by its
        // final state.
        let mut dh = Vec::with_capacity(batch.n_rows() * h);
        for &row in batch.order() {
            dh.extend_from_slice(&gradient[row * 2 * h + at..row * 2 * h + at + h]);
        }
        let (mut dc, zeros) = (vec![T::zero(); dh.len()], vec![T::zero(); h]);
        let steps: Vec<_> = batch.steps().collect();
        for (t, &(start, running)) in steps.iter().enumerate().rev() {
            let before = t.checked_sub(1).map(|t| steps[t].0);
            for r in 0..running {
                let token = start + r;
                let cell = |token: usize| &self.cells[token * h..(token + 1) * h];
                step_back(
                    &self.gates[token * 4 * h..(token + 1) * 4 * h],
                    before.map_or(&zeros, |start| cell(start + r)),
                    &self.tanh_cells[token * h..(token + 1) * h],
                    &dh[r * h..(r + 1) * h],
                    &mut dc[r * h..(r + 1) * h],
                    &mut dz[token * 4 * h..(token + 1) * 4 * h],
                );
            }
            if t > 0 {
                matmul(
                    (&mut dh, Matrix::rows_apart(running, h, h)),
                    (&dz[start * 4 * h..], e.sums(running)),
                    (&u[e.d..], e.states(4 * h)),
                    false,
                )?;
            }
        }
        Ok(dz)
    }

    /// Gradient by U, (4h, d + h + 1).
    pub(super) fn weight_gradient(&self, dz: &[T], e: Extents) -> Result<Vec<T>> {
        let n = dz.len() / (4 * e.h);
        let mut du = vec![T::zero(); 4 * e.h * e.width()];
        let inputs = (&self.inputs[..], e.inputs(n));
        matmul((&mut du, e.inputs(4 * e.h)), (dz, e.sums(n).transposed()), inputs, false)?;
        Ok(du)
    }

    /// Adds the gradient by each packed token to its row of the table's.
    pub(super) fn add_embedding_gradient(
        &self,
        dz: &[T],
        u: &[T],
        e: Extents,
        words: &[u32],
        table: &mut [T],
    ) -> Result<()> {
        let (n, d) = (words.len(), e.d);
        let mut dx = vec![T::zero(); n * d];
        let tokens = Matrix::rows_apart(n, d, d);
        matmul((&mut dx, tokens), (dz, e.sums(n)), (u, e.tokens(4 * e.h)), false)?;
        for (&word, dx) in words.iter().zip(dx.chunks_exact(d)) {
            let row = &mut table[word as usize * d..(word as usize + 1) * d];
            row.iter_mut().zip(dx).for_each(|(sum, &g)| *sum += g);
        }
        Ok(())
    }
}

/// The transpose of a (rows, cols) matrix, row by row.
fn transposed<T: Real>(matrix: &[T], rows: usize, cols: usize) -> Vec<T> {
    let mut turned = Vec::with_capacity(matrix.len());
    for col in 0..cols {
        turned.extend((0..rows).map(|row| matrix[row * cols + col]));
    }
    turned
}
