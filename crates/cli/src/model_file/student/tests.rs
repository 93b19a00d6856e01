//! A student's files compute what the student does, in this program and in the class of the original at the new widths.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use core_tensors::Rng;
use flate2::read::ZlibDecoder;
use models::graph::axes::Axes;
use models::graph::change::Standardization;
use models::graph::{Builder, Kind, Op, Unary, Window};
use models::onnx::{ExportOptions, ImportOptions, Model, export, import, no_external};
use serde_json::Value;

use super::*;
use crate::ledger::shrink::LayerChange;
use crate::model_file::{Expected, Network, Side};

/// Sums of f32 in another order, as a share of the largest number.
const TOLERANCE: f64 = 1e-5;

/// A graph in the making, and the numbers of its parameters.
struct Growing {
    builder: Builder,
    blocks: Vec<Tensor>,
    rng: Rng,
}

impl Growing {
    fn new() -> Self {
        Self { builder: Builder::new(), blocks: Vec::new(), rng: Rng::new(5) }
    }

    /// Numbers around `mean`; those of variances are above 0.
    fn parameter(&mut self, name: &str, shape: &[usize], mean: f64) -> ValueId {
        let n: usize = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|_| (mean + self.rng.uniform() - 0.5) as f32).collect();
        let block = Tensor::from_vec(values, (shape[0], n / shape[0]), &candle_core::Device::Cpu);
        self.blocks.push(block.unwrap());
        self.builder.parameter(name, shape)
    }

    fn node(&mut self, name: &str, op: Op, operands: &[ValueId]) -> ValueId {
        self.builder.add(name, op, operands, &[&format!("{name}.out")]).unwrap()[0]
    }

    fn finish(self, output: ValueId) -> (Graph, Params) {
        let graph = self.builder.finish(&[output]);
        let params = Params::new(graph.layout(), self.blocks).unwrap();
        (graph, params)
    }
}

fn gemm() -> Op {
    Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b: true }
}

const RELU: Op = Op::Unary(Unary::Relu);

/// Convolution without a bias and batch norm, convolution with both, and dense layers, one of them turned by the exporter.
fn convolutional([a, b, h]: [usize; 3]) -> (Graph, Params) {
    let mut net = Growing::new();
    let extents = [1, 8, 8].map(Dimension::known);
    let shape = std::iter::once(Dimension::BATCH).chain(extents).collect();
    let x = net.builder.input("image", Kind::Float, shape);
    let norm = |net: &mut Growing, name: &str, x: ValueId, n: usize| {
        let mut operands = vec![x];
        for (role, mean) in
            [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)]
        {
            operands.push(net.parameter(&format!("{name}.{role}"), &[n], mean));
        }
        net.node(name, Op::BatchNormalization { epsilon: 1e-5 }, &operands)
    };
    let window =
        Window { kernel: [3; 2], strides: [1; 2], dilations: [1; 2], pads: [1; 4], ceil: false };
    let conv = Op::Conv { window, groups: 1 };
    let w = net.parameter("conv1.weight", &[a, 1, 3, 3], 0.0);
    let y = net.node("conv1", conv.clone(), &[x, w]);
    let y = norm(&mut net, "bn1", y, a);
    let y = net.node("relu1", RELU, &[y]);
    let w = net.parameter("conv2.weight", &[b, a, 3, 3], 0.0);
    let bias = net.parameter("conv2.bias", &[b], 0.0);
    let y = net.node("conv2", conv, &[y, w, bias]);
    let y = norm(&mut net, "bn2", y, b);
    let y = net.node("relu2", RELU, &[y]);
    let pool = Window { kernel: [2; 2], strides: [2; 2], pads: [0; 4], ..window };
    let y = net.node("pool", Op::MaxPool { window: pool }, &[y]);
    let y = net.node("flat", Op::Flatten { axis: 1 }, &[y]);
    let w = net.parameter("val_7", &[16 * b, h], 0.0);
    let bias = net.parameter("fc1.bias", &[h], 0.0);
    let y = net.node("product", Op::MatMul, &[y, w]);
    let y = net.node("sum", Op::Binary(models::graph::Binary::Add), &[y, bias]);
    let y = net.node("relu3", RELU, &[y]);
    let w = net.parameter("onnx::Gemm_9", &[3, h], 0.0);
    let bias = net.parameter("fc2.bias", &[3], 0.0);
    let y = net.node("/fc2/Gemm", gemm(), &[y, w, bias]);
    net.finish(y)
}

fn opened(path: &Path, bytes: Vec<u8>) -> Network {
    Network::from_bytes(path, bytes, &Expected::default()).unwrap().0
}

