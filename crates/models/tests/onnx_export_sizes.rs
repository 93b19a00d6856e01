//! Networks of ours as new ONNX files, sizes that depend on the batch, and what a file cannot express.

#[path = "common/difference.rs"]
mod difference;

use std::error::Error;

use candle_core::{Device, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Params, Rng};
use models::graph::{
    Binary, Builder, Dimension, Entries, Graph, Kind, Numbers, Op, SliceRange, Unary, ValueId,
    Window,
};
use models::onnx::{ExportError, ExportOptions, ImportOptions, Model, export, import, no_external};
use models::{Architecture, Cnn, Convolution, Mlp};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Largest difference of one network in two forms, as a share of max(1, largest number).
const TOLERANCE: f64 = 1e-6;

const NONE: ExportOptions = ExportOptions { opset: None, name: String::new(), metadata: vec![] };

/// Numbers ~ U(−1, 1).
fn random(dims: Vec<usize>) -> Outcome<Tensor> {
    let mut rng = Rng::new(3);
    let n = dims.iter().product();
    let values: Vec<f32> = (0..n).map(|_: usize| 2.0 * rng.uniform() as f32 - 1.0).collect();
    Ok(Tensor::from_vec(values, dims, &Device::Cpu)?)
}

/// Reads what was written, and compares it for batches of several sizes.
fn comes_back(graph: &Graph, params: &Params) -> Outcome<Model> {
    let model = Model::parse(export(graph, params, &NONE)?)?;
    let output = Some(model.outputs()[0].name.clone());
    let read = import(&model, &mut no_external, &ImportOptions { output, ..Default::default() })?;
    assert_eq!(read.notes, Vec::<String>::new());
    let shape = &graph.value(graph.inputs()[0]).shape;
    for m in [1, 3, 4] {
        let dims: Vec<usize> =
            shape.iter().filter_map(|d| usize::try_from(d.of_batch(m)?).ok()).collect();
        let x = random(dims)?;
        let expected = graph.forward(params, &x)?;
        let found = read.graph.forward(&read.params, &x)?;
        assert_eq!(found.dims(), expected.dims());
        let worst = difference::difference(&found, &expected)?;
        assert!(worst <= TOLERANCE, "{worst:e}");
    }
    Ok(model)
}

#[test]
fn perceptrons_and_convolutional_networks() -> Outcome<()> {
    for activation in [Activation::Relu, Activation::Gelu, Activation::Silu, Activation::Tanh] {
        let mlp = Mlp { widths: vec![4, 5, 3], activation, bias: true };
        let w = mlp.init(&mut Rng::new(1), &Device::Cpu)?;
        let (graph, params) = mlp.to_graph(&w)?;
        let model = comes_back(&graph, &params)?;
        assert_eq!((model.opset(), model.ir_version()), (17, 8));
        assert_eq!(model.initializers()[0].name, "layers.0.weight");
    }
    let cnn = Cnn {
        input: [1, 8, 8],
        convolutions: vec![Convolution { channels: 3, kernel: 3 }],
        dense: vec![4, 2],
        is_averaged: false,
        bias: true,
    };
    let w = cnn.init(&mut Rng::new(1), &Device::Cpu)?;
    let (graph, params) = cnn.to_graph(&w)?;
    comes_back(&graph, &params)?;
    Ok(())
}

#[test]
fn metadata_and_names_are_written() -> Outcome<()> {
    let mlp = Mlp { widths: vec![2, 2], activation: Activation::Relu, bias: true };
    let (graph, params) = mlp.to_graph(&mlp.init(&mut Rng::new(1), &Device::Cpu)?)?;
    let metadata = vec![("license".to_owned(), "none".to_owned())];
    let options = ExportOptions { opset: Some(18), name: "tiny".to_owned(), metadata };
    let model = Model::parse(export(&graph, &params, &options)?)?;
    assert_eq!((model.opset(), model.graph_name()), (18, "tiny"));
    assert_eq!(model.metadata(), options.metadata);
    let dims = model.inputs()[0].dims().ok_or("no dims")?;
    assert_eq!(format!("{dims:?}"), "[Named(\"batch\"), Known(2)]");
    Ok(())
}

/// x (N, 4), and what is made of it.
fn graph(
    make: impl FnOnce(&mut Builder, ValueId) -> Result<Vec<ValueId>, models::graph::Error>,
) -> Outcome<(Graph, Params)> {
    let mut builder = Builder::new();
    let x = builder.input("x", Kind::Float, vec![Dimension::BATCH, known(4)]);
    let outputs = make(&mut builder, x)?;
    let graph = builder.finish(&outputs);
    let params = Params::new(graph.layout(), vec![])?;
    Ok((graph, params))
}

const fn known(n: i64) -> Dimension {
    Dimension::known(n)
}

const fn times(per_example: i64, fixed: i64) -> Dimension {
    Dimension { fixed, per_example }
}

