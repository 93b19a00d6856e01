//! IDX files, gzip streams and folders of images, written here and read back.

use std::io::Write as _;
use std::path::Path;

use candle_core::DType;
use image::{ExtendedColorType, ImageEncoder};

use super::super::{Examples, Request, Targets};
use super::opened;
use crate::data::user::options::{Bytes, ImageOptions, Options};

/// An IDX file of a type, its numbers as they stand in it.
fn idx(kind: u8, shape: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, kind, shape.len() as u8];
    shape.iter().for_each(|axis| bytes.extend(axis.to_be_bytes()));
    bytes.extend(data);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn png(path: &Path, [width, height]: [u32; 2], color: &[u8]) {
    let kind = if color.len() == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    let mut bytes = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    let intensities = color.repeat((width * height) as usize);
    encoder.write_image(&intensities, width, height, kind).unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn told(path: &Path, options: &Options) -> String {
    match opened(path, (options, &ImageOptions::default()), None) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was read"),
    }
}

fn labels(targets: Option<&Targets>) -> Vec<f64> {
    match targets {
        Some(Targets::Numbers { values, k: 1 }) => values.clone(),
        _ => panic!("no numbers"),
    }
}

#[test]
fn idx_files_are_read_with_their_labels_packed_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let none = (&Options::default(), &ImageOptions::default());
    let images = idx(8, &[2, 2, 3], &[0, 1, 2, 3, 4, 5, 250, 251, 252, 253, 254, 255]);
    let digits = idx(8, &[2], &[7, 3]);
    for (name, pair) in [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"),
    ] {
        for packs in 0..4 {
            let file = |name: &str, is_packed: bool, bytes: &[u8]| {
                let name = if is_packed { format!("{name}.gz") } else { name.to_owned() };
                let bytes = if is_packed { gzip(bytes) } else { bytes.to_vec() };
                std::fs::write(at(&name), bytes).unwrap();
                at(&name)
            };
            let path = file(name, packs & 1 == 1, &images);
            let beside = file(pair, packs & 2 == 2, &digits);
            let (examples, notices) = opened(&path, none, None).unwrap();
            assert_eq!(examples.x.dims(), [2, 2, 3]);
            assert_eq!(labels(examples.targets.as_ref()), [7.0, 3.0]);
            assert!(notices[0].starts_with("labels are read from"), "{notices:?}");
            std::fs::remove_file(&path).unwrap();
            std::fs::remove_file(&beside).unwrap();
        }
    }
    // Other names have no labels unless they are named; a .npy file serves too.
    std::fs::write(at("x"), &images).unwrap();
    std::fs::write(at("y"), &digits).unwrap();
    assert!(opened(&at("x"), none, None).unwrap().0.targets.is_none());
    let options = Options { labels: Some(at("y")), ..Options::default() };
    let (examples, _) = opened(&at("x"), (&options, none.1), None).unwrap();
    assert_eq!(labels(examples.targets.as_ref()), [7.0, 3.0]);
    // Bytes of images are intensities for every command, as those of the known sets are.
    let path = at("x");
    let request = Request::supervised(path.to_str().unwrap(), Path::new("unused"), &options);
    let (examples, notices) = Examples::opened(&request).unwrap();
    assert_eq!(examples.x.dtype(), DType::U8);
    assert!(notices[0].contains("image intensities"), "{notices:?}");
    // Every type, big-endian.
    for (kind, data, wanted) in [
        (9u8, vec![0xffu8, 5], vec![-1.0, 5.0]),
        (11, [(-300i16).to_be_bytes(), 7i16.to_be_bytes()].concat(), vec![-300.0, 7.0]),
        (12, [70_000i32.to_be_bytes(), 1i32.to_be_bytes()].concat(), vec![70_000.0, 1.0]),
        (13, [0.5f32.to_be_bytes(), 2f32.to_be_bytes()].concat(), vec![0.5, 2.0]),
        (14, [0.1f64.to_be_bytes(), 2f64.to_be_bytes()].concat(), vec![0.1, 2.0]),
    ] {
        std::fs::write(at("x"), idx(kind, &[1, 2], &data)).unwrap();
        let (examples, _) = opened(&at("x"), none, None).unwrap();
        assert_eq!(examples.x.to_vec2::<f64>().unwrap(), [wanted]);
    }
}

