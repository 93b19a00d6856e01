//! The one error type of this crate.

/// A failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two lengths that must agree do not.
    #[error("{what}: wanted {wanted} numbers, found {found}")]
    Length {
        /// What was counted.
        what: &'static str,
        /// The count that was needed.
        wanted: usize,
        /// The count that came.
        found: usize,
    },
    /// A variance is not a positive finite number.
    #[error("variance of parameter {index} must lie in (0, ∞), got {value}")]
    NotPositive {
        /// Index of the parameter in vec(·).
        index: usize,
        /// Its variance.
        value: f64,
    },
    /// A parameter was named that does not exist.
    #[error("parameter {index} wanted among {n_parameters}")]
    NoSuchParameter {
        /// The index.
        index: usize,
        /// p.
        n_parameters: usize,
    },
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
