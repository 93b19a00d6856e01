//! The perceptron of a file: its dense layers in their order, of blocks of this program or of a state dict.

use anyhow::{Result, anyhow, bail};
use candle_core::{DType, Tensor};
use core_tensors::Params;
use core_tensors::kernels::Activation;
use models::{Architecture, Mlp};

use super::containers::Dict;
use super::dense::{Bias, Dense, Weight, matrix};
use super::groups::{Chosen, Groups, resolved};
use super::layer::{Layer, widths};
use super::tensor::Kind;
use super::{networks, normalization, order, write};
use crate::model_file::{Expected, Trained};

/// A perceptron whose numbers are still in the file.
#[derive(Debug)]
pub(crate) struct Perceptron<'a> {
    layers: Vec<Dense<'a>>,
    /// Whether each has a bias.
    pub(crate) bias: bool,
    /// Between the layers, where the file says so.
    activation: Option<Activation>,
    /// What was assumed, or left out, and is to be said.
    pub(crate) notes: Vec<String>,
    /// Whether the layers are `block.t`, the bias the last column.
    is_own: bool,
}

impl<'a> Perceptron<'a> {
    /// The network of a file.
    ///
    /// `None` where a single `block.0` may or may not have a bias, and only the features of the data can tell.
    pub(crate) fn find(dict: &Dict<'a>, expected: &Expected) -> Result<Option<Self>> {
        let is_own = |name: &str| {
            let number = name.strip_prefix("block.");
            number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        };
        let are_own = !dict.tensors.is_empty() && dict.tensors.iter().all(|t| is_own(&t.name));
        match are_own && expected.layers.is_empty() {
            true => Self::own(dict, expected.n_inputs),
            false => Self::state_dict(dict, expected).map(Some),
        }
    }

    /// `block.0`, `block.1`, …
    fn own(dict: &Dict<'a>, n_inputs: Option<usize>) -> Result<Option<Self>> {
        let (mut blocks, mut shapes) = (Vec::new(), Vec::new());
        for t in 0..dict.tensors.len() {
            let name = format!("block.{t}");
            let tensor = dict.tensors.iter().find(|tensor| tensor.name == name);
            let tensor = tensor.ok_or_else(|| anyhow!("the tensor `{name}` is missing"))?;
            shapes.push(matrix(tensor)?);
            blocks.push(tensor.clone());
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
        let layer = |tensor: super::tensor::NamedTensor<'a>| Dense {
            layer: Layer {
                name: tensor.name.clone(),
                n_units: tensor.shape[0],
                n_inputs: tensor.shape[1] - usize::from(bias),
            },
            weight: Weight::Plain(tensor),
            bias: None,
            is_turned: false,
            of_inputs: None,
            of_units: None,
        };
        let layers = blocks.into_iter().map(layer).collect();
        Ok(Some(Self { layers, bias, activation: None, notes: Vec::new(), is_own: true }))
    }

    /// The type that holds its numbers exactly: f32, or f64 where the file has f64 or something is computed from parts.
    pub(crate) fn dtype(&self) -> DType {
        let is_single = |tensor: &super::tensor::NamedTensor| tensor.kind != Kind::F64;
        let is_plain = |dense: &Dense| {
            let weight = matches!(&dense.weight, Weight::Plain(tensor) if is_single(tensor));
            let bias = match &dense.bias {
                None => true,
                Some(Bias::Plain(tensor)) => is_single(tensor),
                Some(Bias::Masked { .. }) => false,
            };
            weight && bias && dense.of_inputs.is_none() && dense.of_units.is_none()
        };
        if self.layers.iter().all(is_plain) { DType::F32 } else { DType::F64 }
    }

