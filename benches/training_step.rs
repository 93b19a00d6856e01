//! Time of one training step: forward, backward, Adam; ids of the reference scripts, which lack `cnn_small` and `bi_lstm`.

use std::hint::black_box;

use bayes_posterior::{Estimator, Inference, MeanField, VariationalPrior};
use candle_core::{Device, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Adam, AdamConfig, Dataset, Rng, Targets};
use criterion::Criterion;
use domain_adapt::translation_loss;
use losses::{Distillation, Likelihood, distillation};
use models::{Architecture, BiLstm, Cnn, Descent, Mlp, TranslatorNetwork};
use rayon::iter::{IntoParallelRefMutIterator, ParallelIterator};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One step of one training.
type Step = Box<dyn FnMut() -> bayes_posterior::Result<f64> + Send>;

/// A batch of uniform features and random classes, or of normal features and values where there is one output.
fn batch(
    m: usize,
    n_features: usize,
    n_outputs: usize,
    rng: &mut Rng,
) -> core_tensors::Result<Dataset> {
    if n_outputs == 1 {
        let mut draws = |n: usize| (0..n).map(|_| rng.normal() as f32).collect::<Vec<_>>();
        let x = Tensor::from_vec(draws(m * n_features), (m, n_features), &Device::Cpu)?;
        return Dataset::new(x, Targets::Values(Tensor::from_vec(draws(m), (m, 1), &Device::Cpu)?));
    }
    let x = (0..m * n_features).map(|_| rng.uniform() as f32).collect();
    let labels = (0..m).map(|_| rng.below(n_outputs) as u32).collect();
    Dataset::classification(x, labels, n_outputs, &Device::Cpu)
}

/// Cross-entropy, or the mean squared error (and a constant) of one output.
fn likelihood(data: &Dataset) -> Likelihood {
    match data.y() {
        Targets::Classes { .. } => Likelihood::Categorical,
        Targets::Values(_) => Likelihood::Normal { variance: 0.5 },
    }
}

/// Registers a step, which is made only where its id is asked for; an early error would look like a fast one.
fn register(
    c: &mut Criterion,
    id: &str,
    make: impl Fn() -> bayes_posterior::Result<Step>,
) -> bayes_posterior::Result<()> {
    let mut failure = None;
    c.bench_function(&format!("training_step/{id}"), |b| {
        match make().and_then(|mut step| step().map(|_| step)) {
            Ok(mut step) => b.iter(|| black_box(step()).map_err(|error| failure = Some(error))),
            Err(error) => failure = Some(error),
        }
    });
    failure.map_or(Ok(()), Err)
}

/// Registers the steps of ten trainings of one shape, each with a start and a batch of its own, on the threads of the pool.
fn register_ten(
    c: &mut Criterion,
    id: &str,
    make: impl Fn(u64) -> bayes_posterior::Result<Step>,
) -> bayes_posterior::Result<()> {
    register(c, &format!("{id}/10"), || {
        let mut steps = (0..10).map(&make).collect::<bayes_posterior::Result<Vec<_>>>()?;
        Ok(Box::new(move || {
            steps.par_iter_mut().map(|step| step()).try_reduce(|| 0.0, |a, b| Ok(a + b))
        }))
    })
}

/// The step of a network on one batch; a teacher's logits where the loss has a teacher.
fn descent(
    network: &'static dyn Architecture,
    [m, n_features, n_outputs]: [usize; 3],
    soft: Option<Distillation>,
    seed: u64,
) -> bayes_posterior::Result<Step> {
    let mut rng = Rng::new(seed);
    let w = network.init(&mut rng, &Device::Cpu)?.trainable()?;
    let mut descent = Descent::new(network, &w, AdamConfig::pytorch(1e-3))?;
    let mut data = batch(m, n_features, n_outputs, &mut rng)?;
    if soft.is_some() {
        let logits: Vec<f32> = (0..m * n_outputs).map(|_| rng.normal() as f32).collect();
        let logits = Tensor::from_vec(logits, (m, n_outputs), &Device::Cpu)?;
        data = data.with_teacher(m, |_| logits.contiguous())?;
    }
    let hard = likelihood(&data);
    Ok(Box::new(move || {
        Ok(descent.step(data.x(), |f| match &soft {
            Some(config) => distillation(f, &data, config),
            None => hard.negative_log(f, &data),
        })?)
    }))
}

/// The step of a mean-field inference on one batch, as the reference script has it: no biases, one draw a step, the prior
/// N(0, I), 60 000 examples; one output is a regression with variance ½, so that its log-likelihood is the mean squared
/// error and a constant.
fn inference(network: &'static Mlp, m: usize, seed: u64) -> bayes_posterior::Result<Step> {
    let mut rng = Rng::new(seed);
    let start = network.init(&mut rng, &Device::Cpu)?;
    // softplus(−5) of the reference.
    let mut q = MeanField::new(AdamConfig::pytorch(1e-3), &start, (-5f64).exp().ln_1p().ln())?;
    let (n_features, n_outputs) = (network.widths[0], network.widths[network.widths.len() - 1]);
    let data = batch(m, n_features, n_outputs, &mut rng)?;
    let inference = Inference {
        network,
        likelihood: likelihood(&data),
        prior: VariationalPrior::Isotropic { precision: 1.0 },
        n_examples: 60_000,
        kl_weight: 1.0,
        estimator: Estimator::Reparametrization,
    };
    Ok(Box::new(move || inference.step(&mut q, &data, &mut rng)))
}

