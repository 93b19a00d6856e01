//! How much evidence a smaller network gains or loses: which student size is enough.

use core_tensors::Rng;

use crate::checks;
use crate::edit::{Edit, EditOptions, Pinned, Posterior, check_units, transform};
use crate::error::{Error, Result};
use crate::order::{PruningCriterion, Subject, UnitScore, rank};
use crate::structure::Structure;

/// log p(D | smaller) − log p(D | bigger) of an edit, under the prior N(0, I/a) of the bigger network.
///
/// log p(D | smaller) = log p(D | bigger) + log q(ν) − log p(ν): the density of the pinned numbers at their values
/// under the posterior q against that under the prior p. The smaller network has the prior N(0, I/a) again, as pinning
/// independent parameters moves no other. With a Laplace posterior this continues its evidence, with a variational
/// one its bound.
///
/// A density that overflows f64 is an error.
///
/// Source: Dickey & Lientz (1970), the Savage–Dickey density ratio.
pub fn log_evidence_change(pinned: &Pinned, prior_precision: f64) -> Result<f64> {
    checks::positive("prior precision", prior_precision)?;
    let n = pinned.density.n as f64;
    let log_prior = 0.5 * n * (prior_precision / std::f64::consts::TAU).ln()
        - 0.5 * prior_precision * pinned.squared_values;
    checks::computed("the change of the log evidence", pinned.density.log_density() - log_prior)
}

/// One place on the way from a network to a smaller one.
#[derive(Clone, Debug, PartialEq)]
pub struct PathStep {
    /// Units the layer has left.
    pub n_units: usize,
    /// Units that left in this step, numbered as in the network at the start of the path.
    pub removed: Vec<usize>,
    /// log p(D | this) − log p(D | start of the path).
    pub log_evidence: f64,
    /// ½ (ν − m)ᵀ Ψ⁻¹ (ν − m) summed over the steps so far, in nats.
    pub cost: f64,
}

/// Shrinks a layer to each of `sizes` (falling) in the order of a rule, and follows the evidence.
///
/// The largest `log_evidence` of the steps, and 0 for the start, names the size that the data support best.
pub fn removal_path<S: Structure>(
    posterior: &Posterior<S>,
    layer: usize,
    order: PruningCriterion,
    data: Option<(&core_tensors::Dataset, &losses::Likelihood)>,
    sizes: &[usize],
    prior_precision: f64,
    rng: &mut Rng,
) -> Result<Vec<PathStep>> {
    let subject = Subject {
        network: &posterior.network,
        weights: posterior.gaussian.mean(),
        posterior: Some(&posterior.gaussian),
        data,
    };
    let ranked = rank(order, &subject, layer, rng)?;
    let mut steps = Vec::new();
    let collect = |_: &Posterior<S>, step| -> Result<()> {
        steps.push(step);
        Ok(())
    };
    follow_path(posterior.clone(), layer, &ranked, sizes, prior_precision, collect)?;
    Ok(steps)
}

/// [`removal_path`] in an order that is known already; `visit` sees what is left at each size.
pub fn follow_path<S: Structure, E: From<Error>>(
    posterior: Posterior<S>,
    layer: usize,
    ranked: &[UnitScore],
    sizes: &[usize],
    prior_precision: f64,
    mut visit: impl FnMut(&Posterior<S>, PathStep) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    check_units(&posterior.network, layer, &[])?;
    let (n, start) = (posterior.network.widths[layer], posterior.kept[layer].clone());
    let units: Vec<usize> = ranked.iter().map(|r| r.unit).collect();
    if !checks::is_permutation(&units, n) {
        let wanted = format!("each of 0 to {} once", n - 1);
        return Err(Error::mismatch("ranked units", wanted, format!("{units:?}")).into());
    }
    let mut current = posterior;
    let (mut log_evidence, mut cost, mut gone) = (0.0, 0.0, 0);
    for &size in sizes {
        if size == 0 || size + gone > n {
            let wanted = format!("1 to {}, each smaller than the one before", n - gone);
            return Err(Error::mismatch("sizes of a removal path", wanted, size).into());
        }
        let removed: Vec<usize> = ranked[gone..n - size].iter().map(|r| r.unit).collect();
        gone = n - size;
        // Units are renumbered by every step; `kept` still knows them.
        let ids: Vec<usize> = removed.iter().map(|&unit| start[unit]).collect();
        let places = current.kept[layer].iter().enumerate().filter(|(_, id)| ids.contains(id));
        let units: Vec<usize> = places.map(|(place, _)| place).collect();
        if !units.is_empty() {
            let plan = [Edit::RemoveUnits { layer, units }];
            let result = transform(current, &plan, &EditOptions::strict())?;
            for pinned in &result.pins {
                log_evidence += log_evidence_change(pinned, prior_precision)?;
                cost += pinned.density.cost();
            }
            checks::computed("the log evidence of a removal path", log_evidence)?;
            checks::computed("the cost of a removal path", cost)?;
            current = result.posterior;
        }
        visit(&current, PathStep { n_units: size, removed, log_evidence, cost })?;
    }
    Ok(())
}
