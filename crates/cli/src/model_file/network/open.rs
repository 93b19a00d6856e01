//! Opening a network's file, by what it holds.

use std::path::Path;

use anyhow::{Context, Result, bail};
use bayes_posterior::AnyPosterior;
use candle_core::{Device, Tensor};
use core_tensors::{Block, Params};
use models::Architecture;
use models::onnx::looks_like_onnx;
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
    let (posterior, _) = AnyPosterior::from_bytes(bytes)?;
    let network = posterior.network().clone();
    if let Some(said) = expected.activation.filter(|&said| said != network.activation) {
        let found = network.activation;
        bail!("--activation: wanted that of the posterior, {found:?}, or none, found {said:?}");
    }
    let (mean, layout) = (posterior.mean(), network.layout());
    let block = |(range, block): (std::ops::Range<usize>, &Block)| {
        Tensor::from_slice(&mean[range], (block.rows, block.cols), &Device::Cpu)
    };
    let blocks = layout.ranges().into_iter().zip(&layout.blocks).map(block);
    let weights = Params::new(layout.clone(), blocks.collect::<candle_core::Result<_>>()?)?;
    let names = (1..network.widths.len()).map(|t| format!("layer {t}")).collect();
    let notes = vec!["a posterior; its mean is taken as the weights".to_owned()];
    Ok((Trained { network, weights, names, spelled: Vec::new() }, notes))
}
