//! The one error type of this crate.

use core_tensors::{Expected, Layout};

/// A failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Parameters belong to a network of other blocks.
    #[error("{what}: expected blocks of {}, found {}", shapes(expected), shapes(found))]
    Layout {
        /// What has the blocks.
        what: &'static str,
        /// Blocks that are needed.
        expected: Layout,
        /// Blocks that came.
        found: Layout,
    },
    /// A network needs a layer, and each layer a unit.
    #[error("widths of a network: expected two or more, each at least 1, found {}", list(widths))]
    Widths {
        /// n_0, …, n_T as they came.
        widths: Vec<usize>,
    },
    /// A list is no permutation of 0 to n − 1.
    #[error("{what}: expected each of 0 to {} once, found {}", n.saturating_sub(1), list(found))]
    Permutation {
        /// What the list orders.
        what: &'static str,
        /// n: how many there are to order.
        n: usize,
        /// The list.
        found: Vec<usize>,
    },
    /// Two entries of a covariance that mirror one another differ.
    #[error(
        "{part}: expected entry ({row}, {column}) equal to ({column}, {row}), found {upper} and {lower}"
    )]
    Asymmetric {
        /// Which matrix: the covariance, or a block or factor of it.
        part: String,
        /// Row of the first of the two entries, from 0.
        row: usize,
        /// Its column.
        column: usize,
        /// The entry above the diagonal.
        upper: f64,
        /// The entry below it.
        lower: f64,
    },
    /// Columns of a matrix of eigenvectors are not orthonormal.
    #[error("eigenvectors: expected orthonormal columns, found ‖QᵀQ − I‖ = {gap:e}")]
    NotOrthonormal {
        /// ‖QᵀQ − I‖
        gap: f64,
    },
    /// An eigenvalue decomposition did not converge.
    #[error("the eigenvalues of {of} did not converge")]
    Eigenvalues {
        /// The matrix.
        of: &'static str,
    },
    /// A slice that is to be integrated out lies in the block that is conditioned on.
    #[error(
        "parameters that are integrated out: expected another block than {block}, which is conditioned on"
    )]
    SameBlock {
        /// The block, from 0.
        block: usize,
    },
    /// A low-rank posterior of no directions, or of more than there are parameters.
    #[error("rank: expected 1 to the {p} parameters, found {rank}")]
    Rank {
        /// r: directions.
        rank: usize,
        /// p: parameters.
        p: usize,
    },
    /// There is not one id for each unit of the widths.
    #[error(
        "ids of kept units: expected {} of them by the widths, found {}",
        list(expected),
        list(found)
    )]
    KeptUnits {
        /// n_0, …, n_T.
        expected: Vec<usize>,
        /// How many ids each width has.
        found: Vec<usize>,
    },
    /// A field of a [`Provenance`](crate::Provenance) that no file may hold.
    #[error("`{field}`: expected {expected}, found {found}")]
    Provenance {
        /// The field.
        field: &'static str,
        /// What it may hold.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
    /// Names, shapes and metadata of a file that take more memory to parse than its numbers do.
    #[error(
        "bytes of the header of a file: expected at most {most} beside {n_bytes} bytes of numbers, found {found}"
    )]
    Header {
        /// Bytes that are allowed.
        most: usize,
        /// Bytes of the numbers.
        n_bytes: usize,
        /// Bytes of the header.
        found: usize,
    },
    /// Sizes of a removal path that do not fall from the width of the layer to 1.
    #[error(
        "sizes of a removal path: expected 1 to {most}, each smaller than the one before, found {size}"
    )]
    PathSize {
        /// The size.
        size: usize,
        /// Units that the step before left.
        most: usize,
    },
    /// A name that occurs twice where each must occur once.
    #[error("{what}: expected each once, found {value} twice")]
    Repeated {
        /// What was listed.
        what: &'static str,
        /// What occurs twice.
        value: usize,
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
    /// A number that was computed from good ones lies outside its range: f64 overflowed, or no digit of it is left.
    #[error(
        "{quantity} came out as {value}, wanted one in {range}: the numbers it is made of are too large, too small or \
        too nearly dependent for f64"
    )]
    Computed {
        /// What was computed.
        quantity: String,
        /// What came out.
        value: f64,
        /// Where it should lie.
        range: &'static str,
    },
    /// A covariance that a rule reads is not positive definite.
    #[error(
        "{part} is not positive definite: pivot {index} of {size} (from 0) is {pivot:e}, beside {diagonal:e} on the \
        diagonal there; wanted a positive one"
    )]
    Indefinite {
        /// Which matrix: the covariance, or a block or factor of it.
        part: String,
        /// Index of the first bad pivot, from 0: a parameter, or a row of the block or factor.
        index: usize,
        /// Rows of the matrix.
        size: usize,
        /// What is left of the diagonal there once the rows before it are known.
        pivot: f64,
        /// The diagonal there.
        diagonal: f64,
    },
    /// An edit that would not leave a smaller network of the same function.
    #[error("{edit}: {reason}")]
    Refused {
        /// The edit.
        edit: String,
        /// What stands against it, and how to mend it.
        reason: String,
    },
    /// A budget below what must stay.
    #[error(
        "a budget of {most}: smallest reachable: {least}, {:.1} % of {full}, because {}",
        100.0 * least / full,
        because(pinned)
    )]
    Budget {
        /// What was asked for.
        most: f64,
        /// The smallest that can be reached.
        least: f64,
        /// The size of the whole.
        full: f64,
        /// What must stay, the largest first.
        pinned: Vec<String>,
    },
    /// A rule was given too little to go by.
    #[error("the criterion `{rule}` needs {needs}")]
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
    /// Bytes that are no safetensors file, and why.
    #[error("{0}")]
    SafeTensors(String),
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// [`core_tensors::Error::Count`] of this crate.
    pub(crate) fn count(what: &'static str, expected: Expected, found: usize) -> Self {
        core_tensors::Error::Count { what, expected, found }.into()
    }
}

