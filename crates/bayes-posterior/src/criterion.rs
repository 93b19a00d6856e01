//! Pruning criteria: which unit of a layer is worth least.

use core_tensors::{Dataset, Rng};
use faer::Side;
use losses::Likelihood;
use models::{Architecture, Mlp};

use crate::checks;
use crate::curvature::{Directions, Pass};
use crate::diagonal::Diagonal;
use crate::edit::{Posterior, check_units};
use crate::error::{Error, Result};
use crate::gaussian::Gaussian;
use crate::structure::{Covariance, Outgoing};

/// Which unit of a layer is worth least.
///
/// Unless a rule says otherwise, a unit's score is the sum over its outgoing weights w (column j of U_{t+1}), and the
/// unit of the smallest score goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PruningCriterion {
    /// Uniformly at random, as the papers did; the score is the place in the order.
    Random,
    /// ½ hᵢᵢ wᵢ² with h the Gauss–Newton curvature on the data, or where there are none the posterior's precision
    /// (Ψ⁻¹)ᵢᵢ. Source: LeCun et al. (1990), optimal brain damage.
    OptimalBrainDamage,
    /// log N(mᵢ; mᵢ, vᵢ) − log N(0; mᵢ, vᵢ) = mᵢ² / 2 vᵢ: marginal density at the mean against at zero.
    /// Source: Graves (2011), section 5.
    Density,
    /// |mᵢ| / σᵢ. Source: Blundell et al. (2015), section 5.1.
    SignalToNoise,
    /// Not a sum: the diagnosis of collinearity. The covariance of the units' outgoing weights, averaged over the
    /// receiving units, is Ψ ∝ (XᵀX)⁻¹ of a regression on X; its eigenvectors e_k with eigenvalues λ_k are directions
    /// of X with singular values μ_k ∝ λ_k^−½, and condition indices μ_max / μ_k = (λ_k / λ_min)^½. In falling order
    /// of the index, so that a direction in which units stand for one another comes first, each direction names the
    /// unit with the largest variance proportion e_jk² λ_k / Σ_l e_jl² λ_l among those that none has named yet. The
    /// score is the negative index. Columns of X are not scaled to unit length, since units share a scale.
    ///
    /// Source: Belsley, Kuh & Welsch (1980), sections 3.2 and 3.3.
    Belsley,
    /// The same proportions read off the covariance as if it were the regressors': indices λ_max / λ_k, so that the
    /// direction of smallest variance names a unit first, and units that stand for one another come last.
    ///
    /// Source: Grabovoy et al. (2019), who cite Belsley et al. for it.
    BelsleyCovariance,
    /// |wᵢ|
    Magnitude,
    /// Not about weights: mean |z_j| over the data.
    Activation,
    /// The exact joint cost ½ mᵀ Ψ⁻¹ m of fixing the outgoing weights at 0, given that those of the units before it
    /// are fixed: the next unit is always the cheapest. The score is what it adds.
    Greedy,
}

/// What a criterion may read: a network to be made smaller, its weights, and what is known about them.
#[derive(Clone, Copy, Debug)]
pub struct RankInput<'a, S> {
    /// f(x, w).
    pub network: &'a Mlp,
    /// w in vec order, (p,): trained weights, or the mean of the posterior.
    pub weights: &'a [f64],
    /// p(w | D) of a Bayesian network.
    pub posterior: Option<&'a Gaussian<S>>,
    /// Objects for the rules that need activations or curvature.
    pub data: Option<(&'a Dataset, &'a Likelihood)>,
}

/// A unit and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnitScore {
    /// Index of the unit in its layer, from 0.
    pub unit: usize,
    /// What the rule gives it; units come in rising order.
    pub score: f64,
}

impl PruningCriterion {
    /// Every rule.
    pub const ALL: [Self; 9] = [
        Self::Random,
        Self::OptimalBrainDamage,
        Self::Density,
        Self::SignalToNoise,
        Self::Belsley,
        Self::BelsleyCovariance,
        Self::Magnitude,
        Self::Activation,
        Self::Greedy,
    ];

    /// Name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::OptimalBrainDamage => "optimal-brain-damage",
            Self::Density => "density",
            Self::SignalToNoise => "signal-to-noise",
            Self::Belsley => "belsley",
            Self::BelsleyCovariance => "belsley-covariance",
            Self::Magnitude => "magnitude",
            Self::Activation => "activation",
            Self::Greedy => "greedy",
        }
    }
}

impl<'a> RankInput<'a, Diagonal> {
    /// Trained weights in vec order, (p,), without a posterior.
    pub fn of_weights(
        network: &'a Mlp,
        weights: &'a [f64],
        data: Option<(&'a Dataset, &'a Likelihood)>,
    ) -> Self {
        Self { network, weights, posterior: None, data }
    }
}

