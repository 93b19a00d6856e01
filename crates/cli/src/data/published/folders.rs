//! Images by class: a folder or a tar file for each class, in two halves.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use sha2::Digest;

use super::decode::{self, CHANNELS, GrayscaleImages};
use super::hexadecimal;
use crate::files::{fill_on_threads, read};

/// Names of the halves, as in the archives of fast.ai.
pub(super) const HALVES: [&str; 2] = ["train", "val"];
/// Names of files of images end in these.
const IMAGES: [&str; 3] = ["jpg", "jpeg", "png"];
/// Largest file of one image that is read.
const MOST_BYTES: u64 = 1 << 28;

/// The classes of one half, in order of their names.
pub(super) struct Half {
    pub(super) classes: Vec<Class>,
}

/// The images of one class, in order of their names.
pub(super) struct Class {
    pub(super) name: String,
    pub(super) members: Vec<Member>,
}

/// One image: a file, or a part of a tar file.
pub(super) struct Member {
    path: PathBuf,
    /// Path inside the tar file.
    inner: Option<String>,
    at: u64,
    n_bytes: u64,
}

/// Images in memory.
#[derive(Debug)]
pub struct Intensities {
    /// Red, green and blue levels, (m, 3, height, width).
    pub bytes: Vec<u8>,
    /// How many were grayscale and have three equal channels now.
    pub n_grayscale: usize,
    /// How many had another size when they were read from their files.
    pub n_resized: usize,
}

/// Both halves below a folder: classes by name, images by name, as torchvision's `ImageFolder` orders them.
pub(super) fn halves(folder: &Path) -> Result<[Half; 2]> {
    let [train, val] = HALVES.map(|name| half(&folder.join(name)));
    let (train, val) = (train?, val?);
    let name = |half: &Half, i: usize| half.classes.get(i).map_or("none", |c| &c.name).to_owned();
    let n = train.classes.len().max(val.classes.len());
    if let Some(at) = (0..n).find(|&i| name(&train, i) != name(&val, i)) {
        bail!(
            "{}: wanted the same classes in train and val, found {} and {}, the first difference {} and {}",
            folder.display(),
            train.classes.len(),
            val.classes.len(),
            name(&train, at),
            name(&val, at)
        );
    }
    Ok([train, val])
}

/// The images of a folder, JPEG and PNG, by name, without those of its folders; resized to (3, height, width) each.
///
/// Returns their names too. An error names the file that is damaged, or grayscale where such are refused.
pub fn images_of_folder(
    folder: &Path,
    size: [usize; 2],
    grayscale: GrayscaleImages,
) -> Result<(Vec<String>, Intensities)> {
    let members = files(folder, &IMAGES)?;
    if members.is_empty() {
        bail!("{}: wanted JPEG or PNG pictures, found none", folder.display());
    }
    let names = members.iter().map(|member| member.name().to_owned()).collect();
    Ok((names, decode(&members.iter().collect::<Vec<_>>(), size, grayscale)?))
}

/// The images of a folder with a folder or a tar file for each class: levels, classes, and the names of the classes.
///
/// The order and the errors are those of a half of Imagenette.
pub fn images_by_class(
    folder: &Path,
    size: [usize; 2],
    grayscale: GrayscaleImages,
) -> Result<(Vec<String>, Vec<u32>, Intensities)> {
    let half = half(folder)?;
    let names = half.classes.iter().map(|class| class.name.clone()).collect();
    Ok((names, half.labels(), decode(&half.members(), size, grayscale)?))
}

/// One image file, resized to (3, side, side).
pub fn image_of_file(path: &Path, side: usize, grayscale: GrayscaleImages) -> Result<Vec<u8>> {
    let bytes = read(path)?;
    let mut intensities = vec![0; CHANNELS * side * side];
    decode::read(&bytes, [side, side], grayscale, &mut intensities)
        .with_context(|| path.display().to_string())?;
    Ok(intensities)
}

/// Whether a folder has folders or tar files in it, and so images by class.
pub fn has_classes(folder: &Path) -> Result<bool> {
    Ok(entries(folder)?.iter().any(|path| is_class(path)))
}

/// The files of a folder, and of its folders, that a reader of its images leaves out: neither JPEG nor PNG by their names.
pub(crate) fn other_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut others = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() {
            let inner = entries(&path)?.into_iter();
            others.extend(inner.filter(|path| !has_extension(path, &IMAGES)));
        } else if !has_extension(&path, &IMAGES) && !is_class(&path) {
            others.push(path);
        }
    }
    others.sort();
    Ok(others)
}

impl Half {
    pub(super) fn members(&self) -> Vec<&Member> {
        self.classes.iter().flat_map(|class| &class.members).collect()
    }

    /// The index of the class of each member.
    pub(super) fn labels(&self) -> Vec<u32> {
        let classes = (0u32..).zip(&self.classes);
        classes.flat_map(|(i, class)| vec![i; class.members.len()]).collect()
    }
}

impl Class {
    /// SHA-256 over names, sizes and bytes: the same for a folder and for a tar file of it.
    pub(super) fn sha256(&self) -> Result<String> {
        let mut sum = sha2::Sha256::new();
        for member in &self.members {
            sum.update(member.name().as_bytes());
            sum.update([0]);
            sum.update(member.n_bytes.to_le_bytes());
            sum.update(member.read()?);
        }
        Ok(hexadecimal(&sum.finalize()))
    }
}

