//! Columns of a text table by the names or numbers that an option lists.

use anyhow::{Result, bail};

use super::number::short;

/// Names that a message lists.
const LISTED: usize = 12;

/// The columns, from 0, that the words of an option name, in their order; each is a name or a number from 1 to `n`, and a
/// name wins over a number.
///
/// A word that is a name as a whole is one column, else commas separate words. What is unusual comes as notices.
pub(super) fn columns(
    names: Option<&[String]>,
    n: usize,
    option: &str,
    word: &str,
) -> Result<(Vec<usize>, Vec<String>)> {
    let mut notices = Vec::new();
    if !with_name(names, word.trim()).is_empty() {
        let column = column(names, n, option, word.trim(), &mut notices)?;
        return Ok((vec![column], notices));
    }
    let mut columns = Vec::new();
    for word in word.split(',') {
        let found = column(names, n, option, word.trim(), &mut notices)?;
        if columns.contains(&found) {
            bail!("{option}: column {} is named twice", found + 1);
        }
        columns.push(found);
    }
    Ok((columns, notices))
}

/// The columns that have this name.
pub(super) fn with_name(names: Option<&[String]>, word: &str) -> Vec<usize> {
    let is_it = |(at, name): (usize, &String)| (name == word).then_some(at);
    names.unwrap_or_default().iter().enumerate().filter_map(is_it).collect()
}

fn column(
    names: Option<&[String]>,
    n: usize,
    option: &str,
    word: &str,
    notices: &mut Vec<String>,
) -> Result<usize> {
    let by_name = with_name(names, word);
    let number = word.parse::<usize>().ok().filter(|number| (1..=n).contains(number));
    match (&by_name[..], number) {
        (&[column], number) => {
            if let Some(number) = number.filter(|&number| number != column + 1) {
                let found = column + 1;
                notices.push(format!(
                    "{option} {word} is column {found}, which has this name, not column number {number}"
                ));
            }
            Ok(column)
        }
        ([], Some(number)) => Ok(number - 1),
        ([], None) => bail!(
            "{option}: expected the name of a column or a number from 1 to {n}, found `{}`; {}",
            short(word),
            listed(names)
        ),
        (several, _) => bail!(
            "{option}: columns {} have the name `{}`: give a number from 1 to {n}",
            several.iter().map(|at| (at + 1).to_string()).collect::<Vec<_>>().join(" and "),
            short(word)
        ),
    }
}

/// The names of the columns, the first of them where they are many.
fn listed(names: Option<&[String]>) -> String {
    let Some(names) = names else { return "line 1 holds no names".to_owned() };
    format!("the names are {}", some(names))
}

/// Names in quotes, the first of them where they are many.
pub(super) fn some<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<String> =
        names.iter().take(LISTED).map(|name| format!("`{}`", short(name.as_ref()))).collect();
    let more = if names.len() > LISTED { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_columns_by_name_first_and_by_number_else() {
        let names = ["a", "b, c", "3", "d"].map(str::to_owned);
        let find = |word| columns(Some(&names), 4, "--drop", word);
        assert_eq!(find("d,a").unwrap().0, [3, 0]);
        assert_eq!(find("b, c").unwrap().0, [1]);
        assert_eq!(find("1, 4").unwrap().0, [0, 3]);
        let (found, notices) = find("3").unwrap();
        assert_eq!((found, notices.len()), (vec![2], 0));
        let swapped = ["2", "1"].map(str::to_owned);
        let (found, notices) = columns(Some(&swapped), 2, "--drop", "1").unwrap();
        assert_eq!(found, [1]);
        assert!(notices[0].contains("--drop 1 is column 2"), "{notices:?}");
        for (word, part) in [
            ("a,e", "--drop: expected the name of a column or a number from 1 to 4, found `e`"),
            ("a,1", "column 1 is named twice"),
            ("", "found ``"),
            ("5", "found `5`; the names are `a`, `b, c`, `3`, `d`"),
        ] {
            let told = find(word).unwrap_err().to_string();
            assert!(told.contains(part), "{told}");
        }
        assert!(columns(None, 2, "--drop", "x").unwrap_err().to_string().contains("no names"));
    }
}
