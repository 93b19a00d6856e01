//! Tests of training after surgery on small perceptrons.

use std::cell::{Cell, RefCell};

use candle_core::{Device, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Adam, AdamConfig, Dataset, Params, Rng, Targets};
use losses::{Distillation, distillation};
use models::graph::Graph;
use models::{Architecture, Mlp};

use super::objective::Objective;
use super::*;
use crate::ledger::quality::Predicted;
use crate::training::{Interrupted, Monitor, Unwatched, with_teacher};

/// A perceptron of 4 inputs and as many outputs as are wanted, as a graph.
fn network(hidden: usize, n_outputs: usize, seed: u64) -> (Graph, Params) {
    let mlp = Mlp { widths: vec![4, hidden, n_outputs], activation: Activation::Tanh, bias: true };
    let w = mlp.init(&mut Rng::new(seed), &Device::Cpu).unwrap();
    mlp.to_graph(&w).unwrap()
}

fn normals(m: usize, n: usize, rng: &mut Rng) -> Tensor {
    let numbers: Vec<f32> = (0..m * n).map(|_| 2.0 * rng.normal() as f32).collect();
    Tensor::from_vec(numbers, (m, n), &Device::Cpu).unwrap()
}

#[derive(Clone, Copy, PartialEq)]
enum Labels {
    Classes,
    Values,
    None,
}

