//! Devices, pipes, links, rights and inputs in the place of outputs: nothing a user has is destroyed, nothing hangs.
#![cfg(unix)]

mod files;

use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use files::{Numbers, TestResult, distill, failure, file, success, word};

/// A folder with a model, its data as numbers, and a posterior.
struct Work {
    folder: tempfile::TempDir,
}

impl Work {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let work = Self { folder: tempfile::tempdir()? };
        let weight = [("weight", &[1, 2][..], Numbers::F64(vec![1.0, 2.0]))];
        std::fs::write(work.at("model.safetensors"), file(None, &weight))?;
        std::fs::write(work.at("data.csv"), "a,b,y\n1,2,5\n0.5,1,2.5\n-1,0,-1\n")?;
        success(&work.posterior("posterior.safetensors"))?;
        Ok(work)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn word(&self, name: &str) -> &'static str {
        // Tests are short, and paths of arguments live as long as they.
        Box::leak(self.at(name).to_string_lossy().into_owned().into_boxed_str())
    }

    fn posterior(&self, out: &str) -> Vec<&'static str> {
        let (model, data) = (self.word("model.safetensors"), self.word("data.csv"));
        let method = ["--method", "laplace", "--structure", "diagonal", "--task", "regression"];
        [&["posterior", model, "--data", data][..], &method, &["--out", self.word(out)]].concat()
    }
}

#[test]
fn no_command_destroys_what_it_reads() -> TestResult {
    let work = Work::new()?;
    std::fs::hard_link(work.at("data.csv"), work.at("hard.csv"))?;
    symlink(work.at("data.csv"), work.at("soft.csv"))?;
    let before = std::fs::read(work.at("data.csv"))?;
    for (out, named) in [
        ("data.csv", "--data"),
        ("./data.csv", "--data"),
        ("hard.csv", "--data"),
        ("soft.csv", "--data"),
        ("model.safetensors", "MODEL"),
    ] {
        let (status, line) = failure(&work.posterior(out))?;
        assert!(status == 2 && line.contains("--out: wanted another file than"), "{line}");
        assert!(line.contains(named), "{line}");
    }
    let posterior = work.word("posterior.safetensors");
    let transform = ["transform", "--posterior", posterior, "--remove-units", "1:0", "--out"];
    let (status, line) = failure(&[&transform[..], &[posterior]].concat())?;
    assert!(status == 2 && line.contains("another file than --posterior"), "{line}");

    // `map` writes mapped.safetensors into its folder.
    let x = [("x", &[1, 2][..], Numbers::F64(vec![0.0, 1.0])), ("y", &[1], Numbers::I64(vec![0]))];
    std::fs::write(work.at("mapped.safetensors"), file(None, &x))?;
    let data = work.word("mapped.safetensors");
    let map = ["map", "--kind", "identity", "--data", data, "--out", word(work.folder.path())];
    let (status, line) = failure(&map)?;
    assert!(status == 2 && line.contains("another file than --data"), "{line}");
    assert_eq!(std::fs::read(work.at("data.csv"))?, before);

    // A known data set lies in a folder of its own.
    let (cache, inside) = (work.word("cache"), work.word("cache/mnist/out.safetensors"));
    std::fs::create_dir_all(work.at("cache/mnist"))?;
    let mut known = work.posterior("cache/mnist/out.safetensors");
    known[3] = "mnist";
    let (status, line) = failure(&[&known[..], &["--cache", cache]].concat())?;
    assert!(status == 2 && line.contains("a place outside --data"), "{line}");
    assert!(!Path::new(inside).exists());

    // A folder of images that got a contact sheet would hold one image more the next time.
    std::fs::create_dir(work.at("photos"))?;
    let (photos, inside) = (work.word("photos"), work.word("photos/out"));
    for out in [photos, inside] {
        let (status, line) =
            failure(&["map", "--kind", "identity", "--data", photos, "--out", out])?;
        assert!(status == 2 && line.contains("a place outside --data"), "{line}");
    }
    Ok(())
}

