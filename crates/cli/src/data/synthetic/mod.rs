//! Synthetic data: the papers' problems, and images and texts for when the published ones cannot be had.

mod convolution;
pub(crate) mod images;
pub mod legacy;
mod problems;
pub(crate) mod sentences;

pub use convolution::published_convolution;
pub use images::synthetic_digits;
pub use problems::{
    DomainRegression, LopezPaz, N_CLASSES, N_FEATURES, N_TEST, N_TRAIN, SyntheticClasses,
    SyntheticLinear,
};
