//! The last map fitted to the original's softmax instead of its logits: least squares for classes.

use candle_core::DType;
use core_tensors::linalg::{Cholesky, product};
use faer::Mat;
use losses::{Likelihood, Predictions, two_class_logits};

use super::operate::State;
use super::passes::Version;
use super::reading::{matrix, n_columns};
use super::report::SoftmaxFit;
use crate::checks;
use crate::error::Result;

/// Weights of the last map beyond which the fit is left out: it gained nothing there, and its Hessian is a full matrix of them.
const MOST_WEIGHTS: usize = 600;
/// Ridges to choose from, as shares of the mean diagonal of the Hessian.
const RIDGES: [f64; 3] = [1e-6, 1e-4, 1e-2];
/// Nats an example that rounding in f32 leaves: nothing to mend.
const NOTHING_LOST: f64 = 1e-9;
/// Newton steps; four give no more.
const STEPS: usize = 2;
/// Examples that a Hessian is a mean of, about: it only says how far to go, the gradient is of all.
const HESSIAN_EXAMPLES: usize = 2000;
/// Halvings of a step that does not lower the divergence.
const HALVINGS: usize = 4;

/// Examples as a problem of the last map.
struct Problem {
    /// a = \[h; 1\], (m, n); the ones only where there is a bias.
    inputs: Mat<f64>,
    /// p, (m, k): the original's softmax; of one logit, (m, 2), whose first class has no row in W.
    targets: Mat<f64>,
}

/// Minimizes F(W) = E KL(p ‖ softmax(W a)) over the last map, a = \[h̃; 1\] its present inputs and p the original's softmax.
///
/// F is convex. A Newton step solves (H + r · mean diag H · I) D = ∇F with ∇F_c = E (q_c − p_c) a and
/// H_cd = E q_c (δ_cd − q_d) a aᵀ; the ridge r also fixes what a softmax does not see, the same number added to all classes.
/// Of one logit the softmax is that of \[0, W a\], and the row of class 1 is fitted alone. r, or no fit, is chosen by F on
/// held-out examples, and the fit is then made on all.
pub(super) fn fit_softmax(state: &mut State, likelihood: Likelihood) -> Result<()> {
    let graph = state.network.graph;
    let axes = state.network.axes;
    let logits = graph.outputs().first().copied();
    let Some(m) = axes.maps().iter().rposition(|map| Some(map.output) == logits) else {
        return Ok(());
    };
    let map = &axes.maps()[m];
    let columns = state.left(m);
    let before = state.weights(m, &columns)?; // (k, n)
    let is_plain =
        map.tied.is_none() && map.window.is_none() && graph.value(map.output).shape.len() == 2;
    if !is_plain
        || !state.is_changed(map.output)
        || (before.nrows() < 2 && likelihood == Likelihood::Categorical)
        || before.nrows() * before.ncols() > MOST_WEIGHTS
    {
        return Ok(());
    }
    state.advance(map.node)?;
    let has_held_out = state.passes.calibration().n_held_out() > 0;
    let problem =
        |is_wanted: &dyn Fn(bool) -> bool| Problem::of(state, (m, likelihood), &columns, is_wanted);
    let all = problem(&|_| true)?;
    let (fitted, judge) = if has_held_out {
        (problem(&|held_out| !held_out)?, problem(&|held_out| held_out)?)
    } else {
        (problem(&|_| true)?, problem(&|_| true)?)
    };
    let unfitted = judge.divergence(&before);
    if unfitted <= NOTHING_LOST {
        return Ok(());
    }
    let mut best = (None, unfitted);
    let hessian = fitted.hessian(&fitted.predicted(&before).0, before.nrows());
    for ridge in RIDGES {
        let weights = fitted.minimized(&before, hessian.clone(), ridge);
        let divergence = weights.map_or(f64::INFINITY, |weights| judge.divergence(&weights));
        if divergence < best.1 {
            best = (Some(ridge), divergence);
        }
    }
    let (ridge, after) = best;
    state.report.softmax_fit = Some(SoftmaxFit { ridge, before: unfitted, after });
    let weights = ridge.and_then(|ridge| all.minimized(&before, hessian, ridge));
    let Some(weights) = weights else { return Ok(()) };
    checks::entries("the weights of a softmax fit", weights.as_ref())?;
    let k = columns.len();
    let bias: Option<Vec<f64>> =
        map.bias.map(|_| (0..weights.nrows()).map(|i| weights[(i, k)]).collect());
    state.replace(
        m,
        n_columns(graph, map),
        &columns,
        weights.as_ref().subcols(0, k),
        bias.as_deref(),
    )
}

