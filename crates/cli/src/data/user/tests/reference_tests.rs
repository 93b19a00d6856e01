//! Files that NumPy and PIL wrote, against what those programs say that they hold.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use candle_core::DType;
use flate2::read::ZlibDecoder;
use serde_json::Value;

use super::super::{Targets, numpy};
use super::opened;
use crate::data::user::options::{Bytes, ImageOptions, Options};

fn cases() -> Vec<Value> {
    let text = include_str!("../../../../../../tests/reference/user_arrays.json");
    serde_json::from_str(text).unwrap()
}

fn bytes(case: &Value) -> Vec<u8> {
    let packed = STANDARD.decode(case["file"].as_str().unwrap()).unwrap();
    let mut bytes = Vec::new();
    ZlibDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
    bytes
}

fn floats(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn arrays_are_those_that_numpy_wrote_or_an_error_says_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let options = Options { bytes: Some(Bytes::Numbers), ..Options::default() };
    let (mut n_read, mut n_refused) = (0, 0);
    for case in cases() {
        let name = &case["name"];
        if !case["levels"].is_null() {
            continue;
        }
        std::fs::write(&path, bytes(&case)).unwrap();
        // Only arrays of bytes obey the option.
        let is_bytes = case["name"].as_str().unwrap().contains("u1");
        let options = if is_bytes { &options } else { &Options::default() };
        let found = opened(&path, (options, &ImageOptions::default()), None);
        if let Ok(parts) = serde_json::from_value::<Vec<String>>(case["error"].clone()) {
            let Err(error) = found else { panic!("{name} was read") };
            let told = error.to_string();
            for part in parts {
                assert!(told.contains(&part) && !told.contains('\n'), "{name}: {told}");
            }
            n_refused += 1;
            continue;
        }
        let (examples, notices) = found.unwrap_or_else(|error| panic!("{name}: {error}"));
        let shape: Vec<usize> = serde_json::from_value(case["shape"].clone()).unwrap();
        assert_eq!(examples.x.dims(), shape, "{name}");
        let x = examples.x.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
        assert_eq!(x.to_vec1::<f64>().unwrap(), floats(&case["x"]), "{name}");
        let wanted: Option<Vec<f64>> = serde_json::from_value(case["y"].clone()).unwrap_or(None);
        let words: Option<Vec<String>> =
            serde_json::from_value(case["words"].clone()).unwrap_or(None);
        match (&examples.targets, wanted, words) {
            (Some(Targets::Named(named)), None, Some(words)) => {
                let found = named.classes.iter().map(|&class| &named.names[class as usize]);
                assert_eq!(found.collect::<Vec<_>>(), words.iter().collect::<Vec<_>>(), "{name}");
                assert!(named.names.is_sorted());
            }
            (Some(Targets::Numbers { values, .. }), Some(wanted), None) => {
                assert_eq!(values, &wanted, "{name}");
            }
            (None, None, None) => {}
            _ => panic!("{name}: other targets"),
        }
        if let Some(notice) = case["notice"].as_str() {
            assert!(notices.contains(&notice.to_owned()), "{name}: {notices:?}");
        }
        n_read += 1;
    }
    assert!(n_read >= 60 && n_refused >= 18, "{n_read}, {n_refused}");
}

#[test]
fn images_are_resized_as_pil_does_it() {
    let cases: Vec<Value> = cases().into_iter().filter(|case| !case["levels"].is_null()).collect();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.png"), bytes(&case)).unwrap();
        let images = ImageOptions { image_size: Some([4, 6]), ..ImageOptions::default() };
        let (examples, _) = opened(folder.path(), (&Options::default(), &images), None).unwrap();
        assert_eq!(examples.x.dims(), [1, 3, 4, 6]);
        let levels = examples.x.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
        // Either program rounds to a level, PIL once for each axis.
        let is_near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1.0;
        let found = levels.to_vec1::<f64>().unwrap();
        let wanted = floats(&case["levels"]);
        assert!(found.len() == wanted.len() && found.iter().zip(&wanted).all(is_near));
        assert!(wanted.iter().any(|&level| level > 100.0));
    }
}

#[test]
fn damaged_files_of_numpy_never_panic_and_are_never_read_as_other_numbers() {
    let cases = cases();
    let case = |name: &str| bytes(cases.iter().find(|case| case["name"] == name).unwrap());
    for whole in [case("type <f4"), case("columns first (4, 3) <f4 savez_compressed")] {
        let fine = numpy::npz(&whole).unwrap().x.unwrap();
        let numbers = |found: &super::super::arrays::Array| match &found.numbers {
            super::super::arrays::Numbers::Floats(values) => values.clone(),
            _ => panic!("no numbers"),
        };
        for end in 0..whole.len() {
            assert!(numpy::npz(&whole[..end]).is_err(), "{end}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            // Names, dates and the like may change; check sums keep the numbers.
            if let Ok(found) = numpy::npz(&damaged)
                && let Some(x) = found.x
            {
                assert_eq!((&x.shape, numbers(&x)), (&fine.shape, numbers(&fine)), "{at}");
            }
        }
    }
}
