//! Devices other than the CPU: the same numbers where there is one, a clear error where the build has none.

use std::error::Error;

use candle_core::Device;

type TestResult = Result<(), Box<dyn Error>>;

#[cfg(not(feature = "cuda"))]
#[test]
fn a_build_without_cuda_says_so() -> TestResult {
    let Err(error) = Device::new_cuda(0) else { return Err("opened a device".into()) };
    assert!(error.to_string().contains("cuda"), "{error}");
    Ok(())
}

#[cfg(feature = "cuda")]
#[test]
fn the_gpu_computes_what_the_cpu_computes() -> TestResult {
    use core_tensors::Rng;
    use core_tensors::kernels::Activation;
    use losses::{Distillation, distillation};
    use models::{Architecture, Mlp};

    let losses_on = |device: &Device| -> Result<Vec<f32>, Box<dyn Error>> {
        let mut rng = Rng::new(0);
        let network = Mlp { widths: vec![20, 30, 5], activation: Activation::Relu, bias: true };
        let w = network.init(&mut rng, device)?.trainable()?;
        let x = (0..64 * 20).map(|_| rng.normal() as f32).collect();
        let y = (0..64).map(|_| rng.below(5) as u32).collect();
        let data = core_tensors::Dataset::classification(x, y, 5, device)?;
        let mut adam = core_tensors::Adam::new(core_tensors::AdamConfig::pytorch(1e-2), &w)?;
        let mut values = Vec::new();
        for _ in 0..5 {
            let logits = network.forward(&w, data.x())?;
            let loss = distillation(&logits, &data, &Distillation::labels_only())?;
            adam.step(&loss.backward()?)?;
            values.push(loss.to_scalar()?);
        }
        Ok(values)
    };
    let (cpu, gpu) = (losses_on(&Device::Cpu)?, losses_on(&Device::new_cuda(0)?)?);
    // Sums of f32 in another order, over five steps.
    assert!(cpu.iter().zip(&gpu).all(|(a, b)| (a - b).abs() < 1e-4), "{cpu:?} {gpu:?}");
    Ok(())
}
