//! How much evidence a smaller network gains or loses: which student size is enough.

use core_tensors::Rng;

use crate::checks;
use crate::criterion::{PruningCriterion, RankInput, UnitScore, rank};
use crate::edit::{Edit, EditOptions, FixedWeights, Posterior, check_units, transform};
use crate::error::{Error, Result};
use crate::structure::Structure;

/// log p(D | smaller) − log p(D | bigger) of an edit, under the prior N(0, I/a) of the bigger network.
///
/// log p(D | smaller) = log p(D | bigger) + log q(ν) − log p(ν): the density of the fixed numbers at their values
/// under the posterior q against that under the prior p. The smaller network has the prior N(0, I/a) again, as fixing
/// independent parameters moves no other. With a Laplace posterior this continues its evidence, with a variational
/// one its bound.
///
/// A density that overflows f64 is an error.
///
/// Source: Dickey & Lientz (1970), the Savage–Dickey density ratio.
///
/// ```
/// use bayes_posterior::{Diagonal, FixedWeights, Gaussian, log_evidence_change};
/// use core_tensors::{Block, Layout, Slice};
/// # fn main() -> bayes_posterior::Result<()> {
/// // One of two weights, N(2, 1) under the posterior, is fixed at 0; the prior is N(0, 1).
/// let layout = Layout { blocks: vec![Block { rows: 1, cols: 2 }] };
/// let posterior = Gaussian::new(layout, vec![2.0, 0.5], Diagonal::new(vec![1.0; 2])?)?;
/// let density = posterior.marginal_density(&Slice::Cols { block: 0, cols: vec![0] }, &[0.0])?;
/// let fixed = FixedWeights { density, squared_values: 0.0 };
/// // log N(0; 2, 1) − log N(0; 0, 1) = −½ 2²
/// assert!((log_evidence_change(&fixed, 1.0)? + 2.0).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
pub fn log_evidence_change(fixed: &FixedWeights, prior_precision: f64) -> Result<f64> {
    checks::positive("prior precision", prior_precision)?;
    let n = fixed.density.n as f64;
    let log_prior = 0.5 * n * (prior_precision / std::f64::consts::TAU).ln()
        - 0.5 * prior_precision * fixed.squared_values;
    checks::computed("the change of the log evidence", fixed.density.log_density() - log_prior)
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
///
/// ```
/// use bayes_posterior::{Diagonal, Gaussian, Posterior, PruningCriterion, removal_path};
/// use core_tensors::{Rng, kernels::Activation};
/// use models::{Architecture, Mlp};
/// # fn main() -> bayes_posterior::Result<()> {
/// let network = Mlp { widths: vec![1, 2, 1], activation: Activation::Relu, bias: false };
/// let gaussian = Gaussian::new(network.layout(), vec![1.0, 0.5, 3.0, 0.2], Diagonal::new(vec![0.1; 4])?)?;
/// let posterior = Posterior::new(network, gaussian)?;
/// let (density, mut rng) = (PruningCriterion::Density, Rng::new(0));
/// let path = removal_path(&posterior, 1, density, None, &[1], 1.0, &mut rng)?;
/// assert_eq!(path[0].removed, [1]);
/// // log N(0; 0.2, 0.1) − log N(0; 0, 1) = ½ log 10 − ½ 0.2² / 0.1: one unit is enough.
/// assert!((path[0].log_evidence - (0.5 * 10f64.ln() - 0.2)).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
pub fn removal_path<S: Structure>(
    posterior: &Posterior<S>,
    layer: usize,
    criterion: PruningCriterion,
    data: Option<(&core_tensors::Dataset, &losses::Likelihood)>,
    sizes: &[usize],
    prior_precision: f64,
    rng: &mut Rng,
) -> Result<Vec<PathStep>> {
    let ranked = rank(criterion, &RankInput::of(posterior, data), layer, rng)?;
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
    check_units(posterior.network(), layer, &[])?;
    let (n, start) = (posterior.network().widths[layer], posterior.kept()[layer].clone());
    let units: Vec<usize> = ranked.iter().map(|r| r.unit).collect();
    checks::permutation("ranked units", &units, n)?;
    let mut current = posterior;
    let (mut log_evidence, mut cost, mut gone) = (0.0, 0.0, 0);
    for &size in sizes {
        if size == 0 || size + gone > n {
            return Err(Error::PathSize { size, most: n - gone }.into());
        }
        let removed: Vec<usize> = ranked[gone..n - size].iter().map(|r| r.unit).collect();
        gone = n - size;
        // Units are renumbered by every step; `kept` still knows them.
        let ids: Vec<usize> = removed.iter().map(|&unit| start[unit]).collect();
        let places = current.kept()[layer].iter().enumerate().filter(|(_, id)| ids.contains(id));
        let units: Vec<usize> = places.map(|(place, _)| place).collect();
        if !units.is_empty() {
            let plan = [Edit::RemoveUnits { layer, units }];
            let result = transform(current, &plan, &EditOptions::strict())?;
            for fixed in &result.fixed {
                log_evidence += log_evidence_change(fixed, prior_precision)?;
                cost += fixed.density.cost();
            }
            checks::computed("the log evidence of a removal path", log_evidence)?;
            checks::computed("the cost of a removal path", cost)?;
            current = result.posterior;
        }
        visit(&current, PathStep { n_units: size, removed, log_evidence, cost })?;
    }
    Ok(())
}
