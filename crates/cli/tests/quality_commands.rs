//! `distill evaluate`, `compare` and `predict` on small perceptrons with known outputs, and what they refuse.

mod files;

use std::error::Error;
use std::path::{Path, PathBuf};

use files::{Numbers, TestResult, close, distill, failure, file, refused, success, word};

/// A perceptron of one layer, z = U x + b, as a state dict.
fn linear(folder: &Path, name: &str, u: &[&[f32]], b: &[f32]) -> std::io::Result<PathBuf> {
    let path = folder.join(name);
    let shape = [u.len(), u[0].len()];
    let tensors = [
        ("weight", &shape[..], Numbers::F32(u.concat())),
        ("bias", &[b.len()], Numbers::F32(b.to_vec())),
    ];
    std::fs::write(&path, file(None, &tensors))?;
    Ok(path)
}

/// Two networks of three classes, of which the second takes most for the first class, and a table of 60 examples, 20 a class.
fn classifiers(folder: &Path) -> Result<[PathBuf; 3], Box<dyn Error>> {
    let first =
        linear(folder, "a.safetensors", &[&[4.0, 0.0], &[0.0, 4.0], &[-4.0, -4.0]], &[0.0; 3])?;
    let second = linear(
        folder,
        "b.safetensors",
        &[&[4.0, 0.0], &[0.0, 4.0], &[-4.0, -4.0]],
        &[9.0, 0.0, 0.0],
    )?;
    let mut table = "width,height,kind\n".to_owned();
    for i in 0..60 {
        let shift = f64::from(i) / 100.0;
        table += &match i % 3 {
            0 => format!("{},{},ant\n", 1.0 + shift, 0.1),
            1 => format!("{},{},bee\n", 0.1, 1.0 + shift),
            _ => format!("{},{},cow\n", -0.5 - shift, -0.4),
        };
    }
    let data = folder.join("data.csv");
    std::fs::write(&data, table)?;
    Ok([first, second, data])
}

