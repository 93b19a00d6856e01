//! Paper 003, distillation across domains: a teacher of another domain sees the student's images through a map φ.

mod claims;
mod given;
pub(super) mod imagenette;
mod learned;
pub(super) mod regression;
mod translation;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::Tensor;
use core_tensors::{Dataset, Params, Rng};
use domain_adapt::{DomainMap, Identity};
use losses::{Distillation, Predictions};
use models::{Architecture, Mlp};

use super::base::{STUDENT, TEACHER, perceptron, start, student_course, teacher_course};
use crate::experiments::{Outcome, Task};
use crate::ledger::{Curve, Metric, Part, metric};
use crate::training::{
    CHUNK, Examination, apart, at_most, logits, some_rows, train_segments, train_through,
};

pub(super) use claims::{GIVEN, LEARNED};

/// Examples of each sample by which domains are compared.
const N_MEASURED: usize = 1000;

settings! {
    teacher_epochs: usize = 1, 10;
    /// Passes of a teacher that is aligned with the student's domain.
    aligned_epochs: usize = 1, 3;
    student_epochs: usize = 2, 20;
    segments: usize = 2, 5;
    /// Passes of the translator of the source, and of the one whose latent space is drawn.
    translator_epochs: [usize; 2] = [1, 1], [50, 20];
    /// Passes of the translator that sees the student's examples alone, with so many partners each.
    small_translator: [usize; 2] = [1, 2], [25, 20];
    /// Images generated from each of the student's.
    n_generated: usize = 3, 70;
    /// At most so many examples of a teacher, of the student and of a test set.
    most_examples: Option<[usize; 3]> = Some([2000, 300, 500]), None;
}

/// Everything that the arms of one part share.
struct Study<'a> {
    task: &'a Task<'a>,
    settings: Settings,
    rng: Rng,
    /// FashionMNIST-Small, and the whole test set of FashionMNIST.
    small: Dataset,
    test: Dataset,
    outcome: Outcome,
}

/// A trained network and examples of the domain that it knows, as it sees them.
struct Teacher {
    network: Mlp,
    w: Params,
    sample: Tensor,
}

impl<'a> Study<'a> {
    fn new(task: &'a Task, small: &Dataset, test: &Dataset) -> Result<Self> {
        let settings = settings(task.session.scale);
        let [_, most_small, most_test] = settings.most();
        Ok(Self {
            task,
            settings,
            rng: start(task),
            small: at_most(small, most_small)?,
            test: at_most(test, most_test)?,
            outcome: Outcome::default(),
        })
    }

    /// A perceptron trained on examples as it sees them through `map`; all teachers share start and batches where their
    /// shapes agree.
    fn teacher(&self, data: &Dataset, map: &dyn DomainMap) -> Result<Teacher> {
        let data = at_most(data, self.settings.most()[0])?;
        let mut noise = self.rng.split("teacher's view");
        let sample = some_rows(data.x(), N_MEASURED, &mut self.rng.split("teacher's sample"))?;
        let sample = map.apply(&sample, &mut noise)?;
        let mut widths = TEACHER;
        widths[0] = sample.dims2()?.1;
        let network = perceptron(&widths);
        let course = teacher_course(&network, self.settings.teacher_epochs);
        let w = network.init(&mut self.rng.split("teacher"), &self.task.session.device)?;
        let w = w.trainable()?;
        let view = |batch: &Dataset| {
            Ok(Dataset::new(map.apply(batch.x(), &mut noise)?, batch.y().clone())?)
        };
        let mut batches = self.rng.split("teacher batches");
        train_through(self.task, &course, &w, &data, &mut batches, view, |_, _| Ok(()))?;
        Ok(Teacher { network, w: w.frozen(), sample })
    }

    /// The row of a teacher on a test set of its own domain.
    fn examine(
        &mut self,
        row: &str,
        teacher: &Teacher,
        test: &Dataset,
        map: &dyn DomainMap,
    ) -> Result<()> {
        let test = at_most(test, self.settings.most()[2])?;
        let seen = map.apply(test.x(), &mut self.rng.split("teacher's test"))?;
        let teacher_predictions = Predictions::new(&logits(&teacher.network, &teacher.w, &seen)?)?;
        self.outcome.add(row, Examination::new(&test)?.once(&teacher_predictions)?);
        Ok(())
    }

