//! Second moments of the columns that a consumer reads, streamed over batches in f64.

use candle_core::{DType, Tensor};
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par};

use super::algebra::mirrored;
use crate::checks;
use crate::error::{Error, Result};

/// Rows that are centered and multiplied together at most.
const MOST_ROWS: usize = 1024;
/// Rows that are multiplied together at least, lest the passes over the sums cost more than the products.
const FEWEST_ROWS: usize = 128;
/// Numbers of a block of rows: 16 MB.
const BLOCK: usize = 1 << 21;
/// Blocks whose sums are gathered apart before they join the others, so that a sum of many has few roundings.
const FOLD: usize = 32;
/// Columns from which on a product is worth a second thread.
const PARALLEL: usize = 256;

/// Accumulates A = E\[\[h; 1\]\[h; 1\]ᵀ\], and with targets C = E\[t \[h; 1\]ᵀ\] and E‖t‖², over rows h (n,) and t (d,).
///
/// Kept are means and *centered* sums, so that a large mean costs a variance no digits: blocks of rows are centered by their
/// own mean and joined by S ← S + S_b + n n_b / (n + n_b) (m_b − m)(m_b − m)ᵀ. Rows wait until a block is full, so the result
/// does not depend on how they were cut into batches, bit for bit. Memory: n² + n² numbers and one block of rows.
///
/// Source: Chan, Golub & LeVeque (1983), Algorithms for computing the sample variance.
#[derive(Clone, Debug)]
pub struct Moments {
    n_columns: usize,
    n_targets: Option<usize>,
    /// The first row, (n + d,): what is taken from every row, so that means are small and keep their digits as well.
    origin: Vec<f64>,
    /// Rows h, then t, less the origin, of the block that is not full yet.
    waiting: Vec<f64>,
    recent: Sums,
    n_recent: usize,
    total: Sums,
}

/// What [`Moments`] comes to.
#[derive(Clone, Debug)]
pub struct SecondMoments {
    /// How many rows were added.
    pub n_rows: f64,
    /// μ = E h, (n,).
    pub mean: Vec<f64>,
    /// E (h − μ)(h − μ)ᵀ, (n, n).
    pub covariance: Mat<f64>,
    /// Of the targets, where there were any.
    pub targets: Option<TargetMoments>,
}

/// What is known of the targets t of a consumer's rows.
#[derive(Clone, Debug)]
pub struct TargetMoments {
    /// τ = E t, (d,).
    pub mean: Vec<f64>,
    /// E (t − τ)(h − μ)ᵀ, (d, n).
    pub cross: Mat<f64>,
    /// E ‖t − τ‖².
    pub power: f64,
}

#[derive(Clone, Debug)]
struct Sums {
    n: f64,
    mean: Vec<f64>,
    target_mean: Vec<f64>,
    /// Σ (h − m)(h − m)ᵀ, the lower triangle.
    scatter: Mat<f64>,
    cross: Mat<f64>,
    power: f64,
}

impl Moments {
    /// No rows yet, of n columns.
    pub fn new(n_columns: usize) -> Self {
        Self::with(n_columns, None)
    }

    /// No rows yet, of n columns and d targets.
    pub fn with_targets(n_columns: usize, n_targets: usize) -> Self {
        Self::with(n_columns, Some(n_targets))
    }

    fn with(n_columns: usize, n_targets: Option<usize>) -> Self {
        let empty = Sums::empty(n_columns, n_targets.unwrap_or(0));
        let (origin, waiting) = (Vec::new(), Vec::new());
        Self {
            n_columns,
            n_targets,
            origin,
            waiting,
            recent: empty.clone(),
            n_recent: 0,
            total: empty,
        }
    }

    /// Adds rows h, (m, n) in f32 or f64.
    pub fn add(&mut self, columns: &Tensor) -> Result<()> {
        self.expect_targets(false)?;
        let (m, n) = columns.dims2()?;
        checks::length("columns of activations", self.n_columns, n)?;
        let step = self.rows_of_block();
        for start in (0..m).step_by(step) {
            let part = columns.narrow(0, start, step.min(m - start))?;
            self.add_rows(&numbers(&part)?)?;
        }
        Ok(())
    }

