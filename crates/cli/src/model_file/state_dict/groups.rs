//! The layers of a file: its tensors by the layers that their names say, dense ones and batch normalizations.

use anyhow::{Result, anyhow, bail};

use super::containers::Dict;
use super::dense::{Affine, Bias, Dense, Weight, matrix};
use super::layer::Layer;
use super::names::{Role, is_counter, is_training_state, key, role, what, without_collections};
use super::natural;
use super::spelling::SpelledNorm;
use super::tensor::NamedTensor;

/// Default epsilon of batch normalization: in PyTorch and Flax, and in Keras.
const EPSILON: (f64, f64) = (1e-5, 1e-3);
/// Names in a list before it says how many there are.
const MOST_NAMED: usize = 6;

/// The layers of a file, in the natural order of their names.
#[derive(Debug, Default)]
pub(super) struct Groups<'a> {
    pub(super) dense: Vec<Dense<'a>>,
    pub(super) norms: Vec<Norm>,
    /// Dense layers that were not asked for.
    pub(super) skipped: Vec<String>,
    /// What was left out, or turned.
    pub(super) notes: Vec<String>,
}

/// A batch normalization in use: z ↦ s ⊙ z + t.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    pub(super) name: String,
    pub(super) affine: Affine,
    /// ε of s = γ/√(variance + ε).
    pub(super) epsilon: f64,
}

/// Which layers are wanted.
#[derive(Clone, Copy)]
pub(super) struct Chosen<'a> {
    /// These, by name; all where it is empty.
    pub(super) layers: &'a [String],
    /// Those below this name.
    pub(super) prefix: Option<&'a str>,
    pub(super) epsilon: Option<f64>,
}

type Roles<'a> = Vec<(Role, NamedTensor<'a>)>;
type Keyed<'a> = Vec<(String, NamedTensor<'a>)>;

impl<'a> Groups<'a> {
    pub(super) fn of(dict: &Dict<'a>, chosen: Chosen) -> Result<Self> {
        let mut notes = Vec::new();
        let (named, left) = weights(dict, chosen.prefix)?;
        notes.extend(left);
        let mut counters = Vec::new();
        let mut groups: Vec<(String, Roles)> = Vec::new();
        for (key, tensor) in named {
            match role(&key) {
                _ if is_counter(&tensor) => counters.push(tensor.name),
                Some((layer, role)) => match groups.last_mut() {
                    Some((last, roles)) if last == layer => roles.push((role, tensor)),
                    _ => groups.push((layer.to_owned(), vec![(role, tensor)])),
                },
                None if chosen.layers.is_empty() => bail!(
                    "tensor `{}` is no `*.weight` or `*.bias` of a dense layer: {}",
                    tensor.name,
                    what(&key)
                ),
                None => {}
            }
        }
        if !counters.is_empty() {
            notes.push(format!("left out {}: counters, not weights", listed(&counters)));
        }
        let names: Vec<&str> = groups.iter().map(|(name, _)| name.as_str()).collect();
        let asked: Vec<String> =
            chosen.layers.iter().map(|name| resolved(name, &names)).collect::<Result<_>>()?;
        let mut found = Self { notes, ..Self::default() };
        let mut turns = Turns::default();
        for (name, roles) in groups {
            let is_norm = roles.iter().any(|(role, _)| *role == Role::Mean)
                || has_variable(&roles, 2).is_some();
            if is_norm {
                found.norms.push(norm(name, roles, chosen.epsilon)?);
            } else if asked.is_empty() || asked.contains(&name) {
                turns.add(dense(name, roles)?);
            } else {
                found.skipped.push(name);
            }
        }
        let (dense, note) = turns.settle()?;
        found.dense = dense;
        found.notes.extend(note);
        if found.dense.is_empty() && asked.is_empty() {
            bail!(
                "holds no `*.weight`; wanted a state dict of dense layers, or blocks of this program"
            );
        }
        Ok(found)
    }
}

/// A layer by the name that the user gave: the whole name, or the end of one alone.
pub(super) fn resolved(name: &str, names: &[&str]) -> Result<String> {
    let name = key(name);
    if names.contains(&name.as_str()) {
        return Ok(name);
    }
    let is_end = |full: &&&str| full.strip_suffix(&name).is_some_and(|rest| rest.ends_with('.'));
    let mut ends = names.iter().filter(is_end);
    match (ends.next(), ends.next()) {
        (Some(full), None) => Ok((*full).to_owned()),
        (Some(a), Some(b)) => {
            bail!("--layers: `{name}` may be `{a}` or `{b}`; give the whole name")
        }
        (None, _) => {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            Err(anyhow!(
                "--layers: the file has no `{name}.weight`, wanted names among {}",
                listed(&names)
            ))
        }
    }
}

/// Names in quotes, the first few of them.
pub(super) fn listed(names: &[String]) -> String {
    let mut quoted: Vec<String> =
        names.iter().take(MOST_NAMED).map(|name| format!("`{name}`")).collect();
    if names.len() > MOST_NAMED {
        quoted.push(format!("and {} more", names.len() - MOST_NAMED));
    }
    quoted.join(", ")
}

