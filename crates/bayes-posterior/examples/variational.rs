//! Variational inference of a perceptron that knows where it has seen no data.
//!
//! Run: `cargo run --release -p bayes-posterior --example variational`

#![expect(clippy::print_stdout, reason = "a program says what it found")]

use std::ops::ControlFlow;

use bayes_posterior::candle_core::{Device, Tensor};
use bayes_posterior::{Estimator, Inference, MeanField, Result, VariationalPrior, monte_carlo};
use core_tensors::kernels::Activation;
use core_tensors::{AdamConfig, Dataset, Fit, Rng, Targets};
use losses::Likelihood;
use models::{Architecture, Mlp};

fn main() -> Result<()> {
    // y = x on (−1, 1).
    let m = 100;
    let x: Vec<f32> = (0..m).map(|i| 2.0 * i as f32 / m as f32 - 1.0).collect();
    let x = Tensor::from_vec(x, (m, 1), &Device::Cpu)?;
    let data = Dataset::new(x.clone(), Targets::Values(x))?;
    let network = Mlp { widths: vec![1, 20, 1], activation: Activation::Relu, bias: true };
    let likelihood = Likelihood::Normal { variance: 0.01 };
    let inference = Inference {
        network: &network,
        likelihood,
        prior: VariationalPrior::Isotropic { precision: 1.0 },
        n_examples: m,
        kl_weight: 1.0,
        estimator: Estimator::LocalReparametrization,
    };

    let mut rng = Rng::new(0);
    let start = network.init(&mut rng, &Device::Cpu)?;
    let mut q = MeanField::new(AdamConfig::pytorch(0.01), &start, -3.0)?;
    let fit = Fit { epochs: 500, batch_size: 50 };
    let step = |batch: &Dataset| inference.step(&mut q, batch, &mut rng);
    fit.run(&data, &mut Rng::new(1), step, |_| Ok(ControlFlow::Continue(())))?;

    let x = Tensor::new(&[[0.5f32], [5.0]], &Device::Cpu)?;
    let said = monte_carlo(&network, &q.to_gaussian()?, &x, &likelihood, 200, &mut Rng::new(2))?;
    let std: Vec<f64> = said.variance.iter().map(|variance| variance.sqrt()).collect();
    assert!((said.mean[0] - 0.5).abs() < 0.1 && std[1] > 2.0 * std[0], "{said:?}");
    println!(
        "f(0.5) = {:.2} ± {:.2}, f(5) = {:.2} ± {:.2}: far from the data it is less sure",
        said.mean[0], std[0], said.mean[1], std[1]
    );
    Ok(())
}
