//! report.md: the document for readers of plain text and code hosts.

use crate::report::blocks::{Block, Card, Cell, Document, Figure, Table};

/// The document as Markdown; figures are files beside it.
pub(in crate::report) fn render(document: &Document) -> String {
    let body: String = document.blocks.iter().map(block).collect();
    format!("# {}\n\n{body}", document.title)
}

fn block(block: &Block) -> String {
    match block {
        Block::Heading(level, text) => format!("{} {text}\n\n", "#".repeat((*level).into())),
        Block::Paragraph(text) => format!("{text}\n\n"),
        Block::Warning(text) => format!("> **{text}**\n\n"),
        Block::Bullets(items) => bullets(items.iter().cloned()),
        Block::Code(text) => format!("```text\n{text}\n```\n\n"),
        Block::Table(table) => render_table(table) + "\n",
        Block::Figure(figure) => render_figure(figure),
        Block::Panels(figures) => figures.iter().map(render_figure).collect(),
        Block::Gallery(cards) => {
            let words = |card: &Card| format!("{}: {}", card.alt, card.lines.join("; "));
            bullets(cards.iter().map(words))
        }
    }
}

fn bullets(items: impl Iterator<Item = String>) -> String {
    let items: String = items.map(|item| format!("- {item}\n")).collect();
    format!("{items}\n")
}

fn render_figure(Figure { name, caption, .. }: &Figure) -> String {
    format!("![{caption}](figures/{name}.svg)\n\n*{caption}*\n\n")
}

/// A pipe table.
pub(in crate::report) fn render_table(table: &Table) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let caption = table.caption.as_ref().map_or(String::new(), |caption| format!("{caption}\n\n"));
    let head = line(table.head.clone());
    let rule = line(vec!["---".into(); table.head.len()]);
    let rows: String = table.rows.iter().map(|row| line(row.iter().map(cell).collect())).collect();
    caption + &head + &rule + &rows
}

fn cell(cell: &Cell) -> String {
    let text = cell.lines.join("<br>").replace('|', "\\|");
    if cell.verdict.is_some() { format!("**{text}**") } else { text }
}
