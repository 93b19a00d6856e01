//! Damaged files: an error or a file with less in it, never a panic, and no memory beyond what the file explains.

use core_tensors::Rng;

use super::*;

/// Reads all that there is to read, changes what can be changed, and reads that again.
fn exercise(bytes: &[u8]) {
    let is_onnx = looks_like_onnx(bytes);
    let model = match Model::parse(bytes.to_vec()) {
        Ok(model) => model,
        Err(error) => {
            let text = error.to_string();
            assert!(text.chars().count() < 400 && !text.contains(char::is_control), "{text}");
            assert_eq!(matches!(error, Error::NotOnnx { .. }), !is_onnx);
            return;
        }
    };
    assert!(model.patch(&[]).unwrap() == bytes);
    let mut edits = vec![Edit::SetMetadata { key: "k".to_owned(), value: "v".to_owned() }];
    let far = &mut |_: &str, _, _| Ok(vec![0; 8]);
    for tensor in model.initializers() {
        let floats = model.f32_values(tensor, far);
        let ints = model.i64_values(tensor, far);
        let _ = model.string_values(tensor);
        if let Ok(values) = floats.map(Values::F32).or(ints.map(Values::I64)) {
            let (name, dims) = (tensor.name.clone(), tensor.dims.clone());
            edits.push(Edit::SetTensor { name, dims, values });
        }
    }
    for (index, node) in model.nodes().iter().enumerate() {
        let (inputs, outputs) = (vec![], node.inputs.clone());
        let attributes = vec![("i".to_owned(), Attribute::Ints(vec![1]))];
        edits.push(Edit::SetNode { index, inputs, outputs, attributes });
    }
    if let Some(value) = model.inputs().first().filter(|value| value.data_type().is_some()) {
        edits.push(Edit::SetShape { name: value.name.clone(), dims: vec![Dimension::Known(1)] });
    }
    if let Ok(patched) = model.patch(&edits) {
        Model::parse(patched).unwrap();
    }
}

#[test]
fn cut_short_at_every_byte() {
    for whole in [SMALL, &odd().0] {
        for end in 0..whole.len() {
            exercise(&whole[..end]);
        }
    }
}

#[test]
fn every_byte_changed() {
    for whole in [SMALL, &odd().0] {
        for at in 0..whole.len() {
            let old = whole[at];
            for new in [0, 1, 0x7f, 0x80, 0xff, old ^ 1, old ^ 0x80, old.wrapping_add(1)] {
                let mut bytes = whole.to_vec();
                bytes[at] = new;
                exercise(&bytes);
            }
        }
    }
}

#[test]
fn random_damage() {
    let mut rng = Rng::new(16);
    let mut draw = |n: usize| ((rng.uniform() * n as f64) as usize).min(n - 1);
    for whole in [SMALL, &odd().0] {
        for _ in 0..4000 {
            let mut bytes = whole.to_vec();
            for _ in 0..=draw(3) {
                let (from, to) = (draw(bytes.len()), draw(bytes.len()));
                match draw(3) {
                    0 => bytes[from] = draw(256) as u8,
                    1 => drop(bytes.drain(from..(from + draw(9)).min(bytes.len()))),
                    _ => {
                        let piece = bytes[from..(from + draw(40)).min(bytes.len())].to_vec();
                        bytes.splice(to..to, piece);
                    }
                }
            }
            exercise(&bytes);
        }
    }
}

#[test]
fn huge_sizes_are_errors_at_once() {
    let huge = 1i64 << 60;
    // A length without its bytes, in the file, the graph, a node, an attribute, a tensor and packed numbers.
    let mut cut = Proto::default().0;
    cut.extend(varint(9 << 3 | 2));
    cut.extend(varint(huge as u64));
    let attribute = |content: &[u8]| Proto::default().bytes(1, "t").bytes(5, content).int(20, 4);
    let node = |content: &[u8]| Proto::default().bytes(4, "Constant").bytes(5, content);
    let file = |graph: Proto| {
        Proto::default().int(1, 8).bytes(7, graph).bytes(8, Proto::default().int(2, 17))
    };
    let nested = [
        Proto([odd().0, cut.clone()].concat()),
        file(Proto(cut.clone())),
        file(Proto::default().bytes(5, &cut)),
        file(Proto::default().bytes(1, &cut)),
        file(Proto::default().bytes(1, node(&cut))),
        file(Proto::default().bytes(1, node(&attribute(&cut).0))),
    ];
    for file in nested {
        let error = Model::parse(file.0).unwrap_err();
        assert!(
            matches!(error, Error::CutShort { expected, .. } if expected == 1 << 60),
            "{error}"
        );
    }
    // Dims that no memory holds, also where another dimension is 0.
    let w = || Proto::default().bytes(8, "w").int(2, 1);
    for dims in [[huge, huge], [huge, 0], [0, huge], [-1, 1], [i64::MIN, 1], [1 << 31, 1 << 31]] {
        let tensor = w().int(1, dims[0]).int(1, dims[1]);
        let error = Model::parse(holding(&[tensor]).0).unwrap_err();
        assert!(matches!(error, Error::Dimension { .. }), "{error}");
    }
    // Dims that some memory would hold, without the numbers.
    let many = 1 << 40;
    let model =
        parse(holding(&[w().int(1, many).bytes(9, [0; 4]), w().int(1, many).bytes(8, "v")]));
    for tensor in model.initializers() {
        let error = model.f32_values(tensor, &mut no_external).unwrap_err();
        assert!(matches!(error, Error::Size { .. }), "{error}");
    }
}

#[test]
fn an_index_does_not_outgrow_its_file() {
    // A few bytes each in the file, many times that in memory.
    let graph = |field: Proto| Proto(field.0.into_iter().cycle().take(5 << 18).collect());
    let small = Proto::default().bytes(4, "A");
    let many = [1, 5].map(|number| graph(Proto::default().bytes(number, &small)));
    let long =
        Proto::default().bytes(1, Proto::default().bytes(4, "A").bytes(1, vec![b'x'; 1 << 20]));
    let file = |graph: &Proto| {
        let opset = Proto::default().int(2, 17);
        Proto::default().int(1, 8).bytes(7, graph).bytes(8, opset)
    };
    for graph in many {
        let error = Model::parse(file(&graph).0).unwrap_err();
        assert!(matches!(error, Error::TooManyParts { .. }), "{error}");
    }
    // One long name is no many parts.
    assert_eq!(parse(file(&long)).nodes()[0].inputs[0].len(), 1 << 20);
    let metadata = graph(Proto::default().bytes(14, ""));
    let error = Model::parse([odd().0, metadata.0].concat()).unwrap_err();
    assert!(matches!(error, Error::TooManyParts { .. }), "{error}");
}

#[test]
fn names_in_messages_are_cut_and_escaped() {
    let name = "x\u{1b}[31m\n".repeat(1000);
    let tensor = Proto::default().bytes(8, &name).int(1, -5);
    let text = message(holding(&[tensor]));
    assert!(text.chars().count() < 250 && !text.contains(char::is_control), "{text}");
    let node = Proto::default()
        .bytes(4, "Op")
        .bytes(5, Proto::default().bytes(1, &name).int(3, 1).int(20, 1));
    let graph = Proto::default().bytes(1, node);
    let text = message(Proto::default().int(1, 8).bytes(7, graph));
    assert!(
        text.chars().count() < 250 && text.contains("node 0") && !text.contains(char::is_control),
        "{text}"
    );
}
