//! A report as a list of blocks, which HTML and Markdown render each in its way.

use crate::ledger::Verdict;

/// A report in blocks.
pub(super) struct Document {
    pub(super) title: String,
    pub(super) blocks: Vec<Block>,
}

/// A piece of a report.
pub(super) enum Block {
    /// Level from 2, text.
    Heading(u8, String),
    Paragraph(String),
    /// A paragraph that must not be overlooked.
    Warning(String),
    Bullets(Vec<String>),
    Table(Table),
    Figure {
        name: String,
        caption: String,
        svg: String,
    },
}

/// A table; a cell holds lines.
#[derive(Default)]
pub(super) struct Table {
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// A cell.
#[derive(Clone)]
pub(super) struct Cell {
    pub(super) lines: Vec<String>,
    pub(super) verdict: Option<Verdict>,
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { lines: vec![text.into()], verdict: None }
    }

    pub(super) fn verdict(verdict: Verdict) -> Self {
        Self { lines: vec![verdict.word().replace('_', " ")], verdict: Some(verdict) }
    }
}

impl Document {
    /// Names and texts of its figures.
    pub(super) fn figures(&self) -> impl Iterator<Item = (&str, &str)> {
        self.blocks.iter().filter_map(|block| match block {
            Block::Figure { name, svg, .. } => Some((name.as_str(), svg.as_str())),
            _ => None,
        })
    }
}
