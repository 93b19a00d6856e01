//! What a set of files promises: its own earlier files go, nothing else does, and no link is followed.

use super::*;

const WITHIN: [&str; 2] = ["figures", "curves"];

fn write(folder: &Path, names: &[&str]) -> Result<()> {
    write_set(folder, &WITHIN, names.iter().map(|name| ((*name).into(), format!("of {name}"))))
}

/// Names of all files below a folder, links too, by name.
fn names(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() {
            found.extend(names(&path).into_iter().map(|below| format!("{name}/{below}")));
        } else {
            found.push(name);
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn own_earlier_files_go_and_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(folder.path(), &["page", "figures/a.svg", "figures/b.svg", "curves/x/y.csv"]).unwrap();
    for foreign in ["figures/mine.svg", "curves/x/mine.csv", "curves/mine.csv"] {
        std::fs::write(at(foreign), b"mine").unwrap();
    }
    std::fs::write(at("figures/b.svg"), b"changed by the user").unwrap();
    write(folder.path(), &["figures/c.svg"]).unwrap();
    let wanted = [
        "curves/mine.csv",
        "curves/x/mine.csv",
        "figures/b.svg",
        "figures/c.svg",
        "figures/mine.svg",
        LIST,
        // Only what lies in the folders is ever removed.
        "page",
    ];
    assert_eq!(names(folder.path()), wanted);
    assert_eq!(std::fs::read(at("figures/b.svg")).unwrap(), b"changed by the user");
    // Gone already is fine.
    std::fs::remove_file(at("figures/c.svg")).unwrap();
    write(folder.path(), &[]).unwrap();
    assert_eq!(std::fs::read(at(LIST)).unwrap(), b"");
}

#[test]
fn a_damaged_or_hostile_list_removes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let out = at("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(at("precious"), b"precious").unwrap();
    std::fs::write(out.join("notes"), b"precious").unwrap();
    let sum = sha256(b"precious");
    let absolute = at("precious").display().to_string();
    let own = format!("{}  figures/a.svg\n", sha256(b"of figures/a.svg"));
    for line in [
        format!("{sum}  ../precious\n"),
        format!("{sum}  figures/../../precious\n"),
        format!("{sum}  {absolute}\n"),
        format!("{sum}  figures/{absolute}/../../../precious\n"),
        format!("{sum} notes\n"),
        format!("{}  figures/x\n", &sum[1..]),
        format!("{}g  figures/x\n", &sum[1..]),
        format!("{sum}  \n"),
        // Cut short.
        own.trim_end().to_owned(),
    ] {
        write(&out, &["figures/a.svg"]).unwrap();
        std::fs::write(out.join(LIST), own.clone() + &line).unwrap();
        let error = format!("{:#}", earlier(&out).unwrap_err());
        assert!(error.contains(LIST) && error.contains("wanted"), "{error}");
        write(&out, &[]).unwrap();
        assert_eq!(
            names(folder.path()),
            ["out/figures/a.svg", "out/files.sha256", "out/notes", "precious"]
        );
    }
    // A list in order that names what lies elsewhere: not of this set.
    std::fs::write(out.join(LIST), format!("{sum}  notes\n")).unwrap();
    write(&out, &[]).unwrap();
    assert!(out.join("notes").exists());
    // No text, and no file.
    std::fs::write(out.join(LIST), b"\xff\n").unwrap();
    assert!(earlier(&out).is_err());
    std::fs::remove_file(out.join(LIST)).unwrap();
    std::fs::create_dir(out.join(LIST)).unwrap();
    assert!(earlier(&out).is_err());
}

#[cfg(unix)]
#[test]
fn no_link_below_the_folder_is_followed() {
    use std::os::unix::fs::symlink;

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("elsewhere/x")).unwrap();
    std::fs::create_dir(at("real")).unwrap();
    // The folder itself may be named by a link: its user wrote that.
    symlink("real", at("out")).unwrap();
    let out = at("out");
    write(&out, &["curves/x/y.csv", "figures/a.svg", "page"]).unwrap();
    let content = |name: &str| std::fs::read(at(name)).unwrap();

    // To remove: the folder is replaced by a link to one with the same file; the file by a link to one of the same content.
    std::fs::write(at("elsewhere/x/y.csv"), b"of curves/x/y.csv").unwrap();
    std::fs::write(at("elsewhere/a.svg"), b"of figures/a.svg").unwrap();
    std::fs::remove_dir_all(out.join("curves")).unwrap();
    symlink("../elsewhere", out.join("curves")).unwrap();
    std::fs::remove_file(out.join("figures/a.svg")).unwrap();
    symlink("../../elsewhere/a.svg", out.join("figures/a.svg")).unwrap();
    write(&out, &["page"]).unwrap();
    assert_eq!(names(&at("elsewhere")), ["a.svg", "x/y.csv"]);
    assert!(out.join("figures/a.svg").is_symlink() && out.join("curves").is_symlink());

    // To write: refused, with the name of the link, and before the runs too where it is on top.
    for name in ["curves/x/y.csv", "figures/a.svg"] {
        let error = format!("{:#}", write(&out, &[name]).unwrap_err());
        assert!(error.contains("found a link") && error.contains("out/"), "{error}");
    }
    assert_eq!(content("elsewhere/a.svg"), b"of figures/a.svg");
    assert!(check_set(&out, &["page", "figures"]).is_ok());
    assert!(check_set(&out, &["page", "curves"]).is_err());
    std::fs::remove_file(out.join(LIST)).unwrap();
    symlink("../elsewhere/a.svg", out.join(LIST)).unwrap();
    assert!(check_set(&out, &["page"]).is_err() && earlier(&out).is_err());
    assert!(write(&out, &["page"]).is_err());
    assert_eq!(content("elsewhere/a.svg"), b"of figures/a.svg");
}

#[test]
fn two_writers_at_once_leave_the_set_of_one_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let sets: [&[&str]; 3] = [
        &["page", "figures/a.svg", "curves/x/y.csv", "curves/x/z.csv"],
        &["page", "figures/b.svg", "curves/x/y.csv"],
        &["page", "figures/a.svg", "figures/c.svg"],
    ];
    let mut wanted = sets.map(|set| [set, &[LIST]].concat());
    wanted.iter_mut().for_each(|set| set.sort_unstable());
    for _ in 0..12 {
        std::thread::scope(|scope| {
            for set in sets {
                scope.spawn(|| write(folder.path(), set).unwrap());
            }
        });
        let found = names(folder.path());
        assert!(wanted.iter().any(|set| *set == found), "{found:?}");
        assert_eq!(earlier(folder.path()).unwrap().len() + 1, found.len());
    }
}