impl Problem {
    fn of(
        state: &State,
        (m, likelihood): (usize, Likelihood),
        columns: &[usize],
        is_wanted: &dyn Fn(bool) -> bool,
    ) -> Result<Self> {
        let map = &state.network.axes.maps()[m];
        let (passes, ones) = (&state.passes, usize::from(map.bias.is_some()));
        let (mut inputs, mut targets) = (Vec::new(), Vec::new());
        for (b, batch) in passes.calibration().batches().iter().enumerate() {
            if is_wanted(batch.is_held_out) {
                let h = passes.at(Version::Changed, b, batch, &state.now, &[map.input])?.remove(0);
                let z =
                    passes.at(Version::Original, b, batch, &state.now, &[map.output])?.remove(0);
                inputs.push(matrix(&h)?);
                let z = z.to_dtype(DType::F64)?;
                let z = match likelihood {
                    Likelihood::Categorical | Likelihood::Normal { .. } => z,
                    Likelihood::Bernoulli => two_class_logits(&z)?,
                };
                targets.push((z.dim(1)?, Predictions::new(&z)?.into_probabilities()));
            }
        }
        let n = columns.len();
        let rows: Vec<(usize, usize)> = inputs
            .iter()
            .enumerate()
            .flat_map(|(b, h)| (0..h.nrows()).map(move |i| (b, i)))
            .collect();
        let k = targets.first().map_or(0, |(k, _)| *k);
        let input = |i: usize, j: usize| {
            let (b, row) = rows[i];
            if j == n { 1.0 } else { inputs[b][(row, columns[j])] }
        };
        let target = |i: usize, c: usize| {
            let (b, row) = rows[i];
            targets[b].1[row * k + c]
        };
        Ok(Self {
            inputs: Mat::from_fn(rows.len(), n + ones, input),
            targets: Mat::from_fn(rows.len(), k, target),
        })
    }

    /// q = softmax(W a), of the size of the targets, and F.
    fn predicted(&self, weights: &Mat<f64>) -> (Mat<f64>, f64) {
        let f = product(self.inputs.as_ref(), weights.transpose());
        let (m, k) = self.targets.shape();
        let without_row = k - f.ncols();
        let logit =
            |i: usize, c: usize| if c < without_row { 0.0 } else { f[(i, c - without_row)] };
        let mut q = Mat::from_fn(m, k, logit); // (m, k)
        let mut divergence = 0.0;
        for i in 0..m {
            let largest = (0..k).fold(f64::NEG_INFINITY, |l: f64, c| l.max(q[(i, c)]));
            let sum: f64 = (0..k).map(|c| (q[(i, c)] - largest).exp()).sum();
            let log_sum = largest + sum.ln();
            for c in 0..k {
                let (p, log_q) = (self.targets[(i, c)], q[(i, c)] - log_sum);
                if p > 0.0 {
                    divergence += p * (p.ln() - log_q);
                }
                q[(i, c)] = log_q.exp();
            }
        }
        (q, divergence / m.max(1) as f64)
    }

    fn divergence(&self, weights: &Mat<f64>) -> f64 {
        self.predicted(weights).1
    }

    /// A few damped Newton steps, the first with this Hessian; `None` where one is singular.
    fn minimized(&self, start: &Mat<f64>, first: Mat<f64>, ridge: f64) -> Option<Mat<f64>> {
        let (k, n) = start.shape();
        let mut weights = start.clone();
        let (mut q, mut divergence) = self.predicted(&weights);
        let mut known = Some(first);
        for _ in 0..STEPS {
            let gap = &q - &self.targets;
            let gap = gap.subcols(gap.ncols() - k, k); // (m, k)
            let gradient = product(gap.transpose(), self.inputs.as_ref()); // (k, n)
            let gradient = gradient * faer::Scale(1.0 / self.inputs.nrows().max(1) as f64);
            let mut hessian = known.take().unwrap_or_else(|| self.hessian(&q, k));
            let scale = (0..k * n).map(|i| hessian[(i, i)]).sum::<f64>() / (k * n) as f64;
            (0..k * n).for_each(|i| hessian[(i, i)] += ridge * scale);
            let mut step = Mat::from_fn(k * n, 1, |at, _| gradient[(at / n, at % n)]);
            Cholesky::in_place(hessian).ok()?.solve(step.as_mut());
            let mut length = 1.0;
            for halving in 0..=HALVINGS {
                let tried =
                    Mat::from_fn(k, n, |c, j| weights[(c, j)] - length * step[(c * n + j, 0)]);
                let (then, lower) = self.predicted(&tried);
                if lower <= divergence {
                    (weights, q, divergence) = (tried, then, lower);
                    break;
                }
                if halving == HALVINGS {
                    return Some(weights);
                }
                length *= 0.5;
            }
        }
        Some(weights)
    }

    /// E (diag q − q qᵀ) ⊗ a aᵀ of the last k classes, (k·n, k·n).
    fn hessian(&self, q: &Mat<f64>, k: usize) -> Mat<f64> {
        let n = self.inputs.ncols();
        let q = q.subcols(q.ncols() - k, k);
        let stride = (self.inputs.nrows() / HESSIAN_EXAMPLES).max(1);
        let rows: Vec<usize> = (0..self.inputs.nrows()).step_by(stride).collect();
        let m = rows.len();
        let inputs = Mat::from_fn(m, n, |i, j| self.inputs[(rows[i], j)]);
        let mut hessian = Mat::zeros(k * n, k * n);
        for c in 0..k {
            for d in 0..=c {
                let same = if c == d { 1.0 } else { 0.0 };
                let weights: Vec<f64> =
                    rows.iter().map(|&i| q[(i, c)] * (same - q[(i, d)]) / m as f64).collect();
                let weighted = Mat::from_fn(m, n, |i, j| weights[i] * inputs[(i, j)]);
                let block = product(inputs.transpose(), weighted.as_ref());
                hessian.as_mut().submatrix_mut(c * n, d * n, n, n).copy_from(&block);
                if c != d {
                    let mirrored = block.transpose();
                    hessian.as_mut().submatrix_mut(d * n, c * n, n, n).copy_from(mirrored);
                }
            }
        }
        hessian
    }
}
