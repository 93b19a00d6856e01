//! The synthetic regression of paper 001: a few orders, and a removed layer, under posteriors of four structures.

use crate::data::synthetic::SyntheticLinear;
use crate::ledger::metric;
use anyhow::{Result, bail};
use bayes_posterior::{
    Curvature, Damping, Edit, EditOptions, Laplace, Posterior, PruningCriterion, Structure,
    UnitMatching, UnitScore, transform, with_posterior, with_structure,
};
use candle_core::{DType, Tensor};
use core_tensors::{Dataset, Fit, Params, Rng, Targets};
use losses::Likelihood;
use models::Mlp;

use super::{Curves, LAYER, Settings, Walks, push, trained};
use crate::experiments::base::perceptron;
use crate::experiments::{Outcome, Task};
use crate::training::{Monitor, logits};

pub(super) const TEACHER_ROW: &str = "orders-synthetic/teacher";
/// σ²: the generator's.
const NOISE: Likelihood = Likelihood::Normal { variance: 0.01 };
const ORDERS: [PruningCriterion; 4] = [
    PruningCriterion::Random,
    PruningCriterion::Magnitude,
    PruningCriterion::SignalToNoise,
    PruningCriterion::Greedy,
];
/// The path on which the next layer goes as well: its units are the same under every posterior.
const COMMON: PruningCriterion = PruningCriterion::Magnitude;
const MATCHINGS: [(&str, UnitMatching); 2] =
    [("identity", UnitMatching::Identity), ("density", UnitMatching::Density)];

fn structures(rank: usize) -> [(&'static str, Curvature, Damping); 5] {
    [
        ("diagonal", Curvature::Diagonal, Damping::Prior),
        ("kronecker", Curvature::Kronecker, Damping::Prior),
        ("kronecker-numerical", Curvature::Kronecker, Damping::numerical()),
        ("low-rank", Curvature::LowRank { rank }, Damping::Prior),
        ("full", Curvature::Full, Damping::Prior),
    ]
}

fn row(structure: &str, end: &str) -> String {
    format!("orders-synthetic/{structure}/{end}")
}

/// Epochs and walks.
pub(super) fn n_steps(settings: &Settings) -> usize {
    settings.synthetic_epochs + structures(1).len() * ORDERS.len()
}

/// The teacher of one seed and its walks under every structure, one posterior at a time.
pub(super) fn run(task: &Task, settings: &Settings, outcome: &mut Outcome) -> Result<()> {
    let rng = Rng::new(task.part.seed()).split("bayes-orders regression");
    let SyntheticLinear { train, test, .. } = SyntheticLinear::new(&task.session.device)?;
    let network = perceptron(settings.synthetic_teacher);
    let fit = Fit { epochs: settings.synthetic_epochs, batch_size: settings.synthetic_batch };
    let weights = trained(task, &network, NOISE, fit, &train, &rng)?;
    let a = settings.synthetic_prior_precision;
    let walks = Walks {
        data: &train,
        likelihood: NOISE,
        sizes: settings.synthetic_sizes,
        prior_precision: a,
        rng: &rng,
        device: &task.session.device,
        measure: &|network, w| measure(network, w, &test),
    };
    let mut teacher = measure(&network, &weights, &test)?;
    for (name, curvature, damping) in structures(settings.synthetic_rank) {
        let likelihood = NOISE;
        let laplace = Laplace {
            network: &network,
            weights: &weights,
            data: &train,
            likelihood,
            prior_precision: a,
        };
        let found = laplace.fit(curvature)?;
        if damping == Damping::Prior {
            push(&mut teacher, &format!("log_evidence/{name}"), found.log_evidence);
        }
        for order in ORDERS {
            let ranked = with_posterior!(&found.posterior, p => walks.ranked(p, order)?);
            with_structure!(&found.posterior, damping, p => {
                under(&walks, name, p, (order, &ranked, damping), outcome)?;
            });
            task.point_done()?;
        }
    }
    outcome.add(TEACHER_ROW, teacher);
    Ok(())
}

/// One order under one posterior.
fn under<S: Structure>(
    walks: &Walks,
    name: &str,
    posterior: &Posterior<S>,
    (order, ranked, damping): (PruningCriterion, &[UnitScore], Damping),
    outcome: &mut Outcome,
) -> Result<()> {
    let mut without_layer = Vec::new();
    let curves = walks.walk(posterior, ranked, damping, |left| {
        let widths = &left.network().widths;
        if order == COMMON && widths[LAYER] == widths[LAYER + 1] {
            for (end, matching) in MATCHINGS {
                without_layer.push((end, remove_next(walks, left, matching)?));
            }
        }
        Ok(())
    })?;
    outcome.add(&row(name, order.name()), curves);
    for (end, metrics) in without_layer {
        outcome.add(&row(name, &format!("layer/{end}")), metrics);
    }
    Ok(())
}

/// Metrics once the layer behind [`LAYER`] is gone.
fn remove_next<S: Structure>(
    walks: &Walks,
    left: &Posterior<S>,
    matching: UnitMatching,
) -> Result<Curves> {
    let plan = [Edit::RemoveLayer { layer: LAYER + 1, matching }];
    walks.look(&transform(left.clone(), &plan, &EditOptions::strict())?.posterior)
}

/// The mean squared error on a test set.
fn measure(network: &Mlp, w: &Params, test: &Dataset) -> Result<Curves> {
    let Targets::Values(y) = test.y() else { bail!("wanted values, found classes") };
    let error = mean_squared_error(&logits(network, w, test.x())?, y)?;
    Ok([(metric::SQUARED_ERROR.key(), vec![error])].into())
}

/// m⁻¹ Σᵢ ‖fᵢ − yᵢ‖² of one output.
fn mean_squared_error(predictions: &Tensor, y: &Tensor) -> Result<f64> {
    let difference = (predictions.to_dtype(DType::F64)? - y.to_dtype(DType::F64)?)?;
    Ok(difference.sqr()?.mean_all()?.to_scalar::<f64>()?)
}

/// Names of all rows that a run fills.
#[cfg(test)]
pub(super) fn rows() -> impl Iterator<Item = String> {
    let of = |(name, ..): (&'static str, Curvature, Damping)| {
        let orders = ORDERS.map(|order| row(name, order.name()));
        orders.into_iter().chain(MATCHINGS.map(|(end, _)| row(name, &format!("layer/{end}"))))
    };
    structures(1).into_iter().flat_map(of).chain([TEACHER_ROW.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn a_mean_squared_error_by_hand() {
        let predictions = Tensor::new(&[[1f32], [4.0]], &Device::Cpu).unwrap();
        let y = Tensor::new(&[[3f32], [3.0]], &Device::Cpu).unwrap();
        assert_eq!(mean_squared_error(&predictions, &y).unwrap(), 2.5);
    }
}
