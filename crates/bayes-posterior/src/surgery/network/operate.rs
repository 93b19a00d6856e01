//! The way through a network: repair what sees a change, decide each group at the first map that reads it.

use std::rc::Rc;

use candle_core::{Device, Tensor};
use core_tensors::Params;
use faer::{Mat, MatRef};
use losses::Likelihood;
use models::graph::axes::{Axes, LinearMap};
use models::graph::change::ResidualBlock;
use models::graph::{Graph, ValueId};

use super::super::{Bias, Repair, SecondMoments, repair};
use super::Surgery;
use super::calibration::Calibration;
use super::curvature::{OutputCurvatures, divergence};
use super::flow::{Flow, Target};
use super::group::Choice;
use super::passes::Passes;
use super::reading::{matrix, n_columns, n_outputs, read};
use super::report::{MapReport, Report};
use super::softmax_fit::fit_softmax;
use crate::checks;
use crate::error::{Error, Result};

/// A network and its units.
#[derive(Clone, Copy, Debug)]
pub struct Network<'a> {
    /// f(x, w).
    pub graph: &'a Graph,
    /// w.
    pub params: &'a Params,
    /// The units of the graph.
    pub axes: &'a Axes,
}

impl Network<'_> {
    /// Refuses axes or parameters of another graph.
    pub(super) fn check(&self) -> Result<()> {
        let Network { graph, params, axes } = *self;
        graph.layout().check_same("parameters of a graph", params.layout())?;
        checks::length(
            "values of the graph that the axes are of",
            graph.values().len(),
            axes.n_values(),
        )
    }
}

/// What surgery leaves.
#[derive(Clone, Debug)]
pub struct Operated {
    /// The narrower graph.
    pub graph: Graph,
    /// Its parameters.
    pub params: Params,
    /// What was done.
    pub report: Report,
}

/// Narrows the groups of a network to some widths, one a group of [`Axes::groups`].
///
/// `curvatures` weigh the outputs in the order and in the prediction of nats; `likelihood` says in what the loss is measured.
///
/// # Errors
/// For widths of 0, beyond a group's units, or other than all of a group that is pinned or whose consumers cannot take over;
/// for examples that the graph does not take.
pub fn operate(
    network: &Network,
    calibration: &Calibration,
    widths: &[usize],
    surgery: &Surgery,
    curvatures: Option<&OutputCurvatures>,
    likelihood: Option<Likelihood>,
) -> Result<Operated> {
    operate_without(network, &[], calibration, widths, surgery, curvatures, likelihood)
}

/// [`operate`], with some residual blocks of the graph skipped as well: x + f(x) becomes x, and what is behind is repaired.
///
/// # Errors
/// As [`operate`], and for a block that is not the graph's or does not end in a linear map that can be set to 0.
pub fn operate_without(
    network: &Network,
    blocks: &[ResidualBlock],
    calibration: &Calibration,
    widths: &[usize],
    surgery: &Surgery,
    curvatures: Option<&OutputCurvatures>,
    likelihood: Option<Likelihood>,
) -> Result<Operated> {
    let Network { graph, axes, .. } = *network;
    checks::length("widths of groups", axes.groups().len(), widths.len())?;
    for (group, &width) in axes.groups().iter().zip(widths) {
        check_width(axes, group, width)?;
    }
    let mut state = State::begun(network, calibration, surgery, curvatures, likelihood)?;
    state.skip(blocks)?;
    for m in 0..axes.maps().len() {
        state.visit(m, widths)?;
    }
    match likelihood.filter(|_| surgery.softmax_fit) {
        Some(classes @ (Likelihood::Categorical | Likelihood::Bernoulli)) => {
            fit_softmax(&mut state, classes)?;
        }
        Some(Likelihood::Normal { .. }) | None => {}
    }
    let State { now, mut report, passes, .. } = state;
    let predicted = report.groups.iter().map(|group| group.predicted);
    report.predicted = predicted.sum::<Option<f64>>().filter(|_| curvatures.is_some());
    if let Some(likelihood) = likelihood {
        report.measured = Some(divergence(&passes, &now, likelihood)?);
    }
    let kept: Vec<(usize, Vec<usize>)> =
        report.groups.iter().map(|group| (group.group, group.kept.clone())).collect();
    let refused = |reason: String| Error::Refused { edit: "cut of the graph".into(), reason };
    let (mut graph, mut params) =
        axes.narrow(graph, &now, &kept).map_err(|error| refused(error.to_string()))?;
    if !blocks.is_empty() {
        let is_gone = |block: &ResidualBlock| blocks.iter().any(|gone| gone.name == block.name);
        let found: Vec<ResidualBlock> =
            graph.residual_blocks().into_iter().filter(is_gone).collect();
        checks::length("residual blocks of the narrow graph", blocks.len(), found.len())?;
        (graph, params) =
            graph.without_blocks(&params, &found).map_err(|error| refused(error.to_string()))?;
    }
    Ok(Operated { graph, params, report })
}

