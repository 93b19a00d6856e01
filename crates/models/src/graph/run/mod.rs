//! f(x, w) of a graph on candle.

mod apply;
mod cast;
mod elementwise;
mod inputs;
mod linear;
mod normalize;
mod pairs;
mod pick;
mod pieces;
mod plain;
mod plan;
mod power;
mod reduce;
mod reshape;
mod sliding;
mod spread;
#[cfg(test)]
mod tests;

use candle_core::Tensor;
use core_tensors::{Error as TensorsError, Expected, Params};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

pub(super) use self::apply::{Context, apply};
pub(super) use self::cast::constant;
use self::plan::{Step, steps};
use self::spread::{Spread, spreads};
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

    /// These values for the inputs; only nodes that they need are computed.
    ///
    /// `known` holds values that are there already, as an earlier run gave them: what stands before them is not computed
    /// again. With the values at a cut through the graph known, a run goes on from that cut.
    ///
    /// # Errors
    /// Where inputs or parameters do not have the graph's shapes.
    pub fn values_from(
        &self,
        w: &Params,
        inputs: &[Tensor],
        known: &[(ValueId, Tensor)],
        wanted: &[ValueId],
    ) -> Result<Vec<Tensor>, Error> {
        self.evaluate_with(w, inputs, &Beside { known, probes: &[] }, wanted)
    }

    /// These values for the inputs, where each probe is added to its value as soon as that is there.
    ///
    /// The gradient by a probe of zeros is the gradient by the value.
    ///
    /// # Errors
    /// Where inputs, parameters or probes do not have the graph's shapes.
    pub fn values_with_probes(
        &self,
        w: &Params,
        inputs: &[Tensor],
        probes: &[(ValueId, Tensor)],
        wanted: &[ValueId],
    ) -> Result<Vec<Tensor>, Error> {
        let ids = probes.iter().map(|(id, _)| *id);
        // A wanted value is not hidden inside a kernel that computes several nodes at once.
        let all: Vec<ValueId> = wanted.iter().copied().chain(ids).collect();
        let mut values = self.evaluate_with(w, inputs, &Beside { known: &[], probes }, &all)?;
        values.truncate(wanted.len());
        Ok(values)
    }

    /// f(x, w): the first output for one input. A graph of a fixed batch ([`Graph::fixed_batch`]) computes others in pieces,
    /// where each row of its output is made of one example.
    ///
    /// # Errors
    /// Where the graph has several inputs, or x or w does not fit; [`Error::Batch`] where a fixed batch takes no pieces.
    pub fn forward(&self, w: &Params, x: &Tensor) -> Result<Tensor, Error> {
        if let Some(n) = self.fixed_batch()
            && x.dims().first().is_some_and(|&found| found != n)
        {
            return self.in_pieces(w, x, n);
        }
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
        self.evaluate_with(w, inputs, &Beside { known: &[], probes: &[] }, wanted)
    }

    fn evaluate_with(
        &self,
        w: &Params,
        inputs: &[Tensor],
        beside: &Beside<'_>,
        wanted: &[ValueId],
    ) -> Result<Vec<Tensor>, Error> {
        self.layout().check_same("parameters of a graph", w.layout())?;
        let (context, inputs) = self.feed(w, inputs)?;
        let inputs = self.inputs().iter().copied().zip(inputs);
        let fed: Vec<(ValueId, Tensor)> = inputs.chain(beside.known.iter().cloned()).collect();
        let mut known = Values::of_graph(self, beside, wanted);
        self.put_known(w, &context, &mut known)?;
        let is_given = |id: &ValueId| beside.known.iter().any(|(given, _)| given == id);
        let is_needed = |node: &Node, known: &Values| {
            node.results.iter().any(|id| known.is_needed(*id) && !is_given(id))
        };
        let needed: Vec<&Node> =
            self.nodes().iter().filter(|node| is_needed(node, &known)).collect();
        // Known values have the spread of the nodes that gave them.
        let spreads = spreads(self, |node| !beside.known.is_empty() || is_needed(node, &known));
        // What does not depend on the batch comes once, and weights among it may go into the steps.
        let is_fixed = |id: &ValueId| spreads[id.0] == Spread::Fixed;
        for (id, x) in fed.iter().filter(|(id, _)| is_fixed(id)) {
            known.put(*id, x.clone());
        }
        let (fixed, moving): (Vec<&Node>, Vec<&Node>) =
            needed.into_iter().partition(|node| node.results.iter().all(is_fixed));
        for node in fixed {
            known.step(node, &context).map_err(|problem| self.at(node, problem))?;
        }
        let steps = steps(self, &moving, &known, &spreads, wanted)
            .map_err(|(node, problem)| self.at(node, problem))?;
        known.count(&steps, wanted);
        let run = Run { graph: self, steps: &steps, wanted, spreads: &spreads };
        let probes = beside.probes.iter().map(|(_, probe)| probe);
        let tensors = fed.iter().map(|(_, x)| x).chain(w.blocks()).chain(probes);
        let is_tracked = !beside.probes.is_empty() || tensors.into_iter().any(Tensor::track_op);
        match run.part(&moving, &fed).filter(|&part| !is_tracked && part < context.m) {
            Some(part) => run.in_parts(&known, &fed, &context, part),
            None => run.whole(known, &fed, &context),
        }
    }

    /// Parameters and constants.
    fn put_known(&self, w: &Params, context: &Context, known: &mut Values) -> Result<(), Error> {
        for (&id, block) in self.parameters().iter().zip(w.blocks()) {
            if known.is_needed(id) {
                let extents = context.extents(&self.value(id).shape);
                let shape = extents.map_err(|problem| self.at_value(id, problem))?;
                let block = block.reshape(shape).map_err(TensorsError::from)?;
                known.put(id, block);
            }
        }
        for (i, value) in self.values().iter().enumerate() {
            let id = ValueId(i);
            if let (Source::Constant(numbers), true) = (&value.source, known.is_needed(id)) {
                let constant = constant(numbers, value.kind, context);
                known.put(id, constant.map_err(|problem| self.at_value(id, problem))?);
            }
        }
        Ok(())
    }

    /// How messages call a node.
    pub(super) fn name_of(&self, node: &Node) -> NodeName {
        let first = node.results.first().map(|&id| self.value(id).name.as_str());
        let name = if node.name.is_empty() { first.unwrap_or_default() } else { &node.name };
        NodeName { op: node.op.name().to_owned(), name: name.to_owned() }
    }

    fn at(&self, node: &Node, problem: Problem) -> Error {
        Error::Node { node: self.name_of(node), problem: Box::new(problem) }
    }

    fn at_value(&self, id: ValueId, problem: Problem) -> Error {
        let value = self.value(id);
        let op = match &value.source {
            Source::Input => "input",
            Source::Parameter(_) => "parameter",
            Source::Constant(_) => "constant",
            Source::Node { node, .. } => return self.at(&self.nodes()[*node], problem),
        };
        let node = NodeName { op: op.to_owned(), name: value.name.clone() };
        Error::Node { node, problem: Box::new(problem) }
    }
}

