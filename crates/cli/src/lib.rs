//! Data on disk, experiments, claims and their report: everything of this workspace that touches the world.

pub mod claims;
pub mod commands;
mod data;
pub mod datasets;
pub mod experiment;
mod experiments;
mod files;
mod model_file;
mod provenance;
pub mod report;
pub mod runner;
pub mod schemes;
pub mod session;
mod sheet;
mod text_table;
mod threads;

pub use experiments::ALL as EXPERIMENTS;
pub use provenance::{DataSum, Provenance, Start};

/// Compiles and runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
