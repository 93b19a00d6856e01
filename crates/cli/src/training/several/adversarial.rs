//! Adversarial distillation: a discriminator learns to tell a teacher's outputs from a student's, who learns to mislead it.

use std::ops::ControlFlow;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Tensor};
use core_tensors::kernels::{Activation, linear};
use core_tensors::{
    Adam, AdamConfig, Block, Dataset, Epoch, Fit, Layout, Params, Rng, Schedule, Targets,
};
use losses::{Distillation, GanLoss, distillation, probability_of_teacher};
use models::{Architecture, Mlp, SpectralNorm};

use crate::ledger::metric;
use crate::training::course::Steps;
use crate::training::{Monitor, Record, chunk};

/// Slope of the discriminator's leaky ReLU.
const SLOPE: f64 = 0.2;
/// A player wins a pass where D(teacher) and D(student) are further apart.
const WON: f64 = 0.9;
/// Passes won in a row by one player that deserve a warning.
const LONG: usize = 3;

/// The rules of a game between a student and a discriminator.
#[derive(Clone, Copy)]
pub struct AdversarialCourse<'a> {
    /// g(x, ·).
    pub student: &'a dyn Architecture,
    /// Passes and batches.
    pub fit: Fit,
    /// What both minimize.
    pub gan_loss: GanLoss,
    /// ≥ 0: weights of the label loss and of the adversarial term in the student's loss, the latter by the share of the steps
    /// that are done.
    pub weights: (f64, Schedule),
    /// Step sizes of Adam, of the student and of the discriminator, by the same share; above 0 from the first step on.
    pub learning_rates: (Schedule, Schedule),
    /// Steps of the discriminator before each of the student's, at least 1.
    pub critic_steps: usize,
    /// Units of both hidden layers of the discriminator.
    pub critic_units: usize,
    /// Which of the student's [`Architecture::activations`] meet those of the teacher that the data hold, in their order.
    ///
    /// Where widths differ a linear projection of the student's, trained with the student, makes them equal.
    pub layers: &'a [usize],
    /// Whether the discriminator also sees the label: it then tells outputs apart class by class.
    pub is_conditional: bool,
    /// Whether its weights are divided by their largest singular values.
    pub is_spectral: bool,
}

/// What a teacher puts out on some examples: the outputs that a discriminator sees, side by side.
pub struct Shown {
    /// The examples with the outputs as answers, (m, Σ d).
    pub data: Dataset,
    /// d of each output.
    pub widths: Vec<usize>,
}

/// The chosen outputs of a trained teacher on all examples, each flattened to (m, d).
pub fn shown(
    data: &Dataset,
    teacher: &dyn Architecture,
    w: &Params,
    layers: &[usize],
) -> Result<Shown> {
    let frozen = w.frozen();
    let mut widths = Vec::new();
    let teacher_logits = |x: &Tensor| -> Result<Tensor> {
        let chosen = picked(&teacher.activations(&frozen, x)?, layers)?;
        widths = chosen.iter().map(|z| z.dim(1)).collect::<candle_core::Result<_>>()?;
        Ok(Tensor::cat(&chosen, 1)?)
    };
    let data = data.clone().with_teacher(chunk(data.x()), teacher_logits)?;
    Ok(Shown { data, widths })
}

fn picked(outputs: &[Tensor], layers: &[usize]) -> Result<Vec<Tensor>> {
    let pick = |&layer: &usize| {
        let found = outputs.get(layer);
        let z =
            found.with_context(|| format!("layer: wanted < {}, found {layer}", outputs.len()))?;
        Ok(z.flatten_from(1)?)
    };
    layers.iter().map(pick).collect()
}

/// Both players with their optimizers.
struct Players {
    student: Params,
    /// One matrix for each output whose widths differ.
    projections: Vec<Option<Params>>,
    critic: Mlp,
    theta: Params,
    norm: Option<SpectralNorm>,
    /// Of the student, its projections, and the discriminator.
    adams: (Adam, Vec<Option<Adam>>, Adam),
}

