//! Rows, claims and figures of the regression across domains: tables 14 to 18 of paper 003, and the corrected task.

use super::{run, settings};
use crate::experiments::Experiment;
use crate::experiments::n_seeds;
use crate::ledger::{Check, Claim, Figure, Part, Point, Published, RowSpec, metric};

/// The regression tables.
pub(in crate::experiments) static REGRESSION: Experiment = Experiment {
    id: "domains-regression",
    title: "Teachers of another domain: regression",
    source: "003",
    summary: "Students [100, 32, 1] of 300 objects, teachers [100, 256, 128, 64, 64, 1] of 8700, with φ = sin or without. The \
        source's target is independent of the features, and its error compares every prediction with every target of \
        a batch (predictions (m, 1) met targets (m,)): the best network is a constant, and the test error the variance of the \
        target. Both mistakes are repeated in the rows \"as in the source\". The corrected task has y = tanh(1.5 w·x) + noise \
        with w ~ N(0, 1/100), noise of deviation 0.1, 0.5 and 1 in every label, teacher's and student's, and the right \
        error; MSE above the noise is measured against the function itself.",
    data: &[],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    n_seeds,
    extra_parts: &[Part::Shared, Part::Source],
    run,
    rows: &[
        RowSpec::segments("regression/train-none/segments", "Train, no teacher, as in the source"),
        RowSpec::segments(
            "regression/train-teacher/segments",
            "Train, with teacher, as in the source",
        ),
        RowSpec::segments("regression/small-none/segments", "Small, no teacher, as in the source"),
        RowSpec::segments("regression/small-big/segments", "Small, teacher Big, as in the source"),
        RowSpec::segments(
            "regression/small-sine/segments",
            "Small, teacher of sin x, as in the source",
        ),
        RowSpec::single("regression/constant/one", "the training mean for every object"),
        RowSpec::seeds("regression/0.1/none/20", "noise 0.1, no teacher, 20 epochs"),
        RowSpec::seeds("regression/0.1/big/20", "noise 0.1, teacher Big, 20 epochs")
            .against("regression/0.1/none/20"),
        RowSpec::seeds("regression/0.1/sine/20", "noise 0.1, teacher of sin x, 20 epochs")
            .against("regression/0.1/none/20"),
        RowSpec::seeds(
            "regression/0.1/sine-without-map/20",
            "noise 0.1, teacher of sin x without φ, 20 epochs",
        )
        .against("regression/0.1/none/20"),
        RowSpec::seeds(
            "regression/0.1/sine-random-map/20",
            "noise 0.1, teacher of sin x, random φ, 20 epochs",
        )
        .against("regression/0.1/none/20"),
        RowSpec::seeds("regression/0.5/none/20", "noise 0.5, no teacher, 20 epochs"),
        RowSpec::seeds("regression/0.5/big/20", "noise 0.5, teacher Big, 20 epochs")
            .against("regression/0.5/none/20"),
        RowSpec::seeds("regression/0.5/sine/20", "noise 0.5, teacher of sin x, 20 epochs")
            .against("regression/0.5/none/20"),
        RowSpec::seeds(
            "regression/0.5/sine-without-map/20",
            "noise 0.5, teacher of sin x without φ, 20 epochs",
        )
        .against("regression/0.5/none/20"),
        RowSpec::seeds(
            "regression/0.5/sine-random-map/20",
            "noise 0.5, teacher of sin x, random φ, 20 epochs",
        )
        .against("regression/0.5/none/20"),
        RowSpec::seeds("regression/1.0/none/20", "noise 1, no teacher, 20 epochs"),
        RowSpec::seeds("regression/1.0/big/20", "noise 1, teacher Big, 20 epochs")
            .against("regression/1.0/none/20"),
        RowSpec::seeds("regression/1.0/sine/20", "noise 1, teacher of sin x, 20 epochs")
            .against("regression/1.0/none/20"),
        RowSpec::seeds(
            "regression/1.0/sine-without-map/20",
            "noise 1, teacher of sin x without φ, 20 epochs",
        )
        .against("regression/1.0/none/20"),
        RowSpec::seeds(
            "regression/1.0/sine-random-map/20",
            "noise 1, teacher of sin x, random φ, 20 epochs",
        )
        .against("regression/1.0/none/20"),
        RowSpec::seeds("regression/0.1/none/60", "noise 0.1, no teacher, 60 epochs"),
        RowSpec::seeds("regression/0.1/big/60", "noise 0.1, teacher Big, 60 epochs")
            .against("regression/0.1/none/60"),
        RowSpec::seeds("regression/0.1/sine/60", "noise 0.1, teacher of sin x, 60 epochs")
            .against("regression/0.1/none/60"),
        RowSpec::seeds("regression/0.5/none/60", "noise 0.5, no teacher, 60 epochs"),
        RowSpec::seeds("regression/0.5/big/60", "noise 0.5, teacher Big, 60 epochs")
            .against("regression/0.5/none/60"),
        RowSpec::seeds("regression/0.5/sine/60", "noise 0.5, teacher of sin x, 60 epochs")
            .against("regression/0.5/none/60"),
        RowSpec::seeds("regression/1.0/none/60", "noise 1, no teacher, 60 epochs"),
        RowSpec::seeds("regression/1.0/big/60", "noise 1, teacher Big, 60 epochs")
            .against("regression/1.0/none/60"),
        RowSpec::seeds("regression/1.0/sine/60", "noise 1, teacher of sin x, 60 epochs")
            .against("regression/1.0/none/60"),
    ],
    claims: &[Claim {
        id: "C26",
        text: "Regression: the published errors are the variance of a target that is noise. With a function to learn, the \
                teacher lowers the error of Small where the labels are noisy (deviation 0.5 and 1), and not where it is 0.1.",
        published: &[
            published("regression/small-big/segments", 1.0753, 0.0004),
            published("regression/train-none/segments", 1.0646, 0.0003),
            published("regression/train-teacher/segments", 1.0644, 0.0001),
            published("regression/small-none/segments", 1.0790, 0.0004),
            published("regression/small-sine/segments", 1.0763, 0.0004),
        ],
        min_seeds: 10,
        checks: &[
            Check::Exact {
                metric: metric::SQUARED_ERROR,
                row: "regression/constant/one",
                value: 1.064_36,
                tolerance: 5e-6,
            },
            lower("regression/0.5/big/20", "regression/0.5/none/20"),
            lower("regression/1.0/big/20", "regression/1.0/none/20"),
            Check::NoGain {
                metric: metric::EXCESS,
                row: "regression/0.1/big/20",
                over: "regression/0.1/none/20",
                margin: NO_GAIN_MARGIN,
            },
        ],
    }],
    point: Point::Epoch,
    figures: &[
        Figure::Curves {
            title: "Test MSE on all of Train, as in the source (figure 15)",
            metric: metric::SQUARED_ERROR,
            rows: &["regression/train-none/segments", "regression/train-teacher/segments"],
        },
        Figure::Curves {
            title: "Test MSE on Small, as in the source (figures 16 and 17)",
            metric: metric::SQUARED_ERROR,
            rows: &[
                "regression/small-none/segments",
                "regression/small-big/segments",
                "regression/small-sine/segments",
            ],
        },
        Figure::Curves {
            title: "MSE above the noise, noise 1",
            metric: metric::EXCESS,
            rows: &["regression/1.0/none/60", "regression/1.0/big/60", "regression/1.0/sine/60"],
        },
        Figure::Curves {
            title: "MSE above the noise, noise 0.1",
            metric: metric::EXCESS,
            rows: &["regression/0.1/none/60", "regression/0.1/big/60", "regression/0.1/sine/60"],
        },
    ],
};

/// A gain at noise 0.1 that counts: the variance of that noise.
const NO_GAIN_MARGIN: f64 = 0.01;

const fn published(row: &'static str, mean: f64, std: f64) -> Published {
    Published::new(row, metric::SQUARED_ERROR, mean, std)
}

const fn lower(row: &'static str, than: &'static str) -> Check {
    Check::better(metric::EXCESS, row, than)
}
