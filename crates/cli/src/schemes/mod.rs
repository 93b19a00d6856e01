//! Short functions that put several pieces of the lower crates together: training with a record.

mod ablations;
mod adversarial;
mod authors_bayes;
mod batched;
mod chain;
mod choice;
mod ensemble;
mod hyperparameters;
mod imitation;
mod linear_student;
mod mutual;
mod translator;
mod variational;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use anyhow::{Context, Result};
use candle_core::Tensor;
use core_tensors::{Adam, AdamConfig, Dataset, Epoch, Fit, Layout, Params, Rng, Targets, stats};
use domain_adapt::{proxy_distance, unbiased_mmd};
use losses::{Distillation, Predictions, distillation};
use models::Architecture;

use crate::experiment::{Curve, Task};

pub use ablations::{Ablation, entropies, smoothed_labels};
pub use adversarial::{AdversarialCourse, Shown, shown, train_adversarially};
pub use authors_bayes::{BayesCourse, BayesEnd, BayesStart, area};
pub use batched::LinearStudents;
pub use chain::train_chain;
pub use choice::{Chosen, Grid, cross_validate, with_choice};
pub use ensemble::{mean_of_members, taught_by_members};
pub use hyperparameters::{MetaCourse, MetaDescent, hypergradient, train_with_hyperparameters};
pub use imitation::{Imitation, ImitationCourse, Strength, train_imitating};
pub use linear_student::{linear_student, linear_student_stacked};
pub use mutual::{MutualCourse, train_mutually};
pub use translator::{Choice, pairs, train_translator};
pub use variational::{VariationalCourse, VariationalEnd, VariationalStart};

/// Objects a forward pass outside training takes at once: activations then stay in the cache.
pub const CHUNK: usize = 1000;
/// Numbers of examples that it takes at most, as large images have more activations.
const MOST_NUMBERS: usize = 4_000_000;

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

/// A test set and what a student is compared with on it.
pub struct Examination {
    x: Tensor,
    labels: Vec<u32>,
    /// The teacher's predictions on the test examples.
    pub teacher: Option<Predictions>,
    /// The true class probabilities of the test examples.
    pub truth: Option<Predictions>,
}

/// Metrics of one run, one value an epoch.
#[derive(Clone, Default)]
pub struct Record {
    curves: BTreeMap<String, Curve>,
}

/// Trains `w` in place; `on_epoch` sees the parameters after every pass.
pub fn train(
    task: &Task,
    course: &Course,
    w: &Params,
    data: &Dataset,
    rng: &mut Rng,
    on_epoch: impl FnMut(&Params, Epoch) -> Result<()>,
) -> Result<()> {
    train_through(task, course, w, data, rng, |batch| Ok(batch.clone()), on_epoch)
}

/// [`train`] where each batch is made anew from the examples drawn for it: seen through a random φ, or answered for.
pub fn train_through(
    task: &Task,
    course: &Course,
    w: &Params,
    data: &Dataset,
    rng: &mut Rng,
    mut view: impl FnMut(&Dataset) -> Result<Dataset>,
    on_epoch: impl FnMut(&Params, Epoch) -> Result<()>,
) -> Result<()> {
    let loss = |batch: &Dataset| {
        let batch = view(batch)?;
        Ok(distillation(&course.network.forward(w, batch.x())?, &batch, &course.loss)?)
    };
    train_on(task, (course.fit, course.learning_rate), w, data, rng, loss, on_epoch)
}

/// Trains `w` in place on any loss of a batch, shape (); it may hold the weights of several networks.
pub fn train_on(
    task: &Task,
    (fit, learning_rate): (Fit, f64),
    w: &Params,
    data: &Dataset,
    rng: &mut Rng,
    mut loss: impl FnMut(&Dataset) -> Result<Tensor>,
    mut on_epoch: impl FnMut(&Params, Epoch) -> Result<()>,
) -> Result<()> {
    let mut adam = Adam::new(AdamConfig::pytorch(learning_rate), w)?;
    let loss = |batch: &Dataset| {
        loss(batch).map_err(|error| candle_core::Error::msg(format!("{error:#}")))
    };
    let frozen = w.frozen();
    let after = |epoch: Epoch| -> Result<ControlFlow<()>> {
        on_epoch(&frozen, epoch)?;
        task.epoch_done()?;
        Ok(ControlFlow::Continue(()))
    };
    fit.minimize(&mut adam, data, rng, loss, after)
}

/// How far a training has come, for a [`Schedule`](core_tensors::Schedule).
struct Steps {
    n_done: usize,
    n_steps: usize,
}

impl Steps {
    fn new(fit: Fit, n_examples: usize) -> Self {
        Self { n_done: 0, n_steps: fit.epochs * n_examples.div_ceil(fit.batch_size.max(1)) }
    }

