//! A report as one HTML file: no network, no script, readable on a phone, in the dark and on paper.

use base64::Engine as _;

use crate::report::blocks::{Block, Card, Cell, Document, Figure, Table};
use crate::report::markup::escape;

/// Colors of a pair of networks are those that people with any color vision tell apart (Okabe & Ito).
const STYLE: &str = "
:root{color-scheme:light;--text:#1b1b1b;--paper:#fff;--muted:#555;--line:#ccc;--shade:#f2f2f2;--first:#0072b2;--second:#d55e00;
--warning:#b45309;--warned:#fff7ed;--good:#dcf5e3;--bad:#fde2e1;--open:#fdf3d0;--none:#ececec}
@media screen and (prefers-color-scheme:dark){:root{color-scheme:dark;--text:#e6e6e6;--paper:#16181b;--muted:#a9adb3;--line:#43474d;
--shade:#24272b;--first:#56b4e9;--second:#e69f00;--warning:#f0a04b;--warned:#33260f;--good:#173d24;--bad:#4a1f1e;--open:#403712;--none:#303338}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--text);background:var(--paper);max-width:72rem;margin:0 auto;padding:1rem;
overflow-wrap:break-word;-webkit-text-size-adjust:100%}
p,li{max-width:48rem}
h1{font-size:1.6rem;line-height:1.25}h2{font-size:1.3rem;margin-top:2.5rem;border-bottom:1px solid var(--line)}
h3{font-size:1.05rem;margin-top:1.5rem}
.scroll{overflow-x:auto;margin:1rem 0}.scroll:focus-visible{outline:2px solid var(--first);outline-offset:2px}
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--muted);padding:0 0 .4rem}
caption span{display:inline-block;position:sticky;left:0;max-width:min(48rem,calc(100vw - 2rem))}
th,td{border:1px solid var(--line);padding:.3rem .5rem;text-align:left;vertical-align:top;overflow-wrap:normal}
th{background:var(--shade)}tbody th{font-weight:inherit;min-width:5rem;overflow-wrap:anywhere}
.number{text-align:right}td.number{white-space:nowrap}td small,th small{font-weight:400;color:var(--muted);display:block}
.bar{display:block;width:100%;min-width:4rem;height:.5rem;margin-top:.25rem;fill:var(--first)}.bar .all{fill:var(--line)}
.warning{border-left:4px solid var(--warning);background:var(--warned);padding:.5rem 1rem}
.reproduced{background:var(--good)}.not_reproduced{background:var(--bad)}.inconclusive{background:var(--open)}.not_run{background:var(--none)}
figure{margin:1.5rem 0}figure svg{max-width:100%;height:auto}figcaption{margin-top:.4rem;font-size:.9rem;color:var(--muted);max-width:48rem}
.panels{display:flex;flex-wrap:wrap;gap:0 2rem}.panels figure{flex:1 1 20rem;max-width:30rem;min-width:0;margin:1rem 0}
.chart{display:block;width:100%;max-width:30rem;font:12px system-ui,sans-serif;fill:var(--text)}
.chart .grid{stroke:var(--line)}.chart .frame{stroke:var(--muted);fill:none}.chart .dashed{stroke-dasharray:5 4}
.chart .curve{fill:none;stroke-width:1.5}.chart .whisker{stroke-width:1.2;opacity:.6}
.chart .halo{paint-order:stroke;stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}.chart .bold{font-weight:600}
.first{fill:var(--first);stroke:var(--first)}.second{fill:var(--second);stroke:var(--second)}.chart .hollow{fill:var(--paper);stroke-width:2}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(9rem,1fr));gap:1.2rem 1rem;list-style:none;padding:0;font-size:.85rem}
.gallery img{display:block;max-width:100%;height:auto;image-rendering:pixelated;border:1px solid var(--line);margin-bottom:.3rem}
.gallery small{color:var(--muted)}
@media screen and (max-width:30rem){table{font-size:.78rem}th,td{padding:.25rem .35rem}}
code{background:var(--shade);padding:0 .2rem;overflow-wrap:anywhere}
pre{background:var(--shade);padding:.6rem .8rem;white-space:pre-wrap}pre code{padding:0}
@media print{body{max-width:none;font-size:10pt;padding:0}.scroll{overflow:visible}table{font-size:7.5pt}.gallery,figcaption{font-size:8pt}.chart{max-width:22rem}
h2,h3{break-after:avoid}figure,tr,.gallery li{break-inside:avoid}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
";

/// The document as one HTML file.
pub(in crate::report) fn render(document: &Document) -> String {
    let title = escape(&document.title);
    let body: String = document.blocks.iter().map(block).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head>\n<body><main><h1>{title}</h1>\n{body}</main></body></html>\n"
    )
}

