//! Which tensors of a file are learned: weights are parameters; masks, bounds and settings are constants.

use std::collections::{HashMap, HashSet};

use crate::onnx::{Attribute, Model, Node, TensorInfo};

/// A node reads a tensor as its input at a place.
#[derive(Clone, Copy)]
pub(super) struct Use<'a> {
    node: &'a Node,
    place: usize,
}

/// Who makes and who reads each tensor, as the file says.
pub(super) struct Uses<'a> {
    of: HashMap<&'a str, Vec<Use<'a>>>,
    made: HashMap<&'a str, &'a Node>,
    tensors: HashMap<&'a str, &'a TensorInfo>,
    /// All names of the file.
    names: HashSet<&'a str>,
}

/// Steps back or ahead that are taken at most to see what a lone number belongs to.
const MOST_STEPS: usize = 16;

/// What is this low or lower in a mask keeps a token from being seen.
const LOWEST: f32 = -1e3;

impl<'a> Uses<'a> {
    /// Of these nodes of a file.
    pub(super) fn new(model: &'a Model, nodes: &[&'a Node]) -> Self {
        let mut of: HashMap<&str, Vec<Use>> = HashMap::new();
        let mut made = HashMap::new();
        for &node in nodes {
            for (place, input) in node.inputs.iter().enumerate().filter(|(_, n)| !n.is_empty()) {
                of.entry(input).or_default().push(Use { node, place });
            }
            made.extend(node.outputs.iter().map(|output| (output.as_str(), node)));
        }
        let tensors = model.initializers().iter().map(|tensor| (tensor.name.as_str(), tensor));
        let values = model.inputs().iter().map(|input| input.name.as_str());
        let of_nodes =
            model.nodes().iter().flat_map(|node| node.inputs.iter().chain(&node.outputs));
        let initializers = model.initializers().iter().map(|tensor| tensor.name.as_str());
        let names = values.chain(of_nodes.map(String::as_str)).chain(initializers).collect();
        Self { of, made, tensors: tensors.collect(), names }
    }

    /// Whether a node reads a tensor.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.of.contains_key(name)
    }

    /// Whether the file has this name.
    pub(super) fn is_name(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The tensor of an initializer, or of the attribute `value` of a Constant.
    pub(super) fn tensor(&self, name: &str) -> Option<&'a TensorInfo> {
        let of_constant = || match self.made.get(name).filter(|node| node.op_type == "Constant") {
            Some(node) => match node.attribute("value") {
                Some(Attribute::Tensor(tensor)) => Some(tensor),
                _ => None,
            },
            None => None,
        };
        self.tensors.get(name).copied().or_else(of_constant)
    }

    /// Whether a tensor is only added to something, as a mask of infinities is, which nobody has learned.
    pub(super) fn is_only_added(&self, name: &str) -> bool {
        self.all(name, |used| matches!(used.op(), "Add" | "Where"))
    }

    /// Whether floats are learned: all that enter where weights do, not settings, masks and constants of the input's
    /// normalization. The mean and variance of a batch normalization count as learned: they are numbers of the file that
    /// change with the channels.
    pub(super) fn is_parameter(&self, name: &str, dims: &[usize], values: &[f32]) -> bool {
        let uses = self.final_uses(name);
        match values.len() {
            0 => false,
            _ if !self.contains(name) => false,
            1 => uses.iter().any(|used| self.is_lone_weight(used, name, dims)),
            // What nothing but moves reads is what comes out.
            _ if uses.is_empty() => true,
            _ => {
                !uses.iter().all(Use::is_setting)
                    && !self.is_mask(&uses, dims, values)
                    && !self.all(name, |used| self.normalizes_input(used))
            }
        }
    }

    fn all(&self, name: &str, is: impl Fn(&Use<'a>) -> bool) -> bool {
        self.of.get(name).is_some_and(|uses| uses.iter().all(is))
    }

    /// Who reads a tensor in the end, behind operators that only move its numbers.
    fn final_uses(&self, name: &str) -> Vec<Use<'a>> {
        let (mut open, mut seen, mut uses) = (vec![name], HashSet::new(), Vec::new());
        while let Some(name) = open.pop() {
            for &used in self.of.get(name).into_iter().flatten() {
                let is_move = matches!(
                    used.op(),
                    "Identity"
                        | "Cast"
                        | "Slice"
                        | "Unsqueeze"
                        | "Squeeze"
                        | "Reshape"
                        | "Expand"
                        | "Transpose"
                        | "Flatten"
                        | "Tile"
                );
                if !(is_move && used.place == 0) {
                    uses.push(used);
                    continue;
                }
                let outputs = used.node.outputs.iter().map(String::as_str);
                open.extend(outputs.filter(|output| seen.insert(*output)));
            }
        }
        uses
    }

    /// Zeros and numbers that hide, or zeros and ones, that say which tokens see which.
    fn is_mask(&self, uses: &[Use<'_>], dims: &[usize], values: &[f32]) -> bool {
        let is_used_so = |used: &Use<'_>| matches!(used.op(), "Add" | "Sub" | "Mul" | "Where");
        let has = |is: &dyn Fn(f32) -> bool| values.iter().any(|&v| is(v));
        let all = |is: &dyn Fn(f32) -> bool| values.iter().all(|&v| is(v));
        let hides = all(&|v| v == 0.0 || v <= LOWEST) && has(&|v| v <= LOWEST);
        let chooses = all(&|v| v == 0.0 || v == 1.0) && has(&|v| v == 0.0) && has(&|v| v == 1.0);
        uses.iter().all(is_used_so)
            && dims.iter().filter(|&&n| n > 1).count() > 1
            && (hides || chooses)
    }

    /// Whether an input is scaled or shifted by a tensor before it meets a weight.
    fn normalizes_input(&self, used: &Use<'a>) -> bool {
        let is_such = matches!(used.op(), "Sub" | "Div" | "Mul");
        is_such && used.other().is_some_and(|other| self.is_raw(other))
    }

    /// Whether a tensor is an input, perhaps moved, scaled and shifted by known numbers.
    fn is_raw(&self, name: &str) -> bool {
        let mut name = name;
        for _ in 0..MOST_STEPS {
            if self.tensors.contains_key(name) {
                return false;
            }
            let Some(node) = self.made.get(name) else { return true };
            let first = node.inputs.first().map(String::as_str);
            let before = match node.op_type.as_str() {
                "Identity" | "Cast" | "Transpose" | "Reshape" | "Flatten" | "Unsqueeze"
                | "Squeeze" => first,
                "Sub" | "Div" | "Mul" => match &node.inputs[..] {
                    [a, b] if self.is_given(b) => Some(a.as_str()),
                    [a, b] if self.is_given(a) => Some(b.as_str()),
                    _ => None,
                },
                _ => None,
            };
            let Some(before) = before else { return false };
            name = before;
        }
        false
    }

    /// Whether a tensor stands in the file.
    fn is_given(&self, name: &str) -> bool {
        let is_constant = |node: &&Node| node.op_type == "Constant";
        self.tensors.contains_key(name) || self.made.get(name).is_some_and(is_constant)
    }

    /// Whether a tensor is computed of what stands in the file alone.
    fn is_known(&self, name: &str) -> bool {
        let mut open = vec![name];
        for _ in 0..MOST_STEPS {
            let Some(name) = open.pop() else { return true };
            if self.is_given(name) {
                continue;
            }
            let Some(node) = self.made.get(name) else { return false };
            open.extend(node.inputs.iter().map(String::as_str).filter(|name| !name.is_empty()));
        }
        false
    }

    /// Whether one number alone is learned where it is used: a weight, a bias, or the scale of one unit.
    fn is_lone_weight(&self, used: &Use<'a>, name: &str, dims: &[usize]) -> bool {
        let place = used.place;
        let others = || used.node.inputs.iter().map(String::as_str).filter(|other| *other != name);
        match used.op() {
            "Gemm" | "MatMul" | "Einsum" => true,
            "Attention" => place < 3,
            "PRelu"
            | "Conv"
            | "ConvTranspose"
            | "BatchNormalization"
            | "LayerNormalization"
            | "GroupNormalization"
            | "InstanceNormalization"
            | "RMSNormalization" => place > 0,
            // A hard sigmoid adds a scalar, too, and clips what comes out.
            "Add" | "Sum" => others().any(|other| match self.units(other) {
                Some(Units::One) => true,
                Some(Units::Several) => !dims.is_empty() && !self.is_clipped(used.node),
                None => false,
            }),
            "Mul" => {
                !dims.is_empty()
                    && others().any(|other| {
                        matches!(self.units(other), Some(Units::One)) || self.is_known(other)
                    })
            }
            _ => false,
        }
    }

    fn is_clipped(&self, node: &Node) -> bool {
        let outputs = node.outputs.iter().filter_map(|output| self.of.get(output.as_str()));
        outputs.flatten().any(|used| matches!(used.op(), "Clip" | "HardSigmoid"))
    }

    /// How many units the layer has whose sums a tensor holds, perhaps scaled; `None` where it holds something else.
    fn units(&self, name: &str) -> Option<Units> {
        let mut name = name;
        for _ in 0..MOST_STEPS {
            let node = *self.made.get(name)?;
            let inputs = node.inputs.iter().map(String::as_str);
            let extent = |axis: fn(&[usize]) -> Option<usize>| {
                let weight = self.tensor(node.inputs.get(1)?)?;
                axis(&weight.dims)
            };
            let n = match node.op_type.as_str() {
                "MatMul" => extent(|dims| dims.last().copied()),
                "Gemm" if node.attribute("transB") == Some(&Attribute::Int(1)) => {
                    extent(|dims| dims.first().copied())
                }
                "Gemm" => extent(|dims| dims.get(1).copied()),
                "Conv" => extent(|dims| dims.first().copied()),
                "ConvTranspose" => extent(|dims| dims.get(1).copied()),
                "Einsum" => None,
                "Mul" => {
                    let mut data = inputs.filter(|name| !self.is_given(name));
                    match (data.next(), data.next()) {
                        (Some(one), None) => name = one,
                        _ => return None,
                    }
                    continue;
                }
                _ => return None,
            };
            return Some(if n == Some(1) { Units::One } else { Units::Several });
        }
        None
    }
}

/// Of a layer.
enum Units {
    One,
    Several,
}

impl<'a> Use<'a> {
    fn op(&self) -> &'a str {
        &self.node.op_type
    }

    /// The other operand of two.
    fn other(&self) -> Option<&'a str> {
        let [a, b] = &self.node.inputs[..] else { return None };
        Some(if self.place == 0 { b } else { a })
    }

    /// Whether a tensor tells the operator how to compute: nobody learns it.
    fn is_setting(&self) -> bool {
        match self.op() {
            "Clip" | "Pad" | "Range" | "Dropout" | "Reshape" | "Expand" | "Tile" => self.place > 0,
            "Pow" | "CastLike" => self.place == 1,
            "Where" => self.place == 0,
            "Attention" => self.place == 3,
            "Min" | "Max" | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual"
            | "Mod" | "Shape" | "Size" => true,
            _ => false,
        }
    }
}
