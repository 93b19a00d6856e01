//! Files of PyTorch and NumPy through the commands that take a network.

mod files;

use std::error::Error;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use files::{TestResult, distill, failure, success, word};
use flate2::read::ZlibDecoder;
use serde_json::Value;

/// A file that `tests/reference/state_dicts.py` wrote, under a name that says nothing.
fn file_of(case: &str, folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/state_dicts.json");
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path)?)?;
    let found = cases.iter().find(|found| found["name"] == case).ok_or("no such case")?;
    let packed = STANDARD.decode(found["file"].as_str().ok_or("no file")?)?;
    let mut bytes = Vec::new();
    ZlibDecoder::new(&packed[..]).read_to_end(&mut bytes)?;
    let path = folder.join("weights.bin");
    std::fs::write(&path, bytes)?;
    Ok(path)
}

/// Three features and a class of two, four examples of each.
fn data_in(folder: &Path) -> std::io::Result<PathBuf> {
    let rows = (0..8).map(|i| format!("{},{},{},{}\n", i % 3, i % 5, i, i % 2));
    let path = folder.join("data.csv");
    std::fs::write(&path, rows.collect::<String>())?;
    Ok(path)
}

#[test]
fn a_checkpoint_becomes_a_posterior_by_its_content() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (data, out) = (data_in(folder.path())?, folder.path().join("posterior.safetensors"));
    let mut likelihoods = Vec::new();
    for case in ["checkpoint", "legacy", "npz", "safetensors"] {
        let model = file_of(case, folder.path())?;
        let told = success(&["inspect", word(&model)])?;
        assert!(told.contains("perceptron [3, 5, 4, 2] with biases"), "{told}");
        let arguments = ["posterior", word(&model), "--data", word(&data), "--out", word(&out)];
        let task = ["--task", "classification", "--method", "laplace", "--structure", "diagonal"];
        let output = distill(&[&arguments[..], &task, &["--activation", "tanh"]].concat())?;
        let (told, notes) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        assert!(output.status.success(), "{notes}");
        assert!(!notes.contains("relu"), "{notes}");
        if case == "checkpoint" {
            assert!(notes.contains("left out `epoch`") && notes.contains("`optimizer`"), "{notes}");
        } else {
            let line = told.lines().find(|line| line.starts_with("log-likelihood"));
            likelihoods.push(line.map(str::to_owned));
        }
        assert!(success(&["inspect", word(&out)])?.contains("tanh"));
    }
    assert!(likelihoods.iter().all(|line| line.is_some() && *line == likelihoods[0]));
    Ok(())
}

#[test]
fn one_of_two_networks_is_chosen_in_every_command() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (data, model) = (data_in(folder.path())?, file_of("EMA copy", folder.path())?);
    let told = success(&["inspect", word(&model)])?;
    assert!(told.contains("no perceptron") && told.contains("2 networks"), "{told}");
    let told = success(&["inspect", word(&model), "--prefix", "online"])?;
    assert!(told.contains("perceptron [3, 5, 4, 2]"), "{told}");
    let out = folder.path().join("mapped");
    let map = ["map", "--kind", "identity", "--data", word(&data), "--target", "4"];
    let map = [&map[..], &["--out", word(&out)]].concat();
    let teacher = ["--teacher", word(&model)];
    let (status, line) = failure(&[&map[..], &teacher].concat())?;
    assert!(status == 1 && line.contains("--prefix ema"), "{line}");
    let told = success(&[&map[..], &teacher, &["--prefix", "online"]].concat())?;
    assert!(told.contains("teacher's accuracy"), "{told}");
    let (status, line) = failure(&[&map[..], &["--prefix", "online"]].concat())?;
    assert!(status == 2 && line.contains("--prefix: wanted --teacher"), "{line}");
    Ok(())
}

#[test]
fn code_is_refused_by_every_command() -> TestResult {
    let folder = tempfile::tempdir()?;
    let data = data_in(folder.path())?;
    for (case, part) in [("whole module", "Sequential"), ("code", "posix.system")] {
        let model = file_of(case, folder.path())?;
        let (status, line) = failure(&["inspect", word(&model)])?;
        assert!(status == 1 && line.contains(part) && line.contains("state_dict()"), "{line}");
        let out = folder.path().join("out.safetensors");
        let arguments = ["posterior", word(&model), "--data", word(&data), "--out", word(&out)];
        let task = ["--task", "classification", "--method", "laplace", "--structure", "full"];
        let (status, line) = failure(&[&arguments[..], &task].concat())?;
        assert!(status == 1 && line.contains(part) && line.contains("weights.bin"), "{line}");
        assert!(!out.exists());
    }
    Ok(())
}