/// A perceptron that lives as long as the program.
fn perceptron(widths: &[usize], bias: bool) -> &'static Mlp {
    Box::leak(Box::new(Mlp { widths: widths.to_vec(), activation: Activation::Relu, bias }))
}

/// The step of the translator: the reference script's autoencoder with two decoders, random images.
fn translator_step() -> bayes_posterior::Result<Step> {
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
    Ok(Box::new(move || {
        let loss = translation_loss(&network, &w, &x, &partner, &mut draws)?;
        adam.step(&loss.backward()?)?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    }))
}

/// The step of the teacher of texts: words of a vocabulary of 20 000, texts of 4 to 24 words, 14 on average;
/// the embedding's gradient and Adam's moments are dense, so that a good part of the step is theirs.
fn text_step() -> bayes_posterior::Result<Step> {
    const BATCH: usize = 64;
    const LONGEST: usize = 24;
    let mut rng = Rng::new(0);
    let network = BiLstm { n_words: 20_000, embedding: 100, hidden: 100, n_classes: 2 };
    let network: &'static BiLstm = Box::leak(Box::new(network));
    let w = network.init(&mut rng, &Device::Cpu)?.trainable()?;
    let mut words = vec![0u32; BATCH * LONGEST];
    for text in words.chunks_exact_mut(LONGEST) {
        let length = 4 + rng.below(LONGEST - 3);
        text[..length].fill_with(|| 1 + rng.below(network.n_words - 1) as u32);
    }
    let x = Tensor::from_vec(words, (BATCH, LONGEST), &Device::Cpu)?;
    let labels: Vec<u32> = (0..BATCH).map(|_| rng.below(2) as u32).collect();
    let labels = Tensor::from_vec(labels, BATCH, &Device::Cpu)?;
    let data = Dataset::new(x, Targets::Classes { labels, n_classes: 2 })?;
    let mut descent = Descent::new(network, &w, AdamConfig::pytorch(1e-3))?;
    Ok(Box::new(move || {
        let config = Distillation::labels_only();
        Ok(descent.step(data.x(), |logits| distillation(logits, &data, &config))?)
    }))
}

fn main() -> bayes_posterior::Result<()> {
    let mut c = Criterion::default().configure_from_args();
    let at_two = Distillation {
        teacher_temperature: 2.0,
        student_temperature: 2.0,
        ..Distillation::sum_of_both()
    };
    // Widths, examples of a batch, the loss of a teacher, and whether ten are timed at once too.
    let perceptrons = [
        ("mlp_teacher", &[784, 256, 128, 64, 64, 10][..], 64, None, true),
        ("mlp_student", &[784, 64, 10], 100, None, true),
        ("distilled_student", &[784, 64, 10], 100, Some(at_two), true),
        ("regression_teacher", &[100, 256, 128, 64, 64, 1], 64, None, false),
        ("simple_chain", &[4, 32, 16, 4], 10_000, None, false),
    ];
    for (id, widths, m, soft, ten) in perceptrons {
        let network = perceptron(widths, true);
        let sizes = [m, widths[0], widths[widths.len() - 1]];
        register(&mut c, id, || descent(network, sizes, soft, 0))?;
        if ten {
            register_ten(&mut c, id, |seed| descent(network, sizes, soft, seed))?;
        }
    }
    let bayesian = [
        ("bayes_teacher", &[784, 800, 50, 10][..], 256, false),
        ("bayes_student", &[784, 50, 10], 256, true),
        ("bayes_synthetic", &[10, 100, 50, 1], 900, false),
        ("bayes_small", &[10, 10, 10, 1], 900, true),
    ];
    for (id, widths, m, ten) in bayesian {
        let network = perceptron(widths, false);
        register(&mut c, id, || inference(network, m, 0))?;
        if ten {
            register_ten(&mut c, id, |seed| inference(network, m, seed))?;
        }
    }
    let convolutional = [
        ("cnn_small", Cnn::small(), 64),
        ("cnn_student", Cnn::imagenette_student(200), 16),
        ("cnn_teacher", Cnn::imagenette_teacher(200), 8),
    ];
    for (id, network, m) in convolutional {
        let network: &'static Cnn = Box::leak(Box::new(network));
        let sizes = [m, network.input.iter().product(), 10];
        register(&mut c, id, || descent(network, sizes, None, 0))?;
    }
    register(&mut c, "vae_two_decoders", translator_step)?;
    register(&mut c, "bi_lstm", text_step)?;
    c.final_summary();
    Ok(())
}
