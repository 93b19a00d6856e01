//! A perceptron as an ONNX file for other programs, and a network of such a file as a graph.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use core_tensors::Rng;
use core_tensors::candle_core::{Device, Tensor};
use core_tensors::kernels::Activation;
use models::graph::shape_text;
use models::onnx::{ExportOptions, ImportOptions, Model, export, import, no_external};
use models::{Architecture, Mlp};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Mlp { widths: vec![3, 4, 2], activation: Activation::Gelu, bias: true };
    let w = network.init(&mut Rng::new(0), &Device::Cpu)?;
    let (graph, params) = network.to_graph(&w)?;
    let bytes = export(&graph, &params, &ExportOptions::default())?;

    // The bytes are what a file would hold; another program's would do as well.
    let model = Model::parse(bytes)?;
    let read = import(&model, &mut no_external, &ImportOptions::default())?;
    println!("logits: {}", read.logits);
    for node in read.graph.nodes() {
        let output = read.graph.value(node.results[0]);
        println!("{:10} {} -> {}", node.op.name(), output.name, shape_text(&output.shape));
    }
    let x = Tensor::new(&[[0.5f32, -1.0, 2.0]], &Device::Cpu)?;
    let (here, there) = (network.forward(&w, &x)?, read.graph.forward(&read.params, &x)?);
    let gap = (here - there)?.abs()?.max_all()?.to_scalar::<f32>()?;
    assert!(gap < 1e-6, "the two networks differ by {gap}");
    Ok(())
}
