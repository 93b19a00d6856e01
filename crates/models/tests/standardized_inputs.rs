//! Inputs that a graph or a file standardizes itself: the function is that of standardized data, and all else stays.

use std::error::Error;

use candle_core::{DType, Device, Tensor};
use core_tensors::{Params, Rng, kernels::Activation};
use models::graph::change::Standardization;
use models::graph::{Builder, Dimension, Graph, Kind, Op};
use models::onnx::{
    ExportOptions, ImportOptions, Imported, Model, export, import, no_external, standardize_input,
};
use models::{Architecture, Cnn, Convolution, Mlp};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn random(rng: &mut Rng, shape: &[usize]) -> Outcome<Tensor> {
    let n = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..n).map(|_| rng.normal() as f32).collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// A network, the shape of its input, and how that is standardized.
type Case = (Graph, Params, Vec<usize>, Standardization);

fn cases() -> Outcome<Vec<Case>> {
    let mut rng = Rng::new(3);
    let mlp = Mlp { widths: vec![3, 5, 2], activation: Activation::Relu, bias: true };
    let (graph, params) = mlp.to_graph(&mlp.init(&mut rng, &Device::Cpu)?)?;
    let of_features =
        Standardization { shape: vec![3], mean: vec![1.0, -2.0, 0.25], std: vec![0.5, 3.0, 1e-3] };
    let cnn = Cnn {
        input: [2, 6, 6],
        convolutions: vec![Convolution { channels: 3, kernel: 3 }],
        is_averaged: false,
        dense: vec![4],
        bias: true,
    };
    let (images, filters) = cnn.to_graph(&cnn.init(&mut rng, &Device::Cpu)?)?;
    let of_channels =
        Standardization { shape: vec![2, 1, 1], mean: vec![0.5, -1.0], std: vec![2.0, 0.3] };
    let of_all = Standardization { shape: vec![], mean: vec![0.13], std: vec![0.31] };
    Ok(vec![
        (graph, params, vec![7, 3], of_features),
        (images.clone(), filters.clone(), vec![4, 2, 6, 6], of_channels),
        (images, filters, vec![4, 2, 6, 6], of_all),
    ])
}

/// (x − mean)/std, by hand.
fn standardized(x: &Tensor, by: &Standardization) -> Outcome<Tensor> {
    let tensor = |numbers: &[f64]| {
        let tensor = Tensor::from_vec(numbers.to_vec(), by.shape.as_slice(), &Device::Cpu)?;
        tensor.to_dtype(DType::F32)
    };
    Ok(x.broadcast_sub(&tensor(&by.mean)?)?.broadcast_div(&tensor(&by.std)?)?)
}

fn bits(logits: &Tensor) -> Outcome<Vec<u32>> {
    Ok(logits.flatten_all()?.to_vec1::<f32>()?.iter().map(|v| v.to_bits()).collect())
}

fn read(bytes: &[u8]) -> Outcome<(Model, Imported)> {
    let model = Model::parse(bytes.to_vec())?;
    let read = import(&model, &mut no_external, &ImportOptions::default())?;
    Ok((model, read))
}

#[test]
fn the_function_is_that_of_standardized_data() -> Outcome<()> {
    for (graph, params, shape, by) in cases()? {
        let x = random(&mut Rng::new(4), &shape)?;
        let expected = bits(&graph.forward(&params, &standardized(&x, &by)?)?)?;
        let inside = graph.with_standardized_input(&by)?;
        assert_eq!(bits(&inside.forward(&params, &x)?)?, expected);
        // Also as a file, and as a change of the file without it.
        let (_, exported) = read(&export(&inside, &params, &ExportOptions::default())?)?;
        assert_eq!(bits(&exported.graph.forward(&exported.params, &x)?)?, expected);
        let (model, _) = read(&export(&graph, &params, &ExportOptions::default())?)?;
        let (changed, again) = read(&standardize_input(&model, &by)?)?;
        assert_eq!(bits(&again.graph.forward(&again.params, &x)?)?, expected);
        assert_eq!(changed.inputs(), model.inputs());
        assert_eq!(changed.outputs(), model.outputs());
        assert_eq!(again.params.layout(), params.layout(), "mean and std are no parameters");
    }
    Ok(())
}