/// Examples of a large network; labels are its own answers, every fifth class another, values with noise.
fn taught(m: usize, n_outputs: usize, labels: Labels, seed: u64) -> Taught {
    let (graph, w) = network(16, n_outputs, 100);
    let w = w.moved(&w, 3.0).unwrap();
    let mut rng = Rng::new(seed);
    let x = normals(m, 4, &mut rng);
    let alone = Taught::by(&graph, &w, &x, None).unwrap();
    let n_classes = n_outputs.max(2);
    let targets = match labels {
        Labels::None => return alone,
        Labels::Values => {
            Targets::Values((&alone.teacher + normals(m, n_outputs, &mut rng) * 0.1).unwrap())
        }
        Labels::Classes => {
            let logits = alone.teacher.to_vec2::<f32>().unwrap();
            let class = |(i, row): (usize, &Vec<f32>)| {
                let best = match row[..] {
                    [z] => u32::from(z > 0.0),
                    _ => (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as u32,
                };
                if i % 5 == 0 { (best + 1) % n_classes as u32 } else { best }
            };
            let labels: Vec<u32> = logits.iter().enumerate().map(class).collect();
            Targets::Classes { labels: Tensor::new(labels, &Device::Cpu).unwrap(), n_classes }
        }
    };
    Taught { targets: Some(targets), ..alone }
}

fn course(predicted: Predicted, epochs: usize) -> StudentCourse {
    let grid = SettingGrid {
        learning_rates: vec![1e-3, 1e-2],
        lambdas: vec![0.7, 1.0],
        temperatures: vec![1.0, 3.0],
    };
    StudentCourse { predicted, epochs, batch_size: 16, grid, patience: None, noise_variances: None }
}

fn one(learning_rate: f64, lambda: f64, temperature: f64) -> SettingGrid {
    SettingGrid {
        learning_rates: vec![learning_rate],
        lambdas: vec![lambda],
        temperatures: vec![temperature],
    }
}

/// The last checkpoint, in memory.
#[derive(Default)]
pub(super) struct Memory(Option<Vec<u8>>);

impl Checkpoints for Memory {
    fn load(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(self.0.clone())
    }

    fn store(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.0 = Some(bytes.to_vec());
        Ok(())
    }
}

/// Ends a training after some points.
pub(super) struct Until {
    pub(super) n_left: Cell<usize>,
    pub(super) lines: RefCell<Vec<String>>,
}

impl Until {
    pub(super) fn points(n: usize) -> Self {
        Self { n_left: Cell::new(n), lines: RefCell::default() }
    }
}

impl Monitor for Until {
    fn point_done(&self) -> anyhow::Result<()> {
        self.n_left.set(self.n_left.get() - 1);
        if self.n_left.get() == 0 { Err(Interrupted.into()) } else { Ok(()) }
    }

    fn note(&self, line: &str) {
        self.lines.borrow_mut().push(line.to_owned());
    }
}

fn bits(found: &Distilled) -> (Vec<u64>, Vec<u64>, usize, String) {
    let of = |numbers: &[f64]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let others = format!("{:?} {:?} {:?}", found.setting, found.objective, found.trials);
    (of(&found.params.to_vec().unwrap()), of(&found.curve), found.best_epoch, others)
}

#[test]
fn an_interrupted_training_goes_on_to_the_same_bits() {
    let examples = (taught(70, 3, Labels::Classes, 0), taught(30, 3, Labels::Classes, 1));
    let examples = (&examples.0, &examples.1);
    let (graph, start) = network(3, 3, 5);
    let course = StudentCourse { batch_size: 8, ..course(Predicted::Classes, 3) };
    let rng = Rng::new(7);
    let run = |monitor: &dyn Monitor, checkpoints: &mut Memory| {
        distill_after_surgery(monitor, (&graph, &start), examples, &course, &rng, checkpoints)
    };
    let n_points = course.n_points(70, true);
    // 27 steps in all: eight settings for 8 steps, two of them for 27, and three epochs.
    assert_eq!(n_points, 8 + 2 + 3);
    let watch = Until::points(n_points + 1);
    let whole = run(&watch, &mut Memory::default()).unwrap();
    assert_eq!((watch.n_left.get(), watch.lines.borrow().len()), (1, 2 + 3));
    for n in 1..=n_points {
        let mut memory = Memory::default();
        let error = run(&Until::points(n), &mut memory).unwrap_err();
        assert!(error.is::<Interrupted>(), "{error}");
        assert_eq!(bits(&run(&Unwatched, &mut memory).unwrap()), bits(&whole), "after point {n}");
        // What is finished is not trained again.
        assert_eq!(bits(&run(&Until::points(1), &mut memory).unwrap()), bits(&whole));
    }
    // Interrupted after every single point.
    let mut memory = Memory::default();
    for _ in 0..n_points {
        assert!(run(&Until::points(1), &mut memory).unwrap_err().is::<Interrupted>());
    }
    assert_eq!(bits(&run(&Unwatched, &mut memory).unwrap()), bits(&whole));
}

#[test]
fn a_checkpoint_of_other_data_or_options_is_refused() {
    let (calibration, validation) =
        (taught(70, 3, Labels::Classes, 0), taught(30, 3, Labels::Classes, 1));
    let (graph, start) = network(3, 3, 5);
    let (usual, rng) = (course(Predicted::Classes, 2), Rng::new(7));
    let mut memory = Memory::default();
    let examples = (&calibration, &validation);
    let until = Until::points(9);
    distill_after_surgery(&until, (&graph, &start), examples, &usual, &rng, &mut memory)
        .unwrap_err();
    let mut error = |examples, course: &StudentCourse, start: &Params, rng: &Rng| {
        let of = (&graph, start);
        distill_after_surgery(&Unwatched, of, examples, course, rng, &mut memory)
            .unwrap_err()
            .to_string()
    };
    let other = taught(70, 3, Labels::Classes, 2);
    let found = error((&other, &validation), &usual, &start, &rng);
    assert!(found.contains("another training: the calibration examples changed since"), "{found}");
    let longer = StudentCourse { epochs: 3, ..usual.clone() };
    let found = error(examples, &longer, &start, &rng);
    assert!(found.contains(": the options of training changed since"), "{found}");
    let found = error(examples, &usual, &start.moved(&start, 1e-3).unwrap(), &rng);
    assert!(found.contains(": its parameters before training changed since"), "{found}");
    let found = error(examples, &usual, &start, &Rng::new(8));
    assert!(found.contains(": the seed changed since"), "{found}");
}

#[test]
fn one_setting_and_whole_batches_are_a_plain_loop() {
    let (calibration, validation) =
        (taught(40, 3, Labels::Classes, 0), taught(10, 3, Labels::Classes, 1));
    let (graph, start) = network(3, 3, 5);
    let grid = one(1e-2, 0.6, 2.0);
    let course = StudentCourse { grid, batch_size: 40, ..course(Predicted::Classes, 20) };
    let found = distill_after_surgery(
        &Unwatched,
        (&graph, &start),
        (&calibration, &validation),
        &course,
        &Rng::new(0),
        &mut NoCheckpoints,
    )
    .unwrap();
    assert!(found.trials.is_empty());
    assert_eq!((found.best_epoch, found.curve.len()), (20, 21));
    let (large, of_large) = network(16, 3, 100);
    let of_large = of_large.moved(&of_large, 3.0).unwrap();
    let data = Dataset::new(calibration.x.clone(), calibration.targets.clone().unwrap()).unwrap();
    let data = with_teacher(&data, &large, &of_large).unwrap();
    let (w, loss) = (start.trainable().unwrap(), Distillation::hinton(0.6, 2.0));
    let mut adam = Adam::new(AdamConfig::pytorch(1e-2), &w).unwrap();
    for t in 0..20 {
        // Up for two steps, down as a cosine.
        let falling = 0.5 * (1.0 + (std::f64::consts::PI * f64::from(t) / 20.0).cos());
        adam.set_learning_rate(1e-2 * falling * if t == 0 { 0.5 } else { 1.0 }).unwrap();
        let loss = distillation(&graph.forward(&w, data.x()).unwrap(), &data, &loss).unwrap();
        adam.step(&loss.backward().unwrap()).unwrap();
    }
    let pairs = w.to_vec().unwrap().into_iter().zip(found.params.to_vec().unwrap());
    // Sums in another order, after 20 steps of Adam.
    assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-4));
}

