//! The Gauss–Newton equations of one linear map: M vec D = vec g, whole, in principal directions, or as a Kronecker product.

use candle_core::Tensor;
use core_tensors::linalg::{Cholesky, product};
use core_tensors::{Params, Rng};
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par, Side};
use models::graph::Graph;
use models::graph::axes::LinearMap;

use super::super::super::patches::patches;
use super::super::super::{Moments, SecondMoments};
use super::super::calibration::Batch;
use super::super::curvature::{enough_directions, pulled_back};
use super::super::reading::{add, matrix, n_columns, n_outputs, sliding_window};
use super::super::rows::{Examples, counted_rows, examples};
use super::probed::{Probed, each};
use super::target::Target;
use super::{Polish, PolishMethod};
use crate::checks;
use crate::error::{Error, Result};

/// Columns whose principal directions are worth their time.
const MOST_COLUMNS: usize = 2048;
/// Fewer principal directions than these say too little of the inputs.
const FEWEST_DIRECTIONS: usize = 20;
/// Eigenvalues below this share of the largest are rounding.
const SMALLEST: f64 = 1e-10;
/// Gradients that are multiplied at once.
const BLOCK: usize = 256;
/// Unknowns from which on a product is worth a second thread.
const PARALLEL: usize = 128;

/// M and g of one map, means over examples.
pub(super) struct Equations {
    pub(super) method: PolishMethod,
    /// g = E Σ δ aᵀ, (o, q).
    pub(super) gradient: Mat<f64>,
    pub(super) curvature: Curvature,
    /// B, (n + 1, q), with a = Bᵀ \[h; 1\].
    pub(super) basis: Option<Mat<f64>>,
}

/// M.
pub(super) enum Curvature {
    /// (o·q, o·q), the lower triangle; row i of D is entries i·q to (i + 1)·q.
    Whole(Mat<f64>),
    /// G ⊗ A.
    Kronecker {
        /// G = E Σ v vᵀ over directions and positions, (o, o).
        outputs: Mat<f64>,
        /// A, the mean of a aᵀ over examples and positions, (q, q).
        columns: Mat<f64>,
    },
}

impl Equations {
    /// Of the examples that `is_wanted` names.
    pub(super) fn of(
        (graph, map, params): (&Graph, &LinearMap, &Params),
        target: &Target,
        options: &Polish,
        is_wanted: impl Fn(&Batch) -> bool,
        rng: &mut Rng,
    ) -> Result<Self> {
        let (o, n) = (n_outputs(graph, map), n_columns(graph, map));
        let ones = usize::from(map.bias.is_some());
        let mut moments = Moments::with_targets(n, o);
        let rows = [examples(graph, map.input), examples(graph, map.output)];
        let mut n_examples = 0.0;
        each(graph, params, map, target, &is_wanted, |at| {
            n_examples += at.n as f64;
            let delta = at.pulled(&target.gradient(at.b, at.start, at.n, &at.f)?)?;
            add(&mut moments, map, rows, &at.h, Some(&delta), at.mask.as_ref())
        })?;
        let moments = moments.finish()?;
        let gradient = cross(&moments, ones) * faer::Scale(moments.n_rows / n_examples);
        let (method, basis) = method_of((graph, map), &moments, options)?;
        let gradient = match &basis {
            Some(basis) => product(gradient.as_ref(), basis.as_ref()),
            None => gradient,
        };
        let mut sum = match method {
            PolishMethod::Exact | PolishMethod::Principal(_) => {
                Curvature::Whole(Mat::zeros(o * gradient.ncols(), o * gradient.ncols()))
            }
            PolishMethod::Kronecker => {
                let second = moments.second();
                let columns = second.as_ref().submatrix(0, 0, n + ones, n + ones).to_owned();
                Curvature::Kronecker { outputs: Mat::zeros(o, o), columns }
            }
        };
        // Sums over single gradients cost as much as all unknowns squared for each.
        let is_cheap = method != PolishMethod::Kronecker && has_one_row(graph, map);
        let most = match is_cheap {
            true => options.directions,
            false => options.directions.min(enough_directions(target.calibration)),
        };
        let of_map = examples(graph, map.output);
        let of_output = examples(graph, graph.outputs()[0]);
        each(graph, params, map, target, &is_wanted, |at| {
            let directions = pulled_back(
                &at.f,
                (at.n, of_output),
                at.mask.as_ref(),
                target.likelihood,
                most,
                rng,
            )?;
            let pulled = directions.iter().map(|direction| at.pulled(direction));
            let pulled: Vec<Tensor> = pulled.collect::<Result<_>>()?;
            match &mut sum {
                Curvature::Kronecker { outputs, .. } => pulled
                    .iter()
                    .try_for_each(|v| add_squares(outputs, (map, of_map), v, at.mask.as_ref())),
                Curvature::Whole(whole) if is_cheap => {
                    let v = pulled.iter().map(matrix).collect::<Result<Vec<_>>>()?;
                    let a = with_ones(matrix(&at.h)?.as_ref(), ones, basis.as_ref());
                    add_weighted_grams(whole, a.as_ref(), &v);
                    Ok(())
                }
                Curvature::Whole(whole) => {
                    add_gradients(whole, (map, ones), at, &pulled, basis.as_ref())
                }
            }
        })?;
        match &mut sum {
            Curvature::Whole(m) | Curvature::Kronecker { outputs: m, .. } => {
                *m *= faer::Scale(1.0 / n_examples);
                checks::entries("the curvature of a linear map", m.as_ref())?;
            }
        }
        Ok(Self { method, gradient, curvature: sum, basis })
    }

