//! All orders of removal compared at several sizes, under posteriors of several structures, and the evidence on the way.

/// Rows of one posterior: its first, and one for each order against the random one.
macro_rules! orders {
    (
        $($lead:expr),*;
        $([$first:expr] $id:literal $name:literal [$($order:literal)*])*;
        $($layers:tt)*
    ) => {
        rows!(
            $($lead,)* $($first, $(
                RowSpec::seeds(concat!($id, "/", $order), concat!($name, ", ", $order))
                    .against(concat!($id, "/random")),
            )*)*;
            $($layers)*
        )
    };
}

mod classes;
mod regression;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use anyhow::Result;
use bayes_posterior::{
    Covariance, Damping, PathStep, Posterior, PruningCriterion, RankInput, Structure, UnitScore,
    follow_path, rank,
};
use candle_core::{Device, Tensor};
use core_tensors::{AdamConfig, Dataset, Fit, Params, Rng};
use losses::Likelihood;
use models::{Architecture, Descent, Mlp};

use crate::ledger::{Curve, Figure, Point, RowSpec, metric};
use crate::training::Monitor;

use crate::experiments::{Experiment, Outcome, Parts, Task};

/// Step size of the teachers' Adam.
const LEARNING_RATE: f64 = 1e-3;
/// The layer whose units go.
const LAYER: usize = 1;
/// A loss of accuracy that counts: one point.
const LOSS: f64 = 0.01;

settings! {
    /// Widths of the teacher of images.
    fashion_teacher: &'static [usize] = &[784, 40, 20, 10], &[784, 800, 50, 10];
    fashion_epochs: usize = 1, 5;
    fashion_batch: usize = 256;
    /// Units of layer 1 at which it is looked at.
    fashion_sizes: &'static [usize] = &[20, 10], &[600, 400, 300, 200, 100, 50, 25];
    /// a of the prior N(0, I/a).
    fashion_prior_precision: f64 = 100.0;
    /// Training examples behind curvature and orders.
    fashion_curvature_examples: usize = 200, 10_000;
    /// At most so many examples to train and to test on.
    fashion_most_examples: Option<[usize; 2]> = Some([1600, 500]), None;
    /// Widths of the teacher of the regression.
    synthetic_teacher: &'static [usize] = &[10, 20, 10, 1], &[10, 100, 50, 1];
    synthetic_epochs: usize = 3, 100;
    synthetic_batch: usize = 32;
    synthetic_sizes: &'static [usize] = &[10, 5], &[50, 25, 10];
    synthetic_prior_precision: f64 = 1.0;
    /// r of the low-rank posterior.
    synthetic_rank: usize = 5, 50;
}

