//! Text tables: numbers in columns, one example a line, below an optional line of names.

use std::borrow::Cow;

use anyhow::{Result, anyhow, bail};
use candle_core::{Device, Tensor};
use csv::{Reader, ReaderBuilder, StringRecord};

use super::Read;
use super::cells::Cells;
use super::columns::{self, Purpose};
use super::dialect::{self, Detected, Dialect};
use super::header;
use super::number::short;
use super::options::{Options, Separator};
use super::place::Place;

/// Lines that detection looks at.
const SAMPLE: usize = 100;

/// Features (m, n) and, where columns are targets, m values or classes for each; `n_inputs` are the features that the network
/// takes, where that is known.
pub(super) fn read(
    text: &str,
    options: &Options,
    purpose: Purpose,
    n_inputs: Option<usize>,
) -> Result<Read> {
    if text.trim().is_empty() {
        bail!("expected lines of numbers, found none");
    }
    let Detected { dialect, lines, assumed } = dialect::detect(text, options)?;
    let mut notices: Vec<String> = assumed.iter().cloned().collect();
    let table = Table { text, dialect, lines: &lines };
    let read = table.read(options, (purpose, n_inputs), &mut notices);
    // A message about a cell is read with the dialect in mind that cut it out.
    read.map_err(|error| match &assumed {
        Some(assumed) => anyhow!("{error} (the file is {assumed})"),
        None => error,
    })
}

/// The cells of the first lines.
pub(super) fn sample(text: &str, separator: Separator) -> Vec<Vec<String>> {
    let mut n_lines = 0;
    let mut end = text.len();
    for (at, _) in text.match_indices(['\n', '\r']) {
        let is_blank = at == 0 || matches!(text.as_bytes()[at - 1], b'\n' | b'\r');
        n_lines += usize::from(!is_blank);
        if n_lines > SAMPLE {
            end = at + 1;
            break;
        }
    }
    let text = squeezed(&text[..end], separator);
    let mut reader = reader(&text, separator);
    let mut record = StringRecord::new();
    let mut lines = Vec::new();
    while lines.len() < SAMPLE && matches!(reader.read_record(&mut record), Ok(true)) {
        if !is_blank(&record) {
            lines.push(record.iter().map(str::to_owned).collect());
        }
    }
    lines
}

/// A text and how to read it.
struct Table<'a> {
    text: &'a str,
    dialect: Dialect,
    /// Cells of the first lines.
    lines: &'a [Vec<String>],
}

impl Table<'_> {
    fn read(
        &self,
        options: &Options,
        (purpose, n_inputs): (Purpose, Option<usize>),
        notices: &mut Vec<String>,
    ) -> Result<Read> {
        let Dialect { separator, decimal } = self.dialect;
        let text = squeezed(self.text, separator);
        let mut counter = Counter { text: text.as_bytes(), byte: 0, line: 1 };
        let first = counter.line_of(0);
        let is_selected = options.drop.is_some() || options.features.is_some();
        let header::Names { names, assumed } =
            header::names(self.lines, decimal, options.header, first, is_selected)?;
        notices.extend(assumed);
        let n_columns = self.lines.first().map_or(0, Vec::len);
        let names = names.as_deref();
        let columns = columns::choose(names, n_columns, options, purpose, n_inputs)?;
        if let (Some(names), true) = (names, columns.features.contains(&0)) {
            header::check_index(names, first)?;
        }
        notices.extend(columns.assumed.iter().cloned());

        let mut reader = reader(&text, separator);
        let mut record = StringRecord::new();
        let mut cells = Cells::new(columns, names, decimal, options);
        let mut is_names = names.is_some();
        loop {
            let start = reader.position().byte() as usize;
            if !reader.read_record(&mut record)? {
                break;
            }
            if is_blank(&record) {
                continue;
            }
            let line = counter.line_of(start);
            let end = reader.position().byte() as usize;
            self.check(&record, &text[start..end], line, first)?;
            if std::mem::take(&mut is_names) {
                notices.extend(broken_name(&record, line));
                continue;
            }
            cells.push(&record, line, line == first)?;
        }
        if cells.lines.is_empty() {
            bail!(
                "line {first} holds the names of the columns, but no line of numbers follows; --header no takes it as data"
            );
        }
        let lines = std::mem::take(&mut cells.lines);
        let (m, n) = (lines.len(), cells.columns.features.len());
        let columns::Columns { features, targets, .. } = cells.columns.clone();
        let (x, y) = cells.finish(&lines, notices)?;
        let x = Tensor::from_vec(x, (m, n), &Device::Cpu)?;
        let names = names.map(<[String]>::to_vec);
        let place = Place::Lines { lines, features, targets, names };
        let notices = std::mem::take(notices);
        Ok(Read { x, y, place, image: None, is_open: false, notices })
    }

    /// Refuses a line that has too many or too few cells, or quotes that do not close.
    fn check(&self, record: &StringRecord, raw: &str, line: usize, first: usize) -> Result<()> {
        let (wanted, found) = (self.lines.first().map_or(0, Vec::len), record.len());
        if raw.bytes().filter(|&byte| byte == b'"').count() % 2 == 1 {
            bail!(
                "line {line}: expected quotation marks in pairs, found one that is never closed (inside a quoted cell \
                 write two)"
            );
        }
        if found == wanted {
            return Ok(());
        }
        let hint = match self.dialect.separator {
            Separator::Comma if found > wanted => {
                "; columns are separated by commas and decimals by points: decimal commas or thousands separators need \
                 another separator between columns"
            }
            _ => "",
        };
        let noun = if wanted == 1 { "column" } else { "columns" };
        bail!("line {line}: expected {wanted} {noun} as in line {first}, found {found}{hint}")
    }
}

