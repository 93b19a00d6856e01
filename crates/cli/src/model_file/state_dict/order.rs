//! The order of dense layers that a file lists by name only.

use std::cmp::Ordering;

use anyhow::{Result, anyhow, bail};

use super::layer::{Layer, widths};
use super::networks;

/// Steps of the search for chains; beyond them it counts as undecided.
const MOST_STEPS: usize = 100_000;

/// Layers in an order, and what was assumed to find it.
#[derive(Debug)]
pub(super) struct Ordered {
    pub(super) layers: Vec<Layer>,
    pub(super) note: Option<String>,
}

/// Layers so that each takes what the one before gives.
///
/// Shapes decide where they leave one order, numbers in otherwise equal names decide among layers that shapes do not tell
/// apart, and the features of the data decide where one end alone takes them. What then is still open is an error that
/// lists orders that fit.
pub(super) fn order(mut layers: Vec<Layer>, n_inputs: Option<usize>) -> Result<Ordered> {
    layers.sort_by(|a, b| natural(&a.name, &b.name));
    let chains = Chains::of(&layers, None);
    match (&chains.found[..], chains.is_whole()) {
        ([], true) => Err(no_chain(&layers)),
        // Transposed weights chain the other way round.
        ([only], true) if layers.len() > 1 && are_numbered(&layers) && !chain(&layers) => {
            let why = "the numbers in the names say another order than the shapes, as where weights are stored as \
                       (inputs, outputs), to be transposed";
            Err(unclear(why, &[fill(&layers, only)]))
        }
        ([only], true) => forced(&layers, only).map(|layers| Ordered { layers, note: None }),
        _ if are_numbered(&layers) && chain(&layers) => Ok(Ordered { layers, note: None }),
        _ => by_inputs(&layers, n_inputs),
    }
}

/// Named layers in the order in which they were named.
pub(super) fn as_asked(layers: &[Layer], asked: &[String]) -> Result<Vec<Layer>> {
    let find = |name: &String| {
        let found = layers.iter().find(|layer| layer.name == *name);
        found.cloned().ok_or_else(|| anyhow!("--layers: the file has no `{name}.weight`"))
    };
    let chosen: Vec<Layer> = asked.iter().map(find).collect::<Result<_>>()?;
    match chosen.windows(2).find(|pair| pair[0].n_units != pair[1].n_inputs) {
        Some([below, above]) => bail!(
            "--layers: `{}` gives {} numbers, but `{}` after it takes {}",
            below.name,
            below.n_units,
            above.name,
            above.n_inputs
        ),
        _ => Ok(chosen),
    }
}

/// Whether each layer takes what the one before gives.
pub(super) fn chain(layers: &[Layer]) -> bool {
    layers.windows(2).all(|pair| pair[0].n_units == pair[1].n_inputs)
}

/// Two at most of the chains of all layers that begin with a width, or with any.
pub(super) fn chains_of(layers: &[Layer], start: Option<usize>) -> Vec<Vec<Layer>> {
    Chains::of(layers, start).found.iter().map(|shapes| fill(layers, shapes)).collect()
}

/// The one chain of shapes, filled with layers; those of one shape must be numbered.
fn forced(layers: &[Layer], shapes: &[Shape]) -> Result<Vec<Layer>> {
    let ordered = fill(layers, shapes);
    for shape in shapes {
        let equal: Vec<Layer> = ordered.iter().filter(|l| shape_of(l) == *shape).cloned().collect();
        if !are_numbered(&equal) {
            let (a, b) = (&equal[0], &equal[equal.len() - 1]);
            let turned = ordered.iter().map(|layer| match layer {
                layer if layer == a => b.clone(),
                layer if layer == b => a.clone(),
                other => other.clone(),
            });
            let (a, b, (inputs, units)) = (&a.name, &b.name, shape);
            let why = format!("`{a}` and `{b}` both have {inputs} inputs and {units} units");
            return Err(unclear(&why, &[turned.collect(), ordered]));
        }
    }
    Ok(ordered)
}

/// The one chain that takes the features of the data.
fn by_inputs(layers: &[Layer], n_inputs: Option<usize>) -> Result<Ordered> {
    let examples = |start| match networks::chains_of_parts(layers, start) {
        parts if parts.is_empty() => chains_of(layers, start),
        parts => parts,
    };
    let Some(n) = n_inputs else {
        return Err(unclear("the layers chain in more than one way", &examples(None)));
    };
    let chains = Chains::of(layers, Some(n));
    match (&chains.found[..], chains.is_whole()) {
        ([only], true) => {
            let layers = forced(layers, only)?;
            let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
            let note = format!(
                "layers in the order {}, the only one that takes the {n} features of the data (--layers overrules)",
                names.join(", ")
            );
            Ok(Ordered { layers, note: Some(note) })
        }
        ([], true) => {
            let why = format!("the layers chain in more than one way, and none takes {n} features");
            Err(unclear(&why, &examples(None)))
        }
        _ => {
            let why = format!("the layers chain in more than one way that takes {n} features");
            Err(unclear(&why, &examples(Some(n))))
        }
    }
}

