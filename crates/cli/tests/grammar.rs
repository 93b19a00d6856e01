//! What all commands have in common: files of options, usage errors, help, quiet runs, JSON, completions.

mod files;

use std::path::Path;

use files::{Numbers, TestResult, distill, file, success, word};
use serde_json::Value;

const COMMANDS: [&str; 9] = [
    "reproduce",
    "fetch",
    "posterior",
    "rank",
    "transform",
    "map",
    "inspect",
    "convert",
    "completions",
];

/// A perceptron 3-2-2 as PyTorch saves it.
fn network(folder: &Path) -> std::io::Result<String> {
    let numbers = |n: usize| Numbers::F32((0..n).map(|i| 0.5 - 0.25 * i as f32).collect());
    let bytes = file(
        None,
        &[
            ("fc1.weight", &[2, 3], numbers(6)),
            ("fc1.bias", &[2], numbers(2)),
            ("fc2.weight", &[2, 2], numbers(4)),
            ("fc2.bias", &[2], numbers(2)),
        ],
    );
    let path = folder.join("net.safetensors");
    std::fs::write(&path, bytes)?;
    Ok(word(&path).to_owned())
}

fn written(folder: &Path, name: &str, text: &str) -> std::io::Result<String> {
    let path = folder.join(name);
    std::fs::write(&path, text)?;
    Ok(word(&path).to_owned())
}

/// Exit code and standard error.
fn failed(arguments: &[&str]) -> Result<(Option<i32>, String), Box<dyn std::error::Error>> {
    let output = distill(arguments)?;
    Ok((output.status.code(), String::from_utf8(output.stderr)?))
}

#[test]
fn a_file_has_options_and_arguments_and_the_command_line_wins() -> TestResult {
    let folder = tempfile::tempdir()?;
    let model = network(folder.path())?;
    let (a, b) = (folder.path().join("a.onnx"), folder.path().join("b.onnx"));
    let text = format!(
        "command = 'convert'\nmodel = '{model}'\nout = '{}'\nactivation = 'tanh'\njson = true\n",
        a.display()
    );
    let config = written(folder.path(), "run.toml", &text)?;
    let told: Value = serde_json::from_str(&success(&["convert", "--config", &config])?)?;
    assert!(told["out"] == word(&a) && told["parameters"] == 14 && a.is_file(), "{told}");
    let told =
        success(&["convert", "--config", &config, "--out", word(&b), "--activation", "relu"])?;
    assert!(told.contains(word(&b)) && b.is_file());
    assert_ne!(std::fs::read(&a)?, std::fs::read(&b)?, "tanh and relu");
    Ok(())
}

#[test]
fn a_wrong_file_is_a_usage_error_with_its_place() -> TestResult {
    let folder = tempfile::tempdir()?;
    let config = written(folder.path(), "run.toml", "model = 'm.onnx'\nactivaton = 'tanh'\n")?;
    let (code, text) = failed(&["convert", "--config", &config])?;
    assert_eq!(code, Some(2), "{text}");
    let first =
        "run.toml:2:1: unknown key `activaton` of `distill convert`; did you mean `activation`?\n";
    assert!(text.starts_with("error: ") && text.contains(first), "{text}");
    assert!(text.contains("\nAllowed keys: model, out, format, json, activation,"), "{text}");
    let absent = folder.path().join("absent.toml");
    let (code, text) = failed(&["convert", "--config", word(&absent)])?;
    assert!(code == Some(1) && text.contains("--config") && text.contains("absent.toml"), "{text}");
    Ok(())
}

