//! Classes that have names.

use std::collections::HashMap;

use anyhow::{Result, bail};

use super::number::short;
use super::place::Place;
use super::{Targets, labels};

/// Classes that a message lists.
const LISTED: usize = 20;

/// Whose names the classes have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum NamesFrom {
    /// The command line names them.
    #[default]
    Classes,
    /// They are those of `--data`, for another file.
    Data,
}

impl NamesFrom {
    /// In words, for messages.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Classes => "--classes",
            Self::Data => "the classes of --data",
        }
    }
}

/// Classes of examples by name: class i is the i-th name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) classes: Vec<u32>,
    pub(super) names: Vec<String>,
    /// Whether the command line names them, in the order of the network.
    pub(super) is_told: bool,
}

impl Named {
    /// The classes of words, numbered in the order of their letters.
    pub(super) fn sorted(words: &[String]) -> Result<Self> {
        let mut names = words.to_vec();
        names.sort_unstable();
        names.dedup();
        if names.len() > labels::MOST_CLASSES {
            bail!(
                "expected at most {} different classes, found {} names",
                labels::MOST_CLASSES,
                names.len()
            );
        }
        let classes = words.iter().map(|word| names.partition_point(|name| name < word) as u32);
        Ok(Self { classes: classes.collect(), names, is_told: false })
    }

    /// The classes of words among names; the index of the first word that is none of them else.
    pub(super) fn among(words: &[String], names: &[String]) -> Result<Self, usize> {
        let places: HashMap<&str, u32> = (0..).zip(names).map(|(i, name)| (&name[..], i)).collect();
        let class = |(row, word): (usize, &String)| places.get(&word[..]).copied().ok_or(row);
        let classes = words.iter().enumerate().map(class).collect::<Result<_, _>>()?;
        Ok(Self { classes, names: names.to_vec(), is_told: true })
    }

    /// What is assumed of the order, where nobody told it.
    pub(super) fn notice(&self) -> Option<String> {
        let told = listed(&self.names);
        (!self.is_told).then(|| format!("classes by name: {told} (--classes overrules this order)"))
    }
}

/// Refuses names that stand twice.
pub(super) fn check(told: &[String]) -> Result<()> {
    let mut sorted: Vec<&str> = told.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!("--classes: `{}` stands twice", short(pair[0]));
    }
    Ok(())
}

/// Targets with the names that `--classes` lists, where they are one an example: numbers are names themselves where they are
/// among these, and else those of the names.
///
/// `from` says whose names they are. Those of other data have no numbers that a user could know.
pub(super) fn with_told(
    targets: Targets,
    (told, from): (&[String], NamesFrom),
    place: &Place,
) -> Result<Targets> {
    let words = from.words();
    match targets {
        Targets::Named(named) if named.is_told => Ok(Targets::Named(named)),
        Targets::Named(named) => {
            let names: Vec<String> =
                named.classes.iter().map(|&class| named.names[class as usize].clone()).collect();
            Named::among(&names, told).map(Targets::Named).or_else(|row| {
                let (at, found) = (place.target(row, 0), short(&names[row]));
                bail!("{at}: expected one of {words}, {}, found `{found}`", listed(told))
            })
        }
        Targets::Classes(values) | Targets::Numbers { values, k: 1 } => {
            let names: Vec<Option<f64>> = told.iter().map(|name| name.parse().ok()).collect();
            let by_name = |value: &f64| {
                names.iter().position(|name| *name == Some(*value)).map(|class| class as u32)
            };
            let found: Vec<Option<u32>> = values.iter().map(by_name).collect();
            let classes = match found.iter().copied().collect() {
                Some(classes) => classes,
                None if from == NamesFrom::Classes && found.iter().all(Option::is_none) => {
                    labels::classes(&values, told.len(), place)?
                }
                None => bail!("{}", nameless(&values, &found, (told, from), place)),
            };
            Ok(Targets::Named(Named { classes, names: told.to_vec(), is_told: true }))
        }
        Targets::Numbers { k, .. } => {
            bail!("{words}: expected one class an example, found {k} targets")
        }
    }
}

