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
}

/// Prints the script for a command line.
pub(in crate::commands) fn run(arguments: &Arguments, mut command: Command) -> Result<ExitCode> {
    let mut script = Vec::new();
    generate(arguments.shell, &mut command, "distill", &mut script);
    say(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
