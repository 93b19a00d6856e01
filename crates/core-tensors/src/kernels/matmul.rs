//! Matrix products on borrowed slices, with strides.

use candle_core::{Result, WithDType, bail};

/// A matrix inside a slice.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
}

impl Shape {
    /// Row by row, `stride ≥ cols` numbers apart.
    pub(super) fn rows_apart(rows: usize, cols: usize, stride: usize) -> Self {
        Self { rows, cols, row_stride: stride, col_stride: 1 }
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }

    fn fits(&self, len: usize) -> bool {
        let last = |n: usize, stride: usize| n.saturating_sub(1) * stride;
        self.rows == 0
            || self.cols == 0
            || last(self.rows, self.row_stride) + last(self.cols, self.col_stride) < len
    }
}

/// dst ← lhs · rhs, or dst ← dst + lhs · rhs where `accumulate`.
///
/// Checks every extent, so that the call below it is sound for any input.
pub(super) fn matmul<T: WithDType>(
    dst: (&mut [T], Shape),
    lhs: (&[T], Shape),
    rhs: (&[T], Shape),
    accumulate: bool,
) -> Result<()> {
    let ((dst, d), (lhs, l), (rhs, r)) = (dst, lhs, rhs);
    if d.rows != l.rows || d.cols != r.cols || l.cols != r.rows {
        bail!(
            "matrix product: ({}, {}) · ({}, {}) does not fill ({}, {})",
            l.rows,
            l.cols,
            r.rows,
            r.cols,
            d.rows,
            d.cols
        );
    }
    let is_distinct = (d.col_stride == 1 || d.cols <= 1) && (d.row_stride >= d.cols || d.rows <= 1);
    if !is_distinct || !d.fits(dst.len()) || !l.fits(lhs.len()) || !r.fits(rhs.len()) {
        bail!("matrix product: a matrix is larger than its slice");
    }
    #[expect(unsafe_code, reason = "gemm takes raw pointers")]
    // SAFETY: each matrix lies inside its slice and dst has distinct entries (both checked above); dst is
    // borrowed mutably, so it overlaps neither factor; strides of slices fit isize.
    unsafe {
        gemm::gemm(
            d.rows,
            d.cols,
            l.cols,
            dst.as_mut_ptr(),
            d.col_stride as isize,
            d.row_stride as isize,
            accumulate,
            lhs.as_ptr(),
            l.col_stride as isize,
            l.row_stride as isize,
            rhs.as_ptr(),
            r.col_stride as isize,
            r.row_stride as isize,
            T::one(),
            T::one(),
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strided_products_equal_the_naive_sum() {
        let lhs: Vec<f64> = (0..12).map(|i| f64::from(i).sin()).collect(); // (3, 4), rows 4 apart
        let rhs: Vec<f64> = (0..10).map(|i| f64::from(i).cos()).collect(); // (2, 4), transposed, rows 5 apart
        let (l, r) = (Shape::rows_apart(3, 4, 4), Shape::rows_apart(2, 4, 5).transposed());
        let mut dst = vec![1.0; 9]; // (3, 2), rows 3 apart
        matmul((&mut dst, Shape::rows_apart(3, 2, 3)), (&lhs, l), (&rhs, r), true).unwrap();
        for i in 0..3 {
            for j in 0..2 {
                let sum: f64 = (0..4).map(|a| lhs[4 * i + a] * rhs[5 * j + a]).sum();
                assert!((dst[3 * i + j] - 1.0 - sum).abs() < 1e-14);
            }
            assert_eq!(dst[3 * i + 2], 1.0, "a number between the rows was written");
        }
    }

    #[test]
    fn extents_are_checked() {
        let shape = |rows, cols| Shape::rows_apart(rows, cols, cols);
        let mut dst = [0.0; 4];
        let a = [0.0; 4];
        assert!(
            matmul((&mut dst, shape(2, 2)), (&a, shape(2, 3)), (&a, shape(3, 2)), false).is_err()
        );
        assert!(
            matmul((&mut dst, shape(2, 2)), (&a, shape(2, 2)), (&a, shape(3, 2)), false).is_err()
        );
        assert!(
            matmul((&mut dst, shape(2, 3)), (&a, shape(2, 1)), (&a, shape(1, 3)), false).is_err()
        );
    }
}
