//! `distill shrink` as its users meet it: what comes out, what is refused, what a replay gives.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use candle_core::{Device, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Adam, AdamConfig, Dataset, Fit, Params, Rng, Targets};
use losses::{Distillation, Predictions, distillation};
use models::onnx::{
    DataType, Dimension, Edit, ExportOptions, ImportOptions, Model, Node, TensorInfo, Values,
    export, import,
};
use models::{Architecture, Mlp};

type TestResult = Result<(), Box<dyn Error>>;

/// A classifier of points in the plane by their sector, trained a little, and its data.
struct World {
    folder: tempfile::TempDir,
}

const N_CLASSES: usize = 3;

/// Points and classes: the sector of a circle, with a fourth, useless feature.
fn points(n: usize, seed: u64) -> Result<Dataset, Box<dyn Error>> {
    let mut rng = Rng::new(seed);
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for _ in 0..n {
        let (a, b) = (rng.normal(), rng.normal());
        let noise = rng.normal();
        let class = if a + 0.3 * noise > b { if b > 0.0 { 0 } else { 1 } } else { 2 };
        x.extend([a as f32, b as f32, (a * b) as f32, rng.normal() as f32]);
        y.push(class);
    }
    Ok(Dataset::classification(x, y, N_CLASSES, &Device::Cpu)?)
}

impl World {
    fn new() -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let world = Self { folder };
        let (data, test) = (points(1500, 1)?, points(1000, 2)?);
        let network = Mlp { widths: vec![4, 24, 16, 3], activation: Activation::Relu, bias: true };
        let mut rng = Rng::new(0);
        let w = network.init(&mut rng, &Device::Cpu)?.trainable()?;
        let mut adam = Adam::new(AdamConfig::pytorch(5e-3), &w)?;
        let fit = Fit { epochs: 15, batch_size: 50 };
        let loss = |batch: &Dataset| -> core_tensors::Result<Tensor> {
            let logits = network.forward(&w, batch.x())?;
            distillation(&logits, batch, &Distillation::labels_only())
                .map_err(|error| candle_core::Error::wrap(error).into())
        };
        fit.minimize(&mut adam, &data, &mut rng, loss, |_| {
            Ok::<_, core_tensors::Error>(std::ops::ControlFlow::Continue(()))
        })?;
        let (graph, params) = network.to_graph(&w.frozen())?;
        std::fs::write(
            world.at("teacher.onnx"),
            export(&graph, &params, &ExportOptions::default())?,
        )?;
        world.save("data.safetensors", &data, true)?;
        world.save("test.safetensors", &test, true)?;
        world.save("unlabeled.safetensors", &data, false)?;
        Ok(world)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn save(&self, name: &str, data: &Dataset, with_labels: bool) -> TestResult {
        let Targets::Classes { labels, .. } = data.y() else {
            return Err("expected classes".into());
        };
        let mut tensors = std::collections::HashMap::from([("x".to_owned(), data.x().clone())]);
        if with_labels {
            tensors.insert("y".to_owned(), labels.clone());
        }
        Ok(candle_core::safetensors::save(&tensors, self.at(name))?)
    }

    /// Runs `distill shrink teacher.onnx` with these words, in the folder.
    fn shrink(&self, words: &[&str]) -> Result<Output, Box<dyn Error>> {
        self.distill(&[&["shrink", "teacher.onnx"], words].concat())
    }

    fn distill(&self, words: &[&str]) -> Result<Output, Box<dyn Error>> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_distill"));
        Ok(command.current_dir(self.folder.path()).args(words).output()?)
    }
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

fn check_done(output: &Output) -> TestResult {
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{}{}", text(&output.stdout), text(&output.stderr)).into()),
    }
}

fn report(folder: &Path) -> Result<serde_json::Value, Box<dyn Error>> {
    Ok(serde_json::from_slice(&std::fs::read(folder.join("report.json"))?)?)
}

/// The network of an ONNX file.
fn open(path: &Path) -> Result<(models::graph::Graph, Params), Box<dyn Error>> {
    let model = Model::parse(std::fs::read(path)?)?;
    let imported =
        import(&model, &mut |_, _, _| Err("no file beside".into()), &ImportOptions::default())?;
    Ok((imported.graph, imported.params))
}

