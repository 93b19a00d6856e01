//! The order in which units go: the greedy one, and those that users know, with or without compensation.

use core_tensors::Rng;

use super::removal::{ColumnDamping, Consumer, ConsumerWeights, Removal};
use crate::checks;
use crate::error::{Error, Result};

/// How far [`greedy`] goes and what it tells.
#[derive(Clone, Debug)]
pub struct Greedy {
    /// Numbers of units, each at least 1, at which the consumers are wanted; removal ends at the smallest.
    pub widths: Vec<usize>,
    /// N: costs are those of N examples; 1 for the mean example.
    pub n_examples: f64,
    /// Whether units that are exact functions of others go first, without damping.
    pub dependencies: bool,
}

/// A unit that went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The unit.
    pub unit: usize,
    /// What it cost given those before: nats over N examples if G is a curvature, half a squared error if it is not given.
    pub cost: f64,
    /// Whether it was an exact function of others.
    pub is_dependent: bool,
}

/// The consumers at one width.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The units that are left, ascending.
    pub kept: Vec<usize>,
    /// Every consumer, compensated.
    pub consumers: Vec<ConsumerWeights>,
}

/// Every removal in order, and the consumers at the widths that were asked for.
#[derive(Clone, Debug)]
pub struct Path {
    /// First removal first.
    pub steps: Vec<Step>,
    /// Largest width first.
    pub snapshots: Vec<Snapshot>,
}

/// A measure of importance that looks at each unit alone.
#[derive(Debug)]
pub enum Score<'a> {
    /// ‖u_j‖ ‖W_J‖, with u_j the unit's row in its producer: `producer` holds ‖u_j‖.
    Magnitude {
        /// ‖u_j‖, one a unit.
        producer: &'a [f64],
    },
    /// √Σ_j∈J ‖W_j‖² A_jj
    ///
    /// Source: Sun et al. (2023), A simple and effective pruning approach for large language models; here for whole columns.
    Wanda,
    /// |E gradient × activation|, which the caller has summed.
    ///
    /// Source: Molchanov et al. (2019), Importance estimation for neural network pruning.
    Taylor {
        /// The absolute value of the sum, one a unit.
        saliency: &'a [f64],
    },
    /// U\[0, 1).
    Random(&'a mut Rng),
}

/// What the columns that stay do about those that go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Compensation {
    /// They take over what they can: least squares on A with this damping.
    LeastSquares(ColumnDamping),
    /// Nothing.
    Off,
}

/// Removes the cheapest unit given those that are gone, again and again, O(n²) each.
///
/// Dependent units go first where [`Greedy::dependencies`] says so. A snapshot costs one factorization of A.
pub fn greedy(mut removal: Removal, options: &Greedy) -> Result<Path> {
    checks::positive("examples that costs are of", options.n_examples)?;
    let mut widths = options.widths.clone();
    widths.sort_unstable_by(|a, b| b.cmp(a));
    widths.dedup();
    let mut n_left = removal.left().len();
    for &width in &widths {
        if width == 0 || width > n_left {
            let range = "1 to the units that are left";
            let name = "a width after removal".into();
            return Err(Error::OutOfRange { name, value: width as f64, range });
        }
    }
    let mut path = Path { steps: Vec::new(), snapshots: Vec::new() };
    for width in widths {
        if options.dependencies && path.steps.iter().all(|step| step.is_dependent) {
            let gone = removal.remove_dependencies(n_left - width)?;
            n_left -= gone.len();
            let step = |unit| Step { unit, cost: 0.0, is_dependent: true };
            path.steps.extend(gone.into_iter().map(step));
        }
        while n_left > width {
            let Some((unit, _)) = removal.cheapest()? else { break };
            let cost = options.n_examples * removal.remove(unit)?;
            path.steps.push(Step { unit, cost, is_dependent: false });
            n_left -= 1;
        }
        let snapshot = Snapshot { kept: removal.left(), consumers: removal.consumers()? };
        path.snapshots.push(snapshot);
    }
    Ok(path)
}

/// The consumers after all removals of a path, under this damping and perhaps of other moments: dependent units go without
/// damping, the others together.
pub fn follow(consumers: &[Consumer], damping: ColumnDamping, path: &Path) -> Result<Snapshot> {
    let removal = Removal::after(consumers, damping, &path.steps)?;
    Ok(Snapshot { kept: removal.left(), consumers: removal.consumers()? })
}

/// The importance of each unit, consumers together; larger is more important.
pub fn scores(consumers: &[Consumer], score: Score) -> Result<Vec<f64>> {
    checks::at_least("consumers of the units", 1, consumers.len())?;
    let n = consumers[0].units.len();
    let scores: Vec<f64> = match score {
        Score::Magnitude { producer } => {
            checks::length("norms of a producer's rows", n, producer.len())?;
            let sizes = column_sizes(consumers, n, |_, _| 1.0)?;
            sizes.iter().zip(producer).map(|(size, norm)| size * norm).collect()
        }
        Score::Wanda => column_sizes(consumers, n, |consumer, j| consumer.moments.second_of(j))?,
        Score::Taylor { saliency } => {
            checks::length("Taylor saliencies", n, saliency.len())?;
            saliency.to_vec()
        }
        Score::Random(rng) => (0..n).map(|_| rng.uniform()).collect(),
    };
    scores.iter().try_for_each(|&value| checks::finite("the score of a unit", value))?;
    Ok(scores)
}

/// √Σ ‖W_j‖² · weight_j over the columns of each unit and all consumers.
fn column_sizes(
    consumers: &[Consumer],
    n: usize,
    weight: impl Fn(&Consumer, usize) -> f64,
) -> Result<Vec<f64>> {
    let mut sums = vec![0.0; n];
    for consumer in consumers {
        consumer.check()?;
        checks::length("units of a consumer", n, consumer.units.len())?;
        for (sum, unit) in sums.iter_mut().zip(&consumer.units) {
            for &j in unit {
                *sum += consumer.weights.col(j).squared_norm_l2() * weight(consumer, j);
            }
        }
    }
    Ok(sums.into_iter().map(f64::sqrt).collect())
}

/// Units from the least important on; of equals the last first.
pub fn order_by(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).rev().collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    order
}

/// Every consumer with only the `kept` units.
///
/// W̃_k = W K_·k (K_kk + ε)⁻¹ with K the covariance of the columns: the weights that reconstruct W h best, drawn to W by ε.
pub fn compensate(
    consumers: &[Consumer],
    kept: &[usize],
    compensation: Compensation,
) -> Result<Snapshot> {
    let damping = match compensation {
        Compensation::LeastSquares(damping) => damping,
        Compensation::Off => ColumnDamping::relative(0.0),
    };
    let removal = Removal::without(consumers, damping, kept)?;
    let consumers = match compensation {
        Compensation::LeastSquares(_) => removal.consumers()?,
        Compensation::Off => removal.uncompensated(),
    };
    Ok(Snapshot { kept: removal.left(), consumers })
}
