//! Paper 002: a perceptron learns from a convolutional network by misleading a discriminator.

mod claims;

use anyhow::Result;
use core_tensors::{Dataset, Fit, Params, Rng, Schedule};
use losses::{Distillation, GanLoss};
use models::{Architecture, Cnn, Mlp};

use super::base::{LEARNING_RATE, STUDENT, STUDENT_BATCH as BATCH, perceptron};
use crate::experiments::{Outcome, Task};
use crate::ledger::metric;
use crate::training::{
    AdversarialCourse, Course, Examination, Record, at_most, logits, shown, train,
    train_adversarially, train_segments,
};

pub(super) use claims::ADVERSARIAL;

/// The teacher's last hidden layer and its logits, the student's hidden layer and its logits, among their outputs.
const OF_TEACHER: [usize; 2] = [3, 4];
const OF_STUDENT: [usize; 2] = [0, 1];
const CRITIC_UNITS: usize = 64;
/// Weight of the adversarial term beside the labels' 1, where it is small.
const SMALL_WEIGHT: f64 = 0.05;
/// Training examples on which the accuracy is taken.
const N_EXAMINED: usize = 5000;

settings! {
    teacher_epochs: usize = 1, 5;
    /// Passes over many and over few examples.
    epochs: [usize; 2] = [1, 2], [10, 60];
    /// Many and few examples.
    n_examples: [usize; 2] = [1000, 300], [60_000, 1000];
    most_test: Option<usize> = Some(500), None;
}

/// An arm of the game.
struct Arm {
    name: &'static str,
    gan_loss: GanLoss,
    /// Of the adversarial term; labels have 1.
    weight: Schedule,
    /// Step size of the discriminator.
    rate: Schedule,
    /// Whether the discriminator sees the last hidden layers too.
    is_deep: bool,
    is_conditional: bool,
}

fn arms() -> [Arm; 10] {
    let arm = |name, gan_loss, weight| Arm {
        name,
        gan_loss,
        weight: Schedule::Constant(weight),
        rate: Schedule::Constant(LEARNING_RATE),
        is_deep: false,
        is_conditional: false,
    };
    let (weight, rate) = (Schedule::Ramp(1.0), Schedule::Cosine(LEARNING_RATE));
    [
        arm("watched", GanLoss::NonSaturating, 0.0),
        arm("literal", GanLoss::AsPrinted, 1.0),
        arm("saturating", GanLoss::Saturating, 1.0),
        arm("non-saturating", GanLoss::NonSaturating, 1.0),
        Arm { weight, rate, ..arm("scheduled", GanLoss::NonSaturating, 1.0) },
        arm("non-saturating-small", GanLoss::NonSaturating, SMALL_WEIGHT),
        arm("hinge", GanLoss::Hinge, SMALL_WEIGHT),
        arm("wasserstein", GanLoss::Wasserstein, SMALL_WEIGHT),
        Arm { is_conditional: true, ..arm("conditional", GanLoss::NonSaturating, SMALL_WEIGHT) },
        Arm { is_deep: true, ..arm("hidden", GanLoss::NonSaturating, SMALL_WEIGHT) },
    ]
}

/// What all arms of one number of examples share.
struct Study<'a> {
    task: &'a Task<'a>,
    teacher: (&'a Cnn, &'a Params),
    student: &'a Mlp,
    data: Dataset,
    epochs: usize,
    exam: &'a Examination,
    rng: Rng,
}

