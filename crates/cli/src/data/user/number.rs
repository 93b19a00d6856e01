//! One cell of a text table as a number, and why it is none.

use super::options::Decimal;

/// Characters of a cell that a message repeats.
const SHOWN: usize = 40;
/// What stands for a value that is not known, in small letters.
const MISSING: [&str; 9] = ["", "?", "-", "na", "n/a", "nan", "null", "none", "<na>"];

/// What a cell looks like, before anyone says whether its line is one of names or of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    /// A missing value.
    Missing,
    /// Digits, signs, points and commas that are no number here: `1,204.9`, `2024-01-31`.
    Broken,
    /// Anything else, as a name is.
    Text,
}

/// Why a cell is not a number that can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Missing,
    /// Infinite, or too large for f64.
    NotFinite,
    /// A whole number that f64 would round.
    Rounded,
    /// A comma where decimals are written with points.
    Comma,
    /// A point, or a second comma, where decimals are written with commas.
    Point,
    Other,
}

/// The number in a cell.
pub(super) fn number(cell: &str, decimal: Decimal) -> Result<f64, Fault> {
    let cell = unquoted(cell);
    if let Some(value) = plain(cell, decimal) {
        return match value.is_finite() {
            true if is_rounded(cell, value) => Err(Fault::Rounded),
            true => Ok(value),
            false => Err(Fault::NotFinite),
        };
    }
    let small = cell.to_ascii_lowercase();
    let unsigned = small.trim_start_matches(['+', '-']);
    Err(match decimal {
        _ if MISSING.contains(&small.as_str()) => Fault::Missing,
        _ if ["inf", "infinity"].contains(&unsigned) => Fault::NotFinite,
        Decimal::Point if is_numeric(cell) && cell.contains(',') => Fault::Comma,
        Decimal::Comma if is_numeric(cell) && cell.contains(['.', ',']) => Fault::Point,
        Decimal::Point | Decimal::Comma => Fault::Other,
    })
}

/// What a cell looks like.
pub(super) fn kind(cell: &str, decimal: Decimal) -> Kind {
    match number(cell, decimal) {
        Ok(_) => Kind::Number,
        Err(Fault::Missing) => Kind::Missing,
        Err(Fault::NotFinite | Fault::Rounded | Fault::Comma | Fault::Point) => Kind::Broken,
        Err(Fault::Other) if is_numeric(unquoted(cell)) => Kind::Broken,
        Err(Fault::Other) => Kind::Text,
    }
}

/// A cell without the blanks around it, and without quotes that stand behind a blank, where they are no quotes of CSV.
pub(super) fn unquoted(cell: &str) -> &str {
    let cell = cell.trim();
    let inner = cell.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.map_or(cell, str::trim)
}

/// The beginning of a text in one line, for a message.
pub(super) fn short(text: &str) -> String {
    let mut shown = String::new();
    for (i, letter) in text.trim().chars().enumerate() {
        match letter {
            _ if i == SHOWN => {
                shown.push('…');
                break;
            }
            _ if letter.is_control() => shown.extend(letter.escape_default()),
            _ => shown.push(letter),
        }
    }
    shown
}

/// The value of digits with a sign, a decimal mark and an exponent, and of nothing else.
fn plain(cell: &str, decimal: Decimal) -> Option<f64> {
    let mark = match decimal {
        Decimal::Point => '.',
        Decimal::Comma => ',',
    };
    let is_plain = |c: char| c.is_ascii_digit() || "+-eE".contains(c) || c == mark;
    if !cell.chars().all(is_plain) {
        return None;
    }
    match decimal {
        Decimal::Point => cell.parse().ok(),
        // `1,` is a number and the separator of another dialect.
        Decimal::Comma if cell.ends_with(',') => None,
        Decimal::Comma => cell.replace(',', ".").parse().ok(),
    }
}

/// Whether digits come first and no letters follow: numbers, dates, times, shares, with any sign or blank.
fn is_numeric(cell: &str) -> bool {
    let starts = cell.chars().find(|c| c.is_alphanumeric()).is_some_and(|c| c.is_ascii_digit());
    starts && cell.chars().all(|c| !c.is_alphabetic() || matches!(c, 'e' | 'E'))
}

