//! Tables of plain text: the first column to the left, the others to the right.

use crate::files::printable;

/// Lines of cells, each as wide as its column; every line ends. Control characters of the cells are escaped.
pub(crate) fn text_table(rows: &[Vec<String>]) -> String {
    let rows = printed(rows);
    let width = |text: &str| text.chars().count();
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |j: usize| rows.iter().filter_map(|row| row.get(j)).map(|c| width(c)).max();
    let widths: Vec<usize> = (0..n_columns).map(|j| widest(j).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (j, cell) in row.iter().enumerate() {
            let space = " ".repeat(widths[j] - width(cell));
            line += &match j {
                0 => format!("{cell}{space}"),
                _ => format!("  {space}{cell}"),
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Names and values, both to the left.
pub(crate) fn text_list(rows: &[Vec<String>]) -> String {
    let rows = printed(rows);
    let widest = rows.iter().filter_map(|row| row.first()).map(|name| name.chars().count()).max();
    let width = widest.unwrap_or(0);
    let line = |row: &Vec<String>| match &row[..] {
        [name, values @ ..] => format!("{name:width$}  {}\n", values.join(" ")),
        [] => "\n".into(),
    };
    rows.iter().map(line).collect()
}

fn printed(rows: &[Vec<String>]) -> Vec<Vec<String>> {
    rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect()
}

/// A measured number in at most 12 significant digits, six of them after the point where it is of ordinary size.
pub(crate) fn decimal(value: f64) -> String {
    // Digits before the point; what rounds up to one more has one too many at the end, which is still below 13.
    let n_whole = value.abs().max(1.0).log10().floor() as usize + 1;
    match value.abs() {
        size if size >= 1e12 || (size > 0.0 && size < 1e-6) => trimmed(value),
        _ => format!("{value:.*}", 6.min(12 - n_whole)),
    }
}

/// A number that somebody set, as short as it can be said, in at most 12 significant digits.
pub(crate) fn setting(value: f64) -> String {
    let (plain, power) = (value.to_string(), format!("{value:e}"));
    let shortest = if power.len() < plain.len() { power } else { plain };
    if shortest.len() <= 12 { shortest } else { trimmed(value) }
}

/// Twelve significant digits and a power of ten, without zeros at the end of the digits.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.11e}");
    match text.split_once('e') {
        Some((digits, power)) => {
            format!("{}e{power}", digits.trim_end_matches('0').trim_end_matches('.'))
        }
        None => text,
    }
}

/// Cells from anything that prints itself.
macro_rules! cells {
    ($($cell:expr),* $(,)?) => { vec![$($cell.to_string()),*] };
}

pub(crate) use cells;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_at_most_twelve_significant_digits() {
        for (value, wanted) in [
            (-136.096_007_4, "-136.096007"),
            (0.0, "0.000000"),
            (123_456.789_012_3, "123456.789012"),
            (1_234_567.890_123, "1234567.89012"),
            (167_632_000_084.588_96, "167632000085"),
            (-1.5e300, "-1.5e300"),
            (1.25e-7, "1.25e-7"),
            (0.1 + 0.2, "0.300000"),
        ] {
            assert_eq!(decimal(value), wanted);
        }
        for (value, wanted) in [
            (1.0, "1"),
            (0.01, "0.01"),
            (1e300, "1e300"),
            (1e-8, "1e-8"),
            (1.0 / 3.0, "3.33333333333e-1"),
        ] {
            assert_eq!(setting(value), wanted);
        }
    }

    #[test]
    fn columns_are_aligned_by_characters() {
        let rows = [cells!["", "µ", "cost"], cells!["first", 1, "10.5"], cells!["b"]];
        assert_eq!(text_table(&rows), "       µ  cost\nfirst  1  10.5\nb\n");
        // A name is one line, whatever is in it.
        assert_eq!(text_list(&[cells!["a\nb", "c\t"]]), "a\\nb  c\\t\n");
    }
}
