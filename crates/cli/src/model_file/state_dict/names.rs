//! What the names of tensors say: their layer, and their role in it, in the spellings of PyTorch, Keras and Flax.

use super::tensor::{Kind, NamedTensor};

/// What a tensor is to its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// (out, in)
    Weight,
    /// (in, out)
    Kernel,
    Bias,
    /// g of w = g v/‖v‖
    Gain,
    /// v
    Direction,
    /// What a pruning mask is multiplied with.
    WeightOriginal,
    WeightMask,
    BiasOriginal,
    BiasMask,
    /// γ, β, mean and variance of a normalization.
    Scale,
    Shift,
    Mean,
    Variance,
    /// The variables of a layer of Keras in their order.
    Variable(u8),
}

/// Layer and role of a key; `None` where it has none that is known.
pub(super) fn role(key: &str) -> Option<(&str, Role)> {
    let (rest, last) = key.rsplit_once('.').unwrap_or(("", key));
    let role = match last {
        "weight" => Role::Weight,
        "kernel" => Role::Kernel,
        "bias" => Role::Bias,
        "weight_g" => Role::Gain,
        "weight_v" => Role::Direction,
        "weight_orig" => Role::WeightOriginal,
        "weight_mask" => Role::WeightMask,
        "bias_orig" => Role::BiasOriginal,
        "bias_mask" => Role::BiasMask,
        "gamma" | "scale" => Role::Scale,
        "beta" => Role::Shift,
        "running_mean" | "moving_mean" => Role::Mean,
        "running_var" | "moving_variance" => Role::Variance,
        // Of no layer they are those of the data, as somebody kept them.
        "mean" if !rest.is_empty() => Role::Mean,
        "var" if !rest.is_empty() => Role::Variance,
        "original0" | "original1" => {
            let layer = match rest.strip_suffix("parametrizations.weight")? {
                "" => "",
                layer => layer.strip_suffix('.')?,
            };
            return Some((layer, if last == "original0" { Role::Gain } else { Role::Direction }));
        }
        digit => {
            let layer = match rest.strip_suffix("vars")? {
                "" => "",
                layer => layer.strip_suffix('.')?,
            };
            let i = digit.parse().ok().filter(|&i: &u8| i < 4)?;
            return Some((layer, Role::Variable(i)));
        }
    };
    Some((rest, role))
}

/// A name with dots between its parts: as nested names are joined, without what Keras puts behind.
pub(super) fn key(name: &str) -> String {
    let name = name.strip_suffix(":0").unwrap_or(name);
    name.replace(['/', '\\'], ".")
}

/// The collections of Flax: every key is in one.
const COLLECTIONS: [&str; 2] = ["params.", "batch_stats."];

/// Keys without the collections of Flax, where all are in one.
pub(super) fn without_collections(keys: &mut [String]) {
    let collection = |key: &str| COLLECTIONS.iter().find(|name| key.starts_with(**name));
    while !keys.is_empty() && keys.iter().all(|key| collection(key).is_some()) {
        for key in keys.iter_mut() {
            if let Some(name) = collection(key) {
                key.drain(..name.len());
            }
        }
    }
}

/// Whether a key begins with what a checkpoint keeps beside the network: the state of its training.
pub(super) fn is_training_state(key: &str) -> bool {
    let first = key.split('.').next().unwrap_or(key).to_ascii_lowercase();
    first.starts_with("optim") || first.contains("scheduler") || first.ends_with("rng_state")
}

/// Whether a tensor counts something, such as the steps of an average: one whole number.
pub(super) fn is_counter(tensor: &NamedTensor) -> bool {
    let is_one = tensor.n_numbers() <= 1 && tensor.shape.len() <= 1;
    let last = tensor.name.rsplit(['.', '/']).next().unwrap_or_default();
    is_one && (matches!(tensor.kind, Kind::Whole(..)) || COUNTERS.contains(&last))
}

/// Counters that some keep as a float.
const COUNTERS: [&str; 5] = ["num_batches_tracked", "n_averaged", "step", "steps", "initted"];

/// What a tensor that belongs to no dense layer seems to be, and what to do about it.
pub(super) fn what(key: &str) -> &'static str {
    let last = key.rsplit('.').next().unwrap_or(key);
    match last {
        "weight_u" | "_u" | "_v" => {
            "a spectral normalization; torch.nn.utils.remove_spectral_norm, or \
             torch.nn.utils.parametrize.remove_parametrizations, makes the weight plain before saving"
        }
        "original" => {
            "a weight that is computed (parametrization); torch.nn.utils.parametrize.remove_parametrizations makes it \
             plain before saving"
        }
        "arr_0" => {
            "an array without a name; numpy.savez(\"weights.npz\", **{\"layer1.weight\": …}) names each, and \
             layer1.kernel says (inputs, outputs)"
        }
        _ => "only perceptrons are read; --prefix or --layers takes the layers without it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_and_roles_are_told_by_every_spelling() {
        for (name, layer, wanted) in [
            ("net.0.weight", "net.0", Role::Weight),
            ("weight", "", Role::Weight),
            ("dense_1/kernel:0", "dense_1", Role::Kernel),
            ("layers/dense/vars/1", "layers.dense", Role::Variable(1)),
            ("Dense_0.kernel", "Dense_0", Role::Kernel),
            ("0.parametrizations.weight.original0", "0", Role::Gain),
            ("parametrizations.weight.original1", "", Role::Direction),
            ("bn.running_var", "bn", Role::Variance),
            ("bn/moving_variance:0", "bn", Role::Variance),
        ] {
            assert_eq!(role(&key(name)), Some((layer, wanted)), "{name}");
        }
        for name in
            ["rnn.my_weight", "a.b", "parametrizations.bias.original0", "xvars.0", "3", "mean"]
        {
            assert_eq!(role(name), None, "{name}");
        }
    }

    #[test]
    fn collections_of_flax_go_where_all_have_one() {
        let keys = |names: &[&str]| {
            let mut keys: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            without_collections(&mut keys);
            keys
        };
        assert_eq!(keys(&["params.a.kernel", "batch_stats.b.mean"]), ["a.kernel", "b.mean"]);
        assert_eq!(keys(&["params.params.a.bias"]), ["a.bias"]);
        assert_eq!(keys(&["params.a.kernel", "b.mean"]), ["params.a.kernel", "b.mean"]);
    }

    #[test]
    fn the_state_of_a_training_is_no_network() {
        for key in ["optimizer.state.0.exp_avg", "optim.a", "lr_schedulers.0.x", "cpu_rng_state"] {
            assert!(is_training_state(key), "{key}");
        }
        assert!(!is_training_state("model.optimizer.weight") && !is_training_state("fc1.weight"));
    }
}