impl Member {
    /// Name of the image, without folders.
    fn name(&self) -> &str {
        let path = self.inner.as_ref().map_or(self.path.as_path(), Path::new);
        path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    fn describe(&self) -> String {
        let path = self.path.display();
        self.inner.as_ref().map_or_else(|| path.to_string(), |inner| format!("{path}: {inner}"))
    }

    fn read(&self) -> Result<Vec<u8>> {
        if self.n_bytes > MOST_BYTES {
            bail!("{}: wanted a picture, found {} bytes", self.describe(), self.n_bytes);
        }
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.at))?;
            let mut bytes = vec![0; self.n_bytes as usize];
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        read().with_context(|| self.describe())
    }
}

/// Decodes images on all cores; the error is that of the first one that has one.
pub(super) fn decode(
    members: &[&Member],
    size: [usize; 2],
    grayscale: GrayscaleImages,
) -> Result<Intensities> {
    let (n_grayscale, n_resized) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let [height, width] = size;
    let bytes = fill_on_threads(members.len(), CHANNELS * height * width, |index, out| {
        let member = members[index];
        let was = decode::read(&member.read()?, size, grayscale, out)
            .with_context(|| member.describe())?;
        n_grayscale.fetch_add(was.grayscale.into(), Ordering::Relaxed);
        n_resized.fetch_add(was.resized.into(), Ordering::Relaxed);
        Ok(())
    })?;
    let (n_grayscale, n_resized) = (n_grayscale.into_inner(), n_resized.into_inner());
    Ok(Intensities { bytes, n_grayscale, n_resized })
}

fn half(folder: &Path) -> Result<Half> {
    let mut classes = Vec::new();
    let entries = entries(folder)?;
    refuse_both(folder, &entries)?;
    for path in entries {
        let is_tar = path.extension().is_some_and(|e| e == "tar") && path.is_file();
        let name = if is_tar { path.file_stem() } else { path.file_name() };
        let Some(name) = name.and_then(|name| name.to_str()).map(str::to_owned) else { continue };
        let members = if is_tar {
            tar_members(&path, &name)?
        } else if path.is_dir() {
            files(&path, &IMAGES)?
        } else {
            continue;
        };
        if members.is_empty() {
            bail!("{}: wanted JPEG or PNG pictures of a class, found none", path.display());
        }
        classes.push(Class { name, members });
    }
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = classes.windows(2).find(|pair| pair[0].name == pair[1].name) {
        let path = folder.join(&pair[0].name);
        bail!("{}: wanted a folder or a tar file, found both", path.display());
    }
    if classes.is_empty() {
        bail!("{}: wanted a folder or a tar file for each class, found none", folder.display());
    }
    Ok(Half { classes })
}

/// Images beside classes belong to none, and a reader of classes would lose them.
fn refuse_both(folder: &Path, entries: &[PathBuf]) -> Result<()> {
    let first = |is: &dyn Fn(&Path) -> bool| entries.iter().filter(|path| is(path)).min();
    let class = first(&is_class);
    let image = first(&|path| !path.is_dir() && has_extension(path, &IMAGES));
    if let (Some(class), Some(image)) = (class, image) {
        bail!(
            "{}: wanted pictures, or a folder or a tar file for each class, found both, {} and {}",
            folder.display(),
            image.display(),
            class.display()
        );
    }
    Ok(())
}

fn is_class(path: &Path) -> bool {
    path.is_dir() || has_extension(path, &["tar"])
}

/// What lies in a folder, hidden names left out.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        bail!("{}: wanted a folder, found none", folder.display());
    }
    let list = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    };
    let mut paths = list().with_context(|| folder.display().to_string())?;
    paths.retain(|path| path.file_name().is_some_and(|n| !n.as_encoded_bytes().starts_with(b".")));
    Ok(paths)
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let found = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    extensions.iter().any(|wanted| found.eq_ignore_ascii_case(wanted))
}

/// The files of a folder with one of these extensions, by name.
fn files(folder: &Path, extensions: &[&str]) -> Result<Vec<Member>> {
    let mut members = Vec::new();
    for path in entries(folder)?.into_iter().filter(|path| has_extension(path, extensions)) {
        let about = std::fs::metadata(&path).with_context(|| path.display().to_string())?;
        if about.is_file() {
            members.push(Member { path, inner: None, at: 0, n_bytes: about.len() });
        }
    }
    members.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(members)
}

/// Where the images of a class lie in its tar file, by name.
fn tar_members(path: &Path, class: &str) -> Result<Vec<Member>> {
    let list = || -> Result<Vec<Member>> {
        let file = File::open(path)?;
        let n_held = file.metadata()?.len();
        let mut archive = tar::Archive::new(file);
        let mut members = Vec::new();
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let inner = entry.path()?.to_string_lossy().into_owned();
            let folder = Path::new(&inner).parent().and_then(Path::file_name);
            if folder.is_none_or(|f| f != class)
                || !has_extension(Path::new(&inner), &["jpg", "jpeg"])
            {
                bail!("wanted members …/{class}/*.JPEG, found {inner}");
            }
            let (at, n_bytes) = (entry.raw_file_position(), entry.size());
            if at.saturating_add(n_bytes) > n_held {
                bail!("{inner}: wanted {n_bytes} bytes from place {at}, found a file of {n_held}");
            }
            members.push(Member { path: path.to_owned(), inner: Some(inner), at, n_bytes });
        }
        members.sort_by(|a, b| a.inner.cmp(&b.inner));
        Ok(members)
    };
    list().with_context(|| path.display().to_string())
}

#[cfg(test)]
pub(super) mod tests;