/// Accuracy of an ONNX file on the test points.
fn accuracy(path: &Path) -> Result<f64, Box<dyn Error>> {
    let (graph, params) = open(path)?;
    let test = points(1000, 2)?;
    let Targets::Classes { labels, .. } = test.y() else { return Err("expected classes".into()) };
    let logits = graph.forward(&params, test.x())?;
    Ok(Predictions::new(&logits)?.accuracy(&labels.to_vec1::<u32>()?)?)
}

/// The measure of the student that is written.
fn measure<'a>(report: &'a serde_json::Value, name: &str) -> Option<&'a serde_json::Value> {
    let students = report["students"].as_array()?;
    let chosen = students.iter().find(|student| student["is_chosen"] == true)?;
    chosen["quality"]["measures"].as_array()?.iter().find(|measure| measure["metric"] == name)
}

#[test]
fn a_quarter_of_the_parameters_with_a_true_report() -> TestResult {
    let world = World::new()?;
    let words = [
        "--data",
        "data.safetensors",
        "--test",
        "test.safetensors",
        "--to",
        "25%",
        "--out",
        "small",
    ];
    let output = world.shrink(&words)?;
    check_done(&output)?;
    let small = world.at("small");
    for name in [
        "student.onnx",
        "student.safetensors",
        "student.py",
        "widths.json",
        "report.html",
        "report.json",
        "front.csv",
        "run.toml",
    ] {
        assert!(small.join(name).is_file(), "{name}");
    }
    let (teacher, _) = open(&world.at("teacher.onnx"))?;
    let (student, _) = open(&small.join("student.onnx"))?;
    let (before, after) = (teacher.layout().n_parameters(), student.layout().n_parameters());
    assert!(4 * after <= before && after * 5 > before, "{after} of {before}");
    // What the report says is what the files give.
    let report = report(&small)?;
    let found = measure(&report, "accuracy").ok_or("a report without accuracy")?;
    for (key, path) in [("first", world.at("teacher.onnx")), ("second", small.join("student.onnx"))]
    {
        let said = found[key].as_f64().ok_or("a number")?;
        assert!((said - accuracy(&path)?).abs() < 1e-9, "{key}: {said}");
    }
    let said = report["sizes"][0]["after"].as_f64().ok_or("a size")?;
    assert_eq!(said as usize, after);
    let bytes = report["sizes"][2]["after"].as_f64().ok_or("a size")?;
    assert_eq!(bytes as u64, std::fs::metadata(small.join("student.onnx"))?.len());
    assert_eq!(report["parts"]["test"], 1000);
    assert_eq!(report["parts"]["has_own_test"], true);
    assert!(report["front"].as_array().ok_or("a front")?.len() >= 3);

    // A second run into the folder is refused, and a replay gives the same bits.
    let again = world.shrink(&words)?;
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("--overwrite"), "{}", text(&again.stderr));
    let replay = world.distill(&["shrink", "--config", "small/run.toml", "--out", "again"])?;
    check_done(&replay)?;
    // Another size on the command line stands in the place of that of the file, which is not written over.
    let words = ["shrink", "--config", "small/run.toml", "--macs", "50%", "--points", "0"];
    check_done(&world.distill(&[&words[..], &["--out", "half"]].concat())?)?;
    let output = world.distill(&[&words[..], &["--overwrite", "--out", "small"]].concat())?;
    let told = text(&output.stderr);
    assert!(output.status.code() == Some(2) && told.contains("--config"), "{told}");
    for name in ["student.onnx", "student.safetensors", "front.csv", "widths.json"] {
        let [first, second] =
            ["small", "again"].map(|folder| std::fs::read(world.at(folder).join(name)));
        assert_eq!(first?, second?, "{name}");
    }
    Ok(())
}