    /// D = (M + λ mean diag M)⁻¹ g, or (G + λ tr G/o)⁻¹ g (A + λ tr A/q)⁻¹, as a change of \[W | b\]; `None` where a pivot is lost.
    pub(super) fn solve(&self, damping: f64) -> Option<Mat<f64>> {
        let (o, q) = self.gradient.shape();
        let damped = |m: MatRef<f64>| {
            let mut m = m.to_owned();
            let n = m.nrows();
            let shift = damping * (0..n).map(|i| m[(i, i)]).sum::<f64>() / n.max(1) as f64;
            (0..n).for_each(|i| m[(i, i)] += shift);
            Cholesky::in_place(m).ok()
        };
        let d = match &self.curvature {
            Curvature::Whole(m) => {
                let g: Vec<f64> = (0..o * q).map(|i| self.gradient[(i / q, i % q)]).collect();
                let d = damped(m.as_ref())?.solve_vector(&g);
                Mat::from_fn(o, q, |i, j| d[i * q + j])
            }
            Curvature::Kronecker { outputs, columns } => {
                let mut left = self.gradient.clone();
                damped(outputs.as_ref())?.solve(left.as_mut());
                let mut right = left.transpose().to_owned();
                damped(columns.as_ref())?.solve(right.as_mut());
                right.transpose().to_owned()
            }
        };
        let d = match &self.basis {
            Some(basis) => product(d.as_ref(), basis.transpose()),
            None => d,
        };
        checks::entries("a step", d.as_ref()).ok().map(|()| d)
    }
}

/// E δ \[h; 1\]ᵀ, (o, n + 1), or without the ones.
fn cross(moments: &SecondMoments, ones: usize) -> Mat<f64> {
    let Some(targets) = &moments.targets else { return Mat::new() };
    let n = moments.n_columns();
    Mat::from_fn(targets.mean.len(), n + ones, |i, j| match moments.mean.get(j) {
        Some(mean) => targets.cross[(i, j)] + targets.mean[i] * mean,
        None => targets.mean[i],
    })
}

