//! `distill map` on small files: what it writes, and one line for each thing that can be wrong.

mod files;

use std::path::Path;

use files::{Numbers, TestResult, failure, file, success, word};
use image::{ExtendedColorType, ImageEncoder};

/// `n` pictures of 4 × 4 grey levels, class by class in turn, as a safetensors file.
fn pictures(path: &Path, n: usize, n_classes: usize) -> TestResult {
    let levels = (0..n * 16).map(|i| ((i * 37) % 101) as f32 / 100.0).collect();
    let classes = (0..n).map(|i| (i % n_classes) as i64).collect();
    let tensors =
        [("x", &[n, 1, 4, 4][..], Numbers::F32(levels)), ("y", &[n][..], Numbers::I64(classes))];
    Ok(std::fs::write(path, file(None, &tensors))?)
}

/// A JPEG of 8 × 8 pixels, coloured or grey.
fn jpeg(path: &Path, is_grey: bool) -> TestResult {
    let (channels, colour) =
        if is_grey { (1, ExtendedColorType::L8) } else { (3, ExtendedColorType::Rgb8) };
    let levels: Vec<u8> = (0..64 * channels).map(|i| (i * 3 % 256) as u8).collect();
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new(&mut bytes).write_image(&levels, 8, 8, colour)?;
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
    pictures(&data, 3, 3)?;
    let told = success(&map("sine", &data, &out))?;
    assert!(told.contains("3 objects, 16 -> 16 numbers each"), "{told}");
    let (shape, x) = mapped(&out)?;
    assert_eq!(shape, [3, 16]);
    for (i, x) in x.iter().enumerate() {
        let level = ((i * 37) % 101) as f32 / 100.0;
        assert!((x - level.sin()).abs() < 1e-6);
    }
    // Three pictures before, the same three after, one pixel of white between.
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
    pictures(&data, 3, 3)?;
    let run = |seed: &str| -> Result<Vec<f32>, Box<dyn std::error::Error>> {
        success(&[&map("noise", &data, &out)[..], &["--seed", seed, "--pictures"]].concat())?;
        Ok(mapped(&out)?.1)
    };
    let first = run("1")?;
    assert_ne!(first, run("2")?);
    assert_eq!(first, run("1")?);
    assert!(out.join("pictures/000002.png").is_file());
    Ok(())
}

#[test]
fn a_translator_is_trained_kept_and_used_again() -> TestResult {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    pictures(&at("poor.safetensors"), 40, 2)?;
    pictures(&at("rich.safetensors"), 60, 2)?;
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
fn folders_of_pictures_are_read_by_class() -> TestResult {
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

    pictures(&at("two.safetensors"), 8, 2)?;
    pictures(&at("three.safetensors"), 9, 3)?;
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

    check(&map("convolution", &two, &out), 1, "at least 5 × 5, found 4 × 4")?;
    check(&map("translator", &two, &out), 2, "wanted --partner DATA or --translator FILE")?;
    check(&map("style", &two, &out), 2, "wanted --style PICTURE")?;
    let shape = ["--picture", "2x4x4"];
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