fn images(n: usize, shape: &[usize]) -> Tensor {
    let mut rng = Rng::new(6);
    let numbers: Vec<f32> =
        (0..n * shape.iter().product::<usize>()).map(|_| rng.normal() as f32).collect();
    Tensor::from_vec(numbers, [&[n], shape].concat(), &candle_core::Device::Cpu).unwrap()
}

fn logits(graph: &Graph, params: &Params, x: &Tensor) -> Vec<f64> {
    let logits = graph.forward(params, x).unwrap().to_dtype(candle_core::DType::F64).unwrap();
    logits.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1.0, |most: f64, v| most.max(v.abs()));
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst <= TOLERANCE * size, "{what}: {worst:e} of {size}");
}

/// The first units of each group of a network whose batch norms are folded.
fn narrowed(network: &Network, keep: impl Fn(usize) -> usize) -> (Graph, Params) {
    let (graph, params, _) = network.graph.with_batch_norm_folded(&network.params).unwrap();
    let axes = Axes::of(&graph);
    let groups = axes.groups().iter().enumerate().filter(|(_, group)| group.pinned.is_none());
    let kept: Vec<(usize, Vec<usize>)> =
        groups.map(|(i, group)| (i, (0..keep(group.n_units)).collect())).collect();
    axes.narrow(&graph, &params, &kept).unwrap()
}

fn by_name(dict: &StateDict) -> HashMap<&str, &Tensor> {
    dict.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect()
}

#[test]
fn the_originals_class_at_the_new_widths_loads_the_student_and_computes_the_same() {
    let (graph, params) = convolutional([6, 8, 10]);
    let file = export(&graph, &params, &ExportOptions::default()).unwrap();
    let network = opened(Path::new("net.onnx"), file);
    let (student, w) = narrowed(&network, |n| n / 2);
    let x = images(5, &[1, 8, 8]);
    let expected = logits(&student, &w, &x);
    let dict = network.student_state_dict(&student, &w).unwrap();
    assert_eq!(dict.notes, Vec::<String>::new());

    // The class with its batch norms, whose turned weights have the names and the layout of PyTorch.
    let (class, _) = convolutional([3, 4, 5]);
    let tensors = by_name(&dict);
    let loaded = class.params_by_name(|name| match name {
        "val_7" => tensors["fc1.weight"].t().ok(),
        "onnx::Gemm_9" => Some(tensors["fc2.weight"].clone()),
        name => tensors.get(name).map(|&tensor| tensor.clone()),
    });
    close(&logits(&class, &loaded.unwrap(), &x), &expected, "the class");
    // Nothing that the class does not have.
    let names: BTreeSet<&str> = tensors.keys().copied().collect();
    let of_class = class.parameters().iter().map(|&id| match class.value(id).name.as_str() {
        "val_7" => "fc1.weight",
        "onnx::Gemm_9" => "fc2.weight",
        name => name,
    });
    assert_eq!(names, of_class.collect());
    assert_eq!(tensors["fc1.weight"].dims(), [5, 64]);
    // A normalization that changes nothing, but for the bias that its convolution does not have.
    let values = |name: &str| tensors[name].to_vec1::<f32>().unwrap();
    assert_eq!(values("bn1.running_var"), [0.99999; 3]);
    assert_eq!((values("bn1.weight"), values("bn1.running_mean")), (vec![1.0; 3], vec![0.0; 3]));
    assert!(values("bn1.bias").iter().all(|&v| v != 0.0));
    assert_eq!(values("bn2.bias"), [0.0; 4]);
}

#[test]
fn the_onnx_file_keeps_what_it_had_and_computes_the_same() {
    let (graph, params) = convolutional([6, 8, 10]);
    let file = export(&graph, &params, &ExportOptions::default()).unwrap();
    let network = opened(Path::new("net.onnx"), file.clone());
    let (student, w) = narrowed(&network, |n| n / 2);
    let x = images(5, &[1, 8, 8]);
    let by = Standardization { shape: vec![1, 1, 1], mean: vec![0.25], std: vec![0.5] };
    let centered = ((x.affine(1.0, -0.25).unwrap()) / 0.5).unwrap();
    for (by, seen) in [(None, &x), (Some(&by), &centered)] {
        let bytes = network.student_onnx(Path::new("net.onnx"), &student, &w, by).unwrap();
        let (old, new) = (Model::parse(file.clone()).unwrap(), Model::parse(bytes).unwrap());
        let read = import(&new, &mut no_external, &ImportOptions::default()).unwrap();
        close(&logits(&read.graph, &read.params, &x), &logits(&student, &w, seen), "the file");
        assert_eq!((old.inputs(), old.outputs()), (new.inputs(), new.outputs()));
        assert_eq!(old.opsets(), new.opsets());
        let parent = ("distill.parent".to_owned(), network.sha256.clone());
        assert!(new.metadata().contains(&parent));
    }
}

