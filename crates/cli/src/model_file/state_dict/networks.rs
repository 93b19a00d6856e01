//! Several networks in one file: a copy that averages beside the one that is trained, actor and critic, teacher and
//! student.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};

use super::dense::Dense;
use super::layer::{Layer, widths};
use super::order::{chain, chains_of, natural};

/// Layers among which equal ones are looked for.
const MOST_COMPARED: usize = 64;

/// Refuses layers that are more than one network: equal copies, or networks of which no two make one.
pub(super) fn refuse_several(layers: &[Layer]) -> Result<()> {
    let groups = groups(layers);
    if groups.len() < 2 || groups.values().any(|group| group.len() < 2 || !chain(group)) {
        return Ok(());
    }
    let shapes = |group: &Vec<Layer>| -> Vec<(usize, usize)> {
        group.iter().map(|layer| (layer.n_inputs, layer.n_units)).collect()
    };
    let mut kinds: Vec<_> = groups.values().map(shapes).collect();
    kinds.sort_unstable();
    // A copy may have other names below its own, such as the `module` of an average.
    let are_copies = kinds.windows(2).any(|pair| pair[0] == pair[1]);
    let chains = chains_of_parts(layers, None);
    if !are_copies && !chains.is_empty() {
        return Ok(());
    }
    let listed: Vec<String> =
        groups.iter().map(|(name, group)| format!("`{name}` {:?}", widths(group))).collect();
    let example: Vec<String> = groups
        .iter()
        .next()
        .map(|(name, group)| group.iter().map(|layer| format!("{name}.{}", layer.name)).collect())
        .unwrap_or_default();
    // Blocks of one network may be alike, as the networks of an ensemble are.
    let whole = chains.first().map_or_else(String::new, |all| {
        let names: Vec<&str> = all.iter().map(|layer| layer.name.as_str()).collect();
        format!("; where they are parts of one network, take all with --layers {}", names.join(","))
    });
    bail!(
        "holds {} networks: {}; choose one with --prefix {} (or --layers {}), or save one alone{whole}",
        groups.len(),
        listed.join(", "),
        groups.keys().next().map_or("", String::as_str),
        example.join(",")
    )
}

/// Adds which layers are one under two names, where the order or the network is unclear.
pub(super) fn with_tied(error: anyhow::Error, layers: &[Dense]) -> anyhow::Error {
    let compared = &layers[..layers.len().min(MOST_COMPARED)];
    for (i, a) in compared.iter().enumerate() {
        if let Some(b) = compared[i + 1..].iter().find(|b| a.equals(b)) {
            let (a, b) = (&a.layer.name, &b.layer.name);
            return anyhow!(
                "{error} (`{a}` and `{b}` hold the same numbers: one layer under two names, or a copy)"
            );
        }
    }
    error
}

/// Layers by the part of their names in which they begin to differ, named by the rest.
fn groups(layers: &[Layer]) -> BTreeMap<String, Vec<Layer>> {
    let parts: Vec<Vec<&str>> =
        layers.iter().map(|layer| layer.name.split('.').collect()).collect();
    let common = parts.first().map_or(0, |first| {
        let is_common = |&i: &usize| parts.iter().all(|p| i + 1 < p.len() && p[i] == first[i]);
        (0..first.len()).take_while(is_common).count()
    });
    let mut groups: BTreeMap<String, Vec<Layer>> = BTreeMap::new();
    for (layer, parts) in layers.iter().zip(&parts) {
        let (group, rest) = parts.split_at((common + 1).min(parts.len()));
        let renamed = Layer { name: rest.join("."), ..layer.clone() };
        groups.entry(group.join(".")).or_default().push(renamed);
    }
    for group in groups.values_mut() {
        group.sort_by(|a, b| natural(&a.name, &b.name));
    }
    groups
}

/// Chains of all layers in which each part of the file follows another as a whole, as an encoder and a decoder do: two of them
/// at most, that begin with a width, or with any.
pub(super) fn chains_of_parts(layers: &[Layer], start: Option<usize>) -> Vec<Vec<Layer>> {
    let groups = groups(layers);
    if groups.len() < 2 || !groups.values().all(|group| chain(group)) {
        return Vec::new();
    }
    let end = |(name, group): (&String, &Vec<Layer>)| {
        let (n_inputs, n_units) = (group.first()?.n_inputs, group.last()?.n_units);
        Some(Layer { name: name.clone(), n_inputs, n_units })
    };
    let mut ends: Vec<Layer> = groups.iter().filter_map(end).collect();
    ends.sort_by(|a, b| natural(&a.name, &b.name));
    let whole = |part: &Layer| -> Vec<Layer> {
        let full = |layer: &Layer| match layer.name.is_empty() {
            true => part.name.clone(),
            false => format!("{}.{}", part.name, layer.name),
        };
        let group = groups.get(&part.name).map_or(&[][..], Vec::as_slice);
        group.iter().map(|layer| Layer { name: full(layer), ..layer.clone() }).collect()
    };
    let parts = chains_of(&ends, start);
    parts.iter().map(|parts| parts.iter().flat_map(whole).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(layers: &[(&str, usize, usize)]) -> Result<(), String> {
        let layer = |&(name, n_inputs, n_units): &(&str, usize, usize)| Layer {
            name: name.to_owned(),
            n_inputs,
            n_units,
        };
        let layers: Vec<Layer> = layers.iter().map(layer).collect();
        refuse_several(&layers).map_err(|error| error.to_string())
    }

    #[test]
    fn copies_and_strangers_are_several_networks() {
        let copies = [("online.0", 1, 6), ("online.2", 6, 1), ("ema.0", 1, 6), ("ema.2", 6, 1)];
        let message = told(&copies).unwrap_err();
        assert!(message.contains("2 networks: `ema` [1, 6, 1], `online` [1, 6, 1]"), "{message}");
        assert!(message.contains("--layers ema.0,ema.2"), "{message}");
        let below = copies.map(|(name, a, b)| (format!("module.{name}"), a, b));
        let below: Vec<_> = below.iter().map(|(name, a, b)| (name.as_str(), *a, *b)).collect();
        assert!(told(&below).unwrap_err().contains("`module.ema`"));
        let strangers =
            [("actor.0", 4, 8), ("actor.2", 8, 2), ("critic.0", 4, 8), ("critic.2", 8, 1)];
        assert!(told(&strangers).unwrap_err().contains("`actor` [4, 8, 2], `critic` [4, 8, 1]"));
    }

    #[test]
    fn alike_parts_are_an_ensemble_or_one_network() {
        let numbered = [("1.a", 4, 6), ("1.b", 6, 4), ("2.a", 4, 6), ("2.b", 6, 4)];
        let message = told(&numbered).unwrap_err();
        assert!(message.contains("--prefix 1 ") && message.contains("--layers 1.a,1.b,2.a,2.b"));
    }

    #[test]
    fn parts_of_one_network_are_one() {
        let numbered = [("1.a", 3, 4), ("1.b", 4, 5), ("2.a", 5, 6), ("2.b", 6, 7)];
        assert_eq!(told(&numbered), Ok(()));
        let halves =
            [("encoder.0", 4, 3), ("encoder.2", 3, 2), ("decoder.0", 2, 3), ("decoder.2", 3, 4)];
        assert_eq!(told(&halves), Ok(()));
        assert_eq!(told(&[("fc1", 4, 4), ("fc2", 4, 4), ("out", 4, 1)]), Ok(()));
        assert_eq!(told(&[("", 4, 1)]), Ok(()));
    }
}
