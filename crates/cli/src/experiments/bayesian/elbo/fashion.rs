//! FashionMNIST under the evidence lower bound.

use bayes_posterior::Curvature;
use core_tensors::Fit;
use losses::Likelihood;

use super::{Protocol, Student};
use crate::experiments::{Experiment, Parts};
use crate::ledger::{Figure, Point, RowSpec, metric};
use crate::training::at_most;

pub(in crate::experiments) const TEACHER_ROW: &str = "elbo-fashion/teacher";
/// Iterations between two points of a curve.
const EVERY: usize = 50;

pub(in crate::experiments) static STUDENTS: [Student; 2] = [
    Student {
        id: "elbo-fashion/784-50-10",
        widths: &[784, 50, 10],
        drop_layers: &[2],
        structures: &[("kronecker", Curvature::Kronecker)],
    },
    Student {
        id: "elbo-fashion/784-30-10-10",
        widths: &[784, 30, 10, 10],
        drop_layers: &[],
        structures: &[("kronecker", Curvature::Kronecker)],
    },
];

settings! {
    epochs: [usize; 2] = [1, 1], [3, 2], [20, 10];
    /// Examples of the Kronecker posterior.
    most_curvature: usize = 256, 5000, 60_000;
    /// At most so many examples to train and to test on.
    most_examples: Option<[usize; 2]> = Some([6400, 1000]), None;
}

/// Start and prior as separate factors, on images.
pub(in crate::experiments) static FASHION: Experiment = Experiment {
    id: "bayes-elbo-fashion",
    title: "Bayesian distillation on FashionMNIST under the evidence lower bound",
    source: "001, 000",
    summary: "Teacher [784, 800, 50, 10], students by removing units and the second hidden layer, or units alone; the \
        objective of bayes-elbo-synthetic with class likelihoods: batches of 64, the teacher 3 passes and students 2 at \
        quick scale, N = 60 000. The Kronecker posterior is a Laplace approximation at the teacher's means, at quick scale \
        on 5000 random training objects; its mean moves under the curvature alone (numerical damping), its covariance keeps the \
        prior. The teacher's posterior as a prior on the same objects counts them twice.",
    data: &["fashion-mnist"],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::seeds(5, 20),
    run: |task| {
        let Settings { epochs, most_curvature, most_examples } = settings(task.session.scale);
        let [most_train, most_test] = most_examples.unwrap_or([usize::MAX; 2]);
        let images = task.session.images("fashion-mnist")?;
        let protocol = Protocol {
            teacher: &[784, 800, 50, 10],
            teacher_row: TEACHER_ROW,
            students: &STUDENTS,
            likelihood: Likelihood::Categorical,
            fits: [(epochs[0], 256), (epochs[1], 64)]
                .map(|(epochs, batch_size)| Fit { epochs, batch_size }),
            every: EVERY.min(at_most(&images.train, most_train)?.n_examples() / 256),
            most_curvature,
            n_structures: usize::MAX,
            train: &at_most(&images.train, most_train)?,
            test: &at_most(&images.test, most_test)?,
        };
        protocol.run(task)
    },
    rows: students!(
        RowSpec::seeds(TEACHER_ROW, "teacher [784, 800, 50, 10]");
        [("elbo-fashion/784-50-10", "[784, 50, 10]") ("elbo-fashion/784-30-10-10", "[784, 30, 10, 10]")];
        "kronecker"
    ),
    point: Point::Iterations(EVERY),
    claims: &[],
    figures: figures!(
        kronecker 1;
        "[784, 50, 10]" "elbo-fashion/784-50-10";
        "[784, 30, 10, 10]" "elbo-fashion/784-30-10-10";
        before: "Test accuracy right after the edits, before any training" START_ACCURACY;
        after: "Test accuracy after training" ACCURACY;
        curves:
        "Test likelihood of [784, 50, 10] (minus mean cross-entropy)" LOG_LIKELIHOOD "elbo-fashion/784-50-10";
        "Test likelihood of [784, 30, 10, 10] (minus mean cross-entropy)" LOG_LIKELIHOOD "elbo-fashion/784-30-10-10";
        "KL(q ‖ p) of [784, 50, 10] in nats" DIVERGENCE "elbo-fashion/784-50-10";
    ),
};
