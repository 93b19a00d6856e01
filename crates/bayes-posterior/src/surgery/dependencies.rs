//! Units that are exact functions of others: constants, duplicates, linear combinations.

use core_tensors::linalg::{Cholesky, product};
use faer::Accum;
use faer::linalg::matmul::matmul;
use faer::{Mat, Par};

use super::side::Side;
use crate::error::Result;

/// A column whose variance given the others is below this share of its own is a combination of them: activations in f32
/// leave about 1e-14.
const DEPENDENT: f64 = 1e-10;
/// A column whose variance is below this share of its second moment is constant: what rounding in f32 leaves.
const CONSTANT: f64 = 1e-13;
/// Added to the unit diagonal where independent columns are solved for: far below [`DEPENDENT`], above rounding.
const JITTER: f64 = 1e-14;

/// Columns scaled to unit variance; 0 for constants.
fn scales(side: &Side) -> Vec<f64> {
    let of = |j: usize| {
        let (variance, mean) = (side.given.kernel[(j, j)], side.given.mean[j]);
        let is_constant = variance <= CONSTANT * (variance + mean * mean);
        if is_constant { 0.0 } else { 1.0 / variance.sqrt() }
    };
    (0..side.given.mean.len()).map(of).collect()
}

fn scaled(side: &Side, scales: &[f64], rows: &[usize], columns: &[usize]) -> Mat<f64> {
    Mat::from_fn(rows.len(), columns.len(), |i, j| {
        let (i, j) = (rows[i], columns[j]);
        side.given.kernel[(i, j)] * scales[i] * scales[j]
    })
}

/// Pivoted elimination of one side's columns.
struct Elimination {
    columns: Vec<usize>,
    place: Vec<usize>,
    matrix: Mat<f64>,
    factor: Mat<f64>,
    rank: usize,
    /// Variance that is left of each column; 0 if it is constant, −∞ once it is eliminated.
    left: Vec<f64>,
}

impl Elimination {
    fn new(side: &Side) -> Self {
        let (columns, scales) = (side.live_columns(), scales(side));
        let mut place = vec![0; side.given.mean.len()];
        columns.iter().enumerate().for_each(|(at, &column)| place[column] = at);
        let matrix = scaled(side, &scales, &columns, &columns);
        let n = columns.len();
        let left = (0..n).map(|i| matrix[(i, i)]).collect();
        Self { columns, place, matrix, factor: Mat::zeros(n, n), rank: 0, left }
    }

    /// Whether a factorization in the given order meets a small pivot: a dependent set always has one.
    fn is_suspect(&self) -> bool {
        let some: Vec<usize> = (0..self.columns.len()).filter(|&i| self.left[i] > 0.0).collect();
        let n = some.len();
        let part = Mat::from_fn(n, n, |i, j| {
            self.matrix[(some[i], some[j])] + if i == j { JITTER } else { 0.0 }
        });
        match Cholesky::in_place(part) {
            Ok(factor) => (0..n).any(|i| factor.lower()[(i, i)].powi(2) <= DEPENDENT),
            Err(_) => true,
        }
    }

    fn largest(&self, unit: &[usize]) -> f64 {
        unit.iter().fold(0.0, |most: f64, &column| most.max(self.left[self.place[column]]))
    }

    /// Eliminates the columns of a unit that are not dependent yet, the largest first.
    fn eliminate(&mut self, unit: &[usize]) {
        loop {
            let mut best = (0, DEPENDENT);
            for &column in unit {
                let place = self.place[column];
                if self.left[place] > best.1 {
                    best = (place, self.left[place]);
                }
            }
            if best.1 <= DEPENDENT {
                return;
            }
            let (pivot, n, rank) = (best.0, self.columns.len(), self.rank);
            let mut new = self.matrix.as_ref().subcols(pivot, 1).to_owned();
            let done = self.factor.as_ref().subcols(0, rank);
            let row = done.subrows(pivot, 1).transpose();
            matmul(new.as_mut(), Accum::Add, done, row, -1.0, Par::Seq);
            let root = best.1.sqrt();
            for i in 0..n {
                let value = new[(i, 0)] / root;
                self.factor[(i, rank)] = value;
                self.left[i] -= value * value;
            }
            self.left[pivot] = f64::NEG_INFINITY;
            self.rank += 1;
        }
    }
}

