//! What `distill inspect` says of a graph: its layers, with shapes, parameters and multiply-adds.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::Result;
use core_tensors::Block;
use models::graph::{Graph, Node, Source, ValueId, shape_text};
use models::onnx::{ImportError, Model, unsupported};

use crate::files::{cells, printable, text_list, text_table};
use crate::model_file::{Expected, Misplaced, import_beside};

/// An ONNX file: what it says of itself, and the network in it, or why there is none that we read.
pub(super) fn onnx(path: &Path, bytes: Vec<u8>, expected: &Expected) -> Result<String> {
    let model = Model::parse(bytes)?;
    let mut text = format!("{}: an ONNX file\n\n{}\n", path.display(), text_list(&about(&model)));
    match import_beside(path, &model, expected) {
        Ok(read) => {
            text += &format!("{}\n", layers(&read.graph));
            let said = std::iter::once(format!("logits: {}", read.logits)).chain(read.notes);
            said.for_each(|line| text += &format!("{}\n", printable(&line)));
        }
        // What was asked for is not there: no property of the file.
        Err(error) if is_about_words(&error) => return Err(error),
        Err(error) => {
            text += &format!(
                "no network that this program reads: {}\n",
                printable(&format!("{error:#}"))
            );
            text += &operators(&model);
        }
    }
    Ok(text)
}

/// Whether an error concerns words of the command line.
pub(super) fn is_about_words(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ImportError::NoSuchTensor { .. }))
        || error.is::<Misplaced>()
}

/// Layers of a graph: a linear node and what follows it, up to the next.
pub(super) fn rows(graph: &Graph) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for &id in graph.inputs() {
        let (layer, operators) = (graph.value(id).name.clone(), vec!["input"]);
        rows.push(Row { layer, operators, last: id, n_parameters: 0, n_products: 0 });
    }
    let blocks = graph.layout().blocks;
    let mut counted = vec![false; blocks.len()];
    // The row whose last value each is; an input has a row of its own, which nothing joins.
    let mut row_of: HashMap<ValueId, usize> = HashMap::new();
    for node in graph.nodes() {
        let Some(&result) = node.results.first() else { continue };
        let n_parameters = parameters(graph, &blocks, node, &mut counted);
        let n_products = graph.n_products(node);
        let is_layer = n_products > 0 || (n_parameters > 0 && !is_bias(graph, node));
        let follows = node.operands.iter().filter_map(|id| row_of.get(id).copied()).max();
        let at = match follows {
            Some(at) if !is_layer => {
                rows[at].operators.push(node.op.name());
                rows[at].n_parameters += n_parameters;
                row_of.remove(&rows[at].last);
                rows[at].last = result;
                at
            }
            _ => {
                let (layer, operators) = (node.name.clone(), vec![node.op.name()]);
                rows.push(Row { layer, operators, last: result, n_parameters, n_products });
                rows.len() - 1
            }
        };
        row_of.insert(result, at);
    }
    rows
}

/// Layers of a graph, and their sums.
pub(super) fn layers(graph: &Graph) -> String {
    let rows = rows(graph);
    let widest = rows.iter().map(|row| printable(&row.layer).chars().count()).max();
    let width = widest.unwrap_or(0);
    let mut table =
        vec![cells![format!("{:width$}  operators", "layer"), "output", "parameters", "MACs"]];
    for row in &rows {
        let shape = shape_text(&graph.value(row.last).shape);
        let layer = format!("{:width$}  {}", printable(&row.layer), told(&row.operators));
        table.push(cells![layer, shape, row.n_parameters, row.n_products]);
    }
    let (p, macs) = (graph.layout().n_parameters(), graph.n_products_in_all());
    table.push(cells!["in all", "", p, macs]);
    text_table(&table)
}

/// A layer with what follows it, up to the next.
pub(super) struct Row {
    pub(super) layer: String,
    pub(super) operators: Vec<&'static str>,
    /// What comes out.
    pub(super) last: ValueId,
    pub(super) n_parameters: usize,
    pub(super) n_products: u64,
}

/// Parameters that a node is the first to read.
fn parameters(graph: &Graph, blocks: &[Block], node: &Node, counted: &mut [bool]) -> usize {
    let mut n = 0;
    for &id in &node.operands {
        if let Source::Parameter(t) = graph.value(id).source
            && !std::mem::replace(&mut counted[t], true)
        {
            n += blocks[t].n_parameters();
        }
    }
    n
}

/// Whether a node adds a bias to what a product gave.
fn is_bias(graph: &Graph, node: &Node) -> bool {
    let is_vector = |id: &ValueId| {
        let value = graph.value(*id);
        matches!(value.source, Source::Parameter(_))
            && value.shape.iter().filter(|extent| extent.as_known() != Some(1)).count() <= 1
    };
    node.op.name() == "Add" && node.operands.iter().any(is_vector)
}

/// Operators in their order, those in a row counted: `Conv, Relu ×2`.
fn told(operators: &[&'static str]) -> String {
    /// More of them are cut.
    const MOST: usize = 4;
    let mut runs: Vec<(&str, usize)> = Vec::new();
    for &operator in operators {
        match runs.last_mut() {
            Some((last, n)) if *last == operator => *n += 1,
            _ => runs.push((operator, 1)),
        }
    }
    let cut = runs.len().saturating_sub(MOST);
    let words = runs.iter().take(MOST).map(|&(name, n)| match n {
        1 => name.to_owned(),
        n => format!("{name} ×{n}"),
    });
    let mut words: Vec<String> = words.collect();
    if cut > 0 {
        words.push(format!("and {cut} more"));
    }
    words.join(", ")
}

fn about(model: &Model) -> Vec<Vec<String>> {
    let (program, version) = model.producer();
    let opsets = model.opsets().iter().map(|(domain, version)| match domain.as_str() {
        "" => version.to_string(),
        domain => format!("{domain} {version}"),
    });
    let mut rows = vec![
        cells![
            "made by",
            if program.is_empty() { "unknown".to_owned() } else { format!("{program} {version}") }
        ],
        cells!["opset", opsets.collect::<Vec<_>>().join(", ")],
        cells!["format", format!("IR version {}", model.ir_version())],
    ];
    let named = |name: &'static str, values: &[models::onnx::ValueInfo]| {
        let names: Vec<&str> = values.iter().map(|value| value.name.as_str()).collect();
        cells![name, names.join(", ")]
    };
    rows.push(named("outputs", model.outputs()));
    rows.extend(model.metadata().iter().map(|(key, value)| cells![key, value]));
    rows
}

/// How often each operator occurs, and which are not read.
fn operators(model: &Model) -> String {
    let mut counts: BTreeMap<(&str, &str), (usize, Option<String>)> = BTreeMap::new();
    for node in model.nodes() {
        let entry = counts.entry((node.domain.as_str(), node.op_type.as_str())).or_default();
        entry.0 += 1;
        entry.1 = unsupported(node).map(|reason| reason.to_string());
    }
    let mut rows = vec![cells!["operator", "nodes", ""]];
    for ((domain, op), (n, reason)) in counts {
        let name = if domain.is_empty() { op.to_owned() } else { format!("{domain} {op}") };
        rows.push(cells![name, n, reason.unwrap_or_default()]);
    }
    format!("\n{}", text_table(&rows))
}
