//! Trained perceptrons on disk: this program's `block.t` files and PyTorch state dicts, as safetensors.

mod chain;

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use candle_core::safetensors::Load;
use candle_core::{DType, Device, Tensor};
use core_tensors::Params;
use core_tensors::kernels::Activation;
use models::{Architecture, Mlp};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use crate::files::{Hinted, read};

pub(crate) use chain::natural;

/// A layer as a file holds it.
pub(crate) struct Layer {
    /// Its name without `.weight`, or `block.t`.
    pub(crate) name: String,
    /// n_t: units.
    pub(crate) n_units: usize,
    /// n_{t−1}: inputs.
    pub(crate) n_inputs: usize,
}

/// The layers of a perceptron, input side first.
pub(crate) struct Layers {
    /// In their order.
    pub(crate) layers: Vec<Layer>,
    /// Whether each has a bias.
    pub(crate) bias: bool,
    /// Whether `layers` are `block.t`, the bias the last column.
    is_own: bool,
}

/// A network and its weights.
pub(crate) struct Trained {
    /// f(x, w).
    pub(crate) network: Mlp,
    /// w, f64.
    pub(crate) weights: Params,
    /// Names of the layers, input side first.
    pub(crate) names: Vec<String>,
}

/// Says how to convert what `torch.save` writes.
pub(crate) fn refuse_pickle(path: &Path, bytes: &[u8]) -> Result<()> {
    let is_zip = bytes.starts_with(b"PK\x03\x04");
    // Protocol 2 and newer of a pickle; the length of a safetensors header never begins like this and is sane.
    let is_pickle = bytes.len() > 1 && bytes[0] == 0x80 && (2..=5).contains(&bytes[1]);
    let is_header = SafeTensors::read_metadata(bytes).is_ok();
    if is_header || !(is_zip || is_pickle) {
        return Ok(());
    }
    let quoted = |path: &Path| format!("{:?}", path.display().to_string());
    let (from, to) = (quoted(path), quoted(&path.with_extension("safetensors")));
    let message = format!(
        "{}: wanted a safetensors file, found a pickle of PyTorch; two lines of Python convert a state dict:",
        path.display()
    );
    let hint = format!(
        "import torch; from safetensors.torch import save_file\n\
         save_file({{k: v.contiguous() for k, v in torch.load({from}, map_location=\"cpu\", \
         weights_only=True).items()}}, {to})"
    );
    Err(Hinted { message, hint }.into())
}

/// The tensors of a safetensors file.
pub(crate) fn parse(bytes: &[u8]) -> Result<SafeTensors<'_>> {
    SafeTensors::deserialize(bytes)
        .map_err(|error| anyhow!("not a whole safetensors file: {error}"))
}

impl Trained {
    /// Reads a model. `n_inputs` settles whether a single `block.0` has a bias.
    pub(crate) fn open(
        path: &Path,
        activation: Activation,
        n_inputs: impl FnOnce() -> Result<usize>,
    ) -> Result<Self> {
        let bytes = read(path)?;
        refuse_pickle(path, &bytes)?;
        let load = || -> Result<Self> {
            let file = parse(&bytes)?;
            let layers = match Layers::find(&file, None)? {
                Some(layers) => layers,
                None => Layers::find(&file, Some(n_inputs()?))?
                    .ok_or_else(|| anyhow!("`block.0` fits neither with a bias nor without"))?,
            };
            layers.load(&file, activation)
        };
        load().with_context(|| path.display().to_string())
    }
}

impl Layers {
    /// The layers of a file; `None` where a single `block.0` may or may not have a bias, and only `n_inputs` can tell.
    pub(crate) fn find(file: &SafeTensors, n_inputs: Option<usize>) -> Result<Option<Self>> {
        let mut names: Vec<&str> = file.names();
        names.sort_by(|a, b| natural(a, b));
        if names.is_empty() {
            bail!("holds no tensors");
        }
        match names.iter().all(|name| name.starts_with("block.")) {
            true => Self::own(file, names.len(), n_inputs),
            false => Self::state_dict(file, &names).map(Some),
        }
    }

    /// `block.0`, `block.1`, …
    fn own(file: &SafeTensors, n: usize, n_inputs: Option<usize>) -> Result<Option<Self>> {
        let mut shapes = Vec::with_capacity(n);
        for t in 0..n {
            let name = format!("block.{t}");
            let view = file.tensor(&name).map_err(|_| anyhow!("the tensor `{name}` is missing"))?;
            shapes.push(matrix(&name, &view)?);
        }
        let fits = |bias: usize| {
            let chains = shapes.windows(2).all(|pair| pair[1].1 == pair[0].0 + bias);
            chains && n_inputs.is_none_or(|n| shapes[0].1 == n + bias) && shapes[0].1 > bias
        };
        let bias = match (fits(0), fits(1)) {
            (true, true) => return Ok(None),
            (true, false) => false,
            (false, true) => true,
            (false, false) => bail!(
                "the blocks {shapes:?} are no perceptron: each must have as many columns as the one before has rows, \
                 or one more in each for biases"
            ),
        };
        let layer = |(t, &(n_units, cols)): (usize, &(usize, usize))| Layer {
            name: format!("block.{t}"),
            n_units,
            n_inputs: cols - usize::from(bias),
        };
        let layers = shapes.iter().enumerate().map(layer).collect();
        Ok(Some(Self { layers, bias, is_own: true }))
    }

