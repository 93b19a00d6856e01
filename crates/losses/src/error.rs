//! The one error type of this crate.

/// A failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A classification loss or measure met values instead of classes.
    #[error("{what} wanted hard targets that are classes, found values")]
    WantedClasses {
        /// The loss or measure.
        what: &'static str,
    },
    /// All examples of both samples are equal: no distance between them sets the scale of a kernel.
    #[error("scale of a kernel: wanted two objects that differ, found {n_examples} equal ones")]
    OnePoint {
        /// Objects of both samples.
        n_examples: usize,
    },
    /// A failure of a lower layer: a bad size or number.
    #[error(transparent)]
    Core(#[from] core_tensors::Error),
    /// A failure of candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
