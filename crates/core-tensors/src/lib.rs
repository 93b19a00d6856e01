//! Parameters, seeded randomness, data, fused kernels, optimizer and training loop that every layer shares.
//!
#![doc = include_str!("../README.md")]

/// The candle of this workspace, for users who must name its `Tensor` or `Device` without guessing a version.
pub use candle_core;
/// The faer of this workspace, whose matrices [`linalg`] takes and gives.
pub use faer;

mod data;
mod error;
mod fit;
pub mod kernels;
mod layout;
pub mod linalg;
mod optim;
mod params;
mod privileged;
mod rng;
mod schedule;

pub use data::{Dataset, SoftTargets, Targets};
pub use error::{Error, Expected, Result};
pub use fit::{Epoch, Fit};
pub use layout::{Block, Layout, Slice};
pub use optim::{Adam, AdamConfig};
pub use params::Params;
pub use privileged::Privileged;
pub use rng::{Rng, fnv1a};
pub use schedule::Schedule;
