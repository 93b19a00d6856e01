//! Posteriors as safetensors bytes.
//!
//! The metadata key `distill` holds a JSON object:
//!
//! | key | value |
//! |---|---|
//! | `format` | 1 |
//! | `widths` | n_0, …, n_T |
//! | `bias` | whether each layer has one |
//! | `activation` | `relu`, `leaky_relu` (then `slope` beside it) or `identity` |
//! | `structure` | `diagonal`, `block`, `kronecker`, `kronecker_eigen`, `low_rank` or `full` |
//! | `blocks` | of `block`: `layer` or `unit` |
//! | `kept` | for every width the ids of its units in the network that was edited first |
//! | `parent` | SHA-256 of the file this one was made from, or null |
//! | `inexact` | whether a condition of a theorem was waived |
//! | `task` | `classification` or `regression`, or null |
//! | `noise_variance`, `prior_precision`, `n_objects` | what evidence is computed from, or null |
//! | `damping` | of `kronecker` made from `kronecker_eigen`: `"prior"`, or `{"numerical": {"epsilon": ε}}` where the mean was carried by G ⊗ (A + ε) |
//! | `log_likelihood` | Σ log p(y \| x, m) over those objects, or null |
//!
//! Tensors, all f64: `mean` (p,) in vec order, and
//!
//! | structure | tensors |
//! |---|---|
//! | `diagonal` | `variance` (p,) |
//! | `block` | `block.i` (·, ·), one a layer or a unit, in vec order |
//! | `kronecker` | `rows.t` (n_t, n_t) and `columns.t` (n_{t−1} (+ 1) square), t from 1; Ψ_t = rows ⊗ columns |
//! | `kronecker_eigen` | `rows_vectors.t` (n_t, n_t), `rows_values.t` (n_t,), `columns_vectors.t`, `columns_values.t` and `prior_precision` (1,): eigenvectors (columns) and eigenvalues of G_t and A_t, and δ; Ψ_t = (G ⊗ A + δI)⁻¹ |
//! | `low_rank` | `factor` (p, r) and `variance` (p,): Ψ = F Fᵀ + diag v; or `precision_factor` and `precision_diagonal` for Ψ⁻¹ |
//! | `full` | `covariance` (p, p) |

mod write;

use std::io::Write;

use core_tensors::kernels::Activation;
use faer::Mat;
use models::{Architecture, Mlp};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::block_diagonal::{BlockDiagonal, Group};
use crate::diagonal::Diagonal;
use crate::edit::{Edit, Pinned, Posterior, Rules, transform, transform_kronecker};
use crate::error::{Error, Result};
use crate::full::Full;
use crate::gaussian::Gaussian;
use crate::kronecker::{Factors, Kronecker};
use crate::kronecker_eigen::{Damping, KroneckerEigen, LayerCurvature, Spectrum};
use crate::low_rank::{Form, LowRank};
use crate::structure::Covariance;

/// Key of the metadata.
pub const METADATA: &str = "distill";
/// Version of the format that this crate writes, and the only one it reads.
pub const VERSION: u32 = 1;

/// Parameters whose count times a number's size is still a number; memory ends long before.
const MOST_PARAMETERS: usize = 1 << 48;

/// A posterior of any structure.
#[derive(Clone, Debug)]
pub enum AnyPosterior {
    /// Independent parameters.
    Diagonal(Posterior<Diagonal>),
    /// Independent layers or units.
    Block(Posterior<BlockDiagonal>),
    /// Matrix-normal layers.
    Kronecker(Posterior<Kronecker>),
    /// Layers under Kronecker curvature, exact.
    KroneckerEigen(Posterior<KroneckerEigen>),
    /// A diagonal and a few directions.
    LowRank(Posterior<LowRank>),
    /// Anything.
    Full(Posterior<Full>),
}

/// Evaluates an expression with the posterior inside an [`AnyPosterior`], whatever its structure.
#[macro_export]
macro_rules! with_posterior {
    ($any:expr, $posterior:ident => $body:expr) => {
        match $any {
            $crate::AnyPosterior::Diagonal($posterior) => $body,
            $crate::AnyPosterior::Block($posterior) => $body,
            $crate::AnyPosterior::Kronecker($posterior) => $body,
            $crate::AnyPosterior::KroneckerEigen($posterior) => $body,
            $crate::AnyPosterior::LowRank($posterior) => $body,
            $crate::AnyPosterior::Full($posterior) => $body,
        }
    };
}

