//! The one error type of this crate.

use crate::layout::Layout;

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
    /// Something that may be named once is named twice.
    #[error("{what} {index} is given twice")]
    Duplicate {
        /// What was named, such as "row of a block".
        what: &'static str,
        /// Its index, from 0.
        index: usize,
    },
    /// Parameters have other blocks than their network.
    #[error("{what}: expected blocks {expected}, found {found}")]
    Blocks {
        /// What has the blocks.
        what: &'static str,
        /// The blocks that are needed.
        expected: Layout,
        /// The blocks that came.
        found: Layout,
    },
    /// A data set has no logits of a teacher where some are needed.
    #[error(
        "the data have no teacher: expected its logits, see `Dataset::with_teacher` and `with_logits`"
    )]
    MissingTeacher,
    /// The teacher's logits of one example are needed and not known.
    #[error("the teacher's logits of example {index} are not known")]
    MissingLogits {
        /// The example, from 0.
        index: usize,
    },
    /// Images have become too small for the kernel of a convolution.
    #[error(
        "convolution {convolution} has a kernel of {kernel} × {kernel} and needs larger images, found {} × {}; layers \
        count from 1", image[0], image[1]
    )]
    SmallImage {
        /// The convolution, from 1.
        convolution: usize,
        /// Rows and columns of its kernel.
        kernel: usize,
        /// Rows and columns of the images that it gets.
        image: [usize; 2],
    },
    /// A name that is none of the known ones.
    #[error("{what} `{name}` is unknown: expected {known}")]
    UnknownName {
        /// What has a name, such as "layer of VGG-19".
        what: &'static str,
        /// The name.
        name: String,
        /// The names that there are.
        known: &'static str,
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
    /// A tensor that is looked up by its name is not there.
    #[error("the tensor `{name}` is missing")]
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

impl Expected {
    /// [`Error::Count`] of `what` unless `found` is as expected.
    ///
    /// ```
    /// use core_tensors::Expected;
    /// assert!(Expected::AtLeast(1).check("examples", 3).is_ok());
    /// let error = Expected::Exactly(10).check("rows of logits", 9).unwrap_err();
    /// assert_eq!(error.to_string(), "rows of logits: expected 10, found 9");
    /// ```
    pub fn check(self, what: &'static str, found: usize) -> Result<()> {
        let is_met = match self {
            Self::Exactly(n) => found == n,
            Self::AtLeast(n) => found >= n,
            Self::AtMost(n) => found <= n,
            Self::MultipleOf(n) => found.is_multiple_of(n),
        };
        if is_met { Ok(()) } else { Err(Error::Count { what, expected: self, found }) }
    }
}

/// Lets a closure of candle's operations alone end in candle's error where ours must convert to it.
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(error) => error,
            error => Self::wrap(error),
        }
    }
}