#[test]
fn sizes_may_depend_on_the_batch() -> Outcome<()> {
    let n = Dimension::BATCH;
    let ops: [(&str, Vec<Op>); 8] = [
        // Two extents that x does not have at their places.
        (
            "reshape",
            vec![
                Op::Expand { shape: vec![n, n, known(4)] },
                Op::Reshape { shape: vec![known(4), n, n] },
            ],
        ),
        ("tile", vec![Op::Tile { repeats: vec![known(2), n] }]),
        (
            "split",
            vec![
                Op::Tile { repeats: vec![known(3), known(1)] },
                Op::Split { axis: 0, sizes: vec![times(2, 0), n] },
            ],
        ),
        (
            "all but the first",
            vec![Op::Slice {
                ranges: vec![SliceRange { axis: 0, start: known(1), step: 1, len: times(1, -1) }],
            }],
        ),
        (
            "backwards",
            vec![Op::Slice {
                ranges: vec![SliceRange { axis: 0, start: times(1, -1), step: -1, len: n }],
            }],
        ),
        (
            "the second half",
            vec![
                Op::Tile { repeats: vec![known(2), known(1)] },
                Op::Slice { ranges: vec![SliceRange { axis: 0, start: n, step: 1, len: n }] },
            ],
        ),
        (
            "columns backwards",
            vec![Op::Slice {
                ranges: vec![SliceRange { axis: 1, start: known(3), step: -2, len: known(2) }],
            }],
        ),
        (
            "nothing",
            vec![Op::Slice {
                ranges: vec![SliceRange { axis: 1, start: known(0), step: 1, len: known(0) }],
            }],
        ),
    ];
    for (name, ops) in ops {
        let (graph, params) = graph(|builder, mut x| {
            for (i, op) in ops.into_iter().enumerate() {
                let names = [format!("y{i}"), format!("z{i}")];
                let n_results = if matches!(op, Op::Split { .. }) { 2 } else { 1 };
                let names: Vec<&str> = names.iter().map(String::as_str).take(n_results).collect();
                x = builder.add(name, op, &[x], &names)?[0];
            }
            Ok(vec![x])
        })?;
        comes_back(&graph, &params).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

#[test]
fn constants_and_fills_may_depend_on_the_batch() -> Outcome<()> {
    let (graph, params) = graph(|builder, x| {
        let shape = vec![Dimension::BATCH, known(4)];
        let fill = Op::Fill { shape, value: 0.5, kind: Kind::Float };
        let half = builder.add("fill", fill, &[], &["half"])?[0];
        let sum = builder.add("sum", Op::Binary(Binary::Add), &[x, half], &["sum"])?[0];
        // 0, 1, …, N − 1, and as a column.
        let number = |n| Numbers { shape: vec![], entries: Entries::Integers(vec![n]) };
        let bounds = [known(0), Dimension::BATCH, known(1)]
            .map(|n| builder.constant("bound", Kind::Int, number(n)));
        let places = builder.add("places", Op::Range, &bounds, &["places"])?[0];
        let picked = builder.add("picked", Op::Gather { axis: 0 }, &[sum, places], &["picked"])?;
        Ok(picked)
    })?;
    comes_back(&graph, &params)?;
    Ok(())
}

#[test]
fn every_output_has_a_name_of_its_own() -> Outcome<()> {
    let (graph, params) = graph(|builder, x| {
        let y = builder.add("", Op::Unary(Unary::Relu), &[x], &["y"])?[0];
        Ok(vec![y, x, y])
    })?;
    let model = Model::parse(export(&graph, &params, &NONE)?)?;
    let names: Vec<&str> = model.outputs().iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["y", "x.output", "y.output"]);
    Ok(())
}

#[test]
fn operator_sets_are_chosen_or_refused() -> Outcome<()> {
    let mut builder = Builder::new();
    let shape = vec![Dimension::BATCH, known(1), known(6), known(6)];
    let x = builder.input("x", Kind::Float, shape);
    let window =
        Window { kernel: [2; 2], strides: [1; 2], dilations: [2; 2], pads: [0; 4], ceil: false };
    let pool = Op::AveragePool { window, counts_padding: false };
    let y = builder.add("pool", pool, &[x], &["y"])?;
    let graph = builder.finish(&y);
    let params = Params::new(graph.layout(), vec![])?;
    assert_eq!(comes_back(&graph, &params)?.opset(), 19);
    let with = |opset| {
        let result = export(&graph, &params, &ExportOptions { opset: Some(opset), ..NONE });
        result.err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(
        with(17),
        "node `pool` (AveragePool) needs opset 19 or newer, found 17; leave the opset open, or ask for 19"
    );
    assert_eq!(with(16), "opset 16 is not written: expected 17 to 21");
    assert_eq!(with(19), "");
    Ok(())
}

#[test]
fn sizes_of_a_batch_that_no_input_has_are_refused() -> Outcome<()> {
    let mut builder = Builder::new();
    let fill = Op::Fill { shape: vec![Dimension::BATCH, known(2)], value: 1.0, kind: Kind::Float };
    let y = builder.add("fill", fill, &[], &["y"])?;
    let graph = builder.finish(&y);
    let params = Params::new(graph.layout(), vec![])?;
    let error = export(&graph, &params, &NONE);
    assert!(matches!(error, Err(ExportError::NoBatch { place }) if place == "`y/shape`"));
    Ok(())
}