impl Players {
    fn new(course: &AdversarialCourse, shown: &Shown, rng: &Rng) -> Result<Self> {
        let device = shown.data.x().device();
        let student = course.student.init(&mut rng.split("student"), device)?.trainable()?;
        let one = course.student.activations(&student, &shown.data.rows(&[0])?.x().clone())?;
        if course.layers.len() != shown.widths.len() {
            bail!(
                "layers of the student: wanted {}, found {}",
                shown.widths.len(),
                course.layers.len()
            );
        }
        let (rate, critic_rate) = course.learning_rates;
        let (rate, critic_rate) = (rate.at(0.0), critic_rate.at(0.0));
        let mut projections = Vec::new();
        for (i, (own, &wanted)) in
            picked(&one, course.layers)?.iter().zip(&shown.widths).enumerate()
        {
            let width = own.dim(1)?;
            let layout = Layout { blocks: vec![Block { rows: wanted, cols: width }] };
            let bound = 1.0 / (width as f64).sqrt();
            let mut draws = rng.split(&format!("projection {i}"));
            let start = || Params::uniform(&layout, &[bound], &mut draws, device)?.trainable();
            projections.push((width != wanted).then(start).transpose()?);
        }
        let n_classes = match shown.data.y() {
            Targets::Classes { n_classes, .. } => *n_classes,
            Targets::Values(_) => bail!("adversarial distillation wanted classes, found values"),
        };
        let condition = if course.is_conditional { n_classes } else { 0 };
        let inputs = shown.widths.iter().sum::<usize>() + condition;
        let widths = vec![inputs, course.critic_units, course.critic_units, 1];
        let activation = Activation::LeakyRelu { slope: SLOPE };
        let critic = Mlp { widths, activation, bias: true };
        let theta = critic.init(&mut rng.split("critic"), device)?.trainable()?;
        let norm = course
            .is_spectral
            .then(|| SpectralNorm::new(&theta, true, &mut rng.split("spectral")))
            .transpose()?;
        let adam = |rate, w: &Params| Adam::new(AdamConfig::pytorch(rate), w);
        let of_projections =
            projections.iter().map(|p| p.as_ref().map(|p| adam(rate, p)).transpose());
        let adams = (
            adam(rate, &student)?,
            of_projections.collect::<core_tensors::Result<_>>()?,
            adam(critic_rate, &theta)?,
        );
        Ok(Self { student, projections, critic, theta, norm, adams })
    }

    fn set_learning_rates(&mut self, course: &AdversarialCourse, done: f64) -> Result<()> {
        let (rate, critic_rate) = course.learning_rates;
        self.adams.0.set_learning_rate(rate.at(done))?;
        for adam in self.adams.1.iter_mut().flatten() {
            adam.set_learning_rate(rate.at(done))?;
        }
        Ok(self.adams.2.set_learning_rate(critic_rate.at(done))?)
    }

    /// What the discriminator sees of the student, (m, Σ d), and its logits of the classes.
    fn play(&self, course: &AdversarialCourse, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let outputs = course.student.activations(&self.student, x)?;
        let own = picked(&outputs, course.layers)?;
        let parts = own.iter().zip(&self.projections).map(|(z, projection)| match projection {
            Some(p) => linear(z, &p.blocks()[0], Activation::Identity),
            None => Ok(z.clone()),
        });
        let parts = parts.collect::<candle_core::Result<Vec<_>>>()?;
        let logits = outputs.last().context("a student without outputs")?.clone();
        Ok((Tensor::cat(&parts, 1)?, logits))
    }

    /// The discriminator's logits of outputs, with its own gradient or without.
    fn judge(
        &mut self,
        outputs: &Tensor,
        condition: Option<&Tensor>,
        is_learning: bool,
    ) -> Result<Tensor> {
        let theta = match &mut self.norm {
            Some(norm) => norm.normalized(&self.theta)?,
            None => self.theta.clone(),
        };
        let theta = if is_learning { theta } else { theta.frozen() };
        let seen = match condition {
            Some(condition) => Tensor::cat(&[outputs, condition], 1)?,
            None => outputs.clone(),
        };
        Ok(self.critic.forward(&theta, &seen)?)
    }
}