/// Evaluates an expression with a posterior of a [`Structure`](crate::Structure), whose edits keep it: one of exact
/// Kronecker curvature becomes the pair of factors that a [`Damping`](crate::Damping) names.
#[macro_export]
macro_rules! with_structure {
    ($any:expr, $damping:expr, $posterior:ident => $body:expr) => {
        match $any {
            $crate::AnyPosterior::Diagonal($posterior) => $body,
            $crate::AnyPosterior::Block($posterior) => $body,
            $crate::AnyPosterior::Kronecker($posterior) => $body,
            $crate::AnyPosterior::KroneckerEigen(exact) => {
                let $posterior = &exact.to_kronecker($damping)?;
                $body
            }
            $crate::AnyPosterior::LowRank($posterior) => $body,
            $crate::AnyPosterior::Full($posterior) => $body,
        }
    };
}

/// What the posterior was computed from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// What the outputs are.
    #[serde(default)]
    pub task: Option<Task>,
    /// σ² of a regression's noise.
    #[serde(default)]
    pub noise_variance: Option<f64>,
    /// Precision of the isotropic prior N(0, 1/a) of the network that was edited first.
    #[serde(default)]
    pub prior_precision: Option<f64>,
    /// N: objects behind the posterior.
    #[serde(default)]
    pub n_objects: Option<usize>,
    /// Σᵢ log p(yᵢ | xᵢ, m) over those objects, at the mean of the network that was edited first.
    #[serde(default)]
    pub log_likelihood: Option<f64>,
    /// What carried the mean where exact Kronecker curvature was edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damping: Option<Damping>,
    /// SHA-256 of the file this one was made from.
    #[serde(default)]
    pub parent: Option<String>,
}

/// What the outputs of a network are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Scores before the softmax.
    Classification,
    /// Means of a normal distribution.
    Regression,
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    widths: Vec<usize>,
    bias: bool,
    activation: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slope: Option<f64>,
    structure: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blocks: Option<Group>,
    #[serde(default)]
    kept: Option<Vec<Vec<usize>>>,
    #[serde(default)]
    inexact: bool,
    #[serde(flatten)]
    origin: Origin,
}

fn names_of(form: Form) -> (&'static str, &'static str) {
    match form {
        Form::Covariance => ("factor", "variance"),
        Form::Precision => ("precision_factor", "precision_diagonal"),
    }
}

impl AnyPosterior {
    /// The network whose parameters these are.
    pub fn network(&self) -> &Mlp {
        with_posterior!(self, p => &p.network)
    }

