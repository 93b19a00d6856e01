//! `distill shrink --bayesian` as its users meet it: what its file holds, what the report says of it, where it goes on.

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, Output};

use candle_core::{DType, Device, Tensor};
use core_tensors::Rng;
use core_tensors::kernels::Activation;
use models::onnx::{ExportOptions, export};
use models::{Architecture, Mlp};

type TestResult = Result<(), Box<dyn Error>>;

/// Mean and std of every raw feature.
const RAW: (f64, f64) = (10.0, 5.0);

/// A perceptron, and examples of it with labels or values that it gives itself.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    /// `raw` examples are to be standardized; values are in units of very different size and have noise.
    fn new(n_outputs: usize, is_regression: bool, is_raw: bool) -> Result<Self, Box<dyn Error>> {
        let world = Self { folder: tempfile::tempdir()? };
        let widths = vec![4, 16, n_outputs];
        let network = Mlp { widths, activation: Activation::Tanh, bias: true };
        let mut rng = Rng::new(0);
        let w = network.init(&mut rng, &Device::Cpu)?;
        let mut w = w.moved(&w, 2.0)?;
        let units = Tensor::new(&[1f32, 1e-3], &Device::Cpu)?;
        if is_regression {
            let mut blocks = w.blocks().to_vec();
            let last = blocks.len() - 1;
            blocks[last] = blocks[last].broadcast_mul(&units.unsqueeze(1)?)?;
            w = core_tensors::Params::new(network.layout(), blocks)?;
        }
        let (graph, params) = network.to_graph(&w)?;
        let onnx = export(&graph, &params, &ExportOptions::default())?;
        std::fs::write(world.at("teacher.onnx"), onnx)?;
        for (name, m) in [("data", 600), ("test", 800)] {
            let mut normals = |n: usize| -> candle_core::Result<Tensor> {
                let numbers: Vec<f32> = (0..m * n).map(|_| rng.normal() as f32).collect();
                Tensor::from_vec(numbers, (m, n), &Device::Cpu)
            };
            let x = normals(4)?;
            let f = network.forward(&w, &x)?;
            let y = match (is_regression, n_outputs) {
                (true, _) => (f + (normals(n_outputs)?.broadcast_mul(&units)? * 0.3)?)?,
                (false, 1) => f.squeeze(1)?.gt(0.0)?.to_dtype(DType::U32)?,
                (false, _) => f.argmax(1)?,
            };
            let x = if is_raw { ((x * RAW.1)? + RAW.0)? } else { x };
            let tensors = HashMap::from([("x".to_owned(), x), ("y".to_owned(), y)]);
            candle_core::safetensors::save(&tensors, world.at(&format!("{name}.safetensors")))?;
        }
        Ok(world)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn distill(&self, words: &[&str]) -> Result<Output, Box<dyn Error>> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_distill"));
        Ok(command.current_dir(self.folder.path()).args(words).output()?)
    }

    /// What it says, of a run that ends well.
    fn told(&self, words: &[&str]) -> Result<String, Box<dyn Error>> {
        let output = self.distill(words)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(format!("{words:?}: {}{}", text(&output.stdout), text(&output.stderr)).into())
    }

    fn json(&self, words: &[&str]) -> Result<serde_json::Value, Box<dyn Error>> {
        Ok(serde_json::from_str(&self.told(&[words, &["--json"]].concat())?)?)
    }
}

