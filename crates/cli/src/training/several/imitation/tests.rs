//! Students of every term: against the one loop of plain distillation, and by what the term itself becomes.

use candle_core::Device;
use core_tensors::Targets;
use models::{Cnn, Convolution};

use super::*;
use crate::training::Unwatched;
use crate::training::{Course, shown, train, with_member_logits, with_teacher};

const FIT: Fit = Fit { epochs: 4, batch_size: 16 };
const RATE: f64 = 1e-2;

fn network(channels: &[usize]) -> Cnn {
    let filters = channels.iter().map(|&channels| Convolution { channels, kernel: 3 });
    let (input, dense) = ([1, 14, 14], vec![3]);
    Cnn { input, convolutions: filters.collect(), is_averaged: false, dense, bias: true }
}

fn teacher() -> Cnn {
    network(&[4, 5])
}

fn student() -> Cnn {
    network(&[2, 3])
}

/// Noisy images whose class is the row of blocks that is bright.
fn images() -> Dataset {
    let mut rng = Rng::new(8);
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for i in 0..48 {
        let class = i % 3;
        y.push(class as u32);
        let pixel = |at: usize, noise: f64| f64::from(u8::from(at / 14 / 5 == class)) + 0.5 * noise;
        x.extend((0..196).map(|at| pixel(at, rng.normal()) as f32));
    }
    Dataset::classification(x, y, 3, &Device::Cpu).unwrap()
}

fn course(
    student: &Cnn,
    what: Imitation,
    label_weight: f64,
    strength: Strength,
) -> ImitationCourse<'_> {
    ImitationCourse {
        student,
        fit: FIT,
        learning_rate: RATE,
        what,
        layer: 1,
        label_weight,
        strength,
    }
}

#[test]
fn the_forward_divergence_is_plain_distillation() {
    let (rng, data) = (Rng::new(3), images());
    let (network, big) = (student(), teacher());
    let w = big.init(&mut rng.split("teacher"), &Device::Cpu).unwrap();
    let data = with_teacher(&data, &big, &w).unwrap();
    let (lambda, t) = (0.7, 3.0);
    let what = Imitation::Divergence(Divergence::ForwardKl, t);
    let course = course(&network, what, 1.0 - lambda, Strength::Weight(lambda));
    let found = train_imitating(&Unwatched, &course, &data, &rng, |_, _| Ok(())).unwrap();
    let loss = Distillation::hinton(lambda, t);
    let plain = Course { network: &network, fit: FIT, learning_rate: RATE, loss };
    let start = network.init(&mut rng.split("student"), &Device::Cpu).unwrap();
    let w = start.trainable().unwrap();
    train(&Unwatched, &plain, &w, &data, &mut rng.split("student batches"), |_, _| Ok(())).unwrap();
    let (found, wanted) = (found.to_vec().unwrap(), w.to_vec().unwrap());
    let moved = start.to_vec().unwrap();
    for ((a, b), start) in found.iter().zip(&wanted).zip(moved) {
        // Two ways to one gradient in f32, through Adam's quotient.
        assert!((a - b).abs() < 1e-3 * (1.0 + (b - start).abs()), "{a} {b}");
    }
}

#[test]
fn every_term_falls_when_it_is_all_that_counts() {
    let (rng, data) = (Rng::new(5), images());
    let (network, big) = (student(), teacher());
    let start = |member: usize| big.init(&mut rng.split(&format!("{member}")), &Device::Cpu);
    let members: Vec<Params> = (0..3).map(|member| start(member).unwrap()).collect();
    let pairs: Vec<(&dyn Architecture, &Params)> =
        members.iter().map(|w| (&big as &dyn Architecture, w)).collect();
    let of_logits = with_teacher(&data, &big, &members[0]).unwrap();
    let of_members = with_member_logits(&data, &pairs).unwrap();
    let of_layer = shown(&data, &big, &members[0], &[1]).unwrap().data;
    let squared = TemperatureScale::Squared;
    let dkd = Dkd { label_weight: 1.0, others_weight: 2.0, temperature: 2.0, scale: squared };
    let dist = Dist { example_weight: 1.0, class_weight: 1.0, temperature: 1.0, scale: squared };
    let cases = [
        (Imitation::Divergence(Divergence::ReverseKl, 1.0), &of_logits),
        (Imitation::Ls(2.0), &of_logits),
        (Imitation::Dkd(dkd), &of_logits),
        (Imitation::Dist(dist), &of_logits),
        (Imitation::Dirichlet(Schedule::Constant(2.0)), &of_members),
        (Imitation::FitNets, &of_layer),
        (Imitation::At, &of_layer),
        (Imitation::Nst(NstKernel::Linear), &of_layer),
        (Imitation::Nst(NstKernel::Polynomial { degree: 2, constant: 0.0 }), &of_layer),
        (Imitation::Nst(NstKernel::Gaussian { scale: 1.0 }), &of_layer),
        (Imitation::Vid, &of_layer),
        (Imitation::Sp, &of_layer),
        (Imitation::RkdDistance, &of_layer),
        (Imitation::RkdAngle, &of_layer),
        (Imitation::Pkt, &of_layer),
    ];
    for (what, data) in cases {
        let course = course(&network, what, 0.0, Strength::Weight(1.0));
        let mut objectives = Vec::new();
        let w = train_imitating(&Unwatched, &course, data, &rng, |_, epoch| {
            objectives.push(epoch.objective);
            Ok(())
        });
        let w = w.unwrap();
        assert!(w.layout() == &network.layout(), "what was trained beside it is dropped");
        // A map of channels alone would lower the term as well.
        let start = network.init(&mut rng.split("student"), &Device::Cpu).unwrap();
        let moved = |block: usize| {
            let gap = (&w.blocks()[block] - &start.blocks()[block]).unwrap().abs().unwrap();
            gap.max_all().unwrap().to_scalar::<f32>().unwrap()
        };
        assert!(moved(0) > 1e-3 && moved(1) > 1e-3, "{what:?}");
        assert!(objectives.last() < objectives.first(), "{what:?}: {objectives:?}");
    }
}