/// (rows, columns) of each block.
fn shapes(layout: &Layout) -> String {
    let shapes = layout.blocks.iter().map(|block| format!("({}, {})", block.rows, block.cols));
    cut(&shapes.collect::<Vec<_>>().join(" "))
}

/// Groups that are named in a message at most.
const MOST_NAMED: usize = 3;

/// What stands against a smaller size.
fn because(pinned: &[String]) -> String {
    let named = pinned.iter().take(MOST_NAMED).map(|name| shown(name)).collect::<Vec<_>>();
    match pinned.len() {
        0 => "every group keeps a unit (or a whole multiple), and the rest has no units".to_owned(),
        n if n > MOST_NAMED => {
            format!("these must stay: {}, and {} more", named.join(", "), n - MOST_NAMED)
        }
        _ => format!("these must stay: {}", named.join(", ")),
    }
}

fn list(values: &[usize]) -> String {
    cut(&format!("{values:?}"))
}

impl From<safetensors::SafeTensorError> for Error {
    /// Keeps the message alone, as it may hold names out of the file.
    fn from(error: safetensors::SafeTensorError) -> Self {
        Self::SafeTensors(shown(&error.to_string()))
    }
}

/// Characters of a list or a string that a message holds at most.
const MOST_SHOWN: usize = 200;

/// A string out of a file as a message may hold it: on one line, without control characters, not too long.
pub(crate) fn shown(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars().take(MOST_SHOWN + 1) {
        match c {
            '"' | '\'' => escaped.push(c),
            c => escaped.extend(c.escape_debug()),
        }
    }
    cut(&escaped)
}

/// The start of a text that is too long for a message.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_out_of_files_stay_on_one_short_line() {
        assert_eq!(shown("a \"b\" `c` é"), "a \"b\" `c` é");
        assert_eq!(shown("a\n\u{1b}[31m\0"), "a\\n\\u{1b}[31m\\0");
        let long = shown(&"\n".repeat(1 << 20));
        assert!(long.chars().count() == MOST_SHOWN + 2 && long.ends_with(" …"), "{long}");
    }
}
