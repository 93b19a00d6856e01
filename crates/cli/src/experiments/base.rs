//! Paper 003, base distillation: a perceptron teaches a smaller one on all of FashionMNIST, or on 1000 objects of it.

use anyhow::Result;
use core_tensors::{Dataset, Fit, Rng};
use losses::Distillation;
use models::{Activation, Architecture, Mlp};
use serde::Serialize;

use super::n_seeds;
use crate::claims::{Check, Claim, Published, Reference, Side};
use crate::experiment::{Experiment, Figure, Outcome, Part, RowSpec, Task, Unit};
use crate::schemes::{Course, Examination, Record, taught_by, train};
use crate::session::{Scale, Session};

/// Widths of the teacher.
const TEACHER: [usize; 6] = [784, 256, 128, 64, 64, 10];
/// Widths of the student.
const STUDENT: [usize; 3] = [784, 64, 10];
/// Objects a batch of the teacher.
const TEACHER_BATCH: usize = 64;
/// Objects a batch of the student.
const STUDENT_BATCH: usize = 100;
/// Step size of Adam for both.
const LEARNING_RATE: f64 = 1e-3;

/// Which of the two tables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Objects {
    /// FashionMNIST-Train: 60 000 objects for teacher and student.
    Train,
    /// FashionMNIST-Small: the student has 1000 objects, its teacher the other 59 000.
    Small,
}

/// What is cut at smoke scale.
#[derive(Clone, Copy, Serialize)]
struct Settings {
    teacher_epochs: usize,
    student_epochs: usize,
    segments: usize,
    /// At most so many objects of the teacher, of the student and of the test set.
    most_objects: Option<[usize; 3]>,
}

impl Objects {
    fn settings(self, scale: Scale) -> Settings {
        match (scale, self) {
            (Scale::Smoke, _) => Settings {
                teacher_epochs: 2,
                student_epochs: 3,
                segments: 2,
                most_objects: Some([6000, 3000, 2000]),
            },
            (Scale::Quick | Scale::Paper, Self::Train) => {
                Settings { teacher_epochs: 10, student_epochs: 20, segments: 3, most_objects: None }
            }
            (Scale::Quick | Scale::Paper, Self::Small) => {
                Settings { teacher_epochs: 10, student_epochs: 20, segments: 5, most_objects: None }
            }
        }
    }

