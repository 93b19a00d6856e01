//! Same seed, same bits: of a training, whatever else runs beside it.

use std::error::Error;
use std::ops::ControlFlow;

use candle_core::Device;
use cli::data::synthetic::SyntheticClasses;
use core_tensors::kernels::Activation;
use core_tensors::{Adam, AdamConfig, Fit, Rng};
use losses::{Distillation, distillation};
use models::{Architecture, Cnn, Mlp};

type TestResult = Result<(), Box<dyn Error>>;

/// Bits of the parameters after three epochs.
fn trained(seed: u64) -> Result<Vec<u64>, losses::Error> {
    let data = SyntheticClasses::new(&Device::Cpu)?;
    let taught = data.train.clone().with_teacher(100, |x| x.matmul(&data.weights))?;
    let student = Mlp { widths: vec![10, 40, 3], activation: Activation::Relu, bias: true };
    let rng = Rng::new(seed);
    let w = student.init(&mut rng.split("start"), &Device::Cpu)?.trainable()?;
    let mut adam = Adam::new(AdamConfig::pytorch(1e-2), &w)?;
    let config = Distillation::hinton(0.5, 4.0);
    Fit { epochs: 3, batch_size: 64 }.minimize(
        &mut adam,
        &taught,
        &mut rng.split("batches"),
        |batch| {
            let logits = student.forward(&w, batch.x())?;
            distillation(&logits, batch, &config)
        },
        |_| Ok(ControlFlow::Continue(())),
    )?;
    Ok(w.to_vec()?.into_iter().map(f64::to_bits).collect())
}

#[test]
fn the_same_seed_gives_the_same_bits_on_every_thread() -> TestResult {
    let alone = trained(7)?;
    let together: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| trained(7))).collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    for bits in together {
        let bits = bits.map_err(|_| "a training panicked")??;
        assert_eq!(bits, alone);
    }
    assert_ne!(trained(8)?, alone);
    Ok(())
}

#[test]
fn a_convolution_repeats_its_bits() -> TestResult {
    let logits = || -> Result<Vec<f32>, Box<dyn Error>> {
        let mut rng = Rng::new(1);
        let network = Cnn::small();
        let w = network.init(&mut rng, &Device::Cpu)?;
        let pixels: Vec<f32> = (0..5 * 784).map(|_| rng.uniform() as f32).collect();
        let x = candle_core::Tensor::from_vec(pixels, (5, 784), &Device::Cpu)?;
        Ok(network.forward(&w, &x)?.flatten_all()?.to_vec1()?)
    };
    assert_eq!(logits()?, logits()?);
    Ok(())
}
