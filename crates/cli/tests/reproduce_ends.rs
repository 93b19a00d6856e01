//! How a reproduction ends: by a signal, with runs that fail, with nobody or a full disk on the other side.

#![cfg(unix)]

mod files;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use files::{TestResult, distill, failure, word};

/// Two runs and a shared one, in less than a second.
const SYNTHETIC: [&str; 5] = ["reproduce", "--only", "synthetic-classes", "--scale", "smoke"];
/// A minute is more than any of these takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_distill"));
    command.args(arguments).env_remove("DISTILL_DATA");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `distill` in a shell of its own, as `"$@"`.
fn shell(script: &str, arguments: &[&str]) -> std::io::Result<Output> {
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash", env!("CARGO_BIN_EXE_distill")]).args(arguments);
    command.env_remove("DISTILL_DATA").output()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn send(signal: &str, child: &Child) -> TestResult {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status()?;
    assert!(sent.success());
    Ok(())
}

fn wait_until(mut is_there: impl FnMut() -> bool) -> TestResult {
    let start = Instant::now();
    while !is_there() {
        if start.elapsed() > PATIENCE {
            return Err("waited for too long".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// results.json without what depends on the clock.
fn timeless(folder: &Path) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(folder.join("results.json"))?;
    let mut value: serde_json::Value = serde_json::from_str(&text)?;
    for key in ["started", "seconds"] {
        value["provenance"][key] = serde_json::Value::Null;
    }
    for experiment in value["experiments"].as_array_mut().ok_or("no experiments")? {
        experiment["seconds"] = serde_json::Value::Null;
    }
    Ok(value)
}

#[test]
fn a_run_under_nohup_outlives_its_terminal() -> TestResult {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_distill")]);
    command.args(SYNTHETIC).args(["--jobs", "1", "--seeds", "8", "--out", word(&out)]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let runs = out.join("runs/synthetic-classes");
    wait_until(|| std::fs::read_dir(&runs).map_or(0, Iterator::count) >= 2)?;
    send("-HUP", &child)?;
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "{}", told(&output));
    Ok(())
}

#[test]
fn a_signal_leaves_a_valid_partial_report_and_the_next_run_goes_on() -> TestResult {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let (whole, readme) = (at("whole"), at("README.md"));
    let marks = "<!-- results: begin -->\nold\n<!-- results: end -->";
    std::fs::write(&readme, marks)?;
    let run = |out: &Path, seeds: &str, more: &[&str]| {
        let own = ["--jobs", "1", "--seeds", seeds, "--out", word(out)];
        command(&[&SYNTHETIC[..], &own, more].concat())
    };
    assert!(run(&whole, "4", &[]).output()?.status.success());
    // What whoever started the tests ignores, as a background job does, is ignored by the program too.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or("0");
    let ignored = u64::from_str_radix(mask.trim(), 16)?;
    let heard = |status: &i32| ignored >> (status - 129) & 1 == 0;
    let signals = [("-INT", 130), ("-TERM", 143), ("-HUP", 129)];
    for (signal, status) in signals.into_iter().filter(|(_, status)| heard(status)) {
        let cut = at(signal);
        let child = run(&cut, "400", &["--readme", word(&readme)]).spawn()?;
        let runs = cut.join("runs/synthetic-classes");
        wait_until(|| std::fs::read_dir(&runs).map_or(0, Iterator::count) >= 3)?;
        send(signal, &child)?;
        let output = child.wait_with_output()?;
        let told = told(&output);
        assert_eq!(output.status.code(), Some(status), "{told}");
        let partial = timeless(&cut)?;
        assert_eq!(partial["interruption"], "it was interrupted");
        let n_seeds = partial["provenance"]["seeds"].as_array().ok_or("no seeds")?.len();
        assert!((1..400).contains(&n_seeds), "{n_seeds}");
        // Nothing of a partial report goes into a README, and the last words say how to go on.
        assert_eq!(std::fs::read_to_string(&readme)?, marks);
        let (n_kept, runs) = (n_seeds + 1, cut.join("runs"));
        let last = format!(
            "note: interrupted; {n_kept} of 401 runs are kept in {}: the same command goes on from there",
            runs.display()
        );
        assert_eq!(told.lines().last(), Some(&*last), "{told}");
        assert!(told.starts_with("note: stopping after the current epoch"), "{told}");
        assert!(told.lines().nth(1).is_some_and(|line| line.contains("left as it is")), "{told}");

        // What was kept serves the next run, which ends like one that was never cut.
        assert!(run(&cut, "4", &[]).output()?.status.success());
        assert_eq!(timeless(&cut)?, timeless(&whole)?);
    }
    Ok(())
}

#[test]
fn a_signal_while_data_are_loaded_ends_at_once() -> TestResult {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    // A source that never answers.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let proxy = format!("http://{}", silent.local_addr()?);
    let arguments = ["reproduce", "--only", "base-small", "--scale", "smoke", "--out", word(&out)];
    let mut waiting = command(&arguments);
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        waiting.env(name, &proxy).env(name.to_uppercase(), &proxy);
    }
    let cache = folder.path().join("cache");
    let child = waiting.args(["--cache", word(&cache)]).spawn()?;
    let asked = silent.accept()?;
    let start = Instant::now();
    send("-TERM", &child)?;
    let output = child.wait_with_output()?;
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(output.status.code(), Some(143));
    assert_eq!(told(&output), "note: interrupted before the first run\n");
    drop(asked);
    Ok(())
}

/// A folder of data on which both seeds of `tweets` fail: eight tweets without enough words.
fn too_few_tweets(folder: &Path) -> TestResult {
    let twitter = folder.join("twitter");
    std::fs::create_dir_all(&twitter)?;
    let line =
        |i: usize| format!("\"{}\",\"{i}\",\"a day\",\"q\",\"u\",\"hello {i}\"\n", 4 * (i % 2));
    let text: String = (0..8).map(line).collect();
    Ok(std::fs::write(twitter.join("training.1600000.processed.noemoticon.csv"), text)?)
}

#[test]
fn runs_that_fail_are_listed_and_do_not_end_the_others() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    too_few_tweets(&data)?;
    let both = ["reproduce", "--only", "tweets", "synthetic-classes", "--scale", "smoke"];
    let places = ["--jobs", "1", "--data", word(&data), "--out", word(&out)];
    let arguments = [&both[..], &places].concat();
    let output = distill(&arguments)?;
    let told = told(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    // The first line says that there is no BERT.
    let lines: Vec<&str> = told.lines().skip(1).collect();
    assert_eq!(lines[0], "error: 2 of 5 runs failed", "{told}");
    assert!(lines[1].starts_with("tweets seed-0: ") && lines[2].starts_with("tweets seed-1: "));
    let runs = out.join("runs");
    let last = format!(
        "note: 3 of 5 runs are kept in {}: the same command goes on from there",
        runs.display()
    );
    assert_eq!(lines[3..], [last], "{told}");

    let found = timeless(&out)?;
    let reason = found["interruption"].as_str().ok_or("no reason")?;
    assert!(reason.starts_with("2 of 5 runs failed, first tweets seed-0: "), "{reason}");
    let alone = folder.path().join("alone");
    assert!(distill(&[&SYNTHETIC[..], &["--out", word(&alone)]].concat())?.status.success());
    assert_eq!(found["experiments"][0], timeless(&alone)?["experiments"][0]);

    // The first error stops the rest where that is wanted.
    let output = distill(&[&arguments[..], &["--fresh", "--fail-fast"]].concat())?;
    assert_eq!(output.status.code(), Some(1));
    assert!(self::told(&output).contains("error: 1 of 5 runs failed"), "{}", self::told(&output));

    // A report that fails too does not hide the runs' errors.
    std::fs::remove_file(out.join("report.md"))?;
    std::fs::create_dir(out.join("report.md"))?;
    let output = distill(&arguments)?;
    let told = self::told(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("error: 2 of 5 runs failed"), "{told}");
    let last = told.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: writing") && last.contains("report.md"), "{told}");
    Ok(())
}

#[test]
fn damaged_runs_are_said_and_done_again() -> TestResult {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let only = ["reproduce", "--only", "linear-student", "--scale", "smoke", "--seeds", "1"];
    // No network: the images are drawn, and the shared part keeps tensors.
    let run = || {
        let mut run = command(&[&only[..], &["--out", word(&out)]].concat());
        for name in ["http_proxy", "https_proxy", "all_proxy"] {
            run.env(name, "http://127.0.0.1:1").env(name.to_uppercase(), "http://127.0.0.1:1");
        }
        run.args(["--cache", word(&folder.path().join("cache"))]).output()
    };
    assert!(run()?.status.success());
    let whole = timeless(&out)?;
    // A digit of a metric in each record, then the last number of each file of tensors.
    for (extension, n) in [("json", 2), ("safetensors", 1)] {
        let mut damaged = BTreeMap::new();
        for entry in std::fs::read_dir(out.join("runs/linear-student"))? {
            let path = entry?.path();
            if path.extension().is_none_or(|found| found != extension) {
                continue;
            }
            let mut bytes = std::fs::read(&path)?;
            let digit = bytes.windows(3).rposition(|b| b == b"[0.").map(|at| at + 3);
            match digit.filter(|_| extension == "json") {
                Some(at) => bytes[at] = if bytes[at] == b'9' { b'8' } else { b'9' },
                None => *bytes.last_mut().ok_or("empty")? ^= 0x40,
            }
            std::fs::write(&path, &bytes)?;
            damaged.insert(path, bytes);
        }
        assert_eq!(damaged.len(), n, "{extension}");
        let output = run()?;
        let told = told(&output);
        assert!(output.status.success(), "{told}");
        let warnings: Vec<&str> =
            told.lines().filter(|line| line.ends_with("this run is done again")).collect();
        assert_eq!(warnings.len(), n, "{told}");
        for (path, bytes) in damaged {
            let is_named =
                |line: &&&str| line.starts_with("warning: ") && line.contains(word(&path));
            assert_eq!(warnings.iter().filter(is_named).count(), 1, "{told}");
            assert_ne!(std::fs::read(&path)?, bytes, "written anew");
        }
        assert_eq!(timeless(&out)?, whole);
    }
    Ok(())
}

#[test]
fn a_wrong_readme_is_found_before_the_runs() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (at, out) = (|name: &str| folder.path().join(name), folder.path().join("out"));
    let marks = b"<!-- results: begin -->\n<!-- results: end -->";
    std::fs::create_dir_all(&out)?;
    std::fs::create_dir(at("docs"))?;
    std::fs::write(at("bare.md"), b"no marks")?;
    std::fs::write(at("bytes.md"), [marks, &b"\xff"[..]].concat())?;
    std::fs::write(at("locked.md"), marks)?;
    let mut rights = std::fs::metadata(at("locked.md"))?.permissions();
    rights.set_readonly(true);
    std::fs::set_permissions(at("locked.md"), rights)?;
    std::fs::write(out.join("report.md"), marks)?;
    // The pages lie beside the README, so that what is in their way is found too.
    std::fs::create_dir_all(at("file/docs"))?;
    std::fs::create_dir_all(at("page/docs/results/synthetic-classes.md"))?;
    std::fs::write(at("file/docs/results"), b"")?;
    for folder in ["file", "page"] {
        std::fs::write(at(folder).join("README.md"), marks)?;
    }
    for (name, status, part) in [
        ("no/folder/README.md", 1, "No such file"),
        ("file/README.md", 1, "docs/results"),
        ("page/README.md", 1, "found a folder"),
        ("none.md", 1, "No such file"),
        ("bare.md", 1, "wanted the marks"),
        ("bytes.md", 1, "UTF-8"),
        ("locked.md", 1, "found a read-only one"),
        ("docs", 1, "found a folder"),
        ("out/report.md", 2, "wanted another file than --readme"),
    ] {
        let readme = at(name);
        let own = ["--out", word(&out), "--readme", word(&readme)];
        let (found, line) = failure(&[&SYNTHETIC[..], &own].concat())?;
        assert!(found == status && line.contains(part) && line.contains("--readme"), "{line}");
        assert!(!out.join("runs").exists(), "{name}");
    }
    Ok(())
}

#[test]
fn a_whole_report_writes_a_line_and_a_page_beside_the_readme() -> TestResult {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let (readme, pages) = (at("README.md"), at("docs/results"));
    std::fs::write(&readme, b"<!-- results: begin -->\n<!-- results: end -->")?;
    let run = |out: &Path| {
        let own = ["--seeds", "1", "--out", word(out), "--readme", word(&readme)];
        command(&[&SYNTHETIC[..], &own].concat()).output()
    };
    assert!(run(&at("out"))?.status.success());
    let line = "| [C12](docs/results/synthetic-classes.md) |";
    assert!(std::fs::read_to_string(&readme)?.contains(line));
    let page = std::fs::read_to_string(pages.join("synthetic-classes.md"))?;
    assert!(
        page.contains("| command | `cargo xtask reproduce --scale smoke --only synthetic-classes")
    );
    assert!(page.contains("Smoke scale") && page.contains("Checks of C12:"), "{page}");
    assert!(std::fs::read_to_string(pages.join("README.md"))?.contains("(synthetic-classes.md)"));
    // A report among the pages would be taken for one of them.
    let output = run(&pages)?;
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("wanted a place outside --readme"), "{}", told(&output));
    Ok(())
}

#[test]
fn files_of_others_below_the_report_stay() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (out, elsewhere) = (folder.path().join("out"), folder.path().join("elsewhere"));
    let run = |more: &[&str]| {
        distill(&[&SYNTHETIC[..], &["--seeds", "1", "--out", word(&out)], more].concat())
    };
    for place in ["curves/mine", "figures"] {
        std::fs::create_dir_all(out.join(place))?;
    }
    std::fs::create_dir(&elsewhere)?;
    let foreign =
        [out.join("curves/mine/notes.csv"), out.join("figures/my.svg"), elsewhere.join("data.csv")];
    for path in &foreign {
        std::fs::write(path, b"mine")?;
    }
    std::os::unix::fs::symlink(&elsewhere, out.join("curves/link"))?;
    assert!(run(&[])?.status.success());
    let figure = out.join("figures/synthetic-classes-2.svg");
    assert!(figure.exists());
    // Another experiment's report takes the place of this one's.
    let other = ["reproduce", "--only", "linear-regression", "--scale", "smoke", "--seeds", "1"];
    let output = distill(&[&other[..], &["--out", word(&out)]].concat())?;
    assert!(output.status.success() && told(&output).is_empty(), "{}", told(&output));
    assert!(!figure.exists());
    for path in &foreign {
        assert_eq!(std::fs::read(path)?, b"mine", "{}", path.display());
    }
    // A link where the report's folders should be is found before the runs.
    std::fs::remove_dir_all(out.join("figures"))?;
    std::os::unix::fs::symlink(&elsewhere, out.join("figures"))?;
    let (status, line) =
        failure(&[&SYNTHETIC[..], &["--seeds", "1", "--out", word(&out)]].concat())?;
    assert!(
        status == 1 && line.contains("out/figures: wanted") && line.contains("a link"),
        "{line}"
    );
    Ok(())
}

