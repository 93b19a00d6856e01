//! `distill shrink` and the data of its users: names of classes, missing values, images, sizes and times, and other networks.

mod files;

use std::error::Error;
use std::path::Path;
use std::process::{Command, Output};

use core_tensors::Params;
use core_tensors::candle_core::{DType, Device, Tensor};
use files::{Numbers, TestResult, file};
use image::{ExtendedColorType, ImageEncoder};
use models::graph::{Builder, Dimension, Graph, Kind, Op, Unary};
use models::onnx::{ExportOptions, ImportOptions, Model, export, import};
use serde_json::Value;

/// A folder with what a test needs.
struct World {
    folder: tempfile::TempDir,
}

/// 4 times ±a and ±b of the features a and b, twice each.
const HIDDEN: [[f32; 2]; 8] = [
    [1.0, 0.0],
    [-1.0, 0.0],
    [0.0, 1.0],
    [0.0, -1.0],
    [2.0, 0.0],
    [-2.0, 0.0],
    [0.0, 2.0],
    [0.0, -2.0],
];

impl World {
    /// A network of three classes whose logits are 4a, 4b and −4a − 4b, in layers `fc1` and `fc2`.
    fn new() -> Result<Self, Box<dyn Error>> {
        let world = Self { folder: tempfile::tempdir()? };
        let (a, b) = ([1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]);
        let row = |of: [f32; 4], by: f32| {
            [of.map(|w| 2.0 * by * w), of.map(|w| by * w)].concat().into_iter()
        };
        let third = [-1.0, 1.0, -1.0, 1.0];
        let second: Vec<f32> = row(a, 1.0).chain(row(b, 1.0)).chain(row(third, 1.0)).collect();
        let tensors = [
            ("fc1.weight", &[8, 2][..], Numbers::F32(HIDDEN.concat())),
            ("fc1.bias", &[8], Numbers::F32(vec![0.0; 8])),
            ("fc2.weight", &[3, 8], Numbers::F32(second)),
            ("fc2.bias", &[3], Numbers::F32(vec![0.0; 3])),
        ];
        std::fs::write(world.at("net.safetensors"), file(None, &tensors))?;
        world.write("data.csv", &table(180, |_| true, ""))?;
        Ok(world)
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> TestResult {
        Ok(std::fs::write(self.at(name), text)?)
    }

    fn distill(&self, words: &[&str]) -> Result<Output, Box<dyn Error>> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_distill"));
        command.current_dir(self.folder.path()).env_remove("DISTILL_DATA");
        Ok(command.args(words).output()?)
    }

    /// What a run says, notes before the answer.
    #[track_caller]
    fn done(&self, words: &[&str]) -> Result<String, Box<dyn Error>> {
        let output = self.distill(words)?;
        let told = text(&output);
        assert!(output.status.success(), "{words:?}: {told}");
        Ok(told)
    }

    #[track_caller]
    fn refused(&self, words: &[&str], parts: &[&str]) -> TestResult {
        let output = self.distill(words)?;
        let told = text(&output);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {told}");
        for part in parts {
            assert!(told.contains(part), "{words:?}: {part}: {told}");
        }
        Ok(())
    }

    fn report(&self, folder: &str) -> Result<Value, Box<dyn Error>> {
        Ok(serde_json::from_slice(&std::fs::read(self.at(folder).join("report.json"))?)?)
    }
}

fn text(output: &Output) -> String {
    let [told, said] = [&output.stderr, &output.stdout].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{told}{said}")
}

/// Examples of those classes that `is_there` says; `missing` stands for every ninth height.
fn table(n: u32, is_there: impl Fn(u32) -> bool, missing: &str) -> String {
    let mut table = "width,height,kind\n".to_owned();
    for i in (0..n).filter(|i| is_there(i % 3)) {
        let shift = f64::from(i % 50) / 100.0;
        let [width, height, kind] = match i % 3 {
            0 => [(1.0 + shift).to_string(), "0.1".into(), "ant".to_owned()],
            1 => ["0.1".into(), (1.0 + shift).to_string(), "bee".to_owned()],
            _ => [(-0.5 - shift).to_string(), "-0.4".into(), "cow".to_owned()],
        };
        let height = if i % 9 == 0 && !missing.is_empty() { missing.to_owned() } else { height };
        table += &format!("{width},{height},{kind}\n");
    }
    table
}