fn unclear(why: &str, examples: &[Vec<Layer>]) -> anyhow::Error {
    let listed: Vec<String> = examples.iter().map(|layers| example(layers)).collect();
    anyhow!(
        "the order of the layers is unclear: {why}; set it with --layers, for example {}; or number their names \
         in their order",
        listed.join(" or ")
    )
}

/// Layers as --layers takes them, and their widths.
fn example(layers: &[Layer]) -> String {
    let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    format!("{} ({:?})", names.join(","), widths(layers))
}

fn no_chain(layers: &[Layer]) -> anyhow::Error {
    let turned = |l: &Layer| Layer { n_units: l.n_inputs, n_inputs: l.n_units, ..l.clone() };
    let turned: Vec<Layer> = layers.iter().map(turned).collect();
    let is_turned = chain(&turned) && turned.len() > 1;
    let hint = match is_turned {
        true => "; weights seem to be stored as (inputs, outputs): transpose them",
        false => "",
    };
    let gap = layers.windows(2).find(|pair| pair[0].n_units != pair[1].n_inputs);
    let gap = gap.map_or_else(String::new, |pair| {
        let (below, above) = (&pair[0], &pair[1]);
        format!(
            ": `{}` gives {}, `{}` takes {}",
            below.name, below.n_units, above.name, above.n_inputs
        )
    });
    let candidates = candidates(layers);
    let choice = match (is_turned, &candidates[..]) {
        (true, _) | (_, []) => String::new(),
        (false, some) => {
            let listed: Vec<String> = some.iter().map(|layers| example(layers)).collect();
            format!(
                "; where the file holds more than one network, choose one with --layers, for example {}",
                listed.join(" or ")
            )
        }
    };
    anyhow!(
        "no order of all layers is a chain in which each takes what the one before gives{gap}{hint}{choice}"
    )
}

/// Some chains of a part of the layers that cannot be made longer, the longest first: two heads, or two networks.
fn candidates(layers: &[Layer]) -> Vec<Vec<Layer>> {
    let mut found: Vec<Vec<usize>> = Vec::new();
    let mut n_steps = 0;
    let follows = |a: usize, b: usize| layers[a].n_units == layers[b].n_inputs;
    let is_start = |b: &usize| (0..layers.len()).all(|a| a == *b || !follows(a, *b));
    let mut open: Vec<Vec<usize>> = (0..layers.len()).filter(is_start).map(|i| vec![i]).collect();
    while let Some(chain) = open.pop() {
        n_steps += chain.len();
        if n_steps > MOST_STEPS || found.len() >= MOST_FOUND {
            break;
        }
        let last = chain[chain.len() - 1];
        let next = (0..layers.len()).filter(|b| !chain.contains(b) && follows(last, *b));
        let longer: Vec<Vec<usize>> = next.map(|b| [&chain[..], &[b]].concat()).collect();
        match longer.is_empty() {
            true if chain.len() > 1 => found.push(chain),
            true => {}
            false => open.extend(longer),
        }
    }
    found.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    found.truncate(MOST_LISTED);
    found.iter().map(|chain| chain.iter().map(|&i| layers[i].clone()).collect()).collect()
}

/// Chains that are looked for, and those of them that are listed.
const MOST_FOUND: usize = 100;
const MOST_LISTED: usize = 4;

/// Inputs, units.
type Shape = (usize, usize);

fn shape_of(layer: &Layer) -> Shape {
    (layer.n_inputs, layer.n_units)
}

/// Layers for a chain of shapes; those of one shape in the order that they have.
fn fill(layers: &[Layer], shapes: &[Shape]) -> Vec<Layer> {
    let mut slots: Vec<Option<&Layer>> = layers.iter().map(Some).collect();
    let mut take = |shape: &Shape| {
        let fits = |slot: &&mut Option<&Layer>| slot.is_some_and(|l| shape_of(l) == *shape);
        slots.iter_mut().find(fits).and_then(Option::take).cloned()
    };
    shapes.iter().filter_map(&mut take).collect()
}

/// Whether names are equal but for their numbers, which then are an order.
fn are_numbered(layers: &[Layer]) -> bool {
    let skeleton = |layer: &Layer| -> String {
        let mut left = layer.name.as_str();
        let mut skeleton = String::new();
        while !left.is_empty() {
            let piece = piece(left);
            skeleton += if piece.starts_with(|c: char| c.is_ascii_digit()) { "#" } else { piece };
            left = &left[piece.len()..];
        }
        skeleton
    };
    let skeletons: Vec<String> = layers.iter().map(skeleton).collect();
    // Keras numbers from the second on: dense, dense_1, dense_2.
    let is_keras = |first: &String| skeletons[1..].iter().all(|s| *s == format!("{first}_#"));
    skeletons.windows(2).all(|pair| pair[0] == pair[1]) || skeletons.first().is_some_and(is_keras)
}

/// At most two different chains of all shapes.
struct Chains {
    /// Each shape once, and how many layers have it left.
    left: Vec<(Shape, usize)>,
    chain: Vec<Shape>,
    n: usize,
    found: Vec<Vec<Shape>>,
    n_steps: usize,
}

