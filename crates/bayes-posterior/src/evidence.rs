//! How much evidence a smaller network gains or loses: which student size is enough.

use core_tensors::Rng;

use crate::edit::{Edit, Pinned, Posterior, Rules, transform};
use crate::error::{Error, Result};
use crate::order::{Order, Subject, rank};
use crate::structure::Structure;

/// log p(D | smaller) − log p(D | bigger) of an edit, under the prior N(0, I/a) of the bigger network.
///
/// log p(D | smaller) = log p(D | bigger) + log q(ν) − log p(ν): the density of the pinned numbers at their values
/// under the posterior q against that under the prior p. The smaller network has the prior N(0, I/a) again, as pinning
/// independent parameters moves no other. With a Laplace posterior this continues its evidence, with a variational
/// one its bound.
///
/// Source: Dickey & Lientz (1970), the Savage–Dickey density ratio.
pub fn log_evidence_change(pinned: &Pinned, prior_precision: f64) -> Result<f64> {
    if !(prior_precision > 0.0 && prior_precision.is_finite()) {
        let name = "prior precision".into();
        return Err(Error::OutOfRange { name, value: prior_precision, range: "(0, ∞)" });
    }
    let n = pinned.density.n as f64;
    let log_prior = 0.5 * n * (prior_precision / std::f64::consts::TAU).ln()
        - 0.5 * prior_precision * pinned.squared_values;
    Ok(pinned.density.log_density() - log_prior)
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
    order: Order,
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
    let (n, start) = (ranked.len(), posterior.kept[layer].clone());
    let (mut current, mut steps) = (posterior.clone(), Vec::new());
    let (mut log_evidence, mut cost, mut gone) = (0.0, 0.0, 0);
    for &size in sizes {
        if size == 0 || size + gone > n {
            let wanted = format!("1 to {}, each smaller than the one before", n - gone);
            return Err(Error::mismatch("sizes of a removal path", wanted, size));
        }
        let removed: Vec<usize> = ranked[gone..n - size].iter().map(|r| r.unit).collect();
        gone = n - size;
        let has_left = |unit: &usize| removed.contains(unit);
        // Units are renumbered by every step; `kept` still knows them.
        let ids: Vec<usize> = removed.iter().map(|&unit| start[unit]).collect();
        let places = current.kept[layer].iter().enumerate().filter(|(_, id)| ids.contains(id));
        let units: Vec<usize> = places.map(|(place, _)| place).collect();
        debug_assert_eq!(units.len(), (0..n).filter(has_left).count());
        if !units.is_empty() {
            let plan = [Edit::RemoveUnits { layer, units }];
            let result = transform(current, &plan, &Rules::strict())?;
            for pinned in &result.pins {
                log_evidence += log_evidence_change(pinned, prior_precision)?;
                cost += pinned.density.cost();
            }
            current = result.posterior;
        }
        steps.push(PathStep { n_units: size, removed, log_evidence, cost });
    }
    Ok(steps)
}
