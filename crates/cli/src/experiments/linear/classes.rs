//! Papers 004 and 000, synthetic classification: a linear student of a teacher that knows the class probabilities.

use crate::data::synthetic::{N_CLASSES, N_FEATURES, SyntheticClasses};
use crate::ledger::{
    Check, Claim, Figure, FiniteOrNull, Part, Point, Published, RowSpec, metric, stats,
};
use anyhow::Result;
use candle_core::Tensor;
use core_tensors::kernels::Activation;
use core_tensors::{Dataset, Fit, Rng};
use losses::{ClassReduction, Distillation, Normalizer, Predictions};
use models::{Architecture, Mlp};

use crate::experiments::{Experiment, Outcome, Parts, Task};
use crate::training::{Examination, LinearStudents, Record};

/// Examples a batch.
const BATCH: usize = 64;
/// Step size of Adam.
const LEARNING_RATE: f64 = 1e-3;
/// λ of the table.
const LAMBDA: f64 = 0.75;
/// Temperature of the teacher in the code; the text says 1.
const HOT: f64 = 10.0;
/// Test examples of the image of distributions.
const N_SHOWN: usize = 20;
/// Temperatures of the λ-T image; the teacher's alone.
const TEMPERATURES: [f64; 6] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0];
/// λ of the λ-T image.
const LAMBDAS: [f64; 11] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
/// Its test examples, from 0.
const GRID_EXAMPLES: [usize; 3] = [4, 8, 16];

settings! {
    epochs: usize = 5, 200;
}

/// The loss of the code: temperature on the teacher's side alone, mean over classes.
fn code(lambda: f64, temperature: f64) -> Distillation {
    Distillation {
        class_reduction: ClassReduction::Mean,
        ..Distillation::generalized(lambda, temperature)
    }
}

/// The arms of the table.
fn arms() -> [(&'static str, Distillation); 8] {
    let normalized = |normalizer| Distillation { normalizer, ..Distillation::convex(LAMBDA, 1.0) };
    [
        ("classes/none", Distillation::labels_only()),
        ("classes/teacher-code", code(LAMBDA, HOT)),
        ("classes/teacher-t1", Distillation::convex(LAMBDA, 1.0)),
        ("classes/teacher-squared", Distillation::hinton(LAMBDA, HOT)),
        (
            "classes/four-term",
            Distillation {
                class_reduction: ClassReduction::Sum,
                ..Distillation::four_term(LAMBDA, 1.0)
            },
        ),
        ("classes/orthant", normalized(Normalizer::Orthant)),
        ("classes/cube", normalized(Normalizer::Cube)),
        ("classes/simplex", normalized(Normalizer::Simplex)),
    ]
}

fn run(task: &Task) -> Result<Outcome> {
    let settings = settings(task.session.scale);
    let data = SyntheticClasses::new(&task.session.device)?;
    // The teacher is the generator itself: its logits are x W.
    let taught = data.train.clone().with_teacher(BATCH, |x| x.matmul(&data.weights))?;
    let truth = data.test.x().matmul(&data.weights)?;
    let mut exam = Examination::new(&data.test)?;
    exam.truth = Some(Predictions::new(&truth)?);

    match task.part {
        Part::Shared => truths(&truth, &exam),
        Part::Source | Part::Seed(_) => learn(task, settings, &taught, &exam),
    }
}

/// Trains every student of a seed at once, the arms of the table and the cells of the λ-T image.
fn learn(task: &Task, settings: Settings, taught: &Dataset, exam: &Examination) -> Result<Outcome> {
    task.expect_epochs(settings.epochs);
    let student =
        Mlp { widths: vec![N_FEATURES, N_CLASSES], activation: Activation::Identity, bias: true };
    let arms = arms();
    let cells = cells();
    let losses: Vec<Distillation> = arms
        .iter()
        .map(|(_, loss)| *loss)
        .chain(cells.iter().map(|&(temperature, lambda)| code(lambda, temperature)))
        .collect();
    let rng = Rng::new(task.part.seed()).split("synthetic-classes");
    let start = student.init(&mut rng.split("student"), &task.session.device)?;
    let students = LinearStudents {
        student: &student,
        fit: Fit { epochs: settings.epochs, batch_size: BATCH },
        learning_rate: LEARNING_RATE,
        losses: &losses,
    };
    let mut records: Vec<Record> = arms.iter().map(|_| Record::default()).collect();
    let mut predictions = Vec::new();
    students.train(task, &start, taught, &mut rng.split("batches"), exam.x(), |students| {
        // The cells of the image need their end alone.
        for ((p, epoch), record) in students.iter().zip(&mut records) {
            exam.take(p, *epoch, record)?;
        }
        predictions = students.into_iter().map(|(p, _)| p).collect();
        Ok(())
    })?;

    let mut outcome = Outcome::default();
    let (of_arms, of_cells) = predictions.split_at(arms.len());
    for (((row, _), mut record), p) in arms.iter().zip(records).zip(of_arms) {
        record.push(metric::MAX_MIN, stats::mean(&p.spreads()));
        outcome.add(row, record.finish()?);
        let shown = (0..N_SHOWN).filter_map(|i| p.probabilities(i)).flatten().copied().collect();
        outcome.numbers.arrays.insert(format!("distributions {row}"), FiniteOrNull(shown));
    }
    for (&(temperature, lambda), p) in cells.iter().zip(of_cells) {
        let spread = (metric::MAX_MIN.key(), vec![stats::mean(&p.spreads())]);
        outcome.add(&format!("grid/T{temperature}/lambda{lambda}"), [spread].into());
    }
    let map = |example: usize, class: usize| {
        of_cells.iter().map(move |p| {
            p.probabilities(example).and_then(|g| g.get(class)).copied().unwrap_or(f64::NAN)
        })
    };
    let maps = GRID_EXAMPLES
        .into_iter()
        .flat_map(|example| (0..N_CLASSES).flat_map(move |class| map(example, class)))
        .collect();
    outcome.numbers.arrays.insert("lambda-T".into(), FiniteOrNull(maps));
    Ok(outcome)
}

/// Temperature and λ of every cell of the λ-T image, row by row.
fn cells() -> Vec<(f64, f64)> {
    TEMPERATURES.into_iter().flat_map(|t| LAMBDAS.into_iter().map(move |l| (t, l))).collect()
}

/// What needs no training: the generator's own quality, and its probabilities for the images.
fn truths(logits: &Tensor, exam: &Examination) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    if let Some(p) = &exam.truth {
        let mut metrics = exam.once(p)?;
        metrics.insert(metric::MAX_MIN.key(), vec![stats::mean(&p.spreads())]);
        outcome.add("classes/truth", metrics);
    }
    for (name, temperature) in [("truth", 1.0), ("truth at T = 10", HOT)] {
        let p = Predictions::new(&(logits / temperature)?)?;
        let shown = (0..N_SHOWN).filter_map(|i| p.probabilities(i)).flatten().copied().collect();
        outcome.numbers.arrays.insert(format!("distributions {name}"), FiniteOrNull(shown));
    }
    Ok(outcome)
}

