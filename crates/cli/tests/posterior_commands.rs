//! The commands on a user's own model, on small files put together by hand: numbers computed otherwise, and every
//! wrong word or file.

mod files;

use std::path::Path;

use files::{
    Numbers, TestResult, close, distill, failure, file, posterior, refused, success, word,
};

/// Section 3.6's worked example: [2, 2, 1] without biases.
const MEAN: [f64; 6] = [1.0, 2.0, 3.0, 4.0, 0.5, -1.0];
const COVARIANCE: [[f64; 6]; 6] = [
    [2.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    [0.0, 2.0, 0.0, 0.0, 0.0, 1.0],
    [0.0, 0.0, 2.0, 1.0, 0.0, 1.0],
    [0.0, 0.0, 1.0, 2.0, 0.0, 0.0],
    [1.0, 0.0, 0.0, 0.0, 2.0, 1.0],
    [0.0, 1.0, 1.0, 0.0, 1.0, 3.0],
];

fn worked_example(folder: &Path) -> std::io::Result<std::path::PathBuf> {
    let header = r#"{"format":1,"widths":[2,2,1],"bias":false,"activation":"relu","structure":"full","kept":[[0,1],[4,9],[0]],"parent":null,"prior_precision":2.0}"#;
    let path = folder.join("teacher.safetensors");
    let bytes = file(
        Some(header),
        &[
            ("mean", &[6], Numbers::F64(MEAN.to_vec())),
            ("covariance", &[6, 6], Numbers::F64(COVARIANCE.concat())),
        ],
    );
    std::fs::write(&path, bytes)?;
    Ok(path)
}

#[test]
fn the_worked_example_in_both_readings() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (teacher, student) =
        (worked_example(folder.path())?, folder.path().join("student.safetensors"));
    let run = |reading: &[&str]| -> Result<String, Box<dyn std::error::Error>> {
        let common = [
            "transform",
            "--posterior",
            word(&teacher),
            "--remove-units",
            "1:1",
            "--out",
            word(&student),
        ];
        success(&[&common[..], reading].concat())
    };
    let told = run(&[])?;
    let (header, tensors) = posterior(&student)?;
    assert_eq!(header["widths"], serde_json::json!([2, 1, 1]));
    assert_eq!(header["kept"], serde_json::json!([[0, 1], [4], [0]]));
    assert_eq!(header["inexact"], false);
    assert_eq!(header["parent"].as_str().map(str::len), Some(64));
    close(&tensors["mean"], &[1.0, 7.0 / 3.0, 5.0 / 6.0]);
    let third = 1.0 / 3.0;
    close(
        &tensors["covariance"],
        &[2.0, 0.0, 1.0, 0.0, 5.0 * third, -third, 1.0, -third, 5.0 * third],
    );
    // log N(−1; −1, 3), log N(0; −1, 3), ½ (−1)²/3; against log N(0; 0, ½).
    for (line, numbers) in [
        ("remove-units 1:1", ["-1.468245", "-1.634911", "0.166667", "-1.062546"]),
        ("sum", ["-1.468245", "-1.634911", "0.166667", "-1.062546"]),
    ] {
        let found = told.lines().find(|l| l.starts_with(line)).ok_or(line)?;
        assert!(numbers.iter().all(|n| found.contains(n)), "{found}");
    }
    for line in [
        "widths      [2, 2, 1]  [2, 1, 1]",
        "parameters          6          3",
        "MACs                6          3",
    ] {
        assert!(told.contains(line), "{told}");
    }

    run(&["--removal", "condition-all"])?;
    let (_, tensors) = posterior(&student)?;
    close(&tensors["mean"], &[1.0, 19.0 / 7.0, 17.0 / 14.0]);
    let (a, b) = (11.0 / 7.0, -3.0 / 7.0);
    close(&tensors["covariance"], &[2.0, 0.0, 1.0, 0.0, a, b, 1.0, b, a]);
    Ok(())
}

/// A diagonal posterior whose mean numbers its parameters.
fn numbered(
    folder: &Path,
    widths: &[usize],
    activation: &str,
) -> std::io::Result<std::path::PathBuf> {
    let p: usize = widths.windows(2).map(|n| n[0] * n[1]).sum();
    let header = format!(
        r#"{{"format":1,"widths":{widths:?},"bias":false,"activation":"{activation}","structure":"diagonal","slope":0.1}}"#
    );
    let path = folder.join("numbered.safetensors");
    let mean = (0..p).map(|i| i as f64).collect();
    let tensors =
        [("mean", &[p][..], Numbers::F64(mean)), ("variance", &[p], Numbers::F64(vec![0.5; p]))];
    std::fs::write(&path, file(Some(&header), &tensors))?;
    Ok(path)
}