/// What is wrong with values of which some or all are none of the names.
fn nameless(
    values: &[f64],
    found: &[Option<u32>],
    (told, from): (&[String], NamesFrom),
    place: &Place,
) -> String {
    let mut others: Vec<f64> = values
        .iter()
        .zip(found)
        .filter_map(|(&value, class)| class.is_none().then_some(value))
        .collect();
    let first = found.iter().position(Option::is_none).unwrap_or_default();
    others.sort_unstable_by(f64::total_cmp);
    others.dedup();
    let shown: Vec<String> = others.iter().take(LISTED).map(f64::to_string).collect();
    let more = if others.len() > LISTED { ", …" } else { "" };
    let (at, words, names) = (place.target(first, 0), from.words(), listed(told));
    let noun = if others.len() == 1 { "value" } else { "values" };
    let what_to_do = match from {
        NamesFrom::Classes => "name every value, or none of them",
        NamesFrom::Data => "--classes names all of them in their order",
    };
    format!(
        "{at}: expected one of {words}, {names}, found {}; {noun} without a name: {}{more}; {what_to_do}",
        values[first],
        shown.join(", ")
    )
}

/// Names with their numbers, the first of them where they are many.
pub(super) fn listed(names: &[String]) -> String {
    let named = |(i, name): (usize, &String)| format!("{i} = {}", short(name));
    let shown: Vec<String> = names.iter().take(LISTED).enumerate().map(named).collect();
    let more = if names.len() > LISTED { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn names_are_sorted_unless_their_order_is_told() {
        let (place, labels) = (Place::Rows("array"), words("dog cat dog emu"));
        let sorted = Named::sorted(&labels).unwrap();
        assert_eq!(
            (&sorted.classes[..], &sorted.names),
            (&[1, 0, 1, 2][..], &words("cat dog emu"))
        );
        let told = sorted.notice().unwrap();
        assert!(
            told.starts_with("classes by name: 0 = cat, 1 = dog, 2 = emu (--classes"),
            "{told}"
        );
        let named = Targets::Named(sorted);
        let told = with_told(named.clone(), (&words("emu dog cat"), NamesFrom::Classes), &place);
        let told = told.unwrap();
        let Targets::Named(told) = told else { panic!("no names") };
        assert_eq!(told.classes, [1, 2, 1, 0]);
        assert!(told.notice().is_none());
        for from in [NamesFrom::Classes, NamesFrom::Data] {
            let found = with_told(named.clone(), (&words("dog cat"), from), &place);
            let Err(error) = found else { panic!("took emu") };
            let of = from.words();
            assert_eq!(
                error.to_string(),
                format!(
                    "array `y`, row 3 (from 0): expected one of {of}, 0 = dog, 1 = cat, found `emu`"
                )
            );
        }
        assert!(check(&words("a b a")).unwrap_err().to_string().contains("`a` stands twice"));
    }

    #[test]
    fn numbers_are_those_of_names_or_names_themselves() {
        let place = Place::Rows("array");
        let classes_of = |values: &[f64], told: &str, from| {
            let targets = Targets::Numbers { values: values.to_vec(), k: 1 };
            let told = words(told);
            with_told(targets, (&told, from), &place).map(|targets| match targets {
                Targets::Named(named) => named.classes,
                Targets::Classes(_) | Targets::Numbers { .. } => panic!("no names"),
            })
        };
        let classes = |values: &[f64], told: &str| classes_of(values, told, NamesFrom::Classes);
        assert_eq!(classes(&[1.0, 0.0], "cat dog").unwrap(), [1, 0]);
        assert_eq!(classes(&[1.0, 0.0], "10 20").unwrap(), [1, 0]);
        assert_eq!(classes(&[5.0, 3.0], "3 5").unwrap(), [1, 0]);
        assert_eq!(classes(&[0.0, 1.0], "1 0").unwrap(), [1, 0]);
        assert!(classes(&[2.0], "cat dog").unwrap_err().to_string().contains("from 0 to 1"));
        // Names of some values are no order of the others: 0 could be the first class, or be forgotten.
        for (values, told) in [(&[1.0, 0.0, 2.0, 0.0][..], "1 2"), (&[1.0, 0.0, 2.0], "1 2 3")] {
            let error = classes(values, told).unwrap_err().to_string();
            assert!(
                error.contains("row 1 (from 0)") && error.contains("value without a name: 0;"),
                "{error}"
            );
        }
        // Names that come from other data have no numbers: only names that are numbers themselves count.
        assert_eq!(classes_of(&[5.0, 3.0], "3 5", NamesFrom::Data).unwrap(), [1, 0]);
        let error = classes_of(&[1.0, 0.0], "cat dog", NamesFrom::Data).unwrap_err().to_string();
        assert!(error.contains("values without a name: 0, 1;"), "{error}");
    }
}
