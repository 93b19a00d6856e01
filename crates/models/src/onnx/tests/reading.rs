//! What is read from files: one of the onnx package, and one with spellings that protobuf allows.

use super::*;
use crate::onnx::check_location;

/// The four bytes in front, and [0.25, −8].
fn far(location: &str, offset: u64, length: usize) -> std::result::Result<Vec<u8>, ExternalError> {
    assert_eq!((location, offset, length), ("sub/far.bin", 4, 8));
    Ok(raw(&[0.25, -8.0]))
}

#[test]
fn a_file_of_the_onnx_package() {
    let model = parse(SMALL);
    assert_eq!((model.ir_version(), model.opset()), (8, 17));
    assert_eq!(
        (model.opset_of("ai.onnx"), model.opset_of("own"), model.opset_of("o")),
        (Some(17), Some(2), None)
    );
    assert_eq!((model.producer(), model.graph_name()), (("hand", "1"), "small"));
    let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(model.metadata(), [entry("key", "value"), entry("other", "thing")]);
    let [constant, foo] = model.nodes() else { panic!("two nodes") };
    assert_eq!(
        (constant.op_type.as_str(), constant.outputs.join(",")),
        ("Constant", "c".to_owned())
    );
    assert_eq!(
        (foo.name.as_str(), foo.op_type.as_str(), foo.domain.as_str()),
        ("foo", "Foo", "own")
    );
    assert_eq!((foo.inputs.join(","), foo.outputs.join(",")), ("x,".to_owned(), "y,z".to_owned()));
    let attribute = |name| foo.attribute(name).unwrap().clone();
    let text = |text: &str| text.to_owned();
    assert_eq!(attribute("i"), Attribute::Int(-7));
    assert_eq!(attribute("f"), Attribute::Float(0.5));
    assert_eq!(attribute("s"), Attribute::String(text("text")));
    assert_eq!(attribute("ints"), Attribute::Ints(vec![1, -2]));
    assert_eq!(attribute("floats"), Attribute::Floats(vec![1.5, -2.5]));
    assert_eq!(attribute("strings"), Attribute::Strings(vec![text("a"), text("b")]));
    assert_eq!((attribute("bytes"), attribute("body")), (Attribute::Other(3), Attribute::Graph));
    let Attribute::Tensor(t) = attribute("t") else { panic!("a tensor") };
    assert_eq!(
        (t.dims.as_slice(), model.i64_values(&t, &mut no_external).unwrap()),
        ([1].as_slice(), vec![5])
    );
    let dims = [Dimension::Named(text("batch")), Dimension::Known(3), Dimension::Unknown];
    assert_eq!(model.inputs(), [ValueInfo::tensor("x", DataType::F32, dims.to_vec())]);
    let [y, z] = model.outputs() else { panic!("two outputs") };
    assert_eq!((y.data_type(), y.dims()), (Some(DataType::F32), None));
    assert_eq!(z.value_type, ValueType::Other("sequence"));
    assert_eq!(model.value_infos()[0].dims().unwrap(), [Dimension::Known(1), Dimension::Known(2)]);
}

#[test]
fn numbers_of_every_type_typed_and_raw() {
    let model = parse(SMALL);
    for (name, last) in [("f32", 65504.0), ("f64", 65504.0), ("f16", 65504.0), ("bf16", 65536.0)] {
        assert_eq!(f32s(&model, name), [0.5, -1.25, last], "{name}");
        assert_eq!(f32s(&model, &format!("{name}_raw")), [0.5, -1.25, last], "{name}");
    }
    let ranges = [
        ("i8", i8::MIN.into(), i8::MAX.into()),
        ("i16", i16::MIN.into(), i16::MAX.into()),
        ("i32", i32::MIN.into(), i32::MAX.into()),
        ("i64", i64::MIN, i64::MAX),
        ("u8", 0, u8::MAX.into()),
        ("u16", 0, u16::MAX.into()),
        ("u32", 0, u32::MAX.into()),
        ("u64", 0, i64::MAX),
        ("bool", 1, 0),
    ];
    for (name, first, second) in ranges {
        assert_eq!(i64s(&model, name), [first, second], "{name}");
        assert_eq!(i64s(&model, &format!("{name}_raw")), [first, second], "{name}");
    }
    assert_eq!(model.string_values(tensor(&model, "text")).unwrap(), ["ab", ""]);
    assert_eq!(tensor(&model, "none").dims, [0, 3]);
    assert!(f32s(&model, "none").is_empty() && f32s(&model, "none_raw").is_empty());
    let external = tensor(&model, "far");
    let place = external.external.as_ref().unwrap();
    assert_eq!((place.location.as_str(), place.offset, place.length), ("sub/far.bin", 4, Some(8)));
    assert_eq!(model.f32_values(external, &mut far).unwrap(), [0.25, -8.0]);
    let too_few = &mut |_: &str, _, _| Ok(vec![0; 7]);
    let error = model.f32_values(external, too_few).unwrap_err().to_string();
    assert_eq!(error, "tensor `far`: dims [2] need 8 bytes, found 7");
    let error = model.f32_values(external, &mut no_external).unwrap_err().to_string();
    assert!(error.contains("`far`") && error.contains("`sub/far.bin`"), "{error}");
    let error = model.f32_values(tensor(&model, "i8"), &mut no_external).unwrap_err().to_string();
    assert_eq!(error, "tensor `i8`: expected floating-point numbers, found INT8");
}

