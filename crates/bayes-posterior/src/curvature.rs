//! The generalized Gauss–Newton matrix of a perceptron, example by example: H = Σᵢ Jᵢᵀ Λᵢ Jᵢ.

use candle_core::DType;
use core_tensors::kernels::{Activation, features};
use core_tensors::linalg::product;
use core_tensors::{Dataset, Params, Targets};
use faer::{Mat, MatRef};
use losses::Likelihood;
use models::{Architecture, Mlp};

use crate::error::{Error, Result};

/// Objects that are looked at together.
const CHUNK: usize = 256;

/// What a pass over some examples leaves for each layer.
pub(crate) struct Chunk {
    /// z_{t−1} with a last column of ones where there are biases, (m, cols); one a layer.
    pub(crate) inputs: Vec<Mat<f64>>,
    /// For each output direction c and layer t: ∂(S_cᵀ f)/∂(sums of layer t), (m, n_t).
    pub(crate) gradients: Vec<Vec<Mat<f64>>>,
    /// f(x, w), (m, k).
    pub(crate) logits: Mat<f64>,
    /// Indices of the examples.
    pub(crate) examples: std::ops::Range<usize>,
}

/// Which directions of the output are pulled back.
#[derive(Clone, Copy)]
pub(crate) enum Directions {
    /// Columns of S with S Sᵀ = Λ, the Hessian of −log p(y | f).
    Curvature(Likelihood),
    /// The outputs themselves.
    Outputs,
    /// None: a forward pass alone.
    None,
}

/// A perceptron at a point, in f64.
pub(crate) struct Pass<'a> {
    network: &'a Mlp,
    blocks: Vec<Mat<f64>>,
}

impl<'a> Pass<'a> {
    /// From weights in vec order, (p,).
    pub(crate) fn new(network: &'a Mlp, w: &[f64]) -> Result<Self> {
        let layout = network.layout();
        if w.len() != layout.n_parameters() {
            return Err(Error::mismatch("weights of a network", layout.n_parameters(), w.len()));
        }
        let block = |(range, b): (std::ops::Range<usize>, &core_tensors::Block)| {
            MatRef::from_row_major_slice(&w[range], b.rows, b.cols).to_owned()
        };
        let blocks = layout.ranges().into_iter().zip(&layout.blocks).map(block).collect();
        Ok(Self { network, blocks })
    }

    /// From tensors.
    pub(crate) fn of(network: &'a Mlp, w: &Params) -> Result<Self> {
        if *w.layout() != network.layout() {
            let (wanted, found) = (network.layout().blocks, &w.layout().blocks);
            let (wanted, found) = (format!("{wanted:?}"), format!("{found:?}"));
            return Err(Error::mismatch("parameters of a network", wanted, found));
        }
        Self::new(network, &w.to_vec()?)
    }

    /// Visits all examples in their order.
    pub(crate) fn visit(
        &self,
        data: &Dataset,
        directions: Directions,
        mut visit: impl FnMut(&Chunk) -> Result<()>,
    ) -> Result<()> {
        let n = data.n_examples();
        for start in (0..n).step_by(CHUNK) {
            let end = n.min(start + CHUNK);
            let x = features(&data.x().narrow(0, start, end - start)?)?.flatten_from(1)?;
            let wanted = self.network.widths[0];
            if x.dim(1)? != wanted {
                return Err(Error::mismatch("features of an object", wanted, x.dim(1)?));
            }
            let x: Vec<f64> = x.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
            let x = MatRef::from_row_major_slice(&x, end - start, wanted).to_owned();
            visit(&self.chunk(x, directions, start..end)?)?;
        }
        Ok(())
    }

    fn chunk(
        &self,
        x: Mat<f64>,
        directions: Directions,
        examples: std::ops::Range<usize>,
    ) -> Result<Chunk> {
        let (mut inputs, mut slopes, mut z) = (Vec::new(), Vec::new(), x);
        let depth = self.blocks.len();
        for (t, u) in self.blocks.iter().enumerate() {
            let input = with_ones(z, self.network.bias);
            let sums = product(input.as_ref(), u.transpose()); // (m, n_t)
            inputs.push(input);
            if t + 1 == depth {
                z = sums;
                break;
            }
            let activation = self.network.activation;
            slopes.push(sums.as_ref().map(|&s| slope(activation, s)));
            z = Mat::from_fn(sums.nrows(), sums.ncols(), |i, j| {
                sums[(i, j)] * slope(activation, sums[(i, j)])
            });
        }
        let pulled = |direction: Mat<f64>| {
            let mut gradients = vec![direction];
            for t in (1..depth).rev() {
                let n_in = self.network.widths[t];
                let u = self.blocks[t].subcols(0, n_in);
                let mut back = product(gradients[gradients.len() - 1].as_ref(), u); // (m, n_t)
                for (to, by) in back.col_iter_mut().zip(slopes[t - 1].col_iter()) {
                    to.iter_mut().zip(by.iter()).for_each(|(to, by)| *to *= by);
                }
                gradients.push(back);
            }
            gradients.reverse();
            gradients
        };
        let gradients = output_directions(z.as_ref(), directions).into_iter().map(pulled).collect();
        Ok(Chunk { inputs, gradients, logits: z, examples })
    }
}