/// The tensors of networks, or of the one that is asked for, by key; and what was left out.
fn weights<'a>(dict: &Dict<'a>, prefix: Option<&str>) -> Result<(Keyed<'a>, Option<String>)> {
    let mut keys: Vec<String> = dict.tensors.iter().map(|tensor| key(&tensor.name)).collect();
    if keys.is_empty() {
        bail!("holds no tensors");
    }
    let first = |name: &str| name.split('.').next().unwrap_or(name).to_owned();
    let mut left = Vec::new();
    let prefix = prefix.map(|prefix| key(prefix.trim_end_matches(['.', '/'])));
    let is_below = |name: &str| match &prefix {
        Some(prefix) => name
            .strip_prefix(prefix.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        None => !is_training_state(name),
    };
    without_collections(&mut keys);
    let mut named = Vec::new();
    for (short, tensor) in keys.into_iter().zip(&dict.tensors) {
        if is_below(&short) || prefix.is_some() && is_below(&key(&tensor.name)) {
            named.push((short, tensor.clone()));
        } else if prefix.is_none() {
            left.push(first(&short));
        }
    }
    if named.is_empty() {
        let mut firsts: Vec<String> =
            dict.tensors.iter().map(|tensor| first(&key(&tensor.name))).collect();
        firsts.sort_by(|a, b| natural(a, b));
        firsts.dedup();
        match prefix {
            Some(prefix) => bail!(
                "--prefix: no tensor is below `{prefix}`; the names begin with {}",
                listed(&firsts)
            ),
            None => {
                bail!("holds the state of a training alone, {}, and no weights", listed(&firsts))
            }
        }
    }
    if prefix.is_none() {
        let kept: Vec<String> = named.iter().map(|(key, _)| first(key)).collect();
        for other in dict.others.iter().filter(|other| !other.is_empty()) {
            // Beside the network a whole entry is left out, inside it one value.
            left.push(if kept.contains(&first(other)) { other.clone() } else { first(other) });
        }
    }
    left.sort_by(|a, b| natural(a, b));
    left.dedup();
    let note = (!left.is_empty()).then(|| format!("left out {}: no weights", listed(&left)));
    named.sort_by(|(a, _), (b, _)| {
        let layer = |key| role(key).map_or("", |(layer, _)| layer);
        natural(layer(a), layer(b)).then_with(|| natural(a, b))
    });
    Ok((named, note))
}

fn has_variable<'r, 'a>(roles: &'r Roles<'a>, i: u8) -> Option<&'r NamedTensor<'a>> {
    roles.iter().find(|(role, _)| *role == Role::Variable(i)).map(|(_, tensor)| tensor)
}

/// Takes the tensor of a role.
fn take<'a>(roles: &mut Roles<'a>, wanted: &[Role]) -> Option<NamedTensor<'a>> {
    let at = roles.iter().position(|(role, _)| wanted.contains(role))?;
    Some(roles.swap_remove(at).1)
}

fn norm(name: String, mut roles: Roles, epsilon: Option<f64>) -> Result<Norm> {
    let is_keras = roles.iter().any(|(_, t)| t.name.contains("moving_") || t.name.contains("vars"));
    let epsilon = epsilon.unwrap_or(if is_keras { EPSILON.1 } else { EPSILON.0 });
    let scale = take(&mut roles, &[Role::Scale, Role::Weight, Role::Variable(0)]);
    let shift = take(&mut roles, &[Role::Shift, Role::Bias, Role::Variable(1)]);
    let mean = take(&mut roles, &[Role::Mean, Role::Variable(2)]);
    let variance = take(&mut roles, &[Role::Variance, Role::Variable(3)]);
    let (Some(mean), Some(variance)) = (mean, variance) else {
        bail!(
            "the batch normalization `{name}` has a running mean or a running variance, wanted both"
        );
    };
    let n = mean.n_numbers();
    let vector = |tensor: Option<NamedTensor>, other: f64| match tensor {
        None => Ok(vec![other; n]),
        Some(tensor) if tensor.shape == [n] => tensor.vector(),
        Some(tensor) => {
            Err(anyhow!("tensor `{}` has shape {:?}, wanted [{n}]", tensor.name, tensor.shape))
        }
    };
    let variance_name = variance.name.clone();
    let name_of = |tensor: &Option<NamedTensor>| tensor.as_ref().map(|tensor| tensor.name.clone());
    let spelled = SpelledNorm {
        scale: name_of(&scale),
        shift: name_of(&shift),
        mean: mean.name.clone(),
        variance: variance_name.clone(),
        epsilon,
    };
    let (scale, shift) = (vector(scale, 1.0)?, vector(shift, 0.0)?);
    let (mean, variance) = (vector(Some(mean), 0.0)?, vector(Some(variance), 1.0)?);
    if let Some(i) = variance.iter().position(|v| *v + epsilon <= 0.0 || *v < 0.0) {
        bail!("tensor `{variance_name}` holds the variance {} at place {i}", variance[i]);
    }
    let scale: Vec<f64> =
        scale.iter().zip(&variance).map(|(gamma, v)| gamma / (v + epsilon).sqrt()).collect();
    let shift =
        shift.iter().zip(&mean).zip(&scale).map(|((beta, mean), s)| beta - s * mean).collect();
    Ok(Norm { name, affine: Affine { scale, shift, spelled }, epsilon })
}