/// What a run is handed beside the inputs.
struct Beside<'a> {
    /// Values that need not be computed.
    known: &'a [(ValueId, Tensor)],
    /// What is added to values.
    probes: &'a [(ValueId, Tensor)],
}

/// The part of a run that depends on the batch.
struct Run<'a> {
    graph: &'a Graph,
    steps: &'a [Step<'a>],
    wanted: &'a [ValueId],
    spreads: &'a [Spread],
}

/// Numbers of the largest value of a part of a batch: with its operands, about what a core's own cache holds.
const PART_NUMBERS: i64 = 1 << 18;
/// Examples of a part: enough for products of matrices, and not so many that threads go idle.
const PART_EXAMPLES: std::ops::RangeInclusive<i64> = 16..=256;

impl Run<'_> {
    /// How many examples at once, where the batch may be computed in parts.
    fn part(&self, nodes: &[&Node], fed: &[(ValueId, Tensor)]) -> Option<usize> {
        let results = nodes.iter().flat_map(|node| &node.results);
        let is_apart = |id: &ValueId| self.spreads[id.0] != Spread::Other;
        let fed = fed.iter().map(|(id, _)| id);
        if !fed.chain(results.clone()).chain(self.wanted).all(is_apart) {
            return None;
        }
        let size = |id: &ValueId| {
            let extents = self.graph.value(*id).shape.iter().map(|d| d.of_batch(1).unwrap_or(1));
            extents.fold(1i64, i64::saturating_mul)
        };
        let largest = results.map(size).max().unwrap_or(1).max(1);
        let part = PART_NUMBERS / largest;
        usize::try_from(part.clamp(*PART_EXAMPLES.start(), *PART_EXAMPLES.end())).ok()
    }

    fn whole(
        &self,
        mut known: Values,
        fed: &[(ValueId, Tensor)],
        context: &Context,
    ) -> Result<Vec<Tensor>, Error> {
        for (id, x) in fed.iter().filter(|(id, _)| self.spreads[id.0] != Spread::Fixed) {
            known.put(*id, x.clone());
        }
        for step in self.steps {
            step.run(&mut known, context).map_err(|problem| self.graph.at(step.node, problem))?;
        }
        let output =
            |&id: &ValueId| known.take(id).map_err(|problem| self.graph.at_value(id, problem));
        self.wanted.iter().map(output).collect()
    }

    /// Some examples at a time, whose values stay in a core's cache; the threads of rayon's pool share the parts.
    fn in_parts(
        &self,
        known: &Values,
        fed: &[(ValueId, Tensor)],
        context: &Context,
        part: usize,
    ) -> Result<Vec<Tensor>, Error> {
        let one = |first: usize| -> Result<Vec<Tensor>, Error> {
            let m = part.min(context.m - first);
            let fed: Vec<(ValueId, Tensor)> = fed
                .iter()
                .map(|(id, x)| Ok((*id, self.rows(*id, x, first, m)?)))
                .collect::<candle_core::Result<_>>()
                .map_err(TensorsError::from)?;
            self.whole(known.clone(), &fed, &Context { m, ..context.clone() })
        };
        let firsts: Vec<usize> = (0..context.m).step_by(part).collect();
        // On the calling thread if the pool has but one, which would be another.
        let parts: Vec<Vec<Tensor>> = if rayon::current_num_threads() > 1 {
            firsts.into_par_iter().map(one).collect::<Result<_, _>>()?
        } else {
            firsts.into_iter().map(one).collect::<Result<_, _>>()?
        };
        let joined = self.wanted.iter().enumerate().map(|(k, id)| {
            let parts: Vec<&Tensor> = parts.iter().filter_map(|outputs| outputs.get(k)).collect();
            match parts.first() {
                Some(first) if self.spreads[id.0] == Spread::Fixed => Ok((*first).clone()),
                _ => Tensor::cat(&parts, 0),
            }
        });
        Ok(joined.collect::<candle_core::Result<_>>().map_err(TensorsError::from)?)
    }

    /// The examples from `first` on of an input.
    fn rows(&self, id: ValueId, x: &Tensor, first: usize, m: usize) -> candle_core::Result<Tensor> {
        let each = self.graph.value(id).shape.first().map_or(0, |extent| extent.per_example);
        match usize::try_from(each) {
            Ok(each) if self.spreads[id.0] == Spread::Rows => x.narrow(0, first * each, m * each),
            _ => Ok(x.clone()),
        }
    }
}