/// Column and name, for a message.
pub(super) fn place(column: usize, names: Option<&[String]>) -> String {
    let name = names.and_then(|names| names.get(column)).filter(|name| !name.is_empty());
    let name = name.map_or_else(String::new, |name| format!(" (`{}`)", short(name)));
    format!("column {}{name}", column + 1)
}

/// A name that goes on in the next line may have lost a quotation mark, and a line of data with it.
fn broken_name(record: &StringRecord, line: usize) -> Option<String> {
    let column = record.iter().position(|name| name.trim().contains(['\n', '\r']))?;
    let name = short(&record[column]);
    Some(format!(
        "line {line}, column {}: the quoted name `{name}` goes on in the next line of the file",
        column + 1
    ))
}

fn is_blank(record: &StringRecord) -> bool {
    record.len() == 1 && record[0].trim().is_empty()
}

fn reader(text: &str, separator: Separator) -> Reader<&[u8]> {
    let mut builder = ReaderBuilder::new();
    builder.has_headers(false).flexible(true).delimiter(separator.byte());
    builder.from_reader(text.as_bytes())
}

/// Runs of blanks between cells as one space, and none at the ends of lines; other separators leave the text alone.
fn squeezed(text: &str, separator: Separator) -> Cow<'_, str> {
    if separator != Separator::Space {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let (mut is_quoted, mut is_pending) = (false, false);
    for letter in text.chars() {
        match letter {
            ' ' | '\t' if !is_quoted => is_pending = true,
            '\n' | '\r' if !is_quoted => {
                is_pending = false;
                out.push(letter);
            }
            _ => {
                if is_pending && !out.is_empty() && !out.ends_with(['\n', '\r']) {
                    out.push(' ');
                }
                is_pending = false;
                is_quoted ^= letter == '"';
                out.push(letter);
            }
        }
    }
    Cow::Owned(out)
}

/// Numbers of lines, of places in ascending order.
struct Counter<'a> {
    text: &'a [u8],
    /// Where it has counted to.
    byte: usize,
    line: usize,
}

impl Counter<'_> {
    /// The line, from 1, of the first character at or after `byte` that ends none.
    fn line_of(&mut self, byte: usize) -> usize {
        while let Some(&found) = self.text.get(self.byte) {
            let is_end = matches!(found, b'\n' | b'\r');
            if self.byte >= byte && !is_end {
                break;
            }
            let is_pair = found == b'\r' && self.text.get(self.byte + 1) == Some(&b'\n');
            self.line += usize::from(is_end && !is_pair);
            self.byte += 1;
        }
        self.line
    }
}