#[test]
fn edits_happen_in_the_order_of_the_command_line() -> TestResult {
    let folder = tempfile::tempdir()?;
    let teacher = numbered(folder.path(), &[2, 3, 3, 1], "relu")?;
    let out = folder.path().join("out.safetensors");
    let run = |edits: &[&str]| {
        distill(
            &[&["transform", "--posterior", word(&teacher), "--out", word(&out)], edits].concat(),
        )
    };
    // Layer 2 goes first, then units of what is left; units are unsorted and a range.
    assert!(run(&["--remove-layer", "2", "--remove-units", "1:2,0"])?.status.success());
    let (header, tensors) = posterior(&out)?;
    assert_eq!(header["kept"], serde_json::json!([[0, 1], [1], [0]]));
    // Row 1 of U_1 and entry 1 of U_3, which starts at 2 · 3 + 3 · 3.
    close(&tensors["mean"], &[2.0, 3.0, 16.0]);
    // The other way round layer 2 is not square any more.
    let output = run(&["--remove-units", "1:2,0", "--remove-layer", "2"])?;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr)?.contains("U_2 is 3 × 1, but must be square"));
    // The same unit twice: each edit counts anew.
    assert!(
        run(&["--remove-units", "1:0", "--remove-units", "2:0-1", "--remove-units", "1:0"])?
            .status
            .success()
    );
    let (header, tensors) = posterior(&out)?;
    assert_eq!(header["kept"], serde_json::json!([[0, 1], [2], [2], [0]]));
    close(&tensors["mean"], &[4.0, 5.0, 14.0, 17.0]);
    Ok(())
}

#[test]
fn conditions_of_the_theorems_are_waived_by_name_only() -> TestResult {
    let folder = tempfile::tempdir()?;
    let teacher = numbered(folder.path(), &[2, 2, 2, 1], "leaky_relu")?;
    let out = folder.path().join("out.safetensors");
    let common =
        ["transform", "--posterior", word(&teacher), "--out", word(&out), "--remove-layer"];
    refused(&[&common[..], &["2"]].concat(), "leaky ReLU applied twice")?;
    let told = success(&[&common[..], &["2", "--allow-inexact"]].concat())?;
    assert!(told.contains("condition of a theorem was waived"), "{told}");
    assert_eq!(posterior(&out)?.0["inexact"], true);
    assert!(success(&["inspect", word(&out)])?.contains("waived"));
    refused(&[&common[..], &["1"]].concat(), "none is negative")?;
    success(&[&common[..], &["1", "--nonnegative-inputs"]].concat())?;
    // U_2 = (4 5; 6 7): the largest gain is at the identity's or the exchanged places, whichever sum is larger.
    success(&[&common[..], &["2", "--allow-inexact", "--matching", "density"]].concat())?;
    Ok(())
}

#[test]
fn a_covariance_that_is_not_positive_definite_is_not_written() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (teacher, out) =
        (folder.path().join("bad.safetensors"), folder.path().join("out.safetensors"));
    let header =
        r#"{"format":1,"widths":[1,2,1],"bias":false,"activation":"relu","structure":"full"}"#;
    // Kept weights of correlation 2; the pinned one is sound.
    let mut covariance = vec![0.0; 16];
    for i in 0..4 {
        covariance[5 * i] = 1.0;
    }
    (covariance[2], covariance[8]) = (2.0, 2.0);
    let tensors = [
        ("mean", &[4][..], Numbers::F64(vec![1.0; 4])),
        ("covariance", &[4, 4], Numbers::F64(covariance)),
    ];
    std::fs::write(&teacher, file(Some(header), &tensors))?;
    refused(
        &["transform", "--posterior", word(&teacher), "--remove-units", "1:1", "--out", word(&out)],
        "positive definite",
    )?;
    assert!(!out.exists());
    Ok(())
}

