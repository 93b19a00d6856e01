//! Independent groups of parameters, dense within each: one group a layer, or one a unit.

use std::ops::Range;

use core_tensors::{Layout, Rng, Slice};
use faer::Mat;

use crate::checks;
use crate::error::Result;
use crate::full::Full;
use crate::gaussian::permuted_positions;
use crate::greedy;
use crate::structure::{Condition, Conditioned, Covariance, GaussianDensity, Outgoing, Structure};

/// What a group of parameters is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// All parameters of a layer: Ψ_t is (n_t · cols, n_t · cols).
    Layer,
    /// The incoming weights and the bias of a unit: each Ψ is (cols, cols).
    Unit,
}

impl Group {
    /// Rows of each block over the parameters of a layout, in vec order.
    pub(crate) fn sizes(self, layout: &Layout) -> Vec<usize> {
        let blocks = layout.blocks.iter();
        match self {
            Self::Layer => blocks.map(core_tensors::Block::n_parameters).collect(),
            Self::Unit => blocks.flat_map(|b| std::iter::repeat_n(b.cols, b.rows)).collect(),
        }
    }
}

/// Ψ = diag(Ψ_1, …): dense blocks along vec(·), nothing between them.
#[derive(Clone, Debug)]
pub struct BlockDiagonal {
    group: Group,
    blocks: Vec<Full>,
}

impl BlockDiagonal {
    /// From the blocks in vec order; each symmetric and positive definite.
    pub fn new(group: Group, blocks: Vec<Mat<f64>>) -> Result<Self> {
        let blocks = blocks.into_iter().enumerate();
        let blocks =
            blocks.map(|(i, block)| Full::named(&name(i), block)).collect::<Result<_>>()?;
        Ok(Self { group, blocks })
    }

    /// From blocks that were checked one by one.
    pub(crate) fn of(group: Group, blocks: Vec<Full>) -> Self {
        Self { group, blocks }
    }

    /// What a block belongs to.
    pub fn group(&self) -> Group {
        self.group
    }

    /// The blocks, in vec order.
    pub fn blocks(&self) -> &[Full] {
        &self.blocks
    }

    /// Where each block lies in vec(·).
    fn ranges(&self) -> impl Iterator<Item = (Range<usize>, &Full)> {
        let mut start = 0;
        self.blocks.iter().map(move |block| {
            let range = start..start + block.n_parameters();
            start = range.end;
            (range, block)
        })
    }

    /// Numbers computed block by block.
    fn each(&self, of: impl Fn(&Full, Range<usize>) -> Result<Vec<f64>>) -> Result<Vec<f64>> {
        let mut all = Vec::with_capacity(self.n_parameters());
        for (range, block) in self.ranges() {
            all.extend(of(block, range)?);
        }
        Ok(all)
    }
}

/// What messages call a block.
fn name(index: usize) -> String {
    format!("block {index} of a covariance")
}

/// The part of ascending positions inside a range, counted from its start.
fn local(positions: &[usize], range: &Range<usize>) -> Range<usize> {
    let at = |value| positions.partition_point(|&i| i < value);
    at(range.start)..at(range.end)
}

fn shifted(positions: &[usize], start: usize) -> Vec<usize> {
    positions.iter().map(|i| i - start).collect()
}

impl Covariance for BlockDiagonal {
    const NAME: &'static str = "block";

    fn n_parameters(&self) -> usize {
        self.blocks.iter().map(Full::n_parameters).sum()
    }

    fn check(&self, layout: &Layout) -> Result<()> {
        let wanted = self.group.sizes(layout);
        let found: Vec<usize> = self.blocks.iter().map(Full::n_parameters).collect();
        if wanted.len() != found.len() {
            return checks::length("blocks of a covariance", wanted.len(), found.len());
        }
        let mut sizes = wanted.into_iter().zip(found);
        sizes.try_for_each(|(n, found)| checks::length("rows of a block of a covariance", n, found))
    }

    fn check_positive_definite(&self) -> Result<()> {
        let check = |(i, block): (usize, &Full)| block.check_positive_definite_of(&name(i));
        self.blocks.iter().enumerate().try_for_each(check)
    }

    fn check_numbers(&self) -> Result<()> {
        let check = |(i, block): (usize, &Full)| block.check_numbers_of(&name(i));
        self.blocks.iter().enumerate().try_for_each(check)
    }

    fn column_covariance_unchecked(&self, layout: &Layout, block: usize) -> Result<Mat<f64>> {
        let (shape, wanted) = (layout.blocks[block], layout.ranges()[block].clone());
        let mut mean = Mat::zeros(shape.cols, shape.cols);
        for (range, block) in self.ranges().filter(|(r, _)| wanted.contains(&r.start)) {
            for at in (0..range.len()).step_by(shape.cols) {
                mean += block.matrix().submatrix(at, at, shape.cols, shape.cols);
            }
        }
        Ok(mean * faer::Scale(1.0 / shape.rows as f64))
    }

