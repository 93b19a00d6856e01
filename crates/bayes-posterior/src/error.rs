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
    /// Bytes that are no safetensors file, and why.
    #[error("{0}")]
    SafeTensors(String),
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
        let (wanted, found) = (cut(&wanted.to_string()), cut(&found.to_string()));
        Self::Mismatch { what, wanted, found }
    }
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
