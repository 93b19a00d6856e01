//! One trained network made narrower in several ways: the same widths, images and epochs for each.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use bayes_posterior::surgery::network::{
    Calibration, Curve, Cutting, Network, Operated, OutputCurvatures, curves, enough_directions,
    operate, output_curvatures, taylor_saliencies,
};
use core_tensors::{Dataset, Fit, Params, Rng};
use losses::{Distillation, Likelihood, Predictions};
use models::Architecture;
use models::graph::Graph;
use models::graph::axes::{Axes, Group};

use super::methods::{Method, default_surgery};
use crate::experiments::Task;
use crate::ledger::{Curve as Values, metric};
use crate::training::{
    Course, Examination, Monitor, epochs_of_equal_work, labels, train, with_teacher,
};

/// λ and T of distillation, as in the peers' script.
const LAMBDA: f64 = 0.7;
const TEMPERATURE: f64 = 3.0;
const BATCH: usize = 128;
/// Images of ways that only look at each unit.
const FEW: usize = 1000;
/// Step size of Adam from a random start, and where weights went without compensation.
pub(super) const LARGE_RATE: f64 = 1e-3;
/// Step size after least squares: a larger one spoils what was kept.
pub(super) const SMALL_RATE: f64 = 3e-4;
/// Sizes are equal where their parameters differ by at most this share.
const SAME_SIZE: f64 = 0.02;

/// Metrics of one row.
pub(super) type Metrics = BTreeMap<String, Values>;

/// A network, narrower or not, and its parameters.
pub(super) type Trained = (Graph, Params);

/// A trained network, the images that it is narrowed and trained by, and those that it is measured on.
pub(super) struct Study<'a> {
    task: &'a Task<'a>,
    graph: Graph,
    params: Params,
    axes: Axes,
    /// With the network's own logits.
    data: Dataset,
    exam: Examination,
    accuracy: f64,
    /// Every image, and the same with a fifth of them held out to choose by.
    all: Calibration,
    held_out: Calibration,
    /// Images of the plain reference, and of ways that only look at each unit.
    reference: Calibration,
    few: Calibration,
    curvatures: OutputCurvatures,
    /// Gradients of each image behind the curvatures.
    n_directions: usize,
    rng: Rng,
}

impl<'a> Study<'a> {
    /// Batch normalizations are folded into the linear maps in front of them.
    pub(super) fn new(
        task: &'a Task<'a>,
        (graph, params): Trained,
        (data, n_reference): (&Dataset, usize),
        test: &Dataset,
        rng: &Rng,
    ) -> Result<Self> {
        let (graph, params, _) = graph.with_batch_norm_folded(&params)?;
        let axes = Axes::of(&graph);
        let data = with_teacher(data, &graph, &params)?;
        let exam = Examination::new(test)?;
        let teacher = exam.predictions(&graph, &params)?;
        let accuracy = teacher.accuracy(exam.labels())?;
        let usual = Cutting::default();
        let cut = |most: usize, held_out_every| {
            let x = data.x().narrow(0, 0, most.min(data.n_examples()))?;
            anyhow::Ok(Calibration::new(&[x], None, Cutting { held_out_every, ..usual })?)
        };
        let (all, held_out) = (cut(usize::MAX, 0)?, cut(usize::MAX, usual.held_out_every)?);
        let (reference, few) = (cut(n_reference, 0)?, cut(FEW, 0)?);
        let soft = data.soft().context("logits of a teacher")?;
        // Where there are as many outputs as directions, each output is one.
        let n_directions = enough_directions(&all).min(soft.logits().dim(1)?);
        let network = Network { graph: &graph, params: &params, axes: &axes };
        let mut draws = rng.split("curvatures");
        let likelihood = Likelihood::Categorical;
        let curvatures = output_curvatures(&network, &all, likelihood, n_directions, &mut draws)?;
        let exam = exam.with_teacher(teacher);
        let rng = rng.clone();
        Ok(Self {
            task,
            graph,
            params,
            axes,
            data,
            exam,
            accuracy,
            all,
            held_out,
            reference,
            few,
            curvatures,
            n_directions,
            rng,
        })
    }

