//! Columns of a block in the order in which fixing them at 0 costs least.

use core_tensors::Slice;

use crate::error::Result;
use crate::gaussian::Gaussian;
use crate::structure::{Outgoing, Structure};

/// The next column is the cheapest given those before it, ½ mᵀ Ψ⁻¹ m of what is fixed, by conditioning one by one.
pub(crate) fn by_conditioning<S: Structure>(
    covariance: &S,
    outgoing: &Outgoing,
) -> Result<Vec<(usize, f64)>> {
    let Outgoing { layout, block, mean, n_columns } = *outgoing;
    // Only this block takes part: the rest is integrated out.
    let mut outgoing = Gaussian::new(layout.clone(), mean.to_vec(), covariance.clone())?;
    for _ in block + 1..layout.blocks.len() {
        outgoing = outgoing.marginalize(&Slice::Block { block: block + 1 })?;
    }
    for _ in 0..block {
        outgoing = outgoing.marginalize(&Slice::Block { block: 0 })?;
    }
    let mut left: Vec<usize> = (0..n_columns).collect();
    let mut ranked = Vec::with_capacity(n_columns);
    let zeros = vec![0.0; outgoing.layout().blocks[0].rows];
    let column = |place: usize| Slice::Cols { block: 0, cols: vec![place] };
    while !left.is_empty() {
        let mut best = (0, f64::INFINITY);
        for place in 0..left.len() {
            let cost = match outgoing.layout().blocks[0].cols {
                // The last column of a block without biases is all that is left.
                1 => 0.5 * outgoing.covariance().precision_quadratic(outgoing.mean())?,
                _ => outgoing.marginal_density(&column(place), &zeros)?.cost(),
            };
            if cost < best.1 {
                best = (place, cost);
            }
        }
        ranked.push((left.remove(best.0), best.1));
        if !left.is_empty() {
            outgoing = outgoing.condition(&column(best.0), &zeros)?.0;
        }
    }
    Ok(ranked)
}
