//! Trained networks as their users hand them over, with the images that they are narrowed by; nothing is downloaded.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use super::Places;
use crate::files::{read, sha256_of};
use crate::ledger::Kind;

/// Name of the networks among the data of an experiment, and of their folder.
pub const NETWORKS: &str = "models";
/// Folders of networks: three perceptrons and three convolutional networks, and one of each kind that people export.
const FOLDERS: [&str; 11] = [
    "teachers/mlp-0",
    "teachers/mlp-1",
    "teachers/mlp-2",
    "teachers/cnn-0",
    "teachers/cnn-1",
    "teachers/cnn-2",
    "fmnist-mlp",
    "fmnist-cnn-bn",
    "fmnist-resnet",
    "fmnist-encoder",
    "fmnist-mobile",
];
/// The network, which training images were its own, and what other programs found.
const MODEL: &str = "model.onnx";
const ROWS: &str = "train_rows.txt";
const FACTS: &str = "facts.json";

/// Files of one network.
#[derive(Clone, Debug)]
pub struct NetworkFiles {
    /// An ONNX file.
    pub model: Vec<u8>,
    /// Rows of the training images that it was trained on, in their order, where they are listed.
    pub rows: Option<Vec<usize>>,
    /// What other programs found of it.
    pub facts: serde_json::Value,
}

/// Networks by the names of their folders.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    by_folder: BTreeMap<String, NetworkFiles>,
    /// SHA-256 of the files of each.
    pub sha256: BTreeMap<String, String>,
}

impl Networks {
    /// Those in an explicit folder of data, or in the cache; none where there is no such folder, of which `notice` tells.
    ///
    /// # Errors
    /// Where a file that belongs to a network that is there is missing or damaged.
    pub fn load(places: &Places, notice: &mut dyn FnMut(String)) -> Result<Self> {
        let explicit = places.explicit_folder()?.map(|(_, folder)| folder.as_path());
        let folder = explicit.unwrap_or(&places.cache).join(NETWORKS);
        let mut networks = Self::default();
        for name in FOLDERS {
            if folder.join(name).join(MODEL).is_file() {
                networks.add(name, &folder)?;
            }
        }
        if networks.by_folder.is_empty() {
            notice(format!(
                "trained networks: found none in {}; a perceptron trained here is narrowed instead, and no claim is judged \
                 on it",
                folder.display()
            ));
        }
        Ok(networks)
    }

    fn add(&mut self, name: &str, folder: &Path) -> Result<()> {
        let at = |file: &str| folder.join(name).join(file);
        let (model, facts) = (read(&at(MODEL))?, read(&at(FACTS))?);
        let of_rows = if at(ROWS).is_file() { Some(read(&at(ROWS))?) } else { None };
        let rows = of_rows.as_deref().map(|bytes| rows(bytes, &at(ROWS))).transpose()?;
        let sum = sha256_of(&[&model, &facts, of_rows.as_deref().unwrap_or_default()]);
        let parsed =
            serde_json::from_slice(&facts).with_context(|| at(FACTS).display().to_string())?;
        self.sha256.insert(name.to_owned(), sum);
        self.by_folder.insert(name.to_owned(), NetworkFiles { model, rows, facts: parsed });
        Ok(())
    }

    /// The files of a network, where it is there.
    pub fn get(&self, name: &str) -> Option<&NetworkFiles> {
        self.by_folder.get(name)
    }

    /// Generated where there are none: what is narrowed then was trained here.
    pub fn kind(&self) -> Kind {
        if self.by_folder.is_empty() { Kind::Generated } else { Kind::Real }
    }
}

/// Whole numbers, one a line.
fn rows(bytes: &[u8], path: &Path) -> Result<Vec<usize>> {
    let text = std::str::from_utf8(bytes).with_context(|| path.display().to_string())?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(i, line): (usize, &str)| {
        let place = || format!("{}, line {}: wanted a row number", path.display(), i + 1);
        line.trim().parse().with_context(place)
    };
    lines.map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_with_their_rows_and_facts() {
        let root = tempfile::tempdir().unwrap();
        let places = Places { explicit: None, cache: root.path().to_owned() };
        let mut told = Vec::new();
        let none = Networks::load(&places, &mut |line| told.push(line)).unwrap();
        assert!(told.len() == 1 && none.kind() == Kind::Generated && none.sha256.is_empty());

        let folder = root.path().join("models/teachers/mlp-1");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(MODEL), b"network").unwrap();
        let lacking = format!("{:#}", Networks::load(&places, &mut |_| {}).unwrap_err());
        assert!(lacking.contains(FACTS), "{lacking}");
        std::fs::write(folder.join(FACTS), br#"{"test_accuracy": 0.5}"#).unwrap();
        std::fs::write(folder.join(ROWS), b"7\n3\n").unwrap();
        let found = Networks::load(&places, &mut |_| unreachable!("there is one")).unwrap();
        let network = found.get("teachers/mlp-1").unwrap();
        assert_eq!((network.rows.clone(), found.kind()), (Some(vec![7, 3]), Kind::Real));
        assert_eq!(network.facts["test_accuracy"], 0.5);
        std::fs::write(folder.join(ROWS), b"7\nx\n").unwrap();
        let wrong = format!("{:#}", Networks::load(&places, &mut |_| {}).unwrap_err());
        assert!(wrong.contains("line 2: wanted a row number"), "{wrong}");
    }
}
