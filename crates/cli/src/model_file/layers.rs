//! The dense layers of a file: blocks of this program, or `*.weight` and `*.bias` of a PyTorch state dict.

use anyhow::{Result, anyhow, bail};
use candle_core::Tensor;
use core_tensors::Params;
use core_tensors::kernels::Activation;
use models::{Architecture, Mlp};
use safetensors::{Dtype, SafeTensors};

use super::layer::{Layer, widths};
use super::tensors::{matrix, numbers};
use super::{Trained, natural, networks, order};

/// The layers of a perceptron, input side first.
#[derive(Debug)]
pub(crate) struct Layers {
    /// In their order.
    pub(crate) layers: Vec<Layer>,
    /// Whether each has a bias.
    pub(crate) bias: bool,
    /// What was assumed, or left out, and is to be said.
    pub(crate) notes: Vec<String>,
    /// Whether `layers` are `block.t`, the bias the last column.
    is_own: bool,
}

/// Length of a bias by the name of its layer.
type Biases<'a> = Vec<(&'a str, Vec<usize>)>;

impl Layers {
    /// The layers of a file, or those of them that are `asked` for; `n_inputs` are the features of the data, where there
    /// are some.
    ///
    /// `None` where a single `block.0` may or may not have a bias, and only `n_inputs` can tell.
    pub(crate) fn find(
        file: &SafeTensors,
        asked: &[String],
        n_inputs: Option<usize>,
    ) -> Result<Option<Self>> {
        let mut names: Vec<&str> = file.names();
        names.sort_by(|a, b| natural(a, b));
        if names.is_empty() {
            bail!("holds no tensors");
        }
        let is_own = names.iter().all(|name| name.starts_with("block."));
        match is_own && asked.is_empty() {
            true => Self::own(file, names.len(), n_inputs),
            false => Self::state_dict(file, &names, asked, n_inputs).map(Some),
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
        Ok(Some(Self { layers, bias, notes: Vec::new(), is_own: true }))
    }

    /// `*.weight` (out, in) and `*.bias` (out,).
    fn state_dict(
        file: &SafeTensors,
        names: &[&str],
        asked: &[String],
        n_inputs: Option<usize>,
    ) -> Result<Self> {
        let is_asked = |prefix: &str| asked.is_empty() || asked.iter().any(|name| name == prefix);
        let (mut layers, mut biases, mut counters) = (Vec::new(), Biases::new(), Vec::new());
        for name in names {
            let view = file.tensor(name)?;
            if let Some(prefix) = prefix(name, "weight") {
                if is_asked(prefix) {
                    let (n_units, n_inputs) = matrix(name, &view)?;
                    layers.push(Layer { name: prefix.to_owned(), n_units, n_inputs });
                }
            } else if let Some(prefix) = prefix(name, "bias") {
                if is_asked(prefix) {
                    biases.push((prefix, view.shape().to_vec()));
                }
            } else if is_counter(view.dtype(), view.shape()) {
                counters.push(format!("`{name}`"));
            } else if asked.is_empty() {
                bail!(
                    "tensor `{name}` is no `*.weight` or `*.bias` of a dense layer: {}",
                    what(name)
                );
            }
        }
        if layers.is_empty() && asked.is_empty() {
            bail!(
                "holds no `*.weight`; wanted a state dict of dense layers, or blocks of this program"
            );
        }
        check_biases(&layers, &biases)?;
        let mut notes = Vec::new();
        if !counters.is_empty() {
            notes.push(format!("left out {}: counters, not weights", counters.join(", ")));
        }
        let layers = match asked {
            [] => {
                networks::refuse_several(&layers)?;
                let found = order::order(layers, n_inputs)?;
                notes.extend(found.note);
                found.layers
            }
            asked => order::as_asked(&layers, asked)?,
        };
        Ok(Self { layers, bias: !biases.is_empty(), notes, is_own: false })
    }

    /// n_0, …, n_T.
    pub(crate) fn widths(&self) -> Vec<usize> {
        widths(&self.layers)
    }

    pub(super) fn load(self, file: &SafeTensors, activation: Activation) -> Result<Trained> {
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

/// Every bias has a layer, and every layer one, or none has.
fn check_biases(layers: &[Layer], biases: &Biases) -> Result<()> {
    for (prefix, shape) in biases {
        let name = tensor(prefix, "bias");
        let layer = layers.iter().find(|layer| layer.name == *prefix);
        let layer = layer.ok_or_else(|| anyhow!("`{name}` has no weight"))?;
        let Layer { n_units, n_inputs, .. } = *layer;
        if *shape == [n_units] {
            continue;
        }
        let hint = match *shape == [n_inputs] {
            true => "; its weight seems to be stored as (inputs, outputs): transpose it",
            false => "",
        };
        bail!("tensor `{name}` has shape {shape:?}, wanted [{n_units}]{hint}");
    }
    let bare = layers.iter().find(|layer| biases.iter().all(|(prefix, _)| *prefix != layer.name));
    match bare {
        Some(bare) if !biases.is_empty() => bail!(
            "`{}` has no bias, but other layers have; wanted biases in all layers or in none: store zeros where \
             there is none",
            tensor(&bare.name, "weight")
        ),
        _ => Ok(()),
    }
}

/// Whether a tensor counts something, such as the steps of an average: one whole number.
fn is_counter(dtype: Dtype, shape: &[usize]) -> bool {
    let is_whole = matches!(
        dtype,
        Dtype::BOOL
            | Dtype::I8
            | Dtype::U8
            | Dtype::I16
            | Dtype::U16
            | Dtype::I32
            | Dtype::U32
            | Dtype::I64
            | Dtype::U64
    );
    is_whole && shape.iter().product::<usize>() <= 1
}

/// What a tensor that belongs to no dense layer seems to be, and what to do about it.
fn what(name: &str) -> &'static str {
    let last = name.rsplit('.').next().unwrap_or(name);
    match last {
        "weight_mask" | "bias_mask" => PRUNED,
        "weight_orig" | "bias_orig" => PRUNED,
        "weight_g" | "weight_v" | "original0" | "original1" => {
            "a weight that is computed from parts (weight normalization); \
             torch.nn.utils.parametrize.remove_parametrizations makes it plain before saving"
        }
        "weight_u" => "a spectral normalization; remove it before saving",
        "running_mean" | "running_var" => {
            "a batch normalization; fold it into the layer before it, and save that"
        }
        "kernel" | "kernel:0" | "bias:0" => {
            "Keras and JAX keep weights as (inputs, outputs) under this name; transposed and renamed to *.weight and \
             *.bias they are read"
        }
        _ => "only perceptrons are read",
    }
}

const PRUNED: &str = "a pruning mask of PyTorch beside its weight_orig; torch.nn.utils.prune.remove(module, 'weight') \
                      makes the weight plain before saving";

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

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::super::parse;
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
        let find = |n| Layers::find(&file, &[], n);
        assert!(find(None).unwrap().is_none());
        assert!(find(Some(3)).unwrap().unwrap().bias);
        assert!(!find(Some(4)).unwrap().unwrap().bias);
        assert!(find(Some(5)).is_err());
    }