#[test]
fn wrong_words_end_with_status_2() -> TestResult {
    let folder = tempfile::tempdir()?;
    let teacher = worked_example(folder.path())?;
    let t = word(&teacher);
    let transform = ["transform", "--posterior", t, "--out", "unused.safetensors"];
    for (more, parts) in [
        (&[][..], &["--remove-units or --remove-layer"][..]),
        (&["--remove-units", "1:"], &["--remove-units", "found none"]),
        (&["--remove-units", "1"], &["1:0,7,3"]),
        (&["--remove-units", "-1:0"], &["before the colon", "-1"]),
        (&["--remove-units", "1:-1"], &["`-1`"]),
        (&["--remove-units", "1:0,x"], &["`x`"]),
        (&["--remove-layer", "-2"], &["`-2`"]),
        (&["--remove-layer", "2", "--removal", "both"], &["--removal", "condition-all"]),
        (&["--remove-units", "1:0", "--matching", "density"], &["--matching", "--remove-layer"]),
    ] {
        let (status, line) = failure(&[&transform[..], more].concat())?;
        assert_eq!(status, 2, "{line}");
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    }
    let (status, line) =
        failure(&["transform", "--posterior", t, "--remove-units", "1:0", "--out", t])?;
    assert!(status == 2 && line.contains("--out: wanted another file"), "{line}");
    let order = ["order", "--posterior", t, "--layer", "1", "--by"];
    for (more, part) in [
        (&["nonsense"][..], "greedy"),
        (&["activation"], "--data"),
        (&["density", "--keep", "2"], "fewer than the 2 units"),
        (&["density", "--keep", "0"], "--keep"),
        (&["random", "--seed", "-1"], "-1"),
    ] {
        let (status, line) = failure(&[&order[..], more].concat())?;
        assert!(status == 2 && line.contains(part), "{line}");
    }
    let common = ["posterior", "m.safetensors", "--data", "d.csv", "--out", "p.safetensors"];
    for (more, part) in [
        ("--task classification --method vi --structure full", "--method laplace"),
        ("--task classification --method vi --structure kronecker", "wanted --structure diagonal"),
        (
            "--task classification --method laplace --structure full --noise-variance 1",
            "--task regression",
        ),
        ("--task regression --method laplace --structure full --noise-variance 0", "above 0"),
        ("--task regression --method laplace --structure full --prior-precision -1", "-1"),
        ("--task regression --method laplace --structure full --epochs 3", "--method vi"),
        ("--task regression --method laplace --structure full --rank 3", "low-rank"),
        ("--task regression --method laplace --structure full --slope 0.1", "leaky-relu"),
        ("--task regression --method laplace", "--structure"),
    ] {
        let more: Vec<&str> = more.split(' ').collect();
        let (status, line) = failure(&[&common[..], &more].concat())?;
        assert!(status == 2 && line.contains(part), "{line}");
    }
    Ok(())
}

#[test]
fn edits_and_files_that_do_not_fit_are_refused_with_a_reason() -> TestResult {
    let folder = tempfile::tempdir()?;
    let teacher = worked_example(folder.path())?;
    let out = folder.path().join("out.safetensors");
    for (edit, part) in [
        (["--remove-units", "2:0"], "these are the outputs"),
        (["--remove-units", "0:0"], "no such hidden layer"),
        (["--remove-units", "18446744073709551615:0"], "no such hidden layer"),
        (["--remove-layer", "18446744073709551615"], "no such hidden layer"),
        (["--remove-layer", "0"], "no such hidden layer"),
        (["--remove-units", "1:5"], "there is no unit 5"),
        (["--remove-units", "1:0,0"], "named twice"),
        (["--remove-units", "1:0,1"], "at least one must stay"),
        (["--remove-layer", "2"], "output layer"),
    ] {
        let arguments =
            [&["transform", "--posterior", word(&teacher), "--out", word(&out)][..], &edit]
                .concat();
        refused(&arguments, part)?;
    }
    let whole = std::fs::read(&teacher)?;
    let broken = folder.path().join("broken.safetensors");
    let attempt = |bytes: &[u8]| -> Result<(i32, String), Box<dyn std::error::Error>> {
        std::fs::write(&broken, bytes)?;
        failure(&[
            "transform",
            "--posterior",
            word(&broken),
            "--remove-units",
            "1:0",
            "--out",
            word(&out),
        ])
    };
    let plain = file(None, &[("mean", &[1], Numbers::F64(vec![0.0]))]);
    let nonsense = file(Some("{\"format\":1}"), &[("mean", &[1], Numbers::F64(vec![0.0]))]);
    let short = file(
        Some(
            r#"{"format":1,"widths":[2,2,1],"bias":false,"activation":"relu","structure":"diagonal"}"#,
        ),
        &[
            ("mean", &[6], Numbers::F64(vec![0.0; 6])),
            ("variance", &[5], Numbers::F64(vec![1.0; 5])),
        ],
    );
    for (bytes, part) in [
        (&whole[..whole.len() - 8], "broken.safetensors"),
        (&whole[..20], "broken.safetensors"),
        (b"", "broken.safetensors"),
        (b"no tensors at all", "broken.safetensors"),
        (&plain[..], "`distill posterior` makes one"),
        (&nonsense[..], "missing field"),
        (&short[..], "tensor `variance` has shape [5], wanted [6]"),
    ] {
        let (status, line) = attempt(bytes)?;
        assert!(status == 1 && line.contains(part), "{line}");
    }
    let absent = folder.path().join("absent.safetensors");
    for command in [
        &["inspect", word(&absent)][..],
        &["order", "--posterior", word(&absent), "--layer", "1", "--by", "random"],
    ] {
        refused(command, "absent.safetensors")?;
    }
    assert!(!out.exists());
    Ok(())
}

