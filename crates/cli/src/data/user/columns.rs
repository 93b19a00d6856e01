//! Which column of a text table is the target.

use anyhow::{Result, bail};

use super::number::short;

/// Names that say that a column is a target, in small letters.
const TARGETS: [&str; 9] =
    ["y", "label", "labels", "target", "targets", "class", "classes", "outcome", "outcomes"];
/// The word of `--target` for no column at all.
const NONE: &str = "none";
/// Names that a message lists.
const LISTED: usize = 12;

/// What a command wants of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Features and a target: the last column, unless another is named.
    Supervised,
    /// Features, and a target only where one is named.
    Features,
    /// [`Purpose::Features`] to compare with others: the target named for those may be absent.
    Reference,
}

/// The column that is the target, from 0.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) column: Option<usize>,
    /// What was assumed, where it could be otherwise.
    pub(super) assumed: Option<String>,
}

/// Chooses among `n` columns; `told` is the word of `--target`.
pub(super) fn target(
    names: Option<&[String]>,
    n: usize,
    told: Option<&str>,
    purpose: Purpose,
) -> Result<Target> {
    let found = match told {
        Some(word) => named(names, n, word, purpose)?,
        None => default(names, n, purpose)?,
    };
    let least = 1 + usize::from(found.column.is_some());
    if n < least {
        bail!(
            "expected columns of features and a target, found {n} column; --separator says what separates columns"
        );
    }
    Ok(found)
}

fn named(names: Option<&[String]>, n: usize, word: &str, purpose: Purpose) -> Result<Target> {
    let is_it = |(at, name): (usize, &String)| (name == word).then_some(at);
    let by_name: Vec<usize> =
        names.unwrap_or_default().iter().enumerate().filter_map(is_it).collect();
    let number = word.parse::<usize>().ok().filter(|number| (1..=n).contains(number));
    match (&by_name[..], number) {
        (&[column], number) => {
            let other = number.filter(|&number| number != column + 1);
            let assumed = other.map(|number| {
                let found = column + 1;
                format!(
                    "--target {word} is column {found}, which has this name, not column number {number}"
                )
            });
            Ok(Target { column: Some(column), assumed })
        }
        ([], Some(number)) => Ok(Target { column: Some(number - 1), assumed: None }),
        ([], None) if word == NONE && purpose != Purpose::Supervised => {
            Ok(Target { column: None, assumed: None })
        }
        ([], None) if purpose == Purpose::Reference && word.parse::<usize>().is_err() => {
            let assumed =
                format!("has no column named `{}`: all {n} columns are features", short(word));
            Ok(Target { column: None, assumed: Some(assumed) })
        }
        ([], None) => bail!(
            "--target: expected the name of a column or a number from 1 to {n}, found `{}`; {}",
            short(word),
            listed(names)
        ),
        (several, _) => bail!(
            "--target: columns {} have the name `{}`: give a number from 1 to {n}",
            several.iter().map(|at| (at + 1).to_string()).collect::<Vec<_>>().join(" and "),
            short(word)
        ),
    }
}

fn default(names: Option<&[String]>, n: usize, purpose: Purpose) -> Result<Target> {
    let is_target = |name: &String| TARGETS.contains(&name.to_ascii_lowercase().as_str());
    let names = names.unwrap_or_default();
    let last = names.len().saturating_sub(1);
    let other = names.iter().take(last).position(is_target);
    let is_last = names.last().is_some_and(is_target);
    let is_supervised = purpose == Purpose::Supervised;
    let found = names.last().map_or_else(String::new, |name| short(name));
    let assumed = match other {
        Some(at) if is_last => Some(format!(
            "the last column, `{found}`, is taken as the target, though column {} is named `{}` too; --target NAME \
             chooses another",
            at + 1,
            short(&names[at])
        )),
        Some(at) => {
            let name = short(&names[at]);
            let instead = if is_supervised {
                format!("--target {} to take the last column", last + 1)
            } else {
                "--target none to take all columns as features".to_owned()
            };
            bail!(
                "column {} is named `{name}` as a target is, but is not the last: give --target {name}, or {instead}",
                at + 1
            )
        }
        None if is_last && !is_supervised => Some(format!(
            "the last column, `{found}`, is taken as the target and not as a feature; --target none takes all columns \
             as features"
        )),
        None => None,
    };
    let column = (is_supervised || is_last).then(|| n.saturating_sub(1));
    Ok(Target { column, assumed })
}

fn listed(names: Option<&[String]>) -> String {
    let Some(names) = names else { return "line 1 holds no names".to_owned() };
    let shown: Vec<String> =
        names.iter().take(LISTED).map(|name| format!("`{}`", short(name))).collect();
    let more = if names.len() > LISTED { ", …" } else { "" };
    format!("the names are {}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(header: &str, told: Option<&str>, purpose: Purpose) -> Result<Target> {
        let names: Vec<String> = header.split(',').map(str::to_owned).collect();
        target((!header.is_empty()).then_some(&names), names.len().max(3), told, purpose)
    }

    #[test]
    fn the_target_is_named_or_last_or_an_error() {
        use Purpose::{Features, Reference, Supervised};
        for (header, told, purpose, column, is_said) in [
            ("", None, Supervised, Some(2), false),
            ("", None, Features, None, false),
            ("a,b,price", None, Supervised, Some(2), false),
            ("a,b,Label", None, Supervised, Some(2), false),
            ("label,b,y", None, Supervised, Some(2), true),
            ("a,b,c", None, Features, None, false),
            ("a,b,y", None, Features, Some(2), true),
            ("label,b,c", Some("label"), Supervised, Some(0), false),
            ("label,b,c", Some("1"), Features, Some(0), false),
            ("label,b,c", Some("none"), Features, None, false),
            ("3,2,1", Some("3"), Supervised, Some(0), true),
            ("1,2,3", Some("3"), Supervised, Some(2), false),
            ("a,b,c", Some("label"), Reference, None, true),
            ("a,b,none", Some("none"), Features, Some(2), false),
        ] {
            let found = choose(header, told, purpose).unwrap();
            assert_eq!(found.column, column, "{header} {told:?} {purpose:?}");
            assert_eq!(found.assumed.is_some(), is_said, "{header} {told:?} {purpose:?}");
        }
        for (header, told, purpose, part) in [
            ("label,b,c", None, Supervised, "give --target label, or --target 3"),
            ("CLASS,b,c", None, Features, "give --target CLASS, or --target none"),
            ("a,b,a", Some("a"), Supervised, "columns 1 and 3 have the name `a`"),
            ("a,b,c", Some("d"), Features, "the names are `a`, `b`, `c`"),
            ("a,b,c", Some("0"), Reference, "a number from 1 to 3, found `0`"),
            ("", Some("4"), Supervised, "line 1 holds no names"),
            ("a,b,c", Some("none"), Supervised, "found `none`"),
        ] {
            let told = choose(header, told, purpose).unwrap_err().to_string();
            assert!(told.contains(part), "{header}: {told}");
        }
        let one = target(None, 1, None, Supervised).unwrap_err().to_string();
        assert!(one.contains("found 1 column") && one.contains("--separator"), "{one}");
        assert_eq!(target(None, 1, None, Features).unwrap().column, None);
    }
}