impl Chains {
    /// Chains that begin with a width, or with any.
    fn of(layers: &[Layer], start: Option<usize>) -> Self {
        let mut left: Vec<(Shape, usize)> = Vec::new();
        for shape in layers.iter().map(shape_of) {
            match left.iter_mut().find(|(s, _)| *s == shape) {
                Some((_, count)) => *count += 1,
                None => left.push((shape, 1)),
            }
        }
        let (chain, found) = (Vec::new(), Vec::new());
        let mut chains = Self { left, chain, n: layers.len(), found, n_steps: 0 };
        // More layers than steps are undecided at once: the search goes as deep as there are layers.
        if chains.n < MOST_DEPTH {
            chains.extend(start);
        } else {
            chains.n_steps = MOST_STEPS;
        }
        chains
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

/// Layers of the deepest network whose order is looked for: each takes a place on the stack.
const MOST_DEPTH: usize = 5000;

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

    fn layer((name, shape): &(&str, Shape)) -> Layer {
        Layer { name: (*name).to_owned(), n_inputs: shape.0, n_units: shape.1 }
    }

    fn ordered(layers: &[(&str, Shape)], n_inputs: Option<usize>) -> Result<Vec<String>, String> {
        let found = order(layers.iter().map(layer).collect(), n_inputs);
        let names = |found: Ordered| found.layers.into_iter().map(|l| l.name).collect();
        found.map(names).map_err(|error| error.to_string())
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
        let found = ordered(&[("a", (5, 1)), ("b", (3, 4)), ("c", (4, 5))], None).unwrap();
        assert_eq!(found, ["b", "c", "a"]);
        // Layers of one shape go by their numbers, the rest by its place in the chain.
        let layers = [("in", (3, 4)), ("h10", (4, 4)), ("h2", (4, 4)), ("a", (4, 1))];
        assert_eq!(ordered(&layers, None).unwrap(), ["in", "h2", "h10", "a"]);
    }

    #[test]
    fn numbers_decide_where_shapes_cannot() {
        // 3 → 4 → 3 or 4 → 3 → 4.
        let found = ordered(&[("layer10", (3, 4)), ("layer9", (4, 3))], None).unwrap();
        assert_eq!(found, ["layer9", "layer10"]);
        let many: Vec<String> = (1..=11).map(|t| format!("layer{t}")).collect();
        let mut shuffled: Vec<(&str, Shape)> =
            many.iter().map(|name| (name.as_str(), (2, 2))).collect();
        shuffled.sort_unstable();
        assert_eq!(ordered(&shuffled, None).unwrap(), many);
    }

    #[test]
    fn words_decide_nothing_and_the_data_may() {
        let both = [("decoder", (2, 4)), ("encoder", (4, 2))];
        let message = ordered(&both, None).unwrap_err();
        assert!(message.contains("encoder,decoder ([4, 2, 4])"), "{message}");
        assert!(message.contains("decoder,encoder ([2, 4, 2])"), "{message}");
        let found = order(both.iter().map(layer).collect(), Some(4)).unwrap();
        assert_eq!(widths(&found.layers), [4, 2, 4]);
        assert!(found.note.unwrap().contains("encoder, decoder"));
        assert!(ordered(&both, Some(3)).unwrap_err().contains("none takes 3 features"));
        // The shapes leave one chain, but not which of the two comes first.
        let equal = [("hidden", (3, 3)), ("input", (3, 3)), ("output", (3, 1))];
        for n_inputs in [None, Some(3)] {
            let message = ordered(&equal, n_inputs).unwrap_err();
            assert!(message.contains("`hidden` and `input`"), "{message}");
        }
    }

    #[test]
    fn what_was_asked_for_is_taken_in_that_order() {
        let layers: Vec<Layer> =
            [("hidden", (3, 3)), ("input", (3, 3)), ("output", (3, 1))].iter().map(layer).collect();
        let asked = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            as_asked(&layers, &names).map(|l| widths(&l)).map_err(|error| error.to_string())
        };
        assert_eq!(asked(&["input", "hidden", "output"]), Ok(vec![3, 3, 3, 1]));
        assert_eq!(asked(&["output"]), Ok(vec![3, 1]));
        assert!(asked(&["output", "input"]).unwrap_err().contains("`output` gives 1 numbers"));
        assert!(asked(&["none"]).unwrap_err().contains("no `none.weight`"));
    }

    #[test]
    fn what_makes_no_chain_is_refused() {
        let message = ordered(&[("a", (3, 4)), ("b", (5, 1))], None).unwrap_err();
        assert!(message.contains("`a` gives 4, `b` takes 5"), "{message}");
        let message = ordered(&[("0", (4, 3)), ("2", (1, 4))], None).unwrap_err();
        assert!(message.contains("transpose"), "{message}");
        // Two chains, and names that follow neither.
        assert!(ordered(&[("a", (3, 4)), ("b", (3, 3)), ("c", (4, 3))], None).is_err());
    }
}