impl<'a, S: Covariance> RankInput<'a, S> {
    /// All that a posterior knows, and maybe data.
    pub fn of(posterior: &'a Posterior<S>, data: Option<(&'a Dataset, &'a Likelihood)>) -> Self {
        let (network, gaussian) = (posterior.network(), posterior.gaussian());
        Self { network, weights: gaussian.mean(), posterior: Some(gaussian), data }
    }

    fn posterior(&self, criterion: PruningCriterion) -> Result<&'a Gaussian<S>> {
        let rule = criterion.name();
        self.posterior
            .ok_or(Error::Missing { rule, needs: "a posterior; make one from the trained network" })
    }

    fn data(&self, criterion: PruningCriterion) -> Result<(&Dataset, &Likelihood)> {
        let rule = criterion.name();
        self.data.ok_or(Error::Missing { rule, needs: "data to run the network on" })
    }

    /// Positions in vec(·) of the outgoing weights of each unit of a layer.
    fn outgoing(&self, layer: usize) -> Vec<Vec<usize>> {
        let layout = self.network.layout();
        let (start, shape) = (layout.ranges()[layer].start, layout.blocks[layer]);
        let column = |j: usize| (0..shape.rows).map(|i| start + i * shape.cols + j).collect();
        (0..self.network.widths[layer]).map(column).collect()
    }

    /// Sums a number for each weight over the outgoing weights of each unit.
    fn summed(&self, layer: usize, of: impl Fn(usize) -> f64) -> Vec<f64> {
        self.outgoing(layer).iter().map(|at| at.iter().map(|&i| of(i)).sum()).collect()
    }
}

/// The units of a hidden layer (from 1), the one to go first in front. `rng` is drawn from by [`PruningCriterion::Random`] alone.
///
/// A rule that reads the covariance refuses one that is not positive definite with [`Error::Indefinite`], and any rule
/// a score that overflows f64.
///
/// ```
/// use bayes_posterior::{Diagonal, Gaussian, Posterior, PruningCriterion, RankInput, rank};
/// use core_tensors::{Rng, kernels::Activation};
/// use models::{Architecture, Mlp};
/// # fn main() -> bayes_posterior::Result<()> {
/// let network = Mlp { widths: vec![1, 2, 1], activation: Activation::Relu, bias: false };
/// let gaussian = Gaussian::new(network.layout(), vec![1.0, 0.5, 3.0, 0.2], Diagonal::new(vec![0.1; 4])?)?;
/// let posterior = Posterior::new(network, gaussian)?;
/// let input = RankInput::of(&posterior, None);
/// let ranked = rank(PruningCriterion::Magnitude, &input, 1, &mut Rng::new(0))?;
/// // The outgoing weights are 3 and 0.2.
/// assert_eq!((ranked[0].unit, ranked[0].score), (1, 0.2));
/// # Ok(())
/// # }
/// ```
pub fn rank<S: Covariance>(
    criterion: PruningCriterion,
    input: &RankInput<S>,
    layer: usize,
    rng: &mut Rng,
) -> Result<Vec<UnitScore>> {
    check_units(input.network, layer, &[])?;
    let p = input.network.layout().n_parameters();
    checks::length("weights of a network", p, input.weights.len())?;
    if let Some(posterior) = input.posterior {
        checks::same_layout("a posterior", &input.network.layout(), posterior.layout())?;
    }
    let w = input.weights;
    let scores = match criterion {
        PruningCriterion::Random => {
            let places = rng.permutation(input.network.widths[layer]).into_iter().enumerate();
            return Ok(places
                .map(|(place, unit)| UnitScore { unit, score: place as f64 })
                .collect());
        }
        PruningCriterion::Magnitude => input.summed(layer, |i| w[i].abs()),
        PruningCriterion::OptimalBrainDamage => {
            let h = curvature(input)?;
            input.summed(layer, |i| 0.5 * h[i] * w[i] * w[i])
        }
        PruningCriterion::Density => {
            let v = variances(input.posterior(criterion)?)?;
            input.summed(layer, |i| 0.5 * w[i] * w[i] / v[i])
        }
        PruningCriterion::SignalToNoise => {
            let v = variances(input.posterior(criterion)?)?;
            input.summed(layer, |i| w[i].abs() / v[i].sqrt())
        }
        PruningCriterion::Activation => activations(input, layer)?,
        PruningCriterion::Belsley | PruningCriterion::BelsleyCovariance => {
            let (g, n) = (input.posterior(criterion)?, input.network.widths[layer]);
            g.covariance().check_positive_definite()?;
            return finite(belsley(criterion, g, layer, n)?);
        }
        PruningCriterion::Greedy => {
            let (g, n) = (input.posterior(criterion)?, input.network.widths[layer]);
            g.covariance().check_positive_definite()?;
            let (layout, mean) = (g.layout(), g.mean());
            let outgoing = Outgoing { layout, block: layer, mean, n_columns: n };
            let columns = g.covariance().greedy_columns_unchecked(&outgoing);
            let ranked = |(unit, score)| UnitScore { unit, score };
            return finite(columns?.into_iter().map(ranked).collect());
        }
    };
    let ranked = scores.into_iter().enumerate().map(|(unit, score)| UnitScore { unit, score });
    let mut ranked = finite(ranked.collect())?;
    // A stable sort: equal scores keep the order of the units.
    ranked.sort_by(|a, b| a.score.total_cmp(&b.score));
    Ok(ranked)
}