    /// Name of the structure, as in the file.
    pub fn structure(&self) -> &'static str {
        fn name<S: Covariance>(_: &Posterior<S>) -> &'static str {
            S::NAME
        }
        with_posterior!(self, p => name(p))
    }

    /// Applies a plan of edits and keeps the structure, but for exact Kronecker curvature, which becomes a pair of factors
    /// ([`transform_kronecker`]); `damping` is of no use to the others.
    pub fn transform(
        self,
        plan: &[Edit],
        rules: &Rules,
        damping: Damping,
    ) -> Result<(Self, Vec<Pinned>)> {
        macro_rules! transformed {
            ($structure:ident, $result:expr) => {{
                let left = $result?;
                (Self::$structure(left.posterior), left.pins)
            }};
        }
        Ok(match self {
            Self::Diagonal(p) => transformed!(Diagonal, transform(p, plan, rules)),
            Self::Block(p) => transformed!(Block, transform(p, plan, rules)),
            Self::Kronecker(p) => transformed!(Kronecker, transform(p, plan, rules)),
            Self::KroneckerEigen(p) => {
                transformed!(Kronecker, transform_kronecker(&p, plan, rules, damping))
            }
            Self::LowRank(p) => transformed!(LowRank, transform(p, plan, rules)),
            Self::Full(p) => transformed!(Full, transform(p, plan, rules)),
        })
    }

    /// The posterior as a safetensors file, in the format that [`crate::format`] documents.
    pub fn to_bytes(&self, origin: &Origin) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.write(origin, &mut bytes)?;
        Ok(bytes)
    }

    /// The bytes of [`AnyPosterior::to_bytes`] without a copy of the numbers.
    pub fn write(&self, origin: &Origin, to: &mut dyn Write) -> Result<()> {
        let blocks = match self {
            Self::Block(posterior) => Some(posterior.gaussian.covariance().group()),
            _ => None,
        };
        with_posterior!(self, p => write::write(p, blocks, origin, to))
    }

    /// Reads what [`AnyPosterior::to_bytes`], or another program by the same format, wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, Origin)> {
        let (_, metadata) = SafeTensors::read_metadata(bytes)?;
        let text = metadata.metadata().as_ref().and_then(|m| m.get(METADATA)).ok_or_else(|| {
            Error::Format(format!(
                "the metadata lack the key `{METADATA}`; `distill posterior` makes one from a model"
            ))
        })?;
        let header: Header = serde_json::from_str(text)
            .map_err(|e| Error::Format(format!("the metadata `{METADATA}`: {e}")))?;
        if header.format != VERSION {
            let found = header.format;
            return Err(Error::Format(format!("format {found}, this version reads {VERSION}")));
        }
        let network = header.network()?;
        let file = File(SafeTensors::deserialize(bytes)?);
        let kept = header
            .kept
            .clone()
            .unwrap_or_else(|| network.widths.iter().map(|&n| (0..n).collect()).collect());
        let mean = file.vector("mean")?;
        let layout = network.layout();
        macro_rules! posterior {
            ($covariance:expr) => {
                Posterior::with_history(
                    network,
                    Gaussian::new(layout, mean, $covariance)?,
                    kept,
                    header.inexact,
                )?
            };
        }
        let any = match header.structure.as_str() {
            "diagonal" => Self::Diagonal(posterior!(Diagonal::new(file.vector("variance")?)?)),
            "block" => Self::Block(posterior!(file.blocks(header.blocks)?)),
            "kronecker" => {
                let layers = (1..=layout.blocks.len()).map(|t| file.factors(t));
                Self::Kronecker(posterior!(Kronecker::new(layers.collect::<Result<_>>()?)))
            }
            "kronecker_eigen" => {
                let layers = (1..=layout.blocks.len()).map(|t| file.curvature(t));
                let precision = file.vector("prior_precision")?;
                let &[precision] = &precision[..] else {
                    let found = precision.len();
                    return Err(Error::mismatch("numbers of `prior_precision`", 1, found));
                };
                let covariance = KroneckerEigen::new(layers.collect::<Result<_>>()?, precision)?;
                Self::KroneckerEigen(posterior!(covariance))
            }
            "low_rank" => {
                let is_covariance = file.0.tensor("factor").is_ok();
                let form = if is_covariance { Form::Covariance } else { Form::Precision };
                let (factor, diagonal) = names_of(form);
                Self::LowRank(posterior!(LowRank::new(
                    form,
                    file.matrix(factor)?,
                    file.vector(diagonal)?
                )?))
            }
            "full" => Self::Full(posterior!(Full::new(file.symmetric("covariance")?)?)),
            other => {
                return Err(Error::Format(format!(
                    "structure `{other}`, wanted diagonal, block, kronecker, kronecker_eigen, low_rank or full"
                )));
            }
        };
        Ok((any, header.origin))
    }
}

