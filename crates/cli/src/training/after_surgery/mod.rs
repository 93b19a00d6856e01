//! Training of the small network that surgery left: short distillation, the same shape from scratch, a Bayesian student.
//!
//! Settings are tried on a few steps each and chosen by validation examples; so is the epoch whose parameters are kept, and
//! the network before training is always among those to choose from. A training that was interrupted goes on from its last
//! checkpoint to the same bits.

mod bayesian;
mod checkpoint;
mod course;
mod failure;
mod fingerprint;
mod noise;
mod objective;
mod run;
mod taught;
#[cfg(test)]
mod tests;
mod trials;
mod work;

pub use bayesian::{
    BayesianCourse, BayesianSetting, BayesianStudent, BayesianTrial, infer_after_surgery,
};
pub use checkpoint::{Checkpoints, NoCheckpoints};
pub use course::{Setting, SettingGrid, StudentCourse};
pub use failure::NonFinite;
pub use noise::noise_variances;
pub use run::{Distilled, Trial, distill_after_surgery, distill_from_scratch, validation_loss};
pub use taught::Taught;
pub use work::epochs_of_equal_work;
