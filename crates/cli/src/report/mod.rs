//! The report of a reproduction: results.json, report.md, index.html, CSV of every curve, figures.

mod blocks;
pub(crate) mod contact_sheet;
mod docs;
mod document;
mod figures;
mod markup;
mod ranking;
mod render;
pub mod shrink;
mod tables;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use self::render::{csv, html, json, markdown};
use crate::files::{check_set, check_writable, write_set};
use crate::ledger::{
    ClaimResult, Comparison, Description, ExperimentRun, Kind, Provenance, Row, Rows, Scale,
    assemble, compare, judge,
};

pub(crate) use docs::Docs;

/// Files of a report beside those in its folders, which are also below.
pub(crate) const PAGES: [&str; 3] = ["results.json", "report.md", "index.html"];
const FIGURES: &str = "figures";
const CURVES: &str = "curves";
/// Everything about one reproduction.
pub struct Report {
    /// The scale.
    pub scale: Scale,
    /// Where it came from.
    pub provenance: Provenance,
    /// Set where the run was cut short: why.
    pub interruption: Option<String>,
    /// The experiments.
    pub experiments: Vec<ExperimentReport>,
}

/// Everything about one experiment.
pub struct ExperimentReport {
    /// The experiment.
    pub about: Description,
    /// Seconds of computing, over all its parts.
    pub seconds: f64,
    /// Its settings.
    pub settings: serde_json::Value,
    /// Rows in the order of the table, then the others.
    pub rows: Vec<Row>,
    /// Numbers for figures.
    pub arrays: BTreeMap<String, Vec<f64>>,
    /// Every row against its baseline.
    pub comparisons: Vec<Comparison>,
    /// Judged claims.
    pub claims: Vec<ClaimResult>,
}

impl ExperimentReport {
    /// Whether it rests on generated data.
    fn is_generated(&self) -> bool {
        self.rows.iter().any(|row| row.data == Kind::Generated)
    }
}

/// Fails before hours of work rather than after them, where [`Report::write`] would refuse the folder.
pub(crate) fn check_folder(folder: &Path) -> Result<()> {
    check_writable(folder)?;
    check_set(folder, &[&PAGES[..], &[FIGURES, CURVES]].concat())
}

impl Report {
    /// Puts finished parts together and judges the claims.
    pub fn new(
        runs: Vec<ExperimentRun>,
        scale: Scale,
        provenance: Provenance,
        interruption: Option<String>,
    ) -> Result<Self> {
        let mut reports = Vec::new();
        for ExperimentRun { about, settings, data, parts } in runs {
            let seconds = parts.iter().map(|(.., seconds)| seconds).sum();
            let parts = parts.into_iter().map(|(part, numbers, _)| (part, numbers));
            let (rows, arrays) = assemble(&about, data, parts);
            reports.push(ExperimentReport {
                about,
                seconds,
                settings,
                comparisons: compare(&about, &rows)?,
                rows,
                arrays,
                claims: Vec::new(),
            });
        }
        let rows = Rows::new(reports.iter().flat_map(|report| &report.rows), scale);
        let claims: Vec<Vec<ClaimResult>> = reports
            .iter()
            .map(|report| report.about.claims.iter().map(|c| judge(c, &rows)).collect())
            .collect();
        drop(rows);
        reports.iter_mut().zip(claims).for_each(|(report, claims)| report.claims = claims);
        Ok(Self { scale, provenance, interruption, experiments: reports })
    }

    /// Writes every file of the report into a folder; what an earlier report left there goes, as `files::write_set` says.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let document = document::build(self)?;
        let pages = [self.json()?, markdown::render(&document), html::render(&document)];
        let pages = PAGES.map(str::to_owned).into_iter().zip(pages);
        let figure = |(name, svg): (&str, &str)| (format!("{FIGURES}/{name}.svg"), svg.to_owned());
        let curve = |(name, text)| (format!("{CURVES}/{name}"), text);
        let figures = document.figures().map(figure);
        let curves = csv::curves(self).into_iter().map(curve);
        write_set(folder, &[FIGURES, CURVES], pages.chain(figures).chain(curves))
    }

    /// What results.json holds.
    pub fn json(&self) -> Result<String> {
        json::render(self)
    }

    /// One line a claim, for the terminal.
    pub fn summary(&self) -> Vec<String> {
        let claims = self.experiments.iter().flat_map(|e| &e.claims);
        claims.map(|c| format!("{:4} {}", c.id, c.verdict.word())).collect()
    }

    /// Whether any row rests on generated data.
    pub fn has_generated_rows(&self) -> bool {
        self.experiments.iter().any(ExperimentReport::is_generated)
    }
}