/// How large the equations may be, and in what columns they are written.
fn method_of(
    (graph, map): (&Graph, &LinearMap),
    moments: &SecondMoments,
    options: &Polish,
) -> Result<(PolishMethod, Option<Mat<f64>>)> {
    let (o, n) = (n_outputs(graph, map), n_columns(graph, map));
    let ones = usize::from(map.bias.is_some());
    // Rows of one example stand one after another.
    let is_by_example = |id| matches!(examples(graph, id), Examples::Axis(0) | Examples::Outer(_));
    let can_be_whole = is_by_example(map.input) && is_by_example(map.output);
    if can_be_whole && o * (n + ones) <= options.most_unknowns {
        return Ok((PolishMethod::Exact, None));
    }
    let r = (options.most_unknowns / o.max(1)).saturating_sub(ones).min(options.principal).min(n);
    if can_be_whole && r >= FEWEST_DIRECTIONS && n <= MOST_COLUMNS {
        let basis = principal(moments, ones, r)?;
        return Ok((PolishMethod::Principal(basis.ncols() - ones), Some(basis)));
    }
    Ok((PolishMethod::Kronecker, None))
}

/// The leading directions of h, of variance 1 each, and the ones: (n + 1, r + 1); without ones the leading ones of E h hᵀ.
fn principal(moments: &SecondMoments, ones: usize, r: usize) -> Result<Mat<f64>> {
    let n = moments.n_columns();
    let spread = match ones {
        0 => moments.second().as_ref().submatrix(0, 0, n, n).to_owned(),
        _ => moments.covariance.clone(),
    };
    let eigen = spread
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| Error::Eigenvalues { of: "a covariance of activations" })?;
    let (values, vectors) = (eigen.S(), eigen.U());
    let least = SMALLEST * values[n - 1].max(0.0);
    let leading: Vec<usize> = (0..n).rev().take(r).filter(|&i| values[i] > least).collect();
    let k = leading.len();
    let mut basis = Mat::zeros(n + ones, k + ones);
    for (j, &from) in leading.iter().enumerate() {
        let scale = 1.0 / values[from].sqrt();
        (0..n).for_each(|i| basis[(i, j)] = vectors[(i, from)] * scale);
        if ones == 1 {
            let mean = (0..n).map(|i| moments.mean[i] * basis[(i, j)]).sum::<f64>();
            basis[(n, j)] = -mean;
        }
    }
    if ones == 1 {
        basis[(n, k)] = 1.0;
    }
    Ok(basis)
}

/// Whether each example has one row of inputs.
fn has_one_row(graph: &Graph, map: &LinearMap) -> bool {
    let shape = &graph.value(map.input).shape;
    map.window.is_none() && shape.len() == 2 && shape[0] == models::graph::Dimension::BATCH
}

/// a of rows h, (m, n): \[h; 1\], times B.
fn with_ones(h: MatRef<f64>, ones: usize, basis: Option<&Mat<f64>>) -> Mat<f64> {
    let (m, n) = h.shape();
    let a = Mat::from_fn(m, n + ones, |i, j| if j < n { h[(i, j)] } else { 1.0 });
    match basis {
        Some(basis) => product(a.as_ref(), basis.as_ref()),
        None => a,
    }
}

/// G ← G + Σ v vᵀ over examples and positions.
fn add_squares(
    sum: &mut Mat<f64>,
    (map, of_map): (&LinearMap, Examples),
    v: &Tensor,
    mask: Option<&Tensor>,
) -> Result<()> {
    let o = sum.nrows();
    let rows = match map.window {
        // (m, o, …)
        Some(_) => v.reshape((v.dim(0)?, o, ()))?.transpose(1, 2)?.reshape(((), o))?,
        // (m, …, o)
        None => counted_rows(v, of_map, mask)?,
    };
    let rows = matrix(&rows)?;
    *sum += product(rows.transpose(), rows.as_ref());
    Ok(())
}

/// Block (l, j) of M ← + Σᵢ (V_j · V_l)ᵢ aᵢ aᵢᵀ for l ≥ j, with rows a, (m, q), and V, (m, o) for each direction.
fn add_weighted_grams(sum: &mut Mat<f64>, a: MatRef<f64>, v: &[Mat<f64>]) {
    let (m, q) = a.shape();
    let Some(o) = v.first().map(Mat::ncols) else { return };
    let par = if o * q < PARALLEL { Par::Seq } else { Par::rayon(0) };
    let mut weighted = Mat::zeros(m, o * q);
    let mut weights = vec![0.0; m];
    for j in 0..o {
        for l in j..o {
            weights.fill(0.0);
            for v in v {
                let pairs = v.col(j).iter().zip(v.col(l).iter());
                weights.iter_mut().zip(pairs).for_each(|(w, (a, b))| *w += a * b);
            }
            for b in 0..q {
                let to = weighted.col_mut((l - j) * q + b).iter_mut();
                to.zip(a.col(b).iter().zip(&weights)).for_each(|(to, (a, w))| *to = a * w);
            }
        }
        let width = (o - j) * q;
        let block = sum.as_mut().submatrix_mut(j * q, j * q, width, q);
        let left = weighted.as_ref().subcols(0, width);
        matmul(block, Accum::Add, left.transpose(), a, 1.0, par);
    }
}

