//! The Laplace approximation of a trained perceptron: a Gaussian at its weights, with the curvature of its loss.

use core_tensors::linalg::{Cholesky, product};
use core_tensors::{Dataset, Params};
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, Par, Side};
use losses::Likelihood;
use models::{Architecture, Mlp};

use crate::block_diagonal::{BlockDiagonal, Group};
use crate::checks;
use crate::curvature::{Chunk, Directions, Pass};
use crate::diagonal::Diagonal;
use crate::edit::Posterior;
use crate::error::{Error, Result};
use crate::format::AnyPosterior;
use crate::full::Full;
use crate::gaussian::Gaussian;
use crate::kronecker;
use crate::kronecker_eigen::{KroneckerEigen, LayerCurvature, Spectrum};
use crate::low_rank::{LowRank, LowRankForm};
use crate::structure::Covariance;

/// Trained weights whose posterior is wanted, with the data and the prior behind it.
///
/// Each method keeps another part of the Gauss–Newton matrix H = Σᵢ Jᵢᵀ Λᵢ Jᵢ and gives the posterior N(w, Ψ) of that
/// structure under the prior N(0, I/a). The weights need not be the exact maximum: the approximation takes the
/// curvature there and no slope. A likelihood, evidence or covariance that overflows f64 is an error.
///
/// ```
/// use bayes_posterior::{Covariance, Laplace};
/// use bayes_posterior::candle_core::{Device, Tensor};
/// use core_tensors::{Dataset, Params, Targets, kernels::Activation};
/// use losses::Likelihood;
/// use models::{Architecture, Mlp};
/// # fn main() -> bayes_posterior::Result<()> {
/// // y = w x + noise at three points; Σ x² = 14, σ² = 0.5, so Ψ⁻¹ = 28 + 2.
/// let x = Tensor::new(&[[1f64], [2.0], [3.0]], &Device::Cpu)?;
/// let data = Dataset::new(x.clone(), Targets::Values((x * 0.9)?))?;
/// let network = Mlp { widths: vec![1, 1], activation: Activation::Identity, bias: false };
/// let weights = Params::from_vec(&network.layout(), &[0.84], &Device::Cpu)?;
/// let likelihood = Likelihood::Normal { variance: 0.5 };
/// let (network, weights, data) = (&network, &weights, &data);
/// let laplace = Laplace { network, weights, data, likelihood, prior_precision: 2.0 };
/// let found = laplace.full()?;
/// assert!((found.posterior.gaussian().covariance().diagonal()?[0] - 1.0 / 30.0).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
///
/// Source: MacKay (1992); Daxberger et al. (2021).
#[derive(Clone, Copy, Debug)]
pub struct Laplace<'a> {
    /// f(x, w).
    pub network: &'a Mlp,
    /// w, trained.
    pub weights: &'a Params,
    /// The examples the weights were trained on.
    pub data: &'a Dataset,
    /// p(y | f).
    pub likelihood: Likelihood,
    /// a > 0: precision of the prior N(0, I/a).
    pub prior_precision: f64,
}

/// A Laplace posterior and the evidence of its network.
#[derive(Clone, Debug)]
pub struct LaplacePosterior<P> {
    /// N(w, Ψ) over the network: a [`Posterior`] of one structure, or an [`AnyPosterior`].
    pub posterior: P,
    /// Σᵢ log p(yᵢ | xᵢ, w).
    pub log_likelihood: f64,
    /// log p(D) ≈ Σ log p(y | x, w) + log N(w; 0, I/a) + ½ (p log 2π + log |Ψ|)
    pub log_evidence: f64,
}

/// A structure by name, for programs that learn at run time which one is wanted ([`Laplace::fit`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curvature {
    /// [`Laplace::diagonal`]
    Diagonal,
    /// [`Laplace::block_diagonal`]
    BlockDiagonal(Group),
    /// [`Laplace::kronecker`]
    Kronecker,
    /// [`Laplace::low_rank`]
    LowRank {
        /// r ≥ 1: directions.
        rank: usize,
    },
    /// [`Laplace::full`]
    Full,
}

