//! Layer-wise Gauss–Newton distillation: one damped step of each linear map towards the predictions of the original network.

mod equations;
mod probed;
mod target;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use candle_core::{Device, Tensor};
use core_tensors::{Params, Rng};
use faer::{Mat, MatRef};
use losses::Likelihood;
use models::graph::Graph;
use models::graph::axes::LinearMap;

use self::equations::Equations;
use self::target::Target;
use super::calibration::{Batch, Calibration};
use super::flow::Flow;
use super::operate::Network;
use super::passes::Passes;
use super::reading::matrix;
use crate::checks;
use crate::error::Result;

/// How a network is polished.
#[derive(Clone, Debug)]
pub struct Polish {
    /// λ to choose from by held-out divergence, as shares of the mean diagonal.
    pub dampings: Vec<f64>,
    /// Shares s of a step to choose from in the same way, beside none.
    pub steps: Vec<f64>,
    /// How often all maps are gone through at most; a sweep that changes nothing is the last.
    pub n_sweeps: usize,
    /// Unknowns of a map up to which its equations are solved whole; 0 for Kronecker steps alone.
    pub most_unknowns: usize,
    /// Principal directions of the inputs at most, where these are too many.
    pub principal: usize,
    /// Random directions of the output an example at most; all of them exactly where the network has no more outputs.
    pub directions: usize,
    /// Whether the map that gives the network's output takes a step too, first and last in a sweep.
    pub output_map: bool,
    /// Whether the chosen steps are computed again in the end from all examples, those held out as well, with the same λ and s.
    pub refit: bool,
}

impl Polish {
    /// One sweep, chosen by held-out divergence.
    pub fn one_sweep() -> Self {
        Self {
            dampings: vec![1e-3, 1e-2, 1e-1],
            steps: vec![1.0, 0.5, 0.25],
            n_sweeps: 1,
            most_unknowns: 2000,
            principal: 50,
            directions: 10,
            output_map: true,
            refit: false,
        }
    }
}

/// What polishing leaves.
#[derive(Clone, Debug)]
pub struct Polished {
    /// The small network's new parameters.
    pub params: Params,
    /// What was done, map by map.
    pub steps: Vec<PolishStep>,
    /// Nats an example between the original's predictions and the small network's before, on examples held out if some are.
    pub before: f64,
    /// The same after, before a refit on all examples; never more.
    pub after: f64,
}

/// How the equations of a map were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolishMethod {
    /// Whole.
    Exact,
    /// Whole, in so many principal directions of the inputs.
    Principal(usize),
    /// M ≈ G ⊗ A.
    Kronecker,
}

/// What was done to a map.
#[derive(Clone, Debug)]
pub struct PolishStep {
    /// The map's name.
    pub name: String,
    /// How its equations were written.
    pub method: PolishMethod,
    /// λ and s of the step that was taken, `None` where no step was better.
    pub taken: Option<(f64, f64)>,
    /// Divergence before, in nats an example, on examples held out if some are.
    pub before: f64,
    /// The same after.
    pub after: f64,
    /// All that was tried.
    pub tried: Vec<PolishTrial>,
}

/// A step that was tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolishTrial {
    /// λ.
    pub damping: f64,
    /// s.
    pub step: f64,
    /// The divergence with it.
    pub divergence: f64,
}

/// Moves the linear maps of a small network, from the output side on, towards the predictions of the original.
///
/// F(W) = N⁻¹ Σᵢ KL(pᵢ ‖ softmax fᵢ), of one logit softmax \[0, fᵢ\], or N⁻¹ Σᵢ ‖fᵢ − f_originalᵢ‖²/(2σ²) under a normal likelihood; no labels.
///
/// Of a map z = W a, a = \[h; 1\], with V = (∂f/∂z)ᵀ S and S Sᵀ the Hessian of −log p by f:
///
/// g = E Σ δ aᵀ,  δ = ∂F/∂z
///
/// M = E Σ_c vec Γ_c vec Γ_cᵀ,  Γ_c = Σ V_c aᵀ over the positions of an example
///
/// W ← W − s D,  vec D = (M + λ mean diag M)⁻¹ vec g
///
/// This is whole where o·(n + 1) is at most [`Polish::most_unknowns`]; else in the leading whitened principal directions of
/// h and the ones, where at least 20 fit; else, and where examples do not lie along the first axis, M ≈ G ⊗ A with
/// G = E Σ V Vᵀ over positions, and A the mean of a aᵀ: D = (G + λ tr G/o)⁻¹ g (A + λ tr A/n)⁻¹. λ and s, or no step at all,
/// are chosen by the divergence on examples held out, which therefore never rises.
///
/// Maps whose W cannot be chosen freely stay as they are. `small` must have outputs of the shape of the original's, for the
/// same inputs; it need not have come from it by surgery.
///
/// # Errors
/// For examples that one of the graphs does not take, outputs of other shapes, and dampings that are not positive.
///
/// Source: Gauss–Newton with the Fisher information of the outputs (Martens 2020), its Kronecker form by Martens & Grosse
/// (2015), of convolutions by Grosse & Martens (2016); layer by layer, on a fixed sample, it is our choice.
pub fn polish(
    original: &Network,
    small: &Network,
    calibration: &Calibration,
    likelihood: Likelihood,
    options: &Polish,
    rng: &mut Rng,
) -> Result<Polished> {
    checks::at_least("directions of the output", 1, options.directions)?;
    for (what, values) in [("a damping", &options.dampings), ("a step", &options.steps)] {
        values.iter().try_for_each(|&value| checks::positive(what, value))?;
    }
    let Network { graph, params, axes } = *small;
    calibration.check(original.graph, original.params)?;
    calibration.check(graph, params)?;
    let target = Target::of(original, calibration, likelihood)?;
    let flow = Rc::new(Flow::of(graph));
    let mut start = Passes::new(graph, flow.clone(), params, calibration);
    start.diverge();
    let before = target.divergence(&start, params)?;
    let before = checks::computed("the divergence of predictions", before)?;
    let mut sweep = Sweep { graph, target, flow, options, now: params.clone(), divergence: before };
    let is_output = |map: &&LinearMap| graph.outputs().contains(&map.output);
    let free = || axes.maps().iter().filter(|map| map.tied.is_none());
    let last: Vec<&LinearMap> = free().filter(|map| options.output_map && is_output(map)).collect();
    let inner = free().rev().filter(|map| !is_output(map));
    let order: Vec<&LinearMap> = last.iter().copied().chain(inner).collect();
    let again = if order.len() > last.len() { &last[..] } else { &[] };
    let (mut steps, mut visited) = (Vec::new(), Vec::new());
    for _ in 0..options.n_sweeps {
        let from = steps.len();
        for map in order.iter().chain(again) {
            steps.push(sweep.visit(map, rng)?);
            visited.push(*map);
        }
        if steps[from..].iter().all(|step: &PolishStep| step.taken.is_none()) {
            break;
        }
    }
    let after = sweep.divergence;
    if options.refit && calibration.n_held_out() > 0 {
        let taken = visited.into_iter().zip(steps.iter().map(|step| step.taken));
        sweep.refit(params, taken, &start, before, rng)?;
    }
    Ok(Polished { params: sweep.now, steps, before, after })
}

