//! Shapes of matrix products.

use super::{Inferred, Shape, check_kinds, exactly, perhaps_one_more};
use crate::graph::rules::{broadcast, fits, shapes};
use crate::graph::{Dimension, Kind, Problem, Value};

/// (m, k) (k, n) + C, where C broadcasts to (m, n).
pub(super) fn gemm(
    operands: &[&Value],
    transpose_a: bool,
    transpose_b: bool,
) -> Result<Inferred, Problem> {
    let ([a, b], c) = perhaps_one_more(operands, "2 or 3")?;
    check_kinds(operands, Kind::Float)?;
    let matrix = |shape: &[Dimension], transpose: bool| match *shape {
        [rows, columns] if transpose => Some([columns, rows]),
        [rows, columns] => Some([rows, columns]),
        _ => None,
    };
    let factors = (matrix(&a.shape, transpose_a), matrix(&b.shape, transpose_b));
    let (Some([m, k]), Some([k_of_b, n])) = factors else {
        return Err(shapes("expected two matrices", &[&a.shape, &b.shape]));
    };
    if k != k_of_b {
        let what = "expected matrices with an equal inner extent (after their transposition)";
        return Err(shapes(what, &[&a.shape, &b.shape]));
    }
    let result = vec![m, n];
    match c {
        Some(c) if !fits(&c.shape, &result) => {
            Err(shapes("expected a summand that broadcasts to the product", &[&c.shape, &result]))
        }
        _ => Ok((Kind::Float, result)),
    }
}

/// NumPy's matmul: a vector is a row on the left and a column on the right, and its axis goes again.
pub(super) fn matmul(operands: &[&Value]) -> Result<Inferred, Problem> {
    let [a, b] = exactly(operands)?;
    check_kinds(operands, Kind::Float)?;
    let one = Dimension::known(1);
    let ((a_front, a_matrix), (b_front, b_matrix)) = match (&a.shape[..], &b.shape[..]) {
        ([], _) | (_, []) => {
            return Err(shapes("expected vectors or matrices", &[&a.shape, &b.shape]));
        }
        ([k], [l]) => ((&[][..], [one, *k]), (&[][..], [*l, one])),
        ([k], [b_front @ .., l, n]) => ((&[][..], [one, *k]), (b_front, [*l, *n])),
        ([a_front @ .., m, k], [l]) => ((a_front, [*m, *k]), (&[][..], [*l, one])),
        ([a_front @ .., m, k], [b_front @ .., l, n]) => ((a_front, [*m, *k]), (b_front, [*l, *n])),
    };
    if a_matrix[1] != b_matrix[0] {
        return Err(shapes("expected an equal inner extent", &[&a.shape, &b.shape]));
    }
    let front = broadcast(&[a_front, b_front]).map_err(|_| {
        let what = "expected matrices whose other axes broadcast";
        shapes(what, &[&a.shape, &b.shape])
    })?;
    let rows = (a.shape.len() > 1).then_some(a_matrix[0]);
    let columns = (b.shape.len() > 1).then_some(b_matrix[1]);
    let result: Shape = front.into_iter().chain(rows).chain(columns).collect();
    Ok((Kind::Float, result))
}