#[test]
fn orders_are_printed_with_scores_ids_and_the_flag_for_transform() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("p.safetensors");
    // [1, 3, 1]: outgoing weights 3, −1, 2 of variances 1, 0.1, 4: m²/2v = 4.5, 5, 0.5.
    let header = r#"{"format":1,"widths":[1,3,1],"bias":false,"activation":"relu","structure":"diagonal","kept":[[0],[2,5,7],[0]]}"#;
    let tensors = [
        ("mean", &[6][..], Numbers::F64(vec![1.0, 1.0, 1.0, 3.0, -1.0, 2.0])),
        ("variance", &[6], Numbers::F64(vec![1.0, 1.0, 1.0, 1.0, 0.1, 4.0])),
    ];
    std::fs::write(&path, file(Some(header), &tensors))?;
    let order = |more: &[&str]| {
        success(&[&["order", "--posterior", word(&path), "--layer", "1", "--by"], more].concat())
    };
    let told = order(&["density", "--keep", "1"])?;
    let cells: Vec<Vec<&str>> = told.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(cells[0], ["unit", "score", "original", "unit"]);
    assert_eq!(cells[1], ["2", "5.000000e-1", "7"]);
    assert_eq!(cells[2], ["0", "4.500000e0", "2"]);
    assert_eq!(cells[3], ["1", "5.000000e0", "5"]);
    assert_eq!(told.lines().last(), Some("--remove-units 1:0,2"));
    let json: serde_json::Value =
        serde_json::from_str(&order(&["magnitude", "--json", "--keep", "2"])?)?;
    let units: Vec<_> =
        json["units"].as_array().ok_or("no units")?.iter().map(|u| u["unit"].clone()).collect();
    assert_eq!(units, [1, 2, 0]);
    assert_eq!(
        (&json["units"][0]["original"], &json["units"][0]["score"]),
        (&5.into(), &1.0.into())
    );
    assert_eq!(json["remove_units"], "--remove-units 1:1");
    for rule in ["random", "optimal-brain-damage", "signal-to-noise", "belsley", "greedy"] {
        assert_eq!(order(&[rule])?.lines().count(), 4, "{rule}");
    }
    assert_eq!(order(&["random", "--seed", "3"])?, order(&["random", "--seed", "3"])?);
    // z = max(x, 0): the same for all units; the data's task is not in the file.
    let data = folder.path().join("data.csv");
    std::fs::write(&data, "1,0\n-3,0\n")?;
    let (status, line) = failure(&[
        "order",
        "--posterior",
        word(&path),
        "--layer",
        "1",
        "--by",
        "activation",
        "--data",
        word(&data),
    ])?;
    assert!(status == 2 && line.contains("--task"), "{line}");
    let told = order(&["activation", "--data", word(&data), "--task", "regression"])?;
    assert!(told.lines().skip(1).all(|line| line.contains("5.000000e-1")), "{told}");
    for (layer, part) in
        [("0", "no such hidden layer"), ("2", "outputs"), ("99999999999", "no such hidden layer")]
    {
        let (status, line) =
            failure(&["order", "--posterior", word(&path), "--layer", layer, "--by", "density"])?;
        assert!(status == 1 && line.contains(part), "{line}");
    }
    Ok(())
}

#[test]
fn help_shows_an_example_of_every_command() -> TestResult {
    for command in ["posterior", "rank", "transform", "inspect"] {
        let help = success(&[command, "--help"])?;
        assert!(
            help.contains(&format!("distill {command} ")) && help.contains("Example"),
            "{help}"
        );
    }
    Ok(())
}