    /// Dense layers by name.
    fn state_dict(dict: &Dict<'a>, expected: &Expected) -> Result<Self> {
        let chosen = Chosen {
            layers: expected.layers,
            prefix: expected.prefix,
            epsilon: expected.batch_norm_epsilon,
        };
        let Groups { dense, norms, skipped, mut notes } = Groups::of(dict, chosen)?;
        let shapes: Vec<Layer> = dense.iter().map(|dense| dense.layer.clone()).collect();
        let ordered = match expected.layers {
            [] => {
                let found = networks::refuse_several(&shapes)
                    .and_then(|()| order::order(shapes, expected.n_inputs));
                let found = found.map_err(|error| networks::with_tied(error, &dense))?;
                notes.extend(found.note);
                found.layers
            }
            asked => {
                let names: Vec<&str> = shapes.iter().map(|layer| layer.name.as_str()).collect();
                let asked: Vec<String> =
                    asked.iter().map(|name| resolved(name, &names)).collect::<Result<_>>()?;
                order::as_asked(&shapes, &asked)?
            }
        };
        let mut left: Vec<Option<Dense>> = dense.into_iter().map(Some).collect();
        let mut take = |layer: &Layer| {
            let is_it =
                |dense: &&mut Option<Dense>| dense.as_ref().is_some_and(|d| d.layer == *layer);
            left.iter_mut().find(is_it).and_then(Option::take)
        };
        let mut layers: Vec<Dense> = ordered.iter().filter_map(&mut take).collect();
        if layers.len() != ordered.len() {
            bail!("--layers: wanted every layer once");
        }
        notes.extend(normalization::fold(norms, &mut layers, expected.batch_norm, &skipped)?);
        let has_bias = |dense: &Dense| dense.bias.is_some();
        let has_norm = |dense: &Dense| dense.of_inputs.is_some() || dense.of_units.is_some();
        let bias = layers.iter().any(|dense| has_bias(dense) || has_norm(dense));
        let bare: Vec<String> = layers
            .iter()
            .filter(|dense| bias && !has_bias(dense) && !has_norm(dense))
            .map(|dense| dense.layer.name.clone())
            .collect();
        if !bare.is_empty() {
            notes.push(format!(
                "zeros as the biases of {}, which have none",
                super::groups::listed(&bare)
            ));
        }
        let activation = write::activation(&dict.about)?;
        Ok(Self { layers, bias, activation, notes, is_own: false })
    }

