//! Posteriors as safetensors bytes.
//!
//! The metadata key `distill` holds a JSON object:
//!
//! | key | value |
//! |---|---|
//! | `format` | 1; 2 where inputs are standardized, which older versions would overlook |
//! | `widths` | n_0, …, n_T |
//! | `bias` | whether each layer has one |
//! | `activation` | `relu`, `leaky_relu` (then `slope` beside it), `tanh`, `sigmoid`, `silu`, `gelu` (the exact one) or `identity` |
//! | `structure` | `diagonal`, `block`, `kronecker`, `kronecker_eigen`, `low_rank` or `full` |
//! | `blocks` | of `block`: `layer` or `unit` |
//! | `kept` | for every width the ids of its units in the network that was edited first, each once; left out, 0, 1, … |
//! | `parent` | SHA-256 of the file this one was made from, in hexadecimal digits, or null |
//! | `inexact` | whether a condition of a theorem was waived |
//! | `task` | `classification` or `regression`, or null |
//! | `noise_variances` | σ² of each output of a regression, where they differ; `noise_variance` is then their mean |
//! | `noise_variance`, `prior_precision`, `n_examples` | what evidence is computed from, or null |
//! | `damping` | of `kronecker` made from `kronecker_eigen`: `"prior"`, or `{"numerical": {"epsilon": ε}}` where the mean was carried by G ⊗ (A + ε) |
//! | `log_likelihood` | Σ log p(y \| x, m) over those examples at the mean m of this file, or null: an edit moves m |
//!
//! Widths are 2 to 4097 numbers, each at least 1. What is unknown to this version is ignored.
//!
//! Tensors, all f64 and finite, of exactly these shapes: `mean` (p,) in vec order, and
//!
//! | structure | tensors |
//! |---|---|
//! | `diagonal` | `variance` (p,) |
//! | `block` | `block.i` (·, ·), one a layer or a unit, in vec order |
//! | `kronecker` | `rows.t` (n_t, n_t) and `columns.t` (n_{t−1} (+ 1) square), t from 1; Ψ_t = rows ⊗ columns |
//! | `kronecker_eigen` | `rows_vectors.t` (n_t, n_t), `rows_values.t` (n_t,), `columns_vectors.t`, `columns_values.t` and `prior_precision` (1,): eigenvectors (columns) and eigenvalues of G_t and A_t, and δ; Ψ_t = (G ⊗ A + δI)⁻¹ |
//! | `low_rank` | `factor` (p, r) and `variance` (p,): Ψ = F Fᵀ + diag v; or `precision_factor` and `precision_diagonal` for Ψ⁻¹ |
//! | `full` | `covariance` (p, p) |
//!
//! In format 2 also `input_mean` and `input_std`, (n_0,) each: the network takes (x − mean)/std, entry by entry.
//!
//! Reading refuses, before it takes memory for it, a size that the file does not bear out, and a number that is not
//! finite by the name of its tensor and its place. Writing refuses the latter before the first byte, so that what is
//! written can be read.

mod read;
mod write;

use std::io::Write;

use core_tensors::{Dataset, Rng};
use losses::Likelihood;
use models::Mlp;
use models::graph::change::Standardization;
use serde::{Deserialize, Serialize};

use crate::block_diagonal::{BlockDiagonal, Group};
use crate::checks;
use crate::criterion::{PruningCriterion, RankInput, UnitScore, rank};
use crate::diagonal::Diagonal;
use crate::edit::{Edit, EditOptions, FixedWeights, Posterior, transform, transform_kronecker};
use crate::error::{Error, Result, shown};
use crate::full::Full;
use crate::kronecker::Kronecker;
use crate::kronecker_eigen::{Damping, KroneckerEigen};
use crate::low_rank::{LowRank, LowRankForm};
use crate::structure::Covariance;

/// Key of the metadata.
pub const METADATA: &str = "distill";
/// Version of the format that this crate writes where inputs are taken as they are.
pub const VERSION: u32 = 1;
/// Version where inputs are standardized first; no other is read.
pub const VERSION_STANDARDIZED: u32 = 2;
/// Names of the tensors of a standardization.
const INPUT: [&str; 2] = ["input_mean", "input_std"];

/// Bytes of a header (names, shapes and metadata) beside few numbers. To parse one takes about 14 times its size.
const SMALL_HEADER: usize = 1 << 22;
/// Bytes of numbers that allow one more byte of header.
const NUMBERS_TO_HEADER: usize = 8;

