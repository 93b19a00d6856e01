//! Short texts with a sentiment: from Sentiment140 on disk, or made up where it is not there.

mod csv;
mod hashed;
mod listed;
mod vocabulary;
mod words;

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::synthetic::legacy::NumpyRandom;
use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use core_tensors::{Dataset, Rng, Targets};
use serde::Deserialize;

use super::{File, Places, SYNTHETIC_SEED, sha256, sha256_of, verify};
use crate::data::synthetic::sentences;
use crate::files::read;
use crate::ledger::Kind;

pub use csv::read as read_csv;
pub use hashed::HashedWords;
pub use listed::LISTS;
pub use vocabulary::{Numbered, Vocabulary};
pub use words::words;

/// Name of the data set.
pub const ID: &str = "twitter";
/// Seed of the source's split of the whole data set.
const SPLIT_SEED: u32 = 0;

/// Texts with a class each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labelled {
    /// The texts as they were written.
    pub texts: Vec<String>,
    /// Their classes, 0 = negative, 1 = positive.
    pub labels: Vec<u32>,
    /// Texts with bytes that are no UTF-8, each replaced by U+FFFD.
    pub n_replaced: usize,
}

/// A data set of texts in memory.
#[derive(Clone, Debug)]
pub struct Texts {
    /// Texts to train on.
    pub train: Labelled,
    /// Texts to test on.
    pub test: Labelled,
    /// More to train on, of other days than the rest; absent where the file is, and from the whole data set.
    pub extra: Option<Labelled>,
    /// k: classes.
    pub n_classes: usize,
    /// Real or made up.
    pub kind: Kind,
    /// Whether it is the whole of Sentiment140.
    pub is_complete: bool,
    /// SHA-256 of each file, or of what was made up.
    pub sha256: BTreeMap<String, String>,
}

/// Which files hold the texts, and how to get them; the text lies in `datasets/twitter.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    id: String,
    title: String,
    pub(super) licence: String,
    /// What a user without the data can do.
    obtain: String,
    n_classes: usize,
    whole: Vec<String>,
    files: Files,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    train: File,
    test: File,
    extra: File,
}

impl Labelled {
    /// The texts under these indices, in this order; how many of them had bytes replaced is not known.
    pub fn rows(&self, indices: &[u32]) -> Self {
        let texts = indices.iter().map(|&i| self.texts[i as usize].clone()).collect();
        let labels = indices.iter().map(|&i| self.labels[i as usize]).collect();
        Self { texts, labels, n_replaced: 0 }
    }

    /// Examples to train a network on: some view x of the texts, one row each, with their classes.
    pub fn dataset(&self, x: Tensor, n_classes: usize) -> Result<Dataset> {
        let labels = Tensor::from_slice(&self.labels, self.labels.len(), x.device())?;
        Ok(Dataset::new(x, Targets::Classes { labels, n_classes })?)
    }
}

impl Texts {
    /// Loads the tweets: from an explicit folder, else the cache, else made up; `notice` receives one line then.
    ///
    /// `twitter/` below the folder holds `train.csv`, `test.csv` and, if wanted, `train_extra.csv`, each with the check
    /// sum of `datasets/twitter.toml`; or else the whole data set under a published name, of which a quarter is to test
    /// on: `train_test_split` after `numpy.random.seed(0)`, as in the code of paper 004.
    pub fn load(places: &Places, notice: &mut dyn FnMut(String)) -> Result<Self> {
        let manifest = Manifest::new()?;
        if let Some((name, folder)) = places.explicit_folder()? {
            let folder = folder.join(&manifest.id);
            let missing = || anyhow::anyhow!(manifest.missing(&folder));
            let found = Self::from_folder(&manifest, &folder).context(name.clone())?;
            return found.ok_or_else(missing).context(name.clone());
        }
        let folder = places.cache.join(&manifest.id);
        if let Some(texts) = Self::from_folder(&manifest, &folder)? {
            return Ok(texts);
        }
        let (title, missing) = (&manifest.title, manifest.missing(&folder));
        notice(format!(
            "{title}: {missing}; made-up texts stand in, and no claim is judged on them"
        ));
        Ok(Self::made_up(&manifest))
    }

