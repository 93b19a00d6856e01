//! The cells of a text table as features and targets, one line after another.

use anyhow::{Result, anyhow, bail};
use csv::StringRecord;

use super::Targets;
use super::columns::{Columns, is_target_name};
use super::csv::place;
use super::names::{Named, listed};
use super::number::{Fault, Kind, kind, number, short, unquoted};
use super::options::{Decimal, Impute, Options};
use super::selection::some;

/// What the lines read so far hold.
pub(super) struct Cells<'a> {
    pub(super) columns: Columns,
    /// The number of each line.
    pub(super) lines: Vec<usize>,
    names: Option<&'a [String]>,
    decimal: Decimal,
    options: &'a Options,
    /// Features, NaN where one is missing, and how many are.
    x: Vec<f64>,
    n_missing: usize,
    /// Targets, NaN where one is a word.
    y: Vec<f64>,
    /// The only target of each line as a word.
    words: Vec<String>,
    /// Lines whose target is a word, and the error of the first, if it has to be a number.
    n_words: usize,
    first_word: Option<anyhow::Error>,
}

impl<'a> Cells<'a> {
    pub(super) fn new(
        columns: Columns,
        names: Option<&'a [String]>,
        decimal: Decimal,
        options: &'a Options,
    ) -> Self {
        Self {
            columns,
            lines: Vec::new(),
            names,
            decimal,
            options,
            x: Vec::new(),
            n_missing: 0,
            y: Vec::new(),
            words: Vec::new(),
            n_words: 0,
            first_word: None,
        }
    }

    /// Reads one line; a first line of the file may be one of names.
    pub(super) fn push(
        &mut self,
        record: &StringRecord,
        line: usize,
        is_first: bool,
    ) -> Result<()> {
        let cell = |at: usize| record.get(at).unwrap_or_default();
        for i in 0..self.columns.features.len() {
            let at = self.columns.features[i];
            match number(cell(at), self.decimal) {
                Ok(value) => self.x.push(value),
                Err(Fault::Missing) if self.options.impute == Some(Impute::Mean) => {
                    self.n_missing += 1;
                    self.x.push(f64::NAN);
                }
                Err(fault) => {
                    let hint = match fault {
                        Fault::Missing if cell(at).is_empty() && at + 1 == record.len() => {
                            "; a separator at the end of a line begins another column"
                        }
                        Fault::Missing => {
                            "; --impute mean fills in the mean of its column, --drop leaves the column out"
                        }
                        Fault::Other if is_first && self.options.header.is_none() => {
                            "; --header yes takes this line as the names of the columns"
                        }
                        Fault::Other if self.is_label(at, cell(at)) => {
                            let name = self.names.and_then(|names| names.get(at));
                            let name = name.filter(|name| !name.is_empty());
                            let name =
                                name.map_or_else(|| (at + 1).to_string(), |name| short(name));
                            let hint = format!(
                                "; --target {name} takes this column as the target, --drop {name} leaves it out"
                            );
                            return Err(self.error(line, at, fault, cell(at), &hint));
                        }
                        Fault::Other => "; --drop leaves a column out",
                        Fault::NotFinite | Fault::Rounded | Fault::Comma | Fault::Point => "",
                    };
                    return Err(self.error(line, at, fault, cell(at), hint));
                }
            }
        }
        let is_one = self.columns.targets.len() == 1;
        for i in 0..self.columns.targets.len() {
            let at = self.columns.targets[i];
            let word = unquoted(cell(at));
            let is_name = |name: &String| name == word;
            let is_word = is_one
                && (self.options.classes.iter().any(is_name)
                    || kind(word, self.decimal) == Kind::Text);
            match number(word, self.decimal) {
                Ok(value) => self.y.push(value),
                Err(Fault::Missing) if is_one && self.n_words > 0 && !is_word => {
                    let (at, found) = (place(at, self.names), short(word));
                    let found = if found.is_empty() {
                        "an empty cell".into()
                    } else {
                        format!("`{found}`")
                    };
                    bail!(
                        "line {line}, {at}: expected a class, found {found}: the label of this example is missing; fill it in or \
                         remove the line"
                    );
                }
                Err(fault) => {
                    let is_named = self
                        .names
                        .is_some_and(|names| names.get(at).is_some_and(|n| !n.is_empty()));
                    let hint = match fault {
                        Fault::Missing
                            if word.is_empty() && at + 1 == record.len() && !is_named =>
                        {
                            "; a separator at the end of a line begins another column"
                        }
                        Fault::Missing => "; a target that is missing is not filled in",
                        Fault::Other if is_one => {
                            "; classes must be whole numbers from 0, or names in every line"
                        }
                        _ => "",
                    };
                    let error = self.error(line, at, fault, word, hint);
                    if !is_word {
                        return Err(error);
                    }
                    self.n_words += 1;
                    self.first_word.get_or_insert(error);
                    self.y.push(f64::NAN);
                }
            }
            if is_one {
                self.words.push(word.to_owned());
            }
        }
        self.lines.push(line);
        Ok(())
    }

