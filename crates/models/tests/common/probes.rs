//! What goes into networks of other programs, and what comes out.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use candle_core::npy::NpzTensors;
use candle_core::{Device, Tensor};
use models::onnx::Imported;

type Outcome<T> = Result<T, Box<dyn Error>>;

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
