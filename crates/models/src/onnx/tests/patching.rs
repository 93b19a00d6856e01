//! Edits change what they name, and every other byte stays.

use super::*;

/// The fields of a message, each with its key, told apart without the code under test.
fn split(mut bytes: &[u8]) -> Vec<&[u8]> {
    let number = |bytes: &[u8]| {
        let n = bytes.iter().position(|&byte| byte < 128).unwrap() + 1;
        (bytes[..n].iter().rev().fold(0, |sum, &byte| sum * 128 + usize::from(byte & 127)), n)
    };
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (key, start) = number(bytes);
        let (value, n) = if matches!(key & 7, 0 | 2) { number(&bytes[start..]) } else { (0, 0) };
        let length = match key & 7 {
            0 => n,
            1 => 8,
            2 => n + value,
            _ => 4,
        };
        let (field, rest) = bytes.split_at(start + length);
        fields.push(field);
        bytes = rest;
    }
    fields
}

/// What is behind key and length.
fn content(field: &[u8]) -> &[u8] {
    let ends: Vec<usize> = (0..field.len()).filter(|&i| field[i] < 128).take(2).collect();
    &field[ends[1] + 1..]
}

/// The content of the one field in which two messages differ, in both.
fn differing<'a>((old, new): (&'a [u8], &'a [u8])) -> (&'a [u8], &'a [u8]) {
    let (old, new) = (split(old), split(new));
    assert_eq!(old.len(), new.len());
    let differing: Vec<usize> = (0..old.len()).filter(|&i| old[i] != new[i]).collect();
    let &[i] = differing.as_slice() else { panic!("one field, not {differing:?}") };
    let key = old[i].iter().position(|&byte| byte < 128).unwrap();
    assert_eq!(old[i][..=key], new[i][..=key], "keys stay as they are spelled");
    (content(old[i]), content(new[i]))
}

/// The fields that only the first has, and those that only the second has; all others are in one order.
fn difference<'a>((old, new): (&'a [u8], &'a [u8])) -> (Vec<&'a [u8]>, Vec<&'a [u8]>) {
    let (old, new) = (split(old), split(new));
    let only = |of: &[&'a [u8]], other: &[&'a [u8]]| -> Vec<&'a [u8]> {
        of.iter().copied().filter(|field| !other.contains(field)).collect()
    };
    let (removed, added) = (only(&old, &new), only(&new, &old));
    let common = |of: &[&'a [u8]], gone: &[&'a [u8]]| -> Vec<&'a [u8]> {
        of.iter().copied().filter(|field| !gone.contains(field)).collect()
    };
    assert_eq!(common(&old, &removed), common(&new, &added));
    (removed, added)
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn set(name: &str, dims: &[usize], values: Values) -> Edit {
    Edit::SetTensor { name: text(name), dims: dims.to_vec(), values }
}

fn shape(name: &str, dims: &[Dimension]) -> Edit {
    Edit::SetShape { name: text(name), dims: dims.to_vec() }
}

fn patched(file: &[u8], edits: &[Edit]) -> Vec<u8> {
    let new = parse(file).patch(edits).unwrap();
    parse(&new);
    new
}

#[test]
fn without_change_the_bytes_stay() {
    for file in [SMALL, &odd().0] {
        let model = parse(file);
        let mut edits = Vec::new();
        assert!(model.patch(&edits).unwrap() == file);
        // Edits to what is there already.
        for (index, node) in model.nodes().iter().enumerate() {
            let (inputs, outputs) = (node.inputs.clone(), node.outputs.clone());
            let attributes = node.attributes.clone();
            edits.push(Edit::SetNode { index, inputs, outputs, attributes });
        }
        for value in model.inputs().iter().chain(model.value_infos()) {
            edits.push(shape(&value.name, value.dims().unwrap()));
        }
        let metadata = model.metadata().iter().rev().take(2);
        edits.extend(metadata.map(|(k, v)| Edit::SetMetadata { key: k.clone(), value: v.clone() }));
        let expected = if file == SMALL { file.to_vec() } else { once_a_key(file) };
        assert!(model.patch(&edits).unwrap() == expected);
    }
}

/// The odd file with one entry of the key that it has twice.
fn once_a_key(file: &[u8]) -> Vec<u8> {
    let fields = split(file);
    let a = Proto::default().bytes(2, "1").bytes(1, "a").unknown();
    let first = Proto::default().bytes(14, a).0;
    let new = Proto::default().bytes(14, Proto::default().bytes(2, "3").bytes(1, "a").unknown()).0;
    let last = Proto::default().bytes(14, Proto::default().bytes(2, "3").bytes(1, "a")).0;
    let kept = fields.into_iter().filter(|field| *field != last);
    kept.flat_map(|field| if field == first { new.clone() } else { field.to_vec() }).collect()
}