#[test]
fn damaged_idx_files_and_options_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let none = Options::default();
    let write = |bytes: &[u8]| std::fs::write(&path, bytes).unwrap();
    write(&idx(8, &[2, 3], &[0; 5]));
    assert!(told(&path, &none).contains("the file is damaged"));
    write(&idx(8, &[u32::MAX, u32::MAX, u32::MAX], &[0; 5]));
    assert!(told(&path, &none).contains("the file is damaged"));
    write(&[0, 0, 8, 3, 0, 0]);
    assert!(told(&path, &none).contains("expected a header of 16 bytes"));
    write(&gzip(&[b'1'; 1 << 10])[..50.min(gzip(&[b'1'; 1 << 10]).len() - 3)]);
    assert!(told(&path, &none).contains("whole gzip stream"));
    write(&idx(8, &[1, 2], &[1, 2]));
    let options = Options { labels: Some(folder.path().join("none")), ..Options::default() };
    assert!(told(&path, &options).contains("--labels"));
    let options = Options { drop: Some("a".into()), ..Options::default() };
    let wanted = "--drop: expected a text table (CSV) as --data, found an IDX file";
    assert!(told(&path, &options).contains(wanted));
    // A packed table is a table.
    write(&gzip(b"a,b\n1,2\n"));
    let (examples, _) =
        opened(&path, (&Options::default(), &ImageOptions::default()), Some(&[2])).unwrap();
    assert_eq!(examples.x.to_vec2::<f64>().unwrap(), [[1.0, 2.0]]);
    let options = Options { bytes: Some(Bytes::Numbers), ..Options::default() };
    assert!(told(&path, &options).contains("--bytes: expected"));
}

#[test]
fn a_folder_has_a_class_for_each_folder_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    png(&at("dog/1.png"), [4, 6], &[200, 100, 50]);
    png(&at("dog/0.PNG"), [3, 2], &[7, 7, 7]);
    png(&at("cat/a.png"), [3, 2], &[90]);
    std::fs::write(at("cat/notes.txt"), "x").unwrap();
    let none = Options::default();
    let images = ImageOptions::default();
    let (examples, notices) = opened(folder.path(), (&none, &images), Some(&[3, 2, 3])).unwrap();
    assert_eq!(examples.x.dims(), [3, 3, 2, 3]);
    let Some(Targets::Named(named)) = &examples.targets else { panic!("no names") };
    assert_eq!(
        (&named.classes[..], &named.names[..]),
        (&[0, 1, 1][..], &["cat", "dog"].map(str::to_owned)[..])
    );
    let notices = notices.join("\n");
    for part in [
        "3 images, 2 x 3, color, intensities divided by 255; 1 were resized",
        "1 grayscale images have three equal channels",
        "1 files that are not named",
        "0 = cat, 1 = dog (--classes overrules",
    ] {
        assert!(notices.contains(part), "{notices}");
    }
    // By the network's one channel, or by the option, images are gray.
    for (gray, shape) in [(false, &[1, 2, 3][..]), (true, &[2, 3])] {
        let size = Some([2, 3]);
        let images = ImageOptions { grayscale: gray, image_size: size, ..ImageOptions::default() };
        let options = Options { classes: vec!["dog".into(), "cat".into()], ..none.clone() };
        let found = opened(folder.path(), (&options, &images), Some(shape)).unwrap().0;
        assert_eq!(found.x.dims(), [3, 1, 2, 3]);
        let levels = found.x.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
        let levels = levels.to_vec1::<f64>().unwrap();
        assert_eq!((levels[0], levels[6], levels[12]), (90.0, 7.0, 124.0));
        let Some(Targets::Named(named)) = &found.targets else { panic!("no names") };
        assert_eq!(named.classes, [1, 0, 0]);
    }
    let error = |path: &Path, shape: Option<&[usize]>| {
        let Err(error) = opened(path, (&none, &images), shape) else { panic!("it was read") };
        error.to_string()
    };
    assert!(error(folder.path(), None).contains("--image-size: expected"));
    assert!(error(folder.path(), Some(&[6])).contains("--image-size: expected"));
    // Images directly in a folder have no labels.
    let (examples, _) = opened(&at("dog"), (&none, &images), Some(&[3, 2, 2])).unwrap();
    assert!(examples.targets.is_none());
    // A folder of parts, each with folders of classes.
    png(&at("parts/train/a/1.png"), [2, 2], &[1, 2, 3]);
    png(&at("parts/val/a/1.png"), [2, 2], &[1, 2, 3]);
    let found = error(&at("parts"), Some(&[3, 2, 2]));
    assert!(found.contains("if train is a part of the data, give FILE/train"), "{found}");
}

#[test]
fn arrays_under_usual_names_are_taken_where_nothing_else_is_there() {
    use crate::data::user::arrays::pair;
    let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for (found, wanted) in [
        ("X_train y_train", Some(["X_train", "y_train"])),
        ("labels images", Some(["images", "labels"])),
        ("arr_0 arr_1", Some(["arr_0", "arr_1"])),
        ("arr_0", None),
        ("X y", Some(["X", "y"])),
        ("X_train y_train X_test y_test", None),
        ("arr_0 arr_1 arr_2", None),
        ("x y", None),
        ("y_train", None),
        ("a b", None),
    ] {
        assert_eq!(pair("array", &names(found)).map(|(pair, _)| pair), wanted, "{found}");
    }
    let (_, told) = pair("array", &names("labels images")).unwrap();
    assert_eq!(told, "the array `images` is taken as `x`, `labels` as `y`");
}
