//! One consumer while units are removed from it: Σ and W over the columns that are left, and what each unit costs.

use core_tensors::linalg::{Cholesky, product};
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par};

use super::algebra::{half_solved, mirrored, slice, slice_mut, small_cholesky, squares, subtract};
use crate::error::{Error, Result};

/// Columns of removed units that wait before Σ itself is updated: so one product does what many passes over Σ would.
const LAZY: usize = 128;
/// A variance Σ_jj that has fallen below this share of what the last factorization gave has lost digits: with cancellation of
/// d the relative error is about ε_machine/d², as Σ_jj itself was known to ε_machine/d only. It is computed anew from A
/// before the unit is removed.
const WORN: f64 = 1e-3;
/// Columns from which on a product is worth a second thread.
const PARALLEL: usize = 256;

/// What a side is made of.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// W, (o, n), and its bias, (o,).
    pub(super) original: Mat<f64>,
    pub(super) bias: Vec<f64>,
    /// μ, (n,).
    pub(super) mean: Vec<f64>,
    /// K, (n, n).
    pub(super) kernel: Mat<f64>,
    /// ε, and the share of μ μᵀ that a damped bias leaves.
    pub(super) damping: f64,
    pub(super) damped_means: f64,
    /// Rows that the moments are of.
    pub(super) n_rows: f64,
    /// Lᵀ with G = L Lᵀ.
    pub(super) root: Option<Mat<f64>>,
    /// Columns of each unit.
    pub(super) units: Vec<Vec<usize>>,
}

/// The bias is eliminated first: K is the covariance of the columns (undamped bias), their second moment (no bias), or the
/// covariance and a small share of the means (damped bias); then Σ = (K + ε)⁻¹ over the columns alone.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub(super) given: Given,
    /// W after dependencies were removed: what damped removals reconstruct.
    pub(super) base: Mat<f64>,
    /// Columns of Σ, by where they came from, and which of them are left.
    live: Vec<usize>,
    is_live: Vec<bool>,
    /// Where the columns of a unit stand in Σ; none once it is gone.
    places: Vec<Vec<usize>>,
    /// Σ + V Vᵀ, (m, m).
    sigma: Mat<f64>,
    /// V, (m, n_lazy ≤ columns).
    lazy: Mat<f64>,
    n_lazy: usize,
    /// Lᵀ W, (r, m).
    weighted: Mat<f64>,
    /// Σ_JJ of each unit, column by column.
    blocks: Vec<Vec<f64>>,
    /// Diagonals of these at the last factorization.
    fresh: Vec<Vec<f64>>,
    costs: Vec<f64>,
}

impl Side {
    /// All columns in place, without Σ: enough for [`Side::solved`].
    pub(super) fn placed(given: Given) -> Self {
        let (n, n_units) = (given.kernel.nrows(), given.units.len());
        Self {
            base: given.original.clone(),
            live: (0..n).collect(),
            is_live: vec![true; n],
            places: given.units.clone(),
            given,
            sigma: Mat::new(),
            lazy: Mat::new(),
            n_lazy: 0,
            weighted: Mat::new(),
            blocks: vec![Vec::new(); n_units],
            fresh: vec![Vec::new(); n_units],
            costs: vec![0.0; n_units],
        }
    }

    /// All columns in place, with Σ and costs.
    pub(super) fn begun(given: Given) -> Result<Self> {
        let mut side = Self::placed(given);
        side.refresh()?;
        Ok(side)
    }

    pub(super) fn cost(&self, unit: usize) -> f64 {
        self.costs[unit]
    }

    /// Columns that are left, ascending.
    pub(super) fn live_columns(&self) -> Vec<usize> {
        let left = self.live.iter().zip(&self.is_live);
        left.filter(|(_, is_live)| **is_live).map(|(&column, _)| column).collect()
    }

    /// (W − W̃) μ, (o,), for W̃ over some columns.
    pub(super) fn mean_change(&self, columns: &[usize], weights: MatRef<f64>) -> Vec<f64> {
        let mut moved = vec![0.0; self.given.original.nrows()];
        for (i, moved) in moved.iter_mut().enumerate() {
            let mut now = columns.iter().enumerate().peekable();
            for (column, mean) in self.given.mean.iter().enumerate() {
                let kept = now.next_if(|&(_, &c)| c == column);
                let weight = kept.map_or(0.0, |(j, _)| weights[(i, j)]);
                *moved += (self.given.original[(i, column)] - weight) * mean;
            }
        }
        moved
    }

    /// K + ε of some columns (rows) against others; ε stands where they are the same.
    pub(super) fn damped(&self, rows: &[usize], columns: &[usize]) -> Mat<f64> {
        let (k, mu, share) =
            (self.given.kernel.as_ref(), &self.given.mean, self.given.damped_means);
        Mat::from_fn(rows.len(), columns.len(), |i, j| {
            let (i, j) = (rows[i], columns[j]);
            let damping = if i == j { self.given.damping } else { 0.0 };
            k[(i, j)] + share * mu[i] * mu[j] + damping
        })
    }

