//! Paper 003, regression across domains: the published task, whose target is noise, and one with something to learn.

mod claims;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::data::synthetic::DomainRegression;
use crate::ledger::{Curve, Metric, Part, metric};
use anyhow::{Result, bail};
use candle_core::{DType, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{AdamConfig, Dataset, Fit, Params, Rng, Targets};
use domain_adapt::{DomainMap, Identity, Selection, Sine};
use losses::{squared_error, squared_error_of_all_pairs};
use models::{Architecture, Descent, Mlp};

use crate::experiments::base::{LEARNING_RATE, STUDENT_BATCH, TEACHER_BATCH};
use crate::experiments::{Outcome, Task};
use crate::training::{CHUNK, Monitor, apart, some_rows};

pub(in crate::experiments) use claims::REGRESSION;

const TEACHER: [usize; 6] = [100, 256, 128, 64, 64, 1];
const STUDENT: [usize; 3] = [100, 32, 1];
/// Standard deviations of the noise of the corrected task, and how rows name them.
const NOISES: [(f64, &str); 3] = [(0.1, "0.1"), (0.5, "0.5"), (1.0, "1.0")];
/// f(x) = tanh(1.5 w·x) with w ~ N(0, 1/100) each.
const STEEPNESS: f64 = 1.5;
const WEIGHT_STD: f64 = 0.1;
/// Examples by which domains are compared.
const N_MEASURED: usize = 300;

settings! {
    teacher_epochs: usize = 2, 20;
    /// Passes of a student: of the source, and of the longer run of the corrected task.
    student_epochs: [usize; 2] = [2, 3], [20, 60];
    segments: usize = 2, 5;
}

/// Which squared error is minimized and reported.
#[derive(Clone, Copy, PartialEq)]
enum Error {
    /// That of an example's own target.
    Own,
    /// The source's, of all pairs of predictions and targets.
    AllPairs,
}

impl Error {
    fn of(self, predictions: &Tensor, values: &Tensor) -> losses::Result<Tensor> {
        match self {
            Self::Own => squared_error(predictions, values),
            Self::AllPairs => squared_error_of_all_pairs(predictions, values),
        }
    }
}

/// How a network is trained.
#[derive(Clone, Copy)]
struct Course<'a> {
    network: &'a Mlp,
    fit: Fit,
    error: Error,
}

/// A trained network that sees examples through a map.
struct Teacher<'a> {
    network: &'a Mlp,
    w: &'a Params,
    map: &'a dyn DomainMap,
}

fn perceptron(widths: &[usize]) -> Mlp {
    Mlp { widths: widths.to_vec(), activation: Activation::Relu, bias: true }
}

fn values(data: &Dataset) -> Result<&Tensor> {
    match data.y() {
        Targets::Values(values) => Ok(values),
        Targets::Classes { .. } => bail!("a regression wanted values, found classes"),
    }
}

/// Trains `w` on the error to the targets, and on that to the teacher's answers where the data have them.
fn train(
    task: &Task,
    course: &Course,
    w: &Params,
    data: &Dataset,
    rng: &mut Rng,
    mut on_epoch: impl FnMut(&Params) -> Result<()>,
) -> Result<()> {
    let Course { network, fit, error } = *course;
    let mut descent = Descent::new(network, w, AdamConfig::pytorch(LEARNING_RATE))?;
    let loss = |predictions: &Tensor, batch: &Dataset| objective(predictions, batch, error);
    let frozen = w.frozen();
    let after = |_| {
        on_epoch(&frozen)?;
        task.point_done()?;
        Ok::<_, anyhow::Error>(ControlFlow::Continue(()))
    };
    descent.fit(fit, data, rng, loss, after)
}

/// The error to the targets, and that to the teacher's answers where the data have them.
fn objective(predictions: &Tensor, batch: &Dataset, error: Error) -> Result<Tensor> {
    let own = error.of(predictions, values(batch)?)?;
    Ok(match batch.soft() {
        // The source compares two tensors of one shape here, and makes no mistake.
        Some(soft) => (own + squared_error(predictions, soft.logits())?)?,
        None => own,
    })
}

/// One data set, one error: teachers, students and what they are measured by.
struct Study<'a> {
    task: &'a Task<'a>,
    settings: Settings,
    rng: Rng,
    error: Error,
    test: Dataset,
    /// f on the test examples, where there is one.
    truth: Option<Tensor>,
}