/// A network while it is polished.
struct Sweep<'a> {
    graph: &'a Graph,
    target: Target<'a>,
    flow: Rc<Flow>,
    options: &'a Polish,
    now: Params,
    /// On the examples to choose by.
    divergence: f64,
}

impl Sweep<'_> {
    /// Takes the best step of a map, if one is better than none.
    fn visit(&mut self, map: &LinearMap, rng: &mut Rng) -> Result<PolishStep> {
        let (graph, options, before) = (self.graph, self.options, self.divergence);
        let fitted = |batch: &Batch| !batch.is_held_out;
        let equations = Equations::of((graph, map, &self.now), &self.target, options, fitted, rng)?;
        let now = self.now.clone();
        let mut passes = Passes::new(graph, self.flow.clone(), &now, self.target.calibration);
        passes.advance(map.node, &now)?;
        passes.diverge();
        let mut tried = Vec::new();
        let mut taken = None;
        for &damping in &options.dampings {
            let Some(change) = equations.solve(damping) else { continue };
            for &step in &options.steps {
                let candidate = moved(graph, map, &now, change.as_ref(), step)?;
                let divergence = self.target.divergence(&passes, &candidate)?;
                tried.push(PolishTrial { damping, step, divergence });
                if divergence < self.divergence {
                    (self.divergence, self.now) = (divergence, candidate);
                    taken = Some((damping, step));
                }
            }
        }
        Ok(PolishStep {
            name: map.name.clone(),
            method: equations.method,
            taken,
            before,
            after: self.divergence,
            tried,
        })
    }

    /// Takes the same steps from the start on, from all examples; unless these lose by it.
    fn refit<'b>(
        &mut self,
        params: &Params,
        taken: impl Iterator<Item = (&'b LinearMap, Option<(f64, f64)>)>,
        start: &Passes,
        before: f64,
        rng: &mut Rng,
    ) -> Result<()> {
        let (graph, options) = (self.graph, self.options);
        let mut now = params.clone();
        for (map, taken) in taken {
            let Some((damping, step)) = taken else { continue };
            let all = Equations::of((graph, map, &now), &self.target, options, |_| true, rng)?;
            if let Some(change) = all.solve(damping) {
                now = moved(graph, map, &now, change.as_ref(), step)?;
            }
        }
        if self.target.divergence(start, &now)? <= before {
            self.now = now;
        }
        Ok(())
    }
}

/// The parameters with \[W | b\] − s D in a map.
fn moved(
    graph: &Graph,
    map: &LinearMap,
    params: &Params,
    change: MatRef<f64>,
    step: f64,
) -> Result<Params> {
    let weights: Mat<f64> = matrix(&map.weights(graph, params)?)?;
    let (o, n) = weights.shape();
    let values = (0..o * n).map(|at| {
        let (i, j) = (at / n, at % n);
        weights[(i, j)] - step * change[(i, j)]
    });
    let weights = Tensor::from_vec(values.collect(), (o, n), &Device::Cpu)?;
    let biases = map.biases(graph, params)?.map(|bias| {
        let bias = bias.to_vec1::<f64>()?.into_iter().enumerate();
        let bias: Vec<f64> = bias.map(|(i, b)| b - step * change[(i, n)]).collect();
        Tensor::new(bias, &Device::Cpu)
    });
    let biases = biases.transpose()?;
    Ok(map.replaced(graph, params, &weights, biases.as_ref())?)
}
