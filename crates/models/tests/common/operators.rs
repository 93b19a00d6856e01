//! Models of single operators, which `tests/reference/onnx_operators.py` made.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use candle_core::{Device, Tensor};
use serde::Deserialize;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Models of one operator or a few.
pub(crate) fn operator_cases() -> Outcome<Vec<Case>> {
    #[derive(Deserialize)]
    struct File {
        cases: Vec<Case>,
    }
    let text = match std::env::var_os("ONNX_OPERATORS") {
        Some(path) => std::fs::read_to_string(path)?,
        None => include_str!("../../../../tests/reference/onnx_operators.json").to_owned(),
    };
    Ok(serde_json::from_str::<File>(&text)?.cases)
}

/// One of them.
#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) operator: String,
    pub(crate) name: String,
    model: String,
    inputs: BTreeMap<String, Numbers>,
    pub(crate) outputs: BTreeMap<String, Numbers>,
}

/// A tensor of f32.
#[derive(Deserialize)]
pub(crate) struct Numbers {
    shape: Vec<usize>,
    data: String,
}

impl Case {
    pub(crate) fn model(&self) -> Outcome<Vec<u8>> {
        Ok(BASE64_STANDARD.decode(&self.model)?)
    }

    pub(crate) fn inputs(&self) -> Outcome<HashMap<String, Tensor>> {
        self.inputs.iter().map(|(name, numbers)| Ok((name.clone(), numbers.tensor()?))).collect()
    }
}

impl Numbers {
    pub(crate) fn tensor(&self) -> Outcome<Tensor> {
        let bytes = BASE64_STANDARD.decode(&self.data)?;
        let (chunks, _) = bytes.as_chunks();
        let values: Vec<f32> = chunks.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect();
        Ok(Tensor::from_vec(values, self.shape.as_slice(), &Device::Cpu)?)
    }
}
