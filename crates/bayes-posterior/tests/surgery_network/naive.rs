//! Networks in f64, examples, and what a linear map reads and gives, row by row.

use bayes_posterior::surgery::network::{Calibration, Cutting, Network};
use candle_core::{DType, Device, Tensor};
use core_tensors::linalg::Cholesky;
use core_tensors::{Params, Rng};
use faer::Mat;
use models::graph::axes::{Axes, LinearMap};
use models::graph::{Graph, Op, Unary, ValueId};

use crate::branching::cases;
use crate::growing::{Growing, Outcome};

/// A network with its units.
pub(crate) struct Net {
    pub(crate) graph: Graph,
    pub(crate) params: Params,
    pub(crate) axes: Axes,
    /// The shape of an example.
    pub(crate) input: Vec<usize>,
}

impl Net {
    pub(crate) fn new((graph, params): (Graph, Params), input: &[usize]) -> Outcome<Self> {
        let blocks = params.blocks().iter().map(|block| block.to_dtype(DType::F64));
        let blocks = blocks.collect::<candle_core::Result<Vec<_>>>()?;
        let params = Params::new(graph.layout(), blocks)?;
        Ok(Self { axes: Axes::of(&graph), graph, params, input: input.to_vec() })
    }

    pub(crate) fn network(&self) -> Network<'_> {
        Network { graph: &self.graph, params: &self.params, axes: &self.axes }
    }

    pub(crate) fn examples(&self, seed: u64, n: usize) -> Outcome<Tensor> {
        normal(&mut Rng::new(seed), &[&[n], self.input.as_slice()].concat())
    }

    pub(crate) fn full(&self) -> Vec<usize> {
        self.axes.groups().iter().map(|group| group.n_units).collect()
    }

    /// Full widths but for some groups, by name.
    pub(crate) fn widths(&self, of: &[(&str, usize)]) -> Outcome<Vec<usize>> {
        let mut widths = self.full();
        for &(name, width) in of {
            widths[self.group(name)?] = width;
        }
        Ok(widths)
    }

    pub(crate) fn group(&self, name: &str) -> Outcome<usize> {
        let place = self.axes.groups().iter().position(|group| group.name == name);
        Ok(place.ok_or_else(|| format!("no group `{name}` in\n{}", self.axes))?)
    }

    pub(crate) fn map(&self, name: &str) -> Outcome<(usize, &LinearMap)> {
        let mut maps = self.axes.maps().iter().enumerate();
        Ok(maps.find(|(_, map)| map.name == name).ok_or_else(|| format!("no map `{name}`"))?)
    }

    /// Numbers of a parameter changed.
    pub(crate) fn set(
        &mut self,
        name: &str,
        change: impl Fn(usize, usize, &dyn Fn(usize, usize) -> f64) -> f64,
    ) -> Outcome<()> {
        let at = block(&self.graph, name)?;
        let mut blocks = self.params.blocks().to_vec();
        let (rows, columns) = blocks[at].dims2()?;
        let old = blocks[at].to_vec2::<f64>()?;
        let read = |i: usize, j: usize| old[i][j];
        let new: Vec<f64> =
            (0..rows * columns).map(|k| change(k / columns, k % columns, &read)).collect();
        blocks[at] = Tensor::from_vec(new, (rows, columns), &Device::Cpu)?;
        self.params = Params::new(self.graph.layout(), blocks)?;
        Ok(())
    }
}

/// One of the networks that the groups of units are tested with.
pub(crate) fn case(name: &str, nth: usize) -> Outcome<Net> {
    let found = cases()?.into_iter().filter(|case| case.name == name).nth(nth);
    let case = found.ok_or_else(|| format!("no network `{name}`"))?;
    let net = Net::new(case.network, &case.input)?;
    let output = &net.graph.value(net.graph.outputs()[0]).name;
    let groups = net.axes.to_string().replace(&format!("output `{output}`"), "output `y`");
    assert_eq!(groups, case.groups);
    Ok(net)
}

