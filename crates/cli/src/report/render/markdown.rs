//! report.md: the document for readers of plain text and code hosts.

use crate::report::blocks::{Block, Cell, Document, Table};

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
        Block::Bullets(items) => {
            let items: String = items.iter().map(|item| format!("- {item}\n")).collect();
            format!("{items}\n")
        }
        Block::Table(table) => render_table(table) + "\n",
        Block::Figure { name, caption, .. } => {
            format!("![{caption}](figures/{name}.svg)\n\n*{caption}*\n\n")
        }
    }
}

/// A pipe table.
pub(in crate::report) fn render_table(table: &Table) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let head = line(table.head.clone());
    let rule = line(vec!["---".into(); table.head.len()]);
    let rows: String = table.rows.iter().map(|row| line(row.iter().map(cell).collect())).collect();
    head + &rule + &rows
}

fn cell(cell: &Cell) -> String {
    let text = cell.lines.join("<br>").replace('|', "\\|");
    if cell.verdict.is_some() { format!("**{text}**") } else { text }
}
