//! Changed networks as changes of the files that they came from.

#[path = "common/difference.rs"]
mod difference;

use std::error::Error;

use candle_core::{Device, Tensor};
use core_tensors::{Params, Rng};
use models::graph::{
    Binary, Builder, Dimension, Graph, Kind, Op, Reduction, Source, Unary, ValueId, Window,
};
use models::onnx::{
    Attribute, ChangeError, Edit, ExportOptions, ImportOptions, Imported, Model, Values, export,
    import, no_external, rewrite,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Largest difference of one network in two files, as a share of max(1, largest number).
const TOLERANCE: f64 = 1e-6;

/// A network that is built with some of its sizes open.
type Build = fn(&mut Net, [usize; 2]) -> Outcome<ValueId>;

/// A graph in the making, and the numbers of its parameters.
struct Net {
    builder: Builder,
    blocks: Vec<Tensor>,
    rng: Rng,
}

impl Net {
    /// A graph with hidden layers of these sizes, and random parameters.
    fn of(build: Build, sizes: [usize; 2]) -> Outcome<(Graph, Params)> {
        let mut net = Self { builder: Builder::new(), blocks: vec![], rng: Rng::new(7) };
        let output = build(&mut net, sizes)?;
        let graph = net.builder.finish(&[output]);
        let params = Params::new(graph.layout(), net.blocks)?;
        Ok((graph, params))
    }

    fn input(&mut self, shape: &[i64]) -> ValueId {
        let shape = shape.iter().map(|&n| Dimension::known(n));
        let shape = std::iter::once(Dimension::BATCH).chain(shape).collect();
        self.builder.input("x", Kind::Float, shape)
    }

    fn parameter(&mut self, name: &str, shape: &[usize]) -> Outcome<ValueId> {
        let (rows, n) = (shape[0], shape.iter().product::<usize>());
        // Positive ones serve as variances too.
        let values: Vec<f32> = (0..n).map(|_| 0.1 + self.rng.uniform() as f32).collect();
        self.blocks.push(Tensor::from_vec(values, (rows, n / rows), &Device::Cpu)?);
        Ok(self.builder.parameter(name, shape))
    }

    fn node(&mut self, name: &str, op: Op, operands: &[ValueId]) -> Outcome<ValueId> {
        Ok(self.builder.add(name, op, operands, &[name])?[0])
    }

    fn gemm(&mut self, name: &str, x: ValueId, [o, n]: [usize; 2]) -> Outcome<ValueId> {
        let u = self.parameter(&format!("{name}.weight"), &[o, n])?;
        let b = self.parameter(&format!("{name}.bias"), &[o])?;
        let op = Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b: true };
        self.node(name, op, &[x, u, b])
    }
}

fn perceptron(net: &mut Net, [h, _]: [usize; 2]) -> Outcome<ValueId> {
    let x = net.input(&[3]);
    let sums = net.gemm("hidden", x, [h, 3])?;
    let y = net.node("positive", Op::Unary(Unary::Relu), &[sums])?;
    net.gemm("logits", y, [2, h])
}

const WINDOW: Window =
    Window { kernel: [3, 3], strides: [1, 1], dilations: [1, 1], pads: [1; 4], ceil: false };

/// Two convolutions with normalizations, the second of as many groups as it has channels, and a dense layer.
fn convolutional(net: &mut Net, [c, h]: [usize; 2]) -> Outcome<ValueId> {
    let x = net.input(&[1, 4, 4]);
    let u = net.parameter("first.weight", &[c, 1, 3, 3])?;
    let y = net.node("first", Op::Conv { window: WINDOW, groups: 1 }, &[x, u])?;
    let mut operands = vec![y];
    for name in ["scale", "shift", "mean", "variance"] {
        operands.push(net.parameter(&format!("norm.{name}"), &[c])?);
    }
    let y = net.node("norm", Op::BatchNormalization { epsilon: 1e-5 }, &operands)?;
    let slope = net.parameter("slope", &[c, 1, 1])?;
    let y = net.node("leaky", Op::PRelu, &[y, slope])?;
    let u = net.parameter("depthwise.weight", &[c, 1, 3, 3])?;
    let y = net.node("depthwise", Op::Conv { window: WINDOW, groups: c }, &[y, u])?;
    let n = 16 * c;
    let flat = vec![Dimension::BATCH, Dimension::known(n as i64)];
    let y = net.node("flat", Op::Reshape { shape: flat }, &[y])?;
    let y = net.gemm("dense", y, [h, n])?;
    let sizes = vec![Dimension::known(1), Dimension::known(h as i64 - 1)];
    let parts = net.builder.add("split", Op::Split { axis: 1, sizes }, &[y], &["one", "others"])?;
    let others = net.node("tanh", Op::Unary(Unary::Tanh), &[parts[1]])?;
    let y = net.node("joined", Op::Concat { axis: 1 }, &[parts[0], others])?;
    net.gemm("logits", y, [2, h])
}

