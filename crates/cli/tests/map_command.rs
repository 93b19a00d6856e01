//! `distill map` on small files: what it writes, and one line for each thing that can be wrong.

mod files;

use std::path::Path;

use files::{Numbers, TestResult, failure, file, success, word};
use image::{ExtendedColorType, ImageEncoder};

/// `n` images of 4 × 4 grayscale intensities, class by class in turn, as a safetensors file.
fn images(path: &Path, n: usize, n_classes: usize) -> TestResult {
    let intensities = (0..n * 16).map(|i| ((i * 37) % 101) as f32 / 100.0).collect();
    let classes = (0..n).map(|i| (i % n_classes) as i64).collect();
    let tensors = [
        ("x", &[n, 1, 4, 4][..], Numbers::F32(intensities)),
        ("y", &[n][..], Numbers::I64(classes)),
    ];
    Ok(std::fs::write(path, file(None, &tensors))?)
}

/// A JPEG of 8 × 8 pixels, colored or grayscale.
fn jpeg(path: &Path, is_grayscale: bool) -> TestResult {
    let (channels, color) =
        if is_grayscale { (1, ExtendedColorType::L8) } else { (3, ExtendedColorType::Rgb8) };
    let intensities: Vec<u8> = (0..64 * channels).map(|i| (i * 3 % 256) as u8).collect();
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new(&mut bytes).write_image(&intensities, 8, 8, color)?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(std::fs::write(path, bytes)?)
}

/// Shape and numbers of x in what the command wrote.
fn mapped(out: &Path) -> Result<(Vec<usize>, Vec<f32>), Box<dyn std::error::Error>> {
    let bytes = std::fs::read(out.join("mapped.safetensors"))?;
    let file = safetensors::SafeTensors::deserialize(&bytes)?;
    let x = file.tensor("x")?;
    let number = |b: &[u8]| Ok(f32::from_le_bytes(b.try_into()?));
    let values: Result<_, std::array::TryFromSliceError> =
        x.data().chunks_exact(4).map(number).collect();
    Ok((x.shape().to_vec(), values?))
}

fn map<'a>(kind: &'a str, data: &'a Path, out: &'a Path) -> Vec<&'a str> {
    vec!["map", "--kind", kind, "--data", word(data), "--out", word(out)]
}

#[test]
fn arrays_and_a_contact_sheet_are_written() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (data, out) = (folder.path().join("data.safetensors"), folder.path().join("out"));
    images(&data, 3, 3)?;
    let told = success(&map("sine", &data, &out))?;
    assert!(told.contains("3 objects, 16 -> 16 numbers each"), "{told}");
    let (shape, x) = mapped(&out)?;
    assert_eq!(shape, [3, 16]);
    for (i, x) in x.iter().enumerate() {
        let intensity = ((i * 37) % 101) as f32 / 100.0;
        assert!((x - intensity.sin()).abs() < 1e-6);
    }
    // Three images before, the same three after, one pixel of white between.
    let sheet = image::open(out.join("contact-sheet.png"))?.to_luma8();
    assert_eq!(sheet.dimensions(), (3 * 5 - 1, 2 * 5 - 1));
    assert_eq!(sheet.get_pixel(1, 0).0, [(0.37f64 * 255.0).round() as u8]);
    assert_eq!(sheet.get_pixel(1, 5).0, [(0.37f64.sin() * 255.0).round() as u8]);
    assert_eq!(sheet.get_pixel(4, 0).0, [255]);
    Ok(())
}

#[test]
fn a_random_map_repeats_with_its_seed() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (data, out) = (folder.path().join("data.safetensors"), folder.path().join("out"));
    images(&data, 3, 3)?;
    let run = |seed: &str| -> Result<Vec<f32>, Box<dyn std::error::Error>> {
        success(&[&map("noise", &data, &out)[..], &["--seed", seed, "--images"]].concat())?;
        Ok(mapped(&out)?.1)
    };
    let first = run("1")?;
    assert_ne!(first, run("2")?);
    assert_eq!(first, run("1")?);
    assert!(out.join("images/000002.png").is_file());
    Ok(())
}