/// Orders and structures beside one another.
pub(in crate::experiments) static ORDERS: Experiment = Experiment {
    id: "bayes-ranking",
    title: "Every order of removal at several sizes, and the evidence on the way",
    source: "",
    summary: "A comparison of our own: no number here is published, so there are no claims. Units of layer 1 go without any \
        retraining, and what is measured is the network at the mean of the posterior that is left. The posterior is a \
        Laplace approximation at the trained teacher. Its curvature, and the data of the rules that need some, come from \
        training objects alone (for pictures a random part of them, so that it is the posterior of that part at weights \
        trained on all); the test set is only measured on. Under the diagonal posterior removal selects weights; under the \
        others it also moves those that stay, as the optimal brain surgeon does. The same random order serves every posterior of a \
        seed. Under the diagonal posterior greedy and density are one rule and agree by construction. The prior precision \
        is fixed beforehand and not tuned. Scores come from the exact Kronecker posterior; what is removed is pinned under the nearest \
        pair of factors, or, with numerical damping, under the curvature alone with a ten-thousandth of its diagonal added, \
        which is no posterior and has no evidence. The evidence is that of the Laplace posterior and its curvature's objects, \
        continued by the Savage–Dickey ratio; it judges the size by a prior and a Gaussian, not by the test set, and the \
        two sizes stand side by side without a claim that one predicts the other. Regression: y = x·w + 0.1 ε with the \
        noise variance 0.01 taken as known. There a layer goes as well: the path of the magnitude order is left where \
        layers 1 and 2 are of one width, and layer 2 is pinned at a permutation, the identity or one of larger density. \
        What was found stands in the tables below.",
    data: &["fashion-mnist"],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::seeds(5, 10),
    run: |task| {
        let settings = settings(task.session.scale);
        let mut outcome = Outcome::default();
        task.expect_epochs(classes::n_steps(&settings) + regression::n_steps(&settings));
        classes::run(task, &settings, &mut outcome)?;
        regression::run(task, &settings, &mut outcome)?;
        Ok(outcome)
    },
    rows: orders!(
        RowSpec::seeds(classes::TEACHER_ROW, "FashionMNIST teacher"),
        RowSpec::seeds(regression::TEACHER_ROW, "regression teacher");
        [RowSpec::seeds("orders/diagonal/random", "diagonal, random")]
        "orders/diagonal" "diagonal"
            ["optimal-brain-damage" "density" "signal-to-noise" "belsley" "belsley-covariance" "magnitude" "activation" "greedy"]
        [RowSpec::seeds("orders/kronecker/random", "Kronecker, random").against("orders/diagonal/random")]
        "orders/kronecker" "Kronecker"
            ["optimal-brain-damage" "density" "signal-to-noise" "belsley" "belsley-covariance" "magnitude" "activation" "greedy"]
        [RowSpec::seeds("orders/kronecker-numerical/random", "Kronecker, numerical damping, random")
            .against("orders/kronecker/random")]
        "orders/kronecker-numerical" "Kronecker, numerical damping"
            ["optimal-brain-damage" "density" "signal-to-noise" "belsley" "belsley-covariance" "magnitude" "activation" "greedy"]
        [RowSpec::seeds("orders-synthetic/diagonal/random", "regression, diagonal, random")]
        "orders-synthetic/diagonal" "regression, diagonal" ["magnitude" "signal-to-noise" "greedy"]
        [RowSpec::seeds("orders-synthetic/kronecker/random", "regression, Kronecker, random")
            .against("orders-synthetic/diagonal/random")]
        "orders-synthetic/kronecker" "regression, Kronecker" ["magnitude" "signal-to-noise" "greedy"]
        [RowSpec::seeds("orders-synthetic/kronecker-numerical/random", "regression, Kronecker, numerical damping, random")
            .against("orders-synthetic/kronecker/random")]
        "orders-synthetic/kronecker-numerical" "regression, Kronecker, numerical damping"
            ["magnitude" "signal-to-noise" "greedy"]
        [RowSpec::seeds("orders-synthetic/low-rank/random", "regression, low-rank, random")
            .against("orders-synthetic/diagonal/random")]
        "orders-synthetic/low-rank" "regression, low-rank" ["magnitude" "signal-to-noise" "greedy"]
        [RowSpec::seeds("orders-synthetic/full/random", "regression, full, random")
            .against("orders-synthetic/diagonal/random")]
        "orders-synthetic/full" "regression, full" ["magnitude" "signal-to-noise" "greedy"];
        [("orders-synthetic/diagonal/layer", "diagonal, layer 2 removed, ")] {
            { "identity" => "identity"; }
            against "identity" { "density" => "density"; }
        }
        [
            ("orders-synthetic/kronecker/layer", "Kronecker, layer 2 removed, ")
            ("orders-synthetic/kronecker-numerical/layer", "Kronecker, numerical damping, layer 2 removed, ")
            ("orders-synthetic/low-rank/layer", "low-rank, layer 2 removed, ")
            ("orders-synthetic/full/layer", "full, layer 2 removed, ")
        ] {
            against_row "orders-synthetic/diagonal/layer/identity" { "identity" => "identity"; }
            against "identity" { "density" => "density"; }
        }
    ),
    claims: &[],
    point: Point::Units,
    figures: &[
        Figure::points("FashionMNIST, test accuracy by units kept", metric::ACCURACY, IMAGES),
        Figure::points(
            "FashionMNIST, test cross-entropy by units kept",
            metric::CROSS_ENTROPY,
            IMAGES,
        ),
        Figure::points("FashionMNIST, ECE by units kept", metric::CALIBRATION_ERROR, IMAGES),
        Figure::curves(
            "Test accuracy, diagonal posterior: kept weights stay",
            metric::ACCURACY,
            DIAGONAL,
        ),
        Figure::curves(
            "Test accuracy, Kronecker posterior: kept weights move",
            metric::ACCURACY,
            KRONECKER,
        ),
        Figure::curves(
            "Test accuracy, Kronecker posterior, numerical damping: kept weights move further",
            metric::ACCURACY,
            NUMERICAL,
        ),
        Figure::points(
            "Change of log evidence by units kept, greedy order",
            metric::EVIDENCE_CHANGE,
            names!(["orders/diagonal" "orders/kronecker"] ["greedy"]),
        ),
        Figure::curves(
            "Change of log evidence by units kept, greedy order",
            metric::EVIDENCE_CHANGE,
            names!(["orders/diagonal" "orders/kronecker"] ["greedy"]),
        ),
        Figure::points("Regression, test MSE by units kept", metric::SQUARED_ERROR, REGRESSION),
        Figure::curves(
            "Regression, test MSE by units kept, greedy order",
            metric::SQUARED_ERROR,
            names!(["orders-synthetic/diagonal" "orders-synthetic/kronecker"
                "orders-synthetic/kronecker-numerical" "orders-synthetic/low-rank" "orders-synthetic/full"]
                ["greedy"]),
        ),
        Figure::cross(
            "Regression, test MSE right after layer 2 went as well",
            metric::SQUARED_ERROR,
            &["pairing: identity", "pairing: density"],
            &[
                ("diagonal", names!(["orders-synthetic/diagonal/layer"] ["identity" "density"])),
                ("Kronecker", names!(["orders-synthetic/kronecker/layer"] ["identity" "density"])),
                (
                    "Kronecker, numerical damping",
                    names!(["orders-synthetic/kronecker-numerical/layer"] ["identity" "density"]),
                ),
                ("low-rank", names!(["orders-synthetic/low-rank/layer"] ["identity" "density"])),
                ("full", names!(["orders-synthetic/full/layer"] ["identity" "density"])),
            ],
        ),
    ],
};

