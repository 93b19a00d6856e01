//! Trained networks as people have them, after public reports: what is taken, what is refused and with which words.

mod files;

use std::path::{Path, PathBuf};

use files::{TestResult, distill, failure, success, word};

/// A file of a case.
fn case(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    folder.join(name).to_string_lossy().into_owned()
}

/// `distill posterior` on a model and data.
struct Fit {
    model: String,
    data: String,
    out: PathBuf,
}

impl Fit {
    fn new(model: &str, data: &str, folder: &Path) -> Self {
        Self { model: case(model), data: case(data), out: folder.join("out.safetensors") }
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let common = ["posterior", &self.model, "--data", &self.data, "--method", "laplace"];
        [&common[..], &["--out", word(&self.out)], more].concat()
    }

    fn success(&self, more: &[&str]) -> Result<String, Box<dyn std::error::Error>> {
        success(&self.arguments(more))
    }

    fn failure(&self, more: &[&str]) -> Result<String, Box<dyn std::error::Error>> {
        Ok(failure(&self.arguments(more))?.1)
    }
}

const REGRESSION: [&str; 6] =
    ["--task", "regression", "--noise-variance", "0.01", "--structure", "full"];
const CLASSES: [&str; 4] = ["--task", "classification", "--structure", "full"];

/// The value beside a name, to the digits that are printed.
#[track_caller]
fn says(told: &str, name: &str, value: &str) {
    let line = told.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    assert_eq!(line.strip_prefix(name).map(str::trim), Some(value), "{told}");
}

#[test]
fn one_network_of_several_is_an_error_until_it_is_named() -> TestResult {
    for model in ["08/ema.safetensors", "08/ema_counters.safetensors"] {
        let folder = tempfile::tempdir()?;
        let fit = Fit::new(model, "08/train.csv", folder.path());
        let line = fit.failure(&REGRESSION)?;
        assert!(line.contains("2 networks: `ema_model` [1, 6, 1], `online_model` [1, 6, 1]"));
        assert!(line.contains("--layers ema_model.0,ema_model.2"), "{line}");
        assert!(!fit.out.exists());
        for (network, likelihood, evidence) in
            [("ema_model", "12.045502", "-6.323234"), ("online_model", "-7.942330", "-28.082279")]
        {
            let layers = format!("{network}.0,{network}.2");
            let told = fit.success(&[&REGRESSION[..], &["--layers", &layers]].concat())?;
            says(&told, "log-likelihood", likelihood);
            says(&told, "log evidence", evidence);
            let told = fit.success(&[&REGRESSION[..], &["--prefix", network]].concat())?;
            says(&told, "log-likelihood", likelihood);
            says(&told, "log evidence", evidence);
        }
        let line = fit.failure(&[&REGRESSION[..], &["--prefix", "live"]].concat())?;
        assert!(line.contains("begin with `ema_model`") && line.contains("`online_model`"));
    }
    Ok(())
}

#[test]
fn an_order_that_shapes_leave_open_is_asked_for_or_told() -> TestResult {
    let folder = tempfile::tempdir()?;
    let fit = Fit::new("10/model.safetensors", "10/train.csv", folder.path());
    let line = fit.failure(&REGRESSION)?;
    assert!(line.contains("`hidden_layer` and `input_layer`"), "{line}");
    assert!(line.contains("--layers") && line.contains("input_layer,hidden_layer,output_layer"));
    let layers = ["--layers", "input_layer,hidden_layer,output_layer"];
    let told = fit.success(&[&REGRESSION[..], &layers].concat())?;
    says(&told, "log-likelihood", "10.074783");
    says(&told, "log evidence", "0.005914");

    // The decoder sorts before the encoder; the features of the data tell.
    let fit = Fit::new("22/autoencoder.safetensors", "22/train.safetensors", folder.path());
    let wide = ["--task", "regression", "--noise-variance", "0.1", "--structure", "full"];
    let output = distill(&fit.arguments(&wide))?;
    let (told, notes) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    says(&told, "widths", "[4, 2, 4]");
    says(&told, "log-likelihood", "-514.194770");
    says(&told, "log evidence", "-558.647234");
    assert!(notes.contains("in the order encoder, decoder") && notes.contains("--layers"));
    let told = success(&["inspect", &fit.model])?;
    assert!(told.contains("[4, 2, 4]") && told.contains("[2, 4, 2]"), "{told}");
    Ok(())
}

