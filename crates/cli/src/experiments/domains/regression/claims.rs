//! Rows, claims and figures of the regression across domains: tables 14 to 18 of paper 003, and the corrected task.

use super::{run, settings};
use crate::experiments::{Experiment, Parts};
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
    parts: Parts::USUAL.and(&[Part::Shared, Part::Source]),
    run,
    rows: rows!(
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
        RowSpec::single("regression/constant/one", "the training mean for every object");
        [("regression/0.1", "noise 0.1, ") ("regression/0.5", "noise 0.5, ") ("regression/1.0", "noise 1, ")] {
            { "none/20" => "no teacher, 20 epochs"; }
            against "none/20" {
                "big/20" => "teacher Big, 20 epochs";
                "sine/20" => "teacher of sin x, 20 epochs";
                "sine-without-map/20" => "teacher of sin x without φ, 20 epochs";
                "sine-random-map/20" => "teacher of sin x, random φ, 20 epochs";
            }
        }
        [("regression/0.1", "noise 0.1, ") ("regression/0.5", "noise 0.5, ") ("regression/1.0", "noise 1, ")] {
            { "none/60" => "no teacher, 60 epochs"; }
            against "none/60" {
                "big/60" => "teacher Big, 60 epochs";
                "sine/60" => "teacher of sin x, 60 epochs";
            }
        }
    ),
    claims: &[Claim {
        id: "C26",
        text: "Regression: the published errors are the variance of a target that is noise. With a function to learn, the \
                teacher lowers the error of Small where the labels are noisy (deviation 0.5 and 1), and not where it is 0.1.",
        published: &[
            Published::new("regression/small-big/segments", metric::SQUARED_ERROR, 1.0753, 0.0004),
            Published::new("regression/train-none/segments", metric::SQUARED_ERROR, 1.0646, 0.0003),
            Published::new(
                "regression/train-teacher/segments",
                metric::SQUARED_ERROR,
                1.0644,
                0.0001,
            ),
            Published::new("regression/small-none/segments", metric::SQUARED_ERROR, 1.0790, 0.0004),
            Published::new("regression/small-sine/segments", metric::SQUARED_ERROR, 1.0763, 0.0004),
        ],
        min_seeds: 10,
        checks: &[
            Check::exact(metric::SQUARED_ERROR, "regression/constant/one", 1.064_36, 5e-6),
            Check::better(metric::EXCESS, "regression/0.5/big/20", "regression/0.5/none/20"),
            Check::better(metric::EXCESS, "regression/1.0/big/20", "regression/1.0/none/20"),
            Check::no_gain(
                metric::EXCESS,
                "regression/0.1/big/20",
                "regression/0.1/none/20",
                NO_GAIN_MARGIN,
            ),
        ],
    }],
    point: Point::Epoch,
    figures: &[
        Figure::curves(
            "Test MSE on all of Train, as in the source (figure 15)",
            metric::SQUARED_ERROR,
            &["regression/train-none/segments", "regression/train-teacher/segments"],
        ),
        Figure::curves(
            "Test MSE on Small, as in the source (figures 16 and 17)",
            metric::SQUARED_ERROR,
            &[
                "regression/small-none/segments",
                "regression/small-big/segments",
                "regression/small-sine/segments",
            ],
        ),
        Figure::curves(
            "MSE above the noise, noise 1",
            metric::EXCESS,
            &["regression/1.0/none/60", "regression/1.0/big/60", "regression/1.0/sine/60"],
        ),
        Figure::curves(
            "MSE above the noise, noise 0.1",
            metric::EXCESS,
            &["regression/0.1/none/60", "regression/0.1/big/60", "regression/0.1/sine/60"],
        ),
    ],
};

/// A gain at noise 0.1 that counts: the variance of that noise.
const NO_GAIN_MARGIN: f64 = 0.01;
