//! A script that loads a student in PyTorch, for networks that are one chain of layers.

mod layers;

use models::graph::change::Standardization;
use models::graph::{Binary, Entries, Graph, Node, Numbers, Op, Source, ValueId};

use self::layers::Layer;
use super::StateDict;
use super::extents;
use super::names::is_by_columns;

/// The text of `student.py`, beside `student.safetensors`: `predict(x)` gives what `student.onnx` computes, but for what
/// stands behind the logits; `None` for a graph that is no chain of layers of `torch.nn`.
///
/// `graph` is the one that the tensors are of, without the standardization.
pub(crate) fn python(
    graph: &Graph,
    dict: &StateDict,
    standardization: Option<&Standardization>,
) -> Option<String> {
    let mut chain = Chain { graph, dict, before: Vec::new(), layers: Vec::new(), is_open: false };
    if let Some(Standardization { shape, mean, std }) = standardization {
        chain.before.push(format!("x = (x - {}) / {}", literal(mean, shape), literal(std, shape)));
    }
    let &[input] = graph.inputs() else { return None };
    let mut last = input;
    let depends = graph.depends_on_data();
    for node in graph.nodes() {
        let &[result] = node.results.as_slice() else { return None };
        if depends[result.index()] {
            chain.node(node, last)?;
            last = result;
        }
    }
    (graph.outputs() == [last]).then(|| chain.text())
}

/// The layers so far.
struct Chain<'a> {
    graph: &'a Graph,
    dict: &'a StateDict,
    /// What is done to examples before the first layer.
    before: Vec<String>,
    layers: Vec<Layer>,
    /// Whether the last layer is a product to which a bias may still be added.
    is_open: bool,
}

