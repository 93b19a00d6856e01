//! The commands on data as people have them: files of public issues, every dialect, every wrong turn.

#[path = "user_data/arrays.rs"]
mod arrays;
mod files;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use files::{Numbers, TestResult, distill, failure, file, success, word};

type Tensors<'a> = &'a [(&'a str, &'a [usize], Numbers)];

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name)
}

/// The arguments of `distill posterior` on a case, the posterior going to `out`.
fn posterior(case: &str, data: &str, task: &str, structure: &str, out: &Path) -> Vec<String> {
    let model = self::case(case).join("model.safetensors");
    let data = self::case(case).join(data);
    let words = ["posterior", word(&model), "--data", word(&data), "--task", task];
    let more = ["--method", "laplace", "--structure", structure, "--out", word(out)];
    words.iter().chain(&more).map(|&word| word.to_owned()).collect()
}

/// Standard output and error of a command that must succeed.
fn both(arguments: &[&str]) -> Result<(String, String), Box<dyn std::error::Error>> {
    let output = distill(arguments)?;
    let notes = String::from_utf8(output.stderr)?;
    assert!(output.status.success(), "{notes}");
    assert!(notes.lines().all(|line| line.starts_with("note: ")), "{notes}");
    Ok((String::from_utf8(output.stdout)?, notes))
}

fn holds(told: &str, parts: &[&str]) {
    // Columns of a text list are as wide as their longest cell.
    let told: String = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(parts.iter().all(|part| told.contains(part)), "{parts:?}: {told}");
}

#[test]
fn files_of_public_issues_give_the_right_values_and_say_what_was_assumed() -> TestResult {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("p.safetensors");
    let (class, value) = ("classification", "regression");
    let noise = &["--noise-variance", "0.01"][..];
    for (case, data, task, structure, more, values, notes) in [
        (
            "01",
            "train.csv",
            value,
            "full",
            noise,
            &["objects 6", "log-likelihood 6.840769", "log evidence -6.662059"][..],
            &["line 1 (`0, 1, 2, 3`)", "--header no"][..],
        ),
        ("01", "train_named.csv", value, "full", noise, &["log evidence -6.662059"], &[]),
        (
            "04",
            "train.csv",
            class,
            "full",
            &[],
            &["objects 3", "log-likelihood -4.095668", "log evidence -8.286457"],
            &[],
        ),
        (
            "05",
            "semicolon.csv",
            class,
            "full",
            &[],
            &["log-likelihood -4.095668", "log evidence -8.286457"],
            &["semicolons", "commas", "--separator", "--decimal"],
        ),
        (
            "05",
            "headerless.csv",
            class,
            "full",
            &[],
            &["objects 3", "log-likelihood -4.095668"],
            &["semicolons"],
        ),
        (
            "06",
            "onehot_u8.safetensors",
            class,
            "full",
            &[],
            &["log-likelihood -7.609351", "log evidence -14.758286"],
            &["numbers as they stand", "--bytes intensities"],
        ),
        (
            "06",
            "onehot_u8.safetensors",
            class,
            "full",
            &["--bytes", "intensities"],
            &["log-likelihood -7.013091", "log evidence -12.941045"],
            &[],
        ),
        (
            "06",
            "onehot_f32.safetensors",
            class,
            "full",
            &[],
            &["log-likelihood -7.609351", "log evidence -14.758286"],
            &[],
        ),
        (
            "07",
            "codes_i8.safetensors",
            class,
            "full",
            &[],
            &["log-likelihood -7.609351", "log evidence -14.758286"],
            &[],
        ),
        (
            "16",
            "labels_1_to_9.csv",
            class,
            "diagonal",
            &[],
            &["log-likelihood -65.156269"],
            &["class 0 of 10 never occurs", "subtract 1"],
        ),
        (
            "20",
            "digits.csv",
            class,
            "diagonal",
            &["--target", "label"],
            &["log-likelihood -951.146636"],
            &[],
        ),
        (
            "28",
            "train.data",
            value,
            "full",
            noise,
            &["objects 12", "log-likelihood 12.717805", "log evidence -6.674991"],
            &[],
        ),
    ] {
        let arguments = posterior(case, data, task, structure, &out);
        let words: Vec<&str> =
            arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let (told, said) = both(&words)?;
        holds(&told, values);
        holds(&said, notes);
        // What is assumed of the model is said beside what is assumed of the data.
        let about_data = said.lines().filter(|line| !line.contains("relu between the layers"));
        assert_eq!(about_data.count(), usize::from(!notes.is_empty()), "{case} {data}: {said}");
    }
    Ok(())
}

