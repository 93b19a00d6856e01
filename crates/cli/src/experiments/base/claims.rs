//! Rows, claims and figures of the base distillation: tables 3 and 4 of paper 003.

use super::{Objects, run};
use crate::experiments::Experiment;
use crate::experiments::n_seeds;
use crate::ledger::Scale;
use crate::ledger::{Check, Claim, Published, Reference, Side};
use crate::ledger::{Figure, Part, Point, RowSpec};

/// The row that C17 and C24 compare with.
const TRAIN_NONE: &str = "train/none/independent";

/// FashionMNIST-Train.
pub(in crate::experiments) static TRAIN: Experiment = Experiment {
    id: "base-train",
    title: "Base distillation on FashionMNIST-Train",
    source: "003",
    summary: "Teacher [784, 256, 128, 64, 64, 10] and student [784, 64, 10] both see all 60 000 objects; the loss with a \
        teacher is CE + soft CE at T = 1. The source's three \"attempts\" continue one student (60 epochs), which its \
        ± hides; they are repeated as segments of one run, beside independent runs of 20 epochs with a teacher each.",
    data: &["fashion-mnist"],
    settings: |scale| Ok(serde_json::to_value(Objects::Train.settings(scale))?),
    // A seed takes half a minute of a core.
    n_seeds: |scale| if scale == Scale::Quick { 3 } else { n_seeds(scale) },
    extra_parts: &[Part::Source],
    run: |task| run(task, Objects::Train),
    rows: &[
        RowSpec::segments("train/none/segments", "no teacher, as in the source"),
        RowSpec::segments("train/teacher/segments", "with teacher, as in the source"),
        RowSpec::seeds(TRAIN_NONE, "no teacher, independent runs"),
        RowSpec::seeds("train/teacher/independent", "with teacher, independent runs")
            .against(TRAIN_NONE),
        RowSpec::seeds("train/the-teacher/independent", "the teacher itself"),
    ],
    claims: &[Claim {
        id: "C17",
        text: "On FashionMNIST-Train a teacher lowers the student's test cross-entropy and integral criterion and \
            raises its accuracy.",
        published: &[
            published("train/teacher/segments", "cross_entropy", 0.329, 0.002),
            published("train/none/segments", "cross_entropy", 0.384, 0.031),
            published("train/teacher/segments", "accuracy", 0.885, 0.003),
            published("train/none/segments", "accuracy", 0.878, 0.004),
            published("train/teacher/segments", "integral", 6.520, 0.303),
            published("train/none/segments", "integral", 7.151, 0.459),
        ],
        min_seeds: 3,
        checks: &[
            better("cross_entropy", "train/teacher/independent", TRAIN_NONE, Side::Below),
            better("integral", "train/teacher/independent", TRAIN_NONE, Side::Below),
            better("accuracy", "train/teacher/independent", TRAIN_NONE, Side::Above),
            near("cross_entropy", "train/teacher/independent", 0.345, CROSS_ENTROPY_WITHIN),
            near("cross_entropy", TRAIN_NONE, 0.346, CROSS_ENTROPY_WITHIN),
            near("accuracy", "train/teacher/independent", 0.877, ACCURACY_WITHIN),
            near("accuracy", TRAIN_NONE, 0.879, ACCURACY_WITHIN),
        ],
    }],
    point: Point::Epoch,
    figures: &[
        Figure::Curves {
            title: "Test cross-entropy, consecutive segments as in the source (figure 1)",
            metric: "cross_entropy",
            rows: &["train/none/segments", "train/teacher/segments"],
        },
        Figure::Curves {
            title: "Test cross-entropy, independent runs",
            metric: "cross_entropy",
            rows: &[TRAIN_NONE, "train/teacher/independent"],
        },
        Figure::Curves {
            title: "Test accuracy, independent runs",
            metric: "accuracy",
            rows: &[TRAIN_NONE, "train/teacher/independent"],
        },
    ],
};

