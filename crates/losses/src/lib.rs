//! Scalars to minimize when a student learns from a teacher, and measures of what it learned.
#![doc = include_str!("../README.md")]

mod adversarial;
mod autoencoder;
mod calibration;
mod checks;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod dirichlet;
mod dist;
mod distillation;
mod divergence;
mod dkd;
mod error;
pub mod features;
#[cfg(test)]
mod golden;
mod hyperparameters;
mod kernel;
mod likelihood;
mod ls;
mod metrics;
mod mmd;
mod normalizer;
mod regression;
mod squared_error;
mod stable;
mod supervision;
mod temperature;

/// The tensors of every signature here, in the version that this crate uses.
pub use candle_core;

pub use adversarial::{GanLoss, probability_of_teacher};
pub use autoencoder::{bernoulli_pixels, latent_divergence};
pub use calibration::{
    CalibrationBin, binned_calibration_error, calibration_bins, debiased_squared_calibration_error,
    equal_mass, expected_calibration_error,
};
pub use dirichlet::dirichlet;
pub use dist::{Dist, dist};
pub use distillation::{
    ClassReduction, Distillation, TemperatureScale, distillation, distillation_batched,
};
pub use divergence::{Divergence, divergence};
pub use dkd::{Dkd, dkd};
pub use error::{Error, Result};
pub use hyperparameters::{Gradients, Hyperparameters};
pub use likelihood::{Likelihood, two_class_logits};
pub use ls::ls;
pub use metrics::Predictions;
pub use mmd::{median_scale, mmd};
pub use normalizer::{LogNormalizer, Normalizer};
pub use regression::{PseudoTargets, Regression, Weights, pseudo_targets, regression};
pub use squared_error::{squared_error, squared_error_of_all_pairs};
pub use stable::log_softmax;
pub use supervision::Supervision;
pub use temperature::fitted_temperature;
