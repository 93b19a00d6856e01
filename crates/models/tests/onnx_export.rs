//! Graphs as new ONNX files: what is read back computes the same.
//!
//! `ONNX_OPERATORS`, `ONNX_ZOO` and `DISTILL_DATA` name more cases; `ONNX_EXPORTED` a folder for the files, which other
//! programs may then read.

#[path = "common/cases.rs"]
mod cases;
#[path = "common/difference.rs"]
mod difference;

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;

use candle_core::Tensor;
use models::onnx::{ExportOptions, ImportOptions, Imported, Model, export, import, no_external};

type TestResult = Result<(), Box<dyn Error>>;

/// Largest difference where an operator is spelled otherwise than it was, as a share of max(1, largest number).
const TOLERANCE: f64 = 1e-6;

/// Operators that the older operator set spells out; all others give the same bits.
const SPELLED_OUT: [&str; 3] = ["Gelu", "Mish", "GroupNormalization"];

#[test]
fn every_operator_comes_back() -> TestResult {
    let cases = cases::operator_cases()?;
    let (mut wrong, mut n) = (Vec::new(), 0);
    for case in &cases {
        let model = Model::parse(case.model()?)?;
        for output in case.outputs.keys() {
            let options =
                ImportOptions { output: Some(output.clone()), ..ImportOptions::default() };
            // Another test says which operators are read.
            let Ok(read) = import(&model, &mut no_external, &options) else { continue };
            let expected = cases::run(&read, &case.inputs()?)?;
            for opset in [None, Some(21)] {
                let name = format!("{}.{output}.{}", case.name, opset.unwrap_or(17));
                let is_same = !SPELLED_OUT.contains(&case.operator.as_str());
                n += 1;
                match comes_back(&read, &case.inputs()?, &expected, opset, &name) {
                    Ok(worst) if worst <= if is_same { 0.0 } else { TOLERANCE } => {}
                    Ok(worst) => wrong.push(format!("{name}: differs by {worst:e}")),
                    Err(error) => wrong.push(format!("{name}: {error}")),
                }
            }
        }
    }
    let n_wrong = wrong.len();
    wrong.truncate(60);
    assert!(wrong.is_empty(), "{n_wrong} of {n} files:\n{}", wrong.join("\n"));
    assert!(n > 1000, "only {n} files");
    Ok(())
}

#[test]
fn whole_networks_come_back() -> TestResult {
    let (mut wrong, mut n) = (Vec::new(), 0);
    for folder in cases::network_folders()? {
        let model = Model::parse(std::fs::read(folder.join("model.onnx"))?)?;
        let Ok(read) = import(&model, &mut cases::external(&folder), &ImportOptions::default())
        else {
            continue;
        };
        let probe = cases::probe(&folder)?;
        let expected = cases::run(&read, &probe)?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        n += 1;
        match comes_back(&read, &probe, &expected, None, &name) {
            Ok(worst) if worst <= TOLERANCE => {}
            Ok(worst) => wrong.push(format!("{name}: differs by {worst:e}")),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {n} networks:\n{}", wrong.len(), wrong.join("\n"));
    println!("{n} networks written and read");
    Ok(())
}

/// Writes and reads a network; gives the largest difference of the logits.
fn comes_back(
    read: &Imported,
    inputs: &HashMap<String, Tensor>,
    expected: &Tensor,
    opset: Option<i64>,
    name: &str,
) -> Result<f64, Box<dyn Error>> {
    let options = ExportOptions { opset, ..ExportOptions::default() };
    let bytes = export(&read.graph, &read.params, &options)?;
    if let Some(folder) = std::env::var_os("ONNX_EXPORTED") {
        std::fs::write(PathBuf::from(folder).join(format!("{name}.onnx")), &bytes)?;
    }
    let model = Model::parse(bytes)?;
    let output = model.outputs().first().map(|output| output.name.clone());
    let options = ImportOptions { output, ..ImportOptions::default() };
    let again = import(&model, &mut no_external, &options)?;
    let found = cases::run(&again, inputs)?;
    if found.dims() != expected.dims() {
        return Err(format!("shape {:?}, wanted {:?}", found.dims(), expected.dims()).into());
    }
    difference::difference(&found, expected)
}