    /// What lies in a folder, if anything; what is there and damaged is an error.
    fn from_folder(manifest: &Manifest, folder: &Path) -> Result<Option<Self>> {
        let files = &manifest.files;
        if [&files.train, &files.test].iter().any(|file| folder.join(&file.name).is_file()) {
            return Self::from_files(manifest, folder).map(Some);
        }
        let path = manifest.whole.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        path.map(|path| Self::from_whole(manifest, &path)).transpose()
    }

    /// The files of the manifest, every one checked.
    fn from_files(manifest: &Manifest, folder: &Path) -> Result<Self> {
        let mut sums = BTreeMap::new();
        let mut take = |file: &File| -> Result<Labelled> {
            let path = folder.join(&file.name);
            let bytes = verify(&path, file)?;
            sums.insert(file.name.clone(), file.sha256.clone());
            let labeled = csv::read(&bytes).with_context(|| path.display().to_string())?;
            if labeled.texts.len() != file.count {
                let (wanted, found) = (file.count, labeled.texts.len());
                bail!("{}: wanted {wanted} texts, found {found}", path.display());
            }
            Ok(labeled)
        };
        let (train, test) = (take(&manifest.files.train)?, take(&manifest.files.test)?);
        let extra = &manifest.files.extra;
        let extra = if folder.join(&extra.name).is_file() { Some(take(extra)?) } else { None };
        Ok(Self {
            train,
            test,
            extra,
            n_classes: manifest.n_classes,
            kind: Kind::Real,
            is_complete: false,
            sha256: sums,
        })
    }

    /// The whole data set in one file, split as in the source.
    fn from_whole(manifest: &Manifest, path: &Path) -> Result<Self> {
        let bytes = read(path)?;
        let whole = csv::read(&bytes).with_context(|| path.display().to_string())?;
        let order = NumpyRandom::new(SPLIT_SEED).permutation(whole.texts.len() as u32);
        // scikit-learn rounds the quarter up and takes it from the front.
        let (test, train) = order.split_at(order.len().div_ceil(4));
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Self {
            train: Labelled { n_replaced: whole.n_replaced, ..whole.rows(train) },
            test: whole.rows(test),
            extra: None,
            n_classes: manifest.n_classes,
            kind: Kind::Real,
            is_complete: true,
            sha256: BTreeMap::from([(name.unwrap_or_default(), sha256(&bytes))]),
        })
    }

    /// As many texts as the files have, of a grammar of likes and dislikes.
    fn made_up(manifest: &Manifest) -> Self {
        let rng = Rng::new(SYNTHETIC_SEED).split(&manifest.id);
        let mut sums = BTreeMap::new();
        let mut part = |name: &str, file: &File| {
            let (texts, labels) = sentences::draw(file.count, &mut rng.split(name));
            let classes: Vec<u8> = labels.iter().map(|&label| label as u8).collect();
            let sum = sha256_of(&[texts.join("\n").as_bytes(), &classes]);
            sums.insert(format!("made up {name}"), sum);
            Labelled { texts, labels, n_replaced: 0 }
        };
        let files = &manifest.files;
        let (train, test) = (part("train", &files.train), part("test", &files.test));
        Self {
            train,
            test,
            extra: Some(part("extra", &files.extra)),
            n_classes: manifest.n_classes,
            kind: Kind::Generated,
            is_complete: false,
            sha256: sums,
        }
    }
}

/// An error that says how to get the tweets unless they lie in a folder.
pub(super) fn check_present(folder: &Path) -> Result<()> {
    let manifest = Manifest::new()?;
    match Texts::from_folder(&manifest, folder)? {
        Some(_) => Ok(()),
        None => bail!(manifest.missing(folder)),
    }
}

