//! A network of any kind made narrower without labels or training, and what that costs.

use bayes_posterior::Result;
use bayes_posterior::candle_core::{DType, Device, Tensor};
use bayes_posterior::surgery::network::{
    Budget, Calibration, Cutting, Network, Surgery, allocate, curves, enough_directions, operate,
    output_curvatures, pinned_groups,
};
use core_tensors::{Params, Rng, kernels::Activation};
use losses::Likelihood;
use models::graph::axes::Axes;
use models::{Architecture, Mlp};

fn main() -> Result<()> {
    // Any graph will do, such as one that `models::onnx::import` made of a file; here a perceptron of random weights.
    let mlp = Mlp { widths: vec![10, 40, 30, 4], activation: Activation::Relu, bias: true };
    let (graph, params): (_, Params) = mlp.to_graph(&mlp.init(&mut Rng::new(0), &Device::Cpu)?)?;
    let axes = Axes::of(&graph);
    println!("{axes}");
    let network = Network { graph: &graph, params: &params, axes: &axes };

    let mut rng = Rng::new(1);
    let numbers: Vec<f64> = (0..2000 * 10).map(|_| rng.normal()).collect();
    let x = Tensor::from_vec(numbers, (2000, 10), &Device::Cpu)?.to_dtype(DType::F32)?;
    let calibration = Calibration::new(&[x], None, Cutting::default())?;

    let (likelihood, directions) = (Likelihood::Categorical, enough_directions(&calibration));
    let g = output_curvatures(&network, &calibration, likelihood, directions, &mut rng)?;
    let surgery = Surgery::held_out();
    let curves = curves(&network, &calibration, &surgery, Some(&g))?;
    let (sizes, full) = (axes.sizes(&graph), axes.groups().iter().map(|g| g.n_units));
    let full: Vec<usize> = full.collect();
    let budget =
        Budget { most: 0.5 * sizes.n_parameters(&full), multiple: 1, pinned: pinned_groups(&axes) };
    let allocation = allocate(&curves, &full, |widths| sizes.n_parameters(widths), &budget)?;

    let widths = &allocation.widths;
    let small = operate(&network, &calibration, widths, &surgery, Some(&g), Some(likelihood))?;
    for group in &small.report.groups {
        println!("{}: {} of {} units stay", group.name, group.kept.len(), group.before);
    }
    let [predicted, measured] =
        [small.report.predicted, small.report.measured].map(Option::unwrap_or_default);
    println!(
        "{} parameters of {}",
        small.graph.layout().n_parameters(),
        graph.layout().n_parameters()
    );
    println!("nats an example: predicted {predicted:.4}, measured {measured:.4}");
    assert!(small.graph.layout().n_parameters() as f64 <= budget.most);
    Ok(())
}