#[test]
fn a_translator_is_trained_kept_and_used_again() -> TestResult {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    images(&at("poor.safetensors"), 40, 2)?;
    images(&at("rich.safetensors"), 60, 2)?;
    let (poor, rich) = (at("poor.safetensors"), at("rich.safetensors"));
    let partner = ["--partner", word(&rich), "--reference", word(&rich), "--epochs", "2"];
    let told = success(&[&map("translator", &poor, &at("out"))[..], &partner].concat())?;
    for line in ["proxy A-distance to", "MMD^2 to", "round-trip error"] {
        assert!(told.contains(line), "{told}");
    }
    let first = mapped(&at("out"))?;
    let kept = at("out/translator.safetensors");
    let again = ["--translator", word(&kept)];
    success(&[&map("translator", &poor, &at("again"))[..], &again].concat())?;
    assert_eq!(mapped(&at("again"))?, first);
    Ok(())
}

#[test]
fn folders_of_images_are_read_by_class() -> TestResult {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    for name in ["photos/cat/a.jpg", "photos/cat/b.jpg", "photos/dog/c.jpg"] {
        jpeg(&at(name), false)?;
    }
    let side = ["--side", "4"];
    success(&[&map("identity", &at("photos"), &at("out"))[..], &side].concat())?;
    assert_eq!(mapped(&at("out"))?.0, [3, 48]);
    let bytes = std::fs::read(at("out/mapped.safetensors"))?;
    let file = safetensors::SafeTensors::deserialize(&bytes)?;
    let classes: Vec<u8> = file.tensor("y")?.data().iter().copied().step_by(4).collect();
    assert_eq!(classes, [0, 0, 1]);
    Ok(())
}

#[test]
fn what_is_wrong_is_said_in_one_line() -> TestResult {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let check = |arguments: &[&str], status: i32, wanted: &str| -> TestResult {
        let (found, text) = failure(arguments)?;
        assert!(text.contains(wanted) && found == status, "{found}: {text}");
        Ok(())
    };
    let out = at("out");

    jpeg(&at("grey/a.jpg"), false)?;
    jpeg(&at("grey/b.jpg"), true)?;
    check(
        &map("identity", &at("grey"), &out),
        1,
        "b.jpg: wanted a colour picture, found a grey one",
    )?;

    jpeg(&at("broken/x/a.jpg"), false)?;
    let bytes = std::fs::read(at("broken/x/a.jpg"))?;
    std::fs::write(at("broken/x/b.jpg"), &bytes[..bytes.len() / 2])?;
    check(&map("identity", &at("broken"), &out), 1, "b.jpg")?;

    jpeg(&at("empty/full/a.jpg"), false)?;
    std::fs::create_dir_all(at("empty/hollow"))?;
    check(
        &map("identity", &at("empty"), &out),
        1,
        "hollow: wanted JPEG or PNG pictures of a class",
    )?;

    images(&at("two.safetensors"), 8, 2)?;
    images(&at("three.safetensors"), 9, 3)?;
    let (two, three) = (at("two.safetensors"), at("three.safetensors"));
    let partner = ["--partner", word(&three)];
    let wanted = "wanted as many classes, found 2 and 3";
    check(&[&map("translator", &two, &out)[..], &partner].concat(), 1, wanted)?;

    // φ gives 16 numbers, the teacher takes 5.
    let weights = Numbers::F32(vec![0.1; 10]);
    std::fs::write(at("teacher.safetensors"), file(None, &[("0.weight", &[2, 5], weights)]))?;
    let teacher = at("teacher.safetensors");
    let judged = ["--teacher", word(&teacher)];
    let wanted = "takes 5 numbers, φ gives 16 (1 x 4 x 4)";
    check(&[&map("sine", &two, &out)[..], &judged].concat(), 1, wanted)?;

    check(
        &map("convolution", &two, &out),
        1,
        "rows of an image of a convolution: expected at least 5, found 4",
    )?;
    check(&map("translator", &two, &out), 2, "wanted --partner DATA or --translator FILE")?;
    check(&map("style", &two, &out), 2, "wanted --style PICTURE")?;
    let shape = ["--image", "2x4x4"];
    check(&[&map("sine", &two, &out)[..], &shape].concat(), 2, "wanted CHANNELSxHEIGHTxWIDTH")?;
    std::fs::write(at("file"), "")?;
    check(&map("sine", &two, &at("file")), 2, "--out: wanted a folder, found the file")?;
    let not_one = ["--translator", word(&two)];
    check(
        &[&map("translator", &two, &out)[..], &not_one].concat(),
        1,
        "found no matrix `block.0`",
    )?;
    Ok(())
}

