//! Files of PyTorch, Keras and Flax, whole and damaged: the outputs of PyTorch, or one error.

use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use candle_core::{DType, Device, Tensor};
use core_tensors::Params;
use core_tensors::kernels::Activation;
use flate2::read::ZlibDecoder;
use models::Architecture;
use serde_json::Value;

use super::*;

/// Sums of a few products in f64, and square roots of batch normalizations.
const TOLERANCE: f64 = 1e-12;

/// What `tests/reference/state_dicts.py` wrote: the input, and cases by name.
struct Cases(Vec<Value>);

impl Cases {
    fn new() -> Self {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/state_dicts.json");
        Self(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
    }

    fn x(&self) -> Tensor {
        tensor(&self.0[0]["x"])
    }

    fn all(&self) -> &[Value] {
        &self.0[1..]
    }

    fn named(&self, name: &str) -> &Value {
        self.all().iter().find(|case| case["name"] == name).unwrap()
    }

    fn bytes(&self, case: &Value) -> Vec<u8> {
        let case = case["file_of"].as_str().map_or(case, |name| self.named(name));
        let packed = STANDARD.decode(case["file"].as_str().unwrap()).unwrap();
        let mut bytes = Vec::new();
        ZlibDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
        bytes
    }
}

fn tensor(rows: &Value) -> Tensor {
    let rows: Vec<Vec<f64>> = serde_json::from_value(rows.clone()).unwrap();
    Tensor::new(rows, &Device::Cpu).unwrap()
}

/// Opens a file with the options of a case.
fn opened(bytes: &[u8], options: &Value) -> Result<(Trained, Vec<String>)> {
    let word = |name: &str| options[name].as_str();
    let layers: Vec<String> = options["layers"]
        .as_array()
        .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default();
    let expected = Expected {
        activation: word("activation").map(|word| match word {
            "tanh" => Activation::Tanh,
            "gelu" => Activation::Gelu,
            "silu" => Activation::Silu,
            "sigmoid" => Activation::Sigmoid,
            "leaky-relu" => Activation::LeakyRelu { slope: 0.01 },
            _ => Activation::Identity,
        }),
        layers: &layers,
        prefix: word("prefix"),
        batch_norm: word("batch_norm").map(|word| match word {
            "before" => Side::Before,
            _ => Side::After,
        }),
        batch_norm_epsilon: options["batch_norm_epsilon"].as_f64(),
        n_inputs: Some(3),
        ..Expected::default()
    };
    open(bytes, &expected)
}

fn outputs(trained: &Trained, x: &Tensor) -> Vec<Vec<f64>> {
    let blocks = trained.weights.blocks().iter().map(|block| block.to_dtype(DType::F64).unwrap());
    let w = Params::new(trained.weights.layout().clone(), blocks.collect()).unwrap();
    trained.network.forward(&w, x).unwrap().to_vec2().unwrap()
}

fn distance(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    assert_eq!((a.len(), a[0].len()), (b.len(), b[0].len()));
    let differences = a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs());
    let size = b.iter().flatten().fold(1.0, |most: f64, b| most.max(b.abs()));
    differences.fold(0.0, f64::max) / size
}

#[test]
fn networks_say_what_they_say_in_pytorch() {
    let cases = Cases::new();
    let mut n = 0;
    for case in cases.all().iter().filter(|case| case["y"].is_array()) {
        let name = &case["name"];
        let (trained, notes) = opened(&cases.bytes(case), &case["options"])
            .unwrap_or_else(|error| panic!("{name}: {error:#}"));
        let y: Vec<Vec<f64>> = serde_json::from_value(case["y"].clone()).unwrap();
        let found = distance(&outputs(&trained, &cases.x()), &y);
        assert!(found < TOLERANCE, "{name}: {found}");
        for said in case["said"].as_array().unwrap() {
            let said = said.as_str().unwrap();
            assert!(notes.iter().any(|note| note.contains(said)), "{name}: {said}: {notes:?}");
        }
        n += 1;
    }
    assert!(n > 30);
}

