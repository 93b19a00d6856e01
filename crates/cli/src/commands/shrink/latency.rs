//! How long a forward pass takes here, in this program.

use std::time::{Duration, Instant};

use anyhow::Result;
use candle_core::Tensor;
use core_tensors::Params;
use models::graph::Graph;

use crate::ledger::shrink::Latency;

/// Passes that are timed at least and at most, after the first, which warms the caches.
const PASSES: std::ops::Range<usize> = 20..2000;
/// Time that the passes of one network take, within these limits.
const LONG_ENOUGH: Duration = Duration::from_millis(150);

/// Times of a forward pass of the first examples of `x`, a batch of them.
pub(super) fn latency(graph: &Graph, params: &Params, x: &Tensor, batch: usize) -> Result<Latency> {
    let batch = batch.min(x.dim(0)?);
    let x = x.narrow(0, 0, batch)?.contiguous()?;
    graph.forward(params, &x)?;
    let mut times = Vec::new();
    let started = Instant::now();
    while times.len() < PASSES.start
        || (times.len() < PASSES.end && started.elapsed() < LONG_ENOUGH)
    {
        let start = Instant::now();
        graph.forward(params, &x)?;
        times.push(1e3 * start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let quantile = |share: f64| times[(share * (times.len() - 1) as f64).round() as usize];
    let threads = rayon::current_num_threads();
    Ok(Latency {
        median_ms: quantile(0.5),
        low_ms: quantile(0.25),
        high_ms: quantile(0.75),
        batch,
        threads,
    })
}
