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

/// Cells from anything that prints itself.
macro_rules! cells {
    ($($cell:expr),* $(,)?) => { vec![$($cell.to_string()),*] };
}

pub(crate) use cells;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_characters() {
        let rows = [cells!["", "µ", "cost"], cells!["first", 1, "10.5"], cells!["b"]];
        assert_eq!(text_table(&rows), "       µ  cost\nfirst  1  10.5\nb\n");
        assert_eq!(text_list(&[cells!["a\nb", "c\t"]]), "a\\nb  c\\t\n");
    }
}