/// 3000 images of 2 × 2, dark ones in the first half where `is_dark_first`, bright ones in the other.
fn by_class(path: &Path, is_dark_first: bool) -> TestResult {
    let n = 3000;
    let is_dark = |i: usize| (i < n / 2) == is_dark_first;
    let intensity = |i: usize| if is_dark(i) { 0.1 } else { 0.8 } + (i * 37 % 101) as f32 / 1000.0;
    let intensities = (0..4 * n).map(|i| intensity(i / 4)).collect();
    let classes = (0..n).map(|i| i64::from(is_dark(i))).collect();
    let tensors = [
        ("x", &[n, 1, 2, 2][..], Numbers::F32(intensities)),
        ("y", &[n][..], Numbers::I64(classes)),
    ];
    Ok(std::fs::write(path, file(None, &tensors))?)
}

#[test]
fn measures_and_sheet_show_all_classes_of_data_that_go_by_class() -> TestResult {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let (data, reference) = (at("data.safetensors"), at("reference.safetensors"));
    by_class(&data, true)?;
    by_class(&reference, false)?;
    let run = |seed: &str, out: &str| -> Result<(String, Vec<u8>), Box<dyn std::error::Error>> {
        let judged = ["--reference", word(&reference), "--seed", seed];
        let told = success(&[&map("identity", &data, &at(out))[..], &judged].concat())?;
        Ok((told.replace(out, "OUT"), std::fs::read(at(out).join("contact-sheet.png"))?))
    };
    let (told, png) = run("0", "first")?;
    let number = |name: &str| -> Result<f64, Box<dyn std::error::Error>> {
        let line = told.lines().find(|line| line.starts_with(name)).ok_or("no such line")?;
        let value = line.split(": ").nth(1).and_then(|v| v.split(' ').next());
        Ok(value.ok_or("no number")?.parse()?)
    };
    // The domains are the same; 1000 examples judge, and four standard deviations of 4 ε are 0.25.
    assert!(number("proxy A-distance to")?.abs() < 0.25, "{told}");
    assert!(number("MMD^2 to")? < 0.02, "{told}");
    let sheet = image::load_from_memory(&png)?.to_luma8();
    assert_eq!(sheet.dimensions(), (16 * 3 - 1, 8 * 3 - 1));
    let n_dark = (0..64).filter(|i| sheet.get_pixel(i % 16 * 3, i / 16 * 6).0[0] < 128).count();
    // 64 draws with probability ½: four standard deviations are 16.
    assert!(n_dark.abs_diff(32) <= 16, "{n_dark}");
    assert_eq!(run("0", "again")?, (told, png.clone()));
    assert_ne!(run("1", "other")?.1, png);
    Ok(())
}

