//! A perceptron is trained, half of its hidden units go by its Laplace posterior, and both networks are compared.
//!
//! Run: `cargo run --release -p bayes-posterior --example half_the_width`

#![expect(clippy::print_stdout, reason = "a program says what it found")]

use std::ops::ControlFlow;

use bayes_posterior::candle_core::{Device, Tensor};
use bayes_posterior::{
    Damping, Edit, EditOptions, Laplace, PruningCriterion, RankInput, Result, rank,
    transform_kronecker,
};
use core_tensors::kernels::Activation;
use core_tensors::{Adam, AdamConfig, Dataset, Fit, Rng, Targets};
use losses::Likelihood;
use models::{Architecture, Mlp};

fn main() -> Result<()> {
    // y = sin x on 200 points, with noise of standard deviation 0.1.
    let (m, noise, mut rng) = (200, 0.1, Rng::new(0));
    let x: Vec<f32> = (0..m).map(|_| 3.0 * rng.normal() as f32).collect();
    let y: Vec<f32> = x.iter().map(|x| x.sin() + noise * rng.normal() as f32).collect();
    let x = Tensor::from_vec(x, (m, 1), &Device::Cpu)?;
    let data = Dataset::new(x, Targets::Values(Tensor::from_vec(y, (m, 1), &Device::Cpu)?))?;
    let likelihood = Likelihood::Normal { variance: f64::from(noise * noise) };

    let teacher = Mlp { widths: vec![1, 40, 1], activation: Activation::Relu, bias: true };
    let weights = teacher.init(&mut rng, &Device::Cpu)?.trainable()?;
    let mut adam = Adam::new(AdamConfig::pytorch(0.01), &weights)?;
    let fit = Fit { epochs: 300, batch_size: 50 };
    let step = |batch: &Dataset| -> Result<f64> {
        let loss = likelihood.negative_log(&teacher.forward(&weights, batch.x())?, batch)?;
        adam.step(&loss.backward()?)?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    };
    fit.run(&data, &mut Rng::new(1), step, |_| Ok(ControlFlow::Continue(())))?;

    let (network, weights) = (&teacher, &weights);
    let laplace = Laplace { network, weights, data: &data, likelihood, prior_precision: 1.0 };
    let posterior = laplace.kronecker()?.posterior;
    let ranked = rank(PruningCriterion::Greedy, &RankInput::of(&posterior, None), 1, &mut rng)?;
    let units = ranked[..20].iter().map(|unit| unit.unit).collect();
    let plan = [Edit::RemoveUnits { layer: 1, units }];
    let options = EditOptions::strict();
    let student = transform_kronecker(&posterior, &plan, &options, Damping::numerical())?.posterior;

    let before = likelihood.mean_log(&teacher.forward(weights, data.x())?, &data)?;
    let smaller = student.weights(&Device::Cpu)?;
    let after = likelihood.mean_log(&student.network().forward(&smaller, data.x())?, &data)?;
    assert!(before - after < 0.05, "{before} {after}");
    println!("mean log-likelihood: {before:.3} with 40 units, {after:.3} with 20");
    Ok(())
}
