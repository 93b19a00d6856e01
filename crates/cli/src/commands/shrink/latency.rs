//! How long forward passes take here, in this program.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use candle_core::Tensor;
use core_tensors::Params;
use models::graph::Graph;

use crate::ledger::shrink::{Latency, Quartiles};

/// Rounds that are timed at least and at most, after the first, which warms the caches.
const ROUNDS: std::ops::Range<usize> = 20..2000;
/// Time that the passes of one network take, within these limits.
const LONG_ENOUGH: Duration = Duration::from_millis(150);

/// A network that can be timed.
pub(super) type Timed<'a> = (&'a Graph, &'a Params);

/// Times of a forward pass of a batch of the examples `x`.
pub(super) fn latency(network: Timed, x: &Tensor, batch: usize) -> Result<Latency> {
    let [times] = times([network], x, batch)?;
    Ok(of_times(times, batch))
}

/// Times of two networks, whose passes take turns, so that what slows the machine down slows both; and of the second as a
/// share of the first's in the same round.
pub(super) fn latencies(
    networks: [Timed; 2],
    x: &Tensor,
    batch: usize,
) -> Result<([Latency; 2], Quartiles)> {
    let [first, second] = times(networks, x, batch)?;
    let ratios = first.iter().zip(&second).map(|(first, second)| second / first).collect();
    Ok(([of_times(first, batch), of_times(second, batch)], quartiles(ratios)))
}

/// Milliseconds of each pass, one of each network a round.
fn times<const N: usize>(networks: [Timed; N], x: &Tensor, batch: usize) -> Result<[Vec<f64>; N]> {
    let x = repeated(x, batch)?;
    for (graph, params) in networks {
        graph.forward(params, &x)?;
    }
    let mut times = [const { Vec::new() }; N];
    let started = Instant::now();
    let mut round = 0;
    while round < ROUNDS.start || (round < ROUNDS.end && started.elapsed() < LONG_ENOUGH * N as u32)
    {
        for ((graph, params), times) in networks.iter().zip(&mut times) {
            let start = Instant::now();
            graph.forward(params, &x)?;
            times.push(1e3 * start.elapsed().as_secs_f64());
        }
        round += 1;
    }
    Ok(times)
}

/// Refuses batches that would take much of the memory.
pub(super) fn check_batch(x: &Tensor, batch: usize) -> Result<()> {
    /// A gigabyte of f32.
    const MOST_NUMBERS: usize = 1 << 28;
    let each = x.elem_count() / x.dim(0)?.max(1);
    let most = MOST_NUMBERS / each.max(1);
    ensure!(
        batch <= most.max(1),
        "--latency-batch: expected at most {most} examples of {each} numbers, which take a gigabyte, found {batch}"
    );
    Ok(())
}

/// A batch of so many examples: where there are fewer, they come again.
fn repeated(x: &Tensor, batch: usize) -> Result<Tensor> {
    let n = x.dim(0)?.max(1);
    let rows: Vec<u32> = (0..batch).map(|i| (i % n) as u32).collect();
    Ok(x.index_select(&Tensor::from_vec(rows, batch, x.device())?, 0)?)
}

fn of_times(times: Vec<f64>, batch: usize) -> Latency {
    let threads = rayon::current_num_threads();
    let Quartiles { median, low, high } = quartiles(times);
    Latency { median_ms: median, low_ms: low, high_ms: high, batch, threads }
}

/// Those of at least one number.
fn quartiles(mut values: Vec<f64>) -> Quartiles {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[(share * (values.len() - 1) as f64).round() as usize];
    Quartiles { median: at(0.5), low: at(0.25), high: at(0.75) }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn a_batch_larger_than_the_examples_repeats_them() {
        let x = Tensor::new(&[[1f32, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::Cpu).unwrap();
        let rows = |batch| repeated(&x, batch).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(rows(2), [[1.0, 2.0], [3.0, 4.0]]);
        assert_eq!(rows(5), [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [1.0, 2.0], [3.0, 4.0]]);
    }

    #[test]
    fn quartiles_are_those_by_hand() {
        let found = quartiles(vec![5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!((found.low, found.median, found.high), (2.0, 3.0, 4.0));
        let one = quartiles(vec![7.0]);
        assert_eq!((one.low, one.median, one.high), (7.0, 7.0, 7.0));
    }
}
