//! Spellings of small files: what is read as the standard says it, and what is refused.

use std::error::Error;

use candle_core::{DType, Device, Tensor};
use models::graph::Source;
use models::onnx::{
    Attribute, DataType, Dimension, ExportOptions, Found, ImportOptions, Imported, Model, NewModel,
    Node, TensorInfo, ValueInfo, Values, export, import, no_external,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A file of inputs with a batch N first, one output y, nodes and initializers.
fn file(
    inputs: &[(&str, DataType, &[usize])],
    nodes: Vec<Node>,
    initializers: Vec<TensorInfo>,
) -> Outcome<Vec<u8>> {
    let value = |&(name, data_type, rest): &(&str, DataType, &[usize])| {
        let rest = rest.iter().map(|&n| Dimension::Known(n));
        let dims = std::iter::once(Dimension::Named("N".to_owned())).chain(rest).collect();
        ValueInfo::tensor(name, data_type, dims)
    };
    let file = NewModel {
        name: "g".to_owned(),
        opsets: vec![(String::new(), 25), ("ai.onnx.ml".to_owned(), 3)],
        inputs: inputs.iter().map(value).collect(),
        outputs: vec![ValueInfo::tensor("y", DataType::F32, vec![])],
        nodes,
        initializers,
        metadata: vec![],
    };
    Ok(file.to_bytes()?)
}

fn node(op: &str, inputs: &[&str], output: &str, attributes: &[(&str, Attribute)]) -> Node {
    let owned = |&(name, ref value): &(&str, Attribute)| (name.to_owned(), value.clone());
    Node {
        op_type: op.to_owned(),
        inputs: inputs.iter().map(|&name| name.to_owned()).collect(),
        outputs: vec![output.to_owned()],
        attributes: attributes.iter().map(owned).collect(),
        ..Node::default()
    }
}

fn floats(name: &str, dims: &[usize], values: &[f32]) -> Outcome<TensorInfo> {
    let values = Values::F32(values.to_vec());
    Ok(TensorInfo::new(name, dims.to_vec(), DataType::F32, &values)?)
}

fn integers(name: &str, dims: &[usize], values: &[i64]) -> Outcome<TensorInfo> {
    let values = Values::I64(values.to_vec());
    Ok(TensorInfo::new(name, dims.to_vec(), DataType::I64, &values)?)
}

fn text(value: &str) -> Attribute {
    Attribute::String(value.to_owned())
}

fn read_output(bytes: Vec<u8>, output: Option<&str>) -> Outcome<Imported> {
    let options = ImportOptions { output: output.map(str::to_owned), ..ImportOptions::default() };
    Ok(import(&Model::parse(bytes)?, &mut no_external, &options)?)
}

fn message(bytes: Vec<u8>) -> Outcome<String> {
    match read_output(bytes, Some("y")) {
        Ok(_) => Err("the file was read".into()),
        Err(error) => Ok(error.to_string()),
    }
}

/// Inputs and initializers f32; the numbers of y.
fn run(bytes: Vec<u8>, inputs: &[Tensor]) -> Outcome<Vec<f32>> {
    let read = read_output(bytes, Some("y"))?;
    numbers(&read, inputs)
}

fn numbers(read: &Imported, inputs: &[Tensor]) -> Outcome<Vec<f32>> {
    let y = read.graph.run(&read.params, inputs)?.into_iter().next().ok_or("no output")?;
    Ok(y.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?)
}

fn tensor(dims: &[usize], values: &[f32]) -> Outcome<Tensor> {
    Ok(Tensor::from_slice(values, dims, &Device::Cpu)?)
}

const X: (&str, DataType, &[usize]) = ("x", DataType::F32, &[3]);

fn logits_of(nodes: Vec<Node>) -> Outcome<(String, bool)> {
    let initializers = vec![
        integers("m1", &[1], &[-1])?,
        floats("low", &[], &[1e-7])?,
        floats("one", &[], &[1.0])?,
        floats("two", &[], &[2.0])?,
    ];
    let read = read_output(file(&[X], nodes, initializers)?, None)?;
    Ok((read.logits.tensor, matches!(read.logits.found, Found::Before { .. })))
}

#[test]
fn probabilities_in_another_shape_are_not_logits() -> Outcome<()> {
    let softmax = || node("Softmax", &["x"], "p", &[]);
    let shape = [("start", Attribute::Int(0)), ("end", Attribute::Int(1))];
    let reshaped = vec![
        softmax(),
        node("Shape", &["x"], "n", &shape),
        node("Concat", &["n", "m1"], "target", &[("axis", Attribute::Int(0))]),
        node("Reshape", &["p", "target"], "y", &[]),
    ];
    assert_eq!(logits_of(reshaped)?, ("x".to_owned(), true));
    let clip = |bound: &str| vec![softmax(), node("Clip", &["p", "low", bound], "y", &[])];
    assert_eq!(logits_of(clip("one"))?, ("x".to_owned(), true));
    assert_eq!(logits_of(clip("two"))?, ("y".to_owned(), false));
    for axis in [0, 1] {
        let softmax = node("Softmax", &["x"], "y", &[("axis", Attribute::Int(axis))]);
        let wanted = if axis == 0 { ("y", false) } else { ("x", true) };
        assert_eq!(logits_of(vec![softmax])?, (wanted.0.to_owned(), wanted.1));
    }
    Ok(())
}

#[test]
fn a_look_up_alone_is_a_network() -> Outcome<()> {
    let bytes = file(
        &[("ids", DataType::I64, &[])],
        vec![node("Gather", &["table", "ids"], "y", &[])],
        vec![floats("table", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?],
    )?;
    let read = read_output(bytes, None)?;
    assert_eq!(read.logits.tensor, "y");
    let ids = Tensor::from_slice(&[2i64, 0], 2, &Device::Cpu)?;
    assert_eq!(numbers(&read, &[ids])?, [5.0, 6.0, 1.0, 2.0]);
    Ok(())
}

const TOKENS: (&str, DataType, &[usize]) = ("x", DataType::F32, &[1, 2, 1]);

fn attention(
    inputs: &[&str],
    attributes: &[(&str, Attribute)],
    mask: TensorInfo,
) -> Outcome<Vec<u8>> {
    file(&[TOKENS], vec![node("Attention", inputs, "y", attributes)], vec![mask])
}

#[test]
fn a_query_without_keys_gives_zeros() -> Outcome<()> {
    let x = tensor(&[1, 1, 2, 1], &[1.0, 3.0])?;
    let never = f32::NEG_INFINITY;
    let mask = floats("m", &[2, 2], &[0.0, never, never, never])?;
    let inputs = ["x", "x", "x", "m"];
    assert_eq!(run(attention(&inputs, &[], mask)?, std::slice::from_ref(&x))?, [1.0, 0.0]);
    let truth = |values: &[bool]| -> Outcome<TensorInfo> {
        let values = Values::I64(values.iter().map(|&v| i64::from(v)).collect());
        Ok(TensorInfo::new("m", vec![2, 2], DataType::Bool, &values)?)
    };
    // The causal mask leaves the first query its own key, which the other mask takes.
    let causal = [("is_causal", Attribute::Int(1))];
    let bytes = attention(&inputs, &causal, truth(&[false, true, false, true])?)?;
    assert_eq!(run(bytes, &[x])?, [0.0, 3.0]);
    Ok(())
}

#[test]
fn attention_without_its_settings_is_refused() -> Outcome<()> {
    let mask = || floats("m", &[2, 2], &[0.0; 4]);
    let with = |attributes: &[(&str, Attribute)]| attention(&["x", "x", "x"], attributes, mask()?);
    let found = message(with(&[("left_window_size", Attribute::Int(1))])?)?;
    assert_eq!(
        found,
        "node `y` (Attention): attribute left_window_size: expected -1: all keys, found 1"
    );
    let x = tensor(&[1, 1, 2, 1], &[1.0, 3.0])?;
    let plain = run(with(&[])?, std::slice::from_ref(&x))?;
    assert_eq!(run(with(&[("softcap", Attribute::Float(-2.0))])?, &[x])?, plain);
    let lengths = ["x", "x", "x", "", "", "", "m"];
    let found = message(attention(&lengths, &[], mask()?)?)?;
    assert!(found.contains("nonpad_kv_seqlen"), "{found}");
    let mask = floats("m", &[2, 3], &[0.0; 6])?;
    let found = message(attention(&["x", "x", "x", "m"], &[], mask)?)?;
    assert!(found.contains("as many columns as keys, found 3 for 2 keys"), "{found}");
    Ok(())
}

#[test]
fn attributes_that_no_operator_has_are_named() -> Outcome<()> {
    let bytes =
        file(&[X], vec![node("Relu", &["x"], "y", &[("leak", Attribute::Float(0.1))])], vec![])?;
    assert_eq!(message(bytes)?, "node `y` (Relu): attribute `leak` is none of this operator");
    Ok(())
}

#[test]
fn the_rest_of_a_division_is_exact() -> Outcome<()> {
    let fmod = [("fmod", Attribute::Int(1))];
    let x = [1.0f32, -1.0, 0.3, 5.5, 1e6, -7.0, 0.05, 123.456, 0.0, 1e9];
    for divisor in [0.1f32, -0.1, 0.3, 2.5, 7.0, 1.1] {
        let inputs: &[(&str, DataType, &[usize])] = &[("x", DataType::F32, &[])];
        let nodes = vec![node("Mod", &["x", "d"], "y", &fmod)];
        let bytes = file(inputs, nodes, vec![floats("d", &[], &[divisor])?])?;
        let found = run(bytes, &[tensor(&[x.len()], &x)?])?;
        let wanted: Vec<f32> = x.iter().map(|x| x % divisor).collect();
        assert_eq!(found, wanted, "{divisor}");
    }
    Ok(())
}

#[test]
fn whole_numbers_keep_their_bits() -> Outcome<()> {
    let x = [200.0f32, -129.0, 127.0, 70000.0, -1.0];
    let inputs: &[(&str, DataType, &[usize])] = &[("x", DataType::F32, &[])];
    let to = |data_type: DataType| [("to", Attribute::Int(data_type.number().into()))];
    for (narrow, wanted) in [
        (DataType::I8, [-56.0f32, 127.0, 127.0, 112.0, -1.0]),
        (DataType::U8, [200.0, 127.0, 127.0, 112.0, 255.0]),
        (DataType::I16, [200.0, -129.0, 127.0, 4464.0, -1.0]),
        (DataType::U16, [200.0, 65407.0, 127.0, 4464.0, 65535.0]),
        (DataType::I32, x),
    ] {
        let nodes = vec![
            node("Cast", &["x"], "whole", &to(DataType::I64)),
            node("Cast", &["whole"], "narrow", &to(narrow)),
            node("Cast", &["narrow"], "y", &to(DataType::F32)),
        ];
        assert_eq!(run(file(inputs, nodes, vec![])?, &[tensor(&[5], &x)?])?, wanted, "{narrow}");
    }
    // One more than 2²⁴ is no f32.
    let nodes = vec![
        node("Cast", &["x"], "whole", &to(DataType::I64)),
        node("Clip", &["whole", "", "most"], "low", &[]),
        node("Sub", &["low", "most"], "gap", &[]),
        node("Cast", &["gap"], "y", &to(DataType::F32)),
    ];
    let bytes = file(inputs, nodes, vec![integers("most", &[], &[(1 << 24) + 1])?])?;
    assert_eq!(run(bytes, &[tensor(&[1], &[33554432.0])?])?, [0.0]);
    // The nearest f16 of 0.1.
    let half = TensorInfo::new("like", vec![], DataType::F16, &Values::F32(vec![1.0]))?;
    let like = |of: &str| vec![node("CastLike", &["x", of], "y", &[])];
    let constant = node("Constant", &[], "like", &[("value", Attribute::Tensor(half.clone()))]);
    for bytes in [
        file(inputs, like("like"), vec![half.clone()])?,
        file(inputs, [vec![constant], like("like")].concat(), vec![])?,
    ] {
        assert_eq!(run(bytes, &[tensor(&[1], &[0.1])?])?, [0.099_975_586]);
    }
    let sum = vec![node("Add", &["x", "like"], "sum", &[]), like("sum").remove(0)];
    let found = message(file(inputs, sum, vec![half])?)?;
    assert!(found.contains("beside numbers of 16 bits"), "{found}");
    Ok(())
}

#[test]
fn transposed_convolutions_are_no_larger_than_their_filters_reach() -> Outcome<()> {
    let image: &[(&str, DataType, &[usize])] = &[("x", DataType::F32, &[1, 4])];
    let with = |attributes: &[(&str, Attribute)]| -> Outcome<String> {
        let nodes = vec![node("ConvTranspose", &["x", "w"], "y", attributes)];
        message(file(image, nodes, vec![floats("w", &[1, 1, 3], &[1.0; 3])?])?)
    };
    let one = |n| Attribute::Ints(vec![n]);
    let found = with(&[("output_shape", one(9))])?;
    assert!(
        found.contains("output_shape: expected no more places than the filters reach"),
        "{found}"
    );
    assert!(with(&[("kernel_shape", one(5))])?.contains("[5] beside filters of [3]"));
    assert!(with(&[("auto_pad", text("SOME"))])?.contains("auto_pad"));
    assert!(with(&[("group", Attribute::Int(-1))])?.contains("a number from 1, found -1"));
    let most = [("output_padding", one(i64::MAX)), ("output_shape", one(4)), ("strides", one(2))];
    with(&most)?;
    Ok(())
}

#[test]
fn sums_over_no_axis_are_written() -> Outcome<()> {
    let x = tensor(&[1, 3], &[-3.0, 2.0, 0.5])?;
    for (op, wanted) in [
        ("ReduceL1", [3.0f32, 2.0, 0.5]),
        ("ReduceL2", [3.0, 2.0, 0.5]),
        ("ReduceSumSquare", [9.0, 4.0, 0.25]),
        ("ReduceSum", [-3.0, 2.0, 0.5]),
    ] {
        let noop = [("noop_with_empty_axes", Attribute::Int(1)), ("keepdims", Attribute::Int(0))];
        let read = read_output(file(&[X], vec![node(op, &["x"], "y", &noop)], vec![])?, Some("y"))?;
        assert_eq!(numbers(&read, std::slice::from_ref(&x))?, wanted, "{op}");
        let bytes = export(&read.graph, &read.params, &ExportOptions::default())?;
        let again = read_output(bytes, None)?;
        assert_eq!(numbers(&again, std::slice::from_ref(&x))?, wanted, "{op} written");
    }
    Ok(())
}

#[test]
fn large_triangles_and_parts_are_not_built() -> Outcome<()> {
    for upper in [0, 1] {
        let trilu = || vec![node("Trilu", &["x"], "y", &[("upper", Attribute::Int(upper))])];
        let wide = |side: usize| file(&[("x", DataType::F32, &[side, side])], trilu(), vec![]);
        assert!(message(wide(1 << 40)?)?.contains("beyond what a computer holds"));
        // Nothing as large as the triangle itself stands in the graph.
        let read = read_output(wide(1 << 14)?, Some("y"))?;
        for value in read.graph.values() {
            if let Source::Constant(numbers) = &value.source {
                assert!(numbers.entries.len() <= 1 << 14, "{} entries", numbers.entries.len());
            }
        }
    }
    let x: &[(&str, DataType, &[usize])] = &[("x", DataType::F32, &[2, 3])];
    let bytes = |k: i64, upper: i64| {
        let trilu = node("Trilu", &["x", "k"], "y", &[("upper", Attribute::Int(upper))]);
        file(x, vec![trilu], vec![integers("k", &[], &[k])?])
    };
    let six = tensor(&[1, 2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
    assert_eq!(run(bytes(1, 1)?, std::slice::from_ref(&six))?, [0.0, 2.0, 3.0, 0.0, 0.0, 6.0]);
    assert_eq!(run(bytes(-1, 0)?, std::slice::from_ref(&six))?, [0.0, 0.0, 0.0, 4.0, 0.0, 0.0]);
    assert_eq!(
        run(bytes(i64::MIN, 1)?, std::slice::from_ref(&six))?,
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    );
    assert_eq!(run(bytes(i64::MAX, 1)?, &[six])?, [0.0; 6]);
    let most: &[(&str, DataType, &[usize])] = &[("x", DataType::F32, &[i64::MAX as usize])];
    let mut split = node("Split", &["x"], "y", &[("axis", Attribute::Int(1))]);
    split.outputs.push("z".to_owned());
    assert!(message(file(most, vec![split], vec![])?)?.contains("beyond what a computer holds"));
    Ok(())
}

#[test]
fn sums_of_named_axes() -> Outcome<()> {
    let einsum = |equation: &str, a: &[usize], b: &[usize]| {
        let inputs = [("a", DataType::F32, a), ("b", DataType::F32, b)];
        file(
            &inputs,
            vec![node("Einsum", &["a", "b"], "y", &[("equation", text(equation))])],
            vec![],
        )
    };
    let a = tensor(&[1, 3], &[1.0, 2.0, 4.0])?;
    let b = tensor(&[1, 1], &[3.0])?;
    assert_eq!(run(einsum("bi,bi->b", &[3], &[1])?, &[a.clone(), b])?, [21.0]);
    let c = tensor(&[1, 2, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 1.0])?;
    assert_eq!(run(einsum("b...i,bi->b...", &[2, 3], &[3])?, &[c.clone(), a.clone()])?, [1.0, 6.0]);
    assert_eq!(run(einsum("...i,...i", &[2, 3], &[2, 3])?, &[c.clone(), c])?, [1.0, 2.0]);
    let found = message(einsum("bij,bji->b", &[2, 3], &[2, 3])?)?;
    assert!(found.contains("`i` of extents 2 and 3 in bij,bji->b"), "{found}");
    Ok(())
}

#[test]
fn pixels_go_into_channels_and_back() -> Outcome<()> {
    let values: Vec<f32> = (0..32).map(|i| i as f32).collect();
    let x = tensor(&[1, 2, 4, 4], &values)?;
    let image: &[(&str, DataType, &[usize])] = &[("x", DataType::F32, &[2, 4, 4])];
    for mode in ["DCR", "CRD"] {
        let settings = [("blocksize", Attribute::Int(2)), ("mode", text(mode))];
        let deep = || node("SpaceToDepth", &["x"], "deep", &settings);
        let back = node("DepthToSpace", &["deep"], "y", &settings);
        let bytes = file(image, vec![deep(), back], vec![])?;
        assert_eq!(run(bytes, std::slice::from_ref(&x))?, values, "{mode}");
        let bytes = file(image, vec![deep(), node("Identity", &["deep"], "y", &[])], vec![])?;
        // The second channel is the same place of the second image, or the next place of the first.
        let first = if mode == "DCR" { 16.0 } else { 1.0 };
        assert_eq!(run(bytes, std::slice::from_ref(&x))?[4], first, "{mode}");
    }
    Ok(())
}

#[test]
fn what_is_left_out_or_no_number_is_refused() -> Outcome<()> {
    let with = |node: Node| -> Outcome<String> { message(file(&[X], vec![node], vec![])?) };
    for op in ["Slice", "Expand", "Reshape", "Tile", "Pad", "Unsqueeze"] {
        let found = with(node(op, &["x"], "y", &[]))?;
        assert!(found.contains("input 1 (from 0) is left out"), "{op}: {found}");
    }
    let pad = |pads: [i64; 4]| -> Outcome<String> {
        let wrap = node("Pad", &["x", "p"], "y", &[("mode", text("wrap"))]);
        message(file(&[X], vec![wrap], vec![integers("p", &[4], &pads)?])?)
    };
    for pads in [[0, 4, 0, 0], [0, 0, 0, -1]] {
        let found = pad(pads)?;
        assert!(found.contains("with mode wrap, numbers from 0 to the extent"), "{found}");
    }
    let learn = |op: &str, attributes: &[(&str, Attribute)]| Node {
        domain: "ai.onnx.ml".to_owned(),
        ..node(op, &["x"], "y", attributes)
    };
    let many = |value: f32| Attribute::Floats(vec![value]);
    let scaler = with(learn("Scaler", &[("offset", many(f32::NAN)), ("scale", many(1.0))]))?;
    assert!(scaler.contains("attribute offset: expected finite numbers, found NaN"), "{scaler}");
    let keys = [("keys_floats", many(f32::INFINITY)), ("values_floats", many(1.0))];
    let encoder = with(learn("LabelEncoder", &keys))?;
    assert!(encoder.contains("attribute keys: expected finite numbers, found inf"), "{encoder}");
    Ok(())
}

#[test]
fn a_setting_that_makes_no_perceptron_is_named() -> Outcome<()> {
    for (act, wanted) in [
        (node("Gelu", &["a"], "b", &[("approximate", text("tanh"))]), "approximate is tanh"),
        (
            node("LeakyRelu", &["a"], "b", &[("alpha", Attribute::Float(2.0))]),
            "alpha is not between",
        ),
    ] {
        let nodes =
            vec![node("MatMul", &["x", "w"], "a", &[]), act, node("MatMul", &["b", "v"], "y", &[])];
        let initializers = vec![floats("w", &[3, 3], &[1.0; 9])?, floats("v", &[3, 2], &[1.0; 6])?];
        let read = read_output(file(&[X], nodes, initializers)?, Some("y"))?;
        let error = read.graph.as_perceptron(&read.params).err().ok_or("a perceptron")?;
        assert!(error.to_string().contains(wanted), "{error}");
    }
    Ok(())
}
