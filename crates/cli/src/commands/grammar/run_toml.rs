//! A run as a file that `--config` reads.

use super::config::COMMAND;

/// The text of a `run.toml`: the command and its options with all that was resolved, in this order.
///
/// Names are long names of options, and arguments in lower case; tables are not among the values.
pub(in crate::commands) fn run_toml(command: &str, resolved: &[(String, toml::Value)]) -> String {
    let mut text = format!(
        "# Replay: distill {command} --config FILE, where FILE is this file. Options of the command line win.\n\
         {COMMAND} = {}\n",
        toml::Value::from(command)
    );
    for (name, value) in resolved {
        text += &format!("{} = {value}\n", key(name));
    }
    text
}

/// A key as TOML writes it.
fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match !name.is_empty() && name.chars().all(is_bare) {
        true => name.to_owned(),
        false => toml::Value::from(name).to_string(),
    }
}
