//! Paper 003, base distillation: a perceptron teaches a smaller one on all of FashionMNIST, or on 1000 examples of it.

mod claims;

use anyhow::Result;
use core_tensors::kernels::Activation;
use core_tensors::{Dataset, Fit, Params, Rng};
use losses::Distillation;
use models::{Architecture, Mlp};
use serde::Serialize;

use crate::experiments::Session;
use crate::experiments::{Outcome, Task};
use crate::ledger::{Part, Scale};
use crate::training::{Course, Examination, at_most, train, train_segments, with_teacher};

pub(super) use claims::{SMALL, TRAIN};

/// Widths of the teacher.
pub(super) const TEACHER: [usize; 6] = [784, 256, 128, 64, 64, 10];
/// Widths of the student.
pub(super) const STUDENT: [usize; 3] = [784, 64, 10];
/// Examples a batch of the teacher.
pub(super) const TEACHER_BATCH: usize = 64;
/// Examples a batch of the student.
pub(super) const STUDENT_BATCH: usize = 100;
/// Step size of Adam for both.
pub(super) const LEARNING_RATE: f64 = 1e-3;

/// Which of the two tables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Objects {
    /// FashionMNIST-Train: 60 000 examples for teacher and student.
    Train,
    /// FashionMNIST-Small: the student has 1000 examples, its teacher the other 59 000.
    Small,
}

/// What is cut at smoke scale.
#[derive(Clone, Copy, Serialize)]
struct Settings {
    teacher_epochs: usize,
    student_epochs: usize,
    segments: usize,
    /// At most so many examples of the teacher, of the student and of the test set.
    most_examples: Option<[usize; 3]>,
}

impl Objects {
    fn settings(self, scale: Scale) -> Settings {
        match (scale, self) {
            (Scale::Smoke, _) => Settings {
                teacher_epochs: 2,
                student_epochs: 3,
                segments: 2,
                most_examples: Some([6000, 3000, 2000]),
            },
            (Scale::Quick | Scale::Paper, Self::Train) => Settings {
                teacher_epochs: 10,
                student_epochs: 20,
                segments: 3,
                most_examples: None,
            },
            (Scale::Quick | Scale::Paper, Self::Small) => Settings {
                teacher_epochs: 10,
                student_epochs: 20,
                segments: 5,
                most_examples: None,
            },
        }
    }

    /// Examples of the teacher and of the student.
    fn data(self, session: &Session) -> Result<(&Dataset, &Dataset)> {
        match self {
            Self::Train => {
                let train = &session.images("fashion-mnist")?.train;
                Ok((train, train))
            }
            Self::Small => session.big_and_small().map(|(big, small)| (big, small)),
        }
    }

    /// Names of the arms without and with a teacher, and of the teacher.
    fn rows(self, part: Part) -> [&'static str; 3] {
        match (self, part) {
            (Self::Train, Part::Source) => {
                ["train/none/segments", "train/teacher/segments", "train/the-teacher/segments"]
            }
            (Self::Small, Part::Source) => {
                ["small/none/segments", "small/teacher-big/segments", "small/the-teacher/segments"]
            }
            (Self::Train, _) => [
                "train/none/independent",
                "train/teacher/independent",
                "train/the-teacher/independent",
            ],
            (Self::Small, _) => [
                "small/none/independent",
                "small/teacher-big/independent",
                "small/the-teacher/independent",
            ],
        }
    }
}

/// The generator of a part, which the experiments of paper 003 on FashionMNIST-Small share: a seed gives all of them the
/// same starts and batches.
pub(super) fn start(task: &Task) -> Rng {
    Rng::new(task.part.seed()).split("base")
}

/// A perceptron with ReLU, which a removed layer needs, and biases.
pub(super) fn perceptron(widths: &[usize]) -> Mlp {
    Mlp { widths: widths.to_vec(), activation: Activation::Relu, bias: true }
}

/// How a teacher learns from labels.
pub(super) fn teacher_course(network: &Mlp, epochs: usize) -> Course<'_> {
    let fit = Fit { epochs, batch_size: TEACHER_BATCH };
    Course { network, fit, learning_rate: LEARNING_RATE, loss: Distillation::labels_only() }
}

/// How a student learns.
pub(super) fn student_course(network: &Mlp, epochs: usize, loss: Distillation) -> Course<'_> {
    let fit = Fit { epochs, batch_size: STUDENT_BATCH };
    Course { network, fit, learning_rate: LEARNING_RATE, loss }
}

/// The teacher of these examples, trained on labels: the same for every experiment with the generator of [`start`].
pub(super) fn teacher_of(
    task: &Task,
    data: &Dataset,
    epochs: usize,
    rng: &Rng,
) -> Result<(Mlp, Params)> {
    let network = perceptron(&TEACHER);
    let course = teacher_course(&network, epochs);
    let w = network.init(&mut rng.split("teacher"), &task.session.device)?.trainable()?;
    train(task, &course, &w, data, &mut rng.split("teacher batches"), |_, _| Ok(()))?;
    Ok((network, w))
}

fn run(task: &Task, examples: Objects) -> Result<Outcome> {
    let settings = examples.settings(task.session.scale);
    let (big, small) = examples.data(task.session)?;
    let [most_big, most_small, most_test] = settings.most_examples.unwrap_or([usize::MAX; 3]);
    let (big, small) = (at_most(big, most_big)?, at_most(small, most_small)?);
    let test = at_most(&task.session.images("fashion-mnist")?.test, most_test)?;
    let n_segments = if task.part == Part::Source { settings.segments } else { 1 };
    task.expect_epochs(settings.teacher_epochs + 2 * n_segments * settings.student_epochs);

    let [without, with, the_teacher] = examples.rows(task.part);
    // Both tables share the starts of teacher and student, as C24 compares them.
    let rng = start(task);
    let mut outcome = Outcome::default();

    let exam = Examination::new(&test)?;
    let (teacher, w) = teacher_of(task, &big, settings.teacher_epochs, &rng)?;
    let teacher_predictions = exam.predictions(&teacher, &w)?;
    outcome.add(the_teacher, exam.once(&teacher_predictions)?);

    let taught = with_teacher(&small, &teacher, &w)?;
    let exam = exam.with_teacher(teacher_predictions);
    let student = perceptron(&STUDENT);
    for (row, loss) in [(without, Distillation::labels_only()), (with, Distillation::sum_of_both())]
    {
        let course = student_course(&student, settings.student_epochs, loss);
        // Both arms of a seed share start and batch order.
        let view = |batch: &Dataset| Ok(batch.clone());
        for run in train_segments(task, &course, &taught, &rng, n_segments, view, &exam)? {
            outcome.add(row, run);
        }
    }
    Ok(outcome)
}
