//! A benchmark of methods: each tuned on the same held-out examples with as many settings, each against plain distillation.

mod candidates;
mod claims;

use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::Tensor;
use core_tensors::{Dataset, Fit, Params, Rng, Schedule, Targets};
use losses::{Distillation, Predictions};
use models::{Architecture, Cnn, Convolution};

use self::candidates::{Setting, Taught, Training, methods};
use crate::experiments::{Outcome, Task};
use crate::ledger::metric;
use crate::training::{
    AdversarialCourse, Course, Examination, ImitationCourse, MutualCourse, at_most, labels, logits,
    mean_of_members, shown, smoothed_labels, train, train_adversarially, train_chain,
    train_imitating, train_mutually, with_member_logits,
};

pub(super) use claims::METHODS;

/// Teachers of an ensemble; the first of them is the teacher of all other methods.
const N_TEACHERS: usize = 3;
/// Of the student's examples one in so many chooses the setting.
const ONE_IN: usize = 5;
const TEACHER_BATCH: usize = 64;
const STUDENT_BATCH: usize = 100;
const TEACHER_RATE: f64 = 1e-3;
const STUDENT_RATE: f64 = 3e-3;
/// The logits among the teacher's outputs and among the student's.
const LOGITS: (usize, usize) = (3, 2);
/// The student's output that meets a hidden one of the teacher's: its second convolution, 8 channels of 5 × 5 places.
const HIDDEN: usize = 1;
const CRITIC_UNITS: usize = 64;
/// Names of the data sets in rows and in the session.
const DATA: [(&str, &str); 2] = [("fashion", "fashion-mnist"), ("mnist", "mnist")];

settings! {
    teacher_epochs: usize = 1, 3;
    student_epochs: usize = 1, 20;
    /// Settings that are tried of each method.
    n_settings: usize = 2, candidates::N_SETTINGS;
    /// At most so many examples of a teacher, of a student and of the test set.
    most_examples: Option<[usize; 3]> = Some([500, 100, 100]), None;
}

/// 27 562 parameters.
fn teacher() -> Cnn {
    network(&[8, 16], &[64, 10])
}

/// Between teacher and student: 3730 parameters.
fn assistant() -> Cnn {
    network(&[6, 12], &[10])
}

/// 2346 parameters.
fn student() -> Cnn {
    network(&[4, 8], &[10])
}

fn network(channels: &[usize], dense: &[usize]) -> Cnn {
    let filters = channels.iter().map(|&channels| Convolution { channels, kernel: 3 });
    Cnn {
        input: [1, 28, 28],
        convolutions: filters.collect(),
        is_averaged: false,
        dense: dense.to_vec(),
        bias: true,
    }
}

/// What all methods share on one data set.
struct Study<'a> {
    task: &'a Task<'a>,
    epochs: usize,
    teachers: Vec<Params>,
    untrained: Params,
    rng: Rng,
}

