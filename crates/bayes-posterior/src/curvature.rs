//! The generalized Gauss–Newton matrix of a perceptron, example by example: H = Σᵢ Jᵢᵀ Λᵢ Jᵢ.

use candle_core::{DType, Device, Tensor};
use core_tensors::kernels::{Activation, features};
use core_tensors::linalg::product;
use core_tensors::{Dataset, Params};
use faer::{Mat, MatRef};
use losses::Likelihood;
use models::{Architecture, Mlp};

use crate::checks;
use crate::error::Result;
use crate::kronecker::row_major;
use crate::predictive::{softmax, two_classes};

/// Examples that are looked at together.
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

/// A perceptron at a point, in f64 on the CPU.
pub(crate) struct Pass<'a> {
    network: &'a Mlp,
    weights: Params,
    /// The same matrices.
    blocks: Vec<Mat<f64>>,
}

impl<'a> Pass<'a> {
    /// From weights in vec order, (p,).
    pub(crate) fn new(network: &'a Mlp, w: &[f64]) -> Result<Self> {
        let layout = network.layout();
        checks::length("weights of a network", layout.n_parameters(), w.len())?;
        let parts = || layout.ranges().into_iter().zip(&layout.blocks);
        let tensors = parts()
            .map(|(range, b)| Tensor::from_slice(&w[range], (b.rows, b.cols), &Device::Cpu))
            .collect::<candle_core::Result<_>>()?;
        let block = |(range, b): (std::ops::Range<usize>, &core_tensors::Block)| {
            MatRef::from_row_major_slice(&w[range], b.rows, b.cols).to_owned()
        };
        let blocks = parts().map(block).collect();
        Ok(Self { network, weights: Params::new(layout.clone(), tensors)?, blocks })
    }

    /// From tensors.
    pub(crate) fn of(network: &'a Mlp, w: &Params) -> Result<Self> {
        checks::same_layout("weights of a network", &network.layout(), w.layout())?;
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
            checks::length("features of an example", self.network.widths[0], x.dim(1)?)?;
            let x = x.to_dtype(DType::F64)?.to_device(&Device::Cpu)?;
            visit(&self.chunk(&x, directions, start..end)?)?;
        }
        Ok(())
    }

    fn chunk(
        &self,
        x: &Tensor,
        directions: Directions,
        examples: std::ops::Range<usize>,
    ) -> Result<Chunk> {
        let outputs = self.network.activations(&self.weights, x)?;
        let outputs = outputs.iter().map(matrix).collect::<Result<Vec<_>>>()?;
        let depth = outputs.len();
        let (mut inputs, mut z) = (Vec::with_capacity(depth), matrix(x)?);
        let mut hidden = Vec::with_capacity(depth);
        for (output, u) in outputs.into_iter().zip(&self.blocks) {
            let a = with_ones(z, self.network.bias);
            hidden.push(slopes(self.network.activation, a.as_ref(), u.as_ref(), output.as_ref()));
            inputs.push(a);
            z = output;
        }
        let pulled = |direction: Mat<f64>| {
            let mut gradients = vec![direction];
            for t in (1..depth).rev() {
                let n_in = self.network.widths[t];
                let u = self.blocks[t].subcols(0, n_in);
                let mut back = product(gradients[gradients.len() - 1].as_ref(), u); // (m, n_t)
                for (to, by) in back.col_iter_mut().zip(hidden[t - 1].col_iter()) {
                    to.iter_mut().zip(by.iter()).for_each(|(to, by)| *to *= by);
                }
                gradients.push(back);
            }
            gradients.reverse();
            gradients
        };
        let gradients =
            output_directions(z.as_ref(), directions)?.into_iter().map(pulled).collect();
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

    /// Σ_i log p(yᵢ | fᵢ) over the examples of the chunk, a part of `data`.
    pub(crate) fn log_likelihood(&self, data: &Dataset, likelihood: Likelihood) -> Result<f64> {
        let rows: Vec<usize> = self.examples.clone().collect();
        let (m, k) = self.logits.shape();
        let logits = Tensor::from_vec(row_major(self.logits.as_ref()), (m, k), &Device::Cpu)?;
        Ok(likelihood.mean_log(&logits.to_device(data.x().device())?, &data.rows(&rows)?)?
            * m as f64)
    }
}

/// For each direction c its value at each example, (m, k).
fn output_directions(logits: MatRef<f64>, directions: Directions) -> Result<Vec<Mat<f64>>> {
    let (m, k) = (logits.nrows(), logits.ncols());
    let unit = |scale: f64| {
        (0..k).map(|c| Mat::from_fn(m, k, |_, j| if j == c { scale } else { 0.0 })).collect()
    };
    Ok(match directions {
        Directions::None => Vec::new(),
        Directions::Outputs => unit(1.0),
        Directions::Curvature(Likelihood::Normal { variance }) => unit(1.0 / variance.sqrt()),
        // S_jc = √p_c (δ_jc − p_j), for which S Sᵀ = diag p − p pᵀ.
        Directions::Curvature(Likelihood::Categorical) => {
            let p = softmax(row_major(logits), m, k)?;
            let p = MatRef::from_row_major_slice(&p, m, k);
            let entry = |i: usize, j: usize, c: usize| {
                p[(i, c)].sqrt() * (if j == c { 1.0 } else { 0.0 } - p[(i, j)])
            };
            (0..k).map(|c| Mat::from_fn(m, k, |i, j| entry(i, j, c))).collect()
        }
        // S = √(p (1 − p)).
        Directions::Curvature(Likelihood::Bernoulli) => {
            let p = two_classes(row_major(logits), m, k)?;
            vec![Mat::from_fn(m, 1, |i, _| (p[2 * i] * p[2 * i + 1]).sqrt())]
        }
    })
}

/// act′ at the sums of a layer, whose inputs are `a` and whose outputs are `z`, (m, n).
fn slopes(activation: Activation, a: MatRef<f64>, u: MatRef<f64>, z: MatRef<f64>) -> Mat<f64> {
    let of = |z: MatRef<f64>, slope: &dyn Fn(f64) -> f64| {
        Mat::from_fn(z.nrows(), z.ncols(), |i, j| slope(z[(i, j)]))
    };
    match activation {
        // These keep the sign, which is all that their derivative asks for.
        Activation::Identity | Activation::Relu | Activation::LeakyRelu { .. } => {
            of(z, &|z| activation.derivative(z))
        }
        Activation::Tanh => of(z, &|z| 1.0 - z * z),
        Activation::Sigmoid => of(z, &|z| z * (1.0 - z)),
        // These take a value twice.
        Activation::Silu | Activation::Gelu => {
            of(product(a, u.transpose()).as_ref(), &|sum| activation.derivative(sum))
        }
    }
}

/// A tensor of f64, (m, n).
fn matrix(tensor: &Tensor) -> Result<Mat<f64>> {
    let (m, n) = tensor.dims2()?;
    let values: Vec<f64> = tensor.flatten_all()?.to_vec1()?;
    Ok(MatRef::from_row_major_slice(&values, m, n).to_owned())
}

fn with_ones(z: Mat<f64>, bias: bool) -> Mat<f64> {
    if !bias {
        return z;
    }
    let (m, n) = (z.nrows(), z.ncols());
    Mat::from_fn(m, n + 1, |i, j| if j < n { z[(i, j)] } else { 1.0 })
}
