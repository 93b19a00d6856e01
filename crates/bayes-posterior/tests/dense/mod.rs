//! Gaussians and edits in plain loops over dense matrices: the oracle of every structure.
//!
//! Nothing here uses the crate's own index lists, factorizations or matrix library.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use bayes_posterior::{
    BlockDiagonal, Covariance, Diagonal, Factors, Full, Group, Kronecker, KroneckerEigen,
    LayerCurvature, LowRank, LowRankForm, Spectrum,
};
use candle_core::{Device, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Layout, Params, Rng};
use faer::Mat;
use models::{Architecture, Mlp};

pub(crate) type TestResult = Result<(), Box<dyn std::error::Error>>;
pub(crate) type Matrix = Vec<Vec<f64>>;

/// A Gaussian over the weights of a perceptron.
#[derive(Clone, Debug)]
pub(crate) struct Dense {
    pub(crate) widths: Vec<usize>,
    pub(crate) bias: bool,
    pub(crate) mean: Vec<f64>,
    pub(crate) covariance: Matrix,
}

pub(crate) fn network(widths: &[usize], bias: bool) -> Mlp {
    Mlp { widths: widths.to_vec(), activation: Activation::Relu, bias }
}

impl Dense {
    /// The position of U_layer\[unit, input\] in vec(·); the input behind the last is the bias.
    pub(crate) fn position(&self, layer: usize, unit: usize, input: usize) -> usize {
        let cols = |t: usize| self.widths[t - 1] + usize::from(self.bias);
        let before: usize = (1..layer).map(|t| self.widths[t] * cols(t)).sum();
        before + unit * cols(layer) + input
    }

    pub(crate) fn row(&self, layer: usize, unit: usize) -> Vec<usize> {
        let n = self.widths[layer - 1] + usize::from(self.bias);
        (0..n).map(|input| self.position(layer, unit, input)).collect()
    }

    pub(crate) fn column(&self, layer: usize, input: usize) -> Vec<usize> {
        (0..self.widths[layer]).map(|unit| self.position(layer, unit, input)).collect()
    }

    /// Fixes some positions and drops others; the rest keeps its order.
    pub(crate) fn condition(
        &self,
        fixed: &[usize],
        values: &[f64],
        dropped: &[usize],
    ) -> (Vec<f64>, Matrix) {
        let gone = |i: &usize| fixed.contains(i) || dropped.contains(i);
        let kept: Vec<usize> = (0..self.mean.len()).filter(|i| !gone(i)).collect();
        let part = |rows: &[usize], cols: &[usize]| -> Matrix {
            let row = |&i: &usize| cols.iter().map(|&j| self.covariance[i][j]).collect();
            rows.iter().map(row).collect()
        };
        let gain = product(&part(&kept, fixed), &inverse(&part(fixed, fixed)));
        let moved = |(row, &i): (&Vec<f64>, &usize)| {
            let shift = |(g, (&d, v)): (&f64, (&usize, &f64))| g * (v - self.mean[d]);
            self.mean[i] + row.iter().zip(fixed.iter().zip(values)).map(shift).sum::<f64>()
        };
        let mean = gain.iter().zip(&kept).map(moved).collect();
        let explained = product(&gain, &part(fixed, &kept));
        let mut covariance = part(&kept, &kept);
        for (row, less) in covariance.iter_mut().zip(&explained) {
            row.iter_mut().zip(less).for_each(|(c, e)| *c -= e);
        }
        (mean, covariance)
    }

    pub(crate) fn remove_units(&self, layer: usize, units: &[usize], condition_all: bool) -> Self {
        let fixed: Vec<usize> = units.iter().flat_map(|&j| self.column(layer + 1, j)).collect();
        let rows: Vec<usize> = units.iter().flat_map(|&j| self.row(layer, j)).collect();
        let (fixed, dropped) =
            if condition_all { ([fixed, rows].concat(), vec![]) } else { (fixed, rows) };
        let (mean, covariance) = self.condition(&fixed, &vec![0.0; fixed.len()], &dropped);
        let mut widths = self.widths.clone();
        widths[layer] -= units.len();
        Self { widths, bias: self.bias, mean, covariance }
    }

