//! Which tensor of a file holds the logits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use super::ImportError;
use crate::onnx::{Attribute, Model, Node};

/// The tensor that is taken as f(x, w), and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logits {
    /// Its name in the file.
    pub tensor: String,
    /// Why this one.
    pub found: Found,
}

/// How the logits were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is an output of the file itself.
    Output,
    /// It enters the function that makes probabilities of logits.
    Before {
        /// Softmax, LogSoftmax or Sigmoid.
        function: String,
        /// The outputs behind it.
        outputs: Vec<String>,
    },
    /// Labels are made of it.
    BehindLabels {
        /// The outputs behind it.
        outputs: Vec<String>,
    },
    /// Somebody asked for it.
    Asked,
}

/// `fc` (input of the Softmax before output `probabilities`)
impl fmt::Display for Logits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| {
            let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            let word = if names.len() == 1 { "output" } else { "outputs" };
            format!("{word} {}", quoted.join(" and "))
        };
        write!(f, "`{}`", self.tensor)?;
        match &self.found {
            Found::Output => f.write_str(" (an output of the file)"),
            Found::Before { function, outputs } => {
                write!(f, " (input of the {function} before {})", list(outputs))
            }
            Found::BehindLabels { outputs } => {
                write!(f, " (what the labels of {} are made of)", list(outputs))
            }
            Found::Asked => f.write_str(" (as asked)"),
        }
    }
}

/// The logits of a file, or the tensor that was asked for.
///
/// An output holds probabilities only if a Softmax, LogSoftmax or Sigmoid reaches it through operators that keep its numbers
/// apart (Identity, Cast, Reshape, Concat, Slice, 1 − x, a Clip within [0, 1]), and labels if one reaches it through those of
/// labels; then the input of that function is the candidate. Else the output itself is one. Two candidates are an error that
/// lists them. A Softmax over the first axis compares examples, so it makes no probabilities of classes.
pub(super) fn find(model: &Model, asked: Option<&str>) -> Result<Logits, ImportError> {
    let producers = producers(model.nodes())?;
    if let Some(name) = asked {
        let is_output = model.outputs().iter().any(|output| output.name == name);
        if !is_output && !producers.contains_key(name) {
            let outputs = model.outputs().iter().map(|output| output.name.clone()).collect();
            return Err(ImportError::NoSuchTensor { name: name.to_owned(), outputs });
        }
        return Ok(Logits { tensor: name.to_owned(), found: Found::Asked });
    }
    let walk = Walk { nodes: model.nodes(), producers, constants: one_number_constants(model) };
    let mut candidates: BTreeMap<String, Candidate> = BTreeMap::new();
    for output in model.outputs() {
        let rank = output.dims().map(<[_]>::len);
        for (tensor, step) in walk.back(&output.name, rank) {
            let candidate = candidates.entry(tensor).or_default();
            candidate.outputs.insert(output.name.clone());
            match step {
                Step::Itself => candidate.is_output = true,
                Step::Function(function) => candidate.function = Some(function),
                Step::Labels => {}
            }
        }
    }
    let mut candidates = candidates.into_iter();
    match (candidates.next(), candidates.next()) {
        (Some((tensor, candidate)), None) => {
            let outputs = candidate.outputs.into_iter().collect();
            let found = match (candidate.function, candidate.is_output) {
                (Some(function), _) => Found::Before { function, outputs },
                (None, true) => Found::Output,
                (None, false) => Found::BehindLabels { outputs },
            };
            Ok(Logits { tensor, found })
        }
        (Some(first), Some(second)) => {
            let names = [first, second].into_iter().chain(candidates).map(|(name, _)| name);
            let candidates: Vec<String> = names.collect();
            // An operator that is not read explains better why the file has several ends.
            let ends = candidates.iter().filter_map(|name| walk.producers.get(name.as_str()));
            super::operators::check(&ends.map(|&i| &walk.nodes[i]).collect::<Vec<_>>())?;
            Err(ImportError::SeveralLogits { candidates })
        }
        (None, _) if model.outputs().is_empty() => Err(ImportError::NoOutput),
        (None, _) => {
            let outputs = model.outputs().iter().map(|output| output.name.clone()).collect();
            Err(ImportError::Constant { outputs })
        }
    }
}

/// The node behind each tensor; a name that two nodes write is an error.
pub(in crate::onnx) fn producers(nodes: &[Node]) -> Result<HashMap<&str, usize>, ImportError> {
    let mut producers = HashMap::new();
    for (i, node) in nodes.iter().enumerate() {
        for output in node.outputs.iter().filter(|output| !output.is_empty()) {
            if producers.insert(output.as_str(), i).is_some() {
                return Err(ImportError::WrittenTwice { tensor: output.clone() });
            }
        }
    }
    Ok(producers)
}

#[derive(Default)]
struct Candidate {
    outputs: BTreeSet<String>,
    is_output: bool,
    function: Option<String>,
}

/// How a tensor became a candidate.
enum Step {
    /// It is the output.
    Itself,
    /// It enters this function.
    Function(String),
    /// Labels are made of it.
    Labels,
}

struct Walk<'a> {
    nodes: &'a [Node],
    producers: HashMap<&'a str, usize>,
    /// Constants of one number.
    constants: HashMap<&'a str, Option<f64>>,
}

