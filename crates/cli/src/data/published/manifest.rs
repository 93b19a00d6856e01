//! Manifests: which files make a data set, where they come from, and how to know them.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::data::synthetic::images;

/// One data set of images in IDX files; the text lies in `datasets/<id>.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the data set and of its folder.
    pub id: String,
    /// Its name in reports.
    pub title: String,
    /// Its licence, printed by `distill fetch`.
    pub licence: String,
    /// Folders on the web that hold the files, tried in this order.
    #[serde(default)]
    pub urls: Vec<String>,
    /// Data set repository on the Hugging Face hub that holds the files, tried first.
    pub hub: Option<Hub>,
    /// k: number of classes.
    pub n_classes: usize,
    /// What is drawn where there is no network.
    pub(super) synthetic: images::Kind,
    /// The four files.
    pub files: Files,
}

/// A repository on the Hugging Face hub.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hub {
    /// owner/name.
    pub repository: String,
    /// Branch, tag or commit.
    pub revision: String,
}

/// The files of a data set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Images to train on.
    pub train_images: File,
    /// Their classes.
    pub train_labels: File,
    /// Images to test on.
    pub test_images: File,
    /// Their classes.
    pub test_labels: File,
}

/// One file, gzipped IDX.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Name inside the folder of the data set.
    pub name: String,
    /// Check sum, lower-case hexadecimal.
    pub sha256: String,
    /// Size of the compressed file.
    pub bytes: u64,
    /// Examples in it.
    pub count: usize,
}

impl Files {
    /// The four, in the order train images, train classes, test images, test classes.
    pub fn all(&self) -> [&File; 4] {
        [&self.train_images, &self.train_labels, &self.test_images, &self.test_labels]
    }
}

/// Identifiers of the data sets that come with the program.
pub const IDS: [&str; 2] = ["fashion-mnist", "mnist"];

impl Manifest {
    /// The manifest of a data set that comes with the program.
    pub fn of(id: &str) -> Result<Self> {
        let text = match id {
            "fashion-mnist" => include_str!("../../../../../datasets/fashion-mnist.toml"),
            "mnist" => include_str!("../../../../../datasets/mnist.toml"),
            _ => bail!("data set `{id}`: wanted one of {}", IDS.join(", ")),
        };
        Self::parse(text).with_context(|| format!("datasets/{id}.toml"))
    }

    /// Reads the text of a manifest.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manifest_is_whole() {
        for id in IDS {
            let manifest = Manifest::of(id).unwrap();
            assert_eq!(manifest.id, id);
            assert_eq!(manifest.n_classes, 10);
            assert!(!manifest.urls.is_empty() && !manifest.licence.is_empty());
            for file in manifest.files.all() {
                assert_eq!(file.sha256.len(), 64, "{}", file.name);
            }
        }
    }

    #[test]
    fn an_unknown_data_set_is_refused_with_the_known_ones() {
        let message = Manifest::of("cifar").unwrap_err().to_string();
        assert_eq!(message, "data set `cifar`: wanted one of fashion-mnist, mnist");
    }
}