#[test]
fn a_training_that_only_spoils_leaves_the_network_as_it_was() {
    let (calibration, validation) =
        (taught(40, 3, Labels::None, 0), taught(40, 3, Labels::None, 1));
    // The large network itself: nothing is to be gained.
    let (graph, start) = network(16, 3, 100);
    let start = start.moved(&start, 3.0).unwrap();
    let course = StudentCourse {
        grid: SettingGrid { learning_rates: vec![0.3, 1.0], ..one(1.0, 1.0, 1.0) },
        patience: Some(2),
        ..course(Predicted::Classes, 9)
    };
    let found = distill_after_surgery(
        &Unwatched,
        (&graph, &start),
        (&calibration, &validation),
        &course,
        &Rng::new(0),
        &mut NoCheckpoints,
    )
    .unwrap();
    assert_eq!((found.best_epoch, found.n_epochs()), (0, 2), "{:?}", found.curve);
    assert!(found.loss().abs() < 1e-9 && found.curve[1] > 1e-3);
    assert_eq!(found.params.to_vec().unwrap(), start.to_vec().unwrap());
}

#[test]
fn every_kind_of_examples_is_learned() {
    for (predicted, n_outputs, labels) in [
        (Predicted::Classes, 3, Labels::Classes),
        (Predicted::Classes, 3, Labels::None),
        (Predicted::Classes, 1, Labels::Classes),
        (Predicted::Classes, 1, Labels::None),
        (Predicted::Values, 2, Labels::Values),
        (Predicted::Values, 2, Labels::None),
    ] {
        let (calibration, validation) =
            (taught(200, n_outputs, labels, 0), taught(60, n_outputs, labels, 1));
        let (graph, start) = network(8, n_outputs, 5);
        let found = distill_after_surgery(
            &Unwatched,
            (&graph, &start),
            (&calibration, &validation),
            &course(predicted, 12),
            &Rng::new(0),
            &mut NoCheckpoints,
        )
        .unwrap();
        let (before, after) = (found.curve[0], found.loss());
        assert!(found.best_epoch > 0 && after < before - 0.1, "{n_outputs}: {before} → {after}");
        assert!(labels != Labels::None || found.setting.lambda == 1.0);
        assert!(predicted == Predicted::Classes || found.setting.temperature == 1.0);
    }
}