/// Gemm layers `a`, `b`, …, with an activation between.
pub(crate) fn dense(seed: u64, widths: &[usize], unary: Option<Unary>) -> Outcome<Net> {
    let (mut net, mut h) = Growing::new(seed, &widths[..1]);
    for (t, pair) in widths.windows(2).enumerate() {
        let name = char::from(b'a' + t as u8).to_string();
        h = net.gemm(&name, h, [pair[1], pair[0]], true)?;
        if let (Some(unary), true) = (unary, t + 2 < widths.len()) {
            h = net.node(Op::Unary(unary), &[h])?;
        }
    }
    Net::new(net.finish(h)?, &widths[..1])
}

/// A stream of d numbers with two blocks of h hidden units, and a last layer.
pub(crate) fn stream(seed: u64, [n, d, h, k]: [usize; 4]) -> Outcome<Net> {
    let (mut net, x) = Growing::new(seed, &[n]);
    let mut s = net.gemm("stem", x, [d, n], true)?;
    for block in ["1", "2"] {
        let inner = net.gemm(&format!("a{block}"), s, [h, d], true)?;
        let inner = net.relu(inner)?;
        let inner = net.gemm(&format!("b{block}"), inner, [d, h], true)?;
        s = net.sum(inner, s)?;
    }
    let s = net.relu(s)?;
    let y = net.gemm("out", s, [k, d], true)?;
    Net::new(net.finish(y)?, &[n])
}

pub(crate) fn normal(rng: &mut Rng, shape: &[usize]) -> Outcome<Tensor> {
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| rng.normal()).collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

pub(crate) fn calibration(x: &Tensor, held_out_every: usize) -> Outcome<Calibration> {
    let cutting = Cutting { batch_size: 64, held_out_every, ..Cutting::default() };
    Ok(Calibration::new(std::slice::from_ref(x), None, cutting)?)
}

pub(crate) fn output(graph: &Graph, params: &Params, x: &Tensor) -> Outcome<Vec<f64>> {
    let f = graph.run(params, std::slice::from_ref(x))?.remove(0);
    Ok(f.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?)
}

/// Largest difference as a share of the largest number.
pub(crate) fn gap(found: &[f64], wanted: &[f64]) -> f64 {
    if found.len() != wanted.len() {
        return f64::INFINITY;
    }
    let size = wanted.iter().fold(1e-300f64, |most, v| most.max(v.abs()));
    let apart = found.iter().zip(wanted).map(|(a, b)| (a - b).abs());
    apart.fold(0.0, |most: f64, d| if d.is_nan() { f64::INFINITY } else { most.max(d) }) / size
}

pub(crate) fn of_mat(a: &Mat<f64>) -> Vec<f64> {
    (0..a.nrows()).flat_map(|i| (0..a.ncols()).map(move |j| a[(i, j)])).collect()
}

pub(crate) fn block(graph: &Graph, name: &str) -> Outcome<usize> {
    let found = graph.parameters().iter().position(|&id| graph.value(id).name == name);
    Ok(found.ok_or_else(|| format!("no parameter `{name}`"))?)
}

pub(crate) fn value(graph: &Graph, name: &str) -> Outcome<ValueId> {
    let found = graph.ids().find(|&id| graph.value(id).name == name);
    Ok(found.ok_or_else(|| format!("no value `{name}`"))?)
}

/// A value for the examples `rows` of x, as rows of the numbers of each position: the last axis, or the channels of images.
pub(crate) fn rows(
    graph: &Graph,
    params: &Params,
    x: &Tensor,
    id: ValueId,
) -> Outcome<Vec<Vec<f64>>> {
    let values = graph.values_from(params, std::slice::from_ref(x), &[], &[id])?.remove(0);
    let values = if values.rank() == 4 { values.permute((0, 2, 3, 1))? } else { values };
    let n = values.dim(values.rank() - 1)?;
    Ok(values.contiguous()?.reshape(((), n))?.to_dtype(DType::F64)?.to_vec2()?)
}