impl<'a> Walk<'a> {
    /// The candidates behind an output, which has so many axes, where the file tells.
    fn back(&self, output: &str, rank: Option<usize>) -> Vec<(String, Step)> {
        let mut found = Vec::new();
        let (mut is_probability, mut reaches_input) = (true, false);
        let (mut open, mut seen) = (vec![(output, false)], BTreeSet::new());
        while let Some((tensor, is_label)) = open.pop() {
            if !seen.insert(tensor) || self.constants.contains_key(tensor) {
                continue;
            }
            let Some(node) = self.producers.get(tensor).map(|&i| &self.nodes[i]) else {
                is_probability &= is_label;
                reaches_input = true;
                continue;
            };
            match self.role(node, rank) {
                Role::Function => {
                    if let Some(input) = node.inputs.first() {
                        found.push((input.clone(), Step::Function(node.op_type.clone())));
                    }
                }
                Role::Keeps | Role::Joins => {
                    // Other inputs than the first are shapes, axes and bounds, except where numbers are joined.
                    let n =
                        if matches!(self.role(node, rank), Role::Joins) { usize::MAX } else { 1 };
                    let inputs = node.inputs.iter().take(n).map(|name| (name.as_str(), is_label));
                    open.extend(inputs.filter(|(name, _)| !name.is_empty()));
                }
                Role::Label => {
                    let inputs = node.inputs.iter().map(|name| (name.as_str(), true));
                    open.extend(inputs.filter(|(name, _)| !name.is_empty()));
                }
                Role::Other if is_label => found.push((tensor.to_owned(), Step::Labels)),
                Role::Other => is_probability = false,
            }
        }
        // Nothing at all is behind a constant, such as a list of classes; a look-up by an input is a network.
        if is_probability && !(found.is_empty() && reaches_input) {
            return found;
        }
        vec![(output.to_owned(), Step::Itself)]
    }

    fn role(&self, node: &Node, rank: Option<usize>) -> Role {
        let is_main = matches!(node.domain.as_str(), "" | "ai.onnx");
        match node.op_type.as_str() {
            "Softmax" | "LogSoftmax" if is_main && is_over_examples(node, rank) => Role::Other,
            "Softmax" | "LogSoftmax" | "Sigmoid" if is_main => Role::Function,
            "Identity" | "Cast" | "Reshape" | "Slice" if is_main => Role::Keeps,
            "Squeeze" | "Unsqueeze" | "Flatten" | "Exp" if is_main => self.inner(node),
            "Clip" if is_main && self.keeps_probabilities(node) => Role::Keeps,
            "Concat" if is_main => Role::Joins,
            "Sub" if is_main && self.is_one(node.inputs.first()) => Role::Joins,
            "ArgMax" | "TopK" if is_main => Role::Label,
            // A threshold, as of a classifier of two classes.
            "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Not" | "Where" | "Gather"
                if is_main =>
            {
                self.inner_label(node)
            }
            "ZipMap" | "ArrayFeatureExtractor" | "LabelEncoder" | "Binarizer" => Role::Label,
            _ => Role::Other,
        }
    }

    /// Reshaping operators keep numbers apart as Reshape does; Exp only behind a LogSoftmax.
    fn inner(&self, node: &Node) -> Role {
        if node.op_type != "Exp" {
            return Role::Keeps;
        }
        let before = node.inputs.first().and_then(|name| self.producers.get(name.as_str()));
        match before.map(|&i| self.nodes[i].op_type.as_str()) {
            Some("LogSoftmax") => Role::Keeps,
            _ => Role::Other,
        }
    }

    /// Comparisons with a constant, choices between constants, and look-ups in them make labels.
    fn inner_label(&self, node: &Node) -> Role {
        let is_constant = |name: &String| self.constants.contains_key(name.as_str());
        match node.op_type.as_str() {
            "Gather" if node.inputs.first().is_some_and(is_constant) => Role::Label,
            "Where" if node.inputs.iter().skip(1).all(is_constant) => Role::Label,
            "Not" => Role::Label,
            "Gather" | "Where" => Role::Other,
            _ if node.inputs.iter().any(is_constant) => Role::Label,
            _ => Role::Other,
        }
    }

    /// Whether the bounds of a Clip lie in [0, 1], as of one that keeps logarithms of probabilities finite.
    fn keeps_probabilities(&self, node: &Node) -> bool {
        node.inputs.iter().skip(1).filter(|name| !name.is_empty()).all(|name| {
            let bound = self.constants.get(name.as_str()).copied().flatten();
            bound.is_some_and(|bound| (0.0..=1.0).contains(&bound))
        })
    }

    fn is_one(&self, name: Option<&String>) -> bool {
        name.and_then(|name| self.constants.get(name.as_str())) == Some(&Some(1.0))
    }
}

/// What a node is to the numbers of an output.
enum Role {
    /// Makes probabilities of logits.
    Function,
    /// Keeps the numbers of its first input.
    Keeps,
    /// Keeps those of all, or 1 less them.
    Joins,
    /// Makes labels.
    Label,
    /// Computes something else.
    Other,
}

/// Whether a softmax runs over the first axis of so many.
fn is_over_examples(node: &Node, rank: Option<usize>) -> bool {
    let axis = node.attributes.iter().find_map(|(name, value)| match value {
        Attribute::Int(axis) if name == "axis" => Some(*axis),
        _ => None,
    });
    let from_front = |axis: i64| match rank {
        Some(rank) if axis < -1 => axis.saturating_add(rank as i64),
        _ => axis,
    };
    axis.map(from_front) == Some(0)
}

/// Initializers and constants: their number where it is one.
fn one_number_constants(model: &Model) -> HashMap<&str, Option<f64>> {
    let mut constants = HashMap::new();
    for tensor in model.initializers() {
        constants.insert(tensor.name.as_str(), super::constant::of_tensor(model, tensor));
    }
    for node in model.nodes().iter().filter(|node| node.op_type == "Constant") {
        if let (Some(output), Some((_, value))) = (node.outputs.first(), node.attributes.first()) {
            constants.insert(output.as_str(), super::constant::one_number(model, value));
        }
    }
    constants
}

#[cfg(test)]
mod tests;