/// Trains a student against a discriminator; gives its weights and the curves of both players.
///
/// `teacher_probability` and `student_probability` are the means of D over the batches of a pass, before each step of the
/// discriminator; `passes_won` is the longest row of passes that one player won; `on_epoch` adds what it likes. Start and
/// batches come from `rng` under the names that every scheme here uses, so that arms of a seed share them.
pub fn train_adversarially(
    monitor: &dyn Monitor,
    course: &AdversarialCourse,
    shown: &Shown,
    rng: &Rng,
    mut on_epoch: impl FnMut(&Params, Epoch, &mut Record) -> Result<()>,
) -> Result<(Params, Record)> {
    if course.critic_steps == 0 {
        bail!("steps of the discriminator: wanted at least 1, found 0");
    }
    let mut players = Players::new(course, shown, rng)?;
    let frozen = players.student.frozen();
    let sums = std::cell::RefCell::new((0.0, 0.0, 0usize));
    let mut steps = Steps::new(course.fit, shown.data.n_examples());
    let step = |batch: &Dataset| -> Result<f64> {
        let done = steps.next_share();
        players.set_learning_rates(course, done)?;
        let Some(soft) = batch.soft() else {
            bail!("adversarial distillation wanted a teacher's outputs")
        };
        let teacher = soft.logits();
        let condition = course.is_conditional.then(|| one_hot(batch)).transpose()?;
        let (own, logits) = players.play(course, batch.x())?;
        for round in 0..course.critic_steps {
            let of_teacher = players.judge(teacher, condition.as_ref(), true)?;
            let of_student = players.judge(&own.detach(), condition.as_ref(), true)?;
            if round == 0 {
                let mean = |logits: &Tensor| -> Result<f64> {
                    let p = probability_of_teacher(logits)?.mean_all()?;
                    Ok(p.to_dtype(DType::F64)?.to_scalar::<f64>()?)
                };
                let mut sums = sums.borrow_mut();
                sums.0 += mean(&of_teacher)?;
                sums.1 += mean(&of_student)?;
                sums.2 += 1;
            }
            let loss = course.gan_loss.discriminator(&of_teacher, &of_student)?;
            players.adams.2.step(&loss.backward()?)?;
        }
        let (of_labels, of_gan_loss) = (course.weights.0, course.weights.1.at(done));
        let labels = distillation(&logits, &batch.without_teacher(), &Distillation::labels_only())?;
        let mut loss = (labels * of_labels)?;
        if of_gan_loss > 0.0 {
            let judged = players.judge(&own, condition.as_ref(), false)?;
            loss = (loss + (course.gan_loss.student(&judged)? * of_gan_loss)?)?;
        }
        let gradients = loss.backward()?;
        players.adams.0.step(&gradients)?;
        for adam in players.adams.1.iter_mut().flatten() {
            adam.step(&gradients)?;
        }
        Ok(loss.to_dtype(DType::F64)?.to_scalar::<f64>()?)
    };
    let (mut record, mut streak, mut longest) = (Record::default(), (0, 0.0), 0);
    let after = |epoch: Epoch| -> Result<ControlFlow<()>> {
        let (teacher, student, n) = sums.replace((0.0, 0.0, 0));
        let [teacher, student] = [teacher, student].map(|sum| sum / n.max(1) as f64);
        record.push(metric::TEACHER_PROBABILITY, teacher);
        record.push(metric::STUDENT_PROBABILITY, student);
        let winner =
            if (teacher - student).abs() > WON { (teacher - student).signum() } else { 0.0 };
        streak = if winner != 0.0 && winner == streak.1 {
            (streak.0 + 1, winner)
        } else {
            (usize::from(winner != 0.0), winner)
        };
        longest = longest.max(streak.0);
        if streak.0 == LONG {
            monitor.note(&format!(
                "warning: for {LONG} passes the discriminator's answers on teacher and student lie {:.2} apart: one player \
                 wins, and the student learns little from it",
                (teacher - student).abs()
            ));
        }
        on_epoch(&frozen, epoch, &mut record)?;
        monitor.point_done()?;
        Ok(ControlFlow::Continue(()))
    };
    course.fit.run(&shown.data, &mut rng.split("student batches"), step, after)?;
    record.push(metric::PASSES_WON, longest as f64);
    Ok((frozen, record))
}

