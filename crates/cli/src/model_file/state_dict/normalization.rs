//! Where batch normalizations stand among dense layers, and their folding into them.

use anyhow::{Result, bail};

use super::dense::{Affine, Dense};
use super::groups::{Norm, listed};

/// On which side of the activation a batch normalization stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Linear, normalization, activation.
    Before,
    /// Linear, activation, normalization.
    After,
}

/// What a batch normalization is folded into.
enum Slot {
    /// The sums of layer t.
    Units(usize),
    /// The inputs of layer t.
    Inputs(usize),
}

/// Folds batch normalizations into the layers of a chain; what was assumed is said.
///
/// Behind layer t, before its activation: W ← diag(s) W, b ← s ⊙ b + t. Behind the activation, of the next layer: b ← b + W t,
/// W ← W diag(s). A state dict says which only where layers are numbered without a gap, as those of `nn.Sequential`; else
/// the convention counts, before the activation, or what the user said. `skipped` are layers that were not asked for.
pub(super) fn fold(
    norms: Vec<Norm>,
    layers: &mut [Dense],
    side: Option<Side>,
    skipped: &[String],
) -> Result<Option<String>> {
    let (mut told, mut left, mut epsilon) = (Vec::new(), Vec::new(), 0.0);
    for norm in norms {
        // Beside layers that were not asked for stands what belongs to them.
        let is_beside = skipped.iter().any(|name| split(name).0 == split(&norm.name).0);
        let Some((slot, is_known)) = slot(&norm, layers, side, is_beside) else {
            match is_beside {
                true => left.push(norm.name),
                false => return Err(lost(&norm, layers)),
            }
            continue;
        };
        let (place, taken, n) = match slot {
            Slot::Units(t) => {
                let layer = &mut layers[t];
                let place = format!("behind `{}`, before its activation", layer.layer.name);
                (place, &mut layer.of_units, layer.layer.n_units)
            }
            Slot::Inputs(t) => {
                let below = t.checked_sub(1).and_then(|t| layers.get(t));
                let place = match below {
                    Some(below) => format!("behind the activation of `{}`", below.layer.name),
                    None => "on the inputs".to_owned(),
                };
                let layer = &mut layers[t];
                (place, &mut layer.of_inputs, layer.layer.n_inputs)
            }
        };
        let Norm { name, affine, .. } = norm;
        let found = affine.scale.len();
        if found != n {
            bail!("the batch normalization `{name}` has {found} numbers, but {n} are {place}");
        }
        if taken.replace(affine).is_some() {
            bail!("two batch normalizations are {place}, one of them `{name}`");
        }
        let why = if is_known { "" } else { " (--batch-norm overrules)" };
        told.push(format!("`{name}` {place}{why}"));
        epsilon = norm.epsilon;
    }
    let mut notes = Vec::new();
    if !told.is_empty() {
        notes.push(format!(
            "batch normalizations folded into the layers, epsilon {epsilon:e} (--batch-norm-epsilon overrules): {}",
            told.join("; ")
        ));
    }
    if !left.is_empty() {
        notes.push(format!("left out {}: batch normalizations of other layers", listed(&left)));
    }
    Ok((!notes.is_empty()).then(|| notes.join("; ")))
}

/// The place of a normalization, and whether the file leaves no other; `None` where no layer is known.
fn slot(
    norm: &Norm,
    layers: &[Dense],
    side: Option<Side>,
    is_beside: bool,
) -> Option<(Slot, bool)> {
    let n = norm.affine.scale.len();
    let behind = |t: usize, side: Side| match side {
        Side::After if t + 1 < layers.len() => Slot::Inputs(t + 1),
        Side::Before | Side::After => Slot::Units(t),
    };
    let (parent, last) = split(&norm.name);
    if let Ok(place) = last.parse::<u64>() {
        let number = |dense: &Dense| {
            let (of, last) = split(&dense.layer.name);
            (of == parent).then(|| last.parse::<u64>().ok()).flatten()
        };
        let numbers = layers.iter().enumerate().filter_map(|(t, dense)| Some((t, number(dense)?)));
        let below = numbers.clone().filter(|(_, i)| *i < place).max_by_key(|(_, i)| *i);
        let above = numbers.filter(|(_, i)| *i > place).min_by_key(|(_, i)| *i);
        let is_next = above.is_some_and(|(_, i)| i == place + 1);
        match (below, above) {
            // Directly behind a layer, or directly before the next: the one gap is the activation.
            (Some((t, i)), _) if i + 1 == place => {
                let known = (!is_next).then_some(Side::Before);
                let chosen = side.or(known).unwrap_or(Side::Before);
                return Some((behind(t, chosen), known.is_some() && side.is_none()));
            }
            (Some((t, _)), _) => {
                return Some((behind(t, side.unwrap_or(Side::After)), is_next && side.is_none()));
            }
            (None, Some((t, _))) if is_next => return Some((Slot::Inputs(t), true)),
            (None, _) => {}
        }
    }
    // Numbers of names such as fc1 and bn1, in one parent or in two lists.
    let number = |name: &str| {
        let digits = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        name[digits..].parse::<u64>().ok()
    };
    let relatives = |dense: &&(usize, &Dense)| {
        let (of, last) = split(&dense.1.layer.name);
        let are_lists = !is_beside && split(of).0 == split(parent).0 && of != parent;
        number(last) == number(split(&norm.name).1) && (of == parent || are_lists)
    };
    let fits = |dense: &&(usize, &Dense)| {
        dense.1.layer.n_units == n || dense.0 == 0 && dense.1.layer.n_inputs == n
    };
    let all: Vec<(usize, &Dense)> = layers.iter().enumerate().collect();
    let of_parent = |dense: &&(usize, &Dense)| split(&dense.1.layer.name).0 == parent;
    let only = |mut found: Vec<usize>| if found.len() == 1 { found.pop() } else { None };
    let places = |is: &dyn Fn(&&(usize, &Dense)) -> bool| {
        only(all.iter().filter(|d| fits(d) && is(d)).map(|(t, _)| *t).collect())
    };
    let found = places(&relatives).or_else(|| places(&of_parent));
    let found = found.or_else(|| if is_beside { None } else { places(&|_| true) });
    found.map(|t| match layers[t].layer.n_units == n {
        true => (behind(t, side.unwrap_or(Side::Before)), false),
        false => (Slot::Inputs(t), false),
    })
}

/// A normalization that fits no layer, or several.
fn lost(norm: &Norm, layers: &[Dense]) -> anyhow::Error {
    let Affine { scale, .. } = &norm.affine;
    let names: Vec<String> = layers.iter().map(|dense| dense.layer.name.clone()).collect();
    anyhow::anyhow!(
        "the batch normalization `{}` of {} numbers belongs to none of the layers {}, or to several; name it after its \
         layer, such as bn1 for fc1, or fold it before saving",
        norm.name,
        scale.len(),
        listed(&names)
    )
}

/// What is before the last dot of a name, and behind it.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}
