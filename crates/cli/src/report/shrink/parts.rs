//! The smaller sections: other sizes, layers, classes, examples, and repetitions.

use anyhow::{Context, Result};

use super::words::{self, count_of, significant};
use super::{PARAMETERS, plots, size};
use crate::ledger::metric;
use crate::ledger::quality::{
    ClassAccuracy, Disagreement, Interval, PairedMeasure, PairedQuality, Predicted, Thumbnail,
};
use crate::ledger::shrink::{LayerChange, Repetition, Shrunk};
use crate::report::blocks::{Block, Card, Cell, Table};
use crate::report::contact_sheet::grid_png;

/// Most classes that the page lists; report.json has all of them.
const MOST_CLASSES: usize = 40;
/// Pixels that an image of an example is enlarged to at most, where it is smaller.
const SHOWN_SIDE: usize = 128;

/// A number of a layer, where it has one.
type Column = fn(&LayerChange) -> Option<f64>;
/// What removing units was predicted to cost and cost.
const COLUMNS: [(&str, Column); 3] = [
    ("nats predicted", |layer| layer.predicted),
    ("nats measured", |layer| layer.measured),
    ("damping", |layer| layer.damping),
];

/// The Pareto front.
pub(super) fn front(shrunk: &Shrunk, main: Option<&PairedMeasure>) -> Vec<Block> {
    let Some(main) = main else { return Vec::new() };
    let n_before = size(shrunk, PARAMETERS).map(|size| size.before);
    let panels = plots::front(&shrunk.front, main.metric, n_before);
    if panels.is_empty() {
        return Vec::new();
    }
    let n = count_of(shrunk.parts.validation, "validation example", "validation examples");
    let note = format!(
        "What students of other sizes keep before any training, measured on {n}. Vertical axes are stretched around 0 where losses differ \
         much. Each size with its widths is in `front.csv`."
    );
    vec![Block::Paragraph(note), Block::Panels(panels)]
}

/// Widths of every group, with what the removal was predicted to cost and cost.
pub(super) fn layers(shrunk: &Shrunk) -> Vec<Block> {
    let layers = &shrunk.layers;
    if layers.is_empty() {
        return Vec::new();
    }
    let columns: Vec<(&str, Column)> = COLUMNS
        .into_iter()
        .filter(|(_, of)| layers.iter().any(|layer| of(layer).is_some()))
        .collect();
    let row = |layer: &LayerChange| {
        let share = layer.after as f64 / layer.before as f64;
        let kept = Cell { bar: Some(share), ..Cell::number(words::percent(share, 1)) };
        let [before, after] =
            [layer.before, layer.after].map(|n| Cell::number(words::count(n as f64)));
        let numbers =
            columns.iter().map(|(_, of)| Cell::number(of(layer).map_or("–".into(), significant)));
        [Cell::text(layer.name.clone()), before, after, kept].into_iter().chain(numbers).collect()
    };
    let head = ["layer", "units before", "units after", "kept"];
    let head = head.into_iter().chain(columns.iter().map(|(name, _)| *name));
    let table = Table {
        caption: Some(
            "Units (channels of convolutions) of every group of layers that can lose some, in the order of the network."
                .into(),
        ),
        head: head.map(str::to_owned).collect(),
        rows: layers.iter().map(row).collect(),
    };
    let mut notes = Vec::new();
    if !columns.is_empty() {
        notes.push(
            "Nats say how far the predictions moved from the network’s, an example (0: not at all): as predicted when the units of \
             a layer were chosen, and as measured with this layer and all before it done. The damping is the small number that \
             keeps the repair of the next layer stable, as a share of the mean square of an activation."
                .to_owned(),
        );
    }
    std::iter::once(Block::Table(table)).chain(notes.into_iter().map(Block::Paragraph)).collect()
}

/// Accuracy by class, the largest loss first.
pub(super) fn classes(quality: &PairedQuality) -> Vec<Block> {
    let classes = &quality.classes;
    if classes.is_empty() {
        return Vec::new();
    }
    let row = |class: &ClassAccuracy| {
        let change = words::change(metric::ACCURACY, class.difference);
        let [first, second] =
            [class.first, class.second].map(|share| Cell::number(words::percent(share, 1)));
        let mut changed = Cell::number(change.number);
        changed.lines.push(change.interval);
        let n = Cell::number(words::count(class.n_examples as f64));
        vec![Cell::text(class.class.clone()), n, first, second, changed]
    };
    let table = Table {
        caption: Some("Accuracy on the examples of each class, the largest loss first. Below each change is its 95 % interval.".into()),
        head: ["class", "examples", "network", "student", "change in points"].map(str::to_owned).into(),
        rows: classes.iter().take(MOST_CLASSES).map(row).collect(),
    };
    let mut note = format!(
        "Of {} such intervals about one in twenty misses by chance, most likely one at the top or at the bottom.",
        words::count(classes.len() as f64)
    );
    if classes.len() > MOST_CLASSES {
        note = format!("The {MOST_CLASSES} largest losses; `report.json` has every class. {note}");
    }
    let is_finite = |class: &ClassAccuracy| {
        let Interval { value, low, high } = class.difference;
        [class.first, class.second, value, low, high].into_iter().all(f64::is_finite)
    };
    if !classes.iter().take(MOST_CLASSES).all(is_finite) {
        note += &format!(" {}", words::NOT_FINITE);
    }
    vec![Block::Table(table), Block::Paragraph(note)]
}