/// Labels as (m, k), f32.
fn one_hot(batch: &Dataset) -> Result<Tensor> {
    let Targets::Classes { labels, n_classes } = batch.y() else {
        bail!("adversarial distillation wanted classes, found values");
    };
    let classes = Tensor::arange(0u32, *n_classes as u32, labels.device())?.unsqueeze(0)?;
    Ok(labels.unsqueeze(1)?.broadcast_eq(&classes)?.to_dtype(DType::F32)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::data::synthetic::SyntheticClasses;
    use candle_core::Device;

    use crate::training::Unwatched;
    use crate::training::{Course, Examination, train_segments};

    const FIT: Fit = Fit { epochs: 3, batch_size: 64 };
    const RATE: Schedule = Schedule::Constant(1e-3);

    fn perceptron(widths: &[usize]) -> Mlp {
        Mlp { widths: widths.to_vec(), activation: Activation::Relu, bias: true }
    }

    fn course<'a>(
        student: &'a Mlp,
        layers: &'a [usize],
        weight: Schedule,
    ) -> AdversarialCourse<'a> {
        AdversarialCourse {
            student,
            fit: FIT,
            gan_loss: GanLoss::NonSaturating,
            weights: (1.0, weight),
            learning_rates: (RATE, RATE),
            critic_steps: 1,
            critic_units: 8,
            layers,
            is_conditional: true,
            is_spectral: false,
        }
    }

    #[test]
    fn a_watched_student_is_one_of_labels_alone_and_a_weight_changes_it() {
        let data = SyntheticClasses::new(&Device::Cpu).unwrap();
        let (teacher, student) = (perceptron(&[10, 12, 3]), perceptron(&[10, 5, 3]));
        let rng = Rng::new(3);
        let w = teacher.init(&mut rng.split("teacher"), &Device::Cpu).unwrap();
        let exam = Examination::new(&data.test).unwrap();
        let run = |layers: [&[usize]; 2], weight: Schedule| {
            let shown = shown(&data.train, &teacher, &w, layers[0]).unwrap();
            let course = course(&student, layers[1], weight);
            let look = |w: &Params, epoch, record: &mut Record| {
                exam.take(&exam.predictions(&student, w)?, epoch, record)
            };
            let (_, record) = train_adversarially(&Unwatched, &course, &shown, &rng, look).unwrap();
            record.finish().unwrap()
        };
        let plain = Course {
            network: &student,
            fit: FIT,
            learning_rate: 1e-3,
            loss: Distillation::labels_only(),
        };
        let view = |batch: &Dataset| Ok(batch.clone());
        let alone = train_segments(&Unwatched, &plain, &data.train, &rng, 1, view, &exam)
            .unwrap()
            .remove(0);
        let watched = run([&[1], &[1]], Schedule::Constant(0.0));
        assert_eq!(watched[metric::CROSS_ENTROPY.name], alone[metric::CROSS_ENTROPY.name]);
        // A weight that grows acts from the second step on.
        let rising = run([&[1], &[1]], Schedule::Linear { from: 0.0, to: 1e-3 });
        assert_ne!(rising[metric::CROSS_ENTROPY.name], alone[metric::CROSS_ENTROPY.name]);
        // Hidden layers of 12 and 5 units meet through a projection.
        for layers in [[&[1][..], &[1][..]], [&[0, 1], &[0, 1]]] {
            let misled = run(layers, Schedule::Constant(1.0));
            assert_ne!(misled[metric::CROSS_ENTROPY.name], alone[metric::CROSS_ENTROPY.name]);
            for metric in [metric::TEACHER_PROBABILITY, metric::STUDENT_PROBABILITY] {
                assert!(
                    misled[metric.name].len() == 3
                        && misled[metric.name].iter().all(|p| (0.0..1.0).contains(p))
                );
            }
        }
    }

    #[test]
    fn each_player_has_a_step_size_of_its_own() {
        let data = SyntheticClasses::new(&Device::Cpu).unwrap();
        let (teacher, student) = (perceptron(&[10, 12, 3]), perceptron(&[10, 5, 3]));
        let rng = Rng::new(3);
        let w = teacher.init(&mut rng.split("teacher"), &Device::Cpu).unwrap();
        let start = student.init(&mut rng.split("student"), &Device::Cpu).unwrap();
        let start = start.to_vec().unwrap();
        let shown = shown(&data.train, &teacher, &w, &[1]).unwrap();
        // How far the student went, and how far D's mean on the teacher moved from the first pass to the last.
        let run = |learning_rates: (Schedule, Schedule)| {
            let course = AdversarialCourse {
                learning_rates,
                ..course(&student, &[1], Schedule::Constant(1.0))
            };
            let look = |_: &Params, _, record: &mut Record| {
                record.push(metric::CROSS_ENTROPY, 0.0);
                Ok(())
            };
            let (w, record) = train_adversarially(&Unwatched, &course, &shown, &rng, look).unwrap();
            let d = &record.finish().unwrap()[metric::TEACHER_PROBABILITY.name];
            let w = w.to_vec().unwrap();
            let gaps = w.iter().zip(&start).map(|(a, b)| (a - b).abs());
            (gaps.fold(0.0, f64::max), (d[2] - d[0]).abs())
        };
        let (fast, slow) = (Schedule::Constant(1e-2), Schedule::Constant(1e-9));
        let (still, moved) = (run((slow, fast)), run((fast, slow)));
        assert!(still.0 < 1e-5 && still.1 > 1e-2, "{still:?}");
        assert!(moved.0 > 1e-2 && moved.1 < 1e-4, "{moved:?}");
        // A step size that falls has gone less far than one that stays, and further than none.
        let falling = run((Schedule::Linear { from: 1e-2, to: 1e-9 }, slow));
        assert!(falling.0 < 0.9 * moved.0 && falling.0 > 1e-3, "{falling:?} {moved:?}");
    }

    #[test]
    fn layers_that_are_not_there_are_refused() {
        let data = SyntheticClasses::new(&Device::Cpu).unwrap();
        let teacher = perceptron(&[10, 12, 3]);
        let w = teacher.init(&mut Rng::new(0), &Device::Cpu).unwrap();
        let message = shown(&data.train, &teacher, &w, &[2]).err().unwrap().to_string();
        assert!(message.contains("layer: wanted < 2, found 2"), "{message}");
    }
}