    /// The row of a student without a teacher.
    fn alone(&mut self, row: &str) -> Result<()> {
        let exam = Examination::new(&self.test)?;
        self.students(
            row,
            Distillation::labels_only(),
            |batch| Ok(batch.clone()),
            &exam,
            &BTreeMap::new(),
        )
    }

    /// The row of a student whose teacher sees its examples through `map`, drawn afresh for every batch; with the measures
    /// of the map, and `mask` ones.
    fn taught(
        &mut self,
        row: &str,
        teacher: &Teacher,
        map: &dyn DomainMap,
        more: &[(Metric, f64)],
    ) -> Result<()> {
        let rng = self.rng.split(row);
        let seen = map.apply(self.test.x(), &mut rng.split("test"))?;
        let teacher_predictions = Predictions::new(&logits(&teacher.network, &teacher.w, &seen)?)?;
        let exam = Examination::new(&self.test)?;
        let own = exam.once(&teacher_predictions)?;
        let mut draws = rng.split("measures");
        let small = map.apply(&some_rows(self.small.x(), N_MEASURED, &mut draws)?, &mut draws)?;
        let mut draws = rng.split("proxy distance");
        let mut measures = apart(&small, &teacher.sample, N_MEASURED, &mut draws)?;
        let consistency = own.get(metric::ACCURACY.name).context("no accuracy was taken")?;
        measures.insert(metric::LABEL_CONSISTENCY.key(), consistency.clone());
        measures.extend(more.iter().map(|&(metric, value)| (metric.key(), vec![value])));
        let mut noise = rng.split("student's view");
        let view = |batch: &Dataset| {
            let asked = |x: &Tensor| {
                let seen = map.apply(x, &mut noise)?;
                teacher.network.forward(&teacher.w, &seen)
            };
            Ok(batch.clone().with_teacher(CHUNK, asked)?)
        };
        self.students(
            row,
            Distillation::sum_of_both(),
            view,
            &exam.with_teacher(teacher_predictions),
            &measures,
        )
    }

    fn students(
        &mut self,
        row: &str,
        loss: Distillation,
        view: impl FnMut(&Dataset) -> Result<Dataset>,
        exam: &Examination,
        measures: &BTreeMap<String, Curve>,
    ) -> Result<()> {
        let is_source = self.task.part == Part::Source;
        let n_segments = if is_source { self.settings.segments } else { 1 };
        let student = perceptron(&STUDENT);
        let course = student_course(&student, self.settings.student_epochs, loss);
        let runs =
            train_segments(self.task, &course, &self.small, &self.rng, n_segments, view, exam)?;
        for mut run in runs {
            // A map has one value of each measure, and segments are no repetitions of it.
            if !is_source {
                run.extend(measures.clone());
            }
            self.outcome.add(row, run);
        }
        Ok(())
    }

    /// Announces the epochs of so many teachers and students.
    fn expect(&self, n_teachers: usize, n_students: usize) {
        let n_segments = if self.task.part == Part::Source { self.settings.segments } else { 1 };
        let epochs = n_teachers * self.settings.teacher_epochs
            + n_students * n_segments * self.settings.student_epochs;
        self.task.expect_epochs(epochs);
    }
}

impl Settings {
    /// Most examples of a teacher, of the student and of a test set.
    fn most(&self) -> [usize; 3] {
        self.most_examples.unwrap_or([usize::MAX; 3])
    }
}

/// Keeps images for a figure of the report.
pub(super) fn show(outcome: &mut Outcome, name: &str, images: &Tensor) -> Result<()> {
    let levels = core_tensors::kernels::features(images)?.flatten_all()?;
    let values = levels.to_dtype(candle_core::DType::F64)?.to_vec1::<f64>()?;
    // Three decimals are more than a screen shows.
    let rounded = values.into_iter().map(|v| (1000.0 * v.clamp(0.0, 1.0)).round() / 1000.0);
    outcome.numbers.arrays.insert(name.to_owned(), crate::ledger::FiniteOrNull(rounded.collect()));
    Ok(())
}

/// No map.
const NO_MAP: &Identity = &Identity;
