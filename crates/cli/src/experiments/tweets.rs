//! Papers 000 and 004, Twitter: a Bi-LSTM that reads a tweet teaches a linear student of 768 numbers.

mod tables;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Dataset, Fit, Params, Privileged, Rng, stats};
use losses::{Control, Distillation, Predictions};
use models::{Architecture, BagOfWords, BiLstm, Mlp};
use serde::Serialize;

use crate::datasets::tweets::{HashedWords, ID, Labelled, Vocabulary};
use crate::experiment::{Curve, Outcome, Task};
use crate::schemes::{
    Course, Examination, Grid, LinearStudents, Record, labels, scores, train, with_choice,
};
use crate::session::Scale;

pub(super) use tables::TWEETS;

/// Numbers of a student's view of a text.
const N_FEATURES: usize = 768;
/// Numbers of an embedded word and units of a direction in the source.
const TEACHER_WIDTH: usize = 100;
/// How often a word must occur to have a number: among the student's texts, and among more; the most words of a text.
const AT_LEAST: [usize; 2] = [2, 5];
const LONGEST: usize = 40;
/// One training text in so many is held out: for the number of passes, λ and T.
const ONE_IN: usize = 10;
const N_CLASSES: usize = 2;
const BATCH: usize = 64;
const TEACHER_RATE: f64 = 1e-3;
const STUDENT_RATE: f64 = 1e-2;
/// λ and T that are tried, with T².
const GRID: Grid = Grid { lambdas: &[0.0, 0.25, 0.5, 0.75, 1.0], temperatures: &[1.0, 2.0, 4.0] };

#[derive(Clone, Copy, Serialize)]
struct Settings {
    teacher_epochs: usize,
    baseline_epochs: usize,
    student_epochs: usize,
    /// Passes over more texts, of the teacher and of the linear model.
    epochs_of_more: [usize; 2],
    /// Numbers of an embedded word and units of a direction.
    teacher_width: usize,
    /// At most so many texts to train on and to test on.
    most_texts: Option<[usize; 2]>,
}

fn settings(scale: Scale) -> Settings {
    match scale {
        Scale::Smoke => Settings {
            teacher_epochs: 1,
            baseline_epochs: 2,
            student_epochs: 2,
            epochs_of_more: [1, 1],
            teacher_width: 8,
            most_texts: Some([400, 200]),
        },
        Scale::Quick | Scale::Paper => Settings {
            teacher_epochs: 6,
            baseline_epochs: 20,
            student_epochs: 20,
            epochs_of_more: [2, 3],
            teacher_width: TEACHER_WIDTH,
            most_texts: None,
        },
    }
}

/// What the student sees of a text.
enum View {
    /// Its words, hashed: a substitute for the vectors of a language model.
    Hashed(HashedWords),
}

impl View {
    /// Those that are at hand.
    fn all() -> Result<Vec<Self>> {
        Ok(vec![Self::Hashed(HashedWords::new(N_FEATURES, 1)?)])
    }

    /// How rows of its students begin.
    fn name(&self) -> &'static str {
        match self {
            Self::Hashed(_) => "tweets-hashed",
        }
    }

    /// The texts as the student sees them, (m, 768).
    fn features(&self, texts: &[String], device: &Device) -> Result<Tensor> {
        match self {
            Self::Hashed(hashed) => hashed.features(texts, device),
        }
    }
}

/// The texts of one seed: to learn from, held out, to test on.
struct Parts {
    train: Labelled,
    held_out: Labelled,
    test: Labelled,
    /// The first with the others of the data set.
    more: Option<Labelled>,
}

fn parts(task: &Task, settings: Settings, rng: &Rng) -> Result<Parts> {
    let texts = task.session.texts(ID)?;
    let [most_train, most_test] = settings.most_texts.unwrap_or([usize::MAX; 2]);
    let order = rng.split("held out").permutation(texts.train.texts.len());
    let order: Vec<u32> = order.into_iter().take(most_train).map(|i| i as u32).collect();
    let (held_out, train) = order.split_at(order.len() / ONE_IN);
    let test: Vec<u32> = (0..texts.test.texts.len() as u32).take(most_test).collect();
    let train = texts.train.rows(train);
    let more = texts.extra.as_ref().map(|extra| {
        let n = extra.texts.len().min(most_train);
        let texts = [&train.texts[..], &extra.texts[..n]].concat();
        let labels = [&train.labels[..], &extra.labels[..n]].concat();
        Labelled { texts, labels, n_replaced: 0 }
    });
    let (held_out, test) = (texts.train.rows(held_out), texts.test.rows(&test));
    Ok(Parts { train, held_out, test, more })
}

