//! An orthogonal factor with column pivoting: A Π = Q R.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj,
    apply_block_householder_sequence_transpose_on_the_left_in_place_scratch,
    apply_block_householder_sequence_transpose_on_the_left_in_place_with_conj,
};
use faer::linalg::qr::col_pivoting::factor::{qr_in_place, qr_in_place_scratch};
use faer::linalg::qr::no_pivoting::factor::recommended_block_size;
use faer::prelude::default;
use faer::{Conj, Mat, MatMut, MatRef, Par};

/// A pivot below this many ε times the larger side of the matrix and its first pivot is rounding.
const PIVOT: f64 = 4.0;

/// A Π = Q R: R in the upper triangle of `entries`, Q as reflections below; column j of A Π is column `order[j]` of A.
#[derive(Clone, Debug)]
pub(super) struct Pivoted {
    pub(super) entries: Mat<f64>,
    reflections: Mat<f64>,
    pub(super) order: Vec<usize>,
}

impl Pivoted {
    // One thread: designs are small, and the bits must not depend on what runs beside them.
    pub(super) fn new(mut entries: Mat<f64>) -> Self {
        let (m, n) = entries.shape();
        let (mut order, mut inverse) = (vec![0; n], vec![0; n]);
        let block = recommended_block_size::<f64>(m, n);
        let mut reflections = Mat::zeros(block, m.min(n));
        if m.min(n) == 0 {
            return Self { entries, reflections, order: (0..n).collect() };
        }
        let scratch = qr_in_place_scratch::<usize, f64>(m, n, block, Par::Seq, default());
        qr_in_place(
            entries.as_mut(),
            reflections.as_mut(),
            &mut order,
            &mut inverse,
            Par::Seq,
            MemStack::new(&mut MemBuffer::new(scratch)),
            default(),
        );
        Self { entries, reflections, order }
    }

    pub(super) fn rank(&self) -> usize {
        let (m, n) = self.entries.shape();
        let pivot = |j: usize| self.entries[(j, j)].abs();
        let n_pivots = m.min(n);
        let largest = if n_pivots == 0 { 0.0 } else { pivot(0) };
        let rounding = PIVOT * m.max(n) as f64 * f64::EPSILON * largest;
        (0..n_pivots).take_while(|&j| pivot(j) > rounding).count()
    }

    /// R, its first rows and columns.
    pub(super) fn triangle(&self, size: usize) -> MatRef<'_, f64> {
        self.entries.as_ref().submatrix(0, 0, size, size)
    }

    /// Reflections that are no columns of a wide matrix are none.
    fn basis(&self) -> MatRef<'_, f64> {
        self.entries.as_ref().subcols(0, self.reflections.ncols())
    }

    /// B ← Q B
    pub(super) fn apply(&self, b: MatMut<f64>) {
        let (m, block) = (b.nrows(), self.reflections.nrows());
        let scratch = apply_block_householder_sequence_on_the_left_in_place_scratch::<f64>(
            m,
            block,
            b.ncols(),
        );
        apply_block_householder_sequence_on_the_left_in_place_with_conj(
            self.basis(),
            self.reflections.as_ref(),
            Conj::No,
            b,
            Par::Seq,
            MemStack::new(&mut MemBuffer::new(scratch)),
        );
    }

    /// B ← Qᵀ B
    pub(super) fn apply_transposed(&self, b: MatMut<f64>) {
        let (m, block) = (b.nrows(), self.reflections.nrows());
        let scratch = apply_block_householder_sequence_transpose_on_the_left_in_place_scratch::<f64>(
            m,
            block,
            b.ncols(),
        );
        apply_block_householder_sequence_transpose_on_the_left_in_place_with_conj(
            self.basis(),
            self.reflections.as_ref(),
            Conj::No,
            b,
            Par::Seq,
            MemStack::new(&mut MemBuffer::new(scratch)),
        );
    }
}