/// Units that every side can rebuild from the others, those with the least of their own first.
pub(super) fn find(sides: &[Side], left: &[usize]) -> Result<Vec<usize>> {
    let mut all: Vec<Elimination> = sides.iter().map(Elimination::new).collect();
    let has_constant = |unit: &&usize| {
        let is_constant =
            |(e, side): (&Elimination, &Side)| e.largest(&side.given.units[**unit]) == 0.0;
        all.iter().zip(sides).all(is_constant)
    };
    let constants: Vec<usize> = left.iter().filter(has_constant).copied().collect();
    // So few rows make any column a combination of others, on these rows only.
    let has_few_rows = sides.iter().any(|side| side.given.n_rows <= side.given.mean.len() as f64);
    if has_few_rows || !all.iter().any(Elimination::is_suspect) {
        return Ok(constants);
    }
    for (elimination, side) in all.iter_mut().zip(sides) {
        let mut is_free = vec![false; side.given.mean.len()];
        left.iter().for_each(|&u| side.given.units[u].iter().for_each(|&c| is_free[c] = true));
        let stay: Vec<usize> = side.live_columns().into_iter().filter(|&c| !is_free[c]).collect();
        elimination.eliminate(&stay);
    }
    let mut rest: Vec<usize> = left.to_vec();
    loop {
        let size = |unit: usize| {
            let of = |(e, side): (&Elimination, &Side)| e.largest(&side.given.units[unit]);
            all.iter().zip(sides).map(of).fold(0.0, f64::max)
        };
        let mut best: Option<(usize, f64)> = None;
        for (at, &unit) in rest.iter().enumerate() {
            let size = size(unit);
            if size > DEPENDENT && best.is_none_or(|(_, most)| size > most) {
                best = Some((at, size));
            }
        }
        let Some((at, _)) = best else { break };
        let unit = rest.remove(at);
        all.iter_mut().zip(sides).for_each(|(e, side)| e.eliminate(&side.given.units[unit]));
    }
    // Constants first: they need nothing of the others.
    let others = rest.into_iter().filter(|unit| !constants.contains(unit));
    Ok(constants.iter().copied().chain(others).collect())
}

/// Removes dependent units from a side: their weights move to the columns that rebuild them, without damping.
pub(super) fn absorb(side: &mut Side, gone: &[usize]) -> Result<()> {
    let scales = scales(side);
    let is_some = |column: &usize| scales[*column] > 0.0;
    let lost: Vec<usize> =
        gone.iter().flat_map(|&unit| side.given.units[unit].clone()).filter(is_some).collect();
    let before = side.live_columns();
    gone.iter().for_each(|&unit| side.forget(unit));
    if !lost.is_empty() {
        let kept: Vec<usize> = independent(
            side,
            before.into_iter().filter(|c| !lost.contains(c) && is_some(c)).collect(),
            &scales,
        );
        let mut square = scaled(side, &scales, &kept, &kept);
        (0..kept.len()).for_each(|i| square[(i, i)] += JITTER);
        let lost_weights = Mat::from_fn(side.base.nrows(), lost.len(), |i, j| {
            side.base[(i, lost[j])] / scales[lost[j]]
        });
        let cross = scaled(side, &scales, &kept, &lost);
        let mut moved = product(cross.as_ref(), lost_weights.transpose()); // (kept, o)
        Cholesky::in_place(square)?.solve(moved.as_mut());
        for (j, &column) in kept.iter().enumerate() {
            (0..moved.ncols())
                .for_each(|i| side.base[(i, column)] += moved[(j, i)] * scales[column]);
        }
    }
    for &unit in gone {
        for column in side.given.units[unit].clone() {
            side.base.col_mut(column).fill(0.0);
        }
    }
    side.refresh()
}

/// Of some columns those that pivoting takes before nothing new is left.
fn independent(side: &Side, columns: Vec<usize>, scales: &[f64]) -> Vec<usize> {
    let n = columns.len();
    let matrix = scaled(side, scales, &columns, &columns);
    let left = (0..n).map(|i| matrix[(i, i)]).collect();
    let mut place = vec![0; side.given.mean.len()];
    columns.iter().enumerate().for_each(|(at, &column)| place[column] = at);
    let mut elimination = Elimination {
        columns: columns.clone(),
        place,
        matrix,
        factor: Mat::zeros(n, n),
        rank: 0,
        left,
    };
    if !elimination.is_suspect() {
        return columns;
    }
    let mut taken = columns.clone();
    elimination.eliminate(&columns);
    taken.retain(|&column| elimination.left[elimination.place[column]] == f64::NEG_INFINITY);
    taken
}