/// Refuses scores that are not finite.
fn finite(ranked: Vec<UnitScore>) -> Result<Vec<UnitScore>> {
    for UnitScore { unit, score } in &ranked {
        checks::computed(&format!("the score of unit {unit}"), *score)?;
    }
    Ok(ranked)
}

/// Ψᵢᵢ of a positive definite Ψ.
fn variances<S: Covariance>(posterior: &Gaussian<S>) -> Result<Vec<f64>> {
    posterior.covariance().check_positive_definite()?;
    let variances = posterior.covariance().diagonal()?;
    checks::of_result("of the posterior", checks::all_positive("variance", &variances))?;
    Ok(variances)
}

/// diag H on the data, or the diagonal of the posterior's precision.
fn curvature<S: Covariance>(input: &RankInput<S>) -> Result<Vec<f64>> {
    if let Some((data, likelihood)) = input.data {
        return crate::laplace::curvature_diagonal(input.network, input.weights, data, likelihood);
    }
    match input.posterior {
        Some(posterior) => {
            posterior.covariance().check_positive_definite()?;
            posterior.covariance().precision_diagonal()
        }
        None => {
            let rule = PruningCriterion::OptimalBrainDamage.name();
            Err(Error::Missing { rule, needs: "data to compute the curvature on, or a posterior" })
        }
    }
}

/// Mean |z_j| over the examples.
fn activations<S: Covariance>(input: &RankInput<S>, layer: usize) -> Result<Vec<f64>> {
    let (data, _) = input.data(PruningCriterion::Activation)?;
    checks::some_examples(data.n_examples())?;
    let mut sums = vec![0.0; input.network.widths[layer]];
    Pass::new(input.network, input.weights)?.visit(data, Directions::None, |chunk| {
        let z = chunk.inputs[layer].as_ref();
        sums.iter_mut().zip(z.col_iter()).for_each(|(sum, z)| *sum += z.norm_l1());
        Ok(())
    })?;
    let m = data.n_examples() as f64;
    Ok(sums.into_iter().map(|sum| sum / m).collect())
}

fn belsley<S: Covariance>(
    criterion: PruningCriterion,
    posterior: &Gaussian<S>,
    layer: usize,
    n: usize,
) -> Result<Vec<UnitScore>> {
    let covariance = posterior.covariance().column_covariance(posterior.layout(), layer)?;
    let units = covariance.submatrix(0, 0, n, n);
    let eigen = units
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| Error::Eigenvalues { of: "a covariance" })?;
    let (vectors, values) = (eigen.U(), eigen.S().column_vector());
    let (smallest, largest) = (values[0], values[n - 1]);
    if smallest.is_nan() || smallest <= 0.0 {
        let quantity =
            "the smallest eigenvalue of the covariance of a layer's outgoing weights".into();
        return Err(Error::Computed { quantity, value: smallest, range: "(0, ∞)" });
    }
    // Eigenvalues ascend; directions come in falling order of their index.
    let directions: Vec<(usize, f64)> = match criterion {
        PruningCriterion::BelsleyCovariance => (0..n).map(|k| (k, largest / values[k])).collect(),
        _ => (0..n).rev().map(|k| (k, (values[k] / smallest).sqrt())).collect(),
    };
    let mut left: Vec<usize> = (0..n).collect();
    let mut ranked = Vec::with_capacity(n);
    for (k, index) in directions {
        let share = |j: usize| vectors[(j, k)].powi(2) * values[k] / units[(j, j)];
        let mut best = 0;
        for (place, &j) in left.iter().enumerate() {
            if share(j) > share(left[best]) {
                best = place;
            }
        }
        ranked.push(UnitScore { unit: left.remove(best), score: -index });
    }
    Ok(ranked)
}