impl Study<'_> {
    fn teacher(&self) -> Result<&Params> {
        self.teachers.first().context("a study wanted teachers, found none")
    }

    /// The examples with what a setting shows of them.
    fn taught(&self, data: &Dataset, taught: Taught) -> Result<Dataset> {
        let network = teacher();
        let all: Vec<usize> = (0..data.n_examples()).collect();
        let with = |teacher_logits: Tensor| Ok(data.clone().with_logits(&teacher_logits, &all)?);
        let members = || {
            let member = |w| (&network as &dyn Architecture, w);
            with_member_logits(data, &self.teachers.iter().map(member).collect::<Vec<_>>())
        };
        match taught {
            Taught::Nothing => Ok(data.without_teacher()),
            Taught::Logits => with(logits(&network, self.teacher()?, data.x())?),
            Taught::Untrained => with(logits(&network, &self.untrained, data.x())?),
            Taught::Ablation(ablation) => {
                let (teacher_logits, y) =
                    (logits(&network, self.teacher()?, data.x())?, labels(data)?);
                with(ablation.of(&teacher_logits, &y, 1.0, &mut self.rng.split("control"))?)
            }
            Taught::Smoothed(share) => {
                let (y, k) = (labels(data)?, n_classes(data)?);
                with(smoothed_labels(&y, k, share, data.x().device())?)
            }
            Taught::Hidden(layer) => Ok(shown(data, &network, self.teacher()?, &[layer])?.data),
            Taught::Members => members(),
            Taught::Ensemble => {
                let members = members()?;
                let teacher_logits = members.soft().context("answers of an ensemble")?.logits();
                with(mean_of_members(teacher_logits, n_classes(data)?)?)
            }
        }
    }

    /// A student of one setting.
    fn train(&self, setting: &Setting, data: &Dataset) -> Result<Params> {
        let (task, rng, network) = (self.task, &self.rng, student());
        let fit = Fit { epochs: self.epochs, batch_size: STUDENT_BATCH };
        let learning_rate = STUDENT_RATE;
        let data = &self.taught(data, setting.taught)?;
        match setting.training {
            Training::Chain(ref links, loss) => {
                let course = |network| Course { network, fit, learning_rate, loss };
                let links: Vec<Course> =
                    links.iter().map(|link| course(link as &dyn Architecture)).collect();
                let last = train_chain(task, &links, data, rng, |_, _| Ok(()))?.pop();
                last.context("a chain without a student")
            }
            Training::Imitation { what, label_weight, strength } => {
                let course = ImitationCourse {
                    student: &network,
                    fit,
                    learning_rate,
                    what,
                    layer: HIDDEN,
                    label_weight,
                    strength,
                };
                train_imitating(task, &course, data, rng, |_, _| Ok(()))
            }
            Training::Mutual { weight, temperature } => {
                let students: &[&dyn Architecture] = &[&network, &network];
                let course = MutualCourse { students, fit, learning_rate, weight, temperature };
                Ok(train_mutually(task, &course, data, rng, |_, _| Ok(()))?.swap_remove(0))
            }
            Training::Adversarial { gan_loss, weight, is_conditional } => {
                let rate = Schedule::Constant(learning_rate);
                let shown = shown(data, &teacher(), self.teacher()?, &[LOGITS.0])?;
                let course = AdversarialCourse {
                    student: &network,
                    fit,
                    gan_loss,
                    weights: (1.0, Schedule::Constant(weight)),
                    learning_rates: (rate, rate),
                    critic_steps: 1,
                    critic_units: CRITIC_UNITS,
                    layers: &[LOGITS.1],
                    is_conditional,
                    is_spectral: false,
                };
                Ok(train_adversarially(task, &course, &shown, rng, |_, _, _| Ok(()))?.0)
            }
        }
    }

    /// The setting whose student is best on the held-out examples, by its cross-entropy; the first among equals.
    fn choose(&self, settings: &[Setting], data: &Dataset, judge: &Examination) -> Result<usize> {
        let mut best = (0, f64::INFINITY);
        for (index, setting) in settings.iter().enumerate() {
            let w = self.train(setting, data)?;
            let risk = judge.predictions(&student(), &w)?.cross_entropy(judge.labels())?;
            if risk < best.1 {
                best = (index, risk);
            }
        }
        Ok(best.0)
    }
}

fn n_classes(data: &Dataset) -> Result<usize> {
    match data.y() {
        Targets::Classes { n_classes, .. } => Ok(*n_classes),
        Targets::Values(_) => anyhow::bail!("wanted classes, found values"),
    }
}

fn run(task: &Task) -> Result<Outcome> {
    let settings = settings(task.session.scale);
    let methods = methods();
    let n_links = |setting: &Setting| setting.training.n_links() * settings.student_epochs;
    let of_students: usize = methods
        .iter()
        .map(|method| {
            let tried = method.settings.iter().take(settings.n_settings);
            let tuned: usize = tried.map(n_links).sum();
            n_links(&method.settings[0]) + if method.settings.len() > 1 { tuned } else { 0 }
        })
        .sum();
    task.expect_epochs(DATA.len() * (N_TEACHERS * settings.teacher_epochs + of_students));
    let mut outcome = Outcome::default();
    for (name, id) in DATA {
        let rng = Rng::new(task.part.seed()).split("methods").split(id);
        run_on(task, settings, (name, id), &rng, &methods, &mut outcome)?;
    }
    Ok(outcome)
}