    /// The share of the steps before this one; the next call is for the next step.
    fn next_share(&mut self) -> f64 {
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
    task: &Task,
    course: &Course,
    data: &Dataset,
    rng: &Rng,
    n_segments: usize,
    mut view: impl FnMut(&Dataset) -> Result<Dataset>,
    exam: &Examination,
) -> Result<Vec<BTreeMap<String, Curve>>> {
    let device = &task.session.device;
    let w = course.network.init(&mut rng.split("student"), device)?.trainable()?;
    let mut batches = rng.split("student batches");
    let segment = |_| {
        let mut record = Record::default();
        train_through(task, course, &w, data, &mut batches, &mut view, |w, epoch| {
            exam.take(&exam.predictions(course.network, w)?, epoch, &mut record)
        })?;
        record.finish()
    };
    (0..n_segments).map(segment).collect()
}

/// Objects a forward pass takes at once: [`CHUNK`], and fewer where they are large.
pub fn chunk(x: &Tensor) -> usize {
    let n: usize = x.dims().iter().skip(1).product();
    (MOST_NUMBERS / n.max(1)).clamp(1, CHUNK)
}

/// Scores of every example, [`chunk`] at a time; no gradient.
pub fn logits(network: &dyn Architecture, w: &Params, x: &Tensor) -> Result<Tensor> {
    let frozen = w.frozen();
    let (n_examples, most) = (x.dim(0)?, chunk(x));
    let parts: Vec<Tensor> = (0..n_examples)
        .step_by(most)
        .map(|start| {
            let part = x.narrow(0, start, most.min(n_examples - start))?;
            network.forward(&frozen, &part)
        })
        .collect::<core_tensors::Result<_>>()?;
    Ok(Tensor::cat(&parts, 0)?)
}

/// `data` with the answers of a trained network.
pub fn with_teacher(data: &Dataset, network: &dyn Architecture, w: &Params) -> Result<Dataset> {
    let frozen = w.frozen();
    let answers = |x: &Tensor| network.forward(&frozen, x).map_err(candle_core::Error::wrap);
    Ok(data.clone().with_teacher(chunk(data.x()), answers)?)
}

/// How far φ(x) lies from the teacher's own examples: proxy A-distance and squared maximum mean discrepancy, as metrics.
///
/// At most `most` random examples of either sample are looked at.
pub fn apart(
    mapped: &Tensor,
    own: &Tensor,
    most: usize,
    rng: &mut Rng,
) -> Result<BTreeMap<String, Curve>> {
    let mut part = |x: &Tensor| some_rows(x, most, rng);
    let (mapped, own) = (part(mapped)?, part(own)?);
    let distance = proxy_distance(&mapped, &own, rng)?;
    let mmd = unbiased_mmd(&mapped, &own, rng)?;
    let metrics = [("proxy_distance", distance), ("discrepancy", mmd)];
    Ok(metrics.map(|(metric, value)| (metric.to_owned(), vec![value])).into())
}

/// `most` random rows, or all where there are no more.
pub fn some_rows(x: &Tensor, most: usize, rng: &mut Rng) -> Result<Tensor> {
    let order = rng.permutation(x.dim(0)?);
    let chosen: Vec<u32> = order.iter().take(most).map(|&i| i as u32).collect();
    Ok(x.contiguous()?.index_select(&Tensor::new(chosen, x.device())?, 0)?)
}

/// The first `most` examples, or all where there are no more.
pub fn at_most(data: &Dataset, most: usize) -> Result<Dataset> {
    if data.n_examples() <= most {
        return Ok(data.clone());
    }
    Ok(data.rows(&(0..most).collect::<Vec<_>>())?)
}

/// Last value of a metric, not a number where it was not taken.
pub fn last(metrics: &BTreeMap<String, Curve>, metric: &str) -> f64 {
    metrics.get(metric).and_then(|curve| curve.last()).copied().unwrap_or(f64::NAN)
}

/// Classes of a data set.
pub fn labels(data: &Dataset) -> Result<Vec<u32>> {
    match data.y() {
        Targets::Classes { labels, .. } => Ok(labels.to_vec1()?),
        Targets::Values(_) => anyhow::bail!("wanted classes, found values"),
    }
}

impl Examination {
    /// An examination on a test set.
    pub fn new(test: &Dataset) -> Result<Self> {
        Ok(Self { x: test.x().clone(), labels: labels(test)?, teacher: None, truth: None })
    }

    /// The same with a teacher to agree with.
    pub fn with_teacher(self, teacher: Predictions) -> Self {
        Self { teacher: Some(teacher), ..self }
    }

    /// Predictions of a network on the test examples.
    pub fn predictions(&self, network: &dyn Architecture, w: &Params) -> Result<Predictions> {
        Ok(Predictions::new(&logits(network, w, &self.x)?)?)
    }

    /// Classes of the test examples.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The test examples.
    pub fn x(&self) -> &Tensor {
        &self.x
    }