    /// Objects of the teacher and of the student.
    fn data(self, session: &Session) -> Result<(&Dataset, &Dataset)> {
        match self {
            Self::Train => {
                let train = &session.pictures("fashion-mnist")?.train;
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

/// The first `most` objects.
fn cut(data: &Dataset, most: usize) -> Result<Dataset> {
    if data.n_objects() <= most {
        return Ok(data.clone());
    }
    Ok(data.rows(&(0..most).collect::<Vec<_>>())?)
}

fn perceptron(widths: &[usize]) -> Mlp {
    Mlp { widths: widths.to_vec(), activation: Activation::Relu, bias: true }
}

fn run(task: &Task, objects: Objects) -> Result<Outcome> {
    let settings = objects.settings(task.session.scale);
    let (big, small) = objects.data(task.session)?;
    let [most_big, most_small, most_test] = settings.most_objects.unwrap_or([usize::MAX; 3]);
    let (big, small) = (cut(big, most_big)?, cut(small, most_small)?);
    let test = cut(&task.session.pictures("fashion-mnist")?.test, most_test)?;
    let n_segments = if task.part == Part::Source { settings.segments } else { 1 };
    task.expect_epochs(settings.teacher_epochs + 2 * n_segments * settings.student_epochs);

    let [without, with, the_teacher] = objects.rows(task.part);
    // Both tables share the starts of teacher and student, as C24 compares them.
    let rng = Rng::new(task.part.seed()).split("base");
    let mut outcome = Outcome::default();

    let teacher = perceptron(&TEACHER);
    let course = Course {
        network: &teacher,
        fit: Fit { epochs: settings.teacher_epochs, batch_size: TEACHER_BATCH },
        learning_rate: LEARNING_RATE,
        loss: Distillation::labels_only(),
    };
    let exam = Examination::new(&test)?;
    let w = teacher.init(&mut rng.split("teacher"), &task.session.device)?.trainable()?;
    train(task, &course, &w, &big, &mut rng.split("teacher batches"), |_, _| Ok(()))?;
    let answers = exam.predictions(&teacher, &w)?;
    outcome.add(the_teacher, exam.once(&answers)?);

    let taught = taught_by(&small, &teacher, &w)?;
    let exam = exam.with_teacher(answers);
    for (row, loss) in [(without, Distillation::labels_only()), (with, Distillation::sum_of_both())]
    {
        let student = Student { task, settings, exam: &exam, loss };
        student.train(row, &taught, n_segments, &rng, &mut outcome)?;
    }
    Ok(outcome)
}

/// One arm.
struct Student<'a> {
    task: &'a Task<'a>,
    settings: Settings,
    exam: &'a Examination,
    loss: Distillation,
}

impl Student<'_> {
    /// Trains one student over consecutive segments; Adam starts anew in each, the student does not.
    ///
    /// One segment is an independent run. Several are the source's "attempts": its constructor call lies outside
    /// their loop, so they continue one another.
    fn train(
        &self,
        row: &str,
        data: &Dataset,
        n_segments: usize,
        rng: &Rng,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let student = perceptron(&STUDENT);
        let course = Course {
            network: &student,
            fit: Fit { epochs: self.settings.student_epochs, batch_size: STUDENT_BATCH },
            learning_rate: LEARNING_RATE,
            loss: self.loss,
        };
        // Both arms of a seed share start and batch order.
        let device = &self.task.session.device;
        let w = student.init(&mut rng.split("student"), device)?.trainable()?;
        let mut batches = rng.split("student batches");
        for _ in 0..n_segments {
            let mut record = Record::default();
            train(self.task, &course, &w, data, &mut batches, |w, epoch| {
                self.exam.take(&self.exam.predictions(&student, w)?, epoch, &mut record)
            })?;
            outcome.add(row, record.finish()?);
        }
        Ok(())
    }
}

/// The row that C17 and C24 compare with.
const TRAIN_NONE: &str = "train/none/independent";

/// FashionMNIST-Train.
pub(super) static TRAIN: Experiment = Experiment {
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
        RowSpec {
            id: "train/none/segments",
            title: "no teacher, as in the source",
            unit: Unit::Segment,
            baseline: None,
        },
        RowSpec {
            id: "train/teacher/segments",
            title: "with teacher, as in the source",
            unit: Unit::Segment,
            baseline: None,
        },
        RowSpec {
            id: TRAIN_NONE,
            title: "no teacher, independent runs",
            unit: Unit::Seed,
            baseline: None,
        },
        RowSpec {
            id: "train/teacher/independent",
            title: "with teacher, independent runs",
            unit: Unit::Seed,
            baseline: Some(TRAIN_NONE),
        },
        RowSpec {
            id: "train/the-teacher/independent",
            title: "the teacher itself",
            unit: Unit::Seed,
            baseline: None,
        },
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
pub(super) static SMALL: Experiment = Experiment {
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
        RowSpec {
            id: "small/none/segments",
            title: "no teacher, as in the source",
            unit: Unit::Segment,
            baseline: None,
        },
        RowSpec {
            id: "small/teacher-big/segments",
            title: "teacher Big, as in the source",
            unit: Unit::Segment,
            baseline: None,
        },
        RowSpec {
            id: "small/none/independent",
            title: "no teacher, independent runs",
            unit: Unit::Seed,
            baseline: None,
        },
        RowSpec {
            id: "small/teacher-big/independent",
            title: "teacher Big, independent runs",
            unit: Unit::Seed,
            baseline: Some("small/none/independent"),
        },
        RowSpec {
            id: "small/the-teacher/independent",
            title: "the teacher itself",
            unit: Unit::Seed,
            baseline: None,
        },
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