/// What skipping each residual block costs, with repair behind it: the measured increase of −log p in nats an example, by the
/// original's own predictions; `None` for a block that cannot be skipped.
///
/// # Errors
/// For examples that the graph does not take.
pub fn block_costs(
    network: &Network,
    calibration: &Calibration,
    surgery: &Surgery,
    likelihood: Likelihood,
) -> Result<Vec<(ResidualBlock, Option<f64>)>> {
    let widths: Vec<usize> = network.axes.groups().iter().map(|group| group.n_units).collect();
    let cost = |block: ResidualBlock| {
        let one = std::slice::from_ref(&block);
        let skipped =
            operate_without(network, one, calibration, &widths, surgery, None, Some(likelihood));
        match skipped {
            Ok(operated) => Ok((block, operated.report.measured)),
            Err(Error::Refused { .. }) => Ok((block, None)),
            Err(error) => Err(error),
        }
    };
    network.graph.residual_blocks().into_iter().map(cost).collect()
}

/// Why a group keeps all its units, if it must.
pub(super) fn pinned(axes: &Axes, group: &models::graph::axes::Group) -> Option<String> {
    if let Some(reason) = &group.pinned {
        return Some(reason.clone());
    }
    if group.consumers.is_empty() {
        return Some("nothing linear reads them".to_owned());
    }
    let tied = |consumer: &models::graph::axes::Consumer| match axes
        .maps()
        .iter()
        .find(|map| map.node == consumer.node)
    {
        Some(map) => map.tied.as_ref().map(|reason| format!("`{}`: {reason}", map.name)),
        None => Some(format!("`{}`: it cannot be fitted", consumer.name)),
    };
    group.consumers.iter().find_map(tied)
}

/// The groups that keep all their units, with what they are pinned by, the largest first.
pub fn pinned_groups(axes: &Axes) -> Vec<String> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for group in axes.groups() {
        if let Some(why) = pinned(axes, group) {
            found.push((
                group.n_units,
                format!("`{}` ({} units: {why})", group.name, group.n_units),
            ));
        }
    }
    found.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
    found.into_iter().map(|(_, name)| name).collect()
}

fn check_width(axes: &Axes, group: &models::graph::axes::Group, width: usize) -> Result<()> {
    let n = group.n_units;
    if width == n {
        return Ok(());
    }
    let edit = || format!("units of `{}`", group.name);
    if width == 0 || width > n {
        let reason = format!("expected a width of 1 to {n}, found {width}");
        return Err(Error::Refused { edit: edit(), reason });
    }
    match pinned(axes, group) {
        Some(why) => {
            let reason = format!("all {n} must stay, because of {why}; found a width of {width}");
            Err(Error::Refused { edit: edit(), reason })
        }
        None => Ok(()),
    }
}

/// The network while it changes.
pub(super) struct State<'a> {
    pub(super) network: &'a Network<'a>,
    pub(super) surgery: &'a Surgery,
    pub(super) curvatures: Option<&'a OutputCurvatures>,
    likelihood: Option<Likelihood>,
    flow: Rc<Flow>,
    pub(super) passes: Passes<'a>,
    pub(super) now: Params,
    /// Values that are no longer the original's.
    is_changed: Vec<bool>,
    /// For each map the columns that are gone.
    pub(super) gone: Vec<Vec<bool>>,
    /// For each map whether it goes as a whole, with a block.
    pub(super) is_skipped: Vec<bool>,
    pub(super) report: Report,
}

