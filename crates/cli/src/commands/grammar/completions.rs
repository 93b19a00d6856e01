//! `distill completions`: scripts with which a shell completes commands and options.

use std::process::ExitCode;

use anyhow::Result;
use clap::Command;
use clap_complete::{Shell, generate};

use crate::files::say;

/// Print a script with which a shell completes commands and options.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bash: distill completions bash > ~/.local/share/bash-completion/completions/distill
  zsh:  distill completions zsh > \"${fpath[1]}/_distill\"
  fish: distill completions fish > ~/.config/fish/completions/distill.fish
  PowerShell: distill completions powershell >> $PROFILE")]
pub(in crate::commands) struct Arguments {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
    /// Print one JSON object, with the script as a text in it.
    #[arg(long)]
    json: bool,
}

/// Prints the script for a command line.
pub(in crate::commands) fn run(arguments: &Arguments, mut command: Command) -> Result<ExitCode> {
    let mut script = Vec::new();
    generate(arguments.shell, &mut command, "distill", &mut script);
    let script = String::from_utf8_lossy(&script);
    say(&match arguments.json {
        true => {
            let shell = arguments.shell.to_string();
            format!("{}\n", serde_json::json!({ "shell": shell, "script": script }))
        }
        false => script.into_owned(),
    })?;
    Ok(ExitCode::SUCCESS)
}