impl Study<'_> {
    fn run(&self, size: &str, outcome: &mut Outcome) -> Result<()> {
        let fit = Fit { epochs: self.epochs, batch_size: BATCH };
        let on_train = Examination::new(&at_most(&self.data, N_EXAMINED)?)?;
        let (network, w) = self.teacher;
        // A hidden layer stands before the logits; what a discriminator is shown without it are soft labels.
        let [deep, shallow] =
            [0, 1].map(|first| shown(&self.data, network, w, &OF_TEACHER[first..]));
        let (deep, shallow) = (deep?, shallow?);
        for arm in arms() {
            let (shown, first) = if arm.is_deep { (&deep, 0) } else { (&shallow, 1) };
            let course = AdversarialCourse {
                student: self.student,
                fit,
                gan_loss: arm.gan_loss,
                weights: (1.0, arm.weight),
                learning_rates: (Schedule::Constant(LEARNING_RATE), arm.rate),
                critic_steps: 1,
                critic_units: CRITIC_UNITS,
                layers: &OF_STUDENT[first..],
                is_conditional: arm.is_conditional,
                is_spectral: arm.gan_loss == GanLoss::Wasserstein,
            };
            let look = |w: &Params, epoch, record: &mut Record| {
                let p = on_train.predictions(self.student, w)?;
                record.push(metric::TRAIN_ACCURACY, p.accuracy(on_train.labels())?);
                self.exam.take(&self.exam.predictions(self.student, w)?, epoch, record)
            };
            let (_, record) = train_adversarially(self.task, &course, shown, &self.rng, look)?;
            outcome.add(&format!("adversarial/{size}/{}", arm.name), record.finish()?);
        }
        // What a practitioner has already: soft labels, with the same start and batches.
        let loss = Distillation::sum_of_both();
        let course = Course { network: self.student, fit, learning_rate: LEARNING_RATE, loss };
        let view = |batch: &Dataset| Ok(batch.clone());
        for run in train_segments(self.task, &course, &shallow.data, &self.rng, 1, view, self.exam)?
        {
            outcome.add(&format!("adversarial/{size}/soft-labels"), run);
        }
        Ok(())
    }
}

fn run(task: &Task) -> Result<Outcome> {
    let settings = settings(task.session.scale);
    let n_passes: usize = settings.epochs.iter().sum();
    task.expect_epochs(settings.teacher_epochs + (arms().len() + 1) * n_passes);
    let digits = task.session.images("mnist")?;
    let rng = Rng::new(task.part.seed()).split("adversarial");
    let order = rng.split("objects").permutation(digits.train.n_examples());
    let test = at_most(&digits.test, settings.most_test.unwrap_or(usize::MAX))?;
    let mut outcome = Outcome::default();

    let part = |n: usize| digits.train.rows(&order[..n.min(order.len())]);
    let [many, few] = settings.n_examples;
    let teacher = Cnn::small();
    let w = teacher.init(&mut rng.split("teacher"), &task.session.device)?.trainable()?;
    let fit = Fit { epochs: settings.teacher_epochs, batch_size: BATCH };
    let loss = Distillation::labels_only();
    let course = Course { network: &teacher, fit, learning_rate: LEARNING_RATE, loss };
    train(task, &course, &w, &part(many)?, &mut rng.split("teacher batches"), |_, _| Ok(()))?;
    let w = w.frozen();
    let exam = Examination::new(&test)?;
    let teacher_predictions = losses::Predictions::new(&logits(&teacher, &w, test.x())?)?;
    outcome.add("adversarial/the-teacher", exam.once(&teacher_predictions)?);
    let exam = exam.with_teacher(teacher_predictions);

    let student = perceptron(&STUDENT);
    for ((n, epochs), size) in [many, few].into_iter().zip(settings.epochs).zip(["60000", "1000"]) {
        let study = Study {
            task,
            teacher: (&teacher, &w),
            student: &student,
            data: part(n)?,
            epochs,
            exam: &exam,
            rng: rng.split(size),
        };
        study.run(size, &mut outcome)?;
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Tensor};

    #[test]
    fn the_named_outputs_are_the_last_hidden_layers_and_the_scores() {
        let x = Tensor::zeros((2, 784), DType::U8, &Device::Cpu).unwrap();
        let widths = |network: &dyn Architecture, layers: &[usize]| -> Vec<usize> {
            let w = network.init(&mut Rng::new(0), &Device::Cpu).unwrap();
            let outputs = network.activations(&w, &x).unwrap();
            assert_eq!(layers.last(), Some(&(outputs.len() - 1)));
            layers.iter().map(|&t| outputs[t].dim(1).unwrap()).collect()
        };
        assert_eq!(widths(&Cnn::small(), &OF_TEACHER), [84, 10]);
        assert_eq!(widths(&perceptron(&STUDENT), &OF_STUDENT), [64, 10]);
    }
}
