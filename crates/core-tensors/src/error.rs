//! The one error type of this crate.

/// A failure of this crate, with the numbers needed to act on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A number lies outside its admissible range.
    #[error("{name} must lie in {range}, got {value}")]
    OutOfRange {
        /// What the number is.
        name: &'static str,
        /// The number.
        value: f64,
        /// Where it should lie, as an interval or in words.
        range: &'static str,
    },
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
    /// A matrix that must be a covariance or a precision is none, to the digits that f64 has.
    #[error(
        "a covariance must be positive definite: pivot {index} of its {size} (from 0) came out as {pivot:e}, beside \
        {diagonal:e} on the diagonal there; wanted a positive one"
    )]
    NotPositiveDefinite {
        /// Index of the first bad pivot, from 0.
        index: usize,
        /// Rows of the matrix.
        size: usize,
        /// Lᵢᵢ² = Aᵢᵢ − Σ_{k<i} Lᵢₖ² there: what is left of Aᵢᵢ once the rows before it are known.
        pivot: f64,
        /// Aᵢᵢ: the pivot is small beside it where the row depends on those before it.
        diagonal: f64,
    },
    /// The coefficients of a linear model are not determined by its data.
    #[error(
        "a design of {n_columns} columns has rank {rank}: columns {dependent:?} (from 0) are combinations of the \
        others; drop them, add a ridge, or ask for the minimum norm"
    )]
    RankDeficient {
        /// Number of independent columns.
        rank: usize,
        /// n: number of columns.
        n_columns: usize,
        /// The columns without which the others are independent, from 0.
        dependent: Vec<usize>,
    },
    /// Saved bytes lack a tensor.
    #[error("saved state lacks the tensor `{name}`")]
    MissingTensor {
        /// Name of the tensor.
        name: String,
    },
    /// A failure of candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// Bytes that are not a safetensors file.
    #[error(transparent)]
    SafeTensors(#[from] safetensors::SafeTensorError),
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A [`Error::Mismatch`] from two values that print themselves.
    pub fn mismatch(
        what: &'static str,
        wanted: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Self {
        Self::Mismatch { what, wanted: wanted.to_string(), found: found.to_string() }
    }
}