impl Laplace<'_> {
    /// The diagonal of H: Ψ = (diag H + a I)⁻¹.
    pub fn diagonal(&self) -> Result<LaplacePosterior<Posterior<Diagonal>>> {
        let (h, fit) = self.run()?.diagonal()?;
        let covariance =
            Diagonal::new(h.iter().map(|h| 1.0 / (h + self.prior_precision)).collect())?;
        let log_det = covariance.log_det()?;
        self.finish(covariance, fit, log_det)
    }

    /// The blocks of H that belong to a layer or to a unit, nothing between them: Ψ_b = (H_b + a I)⁻¹.
    pub fn block_diagonal(
        &self,
        group: Group,
    ) -> Result<LaplacePosterior<Posterior<BlockDiagonal>>> {
        let (blocks, fit) = self.run()?.blocks(group)?;
        let (mut covariances, mut log_det) = (Vec::with_capacity(blocks.len()), 0.0);
        for block in blocks {
            let (covariance, of_block) = inverted(block, self.prior_precision)?;
            covariances.push(covariance);
            log_det += of_block;
        }
        self.finish(BlockDiagonal::of(group, covariances), fit, log_det)
    }

    /// For each layer G ⊗ A with G = Σᵢ g gᵀ and A = N⁻¹ Σᵢ z zᵀ over N examples: Ψ_t = (G ⊗ A + aI)⁻¹, kept as
    /// eigenvectors and eigenvalues, so that nothing is factored but the curvature.
    ///
    /// Source: Martens & Grosse (2015), section 3; Ritter et al. (2018), but for their factored damping.
    pub fn kronecker(&self) -> Result<LaplacePosterior<Posterior<KroneckerEigen>>> {
        let (layers, fit) = self.run()?.kronecker()?;
        let covariance = KroneckerEigen::new(layers, self.prior_precision)?;
        let log_det = covariance.log_det()?;
        self.finish(covariance, fit, log_det)
    }

    /// The `rank` leading directions F of H and the diagonal of the rest: Ψ⁻¹ = F Fᵀ + diag(H − F Fᵀ) + a I.
    pub fn low_rank(&self, rank: usize) -> Result<LaplacePosterior<Posterior<LowRank>>> {
        let (covariance, fit) = self.run()?.low_rank(rank, self.prior_precision)?;
        let log_det = covariance.log_det()?;
        self.finish(covariance, fit, log_det)
    }

    /// All of H: Ψ = (H + a I)⁻¹; p² numbers and p³ operations.
    pub fn full(&self) -> Result<LaplacePosterior<Posterior<Full>>> {
        let (h, fit) = self.run()?.full()?;
        let (covariance, log_det) = inverted(h, self.prior_precision)?;
        self.finish(covariance, fit, log_det)
    }

    /// The posterior of a structure that is known at run time.
    pub fn fit(&self, curvature: Curvature) -> Result<LaplacePosterior<AnyPosterior>> {
        Ok(match curvature {
            Curvature::Diagonal => self.diagonal()?.map(AnyPosterior::Diagonal),
            Curvature::BlockDiagonal(group) => {
                self.block_diagonal(group)?.map(AnyPosterior::BlockDiagonal)
            }
            Curvature::Kronecker => self.kronecker()?.map(AnyPosterior::KroneckerEigen),
            Curvature::LowRank { rank } => self.low_rank(rank)?.map(AnyPosterior::LowRank),
            Curvature::Full => self.full()?.map(AnyPosterior::Full),
        })
    }

    fn run(&self) -> Result<Run<'_>> {
        checks::positive("prior precision", self.prior_precision)?;
        if let Likelihood::Normal { variance } = self.likelihood {
            checks::positive("noise variance", variance)?;
        }
        checks::network(self.network)?;
        checks::some_examples(self.data.n_examples())?;
        checks::all_finite("weight", &self.weights.to_vec()?)?;
        let Self { network, weights, data, likelihood, .. } = *self;
        Ok(Run { network, pass: Pass::of(network, weights)?, data, likelihood })
    }

    /// `log_det` is log |Ψ|.
    fn finish<S: Covariance>(
        &self,
        covariance: S,
        log_likelihood: f64,
        log_det: f64,
    ) -> Result<LaplacePosterior<Posterior<S>>> {
        let (w, a) = (self.weights.to_vec()?, self.prior_precision);
        let n = w.len() as f64;
        let square: f64 = w.iter().map(|w| w * w).sum();
        // log N(w; 0, I/a) + ½ p log 2π: the powers of 2π cancel.
        let log_prior = 0.5 * (n * a.ln() - a * square);
        let log_evidence = log_likelihood + log_prior + 0.5 * log_det;
        checks::computed("the log evidence", log_evidence)?;
        let gaussian = Gaussian::new(self.network.layout(), w, covariance)?;
        let posterior = Posterior::new(self.network.clone(), gaussian)?;
        Ok(LaplacePosterior { posterior, log_likelihood, log_evidence })
    }
}

