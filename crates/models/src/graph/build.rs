//! Graphs, node by node: shapes are inferred and constants computed as each node is added.

use std::collections::HashMap;

use super::{
    Dimension, Error, Graph, Kind, Node, NodeName, Numbers, Op, Problem, Source, Value, ValueId,
    fold, infer,
};

/// Makes a [`Graph`] from the input side on.
///
/// A node whose results are known without the data becomes constants and leaves no node behind; one that nothing needs in
/// the end is left out by [`Builder::finish`].
#[derive(Debug, Default)]
pub struct Builder {
    values: Vec<Value>,
    nodes: Vec<Node>,
    inputs: Vec<ValueId>,
    parameters: Vec<ValueId>,
    /// Numbers that were handed in.
    n_given: usize,
    /// Numbers that were computed of them.
    n_folded: usize,
}

impl Builder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A value that is fed in; its first extent is usually [`Dimension::BATCH`].
    pub fn input(&mut self, name: &str, kind: Kind, shape: Vec<Dimension>) -> ValueId {
        let id = self.value(name, kind, shape, Source::Input);
        self.inputs.push(id);
        id
    }

    /// A parameter of this shape; the next block of the parameters.
    pub fn parameter(&mut self, name: &str, shape: &[usize]) -> ValueId {
        let n = shape.iter().fold(1usize, |n, &extent| n.saturating_mul(extent));
        self.n_given = self.n_given.saturating_add(n);
        let shape = shape.iter().map(|&n| Dimension::known(n as i64)).collect();
        let id = self.value(name, Kind::Float, shape, Source::Parameter(self.parameters.len()));
        self.parameters.push(id);
        id
    }

    /// A value that is known.
    pub fn constant(&mut self, name: &str, kind: Kind, numbers: Numbers) -> ValueId {
        self.n_given = self.n_given.saturating_add(numbers.entries.len());
        let shape = numbers.shape.iter().map(|&n| Dimension::known(n as i64)).collect();
        self.value(name, kind, shape, Source::Constant(numbers))
    }

    /// A node; one value a name of its results.
    ///
    /// # Errors
    /// Where the operands do not fit the operator.
    pub fn add(
        &mut self,
        name: &str,
        op: Op,
        operands: &[ValueId],
        results: &[&str],
    ) -> Result<Vec<ValueId>, Error> {
        let at = |problem| {
            let name = if name.is_empty() { results.first().copied().unwrap_or("") } else { name };
            let node = NodeName { op: op.name().to_owned(), name: name.to_owned() };
            Error::Node { node, problem: Box::new(problem) }
        };
        let given: Vec<&Value> = operands.iter().map(|id| &self.values[id.0]).collect();
        let inferred = infer::results(&op, &given).map_err(at)?;
        if inferred.len() != results.len() {
            let (what, expected) = ("results", inferred.len().to_string());
            let found = results.len().to_string();
            return Err(at(Problem::Setting { what, expected, found }));
        }
        let allowance = fold::budget(self.n_given).saturating_sub(self.n_folded);
        let known = fold::results(&op, &given, &inferred, allowance).map_err(at)?;
        let n_known: usize = known.iter().flatten().map(|numbers| numbers.entries.len()).sum();
        self.n_folded = self.n_folded.saturating_add(n_known);
        let node = self.nodes.len();
        let is_known = known.is_some();
        let sources: Vec<Source> = match known {
            Some(known) => known.into_iter().map(Source::Constant).collect(),
            None => (0..results.len()).map(|result| Source::Node { node, result }).collect(),
        };
        let made = results.iter().zip(inferred).zip(sources);
        let results: Vec<ValueId> = made
            .map(|((name, (kind, shape)), source)| self.value(name, kind, shape, source))
            .collect();
        if !is_known {
            let (name, operands) = (name.to_owned(), operands.to_vec());
            self.nodes.push(Node { name, op, operands, results: results.clone() });
        }
        Ok(results)
    }

    /// What is known of a value.
    pub fn get(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// Nodes so far.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The graph that computes these values: inputs and parameters all stay, nodes and constants that they do not need go.
    pub fn finish(self, outputs: &[ValueId]) -> Graph {
        let Self { values, nodes, inputs, parameters, .. } = self;
        let mut is_needed = vec![false; values.len()];
        outputs.iter().chain(&inputs).chain(&parameters).for_each(|id| is_needed[id.0] = true);
        let mut is_kept = vec![false; nodes.len()];
        for (node, keep) in nodes.iter().zip(&mut is_kept).rev() {
            *keep = node.results.iter().any(|id| is_needed[id.0]);
            if *keep {
                // All results of a node stay, so that their numbers do.
                node.operands.iter().chain(&node.results).for_each(|id| is_needed[id.0] = true);
            }
        }
        let mut place = HashMap::new();
        let mut kept_values = Vec::new();
        let node_places: Vec<usize> = is_kept
            .iter()
            .scan(0, |next, &keep| {
                let place = *next;
                *next += usize::from(keep);
                Some(place)
            })
            .collect();
        for (i, mut value) in values.into_iter().enumerate().filter(|(i, _)| is_needed[*i]) {
            if let Source::Node { node, .. } = &mut value.source {
                *node = node_places[*node];
            }
            place.insert(ValueId(i), ValueId(kept_values.len()));
            kept_values.push(value);
        }
        let moved = |ids: &[ValueId]| -> Vec<ValueId> {
            ids.iter().filter_map(|id| place.get(id).copied()).collect()
        };
        let kept_nodes = nodes.into_iter().zip(is_kept).filter(|(_, keep)| *keep);
        let nodes = kept_nodes
            .map(|(node, _)| Node {
                operands: moved(&node.operands),
                results: moved(&node.results),
                ..node
            })
            .collect();
        Graph {
            inputs: moved(&inputs),
            parameters: moved(&parameters),
            outputs: moved(outputs),
            values: kept_values,
            nodes,
        }
    }

    fn value(&mut self, name: &str, kind: Kind, shape: Vec<Dimension>, source: Source) -> ValueId {
        self.values.push(Value { name: name.to_owned(), shape, kind, source });
        ValueId(self.values.len() - 1)
    }
}
