//! Linear nodes of a graph, and their biases.

use super::GraphChangeError;
use super::draft::Draft;
use super::readers::Readers;
use crate::graph::{Binary, Dimension, Graph, Node, Op, Source, ValueId};

/// A node z = W x + b whose W is a parameter.
pub(super) struct Linear {
    pub(super) node: usize,
    /// W, a parameter.
    pub(super) weight: ValueId,
    /// The axis of W that counts the outputs.
    pub(super) output_axis: usize,
    /// The axis of z that counts the outputs.
    pub(super) result_axis: usize,
    /// How many axes z has behind that.
    n_behind: usize,
    pub(super) n_outputs: usize,
    /// Whether others read W, or what Transposes make of it.
    pub(super) is_shared: bool,
    pub(super) place: Place,
    pub(super) bias: Bias,
}

/// Where a bias is added.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// At the node itself.
    Node,
    /// At the Add that alone reads the product.
    Add {
        /// Its index.
        add: usize,
        /// Which operand is the bias.
        operand: usize,
    },
}

/// What is added.
pub(super) enum Bias {
    /// Nothing.
    Missing,
    /// A parameter of one number an output.
    Parameter(ValueId),
    /// One number an output, from elsewhere.
    Known(Vec<f64>),
    /// Something else.
    Other,
}

impl Linear {
    /// What makes a node linear with a parameter as its weight, if anything does.
    pub(super) fn of(
        graph: &Graph,
        draft: &Draft<'_>,
        readers: &Readers,
        index: usize,
    ) -> Result<Option<Self>, GraphChangeError> {
        let node = &graph.nodes()[index];
        let (Some(&x), Some(&second)) = (node.operands.first(), node.operands.get(1)) else {
            return Ok(None);
        };
        let rank = |id: ValueId| graph.value(id).shape.len();
        let (output_axis, result_axis) = match node.op {
            Op::Gemm { transpose_a: false, transpose_b, .. } => (usize::from(!transpose_b), 1),
            Op::MatMul if rank(x) >= 2 && rank(second) == 2 => (1, rank(x) - 1),
            Op::Conv { .. } => (0, 1),
            _ => return Ok(None),
        };
        let Some((weight, is_transposed)) = graph.matrix_parameter(second) else { return Ok(None) };
        let Some(n_outputs) = graph.value(second).shape.get(output_axis).copied().and_then(known)
        else {
            return Ok(None);
        };
        let (place, bias) = bias(graph, draft, readers, node, (result_axis, n_outputs))?;
        Ok(Some(Self {
            node: index,
            weight,
            output_axis: if is_transposed { 1 - output_axis } else { output_axis },
            result_axis,
            n_behind: rank(node.results[0]) - 1 - result_axis,
            n_outputs,
            is_shared: is_shared(graph, readers, second),
            place,
            bias,
        }))
    }

    /// The node that gives z.
    pub(super) fn end(&self) -> usize {
        match self.place {
            Place::Node => self.node,
            Place::Add { add, .. } => add,
        }
    }

    /// What is added now, with the β of a Gemm; `None` where it is not one number an output.
    pub(super) fn bias(&self, draft: &Draft<'_>) -> Result<Option<Vec<f64>>, GraphChangeError> {
        match &self.bias {
            Bias::Missing => Ok(Some(vec![0.0; self.n_outputs])),
            Bias::Known(numbers) => Ok(Some(numbers.clone())),
            Bias::Other => Ok(None),
            Bias::Parameter(id) => {
                let beta = match (self.place, &draft.nodes[self.node].op) {
                    (Place::Node, Op::Gemm { beta, .. }) => f64::from(*beta),
                    _ => 1.0,
                };
                let numbers = draft.numbers(*id)?;
                Ok(numbers.map(|numbers| numbers.iter().map(|b| beta * b).collect()))
            }
        }
    }

    /// Gives the node a bias of these numbers (β of a Gemm is 1 then), and its sum, bias included, to the value `sum`.
    /// Whether that was done: not where a number is not finite in the type of the parameters.
    pub(super) fn set_bias(
        &self,
        draft: &mut Draft<'_>,
        numbers: Vec<f64>,
        sum: ValueId,
    ) -> Result<bool, GraphChangeError> {
        let takes_bias = matches!(draft.nodes[self.node].op, Op::Gemm { .. } | Op::Conv { .. });
        // Axes behind that of the outputs have extent 1, so that the others broadcast.
        let mut aligned = vec![1; self.n_behind + 1];
        aligned[0] = self.n_outputs;
        match (&self.bias, self.place) {
            (&Bias::Parameter(id), _) => {
                let shape = draft.shape(id).to_vec();
                let Some(block) = draft.block(numbers, &shape, id)? else { return Ok(false) };
                draft.set(id, block);
                self.set_beta(draft);
            }
            (Bias::Missing | Bias::Known(_), Place::Node) if takes_bias => {
                let Some(bias) = self.new_bias(draft, numbers, vec![self.n_outputs])? else {
                    return Ok(false);
                };
                let operands = &mut draft.nodes[self.node].operands;
                operands.truncate(2);
                operands.push(bias);
                self.set_beta(draft);
            }
            (_, Place::Add { add, operand }) => {
                let Some(bias) = self.new_bias(draft, numbers, aligned)? else { return Ok(false) };
                draft.nodes[add].operands[operand] = bias;
            }
            (_, Place::Node) => {
                let Some(bias) = self.new_bias(draft, numbers, aligned)? else { return Ok(false) };
                self.add(draft, bias, sum);
                return Ok(true);
            }
        }
        draft.nodes[self.end()].results = vec![sum];
        Ok(true)
    }

