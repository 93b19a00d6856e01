//! Every operator that is read, against ONNX Runtime: `tests/reference/onnx_operators.py` made the cases.
//!
//! `ONNX_OPERATORS` names a larger file of the same script.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use candle_core::{DType, Device, Tensor};
use models::onnx::{ImportOptions, Model, import, no_external};
use serde::Deserialize;

type TestResult = Result<(), Box<dyn Error>>;

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    operator: String,
    name: String,
    model: String,
    inputs: BTreeMap<String, Numbers>,
    outputs: BTreeMap<String, Numbers>,
}

#[derive(Deserialize)]
struct Numbers {
    shape: Vec<usize>,
    data: String,
}

impl Numbers {
    fn tensor(&self) -> Result<Tensor, Box<dyn Error>> {
        let bytes = BASE64_STANDARD.decode(&self.data)?;
        let (chunks, _) = bytes.as_chunks();
        let values: Vec<f32> = chunks.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect();
        Ok(Tensor::from_vec(values, self.shape.as_slice(), &Device::Cpu)?)
    }
}

/// Operators of the script that are not read.
const NOT_READ: [&str; 2] = ["CumSum", "GatherElements"];

/// Largest difference that rounding makes, as a share of max(1, largest number).
const TOLERANCE: f64 = 1e-5;

#[test]
fn every_operator_agrees_with_onnx_runtime() -> TestResult {
    let text = match std::env::var_os("ONNX_OPERATORS") {
        Some(path) => std::fs::read_to_string(path)?,
        None => include_str!("../../../tests/reference/onnx_operators.json").to_owned(),
    };
    let file: File = serde_json::from_str(&text)?;
    let (mut wrong, mut not_read) = (Vec::new(), BTreeSet::new());
    for case in &file.cases {
        match differences(case) {
            Ok(worst) if worst <= TOLERANCE => {}
            Ok(worst) => wrong.push(format!("{}: differs by {worst:e}", case.name)),
            Err(error) if NOT_READ.contains(&case.operator.as_str()) => {
                assert!(error.to_string().contains("this operator is not read"), "{error}");
                not_read.insert(case.operator.as_str());
            }
            Err(error) => wrong.push(format!("{}: {error}", case.name)),
        }
    }
    assert_eq!(not_read.into_iter().collect::<Vec<_>>(), NOT_READ);
    let n = wrong.len();
    wrong.truncate(60);
    assert!(wrong.is_empty(), "{n} of {} cases:\n{}", file.cases.len(), wrong.join("\n"));
    Ok(())
}

/// Largest difference of all outputs, as a share of max(1, largest number).
fn differences(case: &Case) -> Result<f64, Box<dyn Error>> {
    let model = Model::parse(BASE64_STANDARD.decode(&case.model)?)?;
    let mut worst = 0.0f64;
    for (name, expected) in &case.outputs {
        let options = ImportOptions { output: Some(name.clone()), ..ImportOptions::default() };
        let read = import(&model, &mut no_external, &options)?;
        let inputs: Vec<Tensor> = read
            .graph
            .inputs()
            .iter()
            .map(|&id| case.inputs[&read.graph.value(id).name].tensor())
            .collect::<Result<_, _>>()?;
        let found = read.graph.run(&read.params, &inputs)?;
        let found = found.first().ok_or("no output")?;
        if found.dims() != expected.shape {
            let message = format!("shape {:?}, wanted {:?}", found.dims(), expected.shape);
            return Err(message.into());
        }
        let found = found.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let expected = expected.tensor()?.flatten_all()?.to_vec1::<f32>()?;
        let finite = expected.iter().filter(|v| v.is_finite());
        let size = finite.fold(1.0f64, |most, v| most.max(f64::from(v.abs())));
        for (&a, &b) in found.iter().zip(&expected) {
            let is_same = a == b || a.is_nan() && b.is_nan();
            let difference = if is_same { 0.0 } else { f64::from(a - b).abs() / size };
            worst = worst.max(if difference.is_nan() { f64::INFINITY } else { difference });
        }
    }
    Ok(worst)
}
