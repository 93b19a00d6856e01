//! Which tensors of a file become parameters, which axis the batch, and what is said of both.

#[path = "common/operators.rs"]
mod operators;

use std::error::Error;

use candle_core::{DType, Device, Tensor};
use models::onnx::{
    Attribute, DataType, Dimension, ImportOptions, Imported, Model, NewModel, Node, TensorInfo,
    ValueInfo, ValueType, Values, import, no_external, rewrite,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A file in the making, whose output is `y`.
struct File(NewModel);

impl File {
    /// With the input `x` of this shape behind an open batch.
    fn open(shape: &[usize]) -> Self {
        let rest = shape.iter().map(|&n| Dimension::Known(n));
        let dims = std::iter::once(Dimension::Named("N".to_owned())).chain(rest).collect();
        Self::of(&[("x", dims)])
    }

    /// With the input `x` of a known shape.
    fn fixed(shape: &[usize]) -> Self {
        Self::of(&[("x", known(shape))])
    }

    fn of(inputs: &[(&str, Vec<Dimension>)]) -> Self {
        let input = |(name, dims): &(&str, Vec<Dimension>)| {
            ValueInfo::tensor(name, DataType::F32, dims.clone())
        };
        Self(NewModel {
            name: "g".to_owned(),
            opsets: vec![(String::new(), 17)],
            inputs: inputs.iter().map(input).collect(),
            outputs: vec![ValueInfo {
                name: "y".to_owned(),
                value_type: ValueType::Tensor { data_type: DataType::F32, dims: None },
            }],
            nodes: vec![],
            initializers: vec![],
            metadata: vec![],
        })
    }

    fn node(self, op: &str, inputs: &[&str], output: &str) -> Self {
        self.with(op, inputs, output, &[])
    }

    fn with(mut self, op: &str, inputs: &[&str], out: &str, with: &[(&str, Attribute)]) -> Self {
        self.0.nodes.push(Node {
            op_type: op.to_owned(),
            inputs: inputs.iter().map(|&name| name.to_owned()).collect(),
            outputs: vec![out.to_owned()],
            attributes: with.iter().map(|(name, v)| ((*name).to_owned(), v.clone())).collect(),
            ..Node::default()
        });
        self
    }

    /// Some numbers.
    fn floats(self, name: &str, dims: &[usize]) -> Outcome<Self> {
        let n = dims.iter().product::<usize>();
        self.numbers(name, dims, (0..n).map(|i| 0.3 + i as f32).collect())
    }

    fn numbers(mut self, name: &str, dims: &[usize], values: Vec<f32>) -> Outcome<Self> {
        let values = Values::F32(values);
        self.0.initializers.push(TensorInfo::new(name, dims.to_vec(), DataType::F32, &values)?);
        Ok(self)
    }

    fn integers(mut self, name: &str, values: &[i64]) -> Outcome<Self> {
        let (dims, values) = (vec![values.len()], Values::I64(values.to_vec()));
        self.0.initializers.push(TensorInfo::new(name, dims, DataType::I64, &values)?);
        Ok(self)
    }

    fn read(&self) -> Outcome<Imported> {
        self.read_with(&[])
    }

    fn read_with(&self, sizes: &[(&str, usize)]) -> Outcome<Imported> {
        let dimensions = sizes.iter().map(|&(name, n)| (name.to_owned(), n)).collect();
        let options = ImportOptions { dimensions, ..ImportOptions::default() };
        Ok(import(&Model::parse(self.0.to_bytes()?)?, &mut no_external, &options)?)
    }

    fn refused(&self, sizes: &[(&str, usize)]) -> Outcome<String> {
        match self.read_with(sizes) {
            Ok(_) => Err("the file was read".into()),
            Err(error) => Ok(error.to_string()),
        }
    }

    /// Names of the parameters.
    fn parameters(&self) -> Outcome<Vec<String>> {
        let read = self.read()?;
        let names = read.graph.parameters().iter().map(|&id| read.graph.value(id).name.clone());
        Ok(names.collect())
    }
}

fn known(shape: &[usize]) -> Vec<Dimension> {
    shape.iter().map(|&n| Dimension::Known(n)).collect()
}

fn equation(text: &str) -> [(&'static str, Attribute); 1] {
    [("equation", Attribute::String(text.to_owned()))]
}

fn order(axes: &[i64]) -> [(&'static str, Attribute); 1] {
    [("perm", Attribute::Ints(axes.to_vec()))]
}

/// x (N, 3) · w (3, h), and what `change` makes of the sums `t`.
fn layer(h: usize) -> Outcome<File> {
    File::open(&[3]).node("MatMul", &["x", "w"], "t").floats("w", &[3, h])
}

#[test]
fn weights_are_parameters_wherever_they_stand() -> Outcome<()> {
    let image = File::open(&[3, 4, 4]);
    let convt = image.node("ConvTranspose", &["x", "w", "b"], "y");
    let convt = convt.floats("w", &[3, 2, 3, 3])?.floats("b", &[2])?;
    assert_eq!(convt.parameters()?, ["w", "b"]);
    let einsum = File::open(&[3]).with("Einsum", &["x", "w"], "y", &equation("bi,io->bo"));
    assert_eq!(einsum.floats("w", &[3, 2])?.parameters()?, ["w"]);
    let sum = layer(2)?.node("Sum", &["t", "b"], "y").floats("b", &[2])?;
    assert_eq!(sum.parameters()?, ["w", "b"]);
    let scale = layer(4)?.node("Exp", &["s"], "e").node("Mul", &["t", "e"], "y");
    assert_eq!(scale.floats("s", &[4])?.parameters()?, ["w", "s"]);
    for op in ["Abs", "Softmax"] {
        let file = File::open(&[3]).node(op, &["w"], "a").node("MatMul", &["x", "a"], "y");
        assert_eq!(file.floats("w", &[3, 2])?.parameters()?, ["w"], "{op}");
    }
    let chosen = File::open(&[3]).node("Greater", &["w", "z"], "m");
    let chosen = chosen.node("Where", &["m", "w", "z"], "a").node("MatMul", &["x", "a"], "y");
    let chosen = chosen.floats("w", &[3, 2])?.numbers("z", &[], vec![0.0])?;
    assert_eq!(chosen.parameters()?, ["w"]);
    // A token in the place of others.
    let token = File::open(&[4, 6]).node("Greater", &["x", "z"], "m");
    let token = token.node("Where", &["m", "token", "x"], "h").node("MatMul", &["h", "w"], "y");
    let token = token.numbers("z", &[], vec![0.0])?;
    let token = token.floats("token", &[1, 1, 6])?.floats("w", &[6, 2])?;
    assert_eq!(token.parameters()?, ["token", "w"]);
    Ok(())
}

#[test]
fn settings_masks_and_constants_of_inputs_are_none() -> Outcome<()> {
    let bound = layer(4)?.node("Max", &["t", "low"], "m").node("Pow", &["m", "p"], "y");
    let bound = bound.numbers("low", &[4], vec![0.0; 4])?.numbers("p", &[4], vec![2.0; 4])?;
    assert_eq!(bound.parameters()?, ["w"]);
    let triangle =
        |low: f32| (0..16).map(|i| if i % 4 <= i / 4 { 0.0 } else { low }).collect::<Vec<f32>>();
    for low in [-1e9, f32::MIN, f32::NEG_INFINITY] {
        let file = File::open(&[4, 3]).with("Transpose", &["x"], "k", &order(&[0, 2, 1]));
        let file = file.node("MatMul", &["x", "k"], "s").node("Add", &["s", "mask"], "z");
        let file = file.node("Softmax", &["z"], "p").node("MatMul", &["p", "x"], "y");
        assert!(file.numbers("mask", &[4, 4], triangle(low))?.parameters()?.is_empty(), "{low}");
    }
    let file = File::open(&[4, 3]).with("Transpose", &["x"], "k", &order(&[0, 2, 1]));
    let file = file.node("MatMul", &["x", "k"], "s").node("Mul", &["s", "b"], "s1");
    let file = file.node("Sub", &["one", "b"], "nb").node("Mul", &["nb", "big"], "pen");
    let file = file.node("Sub", &["s1", "pen"], "z").node("MatMul", &["z", "x"], "y");
    let file = file.numbers("one", &[], vec![1.0])?.numbers("big", &[], vec![1e4])?;
    assert!(file.numbers("b", &[1, 4, 4], triangle(1.0))?.parameters()?.is_empty());
    let epsilon = layer(2)?.node("Mul", &["t", "t"], "q").node("ReduceMean", &["q"], "m");
    let epsilon = epsilon.node("Add", &["m", "eps"], "v").node("Sqrt", &["v"], "s");
    let epsilon = epsilon.node("Div", &["t", "s"], "y").numbers("eps", &[1], vec![1e-5])?;
    assert_eq!(epsilon.parameters()?, ["w"]);
    // A hard sigmoid adds a scalar and clips.
    let hard = layer(2)?.node("Add", &["t", "three"], "a").node("Clip", &["a", "low"], "y");
    let hard = hard.numbers("three", &[], vec![3.0])?.numbers("low", &[], vec![0.0])?;
    assert_eq!(hard.parameters()?, ["w"]);
    let image = File::open(&[3, 4, 4]).node("Sub", &["x", "mean"], "a");
    let image = image.node("Div", &["a", "std"], "b").node("Conv", &["b", "w"], "y");
    let image = image.floats("mean", &[1, 3, 1, 1])?.floats("std", &[1, 3, 1, 1])?;
    assert_eq!(image.floats("w", &[2, 3, 3, 3])?.parameters()?, ["w"]);
    // But what is added to an input is learned, as places are.
    let places = File::open(&[4, 3]).node("Add", &["x", "p"], "y").floats("p", &[1, 4, 3])?;
    assert_eq!(places.parameters()?, ["p"]);
    Ok(())
}

#[test]
fn lone_numbers_are_weights_where_a_unit_has_them() -> Outcome<()> {
    let bias = layer(1)?.node("Add", &["t", "b"], "y").numbers("b", &[], vec![0.3])?;
    assert_eq!(bias.parameters()?, ["w", "b"]);
    let gemm = File::open(&[3]).node("Gemm", &["x", "w", "b"], "y").floats("w", &[3, 2])?;
    assert_eq!(gemm.numbers("b", &[], vec![0.5])?.parameters()?, ["w", "b"]);
    let unit = layer(1)?.node("Mul", &["t", "g"], "u").node("Add", &["u", "b"], "y");
    assert_eq!(unit.floats("g", &[1])?.floats("b", &[1])?.parameters()?, ["w", "g", "b"]);
    let file = File::open(&[3]).node("Mul", &["v", "g"], "w");
    let file = file.with("Gemm", &["x", "w"], "y", &[("transB", Attribute::Int(1))]);
    assert_eq!(file.floats("v", &[1, 3])?.floats("g", &[1, 1])?.parameters()?, ["v", "g"]);
    let slope = File::open(&[3]).node("PRelu", &["x", "s"], "y").numbers("s", &[], vec![0.25])?;
    assert_eq!(slope.parameters()?, ["s"]);
    // A number that bounds, too, is a weight where it is added.
    let pads = File::open(&[3]).node("Pad", &["x", "pads", "z"], "q");
    let pads = pads.node("MatMul", &["q", "w"], "t").node("Add", &["t", "z"], "y");
    let pads = pads.integers("pads", &[0; 4])?.floats("w", &[3, 2])?.floats("z", &[1])?;
    assert_eq!(pads.parameters()?, ["w", "z"]);
    Ok(())
}

#[test]
fn numbers_of_a_constant_are_weights_and_go_back() -> Outcome<()> {
    let file = layer(2)?
        .with("Constant", &[], "b", &[("value_floats", Attribute::Floats(vec![1.0, 2.0]))])
        .node("Add", &["t", "b"], "y");
    assert_eq!(file.parameters()?, ["w", "b"]);
    let model = Model::parse(file.0.to_bytes()?)?;
    let read = file.read()?;
    let mut blocks = read.params.blocks().to_vec();
    blocks[1] = (&blocks[1] + 1.0)?;
    let params = core_tensors::Params::new(read.graph.layout(), blocks)?;
    let bytes = rewrite(&model, &read, &read.graph, &params, &mut no_external)?;
    let changed = Model::parse(bytes)?;
    let b = changed.nodes()[1].attribute("value_floats");
    assert_eq!(b, Some(&Attribute::Floats(vec![2.0, 3.0])));
    Ok(())
}

#[test]
fn a_batch_is_opened_where_each_example_is_computed_alone() -> Outcome<()> {
    let plain = File::fixed(&[4, 3]).node("MatMul", &["x", "w"], "y").floats("w", &[3, 2])?;
    let read = plain.read()?;
    assert_eq!(read.graph.fixed_batch(), None);
    assert!(read.notes[0].contains("any batch is taken"), "{:?}", read.notes);
    let read = plain.read_with(&[("x:0", 2)])?;
    assert_eq!(read.graph.fixed_batch(), Some(2));
    assert!(read.notes[0].contains("exactly 2, which"), "{:?}", read.notes);
    let tokens = File::fixed(&[5, 3]).node("MatMul", &["x", "w"], "q");
    let tokens = tokens.with("Transpose", &["q"], "k", &order(&[1, 0]));
    let tokens = tokens.node("MatMul", &["q", "k"], "s").node("MatMul", &["s", "q"], "y");
    let tokens = tokens.floats("w", &[3, 3])?.read()?;
    assert_eq!(tokens.graph.fixed_batch(), Some(5));
    let x = Tensor::ones((3, 3), DType::F32, &Device::Cpu)?;
    let message = tokens.graph.forward(&tokens.params, &x).err().ok_or("it was taken")?.to_string();
    assert!(message.contains("takes exactly 5 examples, found 3"), "{message}");
    let rows = File::fixed(&[4, 6]).node("Reshape", &["x", "s"], "r");
    let rows = rows.node("MatMul", &["r", "w"], "y").integers("s", &[8, 3])?;
    let rows = rows.floats("w", &[3, 2])?.read()?;
    let x = Tensor::ones((3, 6), DType::F32, &Device::Cpu)?;
    let message = rows.graph.forward(&rows.params, &x).err().ok_or("it was taken")?.to_string();
    assert!(message.contains("takes exactly 4 examples, found 3"), "{message}");
    Ok(())
}

/// The largest difference of the entries, as a share of the largest entry: sums of other rows are rounded otherwise.
fn gap(a: &Tensor, b: &Tensor) -> Outcome<f32> {
    assert_eq!(a.dims(), b.dims());
    let largest = |x: &Tensor| x.abs()?.max_all()?.to_scalar::<f32>();
    Ok(largest(&(a - b)?)? / largest(b)?.max(1.0))
}

#[test]
fn shapes_that_name_the_batch_follow_any() -> Outcome<()> {
    for (n, target) in
        [(1, [1, 6]), (4, [4, 6]), (4, [4, -1]), (1, [1, -1]), (8, [-1, 6]), (8, [0, 6])]
    {
        let file = File::fixed(&[n, 2, 3]).node("Relu", &["x"], "a");
        let file = file.node("Reshape", &["a", "s"], "r").node("MatMul", &["r", "w"], "h");
        let file = file.with("Flatten", &["h"], "f", &[("axis", Attribute::Int(1))]);
        let file = file.node("Reshape", &["f", "t"], "g").node("MatMul", &["g", "v"], "y");
        let file = file.integers("s", &target)?.integers("t", &[n as i64, 4])?;
        let file = file.floats("w", &[6, 4])?.floats("v", &[4, 2])?;
        let (free, fixed) = (file.read()?, file.read_with(&[("x:0", n)])?);
        assert_eq!((free.graph.fixed_batch(), fixed.graph.fixed_batch()), (None, Some(n)));
        let notes = &free.notes;
        assert!(notes[0].contains(&format!("a batch of {n} in the file")), "{notes:?}");
        let mut rng = core_tensors::Rng::new(n as u64);
        for m in [n, 1, 7] {
            let x: Vec<f32> = (0..6 * m).map(|_| rng.normal() as f32).collect();
            let x = Tensor::from_vec(x, (m, 2, 3), &Device::Cpu)?;
            let a = free.graph.forward(&free.params, &x)?;
            // The fixed graph takes n examples at a time.
            assert!(
                gap(&a, &fixed.graph.forward(&fixed.params, &x)?)? < 1e-5,
                "{n} {target:?} {m}"
            );
        }
        // A file that is written of it declares the batch that it had, and computes the same.
        let model = Model::parse(file.0.to_bytes()?)?;
        let bytes = rewrite(&model, &free, &free.graph, &free.params, &mut no_external)?;
        let written = Model::parse(bytes)?;
        assert_eq!(written.inputs()[0].dims(), model.inputs()[0].dims());
        let again = import(&written, &mut no_external, &ImportOptions::default())?;
        let x = Tensor::ones((5, 2, 3), DType::F32, &Device::Cpu)?;
        let [a, b] = [&free, &again].map(|read| read.graph.forward(&read.params, &x));
        assert!(gap(&a?, &b?)? == 0.0);
        let x = x.narrow(0, 0, 1)?.repeat((n, 1, 1))?;
        let as_file = ImportOptions {
            dimensions: [("x:0".to_owned(), n)].into(),
            ..ImportOptions::default()
        };
        let again = import(&written, &mut no_external, &as_file)?;
        let [a, b] = [&free, &again].map(|read| read.graph.forward(&read.params, &x));
        assert!(gap(&a?, &b?)? < 1e-5);
    }
    // Examples that mix stay together: rows of several examples at once, and a product of all with all.
    let mixed = File::fixed(&[4, 6]).node("Reshape", &["x", "s"], "r").integers("s", &[2, 12])?;
    let mixed = mixed.node("MatMul", &["r", "w"], "q").node("Reshape", &["q", "t"], "y");
    let mixed = mixed.floats("w", &[12, 4])?.integers("t", &[4, 2])?.read()?;
    assert_eq!(mixed.graph.fixed_batch(), Some(4));
    Ok(())
}

#[test]
fn notes_name_the_axis_that_counts() -> Outcome<()> {
    let named = |name: &str| vec![Dimension::Named(name.to_owned()), Dimension::Known(3)];
    let two = |a: &str, b: &str| {
        let file = File::of(&[("x", named(a)), ("t", named(b))]);
        file.node("Mul", &["x", "t"], "y")
    };
    let message = two("batch", "points").refused(&[])?;
    assert!(message.contains("`batch`, `points`") && message.contains("--dim"), "{message}");
    assert!(two("n", "n").read()?.notes.is_empty());
    let dense = |name: &str| {
        File::of(&[("x", named(name))]).node("MatMul", &["x", "w"], "y").floats("w", &[3, 2])
    };
    let notes = dense("seq")?.read()?.notes;
    assert!(notes[0].contains("`x`, `seq` in the file"), "{notes:?}");
    assert!(dense("batch_size")?.read()?.notes.is_empty());
    let message = dense("N")?.refused(&[("M", 3)])?;
    assert!(message.contains("no axis `M`; the open ones are `N`"), "{message}");
    // Initializers among the inputs, and inputs that nobody reads, have no batch.
    let inputs = [("w", known(&[3, 2])), ("label", known(&[8])), ("x", named("N"))];
    let old = File::of(&inputs).node("MatMul", &["x", "w"], "y").floats("w", &[3, 2])?;
    assert!(old.read()?.notes.is_empty());
    let huge = vec![
        Dimension::Named("N".to_owned()),
        Dimension::Known(1 << 40),
        Dimension::Known(1 << 40),
    ];
    let message = File::of(&[("x", huge)]).node("Relu", &["x"], "y").refused(&[])?;
    assert!(message.contains("beyond what a computer holds"), "{message}");
    let twice = File::of(&[("x", named("N")), ("x", named("N"))]).node("Relu", &["x"], "y");
    assert!(twice.refused(&[])?.contains("made twice"));
    Ok(())
}

#[test]
fn own_names_are_none_of_the_file() -> Outcome<()> {
    let file =
        File::open(&[3]).node("Sum", &["x", "x", "b"], "s").node("Mul", &["s", "s"], "s/part0");
    let file = file.node("Add", &["s", "s/part0"], "y").floats("b", &[3])?;
    let read = file.read()?;
    let mut names: Vec<&str> =
        read.graph.values().iter().map(|value| value.name.as_str()).collect();
    let n = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), n);
    let bytes = file.0.to_bytes()?;
    let model = Model::parse(bytes.clone())?;
    assert_eq!(rewrite(&model, &read, &read.graph, &read.params, &mut no_external)?, bytes);
    Ok(())
}

#[test]
fn every_operator_with_a_weight_has_it_as_a_parameter() -> Outcome<()> {
    const WITH_WEIGHTS: [&str; 11] = [
        "Conv",
        "ConvTranspose",
        "Gemm",
        "MatMul",
        "Einsum",
        "PRelu",
        "BatchNormalization",
        "LayerNormalization",
        "GroupNormalization",
        "InstanceNormalization",
        "RMSNormalization",
    ];
    let mut n = 0;
    for case in operators::operator_cases()? {
        let (bytes, name) = (case.model()?, &case.name);
        let model = Model::parse(bytes.clone())?;
        let inputs = case.inputs()?;
        for (output, expected) in &case.outputs {
            let options =
                ImportOptions { output: Some(output.clone()), ..ImportOptions::default() };
            let Ok(read) = import(&model, &mut no_external, &options) else { continue };
            let same = rewrite(&model, &read, &read.graph, &read.params, &mut no_external)?;
            assert!(same == bytes, "{name}: the file changes");
            let fed =
                read.graph.inputs().iter().map(|&id| inputs[&read.graph.value(id).name].clone());
            let found = read.graph.run(&read.params, &fed.collect::<Vec<Tensor>>())?;
            assert_eq!(found[0].dims(), expected.tensor()?.dims(), "{name}");
            let weights = model.nodes().iter().flat_map(|node| {
                let is_such = WITH_WEIGHTS.contains(&node.op_type.as_str());
                node.inputs.iter().filter(move |_| is_such)
            });
            for weight in weights {
                let is_given = model
                    .initializers()
                    .iter()
                    .any(|tensor| tensor.name == *weight && tensor.data_type.is_float());
                let ids = read.graph.parameters().iter();
                let is_parameter = ids.map(|&id| &read.graph.value(id).name).any(|p| p == weight);
                assert!(is_parameter || !is_given, "{} {name}: `{weight}`", case.operator);
                n += usize::from(is_given);
            }
        }
    }
    assert!(n > 20, "{n} weights");
    Ok(())
}
