//! `--json` on every command: exactly one JSON object on standard output, whatever the command.

mod files;

use std::error::Error;
use std::path::Path;
use std::process::Command;

use files::{Numbers, TestResult, file, success};
use serde_json::Value;

/// A classifier of two classes, 3-2-2, as PyTorch saves it, and a table that it is right on.
fn world(folder: &Path) -> TestResult {
    let tensors = [
        ("fc1.weight", &[2, 3][..], Numbers::F32(vec![1.0, 0.0, 0.1, 0.0, 1.0, 0.1])),
        ("fc1.bias", &[2], Numbers::F32(vec![0.1, 0.1])),
        ("fc2.weight", &[2, 2], Numbers::F32(vec![2.0, -2.0, -2.0, 2.0])),
        ("fc2.bias", &[2], Numbers::F32(vec![0.0, 0.0])),
    ];
    std::fs::write(folder.join("net.safetensors"), file(None, &tensors))?;
    let row = |i: u32| {
        let (a, b) = (i % 7 + 1, (i * 5) % 11 + 1);
        format!("{a},{b},{},{}\n", i % 3, u32::from(b > a))
    };
    let rows: String = (0..120).map(row).collect();
    Ok(std::fs::write(folder.join("data.csv"), format!("a,b,c,y\n{rows}"))?)
}

/// How each command is run in a test; a command that is not here has to be added.
fn words(command: &str) -> Option<Vec<&'static str>> {
    let data = ["--data", "data.csv", "--target", "y"];
    let with_data =
        |words: &[&'static str], more: &[&'static str]| Some([words, &data, more].concat());
    match command {
        "reproduce" => Some(vec![
            "reproduce",
            "--only",
            "synthetic-classes",
            "--scale",
            "smoke",
            "--out",
            "runs",
        ]),
        "fetch" => Some(vec!["fetch", "fashion-mnist"]),
        "shrink" => with_data(
            &["shrink", "net.safetensors"],
            &["--widths", "layers.0=1", "--points", "0", "--force", "--out", "small"],
        ),
        "posterior" => with_data(
            &["posterior", "net.safetensors"],
            &[
                "--task",
                "classification",
                "--method",
                "laplace",
                "--structure",
                "kronecker",
                "--out",
                "p.safetensors",
            ],
        ),
        "rank" => {
            Some(vec!["rank", "--posterior", "p.safetensors", "--layer", "1", "--by", "greedy"])
        }
        "transform" => Some(vec![
            "transform",
            "--posterior",
            "p.safetensors",
            "--remove-units",
            "1:0",
            "--out",
            "s.safetensors",
        ]),
        "map" => Some(vec![
            "map",
            "--kind",
            "sine",
            "--data",
            "data.csv",
            "--target",
            "y",
            "--reference",
            "data.csv",
            "--out",
            "mapped",
        ]),
        "inspect" => Some(vec!["inspect", "net.safetensors"]),
        "convert" => Some(vec!["convert", "net.safetensors", "--out", "net.onnx"]),
        "evaluate" => with_data(&["evaluate", "net.safetensors"], &[]),
        "compare" => with_data(&["compare", "net.safetensors", "net.safetensors"], &[]),
        "predict" => with_data(&["predict", "net.safetensors"], &["--out", "logits.npz"]),
        "completions" => Some(vec!["completions", "bash"]),
        _ => None,
    }
}

/// The commands that the help of the program lists.
fn commands() -> Result<Vec<String>, Box<dyn Error>> {
    let help = success(&["--help"])?;
    let (_, listed) = help.split_once("Commands:\n").ok_or("a list of commands")?;
    let names = listed.lines().take_while(|line| line.starts_with("  "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    Ok(names.filter(|name| *name != "help").map(str::to_owned).collect())
}

#[test]
fn every_command_prints_one_json_object_and_nothing_else() -> TestResult {
    let folder = tempfile::tempdir()?;
    world(folder.path())?;
    let commands = commands()?;
    assert!(commands.len() >= 13, "{commands:?}");
    let is_after = |name: &String| ["rank", "transform"].contains(&name.as_str());
    let (after, first): (Vec<_>, Vec<_>) = commands.into_iter().partition(is_after);
    for name in first.into_iter().chain(after) {
        let words = words(&name).ok_or(format!("{name}: say here how it is run with --json"))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_distill"));
        command.current_dir(folder.path()).args(&words).arg("--json").env_remove("DISTILL_DATA");
        if name == "fetch" {
            // Nothing is downloaded in a test: the data are there, or the command is only parsed.
            let Some(data) = std::env::var_os("DISTILL_DATA") else {
                let help = success(&["fetch", "--help"])?;
                assert!(help.contains("--json"), "{help}");
                continue;
            };
            command.arg("--cache").arg(data);
        }
        let output = command.output()?;
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let value: Value =
            serde_json::from_slice(&output.stdout).map_err(|error| format!("{name}: {error}"))?;
        assert!(value.is_object(), "{name}: {value}");
        match name.as_str() {
            "reproduce" => {
                let written = std::fs::read(folder.path().join("runs/results.json"))?;
                assert_eq!(value, serde_json::from_slice::<Value>(&written)?);
            }
            "map" => {
                assert_eq!((&value["kind"], &value["n_examples"]), (&"sine".into(), &120.into()));
                assert!(value["measures"]["proxy_distance"].is_f64(), "{value}");
            }
            "fetch" => assert_eq!(value["fetched"][0]["id"], "fashion-mnist"),
            "completions" => {
                assert!(value["script"].as_str().is_some_and(|s| s.contains("shrink")));
            }
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn a_list_of_experiments_is_json_too() -> TestResult {
    let value: Value = serde_json::from_str(&success(&["reproduce", "--list", "--json"])?)?;
    let experiments = value["experiments"].as_array().ok_or("experiments")?;
    assert!(
        experiments.iter().any(|of| of["id"] == "base-small" && of["claims"][0]["id"].is_string())
    );
    Ok(())
}