    /// Whether a word among the features looks like a label: nobody has said which column is the target.
    fn is_label(&self, at: usize, cell: &str) -> bool {
        let is_open = self.options.target.is_none() && self.options.features.is_none();
        let name = |at: &usize| self.names.and_then(|names| names.get(*at));
        let is_named = |at: &usize| name(at).is_some_and(|name| is_target_name(name));
        let has_target = self.columns.targets.iter().any(is_named);
        is_open
            && !has_target
            && !self.columns.targets.contains(&at)
            && kind(cell, self.decimal) == Kind::Text
    }

    fn error(&self, line: usize, at: usize, fault: Fault, cell: &str, hint: &str) -> anyhow::Error {
        anyhow!("line {line}, {}: {}{hint}", place(at, self.names), fault.told(cell))
    }

    /// Features row by row, and targets, of the lines with these numbers; what was filled in is said.
    pub(super) fn finish(
        mut self,
        lines: &[usize],
        notices: &mut Vec<String>,
    ) -> Result<(Vec<f64>, Option<Targets>)> {
        notices.extend(self.impute()?);
        let k = self.columns.targets.len();
        let told = &self.options.classes;
        let targets = match (k, Named::among(&self.words, told)) {
            (0, _) => None,
            (1, Ok(named)) if !told.is_empty() => Some(Targets::Named(named)),
            (1, Err(row)) if self.n_words == self.words.len() && !told.is_empty() => bail!(
                "line {}, {}: expected one of {}, {}, found `{}`",
                lines[row],
                place(self.columns.targets[0], self.names),
                self.options.classes_from.words(),
                listed(told),
                short(&self.words[row])
            ),
            (1, _) if self.n_words == self.words.len() => {
                Some(Targets::Named(Named::sorted(&self.words)?))
            }
            _ => {
                if let Some(error) = self.first_word {
                    return Err(error);
                }
                Some(Targets::Numbers { values: self.y, k })
            }
        };
        Ok((self.x, targets))
    }

    /// Fills in the means of the columns.
    fn impute(&mut self) -> Result<Option<String>> {
        if self.n_missing == 0 || self.options.keeps_missing {
            return Ok(None);
        }
        let n = self.columns.features.len();
        let mut filled = Vec::new();
        for (i, &at) in self.columns.features.iter().enumerate() {
            let column = || self.x.iter().skip(i).step_by(n);
            if !column().any(|value| value.is_nan()) {
                continue;
            }
            let name = place(at, self.names);
            let (mut sum, mut known) = (0.0, 0.0);
            for value in column().filter(|value| !value.is_nan()) {
                sum += value;
                known += 1.0;
            }
            let mean = sum / known;
            if known == 0.0 {
                bail!("{name}: every value is missing; --drop leaves the column out");
            }
            if !mean.is_finite() {
                bail!("{name}: the mean of its values is too large for f64");
            }
            let missing = self.x.iter_mut().skip(i).step_by(n).filter(|value| value.is_nan());
            missing.for_each(|value| *value = mean);
            let name = self.names.and_then(|names| names.get(at)).cloned();
            filled.push(name.unwrap_or_else(|| (at + 1).to_string()));
        }
        let (n, of) = (self.n_missing, filled.len());
        let values = if n == 1 { "missing value" } else { "missing values" };
        let columns = if of == 1 { "column" } else { "columns" };
        Ok(Some(format!(
            "{n} {values} in {of} {columns}, {}, filled in with the mean of the column over the file",
            some(&filled)
        )))
    }
}
