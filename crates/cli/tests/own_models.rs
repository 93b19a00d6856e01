//! `distill posterior` and `inspect` on models and data as users have them, and every file they cannot take.

mod files;

use std::path::{Path, PathBuf};

use files::{Numbers, TestResult, close, failure, file, posterior, success, word};

type Tensors<'a> = &'a [(&'a str, &'a [usize], Numbers)];

fn written(folder: &Path, name: &str, tensors: Tensors) -> std::io::Result<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, file(None, tensors))?;
    Ok(path)
}

const FULL: [&str; 6] = ["--task", "regression", "--method", "laplace", "--structure", "full"];

#[test]
fn a_linear_regression_has_its_conjugate_posterior() -> TestResult {
    let folder = tempfile::tempdir()?;
    let weights =
        [("weight", &[1, 1][..], Numbers::F32(vec![2.0])), ("bias", &[1], Numbers::F32(vec![0.5]))];
    let model = written(folder.path(), "model.safetensors", &weights)?;
    let data = folder.path().join("data.csv");
    std::fs::write(&data, "size,price\n1,2\n2,5\n-1,-1\n")?;
    let out = folder.path().join("p.safetensors");
    let common = ["posterior", word(&model), "--data", word(&data), "--out", word(&out)];
    let more = ["--noise-variance", "0.5", "--prior-precision", "3"];
    let told = success(&[&common[..], &FULL, &more].concat())?;
    let (header, tensors) = posterior(&out)?;
    close(&tensors["mean"], &[2.0, 0.5]);
    // (Σ x² / σ² + a, Σ x / σ²; Σ x / σ², m / σ² + a) = (15, 4; 4, 9), of determinant 119.
    close(&tensors["covariance"], &[9.0 / 119.0, -4.0 / 119.0, -4.0 / 119.0, 15.0 / 119.0]);
    // Residuals −0.5, 0.5, 0.5: −3/2 log 2πσ² − ½ · 0.75 / σ².
    let fit = -1.5 * std::f64::consts::PI.ln() - 0.75;
    close(&[header["log_likelihood"].as_f64().ok_or("no fit")?], &[fit]);
    assert_eq!(header["task"], "regression");
    assert_eq!((&header["noise_variance"], &header["prior_precision"]), (&0.5.into(), &3.0.into()));
    assert_eq!(header["n_examples"], 3);
    assert!(told.contains(&format!("{fit:.6}")), "{told}");

    // The same as safetensors; the default of the noise is said.
    let numbers = [
        ("x", &[3, 1][..], Numbers::F64(vec![1.0, 2.0, -1.0])),
        ("y", &[3], Numbers::I64(vec![2, 5, -1])),
    ];
    let data = written(folder.path(), "data.safetensors", &numbers)?;
    let common = ["posterior", word(&model), "--data", word(&data), "--out", word(&out)];
    let told = success(&[&common[..], &FULL].concat())?;
    assert!(told.contains("noise variance   1 (default)"), "{told}");
    // (7, 2; 2, 4), of determinant 24.
    close(&posterior(&out)?.1["covariance"], &[4.0 / 24.0, -2.0 / 24.0, -2.0 / 24.0, 7.0 / 24.0]);
    Ok(())
}