impl Header {
    fn network(&self) -> Result<Mlp> {
        let activation = match (self.activation.as_str(), self.slope) {
            ("relu", _) => Activation::Relu,
            ("identity", _) => Activation::Identity,
            ("leaky_relu", Some(slope)) if slope > 0.0 && slope < 1.0 => {
                Activation::LeakyRelu { slope }
            }
            ("leaky_relu", slope) => {
                return Err(Error::Format(format!(
                    "leaky_relu with slope {slope:?}, wanted one in (0, 1)"
                )));
            }
            (other, _) => {
                return Err(Error::Format(format!(
                    "activation `{other}`, wanted relu, leaky_relu or identity"
                )));
            }
        };
        if self.widths.len() < 2 || self.widths.contains(&0) {
            let widths = &self.widths;
            return Err(Error::Format(format!(
                "widths {widths:?}, wanted two or more, each at least 1"
            )));
        }
        let bias = usize::from(self.bias);
        let block = |n: &[usize]| n[0].checked_add(bias)?.checked_mul(n[1]);
        let total = self.widths.windows(2).try_fold(0_usize, |sum, n| sum.checked_add(block(n)?));
        if total.is_none_or(|p| p > MOST_PARAMETERS) {
            let widths = &self.widths;
            return Err(Error::Format(format!(
                "widths {widths:?}, no file holds so many parameters"
            )));
        }
        Ok(Mlp { widths: self.widths.clone(), activation, bias: self.bias })
    }
}

/// A file to take tensors out of.
struct File<'a>(SafeTensors<'a>);

impl File<'_> {
    fn numbers(&self, name: &str, rank: usize) -> Result<(Vec<usize>, &[u8])> {
        let tensor = self
            .0
            .tensor(name)
            .map_err(|_| Error::Format(format!("the tensor `{name}` is missing")))?;
        if tensor.dtype() != Dtype::F64 {
            let found = tensor.dtype();
            return Err(Error::Format(format!("tensor `{name}` holds {found:?}, wanted F64")));
        }
        if tensor.shape().len() != rank {
            let found = tensor.shape();
            return Err(Error::Format(format!(
                "tensor `{name}` has shape {found:?}, wanted {rank} axes"
            )));
        }
        Ok((tensor.shape().to_vec(), tensor.data()))
    }

    fn vector(&self, name: &str) -> Result<Vec<f64>> {
        Ok(f64s(self.numbers(name, 1)?.1).collect())
    }

    fn matrix(&self, name: &str) -> Result<Mat<f64>> {
        let (shape, bytes) = self.numbers(name, 2)?;
        let (rows, cols) = (shape[0], shape[1]);
        let mut matrix = Mat::zeros(rows, cols);
        for (k, value) in f64s(bytes).enumerate() {
            matrix[(k / cols, k % cols)] = value;
        }
        Ok(matrix)
    }

    /// A matrix whose rows may be read as its columns; one that is not symmetric is refused later as being so.
    fn symmetric(&self, name: &str) -> Result<Mat<f64>> {
        let (shape, bytes) = self.numbers(name, 2)?;
        let n = shape[0];
        if shape[1] != n {
            return Err(Error::Format(format!(
                "tensor `{name}` has shape {shape:?}, wanted a square"
            )));
        }
        let mut matrix = Mat::zeros(n, n);
        for (column, row) in matrix.col_iter_mut().zip(bytes.chunks_exact(8 * n.max(1))) {
            column.iter_mut().zip(f64s(row)).for_each(|(to, from)| *to = from);
        }
        Ok(matrix)
    }

    fn blocks(&self, group: Option<Group>) -> Result<BlockDiagonal> {
        let group = group.ok_or_else(|| {
            Error::Format("structure `block` wants `blocks`: \"layer\" or \"unit\"".into())
        })?;
        let n = self.0.names().iter().filter(|name| name.starts_with("block.")).count();
        let blocks =
            (0..n).map(|i| self.symmetric(&format!("block.{i}"))).collect::<Result<_>>()?;
        BlockDiagonal::new(group, blocks)
    }

    fn curvature(&self, t: usize) -> Result<LayerCurvature> {
        let spectrum = |of: &str| {
            let vectors = self.matrix(&format!("{of}_vectors.{t}"))?;
            Spectrum::new(vectors, self.vector(&format!("{of}_values.{t}"))?)
        };
        Ok(LayerCurvature { rows: spectrum("rows")?, columns: spectrum("columns")? })
    }

    fn factors(&self, t: usize) -> Result<Factors> {
        let rows = self.symmetric(&format!("rows.{t}"))?;
        Factors::new(rows, self.symmetric(&format!("columns.{t}"))?)
    }
}

fn f64s(bytes: &[u8]) -> impl Iterator<Item = f64> {
    bytes
        .chunks_exact(8)
        .map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
}
