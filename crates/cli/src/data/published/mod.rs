//! Data sets of images and of texts: found on disk, downloaded, or made up where there is no network.

pub mod bert;
mod decode;
mod download;
mod folders;
mod idx;
mod imagenette;
mod manifest;
pub mod networks;
pub mod tweets;
pub mod weights;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::data::synthetic::images as synthetic;
use crate::files::{hexadecimal, read, sha256, sha256_of};
use crate::ledger::Kind;
use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use core_tensors::{Dataset, Rng, Targets};

pub use decode::GrayscaleImages;
pub(crate) use folders::other_files;
pub use folders::{Intensities, has_classes, image_of_file, images_by_class, images_of_folder};
pub use imagenette::ID as IMAGENETTE;
pub use manifest::{File, Files, Hub, IDS, Manifest};

/// Every data set that `distill fetch` brings.
pub const FETCHED: [&str; 3] = ["fashion-mnist", IMAGENETTE, "mnist"];

/// Names an explicit folder of data where the command line does not.
const DATA_VARIABLE: &str = "DISTILL_DATA";
/// Height and width of an image of an IDX file.
const SIDE: usize = 28;
/// Seed of the drawn images.
const SYNTHETIC_SEED: u64 = 0;
/// How many images are drawn: those of the data set they stand for.
const N_SYNTHETIC: [usize; 2] = [60_000, 10_000];

/// Where to look for data.
#[derive(Clone, Debug)]
pub struct Places {
    /// `--data` or `$DISTILL_DATA`, with the word that names it; the files must be there.
    pub explicit: Option<(String, PathBuf)>,
    /// Folder of downloads.
    pub cache: PathBuf,
}

/// A data set in memory, levels as bytes: networks divide them by 255 and nothing else, as in all the papers.
#[derive(Clone, Debug)]
pub struct Images {
    /// Examples to train on, x (m, channels · height · width): (60 000, 784) of the grayscale sets.
    pub train: Dataset,
    /// Examples to test on, likewise.
    pub test: Dataset,
    /// Channels, height and width of an image, the order of the numbers of an example.
    pub shape: [usize; 3],
    /// Real or drawn.
    pub kind: Kind,
    /// Whether it holds every published example; a copy may have fewer to train on, and drawn sets are their own.
    pub is_complete: bool,
    /// Grayscale images among colored ones, which have three equal channels.
    pub n_grayscale: usize,
    /// SHA-256 of each file, or of each class where a class is many files.
    pub sha256: BTreeMap<String, String>,
}

impl Places {
    /// The explicit folder, which must be there, with the word that names it.
    fn explicit_folder(&self) -> Result<Option<&(String, PathBuf)>> {
        if let Some((name, folder)) = &self.explicit
            && !folder.is_dir()
        {
            bail!("{name}: wanted a folder at {}, found none", folder.display());
        }
        Ok(self.explicit.as_ref())
    }
}

impl Images {
    /// These, where they are the data set itself; drawn ones are an error that tells the `notice` of their loading.
    pub(crate) fn unless_synthetic(self, notice: &str) -> Result<Self> {
        match self.kind {
            Kind::Real => Ok(self),
            Kind::Generated => bail!("wanted the pictures themselves, found drawn ones: {notice}"),
        }
    }

    /// Loads a data set of IDX files: from an explicit folder, else the cache, else the network, else drawn.
    ///
    /// `notice` receives one line where images are drawn instead.
    pub fn load(
        id: &str,
        places: &Places,
        device: &Device,
        notice: &mut dyn FnMut(String),
    ) -> Result<Self> {
        let manifest = Manifest::of(id)?;
        if let Some((name, folder)) = places.explicit_folder()? {
            return Self::from_folder(&manifest, &folder.join(id), device).context(name.clone());
        }
        let folder = places.cache.join(id);
        match download::fetch(&manifest, &folder)? {
            download::Fetched::All => Self::from_folder(&manifest, &folder, device),
            download::Fetched::OutOfReach(reason) => {
                notice(synthetic_notice(&manifest.title, &reason));
                Self::synthetic(&manifest, device)
            }
        }
    }

