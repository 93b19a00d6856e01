//! ONNX files in every command that takes a network, and networks written as ONNX files and state dicts.

mod files;

use std::path::{Path, PathBuf};

use files::{
    Numbers, TestResult, close, distill, failure, file, posterior, refused, success, word,
};
use models::onnx::{
    Attribute, DataType, Dimension, Edit, ExportOptions, Model, NewModel, Node, TensorInfo,
    ValueInfo, Values, export,
};
use models::{Architecture, Cnn, Convolution};

fn node(op: &str, inputs: &[&str], output: &str) -> Node {
    Node {
        name: format!("{output}_node"),
        op_type: op.to_owned(),
        inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
        outputs: vec![output.to_owned()],
        ..Node::default()
    }
}

fn tensor(name: &str, dims: &[usize], values: Vec<f32>) -> models::onnx::Result<TensorInfo> {
    TensorInfo::new(name, dims.to_vec(), DataType::F32, &Values::F32(values))
}

fn value(name: &str, n: usize) -> ValueInfo {
    let dims = vec![Dimension::Named("batch".to_owned()), Dimension::Known(n)];
    ValueInfo::tensor(name, DataType::F32, dims)
}

/// Scaled inputs, two layers as exporters of scikit-learn spell them, and a softmax behind: x − 1 and a half of it.
fn classifier() -> models::onnx::Result<NewModel> {
    let mut softmax = node("Softmax", &["scores"], "probabilities");
    softmax.attributes = vec![("axis".to_owned(), Attribute::Int(1))];
    Ok(NewModel {
        name: "classifier".to_owned(),
        opsets: vec![(String::new(), 17)],
        inputs: vec![value("x", 2)],
        outputs: vec![value("probabilities", 2)],
        nodes: vec![
            node("Sub", &["x", "one"], "moved"),
            node("Mul", &["moved", "half"], "scaled"),
            node("MatMul", &["scaled", "w1"], "sum1"),
            node("Add", &["sum1", "b1"], "z1"),
            node("Relu", &["z1"], "h1"),
            node("MatMul", &["h1", "w2"], "sum2"),
            node("Add", &["sum2", "b2"], "scores"),
            softmax,
        ],
        initializers: vec![
            tensor("one", &[], vec![1.0])?,
            tensor("half", &[], vec![0.5])?,
            // (inputs, outputs)
            tensor("w1", &[2, 3], vec![1.0, -2.0, 0.5, 4.0, 0.25, -1.0])?,
            tensor("b1", &[3], vec![0.5, 1.0, -0.5])?,
            tensor("w2", &[3, 2], vec![1.0, -1.0, 0.5, 2.0, -0.5, 0.25])?,
            tensor("b2", &[2], vec![0.125, -0.25])?,
        ],
        metadata: vec![],
    })
}

fn written(
    folder: &Path,
    name: &str,
    model: &NewModel,
) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let path = folder.join(name);
    std::fs::write(&path, model.to_bytes()?)?;
    Ok(path)
}

/// The same network by hand: U (x − 1)/2 + b is U/2 x + (b − U 1/2).
const BLOCKS: [&[f64]; 2] = [
    &[0.5, 2.0, -2.0, -1.0, 0.125, 1.875, 0.25, -0.5, -0.25],
    &[1.0, 0.5, -0.5, 0.125, -1.0, 2.0, 0.25, -0.25],
];

const LAPLACE: [&str; 6] =
    ["--task", "classification", "--method", "laplace", "--structure", "full"];