    pub(super) fn factor(&self, columns: &[usize]) -> Result<Cholesky> {
        Cholesky::in_place(self.damped(columns, columns)).map_err(|_| Error::Refused {
            edit: "surgery".into(),
            reason: format!(
                "the moments of {} columns are singular at damping {:e}: use a larger one",
                columns.len(),
                self.given.damping
            ),
        })
    }

    /// W over the columns that are left, (o, m): W_L + W_R K_RL (K_LL + ε)⁻¹ with R what is gone.
    pub(super) fn solved(&self) -> Result<Mat<f64>> {
        let columns = self.live_columns();
        self.solved_with(&columns, &self.factor(&columns)?)
    }

    fn solved_with(&self, columns: &[usize], factor: &Cholesky) -> Result<Mat<f64>> {
        let mut is_left = vec![false; self.given.kernel.nrows()];
        columns.iter().for_each(|&column| is_left[column] = true);
        let gone: Vec<usize> = (0..is_left.len()).filter(|&column| !is_left[column]).collect();
        let n_out = self.base.nrows();
        let mut weights = Mat::from_fn(n_out, columns.len(), |i, j| self.base[(i, columns[j])]);
        if gone.is_empty() {
            return Ok(weights);
        }
        let lost = Mat::from_fn(n_out, gone.len(), |i, j| self.base[(i, gone[j])]);
        let mut solved = product(self.damped(columns, &gone).as_ref(), lost.transpose()); // (m, o)
        factor.solve(solved.as_mut());
        weights += solved.transpose();
        Ok(weights)
    }

    /// Σ, W and all costs from A over the columns that are left.
    pub(super) fn refresh(&mut self) -> Result<()> {
        let columns = self.live_columns();
        let factor = self.factor(&columns)?;
        let weights = self.solved_with(&columns, &factor)?;
        self.weighted = match &self.given.root {
            Some(root) => product(root.as_ref(), weights.as_ref()),
            None => weights,
        };
        self.sigma = factor.inverse();
        let mut place = vec![usize::MAX; self.given.kernel.nrows()];
        columns.iter().enumerate().for_each(|(at, &column)| place[column] = at);
        for (unit, places) in self.places.iter_mut().enumerate() {
            let is_left =
                self.given.units[unit].iter().all(|&column| place[column] < columns.len());
            places.clear();
            if is_left {
                places.extend(self.given.units[unit].iter().map(|&column| place[column]));
            }
        }
        (self.is_live, self.live) = (vec![true; columns.len()], columns);
        self.restart_lazy();
        for unit in 0..self.given.units.len() {
            let places = &self.places[unit];
            let k = places.len();
            let block = (0..k * k).map(|at| self.sigma[(places[at % k], places[at / k])]);
            self.blocks[unit] = block.collect();
            self.fresh[unit] = (0..k).map(|i| self.blocks[unit][i * k + i]).collect();
        }
        self.update_costs();
        Ok(())
    }

    /// Whether the digits of a unit's Σ_JJ are lost.
    pub(super) fn is_worn(&self, unit: usize) -> bool {
        let (block, k) = (&self.blocks[unit], self.places[unit].len());
        let is_good = |(i, fresh): (usize, &f64)| block[i * k + i] > WORN * fresh;
        !self.fresh[unit].iter().enumerate().all(is_good) || !self.costs[unit].is_finite()
    }

    /// Columns that are gone without an update of Σ, as something else has taken their place.
    pub(super) fn forget(&mut self, unit: usize) {
        for place in std::mem::take(&mut self.places[unit]) {
            self.is_live[place] = false;
        }
        (self.blocks[unit], self.fresh[unit]) = (Vec::new(), Vec::new());
    }

    pub(super) fn remove(&mut self, unit: usize) -> Result<()> {
        let places = self.places[unit].clone();
        let (m, k) = (self.live.len(), places.len());
        // Another consumer reads it.
        if k == 0 {
            return Ok(());
        }
        let Some(lower) = small_cholesky(self.blocks[unit].clone(), k) else {
            self.forget(unit);
            return self.refresh();
        };
        if self.n_lazy + k > self.lazy.ncols() {
            // Units of different numbers of columns, or of more than are meant to wait.
            let old = std::mem::replace(&mut self.lazy, Mat::zeros(m, self.n_lazy + k));
            self.lazy.as_mut().subcols_mut(0, old.ncols()).copy_from(&old);
        }
        self.new_directions(&places, &lower);
        self.update_blocks(unit, k);
        self.update_weights(&places, &lower);
        self.n_lazy += k;
        self.forget(unit);
        self.update_costs();
        // Another one as large would not fit.
        if self.n_lazy + k > LAZY {
            self.flush();
        }
        Ok(())
    }

