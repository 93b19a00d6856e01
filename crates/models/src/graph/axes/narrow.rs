//! The graph without some units.

use std::collections::HashMap;

use candle_core::Tensor;
use core_tensors::{Error as TensorsError, Params};

use super::labels::extent;
use super::{Axes, AxesError, Cut};
use crate::graph::{
    Builder, Dimension, Entries, Graph, Node, Numbers, Op, SliceRange, Source, Value, ValueId,
};

impl Axes {
    /// The graph and its parameters with these units only, in the order of the graph; all units of groups that are not
    /// named stay.
    ///
    /// Names of values and nodes stay, so that [`crate::onnx::rewrite`] finds them in the file. A unit whose columns in its
    /// consumers are all 0 is removed without a change of the function.
    ///
    /// # Errors
    /// For groups and units that are not there, are named twice or are pinned, and where nothing would be left of a tensor.
    pub fn narrow(
        &self,
        graph: &Graph,
        params: &Params,
        kept: &[(usize, Vec<usize>)],
    ) -> Result<(Graph, Params), AxesError> {
        let (expected, found) = (self.cuts.len(), graph.values().len());
        if expected != found {
            return Err(AxesError::OtherGraph { expected, found });
        }
        graph.layout().check_same("parameters of a graph", params.layout())?;
        let narrowing = Narrowing { axes: self, graph, kept: self.masks(kept)? };
        narrowing.check()?;
        narrowing.build(params)
    }

    /// Which units stay, group by group.
    fn masks(&self, kept: &[(usize, Vec<usize>)]) -> Result<Vec<Vec<bool>>, AxesError> {
        let mut masks: Vec<Option<Vec<bool>>> = vec![None; self.groups.len()];
        for (g, units) in kept {
            let n_groups = self.groups.len();
            let Some(group) = self.groups.get(*g) else {
                return Err(AxesError::NoGroup { found: *g, n_groups });
            };
            let (name, n_units) = (|| group.name.clone(), group.n_units);
            if let Some(reason) = group.pinned.clone() {
                return Err(AxesError::Pinned { group: name(), n_units, reason });
            }
            let mut mask = vec![false; n_units];
            for &unit in units {
                match mask.get_mut(unit) {
                    None => {
                        return Err(AxesError::NoUnit { group: name(), found: unit, n_units });
                    }
                    Some(true) => return Err(AxesError::UnitTwice { group: name(), unit }),
                    Some(place) => *place = true,
                }
            }
            if units.is_empty() {
                return Err(AxesError::NoneKept { group: name(), n_units });
            }
            if masks[*g].replace(mask).is_some() {
                return Err(AxesError::GroupTwice { group: name() });
            }
        }
        let all = masks.into_iter().zip(&self.groups);
        Ok(all.map(|(mask, group)| mask.unwrap_or_else(|| vec![true; group.n_units])).collect())
    }
}

struct Narrowing<'a> {
    axes: &'a Axes,
    graph: &'a Graph,
    kept: Vec<Vec<bool>>,
}

