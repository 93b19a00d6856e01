//! The one error type of this crate.

/// A failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A classification loss or measure met values, or no hard targets, instead of classes.
    #[error("{what} wanted the class of each example, an integer, as hard targets")]
    WantedClasses {
        /// The loss or measure.
        what: &'static str,
    },
    /// A regression met classes, or no hard targets, instead of values.
    #[error("{what} wanted values as hard targets")]
    WantedValues {
        /// The loss.
        what: &'static str,
    },
    /// A loss of a teacher's logits met none.
    #[error(
        "the loss wanted a teacher's logits, found none: give them as `Supervision::with_teacher` or `Dataset::with_teacher`"
    )]
    NoTeacher,
    /// All examples of both samples are equal: no distance between them sets the scale of a kernel.
    #[error("scale of a kernel: wanted two examples that differ, found {n_examples} equal ones")]
    OnePoint {
        /// Examples of both samples.
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
