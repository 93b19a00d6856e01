//! What stands in the report, block by block.

use anyhow::Result;

use super::blocks::{self, Block, Document};
use super::ranking::Contest;
use super::{ExperimentReport, Report, figures, tables};
use crate::ledger::{Description, Figure, RULES, Scale, Verdict};

/// Builds the document of a report.
pub(super) fn build(report: &Report) -> Result<Document> {
    let mut blocks = opening(report);
    if report.experiments.iter().any(|experiment| !experiment.claims.is_empty()) {
        blocks.push(Block::Heading(2, "Claims at a glance".into()));
        blocks.push(Block::Table(tables::claims(report)));
    }
    for experiment in &report.experiments {
        describe(report, experiment, &mut blocks)?;
    }
    blocks.push(Block::Heading(2, "How verdicts are reached".into()));
    blocks.push(Block::Paragraph("Fixed before any run:".into()));
    blocks.push(Block::Bullets(RULES.iter().map(|&rule| rule.to_owned()).collect()));
    blocks.push(Block::Heading(2, "How to read the tables".into()));
    blocks.push(Block::Bullets(tables::NOTES.iter().map(|&note| note.to_owned()).collect()));
    blocks.push(Block::Heading(2, "Provenance".into()));
    blocks.push(Block::Table(tables::provenance(report)));
    Ok(Document {
        title: "What a small network keeps of a big one: reproduction report".into(),
        blocks,
    })
}

fn opening(report: &Report) -> Vec<Block> {
    let p = &report.provenance;
    let count = |verdict| {
        let claims = report.experiments.iter().flat_map(|e| &e.claims);
        claims.filter(|claim| claim.verdict == verdict).count()
    };
    let mut blocks = vec![Block::Paragraph(format!(
        "{} claims: {} reproduced, {} not reproduced, {} inconclusive, {} not run. Scale {}, {} seeds, {:.0} s, made by `{}`.",
        report.experiments.iter().map(|e| e.claims.len()).sum::<usize>(),
        count(Verdict::Reproduced),
        count(Verdict::NotReproduced),
        count(Verdict::Inconclusive),
        count(Verdict::NotRun),
        report.scale.word(),
        p.seeds.len(),
        p.seconds,
        p.command,
    ))];
    if let Some(reason) = &report.interruption {
        blocks.push(Block::Warning(format!(
            "This report is partial: {reason}. Rows hold the runs that were finished; run the same command again to go on."
        )));
    }
    if report.has_generated_rows() {
        blocks.push(Block::Warning(
            "Some data sets were out of reach: rows marked \"generated\" rest on pictures drawn by this program, and \
             their claims are not run."
                .into(),
        ));
    }
    if report.scale == Scale::Smoke {
        blocks.push(Block::Warning(
            "Smoke scale: epochs and objects are cut so that every path runs in a minute. The numbers below say nothing \
             about the papers."
                .into(),
        ));
    }
    blocks
}

/// Which paper an experiment is from, and what is run.
pub(super) fn summary(experiment: &Description) -> String {
    let origin = experiment.origin();
    let (initial, rest) = origin.split_at(1);
    format!("{}{rest}. {}", initial.to_uppercase(), experiment.summary)
}

fn describe(whole: &Report, report: &ExperimentReport, blocks: &mut Vec<Block>) -> Result<()> {
    let experiment = report.about;
    blocks.push(Block::Heading(2, format!("{} ({})", experiment.title, experiment.id)));
    blocks.push(Block::Paragraph(summary(&experiment)));
    let drawn = report.is_generated();
    if drawn {
        blocks.push(Block::Warning("Run on generated data, not on the published data.".into()));
    }
    blocks.push(Block::Paragraph(format!(
        "Settings: {}; {:.0} s of computing.",
        tables::settings(&report.settings),
        report.seconds
    )));
    if report.rows.is_empty() {
        blocks.push(Block::Paragraph("No run was finished.".into()));
    } else {
        blocks.push(Block::Heading(3, "Results".into()));
        blocks.push(Block::Table(tables::results(report)));
    }
    if !report.comparisons.is_empty() {
        blocks.push(Block::Heading(3, "Paired comparisons".into()));
        blocks.push(Block::Table(tables::comparisons(report)));
    }
    if !experiment.claims.is_empty() {
        blocks.push(Block::Heading(3, "Claims".into()));
    }
    for (claim, result) in experiment.claims.iter().zip(&report.claims) {
        blocks.push(Block::Paragraph(format!("{}: {}", claim.id, claim.text)));
        blocks.push(Block::Table(tables::checks(whole, &experiment, result)));
    }
    for (index, figure) in experiment.figures.iter().enumerate() {
        if let Figure::Cross { title, metric, columns, rows } = figure {
            blocks.push(Block::Paragraph((*title).to_owned()));
            blocks.push(Block::Table(tables::cross(report, *metric, columns, rows)));
        }
        if let Figure::Points { title, metric, rows } = figure {
            blocks
                .push(Block::Paragraph(format!("{title}; mean ± population deviation over runs")));
            blocks.push(Block::Table(tables::points(report, *metric, rows)));
        }
        if let Figure::Ranking { title, among, than, metrics } = figure
            && let Some((sentences, table)) = (Contest { among, than, metrics }).draw(report)?
        {
            let drawn = if drawn { " (generated data)" } else { "" };
            blocks.push(Block::Paragraph(format!("{title}{drawn}")));
            blocks.push(Block::Bullets(sentences));
            blocks.push(Block::Table(table));
        }
        if let Some((caption, svg)) = figures::draw(figure, report)? {
            let name = format!("{}-{}", experiment.id, index + 1);
            let caption = if drawn { format!("{caption} (generated data)") } else { caption };
            blocks.push(Block::Figure(blocks::Figure { name, caption, svg }));
        }
    }
    Ok(())
}
