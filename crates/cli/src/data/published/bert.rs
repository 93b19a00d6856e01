//! Sentence vectors of a frozen BERT: a view of texts that somebody else has learned.

mod graph;
mod model;
mod on_tweets;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use safetensors::SafeTensors;

use self::model::Model;
use super::manifest::Hub;
use super::{Places, download, sha256, sha256_of};
use crate::files::parse;
use crate::files::{read, write_whole};

pub use graph::Encoder;
pub use on_tweets::OnTweets;

/// Settings, tokens and weights of a BERT as the Hugging Face hub names them.
const FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];
/// Changes with how vectors are made, so that those made otherwise are not used.
const MAKING: &str = "last layer, special tokens included, 1";
/// The one tensor of a file of vectors, and the one entry of its header: the key and the SHA-256 of the numbers.
const TENSOR: &str = "features";
const SUMS: &str = "sums";

/// A published BERT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its folder below `weights/`.
    pub name: &'static str,
    /// Its repository on the Hugging Face hub.
    pub repository: &'static str,
}

/// BERT base, lower case: vectors of 768 numbers, as wide as those of paper 004, which does not name its own.
pub const BERT_BASE: Published =
    Published { name: "bert-base-uncased", repository: "google-bert/bert-base-uncased" };

/// Six layers of 384 numbers, trained for sentence vectors.
pub const MINILM: Published =
    Published { name: "all-MiniLM-L6-v2", repository: "sentence-transformers/all-MiniLM-L6-v2" };

/// What becomes of the last layer's vectors, one a token, with those of \[CLS\] and \[SEP\].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// That of the first token, \[CLS\].
    Cls,
}

/// The files of a BERT.
#[derive(Clone, Debug)]
pub struct Bert {
    /// The name it is published under.
    pub name: &'static str,
    files: [(PathBuf, Vec<u8>); 3],
    /// SHA-256 of each file.
    pub sha256: BTreeMap<String, String>,
}

impl Bert {
    /// The files of a BERT: from an explicit folder, else the cache (both `weights/<name>/`), else the hub.
    ///
    /// An error names what is wanted where they are out of reach.
    pub fn load(published: &Published, places: &Places) -> Result<Self> {
        Self::find(published, places)?.map_err(anyhow::Error::msg)
    }

    /// [`Bert::load`], or why it is out of reach; a folder that lacks one of the files is an error.
    pub fn find(published: &Published, places: &Places) -> Result<Result<Self, String>> {
        find(published, places, |file| from_hub(published, file))
    }

    /// [`Bert::find`] without asking the hub.
    pub fn on_disk(published: &Published, places: &Places) -> Result<Result<Self, String>> {
        find(published, places, |_| bail!("the hub is not asked at smoke scale"))
    }

    /// Vectors of texts, (m, n), f32, with n the width of the network; no gradient.
    ///
    /// A text that is longer than the network's positions is cut. Vectors are kept below `cache`, under a name that holds
    /// the SHA-256 of settings, tokens, weights and texts, and the pooling; they are made on all cores.
    pub fn features(
        &self,
        texts: &[String],
        pooling: Pooling,
        cache: &Path,
        device: &Device,
    ) -> Result<Tensor> {
        let key = self.key(texts, pooling);
        let name = format!("{}-{}-{key}.safetensors", self.name, pooling.name());
        let path = cache.join("features").join(name);
        if let Some(kept) = read(&path).ok().and_then(|bytes| kept(&bytes, &key, texts.len())) {
            return Ok(kept.to_device(device)?);
        }
        let model = Model::new(&self.files, device)?;
        let features = model.features(texts, pooling)?;
        let bytes: Vec<u8> = features.iter().flat_map(|x| x.to_le_bytes()).collect();
        let features = Tensor::from_vec(features, (texts.len(), model.width()), &Device::Cpu)?;
        let header = header(&key, &bytes);
        write_whole(&path, &safetensors::serialize([(TENSOR, &features)], header)?)?;
        Ok(features.to_device(device)?)
    }