impl<'a> State<'a> {
    /// Nothing changed yet.
    pub(super) fn begun(
        network: &'a Network<'a>,
        calibration: &'a Calibration,
        surgery: &'a Surgery,
        curvatures: Option<&'a OutputCurvatures>,
        likelihood: Option<Likelihood>,
    ) -> Result<Self> {
        let Network { graph, params, axes } = *network;
        network.check()?;
        if let Some(curvatures) = curvatures {
            checks::length("curvatures of maps", axes.maps().len(), curvatures.len())?;
        }
        calibration.check(graph, params)?;
        let flow = Rc::new(Flow::of(graph));
        let gone = axes.maps().iter().map(|map| vec![false; n_columns(graph, map)]).collect();
        Ok(Self {
            network,
            surgery,
            curvatures,
            likelihood,
            passes: Passes::new(graph, flow.clone(), params, calibration),
            flow,
            now: params.clone(),
            is_changed: vec![false; graph.values().len()],
            gone,
            is_skipped: vec![false; axes.maps().len()],
            report: Report::default(),
        })
    }

    /// Leaves blocks out.
    fn skip(&mut self, blocks: &[ResidualBlock]) -> Result<()> {
        let Network { graph, axes, .. } = *self.network;
        let listed = if blocks.is_empty() { Vec::new() } else { graph.residual_blocks() };
        for block in blocks {
            let refused = |reason: &str| Error::Refused {
                edit: format!("skipping `{}`", block.name),
                reason: reason.to_owned(),
            };
            if !listed.contains(block) {
                return Err(refused("it is no residual block of this graph: take those it lists"));
            }
            let end = self.flow.map_behind(graph, axes.maps(), block.branch);
            let end = end.filter(|&m| axes.maps()[m].tied.is_none());
            let Some(end) = end else {
                return Err(refused("its branch does not end in a linear map of its own"));
            };
            // At once, so that whoever reads what is behind reads it without the block.
            let map = &axes.maps()[end];
            let (n, o) = (n_columns(graph, map), n_outputs(graph, map));
            let nothing = Mat::zeros(o, 0);
            self.replace(end, n, &[], nothing.as_ref(), Some(&vec![0.0; o]))?;
            for (map, is_skipped) in axes.maps().iter().zip(&mut self.is_skipped) {
                *is_skipped |= block.nodes.contains(&map.node);
            }
        }
        Ok(())
    }

    /// Keeps the values in front of a node.
    pub(super) fn advance(&mut self, node: usize) -> Result<()> {
        self.passes.advance(node, &self.now)
    }

    /// Repairs a map and decides the groups that it reads first.
    fn visit(&mut self, m: usize, widths: &[usize]) -> Result<()> {
        let Network { graph, axes, .. } = *self.network;
        let map = &axes.maps()[m];
        if self.is_skipped[m] {
            return Ok(());
        }
        let groups: Vec<usize> = self.first_read_by(map, widths);
        let target = self.flow.target(graph, map);
        let is_changed = |id: ValueId| self.is_changed[id.index()];
        let sees_change = is_changed(map.input)
            || matches!(&target, Target::Sum { other, .. } if is_changed(*other));
        let is_repaired = sees_change && map.tied.is_none() && !self.surgery.repairs.is_empty();
        if groups.is_empty() && !is_repaired {
            return Ok(());
        }
        self.advance(map.node)?;
        let mut reading = Some(read(&self.passes, map, &self.now, is_repaired.then_some(&target))?);
        if let (true, Some(reading)) = (is_repaired, &reading) {
            self.repair(m, &target, reading)?;
        }
        for g in groups {
            let choice = Choice::of(self, g, m, reading.take())?;
            choice.make(self, g, widths[g])?;
            if let Some(likelihood) = self.likelihood {
                let measured = divergence(&self.passes, &self.now, likelihood)?;
                if let Some(last) = self.report.groups.last_mut() {
                    last.measured = Some(measured);
                }
            }
        }
        Ok(())
    }

    /// Groups that lose units and have this map as their first consumer.
    fn first_read_by(&self, map: &LinearMap, widths: &[usize]) -> Vec<usize> {
        let groups = self.network.axes.groups().iter().enumerate();
        let stays = |node: &usize| {
            let maps = self.network.axes.maps().iter().zip(&self.is_skipped);
            maps.filter(|(map, _)| map.node == *node).all(|(_, is_skipped)| !is_skipped)
        };
        let is_first = |consumers: &[models::graph::axes::Consumer]| {
            consumers.iter().map(|consumer| consumer.node).filter(stays).min() == Some(map.node)
        };
        let some =
            groups.filter(|(g, group)| widths[*g] < group.n_units && is_first(&group.consumers));
        some.map(|(g, _)| g).collect()
    }