/// Refuses a header that takes more memory to parse than the numbers do.
fn check_header(found: usize, n_bytes: usize) -> Result<()> {
    let most = SMALL_HEADER + n_bytes / NUMBERS_TO_HEADER;
    if found <= most {
        return Ok(());
    }
    Err(Error::Header { most, n_bytes, found })
}

/// A posterior of any structure.
///
/// ```
/// use bayes_posterior::{AnyPosterior, Diagonal, Gaussian, Posterior, Provenance};
/// use core_tensors::kernels::Activation;
/// use models::{Architecture, Mlp};
/// # fn main() -> bayes_posterior::Result<()> {
/// let network = Mlp { widths: vec![1, 2, 1], activation: Activation::Relu, bias: false };
/// let gaussian = Gaussian::new(network.layout(), vec![1.0, 0.5, 3.0, 0.2], Diagonal::new(vec![0.1; 4])?)?;
/// let any = AnyPosterior::Diagonal(Posterior::new(network, gaussian)?);
/// let bytes = any.to_bytes(&Provenance { n_examples: Some(100), ..Provenance::default() })?;
/// let (read, provenance) = AnyPosterior::from_bytes(&bytes)?;
/// assert_eq!((read.structure(), provenance.n_examples), ("diagonal", Some(100)));
/// assert_eq!(read.mean(), [1.0, 0.5, 3.0, 0.2]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub enum AnyPosterior {
    /// Independent parameters.
    Diagonal(Posterior<Diagonal>),
    /// Independent layers or units.
    BlockDiagonal(Posterior<BlockDiagonal>),
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
            $crate::AnyPosterior::BlockDiagonal($posterior) => $body,
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
            $crate::AnyPosterior::BlockDiagonal($posterior) => $body,
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
pub struct Provenance {
    /// What the outputs are.
    #[serde(default)]
    pub task: Option<Task>,
    /// σ² of a regression's noise.
    #[serde(default)]
    pub noise_variance: Option<f64>,
    /// σ² of each output, (k,), where they differ; `noise_variance` is then their mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_variances: Option<Vec<f64>>,
    /// (x − mean)/std before the network, over its n_0 inputs; tensors in a file.
    #[serde(skip)]
    pub standardization: Option<Standardization>,
    /// Precision of the isotropic prior N(0, 1/a) of the network that was edited first.
    #[serde(default)]
    pub prior_precision: Option<f64>,
    /// N: examples behind the posterior.
    #[serde(default)]
    #[serde(alias = "n_objects")]
    pub n_examples: Option<usize>,
    /// Σᵢ log p(yᵢ | xᵢ, m) over those examples, m the mean beside which this stands: none after an edit, which moves it
    /// ([`Provenance::of_student`]).
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
    /// Logits before the softmax.
    Classification,
    /// Means of a normal distribution.
    Regression,
}

/// What the metadata say beside the [`Provenance`].
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
}

impl Provenance {
    /// What is said of a smaller network that edits made of this one: `parent` is the SHA-256 of this one's file in
    /// hexadecimal digits, `damping` what carried the mean, or none where nothing new did.
    ///
    /// The log-likelihood is dropped: it belongs to the mean that the edits moved. Task, noise, prior and number of
    /// examples stay.
    pub fn of_student(self, parent: String, damping: Option<Damping>) -> Self {
        Self {
            log_likelihood: None,
            damping: damping.or(self.damping),
            parent: Some(parent),
            ..self
        }
    }

    /// Refuses numbers out of range, and a parent that is no hash.
    fn check(&self) -> Result<()> {
        let positive =
            [("noise_variance", self.noise_variance), ("prior_precision", self.prior_precision)];
        for (name, value) in positive {
            value.map_or(Ok(()), |value| checks::positive(&format!("`{name}`"), value))?;
        }
        let variances = self.noise_variances.as_deref().unwrap_or_default();
        let check = |&variance: &f64| checks::positive("`noise_variances`", variance);
        variances.iter().try_for_each(check)?;
        self.log_likelihood.map_or(Ok(()), |value| checks::finite("`log_likelihood`", value))?;
        self.damping.map_or(Ok(()), Damping::check)?;
        let refuse = |field, expected, found| Err(Error::Provenance { field, expected, found });
        if self.n_examples == Some(0) {
            return refuse("n_examples", "at least 1, or null", "0".into());
        }
        match &self.parent {
            Some(parent) if !is_hash(parent) => {
                let found = format!("`{}`", shown(parent));
                refuse("parent", "at most 64 hexadecimal digits, or null", found)
            }
            _ => Ok(()),
        }
    }
}

