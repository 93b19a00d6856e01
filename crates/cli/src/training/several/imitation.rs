//! Training on labels and on one more term: whatever a student may take over from a teacher's answers or hidden layers.

use anyhow::{Context, Result, bail};
use candle_core::{DType, Tensor};
use core_tensors::kernels::{Activation, linear};
use core_tensors::{Block, Dataset, Epoch, Fit, Layout, Params, Rng, Schedule};
use losses::features::{self, AtGap, NstKernel};
use losses::{
    Dist, Distillation, Divergence, Dkd, TemperatureScale, dirichlet, dist, distillation,
    divergence, dkd, ls,
};
use models::Architecture;

use crate::training::course::Steps;
use crate::training::{Monitor, joined, train_on};

/// Power of the activations in an attention map.
const POWER: f64 = 2.0;
/// Examples of a batch whose pairs and triples are looked at.
const MOST_RELATED: usize = 24;
/// Smallest variance of a feature of the teacher.
const SMALLEST_VARIANCE: f64 = 1e-5;

/// What a student takes over from a teacher beside the labels.
///
/// The first five want the teacher's logits in the data, (m, k), [`Imitation::Dirichlet`] those of several
/// teachers side by side; the others the outputs of one hidden layer, each example's in the order of memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Imitation {
    /// [`losses::divergence`](fn@losses::divergence) at T, times T².
    Divergence(Divergence, f64),
    /// LS, logit standardization: [`losses::ls`](fn@losses::ls), forward, at T, times T².
    Ls(f64),
    /// DKD, decoupled knowledge distillation: [`losses::dkd`](fn@losses::dkd).
    Dkd(Dkd),
    /// DIST, distillation from a stronger teacher: [`losses::dist`](fn@losses::dist).
    Dist(Dist),
    /// [`losses::dirichlet`] at a T that may move, times T².
    Dirichlet(Schedule),
    /// FitNets: [`features::fitnets`] after a trained linear map of the channels, place by place.
    FitNets,
    /// AT, attention transfer: [`features::at`], squares, mean square over places.
    At,
    /// NST, neuron selectivity transfer: [`features::nst`].
    Nst(NstKernel),
    /// VID, variational information distillation: [`features::vid`], whose mean is a trained linear map of the channels,
    /// place by place.
    Vid,
    /// SP, similarity preserving: [`features::sp`].
    Sp,
    /// RKD, relational knowledge distillation: [`features::rkd_distance`] of the first 24 examples of a batch.
    RkdDistance,
    /// [`features::rkd_angle`] of the first 24 examples of a batch: it grows with their cube.
    RkdAngle,
    /// PKT, probabilistic knowledge transfer: [`features::pkt`].
    Pkt,
}

/// How much the term counts beside the labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Strength {
    /// w ≥ 0, a factor.
    Weight(f64),
    /// r ≥ 0: the factor that makes the term r times the labels' loss at the start, on the first batch of the data.
    ///
    /// Terms of any unit can so be tried over one range, if they are 0 where the student equals the teacher: a density's
    /// logarithm, whose zero means nothing, wants a [`Strength::Weight`].
    OfLabels(f64),
}

/// How a student is trained on labels and a term.
#[derive(Clone, Copy)]
pub struct ImitationCourse<'a> {
    /// g(x, ·).
    pub student: &'a dyn Architecture,
    /// Passes and batches.
    pub fit: Fit,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// What is taken over.
    pub what: Imitation,
    /// Which of the student's [`Architecture::activations`] meets a hidden layer of the teacher's; logits need none.
    pub layer: usize,
    /// ≥ 0: weight of the labels' cross-entropy.
    pub label_weight: f64,
    /// Weight of the term.
    pub strength: Strength,
}

