//! The library behind the command `distill`.
#![doc = include_str!("../README.md")]

mod commands;
pub mod data;
pub mod experiments;
mod files;
pub mod ledger;
mod model_file;
pub mod report;
pub mod training;

pub use commands::main;

/// Compiles and runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
