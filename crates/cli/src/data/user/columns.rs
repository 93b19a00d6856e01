//! Which columns of a text table are features, and which are targets.

use anyhow::{Result, bail};

use super::number::short;
use super::options::Options;
use super::selection;

/// Names that say that a column is a target, in small letters.
const TARGETS: [&str; 9] =
    ["y", "label", "labels", "target", "targets", "class", "classes", "outcome", "outcomes"];
/// Whether a name says that a column is a target.
pub(super) fn is_target_name(name: &str) -> bool {
    TARGETS.contains(&name.to_ascii_lowercase().as_str())
}

/// The word of `--target` for no column at all.
const NONE: &str = "none";

/// What a command wants of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Features and a target: the last column, unless another is named.
    Supervised,
    /// Features, and a target only where one is named.
    Features,
    /// [`Purpose::Features`] to compare with others: the target named for those may be absent.
    Reference,
    /// What a network takes, and labels where there are any; [`super::Examples::prepared`] decides what is open.
    Network,
}

/// Columns, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// In the order in which they are features.
    pub(super) features: Vec<usize>,
    /// None where there are no targets.
    pub(super) targets: Vec<usize>,
    /// What was assumed, where it could be otherwise.
    pub(super) assumed: Vec<String>,
}

/// Chooses among `n` columns as the options say; `n_inputs` are the features that the network takes, where that is known.
pub(super) fn choose(
    names: Option<&[String]>,
    n: usize,
    options: &Options,
    purpose: Purpose,
    n_inputs: Option<usize>,
) -> Result<Columns> {
    let mut assumed = Vec::new();
    let mut listed = |option: &str, word: Option<&String>| -> Result<Option<Vec<usize>>> {
        let Some(word) = word else { return Ok(None) };
        let (columns, notices) = selection::columns(names, n, option, word)?;
        assumed.extend(notices);
        Ok(Some(columns))
    };
    let dropped = listed("--drop", options.drop.as_ref())?.unwrap_or_default();
    let chosen = listed("--features", options.features.as_ref())?;
    let is_chosen = |at: &usize| chosen.as_ref().is_some_and(|chosen| chosen.contains(at));
    if let Some(at) = dropped.iter().find(|at| is_chosen(at)) {
        bail!("--drop: column {} is one of --features", at + 1);
    }
    let open: Vec<usize> = (0..n).filter(|at| !dropped.contains(at) && !is_chosen(at)).collect();
    let table = Table { names, n, open: &open, has_chosen: chosen.is_some(), n_inputs };
    let (targets, told) = match options.target.as_deref() {
        Some(word) => table.named(word, purpose)?,
        None => table.default(purpose)?,
    };
    assumed.extend(told);
    for at in &targets {
        let other = match (is_chosen(at), dropped.contains(at)) {
            (true, _) => "--features",
            (_, true) => "--drop",
            (false, false) => continue,
        };
        bail!("--target: column {} is one of {other}", at + 1);
    }
    let features =
        chosen.unwrap_or_else(|| open.into_iter().filter(|at| !targets.contains(at)).collect());
    if features.is_empty() {
        let noun = if n == 1 { "column" } else { "columns" };
        bail!(
            "expected columns of features and a target, found {n} {noun}; --separator says what separates columns"
        );
    }
    Ok(Columns { features, targets, assumed })
}

/// Columns of which some are the targets.
struct Table<'a> {
    names: Option<&'a [String]>,
    n: usize,
    /// Those that no option makes a feature or leaves out.
    open: &'a [usize],
    /// Whether an option chooses the features.
    has_chosen: bool,
    n_inputs: Option<usize>,
}

/// Targets and what was assumed.
type Chosen = (Vec<usize>, Vec<String>);

