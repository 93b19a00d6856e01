//! λ and T of a student of FashionMNIST-Small, chosen without the test set: by cross-validation and by gradient descent.

use anyhow::{Context, Result};
use core_tensors::{Dataset, Fit};
use losses::{Distillation, Hyperparameters, TemperatureScale};
use models::Architecture;

use super::super::base::{STUDENT, STUDENT_BATCH, perceptron};
use super::super::hyperparameters;
use super::garments::{Study, settings};
use crate::experiments::{Experiment, Outcome, Parts, Task};
use crate::ledger::{Better, Figure, FiniteOrNull, Point, metric};
use crate::training::{
    Examination, Grid, MetaCourse, MetaDescent, cross_validate, labels, last,
    train_with_hyperparameters, with_choice,
};

const N_FOLDS: usize = 5;
/// λ and T that are tried.
const LAMBDAS: [f64; 6] = [0.0, 0.25, 0.5, 0.75, 0.9, 1.0];
const TEMPERATURES: [f64; 5] = [1.0, 2.0, 4.0, 8.0, 16.0];
const GRID: Grid = Grid { lambdas: &LAMBDAS, temperatures: &TEMPERATURES };
/// Where gradient descent begins, and its passes for each pass of a student.
const START: Hyperparameters =
    Hyperparameters { lambda: 0.5, temperature: 1.0, scale: TemperatureScale::Squared };
const DESCENT_PASSES: usize = 5;
/// Step size of the student's plain gradient descent while λ and T are sought.
const LEARNING_RATE: f64 = 0.1;
/// As the source does it, with a T that may be larger.
const DESCENT: MetaDescent = MetaDescent { temperatures: (0.1, 20.0), ..hyperparameters::DESCENT };

fn run(task: &Task) -> Result<Outcome> {
    let n_students = TEMPERATURES.len() * (LAMBDAS.len() - 1) + 1;
    let study = Study::new(task, (N_FOLDS + 1) * n_students + 2 + DESCENT_PASSES)?;
    let mut outcome = Outcome::default();
    let [chosen] = cross_validate(
        study.taught.n_examples(),
        N_FOLDS,
        &mut study.rng.split("folds"),
        |kept, held_out| {
            let (kept, held_out) = (study.taught.rows(kept)?, study.taught.rows(held_out)?);
            let (exam, y) = (Examination::new(&held_out)?, labels(&held_out)?);
            let risks = GRID.each(|temperature, lambda| {
                let w = study.student(&kept, Distillation::hinton(lambda, temperature))?;
                Ok(exam.predictions(&perceptron(&STUDENT), &w)?.cross_entropy(&y)?)
            })?;
            Ok([risks])
        },
    )?;
    let students = GRID.each(|temperature, lambda| {
        let w = study.student(&study.taught, Distillation::hinton(lambda, temperature))?;
        study.exam.once(&study.predictions(&w)?)
    })?;
    let tested = students.iter().map(|metrics| last(metrics, metric::CROSS_ENTROPY)).collect();
    outcome.numbers.arrays.insert("validation".into(), FiniteOrNull(chosen.risks.clone()));
    outcome.numbers.arrays.insert("test".into(), FiniteOrNull(tested));
    // The first cell has λ = 0.
    outcome.add("choice/none", students[0].clone());
    let w = study.student(&study.taught, Distillation::sum_of_both())?;
    outcome.add("choice/sum", study.exam.once(&study.predictions(&w)?)?);
    let (temperature, lambda) = GRID.cells()[chosen.cell];
    let metrics = students[chosen.cell].clone();
    outcome.add("choice/cross-validated", with_choice(metrics, lambda, temperature));

    let found = by_gradient(&study, task)?;
    let w = study.student(&study.taught, found.loss())?;
    let metrics = study.exam.once(&study.predictions(&w)?)?;
    outcome.add("choice/gradient", with_choice(metrics, found.lambda, found.temperature));
    Ok(outcome)
}

/// λ and T at the end of a descent on the first fold held out; the student that they were found with is thrown away.
fn by_gradient(study: &Study, task: &Task) -> Result<Hyperparameters> {
    let order = study.rng.split("folds").permutation(study.taught.n_examples());
    let (held_out, kept) = order.split_at(order.len() / N_FOLDS);
    let part = |indices: &[usize]| -> Result<Dataset> { Ok(study.taught.rows(indices)?) };
    let network = perceptron(&STUDENT);
    let epochs = DESCENT_PASSES * study.settings.student_epochs;
    let fit = Fit { epochs, batch_size: STUDENT_BATCH };
    let course =
        MetaCourse { network: &network, fit, learning_rate: LEARNING_RATE, descent: Some(DESCENT) };
    let start = network.init(&mut study.rng.split("student"), &task.session.device)?;
    let (_, path) = train_with_hyperparameters(
        task,
        &course,
        &start,
        START,
        (&part(kept)?, &part(held_out)?),
        &mut study.rng.split("student batches"),
    )?;
    path.last().copied().context("a descent without steps")
}

/// FashionMNIST-Small.
pub(in crate::experiments) static CHOICE: Experiment = Experiment {
    id: "grid-search",
    title: "λ and T chosen without the test set",
    source: "",
    summary: "Students [784, 64, 10] of FashionMNIST-Small, the teacher and starts of the base experiment; \
        (1 − λ) CE + λ T² soft CE. Cross-validation tries every λ and T of the maps in five folds of the 1000 objects by \
        cross-entropy; λ = 0 is among them. Gradient descent moves λ and T from 1/2 and 1 while a student learns from four \
        fifths, by the gradient of the cross-entropy on the last fifth one step ahead; the student that counts is then trained \
        on all objects as the others are. The map of the test set chose nothing.",
    data: &["fashion-mnist"],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::USUAL,
    run,
    rows: rows!(
        [("choice")] {
            { "none" => "no teacher"; }
            against "none" { "sum" => "CE + soft CE at T = 1, nothing chosen"; }
            against "sum" {
                "cross-validated" => "λ and T by cross-validation";
                "gradient" => "λ and T by gradient descent";
            }
        }
    ),
    claims: &[],
    point: Point::Epoch,
    figures: &[
        Figure::heat(
            "Validation cross-entropy, mean over folds and seeds",
            "validation",
            Better::Lower,
            &TEMPERATURES,
            &LAMBDAS,
        ),
        Figure::heat(
            "Test cross-entropy, mean over seeds; it chose nothing",
            "test",
            Better::Lower,
            &TEMPERATURES,
            &LAMBDAS,
        ),
    ],
};
