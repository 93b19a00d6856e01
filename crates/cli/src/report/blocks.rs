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
    /// A command or another text of a machine.
    Code(String),
    Table(Table),
    Figure(Figure),
    /// Figures that belong together, side by side where there is room.
    Panels(Vec<Figure>),
    /// Small images, each with a few words.
    Gallery(Vec<Card>),
}

/// A drawing.
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) caption: String,
    pub(super) svg: String,
}

/// A small image and words below it.
pub(super) struct Card {
    /// The file as a PNG.
    pub(super) png: Vec<u8>,
    /// Pixels across and down as they are shown.
    pub(super) size: [usize; 2],
    /// What the image is, for readers who do not see it.
    pub(super) alt: String,
    pub(super) lines: Vec<String>,
}

/// A table; a cell holds lines.
#[derive(Default)]
pub(super) struct Table {
    /// What it shows; a table with a caption has the names of its rows in the first column.
    pub(super) caption: Option<String>,
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// A cell.
#[derive(Clone, Default)]
pub(super) struct Cell {
    pub(super) lines: Vec<String>,
    pub(super) verdict: Option<Verdict>,
    /// Whether it holds a number, which is aligned to the right.
    pub(super) is_number: bool,
    /// A share in \[0, 1\] that is drawn as a bar.
    pub(super) bar: Option<f64>,
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { lines: vec![text.into()], ..Self::default() }
    }

    pub(super) fn number(text: impl Into<String>) -> Self {
        Self { is_number: true, ..Self::text(text) }
    }

    pub(super) fn verdict(verdict: Verdict) -> Self {
        Self { verdict: Some(verdict), ..Self::text(verdict.word().replace('_', " ")) }
    }
}

impl Document {
    /// Names and texts of its figures.
    pub(super) fn figures(&self) -> impl Iterator<Item = (&str, &str)> {
        let figures = self.blocks.iter().flat_map(|block| match block {
            Block::Figure(figure) => std::slice::from_ref(figure),
            Block::Panels(figures) => figures,
            Block::Heading(..)
            | Block::Paragraph(_)
            | Block::Warning(_)
            | Block::Bullets(_)
            | Block::Code(_)
            | Block::Table(_)
            | Block::Gallery(_) => &[],
        });
        figures.map(|figure| (figure.name.as_str(), figure.svg.as_str()))
    }
}