impl Chunk {
    /// The gradient of one direction for one example, (p,).
    pub(crate) fn row(&self, direction: usize, example: usize, out: &mut [f64]) {
        let mut at = 0;
        for (a, g) in self.inputs.iter().zip(&self.gradients[direction]) {
            let (n, cols) = (g.ncols(), a.ncols());
            for i in 0..n {
                let gradient = g[(example, i)];
                let row = &mut out[at..at + cols];
                row.iter_mut().enumerate().for_each(|(j, o)| *o = gradient * a[(example, j)]);
                at += cols;
            }
        }
    }

    /// Σ_i log p(yᵢ | fᵢ) over the examples of the chunk.
    pub(crate) fn log_likelihood(&self, targets: &Targets, likelihood: Likelihood) -> Result<f64> {
        let (m, k) = (self.logits.nrows(), self.logits.ncols());
        match (likelihood, targets) {
            (Likelihood::Categorical, Targets::Classes { labels, .. }) => {
                let labels = labels.narrow(0, self.examples.start, m)?;
                let labels: Vec<u32> = labels.to_dtype(DType::U32)?.to_vec1()?;
                if let Some(label) = labels.iter().find(|&&label| label as usize >= k) {
                    return Err(Error::mismatch("label of an object", format!("below {k}"), label));
                }
                let row = |i: usize| {
                    self.logits[(i, labels[i] as usize)] - log_sum_exp(self.logits.as_ref(), i)
                };
                Ok((0..m).map(row).sum())
            }
            (Likelihood::Normal { variance }, Targets::Values(values)) => {
                let values = values.narrow(0, self.examples.start, m)?.to_dtype(DType::F64)?;
                let values: Vec<f64> = values.flatten_all()?.to_vec1()?;
                if values.len() != m * k {
                    return Err(Error::mismatch("numbers of a target", k, values.len() / m.max(1)));
                }
                let term = |a: usize| {
                    let gap = values[a] - self.logits[(a / k, a % k)];
                    -0.5 * (gap * gap / variance + (std::f64::consts::TAU * variance).ln())
                };
                Ok((0..m * k).map(term).sum())
            }
            (Likelihood::Categorical, Targets::Values(_)) => {
                Err(Error::mismatch("targets of a classification", "classes", "values"))
            }
            (Likelihood::Normal { .. }, Targets::Classes { .. }) => {
                Err(Error::mismatch("targets of a regression", "values", "classes"))
            }
        }
    }
}

/// For each direction c its value at each example, (m, k).
fn output_directions(logits: MatRef<f64>, directions: Directions) -> Vec<Mat<f64>> {
    let (m, k) = (logits.nrows(), logits.ncols());
    let unit = |scale: f64| {
        (0..k).map(|c| Mat::from_fn(m, k, |_, j| if j == c { scale } else { 0.0 })).collect()
    };
    match directions {
        Directions::None => Vec::new(),
        Directions::Outputs => unit(1.0),
        Directions::Curvature(Likelihood::Normal { variance }) => unit(1.0 / variance.sqrt()),
        // S_jc = √p_c (δ_jc − p_j), for which S Sᵀ = diag p − p pᵀ.
        Directions::Curvature(Likelihood::Categorical) => {
            let norm: Vec<f64> = (0..m).map(|i| log_sum_exp(logits, i)).collect();
            let p = Mat::from_fn(m, k, |i, j| (logits[(i, j)] - norm[i]).exp());
            let entry = |i: usize, j: usize, c: usize| {
                p[(i, c)].sqrt() * (if j == c { 1.0 } else { 0.0 } - p[(i, j)])
            };
            (0..k).map(|c| Mat::from_fn(m, k, |i, j| entry(i, j, c))).collect()
        }
    }
}

fn log_sum_exp(logits: MatRef<f64>, i: usize) -> f64 {
    let row = logits.row(i);
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + row.iter().map(|s| (s - largest).exp()).sum::<f64>().ln()
}

fn slope(activation: Activation, sum: f64) -> f64 {
    match activation {
        Activation::Identity => 1.0,
        Activation::Relu if sum > 0.0 => 1.0,
        Activation::Relu => 0.0,
        Activation::LeakyRelu { .. } if sum > 0.0 => 1.0,
        Activation::LeakyRelu { slope } => slope,
    }
}

fn with_ones(z: Mat<f64>, bias: bool) -> Mat<f64> {
    if !bias {
        return z;
    }
    let (m, n) = (z.nrows(), z.ncols());
    Mat::from_fn(m, n + 1, |i, j| if j < n { z[(i, j)] } else { 1.0 })
}
