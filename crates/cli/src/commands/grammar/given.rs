//! What a command line said itself, as the keys of a file that says the same.

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::options::keys;

/// Every option and argument of a command that was given, in the order of its help.
pub(super) fn given(command: &Command, matches: &ArgMatches) -> Vec<(String, toml::Value)> {
    let keys = keys(command);
    let is_given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let keys = keys.iter().filter(|key| is_given(key.arg.get_id().as_str()));
    keys.map(|key| {
        let id = key.arg.get_id().as_str();
        let value = match key.is_flag() {
            true => toml::Value::from(true),
            false => {
                let raw = matches.get_raw(id).into_iter().flatten();
                let texts: Vec<String> =
                    raw.map(|value| value.to_string_lossy().into_owned()).collect();
                match &texts[..] {
                    [one] if !key.takes_several() => toml::Value::from(one.as_str()),
                    _ => toml::Value::from(texts),
                }
            }
        };
        (key.name.clone(), value)
    })
    .collect()
}