#[test]
fn counters_are_left_out_and_numbers_order_layers() -> TestResult {
    let folder = tempfile::tempdir()?;
    let fit = Fit::new("11/module.safetensors", "11/train.csv", folder.path());
    let told = fit.success(&CLASSES)?;
    says(&told, "log-likelihood", "-10.644339");
    says(&told, "log evidence", "-51.142155");
    let fit = Fit::new("11/averaged.safetensors", "11/train.csv", folder.path());
    let output = distill(&fit.arguments(&CLASSES))?;
    let told = String::from_utf8(output.stdout)?;
    says(&told, "log-likelihood", "-12.325898");
    says(&told, "log evidence", "-20.191964");
    let notes = String::from_utf8(output.stderr)?;
    assert!(notes.starts_with("note: ") && notes.contains("left out `n_averaged`"), "{notes}");
    Ok(())
}

#[test]
fn a_student_is_a_model_again() -> TestResult {
    let folder = tempfile::tempdir()?;
    let fit = Fit::new("14/model.safetensors", "14/train.csv", folder.path());
    says(&fit.success(&REGRESSION)?, "log-likelihood", "22.308561");
    let student = folder.path().join("student.safetensors");
    let edit = ["--remove-units", "1:0,3", "--out", word(&student)];
    let told = success(&[&["transform", "--posterior", word(&fit.out)][..], &edit].concat())?;
    assert!(told.contains("0.670408") && told.contains("+0.435471"), "{told}");

    let again = Fit { model: word(&student).into(), out: folder.path().join("again"), ..fit };
    let output = distill(&again.arguments(&REGRESSION))?;
    let (told, notes) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    // At the student's own mean, in f64 (NumPy and PyTorch).
    says(&told, "log-likelihood", "-136.096007");
    says(&told, "widths", "[2, 3, 1]");
    assert!(notes.contains("its mean is taken as the weights"), "{notes}");
    let line = again.failure(&[&REGRESSION[..], &["--activation", "identity"]].concat())?;
    assert!(line.contains("--activation: wanted that of the posterior, Relu"), "{line}");
    Ok(())
}

#[test]
fn pruning_masks_are_multiplied_and_one_logit_is_refused() -> TestResult {
    let folder = tempfile::tempdir()?;
    let diagonal = ["--task", "regression", "--noise-variance", "0.01", "--structure", "diagonal"];
    let fit = Fit::new("17/masked.safetensors", "17/train.csv", folder.path());
    let masked = fit.success(&diagonal)?;
    let fit = Fit::new("17/removed.safetensors", "17/train.csv", folder.path());
    for told in [masked, fit.success(&diagonal)?] {
        says(&told, "log-likelihood", "9.551932");
        says(&told, "log evidence", "-30.759453");
    }

    // One output for two classes.
    let fit = Fit::new("12/model.safetensors", "12/train.csv", folder.path());
    let line = fit.failure(&CLASSES)?;
    assert!(line.contains("put a row of zeros above the last weight"), "{line}");
    Ok(())
}