/// Trains a student on aCE + w·term; start and batches come from `rng` under the names that every scheme here uses.
///
/// What is trained beside the student, a map of channels or variances, is dropped at the end.
pub fn train_imitating(
    monitor: &dyn Monitor,
    course: &ImitationCourse,
    data: &Dataset,
    rng: &Rng,
    mut on_epoch: impl FnMut(&Params, Epoch) -> Result<()>,
) -> Result<Params> {
    let device = data.x().device();
    let w = course.student.init(&mut rng.split("student"), device)?.trainable()?;
    let first: Vec<usize> = (0..data.n_examples().min(course.fit.batch_size)).collect();
    let first = data.rows(&first)?;
    let beside = course.beside(&w, &first, &mut rng.split("beside"))?;
    let weight = match course.strength {
        Strength::Weight(weight) => weight,
        Strength::OfLabels(ratio) => {
            let (labels, term) = course.terms(&w.frozen(), &beside.frozen(), &first, 0.0)?;
            let (labels, term) = (number(&labels)?, number(&term)?);
            if !(term > 0.0 && term.is_finite()) {
                bail!("the student's term at its start: wanted a number above 0, found {term}");
            }
            ratio * labels / term
        }
    };
    let mut steps = Steps::new(course.fit, data.n_examples());
    let loss = |batch: &Dataset| {
        let (labels, term) = course.terms(&w, &beside, batch, steps.next_share())?;
        Ok(((labels * course.label_weight)? + (term * weight)?)?)
    };
    let (frozen, how) = (w.frozen(), (course.fit, course.learning_rate));
    let all = joined(&[&w, &beside])?;
    let mut batches = rng.split("student batches");
    train_on(monitor, how, &all, data, &mut batches, loss, |_, epoch| on_epoch(&frozen, epoch))?;
    Ok(frozen)
}

impl ImitationCourse<'_> {
    /// What is trained beside the student: a map from its channels to the teacher's with a bias, and variances.
    fn beside(&self, w: &Params, batch: &Dataset, rng: &mut Rng) -> Result<Params> {
        let device = batch.x().device();
        let none = Layout { blocks: Vec::new() };
        if !matches!(self.what, Imitation::FitNets | Imitation::Vid) {
            return Ok(Params::new(none, Vec::new())?);
        }
        let student = self.output(&self.student.activations(w, batch.x())?)?;
        let teacher = like(&student, batch)?;
        let (own, wanted) = (student.dim(1)?, teacher.dim(1)?);
        let mut blocks = vec![Block { rows: wanted, cols: own + 1 }];
        let mut bounds = vec![1.0 / (own as f64).sqrt()];
        if self.what == Imitation::Vid {
            // α = 0: variances of log 2.
            blocks.push(Block { rows: wanted, cols: 1 });
            bounds.push(0.0);
        }
        Ok(Params::uniform(&Layout { blocks }, &bounds, rng, device)?.trainable()?)
    }

    fn output(&self, outputs: &[Tensor]) -> Result<Tensor> {
        let found = outputs.get(self.layer).cloned();
        let (wanted, found_at) = (outputs.len(), self.layer);
        found.with_context(|| format!("layer of the student: wanted < {wanted}, found {found_at}"))
    }

    /// The labels' cross-entropy and the term of a batch after a share of the steps.
    fn terms(
        &self,
        w: &Params,
        beside: &Params,
        batch: &Dataset,
        done: f64,
    ) -> Result<(Tensor, Tensor)> {
        let outputs = self.student.activations(w, batch.x())?;
        let logits = outputs.last().context("a student without outputs")?;
        let alone = batch.without_teacher();
        let labels = distillation(logits, &alone, &Distillation::labels_only())?;
        let squared = TemperatureScale::Squared;
        let hidden = || -> Result<[Tensor; 2]> {
            let student = self.output(&outputs)?;
            let teacher = like(&student, batch)?;
            Ok([student, teacher])
        };
        // Object with example: the two need not have the same places.
        let rows = || anyhow::Ok([self.output(&outputs)?, teacher_logits(batch)?.clone()]);
        let mapped = || -> Result<[Tensor; 2]> {
            let [student, teacher] = hidden()?;
            let map = beside.blocks().first().context("a map of channels")?;
            Ok([of_channels(&student, map)?, teacher])
        };
        let term = match self.what {
            Imitation::Divergence(kind, t) => divergence(logits, batch, kind, t, squared)?,
            Imitation::Ls(t) => ls(logits, batch, Divergence::ForwardKl, t, squared)?,
            Imitation::Dkd(config) => dkd(logits, batch, &config)?,
            Imitation::Dist(config) => dist(logits, batch, &config)?,
            Imitation::Dirichlet(schedule) => {
                let t = schedule.at(done);
                (dirichlet(logits, batch, t)? * t.powi(2))?
            }
            Imitation::FitNets => {
                let [student, teacher] = mapped()?;
                features::fitnets(&student, &teacher, None)?
            }
            Imitation::Vid => {
                let [student, teacher] = mapped()?;
                let alpha = beside.blocks().get(1).context("variances of channels")?.squeeze(1)?;
                features::vid(&student, &teacher, &alpha, SMALLEST_VARIANCE)?
            }
            Imitation::At => {
                let [student, teacher] = hidden()?;
                features::at(&student, &teacher, POWER, AtGap::MeanSquare)?
            }
            Imitation::Nst(kernel) => {
                let [student, teacher] = hidden()?;
                features::nst(&student, &teacher, kernel)?
            }
            Imitation::Sp => of_rows(features::sp, rows()?)?,
            Imitation::RkdDistance => of_rows(features::rkd_distance, some(rows()?)?)?,
            Imitation::RkdAngle => of_rows(features::rkd_angle, some(rows()?)?)?,
            Imitation::Pkt => of_rows(features::pkt, rows()?)?,
        };
        Ok((labels, term))
    }
}

