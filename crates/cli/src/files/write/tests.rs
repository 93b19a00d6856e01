//! What the writer promises: whole or nothing, links followed, rights kept, devices left alone, finite numbers.

use super::*;

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

fn refusal(path: &Path) -> String {
    format!("{:#}", write_whole(path, b"new").unwrap_err())
}

#[test]
fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b.txt");
    write_whole(&path, b"first").unwrap();
    write_whole(&path, b"second").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"second");
    // What fails on the way leaves the file as it was.
    let failing = |file: &mut dyn Write| -> Result<()> {
        file.write_all(&vec![0; 2 * BUFFER])?;
        bail!("no more numbers")
    };
    let message = format!("{:#}", stream_whole(&path, failing).unwrap_err());
    assert!(message.ends_with("a/b.txt: no more numbers"), "{message}");
    assert_eq!(std::fs::read(&path).unwrap(), b"second");
    assert_eq!(names(&folder.path().join("a")), ["b.txt"]);
    assert!(PENDING.lock().unwrap().iter().all(|path| !path.starts_with(folder.path())));
}

#[test]
fn files_that_belong_together_come_together_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("a"), b"old").unwrap();
    std::fs::create_dir(at("c")).unwrap();
    let file =
        |name: &str| -> (PathBuf, Content) { (at(name), Box::new(|to| Ok(to.write_all(b"new")?))) };
    let failing: (PathBuf, Content) = (at("d"), Box::new(|_| bail!("no more")));
    // The last one is a folder: neither of the others is written.
    assert!(write_together([file("a"), file("b"), file("c")]).is_err());
    assert!(write_together([file("a"), file("b"), failing]).is_err());
    assert_eq!(std::fs::read(at("a")).unwrap(), b"old");
    assert_eq!(names(folder.path()), ["a", "c"]);
    write_together([file("a"), file("b")]).unwrap();
    assert_eq!(std::fs::read(at("a")).unwrap(), b"new");
    assert_eq!(names(folder.path()), ["a", "b", "c"]);
}

#[test]
fn a_folder_that_is_a_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, b"").unwrap();
    let message = refusal(&blocked.join("x"));
    assert!(message.starts_with("writing ") && message.contains("file/x"), "{message}");
    assert!(refusal(folder.path()).ends_with("wanted a file, found a folder"));
    assert!(check_writable(&blocked.join("x")).is_err());
    check_writable(&folder.path().join("new")).unwrap();
    let told = format!("{:#}", check_writable(&blocked.join("x/y")).unwrap_err());
    assert!(told.contains("no folder can be made in the file"), "{told}");
    #[cfg(unix)]
    {
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("nothing"), &link).unwrap();
        for path in [link.clone(), link.join("below")] {
            let told = format!("{:#}", check_writable(&path).unwrap_err());
            assert!(told.contains("wanted a folder, found the link"), "{told}");
            assert!(told.contains("nothing, which does not exist"), "{told}");
        }
    }
    assert!(names(&folder.path().join("new")).is_empty());
}

#[test]
fn a_signal_removes_what_is_not_whole() {
    let folder = tempfile::tempdir().unwrap();
    let pending = Pending::new(folder.path()).unwrap();
    assert!(names(folder.path())[0].starts_with(PREFIX));
    // Only this one, as other tests write at the same time.
    let path = pending.file.path().to_owned();
    assert!(PENDING.lock().unwrap().contains(&path));
    drop(pending);
    assert!(names(folder.path()).is_empty() && !PENDING.lock().unwrap().contains(&path));
}

#[cfg(unix)]
mod rights_and_links {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn links_are_followed_also_to_what_is_not_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("store")).unwrap();
        std::fs::write(at("store/real"), b"old").unwrap();
        symlink("store/real", at("one")).unwrap();
        symlink(at("one"), at("two")).unwrap();
        write_whole(&at("two"), b"new").unwrap();
        assert_eq!(std::fs::read(at("store/real")).unwrap(), b"new");
        symlink("store/later", at("three")).unwrap();
        write_whole(&at("three"), b"later").unwrap();
        assert_eq!(std::fs::read(at("store/later")).unwrap(), b"later");
        for link in ["one", "two", "three"] {
            assert!(std::fs::symlink_metadata(at(link)).unwrap().is_symlink(), "{link}");
        }
        symlink("round", at("round")).unwrap();
        assert!(refusal(&at("round")).contains("links"));
    }

    #[test]
    fn rights_are_kept_and_new_ones_are_those_of_the_umask() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        for rights in [0o600, 0o640, 0o755] {
            std::fs::write(&old, b"old").unwrap();
            std::fs::set_permissions(&old, Permissions::from_mode(rights)).unwrap();
            write_whole(&old, b"new").unwrap();
            assert_eq!(mode(&old), rights);
        }
        // The oracle: what the system gives a new file.
        let plain = folder.path().join("plain");
        std::fs::write(&plain, b"").unwrap();
        write_whole(&new, b"new").unwrap();
        assert_eq!(mode(&new), mode(&plain));
        std::fs::set_permissions(&old, Permissions::from_mode(0o444)).unwrap();
        assert!(refusal(&old).ends_with("found a read-only one"));
        assert_eq!(std::fs::read(&old).unwrap(), b"new");
    }

    #[test]
    fn the_null_device_takes_everything_and_other_devices_and_pipes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        write_whole(Path::new("/dev/null"), b"numbers").unwrap();
        assert!(std::fs::metadata("/dev/null").unwrap().rdev() > 0);
        assert!(refusal(Path::new("/dev/zero")).ends_with("wanted a file, found a device"));
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(refusal(&pipe).ends_with("wanted a file, found a named pipe"));
        assert_eq!(names(folder.path()), ["pipe"]);
    }
}
