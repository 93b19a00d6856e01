//! Groups of whole networks that other programs exported: each unit leaves without a change of the function once its
//! columns are 0.
//!
//! `DISTILL_DATA` names the folder whose `models` are read; `ONNX_ZOO` another folder of them.

#[path = "common/narrowing.rs"]
mod narrowing;
#[path = "common/networks.rs"]
mod networks;
#[path = "common/probes.rs"]
mod probes;

use std::error::Error;
use std::path::Path;

use candle_core::Tensor;
use models::graph::axes::Axes;
use models::onnx::{ImportOptions, Model, import};

type TestResult = Result<(), Box<dyn Error>>;

/// Units tried of each group; all of them take long.
const MOST: usize = 3;

#[test]
fn units_without_columns_leave_without_a_trace() -> TestResult {
    let folders = networks::network_folders()?;
    let (mut wrong, mut units, mut worst, mut groups, mut free) = (Vec::new(), 0, 0.0f64, 0, 0);
    for folder in &folders {
        match tried(folder) {
            Ok(found) => {
                units += found.n;
                worst = worst.max(found.worst);
                groups += found.n_groups;
                free += found.n_free;
            }
            Err(error) => wrong.push(format!("{}: {error}", folder.display())),
        }
    }
    println!(
        "{} networks, {groups} groups, {free} of them free, {units} units tried, largest difference {worst:e}",
        folders.len()
    );
    assert!(wrong.is_empty(), "{} networks:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

struct Tried {
    n: usize,
    worst: f64,
    n_groups: usize,
    n_free: usize,
}

fn tried(folder: &Path) -> Result<Tried, Box<dyn Error>> {
    let model = Model::parse(std::fs::read(folder.join("model.onnx"))?)?;
    let read = import(&model, &mut networks::external(folder), &ImportOptions::default())?;
    let probe = probes::probe(folder)?;
    let axes = Axes::of(&read.graph);
    if std::env::var_os("AXES_SHOW").is_some() {
        println!("== {}\n{axes}", folder.display());
    }
    let inputs = read.graph.inputs().iter().map(|&id| {
        let name = &read.graph.value(id).name;
        probe.get(name).cloned().ok_or_else(|| format!("the probe has no `{name}`"))
    });
    let inputs: Vec<Tensor> = inputs.collect::<Result<_, _>>()?;
    let (n, worst) = narrowing::laws(&axes, &read.graph, &read.params, &inputs, MOST)?;
    let n_groups = axes.groups().len();
    let n_free = axes.groups().iter().filter(|group| group.pinned.is_none()).count();
    Ok(Tried { n, worst, n_groups, n_free })
}
