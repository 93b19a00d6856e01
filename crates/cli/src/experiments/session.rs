//! What every part of a reproduction shares: scale, device, data, and the wish to stop.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::data::synthetic::legacy::TorchRandom;
use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use core_tensors::Dataset;

use crate::data::published::Images;
use crate::data::published::bert::{Bert, OnTweets, Pooling};
use crate::data::published::networks::{NETWORKS, Networks};
use crate::data::published::tweets::Texts;
use crate::data::published::weights::Weights;
use crate::ledger::{DataSum, Kind, Scale};

/// Seed of the split of paper 003.
const SPLIT_SEED: u32 = 1234;
/// Examples of its smaller part.
const N_SMALL: usize = 1000;

impl Scale {
    /// Height and width to which color images are resized; 200 is paper 003's.
    pub fn side(self) -> usize {
        match self {
            Self::Smoke => 32,
            Self::Quick => 64,
            Self::Paper => 200,
        }
    }
}

/// The setting of one reproduction.
pub struct Session {
    /// How much is run.
    pub scale: Scale,
    /// Where networks live.
    pub device: Device,
    data: BTreeMap<String, Images>,
    texts: BTreeMap<String, Texts>,
    weights: BTreeMap<String, Weights>,
    bert: Option<Sentences>,
    networks: Option<Networks>,
    on_tweets: Option<OnTweets>,
    /// By the name of the data set, made when it is asked for.
    splits: BTreeMap<String, OnceLock<(Dataset, Dataset)>>,
    /// Exit status of the program that was asked to stop; 0 as long as it was not.
    interruption: AtomicU8,
}

/// A frozen BERT and the folder that keeps its vectors; one asks at a time, so that none is made twice.
struct Sentences {
    bert: Bert,
    cache: Mutex<PathBuf>,
}

impl Session {
    /// A session over loaded data.
    pub fn new(scale: Scale, device: Device, data: BTreeMap<String, Images>) -> Self {
        let splits = data.keys().map(|id| (id.clone(), OnceLock::new())).collect();
        Self {
            scale,
            device,
            data,
            texts: BTreeMap::new(),
            weights: BTreeMap::new(),
            bert: None,
            networks: None,
            on_tweets: None,
            splits,
            interruption: AtomicU8::new(0),
        }
    }

    /// The same session with weights of published networks.
    pub fn with_weights(self, weights: BTreeMap<String, Weights>) -> Self {
        Self { weights, ..self }
    }

    /// The same session with data sets of texts.
    pub fn with_texts(self, texts: BTreeMap<String, Texts>) -> Self {
        Self { texts, ..self }
    }

    /// The same session with a BERT, where one is at hand, and the folder that keeps its vectors.
    pub fn with_bert(self, bert: Option<Bert>, cache: PathBuf) -> Self {
        let bert = bert.map(|bert| Sentences { bert, cache: Mutex::new(cache) });
        Self { bert, ..self }
    }

    /// The same session with trained networks, or with the knowledge that there are none.
    pub fn with_networks(self, networks: Option<Networks>) -> Self {
        Self { networks, ..self }
    }

    /// The same session with a BERT on tweets, or with the knowledge that there is none.
    pub fn with_bert_on_tweets(self, on_tweets: Option<OnTweets>) -> Self {
        Self { on_tweets, ..self }
    }

    /// Names of data sets and of weights.
    pub fn data(&self) -> impl Iterator<Item = &str> {
        let named = self.data.keys().chain(self.texts.keys()).chain(self.weights.keys());
        let named = named.map(String::as_str);
        let named = named.chain(self.bert.iter().map(|sentences| sentences.bert.name));
        let named = named.chain(self.networks.iter().map(|_| NETWORKS));
        named.chain(self.on_tweets.iter().map(|on_tweets| on_tweets.bert.name))
    }

    /// Real or generated, and the SHA-256 of each file of a data set or of weights.
    pub fn origin(&self, id: &str) -> Result<(Kind, &BTreeMap<String, String>)> {
        if let Some(weights) = self.weights.get(id) {
            return Ok((weights.kind(), &weights.sha256));
        }
        if let Some(texts) = self.texts.get(id) {
            return Ok((texts.kind, &texts.sha256));
        }
        if let Some(sentences) = self.bert.as_ref().filter(|sentences| sentences.bert.name == id) {
            return Ok((Kind::Real, &sentences.bert.sha256));
        }
        if let Some(found) = self.on_tweets.as_ref().filter(|found| found.bert.name == id) {
            return Ok((Kind::Real, &found.sha256));
        }
        if let Some(networks) = self.networks.as_ref().filter(|_| id == NETWORKS) {
            return Ok((networks.kind(), &networks.sha256));
        }
        self.images(id).map(|images| (images.kind, &images.sha256))
    }

    /// Where the data of this session come from, by name.
    pub fn data_sums(&self) -> BTreeMap<String, DataSum> {
        let sum = |id: &str| {
            let (kind, sha256) = self.origin(id).ok()?;
            Some((id.to_owned(), DataSum { kind, sha256: sha256.clone() }))
        };
        self.data().filter_map(sum).collect()
    }

    /// One data set of images.
    pub fn images(&self, id: &str) -> Result<&Images> {
        self.data.get(id).with_context(|| format!("data set {id} was not loaded"))
    }

