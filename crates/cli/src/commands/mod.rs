//! The subcommands of `distill`, and how their errors end the program.

mod convert;
mod fetch;
mod inspect;
mod map;
mod options;
mod posterior;
mod quality;
mod rank;
mod reproduce;
mod shrink;
mod transform;

use std::process::ExitCode;

use anyhow::Result;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::files::n_cores;
use crate::files::{end_on_signals, say, tell_error};

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
    match run(is_open) {
        Ok(code) => code,
        Err(error) => {
            tell_error(&error);
            ExitCode::from(if error.is::<UsageError>() { USAGE } else { 1 })
        }
    }
}

fn run(is_open: bool) -> Result<ExitCode> {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(help) if !help.use_stderr() => {
            say(&help.to_string())?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let message = "wanted a command, found none (--help lists them)";
            return Err(UsageError(message.into()).into());
        }
        Err(error) => return Err(UsageError(one_line(&error.to_string())).into()),
    };
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
        | Command::Predict(_) => false,
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

/// The parser's message without its name and its advice: its lines up to the usage, in one.
fn one_line(message: &str) -> String {
    let lines = message.strip_prefix("error: ").unwrap_or(message).lines().map(str::trim);
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