    /// Fits a map to what it gave, over the columns that are left.
    fn repair(
        &mut self,
        m: usize,
        target: &Target,
        reading: &super::reading::Reading,
    ) -> Result<()> {
        let graph = self.network.graph;
        let map = &self.network.axes.maps()[m];
        let columns = self.left(m);
        let before = self.weights(m, &columns)?;
        let bias = if map.bias.is_some() { Bias::LastColumn } else { Bias::Absent };
        let fit = |moments: &SecondMoments, held_out: &SecondMoments, relative: &[f64]| {
            let (moments, held_out) =
                (moments.of_columns(&columns)?, held_out.of_columns(&columns)?);
            let weights = before.as_ref();
            repair(&Repair { weights, bias, moments: &moments, held_out: &held_out, relative })
        };
        let mut repaired = fit(&reading.fitted, &reading.held_out, &self.surgery.repairs)?;
        let error = |relative: Option<f64>| {
            let of = repaired.tried.iter().find(|tried| tried.relative == relative);
            of.map_or(f64::NAN, |tried| tried.error)
        };
        let (relative, old, new) = (repaired.relative, error(None), error(repaired.relative));
        self.report.maps.push(MapReport {
            name: map.name.clone(),
            is_sum: *target != Target::Own,
            damping: relative,
            before: old,
            after: new,
        });
        let Some(share) = relative else { return Ok(()) };
        if self.passes.calibration().n_held_out() > 0 {
            repaired = fit(&reading.all, &reading.all, &[share])?;
        }
        let n = n_columns(graph, map);
        self.replace(m, n, &columns, repaired.weights.as_ref(), repaired.bias.as_deref())
    }

    /// Whether a value is no longer the original's.
    pub(super) fn is_changed(&self, id: ValueId) -> bool {
        self.is_changed[id.index()]
    }

    /// Columns of a map that no removed unit owns.
    pub(super) fn left(&self, m: usize) -> Vec<usize> {
        (0..self.gone[m].len()).filter(|&column| !self.gone[m][column]).collect()
    }

    /// W of some columns as it is now, with the bias last where there is one.
    pub(super) fn weights(&self, m: usize, columns: &[usize]) -> Result<Mat<f64>> {
        let Network { graph, axes, .. } = *self.network;
        let map = &axes.maps()[m];
        let weights = matrix(&map.weights(graph, &self.now)?)?;
        let bias = map.biases(graph, &self.now)?;
        let bias = bias.map(|bias| bias.to_vec1::<f64>()).transpose()?;
        let k = columns.len();
        let n = k + usize::from(bias.is_some());
        Ok(Mat::from_fn(weights.nrows(), n, |i, j| match &bias {
            Some(bias) if j == k => bias[i],
            _ => weights[(i, columns[j])],
        }))
    }

    /// Gives a map these columns, 0 in all others, and a bias.
    pub(super) fn replace(
        &mut self,
        m: usize,
        n: usize,
        columns: &[usize],
        weights: MatRef<f64>,
        bias: Option<&[f64]>,
    ) -> Result<()> {
        let Network { graph, axes, .. } = *self.network;
        let map = &axes.maps()[m];
        let o = n_outputs(graph, map);
        checks::length("outputs of a linear map", o, weights.nrows())?;
        let mut all = vec![0.0; o * n];
        for (j, &column) in columns.iter().enumerate() {
            (0..o).for_each(|i| all[i * n + column] = weights[(i, j)]);
        }
        let all = Tensor::from_vec(all, (o, n), &Device::Cpu)?;
        let bias = bias.map(|bias| Tensor::new(bias, &Device::Cpu)).transpose()?;
        let bias = bias.filter(|_| map.bias.is_some());
        self.now = map.replaced(graph, &self.now, &all, bias.as_ref())?;
        self.passes.diverge();
        self.flow.mark_behind(graph, map.output, &mut self.is_changed);
        Ok(())
    }
}
