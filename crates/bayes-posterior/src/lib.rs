//! Gaussian posteriors of networks: so far the diagonal one, with the two operations that edits are made of.
//!
//! | letter | identifier | shape |
//! |---|---|---|
//! | m | `mean` | (p,) |
//! | diag Ψ | `variance` | (p,) |
//!
//! Everything is f64.

mod diagonal;
mod error;

pub use diagonal::Diagonal;
pub use error::{Error, Result};