/// The loss of all examples at a setting, and what the network is judged by.
fn losses_of(
    predicted: Predicted,
    examples: &Taught,
    (graph, w): &(Graph, Params),
    noise: Option<&[f64]>,
    (lambda, temperature): (f64, f64),
) -> [f64; 2] {
    let objective = Objective::new(predicted, noise, examples, examples).unwrap();
    let data = objective.data(examples).unwrap();
    let setting = Setting { learning_rate: 1.0, lambda, temperature };
    let loss = objective.loss(graph, w, &data, &setting).unwrap();
    let loss = f64::from(loss.to_scalar::<f32>().unwrap());
    [loss, objective.judged(graph, w, &data).unwrap()]
}

fn rows(x: &Tensor) -> Vec<Vec<f64>> {
    x.to_dtype(candle_core::DType::F64).unwrap().to_vec2().unwrap()
}

#[test]
fn one_logit_is_a_logistic_regression() {
    let examples = taught(20, 1, Labels::Classes, 0);
    let student = network(3, 1, 5);
    let f = rows(&student.0.forward(&student.1, &examples.x).unwrap());
    let s = rows(&examples.teacher);
    let Some(Targets::Classes { labels, .. }) = &examples.targets else { unreachable!() };
    let y = labels.to_vec1::<u32>().unwrap();
    let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
    let cross = |p: f64, z: f64| -p * sigmoid(z).ln() - (1.0 - p) * sigmoid(-z).ln();
    let (lambda, t) = (0.7, 3.0);
    let (mut loss, mut judged, mut divergence) = (0.0, 0.0, 0.0);
    for i in 0..20 {
        let (z, v) = (f[i][0], s[i][0]);
        let hard = cross(f64::from(y[i]), z);
        loss += (1.0 - lambda) * hard + lambda * t * t * cross(sigmoid(v / t), z / t);
        judged += hard;
        divergence += cross(sigmoid(v), z) - cross(sigmoid(v), v);
    }
    let found = losses_of(Predicted::Classes, &examples, &student, None, (lambda, t));
    assert!((found[0] - loss / 20.0).abs() < 1e-5, "{found:?} {loss}");
    assert!((found[1] - judged / 20.0).abs() < 1e-6, "{found:?} {judged}");
    let unlabeled = Taught { targets: None, ..examples };
    let found = losses_of(Predicted::Classes, &unlabeled, &student, None, (1.0, 1.0));
    assert!((found[1] - divergence / 20.0).abs() < 1e-6, "{found:?} {divergence}");
}

#[test]
fn values_count_in_units_of_each_output_s_noise() {
    let examples = taught(20, 2, Labels::Values, 0);
    let student = network(3, 2, 5);
    let f = rows(&student.0.forward(&student.1, &examples.x).unwrap());
    let s = rows(&examples.teacher);
    let Some(Targets::Values(y)) = &examples.targets else { unreachable!() };
    let y = rows(y);
    let mean = |of: &dyn Fn(usize) -> f64| (0..20).map(of).sum::<f64>() / 20.0;
    let (mut noise, mut loss, mut judged, mut alone) = ([0.0; 2], 0.0, 0.0, 0.0);
    for j in 0..2 {
        noise[j] = mean(&|i| (y[i][j] - s[i][j]).powi(2));
        let by_label = mean(&|i| (f[i][j] - y[i][j]).powi(2));
        let by_teacher = mean(&|i| (f[i][j] - s[i][j]).powi(2));
        loss += (0.3 * by_label + 0.7 * by_teacher) / (2.0 * noise[j]);
        judged += by_label / (2.0 * noise[j]) + 0.5 * (std::f64::consts::TAU * noise[j]).ln();
        let center = mean(&|i| s[i][j]);
        alone += by_teacher / (2.0 * mean(&|i| (s[i][j] - center).powi(2)));
    }
    let close = |a: f64, b: f64| (a - b).abs() < 1e-5 * b.abs();
    let found = losses_of(Predicted::Values, &examples, &student, None, (0.7, 1.0));
    assert!(close(found[0], loss) && close(found[1], judged), "{found:?} {loss} {judged}");
    let given = losses_of(Predicted::Values, &examples, &student, Some(&noise), (0.7, 1.0));
    assert!(close(given[0], loss), "{given:?}");
    let unlabeled = Taught { targets: None, ..examples.clone() };
    let found = losses_of(Predicted::Values, &unlabeled, &student, None, (1.0, 1.0));
    assert!(close(found[0], alone) && close(found[1], alone), "{found:?} {alone}");
    let wrong = Objective::new(Predicted::Classes, None, &examples, &examples).err().unwrap();
    assert!(wrong.to_string().contains("wanted 2 classes, found values of shape [20, 2]"));
}