#[test]
fn what_is_refused_is_said_with_what_to_do() {
    let cases = Cases::new();
    for case in cases.all().iter().filter(|case| case["error"].is_array()) {
        let error = match opened(&cases.bytes(case), &case["options"]) {
            Ok(_) => panic!("{} was opened", case["name"]),
            Err(error) => format!("{error:#}"),
        };
        for part in case["error"].as_array().unwrap() {
            assert!(error.contains(part.as_str().unwrap()), "{}: {part}: {error}", case["name"]);
        }
    }
}

/// Every place of one file of each container; some of the others.
fn step(name: &Value) -> usize {
    let whole = ["plain", "legacy", "safetensors", "npz", "npz, compressed"];
    if name.as_str().is_some_and(|name| whole.contains(&name)) { 1 } else { 11 }
}

#[test]
fn what_is_cut_short_is_an_error() {
    let cases = Cases::new();
    for case in cases.all().iter().filter(|case| case["y"].is_array() && case["file"].is_string()) {
        let (name, bytes) = (&case["name"], cases.bytes(case));
        for end in (0..bytes.len()).step_by(step(name)) {
            let is_opened = opened(&bytes[..end], &Value::Null).is_ok();
            assert!(!is_opened, "{name}: the first {end} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn a_changed_byte_is_an_error_or_changes_numbers() {
    let cases = Cases::new();
    let mut rng = core_tensors::Rng::new(16);
    for case in cases.all().iter().filter(|case| case["y"].is_array() && case["file"].is_string()) {
        let name = &case["name"];
        let (bytes, x) = (cases.bytes(case), cases.x());
        let y: Vec<Vec<f64>> = serde_json::from_value(case["y"].clone()).unwrap();
        // Archives have check sums of their numbers; other containers have none.
        let is_checked = bytes.starts_with(b"PK");
        for i in (0..bytes.len()).step_by(step(name)) {
            let mut damaged = bytes.clone();
            damaged[i] ^= 1u8 << rng.below(8);
            let Ok((trained, _)) = opened(&damaged, &case["options"]) else { continue };
            if is_checked {
                let found = distance(&outputs(&trained, &x), &y);
                assert!(found < TOLERANCE, "{name}: byte {i}: {found}");
            }
        }
    }
}

#[test]
fn what_is_written_opens_again_as_it_was() {
    let cases = Cases::new();
    for (name, activation) in
        [("gelu", Activation::Gelu), ("leaky-relu", Activation::LeakyRelu { slope: 0.01 })]
    {
        let case = cases.named(name);
        let (trained, _) = opened(&cases.bytes(case), &case["options"]).unwrap();
        let bytes = state_dict(&trained, DType::F64, Some("0123"), Vec::new()).unwrap();
        let (again, notes) = opened(&bytes, &Value::Null).unwrap();
        assert_eq!(again.network.activation, activation);
        assert_eq!(outputs(&again, &cases.x()), outputs(&trained, &cases.x()));
        assert_eq!((again.names[0].as_str(), notes.len()), ("layers.0", 0));
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut names = file.names();
        names.sort_unstable();
        let wanted = [0, 1, 2].map(|t| [format!("layers.{t}.bias"), format!("layers.{t}.weight")]);
        assert_eq!(names, wanted.concat());
        let (_, about) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(about.metadata().as_ref().unwrap()["format"], "pt");
        let other = serde_json::json!({ "activation": "tanh" });
        assert!(
            opened(&bytes, &other).is_err_and(|error| error.to_string().contains("--activation"))
        );
    }
}

#[test]
fn numbers_are_read_in_a_type_that_holds_them() {
    let cases = Cases::new();
    for (name, expected) in
        [("plain", DType::F32), ("torch.float64", DType::F64), ("weight_norm", DType::F64)]
    {
        let case = cases.named(name);
        let (trained, _) = opened(&cases.bytes(case), &case["options"]).unwrap();
        assert_eq!(trained.weights.blocks()[0].dtype(), expected, "{name}");
    }
}