    /// Fixes U_layer at Pᵢⱼ = \[j = order(i)\] and puts the columns of the next layer in order.
    pub(crate) fn remove_layer(&self, layer: usize, order: &[usize]) -> Self {
        let n = self.widths[layer];
        let (mut fixed, mut values) = (Vec::new(), Vec::new());
        for unit in 0..n {
            for (input, position) in self.row(layer, unit).into_iter().enumerate() {
                fixed.push(position);
                values.push(if input == order[unit] { 1.0 } else { 0.0 });
            }
        }
        let (mean, covariance) = self.condition(&fixed, &values, &[]);
        let mut widths = self.widths.clone();
        widths.remove(layer);
        let left = Self { widths, bias: self.bias, mean, covariance };
        // U_next P: what unit i of the layer fed is now fed by unit order(i) of the layer below.
        let mut from: Vec<usize> = (0..left.mean.len()).collect();
        for unit in 0..left.widths[layer] {
            for (i, &j) in order.iter().enumerate() {
                from[left.position(layer, unit, j)] = left.position(layer, unit, i);
            }
        }
        let pick = |row: &Vec<f64>| from.iter().map(|&j| row[j]).collect();
        let covariance = from.iter().map(|&i| pick(&left.covariance[i])).collect();
        Self { mean: from.iter().map(|&i| left.mean[i]).collect(), covariance, ..left }
    }
}

pub(crate) fn product(a: &Matrix, b: &Matrix) -> Matrix {
    let n = b.first().map_or(0, Vec::len);
    let entry = |row: &Vec<f64>, j: usize| row.iter().zip(b).map(|(a, b)| a * b[j]).sum();
    a.iter().map(|row| (0..n).map(|j| entry(row, j)).collect()).collect()
}

/// Gauss–Jordan elimination with pivots.
pub(crate) fn inverse(a: &Matrix) -> Matrix {
    let n = a.len();
    let mut work: Matrix = a.clone();
    let mut result: Matrix = (0..n).map(|i| (0..n).map(|j| f64::from(i == j)).collect()).collect();
    for col in 0..n {
        let pivot =
            (col..n).max_by(|&i, &j| work[i][col].abs().total_cmp(&work[j][col].abs())).unwrap();
        work.swap(col, pivot);
        result.swap(col, pivot);
        let scale = work[col][col];
        work[col].iter_mut().chain(&mut result[col]).for_each(|x| *x /= scale);
        for row in (0..n).filter(|&row| row != col) {
            let factor = work[row][col];
            for j in 0..n {
                work[row][j] -= factor * work[col][j];
                result[row][j] -= factor * result[col][j];
            }
        }
    }
    result
}

/// log of the determinant by elimination.
pub(crate) fn log_det(a: &Matrix) -> f64 {
    let (n, mut work, mut sum) = (a.len(), a.clone(), 0.0);
    for col in 0..n {
        sum += work[col][col].ln();
        for row in col + 1..n {
            let factor = work[row][col] / work[col][col];
            for j in col..n {
                work[row][j] -= factor * work[col][j];
            }
        }
    }
    sum
}

/// Ψ by its action on the unit vectors.
pub(crate) fn to_dense(covariance: &impl Covariance) -> Matrix {
    let p = covariance.n_parameters();
    let column =
        |i: usize| covariance.apply(&(0..p).map(|j| f64::from(i == j)).collect::<Vec<_>>());
    (0..p).map(|i| column(i).unwrap()).collect()
}

/// Weights in vec order as f64 tensors on the CPU.
pub(crate) fn f64_params(network: &Mlp, w: &[f64]) -> Result<Params, Box<dyn std::error::Error>> {
    let layout = network.layout();
    let block = |(range, shape): (std::ops::Range<usize>, &core_tensors::Block)| {
        Tensor::from_slice(&w[range], (shape.rows, shape.cols), &Device::Cpu)
    };
    let blocks =
        layout.ranges().into_iter().zip(&layout.blocks).map(block).collect::<Result<_, _>>()?;
    Ok(Params::new(layout.clone(), blocks)?)
}

/// Largest difference, relative to the largest entry.
pub(crate) fn distance(a: &Matrix, b: &Matrix) -> f64 {
    assert_eq!(a.len(), b.len());
    let size = a.iter().flatten().fold(1e-300, |s: f64, x| s.max(x.abs()));
    let gap = |(a, b): (&Vec<f64>, &Vec<f64>)| {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).fold(0.0, |d: f64, (a, b)| d.max((a - b).abs()))
    };
    a.iter().zip(b).map(gap).fold(0.0, f64::max) / size
}

