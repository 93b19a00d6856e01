//! The tensors in which a file keeps its layers, so that another network can be written in the same way.

use super::dense::{Bias, Dense, Weight};

/// The tensors of a dense layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SpelledLayer {
    pub(crate) weight: SpelledWeight,
    /// Whether the weight is stored as (in, out).
    pub(crate) is_turned: bool,
    /// Its bias, and a mask that it is multiplied with.
    pub(crate) bias: Option<(String, Option<String>)>,
    /// A batch normalization of its inputs that was folded into it.
    pub(crate) of_inputs: Option<SpelledNorm>,
    /// A batch normalization of its sums that was folded into it.
    pub(crate) of_units: Option<SpelledNorm>,
}

/// The tensors of a weight.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SpelledWeight {
    Plain(String),
    /// What a pruning mask is multiplied with, and the mask.
    Masked {
        original: String,
        mask: String,
    },
    /// g and v of w = g v/‖v‖; g has these axes, and one number a row, or one for all.
    Normalized {
        gain: String,
        n_axes: usize,
        is_one: bool,
        direction: String,
    },
}

/// The tensors of a batch normalization with fixed statistics.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SpelledNorm {
    /// γ, where it has one.
    pub(crate) scale: Option<String>,
    /// β, where it has one.
    pub(crate) shift: Option<String>,
    pub(crate) mean: String,
    pub(crate) variance: String,
    /// ε of γ/√(variance + ε).
    pub(crate) epsilon: f64,
}

impl Dense<'_> {
    /// Its tensors in the file.
    pub(super) fn spelled(&self) -> SpelledLayer {
        let weight = match &self.weight {
            Weight::Plain(tensor) => SpelledWeight::Plain(of_state_dict(&tensor.name)),
            Weight::Masked { original, mask } => SpelledWeight::Masked {
                original: of_state_dict(&original.name),
                mask: of_state_dict(&mask.name),
            },
            Weight::Normalized { gain, direction } => SpelledWeight::Normalized {
                gain: of_state_dict(&gain.name),
                n_axes: gain.shape.len(),
                is_one: gain.n_numbers() == 1 && self.layer.n_units > 1,
                direction: of_state_dict(&direction.name),
            },
        };
        let bias = self.bias.as_ref().map(|bias| match bias {
            Bias::Plain(tensor) => (of_state_dict(&tensor.name), None),
            Bias::Masked { original, mask } => {
                (of_state_dict(&original.name), Some(of_state_dict(&mask.name)))
            }
        });
        let [of_inputs, of_units] = [&self.of_inputs, &self.of_units]
            .map(|affine| affine.as_ref().map(|affine| affine.spelled.in_state_dict()));
        SpelledLayer { weight, is_turned: self.is_turned, bias, of_inputs, of_units }
    }
}

impl SpelledNorm {
    fn in_state_dict(&self) -> Self {
        Self {
            scale: self.scale.as_deref().map(of_state_dict),
            shift: self.shift.as_deref().map(of_state_dict),
            mean: of_state_dict(&self.mean),
            variance: of_state_dict(&self.variance),
            epsilon: self.epsilon,
        }
    }
}

/// A name without the entry of the checkpoint that the state dict is: `fc.bias` of `model_state_dict.fc.bias`.
fn of_state_dict(name: &str) -> String {
    match name.split_once('.') {
        Some((entry, rest)) if entry.ends_with("state_dict") => rest.to_owned(),
        _ => name.to_owned(),
    }
}