#[test]
fn a_classifier_of_another_program_has_a_posterior() -> TestResult {
    let folder = tempfile::tempdir()?;
    let model = written(folder.path(), "model.onnx", &classifier()?)?;
    let data = folder.path().join("data.csv");
    std::fs::write(&data, "a,b,class\n1,2,0\n2,0.5,1\n-1,-1,1\n3,1,0\n")?;
    let out = folder.path().join("p.safetensors");
    let common = ["posterior", word(&model), "--data", word(&data), "--out", word(&out)];
    let output = distill(&[&common[..], &LAPLACE].concat())?;
    let said = String::from_utf8(output.stderr)?;
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("logits: `scores` (input of the Softmax before output `probabilities`)"),
        "{said}"
    );
    let (header, tensors) = posterior(&out)?;
    assert_eq!(header["widths"], serde_json::json!([2, 3, 2]));
    close(&tensors["mean"], &BLOCKS.concat());

    // A state dict of the same network has the same posterior, bit for bit.
    let weights = [
        ("0.weight", &[3, 2][..], Numbers::F64(vec![0.5, 2.0, -1.0, 0.125, 0.25, -0.5])),
        ("0.bias", &[3], Numbers::F64(vec![-2.0, 1.875, -0.25])),
        ("2.weight", &[2, 3], Numbers::F64(vec![1.0, 0.5, -0.5, -1.0, 2.0, 0.25])),
        ("2.bias", &[2], Numbers::F64(vec![0.125, -0.25])),
    ];
    let dict = folder.path().join("model.safetensors");
    std::fs::write(&dict, file(None, &weights))?;
    let other = folder.path().join("q.safetensors");
    let common = ["posterior", word(&dict), "--data", word(&data), "--out", word(&other)];
    success(&[&common[..], &LAPLACE].concat())?;
    assert_eq!(posterior(&other)?.1["covariance"], tensors["covariance"]);
    Ok(())
}

