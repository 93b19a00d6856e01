//! Imagenette: ten classes of color images, from folders or tar files, resized once and kept.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use core_tensors::Rng;
use serde::Deserialize;

use super::decode::{CHANNELS, GrayscaleImages};
use super::folders::{self, Class, HALVES, Half, Intensities};
use super::{Images, Places, SYNTHETIC_SEED, dataset, download, sha256, sha256_of};
use crate::data::synthetic::images::scenes;
use crate::files::{fill_on_threads, read, stream_whole};
use crate::ledger::Kind;

/// Name of the data set.
pub const ID: &str = "imagenette";
/// Changes with the decoder or the resize, so that images made by another one are not used.
const MAKING: &str = "strict JPEG, triangle filter, 1";
/// How many images are drawn for each half.
const N_SYNTHETIC: [usize; 2] = [5000, 1000];
/// Bytes of a SHA-256 in hexadecimal.
const SUM: usize = 64;

/// Where Imagenette comes from, and how many images it has; the text lies in `datasets/imagenette.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) licence: String,
    pub(super) archives: Vec<Archive>,
    pub(super) classes: Vec<Counts>,
}

/// One size of the data set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Archive {
    /// Name of the archive's one folder.
    pub(super) name: String,
    /// Tried in this order.
    pub(super) urls: Vec<String>,
    /// Pixels along the shorter side of an image; absent where images have their full size.
    pub(super) side: Option<usize>,
}

/// One class.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counts {
    pub(super) folder: String,
    pub(super) train: usize,
    pub(super) val: usize,
}

impl Manifest {
    pub(super) fn new() -> Result<Self> {
        toml::from_str(include_str!("../../../../../datasets/imagenette.toml"))
            .context("datasets/imagenette.toml")
    }

    /// The first archive with images of at least this side.
    pub(super) fn archive(&self, side: usize) -> Result<&Archive> {
        let is_enough = |archive: &&Archive| archive.side.is_none_or(|found| found >= side);
        self.archives.iter().find(is_enough).with_context(|| format!("no pictures of side {side}"))
    }

    /// Checks classes and counts of what lies in a folder; says whether it is the whole data set.
    ///
    /// Of the training images a part is enough, as a smaller copy has.
    fn check(&self, folder: &Path, halves: &[Half; 2]) -> Result<bool> {
        let mut is_complete = true;
        for (half, name) in halves.iter().zip(HALVES) {
            let folder = folder.join(name);
            if half.classes.len() != self.classes.len() {
                let (wanted, found) = (self.classes.len(), half.classes.len());
                bail!("{}: wanted {wanted} classes, found {found}", folder.display());
            }
            for (class, counts) in half.classes.iter().zip(&self.classes) {
                let path = folder.join(&class.name);
                if class.name != counts.folder {
                    bail!("{}: wanted the class {}", path.display(), counts.folder);
                }
                let (found, is_train) = (class.members.len(), name == HALVES[0]);
                let wanted = if is_train { counts.train } else { counts.val };
                if found > wanted || (found < wanted && !is_train) {
                    let most = if is_train { "at most " } else { "" };
                    bail!("{}: wanted {most}{wanted} pictures, found {found}", path.display());
                }
                is_complete &= found == wanted;
            }
        }
        Ok(is_complete)
    }

    /// An error unless every image of the data set lies in a folder.
    pub(super) fn check_whole(&self, folder: &Path) -> Result<()> {
        let halves = folders::halves(folder)?;
        if !self.check(folder, &halves)? {
            let wanted: usize = self.classes.iter().map(|class| class.train).sum();
            let found = halves[0].members().len();
            bail!("{}: wanted {wanted} pictures to train on, found {found}", folder.display());
        }
        Ok(())
    }
}

impl Images {
    /// Loads Imagenette with images of `side`×`side`: from an explicit folder, else the cache, else the network, else drawn.
    ///
    /// A folder holds `train` and `val`, each with a folder or a tar file for each class. What was decoded is kept in
    /// the cache under the check sum of the sources. `notice` receives one line where images are drawn instead.
    ///
    /// Examples go by class: the first thousand show the first classes alone.
    pub fn imagenette(
        places: &Places,
        side: usize,
        device: &Device,
        notice: &mut dyn FnMut(String),
    ) -> Result<Self> {
        let (manifest, cache) = (Manifest::new()?, places.cache.join(ID));
        if let Some((name, folder)) = places.explicit_folder()? {
            let loaded = from_folder(&manifest, &folder.join(ID), side, &cache, device);
            return loaded.context(name.clone());
        }
        let archive = manifest.archive(side)?;
        match download::fetch_archive(&manifest, archive, &cache)? {
            download::Fetched::All => {
                from_folder(&manifest, &cache.join(&archive.name), side, &cache, device)
            }
            download::Fetched::OutOfReach(reason) => {
                notice(super::synthetic_notice(&manifest.title, &reason));
                synthetic(&manifest, side, device)
            }
        }
    }
}

