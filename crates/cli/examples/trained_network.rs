//! A trained network and data to try `distill shrink` on: a perceptron of 100 KB that reads drawn digits.
//!
//! Run: `cargo run --release -p cli --example trained_network -- digits`; it writes `digits/teacher.onnx`,
//! `digits/images.safetensors` and `digits/test.safetensors`.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use cli::data::synthetic::synthetic_digits;
use cli::training::{Course, Examination, Unwatched, train};
use core_tensors::kernels::Activation;
use core_tensors::{Dataset, Fit, Rng, Targets};
use losses::Distillation;
use models::onnx::{ExportOptions, export};
use models::{Architecture, Mlp};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).map_or_else(
        || std::env::temp_dir().join(format!("trained-network-{}", std::process::id())),
        PathBuf::from,
    );
    std::fs::create_dir_all(&folder)?;
    let (images, test) =
        (synthetic_digits(3000, &mut Rng::new(1))?, synthetic_digits(2000, &mut Rng::new(2))?);

    let network = Mlp { widths: vec![784, 30, 24, 10], activation: Activation::Relu, bias: true };
    let mut rng = Rng::new(0);
    let w = network.init(&mut rng, &Device::Cpu)?.trainable()?;
    let course = Course {
        network: &network,
        fit: Fit { epochs: 8, batch_size: 64 },
        learning_rate: 1e-3,
        loss: Distillation::labels_only(),
    };
    train(&Unwatched, &course, &w, &images, &mut rng, |_, _| Ok(()))?;
    let w = w.frozen();

    let (graph, params) = network.to_graph(&w)?;
    let file = export(&graph, &params, &ExportOptions::default())?;
    std::fs::write(folder.join("teacher.onnx"), &file)?;
    for (name, data) in [("images.safetensors", &images), ("test.safetensors", &test)] {
        write(data, &folder.join(name))?;
    }
    let exam = Examination::new(&test)?;
    let accuracy = exam.predictions(&network, &w)?.accuracy(exam.labels())?;
    println!(
        "{}: {} bytes, accuracy {accuracy:.4} on {} test images",
        folder.join("teacher.onnx").display(),
        file.len(),
        test.n_examples()
    );
    assert!(accuracy > 0.8, "a network that reads digits");
    Ok(())
}

/// `x` as images (m, 1, 28, 28) of bytes, `y` as whole numbers.
fn write(data: &Dataset, path: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let Targets::Classes { labels, .. } = data.y() else { return Err("expected classes".into()) };
    let x = data.x().reshape((data.n_examples(), 1, 28, 28))?;
    let tensors: HashMap<&str, Tensor> = [("x", x), ("y", labels.clone())].into();
    candle_core::safetensors::save(&tensors, path)?;
    Ok(())
}