fn block(block: &Block) -> String {
    match block {
        Block::Heading(level, text) => format!("<h{level}>{}</h{level}>\n", escape(text)),
        Block::Paragraph(text) => format!("<p>{}</p>\n", inline(text)),
        Block::Warning(text) => {
            format!("<p class=\"warning\" role=\"note\">{}</p>\n", inline(text))
        }
        Block::Bullets(items) => {
            let items: String =
                items.iter().map(|item| format!("<li>{}</li>", inline(item))).collect();
            format!("<ul>{items}</ul>\n")
        }
        Block::Code(text) => format!("<pre><code>{}</code></pre>\n", escape(text)),
        Block::Table(table) => render_table(table),
        Block::Figure(figure) => render_figure(figure),
        Block::Panels(figures) => {
            let figures: String = figures.iter().map(render_figure).collect();
            format!("<div class=\"panels\">{figures}</div>\n")
        }
        Block::Gallery(cards) => {
            let cards: String = cards.iter().map(card).collect();
            format!("<ul class=\"gallery\">{cards}</ul>\n")
        }
    }
}

fn render_table(table: &Table) -> String {
    let (label, caption) = match &table.caption {
        Some(caption) => {
            let caption = escape(caption);
            let label = format!(" role=\"region\" aria-label=\"{caption}\"");
            (label, format!("<caption><span>{caption}</span></caption>"))
        }
        None => (String::new(), String::new()),
    };
    let is_numeric = |column: usize| {
        let cells = || table.rows.iter().filter_map(|row| row.get(column));
        cells().next().is_some() && cells().all(|cell| cell.is_number)
    };
    let heading = |(column, name): (usize, &String)| {
        let class = if is_numeric(column) { " class=\"number\"" } else { "" };
        format!("<th scope=\"col\"{class}>{}</th>", escape(name))
    };
    let head: String = table.head.iter().enumerate().map(heading).collect();
    let row = |cells: &Vec<Cell>| {
        let cells = cells.iter().enumerate();
        let cells: String = cells
            .map(|(column, found)| cell(found, column == 0 && table.caption.is_some()))
            .collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = table.rows.iter().map(row).collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\"{label}><table>{caption}<thead><tr>{head}</tr></thead>\n\
         <tbody>{rows}</tbody></table></div>\n"
    )
}

fn cell(cell: &Cell, is_name: bool) -> String {
    let class = match (cell.verdict, cell.is_number) {
        (Some(verdict), _) => format!(" class=\"{}\"", verdict.word()),
        (None, true) => " class=\"number\"".to_owned(),
        (None, false) => String::new(),
    };
    let (start, end) = if is_name { ("th scope=\"row\"", "th") } else { ("td", "td") };
    let mut lines = cell.lines.iter().map(|line| escape(line));
    let first = lines.next().unwrap_or_default();
    let rest: String = lines.map(|line| format!("<small>{line}</small>")).collect();
    let bar = cell.bar.map_or(String::new(), bar);
    format!("<{start}{class}>{first}{rest}{bar}</{end}>")
}

/// A share as a bar; the number stands beside it.
fn bar(share: f64) -> String {
    let width = 100.0 * share.clamp(0.0, 1.0);
    format!(
        "<svg class=\"bar\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <rect class=\"all\" width=\"100\" height=\"8\"/><rect width=\"{width:.1}\" height=\"8\"/></svg>"
    )
}

fn render_figure(figure: &Figure) -> String {
    let Figure { caption, svg, .. } = figure;
    format!("<figure>{svg}<figcaption>{}</figcaption></figure>\n", escape(caption))
}

fn card(card: &Card) -> String {
    let data = base64::engine::general_purpose::STANDARD.encode(&card.png);
    let [width, height] = card.size;
    let lines: Vec<String> = card.lines.iter().map(|line| escape(line)).collect();
    format!(
        "<li><img src=\"data:image/png;base64,{data}\" width=\"{width}\" height=\"{height}\" alt=\"{}\">{}</li>",
        escape(&card.alt),
        lines.join("<br>")
    )
}

/// Escaped text with `code` between backticks; one without a partner is a letter like others.
fn inline(text: &str) -> String {
    let mut rest = text;
    let mut html = String::new();
    while let Some((before, code, after)) = code_in(rest) {
        html += &format!("{}<code>{}</code>", escape(before), escape(code));
        rest = after;
    }
    html + &escape(rest)
}

/// What stands before the first code, in it and after it.
fn code_in(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('`')?;
    let (code, after) = rest.split_once('`')?;
    Some((before, code, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_code_marked() {
        assert_eq!(inline("a < b & `c<d>`"), "a &lt; b &amp; <code>c&lt;d&gt;</code>");
        assert_eq!(inline("`a` `b"), "<code>a</code> `b");
    }

    #[test]
    fn a_table_with_a_caption_names_its_rows_and_its_frame() {
        let rows = vec![vec![Cell::text("a"), Cell { bar: Some(0.25), ..Cell::number("1") }]];
        let table =
            |caption| Table { caption, head: vec!["x".into(), "y".into()], rows: rows.clone() };
        let named = render_table(&table(Some("\"A\" & B".into())));
        for part in [
            "aria-label=\"&quot;A&quot; &amp; B\"",
            "<caption><span>&quot;A&quot; &amp; B</span></caption>",
            "<th scope=\"row\">a</th><td class=\"number\">1<svg",
            "<th scope=\"col\" class=\"number\">y</th>",
            "width=\"25.0\"",
        ] {
            assert!(named.contains(part), "{part}\n{named}");
        }
        assert!(render_table(&table(None)).contains("<td>a</td>"));
    }
}