impl<P> LaplacePosterior<P> {
    fn map<Q>(self, of: impl FnOnce(P) -> Q) -> LaplacePosterior<Q> {
        let Self { posterior, log_likelihood, log_evidence } = self;
        LaplacePosterior { posterior: of(posterior), log_likelihood, log_evidence }
    }
}

/// (H + a I)⁻¹ and its log-determinant, which then needs no factor, as costly and as large as the matrix. Of H the
/// lower triangle is read.
fn inverted(mut h: Mat<f64>, prior_precision: f64) -> Result<(Full, f64)> {
    (0..h.nrows()).for_each(|i| h[(i, i)] += prior_precision);
    let precision = Cholesky::in_place(h)?;
    let covariance = Full::trusted(precision.inverse());
    checks::of_result("of the Laplace posterior", covariance.check_numbers())?;
    Ok((covariance, -precision.log_det()))
}

/// diag H at some weights, (p,).
pub(crate) fn curvature_diagonal(
    network: &Mlp,
    w: &[f64],
    data: &Dataset,
    likelihood: &Likelihood,
) -> Result<Vec<f64>> {
    checks::some_examples(data.n_examples())?;
    let run = Run { network, pass: Pass::new(network, w)?, data, likelihood: *likelihood };
    Ok(run.diagonal()?.0)
}

struct Run<'a> {
    network: &'a Mlp,
    pass: Pass<'a>,
    data: &'a Dataset,
    likelihood: Likelihood,
}

impl Run<'_> {
    /// Visits every chunk; the sum of the log-likelihoods.
    fn visit(&self, mut with: impl FnMut(&Chunk) -> Result<()>) -> Result<f64> {
        let mut sum = 0.0;
        self.pass.visit(self.data, Directions::Curvature(self.likelihood), |chunk| {
            sum += chunk.log_likelihood(self.data, self.likelihood)?;
            checks::computed("the log-likelihood of the data", sum)?;
            with(chunk)
        })?;
        Ok(sum)
    }

    /// diag H, (p,): Σᵢ Σ_c g² z² for each weight.
    fn diagonal(&self) -> Result<(Vec<f64>, f64)> {
        let mut blocks: Vec<Mat<f64>> =
            self.network.layout().blocks.iter().map(|b| Mat::zeros(b.rows, b.cols)).collect();
        let fit = self.visit(|chunk| {
            add_diagonal(chunk, &mut blocks);
            Ok(())
        })?;
        Ok((row_major(&blocks), fit))
    }

    fn kronecker(&self) -> Result<(Vec<LayerCurvature>, f64)> {
        let shapes = self.network.layout().blocks;
        let mut left: Vec<Mat<f64>> = shapes.iter().map(|b| Mat::zeros(b.rows, b.rows)).collect();
        let mut right: Vec<Mat<f64>> = shapes.iter().map(|b| Mat::zeros(b.cols, b.cols)).collect();
        let fit = self.visit(|chunk| {
            for (sum, z) in right.iter_mut().zip(&chunk.inputs) {
                *sum += product(z.transpose(), z.as_ref());
            }
            for gradients in &chunk.gradients {
                for (sum, g) in left.iter_mut().zip(gradients) {
                    *sum += product(g.transpose(), g.as_ref());
                }
            }
            Ok(())
        })?;
        let m = self.data.n_examples() as f64;
        let layer = |(g, a): (Mat<f64>, Mat<f64>)| {
            let a = a * faer::Scale(1.0 / m);
            let (rows, columns) = (Spectrum::of(g.as_ref())?, Spectrum::of(a.as_ref())?);
            Ok(LayerCurvature { rows, columns })
        };
        Ok((left.into_iter().zip(right).map(layer).collect::<Result<_>>()?, fit))
    }

    /// H, (p, p), its lower triangle.
    fn full(&self) -> Result<(Mat<f64>, f64)> {
        let p = self.network.layout().n_parameters();
        let (mut blocks, fit) = self.square_blocks(std::iter::once(p))?;
        Ok((blocks.pop().unwrap_or_else(|| Mat::zeros(0, 0)), fit))
    }

    /// The blocks of H of each group, their lower triangles.
    fn blocks(&self, group: Group) -> Result<(Vec<Mat<f64>>, f64)> {
        self.square_blocks(group.sizes(&self.network.layout()).into_iter())
    }

    /// Blocks of H of some sizes along its diagonal, their lower triangles.
    fn square_blocks(&self, sizes: impl Iterator<Item = usize>) -> Result<(Vec<Mat<f64>>, f64)> {
        let p = self.network.layout().n_parameters();
        let mut blocks: Vec<Mat<f64>> = sizes.map(|n| Mat::zeros(n, n)).collect();
        let fit = self.visit(|chunk| {
            let (rows, mut start) = (jacobian(chunk, p), 0);
            for block in &mut blocks {
                let n = block.nrows();
                let rows = rows.subrows(start, n);
                start += n;
                triangular::matmul(
                    block.as_mut(),
                    BlockStructure::TriangularLower,
                    Accum::Add,
                    rows,
                    BlockStructure::Rectangular,
                    rows.transpose(),
                    BlockStructure::Rectangular,
                    1.0,
                    Par::rayon(0),
                );
            }
            Ok(())
        })?;
        Ok((blocks, fit))
    }

    /// Keeps the leading directions of all rows seen so far, chunk by chunk.
    fn low_rank(&self, rank: usize, prior_precision: f64) -> Result<(LowRank, f64)> {
        let p = self.network.layout().n_parameters();
        if rank == 0 || rank > p {
            return Err(Error::Rank { rank, p });
        }
        let (mut factor, mut rest) = (Mat::<f64>::zeros(p, 0), vec![0.0; p]);
        let fit = self.visit(|chunk| {
            let rows = jacobian(chunk, p); // (p, m k)
            for start in (0..rows.ncols()).step_by(rank.max(MERGE)) {
                let n = (rows.ncols() - start).min(rank.max(MERGE));
                factor = leading(&factor, rows.subcols(start, n), rank, &mut rest)?;
            }
            Ok(())
        })?;
        rest.iter_mut().for_each(|h| *h += prior_precision);
        Ok((LowRank::new(LowRankForm::Precision, factor, rest)?, fit))
    }
}