#[test]
fn files_of_public_issues_that_cannot_be_read_right_are_refused() -> TestResult {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("p.safetensors");
    let (class, value) = ("classification", "regression");
    for (case, data, task, more, parts) in [
        ("03", "train.csv", class, &[][..], &["train.csv: line 1", "index=False"][..]),
        ("04", "quoted_numbers.csv", class, &[], &["line 2, column 1 (`width`)", "`1,204.9`"]),
        ("12", "train.csv", class, &[], &["a row of zeros above the last weight"]),
        (
            "16",
            "labels_1_to_10.csv",
            class,
            &[],
            &["from 0 to 9, found 10 (subtract 1, or give --classes 1,2,"],
        ),
        ("20", "digits.csv", class, &[], &["column 1 is named `label`", "--target label"]),
        ("01", "train.csv", value, &["--header", "no"][..], &[]),
        ("01", "train.csv", value, &["--target", "5"], &["from 1 to 4", "`0`, `1`, `2`, `3`"]),
        ("01", "train.csv", value, &["--bytes", "numbers"], &["--bytes: expected a safetensors"]),
        ("06", "onehot_u8.safetensors", class, &["--header", "no"], &["--header: expected a text"]),
        ("07", "codes_i8.safetensors", class, &["--bytes", "numbers"], &["--bytes", "F32"]),
    ] {
        let arguments = posterior(case, data, task, "full", &out);
        let words: Vec<&str> =
            arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        if parts.is_empty() {
            holds(&success(&words)?, &["objects 7"]);
            std::fs::remove_file(&out)?;
            continue;
        }
        let (status, line) = failure(&words)?;
        assert_eq!(status, 1);
        holds(&line, parts);
        assert!(!out.exists());
    }
    let arguments = posterior("05", "decimal_comma.csv", value, "full", &out);
    let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let model = case("05").join("model1.safetensors");
    words[1] = word(&model);
    let (_, line) = failure(&words)?;
    holds(&line, &["line 2: expected 2 columns", "decimals by points"]);
    Ok(())
}

#[cfg(unix)]
#[test]
fn text_comes_through_a_pipe_too() -> TestResult {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("p.safetensors");
    let mut arguments = posterior("28", "train.data", "regression", "full", &out);
    arguments[3] = "/dev/stdin".to_owned();
    let mut command = Command::new(env!("CARGO_BIN_EXE_distill"));
    command.args(arguments).args(["--noise-variance", "0.01"]);
    command.stdin(std::fs::File::open(case("28").join("train.data"))?).stdout(Stdio::piped());
    let output = command.output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    holds(&String::from_utf8(output.stdout)?, &["log evidence -6.674991"]);
    Ok(())
}

#[test]
fn a_map_keeps_every_column_unless_one_is_the_target() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (csv, out) = (folder.path().join("data.csv"), folder.path().join("out"));
    let map = |data: &Path, more: &[&str]| {
        let words = ["map", "--kind", "identity", "--data", word(data), "--out", word(&out)];
        both(&[&words[..], more].concat())
    };
    let (told, notes) = map(&case("23").join("unlabelled.csv"), &[])?;
    holds(&told, &["39 objects, 3 -> 3 numbers each"]);
    assert_eq!(notes, "");

    std::fs::write(&csv, "a,b,label\n1,2,0\n3,4,1\n5,6,1\n7,8,0\n")?;
    let (told, notes) = map(&csv, &[])?;
    holds(&told, &["2 -> 2"]);
    holds(&notes, &["`label`, is taken as the target", "--target none"]);
    assert_eq!(map(&csv, &["--target", "none"])?.1, "");
    holds(&map(&csv, &["--target", "none"])?.0, &["3 -> 3"]);
    holds(&map(&csv, &["--target", "a"])?.0, &["2 -> 2"]);
    // The same notice of the same file is said once.
    let (_, notes) = map(&csv, &["--reference", word(&csv)])?;
    assert_eq!(notes.lines().count(), 1, "{notes}");
    // Values are kept as they are.
    std::fs::write(&csv, "a,b,y\n1,2,0.5\n3,4,-1\n")?;
    map(&csv, &[])?;
    let bytes = std::fs::read(out.join("mapped.safetensors"))?;
    let file = safetensors::SafeTensors::deserialize(&bytes)?;
    assert_eq!(file.tensor("y")?.data(), [0.5f64.to_le_bytes(), (-1.0f64).to_le_bytes()].concat());
    Ok(())
}

