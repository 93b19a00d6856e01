//! The one writer: what it writes appears under its name when it is whole, or not at all.

use std::collections::BTreeSet;
use std::fs::{File, Metadata, Permissions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use tempfile::{NamedTempFile, TempPath};

use super::read::kind;
use super::warn;

/// Bytes that are written at once.
const BUFFER: usize = 1 << 20;
/// Links that may lead to one another, as in Linux.
const MOST_LINKS: usize = 40;
/// What the name of a file begins with until it is whole.
const PREFIX: &str = ".distill-";

/// Files that are not whole yet: a signal that ends the program removes them.
static PENDING: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Writes a file; makes the folders above it.
///
/// The bytes go to a temporary file beside it, to the disk, and then under the name. Links are followed; a file that is
/// replaced keeps its rights and its owner, a new one has those of the user's umask. Devices, pipes and read-only files
/// are refused, but for the null device, which takes everything and keeps nothing.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    stream_whole(path, |file| Ok(file.write_all(bytes)?))
}

/// [`write_whole`] for bytes that need not be in memory at once.
pub(crate) fn stream_whole(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let write = || stage(path, content)?.map_or(Ok(()), Staged::commit);
    write().with_context(|| format!("writing {}", path.display()))
}

/// What writes the content of a file.
pub(crate) type Content<'a> = Box<dyn FnOnce(&mut dyn Write) -> Result<()> + 'a>;

/// [`stream_whole`] for files that belong together: none gets its name before all are on the disk.
pub(crate) fn write_together<'a>(
    files: impl IntoIterator<Item = (PathBuf, Content<'a>)>,
) -> Result<()> {
    let mut staged = Vec::new();
    for (path, content) in files {
        let file = stage(&path, content);
        staged.push((file.with_context(|| format!("writing {}", path.display()))?, path));
    }
    for (file, path) in staged {
        let committed = file.map_or(Ok(()), Staged::commit);
        committed.with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// A file that is whole and on the disk, and not yet under its name; it goes when this is dropped.
struct Staged {
    file: TempPath,
    target: PathBuf,
    _known: Known,
}

/// Writes everything but the name; nothing for the null device.
fn stage(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<Option<Staged>> {
    let (target, before) = target(path)?;
    if before.as_ref().is_some_and(is_null_device) {
        content(&mut std::io::sink())?;
        return Ok(None);
    }
    let folder = folder_of(&target);
    make_folder(folder)?;
    let Pending { file, known } = Pending::new(folder)?;
    // Before there is anything to read in it.
    before.map_or(Ok(()), |before| keep_rights(file.as_file(), &before))?;
    let mut buffer = BufWriter::with_capacity(BUFFER, file.as_file());
    content(&mut buffer)?;
    buffer.flush()?;
    drop(buffer);
    file.as_file().sync_all()?;
    Ok(Some(Staged { file: file.into_temp_path(), target, _known: known }))
}

impl Staged {
    fn commit(self) -> Result<()> {
        let folder = folder_of(&self.target);
        self.file.persist(&self.target).map_err(|failed| failed.error)?;
        // The name too: a folder is a file of names. Some file systems cannot, and lose nothing but the newest name.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

/// Removes a file of this program that has served; one that is no regular file, or cannot go, is said.
pub(crate) fn discard(path: &Path) {
    let is_file = std::fs::symlink_metadata(path).map(|about| about.is_file());
    let removed = match is_file {
        Ok(true) => std::fs::remove_file(path),
        Ok(false) => Err(std::io::Error::other("expected a file, found something else")),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            warn(&format!("{}: not removed: {error}", path.display()));
        }
        Ok(()) | Err(_) => {}
    }
}

/// Fails before hours of work rather than after them: makes the folder and a file in it, which goes again.
pub(crate) fn check_writable(folder: &Path) -> Result<()> {
    let probe = || -> Result<()> {
        make_folder(folder)?;
        Pending::new(folder)?.file.write_all(b"probe")?;
        Ok(())
    };
    probe().with_context(|| folder.display().to_string())
}

/// Makes a folder and those above it; says of a link to nothing that it is one, and which folder takes no other.
fn make_folder(folder: &Path) -> Result<()> {
    let Err(error) = std::fs::create_dir_all(folder) else { return Ok(()) };
    let is_link =
        |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|about| about.is_symlink());
    for path in folder.ancestors().filter(|path| !path.as_os_str().is_empty()) {
        if is_link(path) && !path.exists() {
            let aim = std::fs::read_link(path)?;
            let (path, aim) = (path.display(), aim.display());
            bail!("wanted a folder, found the link {path} to {aim}, which does not exist");
        }
        if path.exists() {
            let what = if path.is_dir() { "the folder" } else { "the file" };
            bail!("no folder can be made in {what} {}: {error}", path.display());
        }
    }
    Err(error.into())
}

/// The same for a file that [`write_whole`] is to write or replace.
pub(crate) fn check_replaceable(path: &Path) -> Result<()> {
    let (target, before) = target(path).with_context(|| path.display().to_string())?;
    if before.as_ref().is_some_and(is_null_device) {
        return Ok(());
    }
    check_writable(folder_of(&target))
}

/// Removes what is not whole, as the program ends.
pub(super) fn discard_pending() {
    for path in std::mem::take(&mut *PENDING.lock().unwrap_or_else(PoisonError::into_inner)) {
        let _ = std::fs::remove_file(path);
    }
}

/// A temporary file, known to [`discard_pending`] as long as it is one.
struct Pending {
    file: NamedTempFile,
    known: Known,
}

/// A path among the pending ones until this is dropped.
struct Known(PathBuf);

impl Pending {
    fn new(folder: &Path) -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX);
        // A temporary file is private by itself; this one gets what the umask leaves of these rights.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
        let file = builder.tempfile_in(folder)?;
        pending.insert(file.path().to_owned());
        let known = Known(file.path().to_owned());
        Ok(Self { file, known })
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        PENDING.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// Where a file goes after all links, and what lies there.
fn target(path: &Path) -> Result<(PathBuf, Option<Metadata>)> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match std::fs::symlink_metadata(&path) {
            Ok(about) if about.is_symlink() => {
                let next = std::fs::read_link(&path)?;
                path = folder_of(&path).join(next);
            }
            Ok(about) if about.is_dir() => bail!("wanted a file, found a folder"),
            Ok(about) if about.is_file() && about.permissions().readonly() => {
                bail!("wanted a file that may be replaced, found a read-only one");
            }
            Ok(about) if about.is_file() || is_null_device(&about) => {
                return Ok((path, Some(about)));
            }
            Ok(about) => bail!("wanted a file, found {}", kind(&about)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((path, None)),
            Err(error) => return Err(error.into()),
        }
    }
    bail!("wanted a file, found more than {MOST_LINKS} links")
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Rights and owner of the file that is replaced.
fn keep_rights(file: &File, before: &Metadata) -> Result<()> {
    let rights: Permissions = before.permissions();
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // Nobody but root may give a file away; whoever may not keeps it.
        let _ = std::os::unix::fs::fchown(file, Some(before.uid()), Some(before.gid()));
    }
    file.set_permissions(rights)?;
    Ok(())
}

#[cfg(unix)]
fn is_null_device(about: &Metadata) -> bool {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let null = std::fs::metadata("/dev/null").ok().map(|null| null.rdev());
    about.file_type().is_char_device() && Some(about.rdev()) == null
}

#[cfg(not(unix))]
fn is_null_device(_: &Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests;