/// M ← M + Σ vec Γ vec Γᵀ, with Γ = Σ v aᵀ over the positions of an example, one for each direction.
fn add_gradients(
    sum: &mut Mat<f64>,
    (map, ones): (&LinearMap, usize),
    at: &Probed,
    pulled: &[Tensor],
    basis: Option<&Mat<f64>>,
) -> Result<()> {
    let u = sum.nrows();
    let (mut waiting, mut n_waiting) = (Mat::zeros(u, BLOCK), 0);
    for i in 0..at.n {
        let a = example_rows(map, ones, at, i, basis)?;
        let q = a.ncols();
        for v in pulled {
            let of_example = v.narrow(0, i * v.dim(0)? / at.n, v.dim(0)? / at.n)?;
            let v = match map.window {
                Some(_) => matrix(&of_example.reshape((u / q, ()))?)?,
                None => matrix(&of_example.reshape(((), u / q))?)?.transpose().to_owned(),
            };
            checks::length("positions of a linear map", a.nrows(), v.ncols())?;
            let gamma = product(v.as_ref(), a.as_ref()); // (o, q)
            let column = waiting.col_mut(n_waiting).iter_mut().enumerate();
            column.for_each(|(at, to)| *to = gamma[(at / q, at % q)]);
            n_waiting += 1;
            if n_waiting == BLOCK {
                add_gram(sum, waiting.as_ref());
                n_waiting = 0;
            }
        }
    }
    add_gram(sum, waiting.as_ref().subcols(0, n_waiting));
    Ok(())
}

/// M ← M + X Xᵀ, the lower triangle.
fn add_gram(sum: &mut Mat<f64>, x: MatRef<f64>) {
    let par = if sum.nrows() < PARALLEL { Par::Seq } else { Par::rayon(0) };
    triangular::matmul(
        sum.as_mut(),
        BlockStructure::TriangularLower,
        Accum::Add,
        x,
        BlockStructure::Rectangular,
        x.transpose(),
        BlockStructure::Rectangular,
        1.0,
        par,
    );
}

/// a at all positions of example i, (positions, q); 0 at tokens that a mask leaves out.
fn example_rows(
    map: &LinearMap,
    ones: usize,
    at: &Probed,
    i: usize,
    basis: Option<&Mat<f64>>,
) -> Result<Mat<f64>> {
    let per_example = at.h.dim(0)? / at.n;
    let h = at.h.narrow(0, i * per_example, per_example)?;
    if let Some(window) = sliding_window(map) {
        let image = if h.rank() == 3 { h.unsqueeze(2)? } else { h };
        let n = image.dim(1)? * window.kernel[0] * window.kernel[1];
        let rows = patches(&image, &window)?;
        let rows = MatRef::from_row_major_slice(&rows, rows.len() / n.max(1), n);
        return Ok(with_ones(rows, ones, basis));
    }
    let n = h.dim(h.rank() - 1)?;
    let mut a = with_ones(matrix(&h.reshape(((), n))?)?.as_ref(), ones, basis);
    if let Some(mask) = &at.mask {
        let counts =
            mask.narrow(0, i, 1)?.flatten_all()?.to_dtype(candle_core::DType::F64)?.to_vec1()?;
        if counts.len() == a.nrows() {
            let out = counts.iter().enumerate().filter(|(_, v): &(usize, &f64)| **v == 0.0);
            out.for_each(|(row, _)| a.row_mut(row).fill(0.0));
        }
    }
    Ok(a)
}
