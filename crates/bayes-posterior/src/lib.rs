//! Gaussian posteriors of networks, and the edits that carry them from a teacher to a smaller student.
#![doc = include_str!("../README.md")]

mod align;
mod block_diagonal;
mod checks;
mod criterion;
mod curvature;
mod diagonal;
mod divergence;
mod edit;
mod empirical_bayes;
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
mod mean_field;
mod predictive;
mod structure;
pub mod surgery;
mod variational;

pub use align::align;
pub use block_diagonal::{BlockDiagonal, Group};
pub use candle_core;
pub use criterion::{PruningCriterion, RankInput, UnitScore, rank};
pub use diagonal::Diagonal;
pub use divergence::{Divergence, Prior};
pub use edit::{
    Edit, EditOptions, FixedWeights, Posterior, Removal, Transformed, transform,
    transform_kronecker,
};
pub use empirical_bayes::{EmpiricalBayesAdam, EmpiricalBayesAdamConfig, GaussianPrior};
pub use error::{Error, Result};
pub use evidence::{PathStep, follow_path, log_evidence_change, removal_path};
pub use faer;
pub use format::{AnyPosterior, Provenance, Task};
pub use full::Full;
pub use gaussian::Gaussian;
pub use kronecker::{Factors, Kronecker};
pub use kronecker_eigen::{Damping, KroneckerEigen, LayerCurvature, Spectrum};
pub use laplace::{Curvature, Laplace, LaplacePosterior};
pub use low_rank::{LowRank, LowRankForm};
pub use matching::UnitMatching;
pub use mean_field::MeanField;
pub use predictive::{Predictive, linearized_predictive, monte_carlo};
pub use structure::{Condition, Conditioned, Covariance, GaussianDensity, Outgoing, Structure};
pub use variational::{DivergenceFrom, Elbo, Estimator, Inference, VariationalPrior};