#[test]
fn a_map_refuses_what_it_cannot_use() -> TestResult {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let (csv, out, teacher) = (at("data.csv"), at("out"), at("teacher.safetensors"));
    let weights = Numbers::F32(vec![0.1; 4]);
    std::fs::write(&teacher, file(None, &[("0.weight", &[2, 2], weights)]))?;
    let teacher = ["--teacher", word(&teacher)];
    let target = [&teacher[..], &["--target", "3"]].concat();
    let partner = ["--kind", "translator", "--partner", word(&csv)];
    for (text, more, parts) in [
        ("1,2\n3,4\n", &teacher[..], &["expected classes, found none", "--target names"][..]),
        ("1,2\n3,4\n", &partner, &["expected classes, found none", "--target names"]),
        ("1,2,5e9\n", &target, &["line 1, column 3", "from 0 to 65535, found 5000000000"]),
        ("1,2,1e9\n", &target, &["from 0 to 65535, found 1000000000"]),
        ("1,2,0\n3,4,-1\n", &target, &["line 2, column 3", "found -1"]),
        ("1,2,0.5\n", &target, &["whole numbers", "found 0.5"]),
        ("1,2,1\n3,4,2\n", &target, &["found 2 outputs and class 2 (subtract 1)"]),
        ("a,b\n1,2\n3,1e39\n", &[], &["line 3, column 2 (`b`)", "3.4028235e38", "found 1e39"]),
        ("y,b\n1,2\n", &[], &["--target y, or --target none"]),
    ] {
        std::fs::write(&csv, text)?;
        let kind = if more.contains(&"--kind") { &[][..] } else { &["--kind", "identity"] };
        let words = ["map", "--data", word(&csv), "--out", word(&out)];
        let (status, line) = failure(&[&words[..], kind, more].concat())?;
        assert_eq!(status, 1, "{line}");
        holds(&line, parts);
        assert!(!out.exists(), "{text}");
    }
    Ok(())
}

/// A safetensors file with tensors of any type.
fn raw(tensors: &[(&str, &str, &[usize], &[u8])]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let (start, end) = (data.len(), data.len() + bytes.len());
        data.extend(*bytes);
        let entry =
            serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] });
        header.insert((*name).to_owned(), entry);
    }
    let header = serde_json::Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

#[test]
fn tensors_are_read_by_type_and_shape() -> TestResult {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let (data, model, out) = (at("data.safetensors"), at("model.safetensors"), at("p.safetensors"));
    let weights: Tensors = &[("weight", &[2, 1], Numbers::F32(vec![0.5, -0.5]))];
    std::fs::write(&model, file(None, weights))?;
    let words = ["posterior", word(&model), "--data", word(&data), "--out", word(&out)];
    let words = [&words[..], &["--task", "classification", "--method", "laplace"]].concat();
    let words = [&words[..], &["--structure", "full"]].concat();
    let one = 1.0f32.to_le_bytes();
    let two = [one, one].concat();
    let yes = [0, 1];
    let long = [[0u8; 8], 1u64.to_le_bytes()].concat();
    let big = 9_007_199_254_740_993_i64.to_le_bytes();
    let labels =
        |dtype, bytes| [("x", "F32", &[2, 1][..], &two[..]), ("y", dtype, &[2][..], bytes)];
    // −log(1 + e^(1)) of class 1 at logits (½, −½), −log(1 + e^(−1)) of class 0.
    let wanted = format!("log-likelihood {:.6}", -(1f64.exp().ln_1p() + (-1f64).exp().ln_1p()));
    for (dtype, bytes) in [
        ("BOOL", &yes[..]),
        ("U8", &yes),
        ("I8", &yes),
        ("U16", &[0, 0, 1, 0]),
        ("U32", &[0, 0, 0, 0, 1, 0, 0, 0]),
        ("U64", &long),
        ("BF16", &[0, 0, 0x80, 0x3f]),
        ("F16", &[0, 0, 0, 0x3c]),
    ] {
        std::fs::write(&data, raw(&labels(dtype, bytes)))?;
        holds(&success(&words)?, &[&wanted]);
    }
    for (tensors, parts) in [
        (&labels("F8_E4M3", &yes)[..], &["`y`: expected BOOL, U8, I8", "found F8_E4M3"][..]),
        (
            &[("x", "I64", &[1, 1][..], &big[..]), ("y", "U8", &[1][..], &yes[..1])],
            &["`x`", "up to 2^53", "found 9007199254740993"],
        ),
        (&[("x", "F32", &[0, 4], &[]), ("y", "U8", &[0], &[])], &["at least one row", "[0, 4]"]),
        (&[("x", "F32", &[2], &two), ("y", "U8", &[2], &yes)], &["expected shape (m, n)", "[2]"]),
        (&[("x", "F32", &[2, 0], &[]), ("y", "U8", &[2], &yes)], &["expected features, found"]),
        (
            &[("x", "F32", &[1, 1], &f32::NAN.to_le_bytes()), ("y", "U8", &[1], &yes[..1])],
            &["tensor `x`, row 0, column 0", "NaN"],
        ),
        (&[("x", "F32", &[2, 1], &two)], &["expected a tensor `y`", "found [\"x\"]"]),
        (&labels("U8", &[0, 2]), &["tensor `y`, row 1", "from 0 to 1, found 2"]),
    ] {
        std::fs::write(&data, raw(tensors))?;
        let (_, line) = failure(&words)?;
        holds(&line, parts);
    }
    // Bytes that have the shape of images are intensities.
    let images = [("x", "U8", &[2, 1, 1, 1][..], &[255, 255][..]), ("y", "U8", &[2][..], &yes[..])];
    std::fs::write(&data, raw(&images))?;
    let (told, notes) = both(&words)?;
    holds(&told, &[&wanted]);
    holds(&notes, &["divided by 255", "--bytes numbers"]);
    Ok(())
}