    /// Adds rows h, (m, n), and their targets t, (m, d).
    pub fn add_with_target(&mut self, columns: &Tensor, targets: &Tensor) -> Result<()> {
        self.expect_targets(true)?;
        let ((m, n), (m_targets, d)) = (columns.dims2()?, targets.dims2()?);
        checks::length("columns of activations", self.n_columns, n)?;
        checks::length("columns of targets", self.d(), d)?;
        checks::length("rows of targets", m, m_targets)?;
        let step = self.rows_of_block();
        for start in (0..m).step_by(step) {
            let n_rows = step.min(m - start);
            let h = numbers(&columns.narrow(0, start, n_rows)?)?;
            let t = numbers(&targets.narrow(0, start, n_rows)?)?;
            for i in 0..n_rows {
                self.push(&h[i * n..(i + 1) * n], &t[i * d..(i + 1) * d])?;
            }
        }
        Ok(())
    }

    /// Adds rows h one behind the other, m·n numbers.
    pub fn add_rows(&mut self, rows: &[f64]) -> Result<()> {
        self.expect_targets(false)?;
        let n = self.n_columns;
        if n == 0 || !rows.len().is_multiple_of(n) {
            let wanted = rows.len() / n.max(1) * n;
            return checks::length("numbers of whole rows", wanted, rows.len());
        }
        rows.chunks_exact(n).try_for_each(|row| self.push(row, &[]))
    }

    /// Adds what another accumulator of the same sizes has seen.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        checks::length("columns of activations", self.n_columns, other.n_columns)?;
        self.expect_targets(other.n_targets.is_some())?;
        checks::length("columns of targets", self.d(), other.d())?;
        self.flush();
        self.fold();
        let mut other = other.clone();
        other.flush();
        other.fold();
        if self.origin.is_empty() {
            self.origin.clone_from(&other.origin);
        }
        let means = other.total.mean.iter_mut().chain(&mut other.total.target_mean);
        let apart = other.origin.iter().zip(&self.origin);
        means.zip(apart).for_each(|(mean, (other, own))| *mean += other - own);
        self.total.join(&other.total);
        Ok(())
    }

    /// Means and centered moments of the rows so far; refuses none.
    pub fn finish(&self) -> Result<SecondMoments> {
        let mut all = self.clone();
        all.flush();
        all.fold();
        let Sums { n, mut mean, mut target_mean, scatter, cross, power } = all.total;
        let means = mean.iter_mut().chain(&mut target_mean);
        means.zip(&all.origin).for_each(|(mean, origin)| *mean += origin);
        if n == 0.0 {
            checks::at_least("rows of activations", 1, 0)?;
        }
        let all_columns: Vec<usize> = (0..mean.len()).collect();
        let covariance = mirrored(scatter.as_ref(), &all_columns) * faer::Scale(1.0 / n);
        let targets = all.n_targets.map(|_| TargetMoments {
            mean: target_mean,
            cross: &cross * faer::Scale(1.0 / n),
            power: power / n,
        });
        let moments = SecondMoments { n_rows: n, mean, covariance, targets };
        moments.check()?;
        Ok(moments)
    }

    pub(super) fn n_columns(&self) -> usize {
        self.n_columns
    }

    pub(super) fn d(&self) -> usize {
        self.n_targets.unwrap_or(0)
    }

    pub(super) fn expect_targets(&self, given: bool) -> Result<()> {
        if self.n_targets.is_some() == given {
            return Ok(());
        }
        Err(Error::Refused {
            edit: "moments".into(),
            reason: if given {
                "targets were given, but the moments were begun without them".into()
            } else {
                "the moments were begun with targets, but none were given".into()
            },
        })
    }

    fn rows_of_block(&self) -> usize {
        (BLOCK / (self.n_columns + self.d()).max(1)).clamp(FEWEST_ROWS, MOST_ROWS)
    }

    /// One more row.
    pub(super) fn push(&mut self, h: &[f64], t: &[f64]) -> Result<()> {
        for (what, row) in [("activation", h), ("target", t)] {
            if let Some(j) = row.iter().position(|v| !v.is_finite()) {
                checks::finite(&format!("{what} of column {j}"), row[j])?;
            }
        }
        let row = h.iter().chain(t);
        if self.origin.is_empty() {
            self.origin = row.clone().copied().collect();
        }
        self.waiting.extend(row.zip(&self.origin).map(|(v, origin)| v - origin));
        if self.waiting.len() >= self.rows_of_block() * (self.n_columns + self.d()) {
            self.flush();
        }
        Ok(())
    }

    /// Adds the rows that wait to the recent sums, and those to all others once they are many.
    fn flush(&mut self) {
        let width = self.n_columns + self.d();
        let rows = std::mem::take(&mut self.waiting);
        if width == 0 || rows.is_empty() {
            return;
        }
        self.recent.add_block(rows, self.n_columns, width);
        self.n_recent += 1;
        if self.n_recent == FOLD {
            self.fold();
        }
    }

    fn fold(&mut self) {
        if self.n_recent > 0 {
            let empty = Sums::empty(self.n_columns, self.d());
            let recent = std::mem::replace(&mut self.recent, empty);
            self.total.join(&recent);
            self.n_recent = 0;
        }
    }
}