    /// Loads the files of one folder, every one checked.
    fn from_folder(manifest: &Manifest, folder: &Path, device: &Device) -> Result<Self> {
        let mut sums = BTreeMap::new();
        let mut take = |file: &File, dims: &[usize]| -> Result<Vec<u8>> {
            let path = folder.join(&file.name);
            let bytes = verify(&path, file)?;
            sums.insert(file.name.clone(), file.sha256.clone());
            idx::read_gzipped(&bytes, dims).with_context(|| path.display().to_string())
        };
        let files = &manifest.files;
        let mut half = |images: &File, classes: &File| {
            let x = take(images, &[images.count, SIDE, SIDE])?;
            let y = take(classes, &[classes.count])?;
            dataset(x, labels_of(&y), [1, SIDE, SIDE], manifest.n_classes, device)
                .with_context(|| folder.join(&classes.name).display().to_string())
        };
        let train = half(&files.train_images, &files.train_labels)?;
        let test = half(&files.test_images, &files.test_labels)?;
        let shape = [1, SIDE, SIDE];
        Ok(Self {
            train,
            test,
            shape,
            kind: Kind::Real,
            is_complete: true,
            n_grayscale: 0,
            sha256: sums,
        })
    }

    /// Draws as many images as the data set has.
    fn synthetic(manifest: &Manifest, device: &Device) -> Result<Self> {
        let rng = Rng::new(SYNTHETIC_SEED).split(&manifest.id);
        let mut sums = BTreeMap::new();
        let mut half = |name: &str, n: usize| {
            let (x, y) = synthetic::images(manifest.synthetic, n, &mut rng.split(name));
            sums.insert(format!("drawn {name}"), sha256_of(&[&x, &y]));
            dataset(x, labels_of(&y), [1, SIDE, SIDE], manifest.n_classes, device)
        };
        let (train, test) = (half("train", N_SYNTHETIC[0])?, half("test", N_SYNTHETIC[1])?);
        let (shape, kind) = ([1, SIDE, SIDE], Kind::Generated);
        Ok(Self { train, test, shape, kind, is_complete: false, n_grayscale: 0, sha256: sums })
    }
}

fn synthetic_notice(title: &str, reason: &str) -> String {
    format!(
        "{title}: out of reach ({reason}); drawn pictures stand in, and no claim is judged on them"
    )
}

/// The licence of a data set; an error where none has this name.
pub fn licence(id: &str) -> Result<String> {
    match id {
        IMAGENETTE => Ok(imagenette::Manifest::new()?.licence),
        tweets::ID => Ok(tweets::Manifest::new()?.licence),
        _ if IDS.contains(&id) => Ok(Manifest::of(id)?.licence),
        _ => bail!("data set `{id}`: wanted one of {}", FETCHED.join(", ")),
    }
}

/// Brings a data set into the cache, Imagenette in its small size; returns its folder.
///
/// No source has the tweets as a file that could be fetched: the error says where to get them.
pub fn fetch(id: &str, cache: &Path) -> Result<PathBuf> {
    fetch_for(id, 0, cache)
}

/// [`fetch`] of images that are not smaller than `side` where a data set has several sizes.
pub fn fetch_for(id: &str, side: usize, cache: &Path) -> Result<PathBuf> {
    let folder = cache.join(id);
    if id == tweets::ID {
        tweets::check_present(&folder)?;
        return Ok(folder);
    }
    let fetched = if id == IMAGENETTE {
        let manifest = imagenette::Manifest::new()?;
        download::fetch_archive(&manifest, manifest.archive(side)?, &folder)?
    } else {
        download::fetch(&Manifest::of(id)?, &folder)?
    };
    match fetched {
        download::Fetched::All => Ok(folder),
        download::Fetched::OutOfReach(reason) => bail!("{id}: out of reach: {reason}"),
    }
}

/// The folder of data that the environment names, and its name for messages, as [`Places::explicit`] has them.
pub(crate) fn from_environment() -> Option<(String, PathBuf)> {
    let folder = std::env::var_os(DATA_VARIABLE).filter(|folder| !folder.is_empty())?;
    Some((format!("${DATA_VARIABLE}"), PathBuf::from(folder)))
}

fn dataset(
    x: Vec<u8>,
    labels: Vec<u32>,
    shape: [usize; 3],
    n_classes: usize,
    device: &Device,
) -> Result<Dataset> {
    let m = labels.len();
    let x = Tensor::from_vec(x, (m, shape.iter().product::<usize>()), device)?;
    let labels = Tensor::from_vec(labels, m, device)?;
    Ok(Dataset::new(x, Targets::Classes { labels, n_classes })?)
}

