//! Whole networks as other programs exported them, against the outputs that those programs gave.
//!
//! `DISTILL_DATA` names the folder whose `models` are read; `ONNX_ZOO` another folder of them, with probes in safetensors
//! files. Without either there is nothing to compare with, and the test says so.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use candle_core::npy::NpzTensors;
use candle_core::{DType, Device, Tensor};
use models::onnx::{DataType, ExternalError, ImportOptions, Imported, Model, import};

type TestResult = Result<(), Box<dyn Error>>;

/// Largest difference, as a share of max(1, largest number).
const TOLERANCE: f64 = 1e-5;

/// The same where the other program computed in f16, whose numbers have eleven bits, or in bf16, with eight.
const HALF: f64 = 5e-3;
const BRAIN: f64 = 4e-2;

#[test]
fn networks_of_other_programs_give_their_outputs() -> TestResult {
    let mut folders = Vec::new();
    if let Some(data) = std::env::var_os("DISTILL_DATA") {
        folders.extend(folders_of(&PathBuf::from(data).join("models"))?);
        assert!(!folders.is_empty(), "DISTILL_DATA has no models");
    }
    if let Some(zoo) = std::env::var_os("ONNX_ZOO") {
        folders.extend(folders_of(&PathBuf::from(zoo))?);
    }
    let mut wrong = Vec::new();
    for folder in &folders {
        match differences(folder) {
            Ok((worst, tolerance)) if worst <= tolerance => {}
            Ok((worst, _)) => wrong.push(format!("{}: differs by {worst:e}", folder.display())),
            Err(error) => wrong.push(format!("{}: {error}", folder.display())),
        }
    }
    let n = wrong.len();
    assert!(wrong.is_empty(), "{n} of {} networks:\n{}", folders.len(), wrong.join("\n"));
    println!("{} networks compared", folders.len());
    Ok(())
}

fn folders_of(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let has_probe =
            ["probe.npz", "probe.safetensors"].iter().any(|name| path.join(name).exists());
        if has_probe && path.join("model.onnx").exists() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

/// Largest difference of the outputs that the probe has.
fn differences(folder: &Path) -> Result<(f64, f64), Box<dyn Error>> {
    let mut external = |location: &str, offset: u64, n: usize| -> Result<Vec<u8>, ExternalError> {
        let bytes = std::fs::read(folder.join(location))?;
        let start = usize::try_from(offset)?;
        Ok(bytes.get(start..start + n).ok_or("the file is too short")?.to_vec())
    };
    let probe = probe(folder)?;
    let model = Model::parse(std::fs::read(folder.join("model.onnx"))?)?;
    let has = |wanted| model.initializers().iter().any(|tensor| tensor.data_type == wanted);
    let tolerance = match () {
        () if has(DataType::BF16) => BRAIN,
        () if has(DataType::F16) => HALF,
        () => TOLERANCE,
    };
    let mut worst = 0.0f64;
    let mut n = 0;
    for output in model.outputs() {
        let Some(expected) = probe.get(&output.name) else { continue };
        let options =
            ImportOptions { output: Some(output.name.clone()), ..ImportOptions::default() };
        let read = match import(&model, &mut external, &options) {
            Ok(read) => read,
            // What stands behind the logits, such as labels, is carried along unread.
            Err(_) if import(&model, &mut external, &ImportOptions::default()).is_ok() => continue,
            Err(error) => return Err(error.into()),
        };
        let found = run(&read, &probe)?;
        n += 1;
        let (found, expected) = (flat(&found)?, flat(expected)?);
        if found.len() != expected.len() {
            return Err(format!("{} numbers, wanted {}", found.len(), expected.len()).into());
        }
        let size = expected.iter().fold(1.0f64, |most, v| most.max(f64::from(v.abs())));
        for (a, b) in found.iter().zip(&expected) {
            let difference = f64::from(a - b).abs() / size;
            worst = worst.max(if difference.is_nan() { f64::INFINITY } else { difference });
        }
    }
    if n == 0 {
        return Err("no output of the probe was compared".into());
    }
    Ok((worst, tolerance))
}

fn run(read: &Imported, probe: &HashMap<String, Tensor>) -> Result<Tensor, Box<dyn Error>> {
    let inputs = read.graph.inputs().iter().map(|&id| {
        let name = &read.graph.value(id).name;
        probe.get(name).cloned().ok_or_else(|| format!("the probe has no `{name}`"))
    });
    let inputs: Vec<Tensor> = inputs.collect::<Result<_, _>>()?;
    let outputs = read.graph.run(&read.params, &inputs)?;
    Ok(outputs.into_iter().next().ok_or("no output")?)
}

/// Inputs and outputs by their names in the graph.
fn probe(folder: &Path) -> Result<HashMap<String, Tensor>, Box<dyn Error>> {
    let npz = folder.join("probe.npz");
    if npz.exists() {
        let file = NpzTensors::new(&npz)?;
        let names: Vec<String> = file.names().into_iter().cloned().collect();
        let read = |name: String| Ok(file.get(&name)?.map(|tensor| (name, tensor)));
        return names.into_iter().filter_map(|name| read(name).transpose()).collect();
    }
    let tensors = candle_core::safetensors::load(folder.join("probe.safetensors"), &Device::Cpu)?;
    // ONNX Runtime's outputs, where it has run the network, come last and win.
    let mut sorted: Vec<(String, Tensor)> = tensors.into_iter().collect();
    sorted.sort_by_key(|(name, _)| name.starts_with("onnxruntime."));
    let prefixes = ["onnxruntime.", "torch.", "sklearn."];
    let named = sorted.into_iter().map(|(name, tensor)| {
        let short = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
        (short.unwrap_or(&name).to_owned(), tensor)
    });
    Ok(named.collect())
}

fn flat(tensor: &Tensor) -> Result<Vec<f32>, Box<dyn Error>> {
    Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}