/// Rows that are merged into the leading directions at once.
const MERGE: usize = 64;

/// The `rank` leading directions of F Fᵀ + R Rᵀ, as columns scaled by the roots of their eigenvalues. What the others
/// put on the diagonal is added to `rest`: a sum of squares, where H − F Fᵀ would be a difference.
fn leading(
    factor: &Mat<f64>,
    rows: faer::MatRef<f64>,
    rank: usize,
    rest: &mut [f64],
) -> Result<Mat<f64>> {
    let (p, r, n) = (factor.nrows(), factor.ncols(), rows.ncols());
    let all = Mat::from_fn(p, r + n, |i, j| if j < r { factor[(i, j)] } else { rows[(i, j - r)] });
    if r + n <= rank {
        return Ok(all);
    }
    let gram = product(all.transpose(), all.as_ref());
    let eigen = gram
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| Error::Eigenvalues { of: "a Gram matrix" })?;
    // Eigenvalues ascend.
    let n_dropped = r + n - rank;
    let dropped = product(all.as_ref(), eigen.U().subcols(0, n_dropped));
    for column in dropped.col_iter() {
        rest.iter_mut().zip(column.iter()).for_each(|(rest, d)| *rest += d * d);
    }
    Ok(product(all.as_ref(), eigen.U().subcols(n_dropped, rank)))
}

/// Adds Σᵢ Σ_c g² z² to each block.
fn add_diagonal(chunk: &Chunk, blocks: &mut [Mat<f64>]) {
    for (t, (sum, z)) in blocks.iter_mut().zip(&chunk.inputs).enumerate() {
        let mut squares = Mat::<f64>::zeros(z.nrows(), sum.nrows());
        for gradients in &chunk.gradients {
            squares += gradients[t].as_ref().map(|g| g * g);
        }
        *sum += product(squares.transpose(), z.as_ref().map(|z| z * z).as_ref());
    }
}

/// Gradients of every direction of every example as columns, (p, m k).
fn jacobian(chunk: &Chunk, p: usize) -> Mat<f64> {
    let (m, k) = (chunk.logits.nrows(), chunk.gradients.len());
    let mut columns = vec![0.0; p * m * k];
    for (a, out) in columns.chunks_exact_mut(p).enumerate() {
        chunk.row(a % k, a / k, out);
    }
    faer::MatRef::from_column_major_slice(&columns, p, m * k).to_owned()
}

fn row_major(blocks: &[Mat<f64>]) -> Vec<f64> {
    blocks.iter().flat_map(|block| kronecker::row_major(block.as_ref())).collect()
}