#[test]
fn links_devices_and_rights_of_an_output() -> TestResult {
    let work = Work::new()?;
    std::fs::write(work.at("target"), "old")?;
    std::fs::set_permissions(work.at("target"), std::fs::Permissions::from_mode(0o640))?;
    symlink("target", work.at("link"))?;
    success(&work.posterior("link"))?;
    assert!(std::fs::symlink_metadata(work.at("link"))?.is_symlink());
    assert_eq!(std::fs::read(work.at("target"))?, std::fs::read(work.at("posterior.safetensors"))?);
    assert_eq!(std::fs::metadata(work.at("target"))?.mode() & 0o777, 0o640);

    let mut private = Command::new("sh");
    private.args(["-c", "umask 077; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_distill")]);
    assert!(private.args(work.posterior("private")).output()?.status.success());
    assert_eq!(std::fs::metadata(work.at("private"))?.mode() & 0o777, 0o600);

    // The null device takes everything; other devices and pipes stay what they are.
    symlink("/dev/null", work.at("null"))?;
    assert!(success(&work.posterior("null"))?.contains("log evidence"));
    assert!(std::fs::metadata("/dev/null")?.file_type().is_char_device());
    symlink("/dev/zero", work.at("zero"))?;
    assert!(failure(&work.posterior("zero"))?.1.contains("wanted a file, found a device"));
    assert!(Command::new("mkfifo").arg(work.at("pipe")).status()?.success());
    assert!(failure(&work.posterior("pipe"))?.1.contains("found a named pipe"));
    assert!(std::fs::metadata(work.at("pipe"))?.file_type().is_fifo());
    Ok(())
}

#[test]
fn inputs_without_an_end_are_refused_and_pipes_of_a_shell_are_read() -> TestResult {
    let work = Work::new()?;
    assert!(Command::new("mkfifo").arg(work.at("pipe")).status()?.success());
    for (name, found) in [("pipe", "a named pipe"), ("/dev/zero", "a device")] {
        let path = work.word(name);
        let mut data = work.posterior("out");
        data[3] = path;
        let mut model = work.posterior("out");
        model[1] = path;
        for arguments in [data, model, vec!["inspect", path]] {
            let (status, line) = failure(&arguments)?;
            assert!(
                status == 1 && line.contains(&format!("wanted a file, found {found}")),
                "{line}"
            );
        }
    }
    let mut arguments = work.posterior("piped");
    arguments[3] = "/dev/stdin";
    let mut child = Command::new(env!("CARGO_BIN_EXE_distill"));
    child.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = child.spawn()?;
    let text = std::fs::read(work.at("data.csv"))?;
    child.stdin.take().ok_or("no pipe")?.write_all(&text)?;
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read(work.at("piped"))?, std::fs::read(work.at("posterior.safetensors"))?);
    Ok(())
}

#[test]
fn a_reader_who_left_is_no_error_and_a_full_disk_is_one() -> TestResult {
    let work = Work::new()?;
    let posterior = work.word("posterior.safetensors");
    let program = env!("CARGO_BIN_EXE_distill");
    let commands = [&["--help"][..], &["reproduce", "--list"], &["inspect", posterior]];
    for arguments in commands {
        let shell = |script: &str| {
            Command::new("bash").args(["-c", script, "bash", program]).args(arguments).output()
        };
        let output = shell("set -o pipefail; \"$@\" | true")?;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        let output = shell("\"$@\" > /dev/full")?;
        let told = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.starts_with("error: writing to standard output") && told.lines().count() == 1);
        for script in ["\"$@\" >&-", "\"$@\" 2>&-", "\"$@\" 2> /dev/full"] {
            assert_eq!(shell(script)?.status.code(), Some(0), "{script} {arguments:?}");
        }
    }
    for script in ["\"$1\" --wrong 2>&-", "\"$1\" --wrong 2> /dev/full"] {
        let output = Command::new("bash").args(["-c", script, "bash", program]).output()?;
        assert_eq!(output.status.code(), Some(2), "{script}");
    }
    Ok(())
}

