//! No command may destroy what it reads: what `--out` must not be.

use std::path::{Path, PathBuf};

/// Why an output is refused, in words of the command line.
type Refusal = String;

/// Something that a command reads, under the name by which its user knows it, such as `--data`.
pub(crate) struct Input {
    name: &'static str,
    path: PathBuf,
}

impl Input {
    /// A file or a folder; one that does not exist is nothing to protect.
    pub(crate) fn new(name: &'static str, path: impl Into<PathBuf>) -> Self {
        Self { name, path: path.into() }
    }
}

/// Refuses an output file that is an input, by another name or link too, or that lies in a folder of inputs.
pub(crate) fn check_out(out: &Path, inputs: &[Input]) -> Result<(), Refusal> {
    if out.is_dir() {
        return Err(format!("--out: wanted a file, found the folder {}", out.display()));
    }
    inputs.iter().try_for_each(|input| check(out, input))
}

/// Refuses an output folder in which a file to be written is an input, or that is or lies in a folder of inputs.
pub(crate) fn check_folder(out: &Path, written: &[&str], inputs: &[Input]) -> Result<(), Refusal> {
    if out.exists() && !out.is_dir() {
        return Err(format!("--out: wanted a folder, found the file {}", out.display()));
    }
    for input in inputs {
        check(out, input)?;
        for path in written.iter().map(|name| out.join(name)) {
            check(&path, input)?;
            // A folder that is written holds everything in it.
            if let Ok(found) = input.path.canonicalize()
                && path.is_dir()
                && found.starts_with(real(&path))
            {
                return Err(refusal(out, input, "another folder than that of"));
            }
        }
    }
    Ok(())
}

fn check(out: &Path, input: &Input) -> Result<(), Refusal> {
    let Ok(found) = input.path.canonicalize() else { return Ok(()) };
    let is_hit = match found.is_dir() {
        true => real(out).starts_with(&found),
        false => is_same(out, &found),
    };
    if !is_hit {
        return Ok(());
    }
    let wanted = if found.is_dir() { "a place outside" } else { "another file than" };
    Err(refusal(out, input, wanted))
}

fn refusal(out: &Path, input: &Input, wanted: &str) -> Refusal {
    let (name, out, path) = (input.name, out.display(), input.path.display());
    format!("--out: wanted {wanted} {name} {path}, which is read, found {out}")
}

/// A path without links as far as it exists.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            real(parent).join(name)
        }
        _ => path.to_owned(),
    }
}

/// Whether two names are one file, as hard links are too. Only regular files are compared.
#[cfg(unix)]
fn is_same(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (std::fs::metadata(a), std::fs::metadata(b)) {
        (Ok(a), Ok(b)) => b.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_same(a: &Path, b: &Path) -> bool {
    a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_known_by_every_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let input = at("input");
        std::fs::write(&input, b"precious").unwrap();
        std::fs::create_dir(at("photos")).unwrap();
        std::fs::hard_link(&input, at("hard")).unwrap();
        let inputs = [Input::new("--data", &input)];
        let refusal = |out: &str| check_out(&at(out), &inputs).unwrap_err();
        for name in ["input", "photos/../input", "hard"] {
            let message = refusal(name);
            assert!(message.starts_with("--out: wanted another file than --data"), "{message}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&input, at("soft")).unwrap();
            assert!(refusal("soft").contains("another file than --data"));
        }
        assert!(refusal("photos").contains("wanted a file, found the folder"));
        check_out(&at("other"), &inputs).unwrap();
        check_out(&at("no/such/folder/input"), &inputs).unwrap();

        let photos = at("photos");
        let inputs = [Input::new("--data", &photos), Input::new("--style", &input)];
        for out in ["photos", "photos/new", "photos/a/b"] {
            let message = check_folder(&at(out), &[], &inputs).unwrap_err();
            assert!(message.contains("wanted a place outside --data"), "{message}");
        }
        check_folder(&at("photos-mapped"), &["mapped.safetensors"], &inputs).unwrap();
        let message = check_folder(folder.path(), &["input"], &inputs).unwrap_err();
        assert!(message.contains("another file than --style"), "{message}");
        let inputs = [Input::new("--style", &input)];
        let message = check_folder(folder.path(), &["photos"], &inputs);
        message.unwrap();
        std::fs::write(at("photos/a.png"), b"").unwrap();
        let style = at("photos/a.png");
        let inputs = [Input::new("--style", &style)];
        let message = check_folder(folder.path(), &["photos"], &inputs).unwrap_err();
        assert!(message.contains("another folder than that of --style"), "{message}");
        assert!(check_folder(&input, &[], &[]).unwrap_err().contains("a folder"));
    }
}
