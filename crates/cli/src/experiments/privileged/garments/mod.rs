//! What a student of FashionMNIST-Small gains from its teacher: by what the teacher knows, by how sure it is, by how often
//! it is asked.

mod claims;

use std::collections::BTreeMap;

use anyhow::Result;
use core_tensors::{Dataset, Params, Rng};
use losses::{Distillation, Predictions};
use models::Architecture;

use super::super::base::{STUDENT, perceptron, start, student_course, teacher_of};
use crate::experiments::{Outcome, Task};
use crate::ledger::{Curve, metric};
use crate::training::{
    Ablation, Examination, at_most, entropies, labels, logits, train, with_teacher,
};

pub(in crate::experiments) use claims::{KNOWLEDGE, KNOWN_SHARE};

/// Groups of test examples by the teacher's entropy.
const N_DECILES: usize = 10;
/// Shares of the examples whose answers are known.
pub(super) const SHARES: [f64; 7] = [0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0];
/// λ of the likelihood of the papers.
const LAMBDA: f64 = 0.5;

settings! {
    teacher_epochs: usize = 1, 10;
    student_epochs: usize = 2, 20;
    /// At most so many examples of the teacher, of the student and of the test set.
    most_examples: Option<[usize; 3]> = Some([2000, 300, 500]), None;
}

/// FashionMNIST-Small with the answers of a teacher of FashionMNIST-Big, whose start and batches are those of the base
/// experiment.
pub(super) struct Study<'a> {
    task: &'a Task<'a>,
    pub(super) settings: Settings,
    pub(super) rng: Rng,
    pub(super) taught: Dataset,
    pub(super) labels: Vec<u32>,
    pub(super) exam: Examination,
    /// The teacher's predictions on the test examples.
    pub(super) teacher: Predictions,
}

impl<'a> Study<'a> {
    pub(super) fn new(task: &'a Task, n_students: usize) -> Result<Self> {
        let settings = settings(task.session.scale);
        task.expect_epochs(settings.teacher_epochs + n_students * settings.student_epochs);
        let (big, small) = task.session.big_and_small()?;
        let [most_big, most_small, most_test] = settings.most_examples.unwrap_or([usize::MAX; 3]);
        let (big, small) = (at_most(big, most_big)?, at_most(small, most_small)?);
        let test = at_most(&task.session.images("fashion-mnist")?.test, most_test)?;
        let rng = start(task);
        let (teacher, w) = teacher_of(task, &big, settings.teacher_epochs, &rng)?;
        let teacher_predictions = Predictions::new(&logits(&teacher, &w, test.x())?)?;
        Ok(Self {
            task,
            settings,
            rng,
            taught: with_teacher(&small, &teacher, &w)?,
            labels: labels(&small)?,
            exam: Examination::new(&test)?.with_teacher(teacher_predictions.clone()),
            teacher: teacher_predictions,
        })
    }

    /// A student of these examples; all students share start and batch order where they have the same examples.
    pub(super) fn student(&self, data: &Dataset, loss: Distillation) -> Result<Params> {
        let network = perceptron(&STUDENT);
        let course = student_course(&network, self.settings.student_epochs, loss);
        let w = network.init(&mut self.rng.split("student"), &self.task.session.device)?;
        let w = w.trainable()?;
        let mut batches = self.rng.split("student batches");
        train(self.task, &course, &w, data, &mut batches, |_, _| Ok(()))?;
        Ok(w.frozen())
    }

    /// A student's predictions on the test examples.
    pub(super) fn predictions(&self, w: &Params) -> Result<Predictions> {
        self.exam.predictions(&perceptron(&STUDENT), w)
    }

    /// The examples with other answers in place of the teacher's.
    fn under(&self, ablation: Ablation) -> Result<Dataset> {
        let Some(soft) = self.taught.soft() else { return Ok(self.taught.clone()) };
        let mut rng = self.rng.split(stream(ablation));
        let teacher_logits = ablation.of(soft.logits(), &self.labels, 1.0, &mut rng)?;
        let all: Vec<usize> = (0..self.labels.len()).collect();
        Ok(self.taught.clone().with_logits(&teacher_logits, &all)?)
    }
}

/// Name of the random numbers of an ablation: seeds depend on it, so that it stays whatever the variants are called.
fn stream(ablation: Ablation) -> &'static str {
    match ablation {
        Ablation::SameClass => "SameClass",
        Ablation::OtherClasses => "OtherClasses",
        Ablation::AnyExample => "AnyObject",
        Ablation::SmoothedLabels => "SmoothedLabels",
    }
}

/// Row of an ablation.
fn row(ablation: Ablation) -> &'static str {
    match ablation {
        Ablation::SameClass => "knowledge/same-class",
        Ablation::OtherClasses => "knowledge/other-classes",
        Ablation::AnyExample => "knowledge/any-object",
        Ablation::SmoothedLabels => "knowledge/smoothed-labels",
    }
}