    /// Appends this epoch's metrics of predictions on the test examples to a record.
    pub fn take(&self, p: &Predictions, epoch: Epoch, record: &mut Record) -> Result<()> {
        record.push("objective", epoch.objective);
        for (metric, value) in self.measure(p)? {
            record.push(metric, value);
        }
        Ok(())
    }

    /// Every metric of predictions on the test examples, as curves of length 1.
    pub fn once(&self, p: &Predictions) -> Result<BTreeMap<String, Curve>> {
        let metrics = self.measure(p)?.into_iter();
        Ok(metrics.map(|(metric, value)| (metric.to_owned(), vec![value])).collect())
    }

    fn measure(&self, p: &Predictions) -> Result<Vec<(&'static str, f64)>> {
        let mut metrics = vec![
            ("accuracy", p.accuracy(&self.labels)?),
            ("cross_entropy", p.cross_entropy(&self.labels)?),
            ("brier", p.brier(&self.labels)?),
            ("calibration_error", p.calibration_error(&self.labels)?),
        ];
        if let Some(teacher) = &self.teacher {
            metrics.push(("agreement", p.agreement(teacher)?));
        }
        if let Some(truth) = &self.truth {
            metrics.push(("cross_entropy_true", p.cross_entropy_against(truth)?));
            metrics.push(("divergence_true", p.divergence_from(truth)?));
        }
        Ok(metrics)
    }
}

impl Record {
    /// Appends a value to a metric.
    pub fn push(&mut self, metric: &str, value: f64) {
        self.curves.entry(metric.to_owned()).or_default().push(value);
    }

    /// The curves, with what is derived from the test cross-entropy of a run:
    ///
    /// `integral`, the trapezoid over the epochs (lower is better); `best_cross_entropy`, its minimum; `best_epoch`,
    /// counted from 1; `overfitting`, last value minus minimum.
    pub fn finish(mut self) -> Result<BTreeMap<String, Curve>> {
        let curve = self.curves.get("cross_entropy").context("a record without cross-entropy")?;
        let (mut best, mut best_epoch) = (f64::NAN, f64::NAN);
        for (epoch, &value) in curve.iter().enumerate() {
            if best.is_nan() || value < best {
                (best, best_epoch) = (value, (epoch + 1) as f64);
            }
        }
        let last = curve.last().copied().unwrap_or(f64::NAN);
        let integral = stats::trapezoid(curve);
        self.push("integral", integral);
        self.push("best_cross_entropy", best);
        self.push("best_epoch", best_epoch);
        self.push("overfitting", last - best);
        Ok(self.curves)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use indicatif::ProgressBar;

    use super::*;
    use crate::experiment::Part;
    use crate::session::{Scale, Session};

    /// A session without data on the CPU.
    pub(super) fn session() -> Session {
        Session::new(Scale::Smoke, Device::Cpu, BTreeMap::new())
    }

    /// A task that nobody watches.
    pub(super) fn task(session: &Session) -> Task<'_> {
        let progress = ProgressBar::hidden();
        Task { session, part: Part::Seed(0), shared: None, progress }
    }

    #[test]
    fn domains_are_compared_by_random_examples() {
        // The first 300 examples are alike; of the others of φ(x) none is.
        let mut rng = Rng::new(0);
        let mut examples = |n: usize, shift: f64| {
            let values = (0..5 * n).map(|_| (shift + rng.normal()) as f32).collect();
            Tensor::from_vec::<_, f32>(values, (n, 5), &Device::Cpu).unwrap()
        };
        let own = examples(600, 0.0);
        let mapped = Tensor::cat(&[examples(300, 0.0), examples(2700, 6.0)], 0).unwrap();
        let mut rng = Rng::new(1);
        let [first, second] = [(); 2].map(|()| apart(&mapped, &own, 300, &mut rng).unwrap());
        for (found, least) in [("proxy_distance", 1.0), ("discrepancy", 0.2)] {
            let [first, second] = [&first, &second].map(|measures| last(measures, found));
            assert!(first > least && second > least && first != second, "{first} {second}");
        }
        // All of fewer, in some order.
        let mut all = some_rows(&own, 700, &mut rng).unwrap().to_vec2::<f32>().unwrap();
        let mut wanted = own.to_vec2::<f32>().unwrap();
        for rows in [&mut all, &mut wanted] {
            rows.sort_by(|a, b| a[0].total_cmp(&b[0]));
        }
        assert_eq!(all, wanted);
    }

    #[test]
    fn derived_metrics_by_hand() {
        let mut record = Record::default();
        [0.9, 0.5, 0.7].into_iter().for_each(|v| record.push("cross_entropy", v));
        let curves = record.finish().unwrap();
        assert!((curves["integral"][0] - 1.3).abs() < 1e-12);
        assert_eq!(curves["best_cross_entropy"], [0.5]);
        assert_eq!(curves["best_epoch"], [2.0]);
        assert!((curves["overfitting"][0] - 0.2).abs() < 1e-12);
    }
}