const SHRINK: [&str; 9] = [
    "shrink",
    "net.safetensors",
    "--data",
    "data.csv",
    "--target",
    "kind",
    "--points",
    "0",
    "--overwrite",
];

fn shrink<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&SHRINK[..], more].concat()
}

#[test]
fn a_file_for_testing_takes_the_names_of_the_data_and_may_lack_some() -> TestResult {
    let world = World::new()?;
    // Without ants, so that bees would be class 0 by their letters.
    world.write("test.csv", &table(60, |class| class != 0, ""))?;
    let words = shrink(&["--test", "test.csv", "--widths", "fc1=4", "--out", "small"]);
    world.done(&words)?;
    let report = world.report("small")?;
    assert_eq!(report["parts"]["test"], 40);
    let measures = report["students"][0]["quality"]["measures"].as_array().ok_or("measures")?;
    let accuracy = measures.iter().find(|of| of["metric"] == "accuracy").ok_or("accuracy")?;
    assert_eq!(accuracy["first"], 1.0);

    for flag in ["--test", "--validation"] {
        world.write("other.csv", "width,height,kind\n0.1,1,bee\n0.2,1,dog\n-1,-1,cow\n")?;
        let words = shrink(&[flag, "other.csv", "--widths", "fc1=4", "--out", "none"]);
        let parts = [flag, "other.csv", "line 3", "`dog`", "the classes of --data", "0 = ant"];
        world.refused(&words, &parts)?;
    }
    // Numbers are no names of other data.
    world.write("numbers.csv", "width,height,kind\n0.1,1,1\n0.2,1,0\n-1,-1,2\n")?;
    let words = shrink(&["--test", "numbers.csv", "--widths", "fc1=4", "--out", "none"]);
    world.refused(&words, &["numbers.csv", "line 2", "without a name: 0, 1, 2"])
}

#[test]
fn missing_values_are_the_mean_of_the_examples_to_fit() -> TestResult {
    let world = World::new()?;
    world.write("data.csv", &table(180, |_| true, "?"))?;
    // What is known of the test file alone would be far off.
    world.write("test.csv", &table(60, |_| true, "?").replace(",0.1,ant", ",0.2,ant"))?;
    let words = ["--test", "test.csv", "--impute", "mean", "--widths", "fc1=4", "--out", "small"];
    let told = world.done(&shrink(&words))?;
    assert!(told.contains("missing values are filled in: `height` with "), "{told}");
    let report = world.report("small")?;
    let understood = report["understood"].to_string();
    assert!(understood.contains("Missing values: `height` with "), "{understood}");
    let replay = std::fs::read_to_string(world.at("small/run.toml"))?;
    assert!(replay.contains("# Missing values are filled in: `height` with "), "{replay}");
    world.done(&["shrink", "--config", "small/run.toml", "--out", "again"])?;
    let [first, second] =
        ["small", "again"].map(|out| std::fs::read(world.at(out).join("student.onnx")));
    assert_eq!(first?, second?);
    // Without --impute they are an error as before.
    let words = shrink(&["--test", "test.csv", "--widths", "fc1=4", "--out", "none"]);
    world.refused(&words, &["data.csv", "--impute mean"])
}

/// JPEGs of 8 × 8 pixels of about this intensity in a folder.
fn jpegs(folder: &Path, n: u32, intensity: u32) -> TestResult {
    std::fs::create_dir_all(folder)?;
    for i in 0..n {
        let pixels: Vec<u8> = (0..192).map(|j| (intensity + (j * 7 + i * 11) % 60) as u8).collect();
        let mut bytes = Vec::new();
        image::codecs::jpeg::JpegEncoder::new(&mut bytes).write_image(
            &pixels,
            8,
            8,
            ExtendedColorType::Rgb8,
        )?;
        std::fs::write(folder.join(format!("{i}.jpg")), bytes)?;
    }
    Ok(())
}