/// The teacher and its ablations, all with CE + soft CE; the gain over no teacher by decile of the teacher's entropy.
pub(super) fn knowledge(task: &Task) -> Result<Outcome> {
    let study = Study::new(task, 2 + Ablation::ALL.len())?;
    let y = study.exam.labels();
    let mut outcome = Outcome::default();
    outcome.add("knowledge/the-teacher", study.exam.once(&study.teacher)?);
    let alone = study.predictions(&study.student(&study.taught, Distillation::labels_only())?)?;
    outcome.add("knowledge/none", study.exam.once(&alone)?);

    let deciles = deciles(&study.teacher.entropies());
    let mut arms = vec![("knowledge/teacher", study.taught.clone())];
    for ablation in Ablation::ALL {
        arms.push((row(ablation), study.under(ablation)?));
    }
    for (row, data) in arms {
        let w = study.student(&data, Distillation::sum_of_both())?;
        let p = study.predictions(&w)?;
        let mut metrics = study.exam.once(&p)?;
        if let Some(soft) = data.soft() {
            let entropy = crate::ledger::stats::mean(&entropies(soft.logits(), 1.0)?);
            metrics.insert(metric::TEACHER_ENTROPY.key(), vec![entropy]);
        }
        metrics.extend(gains(&alone, &p, y, &deciles)?);
        outcome.add(row, metrics);
    }
    Ok(outcome)
}

/// Indices of the examples of each tenth by rising entropy.
fn deciles(entropies: &[f64]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..entropies.len()).collect();
    order.sort_by(|&i, &j| entropies[i].total_cmp(&entropies[j]));
    let n = order.len();
    let end = |d: usize| d * n / N_DECILES;
    (0..N_DECILES).map(|d| order[end(d)..end(d + 1)].to_vec()).collect()
}

/// Mean gain of cross-entropy and of accuracy over a student alone in each decile.
fn gains(
    alone: &Predictions,
    taught: &Predictions,
    y: &[u32],
    deciles: &[Vec<usize>],
) -> Result<BTreeMap<String, Curve>> {
    let risks = [alone.negative_logs(y)?, taught.negative_logs(y)?];
    let hits = [alone, taught].map(|p| -> Vec<f64> {
        p.classes().iter().zip(y).map(|(a, b)| f64::from(u8::from(a == b))).collect()
    });
    let mean = |values: &[f64], part: &[usize]| {
        part.iter().map(|&i| values[i]).sum::<f64>() / part.len() as f64
    };
    let by = |gain: &dyn Fn(&[usize]) -> f64| deciles.iter().map(|part| gain(part)).collect();
    let names = (1..=deciles.len()).map(|d| d as f64).collect();
    Ok([
        ("decile".to_owned(), names),
        (
            metric::CROSS_ENTROPY_GAIN.key(),
            by(&|part: &[usize]| mean(&risks[0], part) - mean(&risks[1], part)),
        ),
        (
            metric::ACCURACY_GAIN.key(),
            by(&|part: &[usize]| mean(&hits[1], part) - mean(&hits[0], part)),
        ),
    ]
    .into())
}

/// 𝓘 as a growing share of the examples, in one random order.
pub(super) fn known_share(task: &Task) -> Result<Outcome> {
    let study = Study::new(task, 2 * SHARES.len())?;
    let order = study.rng.split("known").permutation(study.labels.len());
    let mut outcome = Outcome::default();
    let convex = Distillation::convex(LAMBDA, 1.0);
    for (row, loss) in [("share/sum", Distillation::sum_of_both()), ("share/likelihood", convex)] {
        let mut metrics: BTreeMap<String, Curve> = BTreeMap::new();
        for share in SHARES {
            let n = (share * order.len() as f64).round() as usize;
            let data = study.taught.clone().known_for(&order[..n])?;
            let p = study.predictions(&study.student(&data, loss)?)?;
            for (metric, values) in study.exam.once(&p)? {
                metrics.entry(metric).or_default().extend(values);
            }
            metrics.entry("share".into()).or_default().push(share);
        }
        // The same examples without a teacher: the first point of either row.
        let first = |metrics: &BTreeMap<String, Curve>| {
            let start =
                metrics.iter().filter_map(|(name, v)| Some((name.clone(), vec![*v.first()?])));
            start.collect::<BTreeMap<_, _>>()
        };
        if row == "share/sum" {
            outcome.add("share/none", first(&metrics));
        }
        outcome.add(row, metrics);
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    #[test]
    fn gains_by_decile_by_hand() {
        // Ten examples of two classes, all of class 0; the teacher is surest of the last.
        let entropies: Vec<f64> = (0..10).rev().map(f64::from).collect();
        let deciles = deciles(&entropies);
        assert_eq!((deciles.len(), &deciles[0][..], &deciles[9][..]), (10, &[9][..], &[0][..]));
        let predictions = |p: &dyn Fn(usize) -> f64| {
            let logits: Vec<f64> = (0..10).flat_map(|i| [p(i).ln(), (1.0 - p(i)).ln()]).collect();
            Predictions::new(&Tensor::from_vec(logits, (10, 2), &Device::Cpu).unwrap()).unwrap()
        };
        let alone = predictions(&|_| 0.25);
        let taught = predictions(&|i| if i == 9 { 0.75 } else { 0.25 });
        let found = gains(&alone, &taught, &[0; 10], &deciles).unwrap();
        assert!((found[metric::CROSS_ENTROPY_GAIN.name][0] - 3f64.ln()).abs() < 1e-12);
        assert_eq!(
            found[metric::ACCURACY_GAIN.name],
            [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        );
        assert!(found[metric::CROSS_ENTROPY_GAIN.name][1..].iter().all(|g| g.abs() < 1e-12));
    }
}
