//! A perceptron as two values: its architecture, and its parameters, which go to bytes and back.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use core_tensors::candle_core::{Device, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Params, Rng};
use models::{Architecture, Mlp};

fn main() -> core_tensors::Result<()> {
    let network = Mlp { widths: vec![2, 2, 1], activation: Activation::Relu, bias: true };
    // Row by row, the bias last: hidden units max(0, a − b) and max(0, b − a), and their sum.
    let values = [1.0, -1.0, 0.0, -1.0, 1.0, 0.0, 1.0, 1.0, 0.0];
    let w = Params::from_vec(&network.layout(), &values, &Device::Cpu)?;
    let x = Tensor::new(&[[1f32, 4.0], [2.5, 2.0]], &Device::Cpu)?;
    assert_eq!(network.forward(&w, &x)?.to_vec2::<f32>()?, [[3.0], [0.5]]);

    // What a file would hold; `std::fs::write("w.safetensors", &bytes)` makes one.
    let bytes = w.to_bytes()?;
    let back = Params::from_bytes(network.layout(), &bytes, &Device::Cpu)?;
    assert_eq!(back.to_vec()?, values);
    let random = network.init(&mut Rng::new(0), &Device::Cpu)?;
    assert_ne!(random.to_vec()?, values);
    println!("|a − b| by {} parameters, {} bytes", network.layout().n_parameters(), bytes.len());
    Ok(())
}
