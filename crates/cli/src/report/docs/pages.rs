//! The generated pages of docs/results: one an experiment, and the index with the verdict on every claim.

use anyhow::Result;

use crate::ledger::{Description, Figure, RULES, Scale};
use crate::report::blocks::{Block, Cell, Document, Table};
use crate::report::document;
use crate::report::ranking::Contest;
use crate::report::render::markdown;
use crate::report::{ExperimentReport, Report, tables};

/// The index among the pages.
pub(super) const INDEX: &str = "README.md";

/// Name of the page of an experiment.
pub(super) fn name(experiment: &Description) -> String {
    format!("{}.md", experiment.id)
}

/// What one experiment found: where the numbers come from, its claims with their checks, its tables.
pub(super) fn page(experiment: &ExperimentReport, report: &Report) -> Result<String> {
    let mut blocks = vec![Block::Paragraph(document::summary(&experiment.about))];
    blocks.extend(warnings(experiment, report).map(|text| Block::Warning(text.to_owned())));
    blocks.push(Block::Table(provenance(experiment, report)));
    blocks.push(Block::Paragraph(format!("[All verdicts, and how to read the tables]({INDEX})")));
    if !experiment.claims.is_empty() {
        blocks.push(Block::Heading(2, "Claims".into()));
        let columns = ["claim", "statement", "published", "ours", "paired difference", "verdict"];
        let is_own = |id: &str| experiment.claims.iter().any(|claim| claim.id == id);
        blocks.push(Block::Table(columns_of(&tables::claims(report), &columns, is_own)));
        for claim in &experiment.claims {
            blocks.push(Block::Paragraph(format!("Checks of {}:", claim.id)));
            blocks.push(Block::Table(tables::checks(report, &experiment.about, claim)));
        }
    }
    blocks.push(Block::Heading(2, "Results".into()));
    let before = blocks.len();
    for figure in experiment.about.figures {
        if let Figure::Cross { title, metric, columns, rows } = figure {
            blocks.push(Block::Heading(3, (*title).to_owned()));
            blocks.push(Block::Table(tables::cross(experiment, *metric, columns, rows)));
        }
        if let Figure::Ranking { title, among, than, metrics } = figure
            && let Some((sentences, table)) = (Contest { among, than, metrics }).draw(experiment)?
        {
            blocks.push(Block::Heading(3, (*title).to_owned()));
            blocks.push(Block::Bullets(sentences));
            blocks.push(Block::Table(table));
        }
    }
    // Many rows are for the report; a page shows them only where no smaller table sums them up.
    if blocks.len() == before {
        blocks.push(Block::Table(tables::results(experiment)));
    }
    Ok(text(experiment.about.title, blocks))
}

/// The verdicts on all claims, then the list of pages and how to read them.
///
/// Claims of experiments that the report does not hold stay as they are in `old`, the index before.
pub(super) fn index(
    old: &str,
    report: &Report,
    all: &[Description],
    has_page: impl Fn(&Description) -> bool,
) -> String {
    let columns = ["claim", "paper", "statement", "published", "ours", "verdict"];
    let new = linked(columns_of(&tables::claims(report), &columns, |_| true), all, "");
    let pages = all.iter().filter(|experiment| has_page(experiment)).map(|experiment| {
        format!("[{}]({}): {}", experiment.title, name(experiment), experiment.origin())
    });
    let blocks = vec![
        Block::Paragraph(
            "One line a claim; its name leads to the page of its experiment, with the command, the commit and the machine \
             that made the numbers. Experiments without a claim are in the list of pages below."
                .into(),
        ),
        // A block of its own, since lines that are kept are text.
        Block::Paragraph(lines(old, &new, all).trim_end().to_owned()),
        Block::Heading(2, "Pages".into()),
        Block::Bullets(pages.collect()),
        Block::Heading(2, "How verdicts are reached".into()),
        Block::Paragraph("Fixed before any run:".into()),
        Block::Bullets(RULES.iter().map(|&rule| rule.to_owned()).collect()),
        Block::Heading(2, "How to read the tables".into()),
        Block::Bullets(tables::NOTES.iter().map(|&note| note.to_owned()).collect()),
    ];
    text("Results", blocks)
}

