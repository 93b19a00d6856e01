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
use models::graph::axes::{Axes, AxesError};
use models::onnx::{ChangeError, ImportOptions, Imported, Model, ReadExternal, import, rewrite};

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
                println!("{}\n{}\n", folder.display(), found.groups);
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
    groups: String,
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
    let inputs = read.graph.inputs().iter().map(|&id| {
        let name = &read.graph.value(id).name;
        probe.get(name).cloned().ok_or_else(|| format!("the probe has no `{name}`"))
    });
    let inputs: Vec<Tensor> = inputs.collect::<Result<_, _>>()?;
    let (n, worst) = narrowing::laws(&axes, &read.graph, &read.params, &inputs, MOST)?;
    written(&model, &read, &axes, &inputs, &mut external)?;
    let n_groups = axes.groups().len();
    let n_free = axes.groups().iter().filter(|group| group.pinned.is_none()).count();
    Ok(Some(Tried { n, worst, n_groups, n_free, groups: axes.to_string() }))
}

/// The network with half of all units, written as a file and read again, is what it was.
fn written(
    model: &Model,
    read: &Imported,
    axes: &Axes,
    inputs: &[Tensor],
    external: &mut ReadExternal<'_>,
) -> TestResult {
    let free = axes.groups().iter().enumerate().filter(|(_, group)| group.pinned.is_none());
    let kept: Vec<(usize, Vec<usize>)> =
        free.map(|(g, group)| (g, (0..group.n_units).step_by(2).collect())).collect();
    let (graph, w) = match axes.narrow(&read.graph, &read.params, &kept) {
        Err(AxesError::NothingLeft { .. }) => return Ok(()),
        narrow => narrow?,
    };
    let bytes = match rewrite(model, read, &graph, &w, external) {
        // A second head, which is no part of what was read, takes what was narrowed.
        Err(ChangeError::Outside { .. }) => return Ok(()),
        bytes => bytes.map_err(|error| format!("rewriting: {error}"))?,
    };
    let output = Some(graph.value(graph.outputs()[0]).name.clone());
    let options = ImportOptions { output, ..ImportOptions::default() };
    let again = import(&Model::parse(bytes)?, external, &options)
        .map_err(|error| format!("what was written: {error}"))?;
    let [expected, found] = [graph.run(&w, inputs)?, again.graph.run(&again.params, inputs)?];
    let gap = narrowing::distance(&found[0], &expected[0])?;
    // Weights may be halves or bytes in the file.
    if gap > 1e-6 { Err(format!("what was written differs by {gap:e}").into()) } else { Ok(()) }
}