#[test]
fn a_student_says_how_images_are_prepared_and_commands_heed_it() -> TestResult {
    let world = World::new()?;
    // Bright is positive after (x − 0.5) / 0.25, dark is negative: units of both signs.
    let rows: Vec<f32> =
        (0..6u8).flat_map(|i| vec![if i % 2 == 0 { 0.25 } else { -0.25 }; 16]).collect();
    let second: Vec<f32> =
        (0..2).flat_map(|k| (0..6).map(move |i| if i % 2 == k { 1.0 } else { -1.0 })).collect();
    let tensors = [
        ("a.weight", &[6, 16][..], Numbers::F32(rows)),
        ("a.bias", &[6], Numbers::F32(vec![0.0; 6])),
        ("b.weight", &[2, 6], Numbers::F32(second)),
        ("b.bias", &[2], Numbers::F32(vec![0.0; 2])),
    ];
    std::fs::write(world.at("images.safetensors"), file(None, &tensors))?;
    jpegs(&world.at("photos/bright"), 30, 180)?;
    jpegs(&world.at("photos/dark"), 30, 10)?;
    let steps =
        ["--image-size", "4x4", "--grayscale", "--image-mean", "0.5", "--image-std", "0.25"];
    let words =
        ["shrink", "images.safetensors", "--data", "photos", "--widths", "a=2", "--points", "0"];
    let told = world.done(&[&words[..], &steps, &["--out", "small"]].concat())?;
    let sentence = "4 x 4 pixels, grayscale, intensities divided by 255, (x − 0.5) / 0.25";
    assert!(told.contains(sentence), "{told}");
    assert!(world.report("small")?["understood"].to_string().contains(sentence));
    let html = std::fs::read_to_string(world.at("small/report.html"))?;
    assert!(html.contains("4 x 4 pixels, grayscale"));

    let model = Model::parse(std::fs::read(world.at("small/student.onnx"))?)?;
    let said = model.metadata().iter().find(|(key, _)| key == "distill.images");
    let said = &said.ok_or("metadata of the ONNX file")?.1;
    let said_text = said.clone();
    let bytes = std::fs::read(world.at("small/student.safetensors"))?;
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes)?;
    let of_dict = header.metadata().as_ref().and_then(|all| all.get("distill.images"));
    assert_eq!(of_dict, Some(said));
    let said: Value = serde_json::from_str(said)?;
    assert_eq!(said["size"], serde_json::json!([4, 4]));
    assert_eq!((&said["grayscale"], &said["mean"][0]), (&true.into(), &0.5.into()));

    // Without a word on the command line the student sees what it was made for; without its metadata it does not.
    for student in ["small/student.onnx", "small/student.safetensors"] {
        let output = world.distill(&["evaluate", student, "--data", "photos", "--json"])?;
        let told = text(&output);
        assert!(output.status.success(), "{told}");
        assert!(told.contains("images are prepared as this file says: 4 x 4 pixels"), "{told}");
        let value: Value = serde_json::from_slice(&output.stdout)?;
        let measures = value["quality"]["measures"].as_array().ok_or("measures")?;
        let accuracy = measures.iter().find(|of| of["metric"] == "accuracy").ok_or("accuracy")?;
        assert_eq!(accuracy["value"]["value"], 1.0, "{student}");
    }
    let predict = |out: &str, more: &[&str]| {
        let words = ["predict", "small/student.onnx", "--data", "photos", "--out", out];
        world.done(&[&words[..], more].concat())
    };
    predict("by-file.csv", &[])?;
    predict("by-options.csv", &steps)?;
    let told = predict("other.csv", &["--image-mean", "0"])?;
    assert!(told.contains("--image-mean 0 overrules what the file says, 0.5"), "{told}");
    let [by_file, by_options, other] = ["by-file.csv", "by-options.csv", "other.csv"]
        .map(|name| std::fs::read_to_string(world.at(name)).unwrap_or_default());
    assert!(by_file == by_options && by_file != other);
    // What is made from the student says so, too.
    let again = [
        "shrink",
        "small/student.onnx",
        "--data",
        "photos",
        "--widths",
        "layers.0=1",
        "--points",
        "0",
    ];
    world.done(&[&again[..], &["--force", "--out", "smaller"]].concat())?;
    world.done(&["convert", "smaller/student.safetensors", "--out", "converted.onnx"])?;
    world.done(&["convert", "converted.onnx", "--out", "back.safetensors"])?;
    let model = Model::parse(std::fs::read(world.at("converted.onnx"))?)?;
    assert!(model.metadata().contains(&("distill.images".to_owned(), said_text.clone())));
    let bytes = std::fs::read(world.at("back.safetensors"))?;
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes)?;
    let of_dict = header.metadata().as_ref().and_then(|all| all.get("distill.images"));
    assert_eq!(of_dict, Some(&said_text));
    // The teacher's file says nothing of images, the student's speaks for both.
    let words = ["compare", "images.safetensors", "small/student.onnx", "--data", "photos"];
    let told = world.done(&words)?;
    assert!(told.contains("student.onnx: images are prepared as this file says"), "{told}");
    Ok(())
}

