//! A network trained on a loss: in whole, through a view of each batch, in segments.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use anyhow::Result;
use candle_core::Tensor;
use core_tensors::{Adam, AdamConfig, Dataset, Epoch, Fit, Layout, Params, Rng};
use losses::{Distillation, distillation};
use models::{Architecture, Descent};

use super::{Examination, Monitor, Record};
use crate::ledger::Curve;

/// How a network is trained.
#[derive(Clone, Copy)]
pub struct Course<'a> {
    /// f(x, ·).
    pub network: &'a dyn Architecture,
    /// Passes and batches.
    pub fit: Fit,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// What is minimized.
    pub loss: Distillation,
}

/// Trains `w` in place; `on_epoch` sees the parameters after every pass.
pub fn train(
    monitor: &dyn Monitor,
    course: &Course,
    w: &Params,
    data: &Dataset,
    rng: &mut Rng,
    on_epoch: impl FnMut(&Params, Epoch) -> Result<()>,
) -> Result<()> {
    train_through(monitor, course, w, data, rng, |batch| Ok(batch.clone()), on_epoch)
}

/// [`train`] where each batch is made anew from the examples drawn for it: seen through a random φ, or answered for.
pub fn train_through(
    monitor: &dyn Monitor,
    course: &Course,
    w: &Params,
    data: &Dataset,
    rng: &mut Rng,
    mut view: impl FnMut(&Dataset) -> Result<Dataset>,
    on_epoch: impl FnMut(&Params, Epoch) -> Result<()>,
) -> Result<()> {
    let mut descent = Descent::new(course.network, w, AdamConfig::pytorch(course.learning_rate))?;
    let step = |batch: &Dataset| {
        let batch = view(batch)?;
        descent.step(batch.x(), |f| Ok(distillation(f, &batch, &course.loss)?))
    };
    course.fit.run(data, rng, step, after_epochs(monitor, w, on_epoch))
}

/// Trains `w` in place on any loss of a batch, shape (); it may hold the weights of several networks.
pub fn train_on(
    monitor: &dyn Monitor,
    (fit, learning_rate): (Fit, f64),
    w: &Params,
    data: &Dataset,
    rng: &mut Rng,
    loss: impl FnMut(&Dataset) -> Result<Tensor>,
    on_epoch: impl FnMut(&Params, Epoch) -> Result<()>,
) -> Result<()> {
    let mut adam = Adam::new(AdamConfig::pytorch(learning_rate), w)?;
    fit.minimize(&mut adam, data, rng, loss, after_epochs(monitor, w, on_epoch))
}

/// Shows the parameters after a pass, and tells the monitor.
fn after_epochs(
    monitor: &dyn Monitor,
    w: &Params,
    mut on_epoch: impl FnMut(&Params, Epoch) -> Result<()>,
) -> impl FnMut(Epoch) -> Result<ControlFlow<()>> {
    let frozen = w.frozen();
    move |epoch| {
        on_epoch(&frozen, epoch)?;
        monitor.point_done()?;
        Ok(ControlFlow::Continue(()))
    }
}

/// How far a training has come, for a [`Schedule`](core_tensors::Schedule).
pub(super) struct Steps {
    n_done: usize,
    n_steps: usize,
}

impl Steps {
    pub(super) fn new(fit: Fit, n_examples: usize) -> Self {
        Self { n_done: 0, n_steps: fit.epochs * n_examples.div_ceil(fit.batch_size.max(1)) }
    }

    /// The share of the steps before this one; the next call is for the next step.
    pub(super) fn next_share(&mut self) -> f64 {
        self.n_done += 1;
        (self.n_done - 1) as f64 / self.n_steps.max(1) as f64
    }
}

/// Several sets of parameters as one, which share what they hold: one optimizer trains them all.
pub fn joined(parts: &[&Params]) -> Result<Params> {
    let blocks = parts.iter().flat_map(|w| w.layout().blocks.clone()).collect();
    let tensors = parts.iter().flat_map(|w| w.blocks().to_vec()).collect();
    Ok(Params::new(Layout { blocks }, tensors)?)
}

/// Trains one student over consecutive segments and adds each to a row; Adam starts anew in each, the student does not.
///
/// One segment is an independent run. Several are the "attempts" of paper 003: its constructor call lies outside their
/// loop, so they continue one another. Start and batches come from `rng`, so that arms of a seed share them.
pub fn train_segments(
    monitor: &dyn Monitor,
    course: &Course,
    data: &Dataset,
    rng: &Rng,
    n_segments: usize,
    mut view: impl FnMut(&Dataset) -> Result<Dataset>,
    exam: &Examination,
) -> Result<Vec<BTreeMap<String, Curve>>> {
    let device = data.x().device();
    let w = course.network.init(&mut rng.split("student"), device)?.trainable()?;
    let mut batches = rng.split("student batches");
    let segment = |_| {
        let mut record = Record::default();
        train_through(monitor, course, &w, data, &mut batches, &mut view, |w, epoch| {
            exam.take(&exam.predictions(course.network, w)?, epoch, &mut record)
        })?;
        record.finish()
    };
    (0..n_segments).map(segment).collect()
}