/// A network after the pass that was best on the held-out texts, and the number of that pass from 1.
fn best_pass(
    task: &Task,
    course: &Course,
    role: &str,
    data: [&Dataset; 2],
    rng: &Rng,
) -> Result<(Params, usize)> {
    let [train_on, held_out] = data;
    let w = course.network.init(&mut rng.split(role), &task.session.device)?.trainable()?;
    let (exam, y) = (Examination::new(held_out)?, labels(held_out)?);
    let mut best: Option<(f64, Params, usize)> = None;
    let mut batches = rng.split(role).split("batches");
    train(task, course, &w, train_on, &mut batches, |w, epoch| {
        let risk = exam.predictions(course.network, w)?.cross_entropy(&y)?;
        if best.as_ref().is_none_or(|(least, ..)| risk < *least) {
            best = Some((risk, w.trainable()?.frozen(), epoch.index + 1));
        }
        Ok(())
    })?;
    let (_, w, pass) = best.context("a network wanted at least one pass, found none")?;
    Ok((w, pass))
}

fn run(task: &Task) -> Result<Outcome> {
    let settings = settings(task.session.scale);
    let texts = task.session.texts(ID)?;
    let rng = Rng::new(task.part.seed()).split("tweets");
    let parts = parts(task, settings, &rng)?;
    let views = View::all()?;
    let mut arms = vec![(Arm::Same, [settings.teacher_epochs, settings.baseline_epochs])];
    if parts.more.is_some() {
        arms.push((Arm::More, settings.epochs_of_more));
    }
    let n_passes: usize = arms.iter().map(|(_, epochs)| epochs[0] + epochs[1]).sum();
    task.expect_epochs(n_passes + (arms.len() + 1) * views.len() * settings.student_epochs);
    let mut outcome = Outcome::default();
    let mut sets = Vec::new();
    for view in &views {
        let set = |part: &Labelled| {
            let x = view.features(&part.texts, &task.session.device)?;
            part.dataset(x, texts.n_classes)
        };
        let (train, held_out, test) =
            (set(&parts.train)?, set(&parts.held_out)?, set(&parts.test)?);
        sets.push((view.name(), Sets { train, held_out, test }));
    }
    for (arm, epochs) in arms {
        let teacher = match arm {
            Arm::Same => {
                let own = (&parts.train, AT_LEAST[0]);
                Teacher::new(task, &settings, &parts, own, epochs, &rng)?
            }
            Arm::More => {
                let more = parts.more.as_ref().context("more texts were not loaded")?;
                let (more, rng) = ((more, AT_LEAST[1]), rng.split("more texts"));
                Teacher::new(task, &settings, &parts, more, epochs, &rng)?
            }
        };
        outcome.add(arm.rows()[0], teacher.of_bag.clone());
        outcome.add(arm.rows()[1], teacher.own.clone());
        for (view, sets) in &sets {
            students(task, settings, (*view, arm), sets, &teacher, &rng, &mut outcome)?;
        }
    }
    Ok(outcome)
}

/// What a teacher learned from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arm {
    /// The student's own texts, as in the source.
    Same,
    /// Those and the others of the data set, which are of other days.
    More,
}

impl Arm {
    /// Rows of the linear model on the words, of the teacher, and what a student's row ends with.
    fn rows(self) -> [&'static str; 3] {
        match self {
            Self::Same => ["tweets/bag-of-words", "tweets/teacher", "teacher"],
            Self::More => ["tweets/bag-of-words-more", "tweets/teacher-more", "teacher-more"],
        }
    }
}

/// A trained Bi-LSTM by its answers, and a linear model on the same words.
struct Teacher {
    /// Scores of the student's training texts.
    answers: Tensor,
    /// Predictions of the test texts.
    predictions: Predictions,
    /// Metrics of the teacher and of the linear model.
    own: BTreeMap<String, Curve>,
    of_bag: BTreeMap<String, Curve>,
}

impl Teacher {
    fn new(
        task: &Task,
        settings: &Settings,
        parts: &Parts,
        (train_on, at_least): (&Labelled, usize),
        epochs: [usize; 2],
        rng: &Rng,
    ) -> Result<Self> {
        let vocabulary = Vocabulary::new(&train_on.texts, at_least);
        let tokens = |part: &Labelled| -> Result<Dataset> {
            let numbered = vocabulary.encode(&part.texts, LONGEST, &task.session.device)?;
            part.dataset(numbered.x, N_CLASSES)
        };
        let (seen, held_out, test) =
            (tokens(train_on)?, tokens(&parts.held_out)?, tokens(&parts.test)?);
        let (n_words, n_classes) = (vocabulary.n_words(), N_CLASSES);
        let width = settings.teacher_width;
        let network = BiLstm { n_words, embedding: width, hidden: width, n_classes };
        let bag = BagOfWords { n_words, n_classes };
        let exam = Examination::new(&test)?;
        let fit = |network: &dyn Architecture, role: &str, epochs| -> Result<_> {
            let course = Course {
                network,
                fit: Fit { epochs, batch_size: BATCH },
                learning_rate: TEACHER_RATE,
                loss: Distillation::labels_only(),
            };
            let (w, pass) = best_pass(task, &course, role, [&seen, &held_out], rng)?;
            let p = exam.predictions(network, &w)?;
            let metrics = with(exam.once(&p)?, "best_epoch", pass as f64);
            Ok((w, p, metrics))
        };
        let (_, _, of_bag) = fit(&bag, "bag of words", epochs[1])?;
        let (w, predictions, own) = fit(&network, "teacher", epochs[0])?;
        let answers = scores(&network, &w, tokens(&parts.train)?.x())?;
        Ok(Self { answers, predictions, own, of_bag })
    }
}