#[test]
fn networks_go_to_onnx_and_to_state_dicts_and_open_again() -> TestResult {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let model = written(folder.path(), "model.onnx", &classifier()?)?;
    let (dict, again) = (at("weights.safetensors"), at("again.onnx"));
    success(&["convert", word(&model), "--out", word(&dict)])?;
    let told = success(&["convert", word(&dict), "--out", word(&again)])?;
    assert!(told.contains("an ONNX file, 17 parameters"), "{told}");
    let text = success(&["inspect", word(&again)])?;
    for part in ["layers.0", "[N, 3]", "distill.parent", "in all", "17"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Three formats, one posterior.
    let data = at("data.csv");
    std::fs::write(&data, "a,b,class\n1,2,0\n2,0.5,1\n-1,-1,1\n3,1,0\n")?;
    let mut covariances = Vec::new();
    for (i, network) in [&model, &dict, &again].into_iter().enumerate() {
        let out = at(&format!("p{i}.safetensors"));
        let common = ["posterior", word(network), "--data", word(&data), "--out", word(&out)];
        success(&[&common[..], &LAPLACE].concat())?;
        covariances.push(posterior(&out)?.1["covariance"].clone());
    }
    close(&covariances[1], &covariances[0]);
    close(&covariances[2], &covariances[0]);
    // A student is a network too.
    let (student, onnx) = (at("student.safetensors"), at("student.onnx"));
    let teacher = at("p0.safetensors");
    let transform = ["transform", "--posterior", word(&teacher), "--remove-units", "1:2"];
    success(&[&transform[..], &["--out", word(&student)]].concat())?;
    success(&["convert", word(&student), "--out", word(&onnx)])?;
    assert!(success(&["inspect", word(&onnx)])?.contains("[N, 2]"));
    // An ONNX file stays as it is, but for the line about its origin.
    let copy = at("copy.onnx");
    success(&["convert", word(&model), "--out", word(&copy)])?;
    let before = Model::parse(std::fs::read(&model)?)?;
    let (key, value) = Model::parse(std::fs::read(&copy)?)?.metadata()[0].clone();
    assert_eq!((key.as_str(), value.len()), ("distill.parent", 64));
    assert_eq!(before.patch(&[Edit::SetMetadata { key, value }])?, std::fs::read(&copy)?);
    Ok(())
}

#[test]
fn a_convolutional_network_is_drawn_and_judges_but_has_no_posterior() -> TestResult {
    let folder = tempfile::tempdir()?;
    let network = Cnn {
        input: [1, 6, 6],
        convolutions: vec![Convolution { channels: 2, kernel: 3 }],
        is_averaged: false,
        dense: vec![3],
        bias: true,
    };
    let device = candle_core::Device::Cpu;
    let w = network.init(&mut core_tensors::Rng::new(0), &device)?;
    let (graph, params) = network.to_graph(&w)?;
    let path = folder.path().join("cnn.onnx");
    std::fs::write(&path, export(&graph, &params, &ExportOptions::default())?)?;
    let text = success(&["inspect", word(&path)])?;
    // (9 + 1) · 2 and 8 · 3 + 3 parameters; 4 · 4 · 2 · 9 and 8 · 3 products.
    for part in ["Conv", "[N, 1, 6, 6]", "288", "27", "47", "312"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let data = folder.path().join("data.csv");
    let row: Vec<String> = (0..36).map(|i| format!("0.{i}")).collect();
    let rows: Vec<String> = (0..6).map(|i| format!("{},{}", row.join(","), i % 3)).collect();
    std::fs::write(&data, rows.join("\n"))?;
    let out = folder.path().join("p.safetensors");
    let common = ["posterior", word(&path), "--data", word(&data), "--out", word(&out)];
    refused(&[&common[..], &LAPLACE].concat(), "not a perceptron: node")?;
    let mapped = folder.path().join("mapped");
    let map = ["map", "--kind", "identity", "--data", word(&data), "--teacher", word(&path)];
    let target = ["--target", "37", "--header", "no", "--out", word(&mapped)];
    let told = success(&[&map[..], &target].concat())?;
    assert!(told.contains("teacher's accuracy through φ"), "{told}");
    Ok(())
}

#[test]
fn what_a_file_leaves_open_is_an_error_and_an_option() -> TestResult {
    let folder = tempfile::tempdir()?;
    let mut two = classifier()?;
    two.outputs.push(value("h1", 3));
    let model = written(folder.path(), "two.onnx", &two)?;
    let out = folder.path().join("out.safetensors");
    let convert = ["convert", word(&model), "--out", word(&out)];
    refused(
        &convert,
        "several tensors may hold the logits: `h1`, `scores`; choose one with --output NAME",
    )?;
    success(&[&convert[..], &["--output", "scores"]].concat())?;
    refused(&[&convert[..], &["--output", "nobody"]].concat(), "the file has no tensor `nobody`")?;
    let mut open = classifier()?;
    let dims = [Dimension::Named("batch".into()), Dimension::Named("features".into())];
    open.inputs = vec![ValueInfo::tensor("x", DataType::F32, dims.to_vec())];
    let model = written(folder.path(), "open.onnx", &open)?;
    let convert = ["convert", word(&model), "--out", word(&out)];
    refused(&convert, "--dim features=SIZE")?;
    success(&[&convert[..], &["--dim", "features=2"]].concat())?;
    refused(&[&convert[..], &["--dim", "features=3"]].concat(), "(MatMul)")?;
    // Words of one kind of file beside the other.
    refused(&[&convert[..], &["--layers", "a,b"]].concat(), "--layers: expected a state dict")?;
    refused(&["inspect", word(&model), "--layers", "a,b"], "--layers: expected a state dict")?;
    refused(&["inspect", word(&model), "--output", "nobody"], "the file has no tensor `nobody`")?;
    let dict = ["inspect", word(&out)];
    assert!(success(&dict)?.contains("layers.0"));
    refused(&[&dict[..], &["--output", "y"]].concat(), "--output: expected an ONNX file")?;
    let copy = folder.path().join("copy.onnx");
    let convert = ["convert", word(&model), "--out", word(&copy), "--dim", "features=2"];
    let (status, line) = failure(&convert)?;
    assert!(status == 2 && line.contains("keeps its outputs and sizes"), "{line}");
    let convert = ["convert", word(&out), "--out", word(&model), "--output", "y"];
    refused(&convert, "--output: expected an ONNX file")?;
    let (status, line) =
        failure(&["convert", word(&out), "--out", word(&folder.path().join("a.bin"))])?;
    assert!(status == 2 && line.contains(".onnx or .safetensors"), "{line}");
    Ok(())
}

#[test]
fn operators_that_are_not_read_are_listed() -> TestResult {
    let folder = tempfile::tempdir()?;
    let mut strange = classifier()?;
    strange.nodes[4] = node("LSTM", &["z1"], "h1");
    let model = written(folder.path(), "strange.onnx", &strange)?;
    let text = success(&["inspect", word(&model)])?;
    assert!(
        text.contains("no network that this program reads") && text.contains("`h1_node` (LSTM)"),
        "{text}"
    );
    assert!(text.contains("MatMul"), "{text}");
    let out = folder.path().join("out.onnx");
    refused(&["convert", word(&model), "--out", word(&out)], "node `h1_node` (LSTM)")?;
    assert!(!out.exists());
    Ok(())
}

#[cfg(unix)]
#[test]
fn numbers_in_other_files_come_from_the_folder_alone() -> TestResult {
    let folder = tempfile::tempdir()?;
    let inside = folder.path().join("inside");
    std::fs::create_dir(&inside)?;
    let model = Model::parse(classifier()?.to_bytes()?)?;
    // The bytes of a file whose weight w2 lies in `weights.bin`.
    let bytes = external(&model, "w2", "weights.bin")?;
    let path = inside.join("model.onnx");
    std::fs::write(&path, &bytes)?;
    let out = folder.path().join("out.safetensors");
    let convert = ["convert", word(&path), "--out", word(&out)];
    refused(&convert, "weights.bin")?;
    let numbers = [1.0f32, -1.0, 0.5, 2.0, -0.5, 0.25].map(f32::to_le_bytes).concat();
    std::fs::write(folder.path().join("weights.bin"), &numbers)?;
    std::os::unix::fs::symlink("../weights.bin", inside.join("weights.bin"))?;
    refused(&convert, "leads out of the folder")?;
    std::fs::remove_file(inside.join("weights.bin"))?;
    std::fs::write(inside.join("weights.bin"), &numbers[..20])?;
    refused(&convert, "expected 24 bytes")?;
    std::fs::write(inside.join("weights.bin"), &numbers)?;
    success(&convert)?;
    let written = std::fs::read(&out)?;
    let tensors = safetensors::SafeTensors::deserialize(&written)?;
    let weight = tensors.tensor("layers.1.weight")?;
    // A copy elsewhere holds the numbers itself.
    let copy = folder.path().join("copy.onnx");
    success(&["convert", word(&path), "--out", word(&copy)])?;
    assert!(success(&["inspect", word(&copy)])?.contains("17"));
    // (out, in)
    assert_eq!(weight.data(), [1.0f32, 0.5, -0.5, -1.0, 2.0, 0.25].map(f32::to_le_bytes).concat());
    Ok(())
}

/// A file in which a tensor's numbers lie elsewhere: its message is written by hand.
#[cfg(unix)]
fn external(model: &Model, name: &str, place: &str) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    // dims (3, 2), floats, the name, where the numbers lie, and that they lie elsewhere.
    let entry = [field(1, b"location"), field(2, place.as_bytes())].concat();
    let start = [8, 3, 8, 2, 16, 1];
    let tensor =
        [&start[..], &field(8, name.as_bytes()), &field(13, &entry), &[14 << 3, 1]].concat();
    let rest = model.patch(&[Edit::RemoveTensor { name: name.to_owned() }])?;
    let mut out = Vec::new();
    let mut at = 0;
    while at < rest.len() {
        let (key, body) = (rest[at], varint(&rest, at + 1));
        let end = if key & 7 == 2 { body.0 + body.1 } else { body.0 };
        // The graph is field 7 of a model, an initializer field 5 of a graph.
        match key >> 3 {
            7 => out.extend(field(7, &[&rest[body.0..end], &field(5, &tensor)].concat())),
            _ => out.extend(&rest[at..end]),
        }
        at = end;
    }
    Ok(out)
}

/// A field of bytes: key, length, content.
#[cfg(unix)]
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut n = bytes.len();
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    [out, bytes.to_vec()].concat()
}

/// Where the number that starts here ends, and the number.
#[cfg(unix)]
fn varint(bytes: &[u8], start: usize) -> (usize, usize) {
    let (mut at, mut n) = (start, 0);
    loop {
        n |= usize::from(bytes[at] & 0x7f) << (7 * (at - start));
        at += 1;
        if bytes[at - 1] < 0x80 {
            return (at, n);
        }
    }
}
