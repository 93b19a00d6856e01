//! Where a number of some examples stands in their file, for messages.

use super::csv;

/// Where numbers stand.
pub(super) enum Place {
    /// In a text table.
    Lines {
        /// The line of each example.
        lines: Vec<usize>,
        /// The column of each feature, from 0.
        features: Vec<usize>,
        /// The column of each target.
        targets: Vec<usize>,
        /// Names of all columns.
        names: Option<Vec<String>>,
    },
    /// In arrays `x` and `y` that are called this.
    Rows(&'static str),
}

impl Place {
    /// The target of an example, rows and columns from 0.
    pub(super) fn target(&self, row: usize, column: usize) -> String {
        match self {
            Self::Lines { lines, targets, names, .. } => {
                let column = targets.get(column).copied();
                in_lines(lines, row, column, names.as_deref())
            }
            Self::Rows(noun) => format!("{noun} `y`, row {row} (from 0)"),
        }
    }

    /// A feature of an example, rows and columns from 0.
    pub(super) fn feature(&self, row: usize, column: usize) -> String {
        match self {
            Self::Lines { lines, features, names, .. } => {
                let column = features.get(column).copied();
                in_lines(lines, row, column, names.as_deref())
            }
            Self::Rows(noun) => {
                format!("{noun} `x`, row {row}, column {column} (both from 0)")
            }
        }
    }

    /// The columns that are features, in words, where they have names.
    pub(super) fn feature_names(&self) -> Option<Vec<&str>> {
        let Self::Lines { features, names: Some(names), .. } = self else { return None };
        features.iter().map(|&at| names.get(at).map(String::as_str)).collect()
    }
}

fn in_lines(
    lines: &[usize],
    row: usize,
    column: Option<usize>,
    names: Option<&[String]>,
) -> String {
    let line = lines.get(row).copied().unwrap_or_default();
    let column = column.map(|at| format!(", {}", csv::place(at, names)));
    format!("line {line}{}", column.unwrap_or_default())
}
