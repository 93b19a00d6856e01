//! What all commands have in common: files of options, quiet runs, usage errors, exit codes, and completions for shells.

pub(super) mod completions;
mod config;
mod failure;
mod given;
mod options;
mod run_toml;
#[cfg(test)]
mod tests;

use std::ffi::OsString;

use clap::{ArgMatches, Command};

pub(super) use failure::{Failure, plainly};
pub(super) use run_toml::run_toml;

/// What the end of a program says, under every help.
const EXIT_CODES: &str = "\
Exit codes:
  0      done
  1      an error, which is told on standard error
  2      a wrong command line, or a wrong file of --config
  128+n  ended by signal n: 130 by Ctrl-C, 143 by SIGTERM";

/// What `--config` is, in the help of every command.
pub(super) const CONFIG_HELP: &str = "Read options from this TOML file; what the command line says wins [keys: long names of options, and names of \
     arguments in lower case]";

/// The same with everything that a person who writes such a file needs.
pub(super) const CONFIG_LONG_HELP: &str = "\
Read options from this TOML file; what the command line says wins.

Keys are the long names of options, with - or _ inside, and the names of arguments in lower case. Values are texts,
numbers, true or false for options without a value, and arrays for options that take several. `command` may name the
command that the file is for. Relative paths in it are relative to the current folder, as on the command line:

  command = \"posterior\"
  model = \"model.safetensors\"
  prior-precision = 0.5
  layers = [\"input\", \"output\"]";

/// The command line of this program as it is, with what every help says.
pub(super) fn with_exit_codes(command: Command) -> Command {
    let names: Vec<String> =
        command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let mut command = command.after_help(EXIT_CODES);
    for name in names {
        command = command.mut_subcommand(name, |sub| {
            let before = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            let gap = if before.is_empty() { "" } else { "\n\n" };
            sub.after_help(format!("{before}{gap}{EXIT_CODES}"))
        });
    }
    command
}

/// The words of a command line, with those of the file that `--config` names among them.
///
/// # Errors
/// Where words or the file are wrong: a [`Failure`].
pub(super) fn matches(command: &Command, words: Vec<OsString>) -> Result<ArgMatches, Failure> {
    let words = config::with_file(command, words)?;
    command.clone().try_get_matches_from(words).map_err(Failure::CommandLine)
}

/// What the command line said of its command, as keys of a file that says the same.
pub(super) fn given(command: &Command, matches: &ArgMatches) -> Vec<(String, toml::Value)> {
    let named = matches.subcommand();
    let found = named.and_then(|(name, of)| Some((command.find_subcommand(name)?, of)));
    found.map(|(command, matches)| given::given(command, matches)).unwrap_or_default()
}
