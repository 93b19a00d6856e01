//! Lopez-Paz et al. (2016), section 6.2: a student of 7 × 7 pixels, a teacher of 28 × 28.

use anyhow::Result;
use candle_core::Tensor;
use core_tensors::kernels::features;
use core_tensors::{Dataset, Fit, Params, Privileged, Rng};
use losses::Distillation;
use models::{Architecture, Mlp};

use super::super::base::perceptron;
use crate::experiments::{Experiment, Outcome, Parts, Task};
use crate::ledger::{Better, Check, Claim, Figure, FiniteOrNull, Point, metric};
use crate::training::{
    CHUNK, Course, Examination, Grid, at_most, cross_validate, labels, last, train, with_choice,
};

/// Pixels of a side, and of a side of the square that becomes one pixel of the student.
const SIDE: usize = 28;
const SQUARE: usize = 4;
/// Widths of teacher and student.
const TEACHER: [usize; 4] = [784, 20, 20, 10];
const STUDENT: [usize; 4] = [49, 20, 20, 10];
const BATCH: usize = 50;
const LEARNING_RATE: f64 = 1e-3;
const N_FOLDS: usize = 5;
/// λ and T that are tried.
const LAMBDAS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
const TEMPERATURES: [f64; 6] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0];
const GRID: Grid = Grid { lambdas: &LAMBDAS, temperatures: &TEMPERATURES };

settings! {
    epochs: usize = 3, 200;
    most_test: usize = 500, usize::MAX;
}

/// What belongs to one number of examples: the rows of teacher, regular student and distilled students chosen by
/// cross-entropy and by accuracy, and names of the maps.
struct Size {
    n: usize,
    rows: [&'static str; 4],
    maps: [&'static str; 3],
}

const SIZES: [Size; 2] = [
    Size {
        n: 300,
        rows: [
            "digits/300/teacher",
            "digits/300/regular",
            "digits/300/by-cross-entropy",
            "digits/300/by-accuracy",
        ],
        maps: ["validation 300", "accuracy 300", "test 300"],
    },
    Size {
        n: 500,
        rows: [
            "digits/500/teacher",
            "digits/500/regular",
            "digits/500/by-cross-entropy",
            "digits/500/by-accuracy",
        ],
        maps: ["validation 500", "accuracy 500", "test 500"],
    },
];

/// Means over squares of 4 × 4 pixels: (m, 784) → (m, 49), levels in \[0, 1\].
fn coarse(x: &Tensor) -> Result<Tensor> {
    let n = SIDE / SQUARE;
    let squares = features(x)?.reshape(((), n, SQUARE, n, SQUARE))?;
    Ok(squares.mean(4)?.mean(2)?.flatten_from(1)?)
}

/// The student's images with the whole ones as x*.
fn examples(data: &Dataset) -> Result<Privileged> {
    let student = Dataset::new(coarse(data.x())?, data.y().clone())?;
    Ok(Privileged::everywhere(student, features(data.x())?)?)
}

/// Fits with the starts and batches that all arms of a seed share.
struct Study<'a> {
    task: &'a Task<'a>,
    epochs: usize,
    teacher: Mlp,
    student: Mlp,
    rng: Rng,
}

impl Study<'_> {
    fn fit(&self, network: &Mlp, role: &str, data: &Dataset, loss: Distillation) -> Result<Params> {
        let fit = Fit { epochs: self.epochs, batch_size: BATCH };
        let course = Course { network, fit, learning_rate: LEARNING_RATE, loss };
        let start = network.init(&mut self.rng.split(role), &self.task.session.device)?;
        let w = start.trainable()?;
        let mut batches = self.rng.split(role).split("batches");
        train(self.task, &course, &w, data, &mut batches, |_, _| Ok(()))?;
        Ok(w.frozen())
    }

    /// The teacher of these examples, and the examples with its answers.
    fn taught(&self, examples: &Privileged) -> Result<(Params, Dataset)> {
        let w = self.fit(
            &self.teacher,
            "teacher",
            &examples.teachers_view()?,
            Distillation::labels_only(),
        )?;
        let ask = |x: &Tensor| self.teacher.forward(&w, x);
        let taught = examples.with_teacher(CHUNK, ask)?;
        Ok((w, taught))
    }

    fn student(&self, taught: &Dataset, temperature: f64, lambda: f64) -> Result<Params> {
        self.fit(&self.student, "student", taught, Distillation::generalized(lambda, temperature))
    }
}

