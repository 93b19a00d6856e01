//! Inputs that are standardized inside a graph.

use candle_core::{DType, Tensor};

use super::GraphChangeError;
use crate::graph::{Binary, Dimension};
use crate::graph::{Builder, Entries, Graph, Kind, Numbers, Op, Source, ValueId};

/// What is done to an input before a network sees it: (x − mean)/std, entry by entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Standardization {
    /// Extents of mean and std without the batch, broadcast from the right: `[n]` for features, `[c, 1, 1]` for the channels
    /// of images.
    pub shape: Vec<usize>,
    /// Finite numbers, row by row.
    pub mean: Vec<f64>,
    /// Finite numbers above 0, row by row.
    pub std: Vec<f64>,
}

impl Standardization {
    /// (x − mean)/std in f32, as a graph does it; x is (m, …), of any floats.
    pub fn apply(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let of = |values: &[f64]| {
            let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            Tensor::from_vec(values, self.shape.as_slice(), x.device())
        };
        let centered = x.to_dtype(DType::F32)?.broadcast_sub(&of(&self.mean)?)?;
        centered.broadcast_div(&of(&self.std)?)
    }

    /// Refuses numbers that do not fit the shape, an input of such extents, or f32.
    pub(crate) fn check(&self, input: &str, extents: &[Dimension]) -> Result<(), GraphChangeError> {
        let wrong = |expected: String, found: String| GraphChangeError::Standardization {
            input: input.to_owned(),
            expected,
            found,
        };
        let n = self.shape.iter().product::<usize>();
        for (what, numbers) in [("mean", &self.mean), ("std", &self.std)] {
            if numbers.len() != n {
                let expected = format!("{n} numbers of {what} for the shape {:?}", self.shape);
                return Err(wrong(expected, numbers.len().to_string()));
            }
            // The smallest of f32's normal numbers: what is divided by less is not finite, or not the same number.
            let is_fine = |v: f64| match what {
                "std" => v >= f64::from(f32::MIN_POSITIVE) && v <= f64::from(f32::MAX),
                _ => v.abs() <= f64::from(f32::MAX),
            };
            if let Some(i) = numbers.iter().position(|&v| !is_fine(v)) {
                let range = if what == "std" { "a number above 0" } else { "a finite number" };
                return Err(wrong(format!("{range} as {what} {i}"), numbers[i].to_string()));
            }
        }
        let of_example = extents.get(1..).unwrap_or_default();
        let tail = of_example.len().checked_sub(self.shape.len()).map(|skip| &of_example[skip..]);
        let fits = |(&n, extent): (&usize, &Dimension)| {
            n == 1 || extent.as_known().is_none_or(|known| i64::try_from(n) == Ok(known))
        };
        if tail.is_none_or(|tail| !self.shape.iter().zip(tail).all(fits)) {
            let expected = format!("extents of {}", crate::graph::shape_text(of_example));
            return Err(wrong(expected, format!("{:?}", self.shape)));
        }
        Ok(())
    }
}

impl Graph {
    /// The graph whose one input x is standardized first: f((x − mean)/std, w).
    ///
    /// x keeps its name; Sub and Div stand in front of its readers, mean and std are constants. The parameters stay.
    ///
    /// # Errors
    /// Where the graph has another number of inputs or one of whole numbers, or mean and std do not fit it.
    pub fn with_standardized_input(
        &self,
        standardization: &Standardization,
    ) -> Result<Self, GraphChangeError> {
        let Standardization { shape, mean, std } = standardization;
        let &[input] = self.inputs() else {
            return Err(GraphChangeError::Inputs { found: self.inputs().len() });
        };
        let value = self.value(input);
        if value.kind != Kind::Float {
            return Err(GraphChangeError::Standardization {
                input: value.name.clone(),
                expected: "an input of floats".to_owned(),
                found: format!("{:?}", value.kind),
            });
        }
        standardization.check(&value.name, &value.shape)?;
        let unique = |name: &str| {
            let names = std::iter::once(name.to_owned())
                .chain((2..).map(|number: usize| format!("{name}.{number}")));
            let is_free = |name: &String| self.values().iter().all(|value| value.name != *name);
            names.into_iter().find(is_free).unwrap_or_default()
        };
        let mut builder = Builder::new();
        let mut ids: Vec<Option<ValueId>> = Vec::new();
        for (i, value) in self.values().iter().enumerate() {
            let name = value.name.as_str();
            let new = match &value.source {
                Source::Input => {
                    let mut x = builder.input(name, value.kind, value.shape.clone());
                    for (what, op, entries) in
                        [("mean", Binary::Sub, mean), ("std", Binary::Div, std)]
                    {
                        let entries = Entries::Floats(entries.clone());
                        let numbers = Numbers { shape: shape.clone(), entries };
                        let constant = unique(&format!("{name}.{what}"));
                        let constant = builder.constant(&constant, Kind::Float, numbers);
                        let stage = if op == Binary::Sub { "centered" } else { "standardized" };
                        let result = unique(&format!("{name}.{stage}"));
                        let op = Op::Binary(op);
                        let results = builder.add(&result, op, &[x, constant], &[&result])?;
                        x = results.first().copied().unwrap_or(x);
                    }
                    Some(x)
                }
                Source::Parameter(_) => {
                    let extents = value.shape.iter();
                    let extents: Vec<usize> =
                        extents.map(|d| usize::try_from(d.fixed).unwrap_or(0)).collect();
                    Some(builder.parameter(name, &extents))
                }
                Source::Constant(numbers) => {
                    Some(builder.constant(name, value.kind, numbers.clone()))
                }
                // The results of a node stand side by side, and were made with the first.
                Source::Node { result: 1.., .. } => ids.get(i).copied().flatten(),
                Source::Node { node, .. } => {
                    let node = &self.nodes()[*node];
                    let operands: Vec<ValueId> =
                        node.operands.iter().filter_map(|id| ids[id.index()]).collect();
                    let names: Vec<&str> =
                        node.results.iter().map(|&id| self.value(id).name.as_str()).collect();
                    let made = builder.add(&node.name, node.op.clone(), &operands, &names)?;
                    let end = node.results.iter().map(|id| id.index() + 1).max().unwrap_or(0);
                    ids.resize(ids.len().max(end), None);
                    for (old, &new) in node.results.iter().zip(&made) {
                        ids[old.index()] = Some(new);
                    }
                    made.first().copied()
                }
            };
            ids.resize(ids.len().max(i + 1), None);
            ids[i] = new;
        }
        let outputs: Vec<ValueId> =
            self.outputs().iter().filter_map(|id| ids[id.index()]).collect();
        Ok(builder.finish(&outputs))
    }
}