    /// V_new = Σ_·J L⁻ᵀ with Σ_JJ = L Lᵀ, behind the other columns of V.
    fn new_directions(&mut self, places: &[usize], lower: &[f64]) {
        let (m, k, from) = (self.live.len(), places.len(), self.n_lazy);
        let mut new: Mat<f64> = Mat::zeros(m, k);
        for (b, &place) in places.iter().enumerate() {
            new.col_mut(b).copy_from(self.sigma.col(place));
        }
        if from > 0 {
            let old = self.lazy.as_ref().subcols(0, from);
            let at = Mat::from_fn(from, k, |i, b| old[(places[b], i)]);
            let par = if m * k < PARALLEL * PARALLEL { Par::Seq } else { Par::rayon(0) };
            matmul(new.as_mut(), Accum::Add, old, at.as_ref(), -1.0, par);
        }
        for b in 0..k {
            for a in 0..b {
                let factor = lower[a * k + b];
                let (done, mut rest) = new.as_mut().split_at_col_mut(b);
                subtract(
                    slice_mut(rest.as_mut().subcols_mut(0, 1)),
                    slice(done.as_ref().subcols(a, 1)),
                    factor,
                );
            }
            let scale = 1.0 / lower[b * k + b];
            slice_mut(new.as_mut().subcols_mut(b, 1)).iter_mut().for_each(|v| *v *= scale);
        }
        self.lazy.as_mut().subcols_mut(from, k).copy_from(&new);
    }

    /// Σ_II ← Σ_II − V_I V_Iᵀ of every other unit I.
    fn update_blocks(&mut self, gone: usize, k: usize) {
        let new = self.lazy.as_ref().subcols(self.n_lazy, k);
        for (unit, places) in self.places.iter().enumerate() {
            if unit == gone {
                continue;
            }
            let (block, n) = (&mut self.blocks[unit], places.len());
            for b in 0..k {
                let v = slice(new.subcols(b, 1));
                for j in 0..n {
                    let factor = v[places[j]];
                    for i in 0..n {
                        block[j * n + i] -= factor * v[places[i]];
                    }
                }
            }
        }
    }

    /// W ← W − (W_J L⁻ᵀ) V_newᵀ.
    fn update_weights(&mut self, places: &[usize], lower: &[f64]) {
        let (k, m) = (places.len(), self.live.len());
        let half = half_solved(self.weighted.as_ref(), places, lower); // (r, k)
        let new = self.lazy.as_ref().subcols(self.n_lazy, k);
        if k > 1 {
            let par = if m < PARALLEL { Par::Seq } else { Par::rayon(0) };
            matmul(self.weighted.as_mut(), Accum::Add, half.as_ref(), new.transpose(), -1.0, par);
            return;
        }
        let (half, v) = (slice(half.as_ref()), slice(new));
        for j in (0..m).filter(|&j| self.is_live[j]) {
            subtract(slice_mut(self.weighted.as_mut().subcols_mut(j, 1)), half, v[j]);
        }
    }

    fn update_costs(&mut self) {
        for (unit, places) in self.places.iter().enumerate() {
            let k = places.len();
            if k == 0 {
                continue;
            }
            let (block, w) = (&self.blocks[unit], self.weighted.as_ref());
            self.costs[unit] = if k == 1 {
                let w = slice(w.subcols(places[0], 1));
                0.5 * squares(w) / block[0]
            } else {
                match small_cholesky(block.clone(), k) {
                    Some(lower) => 0.5 * half_solved(w, places, &lower).squared_norm_l2(),
                    None => f64::NAN,
                }
            };
        }
    }

    /// Σ ← Σ − V Vᵀ over what is left.
    fn flush(&mut self) {
        let v = self.lazy.as_ref().subcols(0, self.n_lazy);
        let par = if self.live.len() < PARALLEL { Par::Seq } else { Par::rayon(0) };
        triangular::matmul(
            self.sigma.as_mut(),
            BlockStructure::TriangularLower,
            Accum::Add,
            v,
            BlockStructure::Rectangular,
            v.transpose(),
            BlockStructure::Rectangular,
            -1.0,
            par,
        );
        let kept: Vec<usize> = (0..self.live.len()).filter(|&i| self.is_live[i]).collect();
        let mut place = vec![0; self.live.len()];
        kept.iter().enumerate().for_each(|(at, &was)| place[was] = at);
        let (n, sigma) = (kept.len(), std::mem::replace(&mut self.sigma, Mat::new()));
        self.sigma = mirrored(sigma.as_ref(), &kept);
        let weighted = std::mem::replace(&mut self.weighted, Mat::new());
        self.weighted = Mat::from_fn(weighted.nrows(), n, |i, j| weighted[(i, kept[j])]);
        self.live = kept.iter().map(|&i| self.live[i]).collect();
        self.is_live = vec![true; n];
        self.places.iter_mut().flatten().for_each(|p| *p = place[*p]);
        self.restart_lazy();
    }

    fn restart_lazy(&mut self) {
        self.lazy = Mat::zeros(self.live.len(), LAZY);
        self.n_lazy = 0;
    }
}
