//! One run of `distill shrink` with one seed: split, surgery at many sizes, the choice, training, and the final measures.

use anyhow::{Result, bail, ensure};
use candle_core::{DType, Tensor};
use core_tensors::{Params, Rng};
use models::graph::Graph;

use super::arguments::Arguments;
use super::case::{Case, Predicts};
use super::latency::{check_batch, latencies, latency};
use super::split::Split;
use crate::files::note;
use crate::ledger::shrink::FrontPoint;
use crate::training::shrink::{
    Amount, Budget, Judge, Narrowed, OutputLikelihood, Plan, PlanOptions, Resource,
};

/// What one seed gave, before training.
pub(super) struct Outcome {
    pub(super) split: Split,
    pub(super) plan: Plan,
    /// The student that the budget asks for.
    pub(super) chosen: Narrowed,
    /// The smallest first.
    pub(super) front: Vec<FrontPoint>,
    /// Judges by the validation examples.
    pub(super) validation: Judge,
    /// What a reader must not overlook.
    pub(super) warnings: Vec<String>,
}

/// Sizes of a descent by a loss: each so many times the one before, so that the choice is at most a seventh larger than it
/// must be.
const RATIO: f64 = 0.87;
/// The smallest share of the parameters of a front, where smaller ones can be reached.
const SMALLEST: f64 = 0.03;

/// The network in f32, as it computes on examples.
pub(super) fn whole(case: &Case) -> Result<(Graph, Params)> {
    let blocks = case.network.params.blocks().iter().map(|block| block.to_dtype(DType::F32));
    let blocks = blocks.collect::<candle_core::Result<_>>()?;
    let params = Params::new(case.network.params.layout().clone(), blocks)?;
    Ok((case.network.graph.clone(), params))
}

/// Surgery, up to the student that the budget asks for; `spelled` are names of layers in the file beside those of the graph.
pub(super) fn narrow(
    arguments: &Arguments,
    split: Split,
    (graph, params): &(Graph, Params),
    (likelihood, [n_bytes, n_bytes_each]): (OutputLikelihood, [usize; 2]),
    spelled: &[(String, String)],
    rng: &Rng,
) -> Result<Outcome> {
    let mut warnings = Vec::new();
    let x = calibration(&split.calibration.x, arguments.training.n_calibration(), rng)?;
    let multiple = arguments.size.multiple();
    check_batch(&x, arguments.size.latency_batch())?;
    let options = PlanOptions { likelihood: likelihood.clone(), multiple, n_bytes, n_bytes_each };
    let plan = Plan::new(graph, params, &x, options, rng)?;
    if let Some(reason) = &plan.shared_variance {
        warnings.push(format!(
            "The outputs share one variance of the noise while units are chosen, so that those of small scale count for less: {reason}."
        ));
    }
    let validation = Judge::new(&split.validation, (graph, params), likelihood)?;
    let mut front = Vec::new();
    let budget = arguments.size.budget()?;
    let mut nats = |graph: &Graph, params: &Params| validation.nats(graph, params);
    let chosen = match &budget {
        Budget::Size(resource, amount) => {
            // What the file has: batch normalizations are folded in the plan.
            let whole = match resource {
                Resource::Parameters => graph.layout().n_parameters() as f64,
                Resource::Products => graph.n_products_in_all() as f64,
                Resource::Bytes => n_bytes as f64,
            };
            let (most, option) = (amount.of(whole), option_of(*resource));
            ensure!(
                most < whole,
                "{option}: the network has {whole} {} only; ask for fewer",
                resource.unit()
            );
            check_floor(&plan, (*resource, option), most, whole)?;
            plan.narrowed_to(*resource, most, &mut nats)?
        }
        Budget::Latency(amount) => {
            let batch = arguments.size.latency_batch();
            let whole = latency((graph, params), &x, batch)?.median_ms;
            let most = amount.of(whole);
            let mut measure = |small: &Graph, w: &Params| {
                Ok(match amount {
                    // A share is measured beside the network, as the machine is then.
                    Amount::Share(_) => {
                        let both = [(graph, params), (small, w)];
                        whole * latencies(both, &x, batch)?.1.median
                    }
                    Amount::Absolute(_) => latency((small, w), &x, batch)?.median_ms,
                })
            };
            ensure!(
                most < whole,
                "--latency: a forward pass takes {whole:.4} ms here; ask for less"
            );
            let widths = plan.widths_for_latency(most, &mut measure)?;
            Narrowed { operated: plan.student(&widths)?, widths }
        }
        Budget::Widths(named) => {
            let widths = plan.named_widths(named, spelled)?;
            ensure!(
                widths != plan.full(),
                "--widths: that is all the units that the layers have, so that nothing would be removed; name fewer of one layer"
            );
            Narrowed { operated: plan.student(&widths)?, widths }
        }
        Budget::Loss(most) => certified(&plan, &validation, *most, &mut front, &mut warnings)?,
    };
    if !matches!(budget, Budget::Loss(_)) {
        points(&plan, &validation, arguments.size.n_points(), &chosen, &mut front)?;
    }
    mark(&plan, &validation, &chosen, &mut front)?;
    Ok(Outcome { split, plan, chosen, front, validation, warnings })
}

/// The option that bounds a resource.
fn option_of(resource: Resource) -> &'static str {
    match resource {
        Resource::Parameters => "--to",
        Resource::Products => "--macs",
        Resource::Bytes => "--size",
    }
}