fn json(arguments: &[&str]) -> Result<serde_json::Value, Box<dyn Error>> {
    let output = distill(arguments)?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn a_network_is_measured_beside_a_constant() -> TestResult {
    let folder = tempfile::tempdir()?;
    let [first, second, data] = classifiers(folder.path())?;
    let target = ["--data", word(&data), "--target", "kind"];
    let told = success(&[&["evaluate", word(&first)], &target[..]].concat())?;
    for part in ["60 examples", "accuracy, share", "1.0000", "best constant", "0.3333", "ant"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let found = json(&[&["evaluate", word(&second)], &target[..], &["--json"]].concat())?;
    let measures = found["quality"]["measures"].as_array().ok_or("no measures")?;
    let accuracy = measures.iter().find(|m| m["metric"] == "accuracy").ok_or("no accuracy")?;
    let value = accuracy["value"]["value"].as_f64().ok_or("no value")?;
    assert!(value > 0.3 && value < 1.0, "{value}");
    let worst = &found["quality"]["classes"][0];
    assert_eq!((&worst["accuracy"]["value"], &worst["taken_for"][0]), (&0.0.into(), &"ant".into()));
    assert_eq!(found["model_sha256"].as_str().map(str::len), Some(64));
    assert!(found["fit"]["is_better"].is_boolean());
    Ok(())
}

#[test]
fn a_network_that_does_not_fit_is_told_why() -> TestResult {
    let folder = tempfile::tempdir()?;
    let [_, _, data] = classifiers(folder.path())?;
    // The classes in another order.
    let other = linear(
        folder.path(),
        "c.safetensors",
        &[&[0.0, 4.0], &[-4.0, -4.0], &[4.0, 0.0]],
        &[0.0; 3],
    )?;
    let target = ["--data", word(&data), "--target", "kind"];
    let told = success(&[&["evaluate", word(&other)], &target[..]].concat())?;
    assert!(told.contains("no better than the best constant"), "{told}");
    assert!(told.contains("label ant is class 2 of the network, label bee is class 0"), "{told}");
    let found = json(&[&["evaluate", word(&other)], &target[..], &["--json"]].concat())?;
    assert_eq!(found["fit"]["is_better"], false);
    // A cause that convinces stands alone, with what mends it.
    let reasons = found["reasons"].as_array().ok_or("no reasons")?;
    assert!(
        reasons.len() == 1
            && reasons[0]
                .as_str()
                .is_some_and(|line| line.ends_with("give --classes bee,cow,ant.")),
        "{reasons:?}"
    );
    Ok(())
}

#[test]
fn two_networks_are_compared_example_by_example() -> TestResult {
    let folder = tempfile::tempdir()?;
    let [first, second, data] = classifiers(folder.path())?;
    let common = ["compare", word(&first), word(&second), "--data", word(&data), "--target"];
    let told = success(&[&common[..], &["kind"]].concat())?;
    for part in [
        "McNemar's test",
        "B is less accurate",
        "largest losses",
        "cow",
        "agreement with A",
        "differ most",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let found = json(&[&common[..], &["kind", "--json", "--examples", "3"]].concat())?;
    let quality = &found["quality"];
    let disagreements = quality["disagreements"].as_array().ok_or("no disagreements")?;
    assert_eq!((disagreements.len(), quality["n_examples"].as_u64()), (3, Some(60)));
    assert_eq!(quality["classes"][0]["class"], "bee");
    assert_eq!(quality["mc_nemar"]["only_second"], 0);
    assert!(
        found["most_lost"].as_f64() > quality["mc_nemar"]["only_first"].as_f64().map(|n| n / 60.0)
    );
    // A network beside itself, twice the same bytes.
    let same = ["compare", word(&first), word(&first), "--data", word(&data), "--target", "kind"];
    let told = success(&same)?;
    assert!(told.contains("no proof of none") && !told.contains("differ most"), "{told}");
    assert_eq!(told, success(&same)?);

    // Without labels there is agreement alone.
    let bare = folder.path().join("bare.csv");
    std::fs::write(&bare, "width,height\n1,0\n0,1\n-1,-1\n")?;
    let told = success(&["compare", word(&first), word(&second), "--data", word(&bare)])?;
    assert!(
        told.contains("3 examples without labels") && told.contains("agreement with A"),
        "{told}"
    );
    assert!(!told.contains("accuracy"), "{told}");
    Ok(())
}

#[test]
fn predictions_are_written_in_three_formats() -> TestResult {
    let folder = tempfile::tempdir()?;
    let [first, _, _] = classifiers(folder.path())?;
    let data = folder.path().join("bare.csv");
    std::fs::write(&data, "width,height\n1,0\n0,0.5\n")?;
    let at = |name: &str| folder.path().join(name);
    let run = |out: &Path, more: &[&str]| {
        let common = ["predict", word(&first), "--data", word(&data), "--out", word(out)];
        success(&[&common[..], more].concat())
    };
    let out = at("logits.safetensors");
    run(&out, &[])?;
    let bytes = std::fs::read(&out)?;
    let tensors = safetensors::SafeTensors::deserialize(&bytes)?;
    let logits = tensors.tensor("logits")?;
    let numbers: Vec<f64> = logits
        .data()
        .chunks_exact(4)
        .map(|b| Ok(f64::from(f32::from_le_bytes(b.try_into()?))))
        .collect::<Result<_, std::array::TryFromSliceError>>()?;
    close(&numbers, &[4.0, 0.0, -4.0, 0.0, 2.0, -2.0]);
    assert_eq!(
        tensors.tensor("classes")?.data(),
        [0i64.to_le_bytes(), 1i64.to_le_bytes()].concat()
    );

    let out = at("logits.csv");
    run(&out, &["--classes", "ant,bee,cow"])?;
    let text = std::fs::read_to_string(&out)?;
    let mut lines = text.lines();
    let header =
        "class,probability_ant,probability_bee,probability_cow,logit_ant,logit_bee,logit_cow";
    assert_eq!(lines.next(), Some(header));
    let row: Vec<&str> = lines.next().ok_or("no row")?.split(',').collect();
    assert_eq!((row[0], row[4], row[6]), ("ant", "4", "-4"));
    let total: f64 = row[1..4].iter().map(|p| p.parse::<f64>()).sum::<Result<_, _>>()?;
    assert!((total - 1.0).abs() < 1e-6);

    // What is written in one format is read as data in another command: the logits are features of two networks.
    let out = at("logits.npz");
    let found: serde_json::Value = serde_json::from_str(&run(&out, &["--json"])?)?;
    assert_eq!((&found["n_examples"], &found["predicted"]), (&2.into(), &"classes".into()));
    let first_bytes = std::fs::read(&out)?;
    assert_eq!(&first_bytes[..2], b"PK");
    let (status, line) =
        failure(&["predict", word(&first), "--data", word(&data), "--out", word(&out)])?;
    assert!(status == 2 && line.contains("--overwrite"), "{line}");
    run(&out, &["--overwrite"])?;
    assert_eq!(std::fs::read(&out)?, first_bytes);
    let (status, line) =
        failure(&["predict", word(&first), "--data", word(&data), "--out", word(&at("x.txt"))])?;
    assert!(status == 2 && line.contains(".npz, .safetensors or .csv"), "{line}");
    let (status, _) = failure(&[
        "predict",
        word(&first),
        "--data",
        word(&data),
        "--out",
        word(&first),
        "--overwrite",
    ])?;
    assert_eq!(status, 2);
    Ok(())
}

#[test]
fn one_logit_tells_two_classes_and_one_value_is_regressed() -> TestResult {
    let folder = tempfile::tempdir()?;
    let model = linear(folder.path(), "a.safetensors", &[&[2.0, 0.0]], &[0.0])?;
    let data = folder.path().join("binary.csv");
    let rows: String = (0..40)
        .map(|i| format!("{},0.5,{}\n", f64::from(i) / 10.0 - 1.9, u8::from(i >= 20)))
        .collect();
    std::fs::write(&data, format!("a,b,y\n{rows}"))?;
    let target = ["--data", word(&data), "--target", "y"];
    let told = success(&[&["evaluate", word(&model)], &target[..]].concat())?;
    assert!(told.contains("accuracy, share") && told.contains("Brier"), "{told}");
    let values = [&["evaluate", word(&model)], &target[..], &["--task", "regression"]].concat();
    let told = success(&values)?;
    assert!(told.contains("R²") && told.contains("RMSE"), "{told}");
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused_in_a_sentence() -> TestResult {
    let folder = tempfile::tempdir()?;
    let [first, _, data] = classifiers(folder.path())?;
    let at = |name: &str, text: &str| -> std::io::Result<PathBuf> {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    };
    let wide = at("wide.csv", "a,b,c,d,y\n1,2,3,4,0\n1,2,3,5,1\n")?;
    refused(&["evaluate", word(&first), "--data", word(&wide), "--target", "y"], "expected")?;
    let bare = at("bare.csv", "a,b\n1,2\n3,4\n")?;
    refused(&["evaluate", word(&first), "--data", word(&bare)], "expected labels or targets")?;
    let beyond = at("beyond.csv", "a,b,y\n1,2,0\n1,2,3\n")?;
    refused(
        &["evaluate", word(&first), "--data", word(&beyond), "--target", "y"],
        "classes are numbered from 0 to 2, found 3",
    )?;
    let two = linear(folder.path(), "two.safetensors", &[&[1.0, 0.0], &[0.0, 1.0]], &[0.0; 2])?;
    refused(
        &["compare", word(&first), word(&two), "--data", word(&data), "--target", "kind"],
        "expected networks with as many outputs, found 3",
    )?;
    let (status, line) = failure(&["evaluate", word(&first)])?;
    assert!(status == 2 && line.contains("--data"), "{line}");
    Ok(())
}
