//! The one reader of files that a user named.

use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Deref;
use std::path::Path;

use anyhow::{Context, Result, bail};
use memmap2::MmapMut;

/// Bytes that are taken from a pipe, whose end nobody can foresee: more than a pipe is for.
const MOST_OF_A_PIPE: u64 = 1 << 32;

/// The bytes of a file, or of a pipe that somebody writes to.
///
/// Devices and named pipes are refused: they have no end, or none until somebody writes.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let take = || -> Result<Vec<u8>> {
        let (mut file, about) = open(path)?;
        let mut bytes = Vec::new();
        if !about.is_file() {
            file.take(MOST_OF_A_PIPE + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > MOST_OF_A_PIPE {
                bail!(
                    "wanted at most {MOST_OF_A_PIPE} bytes from a pipe, found more; save them as a file"
                );
            }
            return Ok(bytes);
        }
        bytes.try_reserve_exact(usize::try_from(about.len())?.saturating_add(1))?;
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    take().with_context(|| format!("reading {}", path.display()))
}

/// `n` bytes of a file below a folder, from `start` on.
///
/// A link that leaves the folder is refused, and nothing is reserved before the file is known to be long enough. With them
/// comes the size of the file.
pub(crate) fn read_part(folder: &Path, name: &str, start: u64, n: usize) -> Result<(Vec<u8>, u64)> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let path = folder.join(name);
    let take = || -> Result<(Vec<u8>, u64)> {
        if !path.canonicalize()?.starts_with(folder.canonicalize()?) {
            bail!("it leads out of the folder {}", folder.display());
        }
        let (mut file, about) = open(&path)?;
        let end = start.checked_add(n as u64).filter(|&end| end <= about.len());
        if !about.is_file() || end.is_none() {
            bail!("expected {n} bytes from byte {start} on, found a file of {} bytes", about.len());
        }
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(n)?;
        file.take(n as u64).read_to_end(&mut bytes)?;
        Ok((bytes, about.len()))
    };
    take().with_context(|| format!("reading {}", path.display()))
}

/// Bytes in pages that go back to the system when this is dropped.
pub(crate) enum Bytes {
    /// Of a file.
    Pages(MmapMut),
    /// Of a pipe or of an empty file.
    Vector(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Pages(pages) => pages,
            Self::Vector(bytes) => bytes,
        }
    }
}

/// [`read`] into memory that leaves the process at once when it is dropped, where an allocator would keep it for a while,
/// beside what a transformation of a large covariance needs.
///
/// The pages are a copy: a map of the file itself ends the program where another one cuts the file short.
pub(crate) fn read_released(path: &Path) -> Result<Bytes> {
    let is_whole_file =
        std::fs::metadata(path).is_ok_and(|about| about.is_file() && about.len() > 0);
    if !is_whole_file {
        return Ok(Bytes::Vector(read(path)?));
    }
    let take = || -> Result<Bytes> {
        let (mut file, about) = open(path)?;
        let mut pages = MmapMut::map_anon(usize::try_from(about.len())?)?;
        file.read_exact(&mut pages).context("the file became shorter while it was read")?;
        Ok(Bytes::Pages(pages))
    };
    take().with_context(|| format!("reading {}", path.display()))
}

/// A file that can be read to its end.
fn open(path: &Path) -> Result<(File, Metadata)> {
    let about = std::fs::metadata(path)?;
    if about.is_dir() {
        bail!("wanted a file, found a folder");
    }
    if !about.is_file() && !is_open_pipe(path, &about) {
        bail!("wanted a file, found {}", kind(&about));
    }
    let file = File::open(path)?;
    let about = file.metadata()?;
    Ok((file, about))
}

/// Whether this is a pipe that a shell made, such as /dev/stdin or /dev/fd/63. A pipe with a name of its own would keep
/// the program waiting until somebody writes.
#[cfg(unix)]
fn is_open_pipe(path: &Path, about: &Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    about.file_type().is_fifo() && path.canonicalize().is_err()
}

#[cfg(not(unix))]
fn is_open_pipe(_: &Path, _: &Metadata) -> bool {
    false
}

/// What lies under a name that is no file and no folder.
#[cfg(unix)]
pub(super) fn kind(about: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = about.file_type();
    if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else if kind.is_fifo() {
        "a named pipe"
    } else {
        "a socket"
    }
}

#[cfg(not(unix))]
pub(super) fn kind(_: &Metadata) -> &'static str {
    "something else"
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn refused(path: &Path) -> String {
        let both = [read(path).map(drop), read_released(path).map(drop)];
        let messages = both.map(|result| format!("{:#}", result.unwrap_err()));
        assert_eq!(messages[0], messages[1]);
        messages[0].clone()
    }

    #[test]
    fn files_come_whole_and_what_has_no_end_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for content in [&b""[..], b"content"] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(read(&path).unwrap(), content);
            assert_eq!(&*read_released(&path).unwrap(), content);
        }
        assert!(refused(Path::new("/dev/zero")).ends_with("wanted a file, found a device"));
        assert!(refused(folder.path()).ends_with("wanted a file, found a folder"));
        assert!(refused(&folder.path().join("none")).contains("No such file"));
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(refused(&pipe).ends_with("wanted a file, found a named pipe"));
    }
}