/// A table of claims with one line a claim, by number: those of `new`, and those that stand in `old` of others.
pub(super) fn lines(old: &str, new: &Table, all: &[Description]) -> String {
    let new = markdown::render_table(new);
    let row = |text: &str, id: &str| {
        let start = format!("| [{id}](");
        text.lines().find(|line| line.starts_with(&start)).map(str::to_owned)
    };
    let mut ids: Vec<&str> =
        all.iter().flat_map(|e| e.claims.iter()).map(|claim| claim.id).collect();
    ids.sort_by_key(|id| (id.get(..1), id.get(1..).and_then(|n| n.parse::<u32>().ok())));
    let rows = ids.into_iter().filter_map(|id| row(&new, id).or_else(|| row(old, id)));
    let head = new.lines().take(2).map(str::to_owned);
    head.chain(rows).map(|line| line + "\n").collect()
}

/// The same table, its first column linked to the pages, which lie in `folder`.
pub(super) fn linked(mut table: Table, all: &[Description], folder: &str) -> Table {
    for cell in table.rows.iter_mut().filter_map(|row| row.first_mut()) {
        let id = cell.lines.concat();
        if let Some(of) = all.iter().find(|e| e.claims.iter().any(|claim| claim.id == id)) {
            *cell = Cell::text(format!("[{id}]({folder}{})", name(of)));
        }
    }
    table
}

/// Some columns of a table, by their headings and in their order; of the rows those whose first cell is wanted.
pub(super) fn columns_of(table: &Table, head: &[&str], wanted: impl Fn(&str) -> bool) -> Table {
    let places: Vec<usize> =
        head.iter().filter_map(|name| table.head.iter().position(|h| h == name)).collect();
    let is_wanted = |row: &&Vec<Cell>| row.first().is_some_and(|cell| wanted(&cell.lines.concat()));
    let rows = table.rows.iter().filter(is_wanted);
    Table {
        head: places.iter().map(|&at| table.head[at].clone()).collect(),
        rows: rows.map(|row| places.iter().map(|&at| row[at].clone()).collect()).collect(),
        ..Table::default()
    }
}

/// What must not be overlooked.
fn warnings(
    experiment: &ExperimentReport,
    report: &Report,
) -> impl Iterator<Item = &'static str> + use<> {
    let is_smoke = report.scale == Scale::Smoke;
    let smoke = is_smoke.then_some("Smoke scale: the numbers below say nothing about the papers.");
    let generated = experiment.is_generated();
    let generated = generated.then_some("Run on generated data, not on the published data.");
    smoke.into_iter().chain(generated)
}

/// Where the numbers of a page come from.
fn provenance(experiment: &ExperimentReport, report: &Report) -> Table {
    let p = &report.provenance;
    let commit = p.commit.as_ref().map(|commit| {
        let changes = if commit.ends_with('+') { " with changes" } else { "" };
        format!("{}{changes}", commit.get(..10).unwrap_or(commit))
    });
    let seconds = format!("{:.0} seconds of one core", experiment.seconds);
    let rows = [
        ("command", format!("`{} --readme README.md`", p.command)),
        ("commit", commit.unwrap_or_else(|| "outside a checkout".into())),
        ("scale", report.scale.word().into()),
        ("started", p.started.clone()),
        ("machine", p.machine.clone()),
        ("computing", seconds),
    ];
    let row = |(name, text): (&str, String)| vec![Cell::text(name), Cell::text(text)];
    Table {
        head: ["made by", ""].map(str::to_owned).into(),
        rows: rows.map(row).into(),
        ..Table::default()
    }
}

fn text(title: &str, blocks: Vec<Block>) -> String {
    let text = markdown::render(&Document { title: title.to_owned(), blocks });
    text.trim_end().to_owned() + "\n"
}