#[test]
fn a_tensor_keeps_all_but_dims_and_numbers() {
    let file = odd().0;
    let new = patched(&file, &[set("u", &[2, 2], Values::F32(vec![1.0, -1.0, 0.5, 0.0]))]);
    let (_, u) = differing(differing((&file, &new)));
    let expected = Proto::default()
        .bytes(9, raw(&[1.0, -1.0, 0.5, 0.0]))
        .bytes(8, "old name")
        .unknown()
        .long(8, "u")
        .int(1, 2)
        .int(1, 2)
        .int(2, 10)
        .int(2, 1)
        .bytes(12, "doc of u");
    assert_eq!(u, expected.0);
    let new = patched(&file, &[set("unused", &[], Values::I64(vec![-1]))]);
    let (_, unused) = differing(differing((&file, &new)));
    assert_eq!(unused, Proto::default().int(2, 7).bytes(8, "unused").bytes(9, [255; 8]).0);
    assert_eq!(tensor(&parse(&new), "unused").dims, [0usize; 0]);
}

#[test]
fn the_tensor_of_a_constant_and_its_declared_shape() {
    let file = odd().0;
    let new = patched(&file, &[set("c", &[1], Values::F32(vec![7.0]))]);
    let (_, value) = differing(differing(differing(differing((&file, &new)))));
    let expected = Proto::default().bytes(9, raw(&[7.0])).unknown().int(2, 1).int(1, 1);
    assert_eq!(value, expected.0);
    // In the other file the shape of the value is declared, and follows.
    let model = parse(patched(SMALL, &[set("c", &[3], Values::F32(vec![7.0; 3]))]));
    assert_eq!(model.value_infos()[0].dims().unwrap(), [Dimension::Known(3)]);
    let edits = [set("c", &[3], Values::F32(vec![7.0; 3])), shape("c", &[Dimension::Unknown])];
    assert_eq!(
        parse(patched(SMALL, &edits)).value_infos()[0].dims().unwrap(),
        [Dimension::Unknown]
    );
}

#[test]
fn data_types_stay() {
    let model = parse(SMALL);
    let mut edits = Vec::new();
    for t in model.initializers().iter().filter(|t| t.data_type != DataType::String) {
        let is_float = t.data_type.is_float();
        // 1 + 2⁻⁹ is a number of f16 and none of bf16.
        let values = if is_float { Values::F32(vec![1.001_953_1]) } else { Values::I64(vec![1]) };
        edits.push(Edit::SetTensor { name: t.name.clone(), dims: vec![1, 1], values });
    }
    let new = parse(model.patch(&edits).unwrap());
    for (old, new_tensor) in model.initializers().iter().zip(new.initializers()) {
        assert_eq!((&old.name, old.data_type), (&new_tensor.name, new_tensor.data_type));
        match old.data_type {
            DataType::String => {}
            DataType::BF16 => assert_eq!(f32s(&new, &old.name), [1.0]),
            kind if kind.is_float() => assert_eq!(f32s(&new, &old.name), [1.001_953_1], "{kind}"),
            kind => assert_eq!(i64s(&new, &old.name), [1], "{kind}"),
        }
    }
    assert_eq!(tensor(&new, "far").external, None);
    let far =
        differing(differing((SMALL, &patched(SMALL, &[set("far", &[1], Values::F32(vec![2.0]))]))))
            .1
            .to_vec();
    let fields: Vec<u8> = split(&far).iter().map(|field| field[0] >> 3).collect();
    assert_eq!(fields, [1, 2, 8, 9], "neither a location nor entries are left");
    let kinds = [
        set("i8", &[1], Values::F32(vec![1.0])),
        set("i8", &[1], Values::I64(vec![200])),
        set("f32", &[2], Values::F32(vec![1.0])),
    ];
    assert!(kinds.into_iter().all(|edit| model.patch(&[edit]).is_err()));
}