/// Tensors of a run; each goes after its last use.
#[derive(Clone)]
struct Values {
    tensors: Vec<Option<Tensor>>,
    /// How often each is still wanted.
    uses: Vec<usize>,
    probes: Vec<(ValueId, Tensor)>,
}

impl Values {
    /// Nothing yet; counts who wants what.
    fn of_graph(graph: &Graph, beside: &Beside<'_>, wanted: &[ValueId]) -> Self {
        let n = graph.values().len();
        let mut uses = vec![0; n];
        let mut is_given = vec![false; n];
        beside.known.iter().for_each(|(id, _)| is_given[id.0] = true);
        wanted.iter().for_each(|id| uses[id.0] += 1);
        for node in graph.nodes().iter().rev() {
            if node.results.iter().any(|id| uses[id.0] > 0 && !is_given[id.0]) {
                node.operands.iter().for_each(|id| uses[id.0] += 1);
            }
        }
        Self { tensors: vec![None; n], uses, probes: beside.probes.to_vec() }
    }

    /// Only what these steps read counts from here on.
    fn count(&mut self, steps: &[Step<'_>], wanted: &[ValueId]) {
        self.uses.fill(0);
        let read = steps.iter().flat_map(|step| &step.operands);
        read.chain(wanted).for_each(|id| self.uses[id.0] += 1);
        for (tensor, &uses) in self.tensors.iter_mut().zip(&self.uses) {
            if uses == 0 {
                *tensor = None;
            }
        }
    }

    fn is_needed(&self, id: ValueId) -> bool {
        self.uses[id.0] > 0
    }

    fn put(&mut self, id: ValueId, tensor: Tensor) {
        if self.is_needed(id) {
            self.tensors[id.0] = Some(tensor);
        }
    }

    /// What a node gives.
    fn put_result(&mut self, id: ValueId, result: Tensor) -> Result<(), Problem> {
        let probe = self.probes.iter().find(|(probed, _)| *probed == id);
        let result = match probe {
            Some((_, probe)) => (result + probe)?,
            None => result,
        };
        self.put(id, result);
        Ok(())
    }

    /// One of the uses that were counted.
    fn take(&mut self, id: ValueId) -> Result<Tensor, Problem> {
        self.uses[id.0] = self.uses[id.0].saturating_sub(1);
        let place = &mut self.tensors[id.0];
        let tensor = if self.uses[id.0] == 0 { place.take() } else { place.clone() };
        // A graph's nodes stand behind those that they depend on.
        tensor.ok_or(Problem::NotConstant { what: "the order of the nodes" })
    }

    /// Without a use.
    fn peek(&self, id: ValueId) -> Option<Tensor> {
        self.tensors[id.0].clone()
    }

    fn step(&mut self, node: &Node, context: &Context) -> Result<(), Problem> {
        let operands: Vec<Tensor> =
            node.operands.iter().map(|&id| self.take(id)).collect::<Result<_, _>>()?;
        let results = apply(&node.op, &operands, context)?;
        let mut results = node.results.iter().zip(results);
        results.try_for_each(|(&id, result)| self.put_result(id, result))
    }
}
