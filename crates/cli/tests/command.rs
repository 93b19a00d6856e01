//! The command as a user meets it: a smoke run twice, and every wrong word or file.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Output};

type TestResult = Result<(), Box<dyn Error>>;

/// `distill` with no data but what the test gives it.
fn distill(arguments: &[&str]) -> std::io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_distill")).args(arguments).env_remove("DISTILL_DATA").output()
}

/// Exit status and the error on standard error: one line, and below it only what the command line could be.
fn failure(arguments: &[&str]) -> Result<(i32, String), Box<dyn Error>> {
    let output = distill(arguments)?;
    let text = String::from_utf8(output.stderr)?;
    let is_usage =
        text.contains("\n\nUsage: distill ") || text.contains("\n\nFor more information");
    assert!(text.lines().count() == 1 || is_usage, "expected one line or a usage, found: {text}");
    assert!(text.starts_with("error: "), "{text}");
    Ok((output.status.code().ok_or("killed")?, text))
}

fn word(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

/// results.json without what depends on the clock; of the rows that is the metric `seconds`, which `methods` has.
fn timeless(folder: &Path) -> Result<serde_json::Value, Box<dyn Error>> {
    let text = std::fs::read_to_string(folder.join("results.json"))?;
    let mut value: serde_json::Value = serde_json::from_str(&text)?;
    value["provenance"]["started"] = serde_json::Value::Null;
    value["provenance"]["seconds"] = serde_json::Value::Null;
    for experiment in value["experiments"].as_array_mut().ok_or("no experiments")? {
        experiment["seconds"] = serde_json::Value::Null;
        for row in experiment["rows"].as_array_mut().into_iter().flatten() {
            row["metrics"]["seconds"] = serde_json::Value::Null;
        }
    }
    Ok(value)
}

const SYNTHETIC: [&str; 5] = ["reproduce", "--only", "synthetic-classes", "--scale", "smoke"];

#[test]
fn one_job_and_two_give_the_same_results() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    for (out, jobs) in [(&one, "1"), (&two, "2")] {
        let mut arguments = SYNTHETIC.to_vec();
        arguments.extend(["--jobs", jobs, "--out", word(out)]);
        let output = distill(&arguments)?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let results = timeless(&one)?;
    assert_eq!(results, timeless(&two)?);
    // A third run finds every part on disk and tells the same to the last bit.
    let arguments = [&SYNTHETIC[..], &["--out", word(&two)]].concat();
    assert!(distill(&arguments)?.status.success());
    assert_eq!(results, timeless(&two)?);

    assert_eq!(results["schema"], 1);
    let experiment = &results["experiments"][0];
    assert_eq!(experiment["id"], "synthetic-classes");
    let verdicts: Vec<_> = experiment["claims"]
        .as_array()
        .ok_or("no claims")?
        .iter()
        .map(|claim| claim["verdict"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(verdicts, ["inconclusive"; 3], "two seeds at smoke scale decide nothing");
    for file in ["index.html", "report.md", "figures/synthetic-classes-2.svg"] {
        assert!(one.join(file).is_file(), "{file}");
    }
    let curve = "curves/synthetic-classes/classes/none/cross_entropy.csv";
    let text = std::fs::read_to_string(one.join(curve))?;
    assert!(text.starts_with("epoch,mean,std,seed_0,seed_1\n0,"), "{text}");
    Ok(())
}

#[test]
fn images_are_drawn_where_there_is_no_network_and_decide_nothing() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (cache, one, two) =
        (folder.path().join("cache"), folder.path().join("one"), folder.path().join("two"));
    // The second run finds the shared teacher and its answers; the first is its oracle.
    for (out, jobs) in [(&one, "1"), (&two, "2"), (&two, "2")] {
        let output = Command::new(env!("CARGO_BIN_EXE_distill"))
            .args(["reproduce", "--only", "base-small", "linear-student", "--scale", "smoke"])
            .args(["--jobs", jobs, "--out", word(out), "--cache", word(&cache)])
            .env_remove("DISTILL_DATA")
            .envs(
                ["http_proxy", "https_proxy", "all_proxy"].map(|name| (name, "http://127.0.0.1:1")),
            )
            .envs(
                ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:1")),
            )
            .output()?;
        let told = String::from_utf8(output.stderr)?;
        assert!(output.status.success(), "{told}");
        assert!(
            told.contains("Fashion-MNIST: out of reach") && told.lines().count() == 1,
            "{told}"
        );
    }
    let results = timeless(&one)?;
    assert_eq!(results, timeless(&two)?);
    assert_eq!(results["provenance"]["data"]["fashion-mnist"]["kind"], "generated");
    for experiment in results["experiments"].as_array().ok_or("no experiments")? {
        for row in experiment["rows"].as_array().ok_or("no rows")? {
            assert_eq!(row["data"], "generated", "{}", row["id"]);
        }
        for claim in experiment["claims"].as_array().ok_or("no claims")? {
            assert_eq!(claim["verdict"], "not_run", "{}", claim["id"]);
            assert!(claim["ours"].is_null());
        }
    }
    assert!(std::fs::read_to_string(one.join("index.html"))?.contains("generated"));
    Ok(())
}

#[test]
fn finished_runs_are_kept_and_fresh_redoes_them() -> TestResult {
    let folder = tempfile::tempdir()?;
    let out = word(folder.path());
    let run = |more: &[&str]| -> Result<std::time::SystemTime, Box<dyn Error>> {
        let arguments = [&SYNTHETIC[..], &["--seeds", "1", "--out", out], more].concat();
        assert!(distill(&arguments)?.status.success());
        let runs = folder.path().join("runs/synthetic-classes");
        let entries = std::fs::read_dir(runs)?.collect::<Result<Vec<_>, _>>()?;
        let seeds: Vec<_> = entries
            .iter()
            .filter(|e| e.file_name().to_string_lossy().starts_with("seed-0"))
            .collect();
        assert_eq!(seeds.len(), 1);
        Ok(seeds[0].metadata()?.modified()?)
    };
    let first = run(&[])?;
    assert_eq!(run(&[])?, first);
    assert!(run(&["--fresh"])? > first);
    Ok(())
}

#[test]
fn wrong_words_end_with_status_2() -> TestResult {
    for (arguments, parts) in [
        (&["reproduce", "--only", "nonsense"][..], &["--only", "base-small", "nonsense"][..]),
        (&["reproduce", "--seeds", "0"], &["--seeds", "'0'", "from 1"]),
        (&["reproduce", "--scale", "huge"], &["--scale", "huge", "smoke"]),
        (&["reproduce", "--nonsense"], &["--nonsense"]),
        (&["fetch", "cifar"], &["cifar", "fashion-mnist"]),
        (&["nonsense"], &["nonsense"]),
        (&[], &["expected a command"]),
    ] {
        let (status, line) = failure(arguments)?;
        assert_eq!(status, 2, "{line}");
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    }
    Ok(())
}

#[test]
fn missing_and_damaged_data_are_named() -> TestResult {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let run = |data: &Path| {
        failure(&["reproduce", "--scale", "smoke", "--data", word(data), "--out", word(&out)])
    };
    let (status, line) = run(&folder.path().join("absent"))?;
    assert!(status == 1 && line.contains("--data: wanted a folder at"), "{line}");

    let (status, line) = run(folder.path())?;
    assert!(status == 1 && line.contains("train-images-idx3-ubyte.gz: wanted a file"), "{line}");

    let set = folder.path().join("fashion-mnist");
    std::fs::create_dir(&set)?;
    std::fs::write(set.join("train-images-idx3-ubyte.gz"), b"short")?;
    let (status, line) = run(folder.path())?;
    assert!(status == 1 && line.contains("wanted 26421880 bytes, found 5"), "{line}");

    std::fs::write(set.join("train-images-idx3-ubyte.gz"), vec![0; 26_421_880])?;
    let (status, line) = run(folder.path())?;
    assert!(status == 1 && line.contains("wanted SHA-256 3aede38d"), "{line}");
    assert!(!out.join("results.json").exists());
    Ok(())
}

#[test]
fn an_unwritable_output_folder_fails_before_any_run() -> TestResult {
    let folder = tempfile::tempdir()?;
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, b"")?;
    let out = blocked.join("out");
    let mut arguments = SYNTHETIC.to_vec();
    arguments.extend(["--out", word(&out)]);
    let (status, line) = failure(&arguments)?;
    assert_eq!(status, 1);
    assert!(
        line.contains("--out: wanted a folder to write to") && line.contains("file/out"),
        "{line}"
    );
    Ok(())
}

#[test]
fn help_and_list_tell_a_stranger_what_there_is() -> TestResult {
    let help = String::from_utf8(distill(&["reproduce", "--help"])?.stdout)?;
    for option in [
        "--only",
        "--scale",
        "--seeds",
        "--jobs",
        "--device",
        "--data",
        "--out",
        "--fresh",
        "--fail-fast",
    ] {
        assert!(help.contains(option), "{option}");
    }
    let list = String::from_utf8(distill(&["reproduce", "--list"])?.stdout)?;
    for id in [
        "base-train",
        "base-small",
        "linear-student",
        "synthetic-classes",
        "bayes-authors-synthetic",
        "bayes-authors-fashion",
        "C18",
        "C12",
        "C8",
    ] {
        assert!(list.contains(id), "{id}");
    }
    Ok(())
}
