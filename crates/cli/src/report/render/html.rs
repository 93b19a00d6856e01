//! index.html: one file, no network, readable on a phone and on paper.

use crate::report::blocks::{Block, Cell, Document, Table};
use crate::report::markup::escape;

const STYLE: &str = "
:root{color-scheme:light}
body{font:16px/1.5 system-ui,sans-serif;color:#1b1b1b;background:#fff;max-width:72rem;margin:0 auto;padding:1rem}
h1{font-size:1.6rem;line-height:1.25}h2{font-size:1.3rem;margin-top:2.5rem;border-bottom:1px solid #ccc}
h3{font-size:1.05rem;margin-top:1.5rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{border:1px solid #ccc;padding:.3rem .5rem;text-align:left;vertical-align:top}th{background:#f2f2f2}
td small{color:#555;display:block}
.warning{border-left:4px solid #b45309;background:#fff7ed;padding:.5rem 1rem}
.reproduced{background:#dcf5e3}.not_reproduced{background:#fde2e1}.inconclusive{background:#fdf3d0}.not_run{background:#ececec}
figure{margin:1.5rem 0}figure svg{max-width:100%;height:auto}figcaption{font-size:.9rem;color:#333}
code{background:#f2f2f2;padding:0 .2rem}
@media print{body{max-width:none;font-size:10pt;padding:0}.scroll{overflow:visible}table{font-size:7.5pt}
h2{break-after:avoid}figure,tr{break-inside:avoid}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
";

/// The document as one HTML file.
pub(in crate::report) fn render(document: &Document) -> String {
    let title = escape(&document.title);
    let body: String = document.blocks.iter().map(block).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n{body}</body></html>\n"
    )
}

fn block(block: &Block) -> String {
    match block {
        Block::Heading(level, text) => format!("<h{level}>{}</h{level}>\n", escape(text)),
        Block::Paragraph(text) => format!("<p>{}</p>\n", inline(text)),
        Block::Warning(text) => format!("<p class=\"warning\">{}</p>\n", inline(text)),
        Block::Bullets(items) => {
            let items: String =
                items.iter().map(|item| format!("<li>{}</li>", inline(item))).collect();
            format!("<ul>{items}</ul>\n")
        }
        Block::Table(table) => render_table(table),
        Block::Figure { caption, svg, .. } => {
            format!("<figure>{svg}<figcaption>{}</figcaption></figure>\n", escape(caption))
        }
    }
}

fn render_table(table: &Table) -> String {
    let head: String = table.head.iter().map(|name| format!("<th>{}</th>", escape(name))).collect();
    let row = |cells: &Vec<Cell>| {
        let cells: String = cells.iter().map(cell).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = table.rows.iter().map(row).collect();
    format!(
        "<div class=\"scroll\"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>\n"
    )
}

fn cell(cell: &Cell) -> String {
    let class = cell.verdict.map_or(String::new(), |v| format!(" class=\"{}\"", v.word()));
    let mut lines = cell.lines.iter().map(|line| escape(line));
    let first = lines.next().unwrap_or_default();
    let rest: String = lines.map(|line| format!("<small>{line}</small>")).collect();
    format!("<td{class}>{first}{rest}</td>")
}

/// Escaped text with `code` between backticks.
fn inline(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(i, part)| match i % 2 {
            0 => escape(part),
            _ => format!("<code>{}</code>", escape(part)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_code_marked() {
        assert_eq!(inline("a < b & `c<d>`"), "a &lt; b &amp; <code>c&lt;d&gt;</code>");
    }
}