#[test]
fn tensors_come_and_go() {
    let file = odd().0;
    let v = TensorInfo::new("v", vec![2], DataType::I32, &Values::I64(vec![1, -1])).unwrap();
    let new = patched(&file, &[Edit::AddTensor(v.clone())]);
    let (removed, added) = difference(differing((&file, &new)));
    assert_eq!((removed.len(), added.len()), (0, 1));
    assert_eq!(i64s(&parse(&new), "v"), [1, -1]);
    let back = patched(&new, &[Edit::RemoveTensor { name: text("v") }]);
    // The length of the graph alone is spelled in another way now.
    let (old, new) = differing((&file, &back));
    assert_eq!(old, new);
    // Another data type in the place of an old tensor, in one go.
    let unused = TensorInfo { name: text("unused"), ..v };
    let edits = [Edit::RemoveTensor { name: text("unused") }, Edit::AddTensor(unused)];
    assert_eq!(tensor(&parse(patched(&file, &edits)), "unused").data_type, DataType::I32);
}

#[test]
fn inputs_that_declare_initializers_follow_in_old_files() {
    let w =
        |name: &str| Proto::default().int(1, 2).int(2, 1).bytes(8, name).bytes(9, raw(&[1.0, 2.0]));
    let declared =
        |name: &str| ValueInfo::tensor(name, DataType::F32, vec![Dimension::Known(2)]).encode();
    let graph = ["a", "b"]
        .iter()
        .fold(Proto::default(), |graph, name| graph.bytes(5, w(name)).bytes(11, declared(name)));
    let file = Proto::default().int(1, 3).bytes(7, graph).bytes(8, Proto::default().int(2, 9));
    let new = TensorInfo::new("new", vec![1], DataType::F32, &Values::F32(vec![0.0])).unwrap();
    let edits = [
        set("a", &[3], Values::F32(vec![0.0; 3])),
        Edit::RemoveTensor { name: text("b") },
        Edit::AddTensor(new),
    ];
    let model = parse(patched(&file.0, &edits));
    let one = |name: &str, n| ValueInfo::tensor(name, DataType::F32, vec![Dimension::Known(n)]);
    assert_eq!(model.inputs(), [one("a", 3), one("new", 1)]);
}

#[test]
fn a_node_keeps_all_but_what_is_named() {
    let file = odd().0;
    let gemm =
        |inputs: &[&str], outputs: &[&str], attributes: &[(&str, Attribute)]| Edit::SetNode {
            index: 1,
            inputs: inputs.iter().copied().map(text).collect(),
            outputs: outputs.iter().copied().map(text).collect(),
            attributes: attributes
                .iter()
                .map(|(name, value)| (text(name), value.clone()))
                .collect(),
        };
    let alpha = [("alpha", Attribute::Int(2))];
    let new = patched(&file, &[gemm(&["x", "u"], &["h"], &alpha)]);
    let (_, changed) = differing(differing(differing((&file, &new))));
    let expected =
        Proto::default().int(3, 2).int(20, 2).unknown().bytes(13, "doc").bytes(1, "alpha");
    assert_eq!(changed, expected.0);
    let new = patched(&file, &[gemm(&["x", "", "c"], &["h"], &[])]);
    let (removed, added) = difference(differing(differing((&file, &new))));
    assert_eq!(removed, [Proto::default().bytes(1, "u").0]);
    assert_eq!(added, [Proto::default().bytes(1, "").0, Proto::default().bytes(1, "c").0]);
    let added_attribute = [("new", Attribute::Strings(vec![text("a"), text("")]))];
    let model = parse(patched(&file, &[gemm(&[], &["p", "q"], &added_attribute)]));
    let node = &model.nodes()[1];
    assert_eq!((node.inputs.len(), node.outputs.join(",")), (0, text("p,q")));
    assert_eq!(node.attributes[2], (text("new"), added_attribute[0].1.clone()));
    let nothing = [gemm(&[], &[], &[("alpha", Attribute::Graph)])];
    assert!(parse(&file).patch(&nothing).unwrap_err().to_string().contains("`alpha`"));
}

#[test]
fn nodes_come_and_go() {
    let file = odd().0;
    let value = parse(&file).nodes()[0].attributes.clone();
    let node =
        |name: &str| Node { op_type: text(name), attributes: value.clone(), ..Node::default() };
    let insert = |before, name| Edit::InsertNode { before, node: node(name) };
    let edits = [
        insert(3, "F"),
        insert(1, "B"),
        Edit::RemoveNode { index: 2 },
        insert(0, "A"),
        insert(1, "C"),
        insert(2, "D"),
    ];
    let new = patched(&file, &edits);
    let model = parse(&new);
    let ops: Vec<&str> = model.nodes().iter().map(|node| node.op_type.as_str()).collect();
    assert_eq!(ops, ["A", "Constant", "B", "C", "Gemm", "D", "F"]);
    let Some(Attribute::Tensor(tensor)) = model.nodes()[0].attribute("value") else {
        panic!("a tensor")
    };
    assert_eq!(model.f32_values(tensor, &mut no_external).unwrap(), [0.5, 1.5]);
    let (removed, added) = difference(differing((&file, &new)));
    assert_eq!((removed.len(), added.len()), (1, 5));
    // A tensor of another file is refused.
    assert!(parse(SMALL).patch(&[insert(0, "A")]).is_err());
}

