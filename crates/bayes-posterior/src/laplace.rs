//! The Laplace approximation of any trained perceptron: a Gaussian at its weights, with the curvature of its loss.

use core_tensors::linalg::{Cholesky, product};
use core_tensors::{Dataset, Params};
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, Par, Side};
use losses::Likelihood;
use models::{Architecture, Mlp};

use crate::checks;
use crate::curvature::{Chunk, Directions, Pass};
use crate::diagonal::Diagonal;
use crate::edit::Posterior;
use crate::error::{Error, Result};
use crate::format::AnyPosterior;
use crate::full::Full;
use crate::gaussian::Gaussian;
use crate::kronecker_eigen::{KroneckerEigen, LayerCurvature, Spectrum};
use crate::low_rank::{Form, LowRank};
use crate::structure::Covariance;

/// How much of the Gauss–Newton matrix H = Σᵢ Jᵢᵀ Λᵢ Jᵢ is kept; a is the prior precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curvature {
    /// Its diagonal: Ψ = (diag H + a I)⁻¹.
    Diagonal,
    /// For each layer G ⊗ A with G = Σᵢ g gᵀ and A = N⁻¹ Σᵢ z zᵀ over N examples: Ψ_t = (G ⊗ A + aI)⁻¹, kept as
    /// eigenvectors and eigenvalues ([`crate::KroneckerEigen`]), so that nothing is factored but the curvature.
    ///
    /// Source: Martens & Grosse (2015), section 3; Ritter et al. (2018), but for their factored damping.
    Kronecker,
    /// Its leading directions F and the diagonal of the rest: Ψ⁻¹ = F Fᵀ + diag(H − F Fᵀ) + a I.
    LowRank {
        /// r ≥ 1: directions.
        rank: usize,
    },
    /// All of it: Ψ = (H + a I)⁻¹; p² numbers and p³ operations.
    Full,
}

/// N(w, Ψ) and what it was computed from.
#[derive(Clone, Debug)]
pub struct Laplace {
    /// The Gaussian over the network.
    pub posterior: AnyPosterior,
    /// Σᵢ log p(yᵢ | xᵢ, w).
    pub log_likelihood: f64,
    /// log p(D) ≈ Σ log p(y | x, w) + log N(w; 0, I/a) + ½ (p log 2π + log |Ψ|)
    pub log_evidence: f64,
}

/// The Laplace approximation at trained weights under the prior N(0, I/a).
///
/// The weights need not be the exact maximum: the approximation takes the curvature there and no slope. A likelihood,
/// evidence or covariance that overflows f64 is an error.
///
/// Source: MacKay (1992); Daxberger et al. (2021).
pub fn laplace(
    network: &Mlp,
    weights: &Params,
    data: &Dataset,
    likelihood: &Likelihood,
    prior_precision: f64,
    curvature: Curvature,
) -> Result<Laplace> {
    checks::positive("prior precision", prior_precision)?;
    if let Likelihood::Normal { variance } = likelihood {
        checks::positive("noise variance", *variance)?;
    }
    checks::network(network)?;
    checks::some_examples(data.n_examples())?;
    let w = weights.to_vec()?;
    checks::all_finite("weight", &w)?;
    let run = Run { network, pass: Pass::of(network, weights)?, data, likelihood: *likelihood };
    let layout = network.layout();
    macro_rules! posterior {
        ($covariance:expr) => {
            Posterior::new(network.clone(), Gaussian::new(layout, w.clone(), $covariance)?)?
        };
    }
    let mut known_log_det = None;
    let (posterior, log_likelihood) = match curvature {
        Curvature::Diagonal => {
            let (h, fit) = run.diagonal()?;
            let variance = h.iter().map(|h| 1.0 / (h + prior_precision)).collect();
            (AnyPosterior::Diagonal(posterior!(Diagonal::new(variance)?)), fit)
        }
        Curvature::Kronecker => {
            let (layers, fit) = run.kronecker()?;
            let covariance = KroneckerEigen::new(layers, prior_precision)?;
            (AnyPosterior::KroneckerEigen(posterior!(covariance)), fit)
        }
        Curvature::LowRank { rank } => {
            let (low_rank, fit) = run.low_rank(rank, prior_precision)?;
            (AnyPosterior::LowRank(posterior!(low_rank)), fit)
        }
        Curvature::Full => {
            let (mut h, fit) = run.full()?;
            (0..w.len()).for_each(|i| h[(i, i)] += prior_precision);
            let precision = Cholesky::in_place(h)?;
            // Ψ itself then needs no factor, as costly and as large as itself.
            known_log_det = Some(-precision.log_det());
            let covariance = Full::trusted(precision.inverse());
            checks::of_result("of the Laplace posterior", covariance.check_numbers())?;
            (AnyPosterior::Full(posterior!(covariance)), fit)
        }
    };
    let log_det = match known_log_det {
        Some(log_det) => log_det,
        None => crate::with_posterior!(&posterior, p => p.gaussian.covariance().log_det()?),
    };
    let n = w.len() as f64;
    let square: f64 = w.iter().map(|w| w * w).sum();
    // log N(w; 0, I/a) + ½ p log 2π: the powers of 2π cancel.
    let log_prior = 0.5 * (n * prior_precision.ln() - prior_precision * square);
    let log_evidence = log_likelihood + log_prior + 0.5 * log_det;
    checks::computed("the log evidence", log_evidence)?;
    Ok(Laplace { posterior, log_likelihood, log_evidence })
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
            sum += chunk.log_likelihood(self.data.y(), self.likelihood)?;
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

    fn full(&self) -> Result<(Mat<f64>, f64)> {
        let p = self.network.layout().n_parameters();
        let mut h = Mat::zeros(p, p);
        let fit = self.visit(|chunk| {
            let rows = jacobian(chunk, p);
            triangular::matmul(
                h.as_mut(),
                BlockStructure::TriangularLower,
                Accum::Add,
                rows.as_ref(),
                BlockStructure::Rectangular,
                rows.transpose(),
                BlockStructure::Rectangular,
                1.0,
                Par::rayon(0),
            );
            Ok(())
        })?;
        // The factorization reads the lower triangle alone.
        Ok((h, fit))
    }

    /// Keeps the leading directions of all rows seen so far, chunk by chunk.
    fn low_rank(&self, rank: usize, prior_precision: f64) -> Result<(LowRank, f64)> {
        let p = self.network.layout().n_parameters();
        if rank == 0 || rank > p {
            let wanted = format!("1 to the {p} parameters");
            return Err(Error::mismatch("rank", wanted, rank));
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
        Ok((LowRank::new(Form::Precision, factor, rest)?, fit))
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
    let eigen = gram.self_adjoint_eigen(Side::Lower).map_err(|e| {
        Error::mismatch("eigenvectors of a Gram matrix", "convergence", format!("{e:?}"))
    })?;
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
    let of = |b: &Mat<f64>| -> Vec<f64> {
        (0..b.nrows()).flat_map(|i| (0..b.ncols()).map(move |j| b[(i, j)])).collect()
    };
    blocks.iter().flat_map(of).collect()
}