#[test]
fn layers_have_the_names_that_inspect_prints_and_a_budget_below_the_floor_says_why() -> TestResult {
    let world = World::new()?;
    let mut files = Vec::new();
    for name in ["fc1", "layers.0"] {
        world.done(&shrink(&["--widths", &format!("{name}=4"), "--out", name]))?;
        files.push(std::fs::read(world.at(name).join("student.onnx"))?);
    }
    assert_eq!(files[0], files[1]);
    let listed = "layers that can lose units: layers.0 or fc1 (8 units)";
    world.refused(&shrink(&["--widths", "fc9=4", "--out", "none"]), &[listed])?;
    // 2·1 + 1 + 3·1 + 3 = 9 of 51 parameters at one unit, 51 at eight.
    for (words, parts) in [
        (
            &["--to", "10%"][..],
            &["--to: expected at least 9 parameters (17.65 %)", "found 5 parameters"][..],
        ),
        (&["--to", "5"], &["--to: expected at least 9 parameters", "each layer keeps a unit"]),
        (
            &["--to", "20%", "--multiple", "4"],
            &[
                "--to: expected at least 27 parameters",
                "--multiple 4 keeps at least 4 units",
                "without --multiple it is 9 parameters",
            ],
        ),
        (&["--macs", "5%"], &["--macs: expected at least 5 multiply-adds"]),
        (&["--size", "10B"], &["--size: expected at least", "bytes"]),
    ] {
        world.refused(&shrink(&[words, &["--out", "none"]].concat()), parts)?;
    }
    Ok(())
}

#[test]
fn a_batch_larger_than_the_data_is_timed_and_old_checkpoints_are_said() -> TestResult {
    let world = World::new()?;
    std::fs::create_dir(world.at("small"))?;
    world.write("small/distillation-7.checkpoint", "of another run")?;
    world.write("small/notes.checkpoint", "the user's own")?;
    let words = ["--widths", "fc1=4", "--latency-batch", "500", "--out", "small"];
    let told = world.done(&shrink(&words))?;
    let report = world.report("small")?;
    assert_eq!(
        (&report["latency"][0]["batch"], &report["latency"][1]["batch"]),
        (&500.into(), &500.into())
    );
    let ratio = &report["latency_ratio"];
    let [low, median, high] = ["low", "median", "high"].map(|key| ratio[key].as_f64());
    assert!(low <= median && median <= high && low > Some(0.0), "{ratio}");
    let line = told.lines().find(|line| line.contains("distillation-7.checkpoint"));
    let line = line.ok_or("a line on the checkpoint")?;
    assert!(line.contains("delete") && !line.contains("notes"), "{line}");
    assert!(world.at("small/distillation-7.checkpoint").exists());
    Ok(())
}

/// A graph with its parameters as an ONNX file.
fn written(
    world: &World,
    name: &str,
    graph: &Graph,
    tensor: impl Fn(&str) -> Option<Tensor>,
) -> TestResult {
    let params: Params = graph.params_by_name(tensor)?;
    Ok(std::fs::write(world.at(name), export(graph, &params, &ExportOptions::default())?)?)
}

const GEMM: Op = Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b: true };

