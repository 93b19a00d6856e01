//! Files that are written into one folder again and again: the files of an earlier time go, and nothing else does.

pub(super) mod sum;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Component, Path};

use anyhow::{Context, Result, bail};

use super::{SUM_LENGTH, read, sha256, warn, write_whole};

/// The list of the files, with their sums; `sha256sum --check` reads it too.
pub(crate) const LIST: &str = "files.sha256";

/// Name of each file, relative to the folder and with `/`, and its SHA-256.
type Sums = BTreeMap<String, String>;

/// Writes files by name into a folder, and a list of them, by which the next call removes what it no longer writes.
///
/// Removed is a regular file that the list names, that is one of `within` or lies in one of these folders, and that is still as
/// it was written. Everything else stays, and is said where the list names it. No link below the folder is followed: neither
/// to remove nor to write.
pub(crate) fn write_set<C: AsRef<[u8]>>(
    folder: &Path,
    within: &[&str],
    files: impl IntoIterator<Item = (String, C)>,
) -> Result<()> {
    let create = || std::fs::create_dir_all(folder);
    create().with_context(|| format!("writing {}", folder.display()))?;
    let _turn = take_turn(folder);
    let earlier = earlier(folder).unwrap_or_else(|error| {
        warn(&format!("{error:#}; no file of an earlier report is removed"));
        Sums::new()
    });
    let mut sums = Sums::new();
    for (name, content) in files {
        refuse_links(folder, &name)?;
        write_whole(&folder.join(&name), content.as_ref())?;
        sums.insert(name, sha256(content.as_ref()));
    }
    let is_stale = |name: &str| {
        !sums.contains_key(name) && within.iter().any(|of| name == *of || is_below(name, of))
    };
    for (name, sum) in earlier.iter().filter(|(name, _)| is_stale(name)) {
        if let Err(error) = remove(folder, name, sum) {
            let path = folder.join(name);
            warn(&format!(
                "{}: not removed, although it is of an earlier report: {error:#}",
                path.display()
            ));
        }
    }
    let list: String = sums.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect();
    refuse_links(folder, LIST)?;
    write_whole(&folder.join(LIST), list.as_bytes())
}

/// Fails before hours of work rather than after them, where [`write_set`] would find a link at one of these names.
pub(crate) fn check_set(folder: &Path, names: &[&str]) -> Result<()> {
    names.iter().chain(&[LIST]).try_for_each(|name| refuse_links(folder, name))
}

/// Of two programs that write into one folder the second waits for the first, where the file system knows locks; they end
/// with the program, however it ends.
fn take_turn(folder: &Path) -> Option<File> {
    let folder = File::open(folder).ok()?;
    folder.lock().ok()?;
    Some(folder)
}

/// What the list of the time before names; nothing where there is no list.
fn earlier(folder: &Path) -> Result<Sums> {
    let path = folder.join(LIST);
    match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Sums::new()),
        // Reading tells what is wrong.
        Err(_) => {}
        Ok(about) if about.is_symlink() => bail!("{}: wanted a file, found a link", path.display()),
        Ok(_) => {}
    }
    let bytes = read(&path)?;
    parse(&bytes).with_context(|| path.display().to_string())
}

fn parse(bytes: &[u8]) -> Result<Sums> {
    let text = std::str::from_utf8(bytes).context("wanted text in UTF-8")?;
    if !text.is_empty() && !text.ends_with('\n') {
        bail!("wanted a line end at the end, found a list that was cut short");
    }
    let mut sums = Sums::new();
    for (index, line) in text.lines().enumerate() {
        let (sum, name) = line.split_once("  ").unwrap_or((line, ""));
        let is_sum = sum.len() == SUM_LENGTH && sum.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_sum || !is_plain(name) {
            bail!(
                "line {}: wanted a SHA-256 and the name of a file below this folder, found `{line}`",
                index + 1
            );
        }
        sums.insert(name.to_owned(), sum.to_owned());
    }
    Ok(sums)
}

/// Whether a name leads down and nowhere else.
fn is_plain(name: &str) -> bool {
    let is_normal = |part| matches!(part, Component::Normal(_));
    !name.is_empty() && Path::new(name).components().all(is_normal)
}

fn is_below(name: &str, folder: &str) -> bool {
    name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// An error where a name below a folder, or a folder on the way to it, is a link.
fn refuse_links(folder: &Path, name: &str) -> Result<()> {
    let mut path = folder.to_owned();
    for part in Path::new(name).components() {
        path.push(part);
        if std::fs::symlink_metadata(&path).is_ok_and(|about| about.is_symlink()) {
            bail!(
                "{}: wanted a file or folder of the report, found a link; remove it",
                path.display()
            );
        }
    }
    Ok(())
}

/// Removes a file that is as it was written; one that is gone already is fine.
fn remove(folder: &Path, name: &str, sum: &str) -> Result<()> {
    let path = folder.join(name);
    refuse_links(folder, name)?;
    match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok(about) if !about.is_file() => bail!("wanted a file, found something else"),
        Ok(_) => {}
    }
    if sha256(&read(&path)?) != sum {
        bail!("it was changed since; remove it where it is of no use");
    }
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