#[test]
fn usage_errors_keep_their_layout() -> TestResult {
    let (code, text) = failed(&["convert", "m.onnx", "--activaton", "relu"])?;
    assert_eq!(code, Some(2), "{text}");
    for part in [
        "error: unexpected argument '--activaton' found\n",
        "\n  tip: a similar argument exists: '--activation'\n",
        "\nUsage: distill convert ",
        "\nFor more information, try '--help'.\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    Ok(())
}

#[test]
fn every_help_says_the_exit_codes_and_the_common_options() -> TestResult {
    let helps = COMMANDS.iter().map(|command| vec![*command, "--help"]).chain([vec!["--help"]]);
    for arguments in helps {
        let help = success(&arguments)?;
        for part in ["Exit codes:\n", "  128+n  ended by signal n", "--config <FILE>", "--quiet"] {
            assert!(help.contains(part), "{arguments:?}: {part}\n{help}");
        }
    }
    Ok(())
}

#[test]
fn a_quiet_run_says_no_notes_but_errors() -> TestResult {
    let folder = tempfile::tempdir()?;
    let model = network(folder.path())?;
    let out = folder.path().join("net.onnx");
    let arguments = ["convert", &model, "--out", word(&out)];
    let loud = distill(&arguments)?;
    assert!(String::from_utf8(loud.stderr)?.contains("note: "));
    let quiet = distill(&[&arguments[..], &["--quiet"]].concat())?;
    assert!(quiet.status.success() && quiet.stderr.is_empty());
    assert_eq!(quiet.stdout, loud.stdout);
    let absent = folder.path().join("absent");
    let (code, text) = failed(&["--quiet", "convert", word(&absent), "--out", word(&out)])?;
    assert!(code == Some(1) && text.starts_with("error: "), "{text}");
    Ok(())
}

#[test]
fn json_is_one_object_on_standard_output() -> TestResult {
    let folder = tempfile::tempdir()?;
    let model = network(folder.path())?;
    let data = written(folder.path(), "data.csv", "1,0,2,0\n0,1,1,1\n2,1,0,0\n1,1,1,1\n")?;
    let path = |name: &str| word(&folder.path().join(name)).to_owned();
    let (posterior, small, onnx) = (path("p.safetensors"), path("s.safetensors"), path("net.onnx"));
    let told = |arguments: &[&str]| -> Result<Value, Box<dyn std::error::Error>> {
        let text = success(&[arguments, &["--json"]].concat())?;
        let value: Value = serde_json::from_str(&text)?;
        assert!(value.is_object() && text.lines().count() == 1, "{text}");
        Ok(value)
    };
    let made = told(&[
        "posterior",
        &model,
        "--data",
        &data,
        "--task",
        "classification",
        "--method",
        "laplace",
        "--structure",
        "kronecker",
        "--out",
        &posterior,
    ])?;
    assert_eq!((&made["widths"], &made["parameters"]), (&serde_json::json!([3, 2, 2]), &14.into()));
    assert!(made["evidence"]["value"].is_f64() && made["provenance"]["n_examples"] == 4, "{made}");
    let ranked = told(&["rank", "--posterior", &posterior, "--layer", "1", "--by", "greedy"])?;
    assert_eq!(ranked["units"].as_array().map(Vec::len), Some(2));
    let edited =
        told(&["transform", "--posterior", &posterior, "--remove-units", "1:0", "--out", &small])?;
    assert_eq!(edited["after"]["widths"], serde_json::json!([3, 1, 2]));
    assert!(edited["edits"][0]["cost"].is_f64(), "{edited}");
    let written = told(&["convert", &model, "--out", &onnx])?;
    assert_eq!((&written["format"], &written["parameters"]), (&"onnx".into(), &14.into()));
    for (file, kind) in [(&posterior, "posterior"), (&model, "state_dict"), (&onnx, "onnx")] {
        let held = told(&["inspect", file])?;
        assert_eq!(held["kind"], kind, "{held}");
        let parameters = if kind == "posterior" { &held } else { &held["network"] };
        assert_eq!(parameters["parameters"], 14, "{held}");
    }
    // What is no network is said, too.
    let bytes = file(None, &[("embedding", &[2, 2, 2], Numbers::F32(vec![0.0; 8]))]);
    let strange = path("strange.safetensors");
    std::fs::write(&strange, bytes)?;
    let held = told(&["inspect", &strange])?;
    assert!(held["network"].is_null() && held["reason"].is_string(), "{held}");
    Ok(())
}

#[test]
fn completions_know_commands_and_options() -> TestResult {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = success(&["completions", shell])?;
        let dashes = if shell == "fish" { "batch-norm-epsilon" } else { "--batch-norm-epsilon" };
        for part in COMMANDS.into_iter().chain([dashes]) {
            assert!(script.contains(part), "{shell}: {part}");
        }
    }
    let (code, text) = failed(&["completions", "tcsh"])?;
    assert!(code == Some(2) && text.contains("possible values"), "{text}");
    Ok(())
}