    /// Its layers, input side first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|dense| dense.layer.name.as_str())
    }

    /// n_0, …, n_T.
    pub(crate) fn widths(&self) -> Vec<usize> {
        widths(&self.layers.iter().map(|dense| dense.layer.clone()).collect::<Vec<_>>())
    }

    /// Reads the numbers, as `dtype`.
    pub(crate) fn load(self, expected: &Expected, dtype: DType) -> Result<(Trained, Vec<String>)> {
        let (widths, mut notes) = (self.widths(), self.notes);
        let activation = match (expected.activation, self.activation) {
            (Some(said), Some(found)) if said != found => {
                bail!("--activation: wanted that of the file, {found:?}, or none, found {said:?}")
            }
            (Some(known), _) | (None, Some(known)) => known,
            (None, None) => {
                if widths.len() > 2 {
                    notes.push(
                        "relu between the layers, as the file does not say (--activation overrules)".to_owned(),
                    );
                }
                Activation::Relu
            }
        };
        let network = Mlp { widths, activation, bias: self.bias };
        // A block of this program has its bias among its columns.
        let has_bias = self.bias && !self.is_own;
        let block = |mut dense: Dense<'a>| -> Result<Tensor> {
            if self.is_own {
                dense.layer.n_inputs += usize::from(self.bias);
            }
            match dtype {
                DType::F32 => dense.block::<f32>(has_bias),
                _ => dense.block::<f64>(has_bias),
            }
        };
        let names = self.layers.iter().map(|dense| dense.layer.name.clone()).collect();
        // Blocks of this program hold weight and bias in one.
        let spelled =
            if self.is_own { Vec::new() } else { self.layers.iter().map(Dense::spelled).collect() };
        let blocks = self.layers.into_iter().map(block).collect::<Result<Vec<_>>>()?;
        let weights = Params::new(network.layout(), blocks)?;
        Ok((Trained { network, weights, names, spelled }, notes))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// The bytes of a file with these float tensors, and a counter.
    fn file(shapes: &[(&str, &[usize])], has_counter: bool) -> Vec<u8> {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let mut tensors: Vec<(&str, Tensor)> =
            shapes.iter().map(|(name, shape)| (*name, zeros(shape))).collect();
        if has_counter {
            tensors.push(("n_averaged", Tensor::new(&[7i64], &Device::Cpu).unwrap()));
        }
        safetensors::serialize(tensors, None).unwrap()
    }

    /// Widths and notes of a file with these tensors.
    fn told(shapes: &[(&str, &[usize])]) -> Result<(Vec<usize>, Vec<String>)> {
        let bytes = file(shapes, true);
        let found = Perceptron::find(&Dict::read(&bytes)?, &Expected::default())?.unwrap();
        Ok((found.widths(), found.notes))
    }

    #[test]
    fn a_single_block_needs_the_inputs_to_tell_its_bias() {
        let bytes = file(&[("block.0", &[2, 4])], false);
        let dict = Dict::read(&bytes).unwrap();
        let find =
            |n_inputs| Perceptron::find(&dict, &Expected { n_inputs, ..Expected::default() });
        assert!(find(None).unwrap().is_none());
        assert!(find(Some(3)).unwrap().unwrap().bias);
        assert!(!find(Some(4)).unwrap().unwrap().bias);
        assert!(find(Some(5)).is_err());
    }

    #[test]
    fn blocks_keep_their_biases_among_their_columns() {
        let block =
            |values: &[f32], shape| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
        let blocks = [
            ("block.0", block(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], (2, 3))),
            ("block.1", block(&[7.0, 8.0, 9.0], (1, 3))),
        ];
        let bytes = safetensors::serialize(blocks, None).unwrap();
        let dict = Dict::read(&bytes).unwrap();
        let expected = Expected { n_inputs: Some(2), ..Expected::default() };
        let found = Perceptron::find(&dict, &expected).unwrap().unwrap();
        let (trained, _) = found.load(&expected, DType::F64).unwrap();
        assert_eq!((trained.network.widths, trained.network.bias), (vec![2, 2, 1], true));
        let values = trained.weights.to_vec().unwrap();
        assert_eq!(values, (1..10).map(f64::from).collect::<Vec<_>>());
        // A layer of PyTorch below a module of that name is none of these blocks.
        let found = told(&[("block.0.weight", &[4, 3]), ("block.1.weight", &[2, 4])]).unwrap();
        assert_eq!(found.0, [3, 4, 2]);
    }

    #[test]
    fn counters_are_left_out_and_said() {
        let (widths, notes) = told(&[("0.weight", &[2, 3]), ("2.weight", &[1, 2])]).unwrap();
        assert_eq!(widths, [3, 2, 1]);
        assert_eq!(notes, ["left out `n_averaged`: counters, not weights"]);
    }

    #[test]
    fn what_is_no_dense_layer_is_said_with_what_to_do() {
        for (name, shape, part) in [
            ("0.weight_mask", &[2, 3][..], "weight_orig and weight_mask"),
            ("1.weight_orig", &[2, 3], "weight_orig and weight_mask"),
            ("1.weight_g", &[2, 1], "weight_g and weight_v"),
            ("1.weight_u", &[2], "remove_spectral_norm"),
            ("1.running_mean", &[3], "running variance"),
            ("a.b", &[2, 3], "only perceptrons"),
            ("0.bias", &[4], "wanted [2]"),
        ] {
            let message = told(&[(name, shape), ("0.weight", &[2, 3])]).unwrap_err().to_string();
            let layer = name.split('.').next().unwrap();
            assert!(message.contains(layer) && message.contains(part), "{message}");
        }
        // One weight says that it is stored as (in, out), another that it is not.
        let shapes: [(&str, &[usize]); 4] =
            [("0.weight", &[3, 2]), ("0.bias", &[2]), ("1.weight", &[1, 2]), ("1.bias", &[1])];
        let message = told(&shapes).unwrap_err().to_string();
        assert!(message.contains("transpose"), "{message}");
    }
}
