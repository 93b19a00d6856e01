//! Classes that have names.

use std::collections::HashMap;

use anyhow::{Result, bail};

use super::number::short;
use super::place::Place;
use super::{Targets, labels};

/// Classes that a message lists.
const LISTED: usize = 20;

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

/// Targets with the names that `--classes` lists, where they are one an example: numbers are those of the names, or are
/// names themselves where all names are numbers.
pub(super) fn with_told(targets: Targets, told: &[String], place: &Place) -> Result<Targets> {
    match targets {
        Targets::Named(named) if named.is_told => Ok(Targets::Named(named)),
        Targets::Named(named) => {
            let words: Vec<String> =
                named.classes.iter().map(|&class| named.names[class as usize].clone()).collect();
            Named::among(&words, told).map(Targets::Named).or_else(|row| {
                let (at, found) = (place.target(row, 0), short(&words[row]));
                bail!("{at}: expected one of --classes, {}, found `{found}`", listed(told))
            })
        }
        Targets::Classes(values) | Targets::Numbers { values, k: 1 } => {
            let names: Option<Vec<f64>> = told.iter().map(|name| name.parse().ok()).collect();
            let by_value = |names: &Vec<f64>| -> Option<Vec<u32>> {
                let class = |value| names.iter().position(|name| name == value).map(|i| i as u32);
                values.iter().map(class).collect()
            };
            let classes = match names.as_ref().and_then(by_value) {
                Some(classes) => classes,
                None => labels::classes(&values, told.len(), place)?,
            };
            Ok(Targets::Named(Named { classes, names: told.to_vec(), is_told: true }))
        }
        Targets::Numbers { k, .. } => {
            bail!("--classes: expected one class an example, found {k} targets")
        }
    }
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
        let told = with_told(named.clone(), &words("emu dog cat"), &place).unwrap();
        let Targets::Named(told) = told else { panic!("no names") };
        assert_eq!(told.classes, [1, 2, 1, 0]);
        assert!(told.notice().is_none());
        let Err(error) = with_told(named, &words("dog cat"), &place) else { panic!("took emu") };
        assert_eq!(
            error.to_string(),
            "array `y`, row 3 (from 0): expected one of --classes, 0 = dog, 1 = cat, found `emu`"
        );
        assert!(check(&words("a b a")).unwrap_err().to_string().contains("`a` stands twice"));
    }

    #[test]
    fn numbers_are_those_of_names_or_names_themselves() {
        let place = Place::Rows("array");
        let classes = |values: &[f64], told: &str| {
            let targets = Targets::Numbers { values: values.to_vec(), k: 1 };
            with_told(targets, &words(told), &place).map(|targets| match targets {
                Targets::Named(named) => named.classes,
                Targets::Classes(_) | Targets::Numbers { .. } => panic!("no names"),
            })
        };
        assert_eq!(classes(&[1.0, 0.0], "cat dog").unwrap(), [1, 0]);
        assert_eq!(classes(&[5.0, 3.0], "3 5").unwrap(), [1, 0]);
        assert_eq!(classes(&[0.0, 1.0], "1 0").unwrap(), [1, 0]);
        assert!(classes(&[2.0], "cat dog").unwrap_err().to_string().contains("from 0 to 1"));
    }
}
