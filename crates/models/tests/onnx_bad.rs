//! Wrong files: each gives one message, which says where and what; none a panic, or memory beyond its size.

use std::error::Error;
use std::time::{Duration, Instant};

use models::onnx::{
    Attribute, DataType, Dimension, ImportOptions, Imported, Model, NewModel, Node, TensorInfo,
    ValueInfo, ValueType, Values, import, no_external,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Nothing that is refused may take longer; a hundred times what it takes.
const LONGEST: Duration = Duration::from_secs(5);

/// Two dense layers: x (N, 3) → y (N, 2).
fn base() -> Outcome<NewModel> {
    let shape = |n| vec![Dimension::Named("N".to_owned()), Dimension::Known(n)];
    Ok(NewModel {
        name: "g".to_owned(),
        opsets: vec![(String::new(), 17)],
        inputs: vec![ValueInfo::tensor("x", DataType::F32, shape(3))],
        outputs: vec![ValueInfo::tensor("y", DataType::F32, shape(2))],
        nodes: vec![
            gemm("first", ["x", "w1", "b1"], "a"),
            node("act", "Relu", &["a"], "b"),
            gemm("second", ["b", "w2", "b2"], "y"),
        ],
        initializers: vec![
            floats("w1", &[4, 3])?,
            floats("b1", &[4])?,
            floats("w2", &[2, 4])?,
            floats("b2", &[2])?,
        ],
        metadata: vec![],
    })
}

fn node(name: &str, op: &str, inputs: &[&str], output: &str) -> Node {
    Node {
        name: name.to_owned(),
        op_type: op.to_owned(),
        inputs: inputs.iter().map(|&name| name.to_owned()).collect(),
        outputs: vec![output.to_owned()],
        ..Node::default()
    }
}

fn gemm(name: &str, inputs: [&str; 3], output: &str) -> Node {
    let attributes = vec![("transB".to_owned(), Attribute::Int(1))];
    Node { attributes, ..node(name, "Gemm", &inputs, output) }
}

fn floats(name: &str, dims: &[usize]) -> Outcome<TensorInfo> {
    let values = Values::F32((0..dims.iter().product()).map(|i: usize| i as f32).collect());
    Ok(TensorInfo::new(name, dims.to_vec(), DataType::F32, &values)?)
}

fn integers(name: &str, values: &[i64]) -> Outcome<TensorInfo> {
    let dims = vec![values.len()];
    Ok(TensorInfo::new(name, dims, DataType::I64, &Values::I64(values.to_vec()))?)
}

fn read(bytes: Vec<u8>) -> Outcome<Imported> {
    let model = Model::parse(bytes)?;
    Ok(import(&model, &mut no_external, &ImportOptions::default())?)
}

/// The message of a file that is wrong.
fn message(bytes: Vec<u8>) -> Outcome<String> {
    let start = Instant::now();
    let message = match read(bytes) {
        Ok(_) => return Err("the file was read".into()),
        Err(error) => error.to_string(),
    };
    assert!(start.elapsed() < LONGEST, "{:?} for: {message}", start.elapsed());
    Ok(message)
}

/// The message of the two layers with a change.
fn changed(change: impl FnOnce(&mut NewModel) -> Outcome<()>) -> Outcome<String> {
    let mut file = base()?;
    change(&mut file)?;
    message(file.to_bytes()?)
}

#[test]
fn the_base_is_right() -> Outcome<()> {
    let read = read(base()?.to_bytes()?)?;
    assert_eq!(read.graph.nodes().len(), 3);
    assert_eq!(read.notes, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_file_cut_anywhere_is_refused() -> Outcome<()> {
    let bytes = base()?.to_bytes()?;
    for n in 0..bytes.len() {
        let message = message(bytes[..n].to_vec())?;
        assert!(message.contains("ONNX file"), "{n} bytes: {message}");
    }
    Ok(())
}

#[test]
fn nodes_that_are_not_read_are_named() -> Outcome<()> {
    let with = |op: &'static str, domain: &'static str| {
        changed(move |file| {
            (file.nodes[1].op_type, file.nodes[1].domain) = (op.to_owned(), domain.to_owned());
            Ok(())
        })
    };
    assert_eq!(with("Frobnicate", "")?, "node `act` (Frobnicate): this operator is not read");
    for (op, domain) in
        [("QLinearConv", ""), ("DequantizeLinear", ""), ("QLinearAdd", "com.microsoft")]
    {
        let told = with(op, domain)?;
        assert!(
            told.contains("give the network of floats, and quantize what comes of it"),
            "{told}"
        );
    }
    assert!(with("LSTM", "")?.contains("recurrent layers are not read"));
    assert_eq!(
        with("If", "")?,
        "node `act` (If): loops and branches are not read; export the network without control flow"
    );
    assert_eq!(
        with("FancyRelu", "com.example")?,
        "node `act` (com.example FancyRelu): operators of other domains than ONNX's own are not read"
    );
    assert_eq!(
        with("SequenceLength", "")?,
        "node `act` (SequenceLength): sequences, maps, optionals and strings are not read"
    );
    Ok(())
}

#[test]
fn tensors_that_nothing_or_several_make_are_named() -> Outcome<()> {
    let missing = changed(|file| {
        file.initializers.retain(|tensor| tensor.name != "w2");
        Ok(())
    })?;
    assert_eq!(
        missing,
        "node `second` (Gemm): reads `w2`, which is no input, no initializer and no result of a node"
    );
    let not_made = changed(|file| {
        file.outputs[0].name = "nobody".to_owned();
        Ok(())
    })?;
    assert_eq!(
        not_made,
        "output `nobody` of the file is no input, no initializer and no result of a node; the file may be cut short"
    );
    let made_twice = "is made twice; expected each tensor to be an input, an initializer or a result of one node";
    for (place, name) in [(1, "a"), (1, "x"), (1, "w1")] {
        let twice = changed(|file| {
            file.nodes[place].outputs[0] = name.to_owned();
            file.nodes[2].inputs[0] = name.to_owned();
            Ok(())
        })?;
        assert_eq!(twice, format!("tensor `{name}` {made_twice}"));
    }
    let doubled = changed(|file| {
        file.initializers.push(floats("w1", &[1])?);
        Ok(())
    })?;
    assert_eq!(doubled, "initializer `w1` is there twice");
    let left_out = changed(|file| {
        file.nodes[2].inputs[1] = String::new();
        Ok(())
    })?;
    assert_eq!(
        left_out,
        "node `second` (Gemm): input 1 (from 0) is left out, but this operator needs it"
    );
    Ok(())
}

#[test]
fn a_node_that_waits_for_itself_is_named() -> Outcome<()> {
    let cycle = changed(|file| {
        file.nodes[0].inputs[0] = "back".to_owned();
        file.nodes.push(node("back", "Neg", &["y"], "back"));
        Ok(())
    })?;
    assert!(cycle.ends_with("depends on its own result"), "{cycle}");
    Ok(())
}

#[test]
fn shapes_that_do_not_fit_are_shown() -> Outcome<()> {
    let wide = changed(|file| {
        file.initializers[2] = floats("w2", &[2, 7])?;
        Ok(())
    })?;
    assert_eq!(
        wide,
        "node `second` (Gemm): expected matrices with an equal inner extent (after their transposition): found shapes \
         [N, 4] and [2, 7]"
    );
    let bias = changed(|file| {
        file.initializers[1] = floats("b1", &[3])?;
        Ok(())
    })?;
    assert!(bias.contains("node `first` (Gemm)") && bias.contains("[3] and [N, 4]"), "{bias}");
    let axis = changed(|file| {
        file.nodes.push(Node {
            attributes: vec![("axis".to_owned(), Attribute::Int(7))],
            ..node("s", "Softmax", &["y"], "p")
        });
        file.outputs[0].name = "p".to_owned();
        Ok(())
    })?;
    assert_eq!(axis, "node `s` (Softmax): attribute axis: expected an axis of the logits, found 7");
    Ok(())
}

#[test]
fn a_declared_shape_that_does_not_come_out_is_noted() -> Outcome<()> {
    let mut file = base()?;
    let shape = vec![Dimension::Named("N".to_owned()), Dimension::Known(9)];
    file.outputs = vec![ValueInfo::tensor("y", DataType::F32, shape)];
    let read = read(file.to_bytes()?)?;
    assert_eq!(read.notes, ["output `y` has shape [N, 2], but the file declares [N, 9]"]);
    Ok(())
}

#[test]
fn weights_that_are_no_numbers_are_named() -> Outcome<()> {
    for (bad, text) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let weight = changed(|file| {
            let mut values = vec![0.5; 12];
            values[8] = bad;
            file.initializers[0] =
                TensorInfo::new("w1", vec![4, 3], DataType::F32, &Values::F32(values))?;
            Ok(())
        })?;
        let expected =
            format!("tensor `w1` holds {text} at place 8 (from 0); expected finite numbers");
        assert_eq!(weight, expected);
    }
    Ok(())
}

#[test]
fn a_mask_of_infinities_is_a_constant() -> Outcome<()> {
    let mut file = base()?;
    file.nodes.push(node("masked", "Add", &["y", "mask"], "z"));
    file.outputs[0].name = "z".to_owned();
    let values = Values::F32(vec![0.0, f32::NEG_INFINITY]);
    file.initializers.push(TensorInfo::new("mask", vec![2], DataType::F32, &values)?);
    assert_eq!(read(file.to_bytes()?)?.params.blocks().len(), 4);
    Ok(())
}

#[test]
fn sizes_beyond_memory_are_refused() -> Outcome<()> {
    // An initializer in raw protobuf, since none like it can be made: dims of 2^60.
    let varint = |mut n: u64| {
        let mut out = Vec::new();
        while n >= 128 {
            out.push(n as u8 | 128);
            n >>= 7;
        }
        out.push(n as u8);
        out
    };
    let bytes_field = |key: u8, content: &[u8]| {
        [&[key << 3 | 2], &varint(content.len() as u64)[..], content].concat()
    };
    for dims in [vec![1 << 60, 3], vec![1 << 32, 1 << 32], vec![1 << 60, 0]] {
        let mut tensor: Vec<u8> =
            dims.iter().flat_map(|&n| [vec![8], varint(n)].concat()).collect();
        tensor.extend([16, 1]);
        tensor.extend(bytes_field(8, b"w1"));
        tensor.extend(bytes_field(9, &[0; 48]));
        let graph = bytes_field(7, &[bytes_field(2, b"g"), bytes_field(5, &tensor)].concat());
        let bytes = [vec![8, 8], graph, bytes_field(8, &[16, 17])].concat();
        let found = message(bytes)?;
        assert!(found.starts_with("tensor `w1`: dimension "), "{found}");
    }
    Ok(())
}

#[test]
fn constants_are_not_folded_beyond_memory() -> Outcome<()> {
    // Each Concat is 64 times as long as the one before.
    let bomb = changed(|file| {
        file.initializers.push(integers("c0", &[1; 64])?);
        for i in 0..8 {
            let (from, to) = (format!("c{i}"), format!("c{}", i + 1));
            file.nodes.push(Node {
                attributes: vec![("axis".to_owned(), Attribute::Int(0))],
                ..node(&to, "Concat", &vec![from.as_str(); 64], &to)
            });
        }
        file.nodes.push(node("pick", "Gather", &["y", "c8"], "z"));
        file.outputs[0].name = "z".to_owned();
        Ok(())
    })?;
    assert!(bomb.contains("(Concat): a size of it is beyond what a computer holds"), "{bomb}");
    let fill = changed(|file| {
        file.initializers.push(integers("shape", &[1 << 30, 1 << 30])?);
        file.nodes.push(node("big", "ConstantOfShape", &["shape"], "c"));
        file.nodes.push(node("sum", "Add", &["y", "c"], "z"));
        file.outputs[0].name = "z".to_owned();
        Ok(())
    })?;
    assert_eq!(fill, "node `big` (ConstantOfShape): a size of it is beyond what a computer holds");
    Ok(())
}

#[test]
fn logits_that_are_open_are_asked_for() -> Outcome<()> {
    let two = changed(|file| {
        let mut other = file.outputs[0].clone();
        other.name = "b".to_owned();
        file.outputs.push(other);
        Ok(())
    })?;
    assert_eq!(two, "several tensors may hold the logits: `b`, `y`; choose one with --output NAME");
    let none = changed(|file| {
        file.outputs.clear();
        Ok(())
    })?;
    assert_eq!(none, "the file has no output; expected one that holds the logits");
    let constant = changed(|file| {
        file.outputs[0].name = "w1".to_owned();
        Ok(())
    })?;
    assert_eq!(
        constant,
        "the outputs of the file (`w1`) depend on no input; expected logits of an input"
    );
    Ok(())
}

#[test]
fn inputs_that_are_open_or_no_numbers_are_named() -> Outcome<()> {
    let with = |value_type: ValueType| {
        changed(move |file| {
            file.inputs[0].value_type = value_type;
            Ok(())
        })
    };
    let tensor = |data_type, dims| ValueType::Tensor { data_type, dims };
    let named = |name: &str| Dimension::Named(name.to_owned());
    let open = with(tensor(DataType::F32, Some(vec![named("N"), named("d")])))?;
    assert_eq!(open, "input `x`: axis 1 (from 0) has no fixed size; say one with --dim d=SIZE");
    let unknown = with(tensor(DataType::F32, Some(vec![named("N"), Dimension::Unknown])))?;
    assert!(unknown.ends_with("say one with --dim x:1=SIZE"), "{unknown}");
    let shapeless = with(tensor(DataType::F32, None))?;
    assert_eq!(shapeless, "input `x`: the file does not tell its shape");
    let texts = with(tensor(DataType::String, Some(vec![named("N"), Dimension::Known(3)])))?;
    assert_eq!(
        texts,
        "input `x`: expected a tensor of floats, whole numbers or truth values, found texts"
    );
    Ok(())
}

#[test]
fn operator_sets_are_bounded() -> Outcome<()> {
    for opset in [7, 99] {
        let message = changed(|file| {
            file.opsets[0].1 = opset;
            Ok(())
        })?;
        assert_eq!(message, format!("opset {opset} is not read: expected 11 to 28"));
    }
    Ok(())
}

#[test]
fn long_chains_and_many_paths_are_read() -> Outcome<()> {
    const LENGTH: usize = 20_000;
    const DEPTH: usize = 200;
    let start = Instant::now();
    let mut file = base()?;
    for i in 0..LENGTH {
        // 2^200 paths lead through the last nodes.
        let (from, to) = (if i == 0 { "y".to_owned() } else { format!("t{i}") }, i + 1);
        let is_sum = i + DEPTH >= LENGTH;
        let inputs = if is_sum { vec![from.as_str(); 2] } else { vec![from.as_str()] };
        file.nodes.push(node("", if is_sum { "Add" } else { "Neg" }, &inputs, &format!("t{to}")));
    }
    file.outputs[0].name = format!("t{LENGTH}");
    assert_eq!(read(file.to_bytes()?)?.graph.nodes().len(), LENGTH + 3);
    assert!(start.elapsed() < LONGEST);
    Ok(())
}
