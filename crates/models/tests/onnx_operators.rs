//! Every operator that is read, against ONNX Runtime: `tests/reference/onnx_operators.py` made the cases.
//!
//! `ONNX_OPERATORS` names a larger file of the same script.

#[path = "common/difference.rs"]
mod difference;
#[path = "common/operators.rs"]
mod operators;

use std::collections::BTreeSet;
use std::error::Error;

use candle_core::Tensor;
use difference::difference;
use models::onnx::{ImportOptions, Model, import, no_external};
use operators::{Case, operator_cases};

type TestResult = Result<(), Box<dyn Error>>;

/// Operators of the script that are not read.
const NOT_READ: [&str; 2] = ["CumSum", "GatherElements"];

/// Largest difference that rounding makes, as a share of max(1, largest number).
const TOLERANCE: f64 = 1e-5;

#[test]
fn every_operator_agrees_with_onnx_runtime() -> TestResult {
    let cases = operator_cases()?;
    let (mut wrong, mut not_read) = (Vec::new(), BTreeSet::new());
    for case in &cases {
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
    assert!(wrong.is_empty(), "{n} of {} cases:\n{}", cases.len(), wrong.join("\n"));
    Ok(())
}

/// Largest difference of all outputs, as a share of max(1, largest number).
fn differences(case: &Case) -> Result<f64, Box<dyn Error>> {
    let model = Model::parse(case.model()?)?;
    let given = case.inputs()?;
    let mut worst = 0.0f64;
    for (name, expected) in &case.outputs {
        let options = ImportOptions { output: Some(name.clone()), ..ImportOptions::default() };
        let read = import(&model, &mut no_external, &options)?;
        let inputs: Vec<Tensor> = read
            .graph
            .inputs()
            .iter()
            .map(|&id| given[&read.graph.value(id).name].clone())
            .collect();
        let found = read.graph.run(&read.params, &inputs)?;
        let found = found.first().ok_or("no output")?;
        let expected = expected.tensor()?;
        if found.dims() != expected.dims() {
            let message = format!("shape {:?}, wanted {:?}", found.dims(), expected.dims());
            return Err(message.into());
        }
        worst = worst.max(difference(found, &expected)?);
    }
    Ok(worst)
}
