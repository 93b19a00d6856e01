//! Numbers separated by commas: an optional line of names, then one object a line, its target last.

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};

use super::Raw;

/// Features (m, n) and targets (m, 1) of a CSV file.
pub(super) fn objects(bytes: &[u8]) -> Result<(Tensor, Raw)> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        bail!("wanted text in UTF-8, found other bytes");
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (mut x, mut y, mut n_columns) = (Vec::new(), Vec::new(), None);
    for (place, (index, line)) in lines.enumerate() {
        let line_number = index + 1;
        let cells: Vec<&str> = line.split(',').map(|cell| cell.trim().trim_matches('"')).collect();
        let wanted = *n_columns.get_or_insert(cells.len());
        if wanted < 2 {
            bail!(
                "line {line_number}: wanted features and a target separated by commas, found `{}`",
                short(line)
            );
        }
        if cells.len() != wanted {
            bail!("line {line_number}: wanted {wanted} columns as before, found {}", cells.len());
        }
        let is_name = |cell: &&str| cell.parse::<f64>().is_err();
        // A line of names may hold numbers too, but no empty cell: that is a number that is missing.
        if place == 0 && cells.iter().any(is_name) && !cells.contains(&"") {
            continue;
        }
        for (column, cell) in cells.iter().enumerate() {
            match cell.parse::<f64>() {
                Ok(value) if value.is_finite() && column + 1 < wanted => x.push(value),
                Ok(value) if value.is_finite() => y.push(value),
                _ => {
                    let (column, found) = (column + 1, short(cell));
                    bail!("line {line_number}, column {column}: wanted a number, found `{found}`");
                }
            }
        }
    }
    let (m, n) = (y.len(), n_columns.unwrap_or(0).saturating_sub(1));
    if m == 0 {
        bail!("wanted lines of numbers, found none");
    }
    Ok((Tensor::from_vec(x, (m, n), &Device::Cpu)?, Raw::Numbers { values: y, k: 1 }))
}

/// The beginning of a text, for a message.
fn short(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Vec<Vec<f64>>, Vec<f64>), String> {
        let (x, y) = objects(text.as_bytes()).map_err(|error| error.to_string())?;
        let Raw::Numbers { values, k: 1 } = y else { unreachable!() };
        Ok((x.to_vec2().unwrap(), values))
    }

    #[test]
    fn a_line_of_names_is_optional() {
        let wanted = Ok((vec![vec![1.0, 2.5], vec![-3.0, 4e-1]], vec![0.0, 1.0]));
        assert_eq!(read("1,2.5,0\n-3, 4e-1 ,1\n"), wanted);
        assert_eq!(read("\u{feff}\"a\",b,y\r\n1,2.5,0\r\n\r\n-3,0.4,1"), wanted);
    }

    #[test]
    fn errors_name_line_and_column() {
        for (text, wanted) in [
            ("a,b\n1,2\n1,x\n", "line 3, column 2: wanted a number, found `x`"),
            ("1,2\n1,2,3\n", "line 2: wanted 2 columns as before, found 3"),
            ("1;2\n", "line 1: wanted features and a target separated by commas, found `1;2`"),
            ("1,nan\n", "line 1, column 2: wanted a number, found `nan`"),
            ("a,b\n", "wanted lines of numbers, found none"),
            ("", "wanted lines of numbers, found none"),
            ("1,\n", "line 1, column 2: wanted a number, found ``"),
        ] {
            assert_eq!(read(text).unwrap_err(), wanted, "{text}");
        }
    }
}