impl Table<'_> {
    fn named(&self, word: &str, purpose: Purpose) -> Result<Chosen> {
        let has_it = !selection::with_name(self.names, word).is_empty();
        if word == NONE && purpose != Purpose::Supervised && !has_it {
            return Ok((Vec::new(), Vec::new()));
        }
        let is_number = word.parse::<usize>().is_ok();
        if purpose == Purpose::Reference && !is_number && !has_it && !word.contains(',') {
            let (n, word) = (self.n, short(word));
            let told = format!("has no column named `{word}`: all {n} columns are features");
            return Ok((Vec::new(), vec![told]));
        }
        selection::columns(self.names, self.n, "--target", word)
    }

    fn default(&self, purpose: Purpose) -> Result<Chosen> {
        let Some((&last, before)) = self.open.split_last() else {
            return Ok((Vec::new(), Vec::new()));
        };
        let name = |at: usize| self.names.and_then(|names| names.get(at));
        let is_target = |at: usize| name(at).is_some_and(|name| is_target_name(name));
        let found =
            name(last).map_or_else(|| (last + 1).to_string(), |name| format!("`{}`", short(name)));
        let other = before.iter().copied().find(|&at| is_target(at));
        if let (Some(at), false) = (other, is_target(last)) {
            let name = name(at).map_or_else(String::new, |name| short(name));
            let instead = match purpose {
                Purpose::Supervised => format!("--target {} to take the last column", last + 1),
                Purpose::Features | Purpose::Reference | Purpose::Network => {
                    "--target none to take all columns as features".to_owned()
                }
            };
            bail!(
                "column {} is named `{name}` as a target is, but is not the last: give --target {name}, or {instead}",
                at + 1
            );
        }
        let (is_taken, told) = match (other, purpose) {
            (Some(at), _) => {
                let other = name(at).map_or_else(String::new, |name| short(name));
                let told = format!(
                    "the last column, {found}, is taken as the target, though column {} is named `{other}` too; --target \
                     NAME chooses another",
                    at + 1
                );
                (true, Some(told))
            }
            (None, Purpose::Supervised) => {
                let is_open = self.has_chosen && !before.is_empty() && !is_target(last);
                let told = format!("{found} is taken as the target; --target NAME chooses another");
                (true, is_open.then(|| format!("of the columns that are no features, {told}")))
            }
            (None, Purpose::Network) if !is_target(last) => self.by_count(&found),
            (None, Purpose::Features | Purpose::Reference | Purpose::Network) => {
                let told = format!(
                    "the last column, {found}, is taken as the target and not as a feature; --target none takes all \
                     columns as features"
                );
                (is_target(last), is_target(last).then_some(told))
            }
        };
        let targets = if is_taken { vec![last] } else { Vec::new() };
        Ok((targets, told.into_iter().collect()))
    }

    /// Whether the last column, which is `found`, is the target, where no name says so, and what to say about it.
    fn by_count(&self, found: &str) -> (bool, Option<String>) {
        let n = self.open.len();
        let (is_taken, told) = match self.n_inputs {
            _ if self.has_chosen => {
                (false, "no column is taken as the target; --target names one".to_owned())
            }
            Some(wanted) if wanted == n => {
                let told = format!(
                    "all {n} columns are taken as features, as many as the network takes, and none as the target; --target \
                     names one"
                );
                (false, told)
            }
            _ => {
                let told = format!(
                    "the last column, {found}, is taken as the target; --target NAME chooses another, --target none takes \
                     all columns as features"
                );
                (true, told)
            }
        };
        (is_taken, Some(told))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(header: &str, told: Option<&str>, purpose: Purpose) -> Result<Columns> {
        chosen(header, [told, None, None], purpose, None)
    }

    /// Words of --target, --drop and --features.
    fn chosen(
        header: &str,
        [target, drop, features]: [Option<&str>; 3],
        purpose: Purpose,
        n_inputs: Option<usize>,
    ) -> Result<Columns> {
        let names: Vec<String> = header.split(',').map(str::to_owned).collect();
        let n = if header.is_empty() { 3 } else { names.len().max(3) };
        let [target, drop, features] = [target, drop, features].map(|word| word.map(str::to_owned));
        let options = Options { target, drop, features, ..Options::default() };
        super::choose((!header.is_empty()).then_some(&names), n, &options, purpose, n_inputs)
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
            let target = found.targets.first().copied();
            assert_eq!(target, column, "{header} {told:?} {purpose:?}");
            assert_eq!(!found.assumed.is_empty(), is_said, "{header} {told:?} {purpose:?}");
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
        let none = Options::default();
        let one = super::choose(None, 1, &none, Supervised, None).unwrap_err().to_string();
        assert!(one.contains("found 1 column") && one.contains("--separator"), "{one}");
        assert!(super::choose(None, 1, &none, Features, None).unwrap().targets.is_empty());
    }

    #[test]
    fn a_network_takes_the_last_column_for_the_target_or_none_and_it_is_said() {
        for (header, n_inputs, targets, part) in [
            ("a,b,c", Some(3), &[][..], "as many as the network takes"),
            ("a,b,c", Some(2), &[2], "the last column, `c`, is taken as the target"),
            ("", None, &[2], "the last column, 3, is taken as the target"),
            ("a,b,y", Some(3), &[2], "--target none"),
        ] {
            let found = chosen(header, [None; 3], Purpose::Network, n_inputs).unwrap();
            assert_eq!(found.targets, targets, "{header}");
            assert!(found.assumed[0].contains(part), "{:?}", found.assumed);
        }
        let found = choose("a,b,c", Some("none"), Purpose::Network).unwrap();
        assert_eq!((found.features, found.targets, found.assumed), (vec![0, 1, 2], vec![], vec![]));
    }

    #[test]
    fn columns_are_left_out_and_put_in_order() {
        use Purpose::{Network, Supervised};
        let header = "id,a,b,c,y";
        for (words, purpose, features, targets) in [
            ([None, Some("id"), None], Supervised, &[1, 2, 3][..], &[4][..]),
            ([Some("a,c"), Some("1"), None], Network, &[2, 4], &[1, 3]),
            ([None, None, Some("c,a")], Network, &[3, 1], &[4]),
            ([None, Some("y"), None], Supervised, &[0, 1, 2], &[3]),
            ([Some("none"), Some("id,y"), Some("b")], Network, &[2], &[]),
        ] {
            let found = chosen(header, words, purpose, None).unwrap();
            assert_eq!((&found.features[..], &found.targets[..]), (features, targets), "{words:?}");
        }
        for (words, part) in [
            ([Some("a"), Some("a"), None], "--target: column 2 is one of --drop"),
            ([Some("a"), None, Some("a")], "--target: column 2 is one of --features"),
            ([None, Some("a"), Some("a,b")], "--drop: column 2 is one of --features"),
            ([None, Some("id,a,b,c"), None], "expected columns of features"),
        ] {
            let told = chosen(header, words, Network, None).unwrap_err().to_string();
            assert!(told.contains(part), "{told}");
        }
    }
}
