//! Time of surgery: moments of n columns, greedy removal of half of n units, of half of 64 units of 9 columns, and half of the
//! inner units of a residual network, with all that is behind fitted anew.

use std::hint::black_box;

use bayes_posterior::surgery::network::{Calibration, Cutting, Network, Surgery, operate};
use bayes_posterior::surgery::{
    Bias, ColumnDamping, Consumer, Greedy, Moments, Removal, SecondMoments, greedy,
};
use candle_core::{Device, Tensor};
use core_tensors::{Params, Rng};
use criterion::{BenchmarkGroup, measurement::WallTime};
use faer::Mat;
use models::graph::axes::Axes;
use models::graph::{
    Binary, Builder, Dimension, Graph, Kind, Op, Reduction, Unary, ValueId, Window,
};

use crate::{BenchResult, covariance};

/// Rows of activations.
const ROWS: usize = 2048;
/// Outputs of the consumer.
const OUTPUTS: usize = 128;
/// Images of 28 × 28.
const EXAMPLES: usize = 500;

/// All of them.
pub(crate) fn all(group: &mut BenchmarkGroup<'_, WallTime>) -> BenchResult {
    for n in [256, 1536, 4608] {
        let h = normal(&mut Rng::new(1), &[ROWS, n])?;
        timed(group, &format!("moments/{n}"), || {
            let mut moments = Moments::new(n);
            moments.add(&h)?;
            moments.finish()
        })?;
    }
    for n in [256, 1536] {
        half(group, &format!("greedy_half/{n}"), n, 1)?;
    }
    half(group, "groups_half/64x9", 64, 9)?;
    let (graph, params) = residual()?;
    let axes = Axes::of(&graph);
    let network = Network { graph: &graph, params: &params, axes: &axes };
    let x = normal(&mut Rng::new(2), &[EXAMPLES, 1, 28, 28])?;
    let calibration = Calibration::new(&[x], None, Cutting::default())?;
    let widths = axes.groups().iter().map(|group| match group.joins.is_empty() {
        true if group.pinned.is_none() => group.n_units / 2,
        _ => group.n_units,
    });
    let widths: Vec<usize> = widths.collect();
    let surgery = Surgery::held_out();
    let id = format!("network/{}", params.layout().n_parameters());
    timed(group, &id, || operate(&network, &calibration, &widths, &surgery, None, None))
}

fn half(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: &str,
    n_units: usize,
    k: usize,
) -> BenchResult {
    let n = n_units * k;
    let (mean, covariance) = (vec![0.1; n], covariance(n));
    let moments = SecondMoments { n_rows: 1e5, mean, covariance, targets: None };
    let mut rng = Rng::new(3);
    let weights = Mat::from_fn(OUTPUTS, n + 1, |_, _| rng.normal());
    let units = (0..n_units).map(|u| (u * k..(u + 1) * k).collect()).collect();
    let (moments, weights, bias) = (&moments, weights.as_ref(), Bias::LastColumn);
    let consumers = [Consumer { moments, weights, units, output: None, bias }];
    let options = Greedy { widths: vec![n_units / 2], n_examples: 1.0, dependencies: true };
    timed(group, id, || greedy(Removal::new(&consumers, ColumnDamping::relative(1e-4))?, &options))
}

fn timed<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: &str,
    mut run: impl FnMut() -> bayes_posterior::Result<T>,
) -> BenchResult {
    // An early error would look like a fast run.
    let mut failure = None;
    group.bench_function(format!("surgery/{id}"), |b| {
        b.iter(|| black_box(run()).map_err(|error| failure = Some(error)));
    });
    failure.map_or(Ok(()), |error| Err(error.into()))
}

fn normal(rng: &mut Rng, shape: &[usize]) -> candle_core::Result<Tensor> {
    let mut values = vec![0.0; shape.iter().product()];
    rng.fill_normal(&mut values);
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// A network that grows.
struct Growing {
    builder: Builder,
    blocks: Vec<Tensor>,
    rng: Rng,
}

/// Three stages of two blocks, 16, 32 and 64 channels; the later ones begin with a projection.
fn residual() -> Result<(Graph, Params), Box<dyn std::error::Error>> {
    let mut net = Growing { builder: Builder::new(), blocks: Vec::new(), rng: Rng::new(4) };
    let of = |n: i64| Dimension::known(n);
    let x = net.builder.input("x", Kind::Float, vec![Dimension::BATCH, of(1), of(28), of(28)]);
    let mut s = net.convolution("stem", x, [16, 1, 3], 1)?;
    let mut c = 16;
    for (stage, o) in [16, 32, 64].into_iter().enumerate() {
        for block in 0..2 {
            let name = |part: &str| format!("{stage}.{block}.{part}");
            let stride = if c == o { 1 } else { 2 };
            let h = net.convolution(&name("a"), s, [o, c, 3], stride)?;
            let h = net.node(&name("relu"), Op::Unary(Unary::Relu), &[h])?;
            let h = net.convolution(&name("b"), h, [o, o, 3], 1)?;
            if c != o {
                s = net.convolution(&name("skip"), s, [o, c, 1], stride)?;
            }
            s = net.node(&name("sum"), Op::Binary(Binary::Add), &[h, s])?;
            s = net.node(&name("out"), Op::Unary(Unary::Relu), &[s])?;
            c = o;
        }
    }
    let mean = Op::Reduce { reduction: Reduction::Mean, axes: vec![2, 3], keep: false };
    let s = net.node("mean", mean, &[s])?;
    let parameters = [net.parameter("fc.weight", &[10, c])?, net.parameter("fc.bias", &[10])?];
    let gemm = Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b: true };
    let y = net.node("fc", gemm, &[s, parameters[0], parameters[1]])?;
    let graph = net.builder.finish(&[y]);
    let params = Params::new(graph.layout(), net.blocks)?;
    Ok((graph, params))
}

impl Growing {
    fn parameter(&mut self, name: &str, shape: &[usize]) -> candle_core::Result<ValueId> {
        let n: usize = shape[1..].iter().product();
        let std = (1.5 / n as f64).sqrt();
        self.blocks.push((normal(&mut self.rng, &[shape[0], n])? * std)?);
        Ok(self.builder.parameter(name, shape))
    }

    fn node(
        &mut self,
        name: &str,
        op: Op,
        operands: &[ValueId],
    ) -> Result<ValueId, models::graph::Error> {
        Ok(self.builder.add(name, op, operands, &[&format!("{name}.y")])?[0])
    }

    fn convolution(
        &mut self,
        name: &str,
        x: ValueId,
        [o, c, k]: [usize; 3],
        stride: usize,
    ) -> Result<ValueId, Box<dyn std::error::Error>> {
        let w = self.parameter(&format!("{name}.weight"), &[o, c, k, k])?;
        let b = self.parameter(&format!("{name}.bias"), &[o])?;
        let (kernel, strides, pads) = ([k; 2], [stride; 2], [k / 2; 4]);
        let window = Window { kernel, strides, dilations: [1; 2], pads, ceil: false };
        Ok(self.node(name, Op::Conv { window, groups: 1 }, &[x, w, b])?)
    }
}