/// Classes that were bytes.
fn labels_of(bytes: &[u8]) -> Vec<u32> {
    bytes.iter().map(|&class| class.into()).collect()
}

/// The bytes of a file that has the size and the check sum of its manifest.
fn verify(path: &Path, file: &File) -> Result<Vec<u8>> {
    if !path.exists() {
        bail!("{}: wanted a file, found none", path.display());
    }
    let bytes = read(path)?;
    check(&bytes, file).with_context(|| path.display().to_string())?;
    Ok(bytes)
}

fn check(bytes: &[u8], file: &File) -> Result<()> {
    if bytes.len() as u64 != file.bytes {
        bail!("wanted {} bytes, found {}", file.bytes, bytes.len());
    }
    let found = sha256(bytes);
    if found != file.sha256 {
        bail!("wanted SHA-256 {}, found {found}", file.sha256);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manifest and its folder with three training images and two test ones.
    fn small(folder: &Path) -> Manifest {
        let mut manifest = Manifest::of("mnist").unwrap();
        let files = &mut manifest.files;
        for (file, dims) in [
            (&mut files.train_images, vec![3, SIDE, SIDE]),
            (&mut files.train_labels, vec![3]),
            (&mut files.test_images, vec![2, SIDE, SIDE]),
            (&mut files.test_labels, vec![2]),
        ] {
            let numbers: Vec<u8> =
                (0..dims.iter().product::<usize>()).map(|i| (i % 10) as u8).collect();
            let bytes = idx::tests::gzipped(&dims, &numbers);
            std::fs::write(folder.join(&file.name), &bytes).unwrap();
            (file.bytes, file.sha256, file.count) = (bytes.len() as u64, sha256(&bytes), dims[0]);
        }
        manifest
    }

    #[test]
    fn files_become_grayscale_levels_and_classes() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = small(folder.path());
        let images = Images::from_folder(&manifest, folder.path(), &Device::Cpu).unwrap();
        assert_eq!(images.train.x().dims(), [3, 784]);
        assert_eq!(images.test.x().to_vec2::<u8>().unwrap()[0][..4], [0, 1, 2, 3]);
        let Targets::Classes { labels, .. } = images.train.y() else { unreachable!() };
        assert_eq!(labels.to_vec1::<u32>().unwrap(), [0, 1, 2]);
        assert_eq!((images.shape, images.sha256.len()), ([1, 28, 28], 4));
    }

    #[test]
    fn missing_short_and_changed_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = small(folder.path());
        let path = folder.path().join(&manifest.files.test_images.name);
        let whole = std::fs::read(&path).unwrap();
        let message = || {
            let error = Images::from_folder(&manifest, folder.path(), &Device::Cpu).unwrap_err();
            format!("{error:#}").replace(&path.display().to_string(), "FILE")
        };
        std::fs::write(&path, &whole[1..]).unwrap();
        assert_eq!(
            message(),
            format!("FILE: wanted {} bytes, found {}", whole.len(), whole.len() - 1)
        );
        let mut changed = whole.clone();
        changed[20] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        assert_eq!(
            message(),
            format!("FILE: wanted SHA-256 {}, found {}", sha256(&whole), sha256(&changed))
        );
        std::fs::remove_file(&path).unwrap();
        assert_eq!(message(), "FILE: wanted a file, found none");
    }

    #[test]
    fn an_explicit_folder_never_falls_back() {
        let places = Places {
            explicit: Some(("--data".into(), PathBuf::from("no such folder"))),
            cache: PathBuf::from("unused"),
        };
        let error = Images::load("mnist", &places, &Device::Cpu, &mut |_| {}).unwrap_err();
        assert_eq!(format!("{error:#}"), "--data: wanted a folder at no such folder, found none");
    }

    #[test]
    fn drawn_images_are_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let real = Images::from_folder(&small(folder.path()), folder.path(), &Device::Cpu);
        let mut images = real.unwrap().unless_synthetic("").unwrap();
        images.kind = Kind::Generated;
        let error = images.unless_synthetic("out of reach").unwrap_err().to_string();
        assert_eq!(error, "wanted the pictures themselves, found drawn ones: out of reach");
    }
}