fn from_folder(
    manifest: &Manifest,
    folder: &Path,
    side: usize,
    cache: &Path,
    device: &Device,
) -> Result<Images> {
    let halves = folders::halves(folder)?;
    let is_complete = manifest.check(folder, &halves)?;
    let sums = sums(&halves)?;
    let key = sha256(format!("{MAKING} {side} {sums:?}").as_bytes());
    let path = cache.join("resized").join(format!("{side}-{}.bin", &key[..16]));
    let [train, val] = halves.each_ref().map(Half::labels);
    let size = CHANNELS * side * side;
    let n_bytes = (train.len() + val.len()) * size;
    let kept = read(&path).ok().and_then(|bytes| parse(bytes, &key, n_bytes));
    let mut intensities = match kept {
        Some(intensities) => intensities,
        None => {
            let members: Vec<_> = halves.iter().flat_map(Half::members).collect();
            let intensities = folders::decode(&members, [side, side], GrayscaleImages::Convert)?;
            stream_whole(&path, |file| Ok(write(&intensities, &key, file)?))?;
            intensities
        }
    };
    let test = intensities.bytes.split_off(train.len() * size);
    let shape = [CHANNELS, side, side];
    Ok(Images {
        train: dataset(intensities.bytes, train, shape, manifest.classes.len(), device)?,
        test: dataset(test, val, shape, manifest.classes.len(), device)?,
        shape,
        kind: Kind::Real,
        is_complete,
        n_grayscale: intensities.n_grayscale,
        sha256: sums,
    })
}

/// SHA-256 of each class of each half.
fn sums(halves: &[Half; 2]) -> Result<BTreeMap<String, String>> {
    let named = halves.iter().zip(HALVES);
    let classes: Vec<(&str, &Class)> = named
        .flat_map(|(half, name)| half.classes.iter().map(move |class| (name, class)))
        .collect();
    let sums = fill_on_threads(classes.len(), SUM, |index, out| {
        out.copy_from_slice(classes[index].1.sha256()?.as_bytes());
        Ok(())
    })?;
    let sums = sums.chunks_exact(SUM).map(|sum| String::from_utf8_lossy(sum).into_owned());
    let names = classes.iter().map(|(half, class)| format!("{half}/{}", class.name));
    Ok(names.zip(sums).collect())
}

/// What is kept: the levels, how many images were grayscale, the key, and the SHA-256 of all that.
fn write(intensities: &Intensities, key: &str, file: &mut dyn Write) -> std::io::Result<()> {
    let n_grayscale = (intensities.n_grayscale as u64).to_le_bytes();
    let sum = sha256_of(&[&intensities.bytes, &n_grayscale, key.as_bytes()]);
    for part in [&intensities.bytes[..], &n_grayscale, key.as_bytes(), sum.as_bytes()] {
        file.write_all(part)?;
    }
    Ok(())
}

/// The levels of a kept file; `None` where it is damaged or another one.
fn parse(mut bytes: Vec<u8>, key: &str, n_bytes: usize) -> Option<Intensities> {
    let (content, sum) = bytes.split_last_chunk::<SUM>()?;
    let (_, found) = content.split_last_chunk::<SUM>()?;
    let is_whole = bytes.len() == n_bytes + 8 + 2 * SUM
        && found == key.as_bytes()
        && sum == sha256(content).as_bytes();
    let n_grayscale = u64::from_le_bytes(*bytes.get(n_bytes..)?.first_chunk()?) as usize;
    bytes.truncate(n_bytes);
    is_whole.then_some(Intensities { bytes, n_grayscale, n_resized: 0 })
}

