//! Graphs against the networks of this crate, and as one of them.

use std::error::Error;

use candle_core::{DType, Device, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Block, Params, Rng};
use models::graph::{
    Binary, Builder, Dimension, Entries, Graph, Kind, Numbers, Op, Reduction, Unary, ValueId,
};
use models::{Architecture, Cnn, Convolution, Mlp};

type TestResult = Result<(), Box<dyn Error>>;

/// f32 sums of some hundred terms in two orders.
const TOLERANCE: f64 = 1e-5;

const ACTIVATIONS: [Activation; 7] = [
    Activation::Identity,
    Activation::Relu,
    Activation::LeakyRelu { slope: 0.25 },
    Activation::Tanh,
    Activation::Sigmoid,
    Activation::Silu,
    Activation::Gelu,
];

fn normal(rng: &mut Rng, shape: &[usize]) -> Result<Tensor, Box<dyn Error>> {
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal() as f32).collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

fn distance(a: &Tensor, b: &Tensor) -> Result<f64, Box<dyn Error>> {
    let gap = (a.to_dtype(DType::F64)? - b.to_dtype(DType::F64)?)?.abs()?;
    Ok(gap.flatten_all()?.max(0)?.to_scalar::<f64>()?)
}

/// Forward passes and gradients of a network and of its graph.
fn compare(
    network: &dyn Architecture,
    (graph, graph_w): (&Graph, &Params),
    w: &Params,
    x: &Tensor,
    has_bias: bool,
) -> TestResult {
    let (w, graph_w) = (w.trainable()?, graph_w.trainable()?);
    let (x, graph_x) = (candle_core::Var::from_tensor(x)?, candle_core::Var::from_tensor(x)?);
    let (y, graph_y) = (network.forward(&w, &x)?, graph.forward(&graph_w, &graph_x)?);
    assert_eq!(y.dims(), graph_y.dims());
    assert!(distance(&y, &graph_y)? < TOLERANCE);
    let weights = normal(&mut Rng::new(7), y.dims())?;
    let gradients = (y * &weights)?.sum_all()?.backward()?;
    let graph_gradients = (graph_y * &weights)?.sum_all()?.backward()?;
    let of_x = [gradients.get(&x), graph_gradients.get(&graph_x)];
    if let [Some(a), Some(b)] = of_x {
        assert!(distance(a, b)? < TOLERANCE);
    } else {
        return Err("no gradient in x".into());
    }
    let mut blocks = graph_w.blocks().iter();
    for block in w.blocks() {
        let wanted = gradients.get(block).ok_or("no gradient")?;
        let n = block.dim(1)? - usize::from(has_bias);
        let parts = [(0, n), (n, usize::from(has_bias))];
        for (start, len) in parts.into_iter().filter(|(_, len)| *len > 0) {
            let found = blocks.next().and_then(|b| graph_gradients.get(b)).ok_or("no gradient")?;
            let gap = distance(found, &wanted.narrow(1, start, len)?)?;
            assert!(gap < 10.0 * TOLERANCE, "{gap}");
        }
    }
    assert!(blocks.next().is_none());
    Ok(())
}

#[test]
fn perceptrons_are_graphs() -> TestResult {
    for activation in ACTIVATIONS {
        for (bias, widths) in [(true, vec![7, 5, 4, 3]), (false, vec![7, 5, 3]), (true, vec![7, 2])]
        {
            let mlp = Mlp { widths, activation, bias };
            let w = mlp.init(&mut Rng::new(1), &Device::Cpu)?;
            let (graph, graph_w) = mlp.to_graph(&w)?;
            let x = normal(&mut Rng::new(2), &[6, 7])?;
            compare(&mlp, (&graph, &graph_w), &w, &x, bias)?;
            let names: Vec<&str> =
                graph.parameters().iter().map(|&id| graph.value(id).name.as_str()).collect();
            assert!(names.starts_with(&["layers.0.weight"]), "{names:?}");
            assert_eq!(graph.value(graph.outputs()[0]).name, "logits");
            assert_eq!(graph.layout().n_parameters(), mlp.layout().n_parameters());
            // And back, bit for bit.
            let (back, back_w) = graph.as_perceptron(&graph_w)?;
            let is_linear = mlp.widths.len() == 2;
            let activation = if is_linear { Activation::Identity } else { activation };
            assert_eq!(back, Mlp { activation, ..mlp });
            assert_eq!(back_w.to_vec()?, w.to_vec()?);
        }
    }
    Ok(())
}