/// FashionMNIST-Small.
pub(in crate::experiments) static SMALL: Experiment = Experiment {
    id: "base-small",
    title: "Base distillation on FashionMNIST-Small",
    source: "003",
    summary: "The student [784, 64, 10] sees 1000 objects, its teacher [784, 256, 128, 64, 64, 10] the other 59 000 \
        (the source's own split, rebuilt bit for bit); the loss with a teacher is CE + soft CE at T = 1. The source's \
        five \"attempts\" continue one student (100 epochs); they are repeated as segments of one run, beside \
        independent runs of 20 epochs with a teacher each.",
    data: &["fashion-mnist"],
    settings: |scale| Ok(serde_json::to_value(Objects::Small.settings(scale))?),
    n_seeds,
    extra_parts: &[Part::Source],
    run: |task| run(task, Objects::Small),
    rows: &[
        RowSpec::segments("small/none/segments", "no teacher, as in the source"),
        RowSpec::segments("small/teacher-big/segments", "teacher Big, as in the source"),
        RowSpec::seeds("small/none/independent", "no teacher, independent runs"),
        RowSpec::seeds("small/teacher-big/independent", "teacher Big, independent runs")
            .against("small/none/independent"),
        RowSpec::seeds("small/the-teacher/independent", "the teacher itself"),
    ],
    claims: &[
        Claim {
            id: "C18",
            text: "On FashionMNIST-Small the teacher Big lowers the student's test cross-entropy and raises its accuracy.",
            published: &[
                published("small/teacher-big/segments", "cross_entropy", 0.570, 0.014),
                published("small/none/segments", "cross_entropy", 0.666, 0.065),
                published("small/teacher-big/segments", "accuracy", 0.813, 0.007),
                published("small/none/segments", "accuracy", 0.798, 0.005),
                published("small/teacher-big/segments", "integral", 11.484, 1.607),
                published("small/none/segments", "integral", 12.978, 1.797),
            ],
            // The effect is about two standard deviations of a run.
            min_seeds: 10,
            checks: &[
                better(
                    "cross_entropy",
                    "small/teacher-big/independent",
                    "small/none/independent",
                    Side::Below,
                ),
                better(
                    "accuracy",
                    "small/teacher-big/independent",
                    "small/none/independent",
                    Side::Above,
                ),
                near("cross_entropy", "small/teacher-big/independent", 0.592, CROSS_ENTROPY_WITHIN),
                near("cross_entropy", "small/none/independent", 0.617, CROSS_ENTROPY_WITHIN),
                near("accuracy", "small/teacher-big/independent", 0.796, ACCURACY_WITHIN),
                near("accuracy", "small/none/independent", 0.787, ACCURACY_WITHIN),
            ],
        },
        Claim {
            id: "C24",
            text: "More data count for more than a teacher: students of all 60 000 objects beat students of 1000.",
            published: &[],
            min_seeds: 3,
            checks: &[
                better("cross_entropy", TRAIN_NONE, "small/teacher-big/independent", Side::Below),
                better("accuracy", TRAIN_NONE, "small/teacher-big/independent", Side::Above),
                better(
                    "cross_entropy",
                    "train/teacher/independent",
                    "small/teacher-big/independent",
                    Side::Below,
                ),
                better(
                    "accuracy",
                    "train/teacher/independent",
                    "small/teacher-big/independent",
                    Side::Above,
                ),
            ],
        },
    ],
    point: Point::Epoch,
    figures: &[
        Figure::Curves {
            title: "Test cross-entropy, consecutive segments as in the source (figure 2)",
            metric: "cross_entropy",
            rows: &["small/none/segments", "small/teacher-big/segments"],
        },
        Figure::Curves {
            title: "Test cross-entropy, independent runs",
            metric: "cross_entropy",
            rows: &["small/none/independent", "small/teacher-big/independent"],
        },
        Figure::Curves {
            title: "Test accuracy, independent runs",
            metric: "accuracy",
            rows: &["small/none/independent", "small/teacher-big/independent"],
        },
    ],
};

/// Tolerance of a re-simulated accuracy.
const ACCURACY_WITHIN: f64 = 0.006;
/// Tolerance of a re-simulated cross-entropy.
const CROSS_ENTROPY_WITHIN: f64 = 0.015;

const fn published(row: &'static str, metric: &'static str, mean: f64, std: f64) -> Published {
    Published { row, metric, mean, std: Some(std) }
}

const fn better(metric: &'static str, row: &'static str, than: &'static str, side: Side) -> Check {
    Check::Better { metric, row, than, side }
}

const fn near(metric: &'static str, row: &'static str, value: f64, within: f64) -> Check {
    Check::Near { metric, row, value, of: Reference::Resimulation, within }
}
