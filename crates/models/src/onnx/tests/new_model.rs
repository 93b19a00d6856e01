//! New files say what they were made of.

use super::*;

#[test]
fn what_is_written_is_read() {
    let text = |text: &str| text.to_owned();
    let dims = vec![Dimension::Named(text("batch")), Dimension::Known(2), Dimension::Unknown];
    let tensor = |name: &str, dims: &[usize], data_type, values| {
        TensorInfo::new(name, dims.to_vec(), data_type, &values).unwrap()
    };
    let node = Node {
        name: text("n"),
        op_type: text("Op"),
        domain: text("own"),
        inputs: vec![text("x"), text(""), text("w")],
        outputs: vec![text("y")],
        attributes: vec![
            (text("int"), Attribute::Int(-1)),
            (text("float"), Attribute::Float(0.0)),
            (text("string"), Attribute::String(text(""))),
            (text("ints"), Attribute::Ints(vec![i64::MIN, 0])),
            (text("floats"), Attribute::Floats(vec![0.5, -0.5])),
            (text("strings"), Attribute::Strings(vec![text(""), text("ü")])),
        ],
    };
    let new = NewModel {
        name: text("graph"),
        opsets: vec![(text(""), 18), (text("own"), 1)],
        inputs: vec![ValueInfo::tensor("x", DataType::F32, dims.clone())],
        outputs: vec![ValueInfo::tensor("y", DataType::I64, vec![])],
        nodes: vec![node.clone(), Node { op_type: text("Nothing"), ..Node::default() }],
        initializers: vec![
            tensor("w", &[1, 2], DataType::F32, Values::F32(vec![1.0, f32::NAN])),
            tensor("scalar", &[], DataType::I64, Values::I64(vec![-5])),
            tensor("empty", &[0, 2], DataType::F16, Values::F32(vec![])),
        ],
        metadata: vec![(text("key"), text("value"))],
    };
    let model = parse(new.to_bytes().unwrap());
    assert_eq!((model.opset(), model.opset_of("own"), model.ir_version()), (18, Some(1), 8));
    assert_eq!(model.producer(), ("distillation", env!("CARGO_PKG_VERSION")));
    assert_eq!(model.nodes(), new.nodes);
    assert_eq!((model.inputs(), model.outputs()), (new.inputs.as_slice(), new.outputs.as_slice()));
    assert_eq!((model.metadata(), model.graph_name()), (new.metadata.as_slice(), "graph"));
    let w = f32s(&model, "w");
    assert!(w[0] == 1.0 && w[1].is_nan());
    assert_eq!((i64s(&model, "scalar"), tensor_dims(&model, "scalar")), (vec![-5], vec![]));
    assert_eq!((f32s(&model, "empty"), tensor_dims(&model, "empty")), (vec![], vec![0, 2]));
    // A tensor of a file is written by its file alone.
    let foreign = NewModel { initializers: model.initializers().to_vec(), ..new };
    assert!(foreign.to_bytes().unwrap_err().to_string().contains("read from another file"));
}

fn tensor_dims(model: &Model, name: &str) -> Vec<usize> {
    tensor(model, name).dims.clone()
}

#[test]
fn numbers_must_fit_dims_and_type() {
    let error = |dims: &[usize], data_type, values| {
        TensorInfo::new("w", dims.to_vec(), data_type, &values).unwrap_err().to_string()
    };
    let found = error(&[2, 3], DataType::F32, Values::F32(vec![0.0; 5]));
    assert_eq!(found, "tensor `w`: dims [2, 3] need 6 numbers, found 5");
    let found = error(&[1], DataType::I8, Values::I64(vec![128]));
    assert_eq!(found, "tensor `w`: number 0 is 128, which INT8 does not hold");
    let found = error(&[1], DataType::I8, Values::F32(vec![1.0]));
    assert_eq!(found, "tensor `w`: expected a type for floating-point numbers, found INT8");
    let found = error(&[1], DataType::F16, Values::I64(vec![1]));
    assert_eq!(found, "tensor `w`: expected a type for integers, found FLOAT16");
    assert!(error(&[1 << 40, 1 << 40], DataType::F32, Values::F32(vec![])).contains("below 2^63"));
    let mut changed =
        TensorInfo::new("w", vec![2], DataType::F32, &Values::F32(vec![0.0; 2])).unwrap();
    changed.dims = vec![3];
    assert!(changed.encode(&[]).is_err());
}

#[test]
fn what_is_missing_is_said() {
    let new = NewModel {
        name: String::new(),
        opsets: vec![],
        inputs: vec![],
        outputs: vec![],
        nodes: vec![Node::default()],
        initializers: vec![],
        metadata: vec![],
    };
    assert!(new.to_bytes().unwrap_err().to_string().contains("name of its graph"));
    let new = NewModel { name: "g".to_owned(), ..new };
    assert!(new.to_bytes().unwrap_err().to_string().contains("version of ONNX's own operators"));
    let new = NewModel { opsets: vec![(String::new(), 17)], ..new };
    assert!(new.to_bytes().unwrap_err().to_string().contains("no operator"));
}