impl SecondMoments {
    /// From A = E\[\[h; 1\]\[h; 1\]ᵀ\], (n + 1, n + 1), with 1 in its last corner.
    ///
    /// Means much larger than the standard deviation have cost A digits that do not come back: [`Moments`] keeps them.
    pub fn from_second(a: MatRef<f64>, n_rows: f64) -> Result<Self> {
        checks::length("columns of a second moment", a.nrows(), a.ncols())?;
        checks::at_least("columns of a second moment", 1, a.ncols())?;
        let n = a.ncols() - 1;
        let mean: Vec<f64> = (0..n).map(|j| a[(n, j)]).collect();
        let covariance = Mat::from_fn(n, n, |i, j| {
            let (i, j) = (i.max(j), i.min(j));
            a[(i, j)] - mean[i] * mean[j]
        });
        let moments = Self { n_rows, mean, covariance, targets: None };
        moments.check()?;
        Ok(moments)
    }

    /// n.
    pub fn n_columns(&self) -> usize {
        self.mean.len()
    }

    /// Of some of the columns, in this order.
    ///
    /// # Errors
    /// For a column beyond n.
    pub fn of_columns(&self, columns: &[usize]) -> Result<Self> {
        let n = self.n_columns();
        if let Some(&index) = columns.iter().find(|&&column| column >= n) {
            return Err(core_tensors::Error::Index { what: "column", index, n }.into());
        }
        let k = columns.len();
        let targets = self.targets.as_ref().map(|targets| {
            let pick = |i: usize, j: usize| targets.cross[(i, columns[j])];
            let cross = Mat::from_fn(targets.mean.len(), k, pick);
            TargetMoments { mean: targets.mean.clone(), cross, power: targets.power }
        });
        Ok(Self {
            n_rows: self.n_rows,
            mean: columns.iter().map(|&column| self.mean[column]).collect(),
            covariance: Mat::from_fn(k, k, |i, j| self.covariance[(columns[i], columns[j])]),
            targets,
        })
    }

    /// A = E\[\[h; 1\]\[h; 1\]ᵀ\], (n + 1, n + 1).
    pub fn second(&self) -> Mat<f64> {
        let n = self.n_columns();
        let mean = |i: usize| if i == n { 1.0 } else { self.mean[i] };
        Mat::from_fn(n + 1, n + 1, |i, j| {
            let centered = if i == n || j == n { 0.0 } else { self.covariance[(i, j)] };
            centered + mean(i) * mean(j)
        })
    }

    /// A_jj = E h_j².
    pub fn second_of(&self, j: usize) -> f64 {
        self.covariance[(j, j)] + self.mean[j] * self.mean[j]
    }

    /// The mean of the diagonal of A, its 1 included: what relative damping is relative to.
    pub fn scale(&self) -> f64 {
        let n = self.n_columns();
        ((0..n).map(|j| self.second_of(j)).sum::<f64>() + 1.0) / (n + 1) as f64
    }