/// A dense layer; `true` if its name says that it is stored as (in, out), and so was turned.
fn dense(name: String, mut roles: Roles<'_>) -> Result<(Dense<'_>, bool)> {
    let kernel = take(&mut roles, &[Role::Kernel, Role::Variable(0)]);
    let plain = take(&mut roles, &[Role::Weight]);
    let (gain, direction) = (take(&mut roles, &[Role::Gain]), take(&mut roles, &[Role::Direction]));
    let original = take(&mut roles, &[Role::WeightOriginal]);
    let mask = take(&mut roles, &[Role::WeightMask]);
    let is_kernel = kernel.is_some();
    let weight = match (kernel, plain, gain, direction, original, mask) {
        (Some(kernel), None, None, None, None, None) => {
            // What it is has to be said of its own shape.
            matrix(&kernel)?;
            Weight::Plain(kernel.transposed())
        }
        (None, Some(plain), None, None, None, None) => Weight::Plain(plain),
        (None, None, Some(gain), Some(direction), None, None) => {
            Weight::Normalized { gain, direction }
        }
        (None, None, None, None, Some(original), Some(mask)) => Weight::Masked { original, mask },
        (None, None, None, None, None, None) => {
            let (_, other) = roles.first().ok_or_else(|| anyhow!("`{name}` has no weight"))?;
            bail!("`{}` has no weight: its layer holds no `*.weight`", other.name);
        }
        _ => bail!(
            "`{name}` has a weight that is spelled in two ways, or the half of one: wanted weight, kernel, weight_g \
             and weight_v, or weight_orig and weight_mask"
        ),
    };
    let plain = take(&mut roles, &[Role::Bias, Role::Variable(1), Role::Shift]);
    let original = take(&mut roles, &[Role::BiasOriginal]);
    let bias = match (plain, original, take(&mut roles, &[Role::BiasMask])) {
        (None, None, None) => None,
        (Some(plain), None, None) => Some(Bias::Plain(plain)),
        (None, Some(original), Some(mask)) => Some(Bias::Masked { original, mask }),
        _ => bail!("`{name}` has a bias that is spelled in two ways, or a mask without its bias"),
    };
    if let Some((_, other)) = roles.first() {
        bail!("tensor `{}` belongs to no dense layer: only perceptrons are read", other.name);
    }
    let (n_units, n_inputs) = weight.check()?;
    let layer = Layer { name, n_units, n_inputs };
    let is_turned = is_kernel;
    Ok((Dense { layer, weight, bias, is_turned, of_inputs: None, of_units: None }, is_kernel))
}

/// Which weights are stored as (in, out): the lengths of biases tell.
#[derive(Default)]
struct Turns<'a> {
    /// Layers, and whether the name has told already.
    layers: Vec<(Dense<'a>, bool)>,
}

impl<'a> Turns<'a> {
    fn add(&mut self, layer: (Dense<'a>, bool)) {
        self.layers.push(layer);
    }

    fn settle(self) -> Result<(Vec<Dense<'a>>, Option<String>)> {
        let (mut turned, mut plain) = (None, false);
        for (Dense { layer, bias, .. }, is_told) in &self.layers {
            let Some(bias) = bias.as_ref().map(Bias::tensor) else { continue };
            let Layer { n_units, n_inputs, .. } = *layer;
            match bias.shape[..] {
                [n] if n == n_units => plain |= n_units != n_inputs && !is_told,
                [n] if n == n_inputs && !is_told => turned = turned.or(Some(bias)),
                ref shape => {
                    bail!("tensor `{}` has shape {shape:?}, wanted [{n_units}]", bias.name)
                }
            }
        }
        let Some(bias) = turned else {
            return Ok((self.layers.into_iter().map(|(layer, _)| layer).collect(), None));
        };
        if plain {
            bail!(
                "tensor `{}` fits its weight only if that is stored as (inputs, outputs), but other weights are stored \
                 as (outputs, inputs); transpose that weight",
                bias.name
            );
        }
        let note = format!(
            "weights are stored as (inputs, outputs), as the length of `{}` shows: transposed",
            bias.name
        );
        let turn = |(mut dense, is_told): (Dense<'a>, bool)| {
            if !is_told {
                let Layer { n_units, n_inputs, .. } = &mut dense.layer;
                std::mem::swap(n_units, n_inputs);
                dense.weight = dense.weight.transposed();
                dense.is_turned = true;
            }
            dense
        };
        Ok((self.layers.into_iter().map(turn).collect(), Some(note)))
    }
}