    /// `*.weight` (out, in) and `*.bias` (out,).
    fn state_dict(file: &SafeTensors, names: &[&str]) -> Result<Self> {
        let mut layers = Vec::new();
        let mut biases = Vec::new();
        for name in names {
            let view = file.tensor(name)?;
            if let Some(prefix) = prefix(name, "weight") {
                let (n_units, n_inputs) = matrix(name, &view)?;
                layers.push(Layer { name: prefix.to_owned(), n_units, n_inputs });
            } else if let Some(prefix) = prefix(name, "bias") {
                biases.push((prefix, view.shape().to_vec()));
            } else {
                bail!(
                    "tensor `{name}` is no `*.weight` or `*.bias` of a dense layer; only perceptrons are read"
                );
            }
        }
        if layers.is_empty() {
            bail!(
                "holds no `*.weight`; wanted a state dict of dense layers, or blocks of this program"
            );
        }
        for (prefix, shape) in &biases {
            let layer = layers.iter().find(|layer| layer.name == *prefix);
            let layer =
                layer.ok_or_else(|| anyhow!("`{}` has no weight", tensor(prefix, "bias")))?;
            if *shape != [layer.n_units] {
                let (name, n) = (tensor(prefix, "bias"), layer.n_units);
                bail!("tensor `{name}` has shape {shape:?}, wanted [{n}]");
            }
        }
        if !biases.is_empty()
            && let Some(bare) = layers.iter().find(|l| biases.iter().all(|(p, _)| *p != l.name))
        {
            bail!(
                "`{}` has no bias, but other layers have; wanted biases in all layers or in none: store zeros where \
                 there is none",
                tensor(&bare.name, "weight")
            );
        }
        Ok(Self { layers: chain::order(layers)?, bias: !biases.is_empty(), is_own: false })
    }

    /// n_0, …, n_T.
    pub(crate) fn widths(&self) -> Vec<usize> {
        let inputs = self.layers.first().map(|layer| layer.n_inputs);
        inputs.into_iter().chain(self.layers.iter().map(|layer| layer.n_units)).collect()
    }

    fn load(self, file: &SafeTensors, activation: Activation) -> Result<Trained> {
        let network = Mlp { widths: self.widths(), activation, bias: self.bias };
        let mut blocks = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let whole = match self.is_own {
                true => numbers(file, &layer.name)?,
                false => {
                    let weight = numbers(file, &tensor(&layer.name, "weight"))?; // (out, in)
                    match self.bias {
                        false => weight,
                        true => {
                            let bias = numbers(file, &tensor(&layer.name, "bias"))?;
                            Tensor::cat(&[&weight, &bias.unsqueeze(1)?], 1)? // (out, in + 1)
                        }
                    }
                }
            };
            blocks.push(whole);
        }
        let weights = Params::new(network.layout(), blocks)?;
        let names = self.layers.into_iter().map(|layer| layer.name).collect();
        Ok(Trained { network, weights, names })
    }
}

/// `prefix` of `prefix.kind`; empty for a bare `kind`.
fn prefix<'a>(name: &'a str, kind: &str) -> Option<&'a str> {
    match name.strip_suffix(kind)? {
        "" => Some(""),
        rest => rest.strip_suffix('.'),
    }
}

fn tensor(prefix: &str, kind: &str) -> String {
    if prefix.is_empty() { kind.to_owned() } else { format!("{prefix}.{kind}") }
}

/// Rows and columns of a weight; refuses what belongs to another kind of layer.
fn matrix(name: &str, view: &TensorView) -> Result<(usize, usize)> {
    match *view.shape() {
        [rows, cols] if rows > 0 && cols > 0 => Ok((rows, cols)),
        ref shape => {
            let what = match shape.len() {
                0 | 1 => "a scale or a normalisation",
                2 => "an empty matrix",
                3..=5 => "a convolution",
                _ => "no matrix",
            };
            bail!(
                "tensor `{name}` has shape {shape:?}: {what}; only dense layers (out, in) are read"
            )
        }
    }
}

/// Finite numbers of a tensor in f64.
fn numbers(file: &SafeTensors, name: &str) -> Result<Tensor> {
    use safetensors::Dtype::{BF16, F16, F32, F64};
    let view = file.tensor(name)?;
    if !matches!(view.dtype(), F16 | BF16 | F32 | F64) {
        bail!("tensor `{name}` holds {:?}, wanted F16, BF16, F32 or F64", view.dtype());
    }
    let values = view.load(&Device::Cpu)?.to_dtype(DType::F64)?;
    let flat = values.flatten_all()?.to_vec1::<f64>()?;
    if let Some(at) = flat.iter().position(|value| !value.is_finite()) {
        bail!("tensor `{name}` holds {} at place {at}, wanted finite numbers", flat[at]);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_at_the_last_dot() {
        assert_eq!(prefix("net.0.weight", "weight"), Some("net.0"));
        assert_eq!(prefix("weight", "weight"), Some(""));
        assert_eq!(prefix("rnn.my_weight", "weight"), None);
        assert_eq!(tensor("", "bias"), "bias");
    }

    #[test]
    fn a_single_block_needs_the_inputs_to_tell_its_bias() {
        let block = Tensor::zeros((2, 4), DType::F32, &Device::Cpu).unwrap();
        let bytes = safetensors::serialize([("block.0", &block)], None).unwrap();
        let file = parse(&bytes).unwrap();
        assert!(Layers::find(&file, None).unwrap().is_none());
        assert!(Layers::find(&file, Some(3)).unwrap().unwrap().bias);
        assert!(!Layers::find(&file, Some(4)).unwrap().unwrap().bias);
        assert!(Layers::find(&file, Some(5)).is_err());
    }
}
