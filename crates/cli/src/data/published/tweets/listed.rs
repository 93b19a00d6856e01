//! A part of the tweets, by the numbers of their rows: the same for every program that is compared.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Labelled, Texts};
use crate::data::published::{Places, sha256};
use crate::files::read;

/// The lists below a folder of data: tweets for sentence vectors, `head_train` to train on and `test` to test on.
pub const LISTS: &str = "models/teachers/minilm-tweets.json";

/// Row numbers, from 0 behind the header of `train.csv` and of `test.csv`.
#[derive(Debug, Deserialize)]
struct Lists {
    head_train: Vec<u32>,
    test: Vec<u32>,
}

impl Texts {
    /// The texts of the rows that [`LISTS`] names, in the order of the lists; `None` where no folder has the file.
    ///
    /// An error names a row that is not there, or is listed twice.
    pub fn listed(&self, places: &Places) -> Result<Option<Self>> {
        let explicit = places.explicit_folder()?.map(|(_, folder)| folder);
        let mut paths = explicit.into_iter().chain([&places.cache]).map(|at| at.join(LISTS));
        let Some(path) = paths.find(|path| path.is_file()) else { return Ok(None) };
        self.of_file(&path).with_context(|| path.display().to_string()).map(Some)
    }

    fn of_file(&self, path: &Path) -> Result<Self> {
        let bytes = read(path)?;
        let lists: Lists = serde_json::from_slice(&bytes)?;
        let mut sums = self.sha256.clone();
        sums.insert(LISTS.to_owned(), sha256(&bytes));
        Ok(Self {
            train: part(&self.train, &lists.head_train).context("head_train")?,
            test: part(&self.test, &lists.test).context("test")?,
            extra: None,
            is_complete: false,
            sha256: sums,
            ..*self
        })
    }
}

fn part(of: &Labelled, rows: &[u32]) -> Result<Labelled> {
    let mut seen = BTreeSet::new();
    for &row in rows {
        let n = of.texts.len();
        if row as usize >= n {
            bail!("expected rows below {n}, found {row}; the list belongs to other tweets");
        }
        if !seen.insert(row) {
            bail!("row {row} is listed twice");
        }
    }
    Ok(of.rows(rows))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::data::published::DATA_VARIABLE;
    use crate::ledger::Kind;

    fn some(prefix: &str) -> Labelled {
        let texts = (0..5).map(|i| format!("{prefix} {i}")).collect();
        Labelled { texts, labels: vec![0, 1, 1, 0, 1], n_replaced: 0 }
    }

    /// What becomes of five texts each by lists.
    fn listed(lists: &str) -> Result<Option<Texts>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join(LISTS);
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        std::fs::write(&path, lists)?;
        let texts = Texts {
            train: some("train"),
            test: some("test"),
            extra: None,
            n_classes: 2,
            kind: Kind::Real,
            is_complete: false,
            sha256: BTreeMap::new(),
        };
        texts.listed(&Places { explicit: None, cache: folder.path().to_owned() })
    }

    #[test]
    fn rows_come_in_the_order_of_the_lists() {
        let found = listed(r#"{"note": "", "head_train": [4, 0], "test": [1]}"#).unwrap().unwrap();
        assert_eq!(found.train.texts, ["train 4", "train 0"]);
        assert_eq!((found.train.labels, found.test.labels), (vec![1, 0], vec![1]));
        assert_eq!(found.test.texts, ["test 1"]);
        assert!(found.sha256.contains_key(LISTS));
    }

    #[test]
    fn lists_of_other_tweets_are_refused() {
        for (lists, wanted) in [
            (r#"{"head_train": [5], "test": []}"#, "head_train: expected rows below 5, found 5"),
            (r#"{"head_train": [], "test": [1, 2, 1]}"#, "test: row 1 is listed twice"),
            (r#"{"head_train": []}"#, "missing field `test`"),
        ] {
            let told = format!("{:#}", listed(lists).map(|_| ()).unwrap_err());
            assert!(told.contains(wanted) && told.contains("minilm-tweets.json: "), "{told}");
        }
    }

    /// Where `DISTILL_DATA` has the tweets and the lists; counts and texts as Python's `csv.DictReader` reads them.
    #[test]
    fn published_lists_name_published_tweets() {
        let Some(data) = std::env::var_os(DATA_VARIABLE) else { return };
        let explicit = Some((DATA_VARIABLE.to_owned(), data.into()));
        let places = Places { explicit, cache: "unused".into() };
        let texts = Texts::load(&places, &mut |_| {}).unwrap();
        let Some(found) = texts.listed(&places).unwrap() else { return };
        let n_positive = |of: &Labelled| of.labels.iter().sum::<u32>();
        assert_eq!((found.train.texts.len(), found.test.texts.len()), (3000, 1000));
        assert_eq!((n_positive(&found.train), n_positive(&found.test)), (1477, 502));
        assert_eq!(
            sha256(found.train.texts.join("\n").as_bytes()),
            "a7db9748a9515f691a58ee83b82d1f20e14dd1f5bf1eee1586318688acb9eac1"
        );
        assert_eq!(
            sha256(found.test.texts.join("\n").as_bytes()),
            "c6e2f26863eb11b1ce79f904ffc4e3921ab7ea750f8376029d5674da5df2fc3e"
        );
    }
}
