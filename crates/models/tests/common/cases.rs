//! Cases that other programs made: single operators of `tests/reference/onnx_operators.py`, and whole networks.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use candle_core::npy::NpzTensors;
use candle_core::{Device, Tensor};
use models::onnx::{ExternalError, Imported};
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

/// Folders of whole networks with probes: those of `DISTILL_DATA`'s `models`, and of `ONNX_ZOO`; none without either.
pub(crate) fn network_folders() -> Outcome<Vec<PathBuf>> {
    let mut places = Vec::new();
    places.extend(std::env::var_os("DISTILL_DATA").map(|data| PathBuf::from(data).join("models")));
    places.extend(std::env::var_os("ONNX_ZOO").map(PathBuf::from));
    let mut folders = Vec::new();
    for place in places {
        for entry in std::fs::read_dir(place)? {
            let path = entry?.path();
            let has_probe =
                ["probe.npz", "probe.safetensors"].iter().any(|name| path.join(name).exists());
            if has_probe && path.join("model.onnx").exists() {
                folders.push(path);
            }
        }
    }
    folders.sort();
    Ok(folders)
}

/// Inputs and outputs of a network by their names; the outputs as the best of other programs gave them.
pub(crate) fn probe(folder: &Path) -> Outcome<HashMap<String, Tensor>> {
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

/// Reads the external data of a network.
pub(crate) fn external(
    folder: &Path,
) -> impl FnMut(&str, u64, usize) -> Result<Vec<u8>, ExternalError> + '_ {
    move |location, offset, n| {
        let bytes = std::fs::read(folder.join(location))?;
        let start = usize::try_from(offset)?;
        Ok(bytes.get(start..start + n).ok_or("the file is too short")?.to_vec())
    }
}

/// The first output of a network for inputs by their names.
pub(crate) fn run(read: &Imported, inputs: &HashMap<String, Tensor>) -> Outcome<Tensor> {
    let inputs = read.graph.inputs().iter().map(|&id| {
        let name = &read.graph.value(id).name;
        inputs.get(name).cloned().ok_or_else(|| format!("there is no `{name}`"))
    });
    let inputs: Vec<Tensor> = inputs.collect::<Result<_, _>>()?;
    let outputs = read.graph.run(&read.params, &inputs)?;
    Ok(outputs.into_iter().next().ok_or("no output")?)
}
