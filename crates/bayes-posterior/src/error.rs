//! The one error type of this crate.

/// A failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two sizes that must agree do not.
    #[error("{what}: wanted {wanted}, found {found}")]
    Mismatch {
        /// What was compared.
        what: &'static str,
        /// The size that was needed.
        wanted: String,
        /// The size that came.
        found: String,
    },
    /// A number lies outside its admissible range.
    #[error("{name} must lie in {range}, got {value}")]
    OutOfRange {
        /// What the number is.
        name: String,
        /// The number.
        value: f64,
        /// Where it should lie.
        range: &'static str,
    },
    /// An edit that would not leave a smaller network of the same function.
    #[error("{edit}: {reason}")]
    Refused {
        /// The edit.
        edit: String,
        /// What stands against it, and how to mend it.
        reason: String,
    },
    /// A rule was given too little to go by.
    #[error("the order `{rule}` needs {needs}")]
    Missing {
        /// Name of the rule.
        rule: &'static str,
        /// What is missing, and where to get it.
        needs: &'static str,
    },
    /// Bytes that are a safetensors file, but no posterior.
    #[error("not a posterior of this program: {0}")]
    Format(String),
    /// A failure of the layer below.
    #[error(transparent)]
    Core(#[from] core_tensors::Error),
    /// A failure of a loss.
    #[error(transparent)]
    Losses(#[from] losses::Error),
    /// A failure of candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// Whoever takes the bytes of a file refused them.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Bytes that are no safetensors file.
    #[error(transparent)]
    SafeTensors(#[from] safetensors::SafeTensorError),
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::Mismatch`] from two values that print themselves.
    pub(crate) fn mismatch(
        what: &'static str,
        wanted: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Self {
        Self::Mismatch { what, wanted: wanted.to_string(), found: found.to_string() }
    }
}
