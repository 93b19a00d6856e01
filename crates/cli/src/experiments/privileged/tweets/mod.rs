//! Papers 000 and 004, Twitter: a Bi-LSTM that reads a tweet teaches a linear student of 768 numbers.

mod claims;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::Tensor;
use core_tensors::kernels::Activation;
use core_tensors::{Dataset, Fit, Params, Privileged, Rng};
use losses::{Distillation, Predictions};
use models::{Architecture, BagOfWords, BiLstm, Mlp};

use crate::data::published::tweets::{HashedWords, ID, Labelled, Vocabulary};
use crate::experiments::{Outcome, Task};
use crate::ledger::{Curve, Metric, metric, stats};
use crate::training::{
    Ablation, Course, Examination, Grid, LinearStudents, Record, labels, logits, train, with_choice,
};

pub(in crate::experiments) use claims::TWEETS;

/// Numbers of a student's view of a text.
const N_FEATURES: usize = 768;
/// Numbers of an embedded word and units of a direction in the source.
const TEACHER_WIDTH: usize = 100;
/// The most words of a text.
const LONGEST: usize = 40;
/// Texts of the whole data set at least: paper 004 had 1.58 million. A file that was cut short is none of it.
const WHOLE: usize = 1_500_000;
/// One training text in so many is held out: for the number of passes, λ and T.
const ONE_IN: usize = 10;
/// At quick scale: the sizes of the files that stand in for the whole data set.
const MOST_QUICK: [usize; 3] = [16_000, 4_000, 100_000];
const N_CLASSES: usize = 2;
const BATCH: usize = 64;
const TEACHER_RATE: f64 = 1e-3;
const STUDENT_RATE: f64 = 1e-2;
/// λ and T that are tried, with T².
const GRID: Grid = Grid { lambdas: &[0.0, 0.25, 0.5, 0.75, 1.0], temperatures: &[1.0, 2.0, 4.0] };

settings! {
    teacher_epochs: usize = 1, 6;
    baseline_epochs: usize = 2, 20;
    student_epochs: usize = 2, 20;
    /// Passes over more texts, of the teacher and of the linear model.
    epochs_of_more: [usize; 2] = [1, 1], [2, 3];
    /// Numbers of an embedded word and units of a direction.
    teacher_width: usize = 8, TEACHER_WIDTH;
    /// At most so many of the student's texts, to test on, and of the others.
    most_texts: Option<[usize; 3]> = Some([400, 200, 400]), Some(MOST_QUICK), None;
}

/// What the student sees of a text.
enum View {
    /// Its words, hashed: a substitute for the vectors of a language model.
    Hashed,
    /// The mean of the last layer of a frozen BERT.
    Bert,
}

impl View {
    /// How rows of its students begin; those of C16 are of all of Sentiment140.
    fn name(&self, is_whole: bool) -> &'static str {
        match self {
            Self::Hashed => "tweets-hashed",
            Self::Bert if is_whole => "twitter",
            Self::Bert => "tweets-bert",
        }
    }

    /// The texts as the student sees them, (m, 768); `None` where that takes a network that is not at hand.
    fn features(&self, task: &Task, texts: &[String]) -> Result<Option<Tensor>> {
        let device = &task.session.device;
        match self {
            Self::Hashed => HashedWords::new(N_FEATURES, 1)?.features(texts, device).map(Some),
            Self::Bert => task.session.sentences(texts),
        }
    }

    /// The data of its students, unless its network is not at hand.
    fn sets(&self, task: &Task, parts: &Parts) -> Result<Option<Sets>> {
        // Of all texts at once, so that the vectors that one seed has made serve the others.
        let (Some(seen), Some(test)) =
            (self.features(task, &parts.all.texts)?, self.features(task, &parts.test.texts)?)
        else {
            return Ok(None);
        };
        let rows = |of: &[u32]| -> Result<Dataset> {
            let x = seen.index_select(&Tensor::new(of, seen.device())?, 0)?;
            parts.all.rows(of).dataset(x, N_CLASSES)
        };
        let test = parts.test.dataset(test, N_CLASSES)?;
        Ok(Some(Sets { train: rows(&parts.train)?, held_out: rows(&parts.held_out)?, test }))
    }
}

/// The texts of one seed.
struct Parts {
    /// The student's own, the same for all seeds; of them those to learn from and those held out.
    all: Labelled,
    train: Vec<u32>,
    held_out: Vec<u32>,
    test: Labelled,
    /// Others of the data set, to learn from beside the first.
    extra: Option<Labelled>,
    /// Whether these are all texts of Sentiment140.
    is_whole: bool,
}