#[test]
fn a_reader_may_leave_and_a_full_disk_is_an_error() -> TestResult {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let run = [&SYNTHETIC[..], &["--seeds", "1", "--out", word(&out)]].concat();
    let list = ["reproduce", "--list"];
    for arguments in [&list[..], &["--help"], &run] {
        // Whoever reads it may leave, and standard output or error may be closed.
        for script in [
            "\"$@\" | true; exit ${PIPESTATUS[0]}",
            "\"$@\" > /dev/null 2>&-",
            "\"$@\" >&-",
            "\"$@\" > /dev/null 2> /dev/full",
        ] {
            let output = shell(script, arguments)?;
            assert_eq!(output.status.code(), Some(0), "{script}: {}", told(&output));
            assert_eq!(told(&output), "", "{script}");
        }
        let output = shell("\"$@\" > /dev/full", arguments)?;
        let told = told(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.starts_with("error: writing to standard output: ") && told.lines().count() == 1
        );
        let output = shell("\"$@\" > /dev/full 2> /dev/full", arguments)?;
        assert_eq!(output.status.code(), Some(1));
    }
    Ok(())
}

#[test]
fn threads_that_cannot_start_are_said_and_the_others_work() -> TestResult {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let arguments =
        [&SYNTHETIC[..], &["--seeds", "99", "--jobs", "99", "--out", word(&out)]].concat();
    let mut child = Command::new("bash")
        .args(["-c", "ulimit -v 1500000; exec \"$@\"", "bash", env!("CARGO_BIN_EXE_distill")])
        .args(&arguments)
        .env_remove("DISTILL_DATA")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut told = String::new();
    child.stderr.take().ok_or("no standard error")?.read_to_string(&mut told)?;
    assert_eq!(child.wait()?.code(), Some(0), "{told}");
    assert!(
        told.contains(" of 99 threads could be started") && told.lines().count() == 1,
        "{told}"
    );
    Ok(())
}
