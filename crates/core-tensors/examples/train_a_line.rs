//! A line through noisy points by Adam, beside the closed form.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::ops::ControlFlow;

use core_tensors::candle_core::{Device, Tensor};
use core_tensors::faer::Mat;
use core_tensors::kernels::{Activation, linear};
use core_tensors::linalg::{RankPolicy, least_squares};
use core_tensors::{Adam, AdamConfig, Block, Dataset, Error, Fit, Layout, Params, Rng, Targets};

fn main() -> core_tensors::Result<()> {
    // y = 3x − 1 and noise of std 0.1.
    let rng = Rng::new(0);
    let (mut points, mut noise) = (rng.split("points"), rng.split("noise"));
    let x: Vec<f64> = (0..100).map(|_| points.uniform()).collect();
    let y: Vec<f64> = x.iter().map(|x| 3.0 * x - 1.0 + 0.1 * noise.normal()).collect();
    let column = |values: &[f64]| Tensor::from_slice(values, (values.len(), 1), &Device::Cpu);
    let data = Dataset::new(column(&x)?, Targets::Values(column(&y)?))?;

    // One unit with its bias, in f64.
    let layout = Layout { blocks: vec![Block { rows: 1, cols: 2 }] };
    let start = Tensor::zeros((1, 2), data.x().dtype(), &Device::Cpu)?;
    let w = Params::new(layout, vec![start])?.trainable()?;
    let mut adam = Adam::new(AdamConfig::pytorch(0.05), &w)?;
    let loss = |batch: &Dataset| match batch.y() {
        Targets::Values(y) => {
            Ok((linear(batch.x(), &w.blocks()[0], Activation::Identity)? - y)?.sqr()?.mean_all()?)
        }
        Targets::Classes { .. } => unreachable!("the data hold values"),
    };
    let fit = Fit { epochs: 500, batch_size: 100 };
    let go_on = |_| Ok::<_, Error>(ControlFlow::Continue(()));
    fit.minimize(&mut adam, &data, &mut rng.split("batches"), loss, go_on)?;

    let design = Mat::from_fn(x.len(), 2, |i, j| if j == 0 { x[i] } else { 1.0 });
    let targets = Mat::from_fn(y.len(), 1, |i, _| y[i]);
    let best = least_squares(design.as_ref(), targets.as_ref(), 0.0, RankPolicy::Full)?;
    let found = w.to_vec()?;
    assert!((found[0] - best[(0, 0)]).abs() < 1e-3 && (found[1] - best[(1, 0)]).abs() < 1e-3);
    println!(
        "y = {:.4} x + {:.4}, least squares {:.4} x + {:.4}",
        found[0],
        found[1],
        best[(0, 0)],
        best[(1, 0)]
    );
    Ok(())
}