#[test]
fn other_files_are_refused_by_what_they_are() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (data, out) = (folder.path().join("data.csv"), folder.path().join("out"));
    for (bytes, parts) in [
        (
            &b"\x93NUMPY\x01\0v\0{'descr'"[..],
            &["data.csv: array `x`: ends before its header does"][..],
        ),
        (b"PK\x03\x04\0\0\0\0", &["data.csv: not a whole zip archive"]),
        (b"\x89PNG\r\n", &["expected a safetensors file, NumPy arrays", "the folder of images"]),
        (b"\xff\xfe1\0,\0", &["UTF-16"]),
        (b"a,b\n\xe9,1\n", &["line 2: expected text in UTF-8"]),
        (b"", &["an empty file"]),
        (b"\xff\0\0\0\0\0\0\0{\"x\":", &["not a whole safetensors file"]),
    ] {
        std::fs::write(&data, bytes)?;
        let words = ["map", "--kind", "identity", "--data", word(&data), "--out", word(&out)];
        let (status, line) = failure(&words)?;
        assert_eq!(status, 1);
        holds(&line, parts);
    }
    Ok(())
}

#[test]
fn order_and_variational_inference_obey_the_same_rules() -> TestResult {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("p.safetensors");
    let mut arguments = posterior("20", "digits.csv", "classification", "diagonal", &out);
    arguments.extend(["--target".into(), "1".into()]);
    success(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
    let digits = case("20").join("digits.csv");
    let order = ["order", "--posterior", word(&out), "--layer", "1", "--by", "activation"];
    let with_data = [&order[..], &["--data", word(&digits)]].concat();
    holds(&failure(&with_data)?.1, &["give --target label"]);
    holds(&success(&[&with_data[..], &["--target", "label"]].concat())?, &["unit score"]);
    let (status, line) = failure(&[&order[..], &["--target", "label"]].concat())?;
    assert!(status == 2 && line.contains("--data"), "{line}");

    // Networks are trained in f32.
    let data = folder.path().join("data.csv");
    std::fs::write(&data, "a,y\n1,2\n3,1e39\n")?;
    let model = case("05").join("model1.safetensors");
    let words = ["posterior", word(&model), "--data", word(&data), "--task", "regression"];
    let more = ["--method", "vi", "--structure", "diagonal", "--out", word(&out)];
    holds(&failure(&[&words[..], &more].concat())?.1, &["line 3, column 2 (`y`)", "range of f32"]);
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn a_note_that_nobody_can_read_is_no_error() -> TestResult {
    let folder = tempfile::tempdir()?;
    let data = case("06").join("onehot_u8.safetensors");
    let mut command = Command::new(env!("CARGO_BIN_EXE_distill"));
    command.args(["map", "--kind", "identity", "--image", "1x2x2", "--data", word(&data)]);
    command.arg("--out").arg(folder.path().join("out"));
    let full = std::fs::File::options().write(true).open("/dev/full")?;
    let output = command.stderr(full).output()?;
    assert!(output.status.success());
    assert!(folder.path().join("out/contact-sheet.png").is_file());
    Ok(())
}
