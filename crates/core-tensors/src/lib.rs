//! What every layer shares: the parameter vector, seeded randomness, data in memory, fused kernels,
//! the optimizer, the training loop and the statistics of runs.
//!
//! | letter | identifier | shape or type |
//! |---|---|---|
//! | m | `n_examples` | number of examples |
//! | n | `n_features` | number of features |
//! | k | `n_classes` | number of classes |
//! | p | `n_parameters` | number of parameters |
//! | U_t | [`Block`], one tensor of [`Params`] | (n_t, n_{t−1} + 1), bias last |
//! | X | [`Dataset::x`] | (m, n) or (m, …) |
//! | X* | [`Privileged::x_star`] | (\|𝓘\|, …), the teacher's own features |
//! | y | [`Targets`] | (m,) classes or (m, k) values |
//! | s | [`SoftTargets::logits`] | (m, k), before the softmax |
//! | \[i ∈ 𝓘\] | [`SoftTargets::known`] | (m,), 1 or 0 |
//!
//! The crate is pure: no file, network, clock, output or global state.

mod data;
mod error;
mod fit;
pub mod kernels;
mod layout;
pub mod legacy;
pub mod linalg;
mod optim;
mod params;
mod privileged;
mod rng;
mod schedule;
pub mod stats;
pub mod synthetic;

pub use data::{Dataset, SoftTargets, Targets};
pub use error::{Error, Expected, Result};
pub use fit::{Epoch, Fit};
pub use layout::{Block, Layout, Slice};
pub use optim::{Adam, AdamConfig};
pub use params::Params;
pub use privileged::Privileged;
pub use rng::{Rng, fnv1a};
pub use schedule::Schedule;
