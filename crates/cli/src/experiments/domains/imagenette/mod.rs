//! Paper 003, Imagenette: a teacher of styled images, and φ by style transfer.

mod claims;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use core_tensors::{Dataset, Fit, Rng};
use domain_adapt::{DomainMap, Selection, Style, StyleConfig};
use losses::{Distillation, Predictions};
use models::{Architecture, Cnn, Convolution, InputScale, Vgg19};
use serde::Serialize;

use super::show;
use crate::data::published::IMAGENETTE;
use crate::data::published::weights::{Source as Weights, VGG19};
use crate::experiments::{Outcome, Task};
use crate::ledger::{Part, Scale, metric};
use crate::training::{
    Course, Examination, Monitor, apart, at_most, chunk, labels, logits, train, train_segments,
};

pub(in crate::experiments) use claims::IMAGENETTE_STYLE;

const TEACHER_BATCH: usize = 64;
const STUDENT_BATCH: usize = 100;
const LEARNING_RATE: f64 = 1e-3;
/// Examples of each sample by which domains are compared.
const N_MEASURED: usize = 500;
/// Images of the report.
const N_SHOWN: usize = 10;
/// Names of the styled images that seeds share.
const STYLED_BIG: &str = "styled-big";
const STYLED_SMALL: &str = "styled-small";
/// Images that are styled between two looks at an interruption.
const STYLED_AT_ONCE: usize = 64;

/// What differs between scales.
#[derive(Clone, Copy, Serialize)]
struct Settings {
    side: usize,
    teacher_epochs: usize,
    student_epochs: usize,
    segments: usize,
    /// At most so many examples of Big, of Small and of the test set.
    most_examples: Option<[usize; 3]>,
}

fn settings(scale: Scale) -> Settings {
    let side = scale.side();
    match scale {
        Scale::Smoke => Settings {
            side,
            teacher_epochs: 1,
            student_epochs: 2,
            segments: 2,
            most_examples: Some([60, 40, 50]),
        },
        Scale::Quick | Scale::Paper => Settings {
            side,
            teacher_epochs: 15,
            student_epochs: 15,
            segments: 3,
            most_examples: None,
        },
    }
}

/// The teacher, the student as in the source, which is larger than its teacher, and one that is smaller.
fn networks(scale: Scale) -> [Cnn; 3] {
    let side = scale.side();
    match scale {
        Scale::Paper => [
            Cnn::imagenette_teacher(side),
            Cnn::imagenette_student(side),
            Cnn::imagenette_smaller(side),
        ],
        // The same idea at 64 pixels: half of the channels, one block fewer.
        Scale::Quick => [
            scaled(side, &[(12, 5), (24, 5), (48, 3), (96, 3)], &[120, 84, 10], false),
            scaled(side, &[(12, 5), (24, 5)], &[120, 10], false),
            scaled(side, &[(8, 5), (16, 5), (16, 3)], &[10], true),
        ],
        Scale::Smoke => [
            scaled(side, &[(6, 5), (12, 5)], &[20, 10], false),
            scaled(side, &[(6, 5), (6, 5)], &[60, 10], false),
            scaled(side, &[(4, 5), (4, 5)], &[10], true),
        ],
    }
}

fn scaled(side: usize, of: &[(usize, usize)], dense: &[usize], is_averaged: bool) -> Cnn {
    let convolutions = of.iter().map(|&(channels, kernel)| Convolution { channels, kernel });
    Cnn {
        input: [3, side, side],
        convolutions: convolutions.collect(),
        is_averaged,
        dense: dense.to_vec(),
        bias: false,
    }
}

/// How rows begin: the source's own have 200 pixels, the whole set, and φ with all blocks of VGG-19.
fn prefix(task: &Task) -> Result<&'static str> {
    let is_whole = task.session.images(IMAGENETTE)?.is_complete;
    let is_as_published = task.session.weights(VGG19)?.source == Weights::Torchvision;
    Ok(match task.session.scale {
        Scale::Paper if is_whole && is_as_published => "imagenette-200",
        Scale::Paper => "imagenette-200-part",
        Scale::Quick | Scale::Smoke => "imagenette-64",
    })
}

/// The examples of one scale, in random order.
struct Objects {
    big: Dataset,
    small: Dataset,
    test: Dataset,
}

impl Objects {
    fn new(task: &Task, settings: &Settings) -> Result<Self> {
        let (big, small) = task.session.big_and_small_of(IMAGENETTE)?;
        let test = &task.session.images(IMAGENETTE)?.test;
        let [most_big, most_small, most_test] = settings.most_examples.unwrap_or([usize::MAX; 3]);
        // Test examples lie class by class.
        let order = Rng::new(0).split("imagenette test").permutation(test.n_examples());
        let test = test.rows(&order[..most_test.min(order.len())])?;
        Ok(Self { big: at_most(big, most_big)?, small: at_most(small, most_small)?, test })
    }
}