    fn network(&self) -> Network<'_> {
        Network { graph: &self.graph, params: &self.params, axes: &self.axes }
    }

    /// Metrics of the network itself.
    pub(super) fn whole(&self) -> Result<Metrics> {
        self.measure(&self.graph, &self.params)
    }

    /// Widths of all groups: these of the groups that can lose units, in their order.
    pub(super) fn widths(&self, free: &[usize]) -> Result<Vec<usize>> {
        let mut given = free.iter().copied();
        let width = |group: &Group| match group.pinned {
            None => given.next().context("a network has more groups of units than widths"),
            Some(_) => Ok(group.n_units),
        };
        let widths = self.axes.groups().iter().map(width).collect::<Result<_>>()?;
        ensure!(given.next().is_none(), "a network has fewer groups of units than {free:?}");
        Ok(widths)
    }

    /// Widths where each group inside a block, of one producer and one consumer, keeps a share of its units.
    pub(super) fn inner_widths(&self, share: f64) -> Vec<usize> {
        let width = |group: &Group| {
            let kept = (group.n_units as f64 * share).round() as usize;
            if is_inner(group) { kept.max(1) } else { group.n_units }
        };
        self.axes.groups().iter().map(width).collect()
    }

    /// Parameters at some widths.
    pub(super) fn n_parameters(&self, widths: &[usize]) -> f64 {
        self.axes.sizes(&self.graph).n_parameters(widths)
    }

    /// What each group costs at each width.
    pub(super) fn curves(&self) -> Result<Vec<Curve>> {
        Ok(curves(&self.network(), &self.held_out, &default_surgery(), Some(&self.curvatures))?)
    }

    /// All units, group by group.
    pub(super) fn full(&self) -> Vec<usize> {
        self.axes.groups().iter().map(|group| group.n_units).collect()
    }

    /// The network at other widths, without training.
    pub(super) fn narrowed(&self, method: Method, widths: &[usize]) -> Result<Trained> {
        let network = self.network();
        let saliencies = || Ok(taylor_saliencies(&network, &self.all, &labels(&self.data)?)?);
        let surgery = method.surgery(self.task.part.seed(), saliencies)?;
        let curvatures = method.is_default().then_some(&self.curvatures);
        let likelihood = method.is_default().then_some(Likelihood::Categorical);
        let calibration = match method {
            Method::Surgery => &self.held_out,
            Method::Plain | Method::WandaLeastSquares => &self.reference,
            Method::Wanda | Method::Magnitude | Method::Taylor | Method::Random => &self.few,
        };
        let operated = operate(&network, calibration, widths, &surgery, curvatures, likelihood)?;
        let Operated { graph, params, .. } = operated;
        self.task.point_done()?;
        Ok((graph, params))
    }

    /// Refuses a network whose parameters are not those of the widths that it stands for.
    pub(super) fn check_size(&self, graph: &Graph, widths: &[usize]) -> Result<()> {
        let (found, wanted) = (graph.layout().n_parameters() as f64, self.n_parameters(widths));
        ensure!(
            (found - wanted).abs() <= SAME_SIZE * wanted,
            "sizes are compared that are not equal: wanted {wanted} parameters, found {found}"
        );
        Ok(())
    }

    /// Refuses a network with more parameters than these widths have; a group cannot be cut finer than by a unit.
    pub(super) fn check_not_larger(&self, graph: &Graph, widths: &[usize]) -> Result<()> {
        let (found, most) = (graph.layout().n_parameters() as f64, self.n_parameters(widths));
        ensure!(
            found <= (1.0 + SAME_SIZE) * most,
            "wanted at most {most} parameters, found {found}"
        );
        Ok(())
    }

    /// Some epochs of distillation from the network before.
    pub(super) fn distilled(
        &self,
        (graph, params): &Trained,
        epochs: usize,
        learning_rate: f64,
    ) -> Result<Trained> {
        let w = params.trainable()?;
        let course = Course {
            network: graph,
            fit: Fit { epochs, batch_size: BATCH },
            learning_rate,
            loss: Distillation::hinton(LAMBDA, TEMPERATURE),
        };
        let mut batches = self.rng.split("batches");
        train(self.task, &course, &w, &self.data, &mut batches, |_, _| Ok(()))?;
        Ok((graph.clone(), w.frozen()))
    }

    /// The same shape from a random start, with as many multiply-adds as surgery and some epochs after it.
    pub(super) fn trained_from_scratch(&self, graph: &Graph, epochs: usize) -> Result<Trained> {
        let mut start = self.rng.split("start");
        let w = graph.init(&mut start, self.data.x().device())?;
        let epochs = self.epochs_of_equal_work(graph, epochs);
        self.distilled(&(graph.clone(), w), epochs, LARGE_RATE)
    }

    /// Epochs of training this shape with as many multiply-adds as surgery and some epochs after it.
    pub(super) fn epochs_of_equal_work(&self, graph: &Graph, epochs: usize) -> usize {
        epochs_of_equal_work(&self.graph, graph, self.n_directions, epochs)
    }

    /// Metrics of a network on the test images.
    pub(super) fn measure(&self, graph: &Graph, params: &Params) -> Result<Metrics> {
        let p: Predictions = self.exam.predictions(graph, params)?;
        let mut metrics = self.exam.once(&p)?;
        let teacher = self.exam.teacher.as_ref().context("predictions of the whole network")?;
        let thousands = |n: f64| n / 1000.0;
        for (metric, value) in [
            (metric::TEACHER_DIVERGENCE, p.divergence_from(teacher)?),
            (metric::ACCURACY_LOST, self.accuracy - p.accuracy(self.exam.labels())?),
            (metric::N_PARAMETERS, thousands(graph.layout().n_parameters() as f64)),
            (metric::N_PRODUCTS, thousands(graph.n_products_in_all() as f64)),
        ] {
            metrics.insert(metric.key(), vec![value]);
        }
        Ok(metrics)
    }
}

/// Whether units are made in one place and read in one, one row each.
pub(super) fn is_inner(group: &Group) -> bool {
    let is_row = |entries: &Vec<usize>| entries.len() == 1;
    let [producer] = &group.producers[..] else { return false };
    group.pinned.is_none() && group.consumers.len() == 1 && producer.entries.iter().all(is_row)
}
