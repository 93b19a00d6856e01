//! A perceptron as a state dict that PyTorch loads, and what such a file says of its activation.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Tensor};
use core_tensors::kernels::Activation;
use serde::{Deserialize, Serialize};

use crate::files::write_described_tensors;
use crate::model_file::Trained;

/// Key of the metadata of a state dict that this program wrote.
const KEY: &str = "distill.network";

/// What PyTorch's state dict does not say.
#[derive(Serialize, Deserialize)]
struct Said {
    /// relu, leaky_relu, tanh, sigmoid, silu, gelu or identity.
    activation: String,
    /// Of a leaky ReLU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slope: Option<f64>,
    /// Names of the layers in the file that they came from.
    #[serde(default)]
    layers: Vec<String>,
    /// What the network was made from: the SHA-256 of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
}

/// The bytes of a safetensors file with `layers.0.weight` (out, in), `layers.0.bias` (out,), and so on, as
/// `torch.nn.Module.load_state_dict(safetensors.torch.load_file(path))` takes them for a module whose `layers` is a list of
/// `torch.nn.Linear`.
///
/// Its metadata say `format: pt`, the activation, which is read back, what it was made from, and what was `carried` over.
pub(crate) fn state_dict(
    trained: &Trained,
    dtype: DType,
    parent: Option<&str>,
    carried: Vec<(String, String)>,
) -> Result<Vec<u8>> {
    let network = &trained.network;
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    for (t, block) in trained.weights.blocks().iter().enumerate() {
        let n_inputs = network.widths[t];
        let block = block.to_dtype(dtype)?;
        tensors.push((format!("layers.{t}.weight"), block.narrow(1, 0, n_inputs)?.contiguous()?));
        if network.bias {
            let bias = block.narrow(1, n_inputs, 1)?.squeeze(1)?.contiguous()?;
            tensors.push((format!("layers.{t}.bias"), bias));
        }
    }
    let mut bytes = Vec::new();
    let mut about = about(trained, parent)?;
    about.extend(carried);
    write_described_tensors(&tensors, Some(about), &mut bytes)?;
    Ok(bytes)
}

/// What the metadata of a state dict say: that PyTorch reads it, the activation, and what it was made from.
pub(crate) fn about(trained: &Trained, parent: Option<&str>) -> Result<HashMap<String, String>> {
    let activation = trained.network.activation;
    let said = Said {
        activation: activation.name().into(),
        slope: activation.slope(),
        layers: trained.names.clone(),
        parent: parent.map(str::to_owned),
    };
    let format = ("format".to_owned(), "pt".to_owned());
    Ok([format, (KEY.into(), serde_json::to_string(&said)?)].into())
}

/// The activation that a file of this program says.
pub(super) fn activation(about: &HashMap<String, String>) -> Result<Option<Activation>> {
    let Some(text) = about.get(KEY) else { return Ok(None) };
    let said: Said = serde_json::from_str(text).with_context(|| format!("its metadata `{KEY}`"))?;
    match Activation::from_name(&said.activation, said.slope) {
        Some(activation) => Ok(Some(activation)),
        None => bail!(
            "its metadata `{KEY}` say the activation `{}` of slope {:?}, wanted relu, leaky_relu with a slope in (0, 1), \
             tanh, sigmoid, silu, gelu or identity",
            said.activation,
            said.slope
        ),
    }
}