    /// Refuses moments whose sizes do not fit or whose numbers are not finite.
    pub(super) fn check(&self) -> Result<()> {
        let n = self.n_columns();
        checks::length("rows of a covariance of activations", n, self.covariance.nrows())?;
        checks::length("columns of a covariance of activations", n, self.covariance.ncols())?;
        checks::all_finite("mean activation", &self.mean)?;
        checks::entries("a covariance of activations", self.covariance.as_ref())?;
        if let Some(targets) = &self.targets {
            let d = targets.mean.len();
            checks::length("rows of a cross moment", d, targets.cross.nrows())?;
            checks::length("columns of a cross moment", n, targets.cross.ncols())?;
            checks::all_finite("mean target", &targets.mean)?;
            checks::entries("a cross moment", targets.cross.as_ref())?;
            checks::finite("the power of targets", targets.power)?;
        }
        Ok(())
    }
}

impl Sums {
    fn empty(n: usize, d: usize) -> Self {
        let (mean, target_mean) = (vec![0.0; n], vec![0.0; d]);
        Self {
            n: 0.0,
            mean,
            target_mean,
            scatter: Mat::zeros(n, n),
            cross: Mat::zeros(d, n),
            power: 0.0,
        }
    }

    /// Rows \[h, t\] of `width` numbers each, centered by their own mean.
    fn add_block(&mut self, mut rows: Vec<f64>, n: usize, width: usize) {
        let n_rows = rows.len() / width;
        let (new, old) = (n_rows as f64, self.n);
        let mut mean = vec![0.0; width];
        // The second pass takes away the rounding of the first.
        for _ in 0..2 {
            let mut sum = vec![0.0; width];
            for row in rows.chunks_exact(width) {
                sum.iter_mut().zip(row).zip(&mean).for_each(|((s, v), m)| *s += v - m);
            }
            mean.iter_mut().zip(&sum).for_each(|(m, s)| *m += s / new);
        }
        for row in rows.chunks_exact_mut(width) {
            row.iter_mut().zip(&mean).for_each(|(v, m)| *v -= m);
        }
        // The distance of the means enters as one more row.
        let weight = (old * new / (old + new)).sqrt();
        let before = self.mean.iter().chain(&self.target_mean);
        rows.extend(mean.iter().zip(before).map(|(m, before)| weight * (m - before)));
        let shares = self.mean.iter_mut().chain(&mut self.target_mean).zip(&mean);
        shares.for_each(|(before, m)| *before += (m - *before) * (new / (old + new)));
        self.n += new;
        let block = MatRef::from_row_major_slice(&rows, n_rows + 1, width);
        let (h, t) = (block.subcols(0, n), block.subcols(n, width - n));
        let par = if n < PARALLEL { Par::Seq } else { Par::rayon(0) };
        triangular::matmul(
            self.scatter.as_mut(),
            BlockStructure::TriangularLower,
            Accum::Add,
            h.transpose(),
            BlockStructure::Rectangular,
            h,
            BlockStructure::Rectangular,
            1.0,
            par,
        );
        if width > n {
            matmul(self.cross.as_mut(), Accum::Add, t.transpose(), h, 1.0, par);
            self.power += t.squared_norm_l2();
        }
    }

    /// What other rows came to.
    fn join(&mut self, other: &Self) {
        if other.n == 0.0 {
            return;
        }
        let n = self.n + other.n;
        let (weight, share) = (self.n * other.n / n, other.n / n);
        let apart = |to: &[f64], from: &[f64]| -> Vec<f64> {
            from.iter().zip(to).map(|(a, b)| a - b).collect()
        };
        let h = apart(&self.mean, &other.mean);
        let t = apart(&self.target_mean, &other.target_mean);
        for j in 0..h.len() {
            for i in j..h.len() {
                self.scatter[(i, j)] += other.scatter[(i, j)] + weight * h[i] * h[j];
            }
            for i in 0..t.len() {
                self.cross[(i, j)] += other.cross[(i, j)] + weight * t[i] * h[j];
            }
        }
        self.power += other.power + weight * t.iter().map(|t| t * t).sum::<f64>();
        self.mean.iter_mut().zip(&h).for_each(|(m, h)| *m += share * h);
        self.target_mean.iter_mut().zip(&t).for_each(|(m, t)| *m += share * t);
        self.n = n;
    }
}

/// A tensor of f32 or f64 as f64, row by row.
pub(super) fn numbers(x: &Tensor) -> Result<Vec<f64>> {
    match x.dtype() {
        DType::F32 | DType::F64 => Ok(x.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?),
        other => Err(Error::Refused {
            edit: "moments".into(),
            reason: format!("expected activations in f32 or f64, found {other:?}"),
        }),
    }
}
