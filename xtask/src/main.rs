//! Starts cargo and `distill`: fetch, reproduce, bench, examples, tidy. Knows no tensor.

mod bench;
mod examples;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

const HELP: &str = "\
cargo xtask COMMAND [OPTIONS]

Commands:
  reproduce  re-run the papers' experiments and give a verdict on each claim (--help for its options)
  fetch      download data sets into datasets/cache and check them (--help for its options)
  bench      run the benches; with --against SOURCE, training steps beside other programs (--help)
  examples   run the example programs of every crate
  tidy       formatting, links, lints, documentation, layers: everything that needs no training";

/// Exit status of wrong words on the command line.
const USAGE: u8 = 2;

#[expect(clippy::print_stderr, clippy::print_stdout, reason = "this is where the program speaks")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (verb, rest) = match arguments.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("", &[][..]),
    };
    let result = match verb {
        "reproduce" => distill(verb, rest, &["--out", "target/reproduce/latest"]),
        "fetch" => distill(verb, rest, &[]),
        "bench" => bench::run(&root(), rest),
        "examples" if rest.is_empty() => examples::run(&root()),
        "tidy" if rest.is_empty() => tidy::run(&root()),
        "examples" | "tidy" => {
            Err(Usage(format!("{verb}: wanted no arguments, found {}", rest.join(" "))).into())
        }
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!(
                "error: wanted one of reproduce, fetch, bench, examples, tidy, found `{verb}`"
            );
            return ExitCode::from(USAGE);
        }
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<Usage>() { USAGE } else { 1 })
        }
    }
}

/// Wrong words on the command line.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The folder of the workspace.
fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// Builds `distill` and becomes it; an option with a folder of the workspace is added where it is absent.
fn distill(verb: &str, arguments: &[String], default: &[&str]) -> Result<ExitCode> {
    let root = root();
    let mut command = cargo();
    command.args(["run", "--release", "--quiet", "--package", "cli", "--bin", "distill"]);
    command.arg("--manifest-path").arg(root.join("Cargo.toml"));
    if arguments.windows(2).any(|pair| pair == ["--device", "cuda"])
        || has(arguments, "--device=cuda")
    {
        command.args(["--features", "cuda"]);
    }
    command.args(["--", verb]).args(arguments);
    let folders = [["--cache", "datasets/cache"]];
    let defaults = folders.iter().map(|pair| &pair[..]).chain([default]);
    for pair in defaults {
        if let [name, folder] = pair
            && !has(arguments, name)
            && !arguments.iter().any(|a| a.starts_with(&format!("{name}=")))
        {
            command.arg(name).arg(root.join(folder));
        }
    }
    // One thread for each network: seeds are what runs in parallel.
    if std::env::var_os("RAYON_NUM_THREADS").is_none() {
        command.env("RAYON_NUM_THREADS", "1");
    }
    become_command(command)
}

fn has(arguments: &[String], word: &str) -> bool {
    arguments.iter().any(|argument| argument == word)
}

/// The cargo that started this program.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Replaces this process, so that Ctrl-C reaches the command alone.
#[cfg(unix)]
fn become_command(mut command: Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    Err(error).with_context(|| format!("starting {command:?}"))
}

#[cfg(not(unix))]
fn become_command(mut command: Command) -> Result<ExitCode> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// Runs a command to its end; its failure is an error that names it.
fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}