#[test]
fn convolutional_networks_are_graphs() -> TestResult {
    for (bias, is_averaged) in [(true, false), (false, false), (true, true)] {
        let convolutions = [(3, 3), (4, 2)];
        let cnn = Cnn {
            input: [2, 11, 12],
            convolutions: convolutions
                .map(|(channels, kernel)| Convolution { channels, kernel })
                .to_vec(),
            is_averaged,
            dense: vec![6, 3],
            bias,
        };
        let w = cnn.init(&mut Rng::new(1), &Device::Cpu)?;
        let (graph, graph_w) = cnn.to_graph(&w)?;
        let x = normal(&mut Rng::new(2), &[5, 2, 11, 12])?;
        compare(&cnn, (&graph, &graph_w), &w, &x, bias)?;
        let weight = graph.value(graph.parameters()[0]);
        assert_eq!(models::graph::shape_text(&weight.shape), "[3, 2, 3, 3]");
        let error = graph.as_perceptron(&graph_w).unwrap_err().to_string();
        let (node, op) =
            if is_averaged { ("flat", "ReduceMean") } else { ("layers.1.pool", "MaxPool") };
        let reason = "no chain of dense layers has this operator";
        assert_eq!(error, format!("not a perceptron: node `{node}` ({op}): {reason}"));
        // Rows of intensities and bytes serve as well.
        let bytes = (x.abs()? * 60.0)?.clamp(0.0, 255.0)?.to_dtype(DType::U8)?;
        let rows = bytes.flatten_from(1)?;
        let wanted = graph.forward(&graph_w, &(bytes.to_dtype(DType::F32)? / 255.0)?)?;
        assert!(distance(&graph.forward(&graph_w, &rows)?, &wanted)? < TOLERANCE);
        let foreign = graph.forward(&graph_w, &rows.narrow(1, 1, 263)?).unwrap_err().to_string();
        assert_eq!(foreign, "input `x`: expected shape [N, 2, 11, 12], found [5, 263]");
    }
    Ok(())
}

/// A chain of nodes that is easy to write.
struct Chain {
    builder: Builder,
    last: ValueId,
    n: usize,
    blocks: Vec<Tensor>,
    rng: Rng,
}

impl Chain {
    fn new(shape: &[i64]) -> Self {
        let mut builder = Builder::new();
        let extents = shape.iter().map(|&n| Dimension::known(n));
        let shape = std::iter::once(Dimension::BATCH).chain(extents).collect();
        let last = builder.input("x", Kind::Float, shape);
        Self { builder, last, n: 0, blocks: Vec::new(), rng: Rng::new(5) }
    }

    fn add(&mut self, op: Op, operands: &[ValueId]) -> Result<ValueId, Box<dyn Error>> {
        self.n += 1;
        let name = format!("n{}", self.n);
        self.last = self.builder.add(&name, op, operands, &[&format!("v{}", self.n)])?[0];
        Ok(self.last)
    }

    fn unary(&mut self, of: Unary) -> Result<ValueId, Box<dyn Error>> {
        self.add(Op::Unary(of), &[self.last])
    }

    /// The last value and another one.
    fn with(&mut self, of: Binary, other: ValueId) -> Result<ValueId, Box<dyn Error>> {
        self.add(Op::Binary(of), &[self.last, other])
    }

    fn parameter(&mut self, shape: &[usize]) -> Result<ValueId, Box<dyn Error>> {
        let values = normal(&mut self.rng, shape)?.to_dtype(DType::F64)?;
        let rows = shape.first().copied().unwrap_or(1);
        self.blocks.push(values.reshape((rows, shape.iter().skip(1).product::<usize>()))?);
        Ok(self.builder.parameter(&format!("p{}", self.blocks.len()), shape))
    }

    fn constant(&mut self, shape: &[usize], values: &[f64]) -> ValueId {
        self.n += 1;
        let numbers = Numbers { shape: shape.to_vec(), entries: Entries::Floats(values.to_vec()) };
        self.builder.constant(&format!("c{}", self.n), Kind::Float, numbers)
    }

