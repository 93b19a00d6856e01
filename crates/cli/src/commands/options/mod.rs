//! Options of the commands that read a trained network: what its file does not say.

use core_tensors::kernels::Activation;

use super::{UsageError, positive};
use crate::model_file::{Expected, Side};

/// What the file of a network leaves open.
#[derive(clap::Args)]
#[command(next_help_heading = "Options for the network's file")]
pub(super) struct NetworkOptions {
    /// Between the layers; the last layer has none [default: what the file says, else relu].
    #[arg(long, value_enum)]
    activation: Option<ActivationName>,
    /// Slope of a leaky ReLU below 0, in (0, 1) [default: 0.01].
    #[arg(long, value_name = "S", value_parser = slope)]
    slope: Option<f64>,
    /// Layers to take, in their order, where names and shapes leave it open or the file holds several networks:
    /// input,hidden,output for input.weight and so on.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    layers: Vec<String>,
    /// Only tensors whose names begin with this, where the file holds several networks: ema for ema.0.weight and so on.
    #[arg(long, value_name = "NAME")]
    prefix: Option<String>,
    /// Where batch normalizations stand: before the activation of the layer below, or after it [default: what the numbers
    /// of nn.Sequential say, else before].
    #[arg(long, value_enum, value_name = "SIDE")]
    batch_norm: Option<SideName>,
    /// Added to the variances of batch normalizations [default: 1e-5, and 0.001 for Keras].
    #[arg(long, value_name = "E", value_parser = positive)]
    batch_norm_epsilon: Option<f64>,
    /// The tensor of an ONNX file that holds the logits, or the predictions of a regression [default: what stands before
    /// the softmax or sigmoid of its outputs, else its output].
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// Size of an extent that an ONNX file leaves open, by its name there, such as seq=128; once for each.
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dimension)]
    dimensions: Vec<(String, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ActivationName {
    Relu,
    Tanh,
    Gelu,
    Silu,
    Sigmoid,
    LeakyRelu,
    Identity,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SideName {
    Before,
    After,
}

/// Slope of a leaky ReLU, as in the papers' code.
const SLOPE: f64 = 0.01;

impl NetworkOptions {
    /// Refuses words that do not go together.
    pub(super) fn check(&self) -> Result<(), UsageError> {
        if self.slope.is_some() && self.activation != Some(ActivationName::LeakyRelu) {
            return Err(UsageError("--slope: wanted --activation leaky-relu beside it".into()));
        }
        Ok(())
    }

    /// Refuses options of a file that is not there.
    pub(super) fn check_used(&self, with: &str) -> Result<(), UsageError> {
        match self.expected(None).given().next() {
            Some(name) => Err(UsageError(format!("{name}: wanted {with} beside it"))),
            None => Ok(()),
        }
    }

    /// What is known of the file; `n_inputs` are the features of the data, where there are some.
    pub(super) fn expected(&self, n_inputs: Option<usize>) -> Expected<'_> {
        let activation = self.activation.map(|name| match name {
            ActivationName::Relu => Activation::Relu,
            ActivationName::Tanh => Activation::Tanh,
            ActivationName::Gelu => Activation::Gelu,
            ActivationName::Silu => Activation::Silu,
            ActivationName::Sigmoid => Activation::Sigmoid,
            ActivationName::LeakyRelu => {
                Activation::LeakyRelu { slope: self.slope.unwrap_or(SLOPE) }
            }
            ActivationName::Identity => Activation::Identity,
        });
        Expected {
            activation,
            layers: &self.layers,
            prefix: self.prefix.as_deref(),
            batch_norm: self.batch_norm.map(|side| match side {
                SideName::Before => Side::Before,
                SideName::After => Side::After,
            }),
            batch_norm_epsilon: self.batch_norm_epsilon,
            n_inputs,
            output: self.output.as_deref(),
            dimensions: &self.dimensions,
        }
    }
}

/// A name and a size from 1, as in `seq=128`.
fn dimension(text: &str) -> Result<(String, usize), String> {
    let parts = text.rsplit_once('=').map(|(name, size)| (name.trim(), size.trim().parse()));
    match parts {
        Some((name, Ok(size))) if !name.is_empty() && size > 0 => Ok((name.to_owned(), size)),
        _ => Err("expected NAME=SIZE with a size from 1, such as seq=128".into()),
    }
}

/// A number in (0, 1).
fn slope(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value < 1.0 => Ok(value),
        _ => Err("wanted a number between 0 and 1".into()),
    }
}