impl Chain<'_> {
    /// Adds a node that reads `last`, and beside it nothing that depends on the data.
    fn node(&mut self, node: &Node, last: ValueId) -> Option<()> {
        let is_open = std::mem::take(&mut self.is_open);
        let place = node.operands.iter().position(|&id| id == last)?;
        let others: Vec<ValueId> = node
            .operands
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != place)
            .map(|(_, &id)| id)
            .collect();
        if others.contains(&last) {
            return None;
        }
        let rank = self.graph.value(last).shape.len();
        match (&node.op, others.as_slice()) {
            (Op::Binary(Binary::Add), &[bias]) if is_open => {
                self.bias(bias)?;
            }
            (Op::Binary(op), &[number]) if self.layers.is_empty() => {
                let sign = match op {
                    Binary::Add => "+",
                    Binary::Sub if place == 0 => "-",
                    Binary::Mul => "*",
                    Binary::Div if place == 0 => "/",
                    _ => return None,
                };
                let numbers = self.constant(number)?;
                self.before.push(format!("x = x {sign} {numbers}"));
            }
            (Op::Scaler { offset, scale }, []) if self.layers.is_empty() => {
                let literal = |numbers: &[f32]| {
                    let numbers: Vec<f64> = numbers.iter().map(|&v| f64::from(v)).collect();
                    let shape = [numbers.len()];
                    literal(&numbers, &shape)
                };
                self.before.push(format!("x = (x - {}) * {}", literal(offset), literal(scale)));
            }
            (Op::Cast { to: models::graph::Kind::Float }, []) => {}
            (Op::Gemm { alpha, beta, transpose_a: false, .. }, &[weight, ref bias @ ..])
                if *alpha == 1.0 && (*beta == 1.0 || bias.is_empty()) && place == 0 =>
            {
                self.linear(&node.op, weight)?;
                if let Some(&bias) = bias.first() {
                    self.bias(bias)?;
                }
            }
            (Op::MatMul, &[weight]) if place == 0 => {
                self.linear(&node.op, weight)?;
                self.is_open = true;
            }
            (Op::Conv { window, groups }, &[filters, ref bias @ ..]) if place == 0 => {
                let [o, c, ..] = extents(&self.graph.value(filters).shape)[..] else { return None };
                let weight = self.tensor(filters, false)?;
                let layers = layers::convolution(rank, [c * groups, o], window, *groups, weight)?;
                self.layers.extend(layers);
                if let Some(&bias) = bias.first() {
                    self.bias(bias)?;
                }
            }
            (Op::BatchNormalization { epsilon }, operands) if place == 0 => {
                let n = extents(&self.graph.value(*operands.first()?).shape).first().copied()?;
                let vectors = operands.iter().map(|&id| self.vector(id, n));
                let vectors = vectors.collect::<Option<Vec<_>>>()?;
                self.layers.push(layers::batch_norm(rank, n, *epsilon, vectors)?);
            }
            (Op::PRelu, &[slope]) if place == 0 => {
                let n = extents(&self.graph.value(slope).shape).iter().product();
                self.layers.push(layers::prelu(n, self.vector(slope, n)?));
            }
            (op, []) => {
                let n_axes = self.graph.value(*node.results.first()?).shape.len();
                self.layers.extend(layers::without_parameters(op, rank, n_axes)?);
            }
            _ => return None,
        }
        Some(())
    }

    /// Adds a bias to the last layer, unless it is 0 and has no tensor.
    fn bias(&mut self, id: ValueId) -> Option<()> {
        if !self.dict.zeros.contains(&self.graph.value(id).name) {
            let layer = self.layers.pop()?;
            let bias = self.vector(id, layer.n_outputs?)?;
            self.layers.push(layer.with_bias(bias));
        }
        Some(())
    }

    fn linear(&mut self, op: &Op, weight: ValueId) -> Option<()> {
        // A weight may be transposed by a node.
        let (mut id, mut is_turned) = (weight, is_by_columns(op));
        while let Source::Node { node, .. } = &self.graph.value(id).source {
            let node = self.graph.nodes().get(*node)?;
            let Op::Transpose { order } = &node.op else { return None };
            is_turned ^= order == &[1, 0];
            id = *node.operands.first()?;
        }
        let [rows, columns] = extents(&self.graph.value(id).shape)[..] else { return None };
        let (inputs, outputs) = if is_turned { (rows, columns) } else { (columns, rows) };
        let weight = self.tensor(id, is_turned)?;
        self.layers.push(layers::linear(inputs, outputs, weight));
        Some(())
    }

    /// A parameter's tensor in the file, transposed or not from what it is in the graph.
    fn tensor(&self, id: ValueId, is_turned: bool) -> Option<String> {
        let place = self.dict.places.get(&self.graph.value(id).name)?;
        let turn = if place.is_turned == is_turned { "" } else { ".T" };
        let sign = if self.dict.negated.contains(&self.graph.value(id).name) { "-" } else { "" };
        Some(format!("{sign}t[{}]{turn}", quoted(&place.name)?))
    }

    /// A parameter of n numbers, as a vector.
    fn vector(&self, id: ValueId, n: usize) -> Option<String> {
        let extents = extents(&self.graph.value(id).shape);
        let flat = if extents.len() == 1 { "" } else { ".flatten()" };
        let tensor = self.tensor(id, false)?;
        (extents.iter().product::<usize>() == n).then(|| format!("{tensor}{flat}"))
    }

    /// Known numbers.
    fn constant(&self, id: ValueId) -> Option<String> {
        match &self.graph.value(id).source {
            Source::Constant(Numbers { shape, entries: Entries::Floats(entries) }) => {
                Some(literal(entries, shape))
            }
            _ => None,
        }
    }

    fn text(&self) -> String {
        let layer = |layer: &Layer| format!("    {},\n", layer.module);
        let modules: String = self.layers.iter().map(layer).collect();
        let tensors = self.layers.iter().enumerate().flat_map(|(i, layer)| {
            let line = move |(role, tensor): &(&str, String)| {
                format!("        \"{i}.{role}\": {tensor},\n")
            };
            layer.tensors.iter().map(line)
        });
        let tensors: String = tensors.collect();
        let before: String = self.before.iter().map(|line| format!("    {line}\n")).collect();
        let torch = if before.is_empty() { "" } else { "import torch\n" };
        format!(
            "\"\"\"The network of student.safetensors in PyTorch: predict(x) gives its logits, or predictions.\"\"\"\n\
             from pathlib import Path\n\n{torch}from safetensors.torch import load_file\nfrom torch import nn\n\n\
             student = nn.Sequential(\n{modules})\n\
             t = load_file(Path(__file__).with_name(\"student.safetensors\"))\n\
             student.load_state_dict(\n    {{\n{tensors}    }}\n)\nstudent.eval()\n\n\n\
             def predict(x):\n{before}    return student(x)\n"
        )
    }
}

/// Numbers as a tensor of f32 in Python.
fn literal(numbers: &[f64], shape: &[usize]) -> String {
    let numbers: Vec<String> = numbers.iter().map(|&v| format!("{:?}", v as f32)).collect();
    match (shape, numbers.as_slice()) {
        ([] | [1], [number]) => number.clone(),
        ([_], _) => format!("torch.tensor([{}])", numbers.join(", ")),
        _ => format!("torch.tensor([{}]).reshape({shape:?})", numbers.join(", ")),
    }
}

/// A text as a literal of Python.
fn quoted(name: &str) -> Option<String> {
    serde_json::to_string(name).ok()
}
