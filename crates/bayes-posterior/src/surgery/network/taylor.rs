//! What a gate on each unit would do to the loss: saliencies that need labels.

use candle_core::{DType, Tensor};
use losses::{log_softmax, two_class_logits};

use super::calibration::{Calibration, of_graph};
use super::operate::Network;
use super::reading::{matrix, n_columns};
use crate::checks;
use crate::error::Result;

/// |∂L/∂γ| of a gate γ = 1 on the columns of each unit in all its consumers, one list a group of the network; L is the mean
/// cross-entropy of the labels. One logit is that of class 1 beside a class 0.
///
/// |Σ_W W ∂L/∂W| over the columns W of the unit
///
/// which is |E gradient × activation|, summed over positions. `labels` has the class of each example, in the order in which
/// the examples were given.
///
/// Source: Molchanov et al. (2019), Importance estimation for neural network pruning.
///
/// # Errors
/// For labels of another number than the examples or beyond the classes, and for examples that the graph does not take.
pub fn taylor_saliencies(
    network: &Network,
    calibration: &Calibration,
    labels: &[u32],
) -> Result<Vec<Vec<f64>>> {
    let Network { graph, params, axes } = *network;
    network.check()?;
    calibration.check(graph, params)?;
    checks::length("labels of examples", calibration.n_examples(), labels.len())?;
    let weights = params.trainable()?;
    let mut sums: Vec<Vec<f64>> = axes.groups().iter().map(|g| vec![0.0; g.n_units]).collect();
    for batch in calibration.batches() {
        let at = &graph.outputs()[..1];
        let f = graph.values_from(&weights, &batch.inputs, &[], at).map_err(of_graph)?.remove(0);
        let (_, n) = f.dims2()?;
        let (f, n) = if n == 1 { (two_class_logits(&f)?, 2) } else { (f, n) };
        let own: Vec<u32> = batch.rows.iter().map(|&i| labels[i as usize]).collect();
        if let Some(&label) = own.iter().find(|&&label| label as usize >= n) {
            let (what, index) = ("class", label as usize);
            return Err(core_tensors::Error::Index { what, index, n }.into());
        }
        let own = Tensor::new(own, f.device())?.unsqueeze(1)?;
        let loss = log_softmax(&f)?.gather(&own, 1)?.sum_all()?.neg()?;
        let gradient = weights.gradient(&loss)?;
        // W ∂L/∂W does not depend on a factor of W.
        let products = params.blocks().iter().zip(gradient.blocks());
        let products = products.map(|(w, g)| w.to_dtype(DType::F64)? * g.to_dtype(DType::F64)?);
        let products = products.collect::<candle_core::Result<Vec<_>>>()?;
        let products = core_tensors::Params::new(params.layout().clone(), products)?;
        for (sums, group) in sums.iter_mut().zip(axes.groups()) {
            for consumer in &group.consumers {
                let Some(map) = axes.maps().iter().find(|map| map.node == consumer.node) else {
                    continue;
                };
                let matrix = matrix(&map.weights(graph, &products)?)?;
                let of = |j: usize| matrix.col(j).iter().sum::<f64>() / map.factors[0];
                let columns: Vec<f64> = (0..n_columns(graph, map)).map(of).collect();
                for (sum, unit) in sums.iter_mut().zip(&consumer.columns) {
                    *sum += unit.iter().map(|&column| columns[column]).sum::<f64>();
                }
            }
        }
    }
    let scale = 1.0 / calibration.n_examples() as f64;
    sums.iter_mut().flatten().for_each(|sum| *sum = (*sum * scale).abs());
    sums.iter().try_for_each(|sums| checks::all_finite("Taylor saliency", sums))?;
    Ok(sums)
}
