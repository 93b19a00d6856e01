//! The order of dense layers that a file lists by name only.

use std::cmp::Ordering;

use anyhow::{Result, bail};

use super::Layer;

/// Steps of the search for chains; beyond them names decide.
const MOST_STEPS: usize = 100_000;

/// Layers so that each takes what the one before gives.
///
/// Where the shapes admit one order alone, that one; layers of one shape go by their names. Else the natural order of
/// the names (`layer2` before `layer10`), which must chain.
pub(super) fn order(mut layers: Vec<Layer>) -> Result<Vec<Layer>> {
    layers.sort_by(|a, b| natural(&a.name, &b.name));
    let shapes: Vec<Shape> = layers.iter().map(|l| (l.n_inputs, l.n_units)).collect();
    let mut search = Search::new(&shapes);
    search.extend(None);
    match &search.found[..] {
        [only] if search.is_whole() => {
            let mut slots: Vec<Option<Layer>> = layers.into_iter().map(Some).collect();
            let mut take = |shape: &Shape| {
                let fits = |slot: &&mut Option<Layer>| {
                    slot.as_ref().is_some_and(|l| (l.n_inputs, l.n_units) == *shape)
                };
                slots.iter_mut().find(fits).and_then(Option::take)
            };
            Ok(only.iter().filter_map(&mut take).collect())
        }
        _ => by_name(layers),
    }
}

/// Layers in the order of their names, if that is a chain.
fn by_name(layers: Vec<Layer>) -> Result<Vec<Layer>> {
    for pair in layers.windows(2) {
        let (below, above) = (&pair[0], &pair[1]);
        if below.n_units != above.n_inputs {
            bail!(
                "the order of the layers is unclear: neither shapes nor names make a chain (`{}` gives {}, `{}` \
                 takes {}); name them in their order",
                below.name,
                below.n_units,
                above.name,
                above.n_inputs
            );
        }
    }
    Ok(layers)
}

/// Inputs, units.
type Shape = (usize, usize);

/// A search for at most two different chains of all shapes.
struct Search {
    /// Each shape once, and how many layers have it left.
    left: Vec<(Shape, usize)>,
    chain: Vec<Shape>,
    n: usize,
    found: Vec<Vec<Shape>>,
    n_steps: usize,
}

impl Search {
    fn new(shapes: &[Shape]) -> Self {
        let mut left: Vec<(Shape, usize)> = Vec::new();
        for shape in shapes {
            match left.iter_mut().find(|(s, _)| s == shape) {
                Some((_, count)) => *count += 1,
                None => left.push((*shape, 1)),
            }
        }
        Self { left, chain: Vec::new(), n: shapes.len(), found: Vec::new(), n_steps: 0 }
    }

    /// Whether every chain was looked at.
    fn is_whole(&self) -> bool {
        self.n_steps < MOST_STEPS
    }

    fn extend(&mut self, width: Option<usize>) {
        self.n_steps += 1;
        if self.chain.len() == self.n {
            self.found.push(self.chain.clone());
            return;
        }
        for i in 0..self.left.len() {
            let (shape, count) = self.left[i];
            if count == 0 || width.is_some_and(|width| width != shape.0) {
                continue;
            }
            if self.found.len() > 1 || !self.is_whole() {
                return;
            }
            self.left[i].1 -= 1;
            self.chain.push(shape);
            self.extend(Some(shape.1));
            self.chain.pop();
            self.left[i].1 += 1;
        }
    }
}

/// Names with their numbers as numbers: `layer2` before `layer10`.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    while !left.is_empty() && !right.is_empty() {
        let (l, r) = (piece(left), piece(right));
        let are_numbers = [l, r].iter().all(|p| p.as_bytes()[0].is_ascii_digit());
        let order = if are_numbers {
            let (l, r) = (l.trim_start_matches('0'), r.trim_start_matches('0'));
            l.len().cmp(&r.len()).then_with(|| l.cmp(r))
        } else {
            l.cmp(r)
        };
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (&left[l.len()..], &right[r.len()..]);
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// The digits, or the other characters, that a text begins with.
fn piece(text: &str) -> &str {
    let is_digit = |c: char| c.is_ascii_digit();
    let first = text.starts_with(is_digit);
    &text[..text.find(|c: char| is_digit(c) != first).unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(layers: &[(&str, Shape)]) -> Result<Vec<String>> {
        let layer = |(name, shape): &(&str, Shape)| Layer {
            name: (*name).to_owned(),
            n_inputs: shape.0,
            n_units: shape.1,
        };
        Ok(order(layers.iter().map(layer).collect())?.into_iter().map(|l| l.name).collect())
    }

    #[test]
    fn names_are_compared_with_their_numbers() {
        let mut names = ["l10", "l2", "l02", "l", "l1.b", "l1.a10", "l1.a9", "10", "9"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["9", "10", "l", "l1.a9", "l1.a10", "l1.b", "l02", "l2", "l10"]);
        assert_eq!(
            natural("a99999999999999999999999", "a99999999999999999999998"),
            Ordering::Greater
        );
    }

    #[test]
    fn shapes_decide_where_they_can() {
        let found = ordered(&[("a", (5, 1)), ("b", (3, 4)), ("c", (4, 5))]).unwrap();
        assert_eq!(found, ["b", "c", "a"]);
        // Layers of one shape go by name, the rest by its place in the chain.
        let found = ordered(&[("in", (3, 4)), ("h10", (4, 4)), ("h2", (4, 4)), ("a", (4, 1))]);
        assert_eq!(found.unwrap(), ["in", "h2", "h10", "a"]);
    }

    #[test]
    fn names_decide_where_shapes_cannot() {
        // 3 → 4 → 3 or 4 → 3 → 4.
        let found = ordered(&[("layer10", (3, 4)), ("layer9", (4, 3))]).unwrap();
        assert_eq!(found, ["layer9", "layer10"]);
        let many: Vec<String> = (1..=11).map(|t| format!("layer{t}")).collect();
        let mut shuffled: Vec<(&str, Shape)> =
            many.iter().map(|name| (name.as_str(), (2, 2))).collect();
        shuffled.sort_unstable();
        assert_eq!(ordered(&shuffled).unwrap(), many);
    }

    #[test]
    fn what_makes_no_chain_is_refused() {
        let message = ordered(&[("a", (3, 4)), ("b", (5, 1))]).unwrap_err().to_string();
        assert!(message.contains("`a` gives 4, `b` takes 5"), "{message}");
        // Two chains, and names that follow neither.
        assert!(ordered(&[("a", (3, 4)), ("b", (3, 3)), ("c", (4, 3))]).is_err());
    }
}
