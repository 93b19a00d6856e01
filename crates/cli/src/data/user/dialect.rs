//! How a text table is written: what separates its columns, and its decimals.

use anyhow::{Result, bail};

use super::csv::sample;
use super::number::{Kind, kind, short, unquoted};
use super::options::{Decimal, Options, Separator};

/// How to read a text table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) separator: Separator,
    pub(super) decimal: Decimal,
}

/// A dialect, and the first lines as it reads them.
pub(super) struct Detected {
    pub(super) dialect: Dialect,
    /// Cells of the first lines, of their names too.
    pub(super) lines: Vec<Vec<String>>,
    /// What was assumed, where it is not commas and decimal points.
    pub(super) assumed: Option<String>,
}

/// How well a dialect fits, the better the larger: whether there are columns, the share of cells that are numbers below the
/// first line, which may be one of names, and their share in all lines.
type Fit = (bool, f64, f64);

/// Finds the dialect in which most cells of the first lines are numbers; what the options say is kept.
///
/// Commas between decimals are never assumed between columns too: `1,5,2,5` could be anything.
pub(super) fn detect(text: &str, options: &Options) -> Result<Detected> {
    let mut best: Option<(Fit, Dialect, Vec<Vec<String>>)> = None;
    let separators = match options.separator {
        Some(separator) => vec![separator],
        None => Separator::ALL.to_vec(),
    };
    for separator in separators {
        let lines = sample(text, separator);
        let decimals = match (options.decimal, separator) {
            (Some(decimal), _) => &[decimal][..],
            (None, Separator::Comma) => &[Decimal::Point],
            (None, _) => &[Decimal::Point, Decimal::Comma],
        };
        for &decimal in decimals {
            let fit = fit(&lines, decimal);
            if best.as_ref().is_none_or(|(other, ..)| fit > *other) {
                best = Some((fit, Dialect { separator, decimal }, lines.clone()));
            }
        }
    }
    let Some((_, dialect, lines)) = best else { bail!("expected lines of numbers, found none") };
    if options.decimal.is_none() {
        check_marks(&lines, dialect)?;
    }
    Ok(Detected { assumed: assumed(dialect, options), dialect, lines })
}

fn fit(lines: &[Vec<String>], decimal: Decimal) -> Fit {
    let n_wide = lines.iter().filter(|cells| cells.len() > 1).count();
    let share = |lines: &[Vec<String>]| {
        let is_fit = |cell: &&String| matches!(kind(cell, decimal), Kind::Number | Kind::Missing);
        let n_cells: usize = lines.iter().map(Vec::len).sum();
        let n_fit = lines.iter().flatten().filter(is_fit).count();
        n_fit as f64 / n_cells.max(1) as f64
    };
    let body = if lines.len() > 1 { &lines[1..] } else { lines };
    (2 * n_wide > lines.len(), share(body), share(lines))
}

/// Refuses marks that may as well separate thousands: `1,204` alone is both 1.204 and 1204, and so is `1.204` where
/// semicolons separate columns, as they do where decimals are written with commas.
fn check_marks(lines: &[Vec<String>], dialect: Dialect) -> Result<()> {
    let (mark, word) = match dialect {
        Dialect { decimal: Decimal::Comma, .. } => (',', "comma"),
        Dialect { separator: Separator::Semicolon, .. } => ('.', "point"),
        _ => return Ok(()),
    };
    let decimal = dialect.decimal;
    let mut doubtful = None;
    for cell in lines.iter().flatten().filter(|cell| kind(cell, decimal) == Kind::Number) {
        let Some((whole, fraction)) = unquoted(cell).split_once(mark) else { continue };
        let whole = whole.trim_start_matches(['+', '-']);
        let is_group = matches!(whole.len(), 1..=3) && !whole.starts_with('0');
        if !is_group || fraction.len() != 3 {
            return Ok(());
        }
        doubtful = doubtful.or(Some(cell));
    }
    match doubtful {
        Some(cell) => bail!(
            "`{}` may have a decimal {word} or a {word} between thousands, and no other number tells which: give \
             --decimal {word} if it is decimal, else remove the {word}s",
            short(cell)
        ),
        None => Ok(()),
    }
}