#[test]
fn layers_are_chained_by_shape_or_by_natural_order_of_names() -> TestResult {
    let folder = tempfile::tempdir()?;
    let data = written(
        folder.path(),
        "data.safetensors",
        &[
            ("x", &[2, 2], Numbers::F32(vec![1.0, 0.0, 0.5, 1.0])),
            ("y", &[2, 2], Numbers::F32(vec![0.0; 4])),
        ],
    )?;
    let out = folder.path().join("p.safetensors");
    let run = |model: &Path, data: &Path| {
        let arguments = ["posterior", word(model), "--data", word(data), "--out", word(&out)];
        let more = ["--task", "regression", "--method", "laplace", "--structure", "diagonal"];
        success(&[&arguments[..], &more].concat())
    };
    let names: Vec<String> = (1..=11).map(|t| format!("layer{t}.weight")).collect();
    let mut tensors: Vec<(&str, &[usize], Numbers)> = names
        .iter()
        .enumerate()
        .map(|(t, name)| (name.as_str(), &[2, 2][..], Numbers::F32(vec![0.1 * (t + 1) as f32; 4])))
        .collect();
    tensors.sort_by_key(|(name, ..)| *name);
    let model = written(folder.path(), "model.safetensors", &tensors)?;
    let told = run(&model, &data)?;
    assert!(told.contains("layer1, layer2, layer3") && told.contains("layer10, layer11"), "{told}");
    let mean = &posterior(&out)?.1["mean"];
    let wanted: Vec<f64> = (1..=11).flat_map(|t| [f64::from(0.1 * t as f32); 4]).collect();
    close(mean, &wanted);
    assert!(success(&["inspect", word(&model)])?.contains("in this order: layer1, layer2, layer3"));

    let one_target = folder.path().join("data.csv");
    std::fs::write(&one_target, "1,0,0\n0.5,1,0\n")?;
    // Shapes overrule names: a takes what b gives. All float types; the bias ends its row.
    let model = written(
        folder.path(),
        "model.safetensors",
        &[
            ("a.bias", &[1], Numbers::F64(vec![5.0])),
            ("a.weight", &[1, 3], Numbers::Half("BF16", vec![0x3f80; 3])),
            ("b.bias", &[3], Numbers::F32(vec![7.0, 8.0, 9.0])),
            ("b.weight", &[3, 2], Numbers::Half("F16", vec![0x3c00; 6])),
        ],
    )?;
    assert!(run(&model, &one_target)?.contains("b, a"));
    let wanted = [1.0, 1.0, 7.0, 1.0, 1.0, 8.0, 1.0, 1.0, 9.0, 1.0, 1.0, 1.0, 5.0];
    close(&posterior(&out)?.1["mean"], &wanted);

    // This program's blocks, where one block needs the data to tell its bias.
    let block = [("block.0", &[2, 3][..], Numbers::F32((0..6).map(|i| i as f32).collect()))];
    let model = written(folder.path(), "model.safetensors", &block)?;
    run(&model, &data)?;
    assert_eq!(posterior(&out)?.0["bias"], true);
    close(&posterior(&out)?.1["mean"], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    Ok(())
}

#[test]
fn every_structure_of_a_classifier_goes_through_all_commands() -> TestResult {
    let folder = tempfile::tempdir()?;
    let model = written(
        folder.path(),
        "model.safetensors",
        &[
            ("0.weight", &[4, 2], Numbers::F32(vec![1.0, 0.5, -0.5, 1.0, 0.3, 0.2, -1.0, -0.4])),
            ("0.bias", &[4], Numbers::F32(vec![0.1, 0.2, 0.3, 0.4])),
            ("2.weight", &[3, 4], Numbers::F32((0..12).map(|i| (i as f32 - 6.0) / 8.0).collect())),
            ("2.bias", &[3], Numbers::F32(vec![0.0, 0.1, -0.1])),
        ],
    )?;
    let data = folder.path().join("data.csv");
    std::fs::write(&data, "1,2,0\n0.5,-1,1\n-1,0.3,2\n2,1,1\n-0.2,0.7,0\n")?;
    let (out, student) = (folder.path().join("p.safetensors"), folder.path().join("q.safetensors"));
    for structure in ["diagonal", "kronecker", "low-rank", "full"] {
        let arguments = ["posterior", word(&model), "--data", word(&data), "--out", word(&out)];
        let mut more =
            vec!["--task", "classification", "--method", "laplace", "--structure", structure];
        if structure == "low-rank" {
            more.extend(["--rank", "3"]);
        }
        success(&[&arguments[..], &more].concat())?;
        let told = success(&["inspect", word(&out)])?;
        for part in [
            "[2, 4, 3]",
            &structure.replace('-', "_"),
            "classification",
            "prior precision  1",
            "4 x 3",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        let order =
            ["order", "--posterior", word(&out), "--layer", "1", "--by", "greedy", "--keep", "2"];
        let told = success(&order)?;
        let flag: Vec<&str> = told.lines().last().ok_or("no flag")?.split(' ').collect();
        let transform = ["transform", "--posterior", word(&out), "--out", word(&student)];
        let told = success(&[&transform[..], &flag].concat())?;
        assert!(told.contains("[2, 2, 3]") && told.contains("log evidence"), "{told}");
        let (header, _) = posterior(&student)?;
        assert_eq!(header["task"], "classification");
        assert!(success(&["inspect", word(&student)])?.contains("made from"));
    }
    Ok(())
}

#[test]
fn what_carries_the_mean_of_a_kronecker_posterior_is_said_and_can_be_chosen() -> TestResult {
    let folder = tempfile::tempdir()?;
    let model = written(
        folder.path(),
        "model.safetensors",
        &[
            ("0.weight", &[3, 1], Numbers::F32(vec![1.0, 0.9, -0.5])),
            ("0.bias", &[3], Numbers::F32(vec![0.1, 0.2, 0.3])),
            ("2.weight", &[1, 3], Numbers::F32(vec![1.0, 0.5, -0.4])),
            ("2.bias", &[1], Numbers::F32(vec![0.0])),
        ],
    )?;
    let data = folder.path().join("data.csv");
    std::fs::write(&data, "1,1.5\n2,3\n0.5,1\n3,4\n-1,0.2\n")?;
    let [out, student] = ["p", "q"].map(|name| folder.path().join(format!("{name}.safetensors")));
    let make = |structure: &str| {
        success(&[
            "posterior",
            word(&model),
            "--data",
            word(&data),
            "--task",
            "regression",
            "--method",
            "laplace",
            "--structure",
            structure,
            "--prior-precision",
            "10",
            "--out",
            word(&out),
        ])
    };
    assert!(make("kronecker")?.contains("kronecker_eigen"));
    let cut =
        ["transform", "--posterior", word(&out), "--remove-units", "1:1", "--out", word(&student)];
    let mut means = Vec::new();
    for (more, said, kept) in [
        (
            &[][..],
            "without the prior, 0.0001 of the inputs' mean square",
            serde_json::json!({"numerical": {"epsilon": 1e-4}}),
        ),
        (
            &["--epsilon", "0.01"],
            "without the prior, 0.01 of",
            serde_json::json!({"numerical": {"epsilon": 0.01}}),
        ),
        (&["--damping", "prior"], "with the prior", "prior".into()),
    ] {
        let told = success(&[&cut[..], more].concat())?;
        assert!(told.contains(said) && told.contains("log evidence"), "{told}");
        let (header, tensors) = posterior(&student)?;
        assert_eq!((&header["damping"], &header["structure"]), (&kept, &"kronecker".into()));
        assert!(success(&["inspect", word(&student)])?.contains(said));
        means.push(tensors["mean"].clone());
    }
    assert!(means[0] != means[1] && means[1] != means[2]);
    // The covariance keeps the prior, whatever carried the mean.
    let wrong = |more: &[&str]| failure(&[&cut[..], more].concat());
    let (status, line) = wrong(&["--damping", "prior", "--epsilon", "0.1"])?;
    assert!(status == 2 && line.contains("--epsilon: wanted --damping numerical"), "{line}");
    let (status, line) = wrong(&["--epsilon", "0"])?;
    assert!(status == 2 && line.contains("above 0"), "{line}");
    make("full")?;
    let (status, line) = wrong(&["--damping", "numerical"])?;
    assert!(status == 2 && line.contains("--structure kronecker`, found full"), "{line}");
    Ok(())
}

#[test]
fn variational_inference_of_a_linear_regression_finds_the_independent_optimum() -> TestResult {
    let folder = tempfile::tempdir()?;
    let weights = [("weight", &[1, 2][..], Numbers::F32(vec![0.9, -0.4]))];
    let model = written(folder.path(), "model.safetensors", &weights)?;
    let data = folder.path().join("data.csv");
    std::fs::write(&data, "1,0,1\n0,2,-1\n2,1,1.5\n-1,1,-1.5\n")?;
    let (out, twice) = (folder.path().join("p.safetensors"), folder.path().join("q.safetensors"));
    let run = |out: &Path| {
        let arguments = ["posterior", word(&model), "--data", word(&data), "--out", word(out)];
        let more = "--task regression --method vi --structure diagonal --noise-variance 0.1 --prior-precision 2 \
                    --epochs 6000 --batch-size 4 --learning-rate 0.003 --seed 5";
        let more: Vec<&str> = more.split_whitespace().collect();
        success(&[&arguments[..], &more].concat())
    };
    assert!(run(&out)?.contains("evidence bound"));
    let (header, tensors) = posterior(&out)?;
    // Precision XᵀX / σ² + a I = (62, 10; 10, 62), Xᵀy / σ² = (55, -20): the mean is (3610, -1790) / 3744, and the
    // best independent variances are 1 / 62.
    for (i, wanted) in [3610.0 / 3744.0, -1790.0 / 3744.0].into_iter().enumerate() {
        let gap = (tensors["mean"][i] - wanted).abs() * 62_f64.sqrt();
        assert!(gap < 0.3, "{gap} deviations");
        let ratio = tensors["variance"][i] * 62.0;
        assert!((0.7..1.4).contains(&ratio), "{ratio}");
    }
    assert_eq!((&header["structure"], &header["n_examples"]), (&"diagonal".into(), &4.into()));
    run(&twice)?;
    assert_eq!(std::fs::read(&out)?, std::fs::read(&twice)?, "same seed, same bits");
    Ok(())
}

#[test]
fn what_is_no_whole_file_of_pytorch_is_refused() -> TestResult {
    let folder = tempfile::tempdir()?;
    for (name, bytes, part) in [
        ("zip.pt", &b"PK\x03\x04\0\0\0\0\0\0\0\0"[..], "not a whole zip archive"),
        ("old.pt", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9", "not a whole pickle"),
        ("code.pt", b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.", "`posix.system`"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes)?;
        let (status, line) = failure(&["inspect", word(&path)])?;
        assert!(status == 1 && line.contains(part) && line.contains(name), "{line}");
        let posterior = ["rank", "--posterior", word(&path), "--layer", "1", "--by", "magnitude"];
        let (status, line) = failure(&posterior)?;
        assert!(status == 1 && line.contains("wanted a posterior of this program"), "{line}");
        assert!(line.contains("`distill posterior`"), "{line}");
    }
    Ok(())
}

#[test]
fn models_that_are_no_perceptrons_are_refused_by_name() -> TestResult {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data.csv");
    std::fs::write(&data, "1,2,0\n")?;
    let out = folder.path().join("p.safetensors");
    let numbers = |n: usize| Numbers::F32(vec![0.0; n]);
    for (tensors, parts) in [
        (
            &[("conv1.weight", &[3, 1, 5, 5][..], numbers(75))][..],
            &["`conv1.weight`", "convolution"][..],
        ),
        (&[("norm.weight", &[3][..], numbers(3))], &["`norm.weight`", "normalisation"]),
        (
            &[("a.weight", &[2, 2][..], numbers(4)), ("a.running_mean", &[2], numbers(2))],
            &["`a` has a running mean or"],
        ),
        (
            &[("a.weight", &[2, 2][..], numbers(4)), ("a.bias", &[3], numbers(3))],
            &["`a.bias`", "wanted [2]"],
        ),
        (&[("b.bias", &[3][..], numbers(3))], &["no `*.weight`"]),
        (
            &[("a.weight", &[3, 2][..], numbers(6)), ("b.weight", &[1, 4], numbers(4))],
            &["`a` gives 3", "`b` takes 4"],
        ),
        (
            &[("a.weight", &[1, 2][..], Numbers::F32(vec![1.0, f32::NAN]))],
            &["`a.weight` holds NaN"],
        ),
        (&[("a.weight", &[1, 2][..], Numbers::I64(vec![1, 2]))], &["`a.weight` holds I64"]),
        (&[("a.weight", &[1, 3][..], numbers(3))], &["expected 3 features", "found 2"]),
        (&[("a.weight", &[2, 2][..], numbers(4))], &["expected 2 targets", "found 1"]),
        (
            &[("block.0", &[3, 2][..], numbers(6)), ("block.2", &[1, 3], numbers(3))],
            &["`block.1` is missing"],
        ),
        (
            &[("block.0", &[3, 2][..], numbers(6)), ("block.1", &[1, 5], numbers(5))],
            &["no perceptron"],
        ),
        (&[], &["holds no tensors"]),
    ] {
        let model = written(folder.path(), "model.safetensors", tensors)?;
        let arguments = ["posterior", word(&model), "--data", word(&data), "--out", word(&out)];
        let (status, line) = failure(&[&arguments[..], &FULL].concat())?;
        assert!(status == 1 && parts.iter().all(|part| line.contains(part)), "{line}");
        // The same file can still be looked at.
        let told = success(&["inspect", word(&model)])?;
        assert!(tensors.iter().all(|(name, ..)| told.contains(name)), "{told}");
    }
    // 110 × 110 and more: p = 12 100 has no dense covariance.
    let model =
        written(folder.path(), "model.safetensors", &[("a.weight", &[6050, 2], numbers(12_100))])?;
    let arguments = ["posterior", word(&model), "--data", word(&data), "--out", word(&out)];
    let (status, line) = failure(&[&arguments[..], &FULL].concat())?;
    assert!(status == 1 && line.contains("12100") && line.contains("kronecker"), "{line}");
    assert!(!out.exists());
    Ok(())
}

#[test]
fn data_that_do_not_fit_are_refused_with_file_and_line() -> TestResult {
    let folder = tempfile::tempdir()?;
    let model = written(
        folder.path(),
        "model.safetensors",
        &[("a.weight", &[2, 2], Numbers::F32(vec![1.0; 4]))],
    )?;
    let out = folder.path().join("p.safetensors");
    let run = |data: &Path| {
        let arguments = ["posterior", word(&model), "--data", word(data), "--out", word(&out)];
        let more = ["--task", "classification", "--method", "laplace", "--structure", "diagonal"];
        failure(&[&arguments[..], &more].concat())
    };
    let csv = folder.path().join("data.csv");
    for (text, part) in [
        ("a,b,y\n1,2,1\n1,2\n", "data.csv: line 3: expected 3 columns"),
        ("1,2,1\n1,?,1\n", "data.csv: line 2, column 2: expected a number, found `?`"),
        ("1,2,2\n", "line 1, column 3: classes are numbered from 0 to 1, found 2"),
        ("1,2,0.5\n", "found 0.5"),
        ("1,2,3,1\n", "expected 2 features an example, as the network takes, found 3"),
        ("", "found an empty file"),
    ] {
        std::fs::write(&csv, text)?;
        let (status, line) = run(&csv)?;
        assert!(status == 1 && line.contains(part), "{line}");
    }
    let x = |n: usize| ("x", vec![n, 2], Numbers::F32(vec![1.0; 2 * n]));
    for (tensors, part) in [
        (vec![x(2)], "expected a tensor `y`"),
        (vec![("y", vec![2], Numbers::I64(vec![0, 1]))], "expected a tensor `x`"),
        (
            vec![x(2), ("y", vec![3], Numbers::I64(vec![0, 1, 1]))],
            "tensor `y`: expected shape (2,) or (2, k), as `x` has 2 rows, found [3]",
        ),
        (
            vec![x(2), ("y", vec![2], Numbers::I64(vec![0, -1]))],
            "tensor `y`, row 1 (from 0): classes are numbered from 0 to 1, found -1",
        ),
        (
            vec![x(2), ("y", vec![2, 2], Numbers::I64(vec![0; 4]))],
            "expected one class an example, found 2",
        ),
        (vec![x(1), ("y", vec![1], Numbers::F64(vec![f64::INFINITY]))], "`y`, row 0"),
    ] {
        let borrowed: Vec<(&str, &[usize], Numbers)> = tensors
            .into_iter()
            .map(|(name, shape, numbers)| (name, &*shape.leak(), numbers))
            .collect();
        let data = written(folder.path(), "data.safetensors", &borrowed)?;
        let (status, line) = run(&data)?;
        assert!(status == 1 && line.contains(part), "{line}");
    }
    let (status, line) = run(Path::new("absent.csv"))?;
    assert!(status == 1 && line.contains("fashion-mnist") && line.contains("absent.csv"), "{line}");
    assert!(!out.exists());
    Ok(())
}
