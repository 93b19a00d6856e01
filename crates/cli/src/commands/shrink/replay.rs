//! The file from which a run can be made again.

use toml::Value;

use super::arguments::Arguments;
use crate::commands::grammar::run_toml;
use crate::ledger::shrink::LayerChange;
use crate::training::shrink::Budget;

/// What belongs to a folder and not to a run.
const OF_THE_FOLDER: [&str; 4] = ["out", "overwrite", "quiet", "json"];

/// run.toml: what the command line said, the seed, and for a latency, which another machine does not have, the widths.
pub(super) fn toml(arguments: &Arguments, budget: &Budget, layers: &[LayerChange]) -> String {
    let is_kept = |name: &str| !OF_THE_FOLDER.contains(&name) && name != "seed";
    let given = arguments.given.iter().filter(|(name, _)| is_kept(name)).cloned();
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
    format!("{}# Widths of this run: {resolved}\n", run_toml("shrink", &options))
}