#[test]
fn what_cannot_be_judged_is_said_before_anything_is_trained() -> TestResult {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let (data, few, small, out) =
        (at("data.safetensors"), at("few.safetensors"), at("small.safetensors"), at("out"));
    images(&data, 8, 2)?;
    images(&few, 3, 3)?;
    by_class(&small, true)?;
    let teacher = |name: &str, shape: [usize; 2]| {
        let weights = Numbers::F32(vec![0.1; shape[0] * shape[1]]);
        std::fs::write(at(name), file(None, &[("0.weight", &shape, weights)]))
    };
    teacher("wide.safetensors", [2, 5])?;
    teacher("deaf.safetensors", [1, 16])?;
    // The partner is missing too, and it is read first of all that training needs.
    let check = |data: &Path, more: &[&str], wanted: &str| -> TestResult {
        let training = ["--partner", "no-partner"];
        let arguments = [&map("translator", data, &out)[..], &training, more].concat();
        let (status, text) = failure(&arguments)?;
        assert!(text.contains(wanted) && status == 1, "{status}: {text}");
        Ok(())
    };
    let known = "expected a folder of images, a safetensors file, a text table (CSV) or one of fashion-mnist, imagenette, \
                 mnist, found no file";
    check(&data, &[], &format!("--partner: {known} no-partner"))?;
    check(&data, &["--reference", "mnits"], &format!("--reference: {known} mnits"))?;
    check(&at("dta"), &[], &format!("--data: {known} "))?;
    check(&data, &["--reference", word(&few)], "few.safetensors, found 3")?;
    check(&few, &["--reference", word(&data)], "few.safetensors, found 3")?;
    check(
        &data,
        &["--reference", word(&small)],
        "wanted objects of 16 numbers, as φ gives, found 4",
    )?;
    let (wide, deaf) = (at("wide.safetensors"), at("deaf.safetensors"));
    check(&data, &["--teacher", word(&wide)], "takes 5 numbers, φ gives 16 (1 x 4 x 4)")?;
    let wanted = "expected an output for each class of";
    check(&data, &["--teacher", word(&deaf)], wanted)?;
    check(&data, &["--teacher", "no-teacher"], "reading no-teacher")?;
    assert!(!out.exists());
    Ok(())
}

#[test]
fn images_beside_folders_of_classes_are_refused() -> TestResult {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    jpeg(&at("photos/cat/a.jpg"), false)?;
    jpeg(&at("photos/loose.jpg"), false)?;
    let (status, text) = failure(&map("identity", &at("photos"), &at("out")))?;
    assert!(status == 1 && text.contains("found both, "), "{text}");
    assert!(text.contains("loose.jpg and ") && text.trim_end().ends_with("cat"), "{text}");
    Ok(())
}

#[test]
fn drawn_images_never_stand_in_for_imagenette() -> TestResult {
    // The cache holds the images of side 160 whole, 161 wants the bigger ones, and no network is there.
    let cache = tempfile::tempdir()?;
    let manifest = include_str!("../../../datasets/imagenette.toml").parse::<toml::Table>()?;
    for half in ["train", "val"] {
        let folder = cache.path().join("imagenette/imagenette2-160").join(half);
        std::fs::create_dir_all(&folder)?;
        for class in manifest["classes"].as_array().ok_or("no classes")? {
            let name = class["folder"].as_str().ok_or("no name")?;
            let path = folder.join(name).with_extension("tar");
            let mut archive = tar::Builder::new(std::fs::File::create(path)?);
            for i in 0..class[half].as_integer().ok_or("no count")? {
                let mut header = tar::Header::new_ustar();
                header.set_size(0);
                archive.append_data(&mut header, format!("{half}/{name}/{i}.JPEG"), &b""[..])?;
            }
            archive.finish()?;
        }
    }
    let out = cache.path().join("out");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_distill"));
    command.args(["map", "--kind", "identity", "--data", "imagenette", "--side", "161"]);
    command.args(["--limit", "4", "--cache", word(cache.path()), "--out", word(&out)]);
    for name in ["ALL_PROXY", "HTTPS_PROXY", "all_proxy", "https_proxy"] {
        command.env(name, "http://127.0.0.1:1");
    }
    for name in ["DISTILL_DATA", "NO_PROXY", "no_proxy"] {
        command.env_remove(name);
    }
    let output = command.output()?;
    let text = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("error: --data: imagenette: out of reach: "), "{text}");
    assert!(text.lines().count() == 1 && !out.exists(), "{text}");
    Ok(())
}