impl Narrowing<'_> {
    fn is_kept(&self, unit: &Option<(usize, usize)>) -> bool {
        unit.is_none_or(|(group, unit)| self.kept[group][unit])
    }

    /// The entries that stay along an axis with units.
    fn entries(&self, cut: &Cut) -> Vec<usize> {
        let places = cut.units.iter().enumerate();
        places.filter(|(_, unit)| self.is_kept(unit)).map(|(place, _)| place).collect()
    }

    fn cuts(&self, id: ValueId) -> &[Cut] {
        &self.axes.cuts[id.0]
    }

    /// How many entries stay along an axis; `None` where it has no units.
    fn count(&self, id: ValueId, axis: usize) -> Option<usize> {
        let cut = self.cuts(id).iter().find(|cut| cut.axis == axis)?;
        Some(cut.units.iter().filter(|unit| self.is_kept(unit)).count())
    }

    fn check(&self) -> Result<(), AxesError> {
        for (value, cuts) in self.graph.values().iter().zip(&self.axes.cuts) {
            for cut in cuts {
                if !cut.units.iter().any(|unit| self.is_kept(unit)) {
                    let (value, axis, n) = (value.name.clone(), cut.axis, cut.units.len());
                    return Err(AxesError::NothingLeft { value, axis, n });
                }
            }
        }
        Ok(())
    }

    fn build(&self, params: &Params) -> Result<(Graph, Params), AxesError> {
        let mut builder = Builder::new();
        let mut blocks = Vec::with_capacity(params.blocks().len());
        let mut ids: HashMap<ValueId, ValueId> = HashMap::new();
        for (i, value) in self.graph.values().iter().enumerate() {
            let id = ValueId(i);
            match &value.source {
                Source::Input => {
                    ids.insert(id, builder.input(&value.name, value.kind, value.shape.clone()));
                }
                Source::Parameter(block) => {
                    let given = params.blocks().get(*block);
                    let none = || TensorsError::Candle(candle_core::Error::Msg("no block".into()));
                    let (block, shape) = self.block(id, value, given.ok_or_else(none)?)?;
                    ids.insert(id, builder.parameter(&value.name, &shape));
                    blocks.push(block);
                }
                Source::Constant(numbers) => {
                    let numbers = self.numbers(id, numbers);
                    ids.insert(id, builder.constant(&value.name, value.kind, numbers));
                }
                &Source::Node { node, result: 0 } => {
                    let node = &self.graph.nodes()[node];
                    let operands: Vec<ValueId> =
                        node.operands.iter().filter_map(|id| ids.get(id).copied()).collect();
                    let names: Vec<&str> =
                        node.results.iter().map(|&id| self.graph.value(id).name.as_str()).collect();
                    let results = builder.add(&node.name, self.op(node), &operands, &names)?;
                    ids.extend(node.results.iter().copied().zip(results));
                }
                Source::Node { .. } => {}
            }
        }
        let outputs: Vec<ValueId> =
            self.graph.outputs().iter().filter_map(|id| ids.get(id).copied()).collect();
        let graph = builder.finish(&outputs);
        let params = Params::new(graph.layout(), blocks)?;
        Ok((graph, params))
    }

    /// A parameter's block and shape.
    fn block(
        &self,
        id: ValueId,
        value: &Value,
        block: &Tensor,
    ) -> Result<(Tensor, Vec<usize>), TensorsError> {
        let mut shape: Vec<usize> = value.shape.iter().map(|&n| extent(n).unwrap_or(0)).collect();
        if self.cuts(id).is_empty() {
            return Ok((block.clone(), shape));
        }
        let mut tensor = block.reshape(shape.as_slice())?;
        for cut in self.cuts(id) {
            let entries: Vec<u32> = self.entries(cut).into_iter().map(|i| i as u32).collect();
            shape[cut.axis] = entries.len();
            let entries = Tensor::new(entries, tensor.device())?;
            tensor = tensor.index_select(&entries, cut.axis)?;
        }
        let rows = shape.first().copied().unwrap_or(1);
        let cols = shape.iter().skip(1).product::<usize>();
        Ok((tensor.reshape((rows, cols))?, shape))
    }

    /// A constant's numbers.
    fn numbers(&self, id: ValueId, numbers: &Numbers) -> Numbers {
        let mut numbers = numbers.clone();
        for cut in self.cuts(id) {
            let (front, behind) = numbers.shape.split_at(cut.axis);
            let outer: usize = front.iter().product();
            let inner: usize = behind.iter().skip(1).product();
            let (n, entries) = (cut.units.len(), self.entries(cut));
            let places: Vec<usize> = (0..outer)
                .flat_map(|o| entries.iter().map(move |j| o * n + j))
                .flat_map(|row| row * inner..(row + 1) * inner)
                .collect();
            numbers.entries = match &numbers.entries {
                Entries::Floats(all) => Entries::Floats(picked(all, &places)),
                Entries::Integers(all) => Entries::Integers(picked(all, &places)),
            };
            numbers.shape[cut.axis] = entries.len();
        }
        numbers
    }

    /// The operator with settings for what is left.
    fn op(&self, node: &Node) -> Op {
        let mut op = node.op.clone();
        let first = node.operands.first().copied();
        let result = node.results.first().copied();
        match (&mut op, first, result) {
            (
                Op::Reshape { shape } | Op::Expand { shape } | Op::Fill { shape, .. },
                _,
                Some(id),
            ) => {
                let own = self.graph.value(id).shape.len();
                let shift = own.saturating_sub(shape.len());
                for (place, target) in shape.iter_mut().enumerate() {
                    if let Some(n) = self.count(id, place + shift)
                        && *target != Dimension::known(1)
                    {
                        *target = resized(*target, n);
                    }
                }
            }
            (Op::Split { axis, sizes }, _, _) => {
                for (size, &id) in sizes.iter_mut().zip(&node.results) {
                    if let Some(n) = first.and_then(|x| self.part(x, *axis, &node.results, id)) {
                        *size = resized(*size, n);
                    }
                }
            }
            (Op::Slice { ranges }, Some(x), _) => {
                for range in ranges {
                    if let Some(cut) = self.cuts(x).iter().find(|cut| cut.axis == range.axis) {
                        *range = self.range(*range, cut);
                    }
                }
            }
            (Op::Conv { groups, .. }, Some(x), _) if *groups > 1 => {
                *groups = self.count(x, 1).unwrap_or(*groups);
            }
            (Op::GroupNormalization { groups, .. }, Some(x), _) => {
                *groups = self.count(x, 1).unwrap_or(*groups);
            }
            _ => {}
        }
        op
    }

    /// What stays of one result of a split.
    fn part(&self, x: ValueId, axis: usize, results: &[ValueId], part: ValueId) -> Option<usize> {
        let cut = self.cuts(x).iter().find(|cut| cut.axis == axis)?;
        let mut start = 0;
        for &id in results {
            let n = extent(*self.graph.value(id).shape.get(axis)?)?;
            if id == part {
                let units = cut.units.get(start..start + n)?;
                return Some(units.iter().filter(|unit| self.is_kept(unit)).count());
            }
            start += n;
        }
        None
    }

    /// The same entries, as far as they stay; they are neighbors.
    fn range(&self, range: SliceRange, cut: &Cut) -> SliceRange {
        let known = |n: Dimension| n.as_known().and_then(|n| usize::try_from(n).ok());
        let (Some(start), Some(len)) = (known(range.start), known(range.len)) else { return range };
        let (low, high) = if range.step < 0 {
            ((start + 1).saturating_sub(len), start + 1)
        } else {
            (start, start + len)
        };
        let n_kept = |units: &[Option<(usize, usize)>]| {
            units.iter().filter(|unit| self.is_kept(unit)).count()
        };
        let (Some(front), Some(inside)) = (cut.units.get(..low), cut.units.get(low..high)) else {
            return range;
        };
        let (front, inside) = (n_kept(front), n_kept(inside));
        let start = if range.step < 0 { (front + inside).saturating_sub(1) } else { front };
        let known = |n: usize| Dimension::known(i64::try_from(n).unwrap_or(i64::MAX));
        SliceRange { start: known(start), len: known(inside), ..range }
    }
}

/// The entries at these places.
fn picked<T: Copy>(all: &[T], places: &[usize]) -> Vec<T> {
    places.iter().filter_map(|&place| all.get(place).copied()).collect()
}

/// An extent with n entries for each example, where it grows with the batch, or n.
fn resized(extent: Dimension, n: usize) -> Dimension {
    let n = i64::try_from(n).unwrap_or(i64::MAX);
    if extent.is_per_batch() { Dimension { fixed: 0, per_example: n } } else { Dimension::known(n) }
}
