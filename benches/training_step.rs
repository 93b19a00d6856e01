//! Time of one training step: forward, backward, Adam; ids of the PyTorch reference script, which lacks `cnn_small` and `bi_lstm`.

use std::hint::black_box;

use bayes_posterior::{Estimator, Inference, MeanField, VariationalPrior};
use candle_core::{Device, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Adam, AdamConfig, Dataset, Rng, Targets};
use criterion::Criterion;
use domain_adapt::translation_loss;
use losses::{Distillation, Likelihood, distillation};
use models::{Architecture, BiLstm, Cnn, Mlp, TranslatorNetwork};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CLASSES: usize = 10;

/// A batch of uniform features and random classes.
fn batch(m: usize, n_features: usize, rng: &mut Rng) -> core_tensors::Result<Dataset> {
    let x = (0..m * n_features).map(|_| rng.uniform() as f32).collect();
    let labels = (0..m).map(|_| rng.below(CLASSES) as u32).collect();
    Dataset::classification(x, labels, CLASSES, &Device::Cpu)
}

/// Registers the step of one network on one batch.
fn step(
    c: &mut Criterion,
    id: &str,
    network: &dyn Architecture,
    (m, n_features): (usize, usize),
    config: Distillation,
) -> losses::Result<()> {
    let mut rng = Rng::new(0);
    let w = network.init(&mut rng, &Device::Cpu)?.trainable()?;
    let mut adam = Adam::new(AdamConfig::pytorch(1e-3), &w)?;
    let mut data = batch(m, n_features, &mut rng)?;
    if config.teacher_weight > 0.0 {
        let logits: Vec<f32> = (0..m * CLASSES).map(|_| rng.normal() as f32).collect();
        let logits = Tensor::from_vec(logits, (m, CLASSES), &Device::Cpu)?;
        data = data.with_teacher(m, |_| logits.contiguous())?;
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

/// Registers the step of a mean-field inference on one batch, as the reference script has it: no biases, one draw a
/// step, the prior N(0, I), 60 000 examples; one output is a regression with variance ½, so that its log-likelihood is
/// the mean squared error and a constant.
fn bayesian_step(
    c: &mut Criterion,
    id: &str,
    widths: &[usize],
    m: usize,
) -> bayes_posterior::Result<()> {
    let mut rng = Rng::new(0);
    let network = Mlp { widths: widths.to_vec(), activation: Activation::Relu, bias: false };
    let start = network.init(&mut rng, &Device::Cpu)?;
    // softplus(−5) of the reference.
    let mut q = MeanField::new(AdamConfig::pytorch(1e-3), &start, (-5f64).exp().ln_1p().ln())?;
    let data = if widths.last() == Some(&1) {
        let mut draws = |n: usize| (0..n).map(|_| rng.normal() as f32).collect::<Vec<_>>();
        let x = Tensor::from_vec(draws(m * widths[0]), (m, widths[0]), &Device::Cpu)?;
        Dataset::new(x, Targets::Values(Tensor::from_vec(draws(m), (m, 1), &Device::Cpu)?))?
    } else {
        batch(m, widths[0], &mut rng)?
    };
    let likelihood = match data.y() {
        Targets::Classes { .. } => Likelihood::Categorical,
        Targets::Values(_) => Likelihood::Normal { variance: 0.5 },
    };
    let inference = Inference {
        network: &network,
        likelihood,
        prior: VariationalPrior::Isotropic { precision: 1.0 },
        n_examples: 60_000,
        kl_weight: 1.0,
        estimator: Estimator::Reparametrization,
    };
    let mut update = || inference.step(&mut q, &data, &mut rng);
    update()?;
    let mut failure = None;
    c.bench_function(&format!("training_step/{id}"), |b| {
        b.iter(|| black_box(update()).map_err(|error| failure = Some(error)));
    });
    failure.map_or(Ok(()), Err)
}

/// Registers the step of the translator: the reference script's autoencoder with two decoders, random images.
fn translator_step(c: &mut Criterion) -> bayes_posterior::Result<()> {
    const BATCH: usize = 64;
    let mut rng = Rng::new(0);
    let network = TranslatorNetwork { n_pixels: 784, n_hidden: 200, n_latent: 64 };
    let w = network.init(&mut rng, &Device::Cpu)?.trainable()?;
    let mut adam = Adam::new(AdamConfig::pytorch(1e-3), &w)?;
    let mut images = || {
        let intensities: Vec<f32> = (0..BATCH * 784).map(|_| rng.uniform() as f32).collect();
        Tensor::from_vec(intensities, (BATCH, 784), &Device::Cpu)
    };
    let (x, partner) = (images()?, images()?);
    let mut draws = Rng::new(1);
    let mut update = || -> bayes_posterior::Result<Tensor> {
        let loss = translation_loss(&network, &w, &x, &partner, &mut draws)?;
        adam.step(&loss.backward()?)?;
        Ok(loss)
    };
    update()?;
    let mut failure = None;
    c.bench_function("training_step/vae_two_decoders", |b| {
        b.iter(|| black_box(update()).map_err(|error| failure = Some(error)));
    });
    failure.map_or(Ok(()), Err)
}

/// Registers the step of the teacher of texts: words of a vocabulary of 20 000, texts of 4 to 24 words, 14 on average;
/// the embedding's gradient and Adam's moments are dense, so that a good part of the step is theirs.
fn text_step(c: &mut Criterion) -> bayes_posterior::Result<()> {
    const BATCH: usize = 64;
    const LONGEST: usize = 24;
    let mut rng = Rng::new(0);
    let network = BiLstm { n_words: 20_000, embedding: 100, hidden: 100, n_classes: 2 };
    let w = network.init(&mut rng, &Device::Cpu)?.trainable()?;
    let mut adam = Adam::new(AdamConfig::pytorch(1e-3), &w)?;
    let mut words = vec![0u32; BATCH * LONGEST];
    for text in words.chunks_exact_mut(LONGEST) {
        let length = 4 + rng.below(LONGEST - 3);
        text[..length].fill_with(|| 1 + rng.below(network.n_words - 1) as u32);
    }
    let x = Tensor::from_vec(words, (BATCH, LONGEST), &Device::Cpu)?;
    let labels: Vec<u32> = (0..BATCH).map(|_| rng.below(2) as u32).collect();
    let labels = Tensor::from_vec(labels, BATCH, &Device::Cpu)?;
    let data = Dataset::new(x, Targets::Classes { labels, n_classes: 2 })?;
    let mut update = || -> losses::Result<Tensor> {
        let logits = network.forward(&w, data.x())?;
        let loss = distillation(&logits, &data, &Distillation::labels_only())?;
        adam.step(&loss.backward()?)?;
        Ok(loss)
    };
    update()?;
    let mut failure = None;
    c.bench_function("training_step/bi_lstm", |b| {
        b.iter(|| black_box(update()).map_err(|error| failure = Some(error)));
    });
    Ok(failure.map_or(Ok(()), Err)?)
}

fn main() -> bayes_posterior::Result<()> {
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
        let network = Mlp { widths: widths.to_vec(), activation: Activation::Relu, bias: true };
        step(&mut criterion, id, &network, (m, widths[0]), config)?;
    }
    let convolutional = [
        ("cnn_small", Cnn::small(), 64),
        ("cnn_student", Cnn::imagenette_student(200), 16),
        ("cnn_teacher", Cnn::imagenette_teacher(200), 8),
    ];
    for (id, network, m) in convolutional {
        let n_features = network.input.iter().product();
        step(&mut criterion, id, &network, (m, n_features), Distillation::labels_only())?;
    }
    let bayesian = [
        ("bayes_teacher", &[784, 800, 50, 10][..], 256),
        ("bayes_student", &[784, 50, 10], 256),
        ("bayes_synthetic", &[10, 100, 50, 1], 900),
        ("bayes_small", &[10, 10, 10, 1], 900),
    ];
    for (id, widths, m) in bayesian {
        bayesian_step(&mut criterion, id, widths, m)?;
    }
    translator_step(&mut criterion)?;
    text_step(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}