    fn apply_unchecked(&self, x: &[f64]) -> Result<Vec<f64>> {
        self.each(|block, range| block.apply(&x[range]))
    }

    fn solve_unchecked(&self, x: &[f64]) -> Result<Vec<f64>> {
        self.each(|block, range| block.solve(&x[range]))
    }

    fn precision_diagonal(&self) -> Result<Vec<f64>> {
        self.each(|block, _| block.precision_diagonal())
    }

    fn log_det(&self) -> Result<f64> {
        self.blocks.iter().map(Covariance::log_det).sum()
    }

    fn diagonal(&self) -> Result<Vec<f64>> {
        self.each(|block, _| block.diagonal())
    }

    fn precision_quadratic_unchecked(&self, x: &[f64]) -> Result<f64> {
        self.ranges().map(|(range, block)| block.precision_quadratic(&x[range])).sum()
    }

    fn sample(&self, rng: &mut Rng) -> Result<Vec<f64>> {
        let mut all = Vec::with_capacity(self.n_parameters());
        for block in &self.blocks {
            all.extend(block.sample(rng)?);
        }
        Ok(all)
    }

    fn greedy_columns_unchecked(&self, outgoing: &Outgoing) -> Result<Vec<(usize, f64)>> {
        greedy::by_conditioning(self, outgoing)
    }
}

impl Structure for BlockDiagonal {
    fn condition_unchecked(&self, on: &Condition) -> Result<Conditioned<Self>> {
        let Condition { layout, slice, residual } = *on;
        let (fixed, kept) = layout.split(slice)?;
        let (mut blocks, mut shift, mut density) =
            (Vec::new(), Vec::new(), GaussianDensity::default());
        for (range, block) in self.ranges() {
            let (d, k) = (local(&fixed, &range), local(&kept, &range));
            let here = shifted(&kept[k], range.start);
            if d.is_empty() {
                // Independent of what was fixed.
                shift.extend(std::iter::repeat_n(0.0, here.len()));
                blocks.push(block.clone());
                continue;
            }
            let (there, residual) = (shifted(&fixed[d.clone()], range.start), &residual[d]);
            if here.is_empty() {
                density = density.and(block.density_on(&there, residual)?);
                continue;
            }
            let left = block.condition_on(&here, &there, residual)?;
            density = density.and(left.density);
            shift.extend(left.shift);
            blocks.push(left.covariance);
        }
        Ok(Conditioned { covariance: Self { group: self.group, blocks }, shift, density })
    }

    fn marginalize_unchecked(&self, layout: &Layout, slice: &Slice) -> Result<Self> {
        let (_, kept) = layout.split(slice)?;
        let pick = |(range, block): (Range<usize>, &Full)| {
            let here = shifted(&kept[local(&kept, &range)], range.start);
            (!here.is_empty()).then(|| block.select(&here))
        };
        Ok(Self { group: self.group, blocks: self.ranges().filter_map(pick).collect() })
    }

    fn density_unchecked(&self, on: &Condition) -> Result<GaussianDensity> {
        let Condition { layout, slice, residual } = *on;
        let fixed = layout.positions(slice)?;
        let mut density = GaussianDensity::default();
        for (range, block) in self.ranges() {
            let d = local(&fixed, &range);
            if !d.is_empty() {
                let there = shifted(&fixed[d.clone()], range.start);
                density = density.and(block.density_on(&there, &residual[d])?);
            }
        }
        Ok(density)
    }

    fn permuted_unchecked(&self, layout: &Layout, block: usize, order: &[usize]) -> Result<Self> {
        let from = permuted_positions(layout, block, order);
        let pick = |(range, block): (Range<usize>, &Full)| {
            block.select(&shifted(&from[range.clone()], range.start))
        };
        Ok(Self { group: self.group, blocks: self.ranges().map(pick).collect() })
    }

    fn check_same_shape(&self, other: &Self) -> Result<()> {
        let sizes = |s: &Self| s.blocks.iter().map(Full::n_parameters).collect::<Vec<_>>();
        let (wanted, found) = (sizes(self), sizes(other));
        if wanted == found {
            return Ok(());
        }
        let what = "rows of the blocks of a covariance";
        Err(core_tensors::Error::Shape { what, expected: wanted, found }.into())
    }

    fn trace_ratio_unchecked(&self, other: &Self) -> Result<f64> {
        self.blocks.iter().zip(&other.blocks).map(|(p, q)| p.trace_ratio(q)).sum()
    }
}
