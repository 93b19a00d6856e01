//! Rows, claims and figures of the base distillation: tables 3 and 4 of paper 003.

use super::{Objects, run};
use crate::experiments::{Experiment, Parts};
use crate::ledger::{Check, Claim, Figure, Part, Point, Published, RowSpec, metric};

/// Rows that checks name.
const TRAIN_NONE: &str = "train/none/independent";
const TRAIN_TEACHER: &str = "train/teacher/independent";
const SMALL_NONE: &str = "small/none/independent";
const SMALL_TEACHER: &str = "small/teacher-big/independent";

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
    parts: Parts::seeds(3, 20).and(&[Part::Source]),
    run: |task| run(task, Objects::Train),
    rows: &[
        RowSpec::segments("train/none/segments", "no teacher, as in the source"),
        RowSpec::segments("train/teacher/segments", "with teacher, as in the source"),
        RowSpec::seeds(TRAIN_NONE, "no teacher, independent runs"),
        RowSpec::seeds(TRAIN_TEACHER, "with teacher, independent runs").against(TRAIN_NONE),
        RowSpec::seeds("train/the-teacher/independent", "the teacher itself"),
    ],
    claims: &[Claim {
        id: "C17",
        text: "On FashionMNIST-Train a teacher lowers the student's test cross-entropy and integral criterion and \
            raises its accuracy.",
        published: &[
            Published::new("train/teacher/segments", metric::CROSS_ENTROPY, 0.329, 0.002),
            Published::new("train/none/segments", metric::CROSS_ENTROPY, 0.384, 0.031),
            Published::new("train/teacher/segments", metric::ACCURACY, 0.885, 0.003),
            Published::new("train/none/segments", metric::ACCURACY, 0.878, 0.004),
            Published::new("train/teacher/segments", metric::INTEGRAL, 6.520, 0.303),
            Published::new("train/none/segments", metric::INTEGRAL, 7.151, 0.459),
        ],
        min_seeds: 3,
        checks: &[
            Check::better(metric::CROSS_ENTROPY, TRAIN_TEACHER, TRAIN_NONE),
            Check::better(metric::INTEGRAL, TRAIN_TEACHER, TRAIN_NONE),
            Check::better(metric::ACCURACY, TRAIN_TEACHER, TRAIN_NONE),
            Check::near_resimulation(
                metric::CROSS_ENTROPY,
                TRAIN_TEACHER,
                0.345,
                CROSS_ENTROPY_WITHIN,
            ),
            Check::near_resimulation(
                metric::CROSS_ENTROPY,
                TRAIN_NONE,
                0.346,
                CROSS_ENTROPY_WITHIN,
            ),
            Check::near_resimulation(metric::ACCURACY, TRAIN_TEACHER, 0.877, ACCURACY_WITHIN),
            Check::near_resimulation(metric::ACCURACY, TRAIN_NONE, 0.879, ACCURACY_WITHIN),
        ],
    }],
    point: Point::Epoch,
    figures: &[
        Figure::curves(
            "Test cross-entropy, consecutive segments as in the source (figure 1)",
            metric::CROSS_ENTROPY,
            &["train/none/segments", "train/teacher/segments"],
        ),
        Figure::curves(
            "Test cross-entropy, independent runs",
            metric::CROSS_ENTROPY,
            &[TRAIN_NONE, TRAIN_TEACHER],
        ),
        Figure::curves(
            "Test accuracy, independent runs",
            metric::ACCURACY,
            &[TRAIN_NONE, TRAIN_TEACHER],
        ),
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
    parts: Parts::USUAL.and(&[Part::Source]),
    run: |task| run(task, Objects::Small),
    rows: &[
        RowSpec::segments("small/none/segments", "no teacher, as in the source"),
        RowSpec::segments("small/teacher-big/segments", "teacher Big, as in the source"),
        RowSpec::seeds(SMALL_NONE, "no teacher, independent runs"),
        RowSpec::seeds(SMALL_TEACHER, "teacher Big, independent runs").against(SMALL_NONE),
        RowSpec::seeds("small/the-teacher/independent", "the teacher itself"),
    ],
    claims: &[
        Claim {
            id: "C18",
            text: "On FashionMNIST-Small the teacher Big lowers the student's test cross-entropy and raises its accuracy.",
            published: &[
                Published::new("small/teacher-big/segments", metric::CROSS_ENTROPY, 0.570, 0.014),
                Published::new("small/none/segments", metric::CROSS_ENTROPY, 0.666, 0.065),
                Published::new("small/teacher-big/segments", metric::ACCURACY, 0.813, 0.007),
                Published::new("small/none/segments", metric::ACCURACY, 0.798, 0.005),
                Published::new("small/teacher-big/segments", metric::INTEGRAL, 11.484, 1.607),
                Published::new("small/none/segments", metric::INTEGRAL, 12.978, 1.797),
            ],
            // The effect is about two standard deviations of a run.
            min_seeds: 10,
            checks: &[
                Check::better(metric::CROSS_ENTROPY, SMALL_TEACHER, SMALL_NONE),
                Check::better(metric::ACCURACY, SMALL_TEACHER, SMALL_NONE),
                Check::near_resimulation(
                    metric::CROSS_ENTROPY,
                    SMALL_TEACHER,
                    0.592,
                    CROSS_ENTROPY_WITHIN,
                ),
                Check::near_resimulation(
                    metric::CROSS_ENTROPY,
                    SMALL_NONE,
                    0.617,
                    CROSS_ENTROPY_WITHIN,
                ),
                Check::near_resimulation(metric::ACCURACY, SMALL_TEACHER, 0.796, ACCURACY_WITHIN),
                Check::near_resimulation(metric::ACCURACY, SMALL_NONE, 0.787, ACCURACY_WITHIN),
            ],
        },
        Claim {
            id: "C24",
            text: "More data count for more than a teacher: students of all 60 000 objects beat students of 1000.",
            published: &[],
            min_seeds: 3,
            checks: &[
                Check::better(metric::CROSS_ENTROPY, TRAIN_NONE, SMALL_TEACHER),
                Check::better(metric::ACCURACY, TRAIN_NONE, SMALL_TEACHER),
                Check::better(metric::CROSS_ENTROPY, TRAIN_TEACHER, SMALL_TEACHER),
                Check::better(metric::ACCURACY, TRAIN_TEACHER, SMALL_TEACHER),
            ],
        },
    ],
    point: Point::Epoch,
    figures: &[
        Figure::curves(
            "Test cross-entropy, consecutive segments as in the source (figure 2)",
            metric::CROSS_ENTROPY,
            &["small/none/segments", "small/teacher-big/segments"],
        ),
        Figure::curves(
            "Test cross-entropy, independent runs",
            metric::CROSS_ENTROPY,
            &[SMALL_NONE, SMALL_TEACHER],
        ),
        Figure::curves(
            "Test accuracy, independent runs",
            metric::ACCURACY,
            &[SMALL_NONE, SMALL_TEACHER],
        ),
    ],
};

/// Tolerance of a re-simulated accuracy.
const ACCURACY_WITHIN: f64 = 0.006;
/// Tolerance of a re-simulated cross-entropy.
const CROSS_ENTROPY_WITHIN: f64 = 0.015;