fn assumed(dialect: Dialect, options: &Options) -> Option<String> {
    let Dialect { separator, decimal } = dialect;
    let columns = (options.separator.is_none() && separator != Separator::Comma)
        .then(|| (format!("columns separated by {}", separator.words()), "--separator"));
    let decimals = (options.decimal.is_none() && decimal == Decimal::Comma)
        .then(|| ("decimals written with commas".to_owned(), "--decimal"));
    match (columns, decimals) {
        (None, None) => None,
        (Some((what, option)), None) | (None, Some((what, option))) => {
            Some(format!("read with {what}; {option} overrules this"))
        }
        (Some((a, first)), Some((b, second))) => {
            Some(format!("read with {a} and {b}; {first} and {second} overrule this"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Decimal::{Comma as DecimalComma, Point};
    use Separator::{Bar, Comma, Semicolon, Space, Tab};

    #[test]
    fn the_dialect_is_the_one_whose_cells_are_numbers() {
        for (text, separator, decimal) in [
            ("1,2\n3,4\n", Comma, Point),
            ("x,y\n1.5,2\n", Comma, Point),
            ("1, 2\n3, 4\n", Comma, Point),
            ("1;2\n3;4\n", Semicolon, Point),
            ("width;height;species\n4,9;3,0;0\n6,2;2,9;1\n", Semicolon, DecimalComma),
            ("4,9;3,0;0\n6,2;2,9;1\n5,9;3,2;1\n", Semicolon, DecimalComma),
            ("a, b;c\n1,5;2\n", Semicolon, DecimalComma),
            ("1.5;2\n", Semicolon, Point),
            ("1\t2\n3\t4\n", Tab, Point),
            ("1,5\t2\n3\t4,25\n", Tab, DecimalComma),
            ("a|b\n1|2\n", Bar, Point),
            ("0.1|5|2\n", Bar, Point),
            (" 0.02  18.0\t2.3\n 0.1   4   5\n", Space, Point),
            ("1,5 2\n3 4,5\n", Space, DecimalComma),
            ("x,y\n1,42,2,83\n0,76,1,52\n", Comma, Point),
            ("\"width, cm\",height\n4.9,3.0\n", Comma, Point),
            ("5\n6\n", Comma, Point),
            ("a,b\n", Comma, Point),
            ("a;b\n", Semicolon, Point),
            ("a b c\n", Space, Point),
            ("first name,y\n1,2\n", Comma, Point),
            ("1;?;\n2;;3\n", Semicolon, Point),
            ("1;2;cat\n3;4;dog\n", Semicolon, Point),
            ("1,5;2,5\n1.200,5;3\n", Semicolon, DecimalComma),
            ("1, \"2\"\n", Comma, Point),
        ] {
            let found = detect(text, &Options::default()).unwrap();
            assert_eq!(found.dialect, Dialect { separator, decimal }, "{text:?}");
            let is_plain = (separator, decimal) == (Comma, Point);
            assert_eq!(found.assumed.is_none(), is_plain, "{text:?}");
        }
    }

    #[test]
    fn options_overrule_and_what_they_say_is_not_said_again() {
        let text = "4,9;3,0;0\n6,2;2,9;1\n";
        let said = |separator, decimal| {
            let options = Options { separator, decimal, ..Options::default() };
            detect(text, &options).unwrap().assumed
        };
        assert_eq!(
            said(None, None).unwrap(),
            "read with columns separated by semicolons and decimals written with commas; --separator and --decimal \
             overrule this"
        );
        assert_eq!(
            said(Some(Semicolon), None).unwrap(),
            "read with decimals written with commas; --decimal overrules this"
        );
        assert_eq!(said(Some(Semicolon), Some(DecimalComma)), None);
        let options = Options { separator: Some(Comma), ..Options::default() };
        assert_eq!(detect(text, &options).unwrap().dialect.separator, Comma);
    }

    #[test]
    fn a_mark_before_three_digits_alone_is_ambiguous() {
        let read =
            |text: &str| detect(text, &Options::default()).map(|found| found.dialect.decimal);
        let told = read("1,204;5\n13,500;6\n").unwrap_err().to_string();
        assert!(told.contains("`1,204`") && told.contains("--decimal comma"), "{told}");
        for proof in ["0,204;5\n", "1,2;5\n", "1204,204;5\n", "-0,500;1\n"] {
            assert_eq!(read(&format!("1,204;5\n{proof}")).unwrap(), DecimalComma, "{proof}");
        }
        let told = read("1.204;5\n").unwrap_err().to_string();
        assert!(told.contains("--decimal point"), "{told}");
        assert_eq!(read("1.204;5.5\n").unwrap(), Point);
        assert_eq!(read("1.204,5\n").unwrap(), Point);
        // Two commas are thousands, which no dialect reads as numbers.
        assert_eq!(read("1,204,000;5\n").unwrap(), Point);
    }
}
