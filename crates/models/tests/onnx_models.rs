//! Whole networks as other programs exported them, against the outputs that those programs gave.
//!
//! `DISTILL_DATA` names the folder whose `models` are read; `ONNX_ZOO` another folder of them, with probes in safetensors
//! files. Without either there is nothing to compare with, and the test says so.

#[path = "common/difference.rs"]
mod difference;
#[path = "common/networks.rs"]
mod networks;
#[path = "common/probes.rs"]
mod probes;

use std::error::Error;
use std::path::Path;

use candle_core::DType;
use difference::difference;
use models::onnx::{DataType, ImportOptions, Model, import};
use networks::{external, network_folders};
use probes::{probe, run};

type TestResult = Result<(), Box<dyn Error>>;

/// Largest difference, as a share of max(1, largest number).
const TOLERANCE: f64 = 1e-5;

/// The same where the other program computed in f16, whose numbers have eleven bits, or in bf16, with eight.
const HALF: f64 = 5e-3;
const BRAIN: f64 = 4e-2;

#[test]
fn networks_of_other_programs_give_their_outputs() -> TestResult {
    let folders = network_folders()?;
    if let Some(data) = std::env::var_os("DISTILL_DATA") {
        let is_there = folders.iter().any(|folder| folder.starts_with(&data));
        assert!(is_there, "DISTILL_DATA has no models");
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

/// Largest difference of the outputs that the probe has.
fn differences(folder: &Path) -> Result<(f64, f64), Box<dyn Error>> {
    let mut external = external(folder);
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
        let numbers = found.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        if numbers.iter().any(|v| !v.is_finite()) {
            return Err(
                format!("output `{}` holds numbers that are not finite", output.name).into()
            );
        }
        worst = worst.max(difference(&found, expected)?);
    }
    if n == 0 {
        return Err("no output of the probe was compared".into());
    }
    Ok((worst, tolerance))
}
