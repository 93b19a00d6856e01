//! The Kronecker posterior of the linear maps of a network: the prior of a Bayesian student.

use std::rc::Rc;

use core_tensors::{Block, Layout};
use faer::Mat;

use super::calibration::Calibration;
use super::curvature::OutputCurvatures;
use super::flow::Flow;
use super::operate::Network;
use super::passes::Passes;
use super::reading::{matrix, read};
use crate::checks;
use crate::error::{Error, Result};
use crate::gaussian::Gaussian;
use crate::kronecker_eigen::{KroneckerEigen, LayerCurvature, Spectrum};

/// A posterior over the maps of a graph, N(w, (N G_t ⊗ A_t + δI)⁻¹) for each.
#[derive(Clone, Debug)]
pub struct MapPosterior {
    /// Names of the maps, one a block.
    pub names: Vec<String>,
    /// Over \[W | b\] of each map, row by row.
    pub gaussian: Gaussian<KroneckerEigen>,
}

/// The posterior of all maps that can be chosen freely, with N examples and a prior precision δ > 0.
///
/// A is the mean of \[h; 1\]\[h; 1\]ᵀ over examples and positions, and G that of [`super::output_curvatures`]; a map without a bias
/// has no last column.
///
/// # Errors
/// Where curvatures are those of another network, or δ is not positive.
pub fn kronecker_posterior(
    network: &Network,
    calibration: &Calibration,
    curvatures: &OutputCurvatures,
    prior_precision: f64,
) -> Result<MapPosterior> {
    let Network { graph, params, axes } = *network;
    checks::positive("the precision of a prior", prior_precision)?;
    network.check()?;
    calibration.check(graph, params)?;
    let flow = Rc::new(Flow::of(graph));
    let mut passes = Passes::new(graph, flow, params, calibration);
    let n = calibration.n_examples() as f64;
    let (mut names, mut blocks) = (Vec::new(), Vec::new());
    let (mut layers, mut mean) = (Vec::new(), Vec::new());
    for (m, map) in axes.maps().iter().enumerate().filter(|(_, map)| map.tied.is_none()) {
        passes.advance(map.node, params)?;
        let moments = read(&passes, map, params, None)?.all;
        let weights = matrix(&map.weights(graph, params)?)?;
        let bias = map.biases(graph, params)?.map(|bias| bias.to_vec1::<f64>()).transpose()?;
        let (rows, columns) = weights.shape();
        let second = moments.second();
        let cols = columns + usize::from(bias.is_some());
        let a = Mat::from_fn(cols, cols, |i, j| second[(i, j)]);
        let Some(g) = curvatures.get(m) else {
            let (expected, found) = (core_tensors::Expected::AtLeast(m + 1), m);
            return Err(Error::count("curvatures of maps", expected, found));
        };
        checks::length("rows of a curvature of outputs", rows, g.nrows())?;
        let g = g * faer::Scale(n);
        layers.push(LayerCurvature {
            rows: Spectrum::of(g.as_ref())?,
            columns: Spectrum::of(a.as_ref())?,
        });
        for i in 0..rows {
            mean.extend((0..columns).map(|j| weights[(i, j)]));
            mean.extend(bias.as_ref().map(|bias| bias[i]));
        }
        names.push(map.name.clone());
        blocks.push(Block { rows, cols });
    }
    let covariance = KroneckerEigen::new(layers, prior_precision)?;
    let gaussian = Gaussian::new(Layout { blocks }, mean, covariance)?;
    Ok(MapPosterior { names, gaussian })
}