impl Study<'_> {
    fn teacher(&self, network: &Mlp, data: &Dataset, map: &dyn DomainMap) -> Result<Params> {
        let w = network.init(&mut self.rng.split("teacher"), &self.task.session.device)?;
        let w = w.trainable()?;
        let seen = map.apply(data.x(), &mut self.rng.split("teacher's view"))?;
        let seen = Dataset::new(seen, data.y().clone())?;
        let fit = Fit { epochs: self.settings.teacher_epochs, batch_size: TEACHER_BATCH };
        let course = Course { network, fit, error: self.error };
        let mut batches = self.rng.split("teacher batches");
        train(self.task, &course, &w, &seen, &mut batches, |_| Ok(()))?;
        Ok(w.frozen())
    }

    /// Curves of one student, a segment each.
    fn student(
        &self,
        data: &Dataset,
        teacher: Option<&Teacher>,
        epochs: usize,
        n_segments: usize,
    ) -> Result<Vec<BTreeMap<String, Curve>>> {
        let data = match teacher {
            Some(teacher) => {
                let mut rng = self.rng.split("student's view");
                data.clone().with_teacher(CHUNK, |x| {
                    let seen = teacher.map.apply(x, &mut rng)?;
                    teacher.network.forward(teacher.w, &seen)
                })?
            }
            None => data.clone(),
        };
        let network = perceptron(&STUDENT);
        let w = network.init(&mut self.rng.split("student"), &self.task.session.device)?;
        let w = w.trainable()?;
        let fit = Fit { epochs, batch_size: STUDENT_BATCH };
        let course = Course { network: &network, fit, error: self.error };
        let mut batches = self.rng.split("student batches");
        let segment = |_| {
            let mut curves: BTreeMap<String, Curve> = BTreeMap::new();
            train(self.task, &course, &w, &data, &mut batches, |w| {
                for (metric, value) in self.measure(&network.forward(w, self.test.x())?)? {
                    curves.entry(metric.key()).or_default().push(value);
                }
                Ok(())
            })?;
            Ok(curves)
        };
        (0..n_segments).map(segment).collect()
    }

    fn measure(&self, predictions: &Tensor) -> Result<Vec<(Metric, f64)>> {
        let predictions = predictions.to_dtype(DType::F64)?;
        let number = |error: Tensor| error.to_scalar::<f64>();
        let y = values(&self.test)?;
        let mut measured = vec![(metric::SQUARED_ERROR, number(self.error.of(&predictions, y)?)?)];
        if let Some(truth) = &self.truth {
            measured.push((metric::EXCESS, number(squared_error(&predictions, truth)?)?));
        }
        Ok(measured)
    }
}

fn run(task: &Task) -> Result<Outcome> {
    let data = DomainRegression::new(&task.session.device)?;
    let rng = Rng::new(task.part.seed()).split("domain regression");
    match task.part {
        Part::Shared => Ok(constant(&data)),
        Part::Source => as_in_source(task, &data, rng),
        Part::Seed(_) => corrected(task, &data, &rng),
    }
}

/// The published rows: a target that is noise, an error over all pairs, five segments of one student.
fn as_in_source(task: &Task, data: &DomainRegression, rng: Rng) -> Result<Outcome> {
    let settings = settings(task.session.scale);
    let part = |indices: &[usize]| data.part(&data.targets, indices);
    let whole: Vec<usize> = data.big.iter().chain(&data.small).copied().collect();
    let (train, big, small) = (part(&whole)?, part(&data.big)?, part(&data.small)?);
    let test = part(&data.test)?;
    let study = Study { task, settings, rng, error: Error::AllPairs, test, truth: None };
    let [epochs, _] = settings.student_epochs;
    task.expect_epochs(3 * settings.teacher_epochs + 5 * settings.segments * epochs);
    let mut outcome = Outcome::default();
    let mut add = |row: &str, data: &Dataset, teacher: Option<&Teacher>| -> Result<()> {
        for curves in study.student(data, teacher, epochs, settings.segments)? {
            outcome.add(row, curves);
        }
        Ok(())
    };
    let network = perceptron(&TEACHER);
    add("regression/train-none/segments", &train, None)?;
    add("regression/small-none/segments", &small, None)?;
    for (row, of, to, map) in [
        ("regression/train-teacher/segments", &train, &train, &Identity as &dyn DomainMap),
        ("regression/small-big/segments", &big, &small, &Identity),
        ("regression/small-sine/segments", &big, &small, &Sine),
    ] {
        let w = study.teacher(&network, of, map)?;
        add(row, to, Some(&Teacher { network: &network, w: &w, map }))?;
    }
    Ok(outcome)
}

/// What no network can improve on under the error of all pairs: the training mean, whatever the features.
fn constant(data: &DomainRegression) -> Outcome {
    let train = data.big.iter().chain(&data.small);
    let mean = crate::ledger::stats::mean(&train.map(|&i| data.targets[i]).collect::<Vec<_>>());
    let risk = |&i: &usize| (data.targets[i] - mean).powi(2);
    let risk = crate::ledger::stats::mean(&data.test.iter().map(risk).collect::<Vec<_>>());
    let mut outcome = Outcome::default();
    outcome.add("regression/constant/one", [(metric::SQUARED_ERROR.key(), vec![risk])].into());
    outcome
}