    fn matmul(&mut self, n: usize, k: usize) -> Result<ValueId, Box<dyn Error>> {
        let weight = self.parameter(&[n, k])?;
        self.add(Op::MatMul, &[self.last, weight])
    }

    fn finish(self) -> Result<(Graph, Params), Box<dyn Error>> {
        let graph = self.builder.finish(&[self.last]);
        let params = Params::new(graph.layout(), self.blocks)?;
        Ok((graph, params))
    }
}

/// ½ x (1 + erf(x/√2)) in the spelling of one exporter or the other.
fn spelled_gelu(chain: &mut Chain, is_halved_first: bool) -> TestResult {
    let x = chain.last;
    let (root, one, half) = (
        chain.constant(&[], &[std::f64::consts::SQRT_2]),
        chain.constant(&[1], &[1.0]),
        chain.constant(&[], &[0.5]),
    );
    chain.add(Op::Binary(Binary::Div), &[x, root])?;
    chain.unary(Unary::Erf)?;
    let sum = chain.with(Binary::Add, one)?;
    if is_halved_first {
        chain.add(Op::Binary(Binary::Mul), &[half, x])?;
        chain.with(Binary::Mul, sum)?;
    } else {
        chain.add(Op::Binary(Binary::Mul), &[x, sum])?;
        chain.with(Binary::Mul, half)?;
    }
    Ok(())
}

