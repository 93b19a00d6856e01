//! A README and the pages of results beside it: where they lie, what must hold before the runs, how they are written.

mod pages;
mod readme;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Report;
use crate::files::{Content, Input, check_replaceable, check_writable, read, write_together};
use crate::ledger::Description;

/// The option that names the README.
const OPTION: &str = "--readme";

/// A README with a line for each claim, and the pages beside it with everything else.
pub(crate) struct Docs {
    readme: PathBuf,
    folder: PathBuf,
}

impl Docs {
    /// Those of a README.
    pub(crate) fn of(readme: &Path) -> Self {
        let folder = readme.parent().unwrap_or(Path::new("")).join(readme::FOLDER);
        Self { readme: readme.to_owned(), folder }
    }

    /// What no other file may be written over: the README, and the pages and their folder as far as they are there.
    pub(crate) fn inputs(&self, experiments: &[Description]) -> Vec<Input> {
        let mut paths = self.files(experiments);
        paths.push(self.folder.clone());
        paths.into_iter().map(|path| Input::new(OPTION, path)).collect()
    }

    /// Fails before hours of work rather than after them, where [`Self::update`] would fail.
    pub(crate) fn check(&self, experiments: &[Description]) -> Result<()> {
        let check = || {
            let text = text_of(&self.readme)?;
            readme::check(&text).with_context(|| self.readme.display().to_string())?;
            self.old_index()?;
            check_writable(&self.folder)?;
            let mut known = BTreeSet::new();
            for path in self.files(experiments) {
                check_replaceable(&path)?;
                if path.canonicalize().is_ok_and(|path| !known.insert(path)) {
                    bail!(
                        "{}: wanted a file of its own, found a link to another one",
                        path.display()
                    );
                }
            }
            Ok(())
        };
        check().context(OPTION)
    }

    /// Writes the lines of a report's claims, its pages and the index, all or none; what it does not hold stays as it is.
    ///
    /// `all` are the experiments that there are, in the order of the list of pages.
    pub(crate) fn update(&self, report: &Report, all: &[Description]) -> Result<()> {
        let update = || {
            let text = readme::replace(&text_of(&self.readme)?, report, all);
            let text = text.with_context(|| self.readme.display().to_string())?;
            let mut files = vec![(self.readme.clone(), text)];
            for experiment in &report.experiments {
                let page = pages::page(experiment, report)?;
                files.push((self.page(&experiment.about), page));
            }
            let is_there = |experiment: &Description| {
                let is_new = report.experiments.iter().any(|e| e.about.id == experiment.id);
                is_new || self.page(experiment).exists()
            };
            let index = pages::index(&self.old_index()?, report, all, is_there);
            files.push((self.folder.join(pages::INDEX), index));
            let content = |text: String| -> Content<'static> {
                Box::new(move |file: &mut dyn Write| Ok(file.write_all(text.as_bytes())?))
            };
            write_together(files.into_iter().map(|(path, text)| (path, content(text))))
        };
        update().context(OPTION)
    }

    /// The files that a report of these experiments changes.
    fn files(&self, experiments: &[Description]) -> Vec<PathBuf> {
        let own = [self.readme.clone(), self.folder.join(pages::INDEX)];
        own.into_iter().chain(experiments.iter().map(|experiment| self.page(experiment))).collect()
    }

    fn page(&self, experiment: &Description) -> PathBuf {
        self.folder.join(pages::name(experiment))
    }

    /// The index as it is; empty before the first report.
    fn old_index(&self) -> Result<String> {
        let path = self.folder.join(pages::INDEX);
        if path.symlink_metadata().is_ok() { text_of(&path) } else { Ok(String::new()) }
    }
}

fn text_of(path: &Path) -> Result<String> {
    let text = String::from_utf8(read(path)?);
    text.with_context(|| format!("{}: wanted text in UTF-8", path.display()))
}

#[cfg(test)]
mod tests;
