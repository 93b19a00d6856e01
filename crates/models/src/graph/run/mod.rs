//! f(x, w) of a graph on candle.

mod apply;
mod cast;
mod elementwise;
mod inputs;
mod linear;
mod normalize;
mod pairs;
mod pick;
mod power;
mod reduce;
mod reshape;
mod sliding;
#[cfg(test)]
mod tests;

use candle_core::Tensor;
use core_tensors::{Error as TensorsError, Expected, Params};

use self::apply::{Context, apply};
use super::{Error, Graph, Node, NodeName, Problem, Source, ValueId};

impl Graph {
    /// All outputs for the inputs, in their orders; differentiable in the parameters and in inputs of floats.
    ///
    /// Floats are computed in the type of the parameters, f32 or f64 (of the inputs, where there are no parameters). For an
    /// input of floats, bytes are grayscale intensities and count as x / 255, as everywhere; for one of whole numbers, any
    /// type of integers serves. Where the graph wants (N, c, h, w), rows (N, c·h·w) serve as well.
    ///
    /// # Errors
    /// Where inputs or parameters do not have the graph's shapes.
    pub fn run(&self, w: &Params, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        self.evaluate(w, inputs, self.outputs())
    }

    /// f(x, w): the first output for one input.
    ///
    /// # Errors
    /// Where the graph has several inputs, or x or w does not fit.
    pub fn forward(&self, w: &Params, x: &Tensor) -> Result<Tensor, Error> {
        let outputs = self.outputs();
        let first = self.evaluate(w, std::slice::from_ref(x), &outputs[..outputs.len().min(1)])?;
        let none = TensorsError::Count {
            what: "outputs of a graph",
            expected: Expected::AtLeast(1),
            found: 0,
        };
        first.into_iter().next().ok_or(Error::Tensors(none))
    }

    /// These values of the graph; only nodes that they need are computed.
    pub(super) fn evaluate(
        &self,
        w: &Params,
        inputs: &[Tensor],
        wanted: &[ValueId],
    ) -> Result<Vec<Tensor>, Error> {
        self.layout().check_same("parameters of a graph", w.layout())?;
        let (context, fed) = self.feed(w, inputs)?;
        let mut known = Values::new(self, wanted);
        for (&id, x) in self.inputs().iter().zip(fed) {
            known.put(id, x);
        }
        for (&id, block) in self.parameters().iter().zip(w.blocks()) {
            if known.is_needed(id) {
                let extents = context.extents(&self.value(id).shape);
                let shape = extents.map_err(|problem| self.at_value(id, problem))?;
                let block = block.reshape(shape).map_err(TensorsError::from)?;
                known.put(id, block);
            }
        }
        for (i, value) in self.values().iter().enumerate() {
            if let (Source::Constant(numbers), true) = (&value.source, known.is_needed(ValueId(i)))
            {
                let constant = cast::constant(numbers, value.kind, &context);
                known.put(ValueId(i), constant.map_err(|p| self.at_value(ValueId(i), p))?);
            }
        }
        for node in self.nodes() {
            if node.results.iter().any(|&id| known.is_needed(id)) {
                self.step(node, &mut known, &context).map_err(|problem| at(node, problem))?;
            }
        }
        let output = |&id: &ValueId| known.take(id).map_err(|problem| self.at_value(id, problem));
        wanted.iter().map(output).collect()
    }

    fn step(&self, node: &Node, known: &mut Values, context: &Context) -> Result<(), Problem> {
        let operands: Vec<Tensor> =
            node.operands.iter().map(|&id| known.take(id)).collect::<Result<_, _>>()?;
        let results = apply(&node.op, &operands, context)?;
        for (&id, result) in node.results.iter().zip(results) {
            known.put(id, result);
        }
        Ok(())
    }

    fn at_value(&self, id: ValueId, problem: Problem) -> Error {
        let value = self.value(id);
        let op = match &value.source {
            Source::Input => "input",
            Source::Parameter(_) => "parameter",
            Source::Constant(_) => "constant",
            Source::Node { node, .. } => return at(&self.nodes()[*node], problem),
        };
        let node = NodeName { op: op.to_owned(), name: value.name.clone() };
        Error::Node { node, problem: Box::new(problem) }
    }
}

fn at(node: &Node, problem: Problem) -> Error {
    let node = NodeName { op: node.op.name().to_owned(), name: node.name.clone() };
    Error::Node { node, problem: Box::new(problem) }
}

/// Tensors of a run; each goes after its last use.
struct Values {
    tensors: Vec<Option<Tensor>>,
    /// How often each is still wanted.
    uses: Vec<usize>,
}

impl Values {
    /// Nothing yet; counts who wants what.
    fn new(graph: &Graph, wanted: &[ValueId]) -> Self {
        let n = graph.values().len();
        let mut uses = vec![0; n];
        wanted.iter().for_each(|id| uses[id.0] += 1);
        for node in graph.nodes().iter().rev() {
            if node.results.iter().any(|id| uses[id.0] > 0) {
                node.operands.iter().for_each(|id| uses[id.0] += 1);
            }
        }
        Self { tensors: vec![None; n], uses }
    }

    fn is_needed(&self, id: ValueId) -> bool {
        self.uses[id.0] > 0
    }

    fn put(&mut self, id: ValueId, tensor: Tensor) {
        if self.is_needed(id) {
            self.tensors[id.0] = Some(tensor);
        }
    }

    /// One of the uses that were counted.
    fn take(&mut self, id: ValueId) -> Result<Tensor, Problem> {
        self.uses[id.0] = self.uses[id.0].saturating_sub(1);
        let place = &mut self.tensors[id.0];
        let tensor = if self.uses[id.0] == 0 { place.take() } else { place.clone() };
        // A graph's nodes stand behind those that they depend on.
        tensor.ok_or(Problem::NotConstant { what: "the order of the nodes" })
    }
}