#[test]
fn shapes_and_values() {
    let file = odd().0;
    let dims = [Dimension::Named(text("batch")), Dimension::Known(5)];
    let new = patched(&file, &[shape("x", &dims)]);
    let path = differing(differing(differing(differing((&file, &new)))));
    let (old, new) = differing(path);
    let batch = Proto::default().bytes(2, "batch").bytes(3, "denotation");
    assert_eq!(
        new,
        Proto::default().bytes(1, batch).unknown().bytes(1, Proto::default().int(1, 5)).0
    );
    assert_ne!(old, new);
    // One that had no shape, and another rank.
    let longer = [&dims[..], &[Dimension::Unknown]].concat();
    let model = parse(patched(&file, &[shape("y", &dims), shape("h", &[]), shape("x", &longer)]));
    assert_eq!(model.outputs()[0].dims().unwrap(), dims);
    assert_eq!(model.value_infos()[0].dims().unwrap(), []);
    assert_eq!(model.inputs()[0].dims().unwrap(), longer);
    let new = patched(&file, &[Edit::RemoveValueInfo { name: text("h") }]);
    let (removed, added) = difference(differing((&file, &new)));
    assert_eq!((removed.len(), added.len(), parse(&new).value_infos().len()), (1, 0, 0));
    assert!(
        parse(SMALL)
            .patch(&[shape("z", &dims)])
            .unwrap_err()
            .to_string()
            .contains("no tensor type")
    );
}

#[test]
fn metadata() {
    let file = odd().0;
    let entry = |key: &str, value: &str| Edit::SetMetadata { key: text(key), value: text(value) };
    let new = patched(&file, &[entry("b", "ü"), entry("new", "")]);
    let (removed, added) = difference((&file, &new));
    assert_eq!((removed.len(), added.len()), (1, 2));
    let pair = |key: &str, value: &str| (text(key), text(value));
    let expected = [pair("a", "1"), pair("b", "ü"), pair("a", "3"), pair("new", "")];
    assert_eq!(parse(&new).metadata(), expected);
}

#[test]
fn edits_of_nothing_and_of_the_same_part_are_refused() {
    let model = parse(odd());
    let error = |edits: &[Edit]| model.patch(edits).unwrap_err().to_string();
    let one = || Values::F32(vec![1.0]);
    assert_eq!(
        error(&[set("no", &[1], one())]),
        "the ONNX file has no initializer or Constant node with a tensor for `no`"
    );
    assert_eq!(
        error(&[Edit::RemoveNode { index: 3 }]),
        "node 3 is out of range: the ONNX file has 3, counted from 0"
    );
    assert!(
        error(&[Edit::InsertNode { before: 4, node: Node::default() }]).contains("out of range")
    );
    assert!(
        error(&[Edit::InsertNode { before: 0, node: Node::default() }]).contains("no operator")
    );
    assert!(error(&[Edit::RemoveTensor { name: text("no") }]).contains("no initializer `no`"));
    assert!(error(&[Edit::RemoveValueInfo { name: text("x") }]).contains("`x`"));
    assert!(error(&[shape("no", &[])]).contains("`no`"));
    let twice = [
        [set("u", &[1], one()), set("u", &[1], one())],
        [set("u", &[1], one()), Edit::RemoveTensor { name: text("u") }],
        [set("c", &[1], one()), Edit::RemoveNode { index: 0 }],
        [shape("x", &[]), shape("x", &[])],
        [Edit::RemoveNode { index: 1 }, Edit::RemoveNode { index: 1 }],
    ];
    assert!(twice.iter().all(|edits| error(edits).ends_with("is edited twice")));
    let u = || Edit::AddTensor(TensorInfo::new("u", vec![], DataType::F32, &one()).unwrap());
    assert_eq!(error(&[u()]), "initializer `u` is there twice");
    assert_eq!(
        error(&[Edit::RemoveTensor { name: text("u") }, u(), u()]),
        "initializer `u` is there twice"
    );
}