/// A file with a network of the old sizes is given one of the new sizes.
fn resized(build: Build, old: [usize; 2], new: [usize; 2]) -> Outcome<(Model, Model)> {
    let (graph, params) = Net::of(build, old)?;
    let model = Model::parse(export(&graph, &params, &ExportOptions::default())?)?;
    let original = import(&model, &mut no_external, &ImportOptions::default())?;
    let (graph, params) = Net::of(build, new)?;
    let bytes = rewrite(&model, &original, &graph, &params, &mut no_external)?;
    let changed = Model::parse(bytes)?;
    check(&changed, &graph, &params)?;
    Ok((model, changed))
}

/// What is read from a file computes what a graph does, for two batches.
fn check(file: &Model, graph: &Graph, params: &Params) -> Outcome<()> {
    let read = import(file, &mut no_external, &ImportOptions::default())?;
    let shape = &graph.value(graph.inputs()[0]).shape;
    for m in [1, 5] {
        let dims: Vec<usize> =
            shape.iter().filter_map(|d| usize::try_from(d.of_batch(m)?).ok()).collect();
        let x = Tensor::rand(-1f32, 1f32, dims, &Device::Cpu)?;
        let expected = graph.forward(params, &x)?;
        let found = read.graph.forward(&read.params, &x)?;
        assert_eq!(found.dims(), expected.dims());
        assert!(difference::difference(&found, &expected)? <= TOLERANCE);
    }
    Ok(())
}

/// A file, and what is read of it.
fn file_of(build: Build, sizes: [usize; 2]) -> Outcome<(Model, Imported)> {
    let (graph, params) = Net::of(build, sizes)?;
    let model = Model::parse(export(&graph, &params, &ExportOptions::default())?)?;
    let original = import(&model, &mut no_external, &ImportOptions::default())?;
    Ok((model, original))
}

#[test]
fn without_differences_the_bytes_stay() -> Outcome<()> {
    for build in [perceptron as Build, convolutional] {
        let (model, original) = file_of(build, [4, 5])?;
        let Imported { graph, params, .. } = &original;
        let bytes = rewrite(&model, &original, graph, params, &mut no_external)?;
        assert!(bytes == model.bytes());
    }
    Ok(())
}

#[test]
fn other_numbers_change_their_tensor_alone() -> Outcome<()> {
    let (model, original) = file_of(perceptron, [4, 0])?;
    let mut blocks = original.params.blocks().to_vec();
    blocks[1] = (&blocks[1] * 2.0)?;
    let params = Params::new(original.graph.layout(), blocks)?;
    let bytes = rewrite(&model, &original, &original.graph, &params, &mut no_external)?;
    assert_eq!(bytes.len(), model.bytes().len());
    let n_different = bytes.iter().zip(model.bytes()).filter(|(a, b)| a != b).count();
    assert!((1..=16).contains(&n_different), "{n_different} bytes differ");
    check(&Model::parse(bytes)?, &original.graph, &params)
}

#[test]
fn narrower_layers_change_weights_and_shapes() -> Outcome<()> {
    let (_, changed) = resized(perceptron, [6, 0], [4, 0])?;
    let dims = |name: &str| {
        let tensors = changed.initializers().iter();
        tensors.filter(|tensor| tensor.name == name).map(|tensor| tensor.dims.clone()).next()
    };
    assert_eq!(dims("hidden.weight"), Some(vec![4, 3]));
    assert_eq!(dims("logits.weight"), Some(vec![2, 4]));
    Ok(())
}

#[test]
fn narrower_channels_change_groups_targets_and_parts() -> Outcome<()> {
    let (model, changed) = resized(convolutional, [4, 6], [3, 5])?;
    let group = |model: &Model| {
        let mut nodes = model.nodes().iter();
        nodes.find(|node| node.name == "depthwise").and_then(|n| n.attribute("group").cloned())
    };
    assert_eq!(group(&model), Some(Attribute::Int(4)));
    assert_eq!(group(&changed), Some(Attribute::Int(3)));
    // The target of the Reshape has one reader, and the old one is gone.
    let n_tensors = [&model, &changed].map(|model| model.initializers().len());
    assert_eq!(n_tensors[0], n_tensors[1]);
    Ok(())
}

/// A product without a bias, and one with it.
fn product(net: &mut Net, [h, has_bias]: [usize; 2]) -> Outcome<ValueId> {
    let x = net.input(&[3]);
    let u = net.parameter("u", &[3, h])?;
    let mut y = net.node("product", Op::MatMul, &[x, u])?;
    if has_bias == 1 {
        let b = net.parameter("added.bias", &[h])?;
        y = net.node("added.sum", Op::Binary(Binary::Add), &[y, b])?;
    }
    let y = net.node("positive", Op::Unary(Unary::Relu), &[y])?;
    let v = net.parameter("v", &[h, 2])?;
    net.node("logits", Op::MatMul, &[y, v])
}

