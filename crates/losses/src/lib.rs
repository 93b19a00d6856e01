//! Scalars to minimize, and measures of quality and calibration. Sees logits and data, never models.
//!
//! | letter | identifier | shape |
//! |---|---|---|
//! | z | `logits`: the student's, before the softmax | (m, k) |
//! | v | [`core_tensors::SoftTargets::logits`]: the teacher's | (m, k) |
//! | g | softmax(z / T): the student's answer | (m, k) |
//! | s | softmax(v / T): the teacher's answer | (m, k) |
//! | C(g) | [`Normalizer`]: what normalizes p(s \| x, g) | (m,) |
//! | λ | `teacher_weight` | |
//! | T₀ | `teacher_temperature`, `student_temperature` | |
//! | σ², σ_s² | `label_variance`, `teacher_variance` of a [`Regression`] | |
//! | ω, y'' | [`PseudoTargets`] | (m,), (m, k) |
//!
//! Every loss is finite at logits of 1e6 and leaves the teacher without a gradient: each goes through the checks of
//! `conformance`, which are public under the cargo feature of that name, for losses of your own.

mod ablations;
mod adversarial;
mod answers;
mod autoencoder;
mod calibration;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod correlation;
mod decoupled;
mod dirichlet;
mod distillation;
mod divergence;
mod error;
pub mod features;
#[cfg(test)]
mod golden;
mod hyperparameters;
mod kernel;
mod likelihood;
mod linear_student;
mod metrics;
mod mmd;
mod normalizer;
mod regression;
mod squared_error;
mod stable;
mod standardized;

pub use ablations::{Ablation, entropies, smoothed_labels};
pub use adversarial::{GanLoss, probability_of_teacher};
pub use autoencoder::{bernoulli_pixels, latent_divergence};
pub use calibration::{N_BINS, expected_calibration_error};
pub use correlation::{Correlation, correlation};
pub use decoupled::{Decoupled, decoupled};
pub use dirichlet::dirichlet;
pub use distillation::{
    ClassReduction, Distillation, TemperatureScale, distillation, distillation_batched,
};
pub use divergence::{Divergence, divergence};
pub use error::{Error, Result};
pub use hyperparameters::{Gradients, Hyperparameters};
pub use likelihood::Likelihood;
pub use linear_student::{linear_student, linear_student_stacked};
pub use metrics::Predictions;
pub use mmd::{median_scale, mmd};
pub use normalizer::{LogNormalizer, Normalizer};
pub use regression::{PseudoTargets, Regression, Weights, pseudo_targets, regression};
pub use squared_error::{squared_error, squared_error_of_all_pairs};
pub use standardized::{standardized, standardized_divergence};
