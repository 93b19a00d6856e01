//! Gaussian posteriors of networks, and the edits that carry them from a teacher to a smaller student.
//!
//! | letter | identifier | shape |
//! |---|---|---|
//! | w | a point, vec order of [`core_tensors::Layout`] | (p,) |
//! | m | [`Gaussian::mean`] | (p,) |
//! | Ψ | [`Gaussian::covariance`], a [`Covariance`], for edits a [`Structure`] | (p, p) |
//! | P = Ψ⁻¹ | [`Covariance::solve`], [`Covariance::precision_diagonal`] | (p, p) |
//! | ν, d, k | pinned values, pinned and kept positions | |
//! | U_t, n_t | block t − 1, [`models::Mlp::widths`]\[t\] | (n_t, n_{t−1} (+ 1)) |
//!
//! Layers count from 1 as in the papers, blocks and units from 0. Everything here is f64 on the CPU.
//!
//! What the algebra says:
//!
//! - Removing unit j of layer t *conditions* its outgoing column of U_{t+1} on 0 and *integrates out* its incoming row
//!   of U_t: the first makes the networks equal, after which nothing depends on the second. The printed formula of
//!   paper 001, which conditions both, is [`Removal::ConditionAll`].
//! - Removing layer t pins U_t at a permutation. It needs a square U_t and act(act(z)) = act(z).
//! - Under [`Diagonal`] conditioning is selection; theorem 1 moves kept parameters under the other structures, and
//!   theorem 2 only where layers are correlated ([`LowRank`], [`Full`]).
//! - With Ψ the inverse of a Hessian, the conditional mean is the optimal brain surgeon's update of several weights.
//! - A teacher's posterior as the student's prior on the *same* data counts these data twice.
//!
//! ```
//! use bayes_posterior::{Diagonal, Gaussian, Posterior, EditOptions, align, transform};
//! use core_tensors::kernels::Activation;
//! use models::{Architecture, Mlp};
//! # fn main() -> bayes_posterior::Result<()> {
//! let network = |widths: &[usize]| Mlp {
//!     widths: widths.to_vec(),
//!     activation: Activation::Relu,
//!     bias: true,
//! };
//! let (teacher, student) = (network(&[4, 6, 3, 2]), network(&[4, 3, 2]));
//! let n = teacher.layout().n_parameters();
//! let gaussian = Gaussian::new(teacher.layout(), vec![0.1; n], Diagonal::new(vec![0.5; n])?)?;
//!
//! // Cut layer 1 to the width of layer 2, the last units first, then drop layer 2.
//! let plan = align(&teacher, &student, &[2], |layer| Ok((0..teacher.widths[layer]).rev().collect()))?;
//! let carried = transform(Posterior::new(teacher, gaussian)?, &plan, &EditOptions::strict())?;
//! assert_eq!(carried.posterior.network, student);
//! assert_eq!(carried.posterior.kept, [vec![0, 1, 2, 3], vec![0, 1, 2], vec![0, 1]]);
//! // carried.posterior.gaussian is now a prior for the student.
//! # Ok(())
//! # }
//! ```

mod align;
mod block_diagonal;
mod checks;
mod curvature;
mod diagonal;
mod divergence;
mod edit;
mod error;
mod evidence;
pub mod format;
mod full;
mod gaussian;
mod greedy;
mod kronecker;
mod kronecker_eigen;
mod laplace;
mod low_rank;
mod matching;
mod order;
mod predictive;
mod structure;
mod variational;

pub use align::align;
pub use block_diagonal::{BlockDiagonal, Group};
pub use diagonal::Diagonal;
pub use divergence::{Divergence, Prior};
pub use edit::{
    Edit, EditOptions, Pinned, Posterior, Removal, Transformed, transform, transform_kronecker,
};
pub use error::{Error, Result};
pub use evidence::{PathStep, follow_path, log_evidence_change, removal_path};
pub use format::{AnyPosterior, Provenance, Task};
pub use full::Full;
pub use gaussian::Gaussian;
pub use kronecker::{Factors, Kronecker};
pub use kronecker_eigen::{Damping, KroneckerEigen, LayerCurvature, Spectrum};
pub use laplace::{Curvature, Laplace, laplace};
pub use low_rank::{Form, LowRank};
pub use matching::UnitMatching;
pub use order::{PruningCriterion, Subject, UnitScore, rank};
pub use predictive::{Predictive, linearized_predictive, monte_carlo};
pub use structure::{Conditioned, Covariance, Pin, Structure};
pub use variational::{DivergenceFrom, Elbo, Estimator, Inference, VariationalPrior, to_gaussian};
