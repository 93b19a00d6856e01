//! Whether the first line of a text table holds the names of its columns.

use anyhow::{Result, bail};

use super::number::{Kind, kind, short, unquoted};
use super::options::{Decimal, Header};

/// Columns below which a line `0,1` is too likely data to be taken for names.
const FEWEST_NAMED: usize = 3;

/// The names of the columns, where there are some.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) names: Option<Vec<String>>,
    /// What was assumed, where the line could be read otherwise.
    pub(super) assumed: Option<String>,
}

/// Decides on the first of the `lines`, whose number is `at`; `told` is what the command line says.
///
/// A line of words alone is names; one of numbers, or of numbers among which some are missing, is data. In between lie
/// pandas' default names 0, 1, …, taken where the lines below are written otherwise; all else is an error, as a wrong
/// guess would lose an example or invent one. An index column, whose name is empty, is an error unless options choose among
/// the columns.
pub(super) fn names(
    lines: &[Vec<String>],
    decimal: Decimal,
    told: Option<Header>,
    at: usize,
    may_have_index: bool,
) -> Result<Names> {
    let data = Names { names: None, assumed: None };
    let Some((first, body)) = lines.split_first() else { return Ok(data) };
    let kinds: Vec<Kind> = first.iter().map(|cell| kind(cell, decimal)).collect();
    let count = |wanted: Kind| kinds.iter().filter(|&&kind| kind == wanted).count();
    let line = format!("line {at} (`{}`)", short(&first.join(", ")));
    let with_names = |assumed: Option<String>| -> Result<Names> {
        let names: Vec<String> = first.iter().map(|name| unquoted(name).to_owned()).collect();
        if !may_have_index {
            check_index(&names, at)?;
        }
        Ok(Names { names: Some(names), assumed })
    };
    match told {
        Some(Header::Yes) => return with_names(None),
        Some(Header::No) => return Ok(data),
        None => {}
    }
    let (n_text, n_numbers) = (count(Kind::Text), count(Kind::Number) + count(Kind::Broken));
    if n_text > 0 && n_numbers == 0 {
        return with_names(None);
    }
    let start = start(first, &kinds);
    if n_text > 0 {
        if start == Some(0) && n_numbers > 1 {
            return with_names(Some(format!(
                "{line} is taken as the names of the columns; --header no takes it as data"
            )));
        }
        let is_text = |cells: &Vec<String>| {
            let is = |(at, cell): (usize, &String)| {
                kinds.get(at) == Some(&Kind::Text) && kind(cell, decimal) == Kind::Text
            };
            cells.iter().enumerate().any(is)
        };
        if body.first().is_some_and(is_text) {
            return Ok(data);
        }
        bail!(
            "{line} mixes words and numbers: --header yes takes it as the names of the columns, \
             --header no as data"
        );
    }
    if count(Kind::Missing) > 0 {
        // pandas writes its index under an empty name, before the default names of the others.
        if first[0].trim().is_empty() && start == Some(0) {
            return with_names(Some(format!("{line} is taken as the names of the columns")));
        }
        return Ok(data);
    }
    let n = first.len();
    let n_decimal = (0..n).filter(|&column| is_decimal(body, column)).count();
    let is_unlike = n_decimal > 0 && n_decimal + 1 >= n;
    match start {
        Some(0) if is_unlike && n >= FEWEST_NAMED => with_names(Some(format!(
            "{line} is taken as the names of the columns, as pandas writes them by default; --header no \
             takes it as data"
        ))),
        Some(0) if n > 1 || is_unlike => doubt(&line),
        Some(_) if is_unlike && n >= FEWEST_NAMED => doubt(&line),
        _ => Ok(data),
    }
}

fn doubt(line: &str) -> Result<Names> {
    bail!(
        "{line} may be pandas' default names of the columns, or data: give --header yes or --header no"
    )
}