#[test]
fn scales_and_spelled_activations_fold_into_a_perceptron() -> TestResult {
    for case in 0..4 {
        let mut chain = Chain::new(&[2, 3]);
        chain.add(Op::Flatten { axis: 1 }, &[chain.last])?;
        let scaler = Op::Scaler { offset: vec![0.5; 6], scale: vec![2.0] };
        chain.add(scaler, &[chain.last])?;
        let mean = chain.constant(&[1, 6], &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
        chain.with(Binary::Sub, mean)?;
        chain.matmul(6, 5)?;
        let bias = chain.parameter(&[5])?;
        chain.add(Op::Binary(Binary::Add), &[bias, chain.last])?;
        let moments = [0, 1, 2].map(|_| chain.parameter(&[5]));
        let [scale, shift, mean] = moments;
        let variance = chain.constant(&[5], &[0.5, 1.0, 1.5, 2.0, 2.5]);
        let operands = [chain.last, scale?, shift?, mean?, variance];
        chain.add(Op::BatchNormalization { epsilon: 1e-3 }, &operands)?;
        let activation = |chain: &mut Chain| -> TestResult {
            let x = chain.last;
            match case {
                0 => chain.unary(Unary::Tanh).map(|_| ()),
                1 => {
                    chain.unary(Unary::Sigmoid)?;
                    chain.with(Binary::Mul, x).map(|_| ())
                }
                _ => spelled_gelu(chain, case == 3),
            }
        };
        activation(&mut chain)?;
        let factor = chain.parameter(&[5])?;
        chain.with(Binary::Mul, factor)?;
        let weight = chain.parameter(&[4, 5])?;
        let gemm = Op::Gemm { alpha: 0.5, beta: 1.0, transpose_a: false, transpose_b: true };
        chain.add(gemm, &[chain.last, weight])?;
        activation(&mut chain)?;
        chain.matmul(4, 3)?;
        let divisor = chain.constant(&[3], &[2.0, -4.0, 0.5]);
        chain.with(Binary::Div, divisor)?;
        chain.unary(Unary::Neg)?;
        let (graph, w) = chain.finish()?;
        let (mlp, mlp_w) = graph.as_perceptron(&w)?;
        let activation = [Activation::Tanh, Activation::Silu, Activation::Gelu, Activation::Gelu];
        assert_eq!(mlp.activation, activation[case]);
        assert_eq!((&mlp.widths[..], mlp.bias), (&[6, 5, 4, 3][..], true));
        let x = normal(&mut Rng::new(9), &[8, 2, 3])?.to_dtype(DType::F64)?;
        let gap = distance(&graph.forward(&w, &x)?, &mlp.forward(&mlp_w, &x)?)?;
        // Constants of the file are f32.
        assert!(gap < if case < 2 { 1e-12 } else { 1e-6 }, "case {case}: {gap}");
    }
    Ok(())
}

#[test]
fn the_obstacle_of_a_perceptron_has_a_name() -> TestResult {
    let message = |chain: Chain| -> Result<String, Box<dyn Error>> {
        let (graph, w) = chain.finish()?;
        Ok(graph.as_perceptron(&w).unwrap_err().to_string())
    };
    // A residual connection.
    let mut chain = Chain::new(&[4]);
    let x = chain.last;
    chain.matmul(4, 4)?;
    chain.with(Binary::Add, x)?;
    let wanted = "node `n2` (Add): it joins two values that depend on the input";
    assert_eq!(message(chain)?, format!("not a perceptron: {wanted}"));
    // Two activations.
    let mut chain = Chain::new(&[4]);
    chain.matmul(4, 4)?;
    chain.unary(Unary::Relu)?;
    chain.matmul(4, 4)?;
    chain.unary(Unary::Tanh)?;
    chain.matmul(4, 2)?;
    let wanted = "node `n4` (Tanh): Tanh between layers, where others have Relu";
    assert_eq!(message(chain)?, format!("not a perceptron: {wanted}"));
    // One behind the last layer, and one before the first.
    let mut chain = Chain::new(&[4]);
    chain.matmul(4, 4)?;
    chain.unary(Unary::Relu)?;
    assert!(message(chain)?.ends_with("node `n2` (Relu): an activation behind the last layer"));
    let mut chain = Chain::new(&[4]);
    chain.unary(Unary::Relu)?;
    chain.matmul(4, 4)?;
    assert!(
        message(chain)?.ends_with("node `n1` (Relu): an activation that stands behind no layer")
    );
    // Products of other axes.
    let mut chain = Chain::new(&[3, 4]);
    chain.matmul(4, 4)?;
    assert!(message(chain)?.ends_with("node `n1` (MatMul): its input is no row an example"));
    let chain = Chain::new(&[4]);
    assert!(message(chain)?.contains("no layer"));
    Ok(())
}

#[test]
fn parameters_start_by_what_they_do() -> TestResult {
    let mut chain = Chain::new(&[6]);
    chain.matmul(6, 5)?;
    let bias = chain.parameter(&[1, 5])?;
    chain.with(Binary::Add, bias)?;
    let moments = [0, 1, 2, 3].map(|_| chain.parameter(&[5]));
    let [scale, shift, mean, variance] = moments;
    let operands = [chain.last, scale?, shift?, mean?, variance?];
    chain.add(Op::BatchNormalization { epsilon: 1e-3 }, &operands)?;
    let slope = chain.parameter(&[5])?;
    chain.add(Op::PRelu, &[chain.last, slope])?;
    let factor = chain.parameter(&[5])?;
    chain.with(Binary::Mul, factor)?;
    let table = chain.parameter(&[500, 5])?;
    let mean = Op::Reduce { reduction: Reduction::Mean, axes: vec![0], keep: true };
    let row = chain.builder.add("row", mean, &[table], &["row"])?[0];
    chain.with(Binary::Add, row)?;
    // A weight that is turned by a node of its own.
    let weight = chain.parameter(&[3, 5])?;
    let turn = Op::Transpose { order: vec![1, 0] };
    let turned = chain.builder.add("turn", turn, &[weight], &["turned"])?[0];
    chain.add(Op::MatMul, &[chain.last, turned])?;
    let (graph, _) = chain.finish()?;
    assert_eq!(graph.fan_in(), [6, 1, 1, 1, 1, 1, 1, 1, 1, 5]);
    let w = graph.init(&mut Rng::new(0), &Device::Cpu)?;
    let block = |t: usize| -> Result<Vec<f32>, Box<dyn Error>> {
        Ok(w.blocks()[t].flatten_all()?.to_vec1::<f32>()?)
    };
    let largest = |v: &[f32]| v.iter().fold(0f32, |a, b| a.max(b.abs()));
    for (t, bound) in [(0, 6f32), (1, 6.0), (9, 5.0)] {
        let size = largest(&block(t)?);
        assert!(size <= 1.0 / bound.sqrt() && size > 0.3 / bound.sqrt(), "block {t}: {size}");
    }
    for (t, wanted) in [(2, 1.0), (3, 0.0), (4, 0.0), (5, 1.0), (6, 0.25), (7, 1.0)] {
        assert!(block(t)?.iter().all(|&v| v == wanted), "block {t}");
    }
    let embedding = block(8)?;
    let square = embedding.iter().map(|v| v * v).sum::<f32>() / 2500.0;
    assert!((square.sqrt() - 0.02).abs() < 0.002, "{square}");
    // Outputs of the nodes with parameters, f(x, w) last.
    let x = normal(&mut Rng::new(2), &[7, 6])?;
    let shapes: Vec<Vec<usize>> =
        graph.activations(&w, &x)?.iter().map(|z| z.dims().to_vec()).collect();
    assert_eq!(shapes, [vec![7, 5], vec![7, 5], vec![7, 5], vec![7, 5], vec![7, 5], vec![7, 3]]);
    Ok(())
}

#[test]
fn shape_arithmetic_follows_the_batch() -> TestResult {
    // x + (m, 2m, …) row by row, which only constants that know the batch give.
    let mut builder = Builder::new();
    let shape = vec![Dimension::BATCH, Dimension::known(2)];
    let x = builder.input("x", Kind::Float, shape);
    let d = |per_example| Dimension { fixed: 0, per_example };
    let entries = Entries::Integers(vec![d(1), d(2)]);
    let sizes = builder.constant("sizes", Kind::Int, Numbers { shape: vec![2], entries });
    let tokens = builder.input("tokens", Kind::Int, vec![Dimension::BATCH, Dimension::known(1)]);
    let sum = builder.add("", Op::Binary(Binary::Mul), &[tokens, sizes], &["sum"])?[0];
    let float = builder.add("", Op::Cast { to: Kind::Float }, &[sum], &["float"])?[0];
    let y = builder.add("", Op::Binary(Binary::Add), &[x, float], &["y"])?[0];
    let graph = builder.finish(&[y]);
    let w = Params::new(graph.layout(), Vec::new())?;
    let rows = Tensor::new(&[[0.5f32, 0.25], [0.0, 0.0], [1.0, 1.0]], &Device::Cpu)?;
    let numbers = Tensor::new(&[[1u32], [0], [2]], &Device::Cpu)?;
    let wanted = [[3.5, 6.25], [0.0, 0.0], [7.0, 13.0]];
    for dtype in [DType::U32, DType::U8, DType::I64, DType::F32] {
        let y = graph.run(&w, &[rows.clone(), numbers.to_dtype(dtype)?])?;
        assert_eq!(y[0].to_vec2::<f32>()?, wanted);
    }
    let message = |inputs: &[Tensor]| graph.run(&w, inputs).unwrap_err().to_string();
    assert_eq!(
        message(std::slice::from_ref(&rows)),
        "the graph takes 2 inputs (x, tokens), found 1"
    );
    let broken = (numbers.to_dtype(DType::F32)? * 0.5)?;
    assert!(message(&[rows.clone(), broken]).contains("expected whole numbers, found 0.5"));
    let short = numbers.narrow(0, 0, 2)?;
    assert_eq!(message(&[rows, short]), "input `tokens`: expected shape [N, 1], found [2, 1]");
    Ok(())
}

#[test]
fn foreign_parameters_are_refused() -> TestResult {
    let mlp = Mlp { widths: vec![3, 2], activation: Activation::Relu, bias: true };
    let w = mlp.init(&mut Rng::new(0), &Device::Cpu)?;
    let (graph, _) = mlp.to_graph(&w)?;
    assert_eq!(graph.layout().blocks, [Block { rows: 2, cols: 3 }, Block { rows: 2, cols: 1 }]);
    let x = Tensor::zeros((1, 3), DType::F32, &Device::Cpu)?;
    let message = graph.forward(&w, &x).unwrap_err().to_string();
    assert_eq!(message, "parameters of a graph: expected blocks (2, 3) (2, 1), found (2, 4)");
    assert!(graph.as_perceptron(&w).unwrap_err().to_string().contains("expected blocks"));
    Ok(())
}