    /// One data set of texts, such as [`ID`](crate::data::published::tweets::ID).
    pub fn texts(&self, id: &str) -> Result<&Texts> {
        self.texts.get(id).with_context(|| format!("data set {id} was not loaded"))
    }

    /// Weights of a published network, such as [`VGG19`](crate::data::published::weights::VGG19).
    pub fn weights(&self, id: &str) -> Result<&Weights> {
        self.weights.get(id).with_context(|| format!("weights {id} were not loaded"))
    }

    /// Trained networks; none where none were loaded.
    pub fn networks(&self) -> Option<&Networks> {
        self.networks.as_ref()
    }

    /// A BERT and the tweets that it is narrowed by and measured on; none where none were loaded.
    pub fn bert_on_tweets(&self) -> Option<&OnTweets> {
        self.on_tweets.as_ref()
    }

    /// Whether there is a BERT.
    pub fn has_bert(&self) -> bool {
        self.bert.is_some()
    }

    /// Vectors of texts by the session's BERT, (m, 768): the mean of the last layer; `None` where there is no BERT.
    pub fn sentences(&self, texts: &[String]) -> Result<Option<Tensor>> {
        let Some(Sentences { bert, cache }) = &self.bert else {
            return Ok(None);
        };
        let cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
        bert.features(texts, Pooling::Mean, &cache, &self.device).map(Some)
    }

    /// FashionMNIST-Big and -Small of paper 003: 59 000 and 1000 of the 60 000 examples.
    pub fn big_and_small(&self) -> Result<&(Dataset, Dataset)> {
        self.big_and_small_of("fashion-mnist")
    }

    /// The examples to train on in two, in random order: all but 1000, and those 1000.
    ///
    /// Of Imagenette these are 8469 and 1000, of a copy with 5000 examples 4000 and 1000.
    ///
    /// Source: `random_split([59000, 1000])` after `torch.manual_seed(1234)` in the author's code, `[8469, 1000]` there.
    pub fn big_and_small_of(&self, id: &str) -> Result<&(Dataset, Dataset)> {
        let train = &self.images(id)?.train;
        let split = self.splits.get(id).with_context(|| format!("data set {id} was not loaded"))?;
        if let Some(split) = split.get() {
            return Ok(split);
        }
        let order = TorchRandom::new(SPLIT_SEED).permutation(train.n_examples() as u32);
        let order: Vec<usize> = order.into_iter().map(|i| i as usize).collect();
        let (big, small) = order.split_at(order.len().saturating_sub(N_SMALL));
        let made = (train.rows(big)?, train.rows(small)?);
        Ok(split.get_or_init(|| made))
    }

    /// Asks every part to stop after its current epoch; the program is to end with this status, unless it was asked before.
    pub fn interrupt(&self, status: u8) {
        let _ = self.interruption.compare_exchange(0, status, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether [`Session::interrupt`] was called.
    pub fn is_interrupted(&self) -> bool {
        self.interruption() != 0
    }

    /// The status that it was called with; 0 where it was not.
    pub fn interruption(&self) -> u8 {
        self.interruption.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::published::Places;
    use core_tensors::Targets;

    #[test]
    fn a_split_leaves_a_thousand_and_shares_no_example() {
        let n = 1003;
        let x: Vec<u32> = (0..n).collect();
        let x = Tensor::from_vec(x, (n as usize, 1), &Device::Cpu).unwrap();
        let labels = Tensor::zeros(n as usize, candle_core::DType::U32, &Device::Cpu);
        let y = Targets::Classes { labels: labels.unwrap(), n_classes: 1 };
        let train = Dataset::new(x, y).unwrap();
        let images = Images {
            test: train.clone(),
            train,
            shape: [1, 1, 1],
            kind: Kind::Generated,
            is_complete: false,
            n_grayscale: 0,
            sha256: BTreeMap::new(),
        };
        let data = BTreeMap::from([("own".to_owned(), images)]);
        let session = Session::new(Scale::Smoke, Device::Cpu, data);
        let (big, small) = session.big_and_small_of("own").unwrap();
        assert_eq!((big.n_examples(), small.n_examples()), (3, 1000));
        let numbers = |d: &Dataset| d.x().flatten_all().unwrap().to_vec1::<u32>().unwrap();
        // The first three of torch.randperm(1003) after torch.manual_seed(1234), by our generator of it.
        assert_eq!(numbers(big), TorchRandom::new(1234).permutation(n)[..3]);
        let mut all = [numbers(big), numbers(small)].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..n));
        assert!(session.big_and_small().is_err(), "FashionMNIST was not loaded");
    }

    #[test]
    fn texts_are_data_beside_images() {
        let places = Places { explicit: None, cache: "no such folder".into() };
        let texts = Texts::load(&places, &mut |_| {}).unwrap();
        let texts = BTreeMap::from([("twitter".to_owned(), texts)]);
        let session = Session::new(Scale::Smoke, Device::Cpu, BTreeMap::new()).with_texts(texts);
        assert!(session.data().eq(["twitter"]));
        let (kind, sums) = session.origin("twitter").unwrap();
        assert_eq!((kind, sums.len()), (Kind::Generated, 3));
        assert_eq!(session.texts("twitter").unwrap().test.texts.len(), 4000);
        assert!(session.texts("other").is_err() && session.images("twitter").is_err());
    }
}