/// Whether a whole number has digits that f64 does not keep.
fn is_rounded(cell: &str, value: f64) -> bool {
    /// Whole numbers of so many digits are all below 2^53.
    const SAFE: usize = 15;
    let digits = cell.trim_start_matches(['+', '-']).trim_start_matches('0');
    let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    let size = value.abs();
    digits.len() > SAFE && is_whole && digits != format!("{size:.0}") && digits != size.to_string()
}

impl Fault {
    /// What was expected and what to do, of the `cell` that was found.
    pub(super) fn told(self, cell: &str) -> String {
        let found = short(cell);
        match self {
            Self::Missing if found.is_empty() => {
                "expected a number, found an empty cell (a missing value): fill it in or remove the line".into()
            }
            Self::Missing => format!(
                "expected a number, found `{found}` (a missing value): fill it in or remove the line"
            ),
            Self::NotFinite => format!("expected a finite number in the range of f64, found `{found}`"),
            Self::Rounded => format!(
                "expected a whole number that f64 holds exactly (all are up to 2^53), found `{found}`"
            ),
            Self::Comma => format!(
                "expected a number with a decimal point and without thousands separators, found `{found}`{}",
                instead(cell, "--decimal comma takes the comma as a decimal comma")
            ),
            Self::Point => format!(
                "expected a number with a decimal comma and without thousands separators, found `{found}`{}",
                instead(cell, "--decimal point takes the point as a decimal point")
            ),
            Self::Other => format!("expected a number, found `{found}`"),
        }
    }
}

/// The way out of a number with one mark; more than one are thousands, which have to go.
fn instead(cell: &str, option: &str) -> String {
    match cell.matches(['.', ',']).count() {
        1 => format!("; {option}"),
        _ => ": remove the thousands separators".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_its_number_or_says_why_not() {
        use Decimal::{Comma, Point};
        use Fault as F;
        for (cell, decimal, wanted) in [
            (" 1.5 ", Point, Ok(1.5)),
            ("-.5e-3", Point, Ok(-0.0005)),
            ("+5.", Point, Ok(5.0)),
            (" \"2\" ", Point, Ok(2.0)),
            ("1,5", Comma, Ok(1.5)),
            (",5", Comma, Ok(0.5)),
            ("1,", Comma, Err(F::Point)),
            ("-1,5E2", Comma, Ok(-150.0)),
            ("0", Comma, Ok(0.0)),
            ("1,5", Point, Err(F::Comma)),
            ("1,204.9", Point, Err(F::Comma)),
            ("1.204,9", Comma, Err(F::Point)),
            ("1,204,000", Comma, Err(F::Point)),
            ("1.5", Comma, Err(F::Point)),
            ("", Point, Err(F::Missing)),
            ("NaN", Point, Err(F::Missing)),
            ("N/A", Comma, Err(F::Missing)),
            ("-inf", Point, Err(F::NotFinite)),
            ("1e400", Point, Err(F::NotFinite)),
            ("9007199254740992", Point, Ok(9007199254740992.0)),
            ("9007199254740993", Point, Err(F::Rounded)),
            ("-9007199254740993", Point, Err(F::Rounded)),
            ("100000000000000000000000", Point, Ok(1e23)),
            ("1 000", Point, Err(F::Other)),
            ("cat", Point, Err(F::Other)),
            ("0x10", Point, Err(F::Other)),
            ("1_000", Point, Err(F::Other)),
        ] {
            assert_eq!(number(cell, decimal), wanted, "{cell}");
        }
    }

    #[test]
    fn names_are_told_from_numbers_that_are_broken_or_missing() {
        for (cell, wanted) in [
            ("1", Kind::Number),
            ("?", Kind::Missing),
            ("1,204.9", Kind::Broken),
            ("2024-01-31", Kind::Broken),
            ("0.2.1", Kind::Broken),
            ("−5", Kind::Broken),
            ("1 204 €", Kind::Broken),
            ("inf", Kind::Broken),
            ("e1", Kind::Text),
            ("e", Kind::Text),
            ("width, cm", Kind::Text),
            ("1st", Kind::Text),
        ] {
            assert_eq!(kind(cell, Decimal::Point), wanted, "{cell}");
        }
    }
}