/// Papers 004 and 000, synthetic classification.
pub(in crate::experiments) static SYNTHETIC_CLASSES: Experiment = Experiment {
    id: "synthetic-classes",
    title: "Synthetic classification with known class probabilities",
    source: "004, 000",
    summary: "x ~ N(0, I) with ten features, three classes from softmax(x W), 1000 training and 1000 test objects (the \
        documents print 100), rebuilt bit for bit. The teacher is the generator. The code heats it to T = 10 while the \
        student stays at T = 1, and takes the mean over classes; the text says T₀ = 1. Both stand here, with T² at T = 10 \
        on both sides as Hinton has it, and the fourth term; and the \
        densities of the teacher's answers that do integrate to 1, over the orthant, the cube and the simplex, at T = 1. \"Real cross-entropy\" is against the true probabilities of \
        all test objects; the code's own compared other rows of 40 objects with a heated truth.",
    data: &[],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::USUAL.and(&[Part::Shared]),
    run,
    rows: rows!(
        [("classes")] {
            { "none" => "no teacher"; }
            against "none" {
                "teacher-code" => "teacher at T = 10, student at 1 (as in the code)";
                "teacher-t1" => "teacher at T = 1 (as in the text)";
                "teacher-squared" => "both at T = 10, with T²";
                "four-term" => "four-term loss at T = 1";
            }
            against "teacher-t1" {
                "orthant" => "T = 1, normalised over the orthant";
                "cube" => "T = 1, normalised over the cube";
                "simplex" => "T = 1, normalised over the simplex";
            }
        }
        ;
        RowSpec::single("classes/truth", "the true probabilities"),
    ),
    claims: &[
        Claim {
            id: "C12",
            text: "A student with a teacher is closer to the true class probabilities. (Checked at the code's setting, \
                which made the published table, at the text's T₀ = 1, and at T = 10 with T². The source's own measure, a \
                \"real cross-entropy\" of 2.635 ± 1.21 without and 1.1696 ± 0.0476 with a teacher, compares rows that do not \
                belong together with a heated truth, and is not repeated.)",
            published: &[],
            min_seeds: 3,
            checks: &[
                closer("classes/teacher-code"),
                closer("classes/teacher-t1"),
                closer("classes/teacher-squared"),
            ],
        },
        Claim {
            id: "C13",
            text: "A hot teacher flattens the student's probabilities: max − min is smaller with it, falls as T grows, \
                and falls as λ grows.",
            published: &[
                Published::new("classes/teacher-code", metric::MAX_MIN, CODE_SPREAD, 0.203),
                Published::new("classes/none", metric::MAX_MIN, NONE_SPREAD, 0.218),
            ],
            min_seeds: 3,
            checks: &[
                flatter("classes/teacher-code", "classes/none"),
                Check::near_paper(
                    metric::MAX_MIN,
                    "classes/teacher-code",
                    CODE_SPREAD,
                    SPREAD_WITHIN,
                ),
                Check::near_paper(metric::MAX_MIN, "classes/none", NONE_SPREAD, SPREAD_WITHIN),
                flatter("grid/T2/lambda1", "grid/T1/lambda1"),
                flatter("grid/T4/lambda1", "grid/T2/lambda1"),
                flatter("grid/T8/lambda1", "grid/T4/lambda1"),
                flatter("grid/T8/lambda0.5", "grid/T8/lambda0"),
                flatter("grid/T8/lambda1", "grid/T8/lambda0.5"),
            ],
        },
        Claim {
            id: "C14",
            text: "The test cross-entropy on hard labels is worse with the teacher at T = 10.",
            published: &[
                Published::new("classes/teacher-code", metric::CROSS_ENTROPY, CODE_CE, 0.00011),
                Published::new("classes/none", metric::CROSS_ENTROPY, NONE_CE, 0.0026),
                Published::new("classes/teacher-code", metric::ACCURACY, 0.828, 0.0024),
                Published::new("classes/none", metric::ACCURACY, 0.8308, 0.0028),
            ],
            min_seeds: 3,
            checks: &[
                Check::better(metric::CROSS_ENTROPY, "classes/none", "classes/teacher-code"),
                Check::near_paper(
                    metric::CROSS_ENTROPY,
                    "classes/teacher-code",
                    CODE_CE,
                    CE_WITHIN,
                ),
                Check::near_paper(metric::CROSS_ENTROPY, "classes/none", NONE_CE, CE_WITHIN),
            ],
        },
    ],
    point: Point::Epoch,
    figures: &[
        Figure::Strips {
            title: "Class probabilities of the first 20 test objects, 0 white to 1 black; rows are classes",
            n_classes: N_CLASSES,
            strips: &[
                ("distributions truth", "truth"),
                (
                    "distributions truth at T = 10",
                    "truth at T = 10, which the source shows as the truth",
                ),
                ("distributions classes/none", "no teacher"),
                ("distributions classes/teacher-code", "teacher, code's setting"),
                ("distributions classes/teacher-t1", "teacher, T = 1"),
                ("distributions classes/teacher-squared", "teacher, T = 10 with T²"),
                ("distributions classes/four-term", "teacher, T = 1, four-term loss"),
                ("distributions classes/orthant", "teacher, T = 1, normalised over the orthant"),
                ("distributions classes/simplex", "teacher, T = 1, normalised over the simplex"),
            ],
        },
        Figure::Maps {
            title: "Predicted probability by λ and the teacher's T, 0 white to 1 black, mean over seeds",
            array: "lambda-T",
            examples: &["test object 5", "test object 9", "test object 17"],
            classes: &["class 1", "class 2", "class 3"],
            vertical: ("T", &TEMPERATURES),
            horizontal: ("λ", &LAMBDAS),
        },
        Figure::curves(
            "Test cross-entropy on hard labels",
            metric::CROSS_ENTROPY,
            &[
                "classes/none",
                "classes/teacher-code",
                "classes/teacher-t1",
                "classes/teacher-squared",
            ],
        ),
        Figure::curves(
            "Divergence of the predictions from the true probabilities",
            metric::DIVERGENCE_TRUE,
            &[
                "classes/none",
                "classes/teacher-code",
                "classes/teacher-t1",
                "classes/teacher-squared",
            ],
        ),
    ],
};

/// Published values of the run that made the table, without a teacher and with it.
const NONE_SPREAD: f64 = 0.753;
const CODE_SPREAD: f64 = 0.449;
const NONE_CE: f64 = 0.42242;
const CODE_CE: f64 = 0.61849;
/// Tolerances: twice the published standard deviation of the row without a teacher, rounded up; and 0.01 for the mean of a spread,
/// whose published standard deviation is over examples.
const CE_WITHIN: f64 = 0.006;
const SPREAD_WITHIN: f64 = 0.01;

const fn closer(row: &'static str) -> Check {
    Check::better(metric::DIVERGENCE_TRUE, row, "classes/none")
}

const fn flatter(row: &'static str, than: &'static str) -> Check {
    Check::better(metric::MAX_MIN, row, than)
}
