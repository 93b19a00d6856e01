//! Edits on the command line: two flags that repeat, whose order among one another counts.

use bayes_posterior::{Edit, UnitMatching};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

/// The edits of a command line, in the order in which they were given.
#[derive(Clone, Debug)]
pub(super) struct Edits(Vec<Given>);

/// One edit as it was typed.
#[derive(Clone, Debug, PartialEq)]
enum Given {
    Units { layer: usize, units: Vec<usize> },
    Layer(usize),
}

const UNITS: &str = "remove-units";
const LAYER: &str = "remove-layer";

impl Edits {
    /// The plan, with one pairing for every layer that goes.
    pub(super) fn plan(&self, matching: UnitMatching) -> Vec<Edit> {
        let edit = |given: &Given| match given {
            Given::Units { layer, units } => {
                Edit::RemoveUnits { layer: *layer, units: units.clone() }
            }
            Given::Layer(layer) => Edit::RemoveLayer { layer: *layer, matching },
        };
        self.0.iter().map(edit).collect()
    }

    /// Whether a layer goes.
    pub(super) fn removes_a_layer(&self) -> bool {
        self.0.iter().any(|given| matches!(given, Given::Layer(_)))
    }
}

impl FromArgMatches for Edits {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut given: Vec<(usize, Given)> = Vec::new();
        for id in [UNITS, LAYER] {
            let indices = matches.indices_of(id).into_iter().flatten();
            let edits = matches.get_many::<Given>(id).into_iter().flatten();
            given.extend(indices.zip(edits.cloned()));
        }
        if given.is_empty() {
            let message = "wanted --remove-units or --remove-layer, found neither\n";
            return Err(Error::raw(ErrorKind::MissingRequiredArgument, message));
        }
        given.sort_by_key(|(index, _)| *index);
        Ok(Self(given.into_iter().map(|(_, edit)| edit).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Edits {
    fn augment_args(command: Command) -> Command {
        command
            .arg(
                Arg::new(UNITS)
                    .long(UNITS)
                    .value_name("LAYER:UNITS")
                    .action(ArgAction::Append)
                    .allow_hyphen_values(true)
                    .value_parser(units)
                    .help(
                        "Remove units of a hidden layer: 1:0,7,3 or 2:10-19. Layers count from 1, units from 0, \
                         in the network that the edit before left. May be repeated",
                    ),
            )
            .arg(
                Arg::new(LAYER)
                    .long(LAYER)
                    .value_name("LAYER")
                    .action(ArgAction::Append)
                    .allow_hyphen_values(true)
                    .value_parser(layer)
                    .help(
                        "Remove a hidden layer that is as wide as the one before it. May be repeated; all edits \
                         happen in the order given",
                    ),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn layer(text: &str) -> Result<Given, String> {
    number(text, "the number of a layer").map(Given::Layer)
}

/// `LAYER:I,J,K`, where I-J stands for all from I to J.
fn units(text: &str) -> Result<Given, String> {
    let (layer, list) =
        text.split_once(':').ok_or("wanted a layer, a colon and its units, such as 1:0,7,3")?;
    let layer = number(layer, "the number of a layer before the colon")?;
    if list.trim().is_empty() {
        return Err("wanted units after the colon, found none".into());
    }
    let mut units = Vec::new();
    for item in list.split(',') {
        match item.trim().split_once('-').filter(|(first, _)| !first.is_empty()) {
            None => units.push(number(item, "the number of a unit")?),
            Some((first, last)) => {
                let first = number(first, "the first unit of a range")?;
                let last = number(last, "the last unit of a range")?;
                if last < first {
                    return Err(format!("wanted a rising range of units, found {item}"));
                }
                if last - first >= MOST_UNITS - units.len() {
                    return Err(format!("wanted at most {MOST_UNITS} units, found {item}"));
                }
                units.extend(first..=last);
            }
        }
    }
    Ok(Given::Units { layer, units })
}

/// Units in one edit; no layer has more.
const MOST_UNITS: usize = 1 << 24;

fn number(text: &str, what: &str) -> Result<usize, String> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits => Ok(number),
        _ => Err(format!("wanted {what}, found `{text}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_read_and_everything_else_is_refused() {
        let given = |layer, units: &[usize]| Ok(Given::Units { layer, units: units.to_vec() });
        assert_eq!(units("1:4,0,2"), given(1, &[4, 0, 2]));
        assert_eq!(units("12: 3-5 ,1"), given(12, &[3, 4, 5, 1]));
        for wrong in
            ["", "1", "1:", ":1", "1:,", "1:0,", "-1:0", "1:-1", "1:5-3", "1:0-", "1:a", "1:+2"]
        {
            assert!(units(wrong).is_err(), "{wrong}");
        }
        assert!(units("1:99999999999999999999").is_err() && units("1:0-99999999999").is_err());
        assert!(units("1:0-16777214,0-9").is_err());
        assert_eq!(layer("3"), Ok(Given::Layer(3)));
        assert!(layer("-3").is_err() && layer("").is_err() && layer("1:2").is_err());
    }
}
