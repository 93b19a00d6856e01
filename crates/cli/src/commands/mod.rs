//! The subcommands of `distill`, and how their errors end the program.

mod fetch;
mod reproduce;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

/// Exit status of wrong words on the command line.
const USAGE: u8 = 2;

/// Makes a smaller network that knows what a bigger one knows, and says what was kept.
#[derive(Parser)]
#[command(name = "distill", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Re-run the papers' experiments and give a verdict on each claim.
    Reproduce(reproduce::Arguments),
    /// Download data sets into the cache and check them.
    Fetch(fetch::Arguments),
}

/// Wrong words on the command line, found after they were parsed.
#[derive(Debug)]
struct UsageError(String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Runs the command line: status 0, 2 where its words are wrong, 130 where it was interrupted, else 1.
#[expect(clippy::print_stderr, clippy::print_stdout, reason = "this is where the program speaks")]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            let nothing = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
            if error.kind() == nothing {
                eprintln!("error: wanted a command, found none (--help lists them)");
            } else {
                eprintln!("{}", one_line(&error.to_string()));
            }
            return ExitCode::from(USAGE);
        }
        Err(help) => {
            print!("{help}");
            return ExitCode::SUCCESS;
        }
    };
    let result = match arguments.command {
        Command::Reproduce(arguments) => reproduce::run(&arguments),
        Command::Fetch(arguments) => fetch::run(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<UsageError>() { USAGE } else { 1 })
        }
    }
}

/// The parser's message without its advice: its lines up to the usage, in one.
fn one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim);
    let told =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    told.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_message_of_the_parser_takes_one_line() {
        let Err(error) = Arguments::try_parse_from(["distill", "reproduce", "--seeds", "0"]) else {
            panic!("took no seeds")
        };
        let line = one_line(&error.to_string());
        assert!(line.contains("'0' for '--seeds <N>'") && !line.contains('\n'), "{line}");
    }
}
