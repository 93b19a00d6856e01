//! Logits of several teachers: their mean, or all of them next to one another.

use anyhow::{Context, Result};
use candle_core::Tensor;
use core_tensors::{Dataset, Params};
use losses::log_softmax;
use models::Architecture;

use crate::training::logits;

/// `data` with the logits of several teachers next to one another, (m, e·k), for [`losses::dirichlet`].
pub fn with_member_logits(
    data: &Dataset,
    members: &[(&dyn Architecture, &Params)],
) -> Result<Dataset> {
    let of_members = members
        .iter()
        .map(|(network, w)| logits(*network, w, data.x()))
        .collect::<Result<Vec<_>>>()?;
    let of_members =
        Tensor::cat(&of_members, 1).context("an ensemble wanted members, found none")?;
    let all: Vec<usize> = (0..data.n_examples()).collect();
    Ok(data.clone().with_logits(&of_members, &all)?)
}

/// Logits of the ensemble, (m, k): the logarithm of the members' mean probabilities, from theirs, (m, e·k).
///
/// log (1/e) Σₗ softmax(v⁽ˡ⁾)ₖ, whose softmax at T = 1 is the mean itself.
pub fn mean_of_members(of_members: &Tensor, k: usize) -> Result<Tensor> {
    let (m, columns) = of_members.dims2()?;
    anyhow::ensure!(
        k > 0 && columns > 0 && columns.is_multiple_of(k),
        "columns of the members' answers: wanted a multiple of {k}, found {columns}"
    );
    let members = columns / k;
    let log_pi = log_softmax(&of_members.reshape((m * members, k))?)?.reshape((m, members, k))?;
    Ok(log_pi.log_sum_exp(1)?.affine(1.0, -(members as f64).ln())?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn an_ensemble_answers_with_the_mean_of_its_members() {
        let logs: Vec<f64> = [0.5, 0.5, 0.9, 0.1, 0.2, 0.8].iter().map(|p: &f64| p.ln()).collect();
        // Other logits with the same softmax.
        let shifted = logs.iter().enumerate().map(|(i, log)| log + (i / 2) as f64).collect();
        let of_members = Tensor::from_vec(shifted, (1, 6), &Device::Cpu).unwrap();
        let mean = mean_of_members(&of_members, 2).unwrap().exp().unwrap();
        let found: Vec<Vec<f64>> = mean.to_vec2().unwrap();
        assert!((found[0][0] - 1.6 / 3.0).abs() + (found[0][1] - 1.4 / 3.0).abs() < 1e-12);
        let error = mean_of_members(&of_members, 4).unwrap_err().to_string();
        assert_eq!(error, "columns of the members' answers: wanted a multiple of 4, found 6");
    }
}
