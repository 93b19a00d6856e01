//! Opening a network's file, by what it holds.

use std::path::Path;

use anyhow::{Context, Result, bail};
use bayes_posterior::AnyPosterior;
use candle_core::{Device, Tensor};
use core_tensors::{Block, Params};
use models::graph::change::Standardization;
use models::onnx::looks_like_onnx;
use models::{Architecture, Mlp};
use safetensors::SafeTensors;

use super::{Network, Origin, onnx};
use crate::files::{note, read, sha256};
use crate::model_file::{Expected, Trained, is_posterior, state_dict};

impl Network {
    /// Reads an ONNX file, a state dict of dense layers in any container, blocks of this program, or a posterior, whose
    /// mean is taken.
    ///
    /// What the file leaves open is an error, or a note that says what was assumed.
    pub(crate) fn open(path: &Path, expected: &Expected) -> Result<Self> {
        let bytes = read(path)?;
        let (network, notes) =
            Self::from_bytes(path, bytes, expected).with_context(|| path.display().to_string())?;
        notes.iter().for_each(|line| note(&format!("{}: {line}", path.display())));
        Ok(network)
    }

    /// The network in the bytes of a file, and what was assumed; `path` tells where other files of it lie.
    pub(crate) fn from_bytes(
        path: &Path,
        bytes: Vec<u8>,
        expected: &Expected,
    ) -> Result<(Self, Vec<String>)> {
        let sha256 = sha256(&bytes);
        if looks_like_onnx(&bytes) {
            return onnx::open(path, bytes, expected, sha256);
        }
        expected.refuse_words_of_a_graph()?;
        let (trained, notes) = match is_posterior(&bytes) {
            true => of_posterior(&bytes, expected)?,
            false => state_dict::open(&bytes, expected)?,
        };
        let header = SafeTensors::read_metadata(&bytes).ok();
        let metadata = header.and_then(|(_, header)| header.metadata().clone()).unwrap_or_default();
        // A large file and two copies of its numbers need not be in memory at once.
        drop(bytes);
        let (graph, params) = trained.network.to_graph(&trained.weights)?;
        let origin = Origin::Perceptron(Box::new(trained));
        Ok((Self { graph, params, origin, sha256, metadata }, notes))
    }
}

fn of_posterior(bytes: &[u8], expected: &Expected) -> Result<(Trained, Vec<String>)> {
    if !expected.layers.is_empty() || expected.prefix.is_some() {
        bail!(
            "wanted a state dict for --layers or --prefix, found a posterior, which holds one network with its order"
        );
    }
    let (posterior, provenance) = AnyPosterior::from_bytes(bytes)?;
    let network = posterior.network().clone();
    if let Some(said) = expected.activation.filter(|&said| said != network.activation) {
        let found = network.activation;
        bail!("--activation: wanted that of the posterior, {found:?}, or none, found {said:?}");
    }
    let (mut mean, layout) = (posterior.mean().to_vec(), network.layout());
    let mut notes = vec!["a posterior; its mean is taken as the weights".to_owned()];
    if let Some(standardization) = &provenance.standardization {
        fold(standardization, &network, &mut mean)?;
        notes.push(
            "its inputs are standardized; that is folded into the weights of the first layer"
                .to_owned(),
        );
    }
    let block = |(range, block): (std::ops::Range<usize>, &Block)| {
        Tensor::from_slice(&mean[range], (block.rows, block.cols), &Device::Cpu)
    };
    let blocks = layout.ranges().into_iter().zip(&layout.blocks).map(block);
    let weights = Params::new(layout.clone(), blocks.collect::<candle_core::Result<_>>()?)?;
    let names = (1..network.widths.len()).map(|t| format!("layer {t}")).collect();
    Ok((Trained { network, weights, names, spelled: Vec::new() }, notes))
}

/// The weights of the network of raw inputs: W / s and b − W m / s in the first layer.
fn fold(standardization: &Standardization, network: &Mlp, w: &mut [f64]) -> Result<()> {
    let Standardization { mean, std, .. } = standardization;
    let [n_inputs, n_units, ..] = network.widths[..] else { return Ok(()) };
    if !network.bias && mean.iter().any(|&mean| mean != 0.0) {
        bail!(
            "the posterior standardizes its inputs, and its layers have no biases that could take that up: wanted one with \
             biases"
        );
    }
    let columns = n_inputs + usize::from(network.bias);
    for row in w.chunks_exact_mut(columns).take(n_units) {
        let (weights, bias) = row.split_at_mut(n_inputs);
        let mut shift = 0.0;
        for ((w, mean), std) in weights.iter_mut().zip(mean).zip(std) {
            *w /= std;
            shift += *w * mean;
        }
        bias.iter_mut().for_each(|b| *b -= shift);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bayes_posterior::{Diagonal, Gaussian, Posterior, Provenance};
    use core_tensors::Rng;
    use core_tensors::kernels::Activation;

    #[test]
    fn a_posterior_of_standardized_inputs_is_the_network_of_raw_ones() {
        let mut rng = Rng::new(0);
        let network = Mlp { widths: vec![3, 4, 2], activation: Activation::Tanh, bias: true };
        let layout = network.layout();
        let w: Vec<f64> = (0..layout.n_parameters()).map(|_| rng.normal()).collect();
        let covariance = Diagonal::new(vec![0.1; w.len()]).unwrap();
        let gaussian = Gaussian::new(layout.clone(), w.clone(), covariance).unwrap();
        let posterior = AnyPosterior::Diagonal(Posterior::new(network.clone(), gaussian).unwrap());
        let (mean, std) = (vec![1.0, -2.0, 30.0], vec![0.5, 2.0, 10.0]);
        let standardization =
            Standardization { shape: vec![3], mean: mean.clone(), std: std.clone() };
        let provenance =
            Provenance { standardization: Some(standardization), ..Provenance::default() };
        let bytes = posterior.to_bytes(&provenance).unwrap();
        let (found, notes) =
            Network::from_bytes(Path::new("p"), bytes, &Expected::default()).unwrap();
        assert!(notes.iter().any(|line| line.contains("standardized")), "{notes:?}");
        let raw: Vec<f64> = (0..15).map(|i| mean[i % 3] + std[i % 3] * rng.normal()).collect();
        let x = Tensor::from_vec(raw, (5, 3), &Device::Cpu).unwrap();
        let row = |of: &[f64]| Tensor::from_vec(of.to_vec(), (1, 3), &Device::Cpu).unwrap();
        let standardized = x.broadcast_sub(&row(&mean)).unwrap().broadcast_div(&row(&std)).unwrap();
        let w = Params::from_vec(&layout, &w, &Device::Cpu).unwrap();
        let w = Params::new(
            layout,
            w.blocks().iter().map(|b| b.to_dtype(candle_core::DType::F64).unwrap()).collect(),
        )
        .unwrap();
        let numbers = |y: Tensor| y.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let wanted = numbers(network.forward(&w, &standardized).unwrap());
        let found = numbers(found.graph.forward(&found.params, &x).unwrap());
        // The weights of `wanted` went through f32.
        assert!(
            wanted.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-5),
            "{wanted:?} {found:?}"
        );
    }
}