/// The first of the whole numbers in a line, where each is one more than that before.
fn start(cells: &[String], kinds: &[Kind]) -> Option<u64> {
    let numbers =
        cells.iter().zip(kinds).filter(|(_, kind)| !matches!(kind, Kind::Text | Kind::Missing));
    let numbers: Option<Vec<u64>> = numbers
        .map(|(cell, _)| {
            let cell = cell.trim();
            let value: u64 = cell.parse().ok()?;
            (value.to_string() == cell).then_some(value)
        })
        .collect();
    let numbers = numbers?;
    let is_next = |pair: &[u64]| pair[0].checked_add(1) == Some(pair[1]);
    numbers.windows(2).all(is_next).then_some(*numbers.first()?)
}

/// Whether every line has a decimal mark or an exponent in this column.
fn is_decimal(lines: &[Vec<String>], column: usize) -> bool {
    let is = |cells: &Vec<String>| {
        cells.get(column).is_some_and(|cell| cell.contains(['.', ',', 'e', 'E']))
    };
    !lines.is_empty() && lines.iter().all(is)
}

/// Refuses the numbers of the rows, which are no feature.
pub(super) fn check_index(names: &[String], at: usize) -> Result<()> {
    let first = names.first().map_or("", String::as_str);
    if first.is_empty() || first == "Unnamed: 0" {
        bail!(
            "line {at} holds the names of the columns, and the first is empty or `Unnamed: 0`: an index column, as pandas \
             and R write it, is no feature; leave it out by --drop '{first}', write the file without it (pandas: \
             index=False, R: row.names=FALSE) or name the column"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(text: &str, told: Option<Header>) -> Result<Names> {
        let lines: Vec<Vec<String>> =
            text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect();
        names(&lines, Decimal::Point, told, 1, false)
    }

    #[test]
    fn a_first_line_is_names_or_data_or_an_error() {
        for (text, n_names, is_said) in [
            ("a,b\n1,2\n", Some(2), false),
            ("a,?,c\n1,2,3\n", Some(3), false),
            ("1,2\n3,4\n", None, false),
            ("1,2,3\n4,5,6\n", None, false),
            ("1,NA,3\n4,5,6\n", None, false),
            (",1,2\n4,5,6\n", None, false),
            ("5,1\n", None, false),
            ("0\n1\n2\n", None, false),
            ("0,2,1\n0.5,0.1,0.2\n", None, false),
            ("00,01,02\n0.5,0.1,0.2\n", None, false),
            ("0,1,2,3\n0.5,1.5,0.1,1\n", Some(4), true),
            ("0,1,2,target\n5,1,3,1\n", Some(4), true),
            ("5.1,3.5,setosa\n4.9,3.0,setosa\n", None, false),
        ] {
            let found = decide(text, None).unwrap();
            assert_eq!(found.names.map(|names| names.len()), n_names, "{text}");
            assert_eq!(found.assumed.is_some(), is_said, "{text}");
        }
        for (text, part) in [
            ("0,1\n1,0\n", "--header yes or --header no"),
            ("0,1\n1.5,0.5\n", "--header yes or --header no"),
            ("0,1,2\n1,2,0\n", "--header yes or --header no"),
            ("0\n1.5\n", "--header yes or --header no"),
            ("1,2,3\n1.5,0.5,1.5\n", "--header yes or --header no"),
            ("400,402,y\n1,2,3\n", "mixes words and numbers"),
            ("1,2,3,y\n5,1,3,1\n", "mixes words and numbers"),
            ("0,y\n5,1\n", "mixes words and numbers"),
            ("1,0x3\n1,2\n", "mixes words and numbers"),
            (",a,b\n0,1,2\n", "index=False"),
            (",0,1\n0,1.5,2.5\n", "index=False"),
            ("Unnamed: 0,a\n0,1\n", "index=False"),
        ] {
            let told = decide(text, None).unwrap_err().to_string();
            assert!(told.contains(part), "{text}: {told}");
        }
    }

    #[test]
    fn the_option_overrules() {
        for text in ["a,b\n1,2\n", "0,1\n1,0\n", "1,2\n", "400,402,y\n1,2,3\n"] {
            assert_eq!(decide(text, Some(Header::No)).unwrap().names, None, "{text}");
            let found = decide(text, Some(Header::Yes)).unwrap();
            assert!(found.names.is_some() && found.assumed.is_none(), "{text}");
        }
    }
}
