//! The network before and the student after: measures, sizes, speed, and students that were made in another way.

use super::explanations;
use super::words::{self, count_of, sentence};
use crate::ledger::quality::{Interval, McNemar, PairedMeasure, PairedQuality};
use crate::ledger::shrink::{Latency, Shrunk, Student};
use crate::ledger::{Better, Metric, metric};
use crate::report::blocks::{Block, Cell, Table};

/// Below this p a difference is called significant.
const LEVEL: f64 = 0.05;

/// Every measure of both networks, what each means, and the test of accuracies.
pub(super) fn before_and_after(
    quality: &PairedQuality,
    main: Option<&PairedMeasure>,
) -> Vec<Block> {
    if quality.measures.is_empty() {
        return Vec::new();
    }
    let row = |measure: &PairedMeasure| {
        let PairedMeasure { metric, first, second, difference } = *measure;
        let change = words::change(metric, difference);
        let mut changed = Cell::number(change.value);
        changed.lines.push(change.interval);
        let name = match metric.unit {
            "" | "share" => Cell::text(words::label(metric)),
            unit => Cell { lines: vec![words::label(metric), unit.into()], ..Cell::default() },
        };
        let [first, second] = [first, second].map(|v| Cell::number(words::value(metric, v)));
        vec![name, first, second, changed]
    };
    let n = count_of(quality.n_examples, "test example", "test examples");
    let mut blocks = vec![Block::Table(Table {
        caption: Some(format!(
            "Both networks on the same {n}. Below each change is its 95 % interval, paired by example."
        )),
        head: ["measure", "network", "student", "change"].map(str::to_owned).into(),
        rows: quality.measures.iter().map(row).collect(),
    })];
    if let Some(test) = &quality.mc_nemar {
        blocks.push(Block::Paragraph(mc_nemar(test, quality.n_examples, main)));
    }
    let metrics = quality.measures.iter().map(|measure| measure.metric);
    blocks.push(Block::Bullets(metrics.map(explanations::of).collect()));
    if quality.measures.iter().any(|measure| !is_finite(measure)) {
        blocks.push(Block::Paragraph(words::NOT_FINITE.into()));
    }
    blocks
}

fn is_finite(measure: &PairedMeasure) -> bool {
    let PairedMeasure { metric: _, first, second, difference: Interval { value, low, high } } =
        *measure;
    [first, second, value, low, high].into_iter().all(f64::is_finite)
}

/// McNemar's test in words.
fn mc_nemar(test: &McNemar, n_examples: usize, main: Option<&PairedMeasure>) -> String {
    let (first, second) =
        (words::count(test.only_first as f64), words::count(test.only_second as f64));
    let p = words::probability(test.p);
    let n = count_of(n_examples, "example", "examples");
    let counts = format!(
        "Of the {n}, {first} are classified correctly by the network alone and {second} by the student alone \
         (McNemar’s test: p\u{a0}{p})."
    );
    let low = main
        .filter(|measure| measure.metric == metric::ACCURACY)
        .map(|measure| measure.difference.low);
    let lost = low.filter(|low| low.is_finite()).map_or(String::new(), |low| match low < 0.0 {
        true => format!(": up to {} points may be lost", words::decimal(-100.0 * low, 2)),
        false => ": nothing is lost at its lower end".into(),
    });
    let verdict = match test.p < LEVEL {
        true => "The difference is significant: if both were right equally often, so large a difference would be rare.".to_owned(),
        false => format!(
            "No significant difference was found. That is no proof that there is none; the interval of the change says what \
             can be lost{lost}."
        ),
    };
    format!("{counts} {verdict}")
}

/// Sizes and latency of both networks.
pub(super) fn sizes(shrunk: &Shrunk) -> Vec<Block> {
    let mut rows: Vec<Vec<Cell>> = shrunk
        .sizes
        .iter()
        .map(|size| {
            let ratio = words::ratio(size.before, size.after, "smaller", "larger");
            let [before, after] = [size.before, size.after].map(|n| Cell::number(words::count(n)));
            vec![
                Cell::text(size.what.clone()),
                before,
                after,
                Cell { lines: ratio, ..Cell::number("") },
            ]
        })
        .collect();
    let mut notes = Vec::new();
    if let Some([before, after]) = &shrunk.latency {
        let conditions = |latency: &Latency| {
            let examples = count_of(latency.batch, "example", "examples");
            format!("a batch of {examples}, {}", count_of(latency.threads, "thread", "threads"))
        };
        let time = |latency: &Latency| {
            let [median, low, high] =
                [latency.median_ms, latency.low_ms, latency.high_ms].map(words::significant);
            let mut lines = vec![format!("{median}{}ms", words::SPACE), format!("{low} to {high}")];
            if conditions(before) != conditions(after) {
                lines.push(conditions(latency));
            }
            Cell { lines, ..Cell::number("") }
        };
        let mut ratio = match &shrunk.latency_ratio {
            Some(of) => words::ratio(1.0, of.median, "faster", "slower"),
            None => words::ratio(before.median_ms, after.median_ms, "faster", "slower"),
        };
        ratio.extend(shrunk.latency_ratio.map(|of| {
            let [low, high] = [of.low, of.high].map(words::significant);
            format!("{low} to {high}")
        }));
        rows.push(vec![
            Cell { lines: vec!["latency".into(), conditions(before)], ..Cell::default() },
            time(before),
            time(after),
            Cell { lines: ratio, ..Cell::number("") },
        ]);
        notes.push(Block::Paragraph(
            "Latency is the median time of a forward pass in this program, with its first and third quartile. The passes of both \
             networks take turns, and the ratio is the median of that of each pair. Your runtime and machine will give other \
             times."
                .into(),
        ));
    }
    if rows.is_empty() {
        return notes;
    }
    let table = Table {
        caption: Some("What the student needs, beside the network.".into()),
        head: ["size", "network", "student", "student / network"].map(str::to_owned).into(),
        rows,
    };
    std::iter::once(Block::Table(table)).chain(notes).collect()
}