/// A painting of our own, as the source's is not known: colored waves; (3, side, side), in \[0, 1\].
fn painting(side: usize) -> Result<Tensor> {
    let intensity = |channel: usize, row: usize, col: usize| {
        let (u, v) = (row as f64 / side as f64, col as f64 / side as f64);
        let phase = 2.1 * channel as f64;
        let wave = (14.0 * u + 4.0 * (9.0 * v + phase).sin() + phase).sin();
        (0.5 + 0.5 * wave) as f32
    };
    let channels = (0..3).flat_map(|c| (0..side).map(move |row| (c, row)));
    let intensities: Vec<f32> =
        channels.flat_map(|(c, row)| (0..side).map(move |col| intensity(c, row, col))).collect();
    Ok(Tensor::from_vec(intensities, (3, side, side), &Device::Cpu)?)
}

/// φ: the source's settings where all five blocks are there, else those for three blocks.
fn style(task: &Task, side: usize) -> Result<Style> {
    let weights = task.session.weights(VGG19)?;
    let (scale, config) = match weights.source {
        Weights::Torchvision => (InputScale::INTENSITIES, StyleConfig::as_published()),
        Weights::CaffeBlocks1To3 | Weights::Drawn => (
            InputScale { factor: weights.factor, shift: weights.shift },
            StyleConfig::three_blocks(),
        ),
    };
    let network = Vgg19::new(&weights.tensors, scale)?;
    let painting = painting(side)?.to_device(&task.session.device)?;
    Ok(Style::new(network, &painting, [side, side], config)?)
}

fn run(task: &Task) -> Result<Outcome> {
    match task.part {
        Part::Shared => styled(task),
        Part::Source | Part::Seed(_) => arms(task),
    }
}

/// Styles Big and Small once: the map is deterministic, so that every batch and every seed sees the same images.
fn styled(task: &Task) -> Result<Outcome> {
    let settings = settings(task.session.scale);
    let examples = Objects::new(task, &settings)?;
    let map = style(task, settings.side)?;
    let mut outcome = Outcome::default();
    let n_parts = |data: &Dataset| data.n_examples().div_ceil(STYLED_AT_ONCE);
    task.expect_epochs(n_parts(&examples.big) + n_parts(&examples.small));
    for (name, data) in [(STYLED_BIG, &examples.big), (STYLED_SMALL, &examples.small)] {
        let mut parts = Vec::new();
        for start in (0..data.n_examples()).step_by(STYLED_AT_ONCE) {
            let n = STYLED_AT_ONCE.min(data.n_examples() - start);
            let part = map.apply(&data.x().narrow(0, start, n)?, &mut Rng::new(0))?;
            // Back to bytes, of which they came: half a level of 255 is less than a step of the map.
            let intensities = (part.clamp(0f64, 1f64)? * 255.0)?.round()?.to_dtype(DType::U8)?;
            parts.push(intensities);
            task.point_done()?;
        }
        outcome.tensors.insert(name.to_owned(), Tensor::cat(&parts, 0)?);
    }
    let n_shown = N_SHOWN.min(examples.small.n_examples());
    show(&mut outcome, "before", &examples.small.x().narrow(0, 0, n_shown)?)?;
    let after = outcome.tensors[STYLED_SMALL].narrow(0, 0, n_shown)?;
    show(&mut outcome, "styled", &after)?;
    show(&mut outcome, "painting", &painting(settings.side)?)?;
    Ok(outcome)
}

