//! Groups of whole networks that other programs exported: each unit leaves without a change of the function once its
//! columns are 0.
//!
//! `DISTILL_DATA` names the folder whose `models` are read; `ONNX_ZOO` another folder of them.

#[path = "common/narrowing.rs"]
mod narrowing;
#[path = "common/networks.rs"]
mod networks;
#[expect(dead_code, reason = "this test runs graphs itself")]
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
    let (mut wrong, mut read, mut units, mut worst) = (Vec::new(), 0, 0, 0.0f64);
    let (mut groups, mut free) = (0, 0);
    for folder in &folders {
        match tried(folder) {
            Ok(None) => {}
            Ok(Some(found)) => {
                read += 1;
                units += found.n;
                worst = worst.max(found.worst);
                groups += found.n_groups;
                free += found.n_free;
            }
            Err(error) => wrong.push(format!("{}: {error}", folder.display())),
        }
    }
    println!(
        "{read} networks, {groups} groups, {free} of them free, {units} units tried, largest \
         difference {worst:e}"
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

fn tried(folder: &Path) -> Result<Option<Tried>, Box<dyn Error>> {
    let model = Model::parse(std::fs::read(folder.join("model.onnx"))?)?;
    let mut external = networks::external(folder);
    let mut read = import(&model, &mut external, &ImportOptions::default());
    for output in model.outputs().iter().filter(|_| model.outputs().len() > 1) {
        if read.is_err() {
            let output = Some(output.name.clone());
            let options = ImportOptions { output, ..ImportOptions::default() };
            read = import(&model, &mut external, &options);
        }
    }
    // Networks that are not read are no concern of this test.
    let Ok(read) = read else { return Ok(None) };
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
    Ok(Some(Tried { n, worst, n_groups, n_free }))
}