#[test]
fn errors_are_one_line_without_control_characters_or_backtraces() -> TestResult {
    let work = Work::new()?;
    let name = "evil\n\u{1b}[31mname.weight";
    std::fs::write(
        work.at("evil.safetensors"),
        file(None, &[(name, &[1, 2, 3][..], Numbers::F32(vec![0.0; 6]))]),
    )?;
    let mut arguments = work.posterior("out");
    arguments[1] = work.word("evil.safetensors");
    let (_, line) = failure(&arguments)?;
    assert!(line.contains("evil\\n\\u{1b}[31mname.weight"), "{line}");
    let told = success(&["inspect", work.word("evil.safetensors")])?;
    assert!(told.contains("evil\\n\\u{1b}[31mname.weight") && !told.contains('\u{1b}'), "{told}");

    // candle's errors carry a backtrace where somebody asks for backtraces.
    let blocks: Vec<(String, Vec<usize>)> =
        [[3, 3], [2, 4], [2, 4], [3, 3], [2, 4], [3, 3], [2, 4]]
            .iter()
            .enumerate()
            .map(|(t, shape)| (format!("block.{t}"), shape.to_vec()))
            .collect();
    let tensors: Vec<(&str, &[usize], Numbers)> = blocks
        .iter()
        .map(|(name, shape)| {
            let n = shape.iter().product();
            (name.as_str(), shape.as_slice(), Numbers::F64(vec![0.0; n]))
        })
        .collect();
    std::fs::write(work.at("translator.safetensors"), file(None, &tensors))?;
    let translator = work.word("translator.safetensors");
    std::fs::write(work.at("unit.csv"), "a,b\n0,1\n0.5,0.25\n1,0\n")?;
    let data = work.word("unit.csv");
    let output = Command::new(env!("CARGO_BIN_EXE_distill"))
        .args(["map", "--kind", "translator", "--translator", translator, "--data", data])
        .args(["--out", work.word("out")])
        .env("RUST_BACKTRACE", "1")
        .env("RUST_LIB_BACKTRACE", "1")
        .output()?;
    let told = String::from_utf8(output.stderr)?;
    assert!(!output.status.success() && told.lines().count() == 1, "{told}");
    Ok(())
}

#[test]
fn nothing_that_is_not_finite_goes_through_a_map() -> TestResult {
    let work = Work::new()?;
    // The sizes of a translator of 2 numbers, 2 hidden units and 1 latent dimension.
    let block = |t: usize, shape: &'static [usize; 2], value: f32| {
        let name: &'static str = Box::leak(format!("block.{t}").into_boxed_str());
        (name, &shape[..], Numbers::F32(vec![value; shape[0] * shape[1]]))
    };
    let shapes: [&'static [usize; 2]; 7] =
        [&[2, 3], &[1, 3], &[1, 3], &[2, 2], &[2, 3], &[2, 2], &[2, 3]];
    std::fs::write(work.at("unit.csv"), "a,b\n0,1\n0.5,0.25\n1,0\n")?;
    for value in [0.5, f32::NAN, f32::INFINITY] {
        let tensors: Vec<_> = shapes
            .iter()
            .enumerate()
            .map(|(t, shape)| block(t, shape, if t == 4 { value } else { 0.5 }))
            .collect();
        std::fs::write(work.at("translator.safetensors"), file(None, &tensors))?;
        let arguments = [
            "map",
            "--kind",
            "translator",
            "--translator",
            work.word("translator.safetensors"),
            "--data",
            work.word("unit.csv"),
            "--out",
            work.word("mapped"),
        ];
        let output = distill(&arguments)?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), value.is_finite(), "{value}: {told}");
        if !value.is_finite() {
            assert!(told.contains("translator.safetensors: tensor `block.4`"), "{told}");
        }
    }
    Ok(())
}

#[test]
fn a_small_file_of_many_pixels_takes_no_memory() -> TestResult {
    let work = Work::new()?;
    std::fs::create_dir(work.at("photos"))?;
    let image = image::GrayImage::new(16_000, 16_000);
    image.save(work.at("photos/a.png"))?;
    let out = work.word("out");
    let arguments = ["map", "--kind", "identity", "--data", work.word("photos"), "--out", out];
    let (_, line) = failure(&arguments)?;
    assert!(line.contains("a.png") && line.contains("wanted at most 25000000 pixels"), "{line}");
    assert!(!Path::new(out).exists());
    Ok(())
}