#[test]
fn a_strength_in_units_of_the_labels_is_one_at_the_start() {
    let (rng, data) = (Rng::new(6), images());
    let (network, big) = (student(), teacher());
    let w = big.init(&mut rng.split("teacher"), &Device::Cpu).unwrap();
    let data = shown(&data, &big, &w, &[1]).unwrap().data;
    // One batch of all examples: the first objective is that at the start.
    let fit = Fit { epochs: 1, batch_size: 48 };
    let objective = |ratio: f64, label_weight: f64| {
        let strength = Strength::OfLabels(ratio);
        let course = course(&network, Imitation::At, label_weight, strength);
        let mut found = 0.0;
        train_imitating(&Unwatched, &ImitationCourse { fit, ..course }, &data, &rng, |_, epoch| {
            found = epoch.objective;
            Ok(())
        })
        .unwrap();
        found
    };
    let labels = objective(0.0, 1.0);
    assert!((objective(1.0, 1.0) - 2.0 * labels).abs() < 1e-5 * labels);
    assert!((objective(0.3, 0.0) - 0.3 * labels).abs() < 1e-5 * labels);
}

#[test]
fn a_temperature_that_falls_is_that_of_each_step() {
    let (rng, data) = (Rng::new(9), images());
    let (network, big) = (student(), teacher());
    let w = big.init(&mut rng.split("teacher"), &Device::Cpu).unwrap();
    let data = with_member_logits(&data, &[(&big, &w), (&big, &w)]).unwrap();
    // Two steps on all examples, the student all but still: T = 4, then 4 + (1 − 4) / 2.
    let (fit, learning_rate) = (Fit { epochs: 2, batch_size: 48 }, 1e-9);
    let objectives = |schedule: Schedule| {
        let course = course(&network, Imitation::Dirichlet(schedule), 0.0, Strength::Weight(1.0));
        let course = ImitationCourse { fit, learning_rate, ..course };
        let mut found = Vec::new();
        train_imitating(&Unwatched, &course, &data, &rng, |_, epoch| {
            found.push(epoch.objective);
            Ok(())
        })
        .unwrap();
        found
    };
    let falling = objectives(Schedule::Linear { from: 4.0, to: 1.0 });
    for (found, t) in falling.iter().zip([4.0, 2.5]) {
        let wanted = objectives(Schedule::Constant(t))[0];
        assert!((found - wanted).abs() < 1e-4 * wanted.abs(), "{falling:?} {wanted}");
    }
}

#[test]
fn a_map_of_channels_is_a_convolution_of_one_place() {
    let x = Tensor::arange(0f32, 24.0, &Device::Cpu).unwrap().reshape((2, 3, 2, 2)).unwrap();
    let map = [[1.0f32, 0.5, -1.0, 0.25], [0.0, 2.0, 1.0, -3.0]];
    let found = of_channels(&x, &Tensor::new(&map, &Device::Cpu).unwrap()).unwrap();
    let filters = Tensor::new(&[[1.0f32, 0.5, -1.0], [0.0, 2.0, 1.0]], &Device::Cpu).unwrap();
    let wanted = x.conv2d(&filters.reshape((2, 3, 1, 1)).unwrap(), 0, 1, 1, 1).unwrap();
    let bias = Tensor::new(&[0.25f32, -3.0], &Device::Cpu).unwrap().reshape((1, 2, 1, 1)).unwrap();
    let gap = (found - wanted.broadcast_add(&bias).unwrap()).unwrap().abs().unwrap();
    assert_eq!(gap.max_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
}

#[test]
fn what_does_not_fit_is_refused() {
    let (rng, data) = (Rng::new(7), images());
    let network = student();
    let run = |what, layer: usize, data: &Dataset| {
        let course = course(&network, what, 1.0, Strength::Weight(1.0));
        let course = ImitationCourse { layer, ..course };
        train_imitating(&Unwatched, &course, data, &rng, |_, _| Ok(())).unwrap_err()
    };
    let message = |error: anyhow::Error| format!("{error:#}");
    let none = message(run(Imitation::FitNets, 1, &data));
    assert_eq!(none, "a teacher's hidden layer: wanted one, found none");
    let odd = data.clone().with_teacher(48, |x| x.narrow(1, 0, 7)).unwrap();
    let odd = message(run(Imitation::At, 1, &odd));
    assert!(odd.contains("wanted a multiple of 4 places, found 7"), "{odd}");
    // Where examples are compared with examples, any width will do.
    let narrow = data.clone().with_teacher(48, |x| x.narrow(1, 0, 7)).unwrap();
    let course = course(&network, Imitation::Sp, 1.0, Strength::Weight(1.0));
    assert!(train_imitating(&Unwatched, &course, &narrow, &rng, |_, _| Ok(())).is_ok());
    let layer = message(run(Imitation::At, 9, &data));
    assert!(layer.contains("layer of the student: wanted < 3, found 9"), "{layer}");
    let values = Dataset::new(data.x().clone(), Targets::Values(data.x().clone())).unwrap();
    let kind = Imitation::Divergence(Divergence::ForwardKl, 1.0);
    assert!(message(run(kind, 1, &values)).contains("distillation"));
}