#[test]
fn a_default_never_fails_and_advice_names_flags() -> TestResult {
    let folder = tempfile::tempdir()?;
    let fit = Fit::new("25/model.safetensors", "25/train.csv", folder.path());
    let low = ["--task", "regression", "--noise-variance", "0.01", "--structure", "low-rank"];
    for rank in [&[][..], &["--rank", "13"]] {
        let told = fit.success(&[&low[..], rank].concat())?;
        says(&told, "rank", "13");
        says(&told, "log-likelihood", "12.717805");
        says(&told, "log evidence", "-6.674991");
    }
    let line = fit.failure(&[&low[..], &["--rank", "14"]].concat())?;
    assert!(line.contains("--rank: wanted at most 13"), "{line}");

    let fit = Fit::new("19/model.safetensors", "19/train.csv", folder.path());
    let told = fit.success(&REGRESSION)?;
    says(&told, "log-likelihood", "38.582662");
    says(&told, "log evidence", "-10.832077");
    let with = |noise: &'static str, prior: &'static str, structure: &'static str| {
        let task = ["--task", "regression", "--structure", structure];
        [&task[..], &["--noise-variance", noise, "--prior-precision", prior]].concat()
    };
    let line = fit.failure(&with("1e-12", "1e-8", "full"))?;
    assert!(line.contains("--prior-precision than 1e-8 or --noise-variance 1e-12"), "{line}");
    assert!(!line.contains("add a little"), "{line}");
    // The value of 60 digits is −167632000084.588959.
    let told = fit.success(&with("1e-12", "1e-8", "low-rank"))?;
    says(&told, "log-likelihood", "-167632000085");
    let line = fit.failure(&with("1e-320", "1", "full"))?;
    assert!(line.contains("--noise-variance") && line.contains("from 1e-300 to 1e300"), "{line}");
    let told = fit.success(&with("1e300", "1", "full"))?;
    says(&told, "noise variance", "1e300");
    Ok(())
}

#[test]
fn the_likelihood_of_a_teacher_is_not_that_of_its_student() -> TestResult {
    let folder = tempfile::tempdir()?;
    let fit = Fit::new("14/model.safetensors", "14/train.csv", folder.path());
    fit.success(&REGRESSION)?;
    let student = folder.path().join("student.safetensors");
    let edit = ["--remove-units", "1:0,3", "--out", word(&student)];
    success(&[&["transform", "--posterior", word(&fit.out)][..], &edit].concat())?;
    says(&success(&["inspect", word(&fit.out)])?, "log-likelihood", "22.308561");
    says(&success(&["inspect", word(&student)])?, "log-likelihood", "unknown");
    Ok(())
}

#[test]
fn noise_keeps_numbers_that_are_no_intensities() -> TestResult {
    let out = tempfile::tempdir()?;
    let data = case("15/standardised.csv");
    let arguments = ["map", "--kind", "noise", "--std", "0.1", "--data", &data];
    success(&[&arguments[..], &["--out", word(out.path())]].concat())?;
    let bytes = std::fs::read(out.path().join("mapped.safetensors"))?;
    let file = safetensors::SafeTensors::deserialize(&bytes)?;
    let numbers: Vec<f32> = file
        .tensor("x")?
        .data()
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    let text = std::fs::read_to_string(&data)?;
    let lines = text.lines().filter(|line| line.starts_with(|c: char| !c.is_alphabetic()));
    let before: Vec<f32> =
        lines.flat_map(|line| line.split(',').map(|n| n.parse().unwrap_or(f32::NAN))).collect();
    // With or without the last column, as a target or a feature.
    let n_columns = before.len() / file.tensor("x")?.shape()[0];
    let n_features = file.tensor("x")?.shape()[1];
    let kept = before.chunks_exact(n_columns).flat_map(|row| &row[..n_features]);
    let noise: Vec<f64> = numbers.iter().zip(kept).map(|(a, b)| f64::from(a - b)).collect();
    assert!(numbers.iter().all(|&x| x != 0.0 && x != 1.0));
    let std = cli::ledger::stats::population_std(&noise);
    // 600 draws know their standard deviation to 3 %.
    assert!((std - 0.1).abs() < 0.01, "{std}");
    Ok(())
}