    fn set_beta(&self, draft: &mut Draft<'_>) {
        if let (Place::Node, Op::Gemm { beta, .. }) = (self.place, &mut draft.nodes[self.node].op) {
            *beta = 1.0;
        }
    }

    /// A new parameter beside W.
    fn new_bias(
        &self,
        draft: &mut Draft<'_>,
        numbers: Vec<f64>,
        shape: Vec<usize>,
    ) -> Result<Option<ValueId>, GraphChangeError> {
        let block = draft.block(numbers, &shape, self.weight)?;
        let name = bias_name(draft.name(self.weight));
        Ok(block.map(|block| draft.add_parameter(&name, shape, block, self.weight)))
    }

    /// An Add behind the node.
    fn add(&self, draft: &mut Draft<'_>, bias: ValueId, sum: ValueId) {
        let Node { name, results, .. } = &draft.nodes[self.node];
        let name = if name.is_empty() { String::new() } else { format!("{name}.bias") };
        let mut product = results[0];
        if product == sum {
            product = draft.add_value(&format!("{}.product", draft.name(sum)));
            draft.nodes[self.node].results = vec![product];
        }
        let (op, operands) = (Op::Binary(Binary::Add), vec![product, bias]);
        draft.add_node(Node { name, op, operands, results: vec![sum] }, self.node);
    }
}

/// Where the bias of a linear node is, and what.
fn bias(
    graph: &Graph,
    draft: &Draft<'_>,
    readers: &Readers,
    node: &Node,
    (axis, n): (usize, usize),
) -> Result<(Place, Bias), GraphChangeError> {
    let result = node.results[0];
    let rank = graph.value(result).shape.len();
    if let Some(&own) = node.operands.get(2) {
        let (scale, behind) = match node.op {
            Op::Gemm { beta, .. } => (f64::from(beta), rank - 1 - axis),
            _ => (1.0, 0),
        };
        let bias = match one_an_output(graph, draft, own, (behind, n))? {
            // A bias that is not added.
            _ if scale == 0.0 => Bias::Known(vec![0.0; n]),
            Bias::Known(numbers) => Bias::Known(numbers.iter().map(|b| scale * b).collect()),
            bias => bias,
        };
        return Ok((Place::Node, bias));
    }
    let none = (Place::Node, Bias::Missing);
    let Some(add) = readers.only(result) else { return Ok(none) };
    let reader = &graph.nodes()[add];
    let Some(operand) = reader.operands.iter().position(|&id| id != result) else {
        return Ok(none);
    };
    let is_add = reader.op == Op::Binary(Binary::Add);
    if !is_add || graph.value(reader.results[0]).shape != graph.value(result).shape {
        return Ok(none);
    }
    Ok(match one_an_output(graph, draft, reader.operands[operand], (rank - 1 - axis, n))? {
        Bias::Missing | Bias::Other => none,
        bias @ (Bias::Parameter(_) | Bias::Known(_)) => (Place::Add { add, operand }, bias),
    })
}

/// Whether a value is one number an output, or one for all of them, with `behind` axes behind that of the outputs.
fn one_an_output(
    graph: &Graph,
    draft: &Draft<'_>,
    id: ValueId,
    (behind, n): (usize, usize),
) -> Result<Bias, GraphChangeError> {
    let shape = &graph.value(id).shape;
    let place = shape.len().checked_sub(behind + 1);
    let others = shape.iter().enumerate().filter(|(axis, _)| Some(*axis) != place);
    let along = place.map_or(Some(1), |place| known(shape[place]));
    if !others.map(|(_, &extent)| known(extent)).all(|extent| extent == Some(1)) {
        return Ok(Bias::Other);
    }
    let is_parameter = matches!(graph.value(id).source, Source::Parameter(_));
    match (along, draft.numbers(id)?) {
        (Some(along), Some(_)) if is_parameter && along == n && place.is_some() => {
            Ok(Bias::Parameter(id))
        }
        (Some(along), Some(numbers)) if along == n => Ok(Bias::Known(numbers)),
        (Some(1), Some(numbers)) => Ok(Bias::Known(vec![numbers[0]; n])),
        _ => Ok(Bias::Other),
    }
}

/// Whether anyone but one node reads a matrix or what it is made of.
fn is_shared(graph: &Graph, readers: &Readers, mut id: ValueId) -> bool {
    loop {
        if readers.only(id).is_none() {
            return true;
        }
        let Source::Node { node, .. } = graph.value(id).source else { return false };
        let Some(&operand) = graph.nodes()[node].operands.first() else { return false };
        id = operand;
    }
}

/// A name for the bias that belongs to a weight.
fn bias_name(weight: &str) -> String {
    let endings = [(".weight", ".bias"), ("/kernel", "/bias")];
    let named = endings
        .iter()
        .find_map(|(ending, bias)| weight.strip_suffix(ending).map(|stem| format!("{stem}{bias}")));
    named.unwrap_or_else(|| format!("{weight}.bias"))
}

fn known(extent: Dimension) -> Option<usize> {
    extent.as_known().and_then(|n| usize::try_from(n).ok())
}