fn of_rows(
    loss: fn(&Tensor, &Tensor) -> losses::Result<Tensor>,
    [student, teacher]: [Tensor; 2],
) -> Result<Tensor> {
    Ok(loss(&student, &teacher)?)
}

fn teacher_logits(batch: &Dataset) -> Result<&Tensor> {
    let soft = batch.soft().context("a teacher's hidden layer: wanted one, found none")?;
    Ok(soft.logits())
}

/// The first examples of both.
fn some([student, teacher]: [Tensor; 2]) -> Result<[Tensor; 2]> {
    let n = student.dim(0)?.min(MOST_RELATED);
    Ok([student.narrow(0, 0, n)?, teacher.narrow(0, 0, n)?])
}

/// The teacher's outputs that a batch holds, (m, d), in the student's places: (m, d / (h·w), h, w) beside (m, c, h, w).
fn like(student: &Tensor, batch: &Dataset) -> Result<Tensor> {
    let teacher = teacher_logits(batch)?;
    let (m, d) = teacher.dims2()?;
    let places = student.dims().get(2..).unwrap_or_default();
    let n: usize = places.iter().product();
    if d % n.max(1) != 0 {
        bail!("numbers of the teacher's hidden layer: wanted a multiple of {n} places, found {d}");
    }
    let shape: Vec<usize> = [m, d / n.max(1)].iter().chain(places).copied().collect();
    Ok(teacher.reshape(shape)?)
}

/// A linear map of the channels, the same at every place: (m, c, …) → (m, rows, …).
fn of_channels(x: &Tensor, map: &Tensor) -> Result<Tensor> {
    let (m, c, places) = (x.dim(0)?, x.dim(1)?, x.dims()[2..].to_vec());
    let flat = x.reshape((m, c, ()))?;
    let n = flat.dim(2)?;
    let rows = flat.transpose(1, 2)?.contiguous()?.reshape((m * n, c))?;
    let mapped = linear(&rows, map, Activation::Identity)?; // (m·n, rows)
    let wanted = mapped.dim(1)?;
    let mapped = mapped.reshape((m, n, wanted))?.transpose(1, 2)?.contiguous()?;
    let shape: Vec<usize> = [m, wanted].into_iter().chain(places).collect();
    Ok(mapped.reshape(shape)?)
}

fn number(scalar: &Tensor) -> Result<f64> {
    Ok(scalar.to_dtype(DType::F64)?.to_scalar()?)
}

#[cfg(test)]
mod tests;