/// Words of a run, with some of its own.
fn shrink<'a>(out: &'a str, own: &[&'a str]) -> Vec<&'a str> {
    let words = ["shrink", "teacher.onnx", "--data", "data.safetensors", "--test"];
    let also = ["test.safetensors", "--to", "60%", "--points", "0", "--bayesian", "--out", out];
    [&words[..], &also, own].concat()
}

/// A measure of a student, the first by surgery, the last Bayesian.
fn second(report: &serde_json::Value, student: usize, metric: &str) -> Option<f64> {
    let measures = report["students"][student]["quality"]["measures"].as_array()?;
    measures.iter().find(|measure| measure["metric"] == metric)?["second"].as_f64()
}

#[test]
fn a_file_of_standardized_inputs_takes_raw_ones() -> TestResult {
    let world = World::new(3, false, true)?;
    let report = world.json(&shrink("small", &["--standardize"]))?;
    let said = second(&report, 1, "accuracy").ok_or("an accuracy")?;
    assert!(said > 0.8, "{said}");
    let words = ["evaluate", "small/posterior.safetensors", "--data", "test.safetensors"];
    let found = world.json(&words)?.to_string();
    let measures: serde_json::Value = serde_json::from_str(&found)?;
    let accuracy = accuracy_in(&measures).ok_or("an accuracy")?;
    // The mean parameters alone beside the average over draws.
    assert!((accuracy - said).abs() < 0.05, "{accuracy} {said}");
    let inspected = world.json(&["inspect", "small/posterior.safetensors"])?;
    assert_eq!(inspected["standardized_inputs"], true);
    assert!(world.told(&["inspect", "small/posterior.safetensors"])?.contains("input_mean"));
    // Curvature of raw examples, standardized first, ranks; the same file makes smaller ones, which standardize as well.
    let file = "small/posterior.safetensors";
    let rule = ["--by", "optimal-brain-damage", "--data", "test.safetensors"];
    world.told(&[&["rank", "--posterior", file, "--layer", "1"], &rule[..]].concat())?;
    let edit = ["transform", "--posterior", file, "--remove-units", "1:0", "--out"];
    world.told(&[&edit[..], &["less.safetensors"]].concat())?;
    let inspected = world.json(&["inspect", "less.safetensors"])?;
    assert_eq!(inspected["standardized_inputs"], true);
    Ok(())
}

/// The accuracy anywhere in what `evaluate` says.
fn accuracy_in(value: &serde_json::Value) -> Option<f64> {
    if value["metric"] == "accuracy" {
        return value["value"].as_f64().or_else(|| value["value"]["value"].as_f64());
    }
    match value {
        serde_json::Value::Array(values) => values.iter().find_map(accuracy_in),
        serde_json::Value::Object(values) => values.values().find_map(accuracy_in),
        _ => None,
    }
}

#[test]
fn one_logit_stays_one_and_a_foreign_checkpoint_is_named() -> TestResult {
    let world = World::new(1, false, false)?;
    let report = world.json(&shrink("small", &[]))?;
    assert!(second(&report, 1, "accuracy").ok_or("an accuracy")? > 0.8);
    let inspected = world.json(&["inspect", "small/posterior.safetensors"])?;
    assert_eq!(inspected["widths"].as_array().and_then(|w| w.last()), Some(&1.into()));
    assert!(!world.at("small/inference-0.checkpoint").exists());
    // A file in the place of a checkpoint: the message says which.
    std::fs::create_dir(world.at("other"))?;
    std::fs::write(world.at("other/inference-0.checkpoint"), "nothing")?;
    let output = world.distill(&shrink("other", &[]))?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let wanted = "inference-0.checkpoint: the checkpoint is no checkpoint of this program";
    assert!(told.contains(wanted), "{told}");
    Ok(())
}

#[test]
fn values_are_judged_by_the_predictive_distribution() -> TestResult {
    let world = World::new(2, true, false)?;
    let report = world.json(&shrink("small", &[]))?;
    let of = |student, metric: &str| second(&report, student, metric).ok_or("a measure");
    let (plain, bayesian) = (of(0, "normal_nll")?, of(1, "normal_nll")?);
    assert!(bayesian < plain + 0.1, "{bayesian} {plain}");
    let (plain, bayesian) = (of(0, "coverage")?, of(1, "coverage")?);
    assert!((plain - 0.95).abs() < 0.05 && (bayesian - 0.95).abs() < 0.05, "{plain} {bayesian}");
    Ok(())
}