/// The teachers of one part, and every student.
fn arms(task: &Task) -> Result<Outcome> {
    let settings = settings(task.session.scale);
    let Objects { big, small, test } = Objects::new(task, &settings)?;
    let shared = task.shared.context("the pictures were not styled")?;
    let kept =
        |name: &str| shared.tensors.get(name).with_context(|| format!("{name} was not kept"));
    let (styled_big, styled_small) = (kept(STYLED_BIG)?, kept(STYLED_SMALL)?);
    let prefix = prefix(task)?;
    let is_source = task.part == Part::Source;
    let (n_segments, protocol) =
        if is_source { (settings.segments, "segments") } else { (1, "independent") };
    let n_students = if is_source { 3 } else { 8 };
    task.expect_epochs(
        2 * settings.teacher_epochs + n_students * n_segments * settings.student_epochs,
    );
    let rng = Rng::new(task.part.seed()).split("imagenette");
    let [teacher, student, smaller] = networks(task.session.scale);
    let mut outcome = Outcome::default();

    let fit = Fit { epochs: settings.teacher_epochs, batch_size: TEACHER_BATCH };
    let loss = Distillation::labels_only();
    let course = Course { network: &teacher, fit, learning_rate: LEARNING_RATE, loss };
    let trained = |x: &Tensor| -> Result<_> {
        let data = Dataset::new(x.clone(), big.y().clone())?;
        let w = teacher.init(&mut rng.split("teacher"), &task.session.device)?.trainable()?;
        train(task, &course, &w, &data, &mut rng.split("teacher batches"), |_, _| Ok(()))?;
        Ok(w.frozen())
    };
    let (plain, styled) = (trained(big.x())?, trained(styled_big)?);
    if !is_source {
        let teacher_predictions = Predictions::new(&logits(&teacher, &plain, test.x())?)?;
        let row = format!("{prefix}/the-teacher/independent");
        outcome.add(&row, Examination::new(&test)?.once(&teacher_predictions)?);
    }

    // φ acts on what the teacher sees; the student always sees the images as they are.
    let shuffled = {
        let n = small.x().dim(1)?;
        let mut draws = rng.split("random map");
        let map = Selection::random(n, n, &mut draws)?;
        let intensities = map.apply(small.x(), &mut draws)?;
        (intensities * 255.0)?.round()?.to_dtype(DType::U8)?
    };
    let mut students: Vec<(&str, &Cnn, Option<Seen>)> = Vec::new();
    for (name, network) in [("student", &student), ("smaller", &smaller)] {
        if is_source && name == "smaller" {
            continue;
        }
        students.push((row(name, "none"), network, None));
        let big = Seen { w: &plain, x: small.x(), domain: big.x() };
        students.push((row(name, "big"), network, Some(big)));
        let style = Seen { w: &styled, x: styled_small, domain: styled_big };
        students.push((row(name, "style"), network, Some(style)));
    }
    if !is_source {
        for (name, x) in
            [("smaller/style/without-map", small.x()), ("smaller/style/random-map", &shuffled)]
        {
            let seen = Seen { w: &styled, x, domain: styled_big };
            students.push((name, &smaller, Some(seen)));
        }
    }
    let exam = Examination::new(&test)?;
    for (name, network, seen) in students {
        let fit = Fit { epochs: settings.student_epochs, batch_size: STUDENT_BATCH };
        let loss = match seen {
            Some(_) => Distillation::sum_of_both(),
            None => Distillation::labels_only(),
        };
        let course = Course { network, fit, learning_rate: LEARNING_RATE, loss };
        let (mut data, mut measures) = (small.clone(), BTreeMap::new());
        if let Some(seen) = seen {
            let teacher_logits = logits(&teacher, seen.w, seen.x)?;
            let consistency = Predictions::new(&teacher_logits)?.accuracy(&labels(&small)?)?;
            measures = apart(seen.x, seen.domain, N_MEASURED, &mut rng.split("proxy distance"))?;
            measures.insert(metric::LABEL_CONSISTENCY.key(), vec![consistency]);
            data = data.with_teacher(chunk(seen.x).max(small.n_examples()), |_| {
                teacher_logits.contiguous()
            })?;
        }
        let view = |batch: &Dataset| Ok(batch.clone());
        let rng = rng.split(if network == &student { "student" } else { "smaller" });
        for mut run in train_segments(task, &course, &data, &rng, n_segments, view, &exam)? {
            if !is_source {
                run.extend(measures.clone());
            }
            let end = if name.contains("-map") { String::new() } else { format!("/{protocol}") };
            outcome.add(&format!("{prefix}/{name}{end}"), run);
        }
    }
    Ok(outcome)
}

/// What a teacher is asked about: its weights, Small as it sees it, and its own domain.
#[derive(Clone, Copy)]
struct Seen<'a> {
    w: &'a core_tensors::Params,
    x: &'a Tensor,
    domain: &'a Tensor,
}

fn row(network: &str, arm: &str) -> &'static str {
    match (network, arm) {
        ("student", "none") => "student/none",
        ("student", "big") => "student/big",
        ("student", _) => "student/style",
        (_, "none") => "smaller/none",
        (_, "big") => "smaller/big",
        (_, _) => "smaller/style",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_take_the_images_of_their_scale() {
        for scale in [Scale::Smoke, Scale::Quick, Scale::Paper] {
            let [teacher, student, smaller] = networks(scale);
            let counts = [&teacher, &student, &smaller].map(|n| n.layout().n_parameters());
            assert!(counts[2] < counts[0] && counts[0] < counts[1], "{counts:?}");
            let side = scale.side();
            let x = Tensor::zeros((1, 3 * side * side), DType::U8, &Device::Cpu).unwrap();
            for network in [teacher, student, smaller] {
                let w = network.init(&mut Rng::new(0), &Device::Cpu).unwrap();
                assert_eq!(network.forward(&w, &x).unwrap().dims(), [1, 10]);
            }
        }
    }
}