impl Parts {
    fn new(task: &Task, settings: Settings, rng: &Rng) -> Result<Self> {
        let texts = task.session.texts(ID)?;
        let most = settings.most_texts.unwrap_or([usize::MAX; 3]);
        // A part is a random one, the same for all seeds: files often go by class.
        let some = |part: &Labelled, most: usize| {
            let n = part.texts.len();
            let mut indices: Vec<usize> = (0..n).collect();
            if n > most {
                indices = Rng::new(0).split("texts").permutation(n);
                indices.truncate(most);
            }
            part.rows(&indices.into_iter().map(|i| i as u32).collect::<Vec<_>>())
        };
        let [all, test] = [some(&texts.train, most[0]), some(&texts.test, most[1])];
        let extra = texts.extra.as_ref().map(|extra| some(extra, most[2]));
        let order = rng.split("held out").permutation(all.texts.len());
        let order: Vec<u32> = order.into_iter().map(|i| i as u32).collect();
        let (held_out, train) = order.split_at(order.len() / ONE_IN);
        let is_cut =
            all.texts.len() + test.texts.len() < texts.train.texts.len() + texts.test.texts.len();
        let is_whole = texts.is_complete && !is_cut && all.texts.len() + test.texts.len() >= WHOLE;
        Ok(Self { train: train.to_vec(), held_out: held_out.to_vec(), all, test, extra, is_whole })
    }

