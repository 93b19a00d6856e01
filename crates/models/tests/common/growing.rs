//! Random networks, layer by layer.

use std::error::Error;

use candle_core::{Device, Tensor};
use core_tensors::{Params, Rng};
use models::graph::{Binary, Builder, Dimension, Graph, Kind, Op, Unary, ValueId, Window};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

pub(crate) fn normal(rng: &mut Rng, shape: &[usize]) -> Outcome<Tensor> {
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal() as f32).collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// A graph that grows, with random parameters.
pub(crate) struct Growing {
    pub(crate) builder: Builder,
    rng: Rng,
    blocks: Vec<Tensor>,
    n: usize,
}

impl Growing {
    /// One input `x` of this shape for each example.
    pub(crate) fn new(seed: u64, shape: &[usize]) -> (Self, ValueId) {
        let mut builder = Builder::new();
        let extents = shape.iter().map(|&n| Dimension::known(n as i64));
        let shape = std::iter::once(Dimension::BATCH).chain(extents).collect();
        let x = builder.input("x", Kind::Float, shape);
        (Self { builder, rng: Rng::new(seed), blocks: Vec::new(), n: 0 }, x)
    }

    /// A parameter whose numbers are normal with mean `mean`, and as large as a layer of such inputs wants.
    pub(crate) fn parameter(&mut self, name: &str, shape: &[usize], mean: f64) -> Outcome<ValueId> {
        let n: usize = shape.iter().skip(1).product();
        let tensor = normal(&mut self.rng, &[shape.first().copied().unwrap_or(1), n])?;
        let std = if n > 1 { 1.5 / (n as f64).sqrt() } else { 0.2 };
        self.blocks.push(tensor.affine(std, mean)?);
        Ok(self.builder.parameter(name, shape))
    }

    pub(crate) fn node(&mut self, op: Op, operands: &[ValueId]) -> Outcome<ValueId> {
        self.n += 1;
        let name = format!("{}{}", op.name().to_lowercase(), self.n);
        self.named(&name, op, operands)
    }

    fn named(&mut self, name: &str, op: Op, operands: &[ValueId]) -> Outcome<ValueId> {
        let results = self.builder.add(name, op, operands, &[&format!("{name}.y")])?;
        Ok(results[0])
    }

    pub(crate) fn several(&mut self, op: Op, x: ValueId, n: usize) -> Outcome<Vec<ValueId>> {
        self.n += 1;
        let name = format!("{}{}", op.name().to_lowercase(), self.n);
        let results: Vec<String> = (0..n).map(|i| format!("{name}.y{i}")).collect();
        let results: Vec<&str> = results.iter().map(String::as_str).collect();
        Ok(self.builder.add(&name, op, &[x], &results)?)
    }

    pub(crate) fn relu(&mut self, x: ValueId) -> Outcome<ValueId> {
        self.node(Op::Unary(Unary::Relu), &[x])
    }

    pub(crate) fn sum(&mut self, a: ValueId, b: ValueId) -> Outcome<ValueId> {
        self.node(Op::Binary(Binary::Add), &[a, b])
    }

    /// Weight (out, in), or (in, out) where B is not transposed.
    pub(crate) fn gemm(
        &mut self,
        name: &str,
        x: ValueId,
        [o, i]: [usize; 2],
        transpose_b: bool,
    ) -> Outcome<ValueId> {
        let shape = if transpose_b { [o, i] } else { [i, o] };
        let w = self.parameter(&format!("{name}.weight"), &shape, 0.0)?;
        let b = self.parameter(&format!("{name}.bias"), &[o], 0.0)?;
        let op = Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b };
        self.named(name, op, &[x, w, b])
    }

    /// x W + b with W (in, out).
    pub(crate) fn matmul(
        &mut self,
        name: &str,
        x: ValueId,
        [o, i]: [usize; 2],
    ) -> Outcome<ValueId> {
        let w = self.parameter(&format!("{name}.weight"), &[i, o], 0.0)?;
        let b = self.parameter(&format!("{name}.bias"), &[o], 0.0)?;
        let product = self.node(Op::MatMul, &[x, w])?;
        self.sum(b, product)
    }

    /// Filters (o, c, k, k) with a padding of k/2; depthwise where c is 1 and there are groups.
    pub(crate) fn conv(
        &mut self,
        name: &str,
        x: ValueId,
        [o, c, k]: [usize; 3],
        groups: usize,
    ) -> Outcome<ValueId> {
        let w = self.parameter(&format!("{name}.weight"), &[o, c, k, k], 0.0)?;
        let b = self.parameter(&format!("{name}.bias"), &[o], 0.0)?;
        self.named(name, Op::Conv { window: window(k, 1, k / 2), groups }, &[x, w, b])
    }

    pub(crate) fn batch_norm(&mut self, name: &str, x: ValueId, c: usize) -> Outcome<ValueId> {
        let mut operands = vec![x];
        for (part, mean) in [("weight", 1.0), ("bias", 0.0), ("mean", 0.0), ("var", 2.0)] {
            operands.push(self.parameter(&format!("{name}.{part}"), &[c], mean)?);
        }
        self.node(Op::BatchNormalization { epsilon: 1e-5 }, &operands)
    }

    pub(crate) fn layer_norm(&mut self, name: &str, x: ValueId, d: usize) -> Outcome<ValueId> {
        let scale = self.parameter(&format!("{name}.weight"), &[d], 1.0)?;
        let shift = self.parameter(&format!("{name}.bias"), &[d], 0.0)?;
        let axis = self.builder.get(x).shape.len() - 1;
        self.named(name, Op::LayerNormalization { axis, epsilon: 1e-5 }, &[x, scale, shift])
    }

    pub(crate) fn reshape(&mut self, x: ValueId, shape: &[Dimension]) -> Outcome<ValueId> {
        self.node(Op::Reshape { shape: shape.to_vec() }, &[x])
    }

    pub(crate) fn transpose(&mut self, x: ValueId, order: &[usize]) -> Outcome<ValueId> {
        self.node(Op::Transpose { order: order.to_vec() }, &[x])
    }

    pub(crate) fn finish(self, output: ValueId) -> Outcome<(Graph, Params)> {
        let graph = self.builder.finish(&[output]);
        let params = Params::new(graph.layout(), self.blocks)?;
        Ok((graph, params))
    }
}

pub(crate) fn window(kernel: usize, stride: usize, pad: usize) -> Window {
    Window {
        kernel: [kernel; 2],
        strides: [stride; 2],
        dilations: [1; 2],
        pads: [pad; 4],
        ceil: false,
    }
}

/// An extent.
pub(crate) fn of(n: usize) -> Dimension {
    Dimension::known(n as i64)
}