const DIAGONAL: &[&str] = names!(["orders/diagonal"]
    ["random" "optimal-brain-damage" "density" "signal-to-noise" "belsley" "belsley-covariance" "magnitude" "activation" "greedy"]);
const KRONECKER: &[&str] = names!(["orders/kronecker"]
    ["random" "optimal-brain-damage" "density" "signal-to-noise" "belsley" "belsley-covariance" "magnitude" "activation" "greedy"]);
const NUMERICAL: &[&str] = names!(["orders/kronecker-numerical"]
    ["random" "optimal-brain-damage" "density" "signal-to-noise" "belsley" "belsley-covariance" "magnitude" "activation" "greedy"]);
const IMAGES: &[&str] = names!(["orders/diagonal" "orders/kronecker" "orders/kronecker-numerical"]
    ["random" "optimal-brain-damage" "density" "signal-to-noise" "belsley" "belsley-covariance" "magnitude" "activation" "greedy"]);
const REGRESSION: &[&str] = names!(["orders-synthetic/diagonal" "orders-synthetic/kronecker"
    "orders-synthetic/kronecker-numerical" "orders-synthetic/low-rank" "orders-synthetic/full"]
    ["random" "magnitude" "signal-to-noise" "greedy"]);

/// Metrics of one row.
type Curves = BTreeMap<String, Curve>;

fn push(curves: &mut Curves, metric: &str, value: f64) {
    curves.entry(metric.to_owned()).or_default().push(value);
}

/// Weights of the largest likelihood, without a prior.
fn trained(
    task: &Task,
    network: &Mlp,
    likelihood: Likelihood,
    fit: Fit,
    data: &Dataset,
    rng: &Rng,
) -> Result<Params> {
    let w = network.init(&mut rng.split("teacher"), &task.session.device)?.trainable()?;
    let mut descent = Descent::new(network, &w, AdamConfig::pytorch(LEARNING_RATE))?;
    let loss = |f: &Tensor, batch: &Dataset| Ok(likelihood.negative_log(f, batch)?);
    let after = |_| -> Result<ControlFlow<()>> {
        task.point_done()?;
        Ok(ControlFlow::Continue(()))
    };
    descent.fit(fit, data, &mut rng.split("batches"), loss, after)?;
    Ok(w.frozen())
}