pub(crate) fn vector_distance(a: &[f64], b: &[f64]) -> f64 {
    distance(&vec![a.to_vec()], &vec![b.to_vec()])
}

pub(crate) fn normals(n: usize, rng: &mut Rng) -> Vec<f64> {
    (0..n).map(|_| rng.normal()).collect()
}

/// A well-conditioned random covariance.
pub(crate) fn random_covariance(n: usize, rng: &mut Rng) -> Mat<f64> {
    let factor = Mat::from_fn(n, n + 2, |_, _| rng.normal());
    (&factor * factor.transpose()) * faer::Scale(1.0 / n as f64)
        + Mat::<f64>::identity(n, n) * faer::Scale(0.2)
}

pub(crate) fn full(layout: &Layout, rng: &mut Rng) -> Full {
    Full::new(random_covariance(layout.n_parameters(), rng)).unwrap()
}

pub(crate) fn diagonal(layout: &Layout, rng: &mut Rng) -> Diagonal {
    Diagonal::new((0..layout.n_parameters()).map(|_| 0.2 + rng.uniform()).collect()).unwrap()
}

pub(crate) fn by_layer(layout: &Layout, rng: &mut Rng) -> BlockDiagonal {
    let blocks = layout.blocks.iter().map(|b| random_covariance(b.n_parameters(), rng));
    BlockDiagonal::new(Group::Layer, blocks.collect()).unwrap()
}

pub(crate) fn by_unit(layout: &Layout, rng: &mut Rng) -> BlockDiagonal {
    let sizes = layout.blocks.iter().flat_map(|b| vec![b.cols; b.rows]);
    let blocks = sizes.map(|n| random_covariance(n, rng)).collect();
    BlockDiagonal::new(Group::Unit, blocks).unwrap()
}

pub(crate) fn kronecker(layout: &Layout, rng: &mut Rng) -> Kronecker {
    let factors = |b: &core_tensors::Block| {
        Factors::new(random_covariance(b.rows, rng), random_covariance(b.cols, rng)).unwrap()
    };
    Kronecker::new(layout.blocks.iter().map(factors).collect())
}

/// Curvatures of which one direction of each factor is empty, as a softmax or an input that is always 0 leave it.
pub(crate) fn kronecker_eigen(layout: &Layout, rng: &mut Rng) -> KroneckerEigen {
    let spectrum = |n: usize, rng: &mut Rng| {
        let factor = Mat::from_fn(n, n.saturating_sub(1).max(1), |_, _| rng.normal());
        Spectrum::of((&factor * factor.transpose()).as_ref()).unwrap()
    };
    let layer = |b: &core_tensors::Block| LayerCurvature {
        rows: spectrum(b.rows, rng),
        columns: spectrum(b.cols, rng),
    };
    KroneckerEigen::new(layout.blocks.iter().map(layer).collect(), 0.4).unwrap()
}

pub(crate) fn low_rank(form: LowRankForm, layout: &Layout, rng: &mut Rng) -> LowRank {
    let p = layout.n_parameters();
    let factor = Mat::from_fn(p, 3, |_, _| rng.normal());
    LowRank::new(form, factor, (0..p).map(|_| 0.2 + rng.uniform()).collect()).unwrap()
}

/// The dense twin of a random posterior over a network.
pub(crate) fn twin(network: &Mlp, mean: &[f64], covariance: &impl Covariance) -> Dense {
    assert_eq!(network.layout().n_parameters(), mean.len());
    let covariance = to_dense(covariance);
    Dense { widths: network.widths.clone(), bias: network.bias, mean: mean.to_vec(), covariance }
}

/// The Laplace approximation at some weights, of a likelihood that is borrowed as everything else.
pub(crate) fn laplace<'a>(
    network: &'a Mlp,
    weights: &'a Params,
    data: &'a core_tensors::Dataset,
    likelihood: &losses::Likelihood,
    prior_precision: f64,
) -> bayes_posterior::Laplace<'a> {
    let likelihood = *likelihood;
    bayes_posterior::Laplace { network, weights, data, likelihood, prior_precision }
}
