//! Time of one training step: forward, backward, Adam; the ids are those of the PyTorch reference script.

use std::hint::black_box;

use candle_core::{Device, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Adam, AdamConfig, Dataset, Rng};
use criterion::Criterion;
use losses::{Distillation, distillation};
use models::{Architecture, Mlp};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CLASSES: usize = 10;

/// A batch of uniform features and random classes.
fn batch(m: usize, n_features: usize, rng: &mut Rng) -> core_tensors::Result<Dataset> {
    let x = (0..m * n_features).map(|_| rng.uniform() as f32).collect();
    let labels = (0..m).map(|_| rng.below(CLASSES) as u32).collect();
    Dataset::classification(x, labels, CLASSES, &Device::Cpu)
}

/// Registers the step of one perceptron on one batch.
fn step(
    c: &mut Criterion,
    id: &str,
    widths: &[usize],
    m: usize,
    config: Distillation,
) -> losses::Result<()> {
    let mut rng = Rng::new(0);
    let network = Mlp { widths: widths.to_vec(), activation: Activation::Relu, bias: true };
    let w = network.init(&mut rng, &Device::Cpu)?.trainable()?;
    let mut adam = Adam::new(AdamConfig::pytorch(1e-3), &w)?;
    let mut data = batch(m, widths[0], &mut rng)?;
    if config.teacher_weight > 0.0 {
        let scores: Vec<f32> = (0..m * CLASSES).map(|_| rng.normal() as f32).collect();
        let scores = Tensor::from_vec(scores, (m, CLASSES), &Device::Cpu)?;
        data = data.taught_by(m, |_| Ok(scores.clone()))?;
    }
    let mut update = || -> losses::Result<Tensor> {
        let loss = distillation(&network.forward(&w, data.x())?, &data, &config)?;
        adam.step(&loss.backward()?)?;
        Ok(loss)
    };
    update()?;
    // An early error would look like a fast step.
    let mut failure = None;
    c.bench_function(&format!("training_step/{id}"), |b| {
        b.iter(|| black_box(update()).map_err(|error| failure = Some(error)));
    });
    failure.map_or(Ok(()), Err)
}

fn main() -> losses::Result<()> {
    let at_two = Distillation {
        teacher_temperature: 2.0,
        student_temperature: 2.0,
        ..Distillation::sum_of_both()
    };
    let cases = [
        ("mlp_teacher", &[784, 256, 128, 64, 64, 10][..], 64, Distillation::labels_only()),
        ("mlp_student", &[784, 64, 10], 100, Distillation::labels_only()),
        ("distilled_student", &[784, 64, 10], 100, at_two),
    ];
    let mut criterion = Criterion::default().configure_from_args();
    for (id, widths, m, config) in cases {
        step(&mut criterion, id, widths, m, config)?;
    }
    criterion.final_summary();
    Ok(())
}