    /// SHA-256 of all that vectors depend on.
    fn key(&self, texts: &[String], pooling: Pooling) -> String {
        // A length before each text: what ends one and begins the next counts.
        let mut all = Vec::new();
        for text in texts {
            all.extend((text.len() as u64).to_le_bytes());
            all.extend(text.as_bytes());
        }
        let texts = sha256(&all);
        let sums: Vec<&str> = self.sha256.values().map(String::as_str).collect();
        let parts = [MAKING, pooling.name(), &sums.join(" "), &texts];
        sha256_of(&[parts.join("\n").as_bytes()])
    }
}

impl Pooling {
    fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
        }
    }
}

fn header(key: &str, numbers: &[u8]) -> Option<HashMap<String, String>> {
    Some(HashMap::from([(SUMS.to_owned(), format!("{key} {}", sha256(numbers)))]))
}

/// What a file of vectors holds; a damaged or foreign one counts as nothing.
fn kept(bytes: &[u8], key: &str, n_texts: usize) -> Option<Tensor> {
    let (_, found) = SafeTensors::read_metadata(bytes).ok()?;
    let file = parse(bytes).ok()?;
    let view = file.tensor(TENSOR).ok()?;
    let is_whole = *found.metadata() == header(key, view.data());
    let tensor = candle_core::safetensors::Load::load(&view, &Device::Cpu).ok()?;
    let is_right = tensor.dtype() == candle_core::DType::F32 && tensor.dims2().ok()?.0 == n_texts;
    (is_whole && is_right).then_some(tensor)
}

fn find(
    published: &Published,
    places: &Places,
    hub: impl Fn(&str) -> Result<PathBuf>,
) -> Result<Result<Bert, String>> {
    let explicit = places.explicit_folder()?.map(|(_, folder)| folder);
    let folder_of = |folder: &PathBuf| folder.join("weights").join(published.name);
    let folders: Vec<PathBuf> =
        explicit.into_iter().chain([&places.cache]).map(folder_of).collect();
    let has_one = |folder: &&PathBuf| FILES.iter().any(|file| folder.join(file).is_file());
    if let Some(folder) = folders.iter().find(has_one) {
        let paths = FILES.map(|file| folder.join(file));
        if let Some(missing) = paths.iter().find(|path| !path.is_file()) {
            bail!("{}: wanted a file, found none; {}", missing.display(), obtain(published));
        }
        return open(published.name, paths).map(Ok);
    }
    let fetched = || -> Result<[PathBuf; 3]> {
        let [config, tokens, weights] = FILES;
        Ok([hub(config)?, hub(tokens)?, hub(weights)?])
    };
    match fetched() {
        Ok(paths) => open(published.name, paths).map(Ok),
        Err(error) => {
            let folders: Vec<_> = folders.iter().map(|f| f.display().to_string()).collect();
            Ok(Err(format!(
                "{}: wanted {} in {}, found none ({error:#}); {}",
                published.name,
                FILES.join(", "),
                folders.join(" or "),
                obtain(published)
            )))
        }
    }
}

fn obtain(published: &Published) -> String {
    format!(
        "put those files of {} there, from the Hugging Face hub, or run once with a network",
        published.repository
    )
}

fn open(name: &'static str, paths: [PathBuf; 3]) -> Result<Bert> {
    let mut files = Vec::with_capacity(paths.len());
    let mut sums = BTreeMap::new();
    for (file, path) in FILES.into_iter().zip(paths) {
        let bytes = read(&path)?;
        sums.insert(format!("{name}/{file}"), sha256(&bytes));
        files.push((path, bytes));
    }
    let files = files.try_into().ok().context("three files of a BERT")?;
    Ok(Bert { name, files, sha256: sums })
}

fn from_hub(published: &Published, file: &str) -> Result<PathBuf> {
    let hub = Hub { repository: published.repository.into(), revision: "main".into() };
    let builder = hf_hub::api::sync::ApiBuilder::from_env();
    download::hub_file(&hub, hf_hub::RepoType::Model, file, builder)
}