/// Refuses a budget that the smallest widths do not reach: says the smallest that can be reached, and what makes it so large.
fn check_floor(
    plan: &Plan,
    (resource, option): (Resource, &str),
    most: f64,
    whole: f64,
) -> Result<()> {
    let floor = plan.size(resource, &plan.least());
    if floor <= most || plan.free().is_empty() {
        return Ok(());
    }
    let (unit, alone) = (resource.unit(), plan.size(resource, &plan.least_of_multiple(1)));
    let without = match alone < floor {
        true => format!("; without --multiple it is {}", amount_words(alone, whole, unit)),
        false => String::new(),
    };
    bail!(
        "{option}: expected at least {}, the smallest that can be reached, found {}: {}{without}",
        amount_words(floor, whole, unit),
        amount_words(most, whole, unit),
        plan.floor_reasons()
    )
}

/// "1234 parameters (12.34 %)".
fn amount_words(amount: f64, whole: f64, unit: &str) -> String {
    format!("{} {unit} ({:.2} %)", amount.floor(), 100.0 * amount / whole)
}

/// Some of the calibration examples, drawn by chance where there are more.
fn calibration(x: &Tensor, most: usize, rng: &Rng) -> Result<Tensor> {
    let n = x.dim(0)?;
    if n <= most {
        return Ok(x.clone());
    }
    note(&format!(
        "surgery is calibrated on {most} of {n} examples, drawn by chance (--examples overrules)"
    ));
    let mut rows: Vec<u32> =
        rng.split("calibration").permutation(n)[..most].iter().map(|&row| row as u32).collect();
    rows.sort_unstable();
    Ok(x.index_select(&Tensor::new(rows, x.device())?, 0)?)
}

/// The smallest student whose loss is certainly small enough; everything that was tried goes to the front.
fn certified(
    plan: &Plan,
    validation: &Judge,
    most: f64,
    front: &mut Vec<FrontPoint>,
    warnings: &mut Vec<String>,
) -> Result<Narrowed> {
    let least = validation.resolvable();
    let n = validation.n_examples();
    ensure!(
        least <= most,
        "--max-loss: {n} validation examples cannot certify a loss below {}, even of a student that errs where the network does; \
         give more by --validation, or a larger loss",
        loss_words(least)
    );
    let mut refused = None;
    let accepted = plan.descend(RATIO, |widths, student| {
        let bound = validation.upper_bound(&student.graph, &student.params)?;
        front.push(validation.point(plan, widths, (&student.graph, &student.params))?);
        if bound > most {
            refused = Some((student.graph.layout().n_parameters(), bound));
        }
        Ok(bound <= most)
    })?;
    let Some((widths, operated)) = accepted.into_iter().next_back() else {
        let why = refused.map_or(String::new(), |(n, bound)| {
            format!("; the largest one tried, of {n} parameters, may lose {}", loss_words(bound))
        });
        bail!(
            "--max-loss: no smaller network certainly loses at most {} on {n} validation examples{why}; \
             the smallest loss that they can certify is {}: give more examples by --validation, allow a larger loss, or name a size by --to",
            loss_words(most),
            loss_words(least)
        );
    };
    if let Some((n, bound)) = refused {
        warnings.push(format!(
            "The next smaller network, of {n} parameters, may lose up to {} and was refused.",
            loss_words(bound)
        ));
    }
    Ok(Narrowed { widths, operated })
}

/// Students of other sizes, for the front.
fn points(
    plan: &Plan,
    validation: &Judge,
    n: usize,
    chosen: &Narrowed,
    front: &mut Vec<FrontPoint>,
) -> Result<()> {
    let whole = plan.size(Resource::Parameters, &plan.full());
    let least = plan.size(Resource::Parameters, &plan.least()).max(SMALLEST * whole);
    let here = plan.size(Resource::Parameters, &chosen.widths);
    // Equal steps of the logarithm between the smallest and the whole, without both ends of the whole.
    for k in 0..n {
        let share = (k as f64 + 0.5) / n as f64;
        let most = least * (whole / least).powf(share);
        if (most / here).ln().abs() < 0.05 {
            continue;
        }
        let Ok(widths) = plan.widths(Resource::Parameters, most) else { continue };
        if widths == chosen.widths || widths == plan.full() {
            continue;
        }
        let student = plan.student(&widths)?;
        front.push(validation.point(plan, &widths, (&student.graph, &student.params))?);
    }
    Ok(())
}

/// Adds the chosen student to the front, or marks it there.
fn mark(
    plan: &Plan,
    validation: &Judge,
    chosen: &Narrowed,
    front: &mut Vec<FrontPoint>,
) -> Result<()> {
    let free = plan.free();
    let widths: Vec<usize> = free.iter().map(|&g| chosen.widths[g]).collect();
    match front.iter_mut().find(|point| point.widths == widths) {
        Some(point) => point.is_chosen = true,
        None => {
            let student = &chosen.operated;
            let small = (&student.graph, &student.params);
            let point = validation.point(plan, &chosen.widths, small)?;
            front.push(FrontPoint { is_chosen: true, ..point });
        }
    }
    front.sort_by(|a, b| a.n_parameters.total_cmp(&b.n_parameters));
    Ok(())
}

/// In what a loss of the network is measured; `noise` has the variance of each output of a regression.
pub(super) fn likelihood(predicts: Predicts, noise: Option<&[f64]>) -> OutputLikelihood {
    match predicts {
        Predicts::Classes(_) => OutputLikelihood::Categorical,
        Predicts::TwoClasses => OutputLikelihood::Bernoulli,
        Predicts::Values(k) => {
            OutputLikelihood::Normal { variances: noise.map_or(vec![1.0; k], <[f64]>::to_vec) }
        }
    }
}

/// A loss in points, for a reader.
fn loss_words(loss: f64) -> String {
    format!("{:.2} points", 100.0 * loss)
}
