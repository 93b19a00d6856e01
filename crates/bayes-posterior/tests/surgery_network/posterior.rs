//! The Kronecker posterior of a graph is that of the perceptron it was made of.

use bayes_posterior::Covariance;
use bayes_posterior::Laplace;
use bayes_posterior::surgery::network::{Network, kronecker_posterior, output_curvatures};
use candle_core::{DType, Device, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Block, Dataset, Params, Rng, Targets};
use losses::Likelihood;
use models::graph::axes::Axes;
use models::{Architecture, Mlp};

use crate::growing::Outcome;
use crate::naive::{calibration, gap, normal};

type TestResult = Outcome<()>;

/// Both run the network in f32 or f64 and square in f64.
const ROUNDING: f64 = 1e-6;

#[test]
fn the_posterior_of_a_graph_is_the_perceptrons_own() -> TestResult {
    for (bias, activation) in [(true, Activation::Tanh), (false, Activation::Relu)] {
        for (likelihood, k) in [
            (Likelihood::Categorical, 3),
            (Likelihood::Bernoulli, 1),
            (Likelihood::Normal { variance: 0.4 }, 3),
        ] {
            let network = Mlp { widths: vec![5, 7, 4, k], activation, bias };
            let mut rng = Rng::new(40);
            let layout = network.layout();
            let mut draw = |b: &Block| Ok((normal(&mut rng, &[b.rows, b.cols])? * 0.6)?);
            let blocks = layout.blocks.iter().map(&mut draw).collect::<Outcome<Vec<Tensor>>>()?;
            let weights = Params::new(layout, blocks)?;
            let x = normal(&mut rng, &[60, 5])?;
            let targets = match likelihood {
                Likelihood::Categorical | Likelihood::Bernoulli => {
                    let n_classes = k.max(2);
                    let labels: Vec<u32> = (0..60).map(|i| i % n_classes as u32).collect();
                    let labels = Tensor::new(labels, &Device::Cpu)?;
                    Targets::Classes { labels, n_classes }
                }
                Likelihood::Normal { .. } => Targets::Values(normal(&mut rng, &[60, 3])?),
            };
            let data = Dataset::new(x.clone(), targets)?;
            let (prior_precision, data) = (0.7, &data);
            let laplace =
                Laplace { network: &network, weights: &weights, data, likelihood, prior_precision };
            let wanted = laplace.kronecker()?.posterior;
            let (graph, params) = network.to_graph(&weights)?;
            assert_eq!(params.blocks()[0].dtype(), DType::F64);
            let axes = Axes::of(&graph);
            let graph = Network { graph: &graph, params: &params, axes: &axes };
            let calibration = calibration(&x, 5)?;
            let g = output_curvatures(&graph, &calibration, likelihood, 16, &mut rng)?;
            let found = kronecker_posterior(&graph, &calibration, &g, prior_precision)?;
            assert_eq!(found.names, ["layers.0", "layers.1", "layers.2"]);
            let (a, b) = (&found.gaussian, wanted.gaussian());
            assert_eq!(a.layout(), b.layout());
            assert!(gap(a.mean(), b.mean()) < ROUNDING);
            for (a, b) in a.covariance().layers().iter().zip(b.covariance().layers()) {
                assert!(gap(a.rows.values(), b.rows.values()) < ROUNDING);
                assert!(gap(a.columns.values(), b.columns.values()) < ROUNDING);
            }
            let variances = [a.covariance().diagonal()?, b.covariance().diagonal()?];
            assert!(gap(&variances[0], &variances[1]) < ROUNDING);
            for _ in 0..5 {
                let w: Vec<f64> = b.mean().iter().map(|m| m + 0.3 * rng.normal()).collect();
                let densities = [a.log_density(&w)?, b.log_density(&w)?];
                assert!(gap(&densities[..1], &densities[1..]) < ROUNDING, "{densities:?}");
            }
        }
    }
    Ok(())
}