/// Ways from one trained network to smaller ones.
struct Walks<'a> {
    /// Examples of the rules that need some.
    data: &'a Dataset,
    likelihood: Likelihood,
    /// Falling.
    sizes: &'a [usize],
    /// a
    prior_precision: f64,
    /// Of the seed; every posterior has the same random order.
    rng: &'a Rng,
    device: &'a Device,
    /// Metrics of a network on the test set, as curves of length 1.
    measure: &'a dyn Fn(&Mlp, &Params) -> Result<Curves>,
}

impl Walks<'_> {
    /// Metrics of the network at the mean of a posterior.
    fn look<S: Structure>(&self, posterior: &Posterior<S>) -> Result<Curves> {
        let network = posterior.network();
        let w = Params::from_vec(&network.layout(), posterior.gaussian().mean(), self.device)?;
        (self.measure)(network, &w)
    }

    /// Units of the layer in some order.
    fn ranked<S: Covariance>(
        &self,
        posterior: &Posterior<S>,
        order: PruningCriterion,
    ) -> Result<Vec<UnitScore>> {
        let input = RankInput::of(posterior, Some((self.data, &self.likelihood)));
        Ok(rank(order, &input, LAYER, &mut self.rng.split("random order"))?)
    }

    /// Metrics before the removal and at each size; `visit` sees what is left there.
    fn walk<S: Structure>(
        &self,
        posterior: &Posterior<S>,
        ranked: &[UnitScore],
        damping: Damping,
        mut visit: impl FnMut(&Posterior<S>) -> Result<()>,
    ) -> Result<Curves> {
        // Under numerical damping the Gaussian is no posterior.
        let has_evidence = damping == Damping::Prior;
        let sizes: Vec<usize> =
            std::iter::once(ranked.len()).chain(self.sizes.iter().copied()).collect();
        let mut curves = Curves::new();
        let step = |left: &Posterior<S>, step: PathStep| -> Result<()> {
            for (metric, values) in self.look(left)? {
                curves.entry(metric).or_default().extend(values);
            }
            push(&mut curves, metric::N_UNITS.name, step.n_units as f64);
            if has_evidence {
                push(&mut curves, metric::EVIDENCE_CHANGE.name, step.log_evidence);
            }
            visit(left)
        };
        follow_path(posterior.clone(), LAYER, ranked, &sizes, self.prior_precision, step)?;
        if let Some(changes) = curves.get(metric::EVIDENCE_CHANGE.name) {
            let size = size_of_largest(&sizes, changes);
            push(&mut curves, metric::EVIDENCE_SIZE.name, size);
        }
        if let Some(accuracy) = curves.get(metric::ACCURACY.name) {
            let size = size_of_loss(&sizes, accuracy);
            push(&mut curves, metric::LOSS_SIZE.name, size);
        }
        Ok(curves)
    }
}

/// The size of the largest value, the first among equals.
fn size_of_largest(sizes: &[usize], values: &[f64]) -> f64 {
    let mut best = (f64::NAN, f64::NEG_INFINITY);
    for (&size, &value) in sizes.iter().zip(values) {
        if value > best.1 {
            best = (size as f64, value);
        }
    }
    best.0
}

/// The first size whose accuracy lies more than [`LOSS`] below that of the start; 0 where none does.
fn size_of_loss(sizes: &[usize], accuracy: &[f64]) -> f64 {
    let start = accuracy.first().copied().unwrap_or(f64::NAN);
    let lost = sizes.iter().zip(accuracy).find(|(_, a)| start - **a > LOSS);
    lost.map_or(0.0, |(&size, _)| size as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_by_hand() {
        let sizes = [800, 400, 100, 25];
        assert_eq!(size_of_largest(&sizes, &[0.0, 5.0, 5.0, -1.0]), 400.0);
        assert_eq!(size_of_largest(&sizes, &[0.0, -5.0, -6.0, -7.0]), 800.0);
        assert_eq!(size_of_loss(&sizes, &[0.9, 0.895, 0.88, 0.895]), 100.0);
        assert_eq!(size_of_loss(&sizes, &[0.9, 0.91, 0.895, 0.9]), 0.0);
    }

    #[test]
    fn every_row_of_the_table_is_run_and_no_other() {
        let mut run: Vec<String> = classes::rows().chain(regression::rows()).collect();
        let mut listed: Vec<&str> = ORDERS.rows.iter().map(|row| row.id).collect();
        run.sort_unstable();
        listed.sort_unstable();
        assert_eq!(run, listed);
    }
}
