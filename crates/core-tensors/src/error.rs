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
    /// A tensor or matrix has another shape than is needed.
    #[error("{what}: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// What has the shape.
        what: &'static str,
        /// The shape that is needed.
        expected: Vec<usize>,
        /// The shape that came.
        found: Vec<usize>,
    },
    /// There are too few or too many of something.
    #[error("{what}: expected {expected}, found {found}")]
    Count {
        /// What was counted.
        what: &'static str,
        /// How many are needed.
        expected: Expected,
        /// How many there are.
        found: usize,
    },
    /// An index points behind the last of its kind.
    #[error("{what} {index} is out of range: there are {n}, counted from 0")]
    Index {
        /// What the index points at, such as "block".
        what: &'static str,
        /// The index, from 0.
        index: usize,
        /// How many there are.
        n: usize,
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

/// How many of something are needed, for [`Error::Count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// So many and no other number.
    Exactly(usize),
    /// So many or more.
    AtLeast(usize),
    /// So many or fewer.
    AtMost(usize),
    /// A multiple of this number.
    MultipleOf(usize),
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exactly(n) => write!(f, "{n}"),
            Self::AtLeast(n) => write!(f, "at least {n}"),
            Self::AtMost(n) => write!(f, "at most {n}"),
            Self::MultipleOf(n) => write!(f, "a multiple of {n}"),
        }
    }
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