#[test]
fn training_resumes_to_the_same_bits_and_never_hurts_on_validation() -> TestResult {
    let world = World::new()?;
    let words = |out| {
        vec![
            "--data",
            "data.safetensors",
            "--to",
            "30%",
            "--epochs",
            "3",
            "--baseline",
            "scratch",
            "--points",
            "0",
            "--out",
            out,
        ]
    };
    check_done(&world.shrink(&words("trained"))?)?;
    let of = report(&world.at("trained"))?;
    let students = of["students"].as_array().ok_or("students")?;
    let how: Vec<&str> = students.iter().filter_map(|student| student["how"].as_str()).collect();
    assert!(how.len() == 3 && how[0] == "surgery" && how[2].contains("from scratch"), "{how:?}");
    assert_eq!(students.iter().filter(|student| student["is_chosen"] == true).count(), 1);
    let left: Vec<_> = std::fs::read_dir(world.at("trained"))?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| name.ends_with(".checkpoint"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    check_done(&world.shrink(&words("twice"))?)?;
    let [first, second] =
        ["trained", "twice"].map(|out| std::fs::read(world.at(out).join("student.onnx")));
    assert_eq!(first?, second?);
    Ok(())
}

#[test]
fn without_labels_the_student_is_compared_with_the_network() -> TestResult {
    let world = World::new()?;
    let output = world.shrink(&[
        "--data",
        "unlabeled.safetensors",
        "--to",
        "40%",
        "--points",
        "2",
        "--out",
        "small",
    ])?;
    check_done(&output)?;
    let report = report(&world.at("small"))?;
    assert!(measure(&report, "accuracy").is_none());
    assert!(
        measure(&report, "agreement").ok_or("agreement")?["second"].as_f64().ok_or("a number")?
            > 0.8
    );
    Ok(())
}

#[test]
fn a_network_whose_batch_is_built_in_is_narrowed_and_keeps_it() -> TestResult {
    let world = World::new()?;
    let model = Model::parse(std::fs::read(world.at("teacher.onnx"))?)?;
    let (input, n_nodes) = (model.inputs()[0].name.clone(), model.nodes().len());
    let output = model.outputs()[0].name.clone();
    for n in [1, 8] {
        // The input as n rows, then as n times two pairs and as rows again, each time with n in the target.
        let target = |name: &str, target: &[i64]| {
            let values = Values::I64(target.to_vec());
            TensorInfo::new(name, vec![target.len()], DataType::I64, &values).map(Edit::AddTensor)
        };
        let reshape = |from: &str, target: &str, to: &str| Edit::InsertNode {
            before: 0,
            node: Node {
                op_type: "Reshape".to_owned(),
                inputs: vec![from.to_owned(), target.to_owned()],
                outputs: vec![to.to_owned()],
                ..Node::default()
            },
        };
        let first = &model.nodes()[0];
        let inputs = first.inputs.iter().map(|name| match *name == input {
            true => "rows".to_owned(),
            false => name.clone(),
        });
        let shape = |name: &str, width| Edit::SetShape {
            name: name.to_owned(),
            dims: vec![Dimension::Known(n), Dimension::Known(width)],
        };
        let edits = [
            target("pairs_of", &[n as i64, 2, 2])?,
            target("rows_of", &[n as i64, 4])?,
            reshape(&input, "pairs_of", "pairs"),
            reshape("pairs", "rows_of", "rows"),
            Edit::SetNode {
                index: 0,
                inputs: inputs.collect(),
                outputs: first.outputs.clone(),
                attributes: Vec::new(),
            },
            shape(&input, 4),
            shape(&output, 3),
        ];
        std::fs::write(world.at("fixed.onnx"), model.patch(&edits)?)?;
        let out = format!("small{n}");
        let data = ["--data", "data.safetensors", "--test", "test.safetensors"];
        let size = ["--to", "50%", "--points", "0", "--out", &out];
        let done = world.distill(&[&["shrink", "fixed.onnx"][..], &data, &size].concat())?;
        check_done(&done)?;
        let told = text(&done.stderr);
        assert!(told.contains(&format!("has a batch of {n} in the file")), "{told}");
        let student = Model::parse(std::fs::read(world.at(&out).join("student.onnx"))?)?;
        assert_eq!(
            student.inputs()[0].dims().map(|dims| dims[0].clone()),
            Some(Dimension::Known(n))
        );
        assert_eq!(student.nodes().len(), n_nodes + 2);
        let after = accuracy(&world.at(&out).join("student.onnx"))?;
        let report = report(&world.at(&out))?;
        let said = measure(&report, "accuracy").ok_or("accuracy")?["second"].as_f64();
        assert!((said.ok_or("a number")? - after).abs() < 1e-9);
        assert!(after > accuracy(&world.at("teacher.onnx"))? - 0.05);
    }
    Ok(())
}

#[test]
fn a_loss_is_certified_or_the_smallest_that_can_be_is_said() -> TestResult {
    let world = World::new()?;
    let output =
        world.shrink(&["--data", "data.safetensors", "--max-loss", "5%", "--out", "small"])?;
    check_done(&output)?;
    let report = report(&world.at("small"))?;
    let sizes = &report["sizes"][0];
    assert!(sizes["after"].as_f64() < sizes["before"].as_f64());
    let few =
        world.shrink(&["--data", "data.safetensors", "--max-loss", "0.1%", "--out", "fine"])?;
    assert_eq!(few.status.code(), Some(1));
    let told = text(&few.stderr);
    assert!(
        told.contains("cannot certify a loss below") && told.contains("--validation"),
        "{told}"
    );
    assert!(!world.at("fine/student.onnx").exists());
    Ok(())
}

#[test]
fn wrong_words_and_data_that_do_not_fit_say_what_to_do() -> TestResult {
    let world = World::new()?;
    let data = ["--data", "data.safetensors", "--out", "small"];
    for (words, code, part) in [
        (vec![], 2, "--to"),
        (vec!["--to", "0.25"], 2, "25%"),
        (vec!["--to", "25%", "--macs", "50%"], 2, "cannot be used with"),
        (vec!["--to", "-5%"], 2, "a percentage above 0% and below 100%"),
        (vec!["--to", "25%", "--epochs", "-1"], 2, "expected a whole number from 0 to 100000"),
        (vec!["--to", "25%", "--epochs", "1.5"], 2, "expected a whole number"),
        (vec!["--to", "25%", "--noise-variance", "2"], 2, "predicts classes"),
        (vec!["--to", "1%"], 1, "the smallest that can be reached"),
        (vec!["--widths", "nothing=3"], 1, "layers that can lose units"),
        (vec!["--to", "25%", "--bayesian", "--epochs", "0"], 0, ""),
    ] {
        if code == 0 {
            continue;
        }
        let output = world.shrink(&[&data[..], &words[..]].concat())?;
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {told}");
        assert!(told.contains(part), "{words:?}: {told}");
        assert!(!world.at("small/student.onnx").exists(), "{words:?}");
    }
    // Labels in another order: the network is no better than a constant.
    let turned = points(1500, 1)?;
    let Targets::Classes { labels, .. } = turned.y() else { return Err("expected classes".into()) };
    let labels: Vec<u32> = labels.to_vec1::<u32>()?.iter().map(|y| (y + 1) % 3).collect();
    let labels = Tensor::new(labels, &Device::Cpu)?;
    let turned =
        Dataset::new(turned.x().clone(), Targets::Classes { labels, n_classes: N_CLASSES })?;
    world.save("turned.safetensors", &turned, true)?;
    let output =
        world.shrink(&["--data", "turned.safetensors", "--to", "25%", "--out", "small"])?;
    let told = text(&output.stderr);
    assert!(
        output.status.code() == Some(1) && told.contains("no better") && told.contains("--force"),
        "{told}"
    );
    Ok(())
}

#[test]
fn a_folder_that_holds_other_files_is_written_into_only_when_told_to() -> TestResult {
    let world = World::new()?;
    let words = ["--data", "data.safetensors", "--to", "40%", "--points", "0"];
    std::fs::create_dir(world.at("mine"))?;
    std::fs::write(world.at("mine/notes.txt"), "mine")?;
    let output = world.shrink(&[&words[..], &["--out", "mine"]].concat())?;
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("found notes.txt in mine") && message.contains("--overwrite"),
        "{message}"
    );
    assert!(!world.at("mine/student.onnx").exists());

    check_done(&world.shrink(&[&words[..], &["--out", "mine", "--overwrite"]].concat())?)?;
    assert_eq!(std::fs::read_to_string(world.at("mine/notes.txt"))?, "mine");
    assert!(world.at("mine/student.onnx").is_file());
    // An empty folder, and one with the checkpoint of an interrupted run alone, are as good as none.
    std::fs::create_dir(world.at("empty"))?;
    std::fs::write(world.at("empty/distillation-7.checkpoint"), "")?;
    check_done(&world.shrink(&[&words[..], &["--out", "empty"]].concat())?)
}
