//! The file from which a run can be made again.

use std::path::Path;

use toml::Value;

use super::arguments::Arguments;
use super::split::filled_in_words;
use crate::commands::grammar::run_toml;
use crate::ledger::shrink::LayerChange;
use crate::training::shrink::Budget;

/// What belongs to a folder and not to a run.
const OF_THE_FOLDER: [&str; 4] = ["out", "overwrite", "quiet", "json"];

/// Options that name files; a path of theirs is absolute in run.toml, as the file may be used from any folder.
const OF_FILES: [&str; 5] = ["model", "data", "validation", "test", "labels"];

fn found_anywhere((name, value): (String, Value)) -> (String, Value) {
    let path = value.as_str().filter(|_| OF_FILES.contains(&name.as_str())).map(Path::new);
    let absolute =
        path.filter(|path| path.exists()).and_then(|path| std::path::absolute(path).ok());
    match absolute {
        Some(path) => (name, Value::from(path.to_string_lossy().into_owned())),
        None => (name, value),
    }
}

/// run.toml: what the command line said, the seed, and for a latency, which another machine does not have, the widths.
///
/// Comments say what follows from them: the widths, and the means that stand for missing values.
pub(super) fn toml(
    arguments: &Arguments,
    budget: &Budget,
    layers: &[LayerChange],
    filled_in: &[(String, f64)],
) -> String {
    let is_kept = |name: &str| !OF_THE_FOLDER.contains(&name) && name != "seed";
    let given =
        arguments.given.iter().filter(|(name, _)| is_kept(name)).cloned().map(found_anywhere);
    let widths: Vec<String> =
        layers.iter().map(|layer| format!("{}={}", layer.name, layer.after)).collect();
    let mut options: Vec<(String, Value)> = match budget {
        Budget::Latency(_) => {
            let other = given.filter(|(name, _)| name != "latency");
            other.chain([("widths".to_owned(), Value::from(widths.clone()))]).collect()
        }
        Budget::Size(..) | Budget::Loss(_) | Budget::Widths(_) => given.collect(),
    };
    options.push(("seed".to_owned(), Value::from(arguments.training.seed.to_string())));
    let resolved = widths.join(", ");
    let mut text = format!("{}# Widths of this run: {resolved}\n", run_toml("shrink", &options));
    if !filled_in.is_empty() {
        text += &format!("# Missing values are filled in: {}\n", filled_in_words(filled_in));
    }
    text
}