#[test]
fn the_script_has_the_chain_of_layers_and_none_for_a_branch() {
    let (graph, params) = convolutional([6, 8, 10]);
    let file = export(&graph, &params, &ExportOptions::default()).unwrap();
    let network = opened(Path::new("net.onnx"), file);
    let (student, w) = narrowed(&network, |n| n / 2);
    let dict = network.student_state_dict(&student, &w).unwrap();
    let by = Standardization { shape: vec![1, 1, 1], mean: vec![0.25], std: vec![0.5] };
    let text = python(&student, &dict, Some(&by)).unwrap();
    for line in [
        "    nn.Conv2d(1, 3, 3, padding=1),\n    nn.ReLU(),\n    nn.Conv2d(3, 4, 3, padding=1),",
        "    nn.MaxPool2d(2, stride=2),\n    nn.Flatten(),\n    nn.Linear(64, 5),",
        "        \"0.bias\": t[\"bn1.bias\"],",
        "        \"2.bias\": t[\"conv2.bias\"],",
        "        \"6.weight\": t[\"fc1.weight\"],\n        \"6.bias\": t[\"fc1.bias\"],",
        "    x = (x - torch.tensor([0.25]).reshape([1, 1, 1])) / torch.tensor([0.5]).reshape([1, 1, 1])",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    // x + f(x) is no chain.
    let mut net = Growing::new();
    let x = net.builder.input("x", Kind::Float, vec![Dimension::BATCH, Dimension::known(2)]);
    let w = net.parameter("fc.weight", &[2, 2], 0.0);
    let bias = net.parameter("fc.bias", &[2], 0.0);
    let y = net.node("fc", gemm(), &[x, w, bias]);
    let y = net.node("sum", Op::Binary(models::graph::Binary::Add), &[y, x]);
    let (graph, params) = net.finish(y);
    let network =
        opened(Path::new("net.onnx"), export(&graph, &params, &ExportOptions::default()).unwrap());
    let dict = network.student_state_dict(&network.graph, &network.params).unwrap();
    assert_eq!(python(&network.graph, &dict, None), None);
}

/// The cases that `tests/reference/state_dicts.py` wrote.
fn pytorch() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/state_dicts.json");
    let all: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let found = all.iter().skip(1).filter(|case| case["y"].is_array()).cloned().map(|mut case| {
        if let Some(of) = case["file_of"].as_str() {
            let other = all.iter().find(|other| other["name"] == of).unwrap();
            case["file"] = other["file"].clone();
        }
        case
    });
    found.collect()
}

fn unpacked(case: &Value) -> Vec<u8> {
    let packed = STANDARD.decode(case["file"].as_str().unwrap()).unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut ZlibDecoder::new(&packed[..]), &mut bytes).unwrap();
    bytes
}

#[test]
fn a_state_dict_becomes_one_of_the_same_tensors() {
    for case in pytorch() {
        let (name, options) = (case["name"].as_str().unwrap(), &case["options"]);
        let layers: Vec<String> = options["layers"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|v| v.as_str().unwrap().into())
            .collect();
        let expected = Expected {
            layers: &layers,
            prefix: options["prefix"].as_str(),
            batch_norm: options["batch_norm"].as_str().map(|word| match word {
                "before" => Side::Before,
                _ => Side::After,
            }),
            batch_norm_epsilon: options["batch_norm_epsilon"].as_f64(),
            n_inputs: Some(3),
            ..Expected::default()
        };
        let open = |bytes| Network::from_bytes(Path::new("net"), bytes, &expected).unwrap().0;
        let network = open(unpacked(&case));
        let x = images(4, &[3]);
        for share in [1, 2] {
            let (student, w) = narrowed(&network, |n| n.div_ceil(share));
            let dict = network.student_state_dict(&student, &w).unwrap();
            assert!(dict.notes.is_empty(), "{name}: {:?}", dict.notes);
            // As its class reads it, and so with batch norms, masks and directions.
            let again = open(dict.to_bytes(None).unwrap());
            let x = x.to_dtype(candle_core::DType::F32).unwrap();
            close(&logits(&again.graph, &again.params, &x), &logits(&student, &w, &x), name);
            let text = python(&student, &dict, None).unwrap();
            assert!(text.contains("nn.Linear(3, "), "{text}");
        }
        // All tensors of the file but counters and what is no part of the network.
        let bytes = unpacked(&case);
        let held = crate::model_file::Dict::read(&bytes).unwrap();
        let names: BTreeSet<String> = held.tensors.iter().map(|t| t.name.clone()).collect();
        let dict = network.student_state_dict(&network.graph, &network.params).unwrap();
        let is_end = |short: &str| {
            names.iter().any(|name| name == short || name.ends_with(&format!("state_dict.{short}")))
        };
        let strange: Vec<&String> =
            dict.tensors.iter().map(|(n, _)| n).filter(|n| !is_end(n)).collect();
        assert!(strange.is_empty(), "{name}: {strange:?} in {names:?}");
        let shapes: BTreeMap<&str, &[usize]> =
            held.tensors.iter().map(|t| (t.name.as_str(), t.shape.as_slice())).collect();
        for (tensor, numbers) in &dict.tensors {
            if let Some(shape) = shapes.get(tensor.as_str()) {
                assert_eq!(numbers.dims(), *shape, "{name}: {tensor}");
            }
        }
    }
}