/// The examples on which the networks disagree most: images where they are images, else a table.
pub(super) fn disagreements(quality: &PairedQuality) -> Result<Vec<Block>> {
    let examples = &quality.disagreements;
    if examples.is_empty() {
        return Ok(Vec::new());
    }
    let (what, unit) = match quality.predicted {
        Predicted::Classes => (
            "The number behind each prediction is its probability; the distance is the KL divergence in nats.",
            "nats",
        ),
        Predicted::Values => {
            ("The distance is the squared difference of both predictions.", "squared distance")
        }
    };
    let note = format!(
        "Test examples on which the predictions of network and student differ most. Examples are counted from 0. {what}"
    );
    let mut blocks = vec![Block::Paragraph(note)];
    let cards: Result<Vec<Card>> = examples
        .iter()
        .filter_map(|example| example.image.as_ref().map(|image| card(example, image, unit)))
        .collect();
    let cards = cards?;
    if !cards.is_empty() {
        blocks.push(Block::Gallery(cards));
    }
    let others: Vec<&Disagreement> =
        examples.iter().filter(|example| example.image.is_none()).collect();
    if !others.is_empty() {
        blocks.push(Block::Table(listed(&others, unit)));
    }
    if !examples.iter().all(|example| example.distance.is_finite()) {
        blocks.push(Block::Paragraph(words::NOT_FINITE.into()));
    }
    Ok(blocks)
}

fn card(example: &Disagreement, image: &Thumbnail, unit: &str) -> Result<Card> {
    let Thumbnail { channels, height, width, intensities } = image;
    let png = grid_png(&[intensities], [*channels, *height, *width])
        .with_context(|| format!("the image of example {}", example.example))?;
    let times = (SHOWN_SIDE / (*height).max(*width)).max(1);
    let label = example.label.as_ref().map(|label| format!("label: {label}"));
    let predictions =
        [format!("network: {}", example.first), format!("student: {}", example.second)];
    let last = format!("example {}, {} {unit}", example.example, significant(example.distance));
    Ok(Card {
        png,
        size: [width * times, height * times],
        alt: format!("Example {}", example.example),
        lines: label.into_iter().chain(predictions).chain([last]).collect(),
    })
}

fn listed(examples: &[&Disagreement], unit: &str) -> Table {
    let has_labels = examples.iter().any(|example| example.label.is_some());
    let row = |example: &&Disagreement| {
        let label =
            has_labels.then(|| Cell::text(example.label.clone().unwrap_or_else(|| "–".into())));
        let rest = [
            Cell::text(example.first.clone()),
            Cell::text(example.second.clone()),
            Cell::number(significant(example.distance)),
        ];
        std::iter::once(Cell::text(example.example.to_string())).chain(label).chain(rest).collect()
    };
    let head = std::iter::once("example")
        .chain(has_labels.then_some("label"))
        .chain(["network", "student", unit]);
    Table {
        caption: Some("Examples and both predictions, the largest distance first.".into()),
        head: head.map(str::to_owned).collect(),
        rows: examples.iter().map(row).collect(),
    }
}

/// The chosen student with other seeds.
pub(super) fn repetitions(shrunk: &Shrunk, main: Option<&PairedMeasure>) -> Vec<Block> {
    let (Some(main), false) = (main, shrunk.repetitions.is_empty()) else { return Vec::new() };
    let metric = main.metric;
    let has_scratch = shrunk.repetitions.iter().any(|repetition| repetition.scratch.is_some());
    let difference =
        |value: f64| words::change(metric, Interval { value, low: value, high: value }).value;
    let row = |repetition: &Repetition| {
        let Repetition { seed, before, after, scratch } = *repetition;
        let scratch = has_scratch
            .then(|| Cell::number(scratch.map_or("–".into(), |v| words::value(metric, v))));
        let [network, student] = [before, after].map(|v| Cell::number(words::value(metric, v)));
        let change = Cell::number(difference(after - before));
        [Cell::text(seed.to_string()), network, student, change]
            .into_iter()
            .chain(scratch)
            .collect()
    };
    let head = ["seed", "network", "student", "change"]
        .into_iter()
        .chain(has_scratch.then_some("from scratch"));
    let changes: Vec<f64> = shrunk.repetitions.iter().map(|r| r.after - r.before).collect();
    let mean = changes.iter().sum::<f64>() / changes.len() as f64;
    let (low, high) =
        changes.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &c| (l.min(c), h.max(c)));
    let all = words::change(metric, Interval { value: mean, low, high });
    let label = metric.label;
    let text = format!(
        "Over {} the {label} changes by {} on average, from {}. Each seed splits the data anew where the test examples are not from a \
         file of their own.",
        count_of(changes.len(), "seed", "seeds"),
        all.value,
        all.interval
    );
    let table = Table {
        caption: Some(format!(
            "The chosen student made anew with each seed: {label} on that seed’s test examples."
        )),
        head: head.map(str::to_owned).collect(),
        rows: shrunk.repetitions.iter().map(row).collect(),
    };
    vec![Block::Table(table), Block::Paragraph(text)]
}