fn run(task: &Task) -> Result<Outcome> {
    let settings = settings(task.session.scale);
    let n_students = TEMPERATURES.len() * (LAMBDAS.len() - 1) + 1;
    task.expect_epochs(SIZES.len() * (N_FOLDS + 1) * (1 + n_students) * settings.epochs);
    let digits = task.session.images("mnist")?;
    let test = examples(&at_most(&digits.test, settings.most_test)?)?;
    let rng = Rng::new(task.part.seed()).split("privileged digits");
    let study = Study {
        task,
        epochs: settings.epochs,
        teacher: perceptron(&TEACHER),
        student: perceptron(&STUDENT),
        rng: rng.clone(),
    };
    let order = rng.split("objects").permutation(digits.train.n_examples());
    let mut outcome = Outcome::default();
    for Size { n, rows: [teacher, regular, chosen_rows @ ..], maps } in &SIZES {
        let picked = digits.train.rows(&order[..(*n).min(order.len())])?;
        let chosen = cross_validate(
            picked.n_examples(),
            N_FOLDS,
            &mut rng.split("folds"),
            |kept, held_out| {
                let (_, taught) = study.taught(&examples(&picked.rows(kept)?)?)?;
                let held_out = examples(&picked.rows(held_out)?)?;
                let exam = Examination::new(held_out.data())?;
                let y = labels(held_out.data())?;
                let found = GRID.each(|temperature, lambda| {
                    let w = study.student(&taught, temperature, lambda)?;
                    let p = exam.predictions(&study.student, &w)?;
                    Ok((p.cross_entropy(&y)?, 1.0 - p.accuracy(&y)?))
                })?;
                let (risks, errors) = found.into_iter().unzip();
                Ok([risks, errors])
            },
        )?;

        let (w, taught) = study.taught(&examples(&picked)?)?;
        let exam = Examination::new(&test.teachers_view()?)?;
        let teacher_predictions = exam.predictions(&study.teacher, &w)?;
        outcome.add(teacher, exam.once(&teacher_predictions)?);
        let exam = Examination::new(test.data())?.with_teacher(teacher_predictions);
        let students = GRID.each(|temperature, lambda| {
            let w = study.student(&taught, temperature, lambda)?;
            exam.once(&exam.predictions(&study.student, &w)?)
        })?;
        let tested = students.iter().map(|metrics| last(metrics, metric::ACCURACY)).collect();
        let [by_risk, by_error] = &chosen;
        let accuracies = by_error.risks.iter().map(|error| 1.0 - error).collect();
        for (name, map) in maps.iter().zip([by_risk.risks.clone(), accuracies, tested]) {
            outcome.numbers.arrays.insert((*name).to_owned(), FiniteOrNull(map));
        }
        // The first cell has λ = 0.
        outcome.add(regular, students[0].clone());
        for (row, chosen) in chosen_rows.iter().zip(&chosen) {
            // With λ = 0 T is the first of the grid and does not matter.
            let (temperature, lambda) = GRID.cells()[chosen.cell];
            outcome.add(row, with_choice(students[chosen.cell].clone(), lambda, temperature));
        }
    }
    Ok(outcome)
}

/// Digits of 7 × 7 pixels.
pub(in crate::experiments) static DIGITS: Experiment = Experiment {
    id: "privileged-digits",
    title: "Digits of 7 × 7 pixels, a teacher of 28 × 28",
    source: "Lopez-Paz et al. 2016",
    summary: "300 or 500 objects of MNIST, drawn by each seed; the student sees means over squares of 4 × 4 pixels, the teacher \
        the whole pictures of the same objects. Both have two hidden layers of 20 units, Adam 10⁻³, batches of 50, 200 passes. \
        λ and T of the distilled student are chosen by five-fold cross-validation on these objects, teacher included, by \
        cross-entropy or by accuracy; λ = 0 is among the choices. The maps show what was chosen from, and what the test set would have said.",
    data: &["mnist"],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::USUAL,
    run,
    rows: rows!(
        [("digits/300", "300") ("digits/500", "500")] {
            {
                "teacher" => " objects: the teacher on 28 × 28 pixels";
                "regular" => ": student on labels";
            }
            against "regular" {
                "by-cross-entropy" => ": distilled, chosen by cross-entropy";
                "by-accuracy" => ": distilled, chosen by accuracy";
            }
        }
    ),
    claims: &[Claim {
        id: "L5",
        text: "Digits of 7 × 7 pixels: a student of a teacher of 28 × 28 pixels is more accurate, at 300 and at 500 objects.",
        published: &[],
        min_seeds: 10,
        checks: &[
            Check::better(metric::ACCURACY, "digits/300/by-accuracy", "digits/300/regular"),
            Check::better(metric::ACCURACY, "digits/500/by-accuracy", "digits/500/regular"),
        ],
    }],
    point: Point::Epoch,
    figures: &[
        Figure::heat(
            "Validation cross-entropy, 300 objects, mean over seeds",
            "validation 300",
            Better::Lower,
            &TEMPERATURES,
            &LAMBDAS,
        ),
        Figure::heat(
            "Test accuracy, 300 objects, mean over seeds; it chose nothing",
            "test 300",
            Better::Higher,
            &TEMPERATURES,
            &LAMBDAS,
        ),
        Figure::heat(
            "Validation cross-entropy, 500 objects, mean over seeds",
            "validation 500",
            Better::Lower,
            &TEMPERATURES,
            &LAMBDAS,
        ),
        Figure::heat(
            "Test accuracy, 500 objects, mean over seeds; it chose nothing",
            "test 500",
            Better::Higher,
            &TEMPERATURES,
            &LAMBDAS,
        ),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn a_coarse_pixel_is_the_mean_of_its_square() {
        // An image whose level is its row, in 1/255.
        let intensities: Vec<u8> = (0..784).map(|i| (i / 28) as u8).collect();
        let x = Tensor::from_vec(intensities, (1, 784), &Device::Cpu).unwrap();
        let found = coarse(&x).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(found[0].len(), 49);
        for (i, intensity) in found[0].iter().enumerate() {
            let wanted = (4 * (i / 7)) as f32 + 1.5;
            assert!((intensity * 255.0 - wanted).abs() < 1e-4);
        }
    }
}