/// A convolution without a bias, and one with it.
fn filtered(net: &mut Net, [c, has_bias]: [usize; 2]) -> Outcome<ValueId> {
    let x = net.input(&[1, 4, 4]);
    let mut operands = vec![x, net.parameter("filters", &[c, 1, 3, 3])?];
    if has_bias == 1 {
        operands.push(net.parameter("added.bias", &[c])?);
    }
    let y = net.node("sums", Op::Conv { window: WINDOW, groups: 1 }, &operands)?;
    let mean = Op::Reduce { reduction: Reduction::Mean, axes: vec![2, 3], keep: false };
    let y = net.node("mean", mean, &[y])?;
    net.gemm("logits", y, [2, c])
}

#[test]
fn biases_come_and_go() -> Outcome<()> {
    for (build, n_nodes) in [(product as Build, 1), (filtered, 0)] {
        let (model, changed) = resized(build, [4, 0], [3, 1])?;
        assert_eq!(changed.nodes().len(), model.nodes().len() + n_nodes);
        assert!(changed.initializers().iter().any(|tensor| tensor.name == "added.bias"));
        let (model, changed) = resized(build, [4, 1], [4, 0])?;
        assert_eq!(changed.nodes().len() + n_nodes, model.nodes().len());
        assert!(!changed.initializers().iter().any(|tensor| tensor.name == "added.bias"));
    }
    Ok(())
}

/// Some residual blocks.
fn residual(net: &mut Net, [first, last]: [usize; 2]) -> Outcome<ValueId> {
    let mut x = net.input(&[3]);
    for i in first..=last {
        let inner = net.gemm(&format!("inner{i}"), x, [3, 3])?;
        let inner = net.node(&format!("tanh{i}"), Op::Unary(Unary::Tanh), &[inner])?;
        x = net.node(&format!("sum{i}"), Op::Binary(Binary::Add), &[x, inner])?;
    }
    Ok(x)
}

#[test]
fn skipped_blocks_take_their_nodes_and_tensors_along() -> Outcome<()> {
    // The first block: the next one reads the input. The last one: the logits keep their name.
    for new in [[2, 3], [1, 2]] {
        let (model, changed) = resized(residual, [1, 3], new)?;
        assert_eq!(changed.outputs(), model.outputs());
        let gone = if new[0] == 2 { "inner1.weight" } else { "inner3.weight" };
        assert!(!changed.initializers().iter().any(|tensor| tensor.name == gone));
    }
    Ok(())
}

#[test]
fn half_precision_stays() -> Outcome<()> {
    let (graph, params) = Net::of(product, [4, 0])?;
    let bytes = export(&graph, &params, &ExportOptions::default())?;
    let model = Model::parse(bytes)?;
    let original = import(&model, &mut no_external, &ImportOptions::default())?;
    let mut blocks = original.params.blocks().to_vec();
    blocks[0] = (&blocks[0] * 0.5)?;
    let halved = Params::new(graph.layout(), blocks)?;
    // The same file with one tensor of f16.
    let values = model.f32_values(&model.initializers()[0], &mut no_external)?;
    let (name, dims) = (model.initializers()[0].name.clone(), vec![3, 4]);
    let half = models::onnx::TensorInfo::new(
        &name,
        dims.clone(),
        models::onnx::DataType::F16,
        &Values::F32(values),
    )?;
    let narrow = Model::parse(model.patch(&[Edit::RemoveTensor { name }, Edit::AddTensor(half)])?)?;
    let original = import(&narrow, &mut no_external, &ImportOptions::default())?;
    let bytes = rewrite(&narrow, &original, &original.graph, &halved, &mut no_external)?;
    let changed = Model::parse(bytes)?;
    let of = |model: &Model| model.initializers().last().map(|t| (t.data_type, t.dims.clone()));
    assert_eq!(of(&changed), Some((models::onnx::DataType::F16, dims)));
    Ok(())
}

#[test]
fn what_is_no_part_of_the_network_forbids_changes_of_what_it_reads() -> Outcome<()> {
    let (graph, params) = Net::of(perceptron, [6, 0])?;
    let model = Model::parse(export(&graph, &params, &ExportOptions::default())?)?;
    // A second node reads the hidden layer.
    let node = models::onnx::Node {
        name: "features".to_owned(),
        op_type: "Sigmoid".to_owned(),
        inputs: vec!["positive".to_owned()],
        outputs: vec!["features".to_owned()],
        ..models::onnx::Node::default()
    };
    let before = model.nodes().len();
    let model = Model::parse(model.patch(&[Edit::InsertNode { before, node }])?)?;
    let options = ImportOptions { output: Some("logits".to_owned()), ..ImportOptions::default() };
    let original = import(&model, &mut no_external, &options)?;
    let (graph, params) = Net::of(perceptron, [4, 0])?;
    let error = rewrite(&model, &original, &graph, &params, &mut no_external);
    assert!(matches!(error, Err(ChangeError::Outside { tensor, .. }) if tensor == "positive"));
    assert!(matches!(original.graph.values()[0].source, Source::Input));
    Ok(())
}