#[test]
fn widths_name_groups_and_tensors() {
    let (graph, params) = convolutional([6, 8, 10]);
    let file = export(&graph, &params, &ExportOptions::default()).unwrap();
    let network = opened(Path::new("net.onnx"), file);
    let (student, w) = narrowed(&network, |n| n / 2);
    let before = network.student_state_dict(&network.graph, &network.params).unwrap();
    let after = network.student_state_dict(&student, &w).unwrap();
    let change = LayerChange {
        name: "conv1".into(),
        before: 6,
        after: 3,
        predicted: None,
        measured: None,
        damping: None,
    };
    let by = Standardization { shape: vec![], mean: vec![0.5], std: vec![2.0] };
    let text = widths_json(&[change], &before, &after, Some(&by)).unwrap();
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["groups"][0], serde_json::json!({"name": "conv1", "before": 6, "after": 3}));
    let tensors = told["tensors"].as_array().unwrap();
    let of = |name: &str| tensors.iter().find(|tensor| tensor["name"] == name).unwrap();
    assert_eq!(of("conv2.weight")["before"], serde_json::json!([8, 6, 3, 3]));
    assert_eq!(of("conv2.weight")["after"], serde_json::json!([4, 3, 3, 3]));
    assert_eq!(of("bn2.running_mean")["after"], serde_json::json!([4]));
    assert_eq!(told["standardization"]["std"][0], 2.0);
    assert_eq!(tensors.len(), 15);
}

/// Real exports, where `DISTILL_DATA` has some; `STUDENT_FILES` names a folder for the files, which other programs may read.
#[test]
fn real_exports_become_students() {
    let Some(data) = std::env::var_os("DISTILL_DATA") else { return };
    for name in [
        "fmnist-mlp",
        "fmnist-cnn-bn",
        "fmnist-resnet",
        "fmnist-encoder",
        "fmnist-mobile",
        "digits-sklearn",
    ] {
        let path = PathBuf::from(&data).join("models").join(name).join("model.onnx");
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let network = opened(&path, bytes);
        let (student, w) = narrowed(&network, |n| n.div_ceil(2));
        let bytes = network.student_onnx(&path, &student, &w, None).unwrap();
        let again = opened(&path, bytes.clone());
        let input = &network.graph.value(network.graph.inputs()[0]).shape;
        let x = images(3, &extents(&input[1..]));
        close(&logits(&again.graph, &again.params, &x), &logits(&student, &w, &x), name);
        let dict = network.student_state_dict(&student, &w).unwrap();
        let script = python(&student, &dict, None);
        let is_chain = ["fmnist-mlp", "fmnist-cnn-bn", "digits-sklearn"].contains(&name);
        assert_eq!(script.is_some(), is_chain || name == "fmnist-mobile", "{name}");
        if let Some(folder) = std::env::var_os("STUDENT_FILES") {
            let folder = PathBuf::from(folder).join(name);
            std::fs::create_dir_all(&folder).unwrap();
            let write =
                |file: &str, bytes: &[u8]| std::fs::write(folder.join(file), bytes).unwrap();
            write("student.onnx", &bytes);
            let by = Standardization { shape: vec![], mean: vec![0.5], std: vec![0.25] };
            let raw = network.student_onnx(&path, &student, &w, Some(&by)).unwrap();
            write("standardized.onnx", &raw);
            write("student.safetensors", &dict.to_bytes(None).unwrap());
            write("notes.txt", dict.notes.join("\n").as_bytes());
            write("student.py", script.unwrap_or_default().as_bytes());
            let before = network.student_state_dict(&network.graph, &network.params).unwrap();
            let widths = widths_json(&[], &before, &dict, None).unwrap();
            write("widths.json", widths.as_bytes());
        }
    }
}
