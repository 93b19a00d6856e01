//! A perceptron that learns from the logits of a teacher, which lie in a safetensors file.

#![expect(clippy::print_stdout, reason = "an example says what it found")]

use std::collections::HashMap;

use core_tensors::kernels::Activation;
use core_tensors::{Adam, AdamConfig, Rng};
use losses::candle_core::{Device, Tensor, safetensors};
use losses::{Distillation, Predictions, Supervision, distillation};
use models::{Architecture, Mlp};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What a user has: inputs, labels, and a file with the teacher's logits, here those of three Gaussian clusters.
    let (device, path, mut rng) = (Device::Cpu, file(), Rng::new(0));
    let labels: Vec<u32> = (0..150).map(|i| i % 3).collect();
    let center = |y: u32| [f64::from(y) - 1.0, f64::from(y % 2)];
    let points = labels.iter().flat_map(|&y| center(y)).map(|c| (c + 0.3 * rng.normal()) as f32);
    let x = Tensor::from_vec(points.collect::<Vec<f32>>(), (150, 2), &device)?;
    let teacher = x.matmul(&Tensor::new(&[[-9f32, 0.0, 9.0], [0.0, 9.0, 0.0]], &device)?)?;
    let teacher = teacher.broadcast_sub(&Tensor::new(&[0f32, 4.0, 0.0], &device)?)?;
    safetensors::save(&HashMap::from([("logits", teacher)]), &path)?;

    let teacher =
        safetensors::load(&path, &device)?.remove("logits").ok_or("no tensor `logits`")?;
    let labels_of = Tensor::from_slice(&labels, 150, &device)?;
    let targets = Supervision::labels(&labels_of).with_teacher(&teacher, None);
    let student = Mlp { widths: vec![2, 8, 3], activation: Activation::Relu, bias: true };
    let w = student.init(&mut rng, &device)?.trainable()?;
    let mut adam = Adam::new(AdamConfig::pytorch(0.03), &w)?;
    for _ in 0..150 {
        let loss =
            distillation(&student.forward(&w, &x)?, targets, &Distillation::hinton(0.9, 2.0))?;
        adam.step(&loss.backward()?)?;
    }

    let student = Predictions::new(&student.forward(&w, &x)?)?;
    let agreement = student.agreement(&Predictions::new(&teacher)?)?;
    println!("agrees with its teacher on {:.0} % of the examples", 100.0 * agreement);
    std::fs::remove_file(path)?;
    assert!(agreement > 0.95);
    Ok(())
}

fn file() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("teacher-{}.safetensors", std::process::id()))
}