impl Manifest {
    pub(super) fn new() -> Result<Self> {
        toml::from_str(include_str!("../../../../../datasets/twitter.toml"))
            .context("datasets/twitter.toml")
    }

    /// What a folder lacks, and where to get it.
    fn missing(&self, folder: &Path) -> String {
        let (files, whole) = (&self.files, self.whole.join(" or "));
        format!(
            "{}: wanted {} and {}, or {whole}, found none; {}",
            folder.display(),
            files.train.name,
            files.test.name,
            self.obtain
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::ControlFlow;

    use candle_core::{DType, Device};
    use core_tensors::kernels::Activation;
    use core_tensors::{Adam, AdamConfig, Fit};
    use losses::{Distillation, distillation};
    use models::{Architecture, Mlp};

    fn places(explicit: &Path) -> Places {
        Places { explicit: Some(("--data".into(), explicit.to_owned())), cache: "unused".into() }
    }

    fn load(places: &Places) -> Result<Texts> {
        Texts::load(places, &mut |_| {})
    }

    #[test]
    fn the_manifest_is_whole() {
        let manifest = Manifest::new().unwrap();
        assert_eq!((&manifest.id[..], manifest.n_classes), (ID, 2));
        for file in [&manifest.files.train, &manifest.files.test, &manifest.files.extra] {
            assert_eq!(file.sha256.len(), 64, "{}", file.name);
        }
    }

    #[test]
    fn without_files_texts_are_made_up_and_the_user_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places { explicit: None, cache: folder.path().to_owned() };
        let mut told = Vec::new();
        let texts = Texts::load(&places, &mut |line| told.push(line)).unwrap();
        assert_eq!((texts.kind, texts.train.texts.len()), (Kind::Generated, 15_981));
        assert_eq!((texts.test.labels.len(), texts.n_classes), (4000, 2));
        assert_ne!(texts.train.texts[..20], texts.test.texts[..20]);
        assert_eq!(texts.sha256, load(&places).unwrap().sha256);
        assert_eq!(told.len(), 1);
        for part in ["train.csv and test.csv", "stanfordnlp/sentiment140", "made-up texts stand in"]
        {
            assert!(told[0].contains(part), "{told:?}");
        }
        let told = check_present(folder.path()).unwrap_err().to_string();
        assert!(told.contains("found none; get Sentiment140"), "{told}");
    }

    #[test]
    fn the_whole_data_set_is_split_as_in_the_source() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("twitter/Sentiment Analysis Dataset.csv");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = "ItemID,Sentiment,SentimentSource,SentimentText\n".to_owned();
        (0..10).for_each(|i| file.push_str(&format!("{i},{},Sentiment140,text {i}\n", i % 2)));
        std::fs::write(&path, &file).unwrap();
        let texts = load(&places(folder.path())).unwrap();
        let numbers = |part: &Labelled| {
            let of = |text: &String| text.trim_start_matches("text ").parse::<u32>().unwrap();
            let numbers: Vec<u32> = part.texts.iter().map(of).collect();
            assert!(numbers.iter().zip(&part.labels).all(|(i, label)| i % 2 == *label));
            numbers
        };
        // np.random.seed(0); np.random.permutation(10): the first ⌈10/4⌉ are to test on.
        assert_eq!(numbers(&texts.test), [2, 8, 4]);
        assert_eq!(numbers(&texts.train), [9, 1, 6, 7, 3, 0, 5]);
        assert!(texts.is_complete && texts.kind == Kind::Real && texts.extra.is_none());
        assert_eq!(texts.sha256["Sentiment Analysis Dataset.csv"], sha256(file.as_bytes()));

        std::fs::write(&path, file.replace("4,0", "4,x")).unwrap();
        let told = format!("{:#}", load(&places(folder.path())).unwrap_err());
        let wanted =
            format!("--data: {}: line 6: wanted a label 0 or 1, found `x`", path.display());
        assert_eq!(told, wanted);
    }