#[test]
fn odd_spellings_mean_the_same() {
    let model = parse(odd());
    assert_eq!((model.ir_version(), model.opset(), model.producer().0), (8, 17, "odd"));
    let ops: Vec<&str> = model.nodes().iter().map(|node| node.op_type.as_str()).collect();
    assert_eq!(ops, ["Constant", "Gemm", "Relu"]);
    let gemm = &model.nodes()[1];
    assert_eq!(gemm.inputs.join(","), "x,u");
    assert_eq!(gemm.attribute("alpha"), Some(&Attribute::Float(1.0)));
    assert_eq!(gemm.attribute("axes"), Some(&Attribute::Ints(vec![5, 6, -7, 8])));
    assert_eq!(tensor(&model, "u").dims, [3, 2]);
    assert_eq!(f32s(&model, "u"), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(i64s(&model, "unused"), [-3, 4]);
    let Some(Attribute::Tensor(value)) = model.nodes()[0].attribute("value") else {
        panic!("a tensor")
    };
    assert_eq!(model.f32_values(value, &mut no_external).unwrap(), [0.5, 1.5]);
    assert_eq!(model.inputs()[0].dims().unwrap()[1], Dimension::Known(2));
    assert_eq!(model.value_infos()[0].dims().unwrap(), [Dimension::Unknown, Dimension::Known(3)]);
}

#[test]
fn dimensions_below_zero_are_unknown() {
    // As some exporters write them.
    let shape = Proto::default().bytes(1, Proto::default().int(1, -1));
    let tensor = Proto::default().int(1, 1).bytes(2, shape);
    let x = Proto::default().bytes(1, "x").bytes(2, Proto::default().bytes(1, tensor));
    let graph = Proto::default().bytes(11, x);
    let file = Proto::default().int(1, 8).bytes(7, graph).bytes(8, Proto::default().int(2, 17));
    assert_eq!(parse(file).inputs()[0].dims().unwrap(), [Dimension::Unknown]);
}

#[test]
fn parts_that_are_not_read_are_named() {
    let named = |number| odd().bytes(number, Proto::default().bytes(1, "mine"));
    assert_eq!(
        message(named(25)),
        "ONNX files with local functions are not supported, found `mine`"
    );
    assert!(message(named(20)).contains("training information"));
    let sparse = Proto::default().bytes(1, Proto::default().bytes(8, "sparse one"));
    let graph = Proto::default().bytes(15, sparse);
    let file = Proto::default().int(1, 8).bytes(7, graph).bytes(8, Proto::default().int(2, 17));
    assert_eq!(
        message(file),
        "ONNX files with sparse initializers are not supported, found `sparse one`"
    );
}

#[test]
fn messages_in_two_parts_are_refused() {
    let graph = Proto::default().bytes(2, "second");
    assert!(message(odd().bytes(7, graph)).starts_with("ModelProto has field 7 twice"));
    let t = Proto::default().int(2, 1);
    let attribute = Proto::default().bytes(1, "t").bytes(5, &t).bytes(5, &t);
    let node = Proto::default().bytes(4, "Constant").bytes(5, attribute);
    let file = Proto::default().int(1, 8).bytes(7, Proto::default().bytes(1, node));
    assert!(
        message(file.bytes(8, Proto::default().int(2, 17)))
            .contains("AttributeProto has field 5 twice")
    );
}

#[test]
fn numbers_must_be_as_many_as_the_dims_say() {
    let named = |name: &str, kind| Proto::default().bytes(8, name).int(2, kind);
    let file = holding(&[
        named("short", 1).int(1, 3).bytes(9, raw(&[1.0, 2.0])),
        named("typed", 1).int(1, 3).bytes(4, raw(&[1.0])),
        named("both", 1).int(1, 1).bytes(4, raw(&[1.0])).bytes(9, raw(&[1.0])),
        named("empty", 1).int(1, 2),
        named("large", 2).int(1, 1).int(5, 256),
        named("u64", 13).int(1, 1).int(11, -1),
        named("uneven", 1).int(1, 1).bytes(4, [0; 5]),
        named("f16", 10).int(1, 1).int(5, 1 << 16),
        named("complex", 14).int(1, 1).bytes(9, [0; 8]),
        named("scalar", 1).bytes(9, raw(&[3.0])),
    ]);
    let model = parse(file);
    let float = |name| model.f32_values(tensor(&model, name), &mut no_external);
    let text = |name| float(name).unwrap_err().to_string();
    assert_eq!(text("short"), "tensor `short`: dims [3] need 12 bytes, found 8");
    assert_eq!(text("typed"), "tensor `typed`: dims [3] need 3 numbers, found 1");
    assert_eq!(text("empty"), "tensor `empty`: dims [2] need 2 numbers, found 0");
    assert!(text("both").contains("raw_data and in a typed field"));
    assert!(text("f16").contains("more than 16 bits"));
    assert!(text("uneven").contains("packed 32-bit numbers"));
    assert_eq!(
        text("complex"),
        "tensor `complex`: expected floating-point numbers, found data type 14"
    );
    assert_eq!(float("scalar").unwrap(), [3.0]);
    let int =
        |name| model.i64_values(tensor(&model, name), &mut no_external).unwrap_err().to_string();
    assert_eq!(int("large"), "tensor `large`: number 0 is 256, which UINT8 does not hold");
    assert_eq!(
        int("u64"),
        "tensor `u64`: number 0 is 18446744073709551615, which UINT64 does not hold"
    );
}

#[test]
fn external_data_stay_in_the_folder() {
    for location in ["far.bin", "sub/far.bin", "./far", "..far", "a..b/c", "données.bin"] {
        check_location(location).unwrap();
    }
    let outside = [
        "",
        ".",
        "/etc/passwd",
        "../far",
        "a/../../far",
        "a/..",
        "C:far",
        "C:/far",
        "a\\far",
        "..\\far",
        "a\0",
        "file://far",
        "./",
        "//host/far",
    ];
    for location in outside {
        assert!(check_location(location).is_err(), "{location:?}");
        let entry = Proto::default().bytes(1, "location").bytes(2, location);
        let tensor = Proto::default().bytes(8, "w").int(1, 1).int(2, 1).int(14, 1).bytes(13, entry);
        assert!(message(holding(&[tensor])).starts_with("external data at "));
    }
    let entry = |key: &str, value: &str| Proto::default().bytes(1, key).bytes(2, value);
    let placed = |offset, length| {
        let tensor = Proto::default().bytes(8, "w").int(1, 1).int(2, 1).int(14, 1);
        let tensor = tensor.bytes(13, entry("location", "a")).bytes(13, entry("offset", offset));
        holding(&[tensor.bytes(13, entry("length", length))])
    };
    assert!(message(placed("18446744073709551615", "4")).contains("exceed every file"));
    assert!(message(placed("-1", "4")).contains("no number"));
    let model = parse(placed("0", "5"));
    let error = model
        .f32_values(tensor(&model, "w"), &mut |_: &str, _, _| panic!("not asked"))
        .unwrap_err();
    assert_eq!(error.to_string(), "tensor `w`: dims [1] need 4 bytes, found 5");
}

#[test]
fn other_files_are_told_apart() {
    let safetensors = [b"\x08\0\0\0\0\0\0\0{}      ".as_slice(), &[0; 8]].concat();
    let others: [(&[u8], &str); 9] = [
        (b"", "empty"),
        (b"PK\x03\x04 and more", "zip"),
        (&safetensors, "safetensors"),
        (b"\x80\x02}q\0.", "pickle"),
        (b"label,pixel\n1,2\n", "text"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"\"a\",\"b\"\n", "text"),
        (&[0xff; 100], "no ONNX graph"),
    ];
    for (bytes, what) in others {
        assert!(!looks_like_onnx(bytes), "{what}");
        let message = message(bytes);
        assert!(message.starts_with("not an ONNX file: ") && message.contains(what), "{message}");
    }
    for whole in [SMALL.to_vec(), odd().0] {
        assert!(looks_like_onnx(&whole));
        // From its first two fields on, a file that is cut short is told from other files.
        assert!((4..whole.len()).all(|end| looks_like_onnx(&whole[..end])));
    }
}
