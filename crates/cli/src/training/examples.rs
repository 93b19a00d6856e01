//! Examples: logits of all of them, chunk by chunk, and parts of a data set.

use anyhow::Result;
use candle_core::Tensor;
use core_tensors::{Dataset, Params, Rng, Targets};
use models::Architecture;

/// Examples a forward pass outside training takes at once: activations then stay in the cache.
pub const CHUNK: usize = 1000;
/// Numbers of examples that it takes at most, as large images have more activations.
const MOST_NUMBERS: usize = 4_000_000;

/// Examples a forward pass takes at once: [`CHUNK`], and fewer where they are large.
pub fn chunk(x: &Tensor) -> usize {
    let n: usize = x.dims().iter().skip(1).product();
    (MOST_NUMBERS / n.max(1)).clamp(1, CHUNK)
}

/// Logits of every example, [`chunk`] at a time; no gradient.
pub fn logits(network: &dyn Architecture, w: &Params, x: &Tensor) -> Result<Tensor> {
    let frozen = w.frozen();
    let (n_examples, most) = (x.dim(0)?, chunk(x));
    let parts: Vec<Tensor> = (0..n_examples)
        .step_by(most)
        .map(|start| {
            let part = x.narrow(0, start, most.min(n_examples - start))?;
            network.forward(&frozen, &part)
        })
        .collect::<core_tensors::Result<_>>()?;
    Ok(Tensor::cat(&parts, 0)?)
}

/// `data` with the answers of a trained network.
pub fn with_teacher(data: &Dataset, network: &dyn Architecture, w: &Params) -> Result<Dataset> {
    let frozen = w.frozen();
    let teacher_logits = |x: &Tensor| network.forward(&frozen, x);
    Ok(data.clone().with_teacher(chunk(data.x()), teacher_logits)?)
}

/// `most` random rows, or all where there are no more.
pub fn some_rows(x: &Tensor, most: usize, rng: &mut Rng) -> Result<Tensor> {
    let order = rng.permutation(x.dim(0)?);
    let chosen: Vec<u32> = order.iter().take(most).map(|&i| i as u32).collect();
    Ok(x.contiguous()?.index_select(&Tensor::new(chosen, x.device())?, 0)?)
}

/// The first `most` examples, or all where there are no more.
pub fn at_most(data: &Dataset, most: usize) -> Result<Dataset> {
    if data.n_examples() <= most {
        return Ok(data.clone());
    }
    Ok(data.rows(&(0..most).collect::<Vec<_>>())?)
}

/// Classes of a data set.
pub fn labels(data: &Dataset) -> Result<Vec<u32>> {
    match data.y() {
        Targets::Classes { labels, .. } => Ok(labels.to_vec1()?),
        Targets::Values(_) => anyhow::bail!("wanted classes, found values"),
    }
}