#[test]
fn sizes_before_are_those_of_the_file_with_its_batch_normalizations() -> TestResult {
    let world = World::new()?;
    let mut builder = Builder::new();
    let x = builder.input("x", Kind::Float, vec![Dimension::BATCH, Dimension::known(2)]);
    let (u, c) = (builder.parameter("fc1.weight", &[8, 2]), builder.parameter("fc1.bias", &[8]));
    let norm = ["scale", "shift", "mean", "variance"]
        .map(|name| builder.parameter(&format!("norm.{name}"), &[8]));
    let (v, d) = (builder.parameter("fc2.weight", &[3, 8]), builder.parameter("fc2.bias", &[3]));
    let sums = builder.add("fc1", GEMM, &[x, u, c], &["sums"])?;
    let operands = [&sums[..], &norm].concat();
    let normal =
        builder.add("norm", Op::BatchNormalization { epsilon: 1e-5 }, &operands, &["normal"])?;
    let hidden = builder.add("relu", Op::Unary(Unary::Relu), &normal, &["hidden"])?;
    let logits = builder.add("fc2", GEMM, &[hidden[0], v, d], &["logits"])?;
    let graph = builder.finish(&logits);
    let bytes = std::fs::read(world.at("net.safetensors"))?;
    let tensors = safetensors::SafeTensors::deserialize(&bytes)?;
    let tensor = |name: &str| -> Option<Tensor> {
        let of = |value: f32| Tensor::full(value, 8, &Device::Cpu).ok();
        match name {
            "norm.scale" | "norm.variance" => of(1.0),
            "norm.shift" | "norm.mean" => of(0.0),
            _ => {
                let view = tensors.tensor(name).ok()?;
                Tensor::from_raw_buffer(view.data(), DType::F32, view.shape(), &Device::Cpu).ok()
            }
        }
    };
    written(&world, "norm.onnx", &graph, tensor)?;
    let n_parameters = |path: &Path| -> Result<usize, Box<dyn Error>> {
        let model = Model::parse(std::fs::read(path)?)?;
        let read =
            import(&model, &mut |_, _, _| Err("no file beside".into()), &ImportOptions::default())?;
        Ok(read.graph.layout().n_parameters())
    };
    let before = n_parameters(&world.at("norm.onnx"))?;
    assert!(before > 51, "{before}");
    let words = ["shrink", "norm.onnx", "--data", "data.csv", "--target", "kind", "--points", "0"];
    world.done(&[&words[..], &["--to", "50%", "--out", "small"]].concat())?;
    let size = &world.report("small")?["sizes"][0];
    let after = n_parameters(&world.at("small/student.onnx"))?;
    assert_eq!(
        (size["before"].as_f64(), size["after"].as_f64()),
        (Some(before as f64), Some(after as f64))
    );
    assert!(2 * after <= before);
    Ok(())
}

#[test]
fn networks_with_several_inputs_are_told_what_takes_them() -> TestResult {
    let world = World::new()?;
    let mut builder = Builder::new();
    let input = |builder: &mut Builder, name| {
        builder.input(name, Kind::Float, vec![Dimension::BATCH, Dimension::known(2)])
    };
    let (x, mask) = (input(&mut builder, "tokens"), input(&mut builder, "mask"));
    let masked =
        builder.add("product", Op::Binary(models::graph::Binary::Mul), &[x, mask], &["masked"])?;
    let (u, c) = (builder.parameter("fc.weight", &[3, 2]), builder.parameter("fc.bias", &[3]));
    let logits = builder.add("fc", GEMM, &[masked[0], u, c], &["logits"])?;
    let graph = builder.finish(&logits);
    let tensor = |name: &str| match name {
        "fc.weight" => Tensor::ones((3, 2), DType::F32, &Device::Cpu).ok(),
        _ => Tensor::zeros(3, DType::F32, &Device::Cpu).ok(),
    };
    written(&world, "two.onnx", &graph, tensor)?;
    let words = ["shrink", "two.onnx", "--data", "data.csv", "--to", "50%", "--out", "none"];
    let parts = [
        "two.onnx",
        "found 2: `tokens`, `mask`",
        "bayes_posterior::surgery::network::operate",
        "docs/surgery.md",
    ];
    world.refused(&words, &parts)
}
