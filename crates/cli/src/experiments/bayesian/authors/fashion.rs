//! FashionMNIST: table 2 and figure 3 of paper 001, and the run that they leave out.

use super::{ALL_ARMS, BASIC_ARMS, Cut, Protocol, Settings, Student};
use crate::experiments::Experiment;
use crate::ledger::{Check, Claim, Figure, Metric, Point, Published, RowSpec, Scale, metric};
use crate::training::at_most;

pub(in crate::experiments) const TEACHER_ROW: &str = "bayes/fashion-teacher";
const TEACHER: [usize; 4] = [784, 800, 50, 10];
/// α
const KL_WEIGHT: f64 = 0.2;
/// Runs behind each re-simulated number.
const N_REFERENCE: usize = 3;

pub(in crate::experiments) static STUDENTS: [Student; 2] = [
    Student {
        id: "bayes/784-50-10",
        cut: Cut { student: &[784, 50, 10], removed: Some(2) },
        arms: ALL_ARMS,
    },
    Student {
        id: "bayes/784-30-10-10",
        cut: Cut { student: &[784, 30, 10, 10], removed: None },
        arms: BASIC_ARMS,
    },
];

fn settings(scale: Scale) -> Settings {
    match scale {
        Scale::Smoke => Settings { epochs: 1, most_examples: Some([1600, 500]) },
        Scale::Quick | Scale::Paper => Settings { epochs: 2, most_examples: None },
    }
}

/// Row 3 of table 2.
pub(in crate::experiments) static FASHION: Experiment = Experiment {
    id: "bayes-authors-fashion",
    title: "Bayesian distillation on FashionMNIST, as the authors ran it",
    source: "001, 000",
    summary: "Teacher [784, 800, 50, 10] and students [784, 50, 10], a layer removed, and [784, 30, 10, 10], units removed; \
        all 60 000 objects, 2 epochs of batches of 8 (15 000 iterations), α = 0.2. Everything else is as in the synthetic \
        experiment: no sampling, a prior that is trained along, KL + cross-entropy / batch size. The second student was \
        run by the authors and not reported.",
    data: &["fashion-mnist"],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    // A seed takes minutes of a core, most of them for its teacher of 668 560 parameters.
    n_seeds: |scale| match scale {
        Scale::Smoke => 2,
        Scale::Quick => 3,
        Scale::Paper => 10,
    },
    extra_parts: &[],
    run: |task| {
        let Settings { epochs, most_examples } = settings(task.session.scale);
        let [most_train, most_test] = most_examples.unwrap_or([usize::MAX; 2]);
        let images = task.session.images("fashion-mnist")?;
        let protocol = Protocol {
            teacher: &TEACHER,
            teacher_row: TEACHER_ROW,
            students: &STUDENTS,
            kl_weight: KL_WEIGHT,
            epochs,
            train: &at_most(&images.train, most_train)?,
            test: &at_most(&images.test, most_test)?,
        };
        protocol.run(task)
    },
    rows: rows!(
        RowSpec::seeds(TEACHER_ROW, "teacher [784, 800, 50, 10]");
        "bayes/784-50-10" "[784, 50, 10]"
            [plain scrambled all_scrambled correct all_correct zero_prior]
        "bayes/784-30-10-10" "[784, 30, 10, 10]"
            [plain scrambled all_scrambled correct]
    ),
    claims: &[
        Claim {
            id: "C3",
            text: "FashionMNIST, a layer removed, [784, 50, 10]: the likelihood of the distilled student encloses a larger \
                area than the plain one's. (Published is one run with scrambled weights; table 2 prints its two numbers \
                in each other's columns.)",
            published: &[
                Published::plain("bayes/784-50-10/distil/scrambled", metric::AREA_GAIN, 1145.0),
                Published::plain("bayes/784-50-10/distil-all/scrambled", metric::AREA_GAIN, 1165.0),
                Published::plain("bayes/784-50-10/student", metric::AREA, -12336.3),
                Published::plain("bayes/784-50-10/distil/scrambled", metric::AREA, -11191.1),
                Published::plain("bayes/784-50-10/distil-all/scrambled", metric::AREA, -11170.6),
                Published::plain(TEACHER_ROW, metric::AREA, -11335.9),
            ],
            min_seeds: 3,
            checks: &[
                Check::better(
                    metric::AREA,
                    "bayes/784-50-10/distil/scrambled",
                    "bayes/784-50-10/student",
                ),
                Check::better(
                    metric::AREA,
                    "bayes/784-50-10/distil/correct",
                    "bayes/784-50-10/student",
                ),
                reference(metric::AREA_GAIN, "bayes/784-50-10/distil/scrambled", 1150.0, 90.0),
                reference(metric::AREA_GAIN, "bayes/784-50-10/distil/correct", 1441.0, 240.0),
                reference(metric::AREA, "bayes/784-50-10/student", -12523.0, 43.0),
            ],
        },
        Claim {
            id: "C5",
            text: "FashionMNIST, units removed, [784, 30, 10, 10]: the distilled student, with scrambled weights, loses area \
                against the plain one. (Ours, not the paper's: the numbers are the authors' unreported run. Inconclusive \
                means that the seeds do not tell the sign.)",
            published: &[
                Published::plain("bayes/784-30-10-10/distil/scrambled", metric::AREA_GAIN, -1663.0),
                Published::plain(
                    "bayes/784-30-10-10/distil-all/scrambled",
                    metric::AREA_GAIN,
                    -1660.7,
                ),
                Published::plain("bayes/784-30-10-10/student", metric::AREA, -18133.1),
                Published::plain("bayes/784-30-10-10/distil/scrambled", metric::AREA, -19796.1),
                Published::plain("bayes/784-30-10-10/distil-all/scrambled", metric::AREA, -19793.8),
            ],
            min_seeds: 3,
            checks: &[Check::better(
                metric::AREA,
                "bayes/784-30-10-10/student",
                "bayes/784-30-10-10/distil/scrambled",
            )],
        },
    ],
    point: Point::Iterations(super::EVERY),
    figures: &[
        Figure::Cross {
            title: "Table 2 of paper 001: area under the test log-likelihood gained over the plain student",
            metric: metric::AREA_GAIN,
            columns: super::CROSS_COLUMNS,
            rows: &[
                ("[784, 50, 10], a layer removed", cross!("bayes/784-50-10")),
                ("[784, 30, 10, 10], units removed", cross!("bayes/784-30-10-10")),
            ],
        },
        Figure::Curves {
            title: "Figure 3, left: test log-likelihood of [784, 50, 10]",
            metric: metric::LOG_LIKELIHOOD,
            rows: curves!(TEACHER_ROW, "bayes/784-50-10"),
        },
        Figure::Curves {
            title: "Figure 3, right: KL from the prior, [784, 50, 10]",
            metric: metric::DIVERGENCE,
            rows: curves!(TEACHER_ROW, "bayes/784-50-10"),
        },
        Figure::Curves {
            title: "Not in the papers: test log-likelihood of [784, 30, 10, 10]",
            metric: metric::LOG_LIKELIHOOD,
            rows: curves!(TEACHER_ROW, "bayes/784-30-10-10"),
        },
    ],
};

const fn reference(metric: Metric, row: &'static str, mean: f64, std: f64) -> Check {
    Check::matches(metric, row, mean, std, N_REFERENCE)
}
