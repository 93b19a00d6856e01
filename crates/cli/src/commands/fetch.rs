//! `distill fetch`: data sets into the cache.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::UsageError;
use crate::data::published::{self, FETCHED};
use crate::files::say;

/// Which data sets, and where to.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Data sets; all of them if none is named.
    ids: Vec<String>,
    /// Folder of downloads.
    #[arg(long, value_name = "DIR", default_value = "datasets/cache")]
    cache: PathBuf,
    /// Print one JSON object, when all of them are there.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let ids: Vec<&str> = match &arguments.ids[..] {
        [] => FETCHED.to_vec(),
        named => named.iter().map(String::as_str).collect(),
    };
    for id in &ids {
        published::licence(id).map_err(|error| UsageError(error.to_string()))?;
    }
    let mut fetched = Vec::new();
    for id in ids {
        let (folder, license) = (published::fetch(id, &arguments.cache)?, published::licence(id)?);
        if arguments.json {
            fetched.push(serde_json::json!({ "id": id, "folder": folder, "license": license }));
        } else {
            say(&format!("{id}: {} ({license})\n", folder.display()))?;
        }
    }
    if arguments.json {
        say(&format!("{}\n", serde_json::json!({ "fetched": fetched })))?;
    }
    Ok(ExitCode::SUCCESS)
}