/// y = tanh(1.5 w·x) + noise, the right error, independent runs.
fn corrected(task: &Task, data: &DomainRegression, rng: &Rng) -> Result<Outcome> {
    let settings = settings(task.session.scale);
    let [short, long] = settings.student_epochs;
    task.expect_epochs(NOISES.len() * (2 * settings.teacher_epochs + 5 * long));
    let n_features = data.x.dim(1)?;
    let mut draws = rng.split("function");
    let w: Vec<f32> = (0..n_features).map(|_| (WEIGHT_STD * draws.normal()) as f32).collect();
    let w = Tensor::from_vec(w, (n_features, 1), data.x.device())?;
    let f = (data.x.matmul(&w)? * STEEPNESS)?.tanh()?; // (m, 1)
    let truth = f.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let mut draws = rng.split("noise");
    let noise: Vec<f64> = truth.iter().map(|_| draws.normal()).collect();
    let order = Selection::random(n_features, n_features, &mut rng.split("random map"))?;
    let network = perceptron(&TEACHER);
    let mut outcome = Outcome::default();
    for (std, name) in NOISES {
        let y: Vec<f64> = truth.iter().zip(&noise).map(|(f, e)| f + std * e).collect();
        let part = |indices: &[usize]| data.part(&y, indices);
        let (big, small, test) = (part(&data.big)?, part(&data.small)?, part(&data.test)?);
        let at_test = data.part(&truth, &data.test)?;
        let at_test = values(&at_test)?.to_dtype(DType::F64)?;
        let study = Study {
            task,
            settings,
            rng: rng.split(name),
            error: Error::Own,
            test,
            truth: Some(at_test),
        };
        let mut arms: Vec<(&str, Option<Teacher>)> = vec![("none", None)];
        let plain = study.teacher(&network, &big, &Identity)?;
        let sine = study.teacher(&network, &big, &Sine)?;
        for (arm, w, map) in [
            ("big", &plain, &Identity as &dyn DomainMap),
            ("sine", &sine, &Sine),
            ("sine-without-map", &sine, &Identity),
            ("sine-random-map", &sine, &order),
        ] {
            arms.push((arm, Some(Teacher { network: &network, w, map })));
        }
        for (arm, teacher) in &arms {
            let mut runs = study.student(&small, teacher.as_ref(), long, 1)?;
            let Some(curves) = runs.pop() else { bail!("no segment was run") };
            let first = |curve: &Curve| curve.iter().copied().take(short).collect();
            let mut early: BTreeMap<String, Curve> =
                curves.iter().map(|(metric, curve)| (metric.clone(), first(curve))).collect();
            if let Some(teacher) = teacher {
                early.extend(measures(&study, teacher, &big, &small, arm)?);
            }
            outcome.add(&format!("regression/{name}/{arm}/20"), early);
            outcome.add(&format!("regression/{name}/{arm}/60"), curves);
        }
    }
    Ok(outcome)
}

/// How far φ(x) of the student's examples lies from what the teacher was trained on.
fn measures(
    study: &Study,
    teacher: &Teacher,
    big: &Dataset,
    small: &Dataset,
    arm: &str,
) -> Result<BTreeMap<String, Curve>> {
    let own: &dyn DomainMap = if arm.starts_with("sine") { &Sine } else { &Identity };
    let mut rng = study.rng.split("measures");
    let mask = own.apply(&some_rows(big.x(), N_MEASURED, &mut rng)?, &mut rng)?;
    let seen = teacher.map.apply(&some_rows(small.x(), N_MEASURED, &mut rng)?, &mut rng)?;
    apart(&seen, &mask, N_MEASURED, &mut rng)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn objectives_by_hand() {
        let column =
            |values: [f64; 2]| Tensor::new(&[[values[0]], [values[1]]], &Device::Cpu).unwrap();
        let (f, y, s) = (column([1.0, 2.0]), column([0.0, 4.0]), column([2.0, 5.0]));
        let alone = Dataset::new(f.clone(), Targets::Values(y)).unwrap();
        let taught = alone.clone().with_logits(&s, &[0, 1]).unwrap();
        let of =
            |data: &Dataset, error| objective(&f, data, error).unwrap().to_scalar::<f64>().unwrap();
        // (1 + 4) / 2, and the teacher's (1 + 9) / 2; all pairs: (1 + 9 + 4 + 4) / 4.
        assert!((of(&alone, Error::Own) - 2.5).abs() < 1e-12);
        assert!((of(&taught, Error::Own) - 7.5).abs() < 1e-12);
        assert!((of(&alone, Error::AllPairs) - 4.5).abs() < 1e-12);
        assert!((of(&taught, Error::AllPairs) - 9.5).abs() < 1e-12);
    }
}