#[test]
fn a_loss_that_is_no_number_is_told_with_its_place() {
    let (mut calibration, validation) =
        (taught(40, 2, Labels::Values, 0), taught(10, 2, Labels::Values, 1));
    let run = |calibration: &Taught, grid| {
        let course = StudentCourse { grid, ..course(Predicted::Values, 2) };
        let (graph, start) = network(3, 2, 5);
        distill_after_surgery(
            &Unwatched,
            (&graph, &start),
            (calibration, &validation),
            &course,
            &Rng::new(0),
            &mut NoCheckpoints,
        )
    };
    // A step this long ends beyond the numbers of f32; beside a fair one it is only not chosen.
    let both = SettingGrid { learning_rates: vec![1e30, 1e-2], ..one(0.0, 0.7, 1.0) };
    let found = run(&calibration, both).unwrap();
    assert_eq!((found.setting.learning_rate, found.trials[0].loss), (1e-2, None));
    for learning_rates in [vec![1e30], vec![1e30, 1e31]] {
        let grid = SettingGrid { learning_rates, ..one(0.0, 0.7, 1.0) };
        let error = run(&calibration, grid).unwrap_err();
        let found = error.downcast_ref::<NonFinite>().unwrap();
        let (step, examples) = found.step.as_ref().unwrap();
        assert_eq!((found.epoch, *step, examples.len()), (1, 2, 16), "{error}");
        assert!(found.largest.1 > 1e29 && found.largest.0.starts_with("layers."), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("epoch 1, step 2 (examples ") && text.contains(" and 8 more)"),
            "{text}"
        );
        assert!(text.contains("learning rate 1e30"), "{text}");
    }
    let mut numbers = calibration.x.to_vec2::<f32>().unwrap();
    numbers[7][2] = f32::NAN;
    calibration.x = Tensor::new(numbers, &Device::Cpu).unwrap();
    let error = run(&calibration, one(1e-3, 1.0, 1.0)).unwrap_err().to_string();
    assert!(error.contains("calibration example 7 (from 0): x is not a finite number"), "{error}");
}

#[test]
fn from_scratch_the_start_is_random_and_the_checkpoint_another() {
    let examples = (taught(70, 3, Labels::Classes, 0), taught(30, 3, Labels::Classes, 1));
    let examples = (&examples.0, &examples.1);
    let (graph, start) = network(3, 3, 5);
    assert_eq!(epochs_of_equal_work(&graph, &graph, 1, 3), 3 + 2);
    let (course, rng) = (course(Predicted::Classes, 2), Rng::new(7));
    let mut memory = Memory::default();
    let found =
        distill_from_scratch(&Unwatched, &graph, examples, &course, &rng, &mut memory).unwrap();
    assert_eq!((found.n_epochs(), found.best_epoch), (2, 2));
    let random = graph.init(&mut rng.split("start"), &Device::Cpu).unwrap();
    let before = |w: &Params| {
        let w = (graph.clone(), w.clone());
        losses_of(Predicted::Classes, examples.1, &w, None, (0.7, 1.0))[1]
    };
    assert!((found.curve[0] - before(&random)).abs() < 1e-12);
    assert!((found.loss() - before(&found.params)).abs() < 1e-12);
    let of = (&graph, &start);
    let error = distill_after_surgery(&Unwatched, of, examples, &course, &rng, &mut memory);
    let error = error.unwrap_err().to_string();
    let wanted = "one of a training from random parameters, wanted one of a training after surgery";
    assert!(error.contains(wanted), "{error}");
}