    /// What is said of a file with these float tensors, and one whole number.
    fn told(shapes: &[(&str, &[usize])]) -> Result<Layers> {
        let mut tensors: Vec<(&str, Tensor)> = shapes
            .iter()
            .map(|(name, shape)| (*name, Tensor::zeros(*shape, DType::F32, &Device::Cpu).unwrap()))
            .collect();
        tensors.push(("n_averaged", Tensor::new(&[7i64], &Device::Cpu).unwrap()));
        let bytes = safetensors::serialize(tensors, None).unwrap();
        Ok(Layers::find(&parse(&bytes).unwrap(), &[], None)?.unwrap())
    }

    #[test]
    fn counters_are_left_out_and_said() {
        let found = told(&[("0.weight", &[2, 3]), ("2.weight", &[1, 2])]).unwrap();
        assert_eq!(found.widths(), [3, 2, 1]);
        assert_eq!(found.notes, ["left out `n_averaged`: counters, not weights"]);
    }

    #[test]
    fn what_is_no_dense_layer_is_said_with_what_to_do() {
        for (name, shape, part) in [
            ("0.weight_mask", &[2, 3][..], "prune.remove"),
            ("0.weight_orig", &[2, 3], "prune.remove"),
            ("0.weight_g", &[2, 1], "remove_parametrizations"),
            ("1.running_mean", &[3], "batch normalization"),
            ("dense/kernel", &[2, 3], "only perceptrons"),
            ("dense.kernel", &[2, 3], "(inputs, outputs)"),
            ("a.b", &[2, 3], "only perceptrons"),
        ] {
            let message = told(&[(name, shape), ("0.weight", &[2, 3])]).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains(part), "{message}");
        }
        let message = told(&[("0.weight", &[3, 2]), ("0.bias", &[2])]).unwrap_err().to_string();
        assert!(message.contains("transpose"), "{message}");
    }
}