fn run_on(
    task: &Task,
    settings: Settings,
    (name, id): (&str, &str),
    rng: &Rng,
    methods: &[candidates::Method],
    outcome: &mut Outcome,
) -> Result<()> {
    let [most_big, most_small, most_test] = settings.most_examples.unwrap_or([usize::MAX; 3]);
    let (big, small) = task.session.big_and_small_of(id)?;
    let (big, small) = (at_most(big, most_big)?, at_most(small, most_small)?);
    let test = at_most(&task.session.images(id)?.test, most_test)?;
    let order = rng.split("held out").permutation(small.n_examples());
    let (held_out, kept) = order.split_at(order.len() / ONE_IN);
    let (judge, kept) = (Examination::new(&small.rows(held_out)?)?, small.rows(kept)?);

    let (network, device) = (teacher(), &task.session.device);
    let course = Course {
        network: &network,
        fit: Fit { epochs: settings.teacher_epochs, batch_size: TEACHER_BATCH },
        learning_rate: TEACHER_RATE,
        loss: Distillation::labels_only(),
    };
    let trained = |member: usize| -> Result<Params> {
        let rng = rng.split(&format!("teacher {member}"));
        let w = network.init(&mut rng.split("start"), device)?.trainable()?;
        train(task, &course, &w, &big, &mut rng.split("batches"), |_, _| Ok(()))?;
        Ok(w.frozen())
    };
    let study = Study {
        task,
        epochs: settings.student_epochs,
        teachers: (0..N_TEACHERS).map(trained).collect::<Result<_>>()?,
        untrained: network.init(&mut rng.split("untrained"), device)?,
        rng: rng.clone(),
    };
    let exam = Examination::new(&test)?;
    let of_teacher = exam.predictions(&network, study.teacher()?)?;
    outcome.add(&format!("methods/the-teacher-{name}"), exam.once(&of_teacher)?);
    let ensemble = study.taught(&test, Taught::Ensemble)?;
    let of_ensemble = Predictions::new(ensemble.soft().context("an ensemble")?.logits())?;
    outcome.add(&format!("methods/the-ensemble-{name}"), exam.once(&of_ensemble)?);
    let exam = exam.with_teacher(of_teacher);

    for method in methods {
        let tried = &method.settings[..settings.n_settings.min(method.settings.len())];
        let chosen = if tried.len() > 1 { study.choose(tried, &kept, &judge)? } else { 0 };
        let start = Instant::now();
        let w = study.train(&tried[chosen], &small)?;
        let seconds = start.elapsed().as_secs_f64();
        let mut metrics = exam.once(&exam.predictions(&student(), &w)?)?;
        metrics.insert(metric::CHOSEN_WEIGHT.key(), vec![tried[chosen].weight]);
        if let Some(temperature) = tried[chosen].temperature {
            metrics.insert(metric::CHOSEN_TEMPERATURE.key(), vec![temperature]);
        }
        metrics.insert(metric::SECONDS.key(), vec![seconds]);
        outcome.add(&format!("methods/{name}/{}", method.row), metrics);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn networks_have_the_outputs_that_settings_name() {
        let x = Tensor::zeros((2, 784), DType::U8, &Device::Cpu).unwrap();
        let shapes = |network: &Cnn| -> Vec<Vec<usize>> {
            let w = network.init(&mut Rng::new(0), &Device::Cpu).unwrap();
            let outputs = network.activations(&w, &x).unwrap();
            outputs.iter().map(|output| output.dims()[1..].to_vec()).collect()
        };
        let (of_teacher, of_student) = (shapes(&teacher()), shapes(&student()));
        assert_eq!(of_teacher, [vec![8, 13, 13], vec![16, 5, 5], vec![64], vec![10]]);
        assert_eq!(of_student, [vec![4, 13, 13], vec![8, 5, 5], vec![10]]);
        assert_eq!((of_teacher.len() - 1, of_student.len() - 1), LOGITS);
        let n = |network: &Cnn| network.layout().n_parameters();
        assert_eq!([teacher(), assistant(), student()].map(|net| n(&net)), [27_562, 3730, 2346]);
    }
}
