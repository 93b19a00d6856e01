//! Networks of this crate as graphs, with weights and biases apart: the form in which they go to other programs.

use candle_core::Tensor;
use core_tensors::kernels::Activation;
use core_tensors::{Error, Expected, Params, Result};

use super::{Builder, Dimension, Graph, Kind, Op, Reduction, Unary, ValueId, Window};
use crate::{Architecture, Cnn, Mlp};

impl Mlp {
    /// The same network as a graph, and its parameters in the graph's blocks.
    ///
    /// Input `x` \[N, n\], output `logits`; parameters `layers.0.weight` (out, in), `layers.0.bias` (out,), and so on.
    ///
    /// # Errors
    /// Where `w` does not have this network's blocks.
    pub fn to_graph(&self, w: &Params) -> Result<(Graph, Params)> {
        self.layout().check_same("parameters of a perceptron", w.layout())?;
        let n = self.widths.first().copied().unwrap_or(0);
        let mut graph = Growing::new(&[n], w, self.bias);
        for t in 0..w.blocks().len() {
            let is_last = t + 1 == w.blocks().len();
            graph.dense(if is_last { Activation::Identity } else { self.activation }, is_last)?;
        }
        graph.finish()
    }
}

impl Cnn {
    /// The same network as a graph, and its parameters in the graph's blocks.
    ///
    /// Input `x` \[N, c, h, w\], output `logits`; parameters `layers.0.weight` (o, c, k, k), `layers.0.bias` (o,), and so
    /// on, dense ones (out, in).
    ///
    /// # Errors
    /// Where `w` does not have this network's blocks, or the images are too small for its kernels.
    pub fn to_graph(&self, w: &Params) -> Result<(Graph, Params)> {
        self.flat_width()?;
        self.layout().check_same("parameters of a convolutional network", w.layout())?;
        let what = "dense layers of a convolutional network";
        Expected::AtLeast(1).check(what, self.dense.len())?;
        let mut graph = Growing::new(&self.input, w, self.bias);
        let mut channels = self.input[0];
        for of in &self.convolutions {
            graph.convolution([of.channels, channels, of.kernel])?;
            channels = of.channels;
        }
        let flat = if self.is_averaged {
            Op::Reduce { reduction: Reduction::Mean, axes: vec![2, 3], keep: false }
        } else {
            Op::Flatten { axis: 1 }
        };
        graph.node("flat", flat, &[], "flat")?;
        for t in 0..self.dense.len() {
            let is_last = t + 1 == self.dense.len();
            graph.dense(if is_last { Activation::Identity } else { Activation::Relu }, is_last)?;
        }
        graph.finish()
    }
}

/// A chain of layers whose last value feeds the next.
struct Growing<'a> {
    builder: Builder,
    last: ValueId,
    has_bias: bool,
    /// What is left of the network's own blocks.
    rest: &'a [Tensor],
    /// Numbers of the graph's parameters so far.
    blocks: Vec<Tensor>,
    n_layers: usize,
}

impl<'a> Growing<'a> {
    fn new(input: &[usize], w: &'a Params, has_bias: bool) -> Self {
        let mut builder = Builder::new();
        let extents = input.iter().map(|&n| Dimension::known(n as i64));
        let shape = std::iter::once(Dimension::BATCH).chain(extents).collect();
        let last = builder.input("x", Kind::Float, shape);
        Self { builder, last, has_bias, rest: w.blocks(), blocks: Vec::new(), n_layers: 0 }
    }

    fn node(&mut self, name: &str, op: Op, others: &[ValueId], result: &str) -> Result<()> {
        let operands = [&[self.last], others].concat();
        let results = self.builder.add(name, op, &operands, &[result])?;
        self.last = results.first().copied().unwrap_or(self.last);
        Ok(())
    }

    /// The next block as a weight of this shape and perhaps a bias; (o, n) where no shape is given.
    fn parameters(&mut self, shape: Option<&[usize]>) -> Result<Vec<ValueId>> {
        let none = Error::Count { what: "blocks", expected: Expected::AtLeast(1), found: 0 };
        let (u, rest) = self.rest.split_first().ok_or(none)?;
        self.rest = rest;
        let (o, n_cols) = u.dims2()?;
        let n = n_cols - usize::from(self.has_bias);
        let name = format!("layers.{}", self.n_layers);
        let dense = [o, n];
        let shape = shape.unwrap_or(&dense);
        let mut ids = vec![self.builder.parameter(&format!("{name}.weight"), shape)];
        self.blocks.push(u.narrow(1, 0, n)?.contiguous()?);
        if self.has_bias {
            ids.push(self.builder.parameter(&format!("{name}.bias"), &[o]));
            self.blocks.push(u.narrow(1, n, 1)?.contiguous()?);
        }
        Ok(ids)
    }

    fn dense(&mut self, activation: Activation, is_last: bool) -> Result<()> {
        let parameters = self.parameters(None)?;
        let (name, sums, output) = self.names();
        let unary = unary(activation);
        let op = Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b: true };
        let result = if is_last {
            "logits"
        } else if unary.is_none() {
            &output
        } else {
            &sums
        };
        self.node(&name, op, &parameters, result)?;
        if let Some(unary) = unary {
            self.node(&format!("{name}.activation"), Op::Unary(unary), &[], &output)?;
        }
        self.n_layers += 1;
        Ok(())
    }

    /// Filters (o, c, k, k), ReLU, and 2 × 2 max-pooling.
    fn convolution(&mut self, [o, c, k]: [usize; 3]) -> Result<()> {
        let parameters = self.parameters(Some(&[o, c, k, k]))?;
        let (name, sums, output) = self.names();
        let filter = Window {
            kernel: [k; 2],
            strides: [1; 2],
            dilations: [1; 2],
            pads: [0; 4],
            ceil: false,
        };
        self.node(&name, Op::Conv { window: filter, groups: 1 }, &parameters, &sums)?;
        let positive = format!("{name}.positive");
        self.node(&format!("{name}.activation"), Op::Unary(Unary::Relu), &[], &positive)?;
        let window = Window { kernel: [2; 2], strides: [2; 2], ..filter };
        self.node(&format!("{name}.pool"), Op::MaxPool { window }, &[], &output)?;
        self.n_layers += 1;
        Ok(())
    }

    fn names(&self) -> (String, String, String) {
        let name = format!("layers.{}", self.n_layers);
        let (sums, output) = (format!("{name}.sums"), format!("{name}.output"));
        (name, sums, output)
    }

    fn finish(self) -> Result<(Graph, Params)> {
        let graph = self.builder.finish(&[self.last]);
        let params = Params::new(graph.layout(), self.blocks)?;
        Ok((graph, params))
    }
}

/// The operator of an activation; the identity has none.
fn unary(activation: Activation) -> Option<Unary> {
    match activation {
        Activation::Identity => None,
        Activation::Relu => Some(Unary::Relu),
        Activation::LeakyRelu { slope } => Some(Unary::LeakyRelu { slope: slope as f32 }),
        Activation::Tanh => Some(Unary::Tanh),
        Activation::Sigmoid => Some(Unary::Sigmoid),
        Activation::Silu => Some(Unary::Silu),
        Activation::Gelu => Some(Unary::Gelu),
    }
}