#[test]
fn an_input_of_two_readers_is_standardized_for_both_and_twice_is_twice() -> Outcome<()> {
    let mut builder = Builder::new();
    let x = builder.input("x", Kind::Float, vec![Dimension::BATCH, Dimension::known(2)]);
    let square = Op::Binary(models::graph::Binary::Mul);
    let y = builder.add("square", square, &[x, x], &["y"])?;
    let sum = Op::Binary(models::graph::Binary::Add);
    let z = builder.add("sum", sum, &[y[0], x], &["z"])?;
    let graph = builder.finish(&z);
    let by = Standardization { shape: vec![2], mean: vec![1.0, 2.0], std: vec![2.0, 4.0] };
    let params = Params::new(graph.layout(), vec![])?;
    let x = Tensor::new(&[[3f32, 10.0], [-1.0, 2.0]], &Device::Cpu)?;
    // t = (1, 2) and (−1, 0): t² + t.
    let once = graph.with_standardized_input(&by)?;
    assert_eq!(once.forward(&params, &x)?.to_vec2::<f32>()?, [[2.0, 6.0], [0.0, 0.0]]);
    let (model, _) = read(&export(&graph, &params, &ExportOptions::default())?)?;
    let (model, file) = read(&standardize_input(&model, &by)?)?;
    assert_eq!(file.graph.forward(&params, &x)?.to_vec2::<f32>()?, [[2.0, 6.0], [0.0, 0.0]]);
    // (t − mean)/std once more: (0, 0) and (−1, −1/2).
    let twice = once.with_standardized_input(&by)?;
    let expected = [[0.0, 0.0], [0.0, -0.25]];
    assert_eq!(twice.forward(&params, &x)?.to_vec2::<f32>()?, expected);
    let (_, file) = read(&standardize_input(&model, &by)?)?;
    assert_eq!(file.graph.forward(&params, &x)?.to_vec2::<f32>()?, expected);
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() -> Outcome<()> {
    let (graph, params, ..) = cases()?.swap_remove(0);
    let (model, _) = read(&export(&graph, &params, &ExportOptions::default())?)?;
    let by = |shape: &[usize], mean: &[f64], std: &[f64]| Standardization {
        shape: shape.to_vec(),
        mean: mean.to_vec(),
        std: std.to_vec(),
    };
    for (by, part) in [
        (by(&[4], &[0.0; 4], &[1.0; 4]), "expected extents of [3], found [4]"),
        (by(&[3], &[0.0; 2], &[1.0; 3]), "expected 3 numbers of mean"),
        (by(&[3], &[0.0; 3], &[1.0, 0.0, 1.0]), "expected a number above 0 as std 1, found 0"),
        (by(&[3], &[0.0; 3], &[1.0, f64::NAN, 1.0]), "as std 1, found NaN"),
        (by(&[3], &[0.0, 1e39, 0.0], &[1.0; 3]), "expected a finite number as mean 1"),
        (by(&[1, 3], &[0.0; 3], &[1.0; 3]), "expected extents of [3], found [1, 3]"),
    ] {
        let told = [
            graph.with_standardized_input(&by).map(|_| ()).map_err(|error| error.to_string()),
            standardize_input(&model, &by).map(|_| ()).map_err(|error| error.to_string()),
        ];
        for told in told {
            let message = told.err().ok_or(part)?;
            assert!(message.contains(part) && message.contains("`x`"), "{message}");
        }
    }
    let mut builder = Builder::new();
    let rows = vec![Dimension::BATCH, Dimension::known(2)];
    let a = builder.input("a", Kind::Float, rows.clone());
    let b = builder.input("b", Kind::Float, rows);
    let sum = Op::Binary(models::graph::Binary::Add);
    let y = builder.add("sum", sum, &[a, b], &["y"])?;
    let graph = builder.finish(&y);
    let message = graph.with_standardized_input(&by(&[2], &[0.0; 2], &[1.0; 2])).unwrap_err();
    assert!(message.to_string().contains("found 2 inputs"), "{message}");
    Ok(())
}
