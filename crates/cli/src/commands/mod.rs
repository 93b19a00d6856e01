//! The subcommands of `distill`, and how their errors end the program.

mod convert;
mod fetch;
mod grammar;
mod inspect;
mod map;
mod options;
mod posterior;
mod quality;
mod rank;
mod reproduce;
mod shrink;
mod transform;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::grammar::{Failure, plainly};
use crate::files::n_cores;
use crate::files::{be_quiet, end_on_signals, say, tell_error, tell_usage};

/// Exit status of wrong words on the command line.
const USAGE: u8 = 2;

/// Makes a smaller network that knows what a bigger one knows, and says what was kept.
#[derive(Parser)]
#[command(name = "distill", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[arg(long, global = true, value_name = "FILE", help = grammar::CONFIG_HELP, long_help = grammar::CONFIG_LONG_HELP)]
    config: Option<PathBuf>,
    /// Print no notes and no progress; errors and warnings are still printed.
    #[arg(long, global = true)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Re-run the papers' experiments and give a verdict on each claim.
    Reproduce(reproduce::Arguments),
    /// Download data sets into the cache and check them.
    Fetch(fetch::Arguments),
    /// Make a trained network smaller, and measure what was lost.
    Shrink(shrink::Arguments),
    /// Make a Gaussian posterior of a trained perceptron.
    Posterior(posterior::Arguments),
    /// Rank the hidden units of a layer, least important first.
    #[command(alias = "order")]
    Rank(rank::Arguments),
    /// Remove units and layers from a network together with its posterior.
    Transform(transform::Arguments),
    /// Apply a map between domains to a data set, and judge it.
    Map(map::Arguments),
    /// Say what a model or a posterior file holds.
    Inspect(inspect::Arguments),
    /// Write a trained network in another format.
    Convert(convert::Arguments),
    /// Measure a network on examples with labels or targets.
    Evaluate(quality::EvaluateArguments),
    /// Compare two networks on the same examples, paired.
    Compare(quality::CompareArguments),
    /// Write what a network says of examples.
    Predict(quality::PredictArguments),
    /// Print a script with which a shell completes commands and options.
    Completions(grammar::completions::Arguments),
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

/// Runs the command line: status 0, 2 where its words are wrong, 128 + n where signal n ended it, else 1.
///
/// `is_open`: whether the user left the number of threads open.
pub fn main(is_open: bool) -> ExitCode {
    let ran = arguments().and_then(|arguments| match arguments {
        Ok(arguments) => run(arguments, is_open),
        Err(code) => Ok(code),
    });
    match ran {
        Ok(code) => code,
        Err(error) => {
            tell_error(&error);
            ExitCode::from(if error.is::<UsageError>() { USAGE } else { 1 })
        }
    }
}

/// The command line, or the exit code where its help was asked for or its words are wrong, which is told then.
fn arguments() -> Result<Result<Arguments, ExitCode>> {
    let command = grammar::with_exit_codes(Arguments::command());
    let matches = grammar::matches(&command, std::env::args_os().collect());
    let parsed = matches.and_then(|mut matches| {
        let given = grammar::given(&command, &matches);
        let parsed = Arguments::from_arg_matches_mut(&mut matches).map_err(Failure::CommandLine)?;
        Ok((parsed, given))
    });
    match parsed {
        Ok((mut arguments, given)) => {
            if let Command::Shrink(shrink) = &mut arguments.command {
                shrink.given = given;
                shrink.config.clone_from(&arguments.config);
            }
            return Ok(Ok(arguments));
        }
        Err(Failure::CommandLine(help)) if !help.use_stderr() => {
            say(&help.to_string())?;
            return Ok(Err(ExitCode::SUCCESS));
        }
        Err(Failure::CommandLine(error))
            if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand =>
        {
            tell_usage("error: expected a command, found none (--help lists them)");
        }
        Err(Failure::CommandLine(error)) => tell_usage(&plainly(&error.to_string())),
        Err(Failure::Config { message, hint }) => {
            tell_usage(format!("error: {message}\n{hint}").trim_end());
        }
        Err(Failure::File(error)) => return Err(error),
    }
    Ok(Err(ExitCode::from(USAGE)))
}

fn run(arguments: Arguments, is_open: bool) -> Result<ExitCode> {
    if arguments.quiet {
        be_quiet();
    }
    let trains = match &arguments.command {
        Command::Reproduce(_) => true,
        Command::Posterior(arguments) => arguments.trains(),
        Command::Shrink(_) => false,
        Command::Map(arguments) => arguments.trains(),
        Command::Fetch(_)
        | Command::Rank(_)
        | Command::Transform(_)
        | Command::Inspect(_)
        | Command::Convert(_)
        | Command::Evaluate(_)
        | Command::Compare(_)
        | Command::Predict(_)
        | Command::Completions(_) => false,
    };
    start_pool(is_open && !trains);
    if !matches!(arguments.command, Command::Reproduce(_) | Command::Shrink(_)) {
        end_on_signals()?;
    }
    match arguments.command {
        Command::Reproduce(arguments) => reproduce::run(&arguments),
        Command::Fetch(arguments) => fetch::run(&arguments),
        Command::Shrink(arguments) => shrink::run(&arguments),
        Command::Posterior(arguments) => posterior::run(&arguments),
        Command::Rank(arguments) => rank::run(&arguments),
        Command::Transform(arguments) => transform::run(&arguments),
        Command::Map(arguments) => map::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Evaluate(arguments) => quality::run_evaluate(&arguments),
        Command::Compare(arguments) => quality::run_compare(&arguments),
        Command::Predict(arguments) => quality::run_predict(&arguments),
        Command::Completions(arguments) => {
            grammar::completions::run(&arguments, Arguments::command())
        }
    }
}

/// Starts the threads of products: one a core, or as many as the environment says.
///
/// Now, since a pool that cannot start while others take threads is a panic of its library.
fn start_pool(takes_all_cores: bool) {
    let n_threads = if takes_all_cores { n_cores() } else { 0 };
    // An error means that a pool exists already, which serves as well.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build_global();
}

/// Smallest and largest variance or precision: their inverses, and sums of those, are numbers too.
const SIZES: std::ops::RangeInclusive<f64> = 1e-300..=1e300;

/// A number in (0, ∞), and not at the ends of what a number can be.
fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if SIZES.contains(&value) => Ok(value),
        Ok(value) if value > 0.0 => Err("wanted a number from 1e-300 to 1e300".into()),
        _ => Err("wanted a number above 0".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_takes_json() {
        for command in Arguments::command().get_subcommands() {
            let is_json = |arg: &clap::Arg| arg.get_long() == Some("json");
            let name = command.get_name();
            assert!(command.get_arguments().any(is_json), "{name} has no --json");
            assert!(!command.has_subcommands(), "{name}: its own commands need --json, too");
        }
    }
}
