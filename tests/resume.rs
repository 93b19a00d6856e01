//! A training that is saved and taken up again ends at the same bits as one that was not interrupted.

use std::error::Error;
use std::ops::ControlFlow;

use candle_core::Device;
use cli::data::synthetic::SyntheticClasses;
use core_tensors::kernels::Activation;
use core_tensors::{Adam, AdamConfig, Dataset, Fit, Params, Rng};
use losses::{Distillation, distillation};
use models::{Architecture, Mlp};

type TestResult = Result<(), Box<dyn Error>>;

fn student() -> Mlp {
    Mlp { widths: vec![10, 16, 3], activation: Activation::LeakyRelu { slope: 0.01 }, bias: true }
}

fn run(
    w: &Params,
    adam: &mut Adam,
    data: &Dataset,
    batches: &mut Rng,
    epochs: usize,
) -> Result<(), losses::Error> {
    Fit { epochs, batch_size: 50 }.minimize(
        adam,
        data,
        batches,
        |batch| {
            let logits = student().forward(w, batch.x())?;
            distillation(&logits, batch, &Distillation::labels_only())
        },
        |_| Ok(ControlFlow::Continue(())),
    )
}

#[test]
fn resuming_from_bytes_equals_never_stopping() -> TestResult {
    let data = SyntheticClasses::new(&Device::Cpu)?.train;
    let config = AdamConfig::pytorch(1e-2);
    let start = student().init(&mut Rng::new(0), &Device::Cpu)?;

    let whole = start.trainable()?;
    run(&whole, &mut Adam::new(config, &whole)?, &data, &mut Rng::new(1), 4)?;

    let half = start.trainable()?;
    let mut adam = Adam::new(config, &half)?;
    let mut batches = Rng::new(1);
    run(&half, &mut adam, &data, &mut batches, 2)?;
    let (w_bytes, adam_bytes, position) = (half.to_bytes()?, adam.to_bytes()?, batches.position());

    let rest = Params::from_bytes(student().layout(), &w_bytes, &Device::Cpu)?.trainable()?;
    let mut adam = Adam::new(config, &rest)?;
    adam.restore(&adam_bytes)?;
    let mut batches = Rng::new(1);
    batches.seek(position);
    run(&rest, &mut adam, &data, &mut batches, 2)?;
    assert_eq!(whole.to_vec()?, rest.to_vec()?);
    Ok(())
}