/// Refuses a standardization of other inputs than the network has, or by numbers that are none.
fn check_inputs(standardization: &Standardization, n_inputs: usize) -> Result<()> {
    let Standardization { mean, std, .. } = standardization;
    checks::length("means of inputs", n_inputs, mean.len())?;
    checks::length("deviations of inputs", n_inputs, std.len())?;
    let mut numbers = mean.iter().enumerate();
    numbers.try_for_each(|(i, &mean)| checks::finite(&format!("mean of input {i}"), mean))?;
    let mut numbers = std.iter().enumerate();
    numbers.try_for_each(|(i, &std)| checks::positive(&format!("deviation of input {i}"), std))
}

/// Refuses another number of variances than outputs.
fn check_outputs(noise_variances: Option<&[f64]>, n_outputs: usize) -> Result<()> {
    let found = noise_variances.map_or(n_outputs, <[f64]>::len);
    checks::length("noise variances", n_outputs, found)
}

fn is_hash(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn names_of(form: LowRankForm) -> (&'static str, &'static str) {
    match form {
        LowRankForm::Covariance => ("factor", "variance"),
        LowRankForm::Precision => ("precision_factor", "precision_diagonal"),
    }
}

impl AnyPosterior {
    /// The network whose parameters these are.
    pub fn network(&self) -> &Mlp {
        with_posterior!(self, p => p.network())
    }

    /// m, (p,).
    pub fn mean(&self) -> &[f64] {
        with_posterior!(self, p => p.gaussian().mean())
    }

    /// Ψᵢᵢ, (p,).
    pub fn diagonal(&self) -> Result<Vec<f64>> {
        with_posterior!(self, p => p.gaussian().covariance().diagonal())
    }

    /// For every width n_0, …, n_T the ids of its units in the network that was edited first.
    pub fn kept(&self) -> &[Vec<usize>] {
        with_posterior!(self, p => p.kept())
    }

    /// Whether an edit changed the function of the network by more than rounding.
    pub fn is_inexact(&self) -> bool {
        with_posterior!(self, p => p.is_inexact())
    }

    /// The units of a hidden layer (from 1), the one to go first in front: [`rank`] by what this posterior knows.
    pub fn rank(
        &self,
        criterion: PruningCriterion,
        layer: usize,
        data: Option<(&Dataset, &Likelihood)>,
        rng: &mut Rng,
    ) -> Result<Vec<UnitScore>> {
        with_posterior!(self, p => rank(criterion, &RankInput::of(p, data), layer, rng))
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
        options: &EditOptions,
        damping: Damping,
    ) -> Result<(Self, Vec<FixedWeights>)> {
        macro_rules! transformed {
            ($structure:ident, $result:expr) => {{
                let left = $result?;
                (Self::$structure(left.posterior), left.fixed)
            }};
        }
        Ok(match self {
            Self::Diagonal(p) => transformed!(Diagonal, transform(p, plan, options)),
            Self::BlockDiagonal(p) => transformed!(BlockDiagonal, transform(p, plan, options)),
            Self::Kronecker(p) => transformed!(Kronecker, transform(p, plan, options)),
            Self::KroneckerEigen(p) => {
                transformed!(Kronecker, transform_kronecker(&p, plan, options, damping))
            }
            Self::LowRank(p) => transformed!(LowRank, transform(p, plan, options)),
            Self::Full(p) => transformed!(Full, transform(p, plan, options)),
        })
    }

    /// The posterior as a safetensors file, in the format that [`crate::format`] documents.
    pub fn to_bytes(&self, provenance: &Provenance) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.write(provenance, &mut bytes)?;
        Ok(bytes)
    }

    /// The bytes of [`AnyPosterior::to_bytes`] without a copy of the numbers.
    ///
    /// Before the first byte it refuses a number that is not finite, by tensor and place, and an origin or a network that
    /// could not be read back.
    pub fn write(&self, provenance: &Provenance, to: &mut dyn Write) -> Result<()> {
        let blocks = match self {
            Self::BlockDiagonal(posterior) => Some(posterior.gaussian().covariance().group()),
            _ => None,
        };
        with_posterior!(self, p => write::write(p, blocks, provenance, to))
    }

    /// Reads what [`AnyPosterior::to_bytes`], or another program by the same format, wrote.
    ///
    /// Memory beside `bytes` stays near their size, whatever sizes they declare.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, Provenance)> {
        read::read(bytes)
    }
}