/// What the student learns from, chooses by and is tested on, in one view.
struct Sets {
    train: Dataset,
    held_out: Dataset,
    test: Dataset,
}

/// Rows of one view and teacher; beside the teacher of the same texts no teacher, and labels as uncertain as its answers.
fn students(
    task: &Task,
    settings: Settings,
    (view, arm): (&str, Arm),
    sets: &Sets,
    teacher: &Teacher,
    rng: &Rng,
    outcome: &mut Outcome,
) -> Result<()> {
    // x* are the words; what the teacher says of them is known already.
    let objects = Privileged::everywhere(sets.train.clone(), teacher.answers.clone())?;
    let taught = objects.taught_by(sets.train.n_objects(), |answers| Ok(answers.clone()))?;
    let exam = Examination::new(&sets.test)?.with_teacher(teacher.predictions.clone());
    let [alone, with_teacher] = chosen(task, settings, &taught, &sets.held_out, &exam, rng)?;
    outcome.add(&format!("{view}/{}", arm.rows()[2]), with_teacher);
    if arm == Arm::Same {
        outcome.add(&format!("{view}/none"), alone);
        let y = labels(&sets.train)?;
        let mut draws = rng.split("control");
        let smoothed = Control::SmoothedLabels.of(&teacher.answers, &y, 1.0, &mut draws)?;
        let all: Vec<usize> = (0..y.len()).collect();
        let control = sets.train.clone().with_answers(&smoothed, &all)?;
        let [_, control] = chosen(task, settings, &control, &sets.held_out, &exam, rng)?;
        outcome.add(&format!("{view}/smoothed-labels"), control);
    }
    Ok(())
}

/// Students at every λ and T side by side: the one without a teacher, and the one that is best on the held-out texts.
fn chosen(
    task: &Task,
    settings: Settings,
    taught: &Dataset,
    held_out: &Dataset,
    exam: &Examination,
    rng: &Rng,
) -> Result<[BTreeMap<String, Curve>; 2]> {
    let widths = vec![taught.x().dims2()?.1, N_CLASSES];
    let student = Mlp { widths, activation: Activation::Identity, bias: true };
    let cells = GRID.cells();
    let loss = |&(temperature, lambda): &(f64, f64)| Distillation::hinton(lambda, temperature);
    let losses: Vec<Distillation> = cells.iter().map(loss).collect();
    let students = LinearStudents {
        student: &student,
        fit: Fit { epochs: settings.student_epochs, batch_size: BATCH },
        learning_rate: STUDENT_RATE,
        losses: &losses,
    };
    let start = student.init(&mut rng.split("student"), &task.session.device)?;
    let mut records: Vec<Record> = cells.iter().map(|_| Record::default()).collect();
    let mut batches = rng.split("student batches");
    let trained = students.train(task, &start, taught, &mut batches, exam.x(), |students| {
        for ((p, epoch), record) in students.iter().zip(&mut records) {
            exam.take(p, *epoch, record)?;
        }
        Ok(())
    })?;
    let (judge, y) = (Examination::new(held_out)?, labels(held_out)?);
    let mut best = (0, f64::INFINITY);
    for (cell, w) in trained.iter().enumerate() {
        let risk = judge.predictions(&student, w)?.cross_entropy(&y)?;
        if risk < best.1 {
            best = (cell, risk);
        }
    }
    let finish = |cell: usize| -> Result<BTreeMap<String, Curve>> {
        let spreads = exam.predictions(&student, &trained[cell])?.spreads();
        let metrics = with(records[cell].clone().finish()?, "max_min", stats::mean(&spreads));
        let (temperature, lambda) = cells[cell];
        Ok(with_choice(metrics, lambda, temperature))
    };
    // The first cell has λ = 0.
    Ok([finish(0)?, finish(best.0)?])
}

/// The metrics with one more.
fn with(mut metrics: BTreeMap<String, Curve>, metric: &str, value: f64) -> BTreeMap<String, Curve> {
    metrics.insert(metric.to_owned(), vec![value]);
    metrics
}
