//! Networks and posteriors on disk: trained perceptrons in the formats that people have, and posteriors of this program.

mod network;
mod posterior;
mod state_dict;
pub(crate) mod student;
mod tensors;

use bayes_posterior::format::METADATA;
use core_tensors::Params;
use core_tensors::kernels::Activation;
use models::Mlp;
use safetensors::SafeTensors;

pub(crate) use network::{Format, Network, import_beside};
pub(crate) use posterior::{PosteriorFile, carried_by, check_proper, log_det, variances, write};
pub(crate) use state_dict::{Dict, Perceptron, Side, SpelledLayer, natural};
pub(crate) use tensors::numbers;

/// A network and its weights.
pub(crate) struct Trained {
    /// f(x, w).
    pub(crate) network: Mlp,
    /// w, f64.
    pub(crate) weights: Params,
    /// Names of the layers, input side first.
    pub(crate) names: Vec<String>,
    /// The tensors of each layer in its file; none where the file keeps layers in another way.
    pub(crate) spelled: Vec<SpelledLayer>,
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
    /// The tensor of an ONNX file that is taken as the logits, where somebody said so.
    pub(crate) output: Option<&'a str>,
    /// Sizes of extents that an ONNX file leaves open.
    pub(crate) dimensions: &'a [(String, usize)],
}

/// Options of the command line that say something about another kind of file.
#[derive(Debug, thiserror::Error)]
#[error("{option}: expected {expected}, found {found}")]
pub(crate) struct Misplaced {
    option: &'static str,
    expected: &'static str,
    found: &'static str,
}

impl Expected<'_> {
    /// Names of options that were given, at most one about state dicts and one about ONNX files.
    pub(crate) fn given(&self) -> impl Iterator<Item = &'static str> {
        self.of_a_state_dict().into_iter().chain(self.of_a_graph())
    }

    /// The first option that concerns ONNX files alone.
    pub(crate) fn of_a_graph(&self) -> Option<&'static str> {
        let given = [("--output", self.output.is_some()), ("--dim", !self.dimensions.is_empty())];
        first(&given)
    }

    /// The first option about what an ONNX file says itself.
    fn of_a_state_dict(&self) -> Option<&'static str> {
        let given = [
            ("--activation", self.activation.is_some()),
            ("--layers", !self.layers.is_empty()),
            ("--prefix", self.prefix.is_some()),
            ("--batch-norm", self.batch_norm.is_some()),
            ("--batch-norm-epsilon", self.batch_norm_epsilon.is_some()),
        ];
        first(&given)
    }

    /// Refuses words that only an ONNX file understands.
    pub(crate) fn refuse_words_of_a_graph(&self) -> Result<(), Misplaced> {
        let (expected, found) =
            ("an ONNX file", "a file of dense layers, which has no names for it");
        self.of_a_graph().map_or(Ok(()), |option| Err(Misplaced { option, expected, found }))
    }

    /// Refuses words about what an ONNX file says itself.
    fn refuse_words_of_a_state_dict(&self) -> Result<(), Misplaced> {
        let (expected, found) = ("a state dict", "an ONNX file, which says this itself");
        self.of_a_state_dict().map_or(Ok(()), |option| Err(Misplaced { option, expected, found }))
    }
}

fn first(given: &[(&'static str, bool)]) -> Option<&'static str> {
    given.iter().find(|(_, is_given)| *is_given).map(|(name, _)| *name)
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