    /// The texts to learn from, and those with the others.
    fn of(&self, arm: Arm) -> Labelled {
        let mut texts = self.all.rows(&self.train);
        if let (Arm::More, Some(extra)) = (arm, &self.extra) {
            texts.texts.extend_from_slice(&extra.texts);
            texts.labels.extend_from_slice(&extra.labels);
        }
        texts
    }
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
    let rng = Rng::new(task.part.seed()).split("tweets");
    let parts = Parts::new(task, settings, &rng)?;
    let mut arms = vec![(Arm::Same, [settings.teacher_epochs, settings.baseline_epochs])];
    if parts.extra.is_some() {
        arms.push((Arm::More, settings.epochs_of_more));
    }
    let n_passes: usize = arms.iter().map(|(_, epochs)| epochs[0] + epochs[1]).sum();
    let n_views = if task.session.has_bert() { 2 } else { 1 };
    task.expect_epochs(n_passes + (arms.len() + 1) * n_views * settings.student_epochs);
    let mut outcome = Outcome::default();
    let mut teachers = Vec::new();
    for (arm, epochs) in arms {
        let teacher = Teacher::new(task, &settings, &parts, arm, epochs, &rng)?;
        outcome.add(arm.rows()[0], teacher.of_bag.clone());
        outcome.add(arm.rows()[1], teacher.own.clone());
        teachers.push((arm, teacher));
    }
    // One view after the other: of all of Sentiment140 each takes gigabytes.
    for view in [View::Hashed, View::Bert] {
        let Some(sets) = view.sets(task, &parts)? else { continue };
        let name = view.name(parts.is_whole);
        for (arm, teacher) in &teachers {
            students(task, settings, (name, *arm), &sets, teacher, &rng, &mut outcome)?;
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

    /// How often a word must occur to have a number.
    fn at_least(self) -> usize {
        match self {
            Self::Same => 2,
            Self::More => 5,
        }
    }
}

/// A trained Bi-LSTM by its answers, and a linear model on the same words.
struct Teacher {
    /// Logits of the student's training texts.
    teacher_logits: Tensor,
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
        arm: Arm,
        epochs: [usize; 2],
        rng: &Rng,
    ) -> Result<Self> {
        let rng = &match arm {
            Arm::Same => rng.clone(),
            Arm::More => rng.split("more texts"),
        };
        let train_on = parts.of(arm);
        let vocabulary = Vocabulary::new(&train_on.texts, arm.at_least());
        let tokens = |part: &Labelled| -> Result<Dataset> {
            let numbered = vocabulary.encode(&part.texts, LONGEST, &task.session.device)?;
            part.dataset(numbered.x, N_CLASSES)
        };
        let (seen, held_out, test) =
            (tokens(&train_on)?, tokens(&parts.all.rows(&parts.held_out))?, tokens(&parts.test)?);
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
            let metrics = with(exam.once(&p)?, metric::BEST_EPOCH, pass as f64);
            Ok((w, p, metrics))
        };
        let (_, _, of_bag) = fit(&bag, "bag of words", epochs[1])?;
        let (w, predictions, own) = fit(&network, "teacher", epochs[0])?;
        let teacher_logits = logits(&network, &w, tokens(&parts.of(Arm::Same))?.x())?;
        Ok(Self { teacher_logits, predictions, own, of_bag })
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
    let examples = Privileged::everywhere(sets.train.clone(), teacher.teacher_logits.clone())?;
    let taught = examples.with_teacher(sets.train.n_examples(), Tensor::contiguous)?;
    let exam = Examination::new(&sets.test)?.with_teacher(teacher.predictions.clone());
    let [alone, with_teacher] = chosen(task, settings, &taught, &sets.held_out, &exam, rng)?;
    outcome.add(&format!("{view}/{}", arm.rows()[2]), with_teacher);
    if arm == Arm::Same {
        outcome.add(&format!("{view}/none"), alone);
        let y = labels(&sets.train)?;
        let mut draws = rng.split("control");
        let smoothed = Ablation::SmoothedLabels.of(&teacher.teacher_logits, &y, 1.0, &mut draws)?;
        let all: Vec<usize> = (0..y.len()).collect();
        let ablation = sets.train.clone().with_logits(&smoothed, &all)?;
        let [_, ablation] = chosen(task, settings, &ablation, &sets.held_out, &exam, rng)?;
        outcome.add(&format!("{view}/smoothed-labels"), ablation);
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
        let metrics = with(records[cell].clone().finish()?, metric::MAX_MIN, stats::mean(&spreads));
        let (temperature, lambda) = cells[cell];
        Ok(with_choice(metrics, lambda, temperature))
    };
    // The first cell has λ = 0.
    Ok([finish(0)?, finish(best.0)?])
}

/// The metrics with one more.
fn with(
    mut metrics: BTreeMap<String, Curve>,
    metric: Metric,
    value: f64,
) -> BTreeMap<String, Curve> {
    metrics.insert(metric.key(), vec![value]);
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::metric;
    use candle_core::Device;

    use crate::data::published::{Places, bert, tweets::Texts};
    use crate::experiments::Session;
    use crate::ledger::{Part, Scale};

    #[test]
    fn students_of_a_bert_are_run_where_one_is_at_hand() {
        let (root, bert) = bert::tests::tiny();
        let places = Places { explicit: None, cache: root.path().to_owned() };
        let texts = Texts::load(&places, &mut |_| {}).unwrap();
        let texts = BTreeMap::from([(ID.to_owned(), texts)]);
        let session = Session::new(Scale::Smoke, Device::Cpu, BTreeMap::new()).with_texts(texts);
        let rows = |session: &Session| {
            let progress = indicatif::ProgressBar::hidden();
            let task = Task { session, part: Part::Seed(0), shared: None, progress };
            run(&task).unwrap().numbers.rows
        };
        let without = rows(&session);
        assert!(without.keys().all(|row| !row.starts_with("tweets-bert")));
        let session = session.with_bert(Some(bert), root.path().to_owned());
        assert!(session.data().eq([ID, "tiny"]) && session.origin("tiny").unwrap().1.len() == 3);
        let with = rows(&session);
        for (row, metrics) in &without {
            assert_eq!(
                metrics[metric::CROSS_ENTROPY.name][0].0,
                with[row][metric::CROSS_ENTROPY.name][0].0,
                "{row}"
            );
        }
        let of_bert: Vec<&str> =
            with.keys().filter_map(|row| row.strip_prefix("tweets-bert/")).collect();
        assert_eq!(of_bert, ["none", "smoothed-labels", "teacher", "teacher-more"]);
        let risk = |row: &str| with[row][metric::CROSS_ENTROPY.name][0].0.last().copied().unwrap();
        assert!(risk("tweets-bert/teacher").is_finite());
        assert_ne!(risk("tweets-bert/none"), risk("tweets-hashed/none"));
    }

    #[test]
    fn rows_of_the_claim_are_of_the_whole_data_set() {
        let names = |is_whole| [View::Hashed.name(is_whole), View::Bert.name(is_whole)];
        assert_eq!(names(true), ["tweets-hashed", "twitter"]);
        assert_eq!(names(false), ["tweets-hashed", "tweets-bert"]);
    }
}
