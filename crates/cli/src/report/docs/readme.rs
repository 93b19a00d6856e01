//! The results in a README, between two marks: one line a claim, linked to the pages.

use anyhow::{Result, bail};

use super::pages;
use crate::ledger::Description;
use crate::report::blocks::{Cell, Table};
use crate::report::{Report, tables};

const BEGIN: &str = "<!-- results: begin -->";
const END: &str = "<!-- results: end -->";
/// Where the pages lie, from the folder of the README.
pub(super) const FOLDER: &str = "docs/results";

/// `text` with the part between the marks replaced; lines of experiments that the report does not hold are kept.
pub(super) fn replace(text: &str, report: &Report, all: &[Description]) -> Result<String> {
    let (begin, end) = places(text)?;
    let (head, old, tail) = (&text[..begin], &text[begin..end], &text[end..]);
    let table = pages::lines(old, &claims(report, all), all);
    Ok(format!(
        "{head}\nOurs is the mean over the runs with its 95 % interval, or the paired difference where the claim is about \
         one. The name of a claim leads to its checks, all tables, and the command and machine that made them; \
         [{FOLDER}]({FOLDER}/{index}) is the list, and says how verdicts are reached.\n\n{table}\n{tail}",
        index = pages::INDEX
    ))
}

/// An error where [`replace`] would not know what to replace.
pub(super) fn check(text: &str) -> Result<()> {
    places(text).map(drop)
}

/// Where the part between the marks begins and ends.
fn places(text: &str) -> Result<(usize, usize)> {
    let (Some(begin), Some(end)) = (text.find(BEGIN), text.find(END)) else {
        bail!("wanted the marks {BEGIN} and {END}, found none");
    };
    if end < begin {
        bail!("wanted {BEGIN} before {END}, found it after");
    }
    Ok((begin + BEGIN.len(), end))
}

/// The claims of a report, short enough for a README.
fn claims(report: &Report, all: &[Description]) -> Table {
    let columns = ["claim", "statement", "published", "ours", "paired difference", "verdict"];
    let mut table = pages::columns_of(&tables::claims(report), &columns, |_| true);
    table.head.remove(4);
    for row in &mut table.rows {
        let difference = row.remove(4).lines.concat();
        let statement = shortened(&row[1].lines.concat()).to_owned();
        // The first line is the value, the second the name of its row.
        let ours = match row[3].lines.first().map(String::as_str) {
            None | Some("–") if difference != "–" => format!("difference {difference}"),
            ours => ours.unwrap_or("–").to_owned(),
        };
        (row[1], row[3]) = (Cell::text(statement), Cell::text(ours));
    }
    pages::linked(table, all, &format!("{FOLDER}/"))
}

/// A statement without the remark in parentheses behind its last sentence.
fn shortened(statement: &str) -> &str {
    match statement.find(". (") {
        Some(end) if statement.ends_with(')') => &statement[..=end],
        _ => statement,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_marks_is_refused() {
        assert!(check("nothing").is_err() && check(BEGIN).is_err());
        assert!(check(&format!("{END}{BEGIN}")).is_err());
        assert!(check(&format!("{BEGIN}{END}")).is_ok());
    }

    #[test]
    fn a_statement_loses_its_last_remark_and_nothing_else() {
        for (statement, short) in [
            ("A gains. (Published is one run (of two).)", "A gains."),
            ("A gains little (less than 1 point). (New.)", "A gains little (less than 1 point)."),
            ("A gains little (less than 1 point).", "A gains little (less than 1 point)."),
            ("A gains.", "A gains."),
        ] {
            assert_eq!(shortened(statement), short);
        }
    }
}