    #[test]
    fn missing_and_damaged_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let told = || format!("{:#}", load(&places(folder.path())).unwrap_err());
        let twitter = folder.path().join("twitter");
        assert!(told().starts_with(&format!("--data: {}: wanted train.csv", twitter.display())));
        std::fs::create_dir(&twitter).unwrap();
        std::fs::write(twitter.join("train.csv"), "label,text\n0,a\n").unwrap();
        assert!(told().ends_with("train.csv: wanted 1248138 bytes, found 15"), "{}", told());
    }

    #[test]
    fn files_are_checked_counted_and_the_third_may_be_absent() {
        let folder = tempfile::tempdir().unwrap();
        let mut manifest = Manifest::new().unwrap();
        let files = &mut manifest.files;
        for (file, text) in [
            (&mut files.train, "label,text\n0,a\n1,caf\u{e9}\n"),
            (&mut files.test, "label,text\n1,b\n"),
            (&mut files.extra, "label,text\n1,c\n"),
        ] {
            std::fs::write(folder.path().join(&file.name), text).unwrap();
            (file.bytes, file.sha256) = (text.len() as u64, sha256(text.as_bytes()));
            file.count = text.lines().count() - 1;
        }
        let load = |m: &Manifest| Texts::from_folder(m, folder.path()).map(Option::unwrap);
        let texts = load(&manifest).unwrap();
        assert_eq!((texts.train.labels, texts.sha256.len()), (vec![0, 1], 3));
        assert_eq!(texts.extra.unwrap().texts, ["c"]);
        std::fs::remove_file(folder.path().join("train_extra.csv")).unwrap();
        assert!(load(&manifest).unwrap().extra.is_none());
        manifest.files.test.count = 2;
        let told = load(&manifest).unwrap_err().to_string();
        assert!(told.ends_with("test.csv: wanted 2 texts, found 1"), "{told}");
    }

    #[test]
    fn words_of_made_up_texts_tell_something_and_not_all() {
        let (texts, labels) = sentences::draw(3000, &mut Rng::new(3));
        let all = Labelled { texts, labels, n_replaced: 0 };
        let part = |at: std::ops::Range<u32>| {
            let part = all.rows(&at.collect::<Vec<_>>());
            let hashed = HashedWords::new(768, 2).unwrap();
            part.dataset(hashed.features(&part.texts, &Device::Cpu).unwrap(), 2).unwrap()
        };
        let (train, test) = (part(0..2000), part(2000..3000));
        let student = Mlp { widths: vec![768, 2], activation: Activation::Identity, bias: true };
        let w = student.init(&mut Rng::new(0), &Device::Cpu).unwrap().trainable().unwrap();
        let mut adam = Adam::new(AdamConfig::pytorch(0.02), &w).unwrap();
        let mut update = |batch: &Dataset| -> Result<f64> {
            let logits = student.forward(&w, batch.x())?;
            let loss = distillation(&logits, batch, &Distillation::labels_only())?;
            adam.step(&loss.backward()?)?;
            Ok(0.0)
        };
        let fit = Fit { epochs: 5, batch_size: 50 };
        let go_on = |_| Ok(ControlFlow::Continue(()));
        fit.run(&train, &mut Rng::new(1), &mut update, go_on).unwrap();
        let predicted = student.forward(&w, test.x()).unwrap().argmax(1).unwrap();
        let Targets::Classes { labels, .. } = test.y() else { unreachable!() };
        let right = predicted.eq(labels).unwrap().to_dtype(DType::U32).unwrap().sum_all().unwrap();
        let right = right.to_scalar::<u32>().unwrap();
        // The same gives 0.65 on the real ones; the standard deviation of an accuracy on 1000 is 0.015.
        assert!((620..780).contains(&right), "{right}");
    }
}
