//! Networks and posteriors on disk: trained perceptrons in the formats that people have, and posteriors of this program.

mod posterior;
mod state_dict;
mod tensors;

use std::path::Path;

use anyhow::{Context, Result, bail};
use bayes_posterior::AnyPosterior;
use bayes_posterior::format::METADATA;
use candle_core::{DType, Device, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Block, Params};
use models::{Architecture, Mlp};
use safetensors::SafeTensors;

use crate::files::{note, read};

pub(crate) use posterior::{PosteriorFile, carried_by, check_proper, log_det, variances, write};
pub(crate) use state_dict::{Dict, Perceptron, Side, natural};
pub(crate) use tensors::numbers;

/// A network and its weights.
pub(crate) struct Trained {
    /// f(x, w).
    pub(crate) network: Mlp,
    /// w, f64.
    pub(crate) weights: Params,
    /// Names of the layers, input side first.
    pub(crate) names: Vec<String>,
}

/// What is known of a model before its file is read.
#[derive(Clone, Copy, Default)]
pub(crate) struct Expected<'a> {
    /// Between the layers, where somebody said so; a ReLU else, or what the file says.
    pub(crate) activation: Option<Activation>,
    /// The layers to take, in their order, where somebody said so.
    pub(crate) layers: &'a [String],
    /// Only layers whose names begin with this, where somebody said so.
    pub(crate) prefix: Option<&'a str>,
    /// On which side of the activation batch normalizations stand, where somebody said so.
    pub(crate) batch_norm: Option<Side>,
    /// ε of batch normalizations, where somebody said so.
    pub(crate) batch_norm_epsilon: Option<f64>,
    /// n_0: features of the data, where there are some.
    pub(crate) n_inputs: Option<usize>,
}

impl Trained {
    /// Reads a state dict of dense layers in any container, blocks of this program, or a posterior, whose mean is taken.
    ///
    /// What the file leaves open is an error, or a note that says what was assumed.
    pub(crate) fn open(path: &Path, expected: &Expected) -> Result<Self> {
        let bytes = read(path)?;
        let load = || match is_posterior(&bytes) {
            true => Self::of_posterior(&bytes, expected),
            false => state_dict::open(&bytes, expected, DType::F64),
        };
        let (trained, notes) = load().with_context(|| path.display().to_string())?;
        notes.iter().for_each(|line| note(&format!("{}: {line}", path.display())));
        Ok(trained)
    }

    fn of_posterior(bytes: &[u8], expected: &Expected) -> Result<(Self, Vec<String>)> {
        if !expected.layers.is_empty() || expected.prefix.is_some() {
            bail!(
                "wanted a state dict for --layers or --prefix, found a posterior, which holds one network with its \
                 order"
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
        Ok((Self { network, weights, names }, notes))
    }
}

/// Whether a file says that it is a posterior of this program.
pub(crate) fn is_posterior(bytes: &[u8]) -> bool {
    SafeTensors::read_metadata(bytes).is_ok_and(|(_, about)| {
        about.metadata().as_ref().is_some_and(|pairs| pairs.contains_key(METADATA))
    })
}

/// p: parameters of a network.
pub(crate) fn n_parameters(network: &Mlp) -> usize {
    let bias = usize::from(network.bias);
    network.widths.windows(2).map(|n| n[1] * (n[0] + bias)).sum()
}

/// Multiply-adds of one forward pass: Σ n_t n_{t−1}.
pub(crate) fn n_products(network: &Mlp) -> usize {
    network.widths.windows(2).map(|n| n[1] * n[0]).sum()
}
