//! Files that appear under their name only when they are whole.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

/// Bytes that are written at once.
const BUFFER: usize = 1 << 20;

/// Writes beside the final name and renames; makes the folders above it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    stream_whole(path, |file| Ok(file.write_all(bytes)?))
}

/// [`write_whole`] for bytes that need not be in memory at once.
pub(crate) fn stream_whole(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        let mut buffer = BufWriter::with_capacity(BUFFER, file.as_file_mut());
        content(&mut buffer)?;
        buffer.flush()?;
        drop(buffer);
        // A temporary file is private; a report is for whoever may read its folder.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.txt");
        write_whole(&path, b"first").unwrap();
        write_whole(&path, b"second").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(std::fs::read_dir(folder.path().join("a")).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_a_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let blocked = folder.path().join("file");
        std::fs::write(&blocked, b"").unwrap();
        let message = format!("{:#}", write_whole(&blocked.join("x"), b"").unwrap_err());
        assert!(message.starts_with("writing ") && message.contains("file/x"), "{message}");
    }
}