/// Draws a small set of colored images with as many classes.
fn synthetic(manifest: &Manifest, side: usize, device: &Device) -> Result<Images> {
    let rng = Rng::new(SYNTHETIC_SEED).split(&manifest.id);
    let shape = [CHANNELS, side, side];
    let mut sums = BTreeMap::new();
    let mut half = |name: &str, n: usize| {
        let (x, y) = scenes::images(side, n, &rng.split(name))?;
        sums.insert(format!("drawn {name}"), sha256_of(&[&x, &y]));
        dataset(x, super::labels_of(&y), shape, manifest.classes.len(), device)
    };
    let (train, test) = (half("train", N_SYNTHETIC[0])?, half("test", N_SYNTHETIC[1])?);
    let kind = Kind::Generated;
    Ok(Images { train, test, shape, kind, is_complete: false, n_grayscale: 0, sha256: sums })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::decode::tests::jpeg_of;
    use super::super::folders::tests::{pack, tree};
    use super::*;
    use core_tensors::Targets;

    /// The manifest of a set with two classes of two training images and a test one.
    pub(crate) fn small() -> Manifest {
        let mut manifest = Manifest::new().unwrap();
        manifest.classes.truncate(2);
        for (class, folder) in manifest.classes.iter_mut().zip(["n1", "n2"]) {
            (class.folder, class.train, class.val) = (folder.into(), 2, 1);
        }
        manifest
    }

    fn load(folder: &Path) -> Result<Images> {
        from_folder(&small(), folder, 4, &folder.join("cache"), &Device::Cpu)
    }

    fn kept(folder: &Path) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(folder.join("cache/resized")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn the_manifest_has_the_published_counts() {
        let manifest = Manifest::new().unwrap();
        assert_eq!((manifest.id.as_str(), manifest.classes.len()), (ID, 10));
        let sum = |count: fn(&Counts) -> usize| manifest.classes.iter().map(count).sum::<usize>();
        assert_eq!((sum(|c| c.train), sum(|c| c.val)), (9469, 3925));
        assert!(manifest.classes.is_sorted_by(|a, b| a.folder < b.folder));
        assert_eq!(manifest.archive(160).unwrap().name, "imagenette2-160");
        assert_eq!(manifest.archive(200).unwrap().name, "imagenette2");
    }

    #[test]
    fn images_are_kept_until_their_sources_change_and_a_damaged_file_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        tree(path, &["n1", "n2"]);
        std::fs::write(path.join("train/n1/a.JPEG"), jpeg_of(&[50], 5, 5)).unwrap();
        let first = load(path).unwrap();
        assert_eq!((first.shape, first.n_grayscale, first.is_complete), ([3, 4, 4], 1, true));
        assert_eq!((first.train.x().dims(), first.test.x().dims()), (&[4, 48][..], &[2, 48][..]));
        let Targets::Classes { labels, .. } = first.train.y() else { unreachable!() };
        assert_eq!(labels.to_vec1::<u32>().unwrap(), [0, 0, 1, 1]);
        let numbers = |p: &Images| p.train.x().to_vec2::<u8>().unwrap();

        // What is kept is what comes back: a change of it with a right check sum would show.
        let file = kept(path).pop().unwrap();
        let whole = std::fs::read(&file).unwrap();
        let mut content = whole[..whole.len() - SUM].to_vec();
        content[0] ^= 1;
        std::fs::write(&file, [&content[..], sha256(&content).as_bytes()].concat()).unwrap();
        assert_ne!(numbers(&load(path).unwrap()), numbers(&first));
        assert_eq!(load(path).unwrap().n_grayscale, 1);

        // Cut short or changed, it is made again.
        for damaged in [&whole[..9], &whole[..whole.len() - 1], &[], &content] {
            std::fs::write(&file, damaged).unwrap();
            assert_eq!(numbers(&load(path).unwrap()), numbers(&first));
            assert_eq!(std::fs::read(&file).unwrap(), whole);
        }

        // A tar file of the same images is the same source, another image of the same size another one.
        pack(path, "val", "n1");
        assert_eq!(load(path).unwrap().sha256, first.sha256);
        assert_eq!(kept(path).len(), 1);
        let changed = std::fs::read(path.join("train/n2/a.JPEG")).unwrap();
        std::fs::write(path.join("train/n2/b.JPEG"), changed).unwrap();
        assert_ne!(load(path).unwrap().sha256, first.sha256);
        assert_eq!(kept(path).len(), 2);
    }

    #[test]
    fn fewer_training_images_are_told_and_anything_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        tree(path, &["n1", "n2"]);
        std::fs::remove_file(path.join("train/n1/a.JPEG")).unwrap();
        assert!(!load(path).unwrap().is_complete);
        let message =
            || format!("{:#}", load(path).unwrap_err()).replace(&path.display().to_string(), "DIR");
        for name in ["x.jpg", "y.jpg"] {
            std::fs::copy(path.join("val/n1/c.JPEG"), path.join("val/n1").join(name)).unwrap();
        }
        assert_eq!(message(), "DIR/val/n1: wanted 1 pictures, found 3");
        for half in HALVES {
            std::fs::rename(path.join(half).join("n2"), path.join(half).join("n3")).unwrap();
        }
        assert_eq!(message(), "DIR/train/n3: wanted the class n2");
        for half in HALVES {
            std::fs::remove_dir_all(path.join(half).join("n3")).unwrap();
        }
        assert_eq!(message(), "DIR/train: wanted 2 classes, found 1");
    }

    #[test]
    fn an_explicit_folder_without_images_is_an_error_and_drawn_ones_are_marked() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places {
            explicit: Some(("--data".into(), folder.path().to_owned())),
            cache: folder.path().join("cache"),
        };
        let error = Images::imagenette(&places, 4, &Device::Cpu, &mut |_| {}).unwrap_err();
        let told = format!("{error:#}").replace(&folder.path().display().to_string(), "DIR");
        assert_eq!(told, "--data: DIR/imagenette/train: wanted a folder, found none");
        let synthetic = synthetic(&small(), 4, &Device::Cpu).unwrap_err();
        assert!(format!("{synthetic:#}").contains("class"), "ten drawn classes are not two");
        let synthetic = super::synthetic(&Manifest::new().unwrap(), 4, &Device::Cpu).unwrap();
        assert_eq!((synthetic.kind, synthetic.shape), (Kind::Generated, [3, 4, 4]));
        assert_eq!((synthetic.train.n_examples(), synthetic.test.n_examples()), (5000, 1000));
    }
}