/// Every student beside the chosen one; nothing where there is one only.
pub(super) fn students(shrunk: &Shrunk, main: Option<&PairedMeasure>) -> Vec<Block> {
    let (Some(main), true) = (main, shrunk.students.len() > 1) else { return Vec::new() };
    let is_measured = |wanted: &Metric| {
        let is_of = |student: &Student| student.quality.measure(*wanted).is_some();
        *wanted != main.metric && shrunk.students.iter().any(is_of)
    };
    let others = [metric::CROSS_ENTROPY, metric::AGREEMENT, metric::TEACHER_DIVERGENCE];
    let shown: Vec<Metric> =
        std::iter::once(main.metric).chain(others.into_iter().filter(is_measured)).collect();
    let mut head = vec!["student".to_owned()];
    head.extend(shown.iter().map(|metric| words::label(*metric)));
    head.push("change from the chosen one".into());
    let row = |student: &Student| {
        let mut name = Cell::text(student.how.clone());
        name.lines.extend(student.is_chosen.then(|| "chosen: student.onnx".to_owned()));
        name.lines.extend(Some(student.training.clone()).filter(|words| !words.is_empty()));
        let mut cells = vec![name];
        for (at, metric) in shown.iter().enumerate() {
            let text = student.quality.measure(*metric).map(|measure| {
                let mut cell = Cell::number(words::value(*metric, measure.second));
                if at == 0 {
                    let change = words::change(*metric, measure.difference);
                    cell.lines.extend([change.value, change.interval]);
                }
                cell
            });
            cells.push(text.unwrap_or_else(|| Cell::number("–")));
        }
        cells.push(student.beside_chosen.map_or_else(
            || Cell::number("–"),
            |difference| {
                let change = words::change(main.metric, difference);
                Cell { lines: vec![change.value, change.interval], ..Cell::number("") }
            },
        ));
        cells
    };
    let table = Table {
        caption: Some("Students of the same shape on the same test examples. Below the first measure is its change from \
                 the network; the intervals have 95 % and are paired by example.".into()),
        head,
        rows: shrunk.students.iter().map(row).collect(),
    };
    let others = shrunk.students.iter().filter(|student| !student.is_chosen);
    let mut blocks = vec![Block::Table(table)];
    blocks.extend(others.map(|student| Block::Paragraph(verdict(student, main.metric))));
    blocks
}

/// Which of two students is better, and whether that is certain.
fn verdict(student: &Student, metric: Metric) -> String {
    let name = format!("The student made by {}", student.how);
    let Some(difference) = student.beside_chosen else {
        let own = student.quality.main_measure().map_or(String::new(), |measure| {
            format!(
                " (its {} is {})",
                words::label(measure.metric),
                words::value(measure.metric, measure.second)
            )
        });
        return sentence(&format!(
            "{name} was not compared with the chosen one example by example{own}"
        ));
    };
    let gain = match metric.better {
        Better::Higher | Better::Neither => [difference.low, difference.high],
        Better::Lower => [-difference.high, -difference.low],
    };
    let change = words::short_change(metric, difference);
    let numbers = format!(
        "{} differs by {} from that of the chosen one, 95 % interval {}",
        words::label(metric),
        change.value,
        change.interval
    );
    let says = match gain {
        [low, _] if low > 0.0 => "is better than the chosen one",
        [_, high] if high < 0.0 => "is worse than the chosen one",
        _ => "is not significantly better or worse than the chosen one",
    };
    let excludes = if gain[0] > 0.0 || gain[1] < 0.0 { "excludes 0" } else { "includes 0" };
    format!("{name} {says}: {numbers}, which {excludes}.")
}