/// What a map reads at each of its outputs: rows of a dense map, patches of a convolution by naive loops.
pub(crate) fn inputs(
    graph: &Graph,
    params: &Params,
    x: &Tensor,
    map: &LinearMap,
) -> Outcome<Vec<Vec<f64>>> {
    let Some(window) = map.window else { return rows(graph, params, x, map.input) };
    let images = graph.values_from(params, std::slice::from_ref(x), &[], &[map.input])?.remove(0);
    let (m, c, h, w) = images.dims4()?;
    let numbers = images.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    let [kh, kw] = window.kernel;
    let out = |n: usize, axis: usize| {
        let pads = window.pads[axis] + window.pads[axis + 2];
        (n + pads - window.dilations[axis] * (window.kernel[axis] - 1) - 1) / window.strides[axis]
            + 1
    };
    let mut patches = Vec::new();
    for i in 0..m {
        for (r, q) in (0..out(h, 0)).flat_map(|r| (0..out(w, 1)).map(move |q| (r, q))) {
            let mut patch = Vec::with_capacity(c * kh * kw);
            for channel in 0..c {
                for (a, b) in (0..kh).flat_map(|a| (0..kw).map(move |b| (a, b))) {
                    let y = (r * window.strides[0] + a * window.dilations[0]) as i64
                        - window.pads[0] as i64;
                    let z = (q * window.strides[1] + b * window.dilations[1]) as i64
                        - window.pads[1] as i64;
                    let inside = (0..h as i64).contains(&y) && (0..w as i64).contains(&z);
                    let at = || ((i * c + channel) * h + y as usize) * w + z as usize;
                    patch.push(if inside { numbers[at()] } else { 0.0 });
                }
            }
            patches.push(patch);
        }
    }
    Ok(patches)
}

/// W of a map, row by row, and its bias.
pub(crate) fn weights(
    graph: &Graph,
    params: &Params,
    map: &LinearMap,
) -> Outcome<(Vec<Vec<f64>>, Vec<f64>)> {
    let bias = map.biases(graph, params)?.ok_or("no bias")?;
    Ok((map.weights(graph, params)?.to_vec2()?, bias.to_vec1()?))
}

/// The mean of the squares of all numbers of rows and of their 1: what dampings are shares of.
pub(crate) fn scale(h: &[Vec<f64>]) -> f64 {
    let squares: f64 = h.iter().flatten().map(|v| v * v).sum();
    (squares / h.len() as f64 + 1.0) / (h[0].len() + 1) as f64
}

/// (E t \[h; 1\]ᵀ + ε W)(E \[h; 1\]\[h; 1\]ᵀ + ε)⁻¹ with ε on all but the last column, by naive sums.
pub(crate) fn fitted(
    h: &[Vec<f64>],
    t: &[Vec<f64>],
    w: &[Vec<f64>],
    epsilon: f64,
) -> Outcome<(Vec<Vec<f64>>, Vec<f64>)> {
    let (n, o, m) = (h[0].len(), t[0].len(), h.len() as f64);
    let one = |row: &[f64], j: usize| if j == n { 1.0 } else { row[j] };
    let mut a = Mat::<f64>::zeros(n + 1, n + 1);
    let mut c = Mat::<f64>::zeros(n + 1, o);
    for (h, t) in h.iter().zip(t) {
        for j in 0..=n {
            (0..=n).for_each(|i| a[(i, j)] += one(h, i) * one(h, j) / m);
            (0..o).for_each(|i| c[(j, i)] += one(h, j) * t[i] / m);
        }
    }
    for j in 0..n {
        a[(j, j)] += epsilon;
        (0..o).for_each(|i| c[(j, i)] += epsilon * w[i][j]);
    }
    Cholesky::new(a.as_ref())?.solve(c.as_mut());
    let weights = (0..o).map(|i| (0..n).map(|j| c[(j, i)]).collect()).collect();
    Ok((weights, (0..o).map(|i| c[(n, i)]).collect()))
}

/// E ‖t − W h − b‖²
pub(crate) fn error(h: &[Vec<f64>], t: &[Vec<f64>], (w, b): &(Vec<Vec<f64>>, Vec<f64>)) -> f64 {
    let mut sum = 0.0;
    for (h, t) in h.iter().zip(t) {
        for ((row, b), t) in w.iter().zip(b).zip(t) {
            let z: f64 = row.iter().zip(h).map(|(w, h)| w * h).sum::<f64>() + b;
            sum += (t - z).powi(2);
        }
    }
    sum / h.len() as f64
}

/// Columns of rows.
pub(crate) fn picked(rows: &[Vec<f64>], columns: &[usize]) -> Vec<Vec<f64>> {
    rows.iter().map(|row| columns.iter().map(|&j| row[j]).collect()).collect()
}
